//! Opening a SQLite store, and its behavior when the database has problems.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::support::{block_on, overheard::RevealKnown as _, pepper, policy};
use keyway::{
    Keyring, KeyringError, NewKey, SqliteStore,
    store::{KeyFilter, KeyQuery, SqliteBuilder, SqliteError},
};
use rusqlite::Connection;
use tempfile::TempDir;

/// A folder that is removed after its test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("keys.db")
    }
}

fn open(path: &Path) -> Keyring {
    keyring(block_on(SqliteStore::open(path)).unwrap())
}

fn keyring(store: SqliteStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

fn refused(builder: SqliteBuilder) -> SqliteError {
    block_on(builder.open()).unwrap_err()
}

#[test]
fn written_records_survive_reopening_the_file() {
    let folder = Folder::new();
    let keyring = open(&folder.file());
    let (acme, issued) = block_on(keyring.create_tenant("acme", "advanced")).unwrap();
    let token = issued.token.reveal_known();
    let gone = block_on(acme.issue(NewKey::named("gone"))).unwrap();
    block_on(acme.delete(gone.key.id())).unwrap();
    let gone = gone.token.reveal_known();
    drop((acme, keyring));

    let keyring = open(&folder.file());
    assert_eq!(block_on(keyring.verify(&*token)).unwrap().tenant(), "acme");
    assert!(block_on(keyring.verify(&*gone)).is_err());
    assert!(matches!(
        block_on(keyring.create_tenant("acme", "lite")),
        Err(KeyringError::TenantExists(_))
    ));
}

/// The statement for one owner has one parameter more than the statement for all keys.
#[test]
fn keys_of_one_owner_are_listed_in_pages() {
    let keyring = keyring(block_on(SqliteStore::in_memory()).unwrap());
    let acme = block_on(keyring.create_empty_tenant("acme", "advanced")).unwrap();
    for (name, owner) in [("a", "ann"), ("b", "bob"), ("c", "ann"), ("d", "ann")] {
        let request = NewKey::named(name).owner(owner.parse().unwrap());
        drop(block_on(acme.issue(request)).unwrap());
    }
    let of = |owner: &str| {
        let of_owner = KeyFilter::all().owner(owner.parse().unwrap());
        let mut query = KeyQuery::all().matching(of_owner).limit(2);
        let mut names = Vec::new();
        loop {
            let page = block_on(acme.list(&query)).unwrap();
            names.extend(page.items.iter().map(|key| key.name().to_owned()));
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        names.sort_unstable();
        names.join("")
    };
    assert_eq!([of("ann"), of("bob"), of("carl")], ["acd", "b", ""]);
}

#[test]
fn repeated_request_for_a_deleted_key_is_known_at_full_quota() {
    let keyring = keyring(block_on(SqliteStore::in_memory()).unwrap());
    let acme = block_on(keyring.create_empty_tenant("acme", "lite")).unwrap();
    let request = || NewKey::named("n").idempotency_key("once").unwrap();
    let id = block_on(acme.issue(request())).unwrap().key.id();
    block_on(acme.delete(id)).unwrap();
    let _ = block_on(acme.issue(NewKey::named("the one that lite allows"))).unwrap();
    let again = block_on(acme.issue(request()));
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(known)) if known == id), "{again:?}");
    let full = block_on(acme.issue(NewKey::named("n")));
    assert!(matches!(full, Err(KeyringError::QuotaExceeded { .. })), "{full:?}");
}

#[test]
fn two_stores_on_one_file_see_each_others_writes() {
    let folder = Folder::new();
    let (one, other) = (open(&folder.file()), open(&folder.file()));
    let (acme, issued) = block_on(one.create_tenant("acme", "lite")).unwrap();
    let token = issued.token.reveal_known();
    block_on(other.verify(&*token)).unwrap();
    block_on(acme.disable(issued.key.id())).unwrap();
    let freshness = keyway::verifier::Freshness::Now;
    assert!(block_on(other.verify_as_of(&*token, freshness)).is_err());
}

#[test]
fn a_store_in_memory_is_its_own() {
    let one = keyring(block_on(SqliteStore::in_memory()).unwrap());
    let (_, issued) = block_on(one.create_tenant("acme", "lite")).unwrap();
    block_on(one.verify(&*issued.token.reveal_known())).unwrap();
    let other = keyring(block_on(SqliteStore::in_memory()).unwrap());
    assert!(matches!(
        block_on(other.find_tenant(&"acme".parse().unwrap())),
        Err(KeyringError::NoTenant(_))
    ));
}

#[test]
fn only_settings_known_as_durable_are_accepted() {
    let folder = Folder::new();
    let values = [
        ("synchronous", 0, false),
        ("synchronous", 1, false),
        ("synchronous", 2, true),
        ("synchronous", 3, true),
        ("fullfsync", 0, false),
        ("checkpoint_fullfsync", 0, false),
        ("fullfsync", 1, true),
        ("SYNCHRONOUS", 1, false),
    ];
    for (name, value, durable) in values {
        let builder = SqliteStore::builder(folder.file()).pragma(name, value);
        if durable {
            block_on(builder.open()).unwrap();
            continue;
        }
        let error = refused(builder.clone());
        let setting = name.to_lowercase();
        assert!(
            matches!(&error, SqliteError::NotDurable { setting: bad, value: found }
                if **bad == setting && *found == value.to_string()),
            "{error}"
        );
        assert!(error.to_string().contains("accept_data_loss"), "{error}");
        block_on(builder.accept_data_loss().open()).unwrap();
    }
}

#[test]
fn opened_database_is_in_wal_mode() {
    let folder = Folder::new();
    let store = block_on(SqliteStore::open(folder.file())).unwrap();
    let beside = Connection::open(folder.file()).unwrap();
    let journal: String =
        beside.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
    drop(store);
}

#[test]
fn unusable_database_is_refused_with_the_reason() {
    let folder = Folder::new();
    fs::write(folder.file(), "this is not a database, but long enough to be one".repeat(9))
        .unwrap();
    let error = refused(SqliteStore::builder(folder.file()));
    assert!(matches!(error, SqliteError::Database { .. }), "{error}");
    assert!(error.to_string().contains("keys.db"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("not a database"), "{cause}");

    let pragma = SqliteStore::builder(folder.path().join("other.db")).pragma("cache_size; DROP", 1);
    assert!(matches!(refused(pragma), SqliteError::Pragma(name) if name == "cache_size; DROP"));
    // SQLite itself ignores an unknown name.
    let pragma = SqliteStore::builder(folder.path().join("other.db")).pragma("cache_sise", 1);
    assert!(matches!(refused(pragma), SqliteError::Pragma(name) if name == "cache_sise"));
}

#[test]
fn tables_of_a_later_release_are_left_alone() {
    let folder = Folder::new();
    drop(open(&folder.file()));
    let beside = Connection::open(folder.file()).unwrap();
    beside.execute("UPDATE keyway_schema SET version = 99", []).unwrap();
    let error = refused(SqliteStore::builder(folder.file()));
    assert!(matches!(error, SqliteError::TooNew { found: 99, known: 1 }), "{error}");
    let version: i64 =
        beside.query_row("SELECT version FROM keyway_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn application_may_have_its_own_tables_in_the_file() {
    let folder = Folder::new();
    let beside = Connection::open(folder.file()).unwrap();
    beside.execute_batch("CREATE TABLE tenants (name TEXT); CREATE TABLE keys (a);").unwrap();
    beside.pragma_update(None, "user_version", 7).unwrap();
    let keyring = open(&folder.file());
    let (_, issued) = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    block_on(keyring.verify(&*issued.token.reveal_known())).unwrap();
    let version: i64 = beside.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

#[test]
fn path_with_special_characters_is_used_literally() {
    let folder = Folder::new();
    for name in ["file:keys?mode=memory", "100% keys #1.db", "ключи 🔑.db", "a'b\"c;d"] {
        let path = folder.path().join(name);
        drop(open(&path));
        assert!(path.is_file(), "{name}");
    }
}

#[test]
fn many_may_open_a_new_file_at_once() {
    let folder = Folder::new();
    let path = folder.file();
    thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let keyring = open(path);
                let _ =
                    block_on(keyring.create_tenant(&format!("tenant {number}"), "lite")).unwrap();
            });
        }
    });
    let tenants = block_on(open(&path).tenants(None, 100)).unwrap();
    assert_eq!(tenants.items.len(), 8);
}

#[test]
fn blocking_writer_delays_writes_by_a_bound_and_no_reads() {
    let folder = Folder::new();
    let timeout = Duration::from_millis(300);
    let store = SqliteStore::builder(folder.file()).busy_timeout(timeout);
    let keyring = keyring(block_on(store.open()).unwrap());
    let (acme, issued) = block_on(keyring.create_tenant("acme", "advanced")).unwrap();
    let token = issued.token.reveal_known();

    let beside = Connection::open(folder.file()).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    block_on(keyring.verify(&*token)).unwrap();
    let began = Instant::now();
    let denied = block_on(acme.issue(NewKey::named("second")));
    assert!(matches!(denied, Err(KeyringError::Unavailable(_))), "{denied:?}");
    assert!(began.elapsed() >= timeout && began.elapsed() < timeout * 10, "{:?}", began.elapsed());
    beside.execute_batch("ROLLBACK").unwrap();
    let _ = block_on(acme.issue(NewKey::named("second"))).unwrap();
}

#[test]
fn queued_writes_wait_for_another_process_concurrently() {
    let folder = Folder::new();
    let timeout = Duration::from_millis(500);
    let store = SqliteStore::builder(folder.file()).busy_timeout(timeout);
    let keyring = keyring(block_on(store.open()).unwrap());
    let beside = Connection::open(folder.file()).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..20 {
            let keyring = &keyring;
            scope.spawn(move || {
                let created = block_on(keyring.create_tenant(&format!("t{number}"), "lite"));
                assert!(matches!(created, Err(KeyringError::Unavailable(_))), "{created:?}");
            });
        }
    });
    assert!(began.elapsed() >= timeout && began.elapsed() < timeout * 10, "{:?}", began.elapsed());
    beside.execute_batch("ROLLBACK").unwrap();
    let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
}

#[test]
fn dropped_write_is_done_as_a_whole_or_not_at_all() {
    let folder = Folder::new();
    let keyring = open(&folder.file());
    let acme = block_on(keyring.create_empty_tenant("acme", "advanced")).unwrap();
    for polls in 0..4 {
        // The first poll passes the work to the connection's thread, which completes it.
        let _ = crate::support::give_up_after(polls, acme.issue(NewKey::named("given up")));
    }
    let keys = block_on(acme.search("given up")).unwrap().items;
    assert!(keys.len() <= 4);
    for key in keys {
        block_on(acme.delete(key.id())).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn connections_close_with_the_store() {
    let folder = Folder::new();
    let store = block_on(SqliteStore::open(folder.file())).unwrap();
    let open_files = || {
        let files = fs::read_dir("/proc/self/fd").unwrap();
        let paths = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        paths.filter(|path| path.starts_with(folder.path())).count()
    };
    assert!(open_files() > 0);
    drop(store);
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_files() > 0 {
        assert!(Instant::now() < deadline, "connections stay open");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn busy_timeout_without_end_is_a_day() {
    let folder = Folder::new();
    let store = SqliteStore::builder(folder.file()).busy_timeout(Duration::MAX);
    let keyring = keyring(block_on(store.open()).unwrap());
    let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
}

/// A transaction that reads before it requests the write lock would fail if another one has written in
/// between.
#[test]
fn writes_of_two_stores_wait_for_each_other() {
    let folder = Folder::new();
    let stores = [open(&folder.file()), open(&folder.file())];
    thread::scope(|scope| {
        for (number, keyring) in stores.iter().enumerate() {
            scope.spawn(move || {
                let tenant = block_on(keyring.create_empty_tenant(&format!("t{number}"), "lite"));
                let tenant = tenant.unwrap();
                for round in 0..60 {
                    let issued = block_on(tenant.issue(NewKey::named(format!("{round}")))).unwrap();
                    block_on(tenant.delete(issued.key.id())).unwrap();
                }
            });
        }
    });
}

/// A write whose statement fails halfway returns an error, and nothing of it is written.
#[test]
fn failure_of_a_statement_is_never_swallowed() {
    let folder = Folder::new();
    let keyring = open(&folder.file());
    let (acme, issued) = block_on(keyring.create_tenant("acme", "advanced")).unwrap();
    let (id, token) = (issued.key.id(), issued.token.reveal_known());
    block_on(keyring.verify(&*token)).unwrap();
    let beside = Connection::open(folder.file()).unwrap();
    let fail = |table: &str, on: &str| {
        beside
            .execute_batch(&format!(
                "CREATE TRIGGER failing BEFORE {on} ON {table} \
                 BEGIN SELECT RAISE(ABORT, 'planted'); END"
            ))
            .unwrap();
    };
    let heal = || beside.execute_batch("DROP TRIGGER failing").unwrap();
    let is_unavailable = |result: Result<(), KeyringError>| {
        assert!(matches!(result, Err(KeyringError::Unavailable(_))), "{result:?}");
    };
    fail("keyway_keys", "UPDATE");
    is_unavailable(block_on(keyring.flush_uses()).map(drop));
    is_unavailable(block_on(acme.disable(id)).map(drop));
    is_unavailable(block_on(acme.delete(id)));
    heal();
    fail("keyway_keys", "INSERT");
    is_unavailable(block_on(acme.issue(NewKey::named("n"))).map(drop));
    is_unavailable(block_on(keyring.create_tenant("beta", "lite")).map(drop));
    assert!(block_on(keyring.find_tenant(&"beta".parse().unwrap())).is_err());
    heal();
    fail("keyway_tenants", "UPDATE");
    is_unavailable(block_on(keyring.set_tier(acme.id(), "lite")).map(drop));
    is_unavailable(block_on(keyring.delete_tenant(acme.id())));
    heal();
    fail("keyway_tenants", "INSERT");
    is_unavailable(block_on(keyring.create_tenant("beta", "lite")).map(drop));
    heal();
    // The control: without the triggers everything succeeds, and the recorded use was kept.
    assert_eq!(block_on(keyring.flush_uses()).unwrap(), 1);
    assert!(block_on(acme.find(id)).unwrap().last_used().is_some());
    let _ = block_on(keyring.create_tenant("beta", "lite")).unwrap();
    // A deletion that has begun but cannot erase the keys returns an error.
    fail("keyway_keys", "UPDATE");
    is_unavailable(block_on(keyring.delete_tenant(acme.id())));
    heal();
    block_on(keyring.delete_tenant(acme.id())).unwrap();
}
