//! The statements for allowances, which find their rows by an index.

use std::num::NonZeroUsize;

use keyway::{
    PostgresStore, Timestamp,
    allowance::{Period, Window},
    store::{LimitStore, UsedWindow},
};

use crate::support::{
    server::{Server, fresh_schema},
    tenant_id,
};

/// Calls each method, so that each statement runs.
pub(super) async fn use_limits(store: &PostgresStore) {
    let acme = tenant_id("acme");
    let at: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
    let window = Window::of(Period::Seconds(60), at);
    for (want, granted) in [(3, 3), (9, 7)] {
        let leased = store.lease_units(&acme, window, want, 10).await.unwrap();
        assert_eq!(leased.granted, granted);
    }
    store.return_units(&acme, window, 4).await.unwrap();
    assert_eq!(store.used_units(&acme, &[window]).await.unwrap(), [6]);
    for after in [None, Some(UsedWindow { tenant: acme.clone(), window, used: 6 })] {
        let page = store.used_windows(Timestamp::MIN, after.as_ref(), NonZeroUsize::MIN).await;
        assert_eq!(page.unwrap().len(), usize::from(after.is_none()));
    }
    assert_eq!(store.purge_windows(window.end()).await.unwrap(), 1);
    store.delete_windows(&acme).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn two_statements_for_one_window_wait_for_each_other() {
    let server = Server::start(&[]);
    let schema = fresh_schema();
    let builder = || PostgresStore::builder().schema(&schema).max_connections(4);
    let first = builder().connect(&server.url()).await.unwrap();
    let second = builder().connect(&server.url()).await.unwrap();
    let acme = tenant_id("acme");
    let window = Window::of(Period::Month, Timestamp::MIN);
    let mut granted = 0;
    for _ in 0..50 {
        let leases = (0..4).flat_map(|_| [&first, &second]);
        let leases = leases.map(|store| store.lease_units(&acme, window, 3, 1_000));
        for leased in futures_util::future::join_all(leases).await {
            granted += leased.unwrap().granted;
        }
    }
    assert_eq!(granted, 1_000);
    assert_eq!(first.used_units(&acme, &[window]).await.unwrap(), [1_000]);
}
