//! The text of timestamps: RFC 3339, section 5.6.

use core::{fmt, str::FromStr};

use jiff_core::civil::{Date, UnixEpochDay};

use super::Timestamp;
use crate::field::{Field, InvalidField};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// RFC 3339 in UTC, such as `2026-11-22T09:30:00Z`. A fraction of a second is written without zeros at its end.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0;
        // Every timestamp is in the range of `UnixEpochDay`, the years -9999 to 9999.
        let day = i32::try_from(millis.div_euclid(DAY)).map(UnixEpochDay::new);
        let Ok(Ok(day)) = day else { return write!(f, "{millis}ms") };
        let date = day.to_date();
        let (year, month, day) = (date.year(), date.month(), date.day());
        let time = millis.rem_euclid(DAY);
        let (hour, minute, second) = (time / HOUR, time / MINUTE % 60, time / SECOND % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match time % SECOND {
            0 => {}
            tenths if tenths % 100 == 0 => write!(f, ".{}", tenths / 100)?,
            hundredths if hundredths % 10 == 0 => write!(f, ".{:02}", hundredths / 10)?,
            thousandths => write!(f, ".{thousandths:03}")?,
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidField;

    /// Parses RFC 3339 with any offset. Digits finer than a millisecond are dropped. A leap second is read as
    /// the second before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).and_then(Self::from_millis).ok_or(InvalidField::malformed(
            Field::Time,
            "an RFC 3339 time between the years 1 and 9999, such as `2026-11-22T09:30:00Z`",
        ))
    }
}

fn parse(text: &[u8]) -> Option<i64> {
    let (date, text) = text.split_first_chunk::<11>()?;
    let (time, text) = text.split_first_chunk::<8>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' '] = *date else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = *time else { return None };
    let year = i16::try_from(number(&[y1, y2, y3, y4], 9_999)?).ok()?;
    let month = i8::try_from(number(&[m1, m2], 12)?).ok()?;
    let day = i8::try_from(number(&[d1, d2], 31)?).ok()?;
    let day = Date::new(year, month, day).ok()?.to_unix_epoch_day().day();
    let time = number(&[h1, h2], 23)? * HOUR
        + number(&[n1, n2], 59)? * MINUTE
        + number(&[s1, s2], 60)?.min(59) * SECOND;
    let (fraction, offset) = millis(text)?;
    let offset = match *offset {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let offset = number(&[h1, h2], 23)? * HOUR + number(&[m1, m2], 59)? * MINUTE;
            if sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    Some(i64::from(day) * DAY + time + fraction - offset)
}

/// Reads a fraction of a second if `text` begins with one. Returns its milliseconds, and the text after it.
fn millis(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', text @ ..] = text else { return Some((0, text)) };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let digit = |at: usize| digits.get(at).map_or(0, |digit| i64::from(digit - b'0'));
    (length > 0).then(|| (digit(0) * 100 + digit(1) * 10 + digit(2), rest))
}

/// Reads a number of decimal digits that is at most `max`.
fn number(digits: &[u8], max: i64) -> Option<i64> {
    let number = digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })?;
    (number <= max).then_some(number)
}

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
