//! Windows: each is apart from the others, and is deleted after it has ended.

use alloc::vec::Vec;

use super::{Stage, month, window};
use crate::{
    store::{
        LimitStore, UsedWindow,
        conformance::{
            expect::{done, made, same},
            issuer::tenant_id,
        },
    },
    tier::{Period, Window},
    time::Timestamp,
};

/// More windows than any store deletes in one portion of a reasonable size.
const MANY: u32 = 2_100;

/// Units are counted apart for each tenant, however similar the ids are, and for each window: of another period with the
/// same end, and of another time.
pub(super) async fn windows_and_tenants_are_apart<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let noon = "2026-11-30T12:00:00Z";
    let windows = [
        month(),
        window(Period::Month, "2026-10-31T23:59:59Z"),
        // These end with the month.
        window(Period::Seconds(86_400), "2026-11-30T12:00:00Z"),
        window(Period::Seconds(43_200), "2026-11-30T12:00:00Z"),
        window(Period::Seconds(1), noon),
        window(Period::Seconds(u32::MAX), noon),
        window(Period::Month, "0001-01-01T00:00:00Z"),
        window(Period::Month, "9999-12-31T00:00:00Z"),
    ];
    let tenants = ["acme", "Acme", "acm", "acme-2"];
    let units = |tenant: usize, window: usize| 1 + (tenant * 10 + window) as u64;
    for (tenant, name) in tenants.iter().enumerate() {
        for (number, window) in windows.iter().enumerate() {
            stage.lease(name, *window, units(tenant, number), 1_000).await;
        }
    }
    for (tenant, name) in tenants.iter().enumerate() {
        let expected: Vec<u64> = (0..windows.len()).map(|number| units(tenant, number)).collect();
        stage.expect_used("in each window", name, &windows, &expected).await;
    }
}

/// The used units are those of the windows that are asked for, in their order, and 0 in one that nobody has used.
pub(super) async fn used_units_are_in_order<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let early = window(Period::Seconds(60), "2026-11-30T12:00:00Z");
    let late = window(Period::Seconds(60), "2026-11-30T12:01:00Z");
    stage.expect_used("before any lease", "acme", &[early, month()], &[0, 0]).await;
    stage.lease("acme", early, 1, 10).await;
    stage.lease("acme", month(), 3, 10).await;
    stage.expect_used("after leases", "acme", &[month(), late, early], &[3, 0, 1]).await;
    stage.expect_used("after leases", "acme", &[early, late, month()], &[1, 0, 3]).await;
    stage.expect_used("for no window", "acme", &[], &[]).await;
}

/// A purge deletes the windows that ended at the time or before, and no others. It returns their number.
pub(super) async fn a_purge_deletes_what_has_ended<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let minute = |text: &str| window(Period::Seconds(60), text);
    let (first, second) = (minute("2026-11-30T12:00:00Z"), minute("2026-11-30T12:01:00Z"));
    let all = [first, second, month()];
    for tenant in ["acme", "other"] {
        for window in all {
            stage.lease(tenant, window, 5, 10).await;
        }
    }
    let before = Timestamp::saturating_from_millis(first.end().as_millis() - 1);
    for (ended, purged, used) in [
        (before, 0, [5, 5, 5]),
        (first.end(), 2, [0, 5, 5]),
        (first.end(), 0, [0, 5, 5]),
        (month().end(), 4, [0, 0, 0]),
    ] {
        let found = done("a purge", store.purge_windows(ended).await);
        same(format_args!("the windows purged at {ended}"), &found, &purged);
        for tenant in ["acme", "other"] {
            stage.expect_used("after a purge", tenant, &all, &used).await;
        }
    }
    stage.lease("acme", first, 2, 10).await;
    stage.expect_used("in a window that begins again", "acme", &[first], &[2]).await;
}

/// A purge of many windows deletes them all.
pub(super) async fn a_large_purge_is_whole<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let noon: Timestamp = made("2026-11-30T12:00:00Z".parse());
    let of = |number: u32| {
        let at = noon.as_millis() + i64::from(number) * 1_000;
        Window::of(Period::Seconds(1), Timestamp::saturating_from_millis(at))
    };
    for number in 0..MANY {
        stage.lease("acme", of(number), 1, 1).await;
    }
    let last = of(MANY - 1);
    let purged = done("a large purge", store.purge_windows(of(MANY - 2).end()).await);
    same("the windows of a large purge", &purged, &(MANY - 1).into());
    stage
        .expect_used("after a large purge", "acme", &[of(0), of(MANY - 2), last], &[0, 0, 1])
        .await;
}

/// Deleting the windows of a tenant leaves those of others.
pub(super) async fn deleting_windows_leaves_other_tenants<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let minute = window(Period::Seconds(60), "2026-11-30T12:00:00Z");
    for tenant in ["acme", "acme-2", "acm"] {
        stage.lease(tenant, month(), 5, 10).await;
        stage.lease(tenant, minute, 5, 10).await;
    }
    for _ in 0..2 {
        done("deleting windows", store.delete_windows(&tenant_id("acme")).await);
        stage.expect_used("after a deletion", "acme", &[month(), minute], &[0, 0]).await;
        for tenant in ["acme-2", "acm"] {
            stage.expect_used("after a deletion", tenant, &[month(), minute], &[5, 5]).await;
        }
    }
}

/// Pages of any length have the windows of all tenants that end after the given time, once each, in ascending order of the
/// end, then of the tenant, then of the number of the period.
pub(super) async fn windows_of_all_tenants_are_read_in_pages<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    same("the windows of an empty store", &stage.pages(Timestamp::MIN, 5).await, &Vec::new());
    let windows = [
        window(Period::Month, "1969-11-30T12:00:00Z"),
        window(Period::Seconds(60), "2026-11-30T12:00:00Z"),
        window(Period::Seconds(60), "2026-11-30T12:01:00Z"),
        // These end with the month.
        month(),
        window(Period::Seconds(43_200), "2026-11-30T12:00:00Z"),
        window(Period::Seconds(86_400), "2026-11-30T12:00:00Z"),
        window(Period::Month, "9999-12-31T00:00:00Z"),
    ];
    let mut used = Vec::new();
    for (window, units) in windows.into_iter().zip(1..) {
        for tenant in ["acme-2", "acme", "Acme", "acm"] {
            stage.lease(tenant, window, units, 1_000).await;
            used.push(UsedWindow { tenant: tenant_id(tenant), window, used: units });
        }
    }
    // The units of a lease are not those that are used.
    stage.lease("acme", month(), 100, 1_000).await;
    for used in &mut used {
        if used.tenant == tenant_id("acme") && used.window == month() {
            used.used += 100;
        }
    }
    used.sort_by_key(|used| (used.window.end(), used.tenant.clone(), used.window.number()));
    let [first, second, ..] = windows;
    for ended in [Timestamp::MIN, first.end(), second.start(), second.end(), month().end()] {
        let left: Vec<_> = used.iter().filter(|used| used.window.end() > ended).cloned().collect();
        for length in [1, 3, 4, 28, 100] {
            let found = stage.pages(ended, length).await;
            same(format_args!("the windows after {ended} in pages of {length}"), &found, &left);
        }
    }
}
