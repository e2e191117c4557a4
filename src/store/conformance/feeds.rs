//! The contract of [`ChangeFeed`] as a test suite, for feeds that prove.

use alloc::{boxed::Box, format, vec::Vec};
use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    Clause,
    cached::{Change as Kind, Held, Node},
    expect::{holds, made},
    issuer::{at, pepper},
};
use crate::{
    record::TenantId,
    store::{AnyStore, Change, ChangeFeed, Follower, Notices},
    time::{Clock as _, ManualClock, Moment},
    token::KeyId,
};

/// A store and its feeds, for [`feed_clauses`].
///
/// The author of a feed implements it in a test:
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use keyway::{
///     SqliteStore,
///     store::{AnyStore, SqliteFeed, conformance::{FollowedStore, feed_clauses}},
/// };
///
/// struct Followed(SqliteStore);
///
/// impl FollowedStore for Followed {
///     type Feed = SqliteFeed;
///
///     fn store(&self) -> AnyStore {
///         AnyStore::new(self.0.clone())
///     }
///
///     fn feed(&self) -> SqliteFeed {
///         self.0.feed()
///     }
///
///     async fn cut(&self) {}
/// }
///
/// for clause in feed_clauses::<Followed>() {
///     pollster::block_on(async {
///         clause.run(&Followed(SqliteStore::in_memory().await.unwrap())).await;
///     });
/// }
/// # }
/// ```
pub trait FollowedStore {
    /// The type of the feeds.
    type Feed: ChangeFeed;

    /// Returns the store.
    fn store(&self) -> AnyStore;

    /// Creates a feed of the changes in the store.
    fn feed(&self) -> Self::Feed;

    /// Cuts the connections of all feeds, so that they have to reconnect. Does nothing if a feed has no connection
    /// that could break.
    fn cut(&self) -> impl Future<Output = ()>;
}

/// Returns every clause of the contract of feeds. A feed that proves nothing never ends the clauses.
pub fn feed_clauses<S: FollowedStore>() -> Vec<Clause<S>> {
    macro_rules! list {
        ($($clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |followed: &S| Box::pin($clause(followed)),
            }),*]
        };
    }
    list![
        a_feed_begins_with_a_gap
        every_change_comes_before_its_proof
        no_proof_is_from_the_future
        a_proof_covers_what_was_committed_while_it_was_under_way
        changes_that_nobody_waits_for_are_kept
        a_dropped_wait_loses_nothing
        a_last_use_is_no_change
        no_proof_crosses_a_cut
    ]
    .into()
}

/// The first event is a gap.
async fn a_feed_begins_with_a_gap<S: FollowedStore>(followed: &S) {
    let first = followed.feed().next(&follower(&ManualClock::at(at(0)))).await;
    holds(format!("the first event is {first:?} and no gap"), first == Some(Change::Gap));
}

/// Every kind of change is reported before a proof that covers it.
async fn every_change_comes_before_its_proof<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    for kind in Kind::ALL {
        let held = stage.node.tenant_with_key(&format!("{kind:?}")).await;
        stage.prove("before a change").await;
        kind.apply(&stage.node, &held).await;
        let seen = stage.prove(&format!("after {kind:?}")).await;
        seen.expect(&format!("{kind:?}"), held.key.id, held.keys.id());
    }
}

/// The moment of a proof is not later than the proof.
async fn no_proof_is_from_the_future<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    for _ in 0..20 {
        stage.prove("in a quiet store").await;
    }
}

/// A change that is committed while a proof is under way is reported before a proof whose moment is later.
async fn a_proof_covers_what_was_committed_while_it_was_under_way<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    let held = stage.node.tenant_with_key("acme").await;
    for round in 0..30 {
        stage.prove("before a change").await;
        // The feed asks the store at some point of these polls.
        for _ in 0..round % 4 {
            stage.poll();
        }
        stage.toggle(&held, round).await;
        let seen = stage.prove("after a change").await;
        seen.expect("a change beside a proof", held.key.id, held.keys.id());
    }
}

/// Changes that are committed while nobody waits for the feed are reported, or a gap is.
async fn changes_that_nobody_waits_for_are_kept<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(stage.node.tenant_with_key(&format!("t{number}")).await);
    }
    stage.prove("before the changes").await;
    for held in &all {
        stage.toggle(held, 0).await;
    }
    let seen = stage.prove("after the changes").await;
    for held in &all {
        seen.expect("a change that nobody waited for", held.key.id, held.keys.id());
    }
}

/// A wait that is dropped at any point loses no change.
async fn a_dropped_wait_loses_nothing<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    let held = stage.node.tenant_with_key("acme").await;
    for round in 0..30 {
        stage.prove("before a change").await;
        stage.toggle(&held, round).await;
        for _ in 0..round {
            stage.poll();
        }
        let seen = stage.prove("after dropped waits").await;
        seen.expect("a change beside dropped waits", held.key.id, held.keys.id());
    }
}

/// The last use of a key is not reported.
async fn a_last_use_is_no_change<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    let held = stage.node.tenant_with_key("acme").await;
    stage.prove("before a use").await;
    stage.node.expect_verified("before a flush", &held).await;
    made(stage.node.keyring.flush_uses().await);
    let seen = stage.prove("after a flush").await;
    holds(format!("after a flush of last uses the feed reported {:?}", seen.0), seen.0.is_empty());
}

/// After a cut, a gap or the changes that were committed meanwhile come before the next proof that covers them.
async fn no_proof_crosses_a_cut<S: FollowedStore>(followed: &S) {
    let mut stage = Stage::new(followed).await;
    let held = stage.node.tenant_with_key("acme").await;
    for round in 0..6 {
        stage.prove("before a cut").await;
        for _ in 0..round {
            stage.poll();
        }
        followed.cut().await;
        stage.toggle(&held, round).await;
        let seen = stage.prove("after a cut").await;
        seen.expect("a change during a cut", held.key.id, held.keys.id());
    }
}

/// A feed that has begun, and a node that makes changes.
struct Stage<F> {
    feed: F,
    node: Node,
    clock: ManualClock,
    follower: Follower,
    notices: Notices,
    /// The events before the next proof.
    seen: Seen,
}

/// The changes that a feed has reported.
#[derive(Default)]
struct Seen(Vec<Change>);

/// Creates a follower with a short bound, for which a feed proves often.
fn follower(clock: &ManualClock) -> Follower {
    Follower::new(clock.clone(), Duration::from_millis(100))
}

impl<F: ChangeFeed> Stage<F> {
    async fn new<S: FollowedStore<Feed = F>>(followed: &S) -> Self {
        let clock = ManualClock::at(at(0));
        let mut stage = Self {
            feed: followed.feed(),
            node: Node::new(&followed.store()),
            follower: follower(&clock),
            clock,
            notices: Notices::new("conform", "test", &pepper().into()),
            seen: Seen::default(),
        };
        let first = stage.feed.next(&stage.follower).await;
        holds(format!("the first event is {first:?} and no gap"), first == Some(Change::Gap));
        stage
    }

    /// Lets a millisecond pass, so that every moment is another one, and waits until the feed has proven that it
    /// reported everything before. Returns what it has reported since the last proof.
    async fn prove(&mut self, when: &str) -> Seen {
        self.clock.advance(Duration::from_millis(1));
        let from = self.clock.moment();
        loop {
            let event = self.feed.next(&self.follower).await;
            if let Some(proved) = self.note(when, event)
                && proved.uptime >= from.uptime
            {
                return core::mem::take(&mut self.seen);
            }
        }
    }

    /// Polls the feed once, and lets a millisecond pass.
    fn poll(&mut self) {
        let follower = self.follower.clone();
        let event = {
            let next = pin!(self.feed.next(&follower));
            next.poll(&mut Context::from_waker(Waker::noop()))
        };
        if let Poll::Ready(event) = event {
            self.note("at a single poll", event);
        }
        self.clock.advance(Duration::from_millis(1));
    }

    /// Notes an event, and returns the moment of a proof.
    fn note(&mut self, when: &str, event: Option<Change>) -> Option<Moment> {
        let event = made(event.ok_or("the feed ended"));
        match event {
            Change::Proof(moment) => {
                let now = self.clock.moment();
                holds(
                    format!("{when}: a proof of {moment:?} came at {now:?}, which is earlier"),
                    moment.uptime <= now.uptime,
                );
                return Some(moment);
            }
            // A text that cannot be read reports nothing.
            Change::Notice(text) => self.seen.0.extend(self.notices.read(&text)),
            change => self.seen.0.push(change),
        }
        None
    }

    /// Switches the key off or on.
    async fn toggle(&self, held: &Held, round: usize) {
        let done = if round.is_multiple_of(2) {
            held.keys.disable(held.key.id).await
        } else {
            held.keys.enable(held.key.id).await
        };
        made(done);
    }
}

impl Seen {
    /// Expects that the changes contain this key, its tenant or a gap.
    #[track_caller]
    fn expect(&self, what: &str, key: KeyId, tenant: &TenantId) {
        let names = |change: &Change| match change {
            Change::Key(id) => *id == key,
            Change::Tenant(id) => id == tenant,
            Change::Gap => true,
            _ => false,
        };
        holds(
            format!("{what} is missing before the proof, in {:?}", self.0),
            self.0.iter().any(names),
        );
    }
}
