//! Durations in error messages.

use core::{fmt, time::Duration};

/// Displays a duration in the largest unit that divides it evenly.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "day"), (3_600_000, "hour"), (1_000, "second")];
        let whole = units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "millisecond"));
        let plural = if millis / unit == 1 { "" } else { "s" };
        write!(f, "{} {name}{plural}", millis / unit)
    }
}
