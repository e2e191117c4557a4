//! Counting requests against the rates of tiers.

use alloc::{boxed::Box, sync::Arc};
use core::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::sync::OnceLock;

use governor::{
    Quota, RateLimiter, clock::Clock as GovernorClock, middleware::NoOpMiddleware, nanos::Nanos,
};

use super::{
    RateStatus,
    states::{Request, States},
};
use crate::{policy::Policy, tier::Rate, time::Clock, token::KeyId};

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How long from one search for keys to forget to the next, in nanoseconds.
const SWEEP_EVERY: u64 = NANOS_PER_SECOND;

/// What counts the requests of keys, in the order of the tiers. It is empty if no tier names a rate.
pub(crate) struct Rates(Box<[Option<Box<Limiter>>]>);

impl Rates {
    pub(crate) fn new(policy: &Policy, clock: &Arc<dyn Clock>) -> Self {
        if policy.tiers().iter().all(|tier| tier.rate.is_none()) {
            return Self(Box::default());
        }
        let limiter = |rate| Limiter::new(rate, Arc::clone(clock)).map(Box::new);
        Self(policy.tiers().iter().map(|tier| tier.rate.and_then(limiter)).collect())
    }

    /// Counts one request of a key, unless it is one too many.
    #[inline]
    pub(crate) fn count(&self, tier: usize, key: KeyId) -> Option<RateStatus> {
        self.0.get(tier)?.as_ref().map(|limiter| limiter.count(key))
    }
}

/// Counts the requests of the keys of one tier.
struct Limiter {
    rate: Rate,
    /// Nanoseconds in which one request comes back. It is rounded down, so that all are back in time.
    interval: u64,
    governor: RateLimiter<Request, States, Elapsed, NoOpMiddleware<Nanos>>,
    /// When keys are next searched for those to forget.
    sweep_at: AtomicU64,
}

impl Limiter {
    /// `None` if it is not a rate, which policies do not let in.
    fn new(rate: Rate, clock: Arc<dyn Clock>) -> Option<Self> {
        let requests = NonZeroU32::new(rate.requests)?;
        let window = u64::from(rate.per_seconds) * NANOS_PER_SECOND;
        let interval = (window / u64::from(rate.requests)).max(1);
        let quota = Quota::with_period(Duration::from_nanos(interval))?.allow_burst(requests);
        let clock = Elapsed { clock, start: OnceLock::new() };
        let governor = RateLimiter::new(quota, States::new(), clock);
        Some(Self { rate, interval, governor, sweep_at: AtomicU64::new(SWEEP_EVERY) })
    }

    fn count(&self, key: KeyId) -> RateStatus {
        // Before governor reads it, so that no time that the caller is told is too short.
        let now = self.governor.clock().now().as_u64();
        self.sweep(now);
        let request = Request::of(key);
        let is_exceeded = self.governor.check_key(&request).is_err();

        let reset = request.full_at().saturating_sub(now);
        let left = (self.interval * u64::from(self.rate.requests)).saturating_sub(reset);
        RateStatus {
            rate: self.rate,
            // INVARIANT: at most all of the rate, which is a u32.
            remaining: u32::try_from(left / self.interval).unwrap_or(u32::MAX),
            next: Duration::from_nanos(self.interval - left % self.interval),
            reset: Duration::from_nanos(reset),
            is_exceeded,
        }
    }

    /// Forgets keys that have all of their rate again, if it is time to.
    #[inline]
    fn sweep(&self, now: u64) {
        let due = self.sweep_at.load(Ordering::Relaxed);
        if now >= due {
            let next = now + SWEEP_EVERY;
            let is_ours =
                self.sweep_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
            if is_ours.is_ok() {
                self.governor.retain_recent();
            }
        }
    }
}

/// The host's clock, as governor reads it: nanoseconds since the limiter was made.
struct Elapsed {
    clock: Arc<dyn Clock>,
    /// The uptime when it was first asked, which is what governor takes as its start. So its times and
    /// ours have the same zero.
    start: OnceLock<u64>,
}

impl Elapsed {
    /// Time stands still after 146 years, so that no sum of times that governor makes overflows.
    const LATEST: u64 = 1 << 62;
}

impl GovernorClock for Elapsed {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        let uptime = self.clock.moment().uptime;
        let start = *self.start.get_or_init(|| uptime);
        uptime.saturating_sub(start).saturating_mul(NANOS_PER_MILLI).min(Self::LATEST).into()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::time::ManualClock;

    fn limiter(requests: u32, per_seconds: u32) -> (Limiter, ManualClock) {
        let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
        // Its start is not that of the uptime.
        clock.advance(Duration::from_millis(12_345));
        let rate = Rate { requests, per_seconds };
        (Limiter::new(rate, Arc::new(clock.clone())).unwrap(), clock)
    }

    fn keys(count: u16) -> Vec<KeyId> {
        let id = |number: u16| {
            let mut random = [0; 30];
            // Two bytes make a character.
            let digit = |value: u16| (value * (u16::MAX / 62) + 61).to_be_bytes();
            random[24..26].copy_from_slice(&digit(number / 3_600));
            random[26..28].copy_from_slice(&digit(number / 60 % 60));
            random[28..].copy_from_slice(&digit(number % 60));
            KeyId::derived(0, &random)
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn keys_are_forgotten_once_they_are_as_good_as_unused() {
        let (limiter, clock) = limiter(10, 10);
        let keys = keys(10_000);
        for key in &keys {
            assert_eq!(limiter.count(*key).remaining(), 9);
        }
        assert_eq!(limiter.governor.len(), keys.len());
        let held = limiter.governor.len();

        // One request in each second is enough. The last key is in use all the time.
        for _ in 0..=64 {
            clock.advance(Duration::from_secs(1));
            limiter.count(*keys.last().unwrap());
        }
        assert_eq!(limiter.governor.len(), 1, "of {held}");
        assert!(limiter.governor.into_state_store().capacity() < 1_000);
    }

    #[test]
    fn a_key_is_remembered_while_that_matters() {
        let (limiter, clock) = limiter(100, 200);
        let keys = keys(2);
        for _ in 0..100 {
            limiter.count(keys[0]);
        }
        // In the meantime, its shard is searched.
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
