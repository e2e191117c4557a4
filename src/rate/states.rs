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

use crate::tier::Rate;

/// The number of shards, a power of two.
const SHARDS: usize = 64;

/// For each key or tenant `K`, its rate and the time at which it has all of it again.
pub(super) struct States<K> {
    shards: [Shard<K>; SHARDS],
    /// The shard that is searched next for keys to forget.
    next: AtomicUsize,
}

type Shard<K> = RwLock<HashMap<K, State, foldhash::fast::RandomState>>;

#[derive(Default)]
struct State {
    /// Changed only under the lock for writing.
    rate: Option<Rate>,
    /// In nanoseconds since the start.
    full_at: AtomicU64,
}

impl<K: Eq + Hash> States<K> {
    pub(super) fn new() -> Self {
        Self { shards: [(); SHARDS].map(|()| Shard::default()), next: AtomicUsize::new(0) }
    }

    /// Replaces the time of `key` by the one that `next` returns. Returns the time before, which is 0 for a new
    /// key, and for a key that had another rate. `spread` is an evenly distributed number that belongs to the key.
    ///
    /// # Errors
    ///
    /// The time, unchanged, if `next` returned none.
    #[inline]
    pub(super) fn update<Q>(
        &self,
        key: &Q,
        spread: usize,
        rate: Rate,
        next: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // Relaxed, since no other memory is read or written along with it.
        let update = |state: &State| state.full_at.fetch_update(Relaxed, Relaxed, &next);
        let shard = self.shard(spread);
        {
            let states = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(state) = states.get(key).filter(|state| state.rate == Some(rate)) {
                return update(state);
            }
        }
        let mut states = shard.write().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(key.to_owned()).or_default();
        if state.rate != Some(rate) {
            // A time that was set under another rate could refuse the key for longer than its rate does.
            *state = State { rate: Some(rate), full_at: AtomicU64::new(0) };
        }
        update(state)
    }

    /// Forgets the keys of the next shard in turn that have all of their rate at `now`. No request waits for a
    /// search of all shards.
    pub(super) fn forget_full(&self, now: u64) {
        let number = self.next.fetch_add(1, Relaxed);
        let mut states = self.shard(number).write().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| *state.full_at.get_mut() > now);
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
