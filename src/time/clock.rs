//! The clock of the operating system, and a clock for tests.

use alloc::sync::Arc;
#[cfg(target_os = "linux")]
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Clock, Moment, Timestamp};

/// The operating system's clocks.
///
/// On Linux these are `CLOCK_REALTIME_COARSE` and `CLOCK_MONOTONIC_COARSE`. They are exact to one kernel
/// tick (1 to 10 ms), at a quarter of the cost of the precise clocks. A change to the time of day is
/// noticed with the next kernel tick. Other systems use the clocks of the standard library.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    #[inline]
    fn moment(&self) -> Moment {
        use rustix::time::{ClockId, Timespec, clock_gettime};

        /// `AHEAD` is the time of day minus the uptime, and `GOOD_UNTIL` is the uptime at which to read
        /// it again. `GOOD_UNTIL` is stored last (Release) and loaded first (Acquire), so that it never
        /// validates an older `AHEAD`.
        static AHEAD: AtomicI64 = AtomicI64::new(0);
        static GOOD_UNTIL: AtomicU64 = AtomicU64::new(0);

        let millis = |time: Timespec| {
            time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
        };
        let uptime = millis(clock_gettime(ClockId::MonotonicCoarse));
        let unsigned = uptime.cast_unsigned();
        let is_good = unsigned < GOOD_UNTIL.load(Ordering::Acquire);
        let mut ahead = AHEAD.load(Ordering::Relaxed);
        if !is_good {
            ahead = millis(clock_gettime(ClockId::RealtimeCoarse)).saturating_sub(uptime);
            AHEAD.store(ahead, Ordering::Relaxed);
            GOOD_UNTIL.store(unsigned.saturating_add(1), Ordering::Release);
        }
        Moment {
            now: Timestamp::saturating_from_millis(uptime.saturating_add(ahead)),
            uptime: unsigned,
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        use std::{
            sync::LazyLock,
            time::{Instant, SystemTime},
        };

        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let millis = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::wrapping_neg)
            }
        };
        Moment {
            now: Timestamp::saturating_from_millis(millis),
            uptime: u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A clock that changes only when it is set or advanced, for tests.
///
/// Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use keyway::{Timestamp, time::{Clock, ManualClock}};
///
/// let clock = ManualClock::at("2026-01-01T00:00:00Z".parse()?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.moment().now.to_string(), "2026-01-01T00:01:00Z");
/// # Ok::<(), keyway::record::InvalidField>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Moment>>);

impl ManualClock {
    /// Creates a clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Moment { now, uptime: 0 })))
    }

    /// Lets `duration` pass: both the time of day and the uptime grow.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let signed = i64::try_from(millis).unwrap_or(i64::MAX);
        // Saturates, so that a test may go to either end of the range.
        let mut moment = self.lock();
        let later = moment.now.as_millis().saturating_add(signed);
        moment.now = Timestamp::saturating_from_millis(later);
        moment.uptime = moment.uptime.saturating_add(millis);
    }

    /// Sets the time of day, forward or back, as an administrator would. The uptime does not change.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// INVARIANT: both times change under one lock. Another thread that saw one of them without the other would find that
    /// the time of day has run ahead, as after a pause of the machine, and would read every cached key again.
    fn lock(&self) -> MutexGuard<'_, Moment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn moment(&self) -> Moment {
        *self.lock()
    }
}
