//! Moves of usage and of used units from any store to any other one.

use std::num::NonZeroUsize;

use keyway::{
    KeyId, TenantId, Timestamp,
    allowance::{Period as Length, Window},
    store::{CopyError, LimitStore, UsageStore, UsedWindow, copy_limits, copy_usage},
    time::{Clock as _, SystemClock},
    usage::{Counts, Day, KeyUsage, Period, Span, UsageFlush},
};

use super::tenant_id;

/// The days of the usage that [`fill_usage`] adds.
const DAYS: i32 = 60;
/// Its rows of days, for two tenants. They do not fit on one page.
const ROWS_OF_DAYS: usize = 2 * 20 * 30;
/// Its rows of months: three months of each key.
const ROWS_OF_MONTHS: usize = 2 * 20 * 2;

fn first_day() -> Day {
    "2026-09-17".parse().unwrap()
}

fn key(number: usize) -> KeyId {
    format!("Amoved{number:010}").parse().unwrap()
}

pub fn usage_of(tenant: &str, number: usize, day: Day, admitted: u64) -> KeyUsage {
    let counts = Counts { admitted, forbidden: 1, limited: admitted / 2 };
    KeyUsage { tenant: tenant_id(tenant), key: key(number), day, counts }
}

pub async fn add_usage(store: &impl UsageStore, number: u64, rows: Vec<KeyUsage>) {
    let flush = UsageFlush { node: 7, number, day: Day::MAX, rows };
    store.add_usage(&flush).await.unwrap();
}

/// Adds the usage of 20 keys each of `acme` and `beta`, on 60 days, of which the first half is rolled up into two months.
/// Returns the number of its rows.
pub async fn fill_usage(store: &impl UsageStore) -> u64 {
    let rows = ["acme", "beta"].into_iter().flat_map(|tenant| {
        (0..DAYS).flat_map(move |day| {
            let admitted = u64::from(day.unsigned_abs());
            (0..20).map(move |key| usage_of(tenant, key, first_day().plus(day), admitted))
        })
    });
    add_usage(store, 1, rows.collect()).await;
    store.roll_up_usage(first_day().plus(DAYS / 2), Day::MIN).await.unwrap();
    (ROWS_OF_DAYS + ROWS_OF_MONTHS) as u64
}

/// Returns all rows of days and of months.
pub async fn all_usage(store: &impl UsageStore) -> [Vec<KeyUsage>; 2] {
    let limit = NonZeroUsize::new(100_000).unwrap();
    let [days, months] =
        [Period::Day, Period::Month].map(|period| store.usage_rows(period, None, limit));
    [days.await.unwrap(), months.await.unwrap()]
}

/// Returns what an application reads: the sums of the tenants, and the rows of some keys.
async fn read_usage(store: &impl UsageStore) -> String {
    let mut read = String::new();
    for tenant in ["acme", "beta", "nobody"].map(tenant_id) {
        for span in [Span::days(Day::MIN, Day::MAX), Span::months(Day::MIN, Day::MAX)] {
            let sums = store.tenant_usage(&tenant, span).await.unwrap();
            let rows = store.key_usage(&tenant, &[key(0), key(7)], span).await.unwrap();
            read += &format!("{sums:?} {rows:?}\n");
        }
    }
    read
}

async fn expect_same_usage(from: &impl UsageStore, to: &impl UsageStore) {
    assert_eq!(all_usage(from).await, all_usage(to).await);
    assert_eq!(read_usage(from).await, read_usage(to).await);
}

/// Copies usage between two empty stores, several times, and counts that the target must not have.
pub async fn moves_usage(from: impl UsageStore, to: impl UsageStore) {
    assert_eq!(copy_usage(&from, &to).await.unwrap(), 0);
    let rows = fill_usage(&from).await;
    assert!(read_usage(&from).await.lines().next().unwrap().contains("admitted: 59"));
    for _ in 0..2 {
        assert_eq!(copy_usage(&from, &to).await.unwrap(), rows);
        expect_same_usage(&from, &to).await;
    }
    // The source store was used again, also on a day that is in the target.
    let on = first_day().plus(DAYS - 1);
    add_usage(&from, 2, vec![usage_of("acme", 0, on, 5), usage_of("acme", 99, on, 6)]).await;
    assert_eq!(copy_usage(&from, &to).await.unwrap(), rows + 1);
    expect_same_usage(&from, &to).await;
    // Roll-ups find the same days in both stores.
    let end = first_day().plus(DAYS);
    let deleted = from.roll_up_usage(end, Day::MIN).await.unwrap();
    assert_eq!(deleted, ROWS_OF_DAYS as u64 + 1);
    // A day of the target that is in a month of the source would count twice.
    let refused = copy_usage(&from, &to).await;
    assert!(matches!(&refused, Err(CopyError::UsageDiffers(id)) if id.as_str() == "acme"));
    assert_eq!(to.roll_up_usage(end, Day::MIN).await.unwrap(), deleted);
    expect_same_usage(&from, &to).await;
    // A node has counted in the target.
    add_usage(&to, 9, vec![usage_of("beta", 3, end, 1)]).await;
    let refused = copy_usage(&from, &to).await;
    assert!(matches!(&refused, Err(CopyError::UsageDiffers(id)) if id.as_str() == "beta"));
}

/// Returns the present windows of a month, a day and a minute, and one that has ended.
pub fn windows() -> [Window; 4] {
    let now = SystemClock.moment().now;
    let earlier = Timestamp::saturating_from_millis(now.as_millis() - 2 * 60 * 60 * 1_000);
    [
        Window::of(Length::Month, now),
        Window::of(Length::Seconds(86_400), now),
        Window::of(Length::Seconds(60), now),
        Window::of(Length::Seconds(60), earlier),
    ]
}

pub async fn lease(store: &impl LimitStore, tenant: &TenantId, window: Window, units: u64) {
    let leased = store.lease_units(tenant, window, units, u64::MAX).await.unwrap();
    assert_eq!(leased.granted, units);
}

/// Adds units of `acme` and `beta` in all windows. Returns those that a copy must have.
pub async fn fill_limits(store: &impl LimitStore) -> Vec<UsedWindow> {
    let mut used = Vec::new();
    for tenant in ["acme", "beta"].map(tenant_id) {
        for (window, (units, copied)) in
            windows().into_iter().zip([(500, 500), (40, 40), (3, 3), (7, 0)])
        {
            lease(store, &tenant, window, units).await;
            used.push(UsedWindow { tenant: tenant.clone(), window, used: copied });
        }
    }
    used
}

pub async fn expect_units(to: &impl LimitStore, used: &[UsedWindow]) {
    for UsedWindow { tenant, window, used } in used {
        let there = to.used_units(tenant, &[*window]).await.unwrap();
        assert_eq!(there, [*used], "{tenant} {window:?}");
    }
}

/// Copies used units between two empty stores, several times.
pub async fn moves_limits(from: impl LimitStore, to: impl LimitStore) {
    assert_eq!(copy_limits(&from, &to).await.unwrap(), 0);
    let mut used = fill_limits(&from).await;
    for _ in 0..2 {
        assert_eq!(copy_limits(&from, &to).await.unwrap(), 6);
        expect_units(&to, &used).await;
    }
    // Nothing is left of an allowance that was used up.
    let month = used[0].window;
    let acme = tenant_id("acme");
    assert_eq!(to.lease_units(&acme, month, 1, 500).await.unwrap().granted, 0);
    // The source store was used again.
    lease(&from, &acme, month, 20).await;
    used[0].used += 20;
    assert_eq!(copy_limits(&from, &to).await.unwrap(), 6);
    expect_units(&to, &used).await;
    // The target was used. It keeps what it has, and the source does not lower it.
    lease(&to, &acme, month, 5).await;
    copy_limits(&from, &to).await.unwrap();
    used[0].used += 5;
    expect_units(&to, &used).await;
    // More units than any database holds, and more windows than one page has.
    from.delete_windows(&acme).await.unwrap();
    to.delete_windows(&acme).await.unwrap();
    from.lease_units(&acme, month, u64::MAX, u64::MAX).await.unwrap();
    let day = windows()[1];
    for number in 0..1_001 {
        lease(&from, &tenant_id(&format!("t{number}")), day, number + 1).await;
    }
    assert_eq!(copy_limits(&from, &to).await.unwrap(), 1 + 3 + 1_001);
    assert_eq!(to.lease_units(&acme, month, 1, i64::MAX.unsigned_abs()).await.unwrap().granted, 0);
    let last = to.used_units(&tenant_id("t1000"), &[day]).await.unwrap();
    assert_eq!(last, [1_001]);
}
