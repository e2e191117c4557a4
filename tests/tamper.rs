//! Whoever writes to the database without the pepper gains nothing: every column of every row changed
//! by raw SQL, rows swapped and rows invented.

#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops")]

mod common;
#[path = "support/postgres.rs"]
mod server;

use common::{PEPPER, Recorder, overheard::RevealKnown as _, policy};
use keyway::{
    authority::{KeyEdit, NewKey},
    keyring::{Keyring, TenantKeys},
    pepper::Pepper,
    record::KeyRecord,
    store::{AnyStore, KeyQuery, PostgresStore, SqliteStore},
};
use sqlx::{AssertSqlSafe, PgPool, Row};

/// What somebody does who can write to the database.
enum Intruder {
    Sqlite(rusqlite::Connection),
    Postgres(PgPool, String),
}

impl Intruder {
    async fn execute(&self, sql: &str) -> u64 {
        match self {
            Self::Sqlite(connection) => connection.execute(sql, []).unwrap() as u64,
            Self::Postgres(pool, _) => {
                let done = sqlx::query(AssertSqlSafe(sql)).execute(pool).await;
                done.unwrap().rows_affected()
            }
        }
    }

    /// The one value that `sql` selects, as text.
    async fn value(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(connection) => connection.query_row(sql, [], |row| row.get(0)).unwrap(),
            Self::Postgres(pool, _) => {
                sqlx::query(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap().get(0)
            }
        }
    }

    fn table(&self, name: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("keyway_{name}"),
            Self::Postgres(_, schema) => format!("{schema}.{name}"),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        match self {
            Self::Sqlite(_) => format!("X'{hex}'"),
            Self::Postgres(..) => format!("'\\x{hex}'::bytea"),
        }
    }

    /// The columns of a table, which are all that there are.
    async fn columns(&self, table: &str) -> Vec<String> {
        let names = match self {
            Self::Sqlite(_) => {
                format!("SELECT group_concat(name) FROM pragma_table_info('{}')", self.table(table))
            }
            Self::Postgres(_, schema) => format!(
                "SELECT string_agg(column_name, ',') FROM information_schema.columns \
                 WHERE table_schema = '{schema}' AND table_name = '{table}'"
            ),
        };
        self.value(&names).await.split(',').map(str::to_owned).collect()
    }
}

/// A database with two tenants, each with a key, and what is known of them.
struct World {
    intruder: Intruder,
    keyring: Keyring,
    audit: Recorder,
    acme: Victim,
    beta: Victim,
}

struct Victim {
    tenant: TenantKeys,
    key: KeyRecord,
    token: String,
}

impl World {
    async fn new(store: AnyStore, intruder: Intruder) -> Self {
        let audit = Recorder::default();
        let keyring = Keyring::builder(policy(), Pepper::from_bytes(PEPPER).unwrap())
            .environment("live")
            .store(store)
            .audit(audit.clone())
            .cache_capacity(0)
            .build()
            .unwrap();
        let acme = Victim::new(&keyring, "acme").await;
        let beta = Victim::new(&keyring, "beta").await;
        Self { intruder, keyring, audit, acme, beta }
    }

    async fn sqlite(folder: &std::path::Path) -> Self {
        let path = folder.join("keys.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        Self::new(AnyStore::new(store), Intruder::Sqlite(connection)).await
    }

    async fn postgres() -> Option<Self> {
        let server = server::shared()?;
        let schema = server::fresh_schema();
        let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
        let pool = PgPool::connect(&server.url()).await.unwrap();
        Some(Self::new(AnyStore::new(store), Intruder::Postgres(pool, schema)).await)
    }

    /// The record in a row.
    async fn record(&self, table: &str, id: &[u8]) -> Vec<u8> {
        let hex = match &self.intruder {
            Intruder::Sqlite(_) => "hex(record)",
            Intruder::Postgres(..) => "encode(record, 'hex')",
        };
        let select = format!(
            "SELECT {hex} FROM {} WHERE id = {}",
            self.intruder.table(table),
            self.intruder.bytes(id)
        );
        let hex = self.intruder.value(&select).await;
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    /// Sets a column of a row, and gives how many rows that changed.
    async fn set(&self, table: &str, id: &[u8], column: &str, value: &str) -> u64 {
        let update = format!(
            "UPDATE {} SET {column} = {value} WHERE id = {}",
            self.intruder.table(table),
            self.intruder.bytes(id)
        );
        self.intruder.execute(&update).await
    }

    /// Whether the key's holder is still let in; if not, the audit sink was told something.
    async fn admits(&self, victim: &Victim) -> bool {
        self.audit.take_kinds();
        let verified = self.keyring.verify(&*victim.token).await;
        let told = self.audit.take_kinds();
        assert_eq!(verified.is_err(), !told.is_empty(), "{verified:?} {told:?}");
        verified.is_ok()
    }

    /// Refused, and told of as a record that somebody has changed.
    async fn is_found_out(&self, victim: &Victim) -> bool {
        self.audit.take_kinds();
        let verified = self.keyring.verify(&*victim.token).await;
        let told = self.audit.take_kinds();
        verified.is_err() && told == ["Tampered"]
    }
}

impl Victim {
    async fn new(keyring: &Keyring, id: &str) -> Self {
        let tenant = keyring.create_empty_tenant(id, "advanced").await.unwrap();
        let request = NewKey::named("first").scopes(["reporting"]);
        let issued = tenant.issue(request).await.unwrap();
        Self { tenant, key: issued.key, token: issued.token.reveal_known().to_string() }
    }

    fn id(&self) -> Vec<u8> {
        self.key.id().as_bytes().to_vec()
    }

    fn tenant_id(&self) -> Vec<u8> {
        self.tenant.id().as_str().into()
    }
}

/// Runs a test on both engines.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                let folder = tempfile::tempdir().unwrap();
                pollster::block_on(async {
                    super::$name(super::World::sqlite(folder.path()).await).await;
                });
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let Some(world) = super::World::postgres().await else { return };
                super::$name(world).await;
            })*
        }
    };
}

on_both! {
    no_column_can_be_changed
    no_byte_of_a_record_can_be_changed
    no_rows_can_be_swapped
    no_row_can_be_invented
    only_the_seal_stands_in_the_way
    a_row_that_cannot_be_read_can_be_deleted
    the_last_use_decides_nothing
}

async fn no_column_can_be_changed(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    assert!(world.admits(acme).await);
    for (table, id, other) in
        [("keys", acme.id(), beta.id()), ("tenants", acme.tenant_id(), beta.tenant_id())]
    {
        let columns = world.intruder.columns(table).await;
        for column in columns.iter().filter(|column| *column != "last_used") {
            let others = format!(
                "(SELECT {column} FROM {} WHERE id = {})",
                world.intruder.table(table),
                world.intruder.bytes(&other)
            );
            let (original, changes) = match column.as_str() {
                "id" => {
                    (world.intruder.bytes(&id), vec![world.intruder.bytes(b"0123456789abcdef")])
                }
                "record" => {
                    let record = world.record(table, &id).await;
                    (world.intruder.bytes(&record), vec![others, world.intruder.bytes(b"")])
                }
                "tenant" => {
                    let nobody = world.intruder.bytes(b"nobody");
                    (world.intruder.bytes(&acme.tenant_id()), vec![others, nobody, "NULL".into()])
                }
                "version" => ("1".into(), vec!["2".into(), "0".into()]),
                "created_at" => {
                    let created_at = acme.key.created_at().as_millis();
                    (created_at.to_string(), vec!["0".into(), (created_at + 1).to_string()])
                }
                column => panic!("a column that nobody has thought of: {table}.{column}"),
            };
            for change in changes {
                assert_eq!(world.set(table, &id, column, &change).await, 1);
                assert!(!world.admits(acme).await, "{table}.{column} = {change}");
                // A row that cannot be read hides no other tenant's.
                assert!(world.admits(beta).await, "{table}.{column} = {change}");
                let listed = acme.tenant.list(&KeyQuery::all()).await;
                assert!(
                    table == "tenants" || listed.map_or(true, |page| page.items.is_empty()),
                    "{table}.{column} = {change}"
                );
                let id = if column == "id" { b"0123456789abcdef" } else { &id[..] };
                assert_eq!(world.set(table, id, column, &original).await, 1);
                assert!(world.admits(acme).await, "{table}.{column} = {original}");
            }
        }
    }
}

async fn no_byte_of_a_record_can_be_changed(world: World) {
    let acme = &world.acme;
    for (table, id) in [("keys", acme.id()), ("tenants", acme.tenant_id())] {
        let record = world.record(table, &id).await;
        for place in 0..record.len() {
            let mut changed = record.clone();
            changed[place] ^= 1 << (place % 8);
            world.set(table, &id, "record", &world.intruder.bytes(&changed)).await;
            assert!(world.is_found_out(acme).await, "byte {place} of a row of {table}");
        }
        world.set(table, &id, "record", &world.intruder.bytes(&record)).await;
        assert!(world.admits(acme).await);
    }
}

async fn no_rows_can_be_swapped(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    let keys = world.intruder.table("keys");
    let records = [world.record("keys", &acme.id()).await, world.record("keys", &beta.id()).await];
    // The records change places, then the tenants with them.
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&records[1])).await;
    world.set("keys", &beta.id(), "record", &world.intruder.bytes(&records[0])).await;
    assert!(world.is_found_out(acme).await && world.is_found_out(beta).await);
    world.set("keys", &acme.id(), "tenant", &world.intruder.bytes(b"beta")).await;
    world.set("keys", &beta.id(), "tenant", &world.intruder.bytes(b"acme")).await;
    assert!(world.is_found_out(acme).await && world.is_found_out(beta).await);
    assert!(acme.tenant.list(&KeyQuery::all()).await.is_err());
    // With their ids and times too, the rows are what they were: there is nothing else in them.
    let nobody = world.intruder.bytes(b"0123456789abcdef");
    world.set("keys", &acme.id(), "id", &nobody).await;
    world.set("keys", &beta.id(), "id", &world.intruder.bytes(&acme.id())).await;
    let restore =
        format!("UPDATE {keys} SET id = {} WHERE id = {nobody}", world.intruder.bytes(&beta.id()));
    world.intruder.execute(&restore).await;
    for victim in [acme, beta] {
        let created_at = victim.key.created_at().as_millis().to_string();
        world.set("keys", &victim.id(), "created_at", &created_at).await;
    }
    assert!(world.admits(acme).await && world.admits(beta).await);
}

async fn no_row_can_be_invented(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    let keys = world.intruder.table("keys");
    // The holder of a key of `beta` wants it to be `acme`'s: under the same id, sealed by somebody who
    // has another pepper, with the digest of the token that it holds.
    let stranger = Keyring::builder(policy(), Pepper::from_bytes(&[9; 32]).unwrap())
        .environment("live")
        .store(SqliteStore::in_memory().await.unwrap())
        .build()
        .unwrap();
    let forged = Victim::new(&stranger, "acme").await;
    let insert = format!(
        "INSERT INTO {keys} (id, tenant, created_at, version, record, last_used) \
         VALUES ({}, {}, {}, 1, {}, NULL)",
        world.intruder.bytes(&forged.id()),
        world.intruder.bytes(b"acme"),
        forged.key.created_at().as_millis(),
        world.intruder.bytes(&forged.key.encode()),
    );
    assert_eq!(world.intruder.execute(&insert).await, 1);
    // Its token carries no tag of ours, and the row no seal of ours.
    assert!(!world.admits(&forged).await);
    assert!(world.keyring.resume_key(forged.key.id()).await.is_err());
    assert!(acme.tenant.list(&KeyQuery::all()).await.is_err());
    world
        .intruder
        .execute(&format!("DELETE FROM {keys} WHERE id = {}", world.intruder.bytes(&forged.id())))
        .await;

    // A copy of a row under an id that a token of ours names, but not this key's.
    let record = world.record("keys", &acme.id()).await;
    world.set("keys", &beta.id(), "record", &world.intruder.bytes(&record)).await;
    assert!(world.is_found_out(beta).await);
}

/// The control: the same change by the same hand, with a seal of the host's pepper.
async fn only_the_seal_stands_in_the_way(world: World) {
    let acme = &world.acme;
    let tenant = world.keyring.find_tenant(acme.tenant.id()).await.unwrap();
    let raised = |pepper: &[u8; 32]| {
        let authority = keyway::authority::Authority::new(
            policy(),
            "live",
            &Pepper::from_bytes(pepper).unwrap().into(),
        )
        .unwrap();
        let edit = KeyEdit::new().scopes(["operator"]);
        authority.edit(&acme.key, &tenant, edit, acme.key.created_at())
    };
    // Who does not have the pepper cannot even make such a record.
    assert!(raised(&[9; 32]).is_err());
    let raised = raised(PEPPER).unwrap().encode();
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&raised)).await;
    world.set("keys", &acme.id(), "version", "2").await;
    let caller = world.keyring.verify(&*acme.token).await.unwrap();
    assert_eq!(world.keyring.policy().catalog().text(caller.scopes()), "operator");
    // One bit of the seal less, and it is found out.
    let mut unsealed = raised;
    *unsealed.last_mut().unwrap() ^= 1;
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&unsealed)).await;
    assert!(world.is_found_out(acme).await);
}

/// A row that cannot be read is in the way of its tenant's list until it is deleted, which takes no
/// more than its id.
async fn a_row_that_cannot_be_read_can_be_deleted(world: World) {
    let acme = &world.acme;
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(b"noise")).await;
    let error = acme.tenant.list(&KeyQuery::all()).await.unwrap_err();
    let told = common::chain(&error).join(": ");
    assert!(told.contains(acme.key.id().as_str()), "{told}");
    acme.tenant.delete(acme.key.id()).await.unwrap();
    assert!(acme.tenant.list(&KeyQuery::all()).await.unwrap().items.is_empty());
}

/// The one column that no seal covers.
async fn the_last_use_decides_nothing(world: World) {
    let acme = &world.acme;
    for value in ["0", "9223372036854775807", "-9223372036854775808", "NULL"] {
        world.set("keys", &acme.id(), "last_used", value).await;
        assert!(world.admits(acme).await);
        assert_eq!(acme.tenant.list(&KeyQuery::all()).await.unwrap().items.len(), 1);
    }
}
