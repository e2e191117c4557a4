//! A store in PostgreSQL, shared by many machines.

pub(super) mod audit;
mod builder;
mod checks;
mod error;
mod events;
mod feed;
mod limits;
mod pool;
mod replica;
mod run;
mod schema;
mod statements;
mod usage;

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};
use std::sync::{PoisonError, RwLock};

use futures_util::TryStreamExt;
use sqlx::{
    PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgRow},
};

/// The driver, in the version of the pools that a store accepts.
pub use sqlx;

pub use self::{
    builder::PostgresBuilder, error::PostgresError, feed::PostgresFeed, replica::PostgresReplica,
};
use tokio::runtime::Handle;

use self::{
    events::{EventStatements, kind, turn},
    limits::LimitStatements,
    pool::{Pool, Turn},
    run::{Failure, attempt},
    schema::Schema,
    statements::Statements,
    usage::UsageStatements,
};
use super::{
    KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices, Rows, StoreError, StoredKey, Work,
    sql::{self, KeyRow, Page, TenantRow},
};
use crate::{
    event::Event,
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// Keeps keys in PostgreSQL, or in a distributed database that supports its protocol and SQL. Clones share
/// one pool. The store needs a Tokio runtime.
///
/// Acknowledged writes are as durable as the server's settings make them. Opening a store accepts only
/// settings that are known to keep acknowledged writes, unless the application explicitly accepts the risk.
///
/// Nothing is read from a server in recovery, such as a demoted primary. The connection to such a server is
/// closed, and the operation continues on another connection.
///
/// ```no_run
/// use keyway::{Keyring, Pepper, Policy, PostgresStore};
///
/// # async fn open(policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://service@db.internal/app").await?;
/// let keyring = Keyring::builder(policy, Pepper::from_env("KEYWAY_PEPPER")?)
///     .environment("live")
///     .store(store.clone())
///     .open()
///     .await?;
/// // Other nodes' changes reach this one's cache in milliseconds.
/// let verifier = keyring.verifier().clone();
/// tokio::spawn(async move { verifier.follow(store.feed()).await });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// The options of the feed's connection, if they differ from the pool's options.
    feed: Option<PgConnectOptions>,
    schema: Schema,
    statements: Statements,
    usage: UsageStatements,
    events: EventStatements,
    limits: LimitStatements,
    time_limit: Duration,
    notices: RwLock<Option<Notices>>,
}

impl Inner {
    /// Returns the notice that a write sends to the feeds of other nodes. Without a keyring the notice is
    /// empty, and is not sent.
    fn notice(&self, make: impl FnOnce(&Notices, [u8; 8]) -> String) -> String {
        let mut salt = [0; 8];
        // The salt only hides that two notices name the same record. A failure to draw it is therefore
        // ignored.
        let _ = getrandom::fill(&mut salt);
        let notices = self.notices.read().unwrap_or_else(PoisonError::into_inner);
        notices.as_ref().map(|notices| make(notices, salt)).unwrap_or_default()
    }

    /// Returns the notice, or an empty one while the server has no room for notices.
    fn audible<'n>(&self, notice: &'n str) -> &'n str {
        if self.pool.is_quiet() { "" } else { notice }
    }

    fn notice_of_key(&self, id: KeyId) -> String {
        self.notice(|notices, salt| notices.of_key(id, salt))
    }

    fn notice_of_tenant(&self, id: &TenantId) -> String {
        self.notice(|notices, salt| notices.of_tenant(id, salt))
    }
}

impl PostgresStore {
    /// Connects to the server at `url`, and creates the tables in the schema `keyway` if they are
    /// missing.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] describes why the store cannot be opened.
    pub async fn connect(url: &str) -> Result<Self, PostgresError> {
        Self::builder().connect(url).await
    }

    /// Creates a builder, to set options or to pass the application's own pool.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::new()
    }

    /// Creates a feed of the changes that other nodes make, for
    /// [`Verifier::follow`](crate::verifier::Verifier::follow). The feed keeps one connection for itself.
    ///
    /// Only notices from a [`Keyring`](crate::keyring::Keyring) with the same peppers count. A store sends
    /// the notices of the keyring that was built last with this store or one of its clones.
    pub fn feed(&self) -> PostgresFeed {
        PostgresFeed::new(self.clone())
    }

    /// Looks keys up in a replica of this store's database, through a pool of the application's own. A lookup
    /// returns [`Unavailable`](StoreError::Unavailable) while the replica is more than `max_lag` behind, or
    /// while its lag is unknown.
    ///
    /// The lag is measured with a timestamp in the primary. A [feed](Self::feed) of any node that may write
    /// updates the timestamp once a second. `max_lag` must therefore be at least two seconds, and at least
    /// one such node must follow a feed. The clocks of primary and replica may differ by up to half a second.
    /// The lag may exceed `max_lag` by that difference.
    pub fn replica(&self, pool: PgPool, max_lag: Duration) -> PostgresReplica {
        PostgresReplica::new(self, pool, max_lag)
    }
}

/// Runs `work` on the present runtime of Tokio. A read that nobody drives would keep its connection from the pool.
fn detach(work: Work) -> Option<Work> {
    match Handle::try_current() {
        Ok(runtime) => {
            drop(runtime.spawn(work));
            None
        }
        Err(_) => Some(work),
    }
}

impl KeyLookup for PostgresStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = statements.lookup.query(pool).bind(&id.as_bytes()[..]);
            row.fetch_optional(connection).await?.map_or(Ok(None), |row| stored(&row))
        })
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let rows = statements.lookup_many.query(pool).bind(id_bytes(ids));
            lookups(ids, &rows.fetch_all(connection).await?)
        })
    }

    fn detach(&self, work: Work) -> Option<Work> {
        detach(work)
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let marker = statements.marker.query(pool).fetch_optional(connection).await?;
            Ok(marker.map(|row| row.try_get(0)).transpose()?)
        })
    }
}

impl KeyStore for PostgresStore {
    fn announce_with(&self, notices: &Notices) {
        let mut own = self.0.notices.write().unwrap_or_else(PoisonError::into_inner);
        *own = Some(notices.clone());
    }

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        match self.insert_tenant_row(&tenant, first_key.as_ref(), events).await {
            // The remaining keys of a deleted tenant with this id would be found as keys of the new tenant,
            // so they are erased first.
            Err(StoreError::Exists) if self.erase_keys(&tenant.id).await? => {
                self.insert_tenant_row(&tenant, first_key.as_ref(), events).await
            }
            inserted => inserted,
        }
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = statements.tenant.query(pool).bind(id.as_str().as_bytes());
            let row = row.fetch_optional(connection).await?;
            row.map(|row| Ok(tenant_row(&row, 0)?.decode()?)).transpose()
        })
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Rows<TenantRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let limit = limit.get();
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let mut page = Page::new(limit);
            let mut start = sql::tenants_start(after).to_vec();
            // Rows without a name do not count toward the limit, so the page continues.
            loop {
                let rows = statements.tenants.query(pool)
                    .bind(&start)
                    .bind(sql::limit(limit))
                    .fetch_all(&mut *connection)
                    .await?;
                for row in &rows {
                    let row = tenant_row(row, 0)?;
                    start = row.id.to_vec();
                    page.push_tenant(&row);
                    if page.is_full() {
                        break;
                    }
                }
                if page.is_full() || rows.len() < limit {
                    break Ok(page.into_rows());
                }
            }
        })
    }

    async fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let notice = self.0.notice_of_tenant(&tenant.id);
        attempt!((kind(events)) in turn(events, tenant.id.as_str().as_bytes()), *time_limit, pool, connection => {
            let row = statements.update_tenant.query(pool)
                .bind(tenant.id.as_str().as_bytes())
                .bind(tenant.version.cast_signed())
                .bind(tenant.encode())
                .bind(replaces.cast_signed())
                .bind(self.0.audible(&notice))
                .fetch_one(&mut *connection)
                .await?;
            updated(&row)?;
            events::add(connection, &self.0, events).await
        })
    }

    async fn delete_tenant(&self, id: &TenantId, events: &[Event]) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let notice = self.0.notice_of_tenant(id);
        let is_begun = attempt!((kind(events)) in turn(events, id.as_str().as_bytes()), *time_limit, pool, connection => {
            // The statement waits for transactions that are adding a key to the tenant.
            let begun = statements.delete_tenant.query(pool).bind(id.as_str().as_bytes());
            let begun = begun.bind(self.0.audible(&notice));
            let is_begun = begun.fetch_one(&mut *connection).await?.try_get::<i64, _>(0)? > 0;
            if is_begun {
                events::add(connection, &self.0, events).await?;
            }
            Ok(is_begun)
        })?;
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
        let Inner { pool, time_limit, .. } = &*self.0;
        attempt!(Transaction in Turn::Row(key.tenant.as_str().as_bytes()), *time_limit, pool, connection => {
            insert_key(connection, &self.0, &key, tenant_version, max_keys).await?;
            events::add(connection, &self.0, events).await
        })
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = statements.key.query(pool)
                .bind(&id.as_bytes()[..])
                .bind(tenant.as_str().as_bytes());
            let row = row.fetch_optional(connection).await?;
            row.map(|row| Ok(key_row(&row)?.decode()?)).transpose()
        })
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Rows<KeyRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let max = query.max().get();
        // With a search text or a filter, the tenant's keys are read until enough match. They are read in portions,
        // because the server sends all rows of a result before the connection is free, also those that the
        // page does not need.
        let limit = sql::limit(if query.is_indexed() { max } else { sql::PORTION });
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let mut page = Page::new(max);
            let (mut created_at, mut id) = sql::start(query);
            // Rows without a name do not count toward the limit, so the page continues.
            loop {
                let statement = match query.owner() {
                    None => &statements.keys,
                    Some(_) => &statements.keys_of_owner,
                };
                let mut keys = statement.query(pool)
                    .bind(tenant.as_str().as_bytes())
                    .bind(created_at)
                    .bind(id.clone());
                if let Some(owner) = query.owner() {
                    keys = keys.bind(owner.as_str().as_bytes());
                }
                let mut rows = keys.bind(limit).fetch(&mut *connection);
                let mut read = 0;
                while !page.is_full()
                    && let Some(row) = rows.try_next().await?
                {
                    let row = key_row(&row)?;
                    (created_at, id) = (row.created_at, row.id.to_vec());
                    page.push_key(&row, tenant, query);
                    read += 1;
                }
                if page.is_full() || read < limit {
                    break Ok(page.into_rows());
                }
            }
        })
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Result<u32, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let count = statements.count.query(pool)
                .bind(tenant.as_str().as_bytes())
                .bind(i64::from(up_to));
            Ok(sql::count(count.fetch_one(connection).await?.try_get(0)?))
        })
    }

    async fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let notice = self.0.notice_of_key(key.id);
        attempt!((kind(events)) in turn(events, &key.id.as_bytes()[..]), *time_limit, pool, connection => {
            let row = statements.update_key.query(pool)
                .bind(&key.id.as_bytes()[..])
                .bind(key.tenant.as_str().as_bytes())
                .bind(key.version.cast_signed())
                .bind(key.encode())
                .bind(replaces.cast_signed())
                .bind(self.0.audible(&notice))
                .bind(sql::owner(&key))
                .fetch_one(&mut *connection)
                .await?;
            updated(&row)?;
            events::add(connection, &self.0, events).await
        })
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let notice = self.0.notice_of_key(id);
        attempt!((kind(events)) in turn(events, &id.as_bytes()[..]), *time_limit, pool, connection => {
            let row = statements.delete_key.query(pool)
                .bind(&id.as_bytes()[..])
                .bind(tenant.as_str().as_bytes())
                .bind(replaces.map(u64::cast_signed))
                .bind(self.0.audible(&notice))
                .fetch_one(&mut *connection)
                .await?;
            match updated(&row) {
                // Another deletion was committed first. The snapshot of this statement still shows the key,
                // so the result looks like a conflict.
                Err(Failure::Store(StoreError::Conflict)) if replaces.is_none() => {
                    Err(StoreError::NotFound.into())
                }
                Ok(()) => events::add(connection, &self.0, events).await,
                refused => refused,
            }
        })
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let uses = sql::latest(uses);
        if uses.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = uses.keys().map(|id| &id.as_bytes()[..]).collect();
        let times: Vec<i64> = uses.values().copied().collect();
        attempt!(Write, *time_limit, pool, connection => {
            statements.record_uses.query(pool)
                .bind(&ids)
                .bind(&times)
                .bind(latest.as_millis())
                .execute(connection)
                .await?;
            Ok(())
        })
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Write, *time_limit, pool, connection => {
            let written = match replaces {
                None => statements.insert_marker.query(pool).bind(marker),
                Some(replaces) => statements.replace_marker.query(pool).bind(marker).bind(replaces),
            };
            match written.execute(connection).await?.rows_affected() {
                0 => Err(StoreError::Conflict.into()),
                _ => Ok(()),
            }
        })
    }
}

impl PostgresStore {
    async fn insert_tenant_row(
        &self,
        tenant: &TenantRecord,
        first_key: Option<&KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let (id, version) = (tenant.id.as_str().as_bytes(), tenant.version.cast_signed());
        let notice = self.0.notice_of_tenant(&tenant.id);
        attempt!((kind(events)) in turn(events, id), *time_limit, pool, connection => {
            let statement = match first_key {
                Some(_) => &statements.insert_tenant_with_key,
                None => &statements.insert_tenant,
            };
            let insert = statement.query(pool).bind(id).bind(version).bind(tenant.encode());
            let mut insert = insert.bind(self.0.audible(&notice));
            if let Some(key) = first_key {
                insert = insert
                    .bind(&key.id.as_bytes()[..])
                    .bind(key.created_at.as_millis())
                    .bind(key.version.cast_signed())
                    .bind(key.encode())
                    .bind(key.last_used().map(Timestamp::as_millis))
                    .bind(sql::owner(key));
            }
            insert.execute(&mut *connection).await.map_err(taken)?;
            events::add(connection, &self.0, events).await
        })
    }

    /// Erases the keys of a deleted tenant in portions, and then the tenant's row, which marks the deletion.
    /// Returns whether there was such a tenant.
    async fn erase_keys(&self, id: &TenantId) -> Result<bool, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let tenant = id.as_str().as_bytes();
        let mut was_there = false;
        loop {
            // Each portion has its own time limit. Portions that were already erased stay erased.
            let erased = attempt!(Transaction in Turn::Row(tenant), *time_limit, pool, connection => {
                let locked = statements.lock_deleted.query(pool).bind(tenant);
                if locked.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Ok(None);
                }
                let erase = statements.erase_keys.query(pool)
                    .bind(tenant)
                    .bind(sql::limit(sql::PORTION))
                    .execute(&mut *connection);
                let is_last = erase.await?.rows_affected() < sql::PORTION as u64;
                if is_last {
                    let forget = statements.forget_deleted.query(pool).bind(tenant);
                    forget.execute(&mut *connection).await?;
                }
                Ok(Some(is_last))
            })?;
            match erased {
                None => return Ok(was_there),
                Some(true) => return Ok(true),
                Some(false) => was_there = true,
            }
        }
    }
}

async fn insert_key(
    connection: &mut PgConnection,
    Inner { pool, statements, .. }: &Inner,
    key: &KeyRecord,
    tenant_version: u64,
    max_keys: Option<u32>,
) -> Result<(), Failure> {
    let tenant = key.tenant.as_str().as_bytes();
    let version = statements.lock_tenant.query(pool).bind(tenant);
    let version = version.fetch_optional(&mut *connection).await?;
    match version.map(|row| row.try_get::<i64, _>(0)).transpose()? {
        None => return Err(StoreError::NotFound.into()),
        Some(version) if version == tenant_version.cast_signed() => {}
        Some(_) => return Err(StoreError::Conflict.into()),
    }
    let statement = match max_keys {
        Some(_) => &statements.insert_key,
        None => &statements.insert_key_without_limit,
    };
    let mut insert = statement
        .query(pool)
        .bind(&key.id.as_bytes()[..])
        .bind(tenant)
        .bind(key.created_at.as_millis())
        .bind(key.version.cast_signed())
        .bind(key.encode())
        .bind(key.last_used().map(Timestamp::as_millis));
    if let Some(max) = max_keys {
        insert = insert.bind(i64::from(max));
    }
    let insert = insert.bind(sql::owner(key));
    let row = insert.fetch_one(connection).await?;
    let held = sql::count(row.try_get(0)?);
    let (is_inserted, was_known): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
    match is_inserted {
        true => Ok(()),
        // A repeated insert returns `Exists`, even if the first one used the last free place.
        false if !was_known && max_keys.is_some_and(|max| held >= max) => {
            Err(StoreError::QuotaFull.into())
        }
        false => Err(StoreError::Exists.into()),
    }
}

/// Interprets the row of an update: the number of changed rows, and whether a row of any version exists.
fn updated(row: &PgRow) -> Result<(), Failure> {
    let (changed, exists): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    match (changed, exists) {
        (1.., _) => Ok(()),
        (_, true) => Err(StoreError::Conflict.into()),
        (_, false) => Err(StoreError::NotFound.into()),
    }
}

/// Maps a unique violation to `Exists`. The only constraints that the store's statements can violate are
/// those of primary keys.
fn taken(error: sqlx::Error) -> Failure {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        return StoreError::Exists.into();
    }
    error.into()
}

fn stored(row: &PgRow) -> Result<Option<StoredKey>, Failure> {
    let tenant = match row.try_get::<Option<&[u8]>, _>(sql::KEY_COLUMNS)? {
        Some(_) => Some(tenant_row(row, sql::KEY_COLUMNS)?),
        None => None,
    };
    Ok(sql::stored(&key_row(row)?, tenant.as_ref())?)
}

/// Returns the ids as a parameter of a statement.
fn id_bytes(ids: &[KeyId]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// Returns the results of a lookup of `ids`. A broken row does not affect the others.
fn lookups(ids: &[KeyId], rows: &[PgRow]) -> Result<Lookups, Failure> {
    let mut found = BTreeMap::new();
    for row in rows {
        let result = match stored(row) {
            Ok(stored) => Ok(stored),
            Err(Failure::Store(error)) => Err(error),
            Err(failure) => return Err(failure),
        };
        found.insert(key_row(row)?.named(), result);
    }
    // A key without a row does not exist.
    Ok(ids.iter().map(|id| found.remove(&Some(*id)).unwrap_or(Ok(None))).collect())
}

fn key_row(row: &PgRow) -> Result<KeyRow<'_>, sqlx::Error> {
    Ok(KeyRow {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        created_at: row.try_get(2)?,
        version: row.try_get(3)?,
        record: row.try_get(4)?,
        last_used: row.try_get(5)?,
        owner: row.try_get(6)?,
    })
}

/// Returns the tenant whose columns begin at `first`.
fn tenant_row(row: &PgRow, first: usize) -> Result<TenantRow<'_>, sqlx::Error> {
    Ok(TenantRow {
        id: row.try_get(first)?,
        version: row.try_get(first + 1)?,
        record: row.try_get(first + 2)?,
    })
}
