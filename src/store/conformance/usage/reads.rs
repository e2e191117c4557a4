//! Reads: which rows they return, in which order, and what they sum.

use alloc::vec::Vec;

use super::{Stage, admitted, all_months, always, counts, day, flush, key, row, sums};
use crate::{
    store::{
        UsageStore,
        conformance::{
            expect::{done, same},
            issuer::{in_other_case, tenant_id},
        },
    },
    usage::{Counts, Day, DayUsage, KeyUsage, Span},
};

/// The counts of each outcome are read as they were added, for keys and for the tenant.
pub(super) async fn usage_is_read_as_it_was_added<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let rows = [
        row("acme", key(1), day("2026-11-29"), counts(5)),
        row("acme", key(1), day("2026-11-30"), counts(1)),
        row("acme", key(2), day("2026-11-30"), Counts { limited: 9, ..Counts::ZERO }),
        row("acme", key(3), day("2026-11-30"), Counts { forbidden: 8, ..Counts::ZERO }),
    ];
    stage.add(&flush(1, rows.clone())).await;
    stage.expect_days("after one flush", "acme", &rows).await;
}

/// A store without usage returns nothing, and has nothing to roll up or to delete.
pub(super) async fn an_empty_store_has_no_usage<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    for span in [always(), all_months()] {
        let found = stage.of_keys("nobody", &[key(1)], span).await;
        same("the usage of a key of nobody", &found, &Vec::new());
        same("the usage of nobody", &stage.of_tenant("nobody", span).await, &Vec::new());
        same("the usage of no key", &stage.of_keys("nobody", &[], span).await, &Vec::new());
    }
    same("the rows of an empty roll-up", &stage.roll_up(Day::MAX, Day::MAX).await, &0);
    let deleted = store.delete_usage(&tenant_id("nobody")).await;
    done("deleting the usage of nobody", deleted);
}

/// Rows are in ascending order of the day, then of the key, whatever the order in which they were added or asked for.
pub(super) async fn rows_are_in_order_of_the_day_then_of_the_key<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let days = ["1969-12-31", "1970-01-01", "2026-02-28", "2026-03-01"].map(day);
    let mut keys = [1, 2, 10, 11].map(key).to_vec();
    // Digits come before capital letters, and these before small ones.
    keys.extend([in_other_case(key(1)), in_other_case(key(10))]);
    keys.sort();
    let rows: Vec<KeyUsage> = days
        .iter()
        .flat_map(|day| keys.iter().map(|key| row("acme", *key, *day, counts(3))))
        .collect();
    for (number, rows) in (1..).zip(rows.chunks(12)) {
        let rows: Vec<_> = rows.iter().rev().cloned().collect();
        stage.add(&flush(number, rows)).await;
    }
    keys.reverse();
    same("the order of rows", &stage.of_keys("acme", &keys, always()).await, &rows);
    let found = stage.of_tenant("acme", always()).await;
    same("the order of days", &found, &sums(&rows));
    let months: Vec<Day> = days.iter().map(|day| day.first_of_month()).collect();
    let found = stage.of_tenant("acme", all_months()).await;
    same("the order of months", &found.iter().map(|row| row.day).collect(), &months);
}

/// Only the keys of the list are returned. A key that is named twice is returned once.
pub(super) async fn keys_outside_the_list_are_left_out<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let rows: Vec<_> = (0..20).map(|n| row("acme", key(n), today, counts(n.into()))).collect();
    stage.add(&flush(1, rows.clone())).await;
    for span in [always(), Span::months(today, today)] {
        for asked in [&[][..], &[3], &[3, 3], &[19, 3, 0], &[99], &[99, 4, 99, 4]] {
            let mut keys: Vec<_> = asked.iter().map(|n| key(*n)).collect();
            let found = stage.of_keys("acme", &keys, span).await;
            keys.sort();
            keys.dedup();
            let of_period = |row: &KeyUsage| KeyUsage {
                day: if span == always() { today } else { today.first_of_month() },
                ..row.clone()
            };
            let expected: Vec<_> =
                rows.iter().filter(|row| keys.contains(&row.key)).map(of_period).collect();
            same(format_args!("the usage of the keys {asked:?}"), &found, &expected);
        }
    }
    let all: Vec<_> = (0..500).map(key).collect();
    same("the usage of 500 keys", &stage.of_keys("acme", &all, always()).await, &rows);
}

/// Each tenant has only its own rows. Ids of tenants and of keys are compared byte for byte.
pub(super) async fn usage_stays_with_its_tenant<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let tenants = [
        "acme",
        "Acme",
        "acme ",
        "acm",
        "acm_",
        "acm%",
        "%",
        "_",
        "a'b",
        "a\"b",
        "a\\b",
        "é",
        "e\u{301}",
        "acme\u{200d}",
        "' OR '1'='1",
    ];
    // In the order of their bytes.
    let keys = [in_other_case(key(1)), key(1)];
    let rows_of = |place: usize, tenant: &str| {
        [
            row(tenant, keys[0], today, counts(place as u64 * 10)),
            row(tenant, keys[1], today, counts(place as u64 * 10 + 5)),
        ]
    };
    let all = tenants.iter().enumerate().flat_map(|(place, tenant)| rows_of(place, tenant));
    stage.add(&flush(1, all.collect::<Vec<_>>())).await;
    for (place, tenant) in tenants.iter().enumerate() {
        stage.expect_days("beside other tenants", tenant, &rows_of(place, tenant)).await;
    }
    for stranger in ["ACME", "acme%", "a", "a_b"] {
        stage.expect_days("beside other tenants", stranger, &[]).await;
        let found = stage.of_keys(stranger, &keys, always()).await;
        same("the keys of another tenant", &found, &Vec::new());
    }
}

/// The first and the last day of a span belong to it, and the days around it do not. The same holds for months.
pub(super) async fn both_ends_of_a_span_are_included<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let first = day("2026-01-28");
    let rows: Vec<_> = (0..8)
        .map(|n| row("acme", key(1), first.plus(n), counts(n.unsigned_abs().into())))
        .collect();
    stage.add(&flush(1, rows.clone())).await;
    for (from, to) in [(0, 7), (1, 6), (2, 2), (3, 4), (-5, 0), (7, 99), (-9, -1), (8, 9)] {
        let span = Span::days(first.plus(from), first.plus(to));
        let within: Vec<_> =
            rows.iter().filter(|row| (span.from..=span.to).contains(&row.day)).cloned().collect();
        let found = stage.of_keys("acme", &[key(1)], span).await;
        same(format_args!("the usage of a key in {span:?}"), &found, &within);
        let found = stage.of_tenant("acme", span).await;
        same(format_args!("the usage in {span:?}"), &found, &sums(&within));
    }
    // January has the first 4 rows.
    for (rolled, january) in [(false, "2026-01-31"), (true, "2026-01-01")] {
        if rolled {
            stage.roll_up(Day::MAX, Day::MIN).await;
        }
        let found = stage.of_tenant("acme", Span::months(day(january), day(january))).await;
        let expected = sums(rows.get(..4).unwrap_or_default())
            .iter()
            .fold(Counts::ZERO, |sum, row| sum.plus(row.counts));
        let expected = [DayUsage { day: day("2026-01-01"), counts: expected }].to_vec();
        same("the usage in January", &found, &expected);
    }
}

/// A span whose first day is after its last one has no rows, and is no error.
pub(super) async fn a_span_that_ends_before_it_begins_is_empty<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    stage.add(&flush(1, [row("acme", key(1), today, counts(1))])).await;
    let turned = |span: Span| Span { from: span.to, to: span.from, ..span };
    let months = Span::months(today.plus(-90), today.plus(90));
    for span in [Span::days(today.plus(1), today), turned(always()), turned(months)] {
        let found = stage.of_keys("acme", &[key(1)], span).await;
        same(format_args!("the usage of a key in {span:?}"), &found, &Vec::new());
        let found = stage.of_tenant("acme", span).await;
        same(format_args!("the usage in {span:?}"), &found, &Vec::new());
    }
}

/// A row whose counts are all zero is not returned.
pub(super) async fn rows_without_requests_are_left_out<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let used = row("acme", key(2), today, admitted(1));
    let rows = [
        row("acme", key(1), today, Counts::ZERO),
        used.clone(),
        row("acme", key(2), today.plus(-1), Counts::ZERO),
    ];
    stage.add(&flush(1, rows)).await;
    let keys = [key(1), key(2)];
    let found = stage.of_keys("acme", &keys, always()).await;
    same("the rows with requests", &found, &[used.clone()].to_vec());
    same("the days with requests", &stage.of_tenant("acme", always()).await, &sums(&[used]));
    stage.roll_up(Day::MAX, Day::MIN).await;
    let found = stage.of_keys("acme", &[key(1)], all_months()).await;
    same("the months of a key without requests", &found, &Vec::new());
}

/// The usage of a tenant is the sum of all of its keys on each day.
pub(super) async fn a_tenant_sums_its_keys<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let mut rows = Vec::new();
    for on in ["2026-11-28", "2026-11-30"] {
        rows.extend((0..600).map(|n| row("acme", key(n), day(on), counts(n.into()))));
    }
    stage.add(&flush(1, rows.clone())).await;
    let found = stage.of_tenant("acme", always()).await;
    same("the sums of 600 keys", &found, &sums(&rows));
}

/// A row of a month sums the days of the month, for keys and for the tenant.
pub(super) async fn a_month_sums_its_days<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let mut rows = Vec::new();
    let mut expected = Vec::new();
    // Leap years, and the ends of a year.
    for month in ["1900-02", "2000-02", "2024-02", "2025-12", "2026-01", "2026-02"] {
        let first = day(&[month, "-01"].concat());
        let last = first.plus(31).first_of_month().plus(-1);
        let [one, other] = [10, 3].map(counts);
        for (on, counts) in [(first, one), (first.plus(14), other), (last, one)] {
            rows.push(row("acme", key(1), on, counts));
        }
        expected.push(row("acme", key(1), first, one.plus(other).plus(one)));
    }
    stage.add(&flush(1, rows)).await;
    let found = stage.of_keys("acme", &[key(1)], all_months()).await;
    same("the months of a key", &found, &expected);
    let found = stage.of_tenant("acme", all_months()).await;
    same("the months of a tenant", &found, &sums(&expected));
}

/// The first and the last day that exist are days like others.
pub(super) async fn the_first_and_the_last_day_are_kept<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let [before, epoch] = ["1969-12-31", "1970-01-01"].map(day);
    let days = [Day::MIN, before, epoch, Day::MAX];
    let rows = days.map(|on| row("acme", key(1), on, counts(4)));
    stage.add(&flush(1, rows.clone())).await;
    stage.expect_days("at the ends of time", "acme", &rows).await;
    let months = rows.map(|row| KeyUsage { day: row.day.first_of_month(), ..row });
    for when in ["before a roll-up", "after a roll-up"] {
        let found = stage.of_keys("acme", &[key(1)], all_months()).await;
        same(format_args!("{when}, the months at the ends of time"), &found, &months.to_vec());
        stage.roll_up(Day::MAX, Day::MIN).await;
    }
    let last = [row("acme", key(1), Day::MAX, counts(4))];
    stage.expect_days("after everything before the last day was rolled up", "acme", &last).await;
}
