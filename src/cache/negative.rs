//! Checked tokens that the store rejected within the last second.
//!
//! A program may present a key for years after the key was deleted or its secret replaced. The tag of such a
//! token is right, so each request would be a read of the store. This cache remembers each rejected token for
//! a second.
//!
//! Room is shared fairly. A key has room for [`PER_KEY`] secrets. If all room is taken, the key with the most
//! gives up its oldest. So a flood of one key's old secrets evicts only those secrets.
//!
//! Only tokens that were valid once are remembered, so nobody else can fill this cache. A foreign token has
//! no tag that proves it was valid. If the store knows no key for a foreign token, anyone may have made it
//! up.

use alloc::{boxed::Box, collections::VecDeque};
use core::{
    hash::BuildHasher,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{
    time::Moment,
    token::{CheckedToken, Digest, KeyId, Rejection},
};

/// The number of shards, a power of two. Callers that present rejected tokens seldom wait for each other.
const SHARDS: usize = 16;

/// The most tokens that a shard remembers: 65,536 in all, which take some 10 MB while they are remembered.
const CAPACITY: usize = 4_096;

/// The most secrets that are remembered of one key.
pub(super) const PER_KEY: usize = 2_048;

/// The number of counters of changes. Keys share them.
const COUNTERS: usize = 1_024;

/// The longest time that a rejection is remembered, in milliseconds. A token that a lagging replica does not
/// know yet is rejected this much longer.
const LONGEST: u64 = 1_000;

pub(super) struct NegativeCache {
    shards: [Mutex<Shard>; SHARDS],
    /// The counters of changes to keys.
    changes: Box<[AtomicU32]>,
    hasher: RandomState,
    /// The time that a rejection is remembered, in milliseconds: [`LONGEST`], or the staleness bound if it is
    /// shorter.
    max_age: u64,
}

/// The rejections of one shard. They are found by the key's id, which is public. The secrets are compared in
/// constant time.
#[derive(Default)]
struct Shard {
    by_id: HashMap<KeyId, VecDeque<Rejected>, RandomState>,
    len: usize,
    /// The uptime of the last sweep for old rejections.
    swept: u64,
}

/// The rejection of one secret. Another secret of the same key is not rejected for it.
#[derive(Clone, Copy)]
struct Rejected {
    digest: Digest,
    /// The uptime of the rejection.
    at: u64,
    reason: Rejection,
}

impl NegativeCache {
    pub(super) fn new(max_staleness: Duration) -> Self {
        let max_staleness = u64::try_from(max_staleness.as_millis()).unwrap_or(u64::MAX);
        Self {
            shards: Default::default(),
            changes: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::default(),
            max_age: max_staleness.min(LONGEST),
        }
    }

    pub(super) fn reason(&self, checked: &CheckedToken, moment: Moment) -> Option<Rejection> {
        let shard = self.shard(checked.id())?;
        let rejections = shard.by_id.get(&checked.id())?.iter();
        let fresh = rejections.filter(|rejected| self.is_fresh(rejected, moment));
        // All of them are compared, wherever the match is, so that the time taken does not depend on it.
        fresh.fold(None, |reason, rejected| {
            let is_it = rejected.digest.same(checked.digest());
            if is_it { Some(rejected.reason) } else { reason }
        })
    }

    /// Returns the counter of changes of the key `id`. Call this before the store is read.
    pub(super) fn before(&self, id: KeyId) -> u32 {
        self.changes.get(self.slot(id)).map_or(0, |changes| changes.load(SeqCst))
    }

    /// Remembers the rejection of a token that was valid once, unless its key was changed since
    /// [`before`](Self::before).
    pub(super) fn note(
        &self,
        checked: &CheckedToken,
        reason: Rejection,
        moment: Moment,
        before: u32,
    ) {
        let Some(mut shard) = self.shard(checked.id()) else { return };
        // Compared under the lock: a change counted after this gets the lock later, and then forgets the
        // rejection.
        if self.max_age > 0 && self.before(checked.id()) == before {
            let rejected = Rejected { digest: checked.digest(), at: moment.uptime, reason };
            self.add(&mut shard, checked.id(), rejected, moment);
        }
    }

    fn add(&self, shard: &mut Shard, id: KeyId, rejected: Rejected, moment: Moment) {
        let since = moment.uptime.saturating_sub(shard.swept);
        // Sweeps once per `max_age`, so that each rejection is seen about once. A full shard is swept sooner,
        // but not more than four times as often.
        if since >= self.max_age || (shard.len >= CAPACITY && since > self.max_age / 4) {
            shard.swept = moment.uptime;
            shard.forget(|rejected| !self.is_fresh(rejected, moment));
        }
        let rejections = shard.by_id.entry(id).or_default();
        let before = rejections.len();
        while rejections.front().is_some_and(|oldest| !self.is_fresh(oldest, moment)) {
            rejections.pop_front();
        }
        // All callers that wait for one read note the same rejection.
        let is_known = rejections
            .iter()
            .fold(false, |is_known, known| is_known | known.digest.same(rejected.digest));
        if !is_known {
            if rejections.len() >= PER_KEY {
                rejections.pop_front();
            }
            rejections.push_back(rejected);
        }
        let after = rejections.len();
        shard.len = (shard.len + after).saturating_sub(before);
        if shard.len > CAPACITY {
            shard.evict_one();
        }
    }

    /// Forgets the rejections of the key `id`, which was changed.
    pub(super) fn forget(&self, id: KeyId) {
        if let Some(changes) = self.changes.get(self.slot(id)) {
            changes.fetch_add(1, SeqCst);
        }
        if let Some(mut shard) = self.shard(id)
            && let Some(rejections) = shard.by_id.remove(&id)
        {
            shard.len = shard.len.saturating_sub(rejections.len());
        }
    }

    /// Forgets all rejections. Any key may have been changed.
    pub(super) fn forget_all(&self) {
        for changes in &self.changes {
            changes.fetch_add(1, SeqCst);
        }
        for part in &self.shards {
            *lock(part) = Shard::default();
        }
    }

    fn is_fresh(&self, rejected: &Rejected, moment: Moment) -> bool {
        moment.uptime.saturating_sub(rejected.at) < self.max_age
    }

    fn shard(&self, id: KeyId) -> Option<MutexGuard<'_, Shard>> {
        self.shards.get(self.slot(id) % SHARDS).map(lock)
    }

    fn slot(&self, id: KeyId) -> usize {
        // The remainder is in the range of any integer.
        usize::try_from(self.hasher.hash_one(id) % COUNTERS as u64).unwrap_or_default()
    }
}

impl Shard {
    fn forget(&mut self, is_old: impl Fn(&Rejected) -> bool) {
        self.by_id.retain(|_, rejections| {
            rejections.retain(|rejected| !is_old(rejected));
            !rejections.is_empty()
        });
        self.by_id.shrink_to(self.by_id.len() * 2);
        self.len = self.by_id.values().map(VecDeque::len).sum();
    }

    /// Drops the oldest rejection of the key that has the most.
    fn evict_one(&mut self) {
        let most = self.by_id.iter().max_by_key(|(_, rejections)| rejections.len());
        if let Some(id) = most.map(|(id, _)| *id)
            && let Some(rejections) = self.by_id.get_mut(&id)
        {
            rejections.pop_front();
            self.len -= 1;
            if rejections.is_empty() {
                self.by_id.remove(&id);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn checked(id: u32, secret: u64) -> CheckedToken {
        let id = alloc::format!("A{id:015}").parse().unwrap();
        CheckedToken::new(id, Digest { head: 0, tail: [secret, 0, 0] })
    }

    fn at(uptime: u64) -> Moment {
        Moment { now: Timestamp::saturating_from_millis(0), uptime }
    }

    fn new() -> NegativeCache {
        NegativeCache::new(Duration::from_secs(5))
    }

    fn note(negative: &NegativeCache, checked: &CheckedToken, moment: Moment) {
        negative.note(checked, Rejection::WrongSecret, moment, negative.before(checked.id()));
    }

    fn len(negative: &NegativeCache) -> usize {
        negative
            .shards
            .iter()
            .map(|shard| {
                let shard = lock(shard);
                assert_eq!(shard.len, shard.by_id.values().map(VecDeque::len).sum::<usize>());
                assert!(shard.by_id.values().all(|rejections| !rejections.is_empty()));
                shard.len
            })
            .sum()
    }

    #[test]
    fn rejection_is_remembered_for_a_second() {
        let negative = new();
        note(&negative, &checked(1, 1), at(0));
        assert_eq!(negative.reason(&checked(1, 1), at(999)), Some(Rejection::WrongSecret));
        assert_eq!(negative.reason(&checked(1, 1), at(1_000)), None);
        assert_eq!(negative.reason(&checked(1, 2), at(0)), None);
        assert_eq!(negative.reason(&checked(2, 1), at(0)), None);
    }

    #[test]
    fn rejection_noted_twice_is_stored_once() {
        let negative = new();
        for moment in [0, 0, 500] {
            note(&negative, &checked(1, 1), at(moment));
        }
        assert_eq!(len(&negative), 1);
        assert!(negative.reason(&checked(1, 1), at(1_000)).is_none());
    }

    #[test]
    fn old_secrets_of_one_key_evict_no_other_key() {
        let negative = new();
        (0..2_000).for_each(|id| note(&negative, &checked(id, 1), at(0)));
        (0..3_000).for_each(|secret| note(&negative, &checked(5_000, secret), at(0)));
        assert!((0..2_000).all(|id| negative.reason(&checked(id, 1), at(0)).is_some()));
        let held =
            (0..3_000).filter(|secret| negative.reason(&checked(5_000, *secret), at(0)).is_some());
        assert_eq!(held.count(), PER_KEY);
    }

    #[test]
    fn full_shard_evicts_from_the_largest_key() {
        let negative = new();
        let mut of_one_shard =
            (0..).filter(|id| negative.slot(checked(*id, 0).id()).is_multiple_of(SHARDS));
        let mut next = || of_one_shard.next().unwrap();
        for id in [next(), next()] {
            (0..PER_KEY as u64).for_each(|secret| note(&negative, &checked(id, secret), at(0)));
        }
        assert_eq!(len(&negative), CAPACITY);
        // The keys that come now have one rejection each.
        let late: alloc::vec::Vec<u32> = (0..1_000).map(|_| next()).collect();
        for id in &late {
            note(&negative, &checked(*id, 1), at(0));
        }
        assert!(late.iter().all(|id| negative.reason(&checked(*id, 1), at(0)).is_some()));
        assert_eq!(len(&negative), CAPACITY);
    }

    #[test]
    fn old_rejections_free_their_memory() {
        let negative = new();
        (0..50_000).for_each(|id| note(&negative, &checked(id, 1), at(0)));
        assert!(len(&negative) > 45_000);
        (0..1_000).for_each(|id| note(&negative, &checked(id, 2), at(1_000)));
        assert_eq!(len(&negative), 1_000);
        let capacity: usize =
            negative.shards.iter().map(|shard| lock(shard).by_id.capacity()).sum();
        assert!(capacity < 4_000, "{capacity}");
    }

    #[test]
    fn rejection_age_is_capped_by_the_staleness_bound() {
        let negative = NegativeCache::new(Duration::from_millis(300));
        note(&negative, &checked(1, 1), at(0));
        assert!(negative.reason(&checked(1, 1), at(299)).is_some());
        assert!(negative.reason(&checked(1, 1), at(300)).is_none());
        let none = NegativeCache::new(Duration::ZERO);
        note(&none, &checked(1, 1), at(0));
        assert!(none.reason(&checked(1, 1), at(0)).is_none());
        assert_eq!(len(&none), 0);
    }

    #[test]
    fn key_change_forgets_its_rejections() {
        let negative = new();
        note(&negative, &checked(1, 1), at(0));
        note(&negative, &checked(2, 1), at(0));
        negative.forget(checked(1, 1).id());
        assert!(negative.reason(&checked(1, 1), at(0)).is_none());
        assert!(negative.reason(&checked(2, 1), at(0)).is_some());
        assert_eq!(len(&negative), 1);
        negative.forget_all();
        assert_eq!(len(&negative), 0);
    }

    #[test]
    fn rejection_read_before_a_change_is_not_stored() {
        let changes: [fn(&NegativeCache); 2] =
            [|negative| negative.forget(checked(1, 1).id()), NegativeCache::forget_all];
        for change in changes {
            let negative = new();
            let before = negative.before(checked(1, 1).id());
            change(&negative);
            negative.note(&checked(1, 1), Rejection::Unknown, at(0), before);
            assert!(negative.reason(&checked(1, 1), at(0)).is_none());
            note(&negative, &checked(1, 1), at(0));
            assert!(negative.reason(&checked(1, 1), at(0)).is_some());
        }
    }
}
