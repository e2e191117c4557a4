//! The states of recently used keys.

use alloc::borrow::ToOwned;
use core::{
    borrow::Borrow,
    hash::Hash,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

/// The number of shards, a power of two.
const SHARDS: usize = 64;

/// For each key or tenant `K`, the time at which it has all of its rate again, in nanoseconds since the start.
pub(super) struct States<K> {
    shards: [Shard<K>; SHARDS],
    /// The shard that is searched next for keys to forget.
    next: AtomicUsize,
}

type Shard<K> = RwLock<HashMap<K, AtomicU64, foldhash::fast::RandomState>>;

impl<K: Eq + Hash> States<K> {
    pub(super) fn new() -> Self {
        Self { shards: [(); SHARDS].map(|()| Shard::default()), next: AtomicUsize::new(0) }
    }

    /// Replaces the time of `key` by the one that `next` returns. Returns the time before, which is 0 for a new
    /// key. `spread` is an evenly distributed number that belongs to the key.
    ///
    /// # Errors
    ///
    /// The time, unchanged, if `next` returned none.
    #[inline]
    pub(super) fn update<Q>(
        &self,
        key: &Q,
        spread: usize,
        next: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // Relaxed, since no other memory is read or written along with it.
        let update = |state: &AtomicU64| state.fetch_update(Relaxed, Relaxed, &next);
        let shard = self.shard(spread);
        {
            let states = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(state) = states.get(key) {
                return update(state);
            }
        }
        let mut states = shard.write().unwrap_or_else(PoisonError::into_inner);
        update(states.entry(key.to_owned()).or_default())
    }

    /// Forgets the keys of the next shard in turn that have all of their rate at `now`. No request waits for a
    /// search of all shards.
    pub(super) fn forget_full(&self, now: u64) {
        let number = self.next.fetch_add(1, Relaxed);
        let mut states = self.shard(number).write().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, full_at| *full_at.get_mut() > now);
        // Does not shrink to the exact size, since the shard is likely to hold as many keys again.
        if states.len() < states.capacity() / 4 {
            let capacity = states.len() * 2;
            states.shrink_to(capacity);
        }
    }

    fn shard(&self, number: usize) -> &Shard<K> {
        let [first, ..] = &self.shards;
        // INVARIANT: the mask keeps the index within the array.
        self.shards.get(number & (SHARDS - 1)).unwrap_or(first)
    }
}

#[cfg(test)]
impl<K> States<K> {
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }

    pub(super) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().capacity()).sum()
    }
}
