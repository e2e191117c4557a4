//! Uses of keys that a store has not been told of.

use alloc::vec::Vec;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{store::KeyUse, time::Timestamp, token::KeyId};

/// The most keys whose use is kept. What comes above it is lost, and counted.
const MAX_PENDING: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Uses(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    latest: HashMap<KeyId, Timestamp>,
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

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
