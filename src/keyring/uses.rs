//! Writes the last uses of keys to the store, outside of verification.

use alloc::{sync::Arc, vec::Vec};
use core::{future::Future, time::Duration};

use super::{Keyring, KeyringError};
use crate::{
    audit::AuditKind,
    cache::Uses,
    store::{KeyStore, KeyUse},
    time::Timestamp,
};

/// Maximum time that a stored last use may be in the future. A later one was written by a node whose clock
/// was wrong, and is replaced. Otherwise it would stay until the present reaches it.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Maximum number of uses in one call of the store.
const BATCH: usize = 10_000;

impl Keyring {
    /// Writes the last uses that have not been written yet to the store, in batches, and the [usage](crate::usage) to its
    /// store. Returns units of [allowances](crate::allowance) that this node does not need to their store. The result is the
    /// number of keys whose last use was written. Call it about every minute
    /// ([`flush_uses_every`](Self::flush_uses_every) does), and before the service stops.
    ///
    /// Verification never waits for a flush. A concurrent second call waits for the first, so all uses
    /// before a call are written when it returns. A crash loses the uses that were not written yet.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Unwritten uses are kept for the next call.
    pub async fn flush_uses(&self) -> Result<usize, KeyringError> {
        let engine = self.engine();
        engine.flush_noise();
        let uses = engine.cache.uses();
        let _flushing = uses.flushing().await;
        let usage = engine.flush_usage().await;
        let limits = engine.flush_limits().await;
        let lost = uses.take_lost() + engine.take_uncounted();
        if lost > 0 {
            engine.record(self.now(), "", None, None, AuditKind::UsesLost(lost));
        }
        let mut written = 0;
        loop {
            let mut unwritten = Unwritten { batch: uses.take(BATCH), uses };
            if unwritten.batch.is_empty() {
                usage.and(limits).map_err(KeyringError::of)?;
                return Ok(written);
            }
            let now = self.now();
            for noted in &mut unwritten.batch {
                // The clock of this node may have been set back since the use was recorded.
                noted.at = noted.at.min(now);
            }
            let latest = now.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX);
            let recorded = self.store().record_uses(&unwritten.batch, latest).await;
            recorded.map_err(KeyringError::of)?;
            written += unwritten.batch.len();
            unwritten.batch.clear();
        }
    }

    /// [Flushes](Self::flush_uses) after every `interval`, until the last clone of this keyring is dropped.
    /// `sleep` is the sleep function of the application's runtime. A failed flush is reported to the audit
    /// sink as [`AuditKind::Unavailable`], and the next flush writes its uses.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # fn start(keyring: keyway::Keyring) {
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
                    keyring.engine().record(now, "", None, None, AuditKind::Unavailable);
                }
            }
        }
    }
}

/// Uses that are put back when dropped, also when the future of the flush is dropped before it completes.
struct Unwritten<'u> {
    batch: Vec<KeyUse>,
    uses: &'u Uses,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.uses.put_back(self.batch.drain(..));
    }
}
