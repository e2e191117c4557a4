//! The used units of allowances in memory.

use alloc::{collections::BTreeMap, vec::Vec};
use core::num::NonZeroUsize;

use super::MemoryStore;
use crate::{
    record::TenantId,
    store::{Leased, LimitStore, StoreError, UsedWindow},
    tier::{Period, Window},
    time::Timestamp,
};

/// The used units of each tenant, by the end of the window and the number of its period.
pub(super) type LimitTable = BTreeMap<TenantId, BTreeMap<(Timestamp, u32), u64>>;

fn place(window: Window) -> (Timestamp, u32) {
    (window.end(), window.number())
}

impl LimitStore for MemoryStore {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        let mut tables = self.tables();
        let windows = tables.limits.entry(tenant.clone()).or_default();
        let used = windows.entry(place(window)).or_default();
        let granted = want.min(limit.saturating_sub(*used));
        *used += granted;
        Ok(Leased { granted, used: *used })
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let windows = tables.limits.get_mut(tenant);
        if let Some(used) = windows.and_then(|windows| windows.get_mut(&place(window))) {
            *used = used.saturating_sub(units);
        }
        Ok(())
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        let tables = self.tables();
        let stored = tables.limits.get(tenant);
        let used = |window: &Window| stored.and_then(|stored| stored.get(&place(*window)).copied());
        Ok(windows.iter().map(|window| used(window).unwrap_or_default()).collect())
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let mut purged = 0;
        for windows in tables.limits.values_mut() {
            let before = windows.len();
            windows.retain(|(end, _), _| *end > ended);
            purged += (before - windows.len()) as u64;
        }
        tables.limits.retain(|_, windows| !windows.is_empty());
        Ok(purged)
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.tables().limits.remove(tenant);
        Ok(())
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        let tables = self.tables();
        let after = after.map(|after| (after.window.end(), &after.tenant, after.window.number()));
        let mut rows: Vec<_> = tables
            .limits
            .iter()
            .flat_map(|(tenant, windows)| {
                windows.iter().map(move |(&(end, number), used)| ((end, tenant, number), *used))
            })
            .filter(|(place, _)| place.0 > ended && after.is_none_or(|after| *place > after))
            .collect();
        rows.sort_unstable();
        let rows = rows.into_iter().filter_map(|((end, tenant, number), used)| {
            // Each window was stored as one, so it has this end.
            let window = Window::ending(Period::from_number(number), end)?;
            Some(UsedWindow { tenant: tenant.clone(), window, used })
        });
        Ok(rows.take(limit.get()).collect())
    }
}
