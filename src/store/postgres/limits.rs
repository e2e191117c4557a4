//! The used units of allowances in a [`PostgresStore`].

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use sqlx::Row as _;

use super::{
    Inner, PostgresStore,
    pool::Turn,
    run::{ON_PRIMARY, attempt},
    schema::Schema,
    statements::Statement,
};
use crate::{
    record::TenantId,
    store::{
        Leased, LimitStore, StoreError, UsedWindow,
        sql::{
            self,
            limits::{Place, column, number, start, used_window},
        },
    },
    tier::Window,
    time::Timestamp,
};

#[derive(Debug)]
pub(super) struct LimitStatements {
    lease: Statement,
    give_back: Statement,
    used: Statement,
    page: Statement,
    purge: Statement,
    delete: Statement,
}

impl LimitStatements {
    pub(super) fn new(schema: &Schema) -> Self {
        let table = format!("{}limits", schema.prefix());
        let place = "tenant = $1 AND ends_at = $2 AND period = $3";
        let int = |parameter: &str| format!("CAST({parameter} AS pg_catalog.int8)");
        let (want, limit) = (int("$4"), int("$5"));
        let granted = format!("GREATEST(LEAST({want}, ({limit} - l.used)), {})", int("0"));
        Self {
            // Counts in one statement, which locks the row. `granted` is what this lease has added, since the result of a
            // statement has no former values.
            lease: Statement::new(format!(
                "INSERT INTO {table} AS l (tenant, ends_at, period, used, granted) \
                 VALUES ($1, $2, $3, LEAST({want}, {limit}), LEAST({want}, {limit})) \
                 ON CONFLICT (tenant, ends_at, period) DO UPDATE SET \
                 used=l.used + {granted}, granted={granted} RETURNING granted, used"
            )),
            give_back: Statement::new(format!(
                "UPDATE {table} SET used=GREATEST((used - {want}), {}) WHERE {place}",
                int("0")
            )),
            used: Statement::new(format!(
                "SELECT w.at, l.used FROM unnest(CAST($2 AS pg_catalog.int8[]), \
                 CAST($3 AS pg_catalog.int8[])) WITH ORDINALITY AS w (ends_at, period, at) \
                 JOIN {table} l ON l.tenant = $1 AND l.ends_at = w.ends_at AND l.period = w.period \
                 WHERE {ON_PRIMARY}"
            )),
            page: Statement::new(format!(
                "SELECT l.tenant, l.ends_at, l.period, l.used FROM {table} l \
                 WHERE {ON_PRIMARY} AND (l.ends_at, l.tenant, l.period) > ($1, $2, $3) \
                 ORDER BY l.ends_at, l.tenant, l.period LIMIT $4"
            )),
            purge: Statement::new(format!(
                "DELETE FROM {table} l USING (SELECT o.tenant, o.ends_at, o.period FROM {table} o \
                 WHERE o.ends_at < $1 ORDER BY o.ends_at, o.tenant, o.period LIMIT $2 \
                 FOR UPDATE) e \
                 WHERE l.tenant = e.tenant AND l.ends_at = e.ends_at AND l.period = e.period"
            )),
            delete: Statement::new(format!("DELETE FROM {table} WHERE tenant = $1")),
        }
    }
}

impl LimitStore for PostgresStore {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let (tenant, Place { ends_at, period }) = (tenant.as_str().as_bytes(), Place::of(window));
        attempt!(Write in Turn::Row(tenant), *time_limit, pool, connection => {
            let lease = limits.lease.query(pool).bind(tenant).bind(ends_at).bind(period);
            let lease = lease.bind(column(want)).bind(column(limit));
            let row = lease.fetch_one(connection).await?;
            Ok(Leased { granted: number(row.try_get(0)?), used: number(row.try_get(1)?) })
        })
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let (tenant, Place { ends_at, period }) = (tenant.as_str().as_bytes(), Place::of(window));
        attempt!(Write in Turn::Row(tenant), *time_limit, pool, connection => {
            let give_back = limits.give_back.query(pool).bind(tenant).bind(ends_at).bind(period);
            give_back.bind(column(units)).execute(connection).await?;
            Ok(())
        })
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let places = || windows.iter().map(|window| Place::of(*window));
        let ends: Vec<i64> = places().map(|place| place.ends_at).collect();
        let periods: Vec<i64> = places().map(|place| place.period).collect();
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let select = limits.used.query(pool).bind(tenant.as_str().as_bytes());
            let rows = select.bind(&ends).bind(&periods).fetch_all(connection).await?;
            let mut used = alloc::vec![0; windows.len()];
            for row in rows {
                // The ordinals begin at 1.
                let at = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
                if let Some(used) = used.get_mut(at.wrapping_sub(1)) {
                    *used = number(row.try_get(1)?);
                }
            }
            Ok(used)
        })
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let mut purged = 0;
        loop {
            // Each portion has its own time limit.
            let portion = attempt!(Write in Turn::Any, *time_limit, pool, connection => {
                let purge = limits.purge.query(pool).bind(ended.as_millis() + 1);
                let purge = purge.bind(sql::limit(sql::PORTION));
                Ok(purge.execute(connection).await?.rows_affected())
            })?;
            purged += portion;
            if portion < sql::PORTION as u64 {
                return Ok(purged);
            }
        }
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let tenant = tenant.as_str().as_bytes();
        attempt!(Write in Turn::Row(tenant), *time_limit, pool, connection => {
            limits.delete.query(pool).bind(tenant).execute(connection).await?;
            Ok(())
        })
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        let Inner { pool, limits, time_limit, .. } = &*self.0;
        let (end, tenant, period) = start(ended, after);
        let limit = sql::limit(limit.get());
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let select = limits.page.query(pool).bind(end).bind(&tenant).bind(period);
            let mut windows = Vec::new();
            for row in select.bind(limit).fetch_all(connection).await? {
                let place = Place { ends_at: row.try_get(1)?, period: row.try_get(2)? };
                windows.push(used_window(row.try_get(0)?, place, row.try_get(3)?)?);
            }
            Ok(windows)
        })
    }
}
