//! Webhooks: drains the durable events of a keyring, and posts each of them with a signature.
//!
//! ```sh
//! examples/webhooks/check.sh                                    # with a receiver in Python
//! WEBHOOK_SECRET=whsec_... cargo run -p webhooks -- 127.0.0.1:8000   # to a receiver of yours
//! ```
//!
//! The program makes some changes of two tenants, delivers their events, and ends. A service would run
//! [`deliver`] in a task, for as long as it runs.

mod webhook;

use std::{collections::HashMap, env, error::Error, time::Duration};

use keyway::{
    Keyring, NewKey, Pepper, Policy, SqliteStore, TenantId,
    keyring::{Delivery, Events},
};
use tokio::time::{sleep, timeout};

use self::webhook::Receiver;

type Failure = Box<dyn Error + Send + Sync>;

/// The first pause after a failure. It doubles with each further one. A service would begin with some seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause. A service would take an hour, for example.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long one request may take. All requests of a delivery must fit into [`Events::LEASE`].
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = env::args().nth(1).ok_or("the address of the receiver is missing")?;
    let receiver = Receiver::new(address, &env::var("WEBHOOK_SECRET")?)?;
    let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
    let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
        .environment("live")
        .store_with_events(SqliteStore::in_memory().await?)
        .build()?;
    let changes = change(&keyring).await?;
    let events = keyring.events().ok_or("the keyring has no events")?;
    timeout(Duration::from_secs(8), deliver(&events, &receiver, changes))
        .await
        .map_err(|_| "not all events were delivered in time")?
}

/// Makes some changes. Returns how many events they have.
async fn change(keyring: &Keyring) -> Result<usize, Failure> {
    let admin = keyring.acting_as("admin");
    for tenant in ["acme", "umbrella"] {
        let (keys, first) = admin.create_tenant(tenant, "advanced").await?;
        let second = keys.issue(NewKey::named("ERP nightly sync")).await?;
        keys.disable(first.key.id()).await?;
        keys.delete(second.key.id()).await?;
    }
    // Two events of each creation, and one of each further change.
    Ok(2 * 5)
}

/// Delivers events until `left` of them have been delivered.
async fn deliver(events: &Events, receiver: &Receiver, mut left: usize) -> Result<(), Failure> {
    // Lost with the process, which then begins with short pauses again.
    let mut failures: HashMap<Option<TenantId>, u32> = HashMap::new();
    while left > 0 {
        let Some(delivery) = events.next().await? else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let tenant = delivery.tenant().cloned();
        let delivered = post_all(&delivery, receiver).await;
        left = left.saturating_sub(delivered);
        if delivered == delivery.events().len() {
            failures.remove(&tenant);
            delivery.confirm().await?;
            continue;
        }
        let count = failures.entry(tenant).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*count).min(16)).min(LONGEST_PAUSE);
        *count += 1;
        delivery.retry_after(delivered, pause).await?;
    }
    Ok(())
}

/// Posts events in order until one fails. Returns how many were posted.
async fn post_all(delivery: &Delivery, receiver: &Receiver) -> usize {
    let mut delivered = 0;
    for event in delivery.events() {
        let tenant = delivery.tenant().map_or("-", TenantId::as_str);
        let (number, kind) = (event.number, &event.event.kind);
        let posted = timeout(REQUEST_LIMIT, receiver.post(event)).await;
        match posted.unwrap_or_else(|_| Err("the receiver does not respond".into())) {
            Ok(()) => println!("delivered {tenant} {number} {kind}"),
            Err(error) => {
                println!("failed {tenant} {number} {kind}: {error}");
                break;
            }
        }
        delivered += 1;
    }
    delivered
}
