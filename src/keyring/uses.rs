//! Writing down when keys were last used, aside from verification.

use alloc::{sync::Arc, vec::Vec};
use core::{future::Future, time::Duration};

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    cache::Uses,
    store::{KeyStore, KeyUse},
};

/// How many uses are written in one call of the store.
const BATCH: usize = 10_000;

impl Keyring {
    /// Writes the last uses of keys that the store has not been told of, in batches, and gives their
    /// number. Call it every minute or so ([`flush_uses_every`](Self::flush_uses_every) does), and
    /// before the service stops.
    ///
    /// Verification never waits for it; a second call waits for the first, so that all that was used
    /// before it is written when it returns. What a crash leaves unwritten is lost.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. What was not written is kept for the next call.
    pub async fn flush_uses(&self) -> Result<usize, KeyringError> {
        let shared = self.shared();
        let _flushing = shared.uses.flushing().await;
        let lost = shared.uses.take_lost();
        if lost > 0 {
            shared.record(self.now(), "", None, None, AuditKind::UsesLost(lost));
        }
        let mut written = 0;
        loop {
            let mut unwritten = Unwritten { batch: shared.uses.take(BATCH), uses: &shared.uses };
            if unwritten.batch.is_empty() {
                return Ok(written);
            }
            self.store().record_uses(&unwritten.batch).await.map_err(KeyringError::of)?;
            written += unwritten.batch.len();
            unwritten.batch.clear();
        }
    }

    /// [Flushes](Self::flush_uses) at every end of `interval`, until the last clone of this keyring is
    /// gone. `sleep` is the sleep of the host's runtime. A flush that fails is told to the audit sink
    /// as [`AuditKind::Unavailable`], and is made up for by the next one.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn start(keyring: keyway::keyring::Keyring) {
    /// use std::time::Duration;
    ///
    /// tokio::spawn(keyring.flush_uses_every(Duration::from_secs(60), tokio::time::sleep));
    /// # }
    /// ```
    pub fn flush_uses_every<S, F>(
        &self,
        interval: Duration,
        sleep: S,
    ) -> impl Future<Output = ()> + Send + 'static + use<S, F>
    where
        S: Fn(Duration) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let (inner, actor) = (Arc::downgrade(&self.inner), Arc::clone(&self.actor));
        async move {
            loop {
                sleep(interval).await;
                let Some(inner) = inner.upgrade() else { return };
                let keyring = Self { inner, actor: Arc::clone(&actor) };
                if keyring.flush_uses().await.is_err() {
                    let now = keyring.now();
                    keyring.shared().record(now, "", None, None, AuditKind::Unavailable);
                }
            }
        }
    }
}

/// Uses that go back to where they were taken from, also when the flush is given up half-way.
struct Unwritten<'u> {
    batch: Vec<KeyUse>,
    uses: &'u Uses,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for unwritten in self.batch.drain(..) {
            self.uses.record(unwritten);
        }
    }
}
