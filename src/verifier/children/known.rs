//! The children whose signatures have been checked.

use alloc::{boxed::Box, sync::Arc};
use core::hash::BuildHasher as _;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::decision::ResolvedKey;

/// The number of parts, each with its own lock, a power of two.
const SHARDS: usize = 64;

/// The most children that a part remembers.
const PER_SHARD: usize = 256;

/// The children whose signatures are known to be right, by the digest of their text, each with what its parent permitted.
///
/// INVARIANT: a child is found only for a parent that is equal to the one that it was derived from, in everything that
/// decides. So no invalidation has to reach this table: a parent that has changed in any way finds nothing. The text of a
/// child is not kept.
pub(crate) struct KnownChildren {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

type Shard = HashMap<[u8; 32], Known, RandomState>;

struct Known {
    parent: ResolvedKey,
    child: Arc<ResolvedKey>,
}

impl Default for KnownChildren {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl KnownChildren {
    /// Returns what the child with this digest permits, if it was derived from a parent like `parent`.
    #[inline]
    pub(super) fn find(&self, digest: &[u8; 32], parent: &ResolvedKey) -> Option<Arc<ResolvedKey>> {
        let mut shard = self.shard(digest)?;
        let known = shard.get_mut(digest)?;
        if known.parent != *parent {
            return None;
        }
        // A parent that was read again has its parts in other places. With the new ones the next comparison compares
        // addresses.
        if !known.parent.is_same_read(parent) {
            known.parent.clone_from(parent);
        }
        Some(Arc::clone(&known.child))
    }

    /// Returns whether the signature of the child with this digest was right once, for some state of its parent.
    pub(super) fn contains(&self, digest: &[u8; 32]) -> bool {
        self.shard(digest).is_some_and(|shard| shard.contains_key(digest))
    }

    /// Remembers a child. If there is no room, another one is forgotten, and its signature is checked again.
    pub(super) fn insert(&self, digest: &[u8; 32], parent: &ResolvedKey, child: &Arc<ResolvedKey>) {
        let Some(mut shard) = self.shard(digest) else { return };
        if shard.len() >= PER_SHARD
            && let Some(other) = shard.keys().next().copied()
        {
            shard.remove(&other);
        }
        shard.insert(*digest, Known { parent: parent.clone(), child: Arc::clone(child) });
    }

    fn shard(&self, digest: &[u8; 32]) -> Option<MutexGuard<'_, Shard>> {
        // A seeded hash of a part of the digest, so that nobody can choose children of one part.
        let hash = self.hasher.hash_one(u64::from_ne_bytes(*digest.first_chunk()?));
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
