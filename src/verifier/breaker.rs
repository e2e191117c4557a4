//! A circuit breaker in front of a source of keys.
//!
//! While a store is away, each request waits for the store's own time limit. Without a breaker, requests pile
//! up for as long as that lasts.
//!
//! The breaker opens when a source fails several times in a row, or is silent for a second while a request
//! waits for it. Requests that need the source then fail at once for a moment. After that, one request at a
//! time tries the source, or one every two seconds if the try hangs. The first reply closes the breaker.
//!
//! The breaker only ever rejects: no key is admitted because of it. A cached key does not pass through it.

use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::time::Clock;

/// This many failures in a row open the breaker.
const FAILURES: u32 = 5;

/// A source that has been silent for this long, in milliseconds, is considered away. A single load that fails
/// after this long opens the breaker alone.
const SILENCE: u64 = 1_000;

/// The length of the first and the longest pause, in milliseconds. Each failed probe doubles the pause.
const FIRST_PAUSE: u64 = 250;
const LONGEST_PAUSE: u64 = 4_000;

/// A probe that takes longer than this, in milliseconds, no longer blocks the next one. The probe's
/// connection may be lost permanently, while the source replies to new requests.
const LONGEST_PROBE: u64 = 2_000;

/// The most requests that wait at the same time for a source that does not reply.
pub(super) const MAX_WAITING: usize = 4_096;

/// The limit applies once the source has been silent for this long, in milliseconds. A source that replies sooner can
/// serve them all, since requests that come at once share loads. The process itself takes a while to begin 100,000
/// requests, and sees no reply meanwhile.
const CROWDED: u64 = 500;

/// The reason why a request does not reach its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Paused {
    /// The source failed a moment ago.
    #[error("the store failed a moment ago, and is asked again in {0:?}")]
    Open(Duration),
    /// Too many requests wait for the source.
    #[error("{MAX_WAITING} requests wait for the store already")]
    Full,
}

impl Paused {
    /// Returns how long a caller should wait before it tries again.
    pub(super) fn retry_after(self) -> Duration {
        match self {
            Self::Open(rest) => rest,
            Self::Full => Duration::from_millis(SILENCE),
        }
    }
}

#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// The source of jitter. Nodes that lost one store must not all come back to it at the same time.
    jitter: RandomState,
}

/// The state of a breaker. All times are uptimes in milliseconds.
struct State {
    /// The number of requests that wait.
    waiting: usize,
    /// The number of loads under way that began after the last reply. Several requests may wait for one load.
    loads: usize,
    /// When the first of these loads began.
    silent_since: u64,
    /// The number of replies. A load that began before the last reply is not counted in `loads`. Otherwise
    /// one load that hangs on a lost connection would make every pause look like silence.
    answers: u64,
    failures: u32,
    open: Option<Open>,
    /// The length of the next pause.
    pause: u64,
    /// The number of the next probe.
    next_probe: u64,
}

struct Open {
    /// When the next probe may begin.
    until: u64,
    probe: Option<Probe>,
}

#[derive(Clone, Copy)]
struct Probe {
    number: u64,
    began: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting: 0,
            loads: 0,
            silent_since: 0,
            answers: 0,
            failures: 0,
            open: None,
            pause: FIRST_PAUSE,
            next_probe: 0,
        }
    }
}

impl Breaker {
    /// Lets a request through to the source at the uptime `now`. The request counts as waiting until the
    /// result is dropped.
    pub(super) fn enter(&self, now: u64) -> Result<Waiting<'_>, Paused> {
        let mut state = self.state();
        let since = if state.loads > 0 { state.silent_since } else { now };
        let silent_for = now.saturating_sub(since);
        if state.waiting >= MAX_WAITING && silent_for >= CROWDED {
            return Err(Paused::Full);
        }
        if silent_for >= SILENCE && state.open.is_none() {
            // This request becomes the probe, so that one load that hangs does not alone reject other
            // requests.
            state.open = Some(Open { until: now, probe: None });
        }
        let number = state.next_probe;
        let mut probe = None;
        if let Some(open) = &mut state.open {
            let is_probed =
                open.probe.is_some_and(|probe| now.saturating_sub(probe.began) < LONGEST_PROBE);
            if now < open.until || is_probed {
                let rest = open.until.saturating_sub(now).max(FIRST_PAUSE);
                return Err(Paused::Open(Duration::from_millis(rest)));
            }
            open.probe = Some(Probe { number, began: now });
            probe = Some(number);
            state.next_probe += 1;
        }
        state.waiting += 1;
        Ok(Waiting { breaker: self, probe })
    }

    /// Returns why a request that has waited for another one may not go to the source at the uptime `now`.
    pub(super) fn paused(&self, now: u64) -> Option<Paused> {
        let state = self.state();
        let until = state.open.as_ref()?.until;
        let rest = until.saturating_sub(now).max(FIRST_PAUSE);
        Some(Paused::Open(Duration::from_millis(rest)))
    }

    /// Notes that a load of the source begins.
    pub(super) fn load<'b>(&'b self, clock: &'b dyn Clock) -> Load<'b> {
        let began = clock.moment().uptime;
        let mut state = self.state();
        if state.loads == 0 {
            state.silent_since = began;
        }
        state.loads += 1;
        Load { breaker: self, clock, began, answers: state.answers, outcome: None }
    }

    fn end(&self, load: &Load<'_>, now: u64) {
        let mut state = self.state();
        let is_news = load.answers == state.answers;
        if is_news {
            state.loads = state.loads.saturating_sub(1);
        }
        let took_long = now.saturating_sub(load.began) >= SILENCE;
        match load.outcome {
            Some(Outcome::Answered) => {
                state.failures = 0;
                state.open = None;
                state.pause = FIRST_PAUSE;
                state.answers += 1;
                state.loads = 0;
            }
            // The load was dropped too early to show anything.
            None if !took_long => {}
            Some(Outcome::Failed) | None if is_news => {
                self.fail(&mut state, load.began, now, took_long);
            }
            Some(Outcome::Failed) | None => {}
        }
    }

    fn fail(&self, state: &mut State, began: u64, now: u64, took_long: bool) {
        let opens = if let Some(open) = &state.open {
            // A load from before the probe may end while the breaker is open. It says nothing about the
            // probe.
            open.probe.is_some_and(|probe| began >= probe.began)
        } else {
            state.failures += if took_long { FAILURES } else { 1 };
            state.failures >= FAILURES
        };
        if opens {
            let spread = self.jitter_of(now) % (state.pause / 2);
            let until = now + state.pause * 3 / 4 + spread;
            state.open = Some(Open { until, probe: None });
            state.failures = 0;
            state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn jitter_of(&self, now: u64) -> u64 {
        use core::hash::BuildHasher;
        self.jitter.hash_one(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for the source.
pub(super) struct Waiting<'b> {
    breaker: &'b Breaker,
    probe: Option<u64>,
}

impl Waiting<'_> {
    /// Returns whether this request probes the source. A probe needs a load of its own.
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        state.waiting = state.waiting.saturating_sub(1);
        // A probe that was dropped early makes room for the next one.
        if let Some(open) = &mut state.open
            && open.probe.map(|probe| probe.number) == self.probe
        {
            open.probe = None;
        }
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Answered,
    Failed,
}

/// A load of the source. If it is dropped without an outcome, all requests that waited for it were dropped.
pub(super) struct Load<'b> {
    breaker: &'b Breaker,
    clock: &'b dyn Clock,
    began: u64,
    /// The number of replies when the load began.
    answers: u64,
    outcome: Option<Outcome>,
}

impl Load<'_> {
    /// Ends the load, and notes whether the source replied.
    pub(super) fn end(mut self, answered: bool) {
        self.outcome = Some(if answered { Outcome::Answered } else { Outcome::Failed });
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.breaker.end(self, self.clock.moment().uptime);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::time::{ManualClock, Timestamp};

    struct World {
        breaker: Breaker,
        clock: ManualClock,
    }

    impl World {
        fn new() -> Self {
            let clock = ManualClock::at(Timestamp::MIN);
            clock.advance(Duration::from_secs(1_000));
            Self { breaker: Breaker::default(), clock }
        }

        fn now(&self) -> u64 {
            self.clock.moment().uptime
        }

        fn pass(&self, millis: u64) {
            self.clock.advance(Duration::from_millis(millis));
        }

        fn enter(&self) -> Result<Waiting<'_>, Paused> {
            self.breaker.enter(self.now())
        }

        fn begin(&self) -> Load<'_> {
            self.breaker.load(&self.clock)
        }

        /// Makes one request whose load takes `millis`. Returns whether the request reached the source.
        fn request(&self, millis: u64, answered: bool) -> bool {
            let Ok(_waiting) = self.enter() else { return false };
            let load = self.begin();
            self.pass(millis);
            load.end(answered);
            true
        }

        /// Returns how long it takes until a request is let through, in steps of 10 ms.
        fn until_let_through(&self) -> u64 {
            (0..1_000)
                .find(|_| {
                    self.enter().is_ok() || {
                        self.pass(10);
                        false
                    }
                })
                .unwrap()
                * 10
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_breaker() {
        let world = World::new();
        for _ in 0..10 {
            assert!((0..4).all(|_| world.request(1, false)));
            assert!(world.request(1, true), "an answer in between starts the count again");
        }
        assert!((0..FAILURES).all(|_| world.request(1, false)));
        let Err(Paused::Open(rest)) = world.enter().map(drop) else { panic!("it is closed") };
        assert!(
            rest >= Duration::from_millis(187) && rest <= Duration::from_millis(312),
            "{rest:?}"
        );
    }

    #[test]
    fn one_failure_after_a_second_opens_the_breaker() {
        let world = World::new();
        assert!(world.request(999, false) && world.request(1, true));
        assert!(world.request(1_000, false));
        assert!(world.enter().is_err());
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let world = World::new();
        for _ in 0..2 {
            assert!((0..FAILURES).all(|_| world.request(0, false)));
            for pause in [250, 500, 1_000, 2_000, 4_000, 4_000, 4_000] {
                let waited = world.until_let_through();
                assert!(
                    waited >= pause * 3 / 4 && waited <= pause * 5 / 4 + 10,
                    "{waited} of {pause}"
                );
                assert!(world.request(0, false));
            }
            world.until_let_through();
            assert!(world.request(0, true));
        }
    }

    #[test]
    fn one_probe_at_a_time_tries_the_source() {
        let world = World::new();
        assert!(world.request(1_000, false));
        world.until_let_through();
        let probe = world.enter().unwrap();
        assert!(probe.is_probe());
        let load = world.begin();
        for _ in 0..9 {
            assert!(world.enter().is_err());
            world.pass(200);
        }
        load.end(true);
        drop(probe);
        // All requests are let through again at once.
        assert!(!world.enter().unwrap().is_probe());
    }

    #[test]
    fn hanging_probe_does_not_block_the_next() {
        let world = World::new();
        assert!(world.request(1_000, false));
        world.until_let_through();
        let _stuck = (world.enter().unwrap(), world.begin());
        world.pass(LONGEST_PROBE - 1);
        assert!(world.enter().is_err());
        world.pass(1);
        assert!(world.enter().unwrap().is_probe());
    }

    #[test]
    fn hanging_probes_do_not_lengthen_the_pause() {
        let world = World::new();
        assert!(world.request(1_000, false));
        world.until_let_through();
        let mut hanging = Vec::new();
        for _ in 0..10 {
            hanging.push((world.enter().unwrap(), world.begin()));
            world.pass(2_000);
            if hanging.len() == 3 {
                hanging.remove(0).1.end(false);
            }
        }
        // The source is back, and only a new request gets a reply.
        assert!(world.request(1, true));
        for (_, load) in hanging {
            load.end(false);
        }
        assert!(!world.enter().unwrap().is_probe());
    }

    #[test]
    fn dropped_probe_makes_room_for_the_next() {
        let world = World::new();
        assert!(world.request(1_000, false));
        world.until_let_through();
        let (probe, load) = (world.enter().unwrap(), world.begin());
        world.pass(10);
        drop((load, probe));
        assert!(world.enter().unwrap().is_probe());
        // A probe that is dropped after a second has failed.
        let (probe, load) = (world.enter().unwrap(), world.begin());
        world.pass(1_000);
        drop((load, probe));
        assert!(world.enter().is_err());
    }

    #[test]
    fn silent_source_lets_one_request_through() {
        let world = World::new();
        let waiting: Vec<_> = (0..100).map(|_| (world.enter().unwrap(), world.begin())).collect();
        world.pass(999);
        assert!(!world.enter().unwrap().is_probe());
        world.pass(1);
        let probe = world.enter().unwrap();
        assert!(probe.is_probe() && world.enter().is_err());
        // One reply, to whichever load, ends the silence.
        let mut waiting = waiting.into_iter();
        waiting.next().unwrap().1.end(true);
        assert!(!world.enter().unwrap().is_probe());
        // A load that began before the reply and fails later says nothing.
        world.pass(10);
        waiting.for_each(|(_, load)| load.end(false));
        assert!(world.enter().is_ok());
    }

    #[test]
    fn hanging_load_does_not_reject_others() {
        let world = World::new();
        let _hanging = (world.enter().unwrap(), world.begin());
        for _ in 0..10 {
            world.pass(5_000);
            assert!(world.request(1, true));
        }
    }

    #[test]
    fn pauses_beside_a_hanging_load_are_not_silence() {
        let world = World::new();
        let _hanging = (world.enter().unwrap(), world.begin());
        assert!(world.request(1, true));
        for _ in 0..10 {
            world.pass(5_000);
            let both = (world.enter().unwrap(), world.enter().unwrap());
            assert!(!both.0.is_probe() && !both.1.is_probe());
            let (first, _second) = (world.begin(), world.begin());
            first.end(true);
        }
    }

    #[test]
    fn a_source_that_was_idle_is_not_silent() {
        let world = World::new();
        for _ in 0..10 {
            assert!(world.request(1, true));
            world.pass(60_000);
            let waiting = world.enter().unwrap();
            assert!(!waiting.is_probe());
            drop((world.begin(), waiting));
        }
    }

    #[test]
    fn dropped_requests_do_not_open_the_breaker() {
        let world = World::new();
        for _ in 0..1_000 {
            drop((world.begin(), world.enter().unwrap()));
        }
        assert!(!world.enter().unwrap().is_probe());
    }

    #[test]
    fn waiting_requests_are_limited() {
        let world = World::new();
        let _silent = world.begin();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| world.enter().unwrap()).collect();
        world.pass(CROWDED);
        assert_eq!(world.enter().map(drop), Err(Paused::Full));
        waiting.pop();
        assert!(world.enter().is_ok());
    }

    #[test]
    fn waiting_is_not_limited_while_the_source_replies() {
        let world = World::new();
        let _waiting: Vec<_> = (0..3 * MAX_WAITING).map(|_| world.enter().unwrap()).collect();
        for _ in 0..10 {
            let load = world.begin();
            world.pass(CROWDED - 1);
            assert!(world.enter().is_ok());
            load.end(true);
            world.pass(CROWDED);
        }
    }
}
