//! Days of UTC.

use core::{fmt, str::FromStr};

use jiff_core::civil::{Date, UnixEpochDay};

use crate::{
    field::{Field, InvalidField},
    time::Timestamp,
};

const MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A day of UTC between the years 1 and 9999. It is written as `2026-11-30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

/// The length of a row of usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// One row for each day.
    Day,
    /// One row for each month, whose [`Day`] is the first one of it.
    Month,
}

/// Days of UTC from one to another, both included, with the length of the rows into which they are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// The length of a row.
    pub period: Period,
}

impl Span {
    /// Creates a span with one row for each day.
    pub fn days(from: Day, to: Day) -> Self {
        Self { from, to, period: Period::Day }
    }

    /// Creates a span with one row for each month, from the month of `from` to that of `to`.
    pub fn months(from: Day, to: Day) -> Self {
        let month = to.first_of_month();
        let next = month.plus(31).first_of_month();
        // The last month of all has none after it.
        let to = if next > month { next.plus(-1) } else { Day::MAX };
        Self { from: from.first_of_month(), to, period: Period::Month }
    }
}

impl Day {
    /// The first day, 0001-01-01.
    pub const MIN: Self = Self(-719_162);
    /// The last day, 9999-12-31.
    pub const MAX: Self = Self(2_932_896);

    /// Returns the day of this time.
    pub fn of(time: Timestamp) -> Self {
        // The range of `Timestamp` is that of `Day`.
        Self(i32::try_from(time.as_millis().div_euclid(MILLIS)).unwrap_or_default())
    }

    /// Returns the day with this number, where 1970-01-01 is 0, or `None` outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub fn from_number(number: i32) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    /// Returns the number of days since 1970-01-01, which is negative before it.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Returns the time at which the day begins.
    pub fn start(self) -> Timestamp {
        Timestamp::saturating_from_millis(i64::from(self.0) * MILLIS)
    }

    /// Returns the day `days` later, or earlier if it is negative. It is at most [`MAX`](Self::MAX) and at least
    /// [`MIN`](Self::MIN).
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Returns the first day of its month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        self.date().map_or(self, |date| Self(self.0 - i32::from(date.day()) + 1))
    }

    fn date(self) -> Option<Date> {
        UnixEpochDay::new(self.0).ok().map(UnixEpochDay::to_date)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(date) = self.date() else { return write!(f, "{}", self.0) };
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = InvalidField;

    /// Parses a day in the form `2026-11-30`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_date = text.len() == "2026-11-30".len();
        let time = is_date.then(|| [text, "T00:00:00Z"].concat());
        let time = time.and_then(|time| time.parse().ok());
        time.map(Self::of).ok_or(InvalidField::malformed(
            Field::Day,
            "a day between the years 1 and 9999, such as `2026-11-30`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn day_is_that_of_utc() {
        for (millis, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (MILLIS - 1, "1970-01-01"),
            (MILLIS, "1970-01-02"),
            (Timestamp::MIN.as_millis(), "0001-01-01"),
            (Timestamp::MAX.as_millis(), "9999-12-31"),
        ] {
            let day = Day::of(Timestamp::saturating_from_millis(millis));
            assert_eq!(day.to_string(), text);
            assert_eq!(text.parse::<Day>().unwrap(), day);
        }
        assert_eq!(Day::of(Timestamp::MIN), Day::MIN);
        assert_eq!(Day::of(Timestamp::MAX), Day::MAX);
        assert_eq!(Day::MAX.plus(1), Day::MAX);
        assert_eq!(Day::from_number(Day::MAX.0 + 1), None);
    }

    #[test]
    fn months_are_whole() {
        for (from, to, first, last) in [
            ("2026-11-30", "2026-11-30", "2026-11-01", "2026-11-30"),
            ("2024-02-29", "2024-02-01", "2024-02-01", "2024-02-29"),
            ("2025-12-31", "2026-01-01", "2025-12-01", "2026-01-31"),
            ("0001-01-01", "9999-12-01", "0001-01-01", "9999-12-31"),
        ] {
            let span = Span::months(from.parse().unwrap(), to.parse().unwrap());
            assert_eq!((span.from.to_string(), span.to.to_string()), (first.into(), last.into()));
        }
    }

    #[test]
    fn malformed_day_is_refused() {
        for text in
            ["", "2026-11-3", "2026-11-31", "0000-01-01", "2026-11-30 ", "+026-11-30", "２026-11-3"]
        {
            text.parse::<Day>().unwrap_err();
        }
    }
}
