//! The usage in a SQLite file, beyond the conformance suite: threads, other programs and failing statements.

use std::thread;

use keyway::{
    KeyId, SqliteStore,
    store::{StoreError, UsageStore},
    usage::{Counts, Day, KeyUsage, Span, UsageFlush},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::block_on;

fn key(number: u32) -> KeyId {
    format!("Ausage{number:010}").parse().unwrap()
}

fn today() -> Day {
    "2026-11-30".parse().unwrap()
}

/// Returns a flush of these keys of one tenant, with one admitted request each.
fn flush(node: u128, number: u64, keys: impl IntoIterator<Item = u32>) -> UsageFlush {
    let row = |number| KeyUsage {
        tenant: "acme".parse().unwrap(),
        key: key(number),
        day: today(),
        counts: Counts { admitted: 1, ..Counts::ZERO },
    };
    // The latest day, so that no roll-up forgets the node.
    UsageFlush { node, number, day: Day::MAX, rows: keys.into_iter().map(row).collect() }
}

fn open(folder: &TempDir) -> (SqliteStore, Connection) {
    let file = folder.path().join("keys.db");
    let store = block_on(SqliteStore::open(&file)).unwrap();
    (store, Connection::open(file).unwrap())
}

fn admitted(store: &SqliteStore) -> u64 {
    let months = Span::months(Day::MIN, Day::MAX);
    let months = block_on(store.tenant_usage(&"acme".parse().unwrap(), months)).unwrap();
    months.iter().map(|month| month.counts.admitted).sum()
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[test]
fn flush_is_known_after_reopening_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (store, _) = open(&folder);
        block_on(store.add_usage(&flush(1, 1, [1, 2]))).unwrap();
        assert_eq!(admitted(&store), 2);
    }
}

#[test]
fn failed_flush_adds_nothing_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (store, beside) = open(&folder);
    beside
        .execute_batch(
            "CREATE TRIGGER failing BEFORE INSERT ON keyway_usage_days \
             WHEN new.key_id = CAST('Ausage0000000002' AS BLOB) \
             BEGIN SELECT RAISE(ABORT, 'planted'); END",
        )
        .unwrap();
    let flush = flush(1, 1, 1..4);
    assert!(is_unavailable(&block_on(store.add_usage(&flush))));
    assert_eq!(admitted(&store), 0);
    beside.execute_batch("DROP TRIGGER failing").unwrap();
    block_on(store.add_usage(&flush)).unwrap();
    assert_eq!(admitted(&store), 3);
}

#[test]
fn row_that_cannot_be_deleted_is_not_rolled_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, beside) = open(&folder);
    block_on(store.add_usage(&flush(1, 1, 1..4))).unwrap();
    beside
        .execute_batch(
            "CREATE TRIGGER keeping BEFORE DELETE ON keyway_usage_days \
             WHEN old.key_id = CAST('Ausage0000000002' AS BLOB) BEGIN SELECT RAISE(IGNORE); END",
        )
        .unwrap();
    for _ in 0..2 {
        assert!(is_unavailable(&block_on(store.roll_up_usage(Day::MAX, Day::MIN))));
        assert_eq!(admitted(&store), 3);
    }
    beside.execute_batch("DROP TRIGGER keeping").unwrap();
    assert_eq!(block_on(store.roll_up_usage(Day::MAX, Day::MIN)).unwrap(), 3);
    assert_eq!(admitted(&store), 3);
}

#[test]
fn counts_of_another_program_are_never_negative() {
    let folder = tempfile::tempdir().unwrap();
    let (store, beside) = open(&folder);
    block_on(store.add_usage(&flush(1, 1, 1..3))).unwrap();
    beside.execute_batch("UPDATE keyway_usage_days SET admitted = -9223372036854775808").unwrap();
    let read = || {
        let (acme, all) = ("acme".parse().unwrap(), Span::days(Day::MIN, Day::MAX));
        let of_keys = block_on(store.key_usage(&acme, &[key(1), key(2)], all)).unwrap();
        (of_keys.len(), block_on(store.tenant_usage(&acme, all)).unwrap().len())
    };
    assert_eq!(read(), (0, 0));
    block_on(store.add_usage(&flush(1, 2, 1..3))).unwrap();
    assert_eq!(read(), (0, 0));
    block_on(store.roll_up_usage(Day::MAX, Day::MIN)).unwrap();
    assert_eq!(admitted(&store), 0);
}

/// Each thread has a store of its own, as another process has.
#[test]
fn flushes_and_roll_ups_of_processes_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder);
    thread::scope(|scope| {
        for node in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                let (store, _) = open(folder);
                for number in 1..=10 {
                    for _ in 0..2 {
                        block_on(store.add_usage(&flush(node, number, 0..50))).unwrap();
                    }
                    if number % 3 == 0 {
                        block_on(store.roll_up_usage(today().plus(1), Day::MIN)).unwrap();
                    }
                }
            });
        }
        for _ in 0..10 {
            assert_eq!(admitted(&store) % 50, 0);
        }
    });
    assert_eq!(admitted(&store), 4 * 10 * 50);
}
