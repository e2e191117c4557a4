//! The children whose signatures have been checked.

use alloc::{boxed::Box, sync::Arc};
use core::{array, hash::BuildHasher as _};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{children::Child, decision::ResolvedKey, mac};

/// The number of parts, each with its own lock, a power of two.
const SHARDS: usize = 64;

/// The most children that a part remembers.
const PER_SHARD: usize = 256;

/// The children whose signatures are known to be right, each with what its parent permitted when it was last used.
///
/// A child is derived from its parent by a function of both. INVARIANT: what a child permits is returned only with the one
/// read of its parent that it was derived from. So no invalidation has to reach this table: after each read of its parent the
/// child is derived again. The text of a child is not kept.
pub(crate) struct KnownChildren {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

type Shard = HashMap<ChildHash, KnownChild, RandomState>;

/// The seeded hash of the text of a child, so that nobody can choose children of one place. Two texts may share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChildHash(u64);

/// A child whose tag and signature were right.
#[derive(Clone)]
pub(super) struct KnownChild {
    /// The digest of its text.
    digest: [u64; 4],
    derived: Arc<ResolvedKey>,
}

impl Default for KnownChildren {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl KnownChild {
    pub(super) fn new(digest: &[u8; 32], derived: Arc<ResolvedKey>) -> Self {
        Self { digest: words(digest), derived }
    }

    /// Returns whether the text with this digest is this child.
    #[inline]
    pub(super) fn has_digest(&self, digest: &[u8; 32]) -> bool {
        mac::same(self.digest, words(digest))
    }

    /// Returns the child, and the key that proves its signature.
    pub(super) fn child(&self) -> Option<&Child> {
        self.derived.child()
    }

    /// Returns this child with what it permits under another read of its parent.
    pub(super) fn with(&self, derived: Arc<ResolvedKey>) -> Self {
        Self { digest: self.digest, derived }
    }

    /// Returns what the child permits if it was derived from this read of its parent, and itself otherwise.
    #[inline]
    pub(super) fn derived_from(self, parent: &ResolvedKey) -> Result<Arc<ResolvedKey>, Self> {
        match self.derived.parent() {
            Some(own) if own.is_same_read(parent) => Ok(self.derived),
            _ => Err(self),
        }
    }
}

impl KnownChildren {
    /// Returns the place of a child in this table.
    #[inline]
    pub(super) fn hash(&self, text: &[u8]) -> ChildHash {
        ChildHash(self.hasher.hash_one(text))
    }

    /// Returns the child that is remembered at this place. It may be another one than the presented one.
    #[inline]
    pub(super) fn get(&self, hash: ChildHash) -> Option<KnownChild> {
        self.shard(hash)?.get(&hash).cloned()
    }

    /// Remembers a child. If there is no room, another one is forgotten, and its signature is checked again.
    #[cold]
    pub(super) fn insert(&self, hash: ChildHash, known: KnownChild) {
        let Some(mut shard) = self.shard(hash) else { return };
        if shard.len() >= PER_SHARD
            && !shard.contains_key(&hash)
            && let Some(other) = shard.keys().next().copied()
        {
            shard.remove(&other);
        }
        shard.insert(hash, known);
    }

    fn shard(&self, hash: ChildHash) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get((hash.0 >> 32) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[inline]
fn words(digest: &[u8; 32]) -> [u64; 4] {
    let (words, _) = digest.as_chunks();
    array::from_fn(|index| words.get(index).copied().map_or(0, u64::from_ne_bytes))
}
