//! Durable events in PostgreSQL, beyond the conformance suite: several pools, roles and failing statements.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::future::join_all;
use keyway::{
    KeyEdit, NewKey, PostgresStore, Timestamp,
    event::{Event, EventId},
    store::{EventStore as _, StoreError},
};

use super::{
    support::{
        pepper, policy,
        server::{fresh_schema, shared},
    },
    writes::run,
};

const LEASE: Duration = Duration::from_secs(60);

fn limit(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap()
}

fn event(tenant: Option<&str>, number: u64) -> Event {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Event {
        id: EventId::from_bytes(id),
        at: Timestamp::from_millis(0).unwrap(),
        actor: "anna".into(),
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        key: None,
        kind: "key_edited".into(),
        detail: String::new(),
    }
}

async fn open(schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder().schema(schema).max_connections(4);
    builder.connect(&shared().url()).await.unwrap()
}

/// Calls every method of the events.
pub(super) async fn use_all_events(store: &PostgresStore) {
    let acme = "acme".parse().unwrap();
    let now = Timestamp::from_millis(0).unwrap();
    store.purge_events(Timestamp::MAX, true).await.unwrap();
    store.add_events(&[event(None, 1), event(Some("acme"), 2)]).await.unwrap();
    let key = "A000000000000000".parse().unwrap();
    assert_eq!(store.events_of(Some(&acme), None, None, limit(9)).await.unwrap().len(), 1);
    assert!(store.events_of(Some(&acme), Some(key), None, limit(9)).await.unwrap().is_empty());
    for _ in 0..2 {
        assert!(store.has_undelivered_events().await.unwrap());
        let claim = store.claim_events(Timestamp::MAX, LEASE, limit(9)).await.unwrap().unwrap();
        let last = claim.events.last().unwrap().number;
        store.settle_events(claim.tenant.as_ref(), claim.number, last, now).await.unwrap();
    }
    assert!(store.claim_events(Timestamp::MAX, LEASE, limit(9)).await.unwrap().is_none());
    assert!(!store.has_undelivered_events().await.unwrap());
    assert_eq!(store.purge_events(Timestamp::MAX, false).await.unwrap(), 2);
}

/// Each node has a pool of its own. A reader that sees an event has seen all with smaller numbers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn events_of_several_nodes_are_numbered_in_the_order_of_commits() {
    const NODES: u64 = 4;
    const EVENTS: u64 = 40;
    let schema = fresh_schema();
    let reader = open(&schema).await;
    let writers = (0..NODES).map(|node| {
        let schema = schema.clone();
        tokio::spawn(async move {
            let store = open(&schema).await;
            for number in 0..EVENTS {
                // Both orders of the tenants, which must not wait for each other.
                let mut events = vec![event(Some("a"), number), event(Some("b"), number)];
                if node % 2 == 0 {
                    events.reverse();
                }
                store.add_events(&events).await.unwrap();
            }
        })
    });
    let writers = tokio::spawn(join_all(writers));
    let (mut seen, mut now) = ([0, 0], 0);
    while seen != [NODES * EVENTS; 2] {
        now += 1;
        let at = Timestamp::from_millis(now).unwrap();
        let Some(claim) = reader.claim_events(at, LEASE, limit(7)).await.unwrap() else {
            tokio::task::yield_now().await;
            continue;
        };
        let tenant = claim.tenant.clone().unwrap();
        let seen = &mut seen[usize::from(tenant.as_str() == "b")];
        for event in &claim.events {
            *seen += 1;
            assert_eq!(event.number, *seen, "{tenant}");
        }
        reader.settle_events(Some(&tenant), claim.number, *seen, at).await.unwrap();
    }
    writers.await.unwrap().into_iter().for_each(|writer| writer.unwrap());
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn change_whose_event_cannot_be_written_is_not_made() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let keyring = keyway::Keyring::builder(policy(), pepper())
        .environment("live")
        .store_with_events(store.clone())
        .build()
        .unwrap();
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let fail = "CREATE FUNCTION {s}.fail() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'planted'; END $$; \
        CREATE TRIGGER fail BEFORE INSERT ON {s}.events FOR EACH ROW EXECUTE FUNCTION {s}.fail()";
    run(shared(), &schema, fail).await;
    let id = issued.key.id();
    acme.edit(id, 1, KeyEdit::new().name("late")).await.unwrap_err();
    acme.issue(NewKey::named("late")).await.unwrap_err();
    acme.delete(id).await.unwrap_err();
    keyring.set_tier(acme.id(), "lite").await.unwrap_err();
    keyring.delete_tenant(acme.id()).await.unwrap_err();
    keyring.create_tenant("other", "lite").await.unwrap_err();
    assert!(matches!(store.add_events(&[event(None, 1)]).await, Err(StoreError::Unavailable(_))));
    run(shared(), &schema, "DROP TRIGGER fail ON {s}.events").await;
    // Nothing was changed, and the next event has the next number.
    assert_eq!(acme.find(id).await.unwrap().version(), 1);
    assert_eq!(keyring.find_tenant(acme.id()).await.unwrap().tier(), "advanced");
    keyring.find_tenant(&"other".parse().unwrap()).await.unwrap_err();
    acme.delete(id).await.unwrap();
    let events = store.events_of(Some(acme.id()), None, None, limit(9)).await.unwrap();
    let kinds: Vec<_> =
        events.iter().map(|event| (event.number, event.event.kind.as_str())).collect();
    assert_eq!(kinds, [(3, "key_deleted"), (2, "key_issued"), (1, "tenant_created")]);
}
