//! Feeds of the changes that other nodes make.

use alloc::boxed::Box;
use core::future::Future;

use crate::{record::TenantId, token::KeyId};

/// Reports changes made by other nodes, so that a cache learns of them before the staleness bound.
///
/// A feed is a convenience and not a guarantee. The staleness bound holds with and without a feed, and limits
/// the effect of changes that a feed loses or delays. `Verifier::follow` drives a feed.
pub trait ChangeFeed: Send + 'static {
    /// Waits for the next change. After a broken connection the feed reconnects automatically and returns
    /// [`Change::Gap`]. Until then only the staleness bound limits the age of cached data. `None` ends the
    /// feed permanently.
    fn next(&mut self) -> impl Future<Output = Option<Change>> + Send;
}

/// A change that a feed reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key was changed or deleted.
    Key(KeyId),
    /// A tenant was changed or deleted. This also changes what its keys may do.
    Tenant(TenantId),
    /// A text that a node with the same pepper may have announced through [`Notices`](super::Notices). Any
    /// other text is ignored, since others can write to a database's channels.
    Notice(Box<str>),
    /// Anything may have changed, because the feed was disconnected for a while.
    Gap,
}
