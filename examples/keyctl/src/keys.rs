//! The commands on keys.

use clap::{Args, Subcommand};
use keyway::{GracePeriod, KeyId, KeyRecord, TenantId, store::StoredKey};
use serde_json::json;

use crate::{
    children,
    confirm::Consent,
    failure::Failure,
    grant::{Edit, Issue},
    key_list::{self, List},
    secrets::TokenPlace,
    session::Session,
    tenants::{Suspend, tenant},
    times::duration,
    views::{key_fields, key_value, masked_key},
};

/// The commands on keys. A key is named by its id, which is public.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the keys of a tenant or of all tenants.
    List(List),
    /// Show one key.
    Show(Named),
    /// Issue a key, and write its token once.
    Issue(Issue),
    /// Change a key. Properties that are not named stay as they are.
    Edit(Edit),
    /// Delete a key permanently. Its token stops working.
    Delete {
        #[command(flatten)]
        key: Named,
        /// The tenant of a key whose row cannot be read.
        #[arg(long, value_parser = tenant)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Disable a key. Its tenant can enable it.
    Disable(Named),
    /// Enable a key.
    Enable(Named),
    /// Suspend a key. Its tenant cannot lift the suspension.
    Suspend {
        #[command(flatten)]
        key: Named,
        #[command(flatten)]
        suspend: Suspend,
    },
    /// Lift the suspension of a key.
    Resume(Named),
    /// Give a key a new secret, and write its token once.
    Rotate(Rotate),
    /// Show the text with which the children of a key begin. Its holder needs it beside the token to make children.
    ChildPrefix(Named),
}

/// A key by its id.
#[derive(Args, Clone, Copy, Debug)]
pub struct Named {
    /// The id of the key, 16 characters.
    #[arg(value_name = "KEY", value_parser = key_id)]
    pub key: KeyId,
}

/// A rotation.
#[derive(Args, Debug)]
pub struct Rotate {
    #[command(flatten)]
    key: Named,
    /// How long the old secret is accepted: `until-first-use` (at most 24 h), `none`, or a duration.
    #[arg(long, default_value = "until-first-use", value_parser = grace)]
    grace: GracePeriod,
    /// Rotate only if the key still has this version.
    #[arg(long)]
    version: Option<u64>,
    #[command(flatten)]
    token: TokenPlace,
    #[command(flatten)]
    consent: Consent,
}

/// Reads the id of a key. The text itself is not repeated: it may be a token.
fn key_id(text: &str) -> Result<KeyId, String> {
    text.parse().map_err(|_| {
        "this is not the id of a key, which has 16 letters and digits; a token belongs on stdin of \
         `keyctl token show`"
            .into()
    })
}

fn grace(text: &str) -> Result<GracePeriod, String> {
    match text {
        "none" => Ok(GracePeriod::None),
        "until-first-use" => Ok(GracePeriod::UntilFirstUse),
        text => Ok(GracePeriod::For(duration(text)?)),
    }
}

/// Runs a command.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    let keyring = &session.keyring;
    match command {
        Command::List(list) => key_list::run(session, list).await,
        Command::Show(Named { key }) => {
            let StoredKey { key, tenant } = keyring.find_key(key).await?;
            let policy = keyring.policy();
            session.out.result(&key_value(&key, &tenant, policy), || {
                key_fields(&key, &tenant, policy).to_string()
            })
        }
        Command::Issue(issue) => issue.run(session).await,
        Command::Edit(edit) => edit.run(session).await,
        Command::Delete { key, tenant, consent } => delete(session, key, tenant, consent).await,
        Command::Disable(Named { key }) => {
            let tenant = holder(session, key).await?;
            report(session, &keyring.tenant(tenant).disable(key).await?, "disabled").await
        }
        Command::Enable(Named { key }) => {
            let tenant = holder(session, key).await?;
            report(session, &keyring.tenant(tenant).enable(key).await?, "enabled").await
        }
        Command::Suspend { key: Named { key }, suspend } => {
            let suspended = keyring.suspend_key(key, suspend.suspension()?).await?;
            report(session, &suspended, "suspended").await
        }
        Command::Resume(Named { key }) => {
            report(session, &keyring.resume_key(key).await?, "resumed").await
        }
        Command::Rotate(rotate) => rotate.run(session).await,
        Command::ChildPrefix(key) => children::show_prefix(session, key).await,
    }
}

async fn holder(session: &Session, key: KeyId) -> Result<TenantId, Failure> {
    Ok(session.keyring.find_key(key).await?.tenant.id().clone())
}

/// Writes a changed key with its state.
pub async fn report(session: &Session, key: &KeyRecord, done: &str) -> Result<(), Failure> {
    let tenant = session.keyring.find_tenant(key.tenant()).await?;
    let policy = session.keyring.policy();
    let value = key_value(key, &tenant, policy);
    let state = value.get("state").and_then(|state| state.as_str()).unwrap_or_default();
    session.out.result(&value, || format!("{done} {}: now {state}\n", masked_key(key)))
}

async fn delete(
    session: &Session,
    Named { key }: Named,
    tenant: Option<TenantId>,
    consent: Consent,
) -> Result<(), Failure> {
    let (tenant, version, name) = match tenant {
        // The row may be unreadable, so it has no version.
        Some(tenant) => (tenant, None, format!("key {key}")),
        None => {
            let found = session.keyring.find_key(key).await?.key;
            (found.tenant().clone(), Some(found.version()), masked_key(&found))
        }
    };
    consent.ask(&format!("this deletes {name} permanently"))?;
    let keys = session.keyring.tenant(tenant.clone());
    match version {
        Some(version) => keys.delete_version(key, version).await?,
        None => keys.delete(key).await?,
    }
    let value = json!({ "deleted": true, "tenant": tenant, "key": key });
    session.out.result(&value, || format!("deleted {name}\n"))
}

impl Rotate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let found = session.keyring.find_key(self.key.key).await?.key;
        if self.grace == GracePeriod::None {
            let question =
                format!("this ends every earlier token of {} at once", masked_key(&found));
            self.consent.ask(&question)?;
        }
        let mut tokens = self.token.open(session.out)?;
        let version = self.version.unwrap_or(found.version());
        let keys = session.keyring.tenant(found.tenant().clone());
        let rotated = keys.rotate(found.id(), version, self.grace).await?;
        tokens.write_one(rotated, "rotated")
    }
}
