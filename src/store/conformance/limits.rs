//! The contract of [`LimitStore`] as a test suite.

mod leases;
mod windows;

use alloc::{boxed::Box, format, vec::Vec};
use core::num::NonZeroUsize;

use super::{
    Clause,
    expect::{done, made, same},
    issuer::tenant_id,
};
use crate::{
    store::{Leased, LimitStore, UsedWindow},
    tier::{Period, Window},
    time::Timestamp,
};

/// Returns every clause of the contract of stores of limits.
///
/// ```
/// use keyway::{MemoryStore, store::conformance};
///
/// for clause in conformance::limit_clauses::<MemoryStore>() {
///     pollster::block_on(clause.run(&MemoryStore::new()));
/// }
/// ```
pub fn limit_clauses<S: LimitStore>() -> Vec<Clause<S>> {
    macro_rules! list {
        ({} $($module:ident::$clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |store: &S| Box::pin($module::$clause(store)),
            }),*]
        };
    }
    __limit_clauses!([list]).into()
}

/// Returns the window of this period at this time.
fn window(period: Period, at: &str) -> Window {
    Window::of(period, made(at.parse()))
}

fn month() -> Window {
    window(Period::Month, "2026-11-30T12:00:00Z")
}

/// A store of limits under test.
struct Stage<'s, S> {
    store: &'s S,
}

impl<'s, S: LimitStore> Stage<'s, S> {
    fn new(store: &'s S) -> Self {
        Self { store }
    }

    async fn lease(&self, tenant: &str, window: Window, want: u64, limit: u64) -> Leased {
        let leased = self.store.lease_units(&tenant_id(tenant), window, want, limit).await;
        done(format_args!("leasing {want} units of {limit} for {tenant:?} in {window:?}"), leased)
    }

    /// Leases units of `acme` in the month, and expects this result.
    async fn expect_lease(&self, want: u64, limit: u64, granted: u64, used: u64) {
        let found = self.lease("acme", month(), want, limit).await;
        let what = format!("a lease of {want} units with the limit {limit}");
        same(what, &found, &Leased { granted, used });
    }

    async fn give_back(&self, tenant: &str, window: Window, units: u64) {
        let returned = self.store.return_units(&tenant_id(tenant), window, units).await;
        done(format_args!("returning {units} units of {tenant:?} in {window:?}"), returned);
    }

    async fn used(&self, tenant: &str, windows: &[Window]) -> Vec<u64> {
        let used = self.store.used_units(&tenant_id(tenant), windows).await;
        done(format_args!("reading {} windows of {tenant:?}", windows.len()), used)
    }

    /// Reads the windows that end after `ended` in pages of this length. It gives up on a store whose pages have no end.
    async fn pages(&self, ended: Timestamp, length: usize) -> Vec<UsedWindow> {
        let limit = made(NonZeroUsize::new(length).ok_or("a length is not zero"));
        let mut windows: Vec<UsedWindow> = Vec::new();
        loop {
            let page = self.store.used_windows(ended, windows.last(), limit).await;
            let page = done(format_args!("reading {limit} windows"), page);
            let full = page.len() == length;
            windows.extend(page);
            if !full || windows.len() > 1_000 {
                return windows;
            }
        }
    }

    async fn expect_used(&self, when: &str, tenant: &str, windows: &[Window], used: &[u64]) {
        let found = self.used(tenant, windows).await;
        same(format_args!("{when}, the used units of {tenant:?}"), &found, &used.to_vec());
    }
}
