//! Proofs that nothing has changed, and pauses during which anything may have changed.
//!
//! A change feed proves from time to time that it has delivered every change that was committed before a
//! moment. Until one staleness bound after that moment, a cached key whose generation is current may be served
//! whatever its age.
//!
//! The uptime stands still while a machine is suspended, so ages alone do not show how long that was. The
//! time of day shows it. A time of day that has jumped forward ends the life of everything cached.

use core::sync::atomic::{
    AtomicI64,
    Ordering::{Relaxed, SeqCst},
};

use super::{TICK, tick};
use crate::{
    sync::{AtomicU32, AtomicU64},
    time::Moment,
};

/// The fields fill a processor cache line of their own, since each verification reads them.
#[repr(align(128))]
pub(super) struct Proofs {
    /// The uptime, in milliseconds, until which the last proof counts. It never goes back.
    until: AtomicU64,
    /// The first tick of loads that proofs cover.
    since: AtomicU32,
    /// The time of day minus the uptime, in milliseconds, as of the last comparison.
    ahead: AtomicI64,
}

impl Proofs {
    pub(super) fn new() -> Self {
        Self { until: AtomicU64::new(0), since: AtomicU32::new(0), ahead: AtomicI64::new(i64::MAX) }
    }

    /// Returns the first tick of the loads that a proof covers at `moment`, or `None` if no proof does.
    ///
    /// INVARIANT: call this before the generations are read. The changes that a proof covers are counted
    /// before the proof is installed. So a verification that sees the proof sees their counts. For the same
    /// reason `until` is read before `since`.
    #[inline]
    pub(super) fn cover(&self, moment: Moment) -> Option<u32> {
        (moment.uptime < self.until.load(SeqCst)).then(|| self.since.load(SeqCst))
    }

    /// Lets later proofs cover only loads that begin after `moment`.
    pub(super) fn begin_after(&self, moment: Moment) {
        // A load of the same tick may have begun before `moment`.
        self.since.store(tick(moment).wrapping_add(1), SeqCst);
    }

    /// Installs a proof that counts until the uptime `until`.
    pub(super) fn extend(&self, until: u64) {
        self.until.fetch_max(until, SeqCst);
    }

    /// Returns whether the clocks have moved apart by more than a tick since the last comparison.
    #[inline]
    pub(super) fn have_parted(&self, moment: Moment) -> bool {
        ahead(moment).abs_diff(self.ahead.load(Relaxed)) > TICK
    }

    /// Returns whether the time of day has run ahead since the last comparison: it went on while the uptime did not,
    /// or was set forward.
    pub(super) fn has_run_ahead(&self, moment: Moment) -> bool {
        ahead(moment).saturating_sub(self.ahead.load(Relaxed)) > TICK.cast_signed()
    }

    /// Makes `moment` the last comparison.
    pub(super) fn note(&self, moment: Moment) {
        self.ahead.store(ahead(moment), Relaxed);
    }
}

/// Returns the time of day minus the uptime, in milliseconds.
#[inline]
fn ahead(moment: Moment) -> i64 {
    moment.now.as_millis().wrapping_sub(moment.uptime.cast_signed())
}

#[cfg(all(test, any(keyway_loom, keyway_shuttle)))]
impl Proofs {
    pub(super) fn since(&self) -> u32 {
        self.since.load(SeqCst)
    }

    /// A fault that only a model of the memory finds: a thread that sees the proof need not see what came before.
    #[cfg(keyway_loom)]
    pub(super) fn extend_relaxed(&self, until: u64) {
        self.until.fetch_max(until, Relaxed);
    }
}

/// Returns whether a load that began at the tick `began` is covered by proofs that begin with `since`. Ticks
/// wrap, so after seven years it is not.
#[inline]
pub(super) fn covers(since: u32, began: u32) -> bool {
    began.wrapping_sub(since) < 1 << 31
}

/// Returns whether the time of day has run ahead of the uptime between two moments.
pub(super) fn jumped(from: Moment, to: Moment) -> bool {
    ahead(to).saturating_sub(ahead(from)) > TICK.cast_signed()
}
