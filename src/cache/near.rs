//! Copies of the keys that a thread uses most, which it shares with no other thread.
//!
//! A key that many threads verify at once would make them wait for each other: for the lock of its
//! shard, and for the count of its references. A copy of its own costs a thread neither. A copy is
//! judged like the key it was made of, by its generation and its age, so it is never served for longer.

use alloc::{boxed::Box, sync::Arc};
use core::cell::Cell;

use crate::{decision::ResolvedKey, sync::thread_local, token::KeyId};

/// A power of two.
const SLOTS: usize = 64;

#[cfg(not(any(keyway_loom, keyway_shuttle)))]
thread_local! {
    static NEAR: Cell<Option<Box<Slots>>> = const { Cell::new(None) };
}
#[cfg(any(keyway_loom, keyway_shuttle))]
thread_local! {
    static NEAR: Cell<Option<Box<Slots>>> = Cell::new(None);
}

/// Each key has one slot that it can be in.
type Slots = [Slot; SLOTS];

/// The calling thread's copies, which are back in their place when this is dropped.
pub(super) struct Near(Option<Box<Slots>>);

/// A key that was used, and its copy if it was used again before another one of the slot.
struct Slot {
    cache: u64,
    hash: u64,
    copy: Option<Arc<ResolvedKey>>,
}

impl Slot {
    const EMPTY: Self = Self { cache: 0, hash: 0, copy: None };
}

impl Near {
    /// The copies; none if they are in use, or gone as the thread ends.
    #[inline]
    pub(super) fn take() -> Self {
        Self(NEAR.try_with(Cell::take).unwrap_or_default())
    }

    /// The copy of the key `id` of this cache.
    #[inline]
    pub(super) fn find(&self, cache: u64, hash: u64, id: KeyId) -> Option<&Arc<ResolvedKey>> {
        let slot = self.0.as_ref()?.get(place(hash))?;
        let copy = slot.copy.as_ref()?;
        (slot.cache == cache && copy.id() == id).then_some(copy)
    }

    /// Notes a use of `key`, of which there is no good copy. The second in a row makes one.
    pub(super) fn note(&mut self, cache: u64, hash: u64, key: &ResolvedKey) {
        let slots = self.0.get_or_insert_with(|| Box::new([const { Slot::EMPTY }; SLOTS]));
        let Some(slot) = slots.get_mut(place(hash)) else { return };
        let again = slot.cache == cache && slot.hash == hash;
        let copy = if again { key.copy().map(Arc::new) } else { None };
        *slot = Slot { cache, hash, copy };
    }
}

impl Drop for Near {
    #[inline]
    fn drop(&mut self) {
        let slots = self.0.take();
        // Where the thread ends there is no place, and the copies go.
        let _ = NEAR.try_with(|near| near.set(slots));
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

    fn has_copy(near: &Near, cache: u64, hash: u64) -> bool {
        near.find(cache, hash, id()).is_some()
    }

    #[test]
    fn the_second_use_in_a_row_makes_a_copy() {
        let mut near = Near(None);
        near.note(1, 7, &key());
        assert!(!has_copy(&near, 1, 7));
        near.note(1, 7, &key());
        assert!(has_copy(&near, 1, 7));
    }

    #[test]
    fn there_is_a_slot_for_each_of_64_hashes_that_follow_each_other() {
        let mut near = Near(None);
        let hashes = (0..64).map(|number| number << 32);
        for hash in hashes.clone().chain(hashes.clone()) {
            near.note(1, hash, &key());
        }
        assert!(hashes.clone().all(|hash| has_copy(&near, 1, hash)));
    }

    #[test]
    fn another_key_of_the_slot_starts_anew() {
        let mut near = Near(None);
        for hash in [7, 8, 7] {
            near.note(1, hash, &key());
            assert!(!has_copy(&near, 1, 7));
        }
    }

    #[test]
    fn a_copy_is_of_one_cache_alone() {
        let mut near = Near(None);
        near.note(1, 7, &key());
        near.note(2, 7, &key());
        assert!(!has_copy(&near, 2, 7));
        near.note(2, 7, &key());
        assert!(has_copy(&near, 2, 7));
        assert!(!has_copy(&near, 1, 7));
    }

    #[test]
    fn copies_are_there_again_for_the_next_who_takes_them() {
        std::thread::spawn(|| {
            let mut near = Near::take();
            near.note(1, 7, &key());
            near.note(1, 7, &key());
            // Whoever comes while they are in use does without.
            assert!(!has_copy(&Near::take(), 1, 7));
            drop(near);
            assert!(has_copy(&Near::take(), 1, 7));
        })
        .join()
        .unwrap();
    }
}
