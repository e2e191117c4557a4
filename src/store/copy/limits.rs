//! Copies the used units of allowances from one store to another.

use core::num::NonZeroUsize;

use super::CopyError;
use crate::{
    store::{LimitStore, UsedWindow},
    time::{Clock as _, SystemClock, Timestamp},
};

/// The number of windows that are read at once.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// How long a window is copied after its end, in milliseconds. A node whose clock is behind may still count in it.
const MARGIN: i64 = 60 * 60 * 1_000;

/// Copies the used units of [allowances](crate::allowance) from `from` to `to`, of all tenants. Returns the number of windows
/// that are now in both stores. Windows that ended more than an hour ago, by the clock of this machine, are left out.
///
/// Without it, each tenant gets its whole allowance again after a move.
///
/// Stop everything that writes to either store first. After an error or a crash, call `copy_limits` again: units are raised
/// to those of the source store and never added, so nothing counts twice. After it, no copied window has fewer used units in
/// the target than in the source. If it had more of them, it keeps them.
///
/// Units that a node had leased and not returned when it was stopped count as used in the target too.
///
/// ```
/// use keyway::{MemoryStore, store::copy_limits};
///
/// # pollster::block_on(async {
/// let (from, to) = (MemoryStore::new(), MemoryStore::new());
/// let windows = copy_limits(&from, &to).await?;
/// println!("{windows} windows of allowances");
/// # Ok::<(), keyway::store::CopyError>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`CopyError::From`], [`CopyError::To`] or [`CopyError::FewerUnits`].
pub async fn copy_limits(from: &impl LimitStore, to: &impl LimitStore) -> Result<u64, CopyError> {
    let now = SystemClock.moment().now.as_millis();
    let ended = Timestamp::saturating_from_millis(now.saturating_sub(MARGIN));
    let (mut windows, mut after) = (0, None::<UsedWindow>);
    loop {
        let page = from.used_windows(ended, after.as_ref(), PAGE).await.map_err(CopyError::From)?;
        for window in &page {
            raise(to, window).await?;
        }
        windows += page.len() as u64;
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(windows),
        }
    }
}

/// INVARIANT: the units are leased with themselves as the limit. So a lease adds what is missing in one step, and a repeated
/// one adds nothing. With another limit, a repeated copy would count units twice.
async fn raise(to: &impl LimitStore, window: &UsedWindow) -> Result<(), CopyError> {
    let UsedWindow { tenant, window, used } = window;
    to.lease_units(tenant, *window, *used, *used).await.map_err(CopyError::To)?;
    let there = to.used_units(tenant, &[*window]).await.map_err(CopyError::To)?;
    // A store counts up to 2^63 - 1 at least, and grants nothing above the largest number that it can hold.
    let least = (*used).min(i64::MAX.unsigned_abs());
    if there.first().is_none_or(|there| *there < least) {
        return Err(CopyError::FewerUnits(tenant.clone()));
    }
    Ok(())
}
