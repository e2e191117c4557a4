//! Writing to the database without the pepper gains nothing. Every column of every row is changed by raw
//! SQL, rows are swapped, and rows are created.

use crate::support::{PEPPER, Recorder, overheard::RevealKnown as _, policy, server};
use keyway::{
    KeyEdit, KeyRecord, Keyring, NewKey, Pepper, PostgresStore, SqliteStore, TenantKeys,
    keyring::WalkCursor,
    record::Owner,
    store::{AnyStore, KeyFilter, KeyQuery},
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgPool, Row, postgres::PgConnectOptions};

/// An attacker that can write to the database.
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

    /// Returns the one value that `sql` selects, as text.
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

    /// Returns all columns of a table.
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

/// A database with two tenants that have one key each.
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

    async fn postgres() -> Self {
        let server = server::shared();
        let schema = server::fresh_schema();
        let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
        // The intruder is another program. Its statements contain whole records, and would be in the log of
        // this one, which row 14 searches for digests.
        let options: PgConnectOptions = server.url().parse().unwrap();
        let pool = PgPool::connect_with(options.disable_statement_logging()).await.unwrap();
        Self::new(AnyStore::new(store), Intruder::Postgres(pool, schema)).await
    }

    /// Returns the record in a row.
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

    /// Sets a column of a row. Returns the number of changed rows.
    async fn set(&self, table: &str, id: &[u8], column: &str, value: &str) -> u64 {
        let update = format!(
            "UPDATE {} SET {column} = {value} WHERE id = {}",
            self.intruder.table(table),
            self.intruder.bytes(id)
        );
        self.intruder.execute(&update).await
    }

    /// Returns whether the key's holder is still admitted. If not, the audit sink must have received an
    /// event.
    async fn admits(&self, victim: &Victim) -> bool {
        self.audit.take_kinds();
        let verified = self.keyring.verify(&*victim.token).await;
        let told = self.audit.take_kinds();
        assert_eq!(verified.is_err(), !told.is_empty(), "{verified:?} {told:?}");
        verified.is_ok()
    }

    /// Returns whether the key is rejected and reported as tampered.
    async fn is_found_out(&self, victim: &Victim) -> bool {
        self.audit.take_kinds();
        let verified = self.keyring.verify(&*victim.token).await;
        let told = self.audit.take_kinds();
        verified.is_err() && told == ["Tampered"]
    }
}

fn owner(id: &str) -> Owner {
    id.parse().unwrap()
}

impl Victim {
    async fn new(keyring: &Keyring, id: &str) -> Self {
        let tenant = keyring.create_empty_tenant(id, "advanced").await.unwrap();
        let request = NewKey::named("first").scopes(["reporting"]).owner(owner("ann"));
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

/// keyway never leaves a key without its tenant, so the row was deleted by someone else. This is reported.
async fn key_without_its_tenant_is_reported_as_tampered(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    let (table, id) = (world.intruder.table("tenants"), world.intruder.bytes(b"acme"));
    let deleted = world.intruder.execute(&format!("DELETE FROM {table} WHERE id = {id}")).await;
    assert_eq!(deleted, 1);
    assert!(world.is_found_out(acme).await);
    assert!(world.admits(beta).await);
}

/// Only the id of a deleted key remains: neither the digest of its secret nor its name.
async fn deleted_key_leaves_only_its_id(world: World) {
    let (keys, tenants) = (world.intruder.table("keys"), world.intruder.table("tenants"));
    let (acme, beta) = (&world.acme, &world.beta);
    let count = async |condition: &str| {
        let select = format!("SELECT CAST(count(*) AS TEXT) FROM {keys} WHERE {condition}");
        world.intruder.value(&select).await
    };
    let is_empty = "tenant IS NULL AND record IS NULL AND last_used IS NULL \
                    AND created_at = 0 AND version = 0 AND owner IS NULL";
    world.keyring.verify(&*acme.token).await.unwrap();
    world.keyring.flush_uses().await.unwrap();
    assert_eq!(count("last_used IS NOT NULL").await, "1");
    acme.tenant.delete(acme.key.id()).await.unwrap();
    assert_eq!(count(is_empty).await, "1");
    world.keyring.delete_tenant(beta.tenant.id()).await.unwrap();
    assert_eq!((count(is_empty).await, count("version >= 0").await), ("2".into(), "2".into()));
    let select = format!("SELECT CAST(count(*) AS TEXT) FROM {tenants}");
    assert_eq!(world.intruder.value(&select).await, "1");
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
            #[ignore = "needs PostgreSQL"]
            async fn $name() {
                super::$name(super::World::postgres().await).await;
            })*
        }
    };
}

on_both! {
    no_column_can_be_changed
    no_byte_of_a_record_can_be_changed
    no_rows_can_be_swapped
    no_row_can_be_forged
    valid_seal_alone_makes_a_change_accepted
    a_row_that_cannot_be_read_can_be_deleted
    broken_rows_end_no_list_and_no_walk
    rows_without_a_name_end_no_page
    a_deletion_in_portions_survives_a_crash
    a_tenant_created_again_inherits_no_key
    deleted_key_leaves_only_its_id
    key_without_its_tenant_is_reported_as_tampered
    the_last_use_decides_nothing
    the_column_of_owners_gives_no_key_away
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
                "owner" => {
                    let changes = [&b"bob"[..], b"", b"ann ", b"Ann", b"\xff"];
                    let changes = changes.map(|change| world.intruder.bytes(change));
                    let none = ["NULL".to_owned()];
                    (world.intruder.bytes(b"ann"), changes.into_iter().chain(none).collect())
                }
                column => panic!("a column that nobody has thought of: {table}.{column}"),
            };
            for change in changes {
                assert_eq!(world.set(table, &id, column, &change).await, 1);
                assert!(!world.admits(acme).await, "{table}.{column} = {change}");
                // A row that cannot be read hides no other tenant's row.
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
    // The records are swapped, then the tenants as well.
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&records[1])).await;
    world.set("keys", &beta.id(), "record", &world.intruder.bytes(&records[0])).await;
    assert!(world.is_found_out(acme).await && world.is_found_out(beta).await);
    world.set("keys", &acme.id(), "tenant", &world.intruder.bytes(b"beta")).await;
    world.set("keys", &beta.id(), "tenant", &world.intruder.bytes(b"acme")).await;
    assert!(world.is_found_out(acme).await && world.is_found_out(beta).await);
    let page = acme.tenant.list(&KeyQuery::all()).await.unwrap();
    assert_eq!((page.items.len(), page.broken.len()), (0, 1));
    // With ids and times swapped too, the rows are as before: they contain nothing else.
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

async fn no_row_can_be_forged(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    let keys = world.intruder.table("keys");
    // The holder of a key of `beta` tries to make it a key of `acme`: under the same id, with the digest of
    // its own token, sealed with another pepper.
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
    // The token has no valid tag, and the row has no valid seal.
    assert!(!world.admits(&forged).await);
    assert!(world.keyring.resume_key(forged.key.id()).await.is_err());
    let page = acme.tenant.list(&KeyQuery::all()).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&acme.key));
    assert_eq!(page.broken[0].key(), Some(forged.key.id()));
    world
        .intruder
        .execute(&format!("DELETE FROM {keys} WHERE id = {}", world.intruder.bytes(&forged.id())))
        .await;

    // A copy of a row under the id of another valid token.
    let record = world.record("keys", &acme.id()).await;
    world.set("keys", &beta.id(), "record", &world.intruder.bytes(&record)).await;
    assert!(world.is_found_out(beta).await);
}

/// The control: the same change with a seal of the application's pepper is accepted.
async fn valid_seal_alone_makes_a_change_accepted(world: World) {
    let acme = &world.acme;
    let tenant = world.keyring.find_tenant(acme.tenant.id()).await.unwrap();
    let raised = |pepper: &[u8; 32]| {
        let authority = keyway::lowlevel::Authority::new(
            policy(),
            "live",
            &Pepper::from_bytes(pepper).unwrap().into(),
        )
        .unwrap();
        let edit = KeyEdit::new().scopes(["operator"]);
        authority.edit(&acme.key, &tenant, edit, acme.key.created_at())
    };
    // Without the pepper, such a record cannot even be created.
    assert!(raised(&[9; 32]).is_err());
    let raised = raised(PEPPER).unwrap().encode();
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&raised)).await;
    world.set("keys", &acme.id(), "version", "2").await;
    let caller = world.keyring.verify(&*acme.token).await.unwrap();
    assert_eq!(world.keyring.policy().catalog().text(caller.scopes()), "operator");
    // With one bit of the seal flipped, the change is detected.
    let mut unsealed = raised;
    *unsealed.last_mut().unwrap() ^= 1;
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(&unsealed)).await;
    assert!(world.is_found_out(acme).await);
}

/// A row that cannot be read is reported next to its tenant's other keys until it is deleted. The deletion
/// needs only its id.
async fn a_row_that_cannot_be_read_can_be_deleted(world: World) {
    let acme = &world.acme;
    world.set("keys", &acme.id(), "record", &world.intruder.bytes(b"noise")).await;
    let page = acme.tenant.list(&KeyQuery::all()).await.unwrap();
    assert_eq!((page.items.len(), page.broken.len()), (0, 1));
    let told = page.broken[0].to_string();
    assert!(told.contains(acme.key.id().as_str()), "{told}");
    acme.tenant.delete(acme.key.id()).await.unwrap();
    assert!(acme.tenant.list(&KeyQuery::all()).await.unwrap().items.is_empty());
}

impl World {
    /// Returns all keys of all tenants by their names, and the broken rows that the pages report.
    async fn walk(&self) -> (Vec<String>, Vec<String>) {
        let (mut names, mut broken) = (Vec::new(), Vec::new());
        let mut after: Option<WalkCursor> = None;
        loop {
            let page = self.keyring.all_keys(&KeyFilter::all(), after.as_ref()).await.unwrap();
            names.extend(page.items.iter().map(|key| format!("{}/{}", key.tenant(), key.name())));
            broken.extend(page.broken.iter().map(ToString::to_string));
            match page.next {
                Some(next) => after = Some(next),
                None => return (names, broken),
            }
        }
    }

    async fn insert_key(&self, tenant: &[u8], id: &[u8], created_at: i64) {
        let insert = format!(
            "INSERT INTO {} (id, tenant, created_at, version, record, last_used) \
             VALUES ({}, {}, {created_at}, 1, {}, NULL)",
            self.intruder.table("keys"),
            self.intruder.bytes(id),
            self.intruder.bytes(tenant),
            self.intruder.bytes(b"noise"),
        );
        assert_eq!(self.intruder.execute(&insert).await, 1);
    }

    async fn insert_tenant(&self, id: &[u8]) {
        let insert = format!(
            "INSERT INTO {} (id, version, record) VALUES ({}, 1, {})",
            self.intruder.table("tenants"),
            self.intruder.bytes(id),
            self.intruder.bytes(b"noise"),
        );
        assert_eq!(self.intruder.execute(&insert).await, 1);
    }
}

/// One broken row, of a key or of a tenant, is reported at its position. The rows next to it are shown, and
/// walks reach the end.
async fn broken_rows_end_no_list_and_no_walk(world: World) {
    let acme = &world.acme;
    // Keys of the same millisecond are listed in the order of their ids, which are random. A tick of the clock has up to ten.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let second = acme.tenant.issue(NewKey::named("second")).await.unwrap().key;
    let whole = ["acme/first", "acme/second", "beta/first"];
    assert_eq!(world.walk().await, (whole.map(String::from).into(), vec![]));

    for value in ["NULL".to_owned(), world.intruder.bytes(b"noise"), world.intruder.bytes(b"")] {
        // A key.
        let record = world.record("keys", &acme.id()).await;
        world.set("keys", &acme.id(), "record", &value).await;
        world.audit.take_kinds();
        for query in [KeyQuery::all(), KeyQuery::all().limit(1), KeyQuery::all().containing("sec")]
        {
            let page = acme.tenant.list(&query).await.unwrap();
            assert_eq!(page.broken[0].key(), Some(acme.key.id()), "{query:?}");
            let mut names: Vec<_> = page.items.iter().map(|key| key.name().to_owned()).collect();
            if let Some(next) = page.next {
                let rest = acme.tenant.list(&query.after(next)).await.unwrap();
                names.extend(rest.items.iter().map(|key| key.name().to_owned()));
            }
            assert_eq!(names, ["second"]);
        }
        assert_eq!(
            acme.tenant.search("second").await.unwrap().items,
            std::slice::from_ref(&second)
        );
        assert!(world.audit.take_kinds().iter().all(|kind| kind == "Tampered"));
        let (names, broken) = world.walk().await;
        assert_eq!(names, whole[1..]);
        assert_eq!(broken.len(), 1);
        assert!(broken[0].contains(acme.key.id().as_str()) && broken[0].contains("acme"));
        for done in [
            world.keyring.reseal(None, |_| {}).await.unwrap(),
            world.keyring.purge_expired(core::time::Duration::ZERO, None, |_| {}).await.unwrap(),
        ] {
            assert_eq!(done.tampered_keys, [acme.key.id()]);
            assert_eq!((done.tenants, done.tampered_tenants.len(), done.unnamed), (2, 0, 0));
        }
        world.set("keys", &acme.id(), "record", &world.intruder.bytes(&record)).await;
    }

    // A tenant, whose keys are walked over nevertheless.
    let record = world.record("tenants", b"acme").await;
    world.set("tenants", b"acme", "record", &world.intruder.bytes(b"noise")).await;
    let page = world.keyring.tenants(None, 9).await.unwrap();
    assert_eq!(page.items.iter().map(|t| t.id().as_str()).collect::<Vec<_>>(), ["beta"]);
    assert_eq!(page.broken[0].tenant().unwrap().as_str(), "acme");
    let (names, broken) = world.walk().await;
    assert_eq!((names.len(), broken.len()), (3, 1));
    assert!(broken[0].contains("tenant `acme`"), "{broken:?}");
    let done = world.keyring.reseal(None, |_| {}).await.unwrap();
    assert_eq!((done.tenants, done.tampered_keys.len()), (2, 0));
    assert_eq!(done.tampered_tenants, [acme.tenant.id().clone()]);
    world.set("tenants", b"acme", "record", &world.intruder.bytes(&record)).await;
    assert_eq!(world.walk().await.1, [""; 0]);
}

/// Rows with an invalid id or time are reported and skipped, even on the smallest page.
async fn rows_without_a_name_end_no_page(world: World) {
    let acme = &world.acme;
    let created_at = acme.key.created_at().as_millis();
    for (id, time) in [
        (&b"too short"[..], created_at - 2),
        (b"too long for an id", created_at - 1),
        (b"not\xffan ASCII id", i64::MIN),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", i64::MAX),
        // A valid id with an invalid time.
        (b"AAAAAAAAAAAAAAAA", i64::MAX),
    ] {
        world.insert_key(b"acme", id, time).await;
    }
    for id in [&b"\x01"[..], b"abc\xff", b"zzz\xff\xff", &[b'x'; 200]] {
        world.insert_tenant(id).await;
    }
    let (names, broken) = world.walk().await;
    assert_eq!(names, ["acme/first", "beta/first"]);
    assert_eq!(broken.len(), 9, "{broken:?}");
    for limit in [1, 2, 100] {
        let page = acme.tenant.list(&KeyQuery::all().limit(limit)).await.unwrap();
        assert_eq!((page.items.len(), page.next), (1, None), "a page of {limit}");
        assert_eq!(page.broken.len(), 5);
        let (mut after, mut ids, mut broken) = (None, Vec::new(), 0);
        loop {
            let page = world.keyring.tenants(after.as_ref(), limit).await.unwrap();
            ids.extend(page.items.iter().map(|tenant| tenant.id().to_string()));
            broken += page.broken.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((ids, broken), (vec!["acme".into(), "beta".into()], 4), "a page of {limit}");
    }
    let done = world.keyring.reseal(None, |_| {}).await.unwrap();
    assert_eq!((done.tenants, done.unnamed), (2, 9));
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

/// The column only selects rows. A key whose column names another owner is shown to neither of the two.
async fn the_column_of_owners_gives_no_key_away(world: World) {
    let acme = &world.acme;
    let of = |id: &str| KeyQuery::all().matching(KeyFilter::all().owner(owner(id)));
    let lists = async |keys: &TenantKeys, id: &str| {
        let page = keys.list(&of(id)).await.unwrap();
        (page.items.len(), page.broken.len())
    };
    let [ann, bob] = ["ann", "bob"].map(|id| acme.tenant.clone().owned_by(owner(id)));
    assert_eq!(
        (lists(&acme.tenant, "ann").await, lists(&acme.tenant, "bob").await),
        ((1, 0), (0, 0))
    );
    assert_eq!(lists(&ann, "ann").await, (1, 0));

    world.set("keys", &acme.id(), "owner", &world.intruder.bytes(b"bob")).await;
    world.audit.take_kinds();
    assert_eq!(
        (lists(&acme.tenant, "ann").await, lists(&acme.tenant, "bob").await),
        ((0, 0), (0, 1))
    );
    assert_eq!(world.audit.take_kinds(), ["Tampered"]);
    // A handle of an owner is not shown a row that may be of another one.
    assert_eq!((lists(&ann, "ann").await, lists(&bob, "bob").await), ((0, 0), (0, 0)));
    for handle in [&ann, &bob] {
        assert!(handle.find(acme.key.id()).await.is_err());
        assert!(handle.disable(acme.key.id()).await.is_err());
        assert!(handle.delete(acme.key.id()).await.is_err());
        assert!(handle.search(&acme.token).await.map_or(true, |page| page.items.is_empty()));
    }
    assert!(world.is_found_out(acme).await);
    // An owner that is disabled stays so, whatever the column says.
    world.set("keys", &acme.id(), "owner", &world.intruder.bytes(b"ann")).await;
    acme.tenant.disable_owner(&owner("ann")).await.unwrap();
    assert!(!world.admits(acme).await);
    for value in ["NULL", &*world.intruder.bytes(b"bob")] {
        world.set("keys", &acme.id(), "owner", value).await;
        assert!(world.is_found_out(acme).await);
    }
    world.set("keys", &acme.id(), "owner", &world.intruder.bytes(b"ann")).await;
    // The record of the tenant from before the owner was disabled has another version.
    acme.tenant.enable_owner(&owner("ann")).await.unwrap();
    assert!(world.admits(acme).await);
}

impl World {
    /// Creates the state after a crash between the first portion of a deletion and the next ones.
    async fn begin_deletion(&self, tenant: &[u8]) {
        assert_eq!(self.set("tenants", tenant, "record", "NULL").await, 1);
        assert_eq!(self.set("tenants", tenant, "version", "0").await, 1);
    }

    async fn count_rows(&self, tenant: &[u8]) -> u32 {
        let select = format!(
            "SELECT CAST(count(*) AS TEXT) FROM {} WHERE tenant = {}",
            self.intruder.table("keys"),
            self.intruder.bytes(tenant)
        );
        self.intruder.value(&select).await.parse().unwrap()
    }

    /// Gives a tenant so many keys that they are erased in several portions.
    async fn fill(&self, victim: &Victim) {
        let keys = self.intruder.table("keys");
        let own = self.intruder.bytes(victim.key.id().as_str().as_bytes());
        for batch in 0..45 {
            let rows: Vec<_> = (0..100)
                .map(|number| {
                    let id =
                        self.intruder.bytes(format!("Afiller{batch:04}{number:05}").as_bytes());
                    format!("({id}, {number})")
                })
                .collect();
            // The record is copied in the database, because it would be in the driver's log if it were in
            // the statement.
            let insert = format!(
                "INSERT INTO {keys} (id, tenant, created_at, version, record, last_used) \
                 SELECT filler.column1, k.tenant, filler.column2, 1, k.record, NULL \
                 FROM {keys} k, (VALUES {}) AS filler WHERE k.id = {own}",
                rows.join(", ")
            );
            self.intruder.execute(&insert).await;
        }
    }
}

/// An interrupted deletion is invisible from the first write on, and continues when it is repeated.
async fn a_deletion_in_portions_survives_a_crash(world: World) {
    let (acme, beta) = (&world.acme, &world.beta);
    world.fill(acme).await;
    world.begin_deletion(b"acme").await;
    assert!(!world.admits(acme).await && world.admits(beta).await);
    assert!(acme.tenant.list(&KeyQuery::all()).await.unwrap().items.is_empty());
    assert!(acme.tenant.quota().await.unwrap_err().is_not_found());
    assert!(world.keyring.find_key(acme.key.id()).await.unwrap_err().is_not_found());
    assert!(acme.tenant.delete(acme.key.id()).await.unwrap_err().is_not_found());
    assert!(acme.tenant.issue(NewKey::named("n")).await.unwrap_err().is_not_found());
    let (names, broken) = world.walk().await;
    assert_eq!((names, broken.len()), (vec!["beta/first".into()], 0));
    assert_eq!(world.count_rows(b"acme").await, 4_501);

    world.keyring.delete_tenant(acme.tenant.id()).await.unwrap();
    assert_eq!(world.count_rows(b"acme").await, 0);
    assert!(world.keyring.delete_tenant(acme.tenant.id()).await.unwrap_err().is_not_found());
    let count = format!("SELECT CAST(count(*) AS TEXT) FROM {}", world.intruder.table("tenants"));
    assert_eq!(world.intruder.value(&count).await, "1");
}

/// A tenant that is created again while keys of the deleted one are left has none of them.
async fn a_tenant_created_again_inherits_no_key(world: World) {
    let acme = &world.acme;
    world.fill(acme).await;
    world.begin_deletion(b"acme").await;
    let again = Victim::new(&world.keyring, "acme").await;
    assert!(world.admits(&again).await && !world.admits(acme).await);
    let page = again.tenant.list(&KeyQuery::all()).await.unwrap();
    assert_eq!((page.items, page.broken.len()), (vec![again.key.clone()], 0));
    assert_eq!(again.tenant.quota().await.unwrap().held, 1);
    assert_eq!(world.count_rows(b"acme").await, 1);
    // The new tenant is like any other.
    let refused = world.keyring.create_empty_tenant("acme", "lite").await;
    assert!(refused.is_err());
    world.keyring.delete_tenant(again.tenant.id()).await.unwrap();
    assert!(!world.admits(&again).await);
}
