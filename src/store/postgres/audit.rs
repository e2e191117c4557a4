//! The audit table of a [`PostgresStore`].

use alloc::{format, sync::Arc, vec::Vec};

use sqlx::Row;
use tokio::{runtime::Handle, sync::Mutex};

use super::{
    Inner, PostgresError, PostgresStore,
    run::{ON_PRIMARY, attempt, prepare},
    schema::{self, Schema},
    statements::Statement,
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

impl PostgresStore {
    /// Opens the table of audit events in the schema of this store, `audit`, and creates it if it is missing.
    ///
    /// ```no_run
    /// use keyway::{Keyring, Pepper, Policy, PostgresStore};
    ///
    /// # async fn open(policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStore::connect("postgres://service@db.internal/app").await?;
    /// let audit = store.audit_table().await?;
    /// let keyring = Keyring::builder(policy, Pepper::from_env("KEYWAY_PEPPER")?)
    ///     .environment("live")
    ///     .store(store)
    ///     .audit(audit.clone())
    ///     .open()
    ///     .await?;
    /// // With the feature `console`: Console::new(&keyring, who).audit_trail(audit)
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PostgresError`] says why not, such as [`PostgresError::CannotCreate`] or
    /// [`PostgresError::MissingGrant`] with the statement that grants the missing right.
    pub async fn audit_table(&self) -> Result<AuditTable, PostgresError> {
        let Inner { pool, time_limit, schema, .. } = &*self.0;
        prepare(*time_limit, || async {
            let mut connection = pool.inner().acquire().await?;
            schema::prepare_audit(&mut connection, pool.access()).await
        })
        .await?;
        Ok(AuditTable::postgres(PostgresAudit {
            store: self.clone(),
            statements: Statements::new(schema),
            runtime: Handle::current(),
            turn: Mutex::new(()),
        }))
    }
}

/// The statements of an [`AuditTable`] in PostgreSQL.
pub(in crate::store) struct PostgresAudit {
    store: PostgresStore,
    statements: Statements,
    runtime: Handle,
    /// One writer at a time, so that events are written in their order and take one connection at most.
    turn: Mutex<()>,
}

struct Statements {
    insert: Statement,
    delete_before: Statement,
    count_by_key: Statement,
    delete_of_key: Statement,
    #[cfg(feature = "console")]
    of_key: Statement,
    #[cfg(feature = "console")]
    lost: Statement,
}

impl Statements {
    fn new(schema: &Schema) -> Self {
        let p = schema.prefix();
        Self {
            // With several arguments `unnest` is part of the grammar, and no name.
            insert: Statement::new(format!(
                "INSERT INTO {p}audit (number, node, at, tenant, key_id, actor, kind, detail) \
                 SELECT e.number, e.node, e.at, e.tenant, e.key_id, e.actor, e.kind, e.detail \
                 FROM unnest(CAST($1 AS pg_catalog.int8[]), CAST($2 AS pg_catalog.int8[]), \
                 CAST($3 AS pg_catalog.int8[]), CAST($4 AS pg_catalog.bytea[]), \
                 CAST($5 AS pg_catalog.bytea[]), CAST($6 AS pg_catalog.bytea[]), \
                 CAST($7 AS pg_catalog.text[]), CAST($8 AS pg_catalog.bytea[])) \
                 AS e (number, node, at, tenant, key_id, actor, kind, detail) \
                 ON CONFLICT (number, node) DO NOTHING"
            )),
            delete_before: Statement::new(format!(
                "DELETE FROM {p}audit WHERE number OPERATOR(pg_catalog.<=) \
                 (SELECT pg_catalog.max(e.number) FROM (SELECT number FROM {p}audit \
                 WHERE number < $1 ORDER BY number LIMIT $2) e)"
            )),
            count_by_key: Statement::new(format!(
                "SELECT key_id, count(*) FROM {p}audit WHERE {ON_PRIMARY} AND key_id > $1 \
                 GROUP BY key_id ORDER BY key_id LIMIT $2"
            )),
            delete_of_key: Statement::new(format!(
                "DELETE FROM {p}audit WHERE key_id = $1 AND number OPERATOR(pg_catalog.<=) \
                 (SELECT number FROM {p}audit WHERE key_id = $1 \
                 ORDER BY number DESC LIMIT 1 OFFSET $2)"
            )),
            #[cfg(feature = "console")]
            of_key: Statement::new(format!(
                "SELECT at, actor, kind, detail, number FROM {p}audit \
                 WHERE {ON_PRIMARY} AND key_id = $1 AND (tenant = $2 OR tenant IS NULL) \
                 ORDER BY number DESC, node DESC LIMIT $3"
            )),
            #[cfg(feature = "console")]
            lost: Statement::new(format!(
                "SELECT EXISTS (SELECT 1 FROM {p}audit WHERE {ON_PRIMARY} AND key_id IS NULL \
                 AND tenant IS NULL AND kind = 'events_lost' AND number > $1)"
            )),
        }
    }
}

impl PostgresAudit {
    /// Calls a writer.
    pub(in crate::store) fn write_later(self: &Arc<Self>, queue: &Arc<Queue>) {
        let (this, queue) = (Arc::clone(self), Arc::clone(queue));
        self.runtime.spawn(async move {
            // The rows stay in the queue.
            let _ = this.write(&queue).await;
        });
    }

    /// Writes everything in `queue`.
    pub(in crate::store) async fn write(&self, queue: &Arc<Queue>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        while let Some(rows) = queue.batch() {
            if let Err(error) = self.insert(&rows).await {
                queue.failed();
                return Err(error);
            }
            queue.written();
        }
        Ok(())
    }

    /// Adds `rows`, but for those that a writer without a response has added.
    async fn insert(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let Inner { pool, time_limit, .. } = &*self.store.0;
        let numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
        let nodes: Vec<_> = rows.iter().map(|row| row.node).collect();
        let times: Vec<_> = rows.iter().map(|row| row.at).collect();
        let tenants: Vec<_> = rows.iter().map(|row| row.tenant.as_deref()).collect();
        let keys: Vec<_> = rows.iter().map(|row| row.key.as_ref().map(|key| &key[..])).collect();
        let actors: Vec<_> = rows.iter().map(|row| &*row.actor).collect();
        let kinds: Vec<_> = rows.iter().map(|row| row.kind).collect();
        let details: Vec<_> = rows.iter().map(|row| &*row.detail).collect();
        attempt!(Write, *time_limit, pool, connection => {
            self.statements.insert.query(pool)
                .bind(&numbers)
                .bind(&nodes)
                .bind(&times)
                .bind(&tenants)
                .bind(&keys)
                .bind(&actors)
                .bind(&kinds)
                .bind(&details)
                .execute(connection)
                .await?;
            Ok(())
        })
    }

    pub(in crate::store) async fn delete_before(&self, number: i64) -> Result<u64, StoreError> {
        let Inner { pool, time_limit, .. } = &*self.store.0;
        attempt!(Write, *time_limit, pool, connection => {
            let delete = self.statements.delete_before.query(pool).bind(number);
            let delete = delete.bind(sql::limit(AuditTable::PORTION));
            Ok(delete.execute(connection).await?.rows_affected())
        })
    }

    /// Returns the next keys after `after`, in ascending order, with how many events they have.
    pub(in crate::store) async fn count_by_key(
        &self,
        after: [u8; 16],
    ) -> Result<Vec<([u8; 16], u64)>, StoreError> {
        let Inner { pool, time_limit, .. } = &*self.store.0;
        attempt!(Read, *time_limit, pool, connection => {
            let count = self.statements.count_by_key.query(pool).bind(&after[..]);
            let count = count.bind(sql::limit(AuditTable::PORTION));
            let mut keys = Vec::new();
            for row in count.fetch_all(connection).await? {
                let held: i64 = row.try_get(1)?;
                keys.push((row.try_get(0)?, held.unsigned_abs()));
            }
            Ok(keys)
        })
    }

    /// Deletes all events of `key` but the `newest`.
    pub(in crate::store) async fn delete_of_key(
        &self,
        key: [u8; 16],
        newest: u32,
    ) -> Result<u64, StoreError> {
        let Inner { pool, time_limit, .. } = &*self.store.0;
        attempt!(Write, *time_limit, pool, connection => {
            let delete = self.statements.delete_of_key.query(pool).bind(&key[..]);
            let delete = delete.bind(i64::from(newest));
            Ok(delete.execute(connection).await?.rows_affected())
        })
    }

    #[cfg(feature = "console")]
    pub(in crate::store) async fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: i64,
    ) -> Result<(Vec<StoredEvent>, bool), StoreError> {
        let Inner { pool, time_limit, .. } = &*self.store.0;
        attempt!(Read, *time_limit, pool, connection => {
            let rows = self.statements.of_key.query(pool)
                .bind(&key.as_bytes()[..])
                .bind(tenant.as_str().as_bytes())
                .bind(limit)
                .fetch_all(&mut *connection)
                .await?;
            let mut events = Vec::new();
            for row in rows {
                events.push(StoredEvent {
                    at: row.try_get(0)?,
                    actor: row.try_get(1)?,
                    kind: row.try_get(2)?,
                    detail: row.try_get(3)?,
                    number: row.try_get(4)?,
                });
            }
            let Some(first) = events.last().filter(|event| begins_history(&event.kind)) else {
                return Ok((events, false));
            };
            let lost = self.statements.lost.query(pool).bind(first.number);
            let lost: bool = lost.fetch_one(connection).await?.try_get(0)?;
            Ok((events, !lost))
        })
    }
}
