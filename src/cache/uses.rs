//! Uses of keys that have not been written to a store.
//!
//! A use is recorded during verification, so recording does not allocate and threads seldom contend. There
//! are as many parts as the cache has shards. A part has room for every key of its shard.

use alloc::{boxed::Box, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{store::KeyUse, time::Timestamp, token::KeyId};

/// About the most keys whose use is kept. A use beyond this limit is lost, and counted.
const MAX_PENDING: usize = 1 << 20;

pub(crate) struct Uses {
    parts: Box<[Part]>,
    /// The uses that were taken out of the parts and are yet to be written.
    taken: Mutex<Vec<KeyUse>>,
    lost: AtomicU64,
    /// Held while uses are being written. A caller that then finds none to write knows that all were written.
    flushing: futures_util::lock::Mutex<()>,
}

/// The uses of one shard's keys. It fills processor cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Part(Mutex<Pending>);

type Latest = HashMap<KeyId, Timestamp, RandomState>;

#[derive(Default)]
struct Pending {
    latest: Latest,
    /// An upper bound on how many of these keys have left the cache.
    orphans: usize,
}

impl Uses {
    pub(super) fn new(parts: usize) -> Self {
        Self {
            parts: (0..parts).map(|_| Part::default()).collect(),
            taken: Mutex::default(),
            lost: AtomicU64::new(0),
            flushing: futures_util::lock::Mutex::default(),
        }
    }

    /// Records a use of a key of this part.
    pub(super) fn record(&self, part: usize, KeyUse { id, at }: KeyUse) {
        let Some(mut pending) = self.part(part) else { return };
        if let Some(latest) = pending.latest.get_mut(&id) {
            *latest = at.max(*latest);
        } else if pending.latest.len() < MAX_PENDING / self.parts.len() {
            pending.latest.insert(id, at);
        } else {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Makes room for the `keys` keys that a shard holds, so that recording their uses allocates nothing.
    /// `left` means that one of its keys has left the shard.
    pub(super) fn reserve(&self, part: usize, keys: usize, left: bool) {
        let Some(mut pending) = self.part(part) else { return };
        pending.orphans += usize::from(left);
        let most = (keys + pending.orphans).min(MAX_PENDING / self.parts.len());
        let missing = most.saturating_sub(pending.latest.len());
        pending.latest.reserve(missing);
    }

    /// Takes out at most `limit` uses.
    pub(crate) fn take(&self, limit: usize) -> Vec<KeyUse> {
        let mut taken = lock(&self.taken);
        if taken.is_empty() {
            for part in &self.parts {
                let uses = part.take().into_iter();
                taken.extend(uses.map(|(id, at)| KeyUse { id, at }));
            }
        }
        let rest = taken.len().saturating_sub(limit);
        taken.split_off(rest)
    }

    /// Puts back uses that could not be written.
    pub(crate) fn put_back(&self, uses: impl Iterator<Item = KeyUse>) {
        lock(&self.taken).extend(uses);
    }

    /// Returns the number of uses that were lost since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }

    /// Waits until nobody else writes uses, and holds the others off until the result is dropped.
    pub(crate) async fn flushing(&self) -> impl Drop + '_ {
        self.flushing.lock().await
    }

    fn part(&self, part: usize) -> Option<MutexGuard<'_, Pending>> {
        self.parts.get(part).map(|part| lock(&part.0))
    }
}

impl Part {
    /// Takes out all uses. The part keeps its room, and nobody waits while that room is allocated.
    fn take(&self) -> Latest {
        let mut spare = Latest::default();
        loop {
            let capacity = {
                let mut pending = lock(&self.0);
                if spare.capacity() >= pending.latest.capacity() {
                    pending.orphans = 0;
                    return core::mem::replace(&mut pending.latest, spare);
                }
                pending.latest.capacity()
            };
            spare.reserve(capacity);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_use(number: usize, millis: i64) -> KeyUse {
        let mut id = [b'0'; 16];
        for (digit, place) in id.iter_mut().rev().take(8).zip(0..) {
            *digit += u8::try_from(number / 10_usize.pow(place) % 10).unwrap();
        }
        KeyUse { id: KeyId::from_bytes(id).unwrap(), at: Timestamp::saturating_from_millis(millis) }
    }

    fn sorted(mut uses: Vec<KeyUse>) -> Vec<KeyUse> {
        uses.sort_by_key(|key_use| key_use.id);
        uses
    }

    #[test]
    fn the_latest_use_of_a_key_counts() {
        let uses = Uses::new(4);
        for millis in [60_000, 180_000, 120_000] {
            uses.record(1, key_use(1, millis));
        }
        assert_eq!(uses.take(10), [key_use(1, 180_000)]);
        assert_eq!(uses.take(10), []);
    }

    #[test]
    fn taken_uses_are_removed() {
        let uses = Uses::new(4);
        for number in 0..25 {
            uses.record(number % 4, key_use(number, 60_000));
        }
        let mut taken = Vec::new();
        for expected in [10, 10, 5, 0] {
            let batch = uses.take(10);
            assert_eq!(batch.len(), expected);
            taken.extend(batch);
        }
        assert_eq!(
            sorted(taken),
            (0..25).map(|number| key_use(number, 60_000)).collect::<Vec<_>>()
        );
        assert_eq!(uses.take_lost(), 0);
    }

    #[test]
    fn uses_put_back_are_taken_again() {
        let uses = Uses::new(4);
        (0..5).for_each(|number| uses.record(0, key_use(number, 60_000)));
        let batch = uses.take(3);
        uses.put_back(batch.into_iter());
        assert_eq!(uses.take(10).len(), 5);
    }

    #[test]
    fn uses_above_the_limit_are_lost_and_counted() {
        let uses = Uses::new(4);
        let most = MAX_PENDING / 4;
        for number in 0..most + 3 {
            uses.record(0, key_use(number, 60_000));
        }
        // A key that is on the list stays on the list.
        uses.record(0, key_use(0, 120_000));
        assert_eq!(uses.take_lost(), 3);
        assert_eq!(uses.take_lost(), 0);
        let taken = uses.take(usize::MAX);
        assert_eq!(taken.len(), most);
        assert!(taken.contains(&key_use(0, 120_000)));
    }

    #[test]
    fn part_has_room_for_each_key_of_its_shard() {
        let uses = Uses::new(1);
        let capacity = || lock(&uses.parts[0].0).latest.capacity();
        let mut grown = 0;
        for keys in 1..=2_000 {
            uses.reserve(0, keys, false);
            grown = capacity();
            assert!(grown >= keys);
        }
        for minute in 1..=3 {
            (0..2_000).for_each(|number| uses.record(0, key_use(number, minute * 60_000)));
            assert_eq!(capacity(), grown);
            assert_eq!(uses.take(usize::MAX).len(), 2_000);
            assert!(capacity() >= grown);
            grown = capacity();
        }
        // Keys that have left the shard keep the room that their uses take until the next flush.
        (0..2_000).for_each(|number| uses.record(0, key_use(number, 60_000)));
        (0..2_000).for_each(|_| uses.reserve(0, 2_000, true));
        assert!(capacity() >= 4_000);
    }
}
