//! The audit table of a [`SqliteStore`].

use alloc::{sync::Arc, vec::Vec};

use rusqlite::{Connection, Transaction};

use super::{
    SqliteError, SqliteStore,
    statements::{execute, for_each, unavailable},
};
use crate::store::{
    StoreError,
    audit_table::{AuditRow, AuditTable, Queue},
    sql,
};
#[cfg(feature = "console")]
use crate::{
    audit::begins_history, record::TenantId, store::audit_table::StoredEvent, token::KeyId,
};

/// Each migration brings the table from the version that is its index to the next one. The version of the other
/// tables is independent of it, since a database need not have this one.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE keyway_audit (
        number INTEGER NOT NULL,
        node INTEGER NOT NULL,
        at INTEGER NOT NULL,
        tenant BLOB,
        key_id BLOB,
        actor BLOB NOT NULL,
        kind TEXT NOT NULL,
        detail BLOB NOT NULL,
        PRIMARY KEY (number, node)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX keyway_audit_of_key ON keyway_audit (key_id, number)
        WHERE key_id IS NOT NULL;

    CREATE INDEX keyway_audit_of_tenant ON keyway_audit (tenant, number)
        WHERE key_id IS NULL;
"];

const VERSION: i64 = 1;

#[allow(clippy::cast_possible_wrap, reason = "a short list")]
const _: () = assert!(MIGRATIONS.len() as i64 == VERSION);

impl SqliteStore {
    /// Opens the table of audit events in this database, `keyway_audit`, and creates it if it is missing.
    ///
    /// ```
    /// use keyway::{Keyring, Pepper, Policy, SqliteStore};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// let store = SqliteStore::in_memory().await?;
    /// let audit = store.audit_table().await?;
    /// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    ///     .environment("live")
    ///     .store(store)
    ///     .audit(audit.clone())
    ///     .build()?;
    /// // With the feature `console`: Console::new(&keyring, who).audit_trail(audit)
    /// # keyring.create_empty_tenant("acme", "lite").await?;
    /// # audit.flush().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. Its source is [`SqliteError::TooNew`] if a later release made the table.
    pub async fn audit_table(&self) -> Result<AuditTable, StoreError> {
        self.write(|transaction, _| migrate(transaction)).await?;
        Ok(AuditTable::sqlite(SqliteAudit(self.clone())))
    }
}

fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS keyway_audit_schema (version INTEGER NOT NULL) STRICT;
             INSERT INTO keyway_audit_schema
                 SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM keyway_audit_schema);",
        )
        .map_err(unavailable)?;
    let select = "SELECT max(version) FROM keyway_audit_schema";
    let found = transaction.query_row(select, [], |row| row.get(0)).map_err(unavailable)?;
    if found > VERSION {
        return Err(StoreError::unavailable(SqliteError::TooNew { found, known: VERSION }));
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.execute_batch(migration).map_err(unavailable)?;
    }
    execute(transaction, "UPDATE keyway_audit_schema SET version = ?1", [VERSION])?;
    Ok(())
}

/// The statements of an [`AuditTable`] in SQLite.
pub(in crate::store) struct SqliteAudit(SqliteStore);

impl SqliteAudit {
    /// Calls a writer. It comes after all jobs that wait for the writing connection now.
    pub(in crate::store) fn write_later(&self, queue: &Arc<Queue>) {
        let (store, queue) = (self.0.clone(), Arc::clone(queue));
        self.0.0.connections.write_later(move |connection| {
            // The rows stay in the queue.
            let _ = drain(&store, connection, &queue);
        });
    }

    /// Writes everything in `queue`.
    pub(in crate::store) async fn write(&self, queue: &Arc<Queue>) -> Result<(), StoreError> {
        let (store, queue) = (self.0.clone(), Arc::clone(queue));
        self.0.0.connections.write(move |connection| drain(&store, connection, &queue)).await
    }

    pub(in crate::store) async fn delete_before(&self, number: i64) -> Result<u64, StoreError> {
        self.delete(
            "DELETE FROM keyway_audit WHERE number <= (SELECT max(number) FROM \
             (SELECT number FROM keyway_audit WHERE number < ?1 ORDER BY number LIMIT ?2))",
            (number, sql::limit(AuditTable::PORTION)),
        )
        .await
    }

    /// Returns the next keys after `after`, in ascending order, with how many events they have.
    pub(in crate::store) async fn count_by_key(
        &self,
        after: [u8; 16],
    ) -> Result<Vec<([u8; 16], u64)>, StoreError> {
        self.0
            .read(move |connection, _| {
                let select = "SELECT key_id, count(*) FROM keyway_audit WHERE key_id > ?1 \
                              GROUP BY key_id ORDER BY key_id LIMIT ?2";
                let mut keys = Vec::new();
                let arguments = (after, sql::limit(AuditTable::PORTION));
                for_each(connection, select, arguments, |row| {
                    let count: i64 = row.get(1).map_err(unavailable)?;
                    keys.push((row.get(0).map_err(unavailable)?, count.unsigned_abs()));
                    Ok(true)
                })?;
                Ok(keys)
            })
            .await
    }

    /// Deletes all events of `key` but the `newest`.
    pub(in crate::store) async fn delete_of_key(
        &self,
        key: [u8; 16],
        newest: u32,
    ) -> Result<u64, StoreError> {
        self.delete(
            "DELETE FROM keyway_audit WHERE key_id = ?1 AND number <= \
             (SELECT number FROM keyway_audit WHERE key_id = ?1 \
              ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (key, newest),
        )
        .await
    }

    async fn delete(
        &self,
        statement: &'static str,
        arguments: impl rusqlite::Params + Send + 'static,
    ) -> Result<u64, StoreError> {
        let deleted =
            self.0.write(move |transaction, _| execute(transaction, statement, arguments)).await?;
        Ok(deleted as u64)
    }

    #[cfg(feature = "console")]
    pub(in crate::store) async fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: i64,
    ) -> Result<(Vec<StoredEvent>, bool), StoreError> {
        let tenant = super::blob(tenant);
        self.0
            .read(move |connection, _| {
                let select = "SELECT at, actor, kind, detail, number FROM keyway_audit \
                              WHERE key_id = ?1 AND (tenant = ?2 OR tenant IS NULL) \
                              ORDER BY number DESC, node DESC LIMIT ?3";
                let mut events = Vec::new();
                for_each(connection, select, (key.as_bytes(), tenant, limit), |row| {
                    events.push(event(row).map_err(unavailable)?);
                    Ok(true)
                })?;
                let Some(first) = events.last().filter(|event| begins_history(&event.kind)) else {
                    return Ok((events, false));
                };
                let lost = "SELECT 1 FROM keyway_audit WHERE key_id IS NULL AND tenant IS NULL \
                            AND kind = 'events_lost' AND number > ?1 LIMIT 1";
                let lost = super::statements::value(connection, lost, [first.number])?;
                Ok((events, lost.is_none()))
            })
            .await
    }
}

#[cfg(feature = "console")]
fn event(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        at: row.get(0)?,
        actor: row.get(1)?,
        kind: row.get(2)?,
        detail: row.get(3)?,
        number: row.get(4)?,
    })
}

fn drain(
    store: &SqliteStore,
    connection: &mut Connection,
    queue: &Queue,
) -> Result<(), StoreError> {
    while let Some(rows) = queue.batch() {
        let write = store.transaction(move |transaction, _| insert(transaction, &rows));
        if let Err(error) = write(connection) {
            queue.failed();
            return Err(error);
        }
        queue.written();
    }
    Ok(())
}

/// Adds `rows`, but for those that a writer without a response has added.
fn insert(transaction: &Transaction<'_>, rows: &[AuditRow]) -> Result<(), StoreError> {
    let statement = "INSERT INTO keyway_audit \
         (number, node, at, tenant, key_id, actor, kind, detail) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (number, node) DO NOTHING";
    let mut statement = transaction.prepare_cached(statement).map_err(unavailable)?;
    for row in rows {
        let key = row.key.as_ref().map(|key| &key[..]);
        let columns = (
            row.number,
            row.node,
            row.at,
            row.tenant.as_deref(),
            key,
            &*row.actor,
            row.kind,
            &*row.detail,
        );
        statement.execute(columns).map_err(unavailable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{AuditEvent, AuditKind},
        store::sqlite::statements::value,
        time::Timestamp,
    };

    /// The first writer commits its rows, and is gone before the queue hears of it.
    #[test]
    fn rows_that_are_sent_again_are_added_once() {
        pollster::block_on(async {
            let store = SqliteStore::in_memory().await.unwrap();
            let _ = store.audit_table().await.unwrap();
            let queue = Queue::default();
            queue.push(&AuditEvent {
                at: Timestamp::MIN,
                actor: "",
                tenant: Some("acme"),
                key: None,
                child: None,
                kind: AuditKind::TenantResumed,
            });
            let rows = queue.batch().unwrap();
            store.write(move |transaction, _| insert(transaction, &rows)).await.unwrap();
            SqliteAudit(store.clone()).write(&Arc::new(queue)).await.unwrap();
            let count = "SELECT count(*) FROM keyway_audit";
            let count = store.read(move |connection, _| value(connection, count, []));
            assert_eq!(count.await.unwrap(), Some(1));
        });
    }
}
