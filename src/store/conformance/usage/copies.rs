//! Copies: all rows can be read, and written to another store any number of times.

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use super::{MANY, Stage, admitted, counts, day, flush, key, row};
use crate::{
    store::{
        UsageStore,
        conformance::expect::{done, made, same},
    },
    usage::{Counts, Day, KeyUsage, Period},
};

/// Reads all rows in pages of this length. It gives up on a store whose pages have no end.
async fn pages<S: UsageStore>(store: &S, period: Period, length: usize) -> Vec<KeyUsage> {
    let limit = made(NonZeroUsize::new(length).ok_or("a length is not zero"));
    let mut rows: Vec<KeyUsage> = Vec::new();
    loop {
        let page = done("reading rows", store.usage_rows(period, rows.last(), limit).await);
        let full = page.len() == length;
        rows.extend(page);
        if !full || rows.len() > 2 * MANY as usize {
            return rows;
        }
    }
}

async fn raise<S: UsageStore>(store: &S, period: Period, rows: &[KeyUsage]) {
    let what = format!("raising {} rows", rows.len());
    done(what, store.raise_usage(period, rows).await);
}

/// Pages of any length have the rows of all tenants once, in ascending order of the bytes of the tenant, then of the day,
/// then of the key.
pub(super) async fn rows_of_all_tenants_are_read_in_pages<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    same("the rows of an empty store", &pages(store, Period::Day, 5).await, &Vec::new());
    let mut rows = Vec::new();
    for tenant in ["Acme", "acm", "acme", "acme-2", "é", "日"] {
        for on in ["1969-12-31", "2026-10-01", "2026-10-02"].map(day) {
            rows.extend([1, 2, 11].map(|number| row(tenant, key(number), on, counts(1))));
        }
    }
    let mut shuffled = rows.clone();
    shuffled.reverse();
    stage.add(&flush(1, shuffled)).await;
    for length in [1, 2, 3, 5, 54, 100] {
        let found = pages(store, Period::Day, length).await;
        same(format_args!("the rows in pages of {length}"), &found, &rows);
    }
    same("the rows of months", &pages(store, Period::Month, 5).await, &Vec::new());
}

/// The rows of months have what was rolled up, and the rows of days what was not.
pub(super) async fn rows_of_months_are_apart_from_their_days<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let rows = ["2026-10-01", "2026-10-02", "2026-10-03"]
        .map(|on| row("acme", key(1), day(on), counts(1)));
    stage.add(&flush(1, rows.clone())).await;
    stage.roll_up(day("2026-10-03"), Day::MIN).await;
    let [first, second, third] = rows;
    let month = KeyUsage { counts: first.counts.plus(second.counts), ..first };
    same("the rows of months", &pages(store, Period::Month, 5).await, &[month].to_vec());
    same("the rows of days", &pages(store, Period::Day, 5).await, &[third].to_vec());
}

/// Each count is raised for itself, and none is lowered. A repeated call changes nothing. Days and months are apart.
pub(super) async fn raised_counts_are_the_larger_ones<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-01");
    let of = |admitted, forbidden, limited| {
        [row("acme", key(1), on, Counts { admitted, forbidden, limited })].to_vec()
    };
    stage.add(&flush(1, of(5, 5, 5))).await;
    for (period, other) in [(Period::Day, Period::Month), (Period::Month, Period::Day)] {
        let beside = pages(store, other, 5).await;
        for (rows, raised) in [
            // The row of the day is stored, and that of the month is added.
            (of(5, 5, 5), of(5, 5, 5)),
            (of(7, 5, 1), of(7, 5, 5)),
            (of(7, 5, 1), of(7, 5, 5)),
            (of(1, 9, 2), of(7, 9, 5)),
            (of(6, 0, 8), of(7, 9, 8)),
        ] {
            raise(store, period, &rows).await;
            let found = pages(store, period, 5).await;
            same(format_args!("the raised rows per {period:?}"), &found, &raised);
        }
        same("the rows of the other period", &pages(store, other, 5).await, &beside);
    }
    let huge = of(u64::MAX, 1 << 63, 0);
    raise(store, Period::Day, &huge).await;
    let found: Vec<bool> = pages(store, Period::Day, 5)
        .await
        .iter()
        .map(|row| row.counts.admitted.min(row.counts.forbidden) >= i64::MAX.unsigned_abs())
        .collect();
    same("a row with huge counts", &found, &[true].to_vec());
}

/// Many rows are raised in one call, and read in several pages.
pub(super) async fn a_large_raise_is_whole<S: UsageStore>(store: &S) {
    let on = day("2026-10-01");
    let rows = (0..MANY).map(|number| row("acme", key(number), on, admitted(1)));
    let rows: Vec<_> = rows.collect();
    for period in [Period::Day, Period::Month] {
        raise(store, period, &rows).await;
        let found = pages(store, period, 1_000).await;
        same("the number of raised rows", &found.len(), &rows.len());
        same("whether the rows are those that were raised", &(found == rows), &true);
    }
}
