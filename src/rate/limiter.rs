//! Counting of requests against the rates of tiers, by the generic cell rate algorithm (ITU-T I.371).
//!
//! A key has one number: the time at which it has all of its rate again. A request moves this time by the
//! interval in which one request comes back. A request that would move it further ahead than the window of the
//! rate exceeds the rate, and moves nothing.

use alloc::{borrow::ToOwned, boxed::Box, string::String, sync::Arc};
use core::{
    borrow::Borrow,
    hash::{BuildHasher as _, Hash},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{RateStatus, states::States};
use crate::{
    decision::{Principal, TenantRates},
    policy::Policy,
    tier::Rate,
    time::Clock,
    token::KeyId,
};

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The time between two searches for keys to forget, in nanoseconds.
const SWEEP_EVERY: u64 = NANOS_PER_SECOND;

/// Time stops after 146 years, so that no sum of times overflows.
const LATEST: u64 = 1 << 62;

/// The rates of a policy and of exceptions, and what is used of them.
pub(crate) struct Rates {
    /// In the order of the tiers. The used part of the rate of a tier is not forgotten if a tenant leaves the tier and
    /// comes back.
    tiers: Box<[Limiters]>,
    /// For tenants that have exceptions.
    own: Limiters,
    /// Spreads tenants over the states.
    hasher: foldhash::fast::RandomState,
}

struct Limiters {
    key: Option<Limit>,
    tenant: Option<Limit>,
    of_keys: Limiter<KeyId>,
    of_tenants: Limiter<String>,
}

impl Limiters {
    fn new(key: Option<Rate>, tenant: Option<Rate>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            key: key.and_then(Limit::new),
            tenant: tenant.and_then(Limit::new),
            of_keys: Limiter::new(Arc::clone(clock)),
            of_tenants: Limiter::new(Arc::clone(clock)),
        }
    }
}

impl Rates {
    pub(crate) fn new(policy: &Policy, clock: &Arc<dyn Clock>) -> Self {
        let tiers = policy.tiers().iter();
        Self {
            tiers: tiers.map(|tier| Limiters::new(tier.rate, tier.tenant_rate, clock)).collect(),
            own: Limiters::new(None, None, clock),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Counts a request of this weight against the rate of the caller's key and that of its tenant, unless it exceeds one
    /// of them. Returns the status of the rate that has less left, or `None` if there is no rate.
    #[inline]
    pub(crate) fn count(&self, caller: &Principal, weight: NonZeroU32) -> Option<RateStatus> {
        let (limiters, key, tenant) = match caller.own_rates() {
            None => {
                let limiters = self.tiers.get(caller.tier_index())?;
                (limiters, limiters.key, limiters.tenant)
            }
            Some(TenantRates { key, tenant }) => {
                (&self.own, key.and_then(Limit::new), tenant.and_then(Limit::new))
            }
        };
        let of_key = key.map(|limit| {
            let id = caller.key_id();
            limiters.of_keys.count(&id, id.spread(), limit, weight)
        });
        match tenant {
            None => of_key,
            Some(limit) => Some(self.count_of_tenant(limiters, caller, limit, of_key, weight)),
        }
    }

    /// Counts a request against the rate of the tenant. `of_key` is the result for its key, if that has a rate.
    fn count_of_tenant(
        &self,
        limiters: &Limiters,
        caller: &Principal,
        limit: Limit,
        of_key: Option<RateStatus>,
        weight: NonZeroU32,
    ) -> RateStatus {
        if let Some(exceeded) = of_key.filter(|status| status.is_exceeded) {
            return exceeded;
        }
        let tenant = caller.tenant();
        let spread = usize::try_from(self.hasher.hash_one(tenant)).unwrap_or_default();
        let counted = limiters.of_tenants.count(tenant, spread, limit, weight);
        let of_tenant = RateStatus { is_of_tenant: true, ..counted };
        let Some(of_key) = of_key else { return of_tenant };
        if of_tenant.is_exceeded {
            // A refused request takes nothing from the rate of its key.
            let id = caller.key_id();
            if let Some(limit) = Limit::new(of_key.rate) {
                limiters.of_keys.give_back(&id, id.spread(), limit, weight);
            }
            return of_tenant;
        }
        if of_tenant.remaining < of_key.remaining { of_tenant } else { of_key }
    }
}

/// A rate in nanoseconds.
#[derive(Clone, Copy)]
struct Limit {
    rate: Rate,
    /// The time in which one request comes back. Rounded down, so that all requests are back in time.
    interval: u64,
}

impl Limit {
    /// Returns `None` for an invalid rate, which policies and exceptions do not accept.
    fn new(rate: Rate) -> Option<Self> {
        let window = u64::from(rate.per_seconds) * NANOS_PER_SECOND;
        Some(Self { rate, interval: window.checked_div(rate.requests.into())?.max(1) })
    }

    fn whole(self) -> u64 {
        self.interval * u64::from(self.rate.requests)
    }

    /// Returns the time that a request of this weight takes. A weight above the rate takes all of it.
    fn cost(self, weight: NonZeroU32) -> u64 {
        self.interval * u64::from(weight.get().min(self.rate.requests))
    }
}

/// Counts the requests of keys or tenants.
struct Limiter<K> {
    clock: Arc<dyn Clock>,
    /// The uptime at which the limiter was made.
    start: u64,
    states: States<K>,
    /// The time of the next search for keys to forget.
    sweep_at: AtomicU64,
}

impl<K: Eq + Hash> Limiter<K> {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.moment().uptime;
        let sweep_at = AtomicU64::new(SWEEP_EVERY);
        Self { clock, start, states: States::new(), sweep_at }
    }

    fn count<Q>(&self, key: &Q, spread: usize, limit: Limit, weight: NonZeroU32) -> RateStatus
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let now = self.now();
        self.sweep(now);
        let (whole, cost) = (limit.whole(), limit.cost(weight));
        let after = |full_at: u64| full_at.max(now) + cost;
        let counted = self.states.update(key, spread, limit.rate, |full_at| {
            Some(after(full_at)).filter(|full_at| full_at - now <= whole)
        });
        let full_at = counted.map_or_else(|full_at| full_at, after);

        let reset = full_at.saturating_sub(now);
        let left = whole.saturating_sub(reset);
        // The next request of this weight needs so much more than there is. Without a refusal it is one of weight 1.
        let next = match counted {
            Ok(_) => limit.interval - left % limit.interval,
            Err(_) => cost.saturating_sub(left).max(1),
        };
        RateStatus {
            rate: limit.rate,
            // INVARIANT: at most all of the rate, which is a `u32`.
            remaining: u32::try_from(left / limit.interval).unwrap_or(u32::MAX),
            next: Duration::from_nanos(next),
            reset: Duration::from_nanos(reset),
            is_exceeded: counted.is_err(),
            is_of_tenant: false,
        }
    }

    /// Takes back a request that was counted just before.
    #[cold]
    fn give_back<Q>(&self, key: &Q, spread: usize, limit: Limit, weight: NonZeroU32)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let cost = limit.cost(weight);
        let back = |full_at: u64| Some(full_at.saturating_sub(cost));
        let _ = self.states.update(key, spread, limit.rate, back);
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
    use crate::time::{ManualClock, Moment};

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    /// A limiter of keys that all have one rate.
    struct Uniform(Limiter<KeyId>, Limit);

    impl Uniform {
        fn count(&self, key: KeyId) -> RateStatus {
            self.0.count(&key, key.spread(), self.1, ONE)
        }
    }

    fn limiter(requests: u32, per_seconds: u32) -> (Uniform, ManualClock) {
        let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
        // The limiter's start is not that of the uptime.
        clock.advance(Duration::from_millis(12_345));
        let limit = Limit::new(Rate { requests, per_seconds }).unwrap();
        (Uniform(Limiter::new(Arc::new(clock.clone())), limit), clock)
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
        assert_eq!(limiter.0.states.len(), keys.len());
        let held = limiter.0.states.len();

        // One request per second is enough. The last key is in use all the time.
        for _ in 0..=64 {
            clock.advance(Duration::from_secs(1));
            limiter.count(*keys.last().unwrap());
        }
        assert_eq!(limiter.0.states.len(), 1, "of {held}");
        assert!(limiter.0.states.capacity() < 1_000);
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
    fn key_with_another_rate_starts_with_all_of_it() {
        let (Uniform(limiter, hourly), clock) = limiter(1, 3_600);
        let key = keys(1)[0];
        let count = |limit, weight| {
            limiter.count(&key, key.spread(), limit, NonZeroU32::new(weight).unwrap())
        };
        assert!(!count(hourly, 1).is_exceeded);
        assert!(count(hourly, 1).is_exceeded);
        let fast = Limit::new(Rate { requests: 10, per_seconds: 1 }).unwrap();
        assert_eq!(count(fast, 1).remaining, 9);

        // A weight takes as much as so many requests, and above the rate all of it.
        assert_eq!(count(fast, 4).remaining, 5);
        let refused = count(fast, 6);
        assert_eq!((refused.is_exceeded, refused.remaining), (true, 5));
        assert_eq!(refused.next, Duration::from_millis(100));
        clock.advance(refused.next);
        assert_eq!(count(fast, 6).remaining, 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(count(fast, u32::MAX).remaining, 0);

        limiter.give_back(&key, key.spread(), fast, NonZeroU32::new(3).unwrap());
        assert_eq!(count(fast, 3).remaining, 0);
        assert!(count(fast, 1).is_exceeded);
    }

    /// A clock that returns an earlier time when it is read next, as to a thread that is interrupted after that.
    struct Interrupted(ManualClock, AtomicU64);

    impl Clock for Interrupted {
        fn moment(&self) -> Moment {
            let mut moment = self.0.moment();
            moment.uptime -= self.1.swap(0, Ordering::Relaxed);
            moment
        }
    }

    #[test]
    fn thread_with_an_earlier_time_gives_no_rate_back() {
        for (earlier, requests) in [(1, 10), (500, 10), (5_000, 10), (5_000, 1)] {
            let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
            let interrupted = Arc::new(Interrupted(clock.clone(), AtomicU64::new(0)));
            let limit = Limit::new(Rate { requests, per_seconds: 1 }).unwrap();
            let limiter = Limiter::new(interrupted.clone());
            let key = keys(1)[0];
            let count = || limiter.count(&key, key.spread(), limit, ONE);
            clock.advance(Duration::from_secs(60));
            for left in (0..requests).rev() {
                assert_eq!(count().remaining(), left);
            }
            for _ in 0..3 {
                interrupted.1.store(earlier, Ordering::Relaxed);
                assert!(count().is_exceeded, "{earlier} ms earlier");
                assert!(count().is_exceeded, "after {earlier} ms earlier");
            }
        }
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
