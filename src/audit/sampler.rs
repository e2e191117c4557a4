//! Sampling of rejected requests that prove nothing.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Noise;

/// Decides which rejected requests are events of their own.
#[derive(Default)]
pub(crate) struct Sampler([Counter; Noise::ALL.len()]);

#[derive(Default)]
struct Counter {
    /// The second that is being counted, by the uptime, plus 1. 0 means none.
    second: AtomicU64,
    reported: AtomicU32,
    suppressed_events: AtomicU64,
}

/// The decision about one rejected request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// Whether the request is an event of its own.
    pub(crate) is_reported: bool,
    /// Number of earlier requests that were suppressed and are to be reported before this one.
    pub(crate) suppressed: u64,
}

impl Sampler {
    /// Counts one request at an uptime in milliseconds.
    pub(crate) fn count(&self, noise: Noise, uptime: u64) -> Sampled {
        let Some(tally) = self.counter(noise) else {
            return Sampled { is_reported: true, suppressed: 0 };
        };
        let second = uptime / 1_000 + 1;
        let before = tally.second.load(Relaxed);
        let mut suppressed = 0;
        // Of several threads that see a new second, exactly one resets the counters.
        if before != second
            && tally.second.compare_exchange(before, second, Relaxed, Relaxed).is_ok()
        {
            tally.reported.store(0, Relaxed);
            suppressed = tally.suppressed_events.swap(0, Relaxed);
        }
        // The counter stops at the limit, so that it does not wrap.
        let is_reported = tally.reported.load(Relaxed) < Noise::EVENTS_PER_SECOND
            && tally.reported.fetch_add(1, Relaxed) < Noise::EVENTS_PER_SECOND;
        if !is_reported {
            tally.suppressed_events.fetch_add(1, Relaxed);
        }
        Sampled { is_reported, suppressed }
    }

    /// Returns the numbers that have not been reported yet, and resets them.
    pub(crate) fn take(&self) -> impl Iterator<Item = (Noise, u64)> + '_ {
        let counts = Noise::ALL.into_iter().zip(&self.0);
        counts
            .map(|(noise, counter)| (noise, counter.suppressed_events.swap(0, Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    fn counter(&self, noise: Noise) -> Option<&Counter> {
        self.0.get(Noise::ALL.iter().position(|other| *other == noise)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_events_a_second_are_reported_and_the_others_counted() {
        let sampler = Sampler::default();
        let reported = |uptime| {
            let flood = (0..1_000).map(|_| sampler.count(Noise::Forged, uptime));
            let flood: alloc::vec::Vec<_> = flood.collect();
            (flood.iter().filter(|one| one.is_reported).count(), flood[0].suppressed)
        };
        assert_eq!(reported(0), (10, 0));
        assert_eq!(reported(999), (0, 0));
        assert_eq!(reported(1_000), (10, 1_990));
        assert_eq!(reported(90_000), (10, 990));
        assert_eq!(sampler.take().collect::<alloc::vec::Vec<_>>(), [(Noise::Forged, 990)]);
        assert_eq!(sampler.take().count(), 0);
    }

    #[test]
    fn kinds_of_noise_do_not_hide_each_other() {
        let sampler = Sampler::default();
        (0..100).for_each(|_| assert_eq!(sampler.count(Noise::Malformed, 0).suppressed, 0));
        for noise in Noise::ALL.into_iter().filter(|noise| *noise != Noise::Malformed) {
            assert_eq!(sampler.count(noise, 0), Sampled { is_reported: true, suppressed: 0 });
        }
    }
}
