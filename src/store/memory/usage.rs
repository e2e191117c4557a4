//! The usage in memory.

use alloc::{collections::BTreeMap, vec::Vec};

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
    /// Returns the counts of a span by period and key.
    fn in_span(&self, span: Span) -> BTreeMap<(Day, KeyId), Counts> {
        let Span { from, to, period } = span;
        let mut found = BTreeMap::new();
        if from > to {
            return found;
        }
        let end = (to, KeyId::GREATEST);
        for (&(day, key), &counts) in self.days.range((from, KeyId::LEAST)..=end) {
            let day = match period {
                Period::Day => day,
                Period::Month => day.first_of_month(),
            };
            add(&mut found, day, key, counts);
        }
        if period == Period::Month {
            for (&(month, key), &counts) in self.months.range((from, KeyId::LEAST)..=end) {
                add(&mut found, month, key, counts);
            }
        }
        found.retain(|_, counts| *counts != Counts::ZERO);
        found
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
        let tables = self.tables();
        let rows = tables.usage.tenants.get(tenant).map(|rows| rows.in_span(span));
        let rows = rows.into_iter().flatten().filter(|((_, key), _)| keys.contains(key));
        let row = |((day, key), counts)| KeyUsage { tenant: tenant.clone(), key, day, counts };
        Ok(rows.map(row).collect())
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        let tables = self.tables();
        let mut days: Vec<DayUsage> = Vec::new();
        let rows = tables.usage.tenants.get(tenant).map(|rows| rows.in_span(span));
        for ((day, _), counts) in rows.into_iter().flatten() {
            match days.last_mut() {
                Some(last) if last.day == day => last.counts = last.counts.plus(counts),
                _ => days.push(DayUsage { day, counts }),
            }
        }
        Ok(days)
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        Ok(self.tables().usage.roll_up(days, months))
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.tables().usage.tenants.remove(tenant);
        Ok(())
    }
}
