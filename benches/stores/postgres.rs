//! PostgreSQL, compared with `sqlx` on the same pool.

use std::time::{Duration, Instant};

use keyway::{
    KeyRecord, Keyring, PostgresStore, Timestamp,
    record::TenantRecord,
    store::{KeyQuery, KeyStore, KeyUse},
    time::ManualClock,
};
use sqlx::{
    AssertSqlSafe, Connection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{runtime, task::JoinSet};

use crate::{
    population::{KEYS, Population, Rotation, builder, request, uncached},
    report::{Report, median},
    server::{Server, is_installed},
    steady::{cold_burst, steady},
};

pub(crate) fn run(population: &Population, large: usize, report: &mut Report) {
    if !is_installed() {
        println!("not run: PostgreSQL is not installed");
        return;
    }
    let server = Server::start_on_disk(&[]);
    let one_thread = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_thread.block_on(async {
        let pool = pool(&server, 4).await;
        let small = Tables::new("small", &pool).await;
        small.fill(population.first(200), 0).await;
        small.settle().await;
        lookup(population, &small, report).await;
        issue(population, &small, report).await;
        let grown = Tables::new("grown", &pool).await;
        grown.fill(population.first(population.tenants.len()), large).await;
        small.settle().await;
        grown.settle().await;
        growth(population, (&small, &grown), report).await;
        flush(population, &grown, report).await;
        pool.close().await;
    });
    let threads = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    threads.block_on(async {
        let pool = pool(&server, 8).await;
        let tables = Tables::new("eight", &pool).await;
        issue_in_parallel(population, &tables, report).await;
        revocation(&server, report).await;
        pool.close().await;
    });
}

/// Measures the reads of nodes that share a database.
pub(crate) fn shared(report: &mut Report) {
    if !is_installed() {
        println!("not run: PostgreSQL is not installed");
        return;
    }
    let server = Server::start_on_disk(&[]);
    let threads = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    threads.block_on(async {
        let population = Population::new(if report.is_quick() { 200 } else { 20_000 });
        let tables = Tables::new("many", &pool(&server, 8).await).await;
        tables.fill(population.first(population.tenants.len()), 0).await;
        tables.settle().await;
        let connect = async || {
            let builder = PostgresStore::builder().schema("many");
            builder.connect(&server.url()).await.unwrap()
        };
        let (store, other) = (connect().await, connect().await);
        cold_burst("postgres", store.clone(), &population, report).await;
        steady("postgres", (store.clone(), other), store.feed(), &population, report).await;
    });
}

/// Measures the ends of streams.
pub(crate) fn streams(report: &mut Report) {
    if !is_installed() {
        println!("not run: PostgreSQL is not installed");
        return;
    }
    let server = Server::start_on_disk(&[]);
    let threads = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    threads.block_on(crate::streams::ends(&server, report));
}

/// As the store makes its own.
async fn pool(server: &Server, connections: u32) -> PgPool {
    let options: PgConnectOptions = server.url().parse().unwrap();
    PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > Duration::from_secs(1) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(
            options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")]),
        )
        .await
        .unwrap()
}

/// The tables of one schema, and the statements that the floors are made of.
#[derive(Clone)]
struct Tables {
    pool: PgPool,
    store: PostgresStore,
    schema: &'static str,
    select_key: &'static str,
    lock_tenant: &'static str,
    count_keys: &'static str,
    insert_key: &'static str,
    update_uses: &'static str,
}

impl Tables {
    async fn new(schema: &'static str, pool: &PgPool) -> Self {
        let store = PostgresStore::builder().schema(schema).open(pool.clone()).await.unwrap();
        let text = |text: String| &*text.leak();
        Self {
            pool: pool.clone(),
            store,
            schema,
            select_key: text(format!(
                "SELECT id, tenant, created_at, version, record, last_used FROM {schema}.keys \
                 WHERE id = $1"
            )),
            lock_tenant: text(format!(
                "SELECT version FROM {schema}.tenants WHERE id = $1 FOR UPDATE"
            )),
            count_keys: text(format!("SELECT count(*) FROM {schema}.keys WHERE tenant = $1")),
            insert_key: text(format!(
                "INSERT INTO {schema}.keys (id, tenant, created_at, version, record) \
                 VALUES ($1, $2, $3, 1, $4)"
            )),
            update_uses: text(format!(
                "UPDATE {schema}.keys AS k SET last_used = used.at \
                 FROM unnest($1::bytea[], $2::bigint[]) AS used (id, at) WHERE k.id = used.id"
            )),
        }
    }

    /// Writes these tenants and keys, and this many keys of other tenants.
    async fn fill(&self, (tenants, keys): (&[TenantRecord], &[KeyRecord]), others: usize) {
        let schema = self.schema;
        let insert = format!(
            "INSERT INTO {schema}.tenants SELECT id, 1, record \
             FROM unnest($1::bytea[], $2::bytea[]) AS new (id, record)"
        );
        let ids: Vec<&[u8]> =
            tenants.iter().map(|tenant| tenant.id().as_str().as_bytes()).collect();
        let records: Vec<Vec<u8>> = tenants.iter().map(TenantRecord::encode).collect();
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(&ids).bind(&records);
        insert.execute(&self.pool).await.unwrap();
        let insert = format!(
            "INSERT INTO {schema}.keys (id, tenant, created_at, version, record) \
             SELECT id, tenant, at, 1, record \
             FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bytea[]) \
             AS new (id, tenant, at, record)"
        );
        let ids: Vec<Vec<u8>> = keys.iter().map(|key| key.id().as_bytes().to_vec()).collect();
        let holders: Vec<&[u8]> = keys.iter().map(|key| key.tenant().as_str().as_bytes()).collect();
        let times: Vec<i64> = keys.iter().map(|key| key.created_at().as_millis()).collect();
        let records: Vec<Vec<u8>> = keys.iter().map(KeyRecord::encode).collect();
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(ids).bind(holders);
        insert.bind(times).bind(records).execute(&self.pool).await.unwrap();
        if others > 0 {
            let others = i64::try_from(others).unwrap();
            // The records are random bytes of the usual length. They belong to other tenants and are never
            // decoded.
            let tenants = format!(
                "INSERT INTO {schema}.tenants \
                 SELECT convert_to('other-' || n, 'UTF8'), 1, decode(repeat(md5(n::text), 6), 'hex') \
                 FROM generate_series(0, $1 / {KEYS}) AS n"
            );
            sqlx::query(AssertSqlSafe(tenants)).bind(others).execute(&self.pool).await.unwrap();
            let keys = format!(
                "INSERT INTO {schema}.keys (id, tenant, created_at, version, record) \
                 SELECT convert_to(substr(md5(n::text), 1, 16), 'UTF8'), \
                 convert_to('other-' || n / {KEYS}, 'UTF8'), 1767225600000 + n, 1, \
                 decode(repeat(md5(n::text), 19), 'hex') FROM generate_series(1, $1) AS n"
            );
            sqlx::query(AssertSqlSafe(keys)).bind(others).execute(&self.pool).await.unwrap();
        }
    }

    /// Does at once what the server would do in the background sooner or later.
    async fn settle(&self) {
        for table in ["tenants", "keys"] {
            let vacuum = format!("VACUUM ANALYZE {}.{table}", self.schema);
            sqlx::query(AssertSqlSafe(vacuum)).execute(&self.pool).await.unwrap();
        }
        sqlx::query("CHECKPOINT").execute(&self.pool).await.unwrap();
    }

    async fn insert(&self, connection: &mut sqlx::PgConnection, key: &KeyRecord) {
        sqlx::query(self.insert_key)
            .bind(&key.id().as_bytes()[..])
            .bind(key.tenant().as_str().as_bytes())
            .bind(key.created_at().as_millis())
            .bind(key.encode())
            .execute(connection)
            .await
            .unwrap();
    }

    async fn insert_within_quota(&self, key: &KeyRecord) {
        let tenant = key.tenant().as_str().as_bytes();
        let mut connection = self.pool.acquire().await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let lock = sqlx::query_scalar(self.lock_tenant).bind(tenant);
        let version: i64 = lock.fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(version, 1);
        let count = sqlx::query_scalar(self.count_keys).bind(tenant);
        let held: i64 = count.fetch_one(&mut *transaction).await.unwrap();
        assert!(held < 5);
        self.insert(&mut transaction, key).await;
        transaction.commit().await.unwrap();
    }
}

async fn lookup(population: &Population, tables: &Tables, report: &mut Report) {
    let keyring = uncached(tables.store.clone());
    let keys = 1_000;
    let (mut next, mut also) = (Rotation::of(keys), Rotation::of(keys));
    report
        .case(
            "postgres_lookup",
            1.20,
            (151, 50),
            async || {
                let id = population.keys[next.next()].id();
                let row = sqlx::query(tables.select_key).bind(&id.as_bytes()[..]);
                let row = row.fetch_optional(&tables.pool).await.unwrap().unwrap();
                assert_eq!(row.get::<&[u8], _>(0), id.as_bytes());
            },
            async || {
                keyring.verify(&population.tokens[also.next()]).await.unwrap();
            },
        )
        .await;
}

async fn issue(population: &Population, tables: &Tables, report: &mut Report) {
    let (rounds, iterations) = (101, KEYS);
    // Each round fills one tenant.
    let number = report.rounds(rounds) + 1;
    let (theirs, ours) = (population.empty_tenants(number), population.empty_tenants(number));
    tables.fill((&theirs, &[]), 0).await;
    tables.fill((&ours, &[]), 0).await;
    let keys = theirs.iter().flat_map(|tenant| (0..KEYS).map(|_| population.key_of(tenant)));
    let mut keys: Vec<KeyRecord> = keys.collect();
    let keyring = uncached(tables.store.clone());
    let mut next = 0;
    report
        .case(
            "postgres_issue",
            1.25,
            (rounds, iterations),
            async || tables.insert_within_quota(&keys.pop().unwrap()).await,
            async || {
                let tenant = keyring.tenant(ours[next / KEYS].id().clone());
                drop(tenant.issue(request()).await.unwrap());
                next += 1;
            },
        )
        .await;
}

async fn issue_in_parallel(population: &Population, tables: &Tables, report: &mut Report) {
    const TENANTS: usize = 64;
    let keyring = uncached(tables.store.clone());
    let mut rows = Vec::new();
    // The first round is a warm-up.
    for round in 0..=report.rounds(41) {
        let (theirs, ours) = (population.empty_tenants(TENANTS), population.empty_tenants(TENANTS));
        tables.fill((&theirs, &[]), 0).await;
        tables.fill((&ours, &[]), 0).await;
        let mut bare = JoinSet::new();
        let keys = |tenant| (0..KEYS).map(|_| population.key_of(tenant)).collect::<Vec<_>>();
        let keys: Vec<Vec<KeyRecord>> = theirs.iter().map(keys).collect();
        let start = Instant::now();
        for keys in keys {
            let tables = tables.clone();
            bare.spawn(async move {
                for key in &keys {
                    tables.insert_within_quota(key).await;
                }
            });
        }
        bare.join_all().await;
        let floor = start.elapsed().as_secs_f64();
        let mut issues = JoinSet::new();
        let start = Instant::now();
        for tenant in ours {
            let tenant = keyring.tenant(tenant.id().clone());
            issues.spawn(async move {
                for _ in 0..KEYS {
                    drop(tenant.issue(request()).await.unwrap());
                }
            });
        }
        issues.join_all().await;
        let case = start.elapsed().as_secs_f64();
        if round > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let keys = (TENANTS * KEYS) as f64;
            rows.push((floor / keys, case / keys));
        }
    }
    // The ratio of the times is the ratio of the throughputs.
    report.rows("postgres_issue_8", 1.25, &rows);
}

async fn growth(population: &Population, (small, grown): (&Tables, &Tables), report: &mut Report) {
    let (small, grown) = (uncached(small.store.clone()), uncached(grown.store.clone()));
    // The keys of the same tenants, among many and among few.
    let (mut next, mut also) = (Rotation::of(200), Rotation::of(200));
    let list = async |keyring: &Keyring, tenant: usize, text: &str| {
        let tenant = keyring.tenant(population.tenants[tenant].id().clone());
        let found = match text {
            "" => tenant.list(&KeyQuery::all()).await.unwrap().items,
            text => tenant.search(text).await.unwrap().items,
        };
        assert_eq!(found.len(), KEYS);
    };
    for (name, text) in [("list_growth_postgres", ""), ("search_growth_postgres", "nightly")] {
        report
            .case(
                name,
                1.3,
                (151, 40),
                async || list(&small, next.next(), text).await,
                async || list(&grown, also.next(), text).await,
            )
            .await;
    }
    let (mut next, mut also) = (Rotation::of(1_000), Rotation::of(population.keys.len()));
    report
        .case(
            "lookup_growth",
            1.5,
            (151, 40),
            async || drop(small.verify(&population.tokens[next.next()]).await.unwrap()),
            async || drop(grown.verify(&population.tokens[also.next()]).await.unwrap()),
        )
        .await;
}

/// Measures writing the last uses of 10,000 keys, in one call of [`KeyStore::record_uses`], and in all of
/// [`Keyring::flush_uses`].
async fn flush(population: &Population, tables: &Tables, report: &mut Report) {
    let marks = population.keys.len().min(10_000);
    let keys = &population.keys[..marks];
    let mut at = population.now.as_millis();
    let mut later = at;
    let ids: Vec<Vec<u8>> = keys.iter().map(|key| key.id().as_bytes().to_vec()).collect();
    report
        .case(
            "flush_postgres",
            1.5,
            (15, 1),
            async || {
                at += 1;
                let update = sqlx::query(tables.update_uses).bind(&ids).bind(vec![at; marks]);
                update.execute(&tables.pool).await.unwrap();
            },
            async || {
                later += 1_000;
                let at = Timestamp::from_millis(later).unwrap();
                let uses: Vec<KeyUse> =
                    keys.iter().map(|key| KeyUse { id: key.id(), at }).collect();
                tables.store.record_uses(&uses, Timestamp::MAX).await.unwrap();
            },
        )
        .await;
    let clock = ManualClock::at(Timestamp::from_millis(later).unwrap());
    let keyring = builder(tables.store.clone()).clock(clock.clone()).build().unwrap();
    let mut times = Vec::new();
    for _ in 0..report.rounds(5) {
        clock.advance(Duration::from_secs(120));
        for token in &population.tokens[..marks] {
            keyring.verify(token).await.unwrap();
        }
        let start = Instant::now();
        assert_eq!(keyring.flush_uses().await.unwrap(), marks);
        times.push(start.elapsed().as_secs_f64());
    }
    let all = median(times.into_iter()) * 1e6;
    println!("     flush_postgres: all {marks} of `flush_uses`, in its batches {all:.1} us");
}

/// Measures the time from the start of a call that disables a key on one node until another node rejects the
/// key.
async fn revocation(server: &Server, report: &mut Report) {
    let connect = async || {
        let store = PostgresStore::builder().schema("nodes").connect(&server.url()).await.unwrap();
        (builder(store.clone()).build().unwrap(), store)
    };
    let (a, _) = connect().await;
    let (b, store) = connect().await;
    let feed = tokio::spawn(b.verifier().follow(store.feed()));
    // Waits until the feed listens.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (acme, issued) = a.create_tenant("acme", "advanced").await.unwrap();
    let (id, token) = (issued.key.id(), issued.token.reveal().to_string());
    let mut times = Vec::new();
    for _ in 0..report.rounds(200) {
        acme.enable(id).await.unwrap();
        while b.verify(&token).await.is_err() {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        let acme = acme.clone();
        let start = Instant::now();
        let disabled = tokio::spawn(async move { acme.disable(id).await.map(drop) });
        while b.verify(&token).await.is_ok() {
            std::thread::sleep(Duration::from_micros(20));
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        disabled.await.unwrap().unwrap();
    }
    feed.abort();
    let worst = times.iter().copied().fold(0.0, f64::max);
    let median = median(times.into_iter());
    println!("revocation_ms median {median:.1} worst {worst:.1} limit 100 with feed");
    report.count(worst <= 100.0);
}
