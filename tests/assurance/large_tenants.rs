//! A tenant of 300,000 keys. Issuing stops counting at the quota, and each portion of a deletion ends within
//! its time limit. A tenant of 100,000 keys, of which those of one owner are found by an index. `--nocapture` shows
//! the figures.

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use crate::support::{PEPPER, catalog, overheard::RevealKnown as _, server};
use keyway::{
    KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, PostgresStore, SqliteStore, Tier,
    lowlevel::{Authority, InsecureSeededRng},
    record::{Labels, Owner, TenantRecord},
    store::{AnyStore, KeyFilter, KeyQuery, KeyStore},
};
use sqlx::{AssertSqlSafe, PgPool};

const KEYS: u32 = 300_000;

fn policy() -> Policy {
    let tiers = [Tier::new("small", 5), Tier::new("large", 1_000_000)];
    Policy::new("mm", catalog(), tiers).unwrap()
}

fn keyring(store: &AnyStore) -> Keyring {
    Keyring::builder(policy(), Pepper::from_bytes(PEPPER).unwrap())
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

// Owners.

const OWNED: usize = 100_000;
const OWNERS: usize = 1_000;
/// One of so many keys has the label.
const LABELED: usize = 128;

fn owner(number: usize) -> Owner {
    format!("user-{:04}", number % OWNERS).parse().unwrap()
}

/// Makes the keys of a tenant. Each owner has 100 of them, spread over the order of creation.
fn owned_keys(tenant: &TenantRecord) -> Vec<KeyRecord> {
    let authority =
        Authority::new(policy(), "live", &Pepper::from_bytes(PEPPER).unwrap().into()).unwrap();
    let mut rng = InsecureSeededRng::new(7);
    let labels = Labels::new([("team", "billing")]).unwrap();
    let keys = (0..OWNED).map(|number| {
        let mut request = NewKey::named("n").owner(owner(number));
        if number % LABELED == 0 {
            request = request.labels(labels.clone());
        }
        let now = tenant.created_at().as_millis() + i64::try_from(number / 3).unwrap();
        let now = keyway::Timestamp::from_millis(now).unwrap();
        authority.issue(tenant, request, now, &mut rng).unwrap().0
    });
    keys.collect()
}

/// Measures a list of one owner, a filter that no index helps, and the end of an owner, after `fill` has stored the
/// keys.
async fn measure_owners(
    engine: &str,
    store: AnyStore,
    has_index: bool,
    fill: impl AsyncFnOnce(u64, Vec<KeyRecord>),
) {
    let keyring = keyring(&store);
    let acme = keyring.create_empty_tenant("acme", "large").await.unwrap();
    let issued = acme.issue(NewKey::named("last").owner(owner(500))).await.unwrap();
    let token = issued.token.reveal_known().to_string();
    let tenant = keyring.find_tenant(acme.id()).await.unwrap();
    fill(tenant.version(), owned_keys(&tenant)).await;

    let of_owner = KeyFilter::all().owner(owner(500));
    let query = KeyQuery::all().matching(of_owner).limit(KeyQuery::MAX_LIMIT);
    let started = Instant::now();
    let listed = acme.list(&query).await.unwrap();
    let list = started.elapsed();
    assert_eq!((listed.items.len(), listed.next, listed.broken.len()), (101, None, 0));

    let labeled = KeyQuery::all().matching(KeyFilter::all().label("team", "billing"));
    let started = Instant::now();
    let selected = acme.select(&labeled).await.unwrap();
    let filter = started.elapsed();
    assert_eq!((selected.keys.len(), selected.complete), (OWNED.div_ceil(LABELED), true));
    assert!(!has_index || list * 10 < filter, "{list:?}, {filter:?}: the index is not used");

    keyring.verify(&token).await.unwrap();
    let started = Instant::now();
    acme.disable_owner(&owner(500)).await.unwrap();
    let disable = started.elapsed();
    assert!(keyring.verify(&token).await.is_err());
    assert!(disable * 10 < filter, "{disable:?}: more than the tenant was written");
    println!(
        "{engine}: of {OWNED} keys, the 101 of an owner listed in {list:?}, {} with a label found in \
         {filter:?}; an owner disabled in {disable:?}",
        selected.keys.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_owner_are_found_in_memory() {
    let store = AnyStore::new(MemoryStore::new());
    let fill = async |version, keys| {
        for key in keys {
            store.insert_key(key, version, None, &[]).await.unwrap();
        }
    };
    measure_owners("memory", store.clone(), false, fill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_owner_are_found_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = AnyStore::new(SqliteStore::open(&path).await.unwrap());
    let fill = async |_, keys: Vec<KeyRecord>| {
        let mut connection = rusqlite::Connection::open(&path).unwrap();
        let transaction = connection.transaction().unwrap();
        let mut insert = transaction
            .prepare(
                "INSERT INTO keyway_keys (id, tenant, created_at, version, record, owner) \
                 VALUES (?1, CAST('acme' AS BLOB), ?2, 1, ?3, ?4)",
            )
            .unwrap();
        for key in keys {
            let owner = key.owner().unwrap().as_str().as_bytes();
            let created_at = key.created_at().as_millis();
            insert.execute((key.id().as_bytes(), created_at, key.encode(), owner)).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    };
    measure_owners("SQLite", store, true, fill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_owner_are_found_in_postgres() {
    let server = server::shared();
    let schema = server::fresh_schema();
    // A build without optimization may take longer than usual for a page that reads all keys.
    let builder = PostgresStore::builder().schema(&schema).time_limit(Duration::from_secs(60));
    let store = builder.connect(&server.url()).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let fill = async |_, keys: Vec<KeyRecord>| {
        let insert = format!(
            "INSERT INTO {schema}.keys (id, tenant, created_at, version, record, owner) \
             SELECT id, convert_to('acme', 'UTF8'), created_at, 1, record, owner \
             FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[]) \
             AS n (id, created_at, record, owner)"
        );
        for keys in keys.chunks(5_000) {
            let of = |bytes: fn(&KeyRecord) -> Vec<u8>| keys.iter().map(bytes).collect::<Vec<_>>();
            let times: Vec<_> = keys.iter().map(|key| key.created_at().as_millis()).collect();
            let insert = sqlx::query(AssertSqlSafe(insert.clone()))
                .bind(of(|key| key.id().as_bytes().to_vec()))
                .bind(times)
                .bind(of(KeyRecord::encode))
                .bind(of(|key| key.owner().unwrap().as_str().into()));
            insert.execute(&pool).await.unwrap();
        }
    };
    measure_owners("PostgreSQL", AnyStore::new(store), true, fill).await;
}
