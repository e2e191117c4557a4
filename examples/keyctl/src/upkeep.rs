//! Walks over all tenants: sealing rows with a new pepper, and deleting expired keys.

use std::time::Duration;

use clap::Args;
use keyway::{TenantId, keyring::Upkeep};
use serde_json::json;

use crate::{
    confirm::Consent,
    failure::{Failure, Reason},
    progress::{Bar, Shown},
    session::Session,
    tenants::tenant,
    times::{duration, span},
};

/// Sealing of all rows with the current pepper.
#[derive(Args, Debug)]
pub struct Reseal {
    #[command(flatten)]
    walk: Walk,
}

/// Deletion of expired keys.
#[derive(Args, Debug)]
pub struct Purge {
    /// Delete keys that expired longer ago than this, such as `90d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expired_for: Duration,
    #[command(flatten)]
    walk: Walk,
    #[command(flatten)]
    consent: Consent,
}

/// A walk over all tenants.
#[derive(Args, Debug)]
struct Walk {
    /// Begin after this tenant, to continue an interrupted walk.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    after: Option<TenantId>,
    /// When to show a progress bar on stderr.
    #[arg(long, value_enum, default_value_t = Shown::Auto)]
    progress: Shown,
}

/// Seals all rows of older peppers with the current one.
pub async fn reseal(session: &Session, command: Reseal) -> Result<(), Failure> {
    let Walk { after, progress } = command.walk;
    let bar = Bar::new("resealing", count(session, after.as_ref()).await?, progress);
    let mut last = after.clone();
    let walked = session
        .keyring
        .reseal(after.as_ref(), |so_far| {
            bar.show(so_far.tenants, &format!("tenants, {} rows resealed", so_far.changed));
            last.clone_from(&so_far.last);
        })
        .await;
    bar.end();
    report(session, walked.map_err(Failure::from), last, "resealed", "rows")
}

/// Deletes keys that expired long ago.
pub async fn purge(session: &Session, command: Purge) -> Result<(), Failure> {
    let age = span(command.expired_for);
    command
        .consent
        .ask(&format!("this deletes permanently all keys that expired more than {age} ago"))?;
    let Walk { after, progress } = command.walk;
    let bar = Bar::new("purging", count(session, after.as_ref()).await?, progress);
    let mut last = after.clone();
    let walked = session
        .keyring
        .purge_expired(command.expired_for, after.as_ref(), |so_far| {
            bar.show(so_far.tenants, &format!("tenants, {} keys deleted", so_far.changed));
            last.clone_from(&so_far.last);
        })
        .await;
    bar.end();
    report(session, walked.map_err(Failure::from), last, "deleted", "expired keys")
}

/// Counts the tenants of a walk.
async fn count(session: &Session, after: Option<&TenantId>) -> Result<u64, Failure> {
    let (mut count, mut after) = (0, after.cloned());
    loop {
        let page = session.keyring.tenants(after.as_ref(), 1_000).await?;
        count += u64::try_from(page.items.len() + page.broken.len()).unwrap_or_default();
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

fn report(
    session: &Session,
    walked: Result<Upkeep, Failure>,
    last: Option<TenantId>,
    done: &str,
    what: &str,
) -> Result<(), Failure> {
    let walked = walked.map_err(|failure| match last {
        Some(last) => failure.remedy(format!("continue with --after {last}")),
        None => failure.remedy("repeat the command"),
    })?;
    let value = json!({
        "tenants": walked.tenants,
        "changed": walked.changed,
        "tampered_tenants": walked.tampered_tenants,
        "tampered_keys": walked.tampered_keys,
        "unnamed": walked.unnamed,
    });
    session.out.result(&value, || {
        format!("{done} {} {what} of {} tenants\n", walked.changed, walked.tenants)
    })?;
    for tenant in &walked.tampered_tenants {
        session.out.warn(&format!("left as it is: the row of tenant {tenant} is broken"));
    }
    for key in &walked.tampered_keys {
        session.out.warn(&format!("left as it is: the row of key {key} is broken"));
    }
    let broken = walked.tampered_tenants.len() + walked.tampered_keys.len();
    if broken == 0 && walked.unnamed == 0 {
        return Ok(());
    }
    Err(Failure::reported(Reason::Refused))
}
