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
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::Waker,
    time::Duration,
};
use std::{
    io,
    panic::catch_unwind,
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
    /// The number of streams so far, which distinguishes those of one slot.
    opened: u32,
    has_thread: bool,
    /// Whether something has changed since the last look.
    is_nudged: bool,
    is_closed: bool,
}

/// The place of a stream: the index of its slot, and its number.
#[derive(Clone, Copy)]
pub(super) struct Place {
    index: u32,
    number: u32,
}

/// One stream.
struct Slot {
    number: u32,
    /// The data that the stream was last checked with.
    key: Arc<ResolvedKey>,
    /// The time at which this data ends the stream, if nothing changes.
    ends_at: Timestamp,
    waker: Waker,
    /// The uptime since which the key must be read again. `u64::MAX` if it need not be.
    stale_since: u64,
    /// The uptime before which the key is not read again. It is `u64::MAX` while it is being read.
    next_read: u64,
    /// The generation at which the read under way has begun.
    read_of: u32,
    /// Whether the task was woken and has not looked yet.
    is_called: bool,
    is_overdue: bool,
    /// Whether the key has changed since the read under way has begun.
    is_superseded: bool,
}

/// The state of a stream, as its task finds it.
pub(super) struct Found {
    pub(super) key: Arc<ResolvedKey>,
    pub(super) next_read: u64,
    /// Whether the key should have been read again by now, and was not.
    pub(super) is_overdue: bool,
    /// Whether the key has changed since the read under way has begun.
    pub(super) is_superseded: bool,
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
    ) -> io::Result<Place> {
        let waker = waker.clone();
        let mut list = self.lock();
        if !list.has_thread {
            let (streams, engine) = (Arc::clone(self), Arc::downgrade(engine));
            let thread = thread::Builder::new().name("keyway-streams".into());
            thread.spawn(move || streams.attend(&engine))?;
            list.has_thread = true;
        }
        list.opened = list.opened.wrapping_add(1);
        let number = list.opened;
        let slot = Slot {
            number,
            key,
            ends_at,
            waker,
            stale_since: u64::MAX,
            next_read: 0,
            read_of: 0,
            is_called: false,
            is_overdue: false,
            is_superseded: false,
        };
        let index = if let Some(index) = list.free.pop() {
            index
        } else {
            list.slots.push(None);
            u32::try_from(list.slots.len() - 1).map_err(|_| io::ErrorKind::OutOfMemory)?
        };
        if let Some(empty) = list.at(index) {
            *empty = Some(slot);
        }
        // A thread without streams waits for long.
        if self.open.fetch_add(1, SeqCst) == 0 {
            list.is_nudged = true;
            self.changed.notify_one();
        }
        Ok(Place { index, number })
    }

    /// Notes that the task of a stream looks at it, and will be woken by `waker`. Returns its state.
    ///
    /// INVARIANT: call this before the standing of the key is read. A change in between then wakes the task again.
    pub(super) fn look(&self, place: Place, waker: &Waker) -> Option<Found> {
        // INVARIANT: wakers are dropped without the lock. A waker may drop a task, which may have a stream of its own.
        let mut waker = waker.clone();
        let mut list = self.lock();
        let slot = list.get(place)?;
        slot.is_called = false;
        core::mem::swap(&mut slot.waker, &mut waker);
        let is_superseded = core::mem::take(&mut slot.is_superseded);
        let Slot { key, next_read, is_overdue, .. } = slot;
        let key = Arc::clone(key);
        let found = Found { key, next_read: *next_read, is_overdue: *is_overdue, is_superseded };
        drop(list);
        drop(waker);
        Some(found)
    }

    /// Gives a stream newer data of its key.
    pub(super) fn renew(&self, place: Place, key: Arc<ResolvedKey>, ends_at: Timestamp) {
        if let Some(slot) = self.lock().get(place) {
            (slot.key, slot.ends_at) = (key, ends_at);
            (slot.stale_since, slot.is_overdue) = (u64::MAX, false);
        }
    }

    /// Sets the uptime before which the key of a stream is not read again.
    pub(super) fn set_next_read(&self, place: Place, uptime: u64) {
        if let Some(slot) = self.lock().get(place) {
            slot.next_read = uptime;
        }
    }

    /// Notes that the key of a stream is being read since `uptime`, at which it had this generation.
    ///
    /// A read that nobody could begin earlier, since the task did not look, has all of its time yet.
    pub(super) fn begin_read(&self, place: Place, generation: u32, uptime: u64, is_first: bool) {
        if let Some(slot) = self.lock().get(place) {
            (slot.next_read, slot.read_of) = (u64::MAX, generation);
            if slot.is_overdue && is_first {
                (slot.stale_since, slot.is_overdue) = (uptime, false);
            }
        }
    }

    /// Removes a stream.
    pub(super) fn close(&self, place: Place) {
        let mut list = self.lock();
        if list.get(place).is_none() {
            return;
        }
        let slot = list.at(place.index).and_then(Option::take);
        list.free.push(place.index);
        // The room of many streams at once is given back when there are none.
        if self.open.fetch_sub(1, SeqCst) == 1 {
            (list.slots, list.free) = (Vec::new(), Vec::new());
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
        drop(list);
        self.changed.notify_one();
        self.end_all();
    }

    /// Ends all streams that are open, since nothing looks at them any more.
    fn end_all(&self) {
        let mut list = self.lock();
        let slots: Vec<Slot> = list.slots.drain(..).flatten().collect();
        list.free.clear();
        self.open.store(0, SeqCst);
        drop(list);
        for slot in slots {
            wake(slot.waker);
        }
    }

    /// Looks at the streams until there have been none for a while, or the verifier is dropped.
    fn attend(&self, engine: &Weak<Engine>) {
        loop {
            let mut list = self.lock();
            let is_idle = self.open.load(SeqCst) == 0;
            let mut is_over = false;
            if !list.is_nudged && !list.is_closed {
                let pause = if is_idle { IDLE } else { PAUSE };
                let waited = self.changed.wait_timeout(list, pause);
                let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                list = after;
                is_over = is_idle && waited.timed_out() && self.open.load(SeqCst) == 0;
            }
            if list.is_closed || is_over {
                list.has_thread = false;
                return;
            }
            list.is_nudged = false;
            drop(list);
            // INVARIANT: the engine is held and dropped without the lock, since its end takes the lock.
            let Some(engine) = engine.upgrade() else { return };
            let called = || self.lock().look_at_all(&engine);
            let Ok(called) = catch_unwind(AssertUnwindSafe(called)) else {
                // INVARIANT: without a thread no stream stays open. The clock of the application has panicked.
                self.lock().has_thread = false;
                self.end_all();
                return;
            };
            called.into_iter().for_each(wake);
            drop(engine);
            thread::sleep(SHORT_PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a task. A panic of its runtime ends no other stream.
fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

impl List {
    fn at(&mut self, index: u32) -> Option<&mut Option<Slot>> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn get(&mut self, place: Place) -> Option<&mut Slot> {
        self.at(place.index)?.as_mut().filter(|slot| slot.number == place.number)
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
            (self.stale_since, self.is_overdue) = (u64::MAX, false);
        } else {
            self.stale_since = self.stale_since.min(moment.uptime);
            let waited = moment.uptime.saturating_sub(self.stale_since);
            self.is_overdue |= match standing {
                Standing::Good | Standing::Ageing => false,
                // The read was begun that much earlier, unless the stream is new or its task did not look.
                Standing::TooOld => waited >= engine.ahead(),
                // The change may be as old as the last proof of a feed. Half of the bound is left for the read.
                Standing::Changed => waited >= engine.stream_bound_millis() / 2,
            };
        }
        let is_reading = self.next_read == u64::MAX;
        let generation = engine.cache.generation(self.key.id(), &self.key.stamp);
        if is_reading && standing == Standing::Changed && generation != self.read_of {
            // The read may return data from before the change.
            (self.is_superseded, self.read_of) = (true, generation);
            return true;
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
        self.cache.standing(key, moment, later, self.cache.stream_bound(self.stream_lag()))
    }

    /// Returns the bound of open streams in milliseconds.
    fn stream_bound_millis(&self) -> u64 {
        u64::from(self.cache.stream_bound(self.stream_lag())) * TICK
    }

    /// Returns how long before the staleness bound a key is read again, in milliseconds: a quarter of the age that data
    /// may reach after its read, and at most half a minute.
    fn ahead(&self) -> u64 {
        let lag = u64::from(self.stream_lag()) * TICK;
        (self.stream_bound_millis().saturating_sub(lag) / 4).min(30_000)
    }

    /// Returns by how many ticks the source that streams are read from may lag behind the store.
    fn stream_lag(&self) -> u32 {
        self.sources.lag(self.sources.for_streams())
    }
}
