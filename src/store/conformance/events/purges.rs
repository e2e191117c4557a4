//! Purges: which events they delete, and what becomes of the numbers.

use alloc::vec::Vec;

use super::{MANY, Stage, all, event, numbers, second};
use crate::{
    event::Event,
    store::{EventStore, conformance::expect::same},
    time::Timestamp,
};

/// Adds an event of a tenant for each of these seconds.
async fn add_at<S: EventStore>(stage: &Stage<'_, S>, tenant: &str, seconds: &[i64]) {
    let at = |(number, at): (u64, &i64)| Event { at: second(*at), ..event(Some(tenant), number) };
    stage.add(&(0..).zip(seconds).map(at).collect::<Vec<_>>()).await;
}

/// Delivers all events of all tenants up to this number.
async fn deliver<S: EventStore>(stage: &Stage<'_, S>, number: u64) {
    while let Some(claim) = stage.claim(second(0), all()).await {
        stage.settle(&claim, number, second(1_000)).await;
    }
}

async fn expect_left<S: EventStore>(stage: &Stage<'_, S>, when: &str, tenant: &str, left: &[u64]) {
    let found = numbers(&stage.all(Some(tenant)).await);
    same(alloc::format!("{when}, the events of {tenant:?}"), &found, &left.to_vec());
}

/// A purge deletes delivered events before a time, and no others. New events continue the numbers.
pub(super) async fn a_purge_deletes_old_delivered_events<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    add_at(&stage, "acme", &[1, 2, 3, 4]).await;
    add_at(&stage, "new", &[8, 9]).await;
    stage.add(&[Event { at: second(1), ..event(None, 1) }]).await;
    same("a purge of undelivered events", &stage.purge(second(9), false).await, &0);
    deliver(&stage, 3).await;
    same("a purge before the first event", &stage.purge(second(1), false).await, &0);
    same("a purge of two events", &stage.purge(second(2), false).await, &2);
    expect_left(&stage, "after a purge", "acme", &[2, 3, 4]).await;
    // The fourth event is not delivered.
    same("a purge up to a time", &stage.purge(second(8), false).await, &2);
    expect_left(&stage, "after a further purge", "acme", &[4]).await;
    expect_left(&stage, "after a further purge", "new", &[1, 2]).await;
    same("the events without a tenant", &stage.all(None).await, &Vec::new());
    add_at(&stage, "acme", &[5]).await;
    expect_left(&stage, "after a new event", "acme", &[4, 5]).await;
    let claim = stage.claim_some("after a purge", second(2_000), all()).await;
    same("the events after a purge", &numbers(&claim.events), &[4, 5].into());
    stage.add(&[event(None, 2)]).await;
    let found = numbers(&stage.all(None).await);
    same("the number of an event after all earlier ones are gone", &found, &[2].into());
}

/// A purge stops at the first event that is not early enough. Later ones with an earlier time stay, as those of a clock that
/// was set back.
pub(super) async fn a_purge_leaves_no_gap<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    add_at(&stage, "acme", &[1, 2, 9, 1, 2]).await;
    deliver(&stage, 5).await;
    same("a purge beside a later event", &stage.purge(second(5), false).await, &2);
    expect_left(&stage, "after a purge", "acme", &[3, 4, 5]).await;
}

/// Undelivered events that are purged on request are never claimed.
pub(super) async fn purged_events_are_not_claimed<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    add_at(&stage, "acme", &[1, 2, 3]).await;
    add_at(&stage, "other", &[1]).await;
    same("a purge of all", &stage.purge(second(3), true).await, &3);
    expect_left(&stage, "after a purge", "acme", &[3]).await;
    let claim = stage.claim_some("after a purge", second(0), all()).await;
    same("the events after a purge", &numbers(&claim.events), &[3].into());
    stage.settle(&claim, 3, second(0)).await;
    stage.expect_no_claim("after a purge of undelivered events", second(1)).await;
    add_at(&stage, "other", &[4]).await;
    let claim = stage.claim_some("after a new event", second(1), all()).await;
    same("the events after a purge and a new one", &numbers(&claim.events), &[2].into());
}

/// A large purge deletes everything that it should, over several tenants.
pub(super) async fn a_large_purge_is_whole<S: EventStore>(store: &S) {
    let stage = Stage::new(store);
    let numbers: Vec<u64> = (0..MANY).collect();
    for portion in numbers.chunks(500) {
        stage.add_to("acme", portion.iter().copied()).await;
    }
    for tenant in 0..3 {
        stage.add_to(&alloc::format!("t{tenant}"), [1]).await;
    }
    let deleted = stage.purge(Timestamp::MAX, true).await;
    same("the events of a large purge", &deleted, &(MANY + 3));
    expect_left(&stage, "after a large purge", "acme", &[]).await;
    expect_left(&stage, "after a large purge", "t2", &[]).await;
    stage.expect_no_claim("after a large purge", second(0)).await;
}
