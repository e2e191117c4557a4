//! Hearing of what other nodes have changed.

use alloc::sync::Arc;
use core::future::Future;

use super::{Shared, Verifier};
use crate::{
    audit::AuditKind,
    store::{Change, ChangeFeed},
};

impl Verifier {
    /// Applies the changes that `feed` tells of, until it ends or the last clone of this verifier is
    /// gone. Spawn it once per process:
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn start(keyring: keyway::keyring::Keyring, store: keyway::store::PostgresStore) {
    /// tokio::spawn(keyring.verifier().follow(store.feed()));
    /// # }
    /// ```
    ///
    /// A change takes effect here as soon as it is told. Where the feed has a gap, everything cached
    /// is read again, and the staleness bound holds in any case.
    pub fn follow<F: ChangeFeed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<F> {
        let shared = Arc::downgrade(&self.0);
        async move {
            loop {
                let change = feed.next().await;
                let Some(shared) = shared.upgrade() else { return };
                let ends = change.is_none();
                shared.apply(change.unwrap_or(Change::Gap));
                if ends {
                    return;
                }
            }
        }
    }
}

impl Shared {
    fn apply(&self, change: Change) {
        match change {
            Change::Key(id) => self.invalidate_key(id),
            Change::Tenant(id) => self.invalidate_tenant(&id),
            Change::Gap => {
                self.invalidate_all();
                self.record(self.clock.moment().now, "", None, None, AuditKind::FeedGap);
            }
        }
    }
}
