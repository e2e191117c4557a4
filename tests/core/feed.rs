//! The reaction of a node to a change feed, and the store that it reads while a replica lags behind.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{
    FaultyStore, MAX_STALENESS, World, block_on, overheard::RevealKnown as _, policy,
};
use keyway::{
    GracePeriod, Timestamp,
    record::Suspension,
    store::{Change, ChangeFeed, Follower},
    time::Clock,
    verifier::Freshness,
};

/// A feed that returns the changes passed to `tell`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<VecDeque<Option<Change>>>>);

impl Told {
    fn tell(&self, change: impl Into<Option<Change>>) {
        self.0.lock().unwrap().push_back(change.into());
    }
}

impl ChangeFeed for Told {
    async fn next(&mut self, _: &Follower) -> Option<Change> {
        poll_fn(|_| self.0.lock().unwrap().pop_front().map_or(Poll::Pending, Poll::Ready)).await
    }
}

type Following = Pin<Box<dyn Future<Output = ()>>>;

fn poll(future: &mut Pin<Box<impl Future<Output = ()> + ?Sized>>) -> Poll<()> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn accepts(world: &World, token: &str) -> bool {
    block_on(world.keyring.verify(token)).is_ok()
}

/// Creates a node that writes, a node that has the key in its cache and follows a feed, and the key.
fn nodes() -> (World, World, crate::support::Held, Told) {
    let writes = World::new();
    let reads = writes.another_node();
    let held = writes.tenant_with_key("acme");
    for _ in 0..3 {
        assert!(accepts(&reads, &held.token));
    }
    (writes, reads, held, Told::default())
}

#[test]
fn reported_change_takes_effect_at_once() {
    let (writes, reads, held, feed) = nodes();
    let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    block_on(held.keys.disable(held.key.id())).unwrap();
    assert!(poll(&mut following).is_pending());
    // The feed has not reported anything yet, so the cached key is valid within the staleness bound.
    assert!(accepts(&reads, &held.token));
    feed.tell(Change::Key(held.key.id()));
    assert!(poll(&mut following).is_pending());
    assert!(!accepts(&reads, &held.token));

    block_on(held.keys.enable(held.key.id())).unwrap();
    feed.tell(Change::Key(held.key.id()));
    assert!(poll(&mut following).is_pending());
    assert!(accepts(&reads, &held.token));
    let reason = Suspension::permanent("unpaid").unwrap();
    block_on(writes.keyring.suspend_tenant(held.keys.id(), reason)).unwrap();
    assert!(accepts(&reads, &held.token));
    feed.tell(Change::Tenant("another".parse().unwrap()));
    feed.tell(Change::Tenant(held.keys.id().clone()));
    assert!(poll(&mut following).is_pending());
    assert!(!accepts(&reads, &held.token));
    assert!(!reads.audit.kinds().contains(&"FeedGap".into()));
}

#[test]
fn after_a_gap_everything_is_read_again() {
    let (_, reads, held, feed) = nodes();
    let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    block_on(held.keys.disable(held.key.id())).unwrap();
    feed.tell(Change::Gap);
    assert!(poll(&mut following).is_pending());
    assert!(!accepts(&reads, &held.token));
    assert!(reads.audit.kinds().contains(&"FeedGap".into()));
}

/// Returns a proof as of `ago` before now.
fn proof(world: &World, ago: Duration) -> Change {
    let mut moment = world.clock.moment();
    moment.uptime -= u64::try_from(ago.as_millis()).unwrap();
    let millis = moment.now.as_millis() - i64::try_from(ago.as_millis()).unwrap();
    moment.now = Timestamp::from_millis(millis).unwrap();
    Change::Proof(moment)
}

/// Lets time pass in seconds, with one proof of each.
fn seconds_with_proofs(world: &World, feed: &Told, following: &mut Following, seconds: u32) {
    for _ in 0..seconds {
        world.clock.advance(Duration::from_secs(1));
        feed.tell(proof(world, Duration::ZERO));
        assert!(poll(following).is_pending());
    }
}

/// Like [`nodes`], with a feed that has begun. The key was loaded since then.
fn followed() -> (World, World, crate::support::Held, Told, Following) {
    let (writes, reads, held, feed) = nodes();
    let mut following: Following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    feed.tell(Change::Gap);
    assert!(poll(&mut following).is_pending());
    assert!(accepts(&reads, &held.token));
    (writes, reads, held, feed, following)
}

#[test]
fn nothing_is_read_while_proofs_arrive() {
    let (writes, reads, held, feed, mut following) = followed();
    let before = reads.store.calls("lookup");
    for _ in 0..60 {
        seconds_with_proofs(&reads, &feed, &mut following, 60);
        assert!(accepts(&reads, &held.token));
    }
    assert_eq!(reads.store.calls("lookup"), before);
    // A reported change takes effect, proofs or not.
    block_on(held.keys.disable(held.key.id())).unwrap();
    feed.tell(Change::Key(held.key.id()));
    feed.tell(proof(&reads, Duration::ZERO));
    assert!(poll(&mut following).is_pending());
    assert!(!accepts(&reads, &held.token));
    drop(writes);
}

#[test]
fn without_proofs_keys_age_from_the_last_one() {
    let (_writes, reads, held, feed, mut following) = followed();
    seconds_with_proofs(&reads, &feed, &mut following, 60);
    // The last proof is older than its arrival.
    reads.clock.advance(Duration::from_secs(3));
    feed.tell(proof(&reads, Duration::from_secs(2)));
    assert!(poll(&mut following).is_pending());
    block_on(held.keys.disable(held.key.id())).unwrap();
    reads.clock.advance(MAX_STALENESS - Duration::from_secs(2) - Duration::from_millis(1));
    assert!(accepts(&reads, &held.token));
    reads.clock.advance(Duration::from_millis(1));
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn older_proof_does_not_replace_a_newer_one() {
    let (_writes, reads, held, feed, mut following) = followed();
    seconds_with_proofs(&reads, &feed, &mut following, 60);
    let before = reads.store.calls("lookup");
    for ago in [30, 2, 40] {
        feed.tell(proof(&reads, Duration::from_secs(ago)));
    }
    assert!(poll(&mut following).is_pending());
    reads.clock.advance(MAX_STALENESS - Duration::from_millis(1));
    assert!(accepts(&reads, &held.token));
    assert_eq!(reads.store.calls("lookup"), before);
}

#[test]
fn proof_of_a_feed_that_has_not_begun_is_ignored() {
    let (_writes, reads, held, feed) = nodes();
    let mut following: Following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    block_on(held.keys.disable(held.key.id())).unwrap();
    seconds_with_proofs(&reads, &feed, &mut following, 5);
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn proof_of_the_future_is_a_gap() {
    let (_writes, reads, held, feed, mut following) = followed();
    block_on(held.keys.disable(held.key.id())).unwrap();
    let mut moment = reads.clock.moment();
    moment.uptime += 1;
    feed.tell(Change::Proof(moment));
    assert!(poll(&mut following).is_pending());
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn proofs_do_not_cover_what_an_unreadable_notice_may_name() {
    let (_writes, reads, held, feed, mut following) = followed();
    let later = reads.tenant_with_key("later");
    seconds_with_proofs(&reads, &feed, &mut following, 60);
    // The text may come from a node with a newer pepper. It empties no cache.
    let before = reads.store.calls("lookup");
    block_on(held.keys.disable(held.key.id())).unwrap();
    feed.tell(Change::Notice("unreadable".into()));
    feed.tell(proof(&reads, Duration::ZERO));
    assert!(poll(&mut following).is_pending());
    assert!(accepts(&reads, &held.token));
    assert_eq!(reads.store.calls("lookup"), before);
    // The key was loaded long ago, but the last proof before the notice covers it up to the bound.
    seconds_with_proofs(&reads, &feed, &mut following, 5);
    assert!(!accepts(&reads, &held.token));
    // Keys that are loaded from then on are covered again.
    assert!(accepts(&reads, &later.token));
    let before = reads.store.calls("lookup");
    seconds_with_proofs(&reads, &feed, &mut following, 60);
    assert!(accepts(&reads, &later.token));
    assert_eq!(reads.store.calls("lookup"), before);
}

#[test]
fn nothing_old_is_served_after_a_pause_of_the_clock() {
    for pause in [Duration::from_secs(6), Duration::from_secs(3_600)] {
        let (writes, reads, held, feed, mut following) = followed();
        let other = writes.tenant_with_key("other");
        assert!(accepts(&reads, &other.token));
        seconds_with_proofs(&reads, &feed, &mut following, 10);
        let begun = proof(&reads, Duration::ZERO);
        for held in [&held, &other] {
            block_on(held.keys.disable(held.key.id())).unwrap();
        }
        // The machine is suspended: the uptime does not change, and the time of day does.
        reads.clock.set(reads.clock.moment().now.checked_add(pause).unwrap());
        feed.tell(begun);
        assert!(!accepts(&reads, &held.token), "before the proof, {pause:?}");
        assert!(!accepts(&reads, &other.token), "the second key, {pause:?}");
        assert!(poll(&mut following).is_pending());
        assert!(!accepts(&reads, &held.token), "after the proof, {pause:?}");
    }
}

#[test]
fn slowly_drifting_clocks_cost_no_read() {
    let (_writes, reads, held, feed, mut following) = followed();
    let before = reads.store.calls("lookup");
    for _ in 0..600 {
        // The time of day gains a thousandth.
        reads.clock.set(reads.clock.moment().now.checked_add(Duration::from_millis(1)).unwrap());
        seconds_with_proofs(&reads, &feed, &mut following, 1);
        assert!(accepts(&reads, &held.token));
    }
    assert_eq!(reads.store.calls("lookup"), before);
}

#[test]
fn when_a_feed_ends_everything_is_read_again() {
    let (_, reads, held, feed) = nodes();
    let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    block_on(held.keys.disable(held.key.id())).unwrap();
    feed.tell(None);
    assert!(poll(&mut following).is_ready());
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn following_ends_with_the_verifier() {
    let (writes, reads, held, feed) = nodes();
    let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
    assert!(poll(&mut following).is_pending());
    drop(reads);
    feed.tell(Change::Key(held.key.id()));
    assert!(poll(&mut following).is_ready());
    drop(writes);
}

const LAG: Duration = Duration::from_secs(2);

/// Like [`nodes`], with a replica between the reading node and the store. The replica keeps returning the old
/// record until `rewrite_nothing` is called.
fn behind_a_replica() -> (World, World, crate::support::Held, Told, FaultyStore) {
    let writes = World::new();
    let held = writes.tenant_with_key("acme");
    // The machine has been running for a while.
    writes.clock.advance(Duration::from_secs(3_600));
    let replica = FaultyStore::over(writes.store.memory().clone());
    replica.set_max_lag(LAG);
    let reads = World::with(policy(), |builder| {
        builder.store(writes.store.clone()).clock(writes.clock.clone()).replica(replica.clone())
    });
    for _ in 0..3 {
        assert!(accepts(&reads, &held.token));
    }
    let stored = held.key.clone();
    replica.rewrite_keys(move |key| Ok(if key.id() == stored.id() { stored.clone() } else { key }));
    (writes, reads, held, Told::default(), replica)
}

#[test]
fn key_of_a_replica_counts_as_old_as_its_lag() {
    let (writes, reads, held, _, replica) = behind_a_replica();
    writes.clock.advance(MAX_STALENESS);
    assert!(accepts(&reads, &held.token));
    let before = replica.calls("lookup");
    // The window has one tick more than the lag.
    writes.clock.advance(MAX_STALENESS - LAG - Duration::from_millis(200));
    assert!(accepts(&reads, &held.token));
    assert_eq!(replica.calls("lookup"), before);
    writes.clock.advance(Duration::from_millis(200));
    assert!(accepts(&reads, &held.token));
    assert_eq!(replica.calls("lookup"), before + 1);
}

#[test]
fn proofs_do_not_cover_loads_of_a_replica_alone() {
    let writes = World::new();
    let held = writes.tenant_with_key("acme");
    // The machine has been running for a while.
    writes.clock.advance(Duration::from_secs(3_600));
    let replica = FaultyStore::over(writes.store.memory().clone());
    replica.set_max_lag(LAG);
    let verifier = writes.verifier(|builder| builder.lookup(replica.clone()));
    let feed = Told::default();
    let mut following: Following = Box::pin(verifier.follow(feed.clone()));
    feed.tell(Change::Gap);
    assert!(poll(&mut following).is_pending());
    // The change has been reported, and the replica does not have it yet.
    let stored = held.key.clone();
    replica.rewrite_keys(move |key| Ok(if key.id() == stored.id() { stored.clone() } else { key }));
    block_on(held.keys.disable(held.key.id())).unwrap();
    feed.tell(Change::Key(held.key.id()));
    assert!(poll(&mut following).is_pending());
    assert!(block_on(verifier.verify(&*held.token)).is_ok());
    replica.rewrite_nothing();
    seconds_with_proofs(&writes, &feed, &mut following, 5);
    assert!(block_on(verifier.verify(&*held.token)).is_err());
}

#[test]
fn replica_that_lags_by_the_bound_is_refused() {
    let store = FaultyStore::default();
    let replica = FaultyStore::default();
    replica.set_max_lag(MAX_STALENESS);
    let builder = keyway::Keyring::builder(policy(), crate::support::pepper()).environment("live");
    let builder = builder.store(store).max_staleness(MAX_STALENESS).replica(replica);
    let refused = builder.build().unwrap_err();
    let expected = keyway::ConfigError::MaxLag { lag: MAX_STALENESS, bound: MAX_STALENESS };
    assert_eq!(refused, expected);
}

#[test]
fn verification_reads_the_replica() {
    let (writes, reads, held, _, replica) = behind_a_replica();
    assert!(replica.calls("lookup") > 0);
    assert_eq!(writes.store.calls("lookup"), 0);
    block_on(held.keys.disable(held.key.id())).unwrap();
    // The replica does not have the change yet, and no feed has reported it.
    writes.clock.advance(MAX_STALENESS);
    assert!(accepts(&reads, &held.token));
    // A verification of fresh data reads the store.
    assert!(block_on(reads.keyring.verify_as_of(&held.token, Freshness::Now)).is_err());
    replica.rewrite_nothing();
    writes.clock.advance(MAX_STALENESS);
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn own_change_is_not_read_from_a_lagging_replica() {
    let (writes, reads, held, _, replica) = behind_a_replica();
    let acme = reads.keyring.tenant(held.keys.id().clone());
    block_on(acme.disable(held.key.id())).unwrap();
    assert!(!accepts(&reads, &held.token));
    writes.clock.advance(LAG);
    assert!(!accepts(&reads, &held.token));
    // Once the lag has passed, the replica has the change and is read again.
    let before = replica.calls("lookup");
    replica.rewrite_nothing();
    writes.clock.advance(LAG + MAX_STALENESS);
    assert!(!accepts(&reads, &held.token));
    assert!(replica.calls("lookup") > before);
}

#[test]
fn new_secret_of_another_node_is_read_from_the_store() {
    let (_, reads, held, _, replica) = behind_a_replica();
    let rotated = block_on(held.keys.rotate(held.key.id(), held.key.version(), GracePeriod::None));
    let token = rotated.unwrap().token.reveal_known();
    let before = replica.calls("lookup");
    // The replica lags behind and would reject the new token.
    assert!(accepts(&reads, &token));
    assert_eq!(replica.calls("lookup"), before);
    assert!(!accepts(&reads, &held.token));
}

#[test]
fn followed_change_is_not_read_from_a_lagging_replica() {
    for change in 0..3 {
        let (_, reads, held, feed, _) = behind_a_replica();
        let mut following = Box::pin(reads.keyring.verifier().follow(feed.clone()));
        block_on(held.keys.disable(held.key.id())).unwrap();
        feed.tell(match change {
            0 => Change::Key(held.key.id()),
            1 => Change::Tenant(held.keys.id().clone()),
            _ => Change::Gap,
        });
        assert!(poll(&mut following).is_pending());
        assert!(!accepts(&reads, &held.token), "{change}");
    }
}
