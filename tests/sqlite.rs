//! Opening a SQLite store, and what it does when the database is in trouble.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong stops")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use common::{block_on, overheard::RevealKnown as _, pepper, policy};
use keyway::{
    authority::NewKey,
    keyring::{Keyring, KeyringError},
    store::{
        SqliteStore,
        sqlite::{SqliteBuilder, SqliteError},
    },
};
use rusqlite::Connection;
use tempfile::TempDir;

/// A folder that ends with its test.
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
fn what_was_written_is_there_when_the_file_is_opened_again() {
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
fn settings_that_lose_writes_are_refused_unless_the_danger_is_named() {
    let folder = Folder::new();
    for (value, durable) in [(0, false), (1, false), (2, true), (3, true)] {
        let builder = SqliteStore::builder(folder.file()).pragma("synchronous", value);
        if durable {
            block_on(builder.open()).unwrap();
            continue;
        }
        let error = refused(builder.clone());
        assert!(matches!(error, SqliteError::NotDurable { setting: "synchronous", .. }), "{error}");
        assert!(error.to_string().contains("accept_data_loss"), "{error}");
        block_on(builder.accept_data_loss().open()).unwrap();
    }
}

#[test]
fn every_connection_is_as_durable_as_promised() {
    let folder = Folder::new();
    let store = block_on(SqliteStore::open(folder.file())).unwrap();
    let beside = Connection::open(folder.file()).unwrap();
    let journal: String =
        beside.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
    drop(store);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let folder = Folder::new();
    let missing = SqliteStore::builder(folder.path().join("missing/keys.db"));
    assert!(matches!(refused(missing), SqliteError::Database(_)));
    assert!(matches!(refused(SqliteStore::builder(folder.path())), SqliteError::Database(_)));

    fs::write(folder.file(), "this is not a database, but long enough to be one".repeat(9))
        .unwrap();
    let error = refused(SqliteStore::builder(folder.file()));
    assert!(matches!(error, SqliteError::Database(_)), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("not a database"), "{cause}");

    let pragma = SqliteStore::builder(folder.path().join("other.db")).pragma("cache_size; DROP", 1);
    assert!(matches!(refused(pragma), SqliteError::Pragma(name) if name == "cache_size; DROP"));
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
fn a_host_may_have_tables_of_its_own_in_the_file() {
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
fn a_path_is_a_path_whatever_is_in_it() {
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
fn a_writer_that_blocks_others_delays_writes_by_a_bound_and_reads_not_at_all() {
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
fn writes_that_queue_behind_another_process_wait_at_the_same_time() {
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
fn what_is_given_up_is_done_as_a_whole_or_not_at_all() {
    let folder = Folder::new();
    let keyring = open(&folder.file());
    let acme = block_on(keyring.create_empty_tenant("acme", "advanced")).unwrap();
    for polls in 0..4 {
        // The first poll hands the work to the connection's thread, which ends it.
        let _ = common::give_up_after(polls, acme.issue(NewKey::named("given up")));
    }
    let keys = block_on(acme.search("given up")).unwrap();
    assert!(keys.len() <= 4);
    for key in keys {
        block_on(acme.delete(key.id())).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn its_connections_close_with_it() {
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
