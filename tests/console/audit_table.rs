//! The table of audit events on both engines: it outlasts restarts, and loses nothing without a word.

use std::time::{Duration, Instant};

use crate::support::{overheard::RevealKnown as _, pepper, policy, server, tenant_id};
use axum::{
    Router,
    body::Body,
    http::{Request, request::Parts},
    response::Response,
};
use http_body_util::BodyExt as _;
use keyway::{
    GracePeriod, KeyEdit, KeyId, Keyring, NewKey, Pepper, Peppers, SqliteStore, TenantKeys,
    Timestamp,
    console::{Admin, AuditTrail, Console, TrailPage},
    keyring::Due,
    store::{AnyStore, AuditTable, StoreError},
    time::{Clock as _, ManualClock, SystemClock},
};
use tower::ServiceExt as _;

const DAY: Duration = Duration::from_secs(86_400);

/// A database with the tables of a store.
enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(&'static server::Server, String),
}

impl Database {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    fn postgres() -> Self {
        Self::Postgres(server::shared(), server::fresh_schema())
    }

    /// Opens the store and its table, as a process does that starts.
    async fn open(&self) -> (AnyStore, AuditTable) {
        match self {
            Self::Sqlite(folder) => {
                let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
                let audit = store.audit_table().await.unwrap();
                (AnyStore::new(store), audit)
            }
            Self::Postgres(server, schema) => {
                let builder = keyway::PostgresStore::builder().schema(schema);
                let store = builder.connect(&server.url()).await.unwrap();
                let audit = store.audit_table().await.unwrap();
                (AnyStore::new(store), audit)
            }
        }
    }

    /// Executes `statement` as somebody else does, with the name of the table in the place of `{}`.
    fn sql(&self, statement: &str) -> String {
        match self {
            Self::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("keys.db")).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                let statement = statement.replace("{}", "keyway_audit");
                if statement.starts_with("SELECT") {
                    let row = connection.query_row(&statement, [], |row| row.get::<_, i64>(0));
                    return row.unwrap().to_string();
                }
                connection.execute_batch(&statement).unwrap();
                String::new()
            }
            Self::Postgres(server, schema) => {
                server.sql(&statement.replace("{}", &format!("{schema}.audit")))
            }
        }
    }

    /// Takes the table away, as a failing database does, and brings it back.
    fn take_away(&self, is_away: bool) {
        let statement = match (self, is_away) {
            (_, true) => "ALTER TABLE {} RENAME TO gone",
            (Self::Sqlite(_), false) => "ALTER TABLE gone RENAME TO keyway_audit",
            (Self::Postgres(_, schema), false) => {
                self.sql(&format!("ALTER TABLE {schema}.gone RENAME TO audit"));
                return;
            }
        };
        self.sql(statement);
    }

    fn count(&self) -> u64 {
        self.sql("SELECT count(*) FROM {}").parse().unwrap()
    }
}

fn keyring(store: AnyStore, audit: &AuditTable) -> Keyring {
    keyring_at(store, audit, SystemClock)
}

fn keyring_at(store: AnyStore, audit: &AuditTable, clock: impl keyway::time::Clock) -> Keyring {
    let builder = Keyring::builder(policy(), pepper()).environment("live").store(store);
    builder.clock(clock).audit(audit.clone()).build().unwrap().acting_as("anna")
}

async fn page(audit: &AuditTable, tenant: &TenantKeys, key: KeyId) -> TrailPage {
    AuditTrail::of_key(audit, tenant.id(), key, 200).await.unwrap()
}

fn kinds(page: &TrailPage) -> Vec<&str> {
    page.events.iter().map(|event| &*event.kind).collect()
}

/// Returns the history of a key of `acme` as the console shows it.
async fn shown(keyring: &Keyring, audit: &AuditTable, id: KeyId) -> serde_json::Value {
    let everything = keyring.policy().catalog().all();
    let who = move |_: Parts| async move {
        Ok::<_, Response>(Admin::of_tenant(tenant_id("acme"), everything, "anna"))
    };
    let console: Router = Console::new(keyring, who).audit_trail(audit.clone()).router();
    let request = Request::get(format!("/api/keys/{id}/events")).body(Body::empty()).unwrap();
    let response = console.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// Runs a test on both engines.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs PostgreSQL"]
            async fn $name() {
                super::$name(super::Database::postgres()).await;
            })*
        }
    };
}

on_both! {
    history_outlasts_a_restart
    console_shows_what_every_process_did
    history_with_notices_and_new_seals_stays_complete
    history_of_a_key_has_nothing_of_other_tenants
    outage_delays_events_and_writes_each_once
    lost_events_are_counted_and_reported
    refused_requests_do_not_fill_the_table
    prune_keeps_what_is_new_and_the_newest_of_each_key
    prune_takes_more_than_one_portion
    table_of_a_later_release_is_refused
}

async fn history_outlasts_a_restart(database: Database) {
    let (store, audit) = database.open().await;
    let first = keyring(store, &audit);
    let (acme, issued) = first.create_tenant("acme", "lite").await.unwrap();
    let id = issued.key.id();
    acme.disable(id).await.unwrap();
    // The writer needs no flush.
    let begun = Instant::now();
    while database.count() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} events", database.count());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop((acme, first, audit));

    let (store, audit) = database.open().await;
    let second = keyring(store, &audit);
    let acme = second.tenant(tenant_id("acme"));
    let edit = KeyEdit::new().name("renamed").scopes(["reporting"]);
    acme.edit(id, 2, edit).await.unwrap();
    let history = page(&audit, &acme, id).await;
    assert_eq!(kinds(&history), ["key_edited", "key_edited", "key_issued"]);
    assert!(history.complete);
    assert!(history.events.iter().all(|event| event.actor == "anna"));
    assert_eq!(history.events[0].detail, "reporting, disabled");
    // A limit cuts the oldest.
    let newest = AuditTrail::of_key(&audit, acme.id(), id, 2).await.unwrap();
    assert_eq!((newest.events.len(), newest.complete), (2, false));
    assert_eq!(newest.events[..], history.events[..2]);
    assert_eq!(audit.lost(), 0);
}

async fn console_shows_what_every_process_did(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store, &audit);
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    let id = issued.key.id();
    let (store, elsewhere) = database.open().await;
    let other = self::keyring(store, &elsewhere).acting_as("olga");
    other.tenant(acme.id().clone()).disable(id).await.unwrap();
    elsewhere.flush().await.unwrap();

    let body = shown(&keyring, &audit, id).await;
    assert_eq!(body["complete"], true, "{body}");
    assert_eq!(body["items"][0]["kind"], "key_edited", "{body}");
    assert_eq!(body["items"][0]["actor"], "olga");
    assert_eq!(body["items"][1]["kind"], "key_issued");
}

async fn history_with_notices_and_new_seals_stays_complete(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store.clone(), &audit);
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    let id = issued.key.id();
    let due = Due::ExpiringWithin(2 * DAY);
    let expiry = KeyEdit::new().expires_at(SystemClock.moment().now.checked_add(DAY));
    acme.edit(id, 1, expiry).await.unwrap();
    for notice in keyring.claim_notices(due, None).await.unwrap().items {
        keyring.confirm_notice(&notice).await.unwrap();
    }
    assert_eq!(acme.find(id).await.unwrap().version(), 4);
    let body = shown(&keyring, &audit, id).await;
    assert_eq!(
        (&body["complete"], &body["items"][1]["kind"]),
        (&true.into(), &"key_issued".into())
    );

    let newer = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let peppers = Peppers::new(newer).retiring(pepper()).unwrap();
    let renewed = Keyring::builder(policy(), peppers).environment("live").store(store);
    let renewed = renewed.build().unwrap();
    renewed.reseal(None, |_| {}).await.unwrap();
    assert_eq!(renewed.tenant(acme.id().clone()).find(id).await.unwrap().version(), 5);
    assert_eq!(shown(&renewed, &audit, id).await["complete"], true);

    // A process that crashes before it has written its event loses it.
    renewed.tenant(acme.id().clone()).disable(id).await.unwrap();
    assert_eq!(shown(&renewed, &audit, id).await["complete"], false);
}

async fn history_of_a_key_has_nothing_of_other_tenants(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store, &audit);
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    let (id, token) = (issued.key.id(), issued.token.reveal_known());
    let other = keyring.create_empty_tenant("other", "lite").await.unwrap();
    other.delete(id).await.unwrap_err();
    let rotated = acme.rotate(id, 1, GracePeriod::None).await.unwrap();
    let _ = rotated.token.reveal_known();
    // Nobody can say whose the old secret is, and still it is of this key.
    keyring.verify(&*token).await.unwrap_err();
    let history = page(&audit, &acme, id).await;
    assert_eq!(kinds(&history), ["rejected", "key_rotated", "key_issued"]);
}

async fn outage_delays_events_and_writes_each_once(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store, &audit);
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    audit.flush().await.unwrap();
    let before = database.count();

    database.take_away(true);
    for number in 1..=40 {
        let edit = KeyEdit::new().name(format!("name {number}"));
        acme.edit(issued.key.id(), number, edit).await.unwrap();
    }
    assert!(matches!(audit.flush().await, Err(StoreError::Unavailable(_))));
    database.take_away(false);
    audit.flush().await.unwrap();
    assert_eq!(database.count(), before + 40);
    let history = page(&audit, &acme, issued.key.id()).await;
    assert_eq!((history.events.len(), history.complete), (41, true));
    assert_eq!(audit.lost(), 0);
}

/// An event that finds the queue full is counted and reported in the table, and histories that may lack it are
/// incomplete.
async fn lost_events_are_counted_and_reported(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store, &audit);
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    audit.flush().await.unwrap();
    assert!(page(&audit, &acme, issued.key.id()).await.complete);

    database.take_away(true);
    // Each is an event, and none reaches the store of keys.
    while audit.lost() < 3 {
        keyring.create_empty_tenant("", "lite").await.unwrap_err();
    }
    let lost = audit.lost();
    database.take_away(false);
    audit.flush().await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM {} WHERE kind = 'events_lost'"), "1");
    assert_eq!(audit.lost(), lost);
    let history = page(&audit, &acme, issued.key.id()).await;
    assert_eq!((kinds(&history), history.complete), (vec!["key_issued"], false));
}

async fn refused_requests_do_not_fill_the_table(database: Database) {
    let (store, audit) = database.open().await;
    let keyring = keyring(store, &audit);
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    let token = issued.token.reveal_known();
    acme.disable(issued.key.id()).await.unwrap();
    for _ in 0..500 {
        keyring.verify(&*token).await.unwrap_err();
        keyring.verify("made up").await.unwrap_err();
    }
    audit.flush().await.unwrap();
    let history = page(&audit, &acme, issued.key.id()).await;
    let inactive = kinds(&history).iter().filter(|kind| **kind == "inactive").count();
    // A minute may have ended in between.
    assert!((10..=30).contains(&inactive), "{inactive}");
    let numbers = history.events.iter().filter(|event| event.kind == "suppressed");
    let number = |text: &str| text.split(' ').next().unwrap().parse::<usize>().unwrap();
    let suppressed: usize = numbers.map(|event| number(&event.detail)).sum();
    assert_eq!(inactive + suppressed, 500);
    assert!(database.count() < 40, "{}", database.count());
    // Anyone can make up a token.
    assert_eq!(database.sql("SELECT count(*) FROM {} WHERE kind = 'rejected'"), "0");
}

async fn prune_keeps_what_is_new_and_the_newest_of_each_key(database: Database) {
    let (store, audit) = database.open().await;
    let now = SystemClock.moment().now.as_millis();
    let days_ago = |days: i64| Timestamp::from_millis(now - days * 86_400_000).unwrap();
    let clock = ManualClock::at(days_ago(100));
    let keyring = keyring_at(store, &audit, clock.clone());
    let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    let [busy, quiet] = [acme.issue(NewKey::named("b")), acme.issue(NewKey::named("q"))];
    let (busy, quiet) = (busy.await.unwrap().key.id(), quiet.await.unwrap().key.id());
    for number in 1..=30 {
        acme.edit(busy, number, KeyEdit::new().name(format!("{number}"))).await.unwrap();
    }
    clock.set(days_ago(10));
    for number in 31..=45 {
        acme.edit(busy, number, KeyEdit::new().name(format!("{number}"))).await.unwrap();
    }
    acme.edit(quiet, 1, KeyEdit::new().name("r")).await.unwrap();
    audit.flush().await.unwrap();
    let all = database.count();
    assert_eq!(all, 1 + 2 + 45 + 1);

    assert_eq!(audit.prune(Duration::MAX, u32::MAX).await.unwrap(), 0);
    assert_eq!(audit.prune(101 * DAY, 46).await.unwrap(), 0);
    assert_eq!(audit.prune(101 * DAY, 40).await.unwrap(), 6);
    let history = page(&audit, &acme, busy).await;
    assert_eq!((history.events.len(), history.complete), (40, false));
    assert_eq!(history.events[0].at, days_ago(10));
    assert!(page(&audit, &acme, quiet).await.complete);

    // All but the 16 edits of ten days ago.
    let old = all - 6 - 16;
    assert_eq!(audit.prune(50 * DAY, u32::MAX).await.unwrap(), old);
    assert_eq!(kinds(&page(&audit, &acme, quiet).await), ["key_edited"]);
    assert_eq!(page(&audit, &acme, busy).await.events.len(), 15);
    assert_eq!(audit.prune(Duration::ZERO, 0).await.unwrap(), 16);
    assert_eq!(database.count(), 0);
}

async fn prune_takes_more_than_one_portion(database: Database) {
    let (_store, audit) = database.open().await;
    let fill = match &database {
        Database::Sqlite(_) => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
                 INSERT INTO {} SELECT n, 1, n, NULL, \
                 CAST(printf('%016d', n % 2500) AS BLOB), zeroblob(0), 'key_edited', zeroblob(0) \
                 FROM n"
        }
        Database::Postgres(..) => {
            "INSERT INTO {} SELECT n, 1, n, NULL, \
                 convert_to(lpad((n % 2500)::text, 16, '0'), 'UTF8'), '', 'key_edited', '' \
                 FROM generate_series(1, 5000) n"
        }
    };
    database.sql(fill);
    // Of each of 2,500 keys one of two events goes, and then all of the rest.
    assert_eq!(audit.prune(Duration::MAX, 1).await.unwrap(), 2_500);
    assert_eq!(database.sql("SELECT min(number) FROM {}"), "2501");
    assert_eq!(audit.prune(DAY, 1).await.unwrap(), 2_500);
}

async fn table_of_a_later_release_is_refused(database: Database) {
    drop(database.open().await);
    let refused = match &database {
        Database::Sqlite(folder) => {
            database.sql("UPDATE keyway_audit_schema SET version = 9");
            let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
            let error = store.audit_table().await.unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        }
        Database::Postgres(server, schema) => {
            database.sql(&format!("UPDATE {schema}.schema_version SET version = 9 WHERE id = 2"));
            let builder = keyway::PostgresStore::builder().schema(schema);
            let store = builder.connect(&server.url()).await.unwrap();
            store.audit_table().await.unwrap_err().to_string()
        }
    };
    assert!(refused.contains("version 9"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn missing_right_on_the_table_names_the_grant() {
    use keyway::{PostgresStore, store::PostgresError};

    let server = server::shared();
    let schema = server::fresh_schema();
    let owner = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    server.sql(&format!(
        "CREATE ROLE audit_user LOGIN; GRANT USAGE ON SCHEMA {schema} TO audit_user; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO audit_user"
    ));
    let url = server.url().replace("keyway@", "audit_user@");
    let store = PostgresStore::builder().schema(&schema).connect(&url).await.unwrap();
    let error = store.audit_table().await.unwrap_err();
    assert!(matches!(error, PostgresError::CannotCreate { .. }), "{error}");
    owner.audit_table().await.unwrap();
    let error = store.audit_table().await.unwrap_err();
    let PostgresError::MissingGrant { grant, .. } = &error else { panic!("{error}") };
    server.sql(grant);
    let audit = store.audit_table().await.unwrap();
    let keyring = keyring(AnyStore::new(store), &audit);
    keyring.create_empty_tenant("acme", "lite").await.unwrap();
    audit.flush().await.unwrap();
    assert_eq!(server.sql(&format!("SELECT count(*) FROM {schema}.audit")), "1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn nodes_may_open_the_table_at_once() {
    use keyway::PostgresStore;

    let server = server::shared();
    let schema = server::fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let nodes: Vec<_> = (0..12)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.audit_table().await.map(drop) })
        })
        .collect();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
}
