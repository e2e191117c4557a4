//! Resolved keys in memory, bounded in number and in age.
//!
//! A cached key is served while two conditions hold. Neither the key nor its tenant has been invalidated since
//! the load of the key began. The cached key, or the last proof that nothing else has changed, is younger than
//! the staleness bound.
//!
//! An invalidation increments a counter. Every cached key carries the sum of its counters from before its
//! load began. So a load that began before an invalidation is never served after it, no matter when the load
//! ends. The fence is in the data. It does not depend on the order in which locks are taken.

#[cfg(all(test, any(keyway_loom, keyway_shuttle)))]
mod fence_tests;
mod generations;
mod index;
mod negative;
mod proofs;
mod single_flight;
mod standing;
mod thread_cache;
mod uses;

use alloc::{boxed::Box, sync::Arc};
use core::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use std::sync::PoisonError;

use self::{
    generations::Generations,
    index::Index,
    negative::NegativeCache,
    proofs::{Proofs, covers, jumped},
    thread_cache::ThreadCache,
};
pub(crate) use self::{single_flight::SingleFlight, standing::Standing, uses::Uses};
use crate::{
    decision::{ResolvedKey, Stamp},
    record::TenantId,
    store::KeyUse,
    sync::RwLock,
    time::Moment,
    token::{CheckedToken, KeyId, Rejection},
};

/// The unit of age, in milliseconds. A cached key stores its age in 32 bits, which suffice for 13 years.
pub(crate) const TICK: u64 = 100;

/// The number of the next cache. 0 means no cache.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The number of shards, a power of two.
const SHARDS: usize = if cfg!(any(keyway_loom, keyway_shuttle)) { 1 } else { 64 };

pub(crate) struct Cache {
    /// Distinguishes this cache from others in the process.
    number: u64,
    shards: Box<[Shard]>,
    /// The unwritten uses of the keys, in one part per shard.
    uses: Uses,
    /// Whether uses are recorded.
    records_uses: bool,
    hasher: foldhash::fast::RandomState,
    generations: Generations,
    proofs: Proofs,
    negative: NegativeCache,
    /// A cached key of at least this age, in ticks, is not served.
    max_age: u32,
}

/// One shard of the cache. It fills processor cache lines of its own, so that threads in two shards do not
/// contend for one.
#[repr(align(128))]
struct Shard(RwLock<Index>);

/// The state of the counters and the clock before a load began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    key_generation: u32,
    tenant_changes: u32,
    /// The earliest tick of the snapshot that the load reads.
    began: u32,
}

impl Cache {
    /// Creates a cache with room for `capacity` keys. A key is not served from the age of `max_staleness` on.
    pub(crate) fn new(capacity: usize, max_staleness: Duration, records_uses: bool) -> Self {
        let per_shard = room_per_shard(capacity);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            shards: (0..SHARDS).map(|_| Shard(RwLock::new(Index::new(per_shard)))).collect(),
            uses: Uses::new(SHARDS),
            records_uses,
            hasher: foldhash::fast::RandomState::default(),
            generations: Generations::new(),
            proofs: Proofs::new(),
            negative: NegativeCache::new(if capacity == 0 {
                Duration::ZERO
            } else {
                max_staleness
            }),
            max_age: u32::try_from(max_staleness.as_millis() / u128::from(TICK))
                .unwrap_or(u32::MAX),
        }
    }

    /// Returns the staleness bound, rounded down to a tenth of a second.
    pub(crate) fn max_staleness(&self) -> Duration {
        Duration::from_millis(self.max_age_millis())
    }

    /// Returns the staleness bound in milliseconds.
    pub(crate) fn max_age_millis(&self) -> u64 {
        u64::from(self.max_age) * TICK
    }

    /// Returns the number that no other cache in the process has.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the result of `read` for the cached key `id`, if there is one that may be served at `moment`.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        id: KeyId,
        moment: Moment,
        read: impl FnOnce(&Arc<ResolvedKey>) -> T,
    ) -> Option<T> {
        if self.proofs.have_parted(moment) && self.compare_clocks(moment) {
            return None;
        }
        // The proof is read before the generations.
        let covered = self.proofs.cover(moment);
        let is_good = |stamp: &Stamp| self.is_good(id, stamp, moment, covered);
        let hash = self.hash(id);
        let mut thread_cache = ThreadCache::take();
        let index;
        let copy = thread_cache.find(self.number, hash, id);
        let key = if let Some(copy) = copy.filter(|copy| is_good(&copy.stamp)) {
            copy
        } else {
            index = self.shard(hash)?.0.read().unwrap_or_else(PoisonError::into_inner);
            let key = index.find(hash, id)?;
            if !is_good(&key.stamp) {
                return None;
            }
            thread_cache.note(self.number, hash, key);
            key
        };
        Some(read(key))
    }

    /// Returns why the store rejected `checked`, if it did so within the last second.
    pub(crate) fn rejection(&self, checked: &CheckedToken, moment: Moment) -> Option<Rejection> {
        self.negative.reason(checked, moment)
    }

    /// Returns the counter that [`note_rejection`](Self::note_rejection) needs. Call this before the store is
    /// read.
    pub(crate) fn before_rejection(&self, checked: &CheckedToken) -> u32 {
        self.negative.before(checked.id())
    }

    /// Remembers for a second that the store rejected `checked`, whose token was valid once.
    pub(crate) fn note_rejection(
        &self,
        checked: &CheckedToken,
        reason: Rejection,
        moment: Moment,
        before: u32,
    ) {
        self.negative.note(checked, reason, moment, before);
    }

    /// Drops the key `id`, which the store does not have, if it is cached.
    ///
    /// Nothing is invalidated unless the key was cached, since other keys share its counter. Otherwise each
    /// request with a deleted key would cause those keys to be read again.
    pub(crate) fn forget_missing(&self, id: KeyId) {
        let hash = self.hash(id);
        let is_cached = self.shard(hash).is_some_and(|shard| {
            shard.0.read().unwrap_or_else(PoisonError::into_inner).find(hash, id).is_some()
        });
        if is_cached {
            self.drop_key(id);
        }
    }

    /// Returns the ticket of a load of the key `id` from a source that is at most `lag` ticks behind. Call this
    /// before the load begins.
    pub(crate) fn ticket(&self, id: KeyId, moment: Moment, lag: u32) -> Ticket {
        Ticket {
            tenant_changes: self.generations.tenant_changes(),
            key_generation: self.generations.of_key(id),
            began: tick(moment).wrapping_sub(lag),
        }
    }

    /// Keeps `key`, which was loaded since `ticket`, unless it is out of date already.
    pub(crate) fn insert(&self, mut key: ResolvedKey, ticket: Ticket) -> Arc<ResolvedKey> {
        let tenant_stripe = Generations::stripe(self.hasher.hash_one(key.tenant()));
        let tenant_generation = self.generations.of_tenant(tenant_stripe);
        // INVARIANT: `tenant_generation` is read before `is_fenced` compares the changes, and an invalidation
        // counts the change before the generation. So a load that reads a generation from after an
        // invalidation is always found to be fenced. The tenant was not known before the load, which is why a
        // change of any tenant fences it.
        let id = key.id();
        let is_fenced = self.is_fenced(id, ticket);
        let hash = self.hash(id);
        let shard = self.shard(hash).filter(|_| !is_fenced && self.max_age > 0);
        let mut index = shard.map(|shard| shard.0.write().unwrap_or_else(PoisonError::into_inner));
        let mut key_generation = ticket.key_generation;
        if let Some(old) = index.as_ref().and_then(|index| index.find(hash, id))
            && key != **old
        {
            // Threads may have copies of the old key, which must not be served from here on. If another
            // thread counts at the same moment, `key_generation` is too low, and the new key is not served
            // either.
            self.generations.bump_key(id);
            key_generation = key_generation.wrapping_add(1);
        }
        // INVARIANT: a key that is fenced off has an older generation than the present one. The tenant's generation may be
        // from after the invalidation, and a stream that holds this key would count as up to date.
        let generation = key_generation.wrapping_add(tenant_generation);
        let generation = generation.wrapping_sub(u32::from(is_fenced));
        key.stamp = Stamp::new(generation, ticket.began, tenant_stripe);
        let key = Arc::new(key);
        ThreadCache::take().prepare(&key);
        if let Some(index) = &mut index {
            let forgot = index.insert(hash, Arc::clone(&key), |id| self.hash(id));
            if self.records_uses {
                self.uses.reserve(shard_of(hash), index.len(), forgot);
            }
        }
        key
    }

    /// Records a use of a key. [`uses`](Self::uses) returns it later, to be written.
    pub(crate) fn record_use(&self, key_use: KeyUse) {
        self.uses.record(shard_of(self.hash(key_use.id)), key_use);
    }

    /// Returns the uses that are to be written.
    pub(crate) fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Invalidates the key `id`. After this returns, no verification uses anything loaded before of this key.
    pub(crate) fn invalidate_key(&self, id: KeyId) {
        self.negative.forget(id);
        self.drop_key(id);
    }

    fn drop_key(&self, id: KeyId) {
        self.generations.bump_key(id);
        let hash = self.hash(id);
        if let Some(shard) = self.shard(hash) {
            let mut index = shard.0.write().unwrap_or_else(PoisonError::into_inner);
            let removed = index.remove(hash, id);
            if self.records_uses {
                self.uses.reserve(shard_of(hash), index.len(), removed);
            }
        }
    }

    /// Invalidates the keys of a tenant. After this returns, no verification uses anything loaded before of
    /// them.
    pub(crate) fn invalidate_tenant(&self, id: &TenantId) {
        self.generations.bump_tenant(Generations::stripe(self.hasher.hash_one(id.as_str())));
    }

    /// Invalidates everything. After this returns, no verification uses anything loaded before.
    pub(crate) fn invalidate_all(&self) {
        self.generations.bump_all();
        self.negative.forget_all();
    }

    /// Returns whether a load that began with `ticket` may serve a caller that comes at `moment`.
    pub(crate) fn is_current(&self, id: KeyId, ticket: Ticket, moment: Moment) -> bool {
        !self.is_fenced(id, ticket) && age(ticket.began, moment) < self.max_age
    }

    /// Returns whether something was invalidated since `ticket` that may concern the key `id`.
    fn is_fenced(&self, id: KeyId, ticket: Ticket) -> bool {
        self.generations.tenant_changes() != ticket.tenant_changes
            || self.generations.of_key(id) != ticket.key_generation
    }

    #[inline]
    fn is_good(&self, id: KeyId, stamp: &Stamp, moment: Moment, covered: Option<u32>) -> bool {
        self.generation(id, stamp) == stamp.generation
            && (age(stamp.loaded, moment) < self.max_age
                || covered.is_some_and(|since| covers(since, stamp.loaded)))
    }

    /// Returns the present generation of a key: how often it and its tenant have been invalidated.
    #[inline]
    pub(crate) fn generation(&self, id: KeyId, stamp: &Stamp) -> u32 {
        let tenant_generation = self.generations.of_tenant(stamp.tenant_stripe);
        self.generations.of_key(id).wrapping_add(tenant_generation)
    }

    /// Installs a proof that every change committed before `proved` has been applied here. Returns `false` if
    /// `proved` is later than `now`, which no honest proof is.
    pub(crate) fn prove(&self, proved: Moment, now: Moment) -> bool {
        if proved.uptime > now.uptime {
            return false;
        }
        // Compared with each proof, or the clocks drift apart until it looks like a pause.
        self.compare_clocks(now);
        if !jumped(proved, now) {
            self.proofs.extend(proved.uptime.saturating_add(self.max_age_millis()));
        }
        true
    }

    /// Lets proofs cover only loads that began after `moment`.
    pub(crate) fn cover_after(&self, moment: Moment) {
        self.proofs.begin_after(moment);
    }

    /// Compares the time of day with the uptime. If the time of day has run ahead, it is not known how much time has
    /// passed: invalidates everything, and returns `true`.
    #[cold]
    #[inline(never)]
    fn compare_clocks(&self, moment: Moment) -> bool {
        let has_run_ahead = self.proofs.has_run_ahead(moment);
        if has_run_ahead {
            self.invalidate_all();
        }
        self.proofs.note(moment);
        has_run_ahead
    }

    #[inline]
    fn hash(&self, id: KeyId) -> u64 {
        self.hasher.hash_one(u128::from_ne_bytes(*id.as_bytes()))
    }

    #[inline]
    fn shard(&self, hash: u64) -> Option<&Shard> {
        self.shards.get(shard_of(hash))
    }
}

/// Returns the room of a shard, so that `capacity` keys find room in all shards together. The number of keys in a
/// shard has a binomial distribution. More than five standard deviations above the mean are one case in three million.
fn room_per_shard(capacity: usize) -> usize {
    let mean = capacity.div_ceil(SHARDS);
    mean + if SHARDS > 1 { 5 * mean.isqrt() } else { 0 }
}

#[inline]
fn shard_of(hash: u64) -> usize {
    // The index uses the low bits of the hash.
    (hash >> 56) as usize % SHARDS
}

impl core::fmt::Debug for Cache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cache").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

/// Returns the age, in ticks, of a load that began at the tick `began`.
#[inline]
fn age(began: u32, moment: Moment) -> u32 {
    tick(moment).wrapping_sub(began)
}

/// Returns the tick at `moment`. Only differences of ticks are used, which is why a tick may wrap.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a tick wraps")]
pub(crate) fn tick(moment: Moment) -> u32 {
    (moment.uptime / TICK) as u32
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    const ID: &str = "AAAAAAAAAAAAAAAA";
    const BOUND: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(100);

    fn id() -> KeyId {
        ID.parse().unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn key(name: &str) -> ResolvedKey {
        ResolvedKey::sample(ID, "acme", name)
    }

    fn after(uptime: Duration) -> Moment {
        let uptime = u64::try_from(uptime.as_millis()).unwrap();
        Moment { now: Timestamp::saturating_from_millis(uptime.cast_signed()), uptime }
    }

    fn seconds(uptime: u64) -> Moment {
        after(Duration::from_secs(uptime))
    }

    fn cached(cache: &Cache, moment: Moment) -> Option<String> {
        cache.with(id(), moment, |key| key.name().into())
    }

    /// Returns the cache with one key, loaded without an invalidation in between.
    fn loaded(cache: Cache, moment: Moment) -> Cache {
        let ticket = cache.ticket(id(), moment, 0);
        cache.insert(key("old"), ticket);
        // The second call makes this thread's copy, and the third finds the copy.
        for _ in 0..3 {
            assert_eq!(cached(&cache, moment).as_deref(), Some("old"));
        }
        cache
    }

    fn new() -> Cache {
        Cache::new(1_000, BOUND, true)
    }

    #[test]
    fn an_invalidated_key_is_not_served() {
        let cache = loaded(new(), seconds(0));
        cache.invalidate_key(id());
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn invalidated_tenants_keys_are_not_served() {
        let cache = loaded(new(), seconds(0));
        cache.invalidate_tenant(&tenant("acme"));
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn invalidate_all_drops_cached_and_loading_keys() {
        let cache = loaded(new(), seconds(0));
        let ticket = cache.ticket(id(), seconds(0), 0);
        cache.invalidate_all();
        assert_eq!(cached(&cache, seconds(0)), None);
        // The load under way is not served either.
        cache.insert(key("old"), ticket);
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn invalidation_keeps_other_keys() {
        let cache = loaded(new(), seconds(0));
        cache.invalidate_key("AAAAAAAAAAAAAAAB".parse().unwrap());
        // One in 4,096 tenants shares a counter with this one.
        let stripe = |id: &str| Generations::stripe(cache.hasher.hash_one(id));
        let mut others = (0..).map(|number| std::format!("other {number}"));
        let other = others.find(|other| stripe(other) != stripe("acme")).unwrap();
        cache.invalidate_tenant(&tenant(&other));
        assert!(cached(&cache, seconds(0)).is_some());
    }

    #[test]
    fn load_before_an_invalidation_is_not_served_after() {
        let invalidations: [fn(&Cache); 2] =
            [|cache| cache.invalidate_key(id()), |cache| cache.invalidate_tenant(&tenant("acme"))];
        for invalidate in invalidations {
            let cache = new();
            let ticket = cache.ticket(id(), seconds(0), 0);
            assert!(cache.is_current(id(), ticket, seconds(0)));
            invalidate(&cache);
            assert!(!cache.is_current(id(), ticket, seconds(0)));
            let key = cache.insert(key("old"), ticket);
            // A caller that waited for this load began before the invalidation, and may have the key.
            assert_eq!(key.name(), "old");
            assert_eq!(cached(&cache, seconds(0)), None);
            loaded(cache, seconds(0));
        }
    }

    #[test]
    fn late_load_does_not_replace_a_newer_one() {
        let cache = new();
        let late = cache.ticket(id(), seconds(0), 0);
        cache.invalidate_key(id());
        let ticket = cache.ticket(id(), seconds(0), 0);
        cache.insert(key("new"), ticket);
        cache.insert(key("old"), late);
        assert_eq!(cached(&cache, seconds(0)).as_deref(), Some("new"));
    }

    #[test]
    fn key_is_served_until_the_staleness_bound() {
        let cache = loaded(new(), seconds(100));
        assert!(cached(&cache, after(Duration::from_millis(104_899))).is_some());
        assert!(cached(&cache, seconds(105)).is_none());
        assert!(cached(&cache, seconds(1_000)).is_none());
        // The age counts from before the load, however long the load took.
        let ticket = cache.ticket(id(), seconds(200), 0);
        cache.insert(key("slow"), ticket);
        assert!(cached(&cache, seconds(204)).is_some());
        assert!(cached(&cache, seconds(205)).is_none());
        // A caller that comes later does not share the load either.
        let ticket = cache.ticket(id(), seconds(200), 0);
        assert!(cache.is_current(id(), ticket, seconds(204)));
        assert!(!cache.is_current(id(), ticket, seconds(205)));
    }

    proptest! {
        #[test]
        fn nothing_is_served_at_the_bound(
            began in 0..1_u64 << 50,
            age in 0..20_000_u64,
            bound in 0..20_000_u64,
        ) {
            let millis = Duration::from_millis;
            let cache = Cache::new(1, millis(bound), true);
            let ticket = cache.ticket(id(), after(millis(began)), 0);
            cache.insert(key("old"), ticket);
            let served = cached(&cache, after(millis(began + age))).is_some();
            prop_assert!(!served || age < bound);
            // The key is dropped early by less than two ticks.
            prop_assert!(served || age + 200 > bound);
        }
    }

    #[test]
    fn ages_outlast_the_wrap_of_ticks() {
        let wrap = STEP * u32::MAX;
        for start in [wrap - BOUND / 2, wrap - STEP, wrap, wrap + STEP] {
            let cache = loaded(new(), after(start));
            assert!(cached(&cache, after(start + BOUND - STEP)).is_some());
            assert!(cached(&cache, after(start + BOUND)).is_none());
        }
    }

    #[test]
    fn the_fence_outlasts_the_wrap_of_generations() {
        for start in [0, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
            for invalidations in 0..4 {
                let mut cache = new();
                cache.generations = Generations::starting_at(start);
                let early = cache.ticket(id(), seconds(0), 0);
                let cache = loaded(cache, seconds(0));
                for number in 0..invalidations {
                    if number % 2 == 0 {
                        cache.invalidate_tenant(&tenant("acme"));
                    } else {
                        cache.invalidate_key(id());
                    }
                    assert_eq!(cached(&cache, seconds(0)), None);
                    cache.insert(key("old"), early);
                    assert_eq!(cached(&cache, seconds(0)), None);
                }
                loaded(cache, seconds(0));
            }
        }
    }

    #[test]
    fn zero_capacity_or_staleness_caches_nothing() {
        for cache in [
            Cache::new(0, BOUND, true),
            Cache::new(1_000, Duration::ZERO, true),
            Cache::new(1_000, STEP - Duration::from_nanos(1), true),
        ] {
            let ticket = cache.ticket(id(), seconds(0), 0);
            let inserted = cache.insert(key("new"), ticket);
            assert_eq!(inserted.name(), "new");
            assert_eq!(Arc::strong_count(&inserted), 1);
            assert_eq!(cached(&cache, seconds(0)), None);
        }
    }

    #[test]
    fn cache_holds_its_capacity() {
        let capacity = SHARDS * 10;
        let cache = Cache::new(capacity, BOUND, true);
        let ids: alloc::vec::Vec<KeyId> = (0..capacity * 4)
            .map(|number| alloc::format!("{number:016}").parse().unwrap())
            .collect();
        for id in &ids {
            let ticket = cache.ticket(*id, seconds(0), 0);
            cache.insert(ResolvedKey::sample(id.as_str(), "acme", ""), ticket);
            assert!(cache.with(*id, seconds(0), |key| key.id() == *id) == Some(true));
        }
        let held = ids.iter().filter(|id| cache.with(**id, seconds(0), |_| ()).is_some()).count();
        assert!((capacity..=SHARDS * room_per_shard(capacity)).contains(&held), "{held}");
    }
}
