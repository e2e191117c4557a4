//! Another role in the same database: its objects, its notices and the notices that it receives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use keyway::{
    KeyId, Keyring, NewKey, Pepper, PostgresStore,
    audit::{AuditEvent, AuditKind, AuditSink},
    lowlevel::Authority,
    store::{Change, KeyLookup, StoreError, StoredKey},
    verifier::Verifier,
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use super::{
    events::use_all_events,
    keyring,
    limits::use_limits,
    support::server::{Server, fresh_schema, shared},
    support::{Events, overheard::RevealKnown as _, pepper, policy},
    usage::use_everything,
    writes::write_everything,
};

/// Creates a trap in `public` for each operator and function that a statement could resolve to. Operators
/// such as `=` exist for every pair of types, and `count` for rows.
const TRAPS: &str = "
    CREATE FUNCTION public.trap() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'hostile code ran as %', current_user; END $$;
    DO $do$
    DECLARE
        l text; r text; op text; n int := 0;
        types text[] := ARRAY['bytea','int2','int4','int8','numeric','float8','text','name','bool',
                              'bytea[]','timestamptz','pg_lsn'];
    BEGIN
        FOREACH l IN ARRAY types LOOP FOREACH r IN ARRAY types LOOP
            n := n + 1;
            EXECUTE format('CREATE FUNCTION public.truth%s(%s, %s) RETURNS bool LANGUAGE sql AS
                $$ SELECT public.trap() > 0 $$', n, l, r);
            EXECUTE format('CREATE FUNCTION public.value%s(%s, %s) RETURNS int8 LANGUAGE sql AS
                $$ SELECT public.trap()::int8 $$', n, l, r);
            FOREACH op IN ARRAY ARRAY['=','<>','<','<=','>','>='] LOOP
                EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.truth%s,
                    LEFTARG = %s, RIGHTARG = %s)', op, n, l, r);
            END LOOP;
            FOREACH op IN ARRAY ARRAY['+','-','*','/','||'] LOOP
                EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.value%s,
                    LEFTARG = %s, RIGHTARG = %s)', op, n, l, r);
            END LOOP;
        END LOOP; END LOOP;
    END $do$;
    CREATE FUNCTION public.pg_notify(text, text) RETURNS int LANGUAGE sql AS 'SELECT public.trap()';
    CREATE FUNCTION public.encode(bytea, text) RETURNS text LANGUAGE sql AS
        'SELECT public.trap()::text';
    CREATE FUNCTION public.date_part(text, timestamptz) RETURNS float8 LANGUAGE sql AS
        'SELECT public.trap()::float8';
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
        'SELECT to_timestamp(public.trap())';
    CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS
        'SELECT public.trap()::text';
    CREATE FUNCTION public.current_setting(text, bool) RETURNS text LANGUAGE sql AS
        'SELECT public.trap()::text';
    CREATE FUNCTION public.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS
        'SELECT public.trap() > 0';
    CREATE FUNCTION public.unnest(bytea[]) RETURNS SETOF bytea LANGUAGE sql AS
        $$ SELECT public.trap()::text::bytea $$;
    CREATE FUNCTION public.unnest(int8[]) RETURNS SETOF int8 LANGUAGE sql AS
        'SELECT public.trap()::int8';
    CREATE FUNCTION public.trap_state(int8) RETURNS int8 LANGUAGE sql AS
        'SELECT public.trap()::int8';
    CREATE AGGREGATE public.count(*) (SFUNC = public.trap_state, STYPE = int8, INITCOND = '0');
    CREATE FUNCTION public.trap_state(int8, int4) RETURNS int8 LANGUAGE sql AS
        'SELECT public.trap()::int8';
    CREATE AGGREGATE public.count(int4) (SFUNC = public.trap_state, STYPE = int8, INITCOND = '0');
    CREATE DOMAIN public.bool AS pg_catalog.bool CHECK (public.trap() > 0);
    CREATE DOMAIN public.int8 AS pg_catalog.int8 CHECK (public.trap() > 0);
    CREATE DOMAIN public.int2 AS pg_catalog.int2 CHECK (public.trap() > 0);
    CREATE DOMAIN public.bytea AS pg_catalog.bytea CHECK (public.trap() > 0);
    CREATE DOMAIN public.text AS pg_catalog.text CHECK (public.trap() > 0);
    CREATE DOMAIN public.float8 AS pg_catalog.float8 CHECK (public.trap() > 0);
";

/// Creates a role that may create objects in `public`, and lets it create its traps there.
async fn set_traps(server: &Server) -> String {
    server.sql("CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory");
    let url = server.url().replace("keyway@", "mallory@");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(TRAPS.to_owned()))).await.unwrap();
    url
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn no_statement_resolves_a_name_through_the_search_path() {
    let server = Server::start(&[]);
    // The tables already exist, as they would in a running service.
    let own = PostgresStore::connect(&server.url()).await.unwrap();
    set_traps(&server).await;
    // This is the worst setting of an application's own pool: objects of other roles are found first.
    let options: PgConnectOptions = server.url().parse().unwrap();
    let options = options.options([("search_path", "public,pg_catalog")]);
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options.clone());
    // The control: on this pool the traps work.
    let caught = pool.fetch_one("SELECT 1::numeric * 1::int").await.unwrap_err();
    assert!(caught.to_string().contains("hostile code ran as keyway"), "{caught}");
    for select in ["SELECT count(*) FROM pg_class", "SELECT 'a'::bytea = 'b'::bytea"] {
        assert!(pool.fetch_one(select).await.is_err(), "{select}");
    }

    let apps = PostgresStore::builder().open(pool).await.unwrap();
    for store in [own, apps] {
        let writes = keyring(store.clone());
        let with_events = Keyring::builder(policy(), pepper())
            .environment("live")
            .store_with_events(store.clone())
            .build()
            .unwrap();
        for writes in [&with_events, &writes] {
            write_everything(writes).await;
            writes.delete_tenant(&"empty".parse().unwrap()).await.unwrap();
        }
        let (acme, issued) = writes.create_tenant("acme", "advanced").await.unwrap();
        acme.search("first").await.unwrap();
        acme.find(issued.key.id()).await.unwrap();
        writes.set_tier(acme.id(), "lite").await.unwrap();
        writes.tenants(None, 10).await.unwrap();
        // Run the feed's beat, and a lookup that measures the lag with it.
        let mut feed = Events(store.feed());
        assert_eq!(feed.next().await, Some(Change::Gap));
        let beat = tokio::time::timeout(Duration::from_millis(500), feed.next()).await;
        assert!(beat.is_err(), "{beat:?}");
        let pool = PgPoolOptions::new().connect_lazy_with(options.clone());
        let replica = store.replica(pool, Duration::from_secs(5));
        assert!(replica.lookup(issued.key.id()).await.unwrap().is_some());
        writes.delete_tenant(acme.id()).await.unwrap();
        use_everything(&store, issued.key.id()).await;
        use_all_events(&store).await;
        use_limits(&store).await;
    }
    // Creating the tables does not resolve any name through the search path either.
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    PostgresStore::builder().schema("other").open(pool).await.unwrap();
}

/// Counts the gaps that a node reports.
#[derive(Clone, Default)]
struct Gaps(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl AuditSink for Gaps {
    fn record(&self, event: &AuditEvent<'_>) {
        if matches!(event.kind, AuditKind::FeedGap) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

impl Gaps {
    fn number(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Creates a node that follows a feed and caches what it reads for an hour.
async fn follower(store: &PostgresStore) -> (Keyring, Gaps) {
    let gaps = Gaps::default();
    let builder = Keyring::builder(policy(), pepper()).environment("live");
    let node = builder.store(store.clone()).max_staleness(HOUR).audit(gaps.clone());
    let node = node.build().unwrap();
    tokio::spawn(node.verifier().follow(store.feed()));
    while gaps.number() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (node, gaps)
}

/// A lookup that counts its reads.
struct Counting(PostgresStore, Arc<AtomicUsize>);

impl KeyLookup for Counting {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        KeyLookup::marker(&self.0).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn foreign_notices_do_not_empty_the_cache() {
    let server = shared();
    let schema = fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let (gaps, reads) = (Gaps::default(), Arc::new(AtomicUsize::new(0)));
    let node = Verifier::builder(policy(), pepper())
        .environment("live")
        .lookup(Counting(store.clone(), Arc::clone(&reads)))
        .max_staleness(HOUR)
        .audit(gaps.clone())
        .build()
        .unwrap();
    tokio::spawn(node.follow(store.feed()));
    while gaps.number() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let writes = keyring(store.clone());
    let mut tokens = Vec::new();
    for number in 0..20 {
        let (_, issued) = writes.create_tenant(&format!("tenant-{number}"), "lite").await.unwrap();
        tokens.push(issued.token.reveal_known());
    }
    let (acme, issued) = writes.create_tenant("acme", "advanced").await.unwrap();
    let channel = format!("keyway.{schema}");
    server.sql(&format!("CREATE ROLE listener_{schema} LOGIN"));
    let url = server.url().replace("keyway@", &format!("listener_{schema}@"));
    // Another role receives a real notice.
    let mut ear = PgListener::connect(&url).await.unwrap();
    ear.listen(&channel).await.unwrap();
    acme.edit(issued.key.id(), 1, keyway::KeyEdit::new().name("new")).await.unwrap();
    let real = ear.recv().await.unwrap().payload().to_owned();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for token in &tokens {
        node.verify(&**token).await.unwrap();
    }

    // The role sends garbage, a notice under its own pepper, and the real notice again.
    let before = reads.load(Ordering::SeqCst);
    assert!(before >= tokens.len(), "{before}");
    let foreign = Pepper::from_bytes(&[9; 32]).unwrap().into();
    let foreign = Authority::new(policy(), "live", &foreign).unwrap();
    let mut mallory = PgConnection::connect(&url).await.unwrap();
    let tenant = "tenant-1".parse().unwrap();
    let mut payloads = vec![
        String::new(),
        "garbage".into(),
        "t61636d65".into(),
        "k00".into(),
        "x".repeat(7_000),
        foreign.notices().of_tenant(&tenant, [0; 8]),
    ];
    payloads.extend((0..200).map(|_| real.clone()));
    for payload in &payloads {
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(&channel).bind(payload);
        notify.execute(&mut mallory).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for token in &tokens {
        node.verify(&**token).await.unwrap();
    }
    let after = reads.load(Ordering::SeqCst);
    assert_eq!(gaps.number(), 1);
    assert_eq!(after, before, "a cached key was read again");

    // The control: the same node receives a real change.
    writes
        .suspend_tenant(&tenant, keyway::record::Suspension::permanent("unpaid").unwrap())
        .await
        .unwrap();
    let began = std::time::Instant::now();
    while node.verify(&*tokens[1]).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((ear, NewKey::named("")));
}

/// The feed of a role that may only read has no gaps, and leaves the clock to other nodes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn role_that_only_reads_follows_without_gaps() {
    let server = shared();
    let schema = fresh_schema();
    let store = PostgresStore::builder().schema(&schema);
    let writes = keyring(store.clone().connect(&server.url()).await.unwrap());
    let (acme, issued) = writes.create_tenant("acme", "advanced").await.unwrap();
    let token = issued.token.reveal_known();
    server.sql(&format!(
        "CREATE ROLE reader_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader_{schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}"
    ));
    let url = server.url().replace("keyway@", &format!("reader_{schema}@"));
    let reading = store.connect(&format!("{url}?application_name=reads_{schema}")).await.unwrap();
    let (node, gaps) = follower(&reading).await;
    node.verify(&*token).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(gaps.number(), 1);
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reads_{schema}' \
         AND query IN ('SELECT 1')"
    );
    assert_eq!(server.sql(&sessions), "1");
    acme.disable(issued.key.id()).await.unwrap();
    let began = std::time::Instant::now();
    while node.verify(&*token).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The connections break as soon as they listen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn feed_that_is_cut_again_and_again_backs_off() {
    let server = shared();
    let schema = fresh_schema();
    let name = format!("cut_{schema}");
    let url = format!("{}?application_name={name}", server.url());
    let store = PostgresStore::builder().schema(&schema).connect(&url).await.unwrap();
    let mut feed = Events(store.feed());
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = '{name}'"
    );
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let (mut gaps, began) = (0, std::time::Instant::now());
    while began.elapsed() < Duration::from_secs(15) {
        let next = tokio::time::timeout(Duration::from_millis(20), feed.next()).await;
        gaps += usize::from(next == Ok(Some(Change::Gap)));
        admin.execute(AssertSqlSafe(kill.clone())).await.unwrap();
    }
    println!("measured {gaps} gaps in 15 s of a feed whose connections are cut at once");
    assert!((3..=12).contains(&gaps), "{gaps}");
    // The feed reconnects within the longest pause.
    let next = tokio::time::timeout(Duration::from_secs(12), feed.next()).await;
    assert_eq!(next, Ok(Some(Change::Gap)));
}
