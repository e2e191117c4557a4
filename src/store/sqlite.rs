//! A store in one SQLite file: durable, without a server, for any number of processes on one machine.

pub(super) mod audit;
mod builder;
mod connections;
mod events;
mod feed;
mod files;
mod limits;
mod origin;
mod schema;
mod statements;
mod usage;
mod watch;

use alloc::{sync::Arc, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};
use std::{path::Path, time::Instant};

use rusqlite::{
    Connection, Row, Transaction, TransactionBehavior, config::DbConfig, types::ValueRef,
};

pub use self::{
    builder::{SqliteBuilder, SqliteError},
    feed::SqliteFeed,
};
use self::{
    connections::Connections,
    files::DatabaseFile,
    origin::Renewal,
    statements::{
        bytes, check_version, execute, for_each, key_row, tenant_row, unavailable, value,
    },
    watch::Watch,
};
use super::{
    KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Rows, StoreError, StoredKey,
    sql::{self, CommonStatements, Page},
};
use crate::{
    event::Event,
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// Keeps keys in a SQLite database. Clones share the connections.
///
/// Acknowledged writes survive a crash and a loss of power: the database is in WAL mode, and every commit
/// waits for the disk. Any number of processes on one machine may open one file. The file must not be on a
/// network file system. Each method takes effect in one transaction on a connection's own thread. It is
/// therefore done as a whole or not at all, even if its future is dropped, and needs no async runtime. The
/// connections close shortly after the last clone is dropped.
///
/// The files are the database file and the `-wal` and `-shm` files beside it. If one of them is removed,
/// moved or replaced while it is open, every operation returns [`StoreError::Unavailable`] from then on. The
/// source of the error is [`SqliteError::Replaced`]. The same happens if another database is copied over the
/// database file. Once the original file is back, the store works again.
///
/// A node that follows the [feed](Self::feed) sees another process's changes in about 50 ms, and reads a key again
/// only after a change. Without the feed it sees them within the
/// [staleness bound](crate::verifier::VerifierBuilder::max_staleness).
///
/// ```
/// use keyway::{Keyring, Pepper, Policy, SqliteStore};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
/// # let folder = std::env::temp_dir().join(format!("keyway-doc-sqlite-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("keys.db");
/// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
///     .environment("live")
///     .store(SqliteStore::open(path).await?)
///     .open()
///     .await?;
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
    shared: CommonStatements,
    /// How long a write may wait for another process.
    busy_timeout: Duration,
    /// `None` if the database is in memory.
    file: Option<DatabaseFile>,
    watch: Arc<Watch>,
    renewal: Renewal,
}

impl Inner {
    /// Fills `copy` from `file`, if `file` is still the file that was opened.
    fn copy_to(&self, copy: &DatabaseFile, file: &DatabaseFile) -> Result<(), SqliteError> {
        self.watch.check_places()?;
        let connection = builder::connect(file)?;
        // If another database is at the path by now, this is the only connection to it. Without this setting,
        // closing the connection would change that database's file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(self.busy_timeout)?;
        self.watch.check(&connection)?;
        copy.fill_from(&connection)?;
        self.watch.check(&connection)
    }
}

impl SqliteStore {
    /// Opens the database at `path`, and creates it if it is missing. SQLite keeps two more files in the same
    /// folder, whose names end in `-wal` and `-shm`.
    ///
    /// `path` is always a file path, never a URI. A relative path is resolved at once, so a later change of
    /// the working directory has no effect. On Unix a new file gets mode 0600, whatever the umask is. An
    /// existing file keeps its mode. The two other files get the mode of the database file.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] describes why the database cannot be opened.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteError> {
        Self::builder(path).open().await
    }

    /// Creates an empty database in memory, which is dropped with the last clone of the store.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] if there is not enough memory or no thread can be started.
    pub async fn in_memory() -> Result<Self, SqliteError> {
        SqliteBuilder::new(None).open().await
    }

    /// Creates a builder, to open the database at `path` with options.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(Some(path.as_ref()))
    }

    /// Creates a feed of the changes that other processes make, for
    /// [`Verifier::follow`](crate::verifier::Verifier::follow). The feed has a connection and a thread of its own.
    pub fn feed(&self) -> SqliteFeed {
        SqliteFeed::new(self.clone())
    }

    /// Writes a copy of the whole database, as of one point in time, to a new file at `path`. The store
    /// continues to serve requests meanwhile. When this returns, the copy is on the disk, with mode 0600 on
    /// Unix.
    ///
    /// To restore a backup, stop all processes that use the database, remove the `-wal` and `-shm` files, and
    /// replace the database with the copy. If the two files are still there, [`open`](Self::open) returns
    /// [`SqliteError::ForeignWal`].
    ///
    /// A restored backup makes keys valid again that were revoked after it was made.
    ///
    /// # Errors
    ///
    /// [`SqliteError::Path`] if a file exists at `path`; another [`SqliteError`]
    /// if the copy cannot be written. In that case no file is left behind.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), SqliteError> {
        let copy = DatabaseFile::new_at(path.as_ref())?;
        let path = copy.path().to_path_buf();
        let inner = Arc::clone(&self.0);
        let done = match self.0.file.clone() {
            None => {
                match self.0.connections.write(move |memory| Ok(copy.fill_from(memory))).await {
                    Ok(done) => done.map_err(SqliteError::from),
                    Err(error) => Err(std::io::Error::other(error).into()),
                }
            }
            // The backup has its own connection, so that nothing else waits for it.
            Some(file) => {
                let job = move || {
                    let done = inner.copy_to(&copy, &file);
                    if done.is_err() {
                        copy.remove();
                    }
                    done
                };
                builder::on_thread(job).await
            }
        };
        done.map_err(|error| error.at(&path))
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection, &CommonStatements) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        self.0
            .connections
            .read(move |connection| {
                let done = job(connection, &inner.shared);
                inner.watch.check(connection)?;
                done
            })
            .await
    }

    /// Returns the work of the writing connection that runs `job` in one transaction. The transaction has the
    /// write lock from its beginning, so that data read by `job` is still current when `job` writes.
    fn transaction<T, J>(
        &self,
        job: J,
    ) -> impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static + use<T, J>
    where
        T: Send + 'static,
        J: FnOnce(&Transaction<'_>, &CommonStatements) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let asked = Instant::now();
        let transact = move |connection: &mut Connection, inner: &Inner| {
            // Time in the queue counts toward the busy timeout, because the job waited there for the same
            // other process.
            let left = inner.busy_timeout.saturating_sub(asked.elapsed());
            connection.busy_timeout(left).map_err(unavailable)?;
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(unavailable)?;
            let done = job(&transaction, &inner.shared)?;
            if inner.file.is_some() {
                origin::touch(&transaction).map_err(unavailable)?;
            }
            inner.watch.check(&transaction)?;
            transaction.commit().map_err(unavailable)?;
            Ok(done)
        };
        move |connection| {
            let done = transact(connection, &inner);
            // Checked before the commit is acknowledged, because a write to a removed file is lost.
            inner.watch.check(connection)?;
            done
        }
    }

    /// Runs `job` in one [`transaction`](Self::transaction).
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>, &CommonStatements) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.0.connections.write(self.transaction(job)).await;
        if self.0.file.is_some() && self.0.renewal.is_due() {
            let inner = Arc::clone(&self.0);
            self.0.connections.write_later(move |connection| {
                if inner.watch.check(connection).is_ok() {
                    let _ = origin::renew(connection);
                }
            });
        }
        done
    }
}

impl KeyLookup for SqliteStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.read(move |connection, shared| lookup(connection, shared, id)).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        let ids = ids.to_vec();
        // One job for all of them. Handing a job to a thread takes longer than a lookup.
        self.read(move |connection, shared| {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.push(match lookup(connection, shared, id) {
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    result => result,
                });
            }
            Ok(found)
        })
        .await
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection, _| bytes(connection, MARKER, [])).await
    }
}

fn lookup(
    connection: &Connection,
    shared: &CommonStatements,
    id: KeyId,
) -> Result<Option<StoredKey>, StoreError> {
    let mut statement = connection.prepare_cached(&shared.lookup).map_err(unavailable)?;
    let mut rows = statement.query([id.as_bytes()]).map_err(unavailable)?;
    let Some(row) = rows.next().map_err(unavailable)? else { return Ok(None) };
    let first = sql::KEY_COLUMNS;
    let has_tenant = row.get_ref(first).map_err(unavailable)? != ValueRef::Null;
    let tenant = has_tenant.then(|| tenant_row(row, first)).transpose().map_err(unavailable)?;
    sql::stored(&key_row(row).map_err(unavailable)?, tenant.as_ref())
}

const MARKER: &str = "SELECT marker FROM keyway_marker WHERE id = 1";

/// Selects the version of a key, unless its tenant is deleted and the key is still to be erased.
const KEY_VERSION: &str = "SELECT version FROM keyway_keys WHERE id = ?1 AND tenant = ?2 AND EXISTS \
     (SELECT 1 FROM keyway_tenants t WHERE t.id = ?2 AND t.record IS NOT NULL)";

/// Also finds deleted keys, whose ids are kept.
const KEY_EXISTS: &str = "SELECT 1 FROM keyway_keys WHERE id = ?1";

const TENANT_VERSION: &str =
    "SELECT version FROM keyway_tenants WHERE id = ?1 AND record IS NOT NULL";

impl KeyStore for SqliteStore {
    /// Does nothing. The log of changes is in the file, and a program that can write the file can write the log as well.
    fn announce_with(&self, _: &super::Notices) {}

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        match self.insert_tenant_row(tenant.clone(), first_key.clone(), events).await {
            // The remaining keys of a deleted tenant with this id would be found as keys of the new tenant,
            // so they are erased first.
            Err(StoreError::Exists) if self.erase_keys(&tenant.id).await? => {
                self.insert_tenant_row(tenant, first_key, events).await
            }
            inserted => inserted,
        }
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let id = blob(id);
        self.read(move |connection, shared| {
            let mut tenant = None;
            for_each(connection, &shared.tenant, [id], |row| {
                tenant = Some(tenant_row(row, 0).map_err(unavailable)?.decode()?);
                Ok(false)
            })?;
            Ok(tenant)
        })
        .await
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Rows<TenantRecord>, StoreError> {
        let start = sql::tenants_start(after).to_vec();
        self.read(move |connection, shared| {
            let mut page = Page::new(limit.get());
            for_each(connection, &shared.tenants, (start, NO_LIMIT), |row| {
                page.push_tenant(&tenant_row(row, 0).map_err(unavailable)?);
                Ok(!page.is_full())
            })?;
            Ok(page.into_rows())
        })
        .await
    }

    async fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |transaction, _| {
            check_version(transaction, TENANT_VERSION, [tenant.id.as_str().as_bytes()], replaces)?;
            execute(
                transaction,
                "UPDATE keyway_tenants SET version = ?2, record = ?3 WHERE id = ?1",
                (tenant.id.as_str().as_bytes(), tenant.version.cast_signed(), tenant.encode()),
            )?;
            events::add(transaction, &events)
        })
        .await
    }

    async fn delete_tenant(&self, id: &TenantId, events: &[Event]) -> Result<(), StoreError> {
        let (tenant, events) = (blob(id), events.to_vec());
        let is_begun = self
            .write(move |transaction, _| {
                // Once this is committed, nothing finds the tenant or its keys.
                let begun = execute(
                    transaction,
                    "UPDATE keyway_tenants SET version = 0, record = NULL \
                     WHERE id = ?1 AND record IS NOT NULL",
                    [&tenant],
                )?;
                if begun > 0 {
                    events::add(transaction, &events)?;
                }
                Ok(begun > 0)
            })
            .await?;
        let goes_on = self.erase_keys(id).await?;
        if is_begun || goes_on { Ok(()) } else { Err(StoreError::NotFound) }
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: Option<u32>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |transaction, shared| {
            let tenant = key.tenant.as_str().as_bytes();
            check_version(transaction, TENANT_VERSION, [tenant], tenant_version)?;
            if let Some(max) = max_keys {
                let held = value(transaction, &shared.count, (tenant, max))?.map_or(0, sql::count);
                if held >= max {
                    // A repeated insert returns `Exists`, even if the first one used the last free place.
                    let known = value(transaction, KEY_EXISTS, [key.id.as_bytes()])?.is_some();
                    return Err(if known { StoreError::Exists } else { StoreError::QuotaFull });
                }
            }
            insert(transaction, &key)?;
            events::add(transaction, &events)
        })
        .await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let tenant = blob(tenant);
        self.read(move |connection, shared| {
            let mut key = None;
            for_each(connection, &shared.key, (*id.as_bytes(), tenant), |row| {
                key = Some(key_row(row).map_err(unavailable)?.decode()?);
                Ok(false)
            })?;
            Ok(key)
        })
        .await
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Rows<KeyRecord>, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection, shared| {
            let (created_at, id) = sql::start(&query);
            let mut page = Page::new(query.max().get());
            let id_of_tenant = tenant.as_str().as_bytes();
            let mut push = |row: &Row<'_>| {
                page.push_key(&key_row(row).map_err(unavailable)?, &tenant, &query);
                Ok(!page.is_full())
            };
            match query.owner() {
                None => {
                    let arguments = (id_of_tenant, created_at, id, NO_LIMIT);
                    for_each(connection, &shared.keys, arguments, push)?;
                }
                Some(owner) => {
                    let owner = owner.as_str().as_bytes();
                    let arguments = (id_of_tenant, created_at, id, owner, NO_LIMIT);
                    for_each(connection, &shared.keys_of_owner, arguments, &mut push)?;
                }
            }
            Ok(page.into_rows())
        })
        .await
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Result<u32, StoreError> {
        let tenant = blob(tenant);
        self.read(move |connection, shared| {
            Ok(value(connection, &shared.count, (tenant, up_to))?.map_or(0, sql::count))
        })
        .await
    }

    async fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |transaction, _| {
            let place = (key.id.as_bytes(), key.tenant.as_str().as_bytes());
            check_version(transaction, KEY_VERSION, place, replaces)?;
            execute(
                transaction,
                "UPDATE keyway_keys SET version = ?2, record = ?3, owner = ?4 WHERE id = ?1",
                (key.id.as_bytes(), key.version.cast_signed(), key.encode(), sql::owner(&key)),
            )?;
            events::add(transaction, &events)
        })
        .await
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let (tenant, events) = (blob(tenant), events.to_vec());
        self.write(move |transaction, shared| {
            let place = (id.as_bytes(), &tenant);
            if let Some(version) = replaces {
                check_version(transaction, KEY_VERSION, place, version)?;
            }
            match execute(transaction, &shared.delete_key, place)? {
                0 => Err(StoreError::NotFound),
                _ => events::add(transaction, &events),
            }
        })
        .await
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Result<(), StoreError> {
        let uses = sql::latest(uses);
        if uses.is_empty() {
            return Ok(());
        }
        self.write(move |transaction, _| {
            let mut statement = transaction
                .prepare_cached(
                    "UPDATE keyway_keys SET last_used = ?2 WHERE id = ?1 AND tenant IS NOT NULL \
                     AND (last_used IS NULL OR last_used < ?2 OR last_used > ?3)",
                )
                .map_err(unavailable)?;
            for (id, at) in &uses {
                statement.execute((id.as_bytes(), at, latest.as_millis())).map_err(unavailable)?;
            }
            Ok(())
        })
        .await
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Result<(), StoreError> {
        let (marker, replaces) = (marker.to_vec(), replaces.map(<[u8]>::to_vec));
        self.write(move |transaction, _| {
            if bytes(transaction, MARKER, [])? != replaces {
                return Err(StoreError::Conflict);
            }
            execute(
                transaction,
                "INSERT INTO keyway_marker (id, marker) VALUES (1, ?1) \
                 ON CONFLICT (id) DO UPDATE SET marker = excluded.marker",
                [marker],
            )?;
            Ok(())
        })
        .await
    }
}

/// SQLite's value for no limit. Rows are read one by one until the page is full.
const NO_LIMIT: i64 = -1;

impl SqliteStore {
    async fn insert_tenant_row(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |transaction, _| {
            execute(
                transaction,
                "INSERT INTO keyway_tenants (id, version, record) VALUES (?1, ?2, ?3)",
                (tenant.id.as_str().as_bytes(), tenant.version.cast_signed(), tenant.encode()),
            )?;
            first_key.map_or(Ok(()), |key| insert(transaction, &key))?;
            events::add(transaction, &events)
        })
        .await
    }

    /// Erases the keys of a deleted tenant in portions, and then the tenant's row, which marks the deletion.
    /// Returns whether there was such a tenant.
    async fn erase_keys(&self, id: &TenantId) -> Result<bool, StoreError> {
        let mut was_there = false;
        loop {
            let tenant = blob(id);
            let erase = move |transaction: &Transaction<'_>, shared: &CommonStatements| {
                // A tenant that was created again keeps its keys.
                let is_deleted = value(
                    transaction,
                    "SELECT 1 FROM keyway_tenants WHERE id = ?1 AND record IS NULL",
                    [&tenant],
                )?;
                if is_deleted.is_none() {
                    return Ok(None);
                }
                let portion = (&tenant, sql::limit(sql::PORTION));
                let erased = execute(transaction, &shared.erase_keys, portion)?;
                if erased < sql::PORTION {
                    execute(transaction, "DELETE FROM keyway_tenants WHERE id = ?1", [&tenant])?;
                }
                Ok(Some(erased))
            };
            match self.write(erase).await? {
                None => return Ok(was_there),
                Some(erased) if erased < sql::PORTION => return Ok(true),
                Some(_) => was_there = true,
            }
        }
    }
}

fn insert(connection: &Connection, key: &KeyRecord) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO keyway_keys (id, tenant, created_at, version, record, last_used, owner) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            key.id.as_bytes(),
            key.tenant.as_str().as_bytes(),
            key.created_at.as_millis(),
            key.version.cast_signed(),
            key.encode(),
            key.last_used().map(Timestamp::as_millis),
            sql::owner(key),
        ),
    )?;
    Ok(())
}

fn blob(id: &TenantId) -> Vec<u8> {
    id.as_str().as_bytes().to_vec()
}
