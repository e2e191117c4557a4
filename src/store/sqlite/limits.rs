//! The used units of allowances in a [`SqliteStore`].

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{
    SqliteStore,
    statements::{execute, for_each, unavailable, value},
};
use crate::{
    record::TenantId,
    store::{
        Leased, LimitStore, StoreError, UsedWindow,
        sql::{
            self,
            limits::{Place, column, number, start, used_window},
            usage::blob,
        },
    },
    tier::Window,
    time::Timestamp,
};

/// Counts in one statement. `granted` is what this lease has added, since the result of a statement has no former values.
const LEASE: &str = "INSERT INTO keyway_limits AS l (tenant, ends_at, period, used, granted) \
     VALUES (?1, ?2, ?3, min(?4, ?5), min(?4, ?5)) ON CONFLICT (tenant, ends_at, period) DO UPDATE SET \
     used = l.used + max(min(?4, ?5 - l.used), 0), granted = max(min(?4, ?5 - l.used), 0) \
     RETURNING granted, used";

const RETURN: &str = "UPDATE keyway_limits SET used = max(used - ?4, 0) \
     WHERE tenant = ?1 AND ends_at = ?2 AND period = ?3";

const USED: &str =
    "SELECT used FROM keyway_limits WHERE tenant = ?1 AND ends_at = ?2 AND period = ?3";

const PURGE: &str = "DELETE FROM keyway_limits WHERE (tenant, ends_at, period) IN \
     (SELECT tenant, ends_at, period FROM keyway_limits WHERE ends_at <= ?1 \
     ORDER BY ends_at, tenant, period LIMIT ?2)";

const PAGE: &str = "SELECT tenant, ends_at, period, used FROM keyway_limits \
     WHERE (ends_at, tenant, period) > (?1, ?2, ?3) ORDER BY ends_at, tenant, period LIMIT ?4";

const DELETE: &str = "DELETE FROM keyway_limits WHERE tenant = ?1";

impl LimitStore for SqliteStore {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        let Place { ends_at, period } = Place::of(window);
        let arguments = (blob(tenant), ends_at, period, column(want), column(limit));
        self.write(move |transaction, _| {
            let mut lease = transaction.prepare_cached(LEASE).map_err(unavailable)?;
            let leased = lease.query_row(arguments, |row| {
                Ok(Leased { granted: number(row.get(0)?), used: number(row.get(1)?) })
            });
            leased.map_err(unavailable)
        })
        .await
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        let Place { ends_at, period } = Place::of(window);
        let arguments = (blob(tenant), ends_at, period, column(units));
        self.write(move |transaction, _| execute(transaction, RETURN, arguments).map(drop)).await
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        let (tenant, windows) = (blob(tenant), windows.to_vec());
        self.read(move |connection, _| {
            let used = |window: &Window| {
                let Place { ends_at, period } = Place::of(*window);
                let used = value(connection, USED, (&tenant, ends_at, period))?;
                Ok(used.map_or(0, number))
            };
            windows.iter().map(used).collect()
        })
        .await
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        let arguments = (ended.as_millis(), sql::limit(sql::PORTION));
        self.in_portions(move |transaction| execute(transaction, PURGE, arguments)).await
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let tenant = blob(tenant);
        self.write(move |transaction, _| execute(transaction, DELETE, [tenant]).map(drop)).await
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        let (end, tenant, period) = start(ended, after);
        let arguments = (end, tenant, period, sql::limit(limit.get()));
        self.read(move |connection, _| {
            let mut windows = Vec::new();
            for_each(connection, PAGE, arguments, |row| {
                let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                let columns: rusqlite::Result<(Vec<u8>, _, _, _)> = read();
                let (tenant, ends_at, period, used) = columns.map_err(unavailable)?;
                windows.push(used_window(&tenant, Place { ends_at, period }, used)?);
                Ok(true)
            })?;
            Ok(windows)
        })
        .await
    }
}
