//! Leases and returns: the units never exceed the limit, whatever happens at the same time.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all};

use super::{Stage, month};
use crate::store::{
    Leased, LimitStore,
    conformance::{
        expect::{done, holds, same},
        give_up::give_up_after,
        issuer::tenant_id,
    },
};

/// The maximum number of awaits at which a lease is dropped.
const MOST_AWAITS: usize = 64;

/// A lease adds what is wanted, and returns what is used afterwards.
pub(super) async fn leases_add_up<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    for (want, used) in [(3, 3), (1, 4), (40, 44), (56, 100)] {
        stage.expect_lease(want, 100, want, used).await;
        stage.expect_used("after a lease", "acme", &[month()], &[used]).await;
    }
}

/// A lease adds what is left if that is less than what is wanted, and nothing if nothing is left.
pub(super) async fn a_lease_stops_at_the_limit<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    stage.expect_lease(7, 5, 5, 5).await;
    stage.expect_lease(1, 5, 0, 5).await;
    stage.expect_lease(7, 10, 5, 10).await;
    stage.expect_lease(u64::MAX, 11, 1, 11).await;
    stage.expect_used("after leases up to the limit", "acme", &[month()], &[11]).await;
}

/// A lease of nothing changes nothing.
pub(super) async fn a_lease_of_nothing_changes_nothing<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    stage.expect_lease(0, 10, 0, 0).await;
    stage.expect_lease(4, 10, 4, 4).await;
    stage.expect_lease(0, 10, 0, 4).await;
    stage.expect_lease(2, 10, 2, 6).await;
}

/// A limit below what is used adds nothing, and takes nothing away.
pub(super) async fn a_lower_limit_takes_nothing_away<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    stage.expect_lease(8, 10, 8, 8).await;
    stage.expect_lease(3, 5, 0, 8).await;
    stage.expect_lease(3, 0, 0, 8).await;
    stage.expect_lease(3, 10, 2, 10).await;
}

/// Units that are returned can be leased again.
pub(super) async fn returned_units_are_leased_again<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    stage.expect_lease(10, 10, 10, 10).await;
    stage.give_back("acme", month(), 4).await;
    stage.expect_used("after a return", "acme", &[month()], &[6]).await;
    stage.expect_lease(9, 10, 4, 10).await;
}

/// More units are returned than are used, or in a window that nobody has used. Nothing is gained by it.
pub(super) async fn returns_stop_at_zero<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    stage.give_back("acme", month(), 4).await;
    stage.expect_lease(9, 10, 9, 9).await;
    for units in [20, u64::MAX] {
        stage.give_back("acme", month(), units).await;
        stage.expect_used("after a return of too many", "acme", &[month()], &[0]).await;
    }
    stage.expect_lease(12, 10, 10, 10).await;
}

/// The largest limit can be leased up to 2^63 - 1 at least, and never begins again at zero.
pub(super) async fn the_largest_limit_holds<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    let first = stage.lease("acme", month(), 1 << 62, u64::MAX).await;
    same("the first half", &first, &Leased { granted: 1 << 62, used: 1 << 62 });
    let mut used = first.used;
    for _ in 0..3 {
        let Leased { granted, used: after } =
            stage.lease("acme", month(), u64::MAX, u64::MAX).await;
        holds(
            format!("{granted} units were added to {used}, which became {after}"),
            used.checked_add(granted) == Some(after),
        );
        used = after;
    }
    holds(format!("{used} units are used of the largest limit"), used >= i64::MAX.unsigned_abs());
}

/// Concurrent leases never exceed the limit, and use all of it.
pub(super) async fn concurrent_leases_stay_within_the_limit<S: LimitStore>(store: &S) {
    let acme = tenant_id("acme");
    for (want, limit) in [(1, 5), (3, 20), (7, 1_000)] {
        let stage = Stage::new(store);
        let used = stage.used("acme", &[month()]).await.iter().sum::<u64>();
        stage.give_back("acme", month(), used).await;
        let leases = (0..12).map(|_| store.lease_units(&acme, month(), want, limit));
        let mut sum = 0;
        for leased in join_all(leases).await {
            sum += done("leasing beside others", leased).granted;
        }
        same("the units of concurrent leases", &sum, &limit.min(12 * want));
        stage.expect_used("after concurrent leases", "acme", &[month()], &[sum]).await;
    }
}

/// Concurrent leases and returns are all counted.
pub(super) async fn returns_beside_leases_are_counted<S: LimitStore>(store: &S) {
    let (stage, acme) = (Stage::new(store), tenant_id("acme"));
    stage.expect_lease(100, 1_000, 100, 100).await;
    let leases = join_all((0..8).map(|_| store.lease_units(&acme, month(), 10, 1_000)));
    let returns = join_all((0..8).map(|_| store.return_units(&acme, month(), 5)));
    let (leases, returns) = join(leases, returns).await;
    for leased in leases {
        same("a lease beside returns", &done("leasing beside returns", leased).granted, &10);
    }
    for returned in returns {
        done("returning beside leases", returned);
    }
    stage.expect_used("after leases and returns at once", "acme", &[month()], &[140]).await;
}

/// A lease whose future is dropped at any await adds all of its units or none.
pub(super) async fn a_dropped_lease_is_whole_or_nothing<S: LimitStore>(store: &S) {
    let stage = Stage::new(store);
    for polls in 0..MOST_AWAITS {
        let name = format!("t{polls}");
        let tenant = tenant_id(&name);
        let finished = give_up_after(polls, store.lease_units(&tenant, month(), 9, 10)).await;
        let ended = finished.is_some();
        if let Some(leased) = finished {
            done(format_args!("a lease, polled {polls} times"), leased);
        }
        // The lease may still be under way, so reads change from nothing to all, in one step, and stay.
        let mut least = if ended { 9 } else { 0 };
        for _ in 0..3 {
            let found: Vec<u64> = stage.used(&name, &[month()]).await;
            let found = found.iter().sum::<u64>();
            holds(
                format!("a lease of 9 units, dropped after {polls} polls, has {found}"),
                (found == 0 || found == 9) && found >= least,
            );
            least = found;
        }
        if ended {
            return;
        }
    }
}
