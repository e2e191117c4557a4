//! Times and durations as operators write them.

use std::time::Duration;

use keyway::{
    Timestamp,
    time::{Clock as _, SystemClock},
};

/// Returns the present time.
pub fn now() -> Timestamp {
    SystemClock.moment().now
}

/// Reads a duration, such as `90d`, `12h`, `30m` or `45s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a duration such as `90d`, `12h`, `30m` or `45s`");
    let unit = text.chars().last().ok_or_else(problem)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(problem()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem());
    }
    let number: u64 = number.parse().map_err(|_| problem())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(problem)
}

/// Returns a duration in its largest whole unit, such as `90 days`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "0 seconds".into(),
        _ if seconds.is_multiple_of(86_400) => format!("{} days", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{} hours", seconds / 3_600),
        _ => format!("{seconds} seconds"),
    }
}

/// Reads a time in RFC 3339, or a duration from now, such as `30d`.
pub fn from_now(text: &str) -> Result<Timestamp, String> {
    if let Ok(duration) = duration(text) {
        return Ok(now().checked_add(duration).unwrap_or(Timestamp::MAX));
    }
    text.parse().map_err(|error| format!("{error}, or a duration from now such as `30d`"))
}

/// Reads a time in RFC 3339, or a duration before now, such as `90d`.
pub fn ago(text: &str) -> Result<Timestamp, String> {
    if let Ok(duration) = duration(text) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::saturating_from_millis(now().as_millis().saturating_sub(millis)));
    }
    text.parse().map_err(|error| format!("{error}, or a duration before now such as `90d`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_each_unit() {
        for (text, seconds) in [("2d", 172_800), ("3h", 10_800), ("4m", 240), ("5s", 5)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "d", "5", "-5d", "+5d", "5w", "99999999999999999999d", "1 d", "５d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
