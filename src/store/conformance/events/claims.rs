//! Claims: events are handed out in order, to one caller at a time, until they are delivered.

use alloc::{collections::BTreeSet, format, vec::Vec};
use core::time::Duration;

use futures_util::future::join_all;

use super::{LEASE, Stage, all, event, limit, numbered, numbers, second};
use crate::{
    event::EventClaim,
    store::{
        EventStore,
        conformance::{
            expect::{conflict, done, holds, same},
            give_up::give_up_after,
            issuer::tenant_id,
        },
    },
    time::Timestamp,
};

/// The maximum number of awaits at which a claim is dropped.
const MOST_AWAITS: usize = 64;

/// A claim has the oldest undelivered events, in order, and no more than the limit. After they are delivered, the next
/// claim has those that follow.
pub(super) async fn events_are_claimed_in_order<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let all = numbered(&stage.add_to("acme", 0..10).await);
    let mut now = second(0);
    let mut last = 0;
    for portion in all.chunks(4) {
        let claim = stage.claim_some("in order", now, limit(4)).await;
        same("the tenant of a claim", &claim.tenant, &Some(tenant_id("acme")));
        same("the events of a claim", &claim.events, &portion.to_vec());
        holds(format!("claim {} follows claim {last}", claim.number), claim.number > last);
        last = claim.number;
        stage.settle(&claim, portion.last().map_or(0, |event| event.number), now).await;
        now = now.checked_add(Duration::from_secs(1)).unwrap_or(Timestamp::MAX);
    }
    stage.expect_no_claim("after all events were delivered", now).await;
}

/// Events without a tenant are claimed like others.
pub(super) async fn events_without_a_tenant_are_claimed<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let events = [event(None, 1), event(None, 2)];
    stage.add(&events).await;
    let claim = stage.claim_some("without a tenant", second(0), all()).await;
    let expected = EventClaim { tenant: None, number: claim.number, events: numbered(&events) };
    same("a claim of events without a tenant", &claim, &expected);
    stage.settle(&claim, 2, second(0)).await;
    stage.expect_no_claim("after the events without a tenant", second(1)).await;
}

/// Without events there is nothing to claim, and no claim can be settled.
pub(super) async fn an_empty_store_has_nothing_to_claim<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    stage.expect_no_claim("in an empty store", second(0)).await;
    stage.add(&[]).await;
    stage.expect_no_claim("after no events were added", second(0)).await;
    let acme = tenant_id("acme");
    for claim in [0, 1] {
        let settled = store.settle_events(Some(&acme), claim, 1, second(0)).await;
        conflict(format_args!("claim {claim} of a tenant without events"), settled);
    }
    stage.add_to("acme", [1]).await;
    for claim in [0, 1] {
        let settled = store.settle_events(Some(&acme), claim, 1, second(0)).await;
        conflict(format_args!("claim {claim}, which was never made"), settled);
    }
    stage.claim_some("after settling claims that were never made", second(0), all()).await;
}

/// The events of a claimed tenant are not claimed again before the lease has ended, and neither are newer ones. Then they
/// are claimed again, with the newer ones.
pub(super) async fn a_claim_is_in_force_until_its_lease_ends<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let mut events = stage.add_to("acme", 0..3).await;
    let first = stage.claim_some("at first", second(0), all()).await;
    stage.expect_no_claim("at the time of a claim", second(0)).await;
    events.extend(stage.add_to("acme", 3..5).await);
    stage.expect_no_claim("at the end of a lease", second(59)).await;
    // Another tenant does not wait.
    let others = numbered(&stage.add_to("other", 0..2).await);
    let other = stage.claim_some("beside a claim", second(59), all()).await;
    same("the events of another tenant", &other.events, &others);
    let second_claim = stage.claim_some("after the lease", second(60), all()).await;
    same("the events after the lease", &second_claim.events, &numbered(&events));
    holds(
        format!("claim {} follows claim {}", second_claim.number, first.number),
        second_claim.number > first.number,
    );
}

/// Of concurrent claims, each tenant's events are given to one.
pub(super) async fn concurrent_claims_share_no_event<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let tenants = ["a", "b", "c"];
    for tenant in tenants {
        stage.add_to(tenant, 0..3).await;
    }
    // A store may skip a tenant that another call is about to claim, so the calls are repeated.
    let mut claimed = Vec::new();
    for _ in 0..tenants.len() {
        for claim in join_all((0..8).map(|_| store.claim_events(second(0), LEASE, all()))).await {
            claimed.extend(done("claiming beside others", claim).and_then(|claim| claim.tenant));
        }
    }
    let distinct: BTreeSet<_> = claimed.iter().cloned().collect();
    same("the tenants of concurrent claims", &claimed.len(), &distinct.len());
    same("the tenants of concurrent claims", &distinct, &tenants.map(tenant_id).into());
}

/// A caller that could not deliver all events gives the others back. They, and newer ones, can be claimed from the time
/// that it names. Other tenants do not wait.
pub(super) async fn events_that_are_given_back_wait<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let mut events = stage.add_to("acme", 0..5).await;
    let claim = stage.claim_some("at first", second(0), all()).await;
    stage.settle(&claim, 2, second(300)).await;
    events.extend(stage.add_to("acme", 5..6).await);
    for at in [0, 100, 299] {
        stage.expect_no_claim("before the time that was named", second(at)).await;
    }
    stage.add_to("other", 0..2).await;
    let other = stage.claim_some("beside events that wait", second(1), all()).await;
    same("the tenant that does not wait", &other.tenant, &Some(tenant_id("other")));
    stage.settle(&other, 2, second(1)).await;
    let rest = stage.claim_some("at the time that was named", second(300), all()).await;
    let expected: Vec<_> = numbered(&events).into_iter().skip(2).collect();
    same("the events that were given back", &rest.events, &expected);
}

/// A caller whose lease has ended and whose events were claimed by another caller changes nothing.
pub(super) async fn an_older_claim_changes_nothing<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let events = stage.add_to("acme", 0..5).await;
    let older = stage.claim_some("at first", second(0), limit(2)).await;
    let newer = stage.claim_some("after the lease", second(100), limit(4)).await;
    let acme = tenant_id("acme");
    for delivered in [0, 2, 5] {
        let settled = store.settle_events(Some(&acme), older.number, delivered, second(0)).await;
        conflict(format_args!("an older claim, delivered up to {delivered}"), settled);
        stage.expect_no_claim("while the newer claim is in force", second(101)).await;
    }
    stage.settle(&newer, 4, second(100)).await;
    let settled = store.settle_events(Some(&acme), older.number, 0, second(900)).await;
    conflict("an older claim after the newer one is settled", settled);
    let rest = stage.claim_some("after both claims", second(101), all()).await;
    let expected: Vec<_> = numbered(&events).into_iter().skip(4).collect();
    same("the events after both claims", &rest.events, &expected);
}

/// The number up to which events are delivered never becomes smaller, and never larger than that of the last event.
pub(super) async fn delivered_events_stay_delivered<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    stage.add_to("acme", 0..5).await;
    let claim = stage.claim_some("at first", second(0), all()).await;
    for delivered in [3, 1, 0] {
        stage.settle(&claim, delivered, second(0)).await;
    }
    let rest = stage.claim_some("after smaller numbers", second(1), all()).await;
    same("the events after smaller numbers", &numbers(&rest.events), &[4, 5].into());
    stage.settle(&rest, u64::MAX, second(1)).await;
    stage.expect_no_claim("after all events and more", second(2)).await;
    stage.add_to("acme", 5..7).await;
    let new = stage.claim_some("after new events", second(2), all()).await;
    same("the events after a number that was too large", &numbers(&new.events), &[6, 7].into());
}

/// A tenant whose events were just delivered comes after the others, however many events it has.
pub(super) async fn tenants_take_turns<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let tenants = ["a", "b", "c"];
    for tenant in tenants {
        stage.add_to(tenant, 0..30).await;
    }
    let mut turns = Vec::new();
    for now in 0..9 {
        let claim = stage.claim_some("in turns", second(now), limit(1)).await;
        stage
            .settle(&claim, claim.events.first().map_or(0, |event| event.number), second(now))
            .await;
        turns.extend(claim.tenant);
    }
    for round in turns.chunks(tenants.len()) {
        let distinct: BTreeSet<_> = round.iter().collect();
        same(format_args!("the tenants of a round, {round:?}"), &distinct.len(), &tenants.len());
    }
}

/// A claim whose future is dropped loses no event: after its lease they are claimed again.
pub(super) async fn a_dropped_claim_loses_no_event<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let events = numbered(&stage.add_to("acme", 0..3).await);
    for polls in 0..MOST_AWAITS {
        // Each round begins after the leases of the earlier ones.
        let now = second(1_000 * i64::try_from(polls).unwrap_or_default());
        let claim = give_up_after(polls, store.claim_events(now, LEASE, all())).await;
        let ended = claim.is_some();
        let later = now.checked_add(2 * LEASE).unwrap_or(Timestamp::MAX);
        let when = format!("after a claim that was dropped after {polls} polls");
        // The dropped claim may still be under way and end first, or hold a lock. Then the next one finds nothing.
        let mut again = None;
        for _ in 0..100 {
            again = stage.claim(later, all()).await;
            if again.is_some() {
                break;
            }
        }
        let again = again.map(|claim| claim.events);
        same(when, &again, &Some(events.clone()));
        if ended {
            return;
        }
    }
}

/// The store knows whether any event is not delivered, also if it is claimed, waits to be claimed again, or has no tenant.
pub(super) async fn undelivered_events_are_known<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let expect = async |when: &str, expected: bool| {
        let found = done(when, store.has_undelivered_events().await);
        same(format_args!("{when}, whether an event is undelivered"), &found, &expected);
    };
    expect("in an empty store", false).await;
    for tenant in [Some("acme"), None] {
        stage.add(&(0..3).map(|number| event(tenant, number)).collect::<Vec<_>>()).await;
        expect("after events", true).await;
        let claim = stage.claim_some("after events", second(0), all()).await;
        expect("while they are claimed", true).await;
        stage.settle(&claim, 2, second(1_000)).await;
        expect("while one waits", true).await;
        let claim = stage.claim_some("after the wait", second(1_000), all()).await;
        stage.settle(&claim, 3, second(1_000)).await;
        expect("after they are delivered", false).await;
    }
    stage.add_to("other", 0..1).await;
    expect("after another event", true).await;
    stage.purge(second(1), true).await;
    expect("after it is purged", false).await;
}
