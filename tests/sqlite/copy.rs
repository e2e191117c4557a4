//! Copies of usage and of used units between SQLite files and stores in memory.

use keyway::{
    MemoryStore, SqliteStore,
    store::{CopyError, StoreError, copy_limits, copy_usage},
};
use rusqlite::Connection;

use crate::support::{
    block_on,
    moves::{fill_limits, fill_usage, moves_limits, moves_usage},
};

fn sqlite() -> SqliteStore {
    block_on(SqliteStore::in_memory()).unwrap()
}

#[test]
fn copy_between_sqlite_and_memory_moves_usage() {
    block_on(moves_usage(sqlite(), MemoryStore::new()));
    block_on(moves_usage(MemoryStore::new(), sqlite()));
    block_on(moves_usage(sqlite(), sqlite()));
}

#[test]
fn copy_between_sqlite_and_memory_moves_units() {
    block_on(moves_limits(sqlite(), MemoryStore::new()));
    block_on(moves_limits(MemoryStore::new(), sqlite()));
    block_on(moves_limits(sqlite(), sqlite()));
}

/// A row that is left out would be lost with the file. So the copy stops, and works again when the row is gone.
#[test]
fn row_of_another_program_is_not_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let from = block_on(SqliteStore::open(&file)).unwrap();
    let rows = block_on(fill_usage(&from));
    block_on(fill_limits(&from));
    let sql = Connection::open(file).unwrap();
    let is_refused = |result: Result<u64, CopyError>| {
        matches!(result, Err(CopyError::From(StoreError::Unavailable(_))))
    };
    for (table, values) in [
        ("usage_days", "CAST('acme' AS BLOB), 2932897, CAST('Amoved0000000001' AS BLOB), 1, 1, 1"),
        ("usage_days", "CAST('acme' AS BLOB), 20000, CAST('A' AS BLOB), 1, 1, 1"),
        ("usage_months", "x'ff', 20000, CAST('Amoved0000000001' AS BLOB), 1, 1, 1"),
    ] {
        sql.execute_batch(&format!("INSERT INTO keyway_{table} VALUES ({values})")).unwrap();
        assert!(is_refused(block_on(copy_usage(&from, &MemoryStore::new()))), "{values}");
        let delete = format!("DELETE FROM keyway_{table} WHERE admitted = 1 AND limited = 1");
        assert_eq!(sql.execute(&delete, []).unwrap(), 1);
        assert_eq!(block_on(copy_usage(&from, &MemoryStore::new())).unwrap(), rows);
    }
    // The end of no month, a period that is too long, and no tenant.
    for values in [
        "CAST('acme' AS BLOB), 253402300000000, 0, 9, 9",
        "CAST('acme' AS BLOB), 253402300000000, 4294967296, 9, 9",
        "x'ff', 253402300799999, 0, 9, 9",
    ] {
        sql.execute_batch(&format!("INSERT INTO keyway_limits VALUES ({values})")).unwrap();
        assert!(is_refused(block_on(copy_limits(&from, &MemoryStore::new()))), "{values}");
        let delete = "DELETE FROM keyway_limits WHERE granted = 9";
        assert_eq!(sql.execute(delete, []).unwrap(), 1);
        assert_eq!(block_on(copy_limits(&from, &MemoryStore::new())).unwrap(), 6);
    }
}
