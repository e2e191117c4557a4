//! The behavior of every write on the server: its settings, its isolation, its announcements, and its
//! handling of a broken connection.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use keyway::{
    KeyEdit, Keyring, KeyringError, NewKey, PostgresStore,
    lowlevel::Authority,
    record::Suspension,
    store::{Change, Notices},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgListener};

use super::{
    keyring,
    support::forwarder::Forwarder,
    support::server::{Server, fresh_schema, shared},
    support::{overheard::RevealKnown as _, pepper, policy},
};

/// Records the session's settings before each write to `keys` or `tenants`.
pub(super) const NOTE_SETTINGS: &str = "
    CREATE TABLE {s}.seen (
        isolation TEXT, statement TEXT, lock TEXT, idle TEXT, path TEXT
    );
    CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO {s}.seen VALUES (
            current_setting('transaction_isolation'), current_setting('statement_timeout'),
            current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
            current_setting('search_path')
        ); RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {s}.keys
        FOR EACH STATEMENT EXECUTE FUNCTION {s}.note();
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {s}.tenants
        FOR EACH STATEMENT EXECUTE FUNCTION {s}.note();
";

pub(super) async fn run(server: &Server, schema: &str, statements: &str) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let statements = statements.replace("{s}", schema);
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await.unwrap();
}

/// Calls every writing method of the store.
pub(super) async fn write_everything(keyring: &Keyring) {
    let (acme, first) = keyring.create_tenant("acme", "advanced").await.unwrap();
    keyring.create_empty_tenant("empty", "lite").await.unwrap();
    let issued = acme.issue(NewKey::named("second").scopes(["reporting"])).await.unwrap();
    acme.edit(issued.key.id(), 1, KeyEdit::new().name("renamed")).await.unwrap();
    keyring.verify(&*issued.token.reveal_known()).await.unwrap();
    assert_eq!(keyring.flush_uses().await.unwrap(), 1);
    keyring.set_tier(acme.id(), "lite").await.unwrap();
    acme.delete(first.key.id()).await.unwrap();
    keyring.delete_tenant(acme.id()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn sessions_of_own_pool_have_limits_and_a_pinned_search_path() {
    let server = shared();
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema).time_limit(Duration::from_secs(7));
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    run(server, &schema, NOTE_SETTINGS).await;
    write_everything(&keyring).await;
    let seen = format!("SELECT DISTINCT statement, lock, idle, path FROM {schema}.seen");
    assert_eq!(server.sql(&seen), "7s|7s|7s|pg_catalog,pg_temp");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn transactions_name_their_isolation_whatever_the_default() {
    for default in ["serializable", "repeatable read", "read committed"] {
        let setting = format!("default_transaction_isolation={default}");
        let server = Server::start(&[&setting]);
        assert_eq!(server.sql("SHOW transaction_isolation"), default);
        let keyring = keyring(PostgresStore::connect(&server.url()).await.unwrap());
        run(&server, "keyway", NOTE_SETTINGS).await;
        let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        server.sql("DELETE FROM keyway.seen");
        let _ = acme.issue(NewKey::named("key")).await.unwrap();
        let seen = "SELECT DISTINCT isolation FROM keyway.seen";
        assert_eq!(server.sql(seen), "read committed", "issue, {default}");
        // The control: a write that consists of one statement uses the server's default.
        server.sql("DELETE FROM keyway.seen");
        keyring.set_tier(acme.id(), "lite").await.unwrap();
        assert_eq!(server.sql(seen), default);
    }
}

/// Makes a write terminate its own connection, and counts the attempts.
const END_CONNECTION: &str = "
    CREATE SEQUENCE {s}.tries;
    CREATE FUNCTION {s}.end_connection() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('{s}.tries');
        PERFORM pg_terminate_backend(pg_backend_pid());
        RETURN NEW;
    END $$;
    CREATE TRIGGER end_connection BEFORE INSERT OR UPDATE ON {s}.keys
        FOR EACH ROW EXECUTE FUNCTION {s}.end_connection();
";

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn write_whose_connection_broke_is_not_tried_again() {
    let server = shared();
    let schema = fresh_schema();
    let builder = PostgresStore::builder().schema(&schema);
    let keyring = keyring(builder.connect(&server.url()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    run(server, &schema, END_CONNECTION).await;
    let tries = format!("SELECT last_value FROM {schema}.tries");
    let disabled = acme.disable(issued.key.id()).await;
    assert!(matches!(disabled, Err(KeyringError::Unavailable(_))), "{disabled:?}");
    assert_eq!(server.sql(&tries), "1");
    let inserted = acme.issue(NewKey::named("second")).await;
    assert!(matches!(inserted, Err(KeyringError::Unavailable(_))), "{inserted:?}");
    assert_eq!(server.sql(&tries), "2");
    // Reads still work, on another connection.
    assert!(acme.find(issued.key.id()).await.unwrap().enabled());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn write_whose_response_was_lost_is_not_tried_again() {
    let server = shared();
    let schema = fresh_schema();
    let way = Forwarder::to(server.port());
    let url = format!("postgres://keyway@127.0.0.1:{}/postgres", way.port());
    let keyring = keyring(PostgresStore::builder().schema(&schema).connect(&url).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let mut beside = PgConnection::connect(&server.url()).await.unwrap();
    let mut transaction = beside.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM {schema}.keys FOR UPDATE");
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    let (keys, id) = (acme.clone(), issued.key.id());
    let writing = tokio::spawn(async move { keys.disable(id).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The statement waits on the server. Its response cannot be delivered.
    way.cut();
    let written = writing.await.unwrap();
    transaction.rollback().await.unwrap();
    // A second attempt would conflict with the first.
    assert!(matches!(written, Err(KeyringError::Unavailable(_))), "{written:?}");
    let began = Instant::now();
    loop {
        let key = acme.find(id).await.unwrap();
        if key.version() == 2 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "the write was lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(acme.find(id).await.unwrap().version(), 2);
}

/// Receives everything that is sent to a schema's channel.
struct Ear {
    listener: PgListener,
    notices: Notices,
}

impl Ear {
    async fn of(server: &Server, schema: &str) -> Self {
        let mut listener = PgListener::connect(&server.url()).await.unwrap();
        listener.listen(&format!("keyway.{schema}")).await.unwrap();
        let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
        Self { listener, notices: authority.notices().clone() }
    }

    /// Returns all payloads until none arrives for a moment.
    async fn payloads(&mut self) -> Vec<String> {
        let mut payloads = Vec::new();
        while let Ok(notice) =
            tokio::time::timeout(Duration::from_millis(150), self.listener.recv()).await
        {
            payloads.push(notice.unwrap().payload().into());
        }
        payloads
    }

    async fn changes(&mut self) -> BTreeSet<String> {
        let payloads = self.payloads().await;
        payloads
            .iter()
            .map(|payload| format!("{:?}", self.notices.read(payload).unwrap()))
            .collect()
    }
}

/// Each writing method of the trait announces the records that it changes.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_write_announces_what_it_changes() {
    let server = shared();
    let schema = fresh_schema();
    let keyring =
        keyring(PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap());
    let mut ear = Ear::of(server, &schema).await;
    let mut covered = BTreeSet::new();
    let set = |changes: &[Change]| -> BTreeSet<String> {
        changes.iter().map(|change| format!("{change:?}")).collect()
    };

    let (acme, first) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let tenant = Change::Tenant(acme.id().clone());
    covered.insert("insert_tenant");
    assert_eq!(ear.changes().await, set(std::slice::from_ref(&tenant)), "insert_tenant with a key");
    let empty = keyring.create_empty_tenant("empty", "lite").await.unwrap();
    assert_eq!(ear.changes().await, set(&[Change::Tenant(empty.id().clone())]), "insert_tenant");

    // No cache holds a key that did not exist. An announcement would also make commits take turns.
    covered.insert("insert_key");
    let issued = acme.issue(NewKey::named("second")).await.unwrap();
    let key = Change::Key(issued.key.id());
    assert!(ear.changes().await.is_empty(), "insert_key");

    covered.insert("update_key");
    acme.disable(issued.key.id()).await.unwrap();
    assert_eq!(ear.changes().await, set(std::slice::from_ref(&key)), "update_key");

    covered.insert("update_tenant");
    let reason = Suspension::permanent("unpaid").unwrap();
    keyring.suspend_tenant(acme.id(), reason).await.unwrap();
    assert_eq!(ear.changes().await, set(std::slice::from_ref(&tenant)), "update_tenant");

    covered.insert("delete_key");
    acme.delete(issued.key.id()).await.unwrap();
    assert_eq!(ear.changes().await, set(&[key]), "delete_key");

    covered.insert("delete_tenant");
    keyring.delete_tenant(acme.id()).await.unwrap();
    assert_eq!(ear.changes().await, set(&[tenant]), "delete_tenant");

    // Last uses are not cached, so recording them invalidates nothing.
    covered.insert("record_uses");
    keyring.resume_tenant(empty.id()).await.unwrap();
    let issued = empty.issue(NewKey::named("used")).await.unwrap();
    keyring.verify(&*issued.token.reveal_known()).await.unwrap();
    ear.changes().await;
    assert_eq!(keyring.flush_uses().await.unwrap(), 1);
    assert!(ear.changes().await.is_empty(), "record_uses");
    let _ = first;

    // A refused write announces nothing.
    let refused = empty.edit(issued.key.id(), 7, KeyEdit::new().enabled(false)).await;
    assert!(matches!(refused, Err(KeyringError::Conflict)), "{refused:?}");
    assert!(keyring.create_empty_tenant("empty", "lite").await.is_err());
    assert!(acme.delete(first.key.id()).await.is_err());
    assert!(ear.changes().await.is_empty(), "refused writes");

    // Every method of the trait is covered here.
    let quiet = ["tenant", "tenants", "key", "keys", "count_keys", "announce_with", "set_marker"];
    for method in methods() {
        assert!(covered.contains(&*method) || quiet.contains(&&*method), "{method}");
    }
}

/// Returns the names of the methods of `KeyStore`.
fn methods() -> Vec<String> {
    let source = include_str!("../../src/store.rs");
    let (_, body) = source.split_once("pub trait KeyStore").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let names = body.split("\n    fn ").skip(1);
    let names: Vec<String> = names.map(|rest| rest.split_once('(').unwrap().0.to_owned()).collect();
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// Payloads show neither ids nor whether two of them name the same record.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn payloads_reveal_nothing_to_a_listener() {
    let server = shared();
    let schema = fresh_schema();
    let keyring =
        keyring(PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap());
    let mut ear = Ear::of(server, &schema).await;
    let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    for tier in ["lite", "advanced", "lite"] {
        keyring.set_tier(acme.id(), tier).await.unwrap();
    }
    let payloads = ear.payloads().await;
    assert_eq!(payloads.len(), 4);
    let hex = "61636d65";
    for payload in &payloads {
        assert!(!payload.contains("acme") && !payload.contains(hex), "{payload}");
        assert_eq!(payload.len(), payloads[0].len());
    }
    let distinct: BTreeSet<_> = payloads.iter().collect();
    assert_eq!(distinct.len(), payloads.len());
    // A node with another pepper reads none of them.
    let other = keyway::Pepper::from_bytes(&[9; 32]).unwrap().into();
    let other = Authority::new(policy(), "live", &other).unwrap();
    assert!(payloads.iter().all(|payload| other.notices().read(payload).is_none()));
    // The control: a node with the same pepper reads all of them.
    assert!(payloads.iter().all(|payload| ear.notices.read(payload).is_some()));
}

/// Every role can write to the server's queue of notices, so any role can fill it.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn write_succeeds_when_the_notice_queue_is_full() {
    let server = shared();
    let schema = fresh_schema();
    let keyring =
        keyring(PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let mut ear = Ear::of(server, &schema).await;
    super::fail_updates(server, &schema, "54000", 1).await;
    acme.disable(issued.key.id()).await.unwrap();
    assert!(ear.payloads().await.is_empty());
    assert!(!acme.find(issued.key.id()).await.unwrap().enabled());
    // After a moment notices are sent again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    acme.enable(issued.key.id()).await.unwrap();
    assert_eq!(ear.payloads().await.len(), 1);
    // The same error without a notice does not come from the queue, so the write is not repeated.
    server.sql(&format!("ALTER SEQUENCE {schema}.tries RESTART"));
    let always = server.sql(&format!(
        "CREATE OR REPLACE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM nextval('{schema}.tries'); \
         RAISE EXCEPTION 'planted' USING ERRCODE = '54000'; END $$"
    ));
    assert_eq!(always, "");
    let refused = acme.disable(issued.key.id()).await;
    assert!(matches!(refused, Err(KeyringError::Unavailable(_))), "{refused:?}");
    assert_eq!(server.sql(&format!("SELECT last_value FROM {schema}.tries")), "2");
}
