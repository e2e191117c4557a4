//! The counts of requests that have not been written to a store.
//!
//! A request is counted during its verification, so counting takes no lock, allocates nothing and writes to no memory that
//! another thread writes to: `meter/thread_counts.rs` has places of each thread for the keys that it uses most. Keys that
//! have no place are counted under a lock of a few keys.

mod thread_counts;

use alloc::{
    boxed::Box,
    collections::VecDeque,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use self::thread_counts::ThreadCounts;
use crate::{
    decision::{KeyText, ResolvedKey},
    record::TenantId,
    store::{StoreError, UsageStore},
    time::Timestamp,
    token::KeyId,
    usage::{Counts, Day, KeyUsage, Outcome, UsageFlush},
};

/// The number of parts of the counts, each with its own lock.
const PARTS: usize = 64;

/// The most keys and days that a part counts. Further ones are lost, and their number is reported.
const PER_PART: usize = (1 << 20) / PARTS;

/// The most rows of one flush.
const BATCH: usize = 10_000;

/// Counts the requests of one verifier.
pub(crate) struct Meter {
    /// The number that no other meter of the process has. It is never 0.
    number: u32,
    /// The day on which requests are counted.
    today: AtomicI32,
    parts: Box<[Part]>,
    lost: AtomicU64,
    /// The flushes that were not added yet. The first one may have been sent.
    outgoing: futures_util::lock::Mutex<Outgoing>,
    this: Weak<Self>,
}

/// It fills processor cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Part(Mutex<Tallies>);

type Tallies = HashMap<(KeyId, Day), Tally, RandomState>;

/// The counts of a key on one day.
struct Tally {
    text: KeyText,
    counts: [u64; Outcome::COUNT],
}

/// The flushes of a node in the order in which they are sent.
struct Outgoing {
    node: u128,
    /// The number of the flush that was made last.
    last: u64,
    flushes: VecDeque<UsageFlush>,
}

impl Meter {
    /// Creates a meter. `node` is random.
    pub(crate) fn new(node: u128, now: Timestamp) -> Arc<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Arc::new_cyclic(|this| Self {
            number: LAST.fetch_add(1, Relaxed).wrapping_add(1).max(1),
            today: AtomicI32::new(Day::of(now).number()),
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            lost: AtomicU64::new(0),
            outgoing: futures_util::lock::Mutex::new(Outgoing {
                node,
                last: 0,
                flushes: VecDeque::new(),
            }),
            this: this.clone(),
        })
    }

    /// Counts one request of `key`.
    #[inline]
    pub(crate) fn count(&self, key: &ResolvedKey, outcome: Outcome) {
        let day = self.today.load(Relaxed);
        if !ThreadCounts::count(self, day, key, outcome) {
            self.count_shared(key, day, outcome);
        }
    }

    /// Sets the day on which requests are counted.
    pub(crate) fn set_time(&self, now: Timestamp) {
        let day = Day::of(now).number();
        if self.today.load(Relaxed) != day {
            self.today.store(day, Relaxed);
        }
    }

    #[cold]
    fn count_shared(&self, key: &ResolvedKey, day: i32, outcome: Outcome) {
        let mut counts = [0; Outcome::COUNT];
        if let Some(count) = counts.get_mut(outcome.place()) {
            *count = 1;
        }
        let day = Day::from_number(day).unwrap_or(Day::MIN);
        self.add(key.id(), day, || key.key_text(), counts);
    }

    /// Adds counts that a thread has kept, or that cannot be kept by it.
    fn add(
        &self,
        id: KeyId,
        day: Day,
        text: impl FnOnce() -> KeyText,
        counts: [u64; Outcome::COUNT],
    ) {
        let Some(part) = self.parts.get(id.spread() % PARTS) else { return };
        let mut tallies = part.lock();
        if let Some(tally) = tallies.get_mut(&(id, day)) {
            for (sum, count) in tally.counts.iter_mut().zip(counts) {
                *sum += count;
            }
        } else if tallies.len() < PER_PART {
            tallies.insert((id, day), Tally { text: text(), counts });
        } else {
            self.lost.fetch_add(counts.iter().sum(), Relaxed);
        }
    }

    /// Returns the number of requests that were not counted since the last call, because too many keys were in use.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }

    /// Writes all that was counted before the call to the store, in flushes with at most 10,000 rows. Returns the number of rows.
    ///
    /// INVARIANT: a flush stays the first one, unchanged, until the store has added it. So after an error, or if this future is
    /// dropped, the next call sends the same flush again, and the store adds it once.
    pub(crate) async fn flush(
        &self,
        now: Timestamp,
        store: &impl UsageStore,
    ) -> Result<usize, StoreError> {
        let mut outgoing = self.outgoing.lock().await;
        self.set_time(now);
        outgoing.push(self.collect(), Day::of(now));
        let mut sent = 0;
        while let Some(flush) = outgoing.flushes.front() {
            store.add_usage(flush).await?;
            sent += flush.rows.len();
            outgoing.flushes.pop_front();
        }
        Ok(sent)
    }

    /// Takes out everything that was counted.
    fn collect(&self) -> Vec<KeyUsage> {
        ThreadCounts::hand_over_to(self);
        let mut rows = Vec::new();
        for part in &self.parts {
            for ((key, day), tally) in part.take() {
                let tenant = TenantId::of_record(tally.text.tenant());
                rows.push(KeyUsage { tenant, key, day, counts: Counts::from(tally.counts) });
            }
        }
        rows
    }
}

impl Outgoing {
    fn push(&mut self, rows: Vec<KeyUsage>, day: Day) {
        let mut rows = rows.into_iter();
        loop {
            let rows: Vec<KeyUsage> = rows.by_ref().take(BATCH).collect();
            if rows.is_empty() {
                return;
            }
            self.last += 1;
            self.flushes.push_back(UsageFlush { node: self.node, number: self.last, day, rows });
        }
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out all counts. The part keeps its room, and nobody waits while that room is allocated.
    fn take(&self) -> Tallies {
        let mut spare = Tallies::default();
        loop {
            let capacity = {
                let mut tallies = self.lock();
                if spare.capacity() >= tallies.capacity() {
                    return core::mem::replace(&mut *tallies, spare);
                }
                tallies.capacity()
            };
            spare.reserve(capacity);
        }
    }
}
