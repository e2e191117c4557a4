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

use alloc::vec::Vec;

use super::usage::{blob, tenant_of};
use crate::{
    store::{StoreError, UsedWindow},
    tier::{Period, Window},
    time::Timestamp,
};

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

/// Returns the end, the tenant and the period after which a page of windows begins. No tenant has an empty id, so without
/// `after` it begins with the first window that ends after `ended`.
pub(in crate::store) fn start(ended: Timestamp, after: Option<&UsedWindow>) -> (i64, Vec<u8>, i64) {
    after.map_or((ended.as_millis() + 1, Vec::new(), 0), |after| {
        let Place { ends_at, period } = Place::of(after.window);
        (ends_at, blob(&after.tenant), period)
    })
}

/// Returns a row with all of its columns.
pub(in crate::store) fn used_window(
    tenant: &[u8],
    Place { ends_at, period }: Place,
    used: i64,
) -> Result<UsedWindow, StoreError> {
    let window = || {
        let end = Timestamp::from_millis(ends_at)?;
        Window::ending(Period::from_number(u32::try_from(period).ok()?), end)
    };
    match (tenant_of(tenant), window()) {
        (Some(tenant), Some(window)) => Ok(UsedWindow { tenant, window, used: number(used) }),
        _ => Err(StoreError::unavailable("a row of the limits cannot be read")),
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
