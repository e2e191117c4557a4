//! The used units of allowances in SQL.
//!
//! | `limits` | |
//! |---|---|
//! | `tenant` | the text as bytes |
//! | `ends_at` | the end of the window in milliseconds |
//! | `period` | the length of the window in seconds, or 0 for a month |
//! | `used` | the units that are used or leased, from 0 to 2^63 - 1 |
//! | `granted` | the units of the last lease |
//!
//! The primary key is `tenant`, `ends_at`, `period`. An index over `ends_at` finds the windows that are purged.

use crate::tier::Window;

/// The columns of a window.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Place {
    pub(in crate::store) ends_at: i64,
    pub(in crate::store) period: i64,
}

impl Place {
    pub(in crate::store) fn of(window: Window) -> Self {
        Self { ends_at: window.end().as_millis(), period: window.number().into() }
    }
}

/// Converts units for SQL. Units that do not fit become the most that do.
pub(in crate::store) fn column(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// Converts units from SQL. A negative number was written by another program and is none.
pub(in crate::store) fn number(units: i64) -> u64 {
    u64::try_from(units).unwrap_or(0)
}
