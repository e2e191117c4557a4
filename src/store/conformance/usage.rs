//! The contract of [`UsageStore`] as a test suite.

mod copies;
mod flushes;
mod reads;
mod roll_ups;

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

use super::{
    Clause,
    expect::{done, made, same},
    issuer::tenant_id,
};
use crate::{
    store::UsageStore,
    token::KeyId,
    usage::{Counts, Day, DayUsage, KeyUsage, Span, UsageFlush},
};

/// Returns every clause of the contract of stores of usage.
///
/// ```
/// use keyway::{MemoryStore, store::conformance};
///
/// for clause in conformance::usage_clauses::<MemoryStore>() {
///     pollster::block_on(clause.run(&MemoryStore::new()));
/// }
/// ```
pub fn usage_clauses<S: UsageStore>() -> Vec<Clause<S>> {
    macro_rules! list {
        ({} $($module:ident::$clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |store: &S| Box::pin($module::$clause(store)),
            }),*]
        };
    }
    __usage_clauses!([list]).into()
}

/// The node of flushes whose clause is not about nodes.
const NODE: u128 = 7;

/// More rows than any store deletes in one portion of a reasonable size.
const MANY: u32 = 4_500;

fn day(text: &str) -> Day {
    made(text.parse())
}

/// Returns the key with this number. Ids are in the order of their numbers.
fn key(number: u32) -> KeyId {
    made(format!("Ausage{number:010}").parse())
}

/// Returns counts whose outcomes all differ.
fn counts(number: u64) -> Counts {
    Counts { admitted: number, forbidden: number + 1, limited: number + 2 }
}

fn admitted(number: u64) -> Counts {
    Counts { admitted: number, ..Counts::ZERO }
}

fn row(tenant: &str, key: KeyId, day: Day, counts: Counts) -> KeyUsage {
    KeyUsage { tenant: tenant_id(tenant), key, day, counts }
}

fn flush(number: u64, rows: impl Into<Vec<KeyUsage>>) -> UsageFlush {
    UsageFlush { node: NODE, number, day: day("2026-11-30"), rows: rows.into() }
}

/// Returns every day as a span.
fn always() -> Span {
    Span::days(Day::MIN, Day::MAX)
}

/// Returns every month as a span.
fn all_months() -> Span {
    Span::months(Day::MIN, Day::MAX)
}

/// A store of usage under test.
struct Stage<'s, S> {
    store: &'s S,
}

impl<'s, S: UsageStore> Stage<'s, S> {
    fn new(store: &'s S) -> Self {
        Self { store }
    }

    async fn add(&self, flush: &UsageFlush) {
        let what = format!(
            "adding flush {} of node {:x} with {} rows",
            flush.number,
            flush.node,
            flush.rows.len()
        );
        done(what, self.store.add_usage(flush).await);
    }

    async fn roll_up(&self, days: Day, months: Day) -> u64 {
        let rolled = self.store.roll_up_usage(days, months).await;
        done(format_args!("rolling up days before {days} and months before {months}"), rolled)
    }

    async fn of_keys(&self, tenant: &str, keys: &[KeyId], span: Span) -> Vec<KeyUsage> {
        let rows = self.store.key_usage(&tenant_id(tenant), keys, span).await;
        done(format_args!("reading {} keys of {tenant:?} in {span:?}", keys.len()), rows)
    }

    async fn of_tenant(&self, tenant: &str, span: Span) -> Vec<DayUsage> {
        let rows = self.store.tenant_usage(&tenant_id(tenant), span).await;
        done(format_args!("reading {tenant:?} in {span:?}"), rows)
    }

    /// Expects that both reads return exactly these rows of the tenant, as rows of days. The rows are in order, and so
    /// are the keys that are asked for.
    async fn expect_days(&self, when: &str, tenant: &str, rows: &[KeyUsage]) {
        let keys: Vec<KeyId> = rows.iter().map(|row| row.key).collect();
        let found = self.of_keys(tenant, &keys, always()).await;
        same(format_args!("{when}, the usage of the keys of {tenant:?}"), &found, &rows.to_vec());
        let found = self.of_tenant(tenant, always()).await;
        same(format_args!("{when}, the usage of {tenant:?}"), &found, &sums(rows));
    }

    /// Expects this number of admitted requests of the tenant in all months together.
    async fn expect_admitted(&self, when: &str, tenant: &str, expected: u64) {
        let found = self.admitted(tenant).await;
        same(format_args!("{when}, the admitted requests of {tenant:?}"), &found, &expected);
    }

    async fn admitted(&self, tenant: &str) -> u64 {
        let months = self.of_tenant(tenant, all_months()).await;
        months.iter().map(|month| month.counts.admitted).sum()
    }

    /// Adds [`MANY`] rows of the tenant in one flush: as many keys on one day, with one admitted request each.
    async fn add_many(&self, number: u64, tenant: &str, on: Day) {
        let rows = (0..MANY).map(|number| row(tenant, key(number), on, admitted(1)));
        self.add(&flush(number, rows.collect::<Vec<_>>())).await;
    }
}

/// Returns the sums of rows by their days.
fn sums(rows: &[KeyUsage]) -> Vec<DayUsage> {
    let mut days = BTreeMap::new();
    for row in rows {
        let sum: &mut Counts = days.entry(row.day).or_default();
        *sum = sum.plus(row.counts);
    }
    days.into_iter().map(|(day, counts)| DayUsage { day, counts }).collect()
}

/// Returns a tenant for a case with this number.
fn tenant_of_case(case: usize) -> String {
    format!("t{case}")
}
