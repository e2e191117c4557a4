//! Keys in PostgreSQL, shared by many machines.

mod builder;
mod feed;
mod replica;
mod run;
mod schema;
mod statements;

use alloc::{sync::Arc, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgRow};

pub use self::{
    builder::{PostgresBuilder, PostgresError},
    feed::PostgresFeed,
    replica::PostgresReplica,
};
use self::{
    run::{Failure, attempt},
    schema::Schema,
    statements::Statements,
};
use super::{
    KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey,
    sql::{self, KeyRow, TenantRow},
};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// Keeps keys in PostgreSQL, or in a distributed database that speaks its protocol and SQL. Clones
/// share its pool. It needs a Tokio runtime.
///
/// What is acknowledged is as durable as the server is set to make it; settings that lose
/// acknowledged writes are refused when the store is opened, unless the host names the danger.
///
/// ```no_run
/// use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::PostgresStore};
///
/// # async fn open(policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://service@db.internal/app").await?;
/// let keyring = Keyring::builder(policy, Pepper::from_env("KEYWAY_PEPPER")?)
///     .environment("live")
///     .store(store.clone())
///     .build()?;
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
    pool: PgPool,
    schema: Schema,
    statements: Statements,
    time_limit: Duration,
}

impl PostgresStore {
    /// Connects to the server at `url`, and creates the tables in the schema `keyway` if they are
    /// missing.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] says why not.
    pub async fn connect(url: &str) -> Result<Self, PostgresError> {
        Self::builder().connect(url).await
    }

    /// Opens a store otherwise than by default, or with the host's own pool.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::new()
    }

    /// News of what other nodes change, for [`Verifier::follow`](crate::verifier::Verifier::follow).
    /// It keeps one connection for itself.
    pub fn feed(&self) -> PostgresFeed {
        PostgresFeed::new(self.clone())
    }

    /// Looks keys up in a replica of this store's database, through a pool of the host's own. A key is
    /// [`Unavailable`](StoreError::Unavailable) there while the replica is more than `max_lag` behind.
    ///
    /// How far it is behind is told by the clock that a [feed](Self::feed) of any node sets in the
    /// primary once a second, so `max_lag` is two seconds or more, and one node at least follows one.
    pub fn replica(&self, pool: PgPool, max_lag: Duration) -> PostgresReplica {
        PostgresReplica::new(self, pool, max_lag)
    }
}

impl KeyLookup for PostgresStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.lookup).bind(&id.as_bytes()[..]);
            row.fetch_optional(connection).await?.map(|row| stored(&row)).transpose()
        })
    }
}

impl KeyStore for PostgresStore {
    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let (id, version) = (tenant.id.as_str().as_bytes(), tenant.version.cast_signed());
        attempt!(Write, *time_limit, pool, connection => {
            let statement = match first_key {
                Some(_) => &statements.insert_tenant_with_key,
                None => &statements.insert_tenant,
            };
            let mut insert = sqlx::query(statement).bind(id).bind(version).bind(tenant.encode());
            if let Some(key) = &first_key {
                insert = insert
                    .bind(&key.id.as_bytes()[..])
                    .bind(key.created_at.as_millis())
                    .bind(key.version.cast_signed())
                    .bind(key.encode())
                    .bind(key.last_used().map(Timestamp::as_millis));
            }
            insert.execute(connection).await.map_err(taken)?;
            Ok(())
        })
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.tenant).bind(id.as_str().as_bytes());
            row.fetch_optional(connection).await?.map(|row| tenant(&row, 0)).transpose()
        })
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<TenantRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let rows = sqlx::query(&statements.tenants)
                .bind(sql::tenants_start(after))
                .bind(sql::limit(limit.get()))
                .fetch_all(connection)
                .await?;
            rows.iter().map(|row| tenant(row, 0)).collect()
        })
    }

    async fn update_tenant(&self, tenant: TenantRecord, replaces: u64) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Write, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.update_tenant)
                .bind(tenant.id.as_str().as_bytes())
                .bind(tenant.version.cast_signed())
                .bind(tenant.encode())
                .bind(replaces.cast_signed())
                .fetch_one(connection)
                .await?;
            updated(&row)
        })
    }

    async fn delete_tenant(&self, id: &TenantId) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let id = id.as_str().as_bytes();
        attempt!(Write, *time_limit, pool, connection => {
            let mut transaction = connection.begin_with(BEGIN).await?;
            // First the tenant, which waits for those who are adding a key to it, and in the next
            // statement all that it then holds.
            let row = sqlx::query(&statements.delete_tenant).bind(id).fetch_one(&mut *transaction);
            deleted(&row.await?)?;
            sqlx::query(&statements.delete_keys).bind(id).execute(&mut *transaction).await?;
            Ok(transaction.commit().await?)
        })
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: u32,
    ) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Write, *time_limit, pool, connection => {
            let mut transaction = connection.begin_with(BEGIN).await?;
            insert_key(&mut transaction, statements, &key, tenant_version, max_keys).await?;
            Ok(transaction.commit().await?)
        })
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.key)
                .bind(&id.as_bytes()[..])
                .bind(tenant.as_str().as_bytes());
            row.fetch_optional(connection).await?.map(|row| key(&row)).transpose()
        })
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let (created_at, id) = sql::start(query);
        let max = query.max().get();
        // With a text to look for, all of the tenant's keys are read until enough are found.
        let limit = if query.text().is_none() { sql::limit(max) } else { i64::MAX };
        attempt!(Read, *time_limit, pool, connection => {
            let mut rows = sqlx::query(&statements.keys)
                .bind(tenant.as_str().as_bytes())
                .bind(created_at)
                .bind(&id)
                .bind(limit)
                .fetch(connection);
            let mut found = Vec::new();
            while found.len() < max
                && let Some(row) = rows.try_next().await?
            {
                found.extend(Some(key(&row)?).filter(|key| query.matches(key)));
            }
            Ok(found)
        })
    }

    async fn count_keys(&self, tenant: &TenantId) -> Result<u32, StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Read, *time_limit, pool, connection => {
            let count = sqlx::query_scalar(&statements.count).bind(tenant.as_str().as_bytes());
            Ok(sql::count(count.fetch_one(connection).await?))
        })
    }

    async fn update_key(&self, key: KeyRecord, replaces: u64) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Write, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.update_key)
                .bind(&key.id.as_bytes()[..])
                .bind(key.tenant.as_str().as_bytes())
                .bind(key.version.cast_signed())
                .bind(key.encode())
                .bind(replaces.cast_signed())
                .fetch_one(connection)
                .await?;
            updated(&row)
        })
    }

    async fn delete_key(&self, tenant: &TenantId, id: KeyId) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        attempt!(Write, *time_limit, pool, connection => {
            let row = sqlx::query(&statements.delete_key)
                .bind(&id.as_bytes()[..])
                .bind(tenant.as_str().as_bytes())
                .fetch_one(connection)
                .await?;
            deleted(&row)
        })
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let Inner { pool, statements, time_limit, .. } = &*self.0;
        let latest = sql::latest(uses);
        if latest.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = latest.keys().map(|id| &id.as_bytes()[..]).collect();
        let times: Vec<i64> = latest.values().copied().collect();
        attempt!(Write, *time_limit, pool, connection => {
            sqlx::query(&statements.record_uses).bind(&ids).bind(&times).execute(connection).await?;
            Ok(())
        })
    }
}

/// Whatever the server's default is: after a lock was waited for, the next statement has to see what
/// the other one has committed.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

async fn insert_key(
    connection: &mut PgConnection,
    statements: &Statements,
    key: &KeyRecord,
    tenant_version: u64,
    max_keys: u32,
) -> Result<(), Failure> {
    let tenant = key.tenant.as_str().as_bytes();
    let version = sqlx::query_scalar::<_, i64>(&statements.lock_tenant).bind(tenant);
    match version.fetch_optional(&mut *connection).await? {
        None => return Err(StoreError::NotFound.into()),
        Some(version) if version == tenant_version.cast_signed() => {}
        Some(_) => return Err(StoreError::Conflict.into()),
    }
    let row = sqlx::query(&statements.insert_key)
        .bind(&key.id.as_bytes()[..])
        .bind(tenant)
        .bind(key.created_at.as_millis())
        .bind(key.version.cast_signed())
        .bind(key.encode())
        .bind(key.last_used().map(Timestamp::as_millis))
        .bind(i64::from(max_keys))
        .fetch_one(connection)
        .await?;
    let held = sql::count(row.try_get(0)?);
    let is_inserted: bool = row.try_get(1)?;
    match is_inserted {
        true => Ok(()),
        false if held >= max_keys => Err(StoreError::QuotaFull { held }.into()),
        false => Err(StoreError::Exists.into()),
    }
}

/// What an update says that counts its rows and tells whether there was one of any version.
fn updated(row: &PgRow) -> Result<(), Failure> {
    let (changed, exists): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    match (changed, exists) {
        (1.., _) => Ok(()),
        (_, true) => Err(StoreError::Conflict.into()),
        (_, false) => Err(StoreError::NotFound.into()),
    }
}

/// What a deletion says that counts its rows.
fn deleted(row: &PgRow) -> Result<(), Failure> {
    match row.try_get::<i64, _>(0)? {
        0 => Err(StoreError::NotFound.into()),
        _ => Ok(()),
    }
}

/// The only constraints that a statement of ours can break are those of primary keys.
fn taken(error: sqlx::Error) -> Failure {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        return StoreError::Exists.into();
    }
    error.into()
}

fn stored(row: &PgRow) -> Result<StoredKey, Failure> {
    let tenant = match row.try_get::<Option<&[u8]>, _>(6)? {
        Some(id) => Some(TenantRow { id, version: row.try_get(7)?, record: row.try_get(8)? }),
        None => None,
    };
    Ok(sql::stored(&key_row(row)?, tenant.as_ref())?)
}

fn key(row: &PgRow) -> Result<KeyRecord, Failure> {
    Ok(key_row(row)?.decode()?)
}

fn key_row(row: &PgRow) -> Result<KeyRow<'_>, sqlx::Error> {
    Ok(KeyRow {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        created_at: row.try_get(2)?,
        version: row.try_get(3)?,
        record: row.try_get(4)?,
        last_used: row.try_get(5)?,
    })
}

/// The tenant whose columns begin at `first`.
fn tenant(row: &PgRow, first: usize) -> Result<TenantRecord, Failure> {
    let tenant = TenantRow {
        id: row.try_get(first)?,
        version: row.try_get(first + 1)?,
        record: row.try_get(first + 2)?,
    };
    Ok(tenant.decode()?)
}
