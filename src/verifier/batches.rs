//! Loads of different keys in one request to the store.
//!
//! A node that has just started misses every key. Without batches it sends one request for each. Up to four
//! requests run at a time. A key that is missed meanwhile waits, and the next request asks for all keys that wait.
//! So a single miss never waits, and the more keys are missed at once, the fewer requests each of them costs.
//!
//! One of the callers, the leader, drives the request for all of its keys. When it is done, or is dropped, it
//! passes its turn to a caller that waits. A caller whose leader was dropped begins again.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::load::LoadError;
use crate::{
    store::{Lookups, StoredKey},
    token::KeyId,
};

/// The most requests at a time.
const MAX_RUNNING: usize = 4;

/// A request that has run for this long, in milliseconds, no longer counts: its connection may be lost.
const SLOW: u64 = 100;

/// The most keys in one request.
const MAX_KEYS: usize = 500;

/// The result for one key.
pub(super) type Found = Result<Option<StoredKey>, LoadError>;

/// Clones share one queue.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Caller>,
    /// The turns that were given out and have not ended, with the uptimes at which they began.
    running: BTreeMap<u64, u64>,
    /// The number of the next turn.
    next_turn: u64,
}

/// A caller that waits.
struct Caller {
    id: KeyId,
    sender: oneshot::Sender<Message>,
}

enum Message {
    Found(Box<Found>),
    /// The caller becomes a leader.
    Lead(Turn),
}

/// The right to send one request. If it is dropped, it passes to a caller that waits.
struct Turn {
    batches: Batches,
    /// `None` once it has been passed on.
    number: Option<u64>,
}

impl Batches {
    /// Returns the key `id`. `request` asks the store for the given keys, which have no duplicates, and
    /// returns their results in the same order. `uptime` is in milliseconds.
    pub(super) async fn load<F: Future<Output = Result<Lookups, LoadError>>>(
        &self,
        id: KeyId,
        uptime: impl Fn() -> u64,
        request: impl Fn(Vec<KeyId>) -> F,
    ) -> Found {
        loop {
            let turn = match self.enter(id, uptime()) {
                Ok(turn) => turn,
                Err(receiver) => match receiver.await {
                    Ok(Message::Found(found)) => return *found,
                    Ok(Message::Lead(turn)) => turn,
                    Err(oneshot::Canceled) => continue,
                },
            };
            return turn.lead(id, uptime(), request).await;
        }
    }

    /// Returns a turn, or the place of a caller that has to wait.
    fn enter(&self, id: KeyId, now: u64) -> Result<Turn, oneshot::Receiver<Message>> {
        let mut queue = self.queue();
        let running = queue.running.values().filter(|began| now.saturating_sub(**began) < SLOW);
        if running.count() < MAX_RUNNING {
            let number = queue.next_turn;
            queue.next_turn += 1;
            queue.running.insert(number, now);
            return Ok(Turn { batches: self.clone(), number: Some(number) });
        }
        let (sender, receiver) = oneshot::channel();
        queue.waiting.push_back(Caller { id, sender });
        Err(receiver)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Sends a request for `own` and all keys that wait.
    async fn lead<F: Future<Output = Result<Lookups, LoadError>>>(
        self,
        own: KeyId,
        now: u64,
        request: impl Fn(Vec<KeyId>) -> F,
    ) -> Found {
        let callers = self.take_callers(now);
        let mut ids: Vec<KeyId> =
            [own].into_iter().chain(callers.iter().map(|caller| caller.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let result = request(ids.clone()).await;
        let found: BTreeMap<KeyId, Found> = match result {
            Ok(lookups) => {
                let lookups = lookups.into_iter().map(|found| found.map_err(LoadError::of));
                ids.into_iter().zip(lookups).collect()
            }
            Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
        };
        let of = |id| found.get(&id).cloned().unwrap_or_else(|| Err(LoadError::incomplete()));
        for Caller { id, sender } in callers {
            // A caller that has given up needs no result.
            let _ = sender.send(Message::Found(Box::new(of(id))));
        }
        of(own)
    }

    /// Returns the callers whose keys the leader requests together with its own.
    fn take_callers(&self, now: u64) -> Vec<Caller> {
        let mut queue = self.batches.queue();
        if let Some(number) = self.number {
            queue.running.insert(number, now);
        }
        let count = queue.waiting.len().min(MAX_KEYS - 1);
        queue.waiting.drain(..count).filter(|caller| !caller.sender.is_canceled()).collect()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut number) = self.number.take() else { return };
        loop {
            let caller = {
                let mut queue = self.batches.queue();
                let caller = queue.waiting.pop_front();
                if caller.is_none() {
                    queue.running.remove(&number);
                }
                caller
            };
            let Some(Caller { sender, .. }) = caller else { return };
            let turn = Self { batches: self.batches.clone(), number: Some(number) };
            // The turn comes back if the caller has given up. Then it goes to the next one, not through its own drop.
            let Err(Message::Lead(mut unwanted)) = sender.send(Message::Lead(turn)) else { return };
            match unwanted.number.take() {
                Some(same) => number = same,
                None => return,
            }
        }
    }
}
