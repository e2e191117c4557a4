//! Ten million rows of usage: 100,000 keys over 100 days. `--nocapture` shows the figures.

#[path = "../support/mod.rs"]
mod support;

use std::{
    env, fs,
    time::{Duration, Instant},
};

use crate::support::server;
use keyway::{
    KeyId, PostgresStore, SqliteStore, TenantId,
    store::UsageStore,
    usage::{Counts, Day, KeyUsage, Span, UsageFlush},
};
use sqlx::{AssertSqlSafe, PgPool};

const KEYS: u32 = 100_000;
const DAYS: i32 = 100;

/// The number of keys of a tenant.
const OF_TENANT: u32 = 50;

/// The longest time that a page with 30 days of 50 keys may take.
const PAGE: Duration = Duration::from_millis(200);

fn first_day() -> Day {
    Day::of("2026-01-01T00:00:00Z".parse().unwrap())
}

/// Returns the id of a key. Its first letter is the slot of its pepper.
fn key(number: u32) -> KeyId {
    format!("A{:015}", u64::from(number) * 7_919).parse().unwrap()
}

fn tenant(number: u32) -> TenantId {
    format!("tenant-{}", number / OF_TENANT).parse().unwrap()
}

/// Returns a flush of one request of every key.
fn flush(node: u128, day: i32) -> UsageFlush {
    let day = first_day().plus(day);
    let counts = Counts { admitted: 7, forbidden: 1, limited: 0 };
    let row = |number| KeyUsage { tenant: tenant(number), key: key(number), day, counts };
    let number = u64::try_from(day.number()).unwrap();
    UsageFlush { node, number, day, rows: (0..KEYS).map(row).collect() }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let done = work.await;
    (done, started.elapsed())
}

async fn measure(engine: &str, store: impl UsageStore, size: impl AsyncFn() -> u64) {
    let mut flushes = Vec::new();
    for day in 0..DAYS {
        let flush = flush(1, day);
        let (added, took) = timed(store.add_usage(&flush)).await;
        added.unwrap();
        flushes.push(took);
    }
    // The same keys on the same day, from another node: all rows are there.
    let again = flush(2, DAYS - 1);
    let (added, repeated) = timed(store.add_usage(&again)).await;
    added.unwrap();
    let full = size().await;

    let of = KEYS / 2 / OF_TENANT * OF_TENANT;
    let keys: Vec<KeyId> = (of..of + OF_TENANT).map(key).collect();
    let last = first_day().plus(DAYS - 1);
    let month = Span::days(last.plus(-29), last);
    let mut reads = Vec::new();
    for _ in 0..21 {
        let (rows, took) = timed(store.key_usage(&tenant(of), &keys, month)).await;
        assert_eq!(rows.unwrap().len(), 30 * keys.len());
        reads.push(took);
    }
    let (sums, summed) = timed(store.tenant_usage(&tenant(of), month)).await;
    assert_eq!(sums.unwrap().len(), 30);
    let (rolled, roll_up) = timed(store.roll_up_usage(first_day().plus(70), Day::MIN)).await;
    assert_eq!(rolled.unwrap(), u64::from(KEYS) * 70);
    let (deleted, deletion) = timed(store.delete_usage(&tenant(of))).await;
    deleted.unwrap();
    reads.sort_unstable();
    println!(
        "{engine}: a flush of {KEYS} new rows {:?} at first and {:?} behind {} million, of known rows {repeated:?}; \
         {} bytes a row; 30 days of {OF_TENANT} keys {:?} (median) and {:?} (longest), their sum {summed:?}; \
         7 million rows into months {roll_up:?}; deletion of a tenant {deletion:?}",
        flushes[0],
        flushes[flushes.len() - 1],
        i64::from(KEYS) * i64::from(DAYS) / 1_000_000,
        full / (u64::from(KEYS) * u64::try_from(DAYS).unwrap()),
        reads[reads.len() / 2],
        reads[reads.len() - 1],
    );
    assert!(reads[reads.len() - 1] <= PAGE && summed <= PAGE, "{reads:?}, {summed:?}");
}

#[tokio::test]
async fn usage_of_ten_million_rows_in_sqlite() {
    let path = env::temp_dir().join(format!("keyway-large-usage-{}.db", std::process::id()));
    let store = SqliteStore::open(&path).await.unwrap();
    measure("SQLite", store, async || fs::metadata(&path).unwrap().len()).await;
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", path.display()));
    }
}

#[tokio::test]
async fn usage_of_ten_million_rows_in_postgres() {
    let server = server::shared();
    let schema = server::fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let size = format!(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace"
    );
    measure("PostgreSQL", store, async || {
        let bytes: i64 = sqlx::query_scalar(AssertSqlSafe(&*size)).fetch_one(&pool).await.unwrap();
        bytes.cast_unsigned()
    })
    .await;
}
