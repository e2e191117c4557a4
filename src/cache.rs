//! Resolved keys in memory, bounded in number and in age.
//!
//! A cached key is good as long as neither it nor its tenant has been invalidated since it was asked
//! for, and it is younger than the staleness bound. Invalidation counts up a number, and every cached
//! key carries the number from before its load began. So a load that began before an invalidation is
//! never served after it, whenever it finishes: the fence is in the data, not in the order of locks.

#[cfg(all(test, any(keyway_loom, keyway_shuttle)))]
mod fence_tests;
mod flights;
mod generations;
mod index;
mod near;
mod refuted;
mod uses;

use alloc::{boxed::Box, sync::Arc};
use core::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use std::sync::PoisonError;

pub(crate) use self::{flights::Flights, uses::Uses};
use self::{generations::Generations, index::Index, near::Near, refuted::Refuted};
use crate::{
    decision::{ResolvedKey, Stamp},
    record::TenantId,
    sync::RwLock,
    time::Moment,
    token::{Claim, KeyId, Rejection},
};

/// The unit of age, in milliseconds. A cached key notes its age in 32 bits, which last for 13 years.
pub(crate) const TICK: u64 = 100;

/// The number of the next cache. 0 is none.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A power of two.
const SHARDS: usize = if cfg!(any(keyway_loom, keyway_shuttle)) { 1 } else { 64 };

pub(crate) struct Cache {
    /// Tells this cache from others in the process.
    number: u64,
    shards: Box<[RwLock<Index>]>,
    hasher: foldhash::fast::RandomState,
    generations: Generations,
    refuted: Refuted,
    /// Cached keys of this age, in ticks, are too old.
    max_age: u32,
}

/// What was true before a load began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    key_generation: u32,
    tenant_changes: u32,
    began: u32,
}

impl Cache {
    /// A cache of `capacity` keys, none of which is served at the age of `max_staleness`.
    pub(crate) fn new(capacity: usize, max_staleness: Duration) -> Self {
        let per_shard = capacity.div_ceil(SHARDS);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            shards: (0..SHARDS).map(|_| RwLock::new(Index::new(per_shard))).collect(),
            hasher: foldhash::fast::RandomState::default(),
            generations: Generations::new(),
            refuted: Refuted::new(if capacity == 0 { Duration::ZERO } else { max_staleness }),
            max_age: u32::try_from(max_staleness.as_millis() / u128::from(TICK))
                .unwrap_or(u32::MAX),
        }
    }

    /// The number that no other cache in the process has.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What `read` makes of the cached key `id`, if there is one that is good at `moment`.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        id: KeyId,
        moment: Moment,
        read: impl FnOnce(&Arc<ResolvedKey>) -> T,
    ) -> Option<T> {
        let hash = self.hash(id);
        let mut near = Near::take();
        let index;
        let copy = near.find(self.number, hash, id);
        let key = if let Some(copy) = copy.filter(|copy| self.is_good(id, &copy.stamp, moment)) {
            copy
        } else {
            index = self.shard(hash)?.read().unwrap_or_else(PoisonError::into_inner);
            let key = index.find(hash, id)?;
            if !self.is_good(id, &key.stamp, moment) {
                return None;
            }
            near.note(self.number, hash, key);
            key
        };
        Some(read(key))
    }

    /// Why the store has refuted `claim`, if it did so a moment ago.
    pub(crate) fn refutation(&self, claim: &Claim, moment: Moment) -> Option<Rejection> {
        self.refuted.reason(claim, moment)
    }

    /// Keeps in mind for a second that the store has refuted `claim`.
    pub(crate) fn note_refuted(&self, claim: &Claim, reason: Rejection, moment: Moment) {
        self.refuted.note(claim, reason, moment);
    }

    /// Call this before a load of the key `id` begins.
    pub(crate) fn ticket(&self, id: KeyId, moment: Moment) -> Ticket {
        Ticket {
            tenant_changes: self.generations.tenant_changes(),
            key_generation: self.generations.of_key(id),
            began: tick(moment),
        }
    }

    /// Keeps `key`, which was loaded since `ticket`, unless it is out of date already.
    pub(crate) fn insert(&self, mut key: ResolvedKey, ticket: Ticket) -> Arc<ResolvedKey> {
        let tenant_stripe = Generations::stripe(self.hasher.hash_one(key.tenant()));
        let tenant_generation = self.generations.of_tenant(tenant_stripe);
        // The tenant was not known before the load, so any tenant's change makes it doubtful. The
        // order matters: an invalidation counts the change before it counts the generation.
        let is_fenced = self.generations.tenant_changes() != ticket.tenant_changes
            || self.generations.of_key(key.id()) != ticket.key_generation;
        let id = key.id();
        let hash = self.hash(id);
        let index = self.shard(hash).filter(|_| !is_fenced && self.max_age > 0);
        let mut index = index.map(|index| index.write().unwrap_or_else(PoisonError::into_inner));
        let mut key_generation = ticket.key_generation;
        if let Some(old) = index.as_ref().and_then(|index| index.find(hash, id))
            && key.changes(old)
        {
            // Threads may have copies of the old one, which are no good from here on. Were somebody
            // else to count at this moment, the number below would be too low, and the key no good.
            self.generations.bump_key(id);
            key_generation = key_generation.wrapping_add(1);
        }
        let generation = key_generation.wrapping_add(tenant_generation);
        key.stamp = Stamp::new(generation, ticket.began, tenant_stripe);
        let key = Arc::new(key);
        if let Some(index) = &mut index {
            index.insert(hash, Arc::clone(&key), |id| self.hash(id));
        }
        key
    }

    /// From here on, no verification is decided by what was loaded of this key before.
    pub(crate) fn invalidate_key(&self, id: KeyId) {
        self.generations.bump_key(id);
        let hash = self.hash(id);
        if let Some(shard) = self.shard(hash) {
            shard.write().unwrap_or_else(PoisonError::into_inner).remove(hash, id);
        }
    }

    /// From here on, no verification is decided by what was loaded of this tenant's keys before.
    pub(crate) fn invalidate_tenant(&self, id: &TenantId) {
        self.generations.bump_tenant(Generations::stripe(self.hasher.hash_one(id.as_str())));
    }

    /// From here on, no verification is decided by what was loaded before.
    pub(crate) fn invalidate_all(&self) {
        self.generations.bump_all();
    }

    /// Whether a load that began with `ticket` sees what one that begins at `moment` has to see.
    pub(crate) fn is_current(&self, id: KeyId, ticket: Ticket, moment: Moment) -> bool {
        self.generations.of_key(id) == ticket.key_generation
            && self.generations.tenant_changes() == ticket.tenant_changes
            && age(ticket.began, moment) < self.max_age
    }

    #[inline]
    fn is_good(&self, id: KeyId, stamp: &Stamp, moment: Moment) -> bool {
        let tenant_generation = self.generations.of_tenant(stamp.tenant_stripe);
        let generation = self.generations.of_key(id).wrapping_add(tenant_generation);
        generation == stamp.generation && age(stamp.loaded, moment) < self.max_age
    }

    #[inline]
    fn hash(&self, id: KeyId) -> u64 {
        self.hasher.hash_one(u128::from_ne_bytes(*id.as_bytes()))
    }

    #[inline]
    fn shard(&self, hash: u64) -> Option<&RwLock<Index>> {
        // The index uses the low bits.
        self.shards.get((hash >> 56) as usize % SHARDS)
    }
}

impl core::fmt::Debug for Cache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cache").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

/// The age of what was asked for at the tick `began`.
#[inline]
fn age(began: u32, moment: Moment) -> u32 {
    tick(moment).wrapping_sub(began)
}

/// The tick at `moment`. Ages are differences of this number, which is why it may wrap.
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
        Moment { now: Timestamp::MAX, uptime: u64::try_from(uptime.as_millis()).unwrap() }
    }

    fn seconds(uptime: u64) -> Moment {
        after(Duration::from_secs(uptime))
    }

    fn cached(cache: &Cache, moment: Moment) -> Option<String> {
        cache.with(id(), moment, |key| key.name().into())
    }

    /// A cache with one key, loaded without anything in between.
    fn loaded(cache: Cache, moment: Moment) -> Cache {
        let ticket = cache.ticket(id(), moment);
        cache.insert(key("old"), ticket);
        // The second time makes a copy of this thread's own, and the third finds it.
        for _ in 0..3 {
            assert_eq!(cached(&cache, moment).as_deref(), Some("old"));
        }
        cache
    }

    fn new() -> Cache {
        Cache::new(1_000, BOUND)
    }

    #[test]
    fn an_invalidated_key_is_not_served() {
        let cache = loaded(new(), seconds(0));
        cache.invalidate_key(id());
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn an_invalidated_tenants_keys_are_not_served() {
        let cache = loaded(new(), seconds(0));
        cache.invalidate_tenant(&tenant("acme"));
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn when_all_is_invalidated_nothing_is_served() {
        let cache = loaded(new(), seconds(0));
        let ticket = cache.ticket(id(), seconds(0));
        cache.invalidate_all();
        assert_eq!(cached(&cache, seconds(0)), None);
        // Nor what was being loaded then.
        cache.insert(key("old"), ticket);
        assert_eq!(cached(&cache, seconds(0)), None);
        loaded(cache, seconds(0));
    }

    #[test]
    fn what_is_invalidated_leaves_others_alone() {
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
    fn a_load_from_before_an_invalidation_is_never_served_after_it() {
        let invalidations: [fn(&Cache); 2] =
            [|cache| cache.invalidate_key(id()), |cache| cache.invalidate_tenant(&tenant("acme"))];
        for invalidate in invalidations {
            let cache = new();
            let ticket = cache.ticket(id(), seconds(0));
            assert!(cache.is_current(id(), ticket, seconds(0)));
            invalidate(&cache);
            assert!(!cache.is_current(id(), ticket, seconds(0)));
            let key = cache.insert(key("old"), ticket);
            // Who waited for this load began before the invalidation, and may have it.
            assert_eq!(key.name(), "old");
            assert_eq!(cached(&cache, seconds(0)), None);
            loaded(cache, seconds(0));
        }
    }

    #[test]
    fn a_late_load_does_not_push_out_a_newer_one() {
        let cache = new();
        let late = cache.ticket(id(), seconds(0));
        cache.invalidate_key(id());
        let ticket = cache.ticket(id(), seconds(0));
        cache.insert(key("new"), ticket);
        cache.insert(key("old"), late);
        assert_eq!(cached(&cache, seconds(0)).as_deref(), Some("new"));
    }

    #[test]
    fn a_key_is_served_until_the_bound() {
        let cache = loaded(new(), seconds(100));
        assert!(cached(&cache, after(Duration::from_millis(104_899))).is_some());
        assert!(cached(&cache, seconds(105)).is_none());
        assert!(cached(&cache, seconds(1_000)).is_none());
        // Its age counts from before the load, however long that took.
        let ticket = cache.ticket(id(), seconds(200));
        cache.insert(key("slow"), ticket);
        assert!(cached(&cache, seconds(204)).is_some());
        assert!(cached(&cache, seconds(205)).is_none());
        // Nor is a load shared by those who come then.
        let ticket = cache.ticket(id(), seconds(200));
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
            let cache = Cache::new(1, millis(bound));
            let ticket = cache.ticket(id(), after(millis(began)));
            cache.insert(key("old"), ticket);
            let served = cached(&cache, after(millis(began + age))).is_some();
            prop_assert!(!served || age < bound);
            // On the early side by less than two ticks.
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
                let early = cache.ticket(id(), seconds(0));
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
    fn without_room_or_time_nothing_is_kept() {
        for cache in [
            Cache::new(0, BOUND),
            Cache::new(1_000, Duration::ZERO),
            Cache::new(1_000, STEP - Duration::from_nanos(1)),
        ] {
            let ticket = cache.ticket(id(), seconds(0));
            let inserted = cache.insert(key("new"), ticket);
            assert_eq!(inserted.name(), "new");
            assert_eq!(Arc::strong_count(&inserted), 1);
            assert_eq!(cached(&cache, seconds(0)), None);
        }
    }

    #[test]
    fn it_holds_what_it_has_room_for() {
        let capacity = SHARDS * 10;
        let cache = Cache::new(capacity, BOUND);
        let ids: alloc::vec::Vec<KeyId> = (0..capacity * 4)
            .map(|number| alloc::format!("{number:016}").parse().unwrap())
            .collect();
        for id in &ids {
            let ticket = cache.ticket(*id, seconds(0));
            cache.insert(ResolvedKey::sample(id.as_str(), "acme", ""), ticket);
            assert!(cache.with(*id, seconds(0), |key| key.id() == *id) == Some(true));
        }
        let held = ids.iter().filter(|id| cache.with(**id, seconds(0), |_| ()).is_some()).count();
        assert!(held <= capacity && held > capacity * 9 / 10, "{held}");
    }
}
