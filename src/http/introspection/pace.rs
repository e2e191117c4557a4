//! The time at which responses are sent.

use alloc::{collections::BTreeMap, string::ToString as _, vec::Vec};
use core::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    panic::catch_unwind,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use crate::config::ConfigError;

/// Delays responses to multiples of a step, so that their time does not show the work that was done for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    step: Duration,
}

impl Pace {
    const DEFAULT_STEP: Duration = Duration::from_millis(20);
    const MIN_STEP: Duration = Duration::from_millis(1);

    /// Starts the thread of the timer, unless it runs already.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Thread`] if the thread cannot be started.
    pub(super) fn start() -> Result<Self, ConfigError> {
        TIMER.start()?;
        Ok(Self { step: Self::DEFAULT_STEP })
    }

    pub(super) fn set_step(&mut self, step: Duration) {
        self.step = step.max(Self::MIN_STEP);
    }

    /// Waits until the first multiple of the step since `began` that is not over yet.
    ///
    /// INVARIANT: the end depends on `began` alone, not on the time that has passed since. A wait of the whole step
    /// would add it to the time of the work, which stays visible.
    pub(super) fn wait(self, began: Instant) -> impl Future<Output = ()> + Send {
        let elapsed = began.elapsed();
        let (step, elapsed) = (self.step.as_nanos(), elapsed.as_nanos());
        let due = (elapsed / step + 1).saturating_mul(step);
        let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
        Wait { due: began.checked_add(due).unwrap_or(began), place: None }
    }
}

/// The timer of all endpoints of the process.
///
/// The timers of runtimes are not used. Tokio's is exact to a millisecond, and its error depends on the moment at which
/// the runtime became idle, which is when the store replied. Averages over some hundred requests then show the work.
static TIMER: Timer = Timer {
    state: Mutex::new(State { waiting: BTreeMap::new(), next: 0, is_started: false }),
    is_earlier: Condvar::new(),
};

struct Timer {
    state: Mutex<State>,
    /// Notified if a wait ends before all others.
    is_earlier: Condvar,
}

struct State {
    /// The waits in the order of their ends. The number distinguishes equal ends.
    waiting: BTreeMap<Place, Waker>,
    next: u64,
    is_started: bool,
}

type Place = (Instant, u64);

impl Timer {
    fn start(&'static self) -> Result<(), ConfigError> {
        let mut state = self.lock();
        if !state.is_started {
            let thread = thread::Builder::new().name("keyway-pace".into());
            let started = thread.spawn(|| self.run());
            started.map_err(|error| ConfigError::Thread(error.to_string()))?;
            state.is_started = true;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            while let Some(first) = state.waiting.first_entry().filter(|first| first.key().0 <= now)
            {
                due.push(first.remove());
            }
            if !due.is_empty() {
                drop(state);
                for waker in due {
                    // INVARIANT: a panic of a runtime does not end the thread, since no later wait would end.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                state = self.lock();
                continue;
            }
            let first = state.waiting.first_key_value().map(|((end, _), _)| *end);
            state = match first {
                None => self.is_earlier.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let waited = self.is_earlier.wait_timeout(state, end.duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Adds a wait, or replaces its waker.
    fn add(&self, end: Instant, place: Option<Place>, waker: Waker) -> Place {
        let mut state = self.lock();
        let place = place.unwrap_or_else(|| {
            state.next += 1;
            (end, state.next)
        });
        // INVARIANT: a waker is dropped without the lock, since it may drop a task that has a wait of its own.
        let replaced = state.waiting.insert(place, waker);
        if state.waiting.first_key_value().is_some_and(|(first, _)| *first == place) {
            self.is_earlier.notify_one();
        }
        drop(state);
        drop(replaced);
        place
    }

    fn remove(&self, place: Place) {
        let removed = self.lock().waiting.remove(&place);
        drop(removed);
    }
}

struct Wait {
    due: Instant,
    place: Option<Place>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.due {
            return Poll::Ready(());
        }
        self.place = Some(TIMER.add(self.due, self.place, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Wait {
    /// Removes the wait of a request that was dropped, so that none pile up.
    fn drop(&mut self) {
        if let Some(place) = self.place {
            TIMER.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn pace(step: u32) -> Pace {
        let mut pace = Pace::start().unwrap();
        pace.set_step(step * MILLI);
        pace
    }

    #[test]
    fn waits_end_at_multiples_of_the_step() {
        for (step, passed, end) in [(20, 0, 20), (20, 7, 20), (20, 20, 40), (20, 41, 60), (0, 0, 1)]
        {
            let Some(began) = Instant::now().checked_sub(passed * MILLI) else { continue };
            pollster::block_on(pace(step).wait(began));
            let took = began.elapsed();
            assert!(took >= end * MILLI, "{took:?} for {end} ms");
        }
    }

    #[test]
    fn waits_of_any_order_end() {
        let began = Instant::now();
        let waits = [40, 10, 30, 10].map(|step| {
            thread::spawn(move || {
                pollster::block_on(pace(step).wait(began));
                began.elapsed() >= step * MILLI
            })
        });
        assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
    }

    #[test]
    fn wait_that_is_dropped_leaves_nothing_behind() {
        let place = {
            let mut wait = pin!(Wait { due: Instant::now() + 3_600_000 * MILLI, place: None });
            let mut context = Context::from_waker(Waker::noop());
            assert!(wait.as_mut().poll(&mut context).is_pending());
            assert!(wait.as_mut().poll(&mut context).is_pending());
            let place = wait.place.unwrap();
            assert!(TIMER.lock().waiting.contains_key(&place));
            place
        };
        assert!(!TIMER.lock().waiting.contains_key(&place));
    }
}
