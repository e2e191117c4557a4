//! Applying the changes that other nodes make.

use alloc::sync::Arc;
use core::future::Future;

use super::{Engine, Verifier};
use crate::{
    audit::AuditKind,
    store::{Change, ChangeFeed},
};

impl Verifier {
    /// Applies the changes that `feed` reports, until the feed ends or the last clone of this verifier is
    /// dropped. Spawn it once per process:
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn start(keyring: keyway::Keyring, store: keyway::PostgresStore) {
    /// tokio::spawn(keyring.verifier().follow(store.feed()));
    /// # }
    /// ```
    ///
    /// A change takes effect here as soon as the feed reports it. After a gap in the feed, everything cached
    /// is read again. The staleness bound holds in any case.
    pub fn follow<F: ChangeFeed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<F> {
        let engine = Arc::downgrade(&self.0);
        async move {
            loop {
                let change = feed.next().await;
                let Some(engine) = engine.upgrade() else { return };
                let ends = change.is_none();
                engine.apply(change.unwrap_or(Change::Gap));
                if ends {
                    return;
                }
            }
        }
    }
}

impl Engine {
    fn apply(&self, change: Change) {
        match change {
            Change::Key(id) => self.invalidate_key(id),
            Change::Tenant(id) => self.invalidate_tenant(&id),
            // The content of a notice is never another notice, so the recursion ends.
            Change::Notice(notice) => {
                if let Some(change) = self.authority.notices().read(&notice) {
                    self.apply(change);
                }
            }
            Change::Gap => {
                self.invalidate_all();
                self.record(self.clock.moment().now, "", None, None, AuditKind::FeedGap);
            }
        }
    }
}
