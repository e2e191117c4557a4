//! Copies the usage from one store to another.

use core::num::NonZeroUsize;

use super::CopyError;
use crate::{
    record::TenantId,
    store::UsageStore,
    token::KeyId,
    usage::{Counts, Day, KeyUsage, Period},
};

/// The number of rows that are read and written at once.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Copies the usage of all keys and tenants from `from` to `to`: the days, and the months into which days were rolled up.
/// Keys that have been deleted keep theirs. Returns the number of rows of days and months that are now in both stores.
///
/// Stop everything that writes to either store first. After an error or a crash, call `copy_usage` again: counts are raised
/// to those of the source store and never added, so nothing counts twice.
///
/// Call it before the first node counts in the target store. A count there that is smaller than that of the source is taken
/// for a part of it, and replaced. A larger one, or a row that the source does not have, is an error.
///
/// ```
/// use keyway::{MemoryStore, store::copy_usage};
///
/// # pollster::block_on(async {
/// let (from, to) = (MemoryStore::new(), MemoryStore::new());
/// let rows = copy_usage(&from, &to).await?;
/// println!("{rows} rows of usage");
/// # Ok::<(), keyway::store::CopyError>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`CopyError::From`], [`CopyError::To`] or [`CopyError::UsageDiffers`].
pub async fn copy_usage(from: &impl UsageStore, to: &impl UsageStore) -> Result<u64, CopyError> {
    let mut rows = 0;
    for period in [Period::Day, Period::Month] {
        let mut after: Option<KeyUsage> = None;
        loop {
            let page =
                from.usage_rows(period, after.as_ref(), PAGE).await.map_err(CopyError::From)?;
            if !page.is_empty() {
                to.raise_usage(period, &page).await.map_err(CopyError::To)?;
            }
            // After the last page of the source store, the target must have no further row.
            let limit = NonZeroUsize::new(page.len()).unwrap_or(NonZeroUsize::MIN);
            let there =
                to.usage_rows(period, after.as_ref(), limit).await.map_err(CopyError::To)?;
            if let Some(tenant) = difference(&page, &there) {
                return Err(CopyError::UsageDiffers(tenant.clone()));
            }
            rows += page.len() as u64;
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    Ok(rows)
}

/// Returns the tenant of the first row that is not the same in both lists.
fn difference<'r>(page: &'r [KeyUsage], there: &'r [KeyUsage]) -> Option<&'r TenantId> {
    let mut rows = (0..page.len().max(there.len())).map(|at| (page.get(at), there.get(at)));
    let different = rows.find(|(row, there)| row.map(kept) != there.map(kept));
    // The rows are in order. So the first one of both is missing in the other list, or has other counts there.
    different.and_then(|(row, there)| row.into_iter().chain(there).map(|row| &row.tenant).min())
}

/// Returns what must be equal in both stores. A store keeps counts up to 2^63 - 1 at least.
fn kept(row: &KeyUsage) -> (&TenantId, Day, KeyId, [u64; 3]) {
    let Counts { admitted, forbidden, limited } = row.counts;
    let counts = [admitted, forbidden, limited].map(|count| count.min(i64::MAX.unsigned_abs()));
    (&row.tenant, row.day, row.key, counts)
}
