//! News of what other nodes have changed.

use core::future::Future;

use crate::{record::TenantId, token::KeyId};

/// Tells a node what others have changed, so that its cache hears of it before the staleness bound.
///
/// It is a convenience and not a guarantee: what a feed loses or delays is bounded by the
/// [staleness bound](crate::verifier::VerifierBuilder::max_staleness), which holds with a feed and
/// without. [`Verifier::follow`](crate::verifier::Verifier::follow) drives one.
pub trait ChangeFeed: Send + 'static {
    /// Waits for the next change. A feed that is cut connects again by itself, and says
    /// [`Change::Gap`] once it has; until then the staleness bound is all that there is. `None` ends
    /// it for good.
    fn next(&mut self) -> impl Future<Output = Option<Change>> + Send;
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key was changed or deleted.
    Key(KeyId),
    /// A tenant was changed or deleted, and with it what its keys may do.
    Tenant(TenantId),
    /// Anything may have changed: the feed was cut for a while.
    Gap,
}
