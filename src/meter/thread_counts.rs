//! The counts of each thread for the keys that it uses most.
//!
//! The counts of a place only grow, and its thread alone writes them. A flush reads them from another thread and takes what
//! was added since the last time. So neither waits for the other, and nothing is counted twice or lost.

use alloc::{
    boxed::Box,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread_local,
};

use super::Meter;
use crate::{
    decision::{KeyText, ResolvedKey},
    token::KeyId,
    usage::{Day, Outcome},
};

/// The number of places of a thread, a power of two.
const PLACES: usize = 256;

thread_local! {
    static COUNTS: ThreadCounts = ThreadCounts::new();
}

/// The counts of all threads that have counted a request.
static ALL: Mutex<Vec<Arc<Places>>> = Mutex::new(Vec::new());

/// The counts of one thread.
pub(super) struct ThreadCounts(Arc<Places>);

struct Places {
    places: [Place; PLACES],
    /// Says whose counts the places have. It is locked by a flush, and by the thread when a place gets another key.
    owners: Mutex<Box<[Option<Owner>]>>,
}

/// The counts of one key on one day. It fills a processor cache line.
#[repr(align(64))]
#[derive(Default)]
struct Place {
    /// The number of the meter and the day. 0 means that the place is free.
    tag: AtomicU64,
    id: [AtomicU64; 2],
    /// The requests by outcome since the thread began, of all keys that have had this place.
    counts: [AtomicU64; Outcome::COUNT],
    /// The key that has missed this place last.
    missed: AtomicU64,
}

/// The key whose requests a place counts.
struct Owner {
    meter: Weak<Meter>,
    id: KeyId,
    day: Day,
    text: KeyText,
    /// The counts of the place that are not this key's, or that were taken.
    taken: [u64; Outcome::COUNT],
}

impl ThreadCounts {
    fn new() -> Self {
        let places = Arc::new(Places {
            places: array::from_fn(|_| Place::default()),
            owners: Mutex::new((0..PLACES).map(|_| None).collect()),
        });
        lock(&ALL).push(Arc::clone(&places));
        Self(places)
    }

    /// Counts a request of `key` in its place. Returns false if it has none, or if the thread is ending.
    #[inline]
    pub(super) fn count(meter: &Meter, day: i32, key: &ResolvedKey, outcome: Outcome) -> bool {
        let id = words(key.id());
        let tag = u64::from(meter.number) << 32 | u64::from(day.cast_unsigned());
        let count = |counts: &Self| {
            let index = key.id().spread() % PLACES;
            let Some(place) = counts.0.places.get(index) else { return false };
            let [first, second] = &place.id;
            // One branch for all three.
            let differs = (place.tag.load(Relaxed) ^ tag)
                | (first.load(Relaxed) ^ id[0])
                | (second.load(Relaxed) ^ id[1]);
            if differs != 0 && !counts.0.take_place(place, index, tag, meter, day, key) {
                return false;
            }
            if let Some(count) = place.counts.get(outcome.place()) {
                // No other thread writes it, so this loses nothing.
                count.store(count.load(Relaxed) + 1, Relaxed);
            }
            true
        };
        COUNTS.try_with(count).unwrap_or(false)
    }

    /// Adds what all threads have counted for `meter` to its own counts.
    pub(super) fn hand_over_to(meter: &Meter) {
        for places in &*lock(&ALL) {
            let mut owners = lock(&places.owners);
            for (place, owner) in places.places.iter().zip(&mut *owners) {
                if let Some(owner) = owner
                    && core::ptr::eq(owner.meter.as_ptr(), meter)
                {
                    owner.hand_over(place, meter);
                }
            }
        }
    }
}

impl Places {
    /// Gives the place to `key`, if the key has missed it twice in a row. Otherwise keys that take turns would cost more with
    /// the place than without.
    #[cold]
    fn take_place(
        &self,
        place: &Place,
        index: usize,
        tag: u64,
        meter: &Meter,
        day: i32,
        key: &ResolvedKey,
    ) -> bool {
        let id = words(key.id());
        if place.missed.swap(id[1], Relaxed) != id[1] {
            return false;
        }
        let Some(day) = Day::from_number(day) else { return false };
        let mut owners = lock(&self.owners);
        let Some(owner) = owners.get_mut(index) else { return false };
        if let Some(old) = owner
            && let Some(meter) = old.meter.upgrade()
        {
            old.hand_over(place, &meter);
        }
        let (meter, text) = (meter.this.clone(), key.key_text());
        *owner = Some(Owner { meter, id: key.id(), day, text, taken: place.counts() });
        for (word, place) in id.into_iter().zip(&place.id) {
            place.store(word, Relaxed);
        }
        place.tag.store(tag, Relaxed);
        true
    }
}

impl Place {
    fn counts(&self) -> [u64; Outcome::COUNT] {
        array::from_fn(|place| self.counts.get(place).map_or(0, |count| count.load(Relaxed)))
    }
}

impl Owner {
    /// Adds what the place has counted since the last call to the counts of its meter.
    fn hand_over(&mut self, place: &Place, meter: &Meter) {
        let counts = place.counts();
        let mut new = counts;
        for (new, taken) in new.iter_mut().zip(self.taken) {
            *new = new.wrapping_sub(taken);
        }
        self.taken = counts;
        if new != [0; Outcome::COUNT] {
            meter.add(self.id, self.day, || self.text.clone(), new);
        }
    }
}

impl Drop for ThreadCounts {
    /// Hands over the counts of a thread that ends.
    fn drop(&mut self) {
        lock(&ALL).retain(|places| !Arc::ptr_eq(places, &self.0));
        let mut owners = lock(&self.0.owners);
        for (place, owner) in self.0.places.iter().zip(&mut *owners) {
            if let Some(owner) = owner.as_mut()
                && let Some(meter) = owner.meter.upgrade()
            {
                owner.hand_over(place, &meter);
            }
        }
    }
}

#[inline]
fn words(id: KeyId) -> [u64; 2] {
    let id = u128::from_le_bytes(*id.as_bytes());
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    [id as u64, (id >> 64) as u64]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
