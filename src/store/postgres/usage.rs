//! The usage in a [`PostgresStore`].

use alloc::{format, string::String, vec::Vec};
use core::num::NonZeroUsize;

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    Inner, PostgresStore,
    pool::{Pool, Turn},
    run::{Failure, ON_PRIMARY, attempt},
    schema::Schema,
    statements::Statement,
};
use crate::{
    record::TenantId,
    store::{
        StoreError, UsageStore,
        sql::{
            self,
            usage::{Place, Sums, UsageRows, counts, distinct, number, start, usage_row},
        },
    },
    token::KeyId,
    usage::{Counts, Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

/// Lets one write of usage at a time wait on the server. Requests do not wait for the usage, so it takes one connection
/// of those that revoke keys, and no more.
const TURN: Turn<'_> = Turn::Row(b"usage");

#[derive(Debug)]
pub(super) struct UsageStatements {
    advance: Statement,
    days: Table,
    months: Table,
    keys_by_day: Statement,
    keys_by_month: Statement,
    sums_by_day: Statement,
    sums_by_month: Statement,
    forget_nodes: Statement,
}

/// The statements that write to a table of usage.
#[derive(Debug)]
struct Table {
    add: Statement,
    raise: Statement,
    page: Statement,
    lock_before: Statement,
    lock_of_tenant: Statement,
    delete: Statement,
}

impl UsageStatements {
    pub(super) fn new(schema: &Schema) -> Self {
        let p = schema.prefix();
        let [days, months] = ["usage_days", "usage_months"].map(|table| format!("{p}{table}"));
        // Each is one statement, so that a roll-up between two reads hides or repeats no count.
        let keys = |tables: &[&String]| {
            let tables = || (0_u8..).zip(tables);
            let used: Vec<_> = tables().map(|(n, table)| used_days(n, table)).collect();
            let rows: Vec<_> = tables().map(|(n, table)| rows_of_keys(n, table)).collect();
            let (used, rows) = (used.join(", "), rows.join(" UNION ALL "));
            Statement::new(format!("WITH RECURSIVE {used} {rows}"))
        };
        Self {
            // Changes no row if the node has already added a flush with this number or a larger one. The lock on the
            // row lets a repeated flush wait for the first one.
            advance: Statement::new(format!(
                "INSERT INTO {p}usage_nodes AS n (node, number, day) VALUES ($1, $2, $3) \
                 ON CONFLICT (node) DO UPDATE SET number=excluded.number, day=excluded.day \
                 WHERE n.number < excluded.number"
            )),
            keys_by_day: keys(&[&days]),
            keys_by_month: keys(&[&days, &months]),
            sums_by_day: Statement::new(sums(&days)),
            sums_by_month: Statement::new(format!("{} UNION ALL {}", sums(&days), sums(&months))),
            forget_nodes: Statement::new(format!("DELETE FROM {p}usage_nodes WHERE day < $1")),
            days: Table::new(&days),
            months: Table::new(&months),
        }
    }
}

impl UsageStatements {
    fn table(&self, period: Period) -> &Table {
        match period {
            Period::Day => &self.days,
            Period::Month => &self.months,
        }
    }
}

impl Table {
    fn new(table: &str) -> Self {
        // `LEAST` leaves room for what is added. A sum that does not fit would be an error.
        let sum = |column: &str| {
            format!(
                "{column}=LEAST(u.{column}, (9223372036854775807 - excluded.{column})) \
                 + excluded.{column}"
            )
        };
        let most = |column: &str| format!("{column}=GREATEST(u.{column}, excluded.{column})");
        // With several arguments `unnest` is part of the grammar, and no name. It keeps the order of the rows.
        let insert = |counts: [String; 3]| {
            Statement::new(format!(
                "INSERT INTO {table} AS u (day, tenant, key_id, admitted, forbidden, limited) \
                 SELECT e.day, e.tenant, e.key_id, e.admitted, e.forbidden, e.limited \
                 FROM unnest(CAST($1 AS pg_catalog.int4[]), CAST($2 AS pg_catalog.bytea[]), \
                 CAST($3 AS pg_catalog.bytea[]), CAST($4 AS pg_catalog.int8[]), \
                 CAST($5 AS pg_catalog.int8[]), CAST($6 AS pg_catalog.int8[])) \
                 AS e (day, tenant, key_id, admitted, forbidden, limited) \
                 ON CONFLICT (tenant, day, key_id) DO UPDATE SET {}",
                counts.join(", ")
            ))
        };
        let outcomes = ["admitted", "forbidden", "limited"];
        let locked = |condition: &str| {
            Statement::new(format!(
                "SELECT u.day, u.tenant, u.key_id, u.admitted, u.forbidden, u.limited \
                 FROM {table} u WHERE {condition} $1 \
                 ORDER BY u.day, u.tenant, u.key_id LIMIT $2 FOR UPDATE"
            ))
        };
        Self {
            add: insert(outcomes.map(sum)),
            raise: insert(outcomes.map(most)),
            page: Statement::new(format!(
                "SELECT u.day, u.tenant, u.key_id, u.admitted, u.forbidden, u.limited \
                 FROM {table} u WHERE {ON_PRIMARY} AND (u.tenant, u.day, u.key_id) > ($1, $2, $3) \
                 ORDER BY u.tenant, u.day, u.key_id LIMIT $4"
            )),
            lock_before: locked("u.day <"),
            lock_of_tenant: locked("u.tenant ="),
            delete: Statement::new(format!(
                "DELETE FROM {table} u \
                 USING unnest(CAST($1 AS pg_catalog.int4[]), CAST($2 AS pg_catalog.bytea[]), \
                 CAST($3 AS pg_catalog.bytea[])) AS e (day, tenant, key_id) \
                 WHERE u.tenant = e.tenant AND u.day = e.day AND u.key_id = e.key_id"
            )),
        }
    }
}

/// Returns the common table of the days after `$2` and before `$3` on which any key of the tenant `$1` was used. Each
/// day is one search in the primary key, however many keys the tenant has.
fn used_days(n: u8, table: &str) -> String {
    let next = |after: &str| {
        format!(
            "(SELECT u.day FROM {table} u WHERE u.tenant = $1 AND u.day > {after} AND u.day < $3 \
             ORDER BY u.day LIMIT 1)"
        )
    };
    let (first, further) = (next("$2"), next(&format!("d{n}.day")));
    format!(
        "d{n} (day) AS (SELECT {first} UNION ALL \
         SELECT {further} FROM d{n} WHERE d{n}.day IS NOT NULL)"
    )
}

/// Returns the statement for the rows of the keys `$4` on these days. `LATERAL` finds each by the primary key. With a
/// plain join, the planner reads all keys of the tenant.
fn rows_of_keys(n: u8, table: &str) -> String {
    format!(
        "SELECT d{n}.day, k.id, u.admitted, u.forbidden, u.limited FROM d{n} \
         CROSS JOIN pg_catalog.unnest(CAST($4 AS pg_catalog.bytea[])) AS k (id) \
         JOIN LATERAL (SELECT u.admitted, u.forbidden, u.limited FROM {table} u \
         WHERE u.tenant = $1 AND u.day = d{n}.day AND u.key_id = k.id LIMIT 1) u ON TRUE \
         WHERE {ON_PRIMARY}"
    )
}

/// Returns the statement for the sums of the tenant `$1` on each day after `$2` and before `$3`.
fn sums(table: &str) -> String {
    let sum = |column: &str| {
        format!(
            "CAST(LEAST(GREATEST(pg_catalog.sum(u.{column}), CAST(0 AS pg_catalog.numeric)), \
             CAST(9223372036854775807 AS pg_catalog.numeric)) AS pg_catalog.int8)"
        )
    };
    let sums = ["admitted", "forbidden", "limited"].map(sum).join(", ");
    format!(
        "SELECT u.day, {sums} FROM {table} u WHERE {ON_PRIMARY} AND u.tenant = $1 \
         AND u.day > $2 AND u.day < $3 GROUP BY u.day"
    )
}

/// Rows as the arrays that a statement takes.
struct Columns<'r> {
    days: Vec<i32>,
    tenants: Vec<&'r [u8]>,
    keys: Vec<&'r [u8]>,
    counts: [Vec<i64>; 3],
}

impl<'r> Columns<'r> {
    fn of(rows: &'r UsageRows) -> Self {
        let mut columns = Self {
            days: Vec::with_capacity(rows.len()),
            tenants: Vec::with_capacity(rows.len()),
            keys: Vec::with_capacity(rows.len()),
            counts: [(); 3].map(|()| Vec::with_capacity(rows.len())),
        };
        for (Place { day, tenant, key }, counts) in rows.iter() {
            columns.days.push(*day);
            columns.tenants.push(tenant);
            columns.keys.push(key);
            for (column, count) in columns.counts.iter_mut().zip(counts) {
                column.push(count);
            }
        }
        columns
    }
}

impl UsageStore for PostgresStore {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let node = flush.node.to_be_bytes();
        let rows = UsageRows::of(&flush.rows);
        attempt!(Transaction in TURN, *time_limit, pool, connection => {
            let advanced = usage.advance.query(pool)
                .bind(&node[..])
                .bind(number(flush))
                .bind(flush.day.number())
                .execute(&mut *connection);
            if advanced.await?.rows_affected() == 0 {
                return Ok(());
            }
            write(connection, pool, &usage.days.add, &rows).await
        })
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let select = match span.period {
            Period::Day => &usage.keys_by_day,
            Period::Month => &usage.keys_by_month,
        };
        let ids = super::id_bytes(&distinct(keys));
        let (after, before) = around(span);
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let mut rows = select.query(pool)
                .bind(tenant.as_str().as_bytes())
                .bind(after)
                .bind(before)
                .bind(&ids)
                .fetch(connection);
            let mut sums = Sums::new(span.period);
            while let Some(row) = rows.try_next().await? {
                let id: &[u8] = row.try_get(1)?;
                if let Some(key) = id.try_into().ok().and_then(KeyId::from_bytes) {
                    sums.add(row.try_get(0)?, key, counts_from(&row, 2)?);
                }
            }
            let row = |(day, key, counts)| KeyUsage { tenant: tenant.clone(), key, day, counts };
            Ok(sums.into_rows().map(row).collect())
        })
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let select = match span.period {
            Period::Day => &usage.sums_by_day,
            Period::Month => &usage.sums_by_month,
        };
        let (after, before) = around(span);
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let mut rows = select.query(pool)
                .bind(tenant.as_str().as_bytes())
                .bind(after)
                .bind(before)
                .fetch(connection);
            let mut sums = Sums::new(span.period);
            while let Some(row) = rows.try_next().await? {
                sums.add(row.try_get(0)?, (), counts_from(&row, 1)?);
            }
            Ok(sums.into_rows().map(|(day, (), counts)| DayUsage { day, counts }).collect())
        })
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let mut deleted = 0;
        loop {
            // Each portion has its own time limit. Portions that were already rolled up stay so.
            let rolled = attempt!(Transaction in TURN, *time_limit, pool, connection => {
                let before = usage.days.lock_before.query(pool).bind(days.number());
                let before = before.bind(sql::limit(sql::PORTION)).fetch_all(&mut *connection);
                let rows = take(&before.await?, connection, pool, &usage.days).await?;
                write(connection, pool, &usage.months.add, &rows.to_months()).await?;
                Ok(rows.len())
            })?;
            deleted += rolled as u64;
            if rolled < sql::PORTION {
                break;
            }
        }
        loop {
            let forgotten = attempt!(Transaction in TURN, *time_limit, pool, connection => {
                let before = usage.months.lock_before.query(pool).bind(months.number());
                let before = before.bind(sql::limit(sql::PORTION)).fetch_all(&mut *connection);
                Ok(take(&before.await?, connection, pool, &usage.months).await?.len())
            })?;
            deleted += forgotten as u64;
            if forgotten < sql::PORTION {
                break;
            }
        }
        attempt!(Write in TURN, *time_limit, pool, connection => {
            let forget = usage.forget_nodes.query(pool).bind(days.number());
            forget.execute(connection).await?;
            Ok(deleted)
        })
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        // Days come first. A roll-up may make months of them until they are gone.
        for table in [&usage.days, &usage.months] {
            loop {
                let deleted = attempt!(Transaction in TURN, *time_limit, pool, connection => {
                    let all = table.lock_of_tenant.query(pool).bind(tenant.as_str().as_bytes());
                    let all = all.bind(sql::limit(sql::PORTION)).fetch_all(&mut *connection);
                    Ok(take(&all.await?, connection, pool, table).await?.len())
                })?;
                if deleted < sql::PORTION {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let (tenant, day, key) = start(after);
        let limit = sql::limit(limit.get());
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let select = usage.table(period).page.query(pool).bind(&tenant).bind(day).bind(&key);
            let rows = select.bind(limit).fetch_all(connection).await?;
            let row = |row| Ok(usage_row(&place(row)?, counts_from(row, 3)?)?);
            rows.iter().map(row).collect()
        })
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        let Inner { pool, usage, time_limit, .. } = &*self.0;
        let rows = UsageRows::of(rows);
        attempt!(Write in TURN, *time_limit, pool, connection => {
            write(connection, pool, &usage.table(period).raise, &rows).await
        })
    }
}

/// Runs a statement with all of the rows.
async fn write(
    connection: &mut PgConnection,
    pool: &Pool,
    statement: &Statement,
    rows: &UsageRows,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let Columns { days, tenants, keys, counts: [admitted, forbidden, limited] } = Columns::of(rows);
    let insert = statement.query(pool).bind(&days).bind(&tenants).bind(&keys);
    let insert = insert.bind(&admitted).bind(&forbidden).bind(&limited);
    insert.execute(connection).await?;
    Ok(())
}

/// Deletes rows that this transaction has locked, and returns them.
async fn take(
    locked: &[PgRow],
    connection: &mut PgConnection,
    pool: &Pool,
    table: &Table,
) -> Result<UsageRows, Failure> {
    let mut rows = UsageRows::default();
    for row in locked {
        rows.add(place(row)?, counts_from(row, 3)?);
    }
    if rows.is_empty() {
        return Ok(rows);
    }
    let Columns { days, tenants, keys, .. } = Columns::of(&rows);
    let delete = table.delete.query(pool).bind(&days).bind(&tenants).bind(&keys);
    // A row that another program's trigger keeps would be counted again by the next roll-up.
    if delete.execute(connection).await?.rows_affected() != rows.len() as u64 {
        return Err(StoreError::unavailable("a row of the usage cannot be deleted").into());
    }
    Ok(rows)
}

fn place(row: &PgRow) -> Result<Place, sqlx::Error> {
    Ok(Place { day: row.try_get(0)?, tenant: row.try_get(1)?, key: row.try_get(2)? })
}

/// Returns the days before and after a span. [`Statement`] qualifies only the operators that exclude a bound.
fn around(span: Span) -> (i32, i32) {
    (span.from.number() - 1, span.to.number() + 1)
}

/// Returns the counts whose columns begin at `first`.
fn counts_from(row: &PgRow, first: usize) -> Result<Counts, sqlx::Error> {
    Ok(counts([row.try_get(first)?, row.try_get(first + 1)?, row.try_get(first + 2)?]))
}
