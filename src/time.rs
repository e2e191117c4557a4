//! Points in time, and the clock that tells them.

use core::time::Duration;

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Its range is the years 1 to 9999, in which every value has an RFC 3339 text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The time `millis` milliseconds after 1970, or `None` outside [`MIN`](Self::MIN) to
    /// [`MAX`](Self::MAX).
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis < Self::MIN.0 || millis > Self::MAX.0 {
            return None;
        }
        Some(Self(millis))
    }

    /// The nearest time in range to `millis` milliseconds after 1970.
    pub const fn saturating_from_millis(millis: i64) -> Self {
        match Self::from_millis(millis) {
            Some(time) => time,
            None if millis < 0 => Self::MIN,
            None => Self::MAX,
        }
    }

    /// Milliseconds since 1970; negative before.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time and `duration` (rounded down to a millisecond), or `None` past [`MAX`](Self::MAX).
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        Self::from_millis(self.0.checked_add(millis)?)
    }

    /// The time from `earlier` to this one; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        // Both are within a range whose width fits an i64.
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(not(feature = "std"))]
impl core::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// What a [`Clock`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day. Somebody may set it, so it can go back.
    pub now: Timestamp,
    /// The time since a fixed start, in milliseconds, which never goes back. The age of a cached key
    /// is measured with it.
    pub uptime: u64,
}

/// Where the time comes from.
///
/// Hosts rarely bring one: [`SystemClock`] is the default, and a [`ManualClock`] is for tests.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. It is asked for once per verification, and twice more where a rate is
    /// counted.
    fn moment(&self) -> Moment;
}

#[cfg(feature = "std")]
pub use self::std_clock::{InvalidTimestamp, ManualClock, SystemClock};

#[cfg(feature = "std")]
mod std_clock {
    use alloc::sync::Arc;
    use core::{
        fmt,
        str::FromStr,
        sync::atomic::{AtomicI64, AtomicU64, Ordering},
        time::Duration,
    };

    use jiff::{SignedDuration, civil::DateTime, fmt::temporal::Pieces};

    use super::{Clock, Moment, Timestamp};

    /// The operating system's clocks.
    ///
    /// On Linux these are `CLOCK_REALTIME_COARSE` and `CLOCK_MONOTONIC_COARSE`: exact to one kernel
    /// tick (1 to 10 ms), at a quarter of the cost of the precise ones. A time of day that somebody
    /// sets is noticed within a tenth of a second. Elsewhere they are those of the standard library.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct SystemClock;

    #[cfg(target_os = "linux")]
    impl Clock for SystemClock {
        #[inline]
        fn moment(&self) -> Moment {
            use rustix::time::{ClockId, Timespec, clock_gettime};

            /// What the time of day has ahead of the uptime, and until when that need not be asked
            /// again. The second is written last and read first: it never vouches for an older first.
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
                GOOD_UNTIL.store(unsigned.saturating_add(100), Ordering::Release);
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

    /// A clock that stands still until it is told otherwise, for tests.
    ///
    /// Clones share one time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use keyway::time::{Clock, ManualClock, Timestamp};
    ///
    /// let clock = ManualClock::at("2026-01-01T00:00:00Z".parse()?);
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.moment().now.to_string(), "2026-01-01T00:01:00Z");
    /// # Ok::<(), keyway::time::InvalidTimestamp>(())
    /// ```
    #[derive(Clone, Debug)]
    pub struct ManualClock(Arc<(AtomicI64, AtomicU64)>);

    impl ManualClock {
        /// A clock that shows `now`.
        pub fn at(now: Timestamp) -> Self {
            Self(Arc::new((AtomicI64::new(now.0), AtomicU64::new(0))))
        }

        /// Lets `duration` pass: both the time of day and the uptime grow.
        pub fn advance(&self, duration: Duration) {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let signed = i64::try_from(millis).unwrap_or(i64::MAX);
            // Saturating, so that a test may go to either end of time.
            let (now, uptime) = &*self.0;
            let later = Timestamp::saturating_from_millis(
                now.load(Ordering::SeqCst).saturating_add(signed),
            );
            now.store(later.0, Ordering::SeqCst);
            uptime.store(uptime.load(Ordering::SeqCst).saturating_add(millis), Ordering::SeqCst);
        }

        /// Sets the time of day, forward or back, as an administrator would. The uptime stays.
        pub fn set(&self, now: Timestamp) {
            self.0.0.store(now.0, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn moment(&self) -> Moment {
            Moment {
                now: Timestamp::saturating_from_millis(self.0.0.load(Ordering::SeqCst)),
                uptime: self.0.1.load(Ordering::SeqCst),
            }
        }
    }

    /// RFC 3339 in UTC, such as `2026-11-22T09:30:00Z`.
    impl fmt::Display for Timestamp {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match EPOCH.checked_add(SignedDuration::from_millis(self.0)) {
                Ok(time) => write!(f, "{time}Z"),
                Err(_) => write!(f, "{}ms", self.0),
            }
        }
    }

    impl fmt::Debug for Timestamp {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }

    impl FromStr for Timestamp {
        type Err = InvalidTimestamp;

        /// Reads RFC 3339 with any offset. What is finer than a millisecond is dropped.
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            parse(text).ok_or(InvalidTimestamp(()))
        }
    }

    /// Civil times, since jiff's own timestamps end a day before the year 9999 does.
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

    fn parse(text: &str) -> Option<Timestamp> {
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset()?.seconds();
        let time = DateTime::from_parts(pieces.date(), pieces.time()?)
            .checked_sub(SignedDuration::from_secs(offset.into()))
            .ok()?;
        let millis = time.duration_since(EPOCH).as_nanos().div_euclid(1_000_000);
        Timestamp::from_millis(i64::try_from(millis).ok()?)
    }

    /// A text is not an RFC 3339 time between the years 1 and 9999.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("not an RFC 3339 time between the years 1 and 9999, such as `2026-11-22T09:30:00Z`")]
    pub struct InvalidTimestamp(());

    #[cfg(feature = "serde")]
    impl serde::Serialize for Timestamp {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    #[cfg(feature = "serde")]
    impl<'de> serde::Deserialize<'de> for Timestamp {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        }
    }
}
