//! The execution of a plan, step by step.

use std::collections::{BTreeMap, BTreeSet};

use keyway::{IssuedKey, KeyId, Keyring, KeyringError, NewKey, TenantId, store::KeyQuery};
use serde_json::{Value, json};

use super::{
    plan::{Action, Plan, Step},
    report::{Counts, step_text, step_value},
    saved::fingerprint,
};
use crate::{
    failure::Failure,
    output::Output,
    secrets::{TokenSink, lost},
    session::Session,
};

/// The most keys of one name that earlier runs may have created and somebody else has deleted since.
const MAX_GENERATIONS: u32 = 1_000;

/// The outcome of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Unchanged,
    Done,
    /// Somebody else has changed the record. It was left as it is.
    Conflict,
    Refused,
    /// The store did not respond, so nobody knows whether the change was made.
    Unknown,
    /// An earlier step of the tenant failed, or the store was away.
    NotTried,
}

/// The end of a step that was not done.
struct Stopped {
    outcome: Outcome,
    message: String,
    /// A key that was issued before the step stopped.
    issued: Option<IssuedKey>,
}

impl From<KeyringError> for Stopped {
    fn from(error: KeyringError) -> Self {
        let outcome = match &error {
            KeyringError::Conflict
            | KeyringError::TenantExists(_)
            | KeyringError::NoTenant(_)
            | KeyringError::NoKey
            | KeyringError::AlreadyIssued(_) => Outcome::Conflict,
            KeyringError::Unavailable(_) => Outcome::Unknown,
            _ => Outcome::Refused,
        };
        Self { outcome, message: Failure::from(error).message().to_owned(), issued: None }
    }
}

/// Takes the steps of a plan. A step that fails ends the steps of its tenant, and a store that is away ends all.
pub async fn execute(session: &Session, plan: Plan, tokens: &mut TokenSink) -> Result<(), Failure> {
    let mut run =
        Run { session, versions: BTreeMap::new(), stopped: BTreeSet::new(), is_away: false };
    let (mut counts, mut broken) = (Counts::default(), None);
    for step in plan.steps {
        let mut told =
            Told { outcome: Outcome::NotTried, message: None, id: None, token: Value::Null };
        if !run.is_away && broken.is_none() && !run.stopped.contains(&step.tenant) {
            let issued = match run.take(&step).await {
                Ok((outcome, issued)) => {
                    told.outcome = outcome;
                    issued
                }
                Err(stopped) => {
                    run.is_away |= stopped.outcome == Outcome::Unknown;
                    // A conflict of one key says nothing about the other keys of its tenant.
                    if step.key.is_none() {
                        run.stopped.insert(step.tenant.clone());
                    }
                    (told.outcome, told.message) = (stopped.outcome, Some(stopped.message));
                    stopped.issued
                }
            };
            told.id = issued.as_ref().map(|issued| issued.key.id());
            match issued.map(|issued| tokens.write_of_many(issued)) {
                Some(Ok(token)) => told.token = token,
                Some(Err(failure)) => broken = Some(failure),
                None => {}
            }
        }
        counts.add(&step.action, told.outcome);
        if broken.is_none() {
            let id = told.id.filter(|_| !told.token.is_null());
            broken = told.write(session.out, &step).err().map(|failure| match id {
                Some(id) => lost(&failure, id.as_str()),
                None => failure,
            });
        }
    }
    // Steps that nobody can read about are not taken, and the reason is on stderr.
    if let Some(failure) = broken {
        let message = match failure.message() {
            "" => Failure::refused("the output was closed"),
            _ => failure,
        };
        return Err(message.at(&counts.done_text()));
    }
    if session.out.json {
        session.out.line(&json!({ "summary": counts.value() }))?;
    } else {
        session.out.write(&format!("{}\n", counts.done_text()))?;
    }
    if run.is_away {
        let failure = Failure::unavailable("the store did not respond, and the rest was not tried");
        return Err(failure.remedy("repeat the command: what is done already is left as it is"));
    }
    if counts.failed() {
        return Err(Failure::refused("not everything is as the manifest describes it").remedy(
            "look at the records above, and repeat the command: what is done already is left as it is",
        ));
    }
    Ok(())
}

/// The report of one step.
struct Told {
    outcome: Outcome,
    message: Option<String>,
    id: Option<KeyId>,
    token: Value,
}

impl Told {
    fn write(self, out: Output, step: &Step) -> Result<(), Failure> {
        let Self { outcome, message, id, token } = self;
        if out.json {
            let mut value = step_value(step);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("outcome".into(), json!(outcome.as_str()));
                fields.extend(message.map(|message| ("message".into(), json!(message))));
                fields.extend(id.map(|id| ("id".into(), json!(id))));
                fields.extend(
                    Some(token)
                        .filter(|token| !token.is_null())
                        .map(|token| ("token".into(), token)),
                );
            }
            return out.line(&value);
        }
        if outcome == Outcome::Unchanged {
            return Ok(());
        }
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        out.write(&format!("{:<10}{}{message}\n", outcome.as_str(), step_text(step)))
    }
}

impl Outcome {
    /// Returns the word for the outcome.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::NotTried => "not_tried",
        }
    }
}

/// A plan that is being executed.
struct Run<'s> {
    session: &'s Session,
    /// The versions of tenants that this run has changed.
    versions: BTreeMap<TenantId, u64>,
    stopped: BTreeSet<TenantId>,
    is_away: bool,
}

impl Run<'_> {
    async fn take(&mut self, step: &Step) -> Result<(Outcome, Option<IssuedKey>), Stopped> {
        let (keyring, tenant) = (&self.session.keyring, &step.tenant);
        let keys = keyring.tenant(tenant.clone());
        let current = |planned: u64| self.versions.get(tenant).copied().unwrap_or(planned);
        match &step.action {
            Action::Unchanged => return Ok((Outcome::Unchanged, None)),
            Action::Conflict(message) => {
                return Err(Stopped {
                    outcome: Outcome::Conflict,
                    message: (*message).into(),
                    issued: None,
                });
            }
            Action::CreateTenant { tier } => {
                keyring.create_empty_tenant(tenant.as_str(), tier).await?;
                // The first version of every record.
                self.versions.insert(tenant.clone(), 1);
            }
            Action::SetTier { to, version, .. } => {
                let quota = keyring.set_tier_version(tenant, current(*version), to).await?;
                self.versions.insert(tenant.clone(), quota.tenant.version());
            }
            Action::SetExceptions { to, version, .. } => {
                let quota = keyring.set_exceptions(tenant, current(*version), to.clone()).await?;
                self.versions.insert(tenant.clone(), quota.tenant.version());
            }
            Action::EditKey { id, version, edit, .. } => {
                keys.edit(*id, *version, (**edit).clone()).await?;
            }
            Action::DeleteKey { id, version } => keys.delete_version(*id, *version).await?,
            Action::DeleteTenant { version } => {
                // A deletion takes no version. A change between this read and the deletion is lost with the tenant.
                if keyring.find_tenant(tenant).await?.version() != *version {
                    return Err(KeyringError::Conflict.into());
                }
                keyring.delete_tenant(tenant).await?;
            }
            Action::IssueKey { request, is_enabled, .. } => {
                let name = step.key.as_deref().unwrap_or_default();
                let issued = issue(keyring, tenant, name, request).await?;
                if *is_enabled {
                    return Ok((Outcome::Done, Some(issued)));
                }
                // Nobody has the token yet. It is written even if the key stays enabled, since the key exists.
                return match keys.disable(issued.key.id()).await {
                    Ok(_) => Ok((Outcome::Done, Some(issued))),
                    Err(error) => Err(Stopped { issued: Some(issued), ..error.into() }),
                };
            }
        }
        Ok((Outcome::Done, None))
    }
}

/// Issues the key `name`, unless somebody else has issued one since the plan.
///
/// The idempotency key makes two runs at the same time issue one key. It has a number, since the id of a key
/// that was deleted is never used again.
async fn issue(
    keyring: &Keyring,
    tenant: &TenantId,
    name: &str,
    request: &NewKey,
) -> Result<IssuedKey, Stopped> {
    let keys = keyring.tenant(tenant.clone());
    let exists = || Stopped {
        outcome: Outcome::Conflict,
        message: "somebody else has created a key of this name since the plan".into(),
        issued: None,
    };
    let mut query = KeyQuery::all().containing(name).limit(KeyQuery::MAX_LIMIT);
    loop {
        let page = keys.list(&query).await?;
        if page.items.iter().any(|key| key.name() == name) {
            return Err(exists());
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    for number in 0..MAX_GENERATIONS {
        let text = format!("keyctl-apply-{number}-{}", fingerprint(name));
        let request = request.clone().idempotency_key(&text).map_err(KeyringError::from)?;
        match keys.issue(request).await {
            Err(KeyringError::AlreadyIssued(id)) => match keyring.find_key(id).await {
                Ok(found) if found.key.name() == name => return Err(exists()),
                // It was renamed or deleted since.
                Ok(_) | Err(KeyringError::NoKey) => {}
                Err(error) => return Err(error.into()),
            },
            issued => return Ok(issued?),
        }
    }
    Err(Stopped {
        outcome: Outcome::Refused,
        message: "the name was used too often: choose another".into(),
        issued: None,
    })
}
