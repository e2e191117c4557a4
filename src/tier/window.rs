//! The windows of allowances.

use core::time::Duration;

use jiff_core::civil::{Date, UnixEpochDay};

use super::Period;
use crate::time::Timestamp;

const DAY: i64 = 24 * 60 * 60 * 1_000;

/// One of the periods of an [`Allowance`](super::Allowance): a month in UTC, or a number of seconds. All nodes whose clocks
/// agree have the same windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    period: Period,
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// Returns the window of this period that contains the time `at`.
    ///
    /// ```
    /// use keyway::allowance::{Period, Window};
    ///
    /// let month = Window::of(Period::Month, "2028-02-29T23:59:59Z".parse()?);
    /// assert_eq!(month.end().to_string(), "2028-03-01T00:00:00Z");
    /// # Ok::<(), keyway::record::InvalidField>(())
    /// ```
    pub fn of(period: Period, at: Timestamp) -> Self {
        let (start, end) = match period {
            Period::Month => month(at),
            Period::Seconds(seconds) => {
                let length = i64::from(seconds.max(1)) * 1_000;
                let start = at.as_millis().div_euclid(length) * length;
                (start, start + length)
            }
        };
        let [start, end] = [start, end].map(Timestamp::saturating_from_millis);
        Self { period, start, end }
    }

    /// Returns the period.
    pub fn period(self) -> Period {
        self.period
    }

    /// Returns the time at which the window begins.
    pub fn start(self) -> Timestamp {
        self.start
    }

    /// Returns the time at which the next window begins.
    pub fn end(self) -> Timestamp {
        self.end
    }

    /// Returns the number of the period for a column of a store: its seconds, or 0 for a month.
    pub fn number(self) -> u32 {
        self.period.number()
    }

    /// Returns the window of this period that ends at `end`, if there is one.
    pub(crate) fn ending(period: Period, end: Timestamp) -> Option<Self> {
        let last = Timestamp::saturating_from_millis(end.as_millis().saturating_sub(1));
        let window = Self::of(period, last);
        (window.end == end).then_some(window)
    }

    pub(crate) fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Returns the length in whole seconds.
    #[cfg(feature = "http")]
    pub(crate) fn seconds(self) -> u64 {
        self.end.saturating_since(self.start).as_secs()
    }

    /// Returns how long it takes until the next window begins.
    pub(crate) fn rest(self, at: Timestamp) -> Duration {
        self.end.saturating_since(at)
    }
}

/// Returns the milliseconds at which the month of this time and the next one begin.
fn month(at: Timestamp) -> (i64, i64) {
    // The range of `Timestamp` is that of the calendar.
    let number = |millis: i64| i32::try_from(millis.div_euclid(DAY)).unwrap_or_default();
    let first = |day: i32| {
        let date = UnixEpochDay::new(day).ok().map(UnixEpochDay::to_date);
        date.map(|date: Date| day - i32::from(date.day()) + 1)
    };
    let day = number(at.as_millis());
    let start = first(day).unwrap_or(day);
    // The last month of all has none after it, and ends with the range.
    let end = first(start + 31).unwrap_or(start + 31);
    (i64::from(start) * DAY, i64::from(end) * DAY)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn window_is_that_of_the_calendar_or_of_the_epoch() {
        for (period, at, start, end) in [
            (
                Period::Month,
                "2026-11-30T23:59:59.999Z",
                "2026-11-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
            ),
            (Period::Month, "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Period::Month, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Month, "2100-02-28T12:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"),
            (Period::Month, "1969-12-31T23:00:00Z", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (
                Period::Seconds(60),
                "2026-11-30T10:00:59Z",
                "2026-11-30T10:00:00Z",
                "2026-11-30T10:01:00Z",
            ),
            (
                Period::Seconds(7),
                "1969-12-31T23:59:59Z",
                "1969-12-31T23:59:53Z",
                "1970-01-01T00:00:00Z",
            ),
            (
                Period::Seconds(u32::MAX),
                "1970-01-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
                "2106-02-07T06:28:15Z",
            ),
        ] {
            let window = Window::of(period, at.parse().unwrap());
            assert_eq!(window.start().to_string(), start, "{at}");
            assert_eq!(window.end().to_string(), end, "{at}");
            assert!(window.contains(at.parse().unwrap()));
            assert!(!window.contains(window.end()));
        }
    }

    #[test]
    fn window_is_found_by_its_end() {
        for period in [Period::Month, Period::Seconds(7), Period::Seconds(u32::MAX)] {
            for at in [Timestamp::MIN, "2028-02-29T12:00:00Z".parse().unwrap(), Timestamp::MAX] {
                let window = Window::of(period, at);
                assert_eq!(Window::ending(period, window.end()), Some(window));
            }
        }
        let no_month = "2028-02-29T00:00:00Z".parse().unwrap();
        assert_eq!(Window::ending(Period::Month, no_month), None);
    }

    #[test]
    fn windows_at_both_ends_of_time_are_in_range() {
        for period in [Period::Month, Period::Seconds(1), Period::Seconds(u32::MAX)] {
            for at in [Timestamp::MIN, Timestamp::MAX] {
                let window = Window::of(period, at);
                assert!(window.start() <= at && at <= window.end(), "{window:?}");
            }
        }
    }
}
