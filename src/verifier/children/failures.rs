//! A limit on wrong signatures, which bounds the time that made-up children cost.

use alloc::boxed::Box;
use core::{
    hash::BuildHasher as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use foldhash::fast::RandomState;

use crate::{time::Moment, token::KeyId};

/// The number of wrong signatures per second that are checked for each parent. Each takes up to three checks of about 50
/// microseconds, one for each secret that the parent accepts, and one read of the store.
pub(super) const PER_SECOND: u32 = 20;

/// The number of counters. Parents that share one share its limit.
const COUNTERS: usize = 4_096;

/// The wrong signatures of the present second, by parent. The upper half of a counter is the second, and the lower half is
/// the number of signatures.
pub(crate) struct Failures {
    counters: Box<[AtomicU64]>,
    /// Seeded, so that nobody can choose a key that shares the counter of another.
    hasher: RandomState,
}

impl Default for Failures {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, hasher: RandomState::default() }
    }
}

impl Failures {
    /// Returns whether another signature of a child of `parent` may be checked, and its parent read for it.
    ///
    /// Right signatures do not count, however many are checked at the same time. So wrong ones that are checked at the
    /// same time may exceed the limit by the number of threads.
    pub(super) fn permit(&self, parent: KeyId, moment: Moment) -> bool {
        let number = |counter: &AtomicU64| {
            let (second, number) = split(counter.load(Relaxed));
            if second == second_of(moment) { number } else { 0 }
        };
        self.counter(parent).map_or(0, number) < PER_SECOND.into()
    }

    /// Counts a wrong signature of a child of `parent`, or a child whose parent does not exist.
    pub(super) fn note(&self, parent: KeyId, moment: Moment) {
        let now = second_of(moment);
        let count = |old: u64| match split(old) {
            (second, _) if second < now => Some(now << 32 | 1),
            // A request that began in an earlier second counts in the present one.
            (second, number) => Some(second << 32 | (number + 1).min(u64::from(u32::MAX))),
        };
        if let Some(counter) = self.counter(parent) {
            let _ = counter.fetch_update(Relaxed, Relaxed, count);
        }
    }

    fn counter(&self, parent: KeyId) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one(u128::from_ne_bytes(*parent.as_bytes()));
        self.counters.get((hash >> 32) as usize % COUNTERS)
    }
}

/// Returns the second and the number in a counter.
fn split(counter: u64) -> (u64, u64) {
    (counter >> 32, counter & u64::from(u32::MAX))
}

fn second_of(moment: Moment) -> u64 {
    (moment.uptime / 1_000) & u64::from(u32::MAX)
}

/// The signature of a child was not checked, since too many others of its parent were wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many children of this API key have a wrong signature")]
pub(crate) struct TooManyFailures;

impl TooManyFailures {
    /// Returns the time after which signatures are checked again.
    #[allow(clippy::unused_self, reason = "the error of a pause has a time of its own")]
    pub(crate) fn retry_after(self) -> Duration {
        Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn at(uptime: u64) -> Moment {
        Moment { now: Timestamp::MIN, uptime }
    }

    #[test]
    fn wrong_signatures_of_one_second_and_parent_are_limited() {
        let failures = Failures::default();
        let id = |text: &str| text.parse::<KeyId>().unwrap();
        let (one, other) = (id("AAAAAAAAAAAAAAAA"), id("AAAAAAAAAAAAAAAB"));
        for _ in 0..PER_SECOND {
            assert!(failures.permit(one, at(5_999)));
            failures.note(one, at(5_000));
        }
        assert!(!failures.permit(one, at(5_000)) && !failures.permit(one, at(5_999)));
        assert!(failures.permit(other, at(5_999)));
        assert!(failures.permit(one, at(6_000)));
    }

    #[test]
    fn late_failure_of_an_earlier_second_takes_nothing_back() {
        let failures = Failures::default();
        let id = "AAAAAAAAAAAAAAAA".parse().unwrap();
        for _ in 1..PER_SECOND {
            failures.note(id, at(6_000));
        }
        assert!(failures.permit(id, at(6_000)));
        failures.note(id, at(5_999));
        assert!(!failures.permit(id, at(6_000)));
    }
}
