//! The usage in a [`SqliteStore`].

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{
    SqliteStore,
    statements::{for_each, unavailable, value},
};
use crate::{
    record::TenantId,
    store::{
        StoreError, UsageStore,
        sql::{
            self,
            usage::{Place, Sums, UsageRows, blob, counts, distinct, number, start, usage_row},
        },
    },
    token::KeyId,
    usage::{Counts, Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

/// The statements for a table of usage.
struct Table {
    add: &'static str,
    raise: &'static str,
    /// Finds the rows of all tenants after one of them.
    page: &'static str,
    /// Finds the first day in a span on which any key of a tenant was used.
    next_day: &'static str,
    of_key: &'static str,
    before: &'static str,
    of_tenant: &'static str,
    delete: &'static str,
}

macro_rules! table {
    ($name:literal) => {
        Table {
            // `min` leaves room for what is added. A sum that does not fit would become a floating-point number.
            add: concat!(
                "INSERT INTO ",
                $name,
                " AS u (tenant, day, key_id, admitted, forbidden, limited) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (tenant, day, key_id) DO UPDATE SET \
                 admitted = min(u.admitted, 9223372036854775807 - excluded.admitted) + excluded.admitted, \
                 forbidden = min(u.forbidden, 9223372036854775807 - excluded.forbidden) + excluded.forbidden, \
                 limited = min(u.limited, 9223372036854775807 - excluded.limited) + excluded.limited"
            ),
            raise: concat!(
                "INSERT INTO ",
                $name,
                " AS u (tenant, day, key_id, admitted, forbidden, limited) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (tenant, day, key_id) DO UPDATE SET \
                 admitted = max(u.admitted, excluded.admitted), \
                 forbidden = max(u.forbidden, excluded.forbidden), \
                 limited = max(u.limited, excluded.limited)"
            ),
            page: concat!(
                "SELECT day, tenant, key_id, admitted, forbidden, limited FROM ",
                $name,
                " WHERE (tenant, day, key_id) > (?1, ?2, ?3) ORDER BY tenant, day, key_id LIMIT ?4"
            ),
            next_day: concat!(
                "SELECT day FROM ",
                $name,
                " WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day LIMIT 1"
            ),
            of_key: concat!(
                "SELECT admitted, forbidden, limited FROM ",
                $name,
                " WHERE tenant = ?1 AND day = ?2 AND key_id = ?3"
            ),
            before: concat!(
                "SELECT day, tenant, key_id, admitted, forbidden, limited FROM ",
                $name,
                " WHERE day < ?1 ORDER BY day, tenant, key_id LIMIT ?2"
            ),
            of_tenant: concat!(
                "SELECT day, tenant, key_id, admitted, forbidden, limited FROM ",
                $name,
                " WHERE tenant = ?1 ORDER BY day, key_id LIMIT ?2"
            ),
            delete: concat!(
                "DELETE FROM ",
                $name,
                " WHERE day = ?1 AND tenant = ?2 AND key_id = ?3"
            ),
        }
    };
}

const DAYS: Table = table!("keyway_usage_days");
const MONTHS: Table = table!("keyway_usage_months");

/// The columns of a sum. The upper and the lower 32 bits are summed apart, because `sum` fails where a sum does not
/// fit.
macro_rules! sums {
    ($table:literal) => {
        concat!(
            "SELECT day, sum(admitted >> 32), sum(admitted & 4294967295), \
             sum(forbidden >> 32), sum(forbidden & 4294967295), \
             sum(limited >> 32), sum(limited & 4294967295) FROM ",
            $table,
            " WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 GROUP BY day"
        )
    };
}

fn table(period: Period) -> &'static Table {
    match period {
        Period::Day => &DAYS,
        Period::Month => &MONTHS,
    }
}

const SUMS_OF_DAYS: &str = sums!("keyway_usage_days");

/// One statement, so that a roll-up between two reads hides or repeats no count.
const SUMS_OF_MONTHS: &str =
    concat!(sums!("keyway_usage_days"), " UNION ALL ", sums!("keyway_usage_months"));

/// Changes no row if the node has already added a flush with this number or a larger one.
const ADVANCE: &str = "INSERT INTO keyway_usage_nodes AS n (node, number, day) VALUES (?1, ?2, ?3) \
     ON CONFLICT (node) DO UPDATE SET number = excluded.number, day = excluded.day \
     WHERE n.number < excluded.number";

const FORGET_NODES: &str = "DELETE FROM keyway_usage_nodes WHERE day < ?1";

impl UsageStore for SqliteStore {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        let node = (flush.node.to_be_bytes(), number(flush), flush.day.number());
        let rows = UsageRows::of(&flush.rows);
        self.write(move |transaction, _| {
            if change(transaction, ADVANCE, node)? == 0 {
                return Ok(());
            }
            write(transaction, DAYS.add, &rows)
        })
        .await
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let (id, keys) = (blob(tenant), distinct(keys));
        let sums = self.read(move |connection, _| sums_of_keys(connection, &id, &keys, span));
        let row = |(day, key, counts)| KeyUsage { tenant: tenant.clone(), key, day, counts };
        Ok(sums.await?.into_rows().map(row).collect())
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        let arguments = (blob(tenant), span.from.number(), span.to.number());
        let select = match span.period {
            Period::Day => SUMS_OF_DAYS,
            Period::Month => SUMS_OF_MONTHS,
        };
        self.read(move |connection, _| {
            let mut sums = Sums::new(span.period);
            for_each(connection, select, arguments, |row| {
                sums.add(row.get(0).map_err(unavailable)?, (), sum(row).map_err(unavailable)?);
                Ok(true)
            })?;
            Ok(sums.into_rows().map(|(day, (), counts)| DayUsage { day, counts }).collect())
        })
        .await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        let rolled = self
            .in_portions(move |transaction| {
                let before = (days.number(), sql::limit(sql::PORTION));
                let rows = take(transaction, &DAYS, DAYS.before, before)?;
                write(transaction, MONTHS.add, &rows.to_months())?;
                Ok(rows.len())
            })
            .await?;
        let forgotten = self
            .in_portions(move |transaction| {
                let before = (months.number(), sql::limit(sql::PORTION));
                Ok(take(transaction, &MONTHS, MONTHS.before, before)?.len())
            })
            .await?;
        self.write(move |transaction, _| change(transaction, FORGET_NODES, [days.number()]))
            .await?;
        Ok(rolled + forgotten)
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        // Days come first. A roll-up may make months of them until they are gone.
        for table in [&DAYS, &MONTHS] {
            let id = blob(tenant);
            self.in_portions(move |transaction| {
                let all = (&id, sql::limit(sql::PORTION));
                Ok(take(transaction, table, table.of_tenant, all)?.len())
            })
            .await?;
        }
        Ok(())
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let (tenant, day, key) = start(after);
        let arguments = (tenant, day, key, sql::limit(limit.get()));
        self.read(move |connection, _| {
            let mut rows = Vec::new();
            for_each(connection, table(period).page, arguments, |row| {
                let counts = counts_from(row, 3).map_err(unavailable)?;
                rows.push(usage_row(&place(row).map_err(unavailable)?, counts)?);
                Ok(true)
            })?;
            Ok(rows)
        })
        .await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        let rows = UsageRows::of(rows);
        self.write(move |transaction, _| write(transaction, table(period).raise, &rows)).await
    }
}

impl SqliteStore {
    /// Runs `take` in transactions of their own until one of them takes less than a portion. Returns how many rows they
    /// took. Other writes run between two portions.
    pub(super) async fn in_portions(
        &self,
        take: impl Fn(&Transaction<'_>) -> Result<usize, StoreError> + Clone + Send + 'static,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let take = take.clone();
            let taken = self.write(move |transaction, _| take(transaction)).await?;
            all += taken as u64;
            if taken < sql::PORTION {
                return Ok(all);
            }
        }
    }
}

/// Runs a statement, and returns the number of rows that it changed.
fn change(
    connection: &Connection,
    statement: &str,
    arguments: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(statement).map_err(unavailable)?;
    statement.execute(arguments).map_err(unavailable)
}

/// Runs a statement with each of the rows.
fn write(connection: &Connection, statement: &str, rows: &UsageRows) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(statement).map_err(unavailable)?;
    for (Place { day, tenant, key }, [admitted, forbidden, limited]) in rows.iter() {
        let row = (tenant, day, key, admitted, forbidden, limited);
        statement.execute(row).map_err(unavailable)?;
    }
    Ok(())
}

/// Deletes the rows that `select` finds, and returns them.
fn take(
    transaction: &Transaction<'_>,
    table: &Table,
    select: &str,
    arguments: impl rusqlite::Params,
) -> Result<UsageRows, StoreError> {
    let mut rows = UsageRows::default();
    for_each(transaction, select, arguments, |row| {
        rows.add(place(row).map_err(unavailable)?, counts_from(row, 3).map_err(unavailable)?);
        Ok(true)
    })?;
    let mut statement = transaction.prepare_cached(table.delete).map_err(unavailable)?;
    for (Place { day, tenant, key }, _) in rows.iter() {
        // A row that another program's trigger keeps would be counted again by the next roll-up.
        if statement.execute((day, tenant, key)).map_err(unavailable)? != 1 {
            return Err(StoreError::unavailable("a row of the usage cannot be deleted"));
        }
    }
    Ok(rows)
}

/// Reads keys of a tenant by the primary key, for each day on which any key of the tenant was used. A tenant may have
/// many more keys than those.
fn sums_of_keys(
    connection: &Connection,
    tenant: &[u8],
    keys: &[KeyId],
    span: Span,
) -> Result<Sums<KeyId>, StoreError> {
    // One snapshot, so that a roll-up between two reads hides or repeats no count.
    let snapshot = connection.unchecked_transaction().map_err(unavailable)?;
    let tables: &[&Table] = match span.period {
        Period::Day => &[&DAYS],
        Period::Month => &[&DAYS, &MONTHS],
    };
    let mut sums = Sums::new(span.period);
    for table in tables {
        let mut of_key = snapshot.prepare_cached(table.of_key).map_err(unavailable)?;
        let (mut from, to) = (i64::from(span.from.number()), span.to.number());
        while let Some(day) = value(&snapshot, table.next_day, (tenant, from, to))? {
            for key in keys {
                let row =
                    of_key.query_row((tenant, day, key.as_bytes()), |row| counts_from(row, 0));
                if let Some(counts) = row.optional().map_err(unavailable)? {
                    // The day is within the span.
                    sums.add(i32::try_from(day).unwrap_or(i32::MAX), *key, counts);
                }
            }
            from = day + 1;
        }
    }
    Ok(sums)
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { day: row.get(0)?, tenant: row.get(1)?, key: row.get(2)? })
}

/// Returns the counts whose columns begin at `first`.
fn counts_from(row: &Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    Ok(counts([row.get(first)?, row.get(first + 1)?, row.get(first + 2)?]))
}

/// Returns the counts whose halves follow the day.
fn sum(row: &Row<'_>) -> rusqlite::Result<Counts> {
    let sum = |upper: usize| {
        let (upper, lower): (i64, i64) = (row.get(upper)?, row.get(upper + 1)?);
        let sum = (i128::from(upper) << 32) + i128::from(lower);
        Ok::<_, rusqlite::Error>(u64::try_from(sum.max(0)).unwrap_or(u64::MAX))
    };
    Ok(Counts { admitted: sum(1)?, forbidden: sum(3)?, limited: sum(5)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement without an index would read ten million rows.
    #[test]
    fn every_statement_searches_by_an_index() {
        pollster::block_on(async {
            let store = SqliteStore::in_memory().await.unwrap();
            for table in [&DAYS, &MONTHS] {
                for (statement, parameters) in [
                    (table.page, 4),
                    (table.next_day, 3),
                    (table.of_key, 3),
                    (table.before, 2),
                    (table.of_tenant, 2),
                    (table.delete, 3),
                ] {
                    let plan = plan(&store, statement, parameters).await;
                    assert!(is_indexed(&plan), "{statement}: {plan:?}");
                }
            }
            for statement in [SUMS_OF_DAYS, SUMS_OF_MONTHS] {
                let plan = plan(&store, statement, 3).await;
                assert!(is_indexed(&plan), "{statement}: {plan:?}");
            }
            // The controls: a table that is read as a whole, and rows that are sorted.
            let scan = "SELECT 1 FROM keyway_usage_days WHERE admitted = ?1";
            assert!(!is_indexed(&plan(&store, scan, 1).await));
            let sort = "SELECT 1 FROM keyway_usage_days WHERE day < ?1 ORDER BY day, admitted";
            assert!(!is_indexed(&plan(&store, sort, 1).await));
        });
    }

    async fn plan(
        store: &SqliteStore,
        statement: &str,
        parameters: usize,
    ) -> Vec<alloc::string::String> {
        let explained = alloc::format!("EXPLAIN QUERY PLAN {statement}");
        let plan = store.read(move |connection, _| {
            let mut steps = Vec::new();
            let arguments = rusqlite::params_from_iter(alloc::vec![0; parameters]);
            for_each(connection, &explained, arguments, |row| {
                steps.push(row.get(3).map_err(unavailable)?);
                Ok(true)
            })?;
            Ok(steps)
        });
        plan.await.unwrap()
    }

    fn is_indexed(plan: &[alloc::string::String]) -> bool {
        let is_slow =
            |step: &alloc::string::String| step.contains("SCAN") || step.contains("TEMP B-TREE");
        !plan.iter().any(is_slow) && plan.iter().any(|step| step.starts_with("SEARCH"))
    }
}
