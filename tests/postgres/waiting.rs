//! Operations that wait for a lock, and other operations that they must not delay.

use std::time::{Duration, Instant};

use keyway::{IssuedKey, KeyringError, NewKey, PostgresStore, TenantKeys, verifier::Freshness};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;

use super::{
    keyring,
    support::overheard::RevealKnown as _,
    support::server::{Server, fresh_schema, shared},
};

const LIMIT: Duration = Duration::from_secs(3);

/// An issue that runs in a task of its own.
type Issuing = JoinHandle<Result<IssuedKey, KeyringError>>;

/// Starts to issue `number` keys for a tenant whose row is locked. Returns once one of them waits for the lock.
fn issue_behind_a_lock(server: &Server, locked: &TenantKeys, number: usize) -> Vec<Issuing> {
    let waiting = (0..number)
        .map(|number| {
            let locked = locked.clone();
            tokio::spawn(async move { locked.issue(NewKey::named(format!("key {number}"))).await })
        })
        .collect();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let began = Instant::now();
    while server.sql(waits) == "0" {
        assert!(began.elapsed() < LIMIT);
    }
    waiting
}

/// Returns the time of the slowest of 50 reads while 20 writes of another tenant wait for a lock. Each read
/// is a verification and a lookup of a key for a console.
async fn slowest_read(server: &Server, connections: u32) -> Duration {
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema).time_limit(LIMIT);
    let store = builder.max_connections(connections).connect(&server.url()).await.unwrap();
    let keyring = keyring(store);
    let locked = keyring.create_empty_tenant("locked", "advanced").await.unwrap();
    let (other, issued) = keyring.create_tenant("other", "advanced").await.unwrap();
    let token = issued.token.reveal_known();

    let mut beside = PgConnection::connect(&server.url()).await.unwrap();
    let mut transaction = beside.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM {schema}.tenants WHERE id = 'locked'::bytea FOR UPDATE");
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    let waiting = issue_behind_a_lock(server, &locked, 20);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        let verified = keyring.verify_as_of(&*token, Freshness::Now).await;
        let found = other.find(issued.key.id()).await;
        slowest = slowest.max(began.elapsed());
        if verified.is_err() || found.is_err() || slowest > LIMIT / 2 {
            break;
        }
    }
    transaction.rollback().await.unwrap();
    for issue in waiting {
        let _ = issue.await.unwrap();
    }
    slowest
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn waiting_writes_leave_connections_to_reads() {
    let server = shared();
    for connections in [2, 3, 10] {
        let slowest = slowest_read(server, connections).await;
        assert!(slowest < LIMIT / 4, "{connections} connections: {slowest:?}");
    }
    // The control: with a single connection, reads wait together with the writes.
    let slowest = slowest_read(server, 1).await;
    assert!(slowest > LIMIT / 3, "{slowest:?}");
}

/// Writes of one locked row wait for each other in the process before they wait on the server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn writes_of_a_locked_row_leave_other_tenants_writes_alone() {
    let server = shared();
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema).time_limit(LIMIT);
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    let locked = keyring.create_empty_tenant("locked", "advanced").await.unwrap();
    let (other, issued) = keyring.create_tenant("other", "advanced").await.unwrap();
    let mut beside = PgConnection::connect(&server.url()).await.unwrap();
    let mut transaction = beside.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM {schema}.tenants WHERE id = 'locked'::bytea FOR UPDATE");
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    let waiting = issue_behind_a_lock(server, &locked, 40);
    let began = Instant::now();
    let _ = other.issue(NewKey::named("second")).await.unwrap();
    other.disable(issued.key.id()).await.unwrap();
    other.delete(issued.key.id()).await.unwrap();
    assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    transaction.rollback().await.unwrap();
    for issue in waiting {
        let _ = issue.await.unwrap();
    }
}

/// The searches take long, as in a large tenant.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn long_searches_leave_connections_to_lookups() {
    let server = shared();
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema).time_limit(LIMIT);
    let owner = keyring(builder.clone().connect(&server.url()).await.unwrap());
    let _ = owner.create_tenant("large", "advanced").await.unwrap();
    let (_, issued) = owner.create_tenant("other", "advanced").await.unwrap();
    let token = issued.token.reveal_known();
    server.sql(&format!(
        "CREATE ROLE slow_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO slow_{schema}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO slow_{schema}; \
         ALTER TABLE {schema}.keys ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY slow ON {schema}.keys \
         USING (tenant <> 'large'::bytea OR pg_sleep(2) IS NOT NULL)"
    ));
    let url = server.url().replace("keyway@", &format!("slow_{schema}@"));
    let keyring = keyring(builder.connect(&url).await.unwrap());
    let large = keyring.tenant("large".parse().unwrap());
    let searches: Vec<_> = (0..20)
        .map(|_| {
            let large = large.clone();
            tokio::spawn(async move { large.search("nightly").await })
        })
        .collect();
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let began = Instant::now();
    // Wait until the maximum number of searches runs, or as many as a busy machine starts by then.
    while server.sql(sleeps).parse::<u32>().unwrap() < 3 && began.elapsed() < LIMIT / 2 {}
    let began = Instant::now();
    for _ in 0..20 {
        keyring.verify_as_of(&*token, Freshness::Now).await.unwrap();
    }
    assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    for search in searches {
        let _ = search.await.unwrap();
    }
}
