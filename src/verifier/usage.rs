//! Counts of requests for the usage.

use alloc::sync::Arc;
use core::hash::{BuildHasher as _, Hasher as _};
use std::hash::RandomState;

use super::{Engine, VerifyError};
use crate::{
    decision::{Principal, ResolvedKey},
    meter::Meter,
    store::{AnyUsageStore, StoreError},
    time::{Moment, Timestamp},
    usage::Outcome,
};

/// Counts requests, and writes the counts to a store.
pub(crate) struct UsageCounter {
    meter: Arc<Meter>,
    store: AnyUsageStore,
}

impl UsageCounter {
    pub(super) fn new(store: AnyUsageStore, moment: Moment) -> Self {
        // The operating system seeds these hashers.
        let random = || u128::from(RandomState::new().build_hasher().finish());
        Self { meter: Meter::new(random() << 64 | random(), moment.now), store }
    }
}

impl Engine {
    /// Counts one request of a proven key, if there is a store of usage.
    #[inline]
    pub(crate) fn count(&self, key: &ResolvedKey, outcome: Outcome) {
        if let Some(usage) = &self.usage {
            usage.meter.count(key, outcome);
        }
    }

    /// Counts one request that no guard checks further, if it was accepted.
    #[inline]
    pub(super) fn count_admitted(&self, verified: &Result<Principal, VerifyError>) {
        if let Ok(principal) = verified {
            self.count(principal.key(), Outcome::Admitted);
        }
    }

    /// Counts one request of a proven key that is refused.
    #[cold]
    pub(super) fn count_forbidden(&self, key: Option<&ResolvedKey>, now: Timestamp) {
        self.note_time(now);
        if let Some(key) = key {
            self.count(key, Outcome::Forbidden);
        }
    }

    /// Notes the time, since the day on which requests are counted follows from it. It is called in each minute with a
    /// request.
    #[cold]
    pub(super) fn note_time(&self, now: Timestamp) {
        if let Some(usage) = &self.usage {
            usage.meter.set_time(now);
        }
    }

    /// Returns the store of usage.
    pub(crate) fn usage_store(&self) -> Option<&AnyUsageStore> {
        self.usage.as_ref().map(|usage| &usage.store)
    }

    /// Writes everything that was counted before the call. Returns the number of rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. The counts are kept for the next call.
    pub(crate) async fn flush_usage(&self) -> Result<usize, StoreError> {
        let Some(usage) = &self.usage else { return Ok(0) };
        usage.meter.flush(self.clock.moment().now, &usage.store).await
    }

    /// Returns the number of requests that were not counted since the last call, because too many keys were in use.
    pub(crate) fn take_uncounted(&self) -> u64 {
        self.usage.as_ref().map_or(0, |usage| usage.meter.take_lost())
    }
}
