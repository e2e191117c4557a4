//! Counting of requests against the rates of tiers, by the generic cell rate algorithm (ITU-T I.371).
//!
//! A key has one number: the time at which it has all of its rate again. A request moves this time by the
//! interval in which one request comes back. A request that would move it further ahead than the window of the
//! rate exceeds the rate, and moves nothing.

use alloc::{boxed::Box, sync::Arc};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{RateStatus, states::States};
use crate::{policy::Policy, tier::Rate, time::Clock, token::KeyId};

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The time between two searches for keys to forget, in nanoseconds.
const SWEEP_EVERY: u64 = NANOS_PER_SECOND;

/// Time stops after 146 years, so that no sum of times overflows.
const LATEST: u64 = 1 << 62;

/// The limiters, in the order of the tiers. Empty if no tier sets a rate.
pub(crate) struct Rates(Box<[Option<Box<Limiter>>]>);

impl Rates {
    pub(crate) fn new(policy: &Policy, clock: &Arc<dyn Clock>) -> Self {
        if policy.tiers().iter().all(|tier| tier.rate.is_none()) {
            return Self(Box::default());
        }
        let limiter = |rate| Limiter::new(rate, Arc::clone(clock)).map(Box::new);
        Self(policy.tiers().iter().map(|tier| tier.rate.and_then(limiter)).collect())
    }

    /// Counts one request of a key, unless it exceeds the rate.
    #[inline]
    pub(crate) fn count(&self, tier: usize, key: KeyId) -> Option<RateStatus> {
        self.0.get(tier)?.as_ref().map(|limiter| limiter.count(key))
    }
}

/// Counts the requests of the keys of one tier.
struct Limiter {
    rate: Rate,
    /// The nanoseconds in which one request comes back. Rounded down, so that all requests are back in time.
    interval: u64,
    clock: Arc<dyn Clock>,
    /// The uptime at which the limiter was made.
    start: u64,
    states: States,
    /// The time of the next search for keys to forget.
    sweep_at: AtomicU64,
}

impl Limiter {
    /// Returns `None` for an invalid rate, which policies do not accept.
    fn new(rate: Rate, clock: Arc<dyn Clock>) -> Option<Self> {
        let window = u64::from(rate.per_seconds) * NANOS_PER_SECOND;
        let interval = window.checked_div(rate.requests.into())?.max(1);
        let start = clock.moment().uptime;
        let sweep_at = AtomicU64::new(SWEEP_EVERY);
        Some(Self { rate, interval, clock, start, states: States::new(), sweep_at })
    }

    fn count(&self, key: KeyId) -> RateStatus {
        let now = self.now();
        self.sweep(now);
        let whole = self.interval * u64::from(self.rate.requests);
        let after = |full_at: u64| full_at.max(now) + self.interval;
        let counted = self
            .states
            .update(key, |full_at| Some(after(full_at)).filter(|full_at| full_at - now <= whole));
        let full_at = counted.map_or_else(|full_at| full_at, after);

        let reset = full_at.saturating_sub(now);
        let left = whole.saturating_sub(reset);
        RateStatus {
            rate: self.rate,
            // INVARIANT: at most all of the rate, which is a `u32`.
            remaining: u32::try_from(left / self.interval).unwrap_or(u32::MAX),
            next: Duration::from_nanos(self.interval - left % self.interval),
            reset: Duration::from_nanos(reset),
            is_exceeded: counted.is_err(),
        }
    }

    /// Returns the nanoseconds since the limiter was made.
    #[inline]
    fn now(&self) -> u64 {
        let uptime = self.clock.moment().uptime;
        uptime.saturating_sub(self.start).saturating_mul(NANOS_PER_MILLI).min(LATEST)
    }

    /// Forgets keys that have all of their rate again, if a search is due.
    #[inline]
    fn sweep(&self, now: u64) {
        let due = self.sweep_at.load(Ordering::Relaxed);
        if now >= due {
            let next = now + SWEEP_EVERY;
            let is_ours =
                self.sweep_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
            if is_ours.is_ok() {
                self.states.forget_full(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::time::ManualClock;

    fn limiter(requests: u32, per_seconds: u32) -> (Limiter, ManualClock) {
        let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
        // The limiter's start is not that of the uptime.
        clock.advance(Duration::from_millis(12_345));
        let rate = Rate { requests, per_seconds };
        (Limiter::new(rate, Arc::new(clock.clone())).unwrap(), clock)
    }

    fn keys(count: u16) -> Vec<KeyId> {
        let id = |number: u16| {
            let mut random = [0; 30];
            // Two bytes make one character.
            let digit = |value: u16| (value * (u16::MAX / 62) + 61).to_be_bytes();
            random[24..26].copy_from_slice(&digit(number / 3_600));
            random[26..28].copy_from_slice(&digit(number / 60 % 60));
            random[28..].copy_from_slice(&digit(number % 60));
            KeyId::derived(0, &random)
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn keys_with_a_full_rate_are_forgotten() {
        let (limiter, clock) = limiter(10, 10);
        let keys = keys(10_000);
        for key in &keys {
            assert_eq!(limiter.count(*key).remaining(), 9);
        }
        assert_eq!(limiter.states.len(), keys.len());
        let held = limiter.states.len();

        // One request per second is enough. The last key is in use all the time.
        for _ in 0..=64 {
            clock.advance(Duration::from_secs(1));
            limiter.count(*keys.last().unwrap());
        }
        assert_eq!(limiter.states.len(), 1, "of {held}");
        assert!(limiter.states.capacity() < 1_000);
    }

    #[test]
    fn key_is_remembered_until_its_rate_is_full() {
        let (limiter, clock) = limiter(100, 200);
        let keys = keys(2);
        for _ in 0..100 {
            limiter.count(keys[0]);
        }
        // The key's shard is searched in the meantime.
        for _ in 0..95 {
            clock.advance(Duration::from_secs(2));
            assert_eq!(limiter.count(keys[1]).reset(), Duration::from_secs(2));
        }
        let status = limiter.count(keys[0]);
        assert_eq!((status.remaining(), status.reset()), (94, Duration::from_secs(12)));
    }

    #[test]
    fn the_extremes_of_rates_and_times_are_counted() {
        let rates =
            [(u32::MAX, 1), (u32::MAX, u32::MAX), (1, u32::MAX), (1, 1), (1_000_000_000, 1)];
        for (requests, per_seconds) in rates {
            let (limiter, clock) = limiter(requests, per_seconds);
            let key = keys(1)[0];
            for step in [0, 1, u64::MAX / 3_000, u64::MAX / 2_000, u64::MAX / 1_000] {
                clock.advance(Duration::from_secs(step));
                let status = limiter.count(key);
                assert!(status.remaining() < requests, "{status:?}");
                assert!(status.next() <= status.reset(), "{status:?}");
            }
        }
    }
}
