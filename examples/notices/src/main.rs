//! The job that sends the notices about keys and disables keys that are not used, with e-mails on the standard output:
//! `cargo run -p notices`.
//!
//! A service runs `run` about once an hour, on one node or on all of them. Here four months pass in a moment.

mod mail;

use std::{error::Error, time::Duration};

use keyway::{
    Keyring, NewKey, Pepper, Policy, SqliteStore,
    keyring::Due,
    time::{Clock as _, ManualClock},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The time between the notice that a key will be disabled and its end.
const WARNING: Duration = Duration::from_secs(14 * 24 * 60 * 60);

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(story())
}

async fn story() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::at("2026-01-01T09:00:00Z".parse()?);
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let policy: Policy = serde_json::from_str(
        r#"{ "issuer": "mm", "scopes": [{ "name": "reporting", "description": "Read reports" }],
             "tiers": [{ "name": "lite", "keys": 3, "max_idle_days": 90 }] }"#,
    )?;
    let keyring = Keyring::builder(policy, pepper)
        .environment("live")
        .store(SqliteStore::in_memory().await?)
        .clock(clock.clone())
        .open()
        .await?;
    let acme = keyring.create_empty_tenant("acme", "lite").await?;
    let nightly = acme.issue(NewKey::named("Nightly sync").scopes(["reporting"])).await?;
    let trial = NewKey::named("Trial").scopes(["reporting"]).expires_in(DAY * 30);
    drop(acme.issue(trial).await?);
    drop(acme.issue(NewKey::named("Forgotten").scopes(["reporting"])).await?);

    let token = nightly.token.reveal();
    for _ in 0..120 {
        clock.advance(DAY);
        keyring.verify(&*token).await?;
        keyring.flush_uses().await?;
        // Again on the same day, as another node would: each e-mail is sent once.
        for _ in 0..2 {
            run(&keyring).await?;
        }
    }
    for key in acme.list(&keyway::store::KeyQuery::all()).await?.items {
        let state = if key.enabled() { "enabled" } else { "disabled" };
        println!("-- {}: {state} on {}", key.name(), clock.moment().now);
    }
    Ok(())
}

/// Sends all notices that are due, and then disables the keys whose time is over.
async fn run(keyring: &Keyring) -> Result<(), Box<dyn Error>> {
    for due in [Due::ExpiringWithin(DAY * 7), Due::IdleWithin(WARNING)] {
        let mut after = None;
        loop {
            let page = keyring.claim_notices(due, after.as_ref()).await?;
            for notice in &page.items {
                println!("{}", mail::about(notice, keyring, WARNING));
                // If the program stops before this line, the e-mail is sent again after ten minutes.
                keyring.confirm_notice(notice).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    let job = keyring.acting_as("notices");
    let mut after = None;
    loop {
        let page = job.disable_idle(WARNING, after.as_ref()).await?;
        for key in &page.items {
            println!("-- {} of {} is disabled", key.name(), key.tenant());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
