//! The tables of a [`SqliteStore`](super::SqliteStore), and how older ones become them.

use rusqlite::{Connection, TransactionBehavior};

use super::SqliteError;

/// What stands before the name of each table, so that a host may have its own in the same file.
pub(super) const PREFIX: &str = "keyway_";

/// What brings a key its tenant.
pub(super) const JOIN: &str = "LEFT JOIN keyway_tenants t ON t.id = k.tenant";

/// Each brings the tables from the version that is its place in this list to the next one.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE keyway_tenants (
        id BLOB NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE keyway_keys (
        id BLOB NOT NULL PRIMARY KEY,
        tenant BLOB,
        created_at INTEGER NOT NULL,
        version INTEGER NOT NULL,
        record BLOB,
        last_used INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_keys_of_tenant ON keyway_keys (tenant, created_at, id)
        WHERE tenant IS NOT NULL;
"];

/// The version that this release reads and writes.
pub(super) const VERSION: i64 = 1;

#[allow(clippy::cast_possible_wrap, reason = "a short list")]
const _: () = assert!(MIGRATIONS.len() as i64 == VERSION);

/// Brings the tables to [`VERSION`], in one transaction. Processes that start at once take turns.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SqliteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS keyway_schema (version INTEGER NOT NULL) STRICT;
         INSERT INTO keyway_schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM keyway_schema);",
    )?;
    let found: i64 =
        transaction.query_row("SELECT max(version) FROM keyway_schema", [], |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or_default();
    if found > VERSION {
        return Err(SqliteError::TooNew { found, known: VERSION });
    }
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.execute("UPDATE keyway_schema SET version = ?1", [VERSION])?;
    Ok(transaction.commit()?)
}
