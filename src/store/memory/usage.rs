//! The usage in memory.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{num::NonZeroUsize, ops::Bound};

use super::MemoryStore;
use crate::{
    record::TenantId,
    store::{StoreError, UsageStore},
    token::KeyId,
    usage::{Counts, Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

/// The rows of usage, in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct UsageTable {
    tenants: BTreeMap<TenantId, Rows>,
    /// The last flush of each node: its number and its day.
    nodes: BTreeMap<u128, (u64, Day)>,
}

#[derive(Debug, Default)]
struct Rows {
    days: BTreeMap<(Day, KeyId), Counts>,
    /// The months, without the days that are still stored.
    months: BTreeMap<(Day, KeyId), Counts>,
}

impl UsageTable {
    fn add(&mut self, flush: &UsageFlush) {
        let node = self.nodes.entry(flush.node).or_insert((0, flush.day));
        if flush.number <= node.0 {
            return;
        }
        *node = (flush.number, flush.day);
        for row in &flush.rows {
            let rows = self.tenants.entry(row.tenant.clone()).or_default();
            add(&mut rows.days, row.day, row.key, row.counts);
        }
    }

    fn roll_up(&mut self, days: Day, months: Day) -> u64 {
        let mut deleted = 0;
        for rows in self.tenants.values_mut() {
            let kept = rows.days.split_off(&(days, KeyId::LEAST));
            for ((day, key), counts) in core::mem::replace(&mut rows.days, kept) {
                add(&mut rows.months, day.first_of_month(), key, counts);
                deleted += 1;
            }
            let kept = rows.months.split_off(&(months, KeyId::LEAST));
            deleted += core::mem::replace(&mut rows.months, kept).len() as u64;
        }
        self.tenants.retain(|_, rows| !rows.days.is_empty() || !rows.months.is_empty());
        self.nodes.retain(|_, (_, day)| *day >= days);
        deleted
    }
}

impl Rows {
    fn table(&self, period: Period) -> &BTreeMap<(Day, KeyId), Counts> {
        match period {
            Period::Day => &self.days,
            Period::Month => &self.months,
        }
    }

    /// Returns the counts of a span, each with its period and key. A period and key may come several times.
    fn in_span(&self, span: Span) -> impl Iterator<Item = (Day, KeyId, Counts)> {
        let Span { from, to, period } = span;
        let months = (period == Period::Month).then_some(&self.months);
        // A map has no range that ends before it begins.
        let tables = (from <= to).then_some([Some(&self.days), months]);
        let tables = tables.into_iter().flatten().flatten();
        let rows =
            tables.flat_map(move |rows| rows.range((from, KeyId::LEAST)..=(to, KeyId::GREATEST)));
        rows.map(move |(&(day, key), &counts)| match period {
            Period::Day => (day, key, counts),
            Period::Month => (day.first_of_month(), key, counts),
        })
    }
}

fn add(rows: &mut BTreeMap<(Day, KeyId), Counts>, day: Day, key: KeyId, counts: Counts) {
    let stored = rows.entry((day, key)).or_default();
    *stored = stored.plus(counts);
}

impl UsageStore for MemoryStore {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        self.tables().usage.add(flush);
        Ok(())
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let keys: BTreeSet<KeyId> = keys.iter().copied().collect();
        let mut sums = BTreeMap::new();
        if let Some(rows) = self.tables().usage.tenants.get(tenant) {
            for (day, key, counts) in rows.in_span(span).filter(|(_, key, _)| keys.contains(key)) {
                add(&mut sums, day, key, counts);
            }
        }
        sums.retain(|_, counts| *counts != Counts::ZERO);
        let row = |((day, key), counts)| KeyUsage { tenant: tenant.clone(), key, day, counts };
        Ok(sums.into_iter().map(row).collect())
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        let mut sums: BTreeMap<Day, Counts> = BTreeMap::new();
        if let Some(rows) = self.tables().usage.tenants.get(tenant) {
            for (day, _, counts) in rows.in_span(span) {
                let sum = sums.entry(day).or_default();
                *sum = sum.plus(counts);
            }
        }
        sums.retain(|_, counts| *counts != Counts::ZERO);
        Ok(sums.into_iter().map(|(day, counts)| DayUsage { day, counts }).collect())
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        Ok(self.tables().usage.roll_up(days, months))
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.tables().usage.tenants.remove(tenant);
        Ok(())
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let tables = self.tables();
        let first = after.map_or(Bound::Unbounded, |after| Bound::Included(&after.tenant));
        let tenants = tables.usage.tenants.range::<TenantId, _>((first, Bound::Unbounded));
        let rows = tenants.flat_map(|(tenant, rows)| {
            let after = after.filter(|after| after.tenant == *tenant);
            let first = after.map_or(Bound::Unbounded, |row| Bound::Excluded((row.day, row.key)));
            let rows = rows.table(period).range((first, Bound::Unbounded));
            rows.map(|(&(day, key), &counts)| KeyUsage { tenant: tenant.clone(), key, day, counts })
        });
        Ok(rows.take(limit.get()).collect())
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for row in rows {
            let stored = tables.usage.tenants.entry(row.tenant.clone()).or_default();
            let table = match period {
                Period::Day => &mut stored.days,
                Period::Month => &mut stored.months,
            };
            let counts = table.entry((row.day, row.key)).or_default();
            *counts = counts.most(row.counts);
        }
        Ok(())
    }
}
