//! What is known of the keys that were used of late.

use core::{
    cell::Cell,
    hash::{Hash, Hasher},
    num::NonZeroU64,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use crate::token::KeyId;

/// One request of a key, and afterwards what became of the key.
#[derive(Clone)]
pub(super) struct Request {
    key: KeyId,
    full_at: Cell<u64>,
}

impl Request {
    pub(super) fn of(key: KeyId) -> Self {
        Self { key, full_at: Cell::new(0) }
    }

    /// When the key has all of its rate again, which governor does not tell of a request that it admits.
    pub(super) fn full_at(&self) -> u64 {
        self.full_at.get()
    }

    fn measure<T, E>(
        &self,
        state: &AtomicU64,
        decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<T, E> {
        // Relaxed, as nothing else is read or written along with it.
        let mut full_at = state.load(Ordering::Relaxed);
        loop {
            self.full_at.set(full_at);
            let (result, new) = decide(NonZeroU64::new(full_at).map(|at| at.get().into()))?;
            match state.compare_exchange_weak(
                full_at,
                new.as_u64(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.full_at.set(new.as_u64());
                    return Ok(result);
                }
                Err(other) => full_at = other,
            }
        }
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Request {}

impl Hash for Request {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key.hash(hasher);
    }
}

/// A power of two.
const SHARDS: usize = 64;

/// By key, when it has all of its rate again, in nanoseconds since the start.
///
/// Of governor's own stores, one has a single lock, and the other one brings a second `hashbrown`.
pub(super) struct States {
    shards: [Shard; SHARDS],
    /// The shard that is searched next for keys to forget.
    next: AtomicUsize,
}

type Shard = RwLock<HashMap<KeyId, AtomicU64, foldhash::fast::RandomState>>;

impl States {
    pub(super) fn new() -> Self {
        Self { shards: [(); SHARDS].map(|()| Shard::default()), next: AtomicUsize::new(0) }
    }

    fn shard(&self, number: usize) -> &Shard {
        let [first, ..] = &self.shards;
        // INVARIANT: the mask keeps it within the array.
        self.shards.get(number & (SHARDS - 1)).unwrap_or(first)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().capacity()).sum()
    }
}

impl StateStore for States {
    type Key = Request;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, request: &Request, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = self.shard(request.key.spread());
        {
            let states = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(state) = states.get(&request.key) {
                return request.measure(state, decide);
            }
        }
        let mut states = shard.write().unwrap_or_else(PoisonError::into_inner);
        request.measure(states.entry(request.key).or_default(), decide)
    }
}

impl ShrinkableKeyedStateStore<Request> for States {
    /// Forgets keys in one shard, the next one in turn, so that nobody waits for a search of them all.
    fn retain_recent(&self, drop_below: Nanos) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut states = self.shard(number).write().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, full_at| *full_at.get_mut() > drop_below.as_u64());
        // Not at once to what it holds, which it is likely to hold again.
        if states.len() < states.capacity() / 4 {
            let capacity = states.len() * 2;
            states.shrink_to(capacity);
        }
    }

    fn len(&self) -> usize {
        let len = |shard: &Shard| shard.read().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(len).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
