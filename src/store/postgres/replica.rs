//! Lookups in a replica.

use alloc::{format, sync::Arc, vec::Vec};
use core::time::Duration;

use sqlx::{PgPool, Row};

use super::{Inner, PostgresStore, detach, id_bytes, lookups, pool::Pool, run::attempt, stored};
use crate::{
    store::{KeyLookup, Lookups, StoreError, StoredKey, Work, sql},
    token::KeyId,
};

/// Looks keys up in a replica. Created by [`PostgresStore::replica`].
///
/// Pass it to [`KeyringBuilder::replica`](crate::keyring::KeyringBuilder::replica) together with the store,
/// or to a [verifier](crate::verifier::VerifierBuilder::lookup) that does not write. A key that is read from
/// a replica counts as old as the lag may be, so the staleness bound holds.
#[derive(Clone, Debug)]
pub struct PostgresReplica {
    primary: Arc<Inner>,
    pool: Arc<Pool>,
    max_lag: Duration,
}

impl PostgresReplica {
    pub(super) fn new(store: &PostgresStore, pool: PgPool, max_lag: Duration) -> Self {
        let pool = Arc::new(store.0.pool.beside(pool, None));
        Self { primary: Arc::clone(&store.0), pool, max_lag }
    }

    /// Sends every lookup as its own transaction, for a pool behind a pooler in transaction mode. If the
    /// store itself [does so](super::PostgresBuilder::transaction_pooling), the replica does as well.
    #[must_use]
    pub fn transaction_pooling(mut self) -> Self {
        let limit = Some(self.primary.time_limit);
        self.pool = Arc::new(self.primary.pool.beside(self.pool.inner().clone(), limit));
        self
    }

    /// Succeeds if a beat that is `lag` milliseconds old is neither too old nor too far in the future.
    fn check(&self, lag: i64) -> Result<(), StoreError> {
        let max_lag = i64::try_from(self.max_lag.as_millis()).unwrap_or(i64::MAX);
        if lag > max_lag {
            return Err(StoreError::unavailable(format!("the replica is {lag} ms behind")));
        }
        // A beat from the future measures nothing: the replica may be behind by any amount.
        if lag < -MAX_SKEW {
            return Err(StoreError::unavailable(format!(
                "the primary's clock was {} ms ahead of the replica's, so its lag is unknown",
                lag.unsigned_abs()
            )));
        }
        Ok(())
    }
}

/// The column of a lookup with the lag of the replica. It follows those of the key and of its tenant.
const LAG: usize = sql::KEY_COLUMNS + sql::TENANT_COLUMNS;

/// The maximum difference between the clocks of primary and replica, in milliseconds. The lag may exceed the
/// measured lag by this amount.
pub(super) const MAX_SKEW: i64 = 500;

fn unknown_lag() -> StoreError {
    StoreError::unavailable("the replica has no time of the primary, so its lag is unknown")
}

impl KeyLookup for PostgresReplica {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let Inner { statements, time_limit, .. } = &*self.primary;
        attempt!(Read, *time_limit, &self.pool, connection => {
            let row = statements.replica_lookup.query(&self.pool).bind(&id.as_bytes()[..]);
            let row = row.fetch_optional(connection).await?.ok_or_else(unknown_lag)?;
            self.check(row.try_get(LAG)?)?;
            let is_known = row.try_get::<Option<&[u8]>, _>(0)?.is_some();
            if is_known { stored(&row) } else { Ok(None) }
        })
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        let Inner { statements, time_limit, .. } = &*self.primary;
        attempt!(Read, *time_limit, &self.pool, connection => {
            let rows = statements.replica_lookup_many.query(&self.pool).bind(id_bytes(ids));
            let mut rows = rows.fetch_all(connection).await?;
            let first = rows.first().ok_or_else(unknown_lag)?;
            self.check(first.try_get(LAG)?)?;
            if first.try_get::<Option<&[u8]>, _>(0)?.is_none() {
                rows.clear();
            }
            lookups(ids, &rows)
        })
    }

    fn detach(&self, work: Work) -> Option<Work> {
        detach(work)
    }

    /// Returns the greatest lag that is not noticed: that which was given, and the difference of the clocks.
    fn max_lag(&self) -> Duration {
        self.max_lag + Duration::from_millis(MAX_SKEW.unsigned_abs())
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Inner { statements, time_limit, .. } = &*self.primary;
        attempt!(Read, *time_limit, &self.pool, connection => {
            let marker = statements.replica_marker.query(&self.pool).fetch_optional(connection).await?;
            Ok(marker.map(|row| row.try_get(0)).transpose()?)
        })
    }
}
