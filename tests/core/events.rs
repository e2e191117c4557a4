//! Durable events: each change has its event and no event is without its change, and each is delivered in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::support::{
    FaultyStore, Held, World, block_on, give_up_after, overheard::RevealKnown as _, pepper, policy,
    tenant_id,
};
use keyway::{
    GracePeriod, ImportedKey, KeyEdit, Keyring, KeyringError, LeakResponse, MemoryStore, NewKey,
    audit::{AuditEvent, AuditSink},
    event::{EventId, StoredEvent},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    keyring::{Due, Events},
    record::{Exceptions, Suspension},
    store::{EventStore as _, KeyQuery},
};

const SECOND: Duration = Duration::from_secs(1);

/// The content of an event: its actor, tenant, key, kind and detail.
type Content = (String, Option<String>, Option<String>, String, String);

/// A sink that keeps the content of each event.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Content>>>);

impl Sink {
    fn take(&self) -> Vec<Content> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

impl AuditSink for Sink {
    fn record(&self, event: &AuditEvent<'_>) {
        self.0.lock().unwrap().push((
            event.actor.into(),
            event.tenant.map(Into::into),
            event.key.map(|key| key.to_string()),
            event.kind.as_str().into(),
            event.detail(),
        ));
    }
}

fn content(event: &StoredEvent) -> Content {
    let event = event.event.clone();
    let (tenant, key) = (event.tenant.map(|id| id.to_string()), event.key.map(|id| id.to_string()));
    (event.actor, tenant, key, event.kind, event.detail)
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

/// A process with durable events. The store of its world is another one.
struct Service {
    world: World,
    store: FaultyStore,
    sink: Sink,
    keyring: Keyring,
    events: Events,
}

impl Service {
    fn new() -> Self {
        let (store, sink) = (FaultyStore::over(MemoryStore::new()), Sink::default());
        let world = World::with(policy(), |builder| {
            let builder = builder.store_with_events(store.clone()).audit(sink.clone());
            builder.accept_imported(foreign())
        });
        let keyring = world.keyring.clone();
        let events = keyring.events().unwrap();
        Self { world, store, sink, keyring, events }
    }

    /// Delivers everything, and returns it by the tenant, in order.
    fn drain(&self) -> BTreeMap<Option<String>, Vec<StoredEvent>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        while let Some(delivery) = block_on(self.events.next()).unwrap() {
            let tenant = delivery.tenant().map(ToString::to_string);
            all.entry(tenant).or_default().extend_from_slice(delivery.events());
            block_on(delivery.confirm()).unwrap();
        }
        all
    }

    /// Delivers everything, and returns the kinds of the events of one tenant.
    fn kinds(&self, tenant: &str) -> Vec<String> {
        let events = self.drain().remove(&Some(tenant.into())).unwrap_or_default();
        events.into_iter().map(|event| event.event.kind).collect()
    }

    /// Creates a tenant with its first key, whose events are delivered.
    fn tenant(&self, id: &str) -> (keyway::TenantKeys, Held) {
        let created = block_on(self.keyring.create_tenant_with(
            id,
            "advanced",
            NewKey::named("first").scopes(["reporting"]),
        ));
        let (keys, issued) = created.unwrap();
        self.drain();
        let _ = self.sink.take();
        (
            keys.clone(),
            Held { keys, token: issued.token.reveal_known().to_string(), key: issued.key },
        )
    }
}

fn stop() -> Suspension {
    Suspension::permanent("unpaid").unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a list of all changes")]
fn each_change_has_its_event_with_the_content_of_the_sink() {
    let service = Service::new();
    let keyring = service.keyring.acting_as("anna");
    let (acme, first) =
        block_on(keyring.create_tenant_with("acme", "advanced", NewKey::named("first"))).unwrap();
    let id = first.key.id();
    block_on(keyring.create_empty_tenant("empty", "lite")).unwrap();
    let second = NewKey::named("second").scopes(["reporting"]);
    let second = block_on(acme.issue(second)).unwrap();
    let token = second.token.reveal_known().to_string();
    let digest = ForeignDigest::from_bytes(&[7; 32]).unwrap();
    let imported = ImportedKey::new(&foreign(), digest, NewKey::named("imported"));
    block_on(acme.import(imported.unwrap())).unwrap();
    block_on(acme.edit(id, 1, KeyEdit::new().name("renamed"))).unwrap();
    block_on(acme.disable(id)).unwrap();
    let enabled = block_on(acme.enable(id)).unwrap();
    // A change that is made already is none.
    block_on(acme.enable(id)).unwrap();
    let grace = GracePeriod::UntilFirstUse;
    let rotated = block_on(acme.rotate(id, enabled.version(), grace)).unwrap();
    // The first use of the new secret ends the grace period.
    block_on(keyring.verify(&*rotated.token.reveal_known())).unwrap();
    let may = keyring.requirement(["reporting"]).unwrap();
    let own = block_on(keyring.rotate_own(&token, &may, GracePeriod::None, None)).unwrap();
    let token = own.token.reveal_known().to_string();
    block_on(keyring.suspend_key(id, stop())).unwrap();
    block_on(keyring.resume_key(id)).unwrap();
    block_on(keyring.suspend_tenant(acme.id(), stop())).unwrap();
    block_on(keyring.resume_tenant(acme.id())).unwrap();
    block_on(keyring.set_tier(acme.id(), "lite")).unwrap();
    block_on(keyring.set_tier(acme.id(), "advanced")).unwrap();
    let version = block_on(keyring.find_tenant(acme.id())).unwrap().version();
    block_on(keyring.set_exceptions(acme.id(), version, Exceptions::new().keys(4))).unwrap();
    let ann = "ann".parse().unwrap();
    block_on(acme.disable_owner(&ann)).unwrap();
    block_on(acme.enable_owner(&ann)).unwrap();
    for _ in 0..2 {
        // The second report changes nothing, and is an event as well.
        block_on(keyring.report_leak(&token, "on a wiki", LeakResponse::Suspend)).unwrap();
    }
    block_on(keyring.revoke(&token)).unwrap();
    block_on(acme.delete(id)).unwrap();
    let rest = block_on(acme.select(&KeyQuery::all())).unwrap();
    assert_eq!(block_on(acme.disable_all(&rest)).unwrap().done, 1);
    block_on(keyring.delete_tenant(acme.id())).unwrap();

    let told = service.sink.take();
    let stored = service.drain();
    for tenant in ["acme", "empty"] {
        let of_sink: Vec<_> =
            told.iter().filter(|event| event.1.as_deref() == Some(tenant)).cloned().collect();
        let events = &stored[&Some(tenant.into())];
        assert_eq!(events.iter().map(content).collect::<Vec<_>>(), of_sink);
        let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(stored.len(), 2);
    let ids: BTreeSet<EventId> = stored.values().flatten().map(|event| event.event.id).collect();
    assert_eq!(ids.len(), told.len(), "each event has another id");
    let kinds: BTreeSet<_> = told.iter().map(|event| event.3.as_str()).collect();
    let expected = [
        "tenant_created",
        "tier_changed",
        "exceptions_changed",
        "owner_disabled",
        "owner_enabled",
        "tenant_suspended",
        "tenant_resumed",
        "tenant_deleted",
        "key_issued",
        "key_imported",
        "key_edited",
        "key_rotated",
        "grace_period_ended",
        "key_suspended",
        "key_resumed",
        "key_deleted",
        "key_revoked",
        "leak_reported",
    ];
    assert_eq!(kinds, expected.into());
    // The first three are one transaction or follow each other.
    let first: Vec<_> = told.iter().take(2).map(|event| event.3.as_str()).collect();
    assert_eq!(first, ["tenant_created", "key_issued"]);
}

#[test]
fn refused_change_has_the_event_of_its_refusal_only() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    let id = held.key.id();
    for number in 0..4 {
        let _ = block_on(acme.issue(NewKey::named(format!("key {number}")))).unwrap();
    }
    assert_eq!(service.kinds("acme"), ["key_issued"; 4]);
    let _ = service.sink.take();

    let full = block_on(acme.issue(NewKey::named("too many"))).map(drop);
    assert!(matches!(full, Err(KeyringError::QuotaExceeded { .. })), "{full:?}");
    let stale = block_on(acme.edit(id, 7, KeyEdit::new().name("late")));
    assert!(matches!(stale, Err(KeyringError::Conflict)), "{stale:?}");
    let exists = block_on(service.keyring.create_empty_tenant("acme", "lite"));
    assert!(matches!(exists, Err(KeyringError::TenantExists(_))), "{exists:?}");
    let other = service.tenant("other").1.key.id();
    let theirs = block_on(acme.delete(other));
    assert!(matches!(theirs, Err(KeyringError::NoKey)), "{theirs:?}");
    // Without a known tenant the refusal is in the sequence without one.
    let unknown =
        block_on(service.keyring.suspend_key("A000000000000000".parse().unwrap(), stop()));
    assert!(matches!(unknown, Err(KeyringError::NoKey)), "{unknown:?}");

    let mut stored = service.drain();
    let nobody = stored.remove(&None).unwrap();
    assert_eq!(nobody.len(), 1);
    assert_eq!(nobody[0].event.kind, "change_refused");
    // `tenant` drained the events before the last two refusals.
    let acme_events = block_on(service.events.of_tenant(acme.id(), None, None, 4)).unwrap();
    let contents: Vec<_> = acme_events.iter().map(|event| &event.event).collect();
    assert!(contents.iter().all(|event| event.kind == "change_refused"), "{contents:?}");
    let changes = ["delete_key", "create_tenant", "edit_key", "issue_key"];
    for (event, change) in contents.iter().zip(changes) {
        assert!(event.detail.starts_with(change), "{event:?}");
    }
}

#[test]
fn conflict_in_the_store_leaves_no_event_of_the_change() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    let id = held.key.id();
    // Another node edits the key after this one has read it and before it writes.
    service.store.hold("update_key");
    let keys = acme.clone();
    let edit = thread::spawn(move || block_on(keys.edit(id, 1, KeyEdit::new().name("late"))));
    service.store.await_call("update_key");
    let other = Keyring::builder(policy(), pepper())
        .environment("live")
        .clock(service.world.clock.clone())
        .store_with_events(service.store.memory().clone())
        .build()
        .unwrap();
    let other = other.tenant(tenant_id("acme"));
    block_on(other.edit(id, 1, KeyEdit::new().name("early"))).unwrap();
    service.store.release("update_key");
    let late = edit.join().unwrap();
    assert!(matches!(late, Err(KeyringError::Conflict)), "{late:?}");
    assert_eq!(service.kinds("acme"), ["key_edited", "change_refused"]);
}

#[test]
fn change_whose_answer_is_lost_has_its_event_once() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    service.store.set_losing_answers(true);
    let id = held.key.id();
    let deleted = block_on(service.keyring.tenant(acme.id().clone()).delete(id));
    assert!(matches!(deleted, Err(KeyringError::Unavailable(_))), "{deleted:?}");
    service.store.set_losing_answers(false);
    // The outcome was unknown, so the failure is no refusal. The sink knows nothing else.
    assert_eq!(service.kinds("acme"), ["key_deleted"]);
    assert_eq!(service.sink.take()[0].3, "change_refused");
}

#[test]
fn change_that_is_given_up_halfway_has_its_event_if_it_is_made() {
    for polls in 0..12 {
        let service = Service::new();
        let (acme, held) = service.tenant("acme");
        service.store.set_slow(true);
        let ended = give_up_after(polls, acme.disable(held.key.id())).is_some();
        service.store.set_slow(false);
        let is_made = !block_on(acme.find(held.key.id())).unwrap().enabled();
        assert!(is_made || !ended);
        let expected: &[&str] = if is_made { &["key_edited"] } else { &[] };
        assert_eq!(service.kinds("acme"), expected, "{polls}");
    }
}

#[test]
fn refusal_that_cannot_be_stored_changes_no_outcome() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    service.store.fail("add_events");
    let stale = block_on(acme.edit(held.key.id(), 7, KeyEdit::new().name("late")));
    assert!(matches!(stale, Err(KeyringError::Conflict)), "{stale:?}");
    let kinds: Vec<_> = service.sink.take().into_iter().map(|event| event.3).collect();
    assert_eq!(kinds, ["unavailable", "change_refused"]);
    // A leak report that changes nothing must not be lost, so its reporter learns that it was not kept.
    let report = || service.keyring.report_leak(&held.token, "on a wiki", LeakResponse::Suspend);
    block_on(report()).unwrap();
    let again = block_on(report());
    assert!(matches!(again, Err(KeyringError::Unavailable(_))), "{again:?}");
    service.store.heal("add_events");
    block_on(report()).unwrap();
    assert_eq!(service.kinds("acme"), ["leak_reported", "leak_reported"]);
}

#[test]
fn requests_and_their_rejections_are_not_stored() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    let keyring = &service.keyring;
    block_on(keyring.verify(&held.token)).unwrap();
    block_on(keyring.verify("mm_live_made-up")).unwrap_err();
    block_on(keyring.revoke("mm_live_made-up")).unwrap_err();
    block_on(keyring.report_leak("mm_live_made-up", "x", LeakResponse::Suspend)).unwrap_err();
    // The key lacks the scope, so this is a refused request of its holder.
    let may = keyring.requirement(["operator"]).unwrap();
    block_on(keyring.rotate_own(&held.token, &may, GracePeriod::None, None)).unwrap_err();
    block_on(keyring.flush_uses()).unwrap();
    service.world.clock.advance(Duration::from_secs(3_600));
    let due = Due::UnusedFor(Duration::from_secs(60));
    for notice in block_on(keyring.claim_notices(due, None)).unwrap().items {
        block_on(keyring.confirm_notice(&notice)).unwrap();
    }
    assert!(service.drain().is_empty());
    // An older secret that tries to rotate the key may be a leaked one.
    let version = block_on(acme.find(held.key.id())).unwrap().version();
    let grace = GracePeriod::For(Duration::from_secs(60));
    let _ = block_on(acme.rotate(held.key.id(), version, grace)).unwrap();
    let may = keyring.requirement(["reporting"]).unwrap();
    block_on(keyring.rotate_own(&held.token, &may, GracePeriod::None, None)).unwrap_err();
    assert_eq!(service.kinds("acme"), ["key_rotated", "change_refused"]);
}

#[test]
fn keyring_without_events_stores_none() {
    let memory = MemoryStore::new();
    let keyring = Keyring::builder(policy(), pepper())
        .environment("live")
        .store_with_events(MemoryStore::new())
        .store(memory.clone())
        .build()
        .unwrap();
    assert!(keyring.events().is_none());
    let (acme, _) = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    block_on(acme.issue(NewKey::named("too many"))).unwrap_err();
    let limit = NonZeroUsize::MIN;
    for tenant in [None, Some(acme.id())] {
        assert!(block_on(memory.events_of(tenant, None, None, limit)).unwrap().is_empty());
    }
}

#[test]
fn dropped_delivery_comes_again_after_its_lease() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    block_on(acme.disable(held.key.id())).unwrap();
    let first = block_on(service.events.next()).unwrap().unwrap();
    let events = first.events().to_vec();
    drop(first);
    service.world.clock.advance(Events::LEASE - SECOND);
    assert!(block_on(service.events.next()).unwrap().is_none());
    service.world.clock.advance(SECOND);
    let again = block_on(service.events.next()).unwrap().unwrap();
    assert_eq!(again.events(), events);
    block_on(again.confirm()).unwrap();
    assert!(service.drain().is_empty());
}

#[test]
fn late_confirmation_does_not_disturb_the_newer_claim() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    block_on(acme.disable(held.key.id())).unwrap();
    let late = block_on(service.events.next()).unwrap().unwrap();
    service.world.clock.advance(Events::LEASE);
    let newer = block_on(service.events.next()).unwrap().unwrap();
    let confirmed = block_on(late.confirm());
    assert!(matches!(confirmed, Err(KeyringError::Conflict)), "{confirmed:?}");
    assert!(block_on(service.events.next()).unwrap().is_none(), "the newer claim is in force");
    block_on(newer.confirm()).unwrap();
}

#[test]
fn failing_receiver_of_a_tenant_does_not_block_others() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    for _ in 0..2 {
        block_on(acme.disable(held.key.id())).unwrap();
        block_on(acme.enable(held.key.id())).unwrap();
    }
    let delivery = block_on(service.events.next()).unwrap().unwrap();
    let rest = delivery.events()[1..].to_vec();
    assert_eq!(rest.len(), 3);
    block_on(delivery.retry_after(1, Duration::from_secs(300))).unwrap();
    service.tenant("other");
    assert!(block_on(service.events.next()).unwrap().is_none());
    service.world.clock.advance(Duration::from_secs(300));
    let again = block_on(service.events.next()).unwrap().unwrap();
    assert_eq!(again.events(), rest);
    // A number beyond the delivery is that of its last event.
    block_on(again.retry_after(usize::MAX, SECOND)).unwrap();
    service.world.clock.advance(SECOND);
    assert!(service.drain().is_empty());
}

#[test]
fn history_of_a_tenant_and_of_a_key_is_read_in_pages() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    let id = held.key.id();
    let other = block_on(acme.issue(NewKey::named("other"))).unwrap().key.id();
    block_on(acme.disable(id)).unwrap();
    block_on(acme.delete(other)).unwrap();
    let read = |key, before, limit| {
        let events = block_on(service.events.of_tenant(acme.id(), key, before, limit)).unwrap();
        events.into_iter().map(|event| (event.number, event.event.kind)).collect::<Vec<_>>()
    };
    let of = |number, kind: &str| (number, kind.to_owned());
    let all = [
        of(5, "key_deleted"),
        of(4, "key_edited"),
        of(3, "key_issued"),
        of(2, "key_issued"),
        of(1, "tenant_created"),
    ];
    assert_eq!(read(None, None, 3), all[..3]);
    assert_eq!(read(None, Some(3), usize::MAX), all[3..]);
    assert_eq!(read(None, None, 0), all[..1]);
    assert_eq!(read(Some(id), None, 9), [of(4, "key_edited"), of(2, "key_issued")]);
    assert_eq!(read(Some(other), Some(5), 9), [of(3, "key_issued")]);
}

#[test]
fn purge_keeps_undelivered_events_unless_told_otherwise() {
    let service = Service::new();
    let (acme, held) = service.tenant("acme");
    service.world.clock.advance(Duration::from_secs(3_600));
    block_on(acme.disable(held.key.id())).unwrap();
    let age = Duration::from_secs(60);
    assert_eq!(block_on(service.events.purge(age)).unwrap(), 2);
    service.world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(block_on(service.events.purge(age)).unwrap(), 0);
    assert_eq!(block_on(service.events.purge_undelivered(Duration::MAX)).unwrap(), 0);
    assert_eq!(block_on(service.events.purge_undelivered(age)).unwrap(), 1);
    assert!(service.drain().is_empty());
}

/// Threads change keys of three tenants while two others drain. Some changes are refused, and some deliveries are dropped
/// or given back.
#[test]
fn concurrent_drainers_get_each_event_once_and_in_order() {
    const TENANTS: [&str; 3] = ["a", "b", "c"];
    let service = Service::new();
    let tenants = TENANTS.map(|id| service.tenant(id));
    let is_over = AtomicBool::new(false);
    let delivered: Mutex<BTreeMap<String, Vec<StoredEvent>>> = Mutex::default();
    let in_hand: Mutex<BTreeSet<EventId>> = Mutex::default();
    let drain = |drainer: usize| {
        let mut turn = drainer;
        loop {
            let was_over = is_over.load(SeqCst);
            let Some(delivery) = block_on(service.events.next()).unwrap() else {
                if was_over {
                    return;
                }
                thread::yield_now();
                continue;
            };
            let events = delivery.events().to_vec();
            for event in &events {
                assert!(in_hand.lock().unwrap().insert(event.event.id), "given out twice");
            }
            turn += 1;
            let count = if turn.is_multiple_of(3) { events.len() / 2 } else { events.len() };
            let tenant = delivery.tenant().unwrap().to_string();
            delivered
                .lock()
                .unwrap()
                .entry(tenant)
                .or_default()
                .extend_from_slice(&events[..count]);
            for event in &events {
                in_hand.lock().unwrap().remove(&event.event.id);
            }
            block_on(delivery.retry_after(count, Duration::ZERO)).unwrap();
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let tenants = &tenants;
                scope.spawn(move || {
                    for round in 0..60 {
                        let (keys, held) = &tenants[(writer + round) % TENANTS.len()];
                        let id = held.key.id();
                        if round % 2 == 0 {
                            let _ = block_on(keys.disable(id));
                        } else {
                            let _ = block_on(keys.enable(id));
                        }
                        block_on(keys.edit(id, 9_999, KeyEdit::new().name("late"))).unwrap_err();
                    }
                })
            })
            .collect();
        let drain = &drain;
        let drainers = [0, 1].map(|drainer| scope.spawn(move || drain(drainer)));
        for writer in writers {
            writer.join().unwrap();
        }
        is_over.store(true, SeqCst);
        for drainer in drainers {
            drainer.join().unwrap();
        }
    });
    let delivered = delivered.into_inner().unwrap();
    for (tenant, (_, held)) in TENANTS.iter().zip(&tenants) {
        let events = &delivered[*tenant];
        // Two events of the creation were delivered before.
        let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (3..3 + numbers.len() as u64).collect::<Vec<_>>(), "{tenant}");
        let edits = events.iter().filter(|event| event.event.kind == "key_edited").count() as u64;
        let key = block_on(service.keyring.tenant(tenant_id(tenant)).find(held.key.id()));
        assert_eq!(key.unwrap().version() - 1, edits, "each version has its event");
    }
}
