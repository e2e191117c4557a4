//! Keys in one SQLite file: durable, without a server, for any number of processes on one machine.

mod builder;
mod connections;
mod schema;
mod statements;

use alloc::{sync::Arc, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};
use std::{path::Path, time::Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, types::ValueRef};

pub use self::builder::{SqliteBuilder, SqliteError};
use self::{
    connections::Connections,
    statements::{
        check_version, execute, key_records, key_row, tenant_records, tenant_row, unavailable,
        value,
    },
};
use super::{
    KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey,
    sql::{self, Shared},
};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    token::KeyId,
};

/// Keeps keys in a SQLite database. Clones share its connections.
///
/// What is acknowledged outlasts a crash and a loss of power: the database is in WAL mode, and every
/// commit waits for the disk. Any number of processes on one machine may open one file, which must
/// not be on a network file system. Each method is one transaction on a connection's own thread, so
/// it is done as a whole whatever becomes of its future, and needs no runtime. The connections close
/// shortly after the last clone is dropped.
///
/// A node hears of another process's changes within the
/// [staleness bound](crate::verifier::VerifierBuilder::max_staleness).
///
/// ```
/// use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::SqliteStore};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
/// # let folder = std::env::temp_dir().join(format!("keyway-doc-sqlite-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("keys.db");
/// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
///     .environment("live")
///     .store(SqliteStore::open(path).await?)
///     .build()?;
/// # drop(keyring);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Connections,
    shared: Shared,
    /// How long a write may wait for another process.
    busy_timeout: Duration,
}

impl SqliteStore {
    /// Opens the database at `path`, and creates it if it is missing. It takes a little more room in
    /// the same folder, in files whose names end in `-wal` and `-shm`.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] says why not.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteError> {
        Self::builder(path).open().await
    }

    /// An empty database in memory, which ends with the last clone of the store.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] if there is no memory or thread for it.
    pub async fn in_memory() -> Result<Self, SqliteError> {
        SqliteBuilder::new(None).open().await
    }

    /// Opens the database at `path` otherwise than by default.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(Some(path.as_ref()))
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection, &Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        self.0.connections.read(move |connection| job(connection, &inner.shared)).await
    }

    /// In one transaction, which has the right to write from its beginning, so that what it reads
    /// still holds when it writes.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>, &Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let asked = Instant::now();
        let job = move |connection: &mut Connection| {
            // Whatever waited in front of it has waited for the same process.
            let left = inner.busy_timeout.saturating_sub(asked.elapsed());
            connection.busy_timeout(left).map_err(unavailable)?;
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(unavailable)?;
            let done = job(&transaction, &inner.shared)?;
            transaction.commit().map_err(unavailable)?;
            Ok(done)
        };
        self.0.connections.write(job).await
    }
}

impl KeyLookup for SqliteStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.read(move |connection, shared| {
            let mut statement = connection.prepare_cached(&shared.lookup).map_err(unavailable)?;
            let mut rows = statement.query([id.as_bytes()]).map_err(unavailable)?;
            let Some(row) = rows.next().map_err(unavailable)? else { return Ok(None) };
            let has_tenant = row.get_ref(6).map_err(unavailable)? != ValueRef::Null;
            let tenant = has_tenant.then(|| tenant_row(row, 6)).transpose().map_err(unavailable)?;
            sql::stored(&key_row(row).map_err(unavailable)?, tenant.as_ref()).map(Some)
        })
        .await
    }
}

impl KeyStore for SqliteStore {
    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> Result<(), StoreError> {
        self.write(move |transaction, _| {
            execute(
                transaction,
                "INSERT INTO keyway_tenants (id, version, record) VALUES (?1, ?2, ?3)",
                (tenant.id.as_str().as_bytes(), tenant.version.cast_signed(), tenant.encode()),
            )?;
            first_key.map_or(Ok(()), |key| insert(transaction, &key))
        })
        .await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let id = bytes(id);
        self.read(move |connection, shared| {
            Ok(tenant_records(connection, &shared.tenant, [id])?.pop())
        })
        .await
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<TenantRecord>, StoreError> {
        let start = sql::tenants_start(after).to_vec();
        self.read(move |connection, shared| {
            tenant_records(connection, &shared.tenants, (start, sql::limit(limit.get())))
        })
        .await
    }

    async fn update_tenant(&self, tenant: TenantRecord, replaces: u64) -> Result<(), StoreError> {
        self.write(move |transaction, _| {
            check_version(
                transaction,
                "SELECT version FROM keyway_tenants WHERE id = ?1",
                [tenant.id.as_str().as_bytes()],
                replaces,
            )?;
            execute(
                transaction,
                "UPDATE keyway_tenants SET version = ?2, record = ?3 WHERE id = ?1",
                (tenant.id.as_str().as_bytes(), tenant.version.cast_signed(), tenant.encode()),
            )?;
            Ok(())
        })
        .await
    }

    async fn delete_tenant(&self, id: &TenantId) -> Result<(), StoreError> {
        let id = bytes(id);
        self.write(move |transaction, shared| {
            if execute(transaction, "DELETE FROM keyway_tenants WHERE id = ?1", [&id])? == 0 {
                return Err(StoreError::NotFound);
            }
            execute(transaction, &shared.delete_keys, [&id]).map(|_| ())
        })
        .await
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: u32,
    ) -> Result<(), StoreError> {
        self.write(move |transaction, shared| {
            let tenant = key.tenant.as_str().as_bytes();
            check_version(
                transaction,
                "SELECT version FROM keyway_tenants WHERE id = ?1",
                [tenant],
                tenant_version,
            )?;
            let held = value(transaction, &shared.count, [tenant])?.map_or(0, sql::count);
            if held >= max_keys {
                return Err(StoreError::QuotaFull { held });
            }
            insert(transaction, &key)
        })
        .await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let tenant = bytes(tenant);
        self.read(move |connection, shared| {
            let mut keys = Vec::new();
            key_records(connection, &shared.key, (*id.as_bytes(), tenant), |_, key| {
                keys.push(key);
            })?;
            Ok(keys.pop())
        })
        .await
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let (tenant, query) = (bytes(tenant), query.clone());
        self.read(move |connection, shared| {
            let (created_at, id) = sql::start(&query);
            let max = query.max().get();
            // With a text to look for, all of the tenant's keys are read until enough are found.
            let limit = if query.text().is_none() { sql::limit(max) } else { -1 };
            let mut found = Vec::new();
            let arguments = (tenant, created_at, id, limit);
            key_records(connection, &shared.keys, arguments, |stop, key| {
                if query.matches(&key) {
                    found.push(key);
                }
                *stop = found.len() >= max;
            })?;
            Ok(found)
        })
        .await
    }

    async fn count_keys(&self, tenant: &TenantId) -> Result<u32, StoreError> {
        let tenant = bytes(tenant);
        self.read(move |connection, shared| {
            Ok(value(connection, &shared.count, [tenant])?.map_or(0, sql::count))
        })
        .await
    }

    async fn update_key(&self, key: KeyRecord, replaces: u64) -> Result<(), StoreError> {
        self.write(move |transaction, _| {
            check_version(
                transaction,
                "SELECT version FROM keyway_keys WHERE id = ?1 AND tenant = ?2",
                (key.id.as_bytes(), key.tenant.as_str().as_bytes()),
                replaces,
            )?;
            execute(
                transaction,
                "UPDATE keyway_keys SET version = ?2, record = ?3 WHERE id = ?1",
                (key.id.as_bytes(), key.version.cast_signed(), key.encode()),
            )?;
            Ok(())
        })
        .await
    }

    async fn delete_key(&self, tenant: &TenantId, id: KeyId) -> Result<(), StoreError> {
        let tenant = bytes(tenant);
        self.write(move |transaction, shared| {
            match execute(transaction, &shared.delete_key, (id.as_bytes(), tenant))? {
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let latest = sql::latest(uses);
        if latest.is_empty() {
            return Ok(());
        }
        self.write(move |transaction, _| {
            let mut statement = transaction
                .prepare_cached(
                    "UPDATE keyway_keys SET last_used = ?2 WHERE id = ?1 AND tenant IS NOT NULL \
                     AND (last_used IS NULL OR last_used < ?2)",
                )
                .map_err(unavailable)?;
            for (id, at) in &latest {
                statement.execute((id.as_bytes(), at)).map_err(unavailable)?;
            }
            Ok(())
        })
        .await
    }
}

fn insert(connection: &Connection, key: &KeyRecord) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO keyway_keys (id, tenant, created_at, version, record, last_used) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            key.id.as_bytes(),
            key.tenant.as_str().as_bytes(),
            key.created_at.as_millis(),
            key.version.cast_signed(),
            key.encode(),
            key.last_used().map(crate::time::Timestamp::as_millis),
        ),
    )?;
    Ok(())
}

fn bytes(id: &TenantId) -> Vec<u8> {
    id.as_str().as_bytes().to_vec()
}
