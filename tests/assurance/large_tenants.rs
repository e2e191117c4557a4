//! A tenant of 300,000 keys. Issuing stops counting at the quota, and each portion of a deletion ends within
//! its time limit. `--nocapture` shows the figures.

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use crate::support::{PEPPER, catalog, overheard::RevealKnown as _, server};
use keyway::{
    Keyring, NewKey, Pepper, Policy, PostgresStore, SqliteStore, Tier,
    store::{AnyStore, KeyStore},
};
use sqlx::{AssertSqlSafe, PgPool};

const KEYS: u32 = 300_000;

fn keyring(store: &AnyStore) -> Keyring {
    let tiers = [Tier::new("small", 5), Tier::new("large", 1_000_000)];
    let policy = Policy::new("mm", catalog(), tiers).unwrap();
    Keyring::builder(policy, Pepper::from_bytes(PEPPER).unwrap())
        .environment("live")
        .store(store.clone())
        .cache_capacity(0)
        .build()
        .unwrap()
}

/// Measures a deletion, after `fill` has given the tenant `acme` its keys, and how long the slowest
/// concurrent write waited.
async fn measure(engine: &str, store: AnyStore, fill: impl AsyncFnOnce()) {
    let keyring = keyring(&store);
    let acme = keyring.create_empty_tenant("acme", "large").await.unwrap();
    let token = acme.issue(NewKey::named("n")).await.unwrap().token.reveal_known().to_string();
    let beta = keyring.create_empty_tenant("beta", "large").await.unwrap();
    fill().await;
    keyring.set_tier(acme.id(), "small").await.unwrap();

    let started = Instant::now();
    assert!(acme.issue(NewKey::named("n")).await.is_err());
    let refused = started.elapsed();
    let started = Instant::now();
    let bounded = store.count_keys(acme.id(), 5).await.unwrap();
    let (counted_5, started) = (started.elapsed(), Instant::now());
    let shown = acme.quota().await.unwrap().held;
    let counted_shown = started.elapsed();
    assert_eq!((bounded, shown), (5, 100_000));
    assert!(counted_5 * 4 < counted_shown, "{counted_5:?}: a count goes on behind its bound");

    let started = Instant::now();
    let others = async {
        let mut longest = Duration::ZERO;
        let mut refused_after = None;
        // During the deletion, other tenants write, and the deleted tenant's key is rejected.
        for _ in 0..200 {
            let asked = Instant::now();
            let _ = beta.issue(NewKey::named("n")).await.unwrap();
            longest = longest.max(asked.elapsed());
            if keyring.verify(&token).await.is_err() && refused_after.is_none() {
                refused_after = Some(started.elapsed());
            }
        }
        (longest, refused_after)
    };
    let deletion = async {
        keyring.delete_tenant(acme.id()).await.unwrap();
        started.elapsed()
    };
    let (deleted, (longest, refused_after)) = futures_util::future::join(deletion, others).await;
    println!(
        "{engine}: refused for its quota after {refused:?}; counted up to 5 in {counted_5:?} and up to \
         100,000 in {counted_shown:?}; deleted after {deleted:?}, refused after {refused_after:?}; the \
         longest write of another tenant took {longest:?}"
    );
    assert!(keyring.delete_tenant(acme.id()).await.unwrap_err().is_not_found());
    assert!(refused_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_tenant_is_deleted_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = AnyStore::new(SqliteStore::open(&path).await.unwrap());
    let fill = async move || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let insert = "INSERT INTO keyway_keys (id, tenant, created_at, version, record, last_used) \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
             SELECT CAST(format('Afiller%09d', n) AS BLOB), k.tenant, n, 1, k.record, NULL \
             FROM n, keyway_keys k WHERE k.tenant = CAST('acme' AS BLOB)";
        assert_eq!(connection.execute(insert, [KEYS]).unwrap(), KEYS as usize);
    };
    measure("SQLite", store, fill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_tenant_is_deleted_in_postgres() {
    let server = server::shared();
    let schema = server::fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let fill = async move || {
        let insert = format!(
            "INSERT INTO {schema}.keys (id, tenant, created_at, version, record, last_used) \
             SELECT convert_to('Afiller' || lpad(n::text, 9, '0'), 'UTF8'), k.tenant, n, 1, k.record, \
             NULL FROM generate_series(1, {KEYS}) n, {schema}.keys k \
             WHERE k.tenant = convert_to('acme', 'UTF8')"
        );
        let done = sqlx::query(AssertSqlSafe(insert)).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), u64::from(KEYS));
    };
    measure("PostgreSQL", AnyStore::new(store), fill).await;
}
