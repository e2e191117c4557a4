//! Each thread's copies of the keys that it uses most.
//!
//! A key that all threads share costs each of them a wait for the other processors, both for the lock of its
//! shard and for its reference count. A thread's own copy costs neither. A copy is checked like the original,
//! by its generation and its age, so it is never served for longer.
//!
//! The slots of a thread are allocated once and then overwritten. So a thread that uses more keys than there
//! are slots allocates nothing.

use alloc::{boxed::Box, sync::Arc};
use core::cell::Cell;

use crate::{decision::ResolvedKey, sync::thread_local, token::KeyId};

/// The number of slots, a power of two.
const SLOTS: usize = 64;

#[cfg(not(any(keyway_loom, keyway_shuttle)))]
thread_local! {
    static COPIES: Cell<Option<Box<Slots>>> = const { Cell::new(None) };
}
#[cfg(any(keyway_loom, keyway_shuttle))]
thread_local! {
    static COPIES: Cell<Option<Box<Slots>>> = Cell::new(None);
}

/// A thread's slots. Each key has exactly one slot that it can be in.
type Slots = [Slot];

/// The calling thread's copies. They are put back when this is dropped.
pub(super) struct ThreadCache(Option<Box<Slots>>);

/// Room for one copy.
struct Slot {
    /// The cache and the hash of the key that was used last.
    cache: u64,
    hash: u64,
    /// The cache that `copy` belongs to. 0 means that there is no copy.
    copied: u64,
    copy: Arc<ResolvedKey>,
}

impl ThreadCache {
    /// Takes the copies. There are none if they are in use, or if the thread is ending.
    #[inline]
    pub(super) fn take() -> Self {
        Self(COPIES.try_with(Cell::take).unwrap_or_default())
    }

    /// Allocates the slots, if there are none yet. They hold copies of `key` until they are used.
    pub(super) fn prepare(&mut self, key: &ResolvedKey) {
        if self.0.is_none() {
            let slot = |_| Slot { cache: 0, hash: 0, copied: 0, copy: Arc::new(key.clone()) };
            self.0 = Some((0..SLOTS).map(slot).collect());
        }
    }

    /// Returns the copy of the key `id` of this cache.
    #[inline]
    pub(super) fn find(&self, cache: u64, hash: u64, id: KeyId) -> Option<&Arc<ResolvedKey>> {
        let slot = self.0.as_ref()?.get(place(hash))?;
        (slot.copied == cache && slot.copy.id() == id).then_some(&slot.copy)
    }

    /// Notes a use of `key`, which has no valid copy. The second use in a row makes one.
    pub(super) fn note(&mut self, cache: u64, hash: u64, key: &ResolvedKey) {
        self.prepare(key);
        let Some(slot) = self.0.as_mut().and_then(|slots| slots.get_mut(place(hash))) else {
            return;
        };
        if slot.cache == cache && slot.hash == hash {
            slot.copy(cache, key);
        } else {
            (slot.cache, slot.hash) = (cache, hash);
        }
    }
}

impl Slot {
    fn copy(&mut self, cache: u64, key: &ResolvedKey) {
        let is_same_key = self.copied == cache && self.copy.id() == key.id();
        match Arc::get_mut(&mut self.copy) {
            Some(place) => place.clone_from(key),
            // A caller still holds the old copy. A key whose record was loaded again gets a new allocation.
            // Otherwise a busy key would never have a copy again.
            None if is_same_key => self.copy = Arc::new(key.clone()),
            None => return,
        }
        self.copied = cache;
    }
}

impl Drop for ThreadCache {
    #[inline]
    fn drop(&mut self) {
        let slots = self.0.take();
        // A thread that is ending has no place for the copies, and they are dropped.
        let _ = COPIES.try_with(|thread_cache| thread_cache.set(slots));
    }
}

fn place(hash: u64) -> usize {
    (hash >> 32) as usize % SLOTS
}

#[cfg(all(test, not(any(keyway_loom, keyway_shuttle))))]
mod tests {
    use super::*;

    const ID: &str = "AAAAAAAAAAAAAAAA";

    fn id() -> KeyId {
        key().id()
    }

    fn key() -> ResolvedKey {
        ResolvedKey::sample(ID, "acme", "a key")
    }

    fn has_copy(thread_cache: &ThreadCache, cache: u64, hash: u64) -> bool {
        thread_cache.find(cache, hash, id()).is_some()
    }

    #[test]
    fn the_second_use_in_a_row_makes_a_copy() {
        let mut thread_cache = ThreadCache(None);
        thread_cache.note(1, 7, &key());
        assert!(!has_copy(&thread_cache, 1, 7));
        thread_cache.note(1, 7, &key());
        assert!(has_copy(&thread_cache, 1, 7));
    }

    #[test]
    fn consecutive_64_hashes_have_their_own_slots() {
        let mut thread_cache = ThreadCache(None);
        let hashes = (0..64).map(|number| number << 32);
        for hash in hashes.clone().chain(hashes.clone()) {
            thread_cache.note(1, hash, &key());
        }
        assert!(hashes.clone().all(|hash| has_copy(&thread_cache, 1, hash)));
    }

    #[test]
    fn another_key_in_the_slot_resets_the_count() {
        let mut thread_cache = ThreadCache(None);
        for hash in [7, 8, 7] {
            thread_cache.note(1, hash, &key());
            assert!(!has_copy(&thread_cache, 1, 7));
        }
    }

    #[test]
    fn a_copy_stays_until_another_key_is_used_twice() {
        let mut thread_cache = ThreadCache(None);
        let other = || ResolvedKey::sample("BBBBBBBBBBBBBBBB", "acme", "another");
        thread_cache.note(1, 7, &key());
        thread_cache.note(1, 7, &key());
        thread_cache.note(1, 8, &other());
        assert!(has_copy(&thread_cache, 1, 7));
        thread_cache.note(1, 8, &other());
        assert!(!has_copy(&thread_cache, 1, 7) && thread_cache.find(1, 8, other().id()).is_some());
    }

    #[test]
    fn slot_is_overwritten_without_allocation() {
        let mut thread_cache = ThreadCache(None);
        let other = || ResolvedKey::sample("BBBBBBBBBBBBBBBB", "acme", "another");
        let twice = |thread_cache: &mut ThreadCache, hash, key: &ResolvedKey| {
            (0..2).for_each(|_| thread_cache.note(1, hash, key));
            thread_cache.find(1, hash, key.id()).map(Arc::as_ptr)
        };
        let first = twice(&mut thread_cache, 7, &key()).unwrap();
        assert_eq!(twice(&mut thread_cache, 8, &other()), Some(first));
        // A copy that a caller holds is not overwritten. The other key does without a copy.
        let held = Arc::clone(thread_cache.find(1, 8, other().id()).unwrap());
        assert_eq!(twice(&mut thread_cache, 7, &key()), None);
        assert_eq!(held.name(), "another");
        // The same key, loaded again, gets another allocation.
        let again = twice(&mut thread_cache, 8, &other()).unwrap();
        assert!(again != first && held.name() == "another");
    }

    #[test]
    fn copy_belongs_to_one_cache() {
        let mut thread_cache = ThreadCache(None);
        thread_cache.note(1, 7, &key());
        thread_cache.note(2, 7, &key());
        assert!(!has_copy(&thread_cache, 2, 7));
        thread_cache.note(2, 7, &key());
        assert!(has_copy(&thread_cache, 2, 7));
        assert!(!has_copy(&thread_cache, 1, 7));
    }

    #[test]
    fn copies_are_put_back_on_drop() {
        std::thread::spawn(|| {
            let mut thread_cache = ThreadCache::take();
            thread_cache.note(1, 7, &key());
            thread_cache.note(1, 7, &key());
            // A second user does without while the copies are in use.
            assert!(!has_copy(&ThreadCache::take(), 1, 7));
            drop(thread_cache);
            assert!(has_copy(&ThreadCache::take(), 1, 7));
        })
        .join()
        .unwrap();
    }
}
