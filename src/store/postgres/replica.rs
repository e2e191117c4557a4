//! Reading from a replica.

use alloc::{format, sync::Arc};
use core::time::Duration;

use sqlx::{PgPool, Row};

use super::{Inner, PostgresStore, run::attempt, stored};
use crate::{
    store::{KeyLookup, StoreError, StoredKey},
    token::KeyId,
};

/// Looks keys up in a replica, made by [`PostgresStore::replica`].
///
/// Give it to [`KeyringBuilder::replica`](crate::keyring::KeyringBuilder::replica) beside the store, or
/// to a [verifier](crate::verifier::VerifierBuilder::lookup) that does not write. What a replica says
/// is up to its lag old, so the staleness bound grows by `max_lag`.
#[derive(Clone, Debug)]
pub struct PostgresReplica {
    primary: Arc<Inner>,
    pool: PgPool,
    max_lag: Duration,
}

impl PostgresReplica {
    pub(super) fn new(store: &PostgresStore, pool: PgPool, max_lag: Duration) -> Self {
        Self { primary: Arc::clone(&store.0), pool, max_lag }
    }
}

impl KeyLookup for PostgresReplica {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let Inner { statements, time_limit, .. } = &*self.primary;
        attempt!(Read, *time_limit, &self.pool, connection => {
            let row = sqlx::query(&statements.replica_lookup).bind(&id.as_bytes()[..]);
            let row = row.fetch_one(connection).await?;
            let lag: i64 = row.try_get(9)?;
            if u128::try_from(lag).is_ok_and(|lag| lag > self.max_lag.as_millis()) {
                return Err(StoreError::unavailable(format!("the replica is {lag} ms behind")).into());
            }
            let is_known = row.try_get::<Option<&[u8]>, _>(0)?.is_some();
            is_known.then(|| stored(&row)).transpose()
        })
    }
}
