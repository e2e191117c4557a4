//! Writes: an event is stored if and only if its change is made, and gets the next number of its tenant.

use alloc::{format, string::ToString as _, vec::Vec};

use futures_util::future::join_all;

use super::{Stage, event, events, key, numbers};
use crate::{
    event::Event,
    store::{
        EventStore,
        conformance::{
            expect::{conflict, done, exists, holds, not_found, quota_full, same},
            give_up::give_up_after,
            issuer::Issuer,
            stage::ROOM,
        },
    },
    time::Timestamp,
};

/// The maximum number of awaits at which a write is dropped.
const MOST_AWAITS: usize = 64;

/// Each method that changes a tenant or a key stores all of its events, in order.
pub(super) async fn a_change_stores_its_events<S: EventStore>(store: &S) {
    let (stage, issuer) = (Stage::new(store), Issuer::new());
    let tenant = issuer.tenant("acme");
    let (first, second) = (issuer.key(&tenant, "first"), issuer.key(&tenant, "second"));
    let changed = issuer.suspended(&tenant, "unpaid");
    let renamed = issuer.renamed(&second, &tenant, "renamed");
    let mut all = Vec::new();
    for (number, method) in (0_u64..).zip([
        "insert_tenant",
        "insert_key",
        "update_key",
        "delete_key",
        "update_tenant",
        "delete_tenant",
    ]) {
        let events = events("acme", [2 * number, 2 * number + 1]);
        let made = match method {
            "insert_tenant" => {
                store.insert_tenant(tenant.clone(), Some(first.clone()), &events).await
            }
            "insert_key" => {
                store.insert_key(second.clone(), tenant.version, Some(ROOM), &events).await
            }
            "update_key" => store.update_key(renamed.clone(), second.version, &events).await,
            "delete_key" => store.delete_key(&tenant.id, second.id, None, &events).await,
            "update_tenant" => store.update_tenant(changed.clone(), tenant.version, &events).await,
            _ => store.delete_tenant(&tenant.id, &events).await,
        };
        done(format_args!("{method} with two events"), made);
        all.extend(events);
        stage.expect_events(&format!("after {method}"), Some("acme"), &all).await;
    }
}

/// A method that makes no change stores no event, whatever the reason. The numbers have no gap afterwards.
pub(super) async fn a_refused_change_stores_no_event<S: EventStore>(store: &S) {
    let (stage, issuer) = (Stage::new(store), Issuer::new());
    let tenant = issuer.tenant("acme");
    let (held, other) = (issuer.key(&tenant, "held"), issuer.key(&tenant, "other"));
    let changed = issuer.suspended(&tenant, "unpaid");
    let renamed = issuer.renamed(&held, &tenant, "renamed");
    let first = events("acme", [1]);
    let created = store.insert_tenant(tenant.clone(), Some(held.clone()), &first).await;
    done("inserting a tenant with its key", created);
    let lost = events("acme", [2, 3]);
    let version = tenant.version;

    exists("the same tenant", store.insert_tenant(tenant.clone(), None, &lost).await);
    conflict("an old tenant", store.update_tenant(changed.clone(), version + 7, &lost).await);
    let inserted = store.insert_key(other.clone(), version + 7, Some(ROOM), &lost).await;
    conflict("a key for an old tenant", inserted);
    quota_full("a key too many", store.insert_key(other.clone(), version, Some(1), &lost).await);
    exists("the same key", store.insert_key(held.clone(), version, Some(ROOM), &lost).await);
    conflict("an old key", store.update_key(renamed.clone(), held.version + 7, &lost).await);
    let deleted = store.delete_key(&tenant.id, held.id, Some(held.version + 7), &lost).await;
    conflict("deleting an old key", deleted);
    not_found("deleting no key", store.delete_key(&tenant.id, other.id, None, &lost).await);
    let stranger = issuer.tenant("nobody");
    let lost = events("nobody", [1]);
    not_found("no tenant", store.update_tenant(stranger.clone(), version, &lost).await);
    not_found("deleting no tenant", store.delete_tenant(&stranger.id, &lost).await);

    stage.expect_events("after refused changes", Some("nobody"), &[]).await;
    let made = events("acme", [4]);
    done("renaming the key", store.update_key(renamed, held.version, &made).await);
    let both: Vec<_> = first.into_iter().chain(made).collect();
    stage.expect_events("after refused changes and one more", Some("acme"), &both).await;
}

/// Each part of an event is read as it was written: any text, any time, with and without a key.
pub(super) async fn events_are_read_as_they_were_written<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let texts = ["", " a ", "é e\u{301}", "two\nlines\0and\u{202e}more", "'; --", "\u{10ffff}"];
    let times = [Timestamp::MIN, Timestamp::MAX, super::at(-1), super::at(1)];
    let mut all: Vec<Event> = Vec::new();
    for (number, text) in (0_u64..).zip(texts) {
        for (place, at) in (0_u64..).zip(times) {
            let plain = event(Some("acme"), 10 * number + place);
            all.push(Event {
                at,
                actor: text.to_string(),
                detail: text.repeat(usize::from(place == 0) * 2_000 + 1),
                key: (place % 2 == 0).then(|| key(number)),
                ..plain
            });
        }
    }
    stage.add(&all).await;
    stage.expect_events("after events with any text", Some("acme"), &all).await;
}

/// The events of each tenant have numbers of their own, and so have those without a tenant. Ids of tenants are compared
/// byte for byte.
pub(super) async fn each_tenant_has_its_own_sequence<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let tenants = ["acme", "Acme", "acme ", "acm", "acm_", "%", "é", "e\u{301}", "' OR '1'='1"];
    let tenants: Vec<_> = [None].into_iter().chain(tenants.map(Some)).collect();
    let of = |tenant: Option<&str>| [1, 2, 3].map(|number| event(tenant, number));
    // One call has events of all tenants.
    for place in 0..2 {
        let mixed: Vec<_> = tenants.iter().filter_map(|id| of(*id).get(place).cloned()).collect();
        stage.add(&mixed).await;
    }
    for tenant in &tenants {
        stage.add(of(*tenant).get(2..).unwrap_or_default()).await;
    }
    for tenant in &tenants {
        stage.expect_events("beside other tenants", *tenant, &of(*tenant)).await;
    }
    stage.expect_events("beside other tenants", Some("ACME"), &[]).await;
}

/// The events of a deleted tenant stay, and a tenant that is created again continues their numbers.
pub(super) async fn a_tenant_created_again_continues_its_sequence<S: EventStore>(store: &S) {
    let (stage, issuer) = (Stage::new(store), Issuer::new());
    let tenant = issuer.tenant("acme");
    let mut all = Vec::new();
    for number in 0..3 {
        let created = events("acme", [2 * number]);
        done("creating", store.insert_tenant(tenant.clone(), None, &created).await);
        let deleted = events("acme", [2 * number + 1]);
        done("deleting", store.delete_tenant(&tenant.id, &deleted).await);
        all.extend(created.into_iter().chain(deleted));
        stage.expect_events("after a deletion", Some("acme"), &all).await;
    }
}

/// Concurrent changes of one tenant number their events without gaps or repetitions. The events of one call follow each
/// other.
pub(super) async fn concurrent_events_have_numbers_of_their_own<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let calls: Vec<_> = (0..20).map(|call| events("acme", [2 * call, 2 * call + 1])).collect();
    for added in join_all(calls.iter().map(|events| store.add_events(events))).await {
        done("adding events beside others", added);
    }
    let found = stage.all(Some("acme")).await;
    same("the numbers of concurrent events", &numbers(&found), &(1..=40).collect());
    for pair in found.chunks(2) {
        let is_call = |call: &Vec<Event>| call.iter().eq(pair.iter().map(|event| &event.event));
        holds(
            format!("expected the events of one call to follow each other, but got {pair:?}"),
            calls.iter().any(is_call),
        );
    }
}

/// A change whose future is dropped at any await stores its events if and only if it is made.
pub(super) async fn a_dropped_change_is_stored_with_its_events_or_not<S: EventStore>(store: &S) {
    let (stage, issuer) = (Stage::new(store), Issuer::new());
    for polls in 0..MOST_AWAITS {
        let id = format!("t{polls}");
        let tenant = issuer.tenant(&id);
        let old = issuer.key(&tenant, "old");
        let new = issuer.renamed(&old, &tenant, "new");
        let inserted = store.insert_tenant(tenant.clone(), Some(old.clone()), &[]).await;
        done("inserting a tenant with its key", inserted);
        let written = events(&id, [1, 2]);
        let update = store.update_key(new.clone(), old.version, &written);
        let finished = give_up_after(polls, update).await;
        let ended = finished.is_some();
        if let Some(updated) = finished {
            done(format_args!("an update, polled {polls} times"), updated);
        }
        // The update may still be under way. The next write of the key waits for it, and shows which of both came first.
        let again = issuer.renamed(&new, &tenant, "again");
        let is_made = store.update_key(again, new.version, &[]).await.is_ok();
        holds(format!("an update that ended is lost, polled {polls} times"), is_made || !ended);
        let expected: &[Event] = if is_made { &written } else { &[] };
        if is_made {
            let when = format!("after an update that was dropped after {polls} polls and made");
            stage.expect_events(&when, Some(&id), expected).await;
        } else {
            // It was not made so far. If it is made later, its events come with it.
            let found = stage.all(Some(&id)).await;
            let key = done("reading a key", store.key(&tenant.id, old.id).await);
            let is_new = key.is_some_and(|key| key.version == new.version);
            holds(
                format!("a dropped update has {} events, and is made: {is_new}", found.len()),
                found.is_empty() || is_new,
            );
        }
        if ended {
            return;
        }
    }
}
