//! Applying the changes that other nodes make.

use alloc::sync::Arc;
use core::future::Future;

use super::{Engine, Verifier};
use crate::{
    audit::AuditKind,
    store::{Change, ChangeFeed, Follower},
    time::Moment,
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
    /// The feed must report the changes of every key that this verifier reads. Keys in several databases need one feed
    /// that follows all of them, since its proofs count for all keys.
    ///
    /// A change takes effect here as soon as the feed reports it. After a gap in the feed, everything cached
    /// is read again. While the feed proves that nothing else has changed, nothing is read again. Proofs
    /// before the feed's first gap are ignored, since it is not known since when such a feed has listened. The
    /// staleness bound holds in any case.
    pub fn follow<F: ChangeFeed>(
        &self,
        mut feed: F,
    ) -> impl Future<Output = ()> + Send + 'static + use<F> {
        let engine = Arc::downgrade(&self.0);
        let follower = Follower::of(Arc::clone(&self.0.clock), self.0.cache.max_staleness());
        async move {
            let mut state = Following::default();
            loop {
                let change = feed.next(&follower).await;
                let Some(engine) = engine.upgrade() else { return };
                let ends = change.is_none();
                engine.apply_event(change.unwrap_or(Change::Gap), &mut state);
                if ends {
                    return;
                }
            }
        }
    }
}

/// The state of one feed.
#[derive(Default)]
struct Following {
    /// Whether the feed has reported a gap, which says that it listens.
    has_begun: bool,
    /// When the last text came that is no notice of a known pepper.
    ///
    /// Anyone may have sent it, so it invalidates nothing. But a node with a newer pepper may have sent it as well.
    /// So no proof counts until everything that was loaded before has aged as it does without proofs.
    unreadable: Option<Moment>,
}

impl Engine {
    fn apply_event(&self, event: Change, state: &mut Following) {
        match event {
            Change::Proof(moment) => self.apply_proof(moment, state),
            Change::Notice(notice) => match self.authority.notices().read(&notice) {
                Some(change) => self.apply(change),
                None => state.unreadable = Some(self.clock.moment()),
            },
            change => {
                state.has_begun |= change == Change::Gap;
                self.apply(change);
            }
        }
    }

    fn apply_proof(&self, proved: Moment, state: &mut Following) {
        if !state.has_begun || !self.sources.accept_proofs() {
            return;
        }
        if let Some(unreadable) = state.unreadable {
            let aged = unreadable.uptime.saturating_add(self.cache.max_age_millis());
            if proved.uptime < aged {
                return;
            }
            // Whatever was loaded before is too old by now, and must not become valid again.
            self.cache.cover_after(unreadable);
            state.unreadable = None;
        }
        if !self.cache.prove(proved, self.clock.moment()) {
            self.apply(Change::Gap);
        }
    }

    fn apply(&self, change: Change) {
        match change {
            Change::Key(id) => self.invalidate_key(id),
            Change::Tenant(id) => self.invalidate_tenant(&id),
            Change::Gap => {
                self.invalidate_all();
                self.record(self.clock.moment().now, "", None, None, AuditKind::FeedGap);
            }
            // The content of a notice is never another notice or a proof.
            Change::Notice(_) | Change::Proof(_) => {}
        }
    }
}
