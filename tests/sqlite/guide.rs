//! The guide's commands for SQLite, run as they are printed there.

use std::{fs, path::Path, process::Command};

use crate::support::{block_on, pepper, policy, tenant_id};
use keyway::{Keyring, SqliteStore};
use tempfile::TempDir;

const GUIDE: &str = include_str!("../../src/guide/operations.md");

/// Returns the shell commands under a heading, block by block.
fn commands(heading: &str) -> Vec<&'static str> {
    let (_, section) = GUIDE.split_once(&format!("\n#### {heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    let mut blocks = section.split("\n```sh\n");
    blocks.next();
    blocks.map(|block| block.split("\n```\n").next().unwrap()).collect()
}

/// Returns the output of the commands. They run in `folder`, and stop at the first failure.
fn run(commands: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-ec", commands]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn keyring(path: &Path) -> Keyring {
    let store = block_on(SqliteStore::open(path)).unwrap();
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

fn has(keyring: &Keyring, tenant: &str) -> bool {
    block_on(keyring.find_tenant(&tenant_id(tenant))).is_ok()
}

#[test]
#[ignore = "needs sqlite3"]
fn backup_and_restore_commands_bring_back_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let [backup, restore] = commands("Backup and restore")[..] else { panic!("two blocks") };
    let before = keyring(&file);
    let _ = block_on(before.create_tenant("before", "lite")).unwrap();
    assert_eq!(run(backup, folder.path()), "ok\n");
    let _ = block_on(before.create_tenant("after", "lite")).unwrap();

    // Copy the files as a crash leaves them: the database, and a `-wal` file with writes that are not in it.
    let crashed = folder.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    for name in ["keys.db", "keys.db-wal", "keys.db-shm", "backup.db"] {
        fs::copy(folder.path().join(name), crashed.join(name)).unwrap();
    }
    let file = crashed.join("keys.db");
    assert!(fs::metadata(crashed.join("keys.db-wal")).unwrap().len() > 0);
    run(restore, &crashed);
    let restored = keyring(&file);
    assert!(has(&restored, "before") && !has(&restored, "after"));
    drop(restored);

    // The control: without their first line the commands leave the `-wal` file there.
    let control = folder.path().join("control");
    fs::create_dir(&control).unwrap();
    for name in ["keys.db", "keys.db-wal", "backup.db"] {
        fs::copy(folder.path().join(name), control.join(name)).unwrap();
    }
    let (removal, rest) = restore.split_once('\n').unwrap();
    assert!(removal.starts_with("rm "), "{removal}");
    let copied = rest.lines().next().unwrap();
    run(copied, &control);
    let is_restored = block_on(SqliteStore::open(control.join("keys.db"))).is_ok_and(|store| {
        let builder = Keyring::builder(policy(), pepper()).environment("live").store(store);
        let keyring = builder.build().unwrap();
        has(&keyring, "before") && !has(&keyring, "after")
    });
    assert!(!is_restored, "the removal makes no difference");
}

const LIMIT: u64 = 16 * 1024 * 1024;

/// Returns a folder whose `keys.db` was written while a reader kept the `-wal` file from being emptied.
fn after_a_long_reader(limit: Option<i64>) -> (TempDir, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let mut builder = SqliteStore::builder(&file);
    if let Some(limit) = limit {
        builder = builder.pragma("journal_size_limit", limit);
    }
    let store = block_on(builder.open()).unwrap();
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM keyway_keys").unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE filler (a BLOB); PRAGMA synchronous = OFF").unwrap();
    for _ in 0..20 {
        other.execute("INSERT INTO filler VALUES (zeroblob(1000000))", []).unwrap();
    }
    assert!(wal(&folder) > LIMIT, "the reader does not hold it up");
    reader.execute_batch("COMMIT").unwrap();
    drop((reader, other));
    let builder = Keyring::builder(policy(), pepper()).environment("live").store(store);
    let keyring = builder.build().unwrap();
    // The first write copies the `-wal` file into the database, and the second one starts the file again.
    for tenant in ["first", "second"] {
        let _ = block_on(keyring.create_tenant(tenant, "lite")).unwrap();
    }
    (folder, keyring)
}

fn wal(folder: &TempDir) -> u64 {
    fs::metadata(folder.path().join("keys.db-wal")).unwrap().len()
}

#[test]
fn wal_is_bounded_once_nothing_reads_it() {
    let (folder, _keyring) = after_a_long_reader(None);
    assert!(wal(&folder) <= LIMIT);
    // The control: without a limit the file keeps its size.
    let (folder, _keyring) = after_a_long_reader(Some(-1));
    assert!(wal(&folder) > LIMIT);
}

#[test]
#[ignore = "needs sqlite3"]
fn command_for_the_wal_empties_it() {
    for limit in [None, Some(-1)] {
        let (folder, _keyring) = after_a_long_reader(limit);
        let [command] = commands("The `-wal` file")[..] else { panic!("one block") };
        assert!(run(command, folder.path()).ends_with("0|0|0\n"));
        assert_eq!(wal(&folder), 0);
    }
}
