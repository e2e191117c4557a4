//! The open streams of a verifier, and the thread that calls them when their key must be looked at.
//!
//! A stream costs no timer. One thread looks at all of them ten times a second and after each change that this node hears
//! of. It compares counters and ages. The task of a stream is woken only if its key may have ended or must be read again,
//! and reads it itself, so that the store's own runtime is at hand.

use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::Waker,
    time::Duration,
};
use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::Engine;
use crate::{
    cache::{Standing, TICK},
    decision::ResolvedKey,
    time::{Moment, Timestamp},
};

/// The time between two looks at the streams, without a change.
const PAUSE: Duration = Duration::from_millis(TICK);
/// The time between two looks at least, so that a flood of changes does not occupy a processor.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// The time for which the thread stays without a stream.
const IDLE: Duration = Duration::from_secs(10);

/// The streams of one verifier.
#[derive(Default)]
pub(crate) struct Streams {
    /// The number of streams, so that a change without any costs one load.
    open: AtomicUsize,
    list: Mutex<List>,
    changed: Condvar,
}

#[derive(Default)]
struct List {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    has_thread: bool,
    /// Whether something has changed since the last look.
    is_nudged: bool,
    is_closed: bool,
}

/// One stream.
struct Slot {
    /// The data that the stream was last checked with.
    key: Arc<ResolvedKey>,
    /// The time at which this data ends the stream, if nothing changes.
    ends_at: Timestamp,
    waker: Waker,
    /// The uptime since which the key must be read again. `u64::MAX` if it need not be.
    stale_since: u64,
    /// The uptime before which the key is not read again. It is `u64::MAX` while it is being read.
    next_read: u64,
    /// Whether the task was woken and has not looked yet.
    is_called: bool,
    is_overdue: bool,
}

/// The state of a stream, as its task finds it.
pub(super) struct Found {
    pub(super) key: Arc<ResolvedKey>,
    pub(super) next_read: u64,
    /// Whether the key should have been read again by now, and was not.
    pub(super) is_overdue: bool,
}

impl Streams {
    /// Adds a stream, and returns its place.
    ///
    /// # Errors
    ///
    /// The error of the system if it gives no thread.
    pub(super) fn open(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        key: Arc<ResolvedKey>,
        ends_at: Timestamp,
        waker: &Waker,
    ) -> io::Result<u32> {
        let mut list = self.lock();
        if !list.has_thread {
            let (streams, engine) = (Arc::clone(self), Arc::downgrade(engine));
            let thread = thread::Builder::new().name("keyway-streams".into());
            thread.spawn(move || streams.attend(&engine))?;
            list.has_thread = true;
        }
        let slot = Slot {
            key,
            ends_at,
            waker: waker.clone(),
            stale_since: u64::MAX,
            next_read: 0,
            is_called: false,
            is_overdue: false,
        };
        let place = if let Some(place) = list.free.pop() {
            place
        } else {
            list.slots.push(None);
            u32::try_from(list.slots.len() - 1).map_err(|_| io::ErrorKind::OutOfMemory)?
        };
        if let Some(empty) = list.get(place) {
            *empty = Some(slot);
        }
        // A thread without streams waits for long.
        if self.open.fetch_add(1, SeqCst) == 0 {
            list.is_nudged = true;
            self.changed.notify_one();
        }
        Ok(place)
    }

    /// Notes that the task of a stream looks at it, and will be woken by `waker`. Returns its state.
    ///
    /// INVARIANT: call this before the standing of the key is read. A change in between then wakes the task again.
    pub(super) fn look(&self, place: u32, waker: &Waker) -> Option<Found> {
        let mut list = self.lock();
        let slot = list.get(place)?.as_mut()?;
        slot.is_called = false;
        if !slot.waker.will_wake(waker) {
            slot.waker.clone_from(waker);
        }
        let Slot { key, next_read, is_overdue, .. } = slot;
        Some(Found { key: Arc::clone(key), next_read: *next_read, is_overdue: *is_overdue })
    }

    /// Gives a stream newer data of its key.
    pub(super) fn renew(&self, place: u32, key: Arc<ResolvedKey>, ends_at: Timestamp) {
        if let Some(Some(slot)) = self.lock().get(place) {
            (slot.key, slot.ends_at) = (key, ends_at);
            (slot.stale_since, slot.is_overdue) = (u64::MAX, false);
        }
    }

    /// Sets the uptime before which the key of a stream is not read again. `u64::MAX` says that it is being read.
    pub(super) fn set_next_read(&self, place: u32, uptime: u64) {
        if let Some(Some(slot)) = self.lock().get(place) {
            slot.next_read = uptime;
        }
    }

    /// Removes a stream.
    pub(super) fn close(&self, place: u32) {
        let mut list = self.lock();
        let slot = list.get(place).and_then(Option::take);
        if slot.is_some() {
            list.free.push(place);
            self.open.fetch_sub(1, SeqCst);
        }
        drop(list);
        // The waker and the key are dropped without the lock.
        drop(slot);
    }

    /// Has all streams looked at, since something has changed. Call this after the change was counted.
    #[inline]
    pub(super) fn nudge(&self) {
        if self.open.load(SeqCst) > 0 {
            self.lock().is_nudged = true;
            self.changed.notify_one();
        }
    }

    /// Wakes all streams for the last time, since the verifier is dropped.
    pub(super) fn end(&self) {
        let mut list = self.lock();
        list.is_closed = true;
        let slots = core::mem::take(&mut list.slots);
        drop(list);
        self.changed.notify_one();
        for slot in slots.into_iter().flatten() {
            slot.waker.wake();
        }
    }

    /// Looks at the streams until there are none, or the verifier is dropped.
    fn attend(&self, engine: &Weak<Engine>) {
        loop {
            let mut list = self.lock();
            let is_idle = self.open.load(SeqCst) == 0;
            let pause = if is_idle { IDLE } else { PAUSE };
            if !list.is_nudged && !list.is_closed {
                let waited = self.changed.wait_timeout(list, pause);
                list = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let is_over = is_idle && self.open.load(SeqCst) == 0;
            if list.is_closed || is_over {
                list.has_thread = false;
                return;
            }
            list.is_nudged = false;
            drop(list);
            // INVARIANT: the engine is held and dropped without the lock, since its end takes the lock.
            let Some(engine) = engine.upgrade() else { return };
            let called = self.lock().look_at_all(&engine);
            for waker in called {
                waker.wake();
            }
            drop(engine);
            thread::sleep(SHORT_PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn get(&mut self, place: u32) -> Option<&mut Option<Slot>> {
        self.slots.get_mut(usize::try_from(place).ok()?)
    }

    /// Returns the wakers of the streams whose task must look at its key.
    fn look_at_all(&mut self, engine: &Engine) -> Vec<Waker> {
        let moment = engine.clock.moment();
        let mut called = Vec::new();
        for slot in self.slots.iter_mut().flatten() {
            if slot.must_look(engine, moment) && !slot.is_called {
                slot.is_called = true;
                called.push(slot.waker.clone());
            }
        }
        called
    }
}

impl Slot {
    fn must_look(&mut self, engine: &Engine, moment: Moment) -> bool {
        let standing = engine.standing(&self.key, moment);
        let was_overdue = self.is_overdue;
        if standing == Standing::Good {
            self.stale_since = u64::MAX;
        } else {
            self.stale_since = self.stale_since.min(moment.uptime);
            let waited = moment.uptime.saturating_sub(self.stale_since);
            self.is_overdue |= match standing {
                Standing::Good | Standing::Ageing => false,
                // The read was begun that much earlier, unless the stream is new or this process stood still.
                Standing::TooOld => waited >= engine.ahead(),
                // The change may be as old as the last proof of a feed. Half of the bound is left for the read.
                Standing::Changed => waited >= engine.cache.stream_bound_millis() / 2,
            };
        }
        let must_read = standing != Standing::Good && moment.uptime >= self.next_read;
        moment.now >= self.ends_at || must_read || (self.is_overdue && !was_overdue)
    }
}

impl Engine {
    /// Returns the standing of the data of a stream at `moment`.
    pub(super) fn standing(&self, key: &ResolvedKey, moment: Moment) -> Standing {
        // Two looks may pass until the data is found to be ageing.
        let ahead = self.ahead().saturating_add(2 * TICK);
        let later = Moment { uptime: moment.uptime.saturating_add(ahead), ..moment };
        self.cache.standing(key, moment, later)
    }

    /// Returns how long before the staleness bound a key is read again, in milliseconds.
    fn ahead(&self) -> u64 {
        (self.cache.stream_bound_millis() / 4).min(30_000)
    }
}
