//! Flushes: each is added once, as a whole, whatever happens at the same time.

use alloc::{format, vec::Vec};

use futures_util::future::join_all;

use super::{
    NODE, Stage, admitted, all_months, always, counts, day, flush, key, row, tenant_of_case,
};
use crate::{
    store::{
        UsageStore,
        conformance::{
            expect::{done, holds, same},
            give_up::give_up_after,
        },
    },
    usage::{Counts, KeyUsage, UsageFlush},
};

/// The maximum number of awaits at which a flush is dropped.
const MOST_AWAITS: usize = 64;

/// The counts of a key and a day are the sum of all flushes.
pub(super) async fn flushes_add_up<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let mut sum = Counts::ZERO;
    for number in 1..=5 {
        let added = counts(number * 10);
        let rows =
            [row("acme", key(1), today, added), row("acme", key(1), today.plus(1), counts(number))];
        sum = sum.plus(added);
        stage.add(&flush(number, rows)).await;
        let found = stage.of_keys("acme", &[key(1)], always()).await;
        let found = found.into_iter().find(|row| row.day == today);
        same("the sum of flushes", &found, &Some(row("acme", key(1), today, sum)));
    }
}

/// A flush that is added again adds nothing, and is no error. Neither does another one with its number.
pub(super) async fn a_repeated_flush_adds_nothing<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let rows = [row("acme", key(1), today, counts(3)), row("acme", key(2), today, counts(4))];
    for when in ["after a flush", "after the same flush", "after the same flush once more"] {
        stage.add(&flush(1, rows.clone())).await;
        stage.expect_days(when, "acme", &rows).await;
    }
    stage.add(&flush(1, [row("acme", key(3), today, counts(9))])).await;
    let found = stage.of_keys("acme", &[key(3)], always()).await;
    same("the usage in another flush of the same number", &found, &Vec::new());
    stage.expect_days("after another flush of the same number", "acme", &rows).await;
}

/// A flush with a smaller number than the last one of its node adds nothing, and is no error. The next one is added.
pub(super) async fn an_older_flush_adds_nothing<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let mut expected = 0;
    for (number, is_added) in [(1, true), (3, true), (2, false), (1, false), (3, false), (4, true)]
    {
        stage.add(&flush(number, [row("acme", key(1), today, admitted(1))])).await;
        expected += u64::from(is_added);
        stage.expect_admitted(&format!("after flush {number}"), "acme", expected).await;
    }
}

/// Nodes do not share numbers, however similar they are.
pub(super) async fn each_node_has_its_own_numbers<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let nodes = [0, 1, 1 << 32 | 1, 1 << 64 | 1, 1 << 127 | 1, 1 << 127, u128::MAX];
    for (count, node) in (1..).zip(nodes) {
        for _ in 0..2 {
            let rows = [row("acme", key(1), today, admitted(1))].to_vec();
            stage.add(&UsageFlush { node, number: 1, day: today, rows }).await;
        }
        stage.expect_admitted(&format!("after a flush of {count} nodes"), "acme", count).await;
    }
}

/// A flush is added although the numbers between its own and the last one are missing.
pub(super) async fn numbers_may_have_gaps<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    for (count, number) in (1..).zip([2, 7, 1 << 33, i64::MAX.unsigned_abs()]) {
        for _ in 0..2 {
            stage.add(&flush(number, [row("acme", key(1), today, admitted(1))])).await;
        }
        stage.expect_admitted(&format!("after flush {number}"), "acme", count).await;
    }
}

/// A flush without rows is added like another: no flush with its number or a smaller one adds anything later.
pub(super) async fn an_empty_flush_has_a_number<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    stage.add(&flush(2, [])).await;
    for number in [1, 2] {
        stage.add(&flush(number, [row("acme", key(1), today, admitted(1))])).await;
    }
    stage.expect_admitted("after an empty flush and older ones", "acme", 0).await;
    stage.add(&flush(3, [row("acme", key(1), today, admitted(1))])).await;
    stage.expect_admitted("after the next flush", "acme", 1).await;
}

/// A flush of 10,000 rows is added as a whole, over several tenants and days.
pub(super) async fn the_largest_flush_is_added_whole<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let rows: Vec<KeyUsage> = (0..10_000_u32)
        .map(|n| {
            let tenant = tenant_of_case(usize::from(n % 4 == 3));
            // Flushes have no order.
            let number = n.wrapping_mul(7_919) % 10_000;
            row(&tenant, key(number), today.plus(i32::from(n % 8 == 0)), admitted(1))
        })
        .collect();
    for (times, number) in [(1, 1), (1, 1), (2, 2)] {
        stage.add(&flush(number, rows.clone())).await;
        for (tenant, count) in [(0, 7_500), (1, 2_500)] {
            let tenant = tenant_of_case(tenant);
            stage.expect_admitted("after a large flush", &tenant, count * times).await;
        }
    }
}

/// A sum that does not fit stays at the largest number that the store can hold, which is 2^63 - 1 at least. It never
/// begins again at zero.
pub(super) async fn huge_counts_stay_at_the_largest<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let most = 1 << 63;
    let huge = Counts { admitted: u64::MAX, forbidden: most - 1, limited: most };
    for number in 1..=3 {
        let rows = [1, 2].map(|n| row("acme", key(n), today, huge));
        stage.add(&flush(number, rows)).await;
        for rolled in [false, true] {
            if rolled {
                stage.roll_up(today.plus(1), today.first_of_month()).await;
            }
            let keys = stage.of_keys("acme", &[key(1)], all_months()).await;
            let tenant = stage.of_tenant("acme", all_months()).await;
            let found =
                keys.iter().map(|row| row.counts).chain(tenant.iter().map(|row| row.counts));
            let found: Vec<Counts> = found.collect();
            let is_huge = |counts: &Counts| {
                counts.admitted.min(counts.forbidden).min(counts.limited) >= most - 1
            };
            holds(
                format!("huge counts became {found:?}"),
                found.len() == 2 && found.iter().all(is_huge),
            );
        }
    }
}

/// Concurrent flushes of many nodes to the same keys add up exactly.
pub(super) async fn concurrent_flushes_add_up<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    // Half of the nodes have their rows in the other order.
    let flushes: Vec<UsageFlush> = (1..=12_u128)
        .map(|node| {
            let mut rows: Vec<_> = (0..20).map(|n| row("acme", key(n), today, counts(5))).collect();
            if node.is_multiple_of(2) {
                rows.reverse();
            }
            UsageFlush { node, number: 1, day: today, rows }
        })
        .collect();
    for added in join_all(flushes.iter().map(|flush| store.add_usage(flush))).await {
        done("adding a flush beside others", added);
    }
    let sum = Counts { admitted: 12 * 5, forbidden: 12 * 6, limited: 12 * 7 };
    let expected: Vec<_> = (0..20).map(|n| row("acme", key(n), today, sum)).collect();
    stage.expect_days("after flushes at the same time", "acme", &expected).await;
}

/// A flush that is sent several times at once is added once.
pub(super) async fn of_concurrent_repeats_one_is_added<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    for number in 1..=3 {
        let flush = flush(number, [row("acme", key(1), today, admitted(1))]);
        for added in join_all((0..8).map(|_| store.add_usage(&flush))).await {
            done("adding a flush several times at once", added);
        }
        stage.expect_admitted("after a flush several times at once", "acme", number).await;
    }
}

/// A flush whose future is dropped at any await adds all of its rows or none, and is added once by a repetition.
pub(super) async fn a_dropped_flush_is_whole_or_nothing<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    for polls in 0..MOST_AWAITS {
        let tenant = tenant_of_case(polls);
        let rows: Vec<_> = (0..3).map(|n| row(&tenant, key(n), today, admitted(1))).collect();
        let number = 1 + polls as u64;
        let flush = UsageFlush { node: NODE, number, day: today, rows: rows.clone() };
        let finished = give_up_after(polls, store.add_usage(&flush)).await;
        let ended = finished.is_some();
        if let Some(added) = finished {
            done(format_args!("a flush, polled {polls} times"), added);
        }
        // The flush may still be under way, so reads change from nothing to all, in one step, and stay.
        let mut least = if ended { 3 } else { 0 };
        for _ in 0..3 {
            let found = stage.admitted(&tenant).await;
            holds(
                format!("a flush of 3 rows, dropped after {polls} polls, has {found} rows"),
                (found == 0 || found == 3) && found >= least,
            );
            least = found;
        }
        stage.add(&flush).await;
        stage.expect_days("after a dropped flush was repeated", &tenant, &rows).await;
        if ended {
            return;
        }
    }
}
