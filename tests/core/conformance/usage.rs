//! The clauses of the usage, on a store in memory: without faults, and with each fault that a clause names.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard},
};

use keyway::{
    KeyId, TenantId,
    store::{
        StoreError, UsageStore,
        conformance::{Clause, usage_clauses},
    },
    usage::{Counts, Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

use super::controls::panics;
use crate::support::pause;

/// Generates the faults, and the list of those with the clauses that are there for them.
macro_rules! faults {
    ($($fault:ident => $($clause:ident),+;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Fault {
            $($fault),*
        }
        use Fault::*;

        const FAULTS: &[(Fault, &[&str])] = &[$(($fault, &[$(stringify!($clause)),+])),*];
    };
}

faults! {
    SwapsOutcomes => usage_is_read_as_it_was_added;
    FailsForUnknownTenants => an_empty_store_has_no_usage;
    OrdersByTheKey => rows_are_in_order_of_the_day_then_of_the_key;
    ReturnsAllKeys => keys_outside_the_list_are_left_out;
    RepeatsKeys => keys_outside_the_list_are_left_out;
    MixesTenants => usage_stays_with_its_tenant;
    FoldsTenants => usage_stays_with_its_tenant;
    ExcludesTheLastDay => both_ends_of_a_span_are_included;
    TurnsSpans => a_span_that_ends_before_it_begins_is_empty;
    ReturnsEmptyRows => rows_without_requests_are_left_out;
    SumsOnePage => a_tenant_sums_its_keys;
    ForgetsDaysOfMonths => a_month_sums_its_days;
    LosesDaysBefore1970 => the_first_and_the_last_day_are_kept;
    ReplacesCounts => flushes_add_up;
    AddsRepeatedFlushes => a_repeated_flush_adds_nothing;
    ComparesNumbersForEquality => an_older_flush_adds_nothing;
    ShortensNodes => each_node_has_its_own_numbers;
    SharesNumbers => each_node_has_its_own_numbers;
    NeedsTheNextNumber => numbers_may_have_gaps;
    SkipsEmptyFlushes => an_empty_flush_has_a_number;
    CutsFlushes => the_largest_flush_is_added_whole;
    WrapsCounts => huge_counts_stay_at_the_largest;
    AddsToAnOldRead => concurrent_flushes_add_up;
    ChecksTheNumberFirst => of_concurrent_repeats_one_is_added;
    AddsRowByRow => a_dropped_flush_is_whole_or_nothing;
    AdvancesTheNumberFirst => a_dropped_flush_is_whole_or_nothing;
    ForgetsMonths => a_roll_up_keeps_the_counts;
    DeletesDaysOnly => a_roll_up_keeps_the_counts;
    CountsDaysOnly => a_roll_up_counts_its_rows;
    ReplacesMonths => late_days_are_added_to_their_month;
    KeepsOldMonths => old_months_are_deleted;
    ForgetsAllNodes => nodes_are_kept_as_long_as_their_days;
    KeepsAllNodes => nodes_are_kept_as_long_as_their_days;
    RollsUpOnePortion => a_large_roll_up_is_whole;
    DeletesWhatItAddedBefore =>
        concurrent_roll_ups_keep_the_counts,
        reads_beside_a_roll_up_see_every_count;
    DeletesBeforeItAdds =>
        reads_beside_a_roll_up_see_every_count,
        a_dropped_roll_up_loses_no_count;
    DeletesWhatItDidNotRead => flushes_beside_a_roll_up_are_kept;
    DeletesByPrefix => deleting_usage_leaves_other_tenants;
    ForgetsNodesOfDeletedTenants => deleting_usage_leaves_other_tenants;
    DeletesOnePortion => usage_of_a_large_tenant_is_deleted_whole;
    KeepsMonthsOfDeletedTenants =>
        usage_of_a_large_tenant_is_deleted_whole,
        deleting_usage_leaves_other_tenants;
    ReadsRowsByTheDay => rows_of_all_tenants_are_read_in_pages;
    RepeatsTheLastRow => rows_of_all_tenants_are_read_in_pages;
    SkipsRowsOfTheLastTenant => rows_of_all_tenants_are_read_in_pages;
    ReadsDaysAsMonths => rows_of_months_are_apart_from_their_days;
    RaisesByAdding => raised_counts_are_the_larger_ones;
    RaisesByReplacing => raised_counts_are_the_larger_ones;
    RaisesDaysOnly => raised_counts_are_the_larger_ones;
    RaisesOnePortion => a_large_raise_is_whole;
}

type Place = (String, Day, KeyId);

#[derive(Default)]
struct Tables {
    days: BTreeMap<Place, Counts>,
    months: BTreeMap<Place, Counts>,
    nodes: BTreeMap<u128, (u64, Day)>,
}

/// A store of usage with at most one fault.
struct Planted {
    fault: Option<Fault>,
    tables: Mutex<Tables>,
}

/// As many rows as a faulty store reads or writes at once.
const PORTION: usize = 500;

fn wrapping(one: Counts, other: Counts) -> Counts {
    Counts {
        admitted: one.admitted.wrapping_add(other.admitted),
        forbidden: one.forbidden.wrapping_add(other.forbidden),
        limited: one.limited.wrapping_add(other.limited),
    }
}

impl Planted {
    fn with(fault: Option<Fault>) -> Self {
        Self { fault, tables: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    fn place(&self, row: &KeyUsage) -> Place {
        let tenant = row.tenant.as_str();
        let tenant = match self.fault {
            Some(FoldsTenants) => tenant.to_lowercase(),
            _ => tenant.to_owned(),
        };
        (tenant, row.day, row.key)
    }

    fn add(&self, rows: &mut BTreeMap<Place, Counts>, place: Place, counts: Counts) {
        let stored = rows.entry(place).or_default();
        *stored = match self.fault {
            Some(ReplacesCounts) => counts,
            Some(WrapsCounts) => wrapping(*stored, counts),
            _ => stored.plus(counts),
        };
    }

    /// Advances the number of the node. Returns whether the flush is new.
    fn advance(&self, tables: &mut Tables, flush: &UsageFlush) -> bool {
        let node = match self.fault {
            Some(ShortensNodes) => flush.node & u128::from(u64::MAX),
            Some(SharesNumbers) => 0,
            _ => flush.node,
        };
        let last = tables.nodes.get(&node).map_or(0, |(number, _)| *number);
        let is_new = match self.fault {
            Some(AddsRepeatedFlushes) => true,
            Some(ComparesNumbersForEquality) => flush.number != last,
            Some(NeedsTheNextNumber) => flush.number == last + 1,
            _ => flush.number > last,
        };
        if is_new {
            tables.nodes.insert(node, (flush.number, flush.day));
        }
        is_new
    }

    /// Returns the rows of a tenant in a span, by period and key.
    fn rows(&self, tenant: &TenantId, span: Span) -> Vec<(Day, KeyId, Counts)> {
        let Span { mut from, mut to, period } = span;
        if self.has(TurnsSpans) && from > to {
            (from, to) = (to, from);
        }
        let tables = self.tables();
        let tenant = if self.has(FoldsTenants) {
            tenant.as_str().to_lowercase()
        } else {
            tenant.as_str().to_owned()
        };
        let (days, months) = (tables.days.iter(), tables.months.iter());
        let is_month = period == Period::Month;
        let days = days.filter(|_| !(is_month && self.has(ForgetsDaysOfMonths)));
        let months = months.filter(|_| is_month && !self.has(ForgetsMonths));
        let mut found = BTreeMap::new();
        for ((holder, day, key), counts) in days.chain(months) {
            let is_within = *day >= from
                && (*day < to || *day == to && !self.has(ExcludesTheLastDay))
                && !(self.has(LosesDaysBefore1970) && day.number() < 0);
            if is_within && (*holder == tenant || self.has(MixesTenants)) {
                let day = if is_month { day.first_of_month() } else { *day };
                self.add(&mut found, (String::new(), day, *key), *counts);
            }
        }
        if !self.has(ReturnsEmptyRows) {
            found.retain(|_, counts| *counts != Counts::ZERO);
        }
        found.into_iter().map(|((_, day, key), counts)| (day, key, counts)).collect()
    }

    fn check_known(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let is_known = self.tables().days.keys().any(|(holder, ..)| holder == tenant.as_str());
        if self.has(FailsForUnknownTenants) && !is_known {
            return Err(StoreError::unavailable("no such tenant"));
        }
        Ok(())
    }

    fn add_to_months(&self, tables: &mut Tables, days: &BTreeMap<Place, Counts>) {
        if self.has(DeletesDaysOnly) {
            return;
        }
        let mut sums = BTreeMap::new();
        for ((tenant, day, key), counts) in days {
            self.add(&mut sums, (tenant.clone(), day.first_of_month(), *key), *counts);
        }
        for (place, counts) in sums {
            if self.has(ReplacesMonths) {
                tables.months.insert(place, counts);
            } else {
                self.add(&mut tables.months, place, counts);
            }
        }
    }
}

impl UsageStore for Planted {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        pause().await;
        let mut rows = flush.rows.clone();
        match self.fault {
            Some(CutsFlushes) => rows.truncate(PORTION),
            Some(SkipsEmptyFlushes) if rows.is_empty() => return Ok(()),
            Some(AddsToAnOldRead | ChecksTheNumberFirst | AdvancesTheNumberFirst) => {
                let old: Vec<_> = {
                    let mut tables = self.tables();
                    // The number is advanced after the pause, or the rows are written after it.
                    let mut copy = Tables { nodes: tables.nodes.clone(), ..Tables::default() };
                    let checked =
                        if self.has(ChecksTheNumberFirst) { &mut copy } else { &mut *tables };
                    if !self.advance(checked, flush) {
                        return Ok(());
                    }
                    rows.iter().map(|row| tables.days.get(&self.place(row)).copied()).collect()
                };
                pause().await;
                let mut tables = self.tables();
                if self.has(ChecksTheNumberFirst) {
                    self.advance(&mut tables, flush);
                }
                for (row, old) in rows.iter().zip(old) {
                    if self.has(AddsToAnOldRead) {
                        let sum = old.unwrap_or_default().plus(row.counts);
                        tables.days.insert(self.place(row), sum);
                    } else {
                        self.add(&mut tables.days, self.place(row), row.counts);
                    }
                }
                return Ok(());
            }
            Some(AddsRowByRow) => {
                for row in &rows {
                    self.add(&mut self.tables().days, self.place(row), row.counts);
                    pause().await;
                }
                self.advance(&mut self.tables(), flush);
                return Ok(());
            }
            _ => {}
        }
        let mut tables = self.tables();
        if self.advance(&mut tables, flush) {
            for row in &rows {
                self.add(&mut tables.days, self.place(row), row.counts);
            }
        }
        Ok(())
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        pause().await;
        self.check_known(tenant)?;
        let mut rows = Vec::new();
        for (day, key, counts) in self.rows(tenant, span) {
            let mut times = keys.iter().filter(|named| **named == key).count();
            if !self.has(RepeatsKeys) {
                times = times.min(1);
            }
            if self.has(ReturnsAllKeys) {
                times = 1;
            }
            let mut row = KeyUsage { tenant: tenant.clone(), key, day, counts };
            if self.has(SwapsOutcomes) {
                core::mem::swap(&mut row.counts.forbidden, &mut row.counts.limited);
            }
            rows.extend(core::iter::repeat_n(row, times));
        }
        if self.has(OrdersByTheKey) {
            rows.sort_by_key(|row| row.key);
        }
        Ok(rows)
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        pause().await;
        self.check_known(tenant)?;
        let mut rows = self.rows(tenant, span);
        if self.has(SumsOnePage) {
            rows.truncate(PORTION);
        }
        let mut days: BTreeMap<Day, Counts> = BTreeMap::new();
        for (day, _, counts) in rows {
            let sum = days.entry(day).or_default();
            *sum = sum.plus(counts);
        }
        Ok(days.into_iter().map(|(day, counts)| DayUsage { day, counts }).collect())
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        pause().await;
        let mut old = self.tables().days.clone();
        old.retain(|(_, day, _), _| *day < days);
        if self.has(RollsUpOnePortion) {
            old = old.into_iter().take(PORTION).collect();
        }
        let is_before = |(_, day, _): &Place| *day < days;
        match self.fault {
            Some(DeletesWhatItAddedBefore) => {
                self.add_to_months(&mut self.tables(), &old);
                pause().await;
                self.tables().days.retain(|place, _| !is_before(place));
            }
            Some(DeletesBeforeItAdds) => {
                self.tables().days.retain(|place, _| !is_before(place));
                pause().await;
                self.add_to_months(&mut self.tables(), &old);
            }
            Some(DeletesWhatItDidNotRead) => {
                pause().await;
                let mut tables = self.tables();
                self.add_to_months(&mut tables, &old);
                tables.days.retain(|place, _| !is_before(place));
            }
            _ => {
                let mut tables = self.tables();
                self.add_to_months(&mut tables, &old);
                tables.days.retain(|place, _| !old.contains_key(place));
            }
        }
        let mut tables = self.tables();
        let held = tables.months.len();
        if !self.has(KeepsOldMonths) {
            tables.months.retain(|(_, day, _), _| *day >= months);
        }
        let forgotten = held - tables.months.len();
        match self.fault {
            Some(KeepsAllNodes) => {}
            Some(ForgetsAllNodes) => tables.nodes.clear(),
            _ => tables.nodes.retain(|_, (_, day)| *day >= days),
        }
        let counted = if self.has(CountsDaysOnly) { 0 } else { forgotten };
        Ok((old.len() + counted) as u64)
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        pause().await;
        let mut left = if self.has(DeletesOnePortion) { PORTION } else { usize::MAX };
        let mut keeps = |(holder, ..): &Place| {
            let is_deleted = match self.fault {
                Some(DeletesByPrefix) => holder.starts_with(tenant.as_str()),
                _ => holder == tenant.as_str(),
            };
            let is_deleted = is_deleted && left > 0;
            left -= usize::from(is_deleted);
            !is_deleted
        };
        let mut tables = self.tables();
        tables.days.retain(|place, _| keeps(place));
        if !self.has(KeepsMonthsOfDeletedTenants) {
            tables.months.retain(|place, _| keeps(place));
        }
        if self.has(ForgetsNodesOfDeletedTenants) {
            tables.nodes.clear();
        }
        Ok(())
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let tables = self.tables();
        let rows = match period {
            Period::Month if !self.has(ReadsDaysAsMonths) => &tables.months,
            _ => &tables.days,
        };
        let row = |((tenant, day, key), counts): (&Place, &Counts)| KeyUsage {
            tenant: tenant.parse().unwrap(),
            key: *key,
            day: *day,
            counts: *counts,
        };
        let mut rows: Vec<KeyUsage> = rows.iter().map(row).collect();
        if self.has(ReadsRowsByTheDay) {
            rows.sort_by_key(|row| row.day);
        }
        let start = after.and_then(|after| rows.iter().position(|row| row == after));
        let start = start.map_or(0, |last| last + usize::from(!self.has(RepeatsTheLastRow)));
        let skipped = after.filter(|_| self.has(SkipsRowsOfTheLastTenant));
        let rows = rows.into_iter().skip(start);
        let rows = rows.filter(|row| skipped.is_none_or(|skipped| row.tenant != skipped.tenant));
        Ok(rows.take(limit.get()).collect())
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let table = match period {
            Period::Month if !self.has(RaisesDaysOnly) => &mut tables.months,
            _ => &mut tables.days,
        };
        let most = if self.has(RaisesOnePortion) { PORTION } else { usize::MAX };
        for row in rows.iter().take(most) {
            let stored = table.entry(self.place(row)).or_default();
            *stored = match self.fault {
                Some(RaisesByAdding) => stored.plus(row.counts),
                Some(RaisesByReplacing) => row.counts,
                _ => Counts {
                    admitted: stored.admitted.max(row.counts.admitted),
                    forbidden: stored.forbidden.max(row.counts.forbidden),
                    limited: stored.limited.max(row.counts.limited),
                },
            };
        }
        Ok(())
    }
}

fn fails(clause: &Clause<Planted>, fault: Option<Fault>) -> bool {
    panics(|| pollster::block_on(clause.run(&Planted::with(fault))))
}

#[test]
fn usage_store_without_a_fault_keeps_every_clause() {
    for clause in usage_clauses() {
        assert!(!fails(&clause, None), "{clause:?}");
    }
}

#[test]
fn each_fault_of_a_usage_store_is_caught_by_its_clauses() {
    let clauses = usage_clauses();
    let mut missed = Vec::new();
    for (fault, named) in FAULTS {
        for name in *named {
            let clause = clauses.iter().find(|clause| clause.name() == *name).unwrap();
            if !fails(clause, Some(*fault)) {
                missed.push((fault, name));
            }
        }
    }
    assert!(missed.is_empty(), "these clauses pass on a store with the fault: {missed:#?}");
}

#[test]
fn every_clause_of_the_usage_catches_a_fault() {
    let caught: BTreeSet<_> = FAULTS.iter().flat_map(|(_, named)| *named).copied().collect();
    assert_eq!(caught, usage_clauses::<Planted>().iter().map(Clause::name).collect());
}
