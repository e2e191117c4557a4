//! Opening a PostgreSQL store, and its behavior when the server has problems.

mod conformance;
mod copy;
mod events;
mod feed;
mod hostile;
mod hostile_text;
mod limits;
mod opening;
mod pooler;
mod replicas;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod switchover;
mod tamper;
mod usage;
mod waiting;
mod writes;

use std::time::{Duration, Instant};

use crate::support::{
    overheard::RevealKnown as _,
    pepper, policy,
    server::{Server, fresh_schema, shared},
};
use keyway::{
    KeyEdit, Keyring, KeyringError, NewKey, PostgresStore,
    store::{KeyFilter, KeyQuery, PostgresBuilder, PostgresError},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

fn keyring(store: PostgresStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

async fn open(server: &Server) -> Keyring {
    let store = PostgresStore::builder().schema(fresh_schema());
    keyring(store.connect(&server.url()).await.unwrap())
}

async fn refused(builder: PostgresBuilder, server: &Server) -> PostgresError {
    builder.connect(&server.url()).await.unwrap_err()
}

/// The statement for one owner has one parameter more than the statement for all keys.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn keys_of_one_owner_are_listed_in_pages() {
    let keyring = open(shared()).await;
    let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    for (name, owner) in [("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "ann")] {
        drop(acme.issue(NewKey::named(name).owner(owner.parse().unwrap())).await.unwrap());
    }
    for (owner, expected) in [("ann", "acd"), ("bob", "b"), ("carl", "")] {
        let of_owner = KeyFilter::all().owner(owner.parse().unwrap());
        let mut query = KeyQuery::all().matching(of_owner).limit(2);
        let mut names = Vec::new();
        loop {
            let page = acme.list(&query).await.unwrap();
            names.extend(page.items.iter().map(|key| key.name().to_owned()));
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        names.sort_unstable();
        assert_eq!(names.concat(), expected);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn key_life_cycle_works_on_postgres() {
    let server = shared();
    let keyring = open(server).await;
    let (acme, first) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let issued = acme.issue(NewKey::named("second").scopes(["reporting"])).await.unwrap();
    let token = issued.token.reveal_known();
    let caller = keyring.verify(&*token).await.unwrap();
    caller.require(&keyring.requirement(["reporting"]).unwrap()).unwrap();
    acme.disable(issued.key.id()).await.unwrap();
    keyring.verify(&*token).await.unwrap_err();
    acme.delete(first.key.id()).await.unwrap();
    assert_eq!(keyring.flush_uses().await.unwrap(), 1);
    let keys = acme.search("SEC").await.unwrap().items;
    assert_eq!(keys.len(), 1);
    assert!(keys.first().unwrap().last_used().is_some());
    keyring.delete_tenant(acme.id()).await.unwrap();
    assert!(acme.search("").await.unwrap().items.is_empty());
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn repeated_request_for_a_deleted_key_is_known_at_full_quota() {
    let server = shared();
    let keyring = open(server).await;
    let acme = keyring.create_empty_tenant("acme", "lite").await.unwrap();
    let request = || NewKey::named("n").idempotency_key("once").unwrap();
    let id = acme.issue(request()).await.unwrap().key.id();
    acme.delete(id).await.unwrap();
    let _ = acme.issue(NewKey::named("the one that lite allows")).await.unwrap();
    let again = acme.issue(request()).await;
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(known)) if known == id), "{again:?}");
    let full = acme.issue(NewKey::named("n")).await;
    assert!(matches!(full, Err(KeyringError::QuotaExceeded { .. })), "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn many_nodes_may_start_at_once_on_an_empty_server() {
    let server = shared();
    let schema = fresh_schema();
    let nodes: Vec<_> = (0..24)
        .map(|number| {
            let builder = PostgresStore::builder().schema(&schema).max_connections(1);
            let url = server.url();
            tokio::spawn(async move {
                let keyring = keyring(builder.connect(&url).await.unwrap());
                keyring.create_empty_tenant(&format!("tenant {number}"), "lite").await.unwrap();
                keyring
            })
        })
        .collect();
    let mut keyring = None;
    for node in nodes {
        keyring = Some(node.await.unwrap());
    }
    assert_eq!(keyring.unwrap().tenants(None, 100).await.unwrap().items.len(), 24);
    assert_eq!(server.sql(&format!("SELECT version FROM {schema}.schema_version")), "1");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn schemas_do_not_see_each_other() {
    let server = shared();
    let (one, other) = (open(server).await, open(server).await);
    let (_, issued) = one.create_tenant("acme", "lite").await.unwrap();
    assert!(other.verify(&*issued.token.reveal_known()).await.is_err());
    other.create_empty_tenant("acme", "lite").await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn role_without_create_right_uses_existing_tables() {
    let server = shared();
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema);
    builder.clone().connect(&server.url()).await.unwrap();
    server.sql(&format!(
        "CREATE ROLE service_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO service_{schema}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO service_{schema}"
    ));
    let url = server.url().replace("keyway@", &format!("service_{schema}@"));
    let keyring = keyring(builder.connect(&url).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    keyring.verify(&*issued.token.reveal_known()).await.unwrap();
    acme.delete(issued.key.id()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_name_of_a_schema_is_checked() {
    let server = shared();
    let long = "s".repeat(49);
    for name in ["", "Keys", "1st", "a-b", "a\"; DROP SCHEMA public; --", "schlüssel", &long] {
        let error = refused(PostgresStore::builder().schema(name), server).await;
        assert!(matches!(&error, PostgresError::Schema(refused) if refused == name), "{error}");
    }
    let longest = "s".repeat(48);
    let keyring =
        keyring(PostgresStore::builder().schema(&longest).connect(&server.url()).await.unwrap());
    keyring.create_empty_tenant("acme", "lite").await.unwrap();
    // The announcement uses the name as well.
    keyring.delete_tenant(&"acme".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn unreachable_server_is_reported_in_time() {
    let limit = Duration::from_millis(500);
    let builder = PostgresStore::builder().time_limit(limit);
    assert!(builder.clone().connect("not a url").await.is_err());
    // At first the listener never responds. After it is dropped, nothing listens at the port.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let url = format!("postgres://keyway@127.0.0.1:{port}/postgres");
    let began = Instant::now();
    let error = builder.clone().connect(&url).await.unwrap_err();
    assert!(began.elapsed() < limit * 4, "{:?} {error}", began.elapsed());
    drop(free);
    let error = builder.connect(&url).await.unwrap_err();
    let told = crate::support::chain(&error).join(": ");
    assert!(told.contains("refused"), "{told}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn settings_that_lose_writes_are_refused_unless_accepted() {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let server = Server::start(&[&format!("{setting}=off")]);
        let error = refused(PostgresStore::builder(), &server).await;
        assert!(
            matches!(&error, PostgresError::NotDurable { setting: named, value } if *named == setting && value == "off"),
            "{error}"
        );
        assert!(error.to_string().contains("accept_data_loss"), "{error}");
        let accepted = PostgresStore::builder().accept_data_loss();
        keyring(accepted.connect(&server.url()).await.unwrap());
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn pool_of_the_application_is_used() {
    let server = shared();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let store = PostgresStore::builder().schema(fresh_schema()).open(pool.clone()).await.unwrap();
    let keyring = keyring(store);
    keyring.create_empty_tenant("acme", "lite").await.unwrap();
    pool.close().await;
    let denied = keyring.find_tenant(&"acme".parse().unwrap()).await;
    assert!(matches!(denied, Err(KeyringError::Unavailable(_))), "{denied:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn without_announcements_everything_else_works() {
    let server = shared();
    let builder = PostgresStore::builder().schema(fresh_schema()).without_announcements();
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let key = acme.disable(issued.key.id()).await.unwrap();
    let stale = acme.edit(key.id(), 1, KeyEdit::new().enabled(true)).await;
    assert!(matches!(stale, Err(KeyringError::Conflict)), "{stale:?}");
    acme.delete(key.id()).await.unwrap();
    assert!(matches!(acme.delete(key.id()).await, Err(KeyringError::NoKey)));
    keyring.set_tier(acme.id(), "lite").await.unwrap();
    keyring.delete_tenant(acme.id()).await.unwrap();
}

/// Makes the next `times` updates of the key table fail with this SQLSTATE.
async fn fail_updates(server: &Server, schema: &str, state: &str, times: u32) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    // A sequence keeps its value when a transaction is rolled back.
    let plan = format!(
        "CREATE SEQUENCE {schema}.tries; \
         CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('{schema}.tries') <= {times} THEN \
             RAISE EXCEPTION 'planted' USING ERRCODE = '{state}'; \
           END IF; RETURN NEW; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON {schema}.keys \
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(plan))).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn serialization_failure_is_retried_a_bounded_number_of_times() {
    let server = shared();
    for (state, times, succeeds) in
        [("40001", 3, true), ("40P01", 3, true), ("40001", 1_000_000, false), ("22012", 1, false)]
    {
        let schema = fresh_schema();
        let builder = PostgresStore::builder().schema(&schema);
        let keyring = keyring(builder.connect(&server.url()).await.unwrap());
        let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
        fail_updates(server, &schema, state, times).await;
        let began = Instant::now();
        let disabled = acme.disable(issued.key.id()).await;
        assert_eq!(disabled.is_ok(), succeeds, "{state} {disabled:?}");
        assert!(began.elapsed() < PostgresBuilder::DEFAULT_TIME_LIMIT);
        let tries: u32 =
            server.sql(&format!("SELECT last_value FROM {schema}.tries")).parse().unwrap();
        let expected = match (state, succeeds) {
            (_, true) => 4,
            ("22012", _) => 1,
            _ => 8,
        };
        assert_eq!(tries, expected, "{state}");
        if !succeeds {
            assert!(matches!(disabled, Err(KeyringError::Unavailable(_))), "{disabled:?}");
            assert!(acme.find(issued.key.id()).await.unwrap().enabled());
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn wait_for_a_locked_row_ends_at_the_time_limit() {
    let server = shared();
    let (schema, limit) = (fresh_schema(), Duration::from_millis(400));
    let builder = PostgresStore::builder().schema(&schema).time_limit(limit).max_connections(2);
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();

    let mut beside = PgConnection::connect(&server.url()).await.unwrap();
    let mut transaction = beside.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM {schema}.keys FOR UPDATE");
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    for _ in 0..4 {
        // This is repeated more often than there are connections, so abandoned operations must not keep any.
        let began = Instant::now();
        let denied = acme.disable(issued.key.id()).await;
        assert!(matches!(denied, Err(KeyringError::Unavailable(_))), "{denied:?}");
        assert!(began.elapsed() < limit * 3, "{:?}", began.elapsed());
    }
    // Reads do not wait for the lock.
    keyring.verify(&*issued.token.reveal_known()).await.unwrap();
    transaction.rollback().await.unwrap();
    acme.disable(issued.key.id()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn dropped_operation_keeps_no_connection() {
    let server = shared();
    let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(2);
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    for micros in 0..200 {
        let issue = acme.issue(NewKey::named("given up"));
        let _ = tokio::time::timeout(Duration::from_micros(micros * 20), issue).await;
    }
    let keys = acme.search("given up").await.unwrap().items;
    assert!(keys.len() <= 5);
    for key in keys {
        acme.delete(key.id()).await.unwrap();
    }
    let _ = acme.issue(NewKey::named("in peace")).await.unwrap();
}
