//! Feeds of the changes that other nodes make.

use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, time::Duration};

use crate::{
    record::TenantId,
    time::{Clock, Moment},
    token::KeyId,
};

/// Reports changes made by other nodes, so that a cache learns of them before the staleness bound.
///
/// A feed that also proves that nothing else has changed saves the node from reading its store again. While
/// proofs arrive, a cached key is read again only after a change. Without proofs it is read again once it is
/// older than the staleness bound. A feed need not prove anything. `Verifier::follow` drives a feed.
///
/// # The contract
///
/// A feed that breaks a clause lets a node serve a revoked key for longer than its staleness bound. The
/// feature `conformance` has a test for each clause.
///
/// **A gap at the beginning.** The first event is [`Change::Gap`]. The feed returns it after it has begun to
/// listen, so that the node reads again what it had loaded before.
///
/// **Every change.** From then on the feed reports each change of a key or a tenant that another node has
/// committed, in any order, as often as it likes. A change of the last use of a key is not reported. The same
/// holds for a new key or tenant, which no cache can contain.
///
/// **A gap for what was missed.** A feed that may have missed a change reports a [`Change::Gap`], after it has
/// begun to listen again.
///
/// **Proofs are complete.** A [`Change::Proof`] comes after every change that was committed before its moment.
/// The feed takes the moment from [`Follower::moment`] before it asks the store. The reply must follow all
/// earlier changes, as on a connection that delivers them in the order of their commits.
///
/// **No proof across a gap.** A proof that the feed began before it lost its connection is never returned.
///
/// **No proof without the primary.** A server that may not have the newest changes, such as a replica or a
/// server that was demoted, proves nothing.
///
/// **Cancellation.** The future of [`next`](ChangeFeed::next) may be dropped at any await without losing an
/// event.
pub trait ChangeFeed: Send + 'static {
    /// Waits for the next event. After a broken connection the feed reconnects automatically and returns
    /// [`Change::Gap`]. Until then only the staleness bound limits the age of cached data. `None` ends the
    /// feed permanently.
    fn next(&mut self, follower: &Follower) -> impl Future<Output = Option<Change>> + Send;
}

/// An event of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A key was changed or deleted.
    Key(KeyId),
    /// A tenant was changed or deleted. This also changes what its keys may do.
    Tenant(TenantId),
    /// A text that a node with the same pepper may have announced through [`Notices`](super::Notices). Any
    /// other text is ignored, since others can write to a database's channels.
    Notice(Box<str>),
    /// Anything may have changed, because the feed did not listen until now.
    Gap,
    /// Every change that was committed before this moment has been returned. The feed took the moment from
    /// [`Follower::moment`] before it asked the store. A moment of the future counts as a [`Gap`](Self::Gap).
    Proof(Moment),
}

/// The verifier that follows a feed, as the feed sees it.
#[derive(Clone)]
pub struct Follower {
    clock: Arc<dyn Clock>,
    max_staleness: Duration,
}

impl Follower {
    /// Creates a follower with the clock and the staleness bound of a verifier. `Verifier::follow` does this;
    /// the tests of a feed do it themselves.
    pub fn new(clock: impl Clock, max_staleness: Duration) -> Self {
        Self::of(Arc::new(clock), max_staleness)
    }

    pub(crate) fn of(clock: Arc<dyn Clock>, max_staleness: Duration) -> Self {
        Self { clock, max_staleness }
    }

    /// Returns the present moment of the verifier's clock, for a [`Change::Proof`].
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Returns the staleness bound of the verifier. Proofs that are further apart than this save nothing.
    pub fn max_staleness(&self) -> Duration {
        self.max_staleness
    }

    /// Returns how long a feed waits between two proofs: a quarter of the staleness bound, between 20 ms and
    /// one second. A verifier without a cache needs no proofs, and the result is one second.
    pub fn proof_interval(&self) -> Duration {
        if self.max_staleness.is_zero() {
            return Duration::from_secs(1);
        }
        (self.max_staleness / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

impl core::fmt::Debug for Follower {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Follower")
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
