//! The clauses of the limits, on a store in memory: without faults, and with each fault that a clause names.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard},
};

use keyway::{
    TenantId, Timestamp,
    allowance::{Period, Window},
    store::{
        Leased, LimitStore, StoreError, UsedWindow,
        conformance::{Clause, limit_clauses},
    },
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
    ReturnsWhatWasUsedBefore => leases_add_up;
    ReplacesUnits => leases_add_up;
    IgnoresTheLimit => a_lease_stops_at_the_limit;
    GrantsAllOrNothing => a_lease_stops_at_the_limit;
    TakesOneForNothing => a_lease_of_nothing_changes_nothing;
    CutsToTheLimit => a_lower_limit_takes_nothing_away;
    IgnoresReturns => returned_units_are_leased_again;
    KeepsCredit => returns_stop_at_zero;
    WrapsAtTheLargest => the_largest_limit_holds;
    ReadsBeforeItLeases => concurrent_leases_stay_within_the_limit;
    ReadsBeforeItReturns => returns_beside_leases_are_counted;
    LeasesUnitByUnit => a_dropped_lease_is_whole_or_nothing;
    MixesPeriods => windows_and_tenants_are_apart;
    MixesTimes => windows_and_tenants_are_apart;
    FoldsTenants => windows_and_tenants_are_apart;
    OrdersByTheEnd => used_units_are_in_order;
    LeavesOutUnused => used_units_are_in_order;
    PurgesTooEarly => a_purge_deletes_what_has_ended;
    PurgesTooLate => a_purge_deletes_what_has_ended;
    MiscountsPurges => a_purge_deletes_what_has_ended;
    PurgesOnePortion => a_large_purge_is_whole;
    DeletesByPrefix => deleting_windows_leaves_other_tenants;
    DeletesNothing => deleting_windows_leaves_other_tenants;
    ReadsByTheTenant => windows_of_all_tenants_are_read_in_pages;
    ReadsTheEnded => windows_of_all_tenants_are_read_in_pages;
    RepeatsTheLastWindow => windows_of_all_tenants_are_read_in_pages;
    SkipsWindowsOfOneEnd => windows_of_all_tenants_are_read_in_pages;
}

type Place = (String, Timestamp, u32);

/// As many rows as a faulty store deletes at once.
const PORTION: usize = 500;

/// A store of limits with at most one fault. Units below zero are credit, which no store should give.
struct Planted {
    fault: Option<Fault>,
    used: Mutex<BTreeMap<Place, i128>>,
}

impl Planted {
    fn with(fault: Option<Fault>) -> Self {
        Self { fault, used: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<Place, i128>> {
        self.used.lock().unwrap()
    }

    fn place(&self, tenant: &TenantId, window: Window) -> Place {
        let tenant = tenant.as_str();
        let tenant = if self.has(FoldsTenants) { tenant.to_lowercase() } else { tenant.to_owned() };
        let end = if self.has(MixesTimes) { Timestamp::MIN } else { window.end() };
        (tenant, end, if self.has(MixesPeriods) { 0 } else { window.number() })
    }
}

impl LimitStore for Planted {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        pause().await;
        let place = self.place(tenant, window);
        let want = if self.has(TakesOneForNothing) { want.max(1) } else { want };
        let before = self.used().get(&place).copied().unwrap_or_default();
        if self.has(ReadsBeforeItLeases) {
            pause().await;
        }
        let before = match self.fault {
            Some(ReadsBeforeItLeases) => before,
            _ => self.used().get(&place).copied().unwrap_or_default(),
        };
        let left = (i128::from(limit) - before).max(0);
        let granted = match self.fault {
            Some(IgnoresTheLimit) => want.into(),
            Some(GrantsAllOrNothing) if left < want.into() => 0,
            _ => left.min(want.into()),
        };
        if self.has(LeasesUnitByUnit) {
            for _ in 0..granted {
                *self.used().entry(place.clone()).or_default() += 1;
                pause().await;
            }
        } else {
            let after = match self.fault {
                Some(ReplacesUnits) => granted,
                Some(CutsToTheLimit) => (before + granted).min(limit.into()),
                Some(WrapsAtTheLargest) => (before + granted) % (1 << 63),
                _ => before + granted,
            };
            self.used().insert(place.clone(), after);
        }
        pause().await;
        let used = match self.fault {
            Some(ReturnsWhatWasUsedBefore) => before,
            _ => self.used()[&place],
        };
        let number = |units: i128| u64::try_from(units.max(0)).unwrap();
        let used = if self.has(ReadsBeforeItLeases) { before + granted } else { used };
        Ok(Leased { granted: number(granted), used: number(used) })
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        pause().await;
        let place = self.place(tenant, window);
        let before = self.used().get(&place).copied().unwrap_or_default();
        if self.has(ReadsBeforeItReturns) {
            pause().await;
        }
        let after = before - i128::from(units);
        match self.fault {
            Some(IgnoresReturns) => {}
            Some(KeepsCredit) => _ = self.used().insert(place, after),
            _ => _ = self.used().insert(place, after.max(0)),
        }
        Ok(())
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        let mut windows = windows.to_vec();
        if self.has(OrdersByTheEnd) {
            windows.sort_by_key(|window| window.end());
        }
        let used = self.used();
        let used = windows.iter().map(|window| used.get(&self.place(tenant, *window)).copied());
        let used = used.filter(|used| !self.has(LeavesOutUnused) || used.is_some());
        Ok(used.map(|used| u64::try_from(used.unwrap_or_default().max(0)).unwrap()).collect())
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        let mut used = self.used();
        let is_over = |end: Timestamp| match self.fault {
            Some(PurgesTooEarly) => end.as_millis() <= ended.as_millis() + 60_000,
            Some(PurgesTooLate) => end < ended,
            _ => end <= ended,
        };
        let over = used.keys().filter(|(_, end, _)| is_over(*end)).cloned();
        let most = if self.has(PurgesOnePortion) { PORTION } else { usize::MAX };
        let over: Vec<Place> = over.take(most).collect();
        for place in &over {
            used.remove(place);
        }
        Ok(if self.has(MiscountsPurges) { 1 } else { over.len() as u64 })
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let is_it = |name: &str| match self.fault {
            Some(DeletesByPrefix) => name.starts_with(tenant.as_str()),
            Some(DeletesNothing) => false,
            _ => name == tenant.as_str(),
        };
        self.used().retain(|(name, ..), _| !is_it(name));
        Ok(())
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        let window = |((tenant, end, number), used): (&Place, &i128)| {
            let period = if *number == 0 { Period::Month } else { Period::Seconds(*number) };
            let last = Timestamp::saturating_from_millis(end.as_millis() - 1);
            UsedWindow {
                tenant: tenant.parse().unwrap(),
                window: Window::of(period, last),
                used: u64::try_from((*used).max(0)).unwrap(),
            }
        };
        let mut windows: Vec<UsedWindow> = self.used().iter().map(window).collect();
        windows.retain(|used| {
            used.window.end() > ended || self.has(ReadsTheEnded) && used.window.end() == ended
        });
        if !self.has(ReadsByTheTenant) {
            windows
                .sort_by_key(|used| (used.window.end(), used.tenant.clone(), used.window.number()));
        }
        let start = after.and_then(|after| windows.iter().position(|used| used == after));
        let start = start.map_or(0, |last| last + usize::from(!self.has(RepeatsTheLastWindow)));
        let skipped = after.filter(|_| self.has(SkipsWindowsOfOneEnd));
        let windows = windows.into_iter().skip(start);
        let windows = windows
            .filter(|used| skipped.is_none_or(|skipped| used.window.end() != skipped.window.end()));
        Ok(windows.take(limit.get()).collect())
    }
}

fn fails(clause: &Clause<Planted>, fault: Option<Fault>) -> bool {
    panics(|| pollster::block_on(clause.run(&Planted::with(fault))))
}

#[test]
fn limit_store_without_a_fault_keeps_every_clause() {
    for clause in limit_clauses() {
        assert!(!fails(&clause, None), "{clause:?}");
    }
}

#[test]
fn each_fault_of_a_limit_store_is_caught_by_its_clauses() {
    let clauses = limit_clauses();
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
fn every_clause_of_the_limits_catches_a_fault() {
    let caught: BTreeSet<_> = FAULTS.iter().flat_map(|(_, named)| *named).copied().collect();
    assert_eq!(caught, limit_clauses::<Planted>().iter().map(Clause::name).collect());
}
