//! Roll-ups and deletion: no count is lost or counted twice, and only what is old or of the tenant is deleted.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all, join3};

use super::{
    MANY, NODE, Stage, admitted, all_months, always, counts, day, flush, key, row, tenant_of_case,
};
use crate::{
    store::{
        UsageStore,
        conformance::{
            expect::{done, holds, same},
            give_up::give_up_after,
            issuer::tenant_id,
        },
    },
    usage::{Day, UsageFlush},
};

/// The maximum number of awaits at which a roll-up is dropped.
const MOST_AWAITS: usize = 64;

/// A roll-up changes no month, for keys and for the tenant. It deletes the days before the given one and no others.
pub(super) async fn a_roll_up_keeps_the_counts<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let first = day("2026-08-20");
    let keys = [1, 2].map(key);
    let rows: Vec<_> = (0..60)
        .flat_map(|n: i32| {
            keys.map(|key| row("acme", key, first.plus(n), counts(n.unsigned_abs().into())))
        })
        .collect();
    stage.add(&flush(1, rows.clone())).await;
    let months = stage.of_keys("acme", &keys, all_months()).await;
    let sums = stage.of_tenant("acme", all_months()).await;
    same("the number of months", &(months.len(), sums.len()), &(6, 3));
    for days in ["2026-08-20", "2026-08-21", "2026-09-01", "2026-10-03", "2026-10-03"] {
        let when = format!("after the days before {days} were rolled up");
        stage.roll_up(day(days), Day::MIN).await;
        let left: Vec<_> = rows.iter().filter(|row| row.day >= day(days)).cloned().collect();
        stage.expect_days(&when, "acme", &left).await;
        let found = stage.of_keys("acme", &keys, all_months()).await;
        same(format_args!("{when}, the months of keys"), &found, &months);
        let found = stage.of_tenant("acme", all_months()).await;
        same(format_args!("{when}, the months of the tenant"), &found, &sums);
    }
}

/// A roll-up returns the number of rows of days and months that it deleted.
pub(super) async fn a_roll_up_counts_its_rows<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let rows = ["2026-09-30", "2026-10-01", "2026-10-31", "2026-11-01"]
        .map(|on| row("acme", key(1), day(on), counts(1)));
    stage.add(&flush(1, rows)).await;
    for (days, months, expected) in [
        ("2026-09-01", "2026-09-01", 0),
        ("2026-11-01", "2026-09-01", 3),
        ("2026-11-01", "2026-10-01", 1),
        // A day, and the two months.
        ("2026-12-01", "2026-12-01", 3),
        ("2026-12-01", "2026-12-01", 0),
    ] {
        let deleted = stage.roll_up(day(days), day(months)).await;
        let what = format!("the rows deleted by a roll-up of {days} and {months}");
        same(what, &deleted, &expected);
    }
}

/// A day that is added after its month was rolled up counts in the month, before and after the next roll-up.
pub(super) async fn late_days_are_added_to_their_month<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let [late, next] = ["2026-10-15", "2026-11-15"].map(day);
    for number in 1..=4 {
        stage.add(&flush(number, [row("acme", key(1), late, admitted(1))])).await;
        for when in ["before a roll-up", "after it"] {
            let when = format!("after flush {number}, {when}");
            let expected = [row("acme", key(1), late.first_of_month(), admitted(number))].to_vec();
            let found = stage.of_keys("acme", &[key(1)], all_months()).await;
            same(format_args!("{when}, the month of a key"), &found, &expected);
            stage.expect_admitted(&when, "acme", number).await;
            stage.roll_up(next, Day::MIN).await;
        }
    }
}

/// Months that begin before the given day are deleted, with days of theirs that the roll-up moves there, and no others.
pub(super) async fn old_months_are_deleted<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let rows = ["2026-07-31", "2026-08-01", "2026-09-30", "2026-10-01", "2026-11-30"]
        .map(|on| row("acme", key(1), day(on), counts(1)));
    stage.add(&flush(1, rows.clone())).await;
    let cases = [
        ("2026-10-01", "2026-07-01", &rows[..]),
        ("2026-10-01", "2026-08-01", &rows[1..]),
        // A month that begins before a day in the middle of it is old.
        ("2026-10-01", "2026-08-02", &rows[2..]),
        ("2026-11-01", "2026-10-01", &rows[3..]),
        ("2026-11-01", "2026-11-01", &rows[4..]),
    ];
    for (days, months, left) in cases {
        stage.roll_up(day(days), day(months)).await;
        let left: Vec<_> = left.iter().map(|row| row.day.first_of_month()).collect();
        let what = format!("the months after those before {months} were deleted");
        let found = stage.of_tenant("acme", all_months()).await;
        same(&what, &found.iter().map(|row| row.day).collect(), &left);
        let found = stage.of_keys("acme", &[key(1)], all_months()).await;
        same(&what, &found.iter().map(|row| row.day).collect(), &left);
    }
}

/// A roll-up forgets the nodes whose last flush is from a day before the given one. It keeps the others, whose flushes
/// may still be repeated.
pub(super) async fn nodes_are_kept_as_long_as_their_days<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let today = day("2026-11-30");
    let flush = |node: u128, number: u64, on: Day| UsageFlush {
        node,
        number,
        day: on,
        rows: [row("acme", key(1), today, admitted(1))].to_vec(),
    };
    // The last node has made an older flush too.
    let old = [flush(1, 5, today.plus(-2))];
    let kept = [flush(2, 5, today.plus(-1)), flush(3, 5, today), flush(4, 5, today)];
    stage.add(&flush(4, 4, today.plus(-9))).await;
    for flush in old.iter().chain(&kept) {
        stage.add(flush).await;
    }
    stage.roll_up(today.plus(-1), Day::MIN).await;
    for flush in &kept {
        stage.add(flush).await;
    }
    stage.expect_admitted("after flushes of nodes that are kept", "acme", 5).await;
    for flush in &old {
        stage.add(flush).await;
    }
    stage.expect_admitted("after a flush of a node that is forgotten", "acme", 6).await;
}

/// Thousands of rows are rolled up in one call, and thousands of months are deleted in one call.
pub(super) async fn a_large_roll_up_is_whole<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    stage.add_many(1, "acme", on).await;
    let many = u64::from(MANY);
    same("the rows rolled up", &stage.roll_up(Day::MAX, Day::MIN).await, &many);
    stage.expect_admitted("after a large roll-up", "acme", many).await;
    same("the days left", &stage.of_tenant("acme", always()).await, &Vec::new());
    same("the months deleted", &stage.roll_up(Day::MAX, Day::MAX).await, &many);
    stage.expect_admitted("after all months were deleted", "acme", 0).await;
}

/// Two roll-ups at once count nothing twice.
pub(super) async fn concurrent_roll_ups_keep_the_counts<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    for number in 1..=2 {
        stage.add_many(number, "acme", on).await;
        let rolled = join_all((0..3).map(|_| store.roll_up_usage(Day::MAX, Day::MIN))).await;
        let rolled =
            rolled.into_iter().map(|rolled| done("rolling up several times at once", rolled));
        same("the rows rolled up", &rolled.sum::<u64>(), &u64::from(MANY));
        let expected = number * u64::from(MANY);
        stage.expect_admitted("after roll-ups at the same time", "acme", expected).await;
        // The roll-up has forgotten the node, and the next flush has another number anyway.
        same("the days left", &stage.of_tenant("acme", always()).await, &Vec::new());
    }
}

/// A read beside a roll-up finds each count once: in its day or in its month.
pub(super) async fn reads_beside_a_roll_up_see_every_count<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    stage.add_many(1, "acme", on).await;
    let keys: Vec<_> = (0..500).map(key).collect();
    let roll_up = store.roll_up_usage(Day::MAX, Day::MIN);
    let sums = async {
        for _ in 0..8 {
            stage.expect_admitted("beside a roll-up", "acme", u64::from(MANY)).await;
        }
    };
    let of_keys = async {
        for _ in 0..8 {
            let months = stage.of_keys("acme", &keys, all_months()).await;
            let sum: u64 = months.iter().map(|row| row.counts.admitted).sum();
            same("beside a roll-up, the admitted requests of 500 keys", &sum, &500);
        }
    };
    let (rolled, (), ()) = join3(roll_up, sums, of_keys).await;
    same("the rows rolled up", &done("rolling up", rolled), &u64::from(MANY));
}

/// A flush to days that are rolled up at the same time is kept.
pub(super) async fn flushes_beside_a_roll_up_are_kept<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    for number in 1..=6 {
        let flush = flush(
            number,
            (0..30).map(|n| row("acme", key(n), on, admitted(1))).collect::<Vec<_>>(),
        );
        let roll_up = store.roll_up_usage(on.plus(1), Day::MIN);
        let (added, rolled) = if number % 2 == 0 {
            join(store.add_usage(&flush), roll_up).await
        } else {
            let (rolled, added) = join(roll_up, store.add_usage(&flush)).await;
            (added, rolled)
        };
        done("adding a flush beside a roll-up", added);
        done("rolling up beside a flush", rolled);
        stage.expect_admitted("after a flush beside a roll-up", "acme", number * 30).await;
    }
    stage.roll_up(on.plus(1), Day::MIN).await;
    stage.expect_admitted("after the last roll-up", "acme", 180).await;
}

/// A roll-up whose future is dropped at any await loses no count and repeats none. The next one does the rest.
pub(super) async fn a_dropped_roll_up_loses_no_count<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    for polls in 0..MOST_AWAITS {
        let tenant = tenant_of_case(polls);
        let rows: Vec<_> = (0..3).map(|n| row(&tenant, key(n), on, admitted(1))).collect();
        let number = 1 + polls as u64;
        stage.add(&UsageFlush { node: NODE, number, day: Day::MAX, rows }).await;
        let finished = give_up_after(polls, store.roll_up_usage(on.plus(1), Day::MIN)).await;
        let ended = finished.is_some();
        if let Some(rolled) = finished {
            done(format_args!("a roll-up, polled {polls} times"), rolled);
        }
        for when in ["after a dropped roll-up", "after another read", "after the next roll-up"] {
            if when == "after the next roll-up" {
                stage.roll_up(on.plus(1), Day::MIN).await;
            }
            stage.expect_admitted(when, &tenant, 3).await;
        }
        let left = stage.of_tenant(&tenant, always()).await;
        same("the days left after the next roll-up", &left, &Vec::new());
        if ended {
            return;
        }
    }
}

/// The usage of one tenant is deleted, its days and its months. Tenants with similar ids keep theirs.
pub(super) async fn deleting_usage_leaves_other_tenants<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let [rolled, today] = ["2026-10-15", "2026-11-30"].map(day);
    let tenants = ["acm", "acme", "Acme", "acm_", "acm%", "%", "b"];
    for (number, on) in [(1, rolled), (2, today)] {
        let rows = tenants.map(|tenant| row(tenant, key(1), on, admitted(1)));
        stage.add(&flush(number, rows)).await;
        stage.roll_up(day("2026-11-01"), Day::MIN).await;
    }
    for (place, tenant) in tenants.iter().enumerate() {
        let deleted = store.delete_usage(&tenant_id(tenant)).await;
        done(format_args!("deleting the usage of {tenant:?}"), deleted);
        for (other, left) in tenants.iter().enumerate() {
            let when = format!("after the usage of {tenant:?} was deleted");
            stage.expect_admitted(&when, left, if other <= place { 0 } else { 2 }).await;
        }
    }
    let repeated = flush(2, [row("b", key(1), today, admitted(1))]);
    stage.add(&repeated).await;
    let deleted = stage.admitted("b").await;
    holds(format!("a repeated flush gave a deleted tenant {deleted} requests"), deleted == 0);
}

/// The usage of a tenant with thousands of rows is deleted in one call.
pub(super) async fn usage_of_a_large_tenant_is_deleted_whole<S: UsageStore>(store: &S) {
    let stage = Stage::new(store);
    let on = day("2026-10-15");
    stage.add_many(1, "acme", on).await;
    stage.roll_up(Day::MAX, Day::MIN).await;
    stage.add_many(2, "acme", on).await;
    stage.expect_admitted("before a deletion", "acme", 2 * u64::from(MANY)).await;
    done("deleting the usage of a large tenant", store.delete_usage(&tenant_id("acme")).await);
    stage.expect_admitted("after a deletion", "acme", 0).await;
}
