//! The tables of a [`SqliteStore`](super::SqliteStore), and the migration of older ones.

use rusqlite::{Connection, TransactionBehavior};

use super::SqliteError;

/// The prefix of each table's name, so that an application may have its own tables in the same file.
pub(super) const PREFIX: &str = "keyway_";

/// The join of a key with its tenant.
pub(super) const JOIN: &str = "LEFT JOIN keyway_tenants t ON t.id = k.tenant";

/// The migrations. Each one migrates the tables from the version that equals its index to the next version.
///
/// `keyway_changes` is the log that feeds read. Triggers write it, so it also has the changes that other programs
/// make, `REPLACE` among them. It holds the last 4,096 changes under consecutive numbers. It lists neither the keys of
/// a deleted tenant one by one nor last uses.
///
/// Claims of events find sequences with undelivered events by an index that has no others.
///
/// Roll-ups find old rows of the usage by the indexes over `day`. Without them each roll-up would read whole tables.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE keyway_tenants (
        id BLOB NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        record BLOB
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE keyway_keys (
        id BLOB NOT NULL PRIMARY KEY,
        tenant BLOB,
        created_at INTEGER NOT NULL,
        version INTEGER NOT NULL,
        record BLOB,
        last_used INTEGER,
        owner BLOB
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_keys_of_tenant ON keyway_keys (tenant, created_at, id)
        WHERE tenant IS NOT NULL;

    CREATE INDEX keyway_keys_of_owner ON keyway_keys (tenant, owner, created_at, id)
        WHERE owner IS NOT NULL;

    CREATE TABLE keyway_marker (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        marker BLOB NOT NULL
    ) STRICT;

    CREATE TABLE keyway_changes (
        seq INTEGER NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        id BLOB NOT NULL
    ) STRICT;

    CREATE TRIGGER keyway_key_updated AFTER UPDATE OF id, tenant, version, record ON keyway_keys
        WHEN EXISTS (SELECT 1 FROM keyway_tenants WHERE id = old.tenant AND record IS NOT NULL)
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('key', old.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TRIGGER keyway_key_deleted AFTER DELETE ON keyway_keys
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('key', old.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TRIGGER keyway_key_replaced BEFORE INSERT ON keyway_keys
        WHEN EXISTS (SELECT 1 FROM keyway_keys WHERE id = new.id)
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('key', new.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TRIGGER keyway_tenant_replaced BEFORE INSERT ON keyway_tenants
        WHEN EXISTS (SELECT 1 FROM keyway_tenants WHERE id = new.id)
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('tenant', new.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TRIGGER keyway_tenant_updated AFTER UPDATE OF id, version, record ON keyway_tenants
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('tenant', old.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TRIGGER keyway_tenant_deleted AFTER DELETE ON keyway_tenants
    BEGIN
        INSERT INTO keyway_changes (kind, id) VALUES ('tenant', old.id);
        DELETE FROM keyway_changes WHERE seq <= (SELECT max(seq) FROM keyway_changes) - 4096;
    END;

    CREATE TABLE keyway_usage_days (
        tenant BLOB NOT NULL,
        day INTEGER NOT NULL,
        key_id BLOB NOT NULL,
        admitted INTEGER NOT NULL,
        forbidden INTEGER NOT NULL,
        limited INTEGER NOT NULL,
        PRIMARY KEY (tenant, day, key_id)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_usage_days_by_day ON keyway_usage_days (day, tenant, key_id);

    CREATE TABLE keyway_usage_months (
        tenant BLOB NOT NULL,
        day INTEGER NOT NULL,
        key_id BLOB NOT NULL,
        admitted INTEGER NOT NULL,
        forbidden INTEGER NOT NULL,
        limited INTEGER NOT NULL,
        PRIMARY KEY (tenant, day, key_id)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_usage_months_by_day ON keyway_usage_months (day, tenant, key_id);

    CREATE TABLE keyway_usage_nodes (
        node BLOB NOT NULL PRIMARY KEY,
        number INTEGER NOT NULL,
        day INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE keyway_limits (
        tenant BLOB NOT NULL,
        ends_at INTEGER NOT NULL,
        period INTEGER NOT NULL,
        used INTEGER NOT NULL,
        granted INTEGER NOT NULL,
        PRIMARY KEY (tenant, ends_at, period)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_limits_by_end ON keyway_limits (ends_at, tenant, period);

    CREATE TABLE keyway_events (
        tenant BLOB NOT NULL,
        number INTEGER NOT NULL,
        id BLOB NOT NULL,
        at INTEGER NOT NULL,
        actor BLOB NOT NULL,
        key_id BLOB,
        kind BLOB NOT NULL,
        detail BLOB NOT NULL,
        PRIMARY KEY (tenant, number)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_events_of_key ON keyway_events (tenant, key_id, number)
        WHERE key_id IS NOT NULL;

    CREATE TABLE keyway_event_sequences (
        tenant BLOB NOT NULL PRIMARY KEY,
        last INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        claim INTEGER NOT NULL,
        claimable INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_event_sequences_to_deliver ON keyway_event_sequences (claimable)
        WHERE delivered < last;
"];

/// The version that this release reads and writes.
pub(super) const VERSION: i64 = 1;

#[allow(clippy::cast_possible_wrap, reason = "a short list")]
const _: () = assert!(MIGRATIONS.len() as i64 == VERSION);

/// Migrates the tables to [`VERSION`] in one transaction. Processes that start at the same time take turns.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SqliteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // The table of the nonce is created first, so that it keeps its page in the file after a `VACUUM`.
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS keyway_file (
             id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
             nonce BLOB NOT NULL,
             previous BLOB NOT NULL,
             touched BLOB NOT NULL
         ) STRICT;
         INSERT OR IGNORE INTO keyway_file VALUES
             (1, randomblob(16), zeroblob(16), zeroblob(8));
         CREATE TABLE IF NOT EXISTS keyway_schema (version INTEGER NOT NULL) STRICT;
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
