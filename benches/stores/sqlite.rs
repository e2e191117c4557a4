//! SQLite, compared with `rusqlite` on its own thread.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use keyway::{
    KeyRecord, SqliteStore, Timestamp,
    record::TenantRecord,
    store::{KeyQuery, KeyStore, KeyUse},
};
use rusqlite::{Connection, TransactionBehavior};

use crate::{
    bare::{Bare, Folder, connect},
    population::{KEYS, Population, Rotation, request, uncached},
    report::{Report, median},
    steady::{cold_burst, steady},
};

const SELECT_KEY: &str = "SELECT id, tenant, created_at, version, record, last_used \
                          FROM keyway_keys WHERE id = ?1";
const INSERT_KEY: &str = "INSERT INTO keyway_keys (id, tenant, created_at, version, record) \
                          VALUES (?1, ?2, ?3, ?4, ?5)";

pub(crate) fn run(population: &Population, large: usize, report: &mut Report) {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let files = [folder.0.join("ours"), folder.0.join("bare"), folder.0.join("large")];
        for file in &files {
            SqliteStore::open(file).await.unwrap();
        }
        let [ours, bare, grown] = &files;
        fill(ours, population.first(200), 0);
        fill(bare, population.first(200), 0);
        lookup(population, (ours, bare), report).await;
        issue(population, (ours, bare), report).await;
        growth(population, (ours, grown), large, report).await;
        flush(population, grown, report).await;
    });
}

/// Measures the reads of nodes that share a file.
pub(crate) fn shared(report: &mut Report) {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let population = Population::new(if report.is_quick() { 200 } else { 20_000 });
        let file = folder.0.join("keys");
        let store = SqliteStore::open(&file).await.unwrap();
        fill(&file, population.first(population.tenants.len()), 0);
        let other = SqliteStore::open(&file).await.unwrap();
        cold_burst("sqlite", store.clone(), &population, report).await;
        steady("sqlite", (store.clone(), other), store.feed(), &population, report).await;
    });
}

async fn lookup(population: &Population, (ours, bare): (&Path, &Path), report: &mut Report) {
    let keyring = uncached(SqliteStore::open(ours).await.unwrap());
    let in_thread = connect(bare);
    let bare = Bare::open(bare);
    let keys = 1_000;
    let ids: Vec<[u8; 16]> =
        population.keys[..keys].iter().map(|key| *key.id().as_bytes()).collect();
    let (mut next, mut also) = (Rotation::of(keys), Rotation::of(keys));
    report
        .case(
            "sqlite_lookup",
            1.20,
            (151, 100),
            async || {
                let id = ids[next.next()];
                assert_eq!(bare.run(move |connection| select(connection, &id)).await.len(), 16);
            },
            async || {
                keyring.verify(&population.tokens[also.next()]).await.unwrap();
            },
        )
        .await;
    let plain = median((0..report.rounds(151)).map(|_| {
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(select(&in_thread, &ids[next.next()]).len(), 16);
        }
        start.elapsed().as_secs_f64() / 100.0
    }));
    println!("     sqlite_lookup: the bare statement without the hop {:.1} us", plain * 1e6);
    // Without a pause, the floor's thread still spins when the next job comes, and need not be woken. A
    // single request has to wake it.
    let mut rows = Vec::new();
    for _ in 0..report.rounds(2_000) {
        let id = ids[next.next()];
        let floor = async || drop(bare.run(move |rows| select(rows, &id)).await);
        let token = &population.tokens[also.next()];
        let case = async || drop(keyring.verify(token).await.unwrap());
        rows.push((after_a_pause(floor).await, after_a_pause(case).await));
    }
    report.rows("sqlite_lookup_paced", 1.20, &rows);
}

/// Returns the seconds of `work`, started after all threads have gone to sleep.
async fn after_a_pause(work: impl AsyncFnOnce()) -> f64 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
    let start = Instant::now();
    work().await;
    start.elapsed().as_secs_f64()
}

/// Returns a key's row, copied into owned values.
fn select(connection: &Connection, id: &[u8; 16]) -> Vec<u8> {
    let mut statement = connection.prepare_cached(SELECT_KEY).unwrap();
    let row: (Vec<u8>, Vec<u8>, i64, i64, Vec<u8>, Option<i64>) = statement
        .query_row([id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .unwrap();
    row.0
}

async fn issue(population: &Population, (ours, bare): (&Path, &Path), report: &mut Report) {
    let (rounds, iterations) = (101, KEYS);
    // Each round fills one tenant to its quota.
    let number = report.rounds(rounds) + 1;
    let tenants = population.empty_tenants(number);
    fill(ours, (&tenants, &[]), 0);
    fill(bare, (&tenants, &[]), 0);
    let keys = tenants.iter().flat_map(|tenant| (0..KEYS).map(|_| population.key_of(tenant)));
    let mut keys: Vec<KeyRecord> = keys.collect();
    let keyring = uncached(SqliteStore::open(ours).await.unwrap());
    let bare = Bare::open(bare);
    let mut next = 0;
    report
        .case(
            "sqlite_issue",
            1.25,
            (rounds, iterations),
            async || {
                let key = keys.pop().unwrap();
                bare.run(move |connection| insert_within_quota(connection, &key)).await;
            },
            async || {
                let tenant = keyring.tenant(tenants[next / KEYS].id().clone());
                drop(tenant.issue(request()).await.unwrap());
                next += 1;
            },
        )
        .await;
}

fn insert_within_quota(connection: &mut Connection, key: &KeyRecord) {
    let record = key.encode();
    let tenant = key.tenant().as_str().as_bytes();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    {
        // The transaction already locks all rows, so this only checks that the tenant exists.
        let lock = "SELECT version FROM keyway_tenants WHERE id = ?1";
        let mut lock = transaction.prepare_cached(lock).unwrap();
        let version: i64 = lock.query_row([tenant], |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
        let count = "SELECT count(*) FROM keyway_keys WHERE tenant = ?1";
        let mut count = transaction.prepare_cached(count).unwrap();
        let held: i64 = count.query_row([tenant], |row| row.get(0)).unwrap();
        assert!(held < 5);
        let mut insert = transaction.prepare_cached(INSERT_KEY).unwrap();
        let id = key.id();
        let created_at = key.created_at().as_millis();
        insert.execute((id.as_bytes(), tenant, created_at, 1, &record)).unwrap();
    }
    transaction.commit().unwrap();
}

/// Makes sixteen calls at a time, so that the figure measures their work and not the wake-up of a thread for
/// each.
async fn growth(
    population: &Population,
    (small, grown): (&Path, &Path),
    large: usize,
    report: &mut Report,
) {
    fill(grown, population.first(population.tenants.len()), large);
    let small = uncached(SqliteStore::open(small).await.unwrap());
    let grown = uncached(SqliteStore::open(grown).await.unwrap());
    // The keys of the same tenants, among many and among few.
    let (mut next, mut also) = (Rotation::of(200), Rotation::of(200));
    let list = async |keyring: &keyway::Keyring, tenant: usize, text: &str| {
        let tenant = keyring.tenant(population.tenants[tenant].id().clone());
        let found = match text {
            "" => tenant.list(&KeyQuery::all()).await.unwrap().items,
            text => tenant.search(text).await.unwrap().items,
        };
        assert_eq!(found.len(), KEYS);
    };
    for (name, text) in [("list_growth_sqlite", ""), ("search_growth_sqlite", "nightly")] {
        report
            .case(
                name,
                1.3,
                (151, 4),
                async || drop(join_all((0..16).map(|_| list(&small, next.next(), text))).await),
                async || drop(join_all((0..16).map(|_| list(&grown, also.next(), text))).await),
            )
            .await;
    }
}

async fn flush(population: &Population, file: &Path, report: &mut Report) {
    let store = SqliteStore::open(file).await.unwrap();
    let bare = Bare::open(file);
    let marks = population.keys.len().min(10_000);
    let at = population.now.as_millis();
    let ids: Arc<[[u8; 16]]> =
        population.keys[..marks].iter().map(|key| *key.id().as_bytes()).collect();
    let mut later = at;
    report
        .case(
            "flush_sqlite",
            1.5,
            (15, 1),
            async || {
                let ids = Arc::clone(&ids);
                bare.run(move |connection| {
                    let transaction = connection
                        .transaction_with_behavior(TransactionBehavior::Immediate)
                        .unwrap();
                    {
                        let update = "UPDATE keyway_keys SET last_used = ?2 WHERE id = ?1";
                        let mut update = transaction.prepare_cached(update).unwrap();
                        for id in &*ids {
                            assert_eq!(update.execute((id, at)).unwrap(), 1);
                        }
                    }
                    transaction.commit().unwrap();
                })
                .await;
            },
            async || {
                later += 1_000;
                let at = Timestamp::from_millis(later).unwrap();
                let uses = population.keys[..marks].iter().map(|key| KeyUse { id: key.id(), at });
                store.record_uses(&uses.collect::<Vec<_>>(), Timestamp::MAX).await.unwrap();
            },
        )
        .await;
}

/// Writes these tenants and keys, and this many keys of other tenants.
fn fill(file: &Path, (tenants, keys): (&[TenantRecord], &[KeyRecord]), others: usize) {
    let mut connection = connect(file);
    connection.pragma_update(None, "cache_size", -400_000).unwrap();
    let transaction = connection.transaction().unwrap();
    for tenant in tenants {
        let insert = "INSERT INTO keyway_tenants (id, version, record) VALUES (?1, 1, ?2)";
        let mut insert = transaction.prepare_cached(insert).unwrap();
        insert.execute((tenant.id().as_str().as_bytes(), tenant.encode())).unwrap();
    }
    for key in keys {
        let mut insert = transaction.prepare_cached(INSERT_KEY).unwrap();
        let tenant = key.tenant().as_str().as_bytes();
        let created_at = key.created_at().as_millis();
        insert.execute((key.id().as_bytes(), tenant, created_at, 1, key.encode())).unwrap();
    }
    let numbers = "WITH RECURSIVE numbers (n) AS \
                   (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1 - 1)";
    if others > 0 {
        let others = i64::try_from(others).unwrap();
        let tenants = format!(
            "{numbers} INSERT INTO keyway_tenants \
             SELECT CAST(printf('other-%07d', n) AS BLOB), 1, randomblob(100) FROM numbers"
        );
        transaction.execute(&tenants, [others / 5]).unwrap();
        let keys = format!(
            "{numbers} INSERT INTO keyway_keys (id, tenant, created_at, version, record) \
             SELECT CAST(hex(randomblob(8)) AS BLOB), \
             CAST(printf('other-%07d', n / {KEYS}) AS BLOB), {} + n, 1, randomblob(300) \
             FROM numbers ORDER BY 1",
            1_767_225_600_000_i64
        );
        transaction.execute(&keys, [others]).unwrap();
    }
    transaction.commit().unwrap();
    connection.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}
