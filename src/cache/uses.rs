//! Uses of keys that a store has not been told of.

use alloc::vec::Vec;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{store::KeyUse, time::Timestamp, token::KeyId};

/// The most keys whose use is kept. What comes above it is lost, and counted.
const MAX_PENDING: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Uses {
    pending: Mutex<Pending>,
    /// Held while uses are being written, so that who finds none to write knows that all were.
    flushing: futures_util::lock::Mutex<()>,
}

#[derive(Default)]
struct Pending {
    latest: HashMap<KeyId, Timestamp, RandomState>,
    lost: u64,
}

impl Uses {
    pub(crate) fn record(&self, KeyUse { id, at }: KeyUse) {
        let mut pending = self.pending();
        if pending.latest.len() < MAX_PENDING || pending.latest.contains_key(&id) {
            let latest = pending.latest.entry(id).or_insert(at);
            *latest = at.max(*latest);
        } else {
            pending.lost = pending.lost.saturating_add(1);
        }
    }

    /// Takes out at most `limit` uses.
    pub(crate) fn take(&self, limit: usize) -> Vec<KeyUse> {
        let mut pending = self.pending();
        if pending.latest.len() <= limit {
            // All of them, and with them their memory.
            let all = core::mem::take(&mut pending.latest);
            return all.into_iter().map(|(id, at)| KeyUse { id, at }).collect();
        }
        let ids: Vec<KeyId> = pending.latest.keys().take(limit).copied().collect();
        ids.into_iter()
            .filter_map(|id| pending.latest.remove(&id).map(|at| KeyUse { id, at }))
            .collect()
    }

    /// The number of uses that were lost since it was last asked for.
    pub(crate) fn take_lost(&self) -> u64 {
        core::mem::take(&mut self.pending().lost)
    }

    /// Waits until nobody else writes uses.
    pub(crate) async fn flushing(&self) -> impl Drop + '_ {
        self.flushing.lock().await
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    #[test]
    fn the_latest_use_of_a_key_counts() {
        let uses = Uses::default();
        for millis in [60_000, 180_000, 120_000] {
            uses.record(key_use(1, millis));
        }
        assert_eq!(uses.take(10), [key_use(1, 180_000)]);
        assert_eq!(uses.take(10), []);
    }

    #[test]
    fn a_batch_takes_out_what_it_gives() {
        let uses = Uses::default();
        for number in 0..25 {
            uses.record(key_use(number, 60_000));
        }
        let mut taken = Vec::new();
        for expected in [10, 10, 5, 0] {
            let batch = uses.take(10);
            assert_eq!(batch.len(), expected);
            taken.extend(batch);
        }
        taken.sort_by_key(|key_use| key_use.id);
        assert_eq!(taken, (0..25).map(|number| key_use(number, 60_000)).collect::<Vec<_>>());
        assert_eq!(uses.take_lost(), 0);
    }

    #[test]
    fn what_is_above_the_limit_is_lost_and_counted() {
        let uses = Uses::default();
        for number in 0..MAX_PENDING + 3 {
            uses.record(key_use(number, 60_000));
        }
        // A key that is on the list stays on it.
        uses.record(key_use(0, 120_000));
        assert_eq!(uses.take_lost(), 3);
        assert_eq!(uses.take_lost(), 0);
        let taken = uses.take(usize::MAX);
        assert_eq!(taken.len(), MAX_PENDING);
        assert!(taken.contains(&key_use(0, 120_000)));
    }
}
