//! Resolved keys in memory, bounded in number and in age.
//!
//! A cached key is good as long as neither it nor its tenant has been invalidated since it was asked
//! for, and it is younger than the staleness bound. Invalidation counts up a number, and every cached
//! key carries the number from before its load began. So a load that began before an invalidation is
//! never served after it, whenever it finishes: the fence is in the data, not in the order of locks.

mod flights;
mod generations;
mod index;
mod uses;

use alloc::{boxed::Box, sync::Arc};
use core::{hash::BuildHasher, time::Duration};

use std::sync::PoisonError;

pub(crate) use self::{flights::Flights, uses::Uses};
use self::{generations::Generations, index::Index};
use crate::{
    decision::{ResolvedKey, Stamp},
    record::TenantId,
    sync::RwLock,
    time::Moment,
    token::KeyId,
};

/// The unit of age, in milliseconds. A cached key notes its age in 32 bits, which last for 13 years.
const TICK: u64 = 100;

/// A power of two.
const SHARDS: usize = 64;

pub(crate) struct Cache {
    shards: Box<[RwLock<Index>]>,
    hasher: foldhash::fast::RandomState,
    generations: Generations,
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
            shards: (0..SHARDS)
                .map(|_| RwLock::new(Index::new(per_shard)))
                .collect(),
            hasher: foldhash::fast::RandomState::default(),
            generations: Generations::new(),
            max_age: u32::try_from(max_staleness.as_millis() / u128::from(TICK))
                .unwrap_or(u32::MAX),
        }
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
        let index = self
            .shard(hash)?
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let key = index.find(hash, id)?;
        self.is_good(id, &key.stamp, moment).then(|| read(key))
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
        let generation = ticket.key_generation.wrapping_add(tenant_generation);
        key.stamp = Stamp::new(generation, ticket.began, tenant_stripe);
        let id = key.id();
        let key = Arc::new(key);
        if !is_fenced && self.max_age > 0 {
            let hash = self.hash(id);
            if let Some(shard) = self.shard(hash) {
                let mut index = shard.write().unwrap_or_else(PoisonError::into_inner);
                index.insert(hash, Arc::clone(&key), |id| self.hash(id));
            }
        }
        key
    }

    /// From here on, no verification is decided by what was loaded of this key before.
    pub(crate) fn invalidate_key(&self, id: KeyId) {
        self.generations.bump_key(id);
        let hash = self.hash(id);
        if let Some(shard) = self.shard(hash) {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(hash, id);
        }
    }

    /// From here on, no verification is decided by what was loaded of this tenant's keys before.
    pub(crate) fn invalidate_tenant(&self, id: &TenantId) {
        self.generations
            .bump_tenant(Generations::stripe(self.hasher.hash_one(id.as_str())));
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
        f.debug_struct("Cache")
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
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
