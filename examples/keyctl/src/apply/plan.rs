//! The plan: the steps that lead from the store to the manifest, each with the version that it was made from.

use keyway::{
    KeyEdit, KeyId, KeyRecord, KeyringError, NewKey, TenantId,
    record::{Exceptions, TenantRecord},
    store::KeyQuery,
};
use serde_json::json;

use super::{
    changes::{Change, changes, creation},
    limits::check_limits,
    manifest::{KeySpec, Manifest, Problem, TenantSpec},
    prune::{prune_keys, prune_tenants},
    saved::Seen,
};
use crate::{exceptions::ExceptionLimits, failure::Failure, session::Session};

/// The steps to a manifest.
#[derive(Debug, Default)]
pub struct Plan {
    /// The steps, in the order in which they are taken.
    pub steps: Vec<Step>,
    /// The reasons why the plan cannot be executed at all.
    pub problems: Vec<Problem>,
    /// The versions that were read.
    pub seen: Seen,
}

/// A step for one tenant, or for one key of it.
#[derive(Debug)]
pub struct Step {
    /// The tenant.
    pub tenant: TenantId,
    /// The name of the key.
    pub key: Option<String>,
    /// The change.
    pub action: Action,
}

/// A change.
#[derive(Debug)]
pub enum Action {
    /// There is nothing to change.
    Unchanged,
    /// Somebody else has changed it since the plan was saved.
    Conflict(&'static str),
    CreateTenant {
        tier: String,
    },
    SetTier {
        from: String,
        to: String,
        version: u64,
    },
    SetExceptions {
        from: Exceptions,
        to: Exceptions,
        version: u64,
    },
    IssueKey {
        request: Box<NewKey>,
        properties: Vec<Change>,
        is_enabled: bool,
    },
    EditKey {
        id: KeyId,
        version: u64,
        edit: Box<KeyEdit>,
        changes: Vec<Change>,
    },
    DeleteKey {
        id: KeyId,
        version: u64,
    },
    DeleteTenant {
        version: u64,
    },
}

/// The kinds of records that are deleted if the manifest does not name them.
#[derive(Clone, Copy, Debug)]
pub struct Pruning {
    /// Keys of the manifest's tenants.
    pub keys: bool,
    /// Tenants with their keys.
    pub tenants: bool,
}

impl Plan {
    /// Returns the names of everything that is deleted.
    pub fn deletions(&self) -> Vec<String> {
        let deletions = self.steps.iter().filter_map(|step| match step.action {
            Action::DeleteKey { id, .. } => {
                let name = step.key.as_deref().unwrap_or_default();
                Some(format!("key {}/{name} ({id})", step.tenant))
            }
            Action::DeleteTenant { .. } => Some(format!("tenant {} with its keys", step.tenant)),
            _ => None,
        });
        deletions.collect()
    }

    /// Adds a step.
    pub fn step(&mut self, tenant: &TenantId, key: Option<&str>, action: Action) {
        let (tenant, key) = (tenant.clone(), key.map(str::to_owned));
        self.steps.push(Step { tenant, key, action });
    }

    /// Adds something that prevents the whole plan.
    pub fn problem(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), message: message.into() });
    }
}

/// Makes the plan. With `saved`, its versions are used, and what differs from it is a conflict.
pub async fn plan(
    session: &Session,
    manifest: &Manifest,
    saved: Option<&Seen>,
    pruning: Pruning,
) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    for spec in &manifest.tenants {
        plan_tenant(session, spec, saved, pruning, &mut plan).await?;
    }
    if pruning.tenants {
        prune_tenants(session, manifest, saved, &mut plan).await?;
    }
    Ok(plan)
}

async fn plan_tenant(
    session: &Session,
    spec: &TenantSpec,
    saved: Option<&Seen>,
    pruning: Pruning,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let record = match session.keyring.find_tenant(&spec.id).await {
        Ok(record) => Some(record),
        Err(KeyringError::NoTenant(_)) => None,
        Err(error) => return Err(Failure::from(error).at(&spec.place)),
    };
    let seen = saved.map(|saved| saved.tenant(&spec.id));
    let changed = match (&record, seen) {
        (Some(_), Some(None)) => Some("the tenant was created since the plan"),
        (None, Some(Some(_))) => Some("the tenant was deleted since the plan"),
        _ => None,
    };
    if let Some(conflict) = changed {
        plan.step(&spec.id, None, Action::Conflict(conflict));
        return Ok(());
    }
    let keys = match &record {
        Some(_) => read_keys(session, spec, plan).await?,
        None => Vec::new(),
    };
    let limits = match (&spec.exceptions, &record) {
        (Some(limits), _) => limits.clone(),
        (None, Some(record)) => ExceptionLimits::of(record.exceptions())
            .map_err(|error| Failure::refused(error.to_string()))?,
        (None, None) => ExceptionLimits::default(),
    };
    if let Some(record) = &record {
        plan.seen.add(record, &keys);
    }
    let version = record.as_ref().map_or(1, |record| seen.flatten().unwrap_or(record.version()));
    plan_contract(session, spec, record.as_ref(), version, plan)?;
    let pruned = if pruning.keys { prune_keys(spec, &keys, saved, plan) } else { 0 };
    let first = plan.steps.len();
    for key in &spec.keys {
        plan_key(session, spec, key, &keys, saved, plan);
    }
    // A key that exists is edited before another one is issued.
    let is_issued = |step: &Step| matches!(step.action, Action::IssueKey { .. });
    if let Some(steps) = plan.steps.get_mut(first..) {
        steps.sort_by_key(is_issued);
    }
    let issued = plan.steps.iter().skip(first).filter(|step| is_issued(step)).count();
    let held = keys.len().saturating_sub(pruned) + issued;
    check_limits(session.keyring.policy(), spec, &limits, record.as_ref(), &keys, plan);
    let tier = session.keyring.policy().tier(&spec.tier);
    let allowed = limits.keys.or(tier.map(|tier| tier.keys)).unwrap_or_default();
    if issued > 0 && held > usize::try_from(allowed).unwrap_or(usize::MAX) {
        let tier = &spec.tier;
        let message = format!(
            "the tenant would hold {held} keys, and its tier `{tier}` and exceptions allow {allowed}"
        );
        plan.problem(format!("{}.keys", spec.place), message);
    }
    Ok(())
}

/// Plans the changes of the tenant itself.
fn plan_contract(
    session: &Session,
    spec: &TenantSpec,
    record: Option<&TenantRecord>,
    version: u64,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let before = plan.steps.len();
    match record {
        None => plan.step(&spec.id, None, Action::CreateTenant { tier: spec.tier.clone() }),
        Some(record) if record.tier() != spec.tier => {
            let (from, to) = (record.tier().to_owned(), spec.tier.clone());
            plan.step(&spec.id, None, Action::SetTier { from, to, version });
        }
        Some(_) => {}
    }
    if let Some(limits) = &spec.exceptions {
        let to = limits.build(session.keyring.policy());
        let to = to.map_err(|(field, problem)| Failure::refused(format!("{field}: {problem}")))?;
        let from = record.map(|record| record.exceptions().clone()).unwrap_or_default();
        if from != to {
            plan.step(&spec.id, None, Action::SetExceptions { from, to, version });
        }
    }
    if plan.steps.len() == before {
        plan.step(&spec.id, None, Action::Unchanged);
    }
    Ok(())
}

fn plan_key(
    session: &Session,
    spec: &TenantSpec,
    key: &KeySpec,
    keys: &[KeyRecord],
    saved: Option<&Seen>,
    plan: &mut Plan,
) {
    let policy = session.keyring.policy();
    let named: Vec<&KeyRecord> = keys.iter().filter(|held| held.name() == key.name).collect();
    let action = match named.as_slice() {
        [] if saved.is_some_and(|saved| saved.has_key_named(&spec.id, &key.name)) => {
            Action::Conflict("the key was deleted or renamed since the plan")
        }
        [] => {
            let (properties, request) = creation(key, policy);
            let is_enabled = key.enabled != Some(false);
            Action::IssueKey { request: Box::new(request), properties, is_enabled }
        }
        [held] => {
            let seen = saved.map(|saved| saved.key(&spec.id, held.id()));
            let (changes, edit) = changes(key, held, policy);
            match seen {
                Some(None) => Action::Conflict("the key was created since the plan"),
                _ if changes.is_empty() => Action::Unchanged,
                seen => {
                    let version = seen.flatten().unwrap_or(held.version());
                    Action::EditKey { id: held.id(), version, edit: Box::new(edit), changes }
                }
            }
        }
        several => {
            let ids: Vec<_> = several.iter().map(|key| key.id()).collect();
            let message = format!("the tenant holds several keys of this name: {}", json!(ids));
            plan.problem(format!("{}.name", key.place), message + "; rename all but one");
            return;
        }
    };
    plan.step(&spec.id, Some(&key.name), action);
}

/// Reads all keys of a tenant. A row that cannot be read prevents the plan: its key may be one of the manifest's.
async fn read_keys(
    session: &Session,
    spec: &TenantSpec,
    plan: &mut Plan,
) -> Result<Vec<KeyRecord>, Failure> {
    let handle = session.keyring.tenant(spec.id.clone());
    let (mut keys, mut query) = (Vec::new(), KeyQuery::all().limit(KeyQuery::MAX_LIMIT));
    loop {
        let page = handle.list(&query).await?;
        keys.extend(page.items);
        for row in page.broken {
            plan.problem(&spec.place, format!("a row of the store is broken: {row}"));
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok(keys),
        }
    }
}
