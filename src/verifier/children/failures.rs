//! A limit on wrong signatures, which bounds the time that made-up children cost.

use alloc::boxed::Box;
use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{time::Moment, token::KeyId};

/// The number of wrong signatures per second that are checked for each parent. Each takes up to three checks of about 50
/// microseconds, one for each secret that the parent accepts, and one read of the store.
pub(super) const PER_SECOND: u32 = 20;

/// The number of counters. Parents that share one share its limit.
const COUNTERS: usize = 4_096;

/// The wrong signatures of the present second, by parent. The upper half of a counter is the second, and the lower half is
/// the number of signatures.
pub(crate) struct Failures(Box<[AtomicU64]>);

/// One signature that is being checked. It counts as wrong unless it [succeeds](Self::succeeded).
pub(super) struct Attempt<'f> {
    counter: &'f AtomicU64,
    second: u64,
}

impl Default for Failures {
    fn default() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Failures {
    /// Counts one more signature of a child of `parent`, or returns `None` if there were too many wrong ones.
    pub(super) fn attempt(&self, parent: KeyId, moment: Moment) -> Option<Attempt<'_>> {
        let second = moment.uptime / 1_000 & u64::from(u32::MAX);
        let counter = self.0.get(parent.spread() % COUNTERS)?;
        let count = |old: u64| match (old >> 32 == second, old & u64::from(u32::MAX)) {
            (true, number) if number >= PER_SECOND.into() => None,
            (true, _) => Some(old + 1),
            (false, _) => Some(second << 32 | 1),
        };
        counter.fetch_update(Relaxed, Relaxed, count).ok()?;
        Some(Attempt { counter, second })
    }
}

impl Attempt<'_> {
    /// Takes the signature out of the count, since it is right.
    pub(super) fn succeeded(self) {
        let release = |old: u64| (old >> 32 == self.second && old as u32 > 0).then(|| old - 1);
        // In a later second there is nothing to take out.
        let _ = self.counter.fetch_update(Relaxed, Relaxed, release);
    }
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
    fn only_wrong_signatures_of_one_second_and_parent_count() {
        let failures = Failures::default();
        let id = |text: &str| text.parse::<KeyId>().unwrap();
        let (one, other) = (id("AAAAAAAAAAAAAAAA"), id("AAAAAAAAAAAAAAAB"));
        for _ in 0..3 * PER_SECOND {
            failures.attempt(one, at(5_000)).unwrap().succeeded();
        }
        for _ in 0..PER_SECOND {
            assert!(failures.attempt(one, at(5_999)).is_some());
        }
        assert!(failures.attempt(one, at(5_999)).is_none());
        assert!(failures.attempt(other, at(5_999)).is_some());
        assert!(failures.attempt(one, at(6_000)).is_some());
    }

    #[test]
    fn success_of_an_earlier_second_frees_no_place_in_this_one() {
        let failures = Failures::default();
        let id = "AAAAAAAAAAAAAAAA".parse().unwrap();
        let late = failures.attempt(id, at(5_999)).unwrap();
        for _ in 0..PER_SECOND {
            assert!(failures.attempt(id, at(6_000)).is_some());
        }
        late.succeeded();
        assert!(failures.attempt(id, at(6_000)).is_none());
    }
}
