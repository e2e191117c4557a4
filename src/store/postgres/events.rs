//! The events in a [`PostgresStore`].

use alloc::{format, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    Inner, PostgresStore,
    pool::{Pool, Turn},
    run::{Failure, Kind, ON_PRIMARY, attempt},
    schema::Schema,
    statements::Statement,
};
use crate::{
    event::{Event, EventClaim, StoredEvent},
    record::TenantId,
    store::{
        EventStore, StoreError,
        events::by_sequence,
        sql::{
            self,
            events::{
                Columns, EventRow, SEQUENCES, columns, kept, last_earlier, sequence_id, signed,
                tenant_of, unsigned,
            },
        },
    },
    time::Timestamp,
    token::KeyId,
};

#[derive(Debug)]
pub(super) struct EventStatements {
    add: Statement,
    claim: Statement,
    after: Statement,
    skip: Statement,
    settle: Statement,
    newest: Statement,
    newest_of_key: Statement,
    old_sequences: Statement,
    lock: Statement,
    oldest: Statement,
    delete: Statement,
    pass: Statement,
    undelivered: Statement,
}

impl EventStatements {
    pub(super) fn new(schema: &Schema) -> Self {
        let p = schema.prefix();
        let select = |condition: &str| {
            Statement::new(format!(
                "SELECT {} FROM {p}events e WHERE {ON_PRIMARY} AND e.tenant = $1 AND {condition}",
                columns!()
            ))
        };
        Self {
            // The row of the sequence is locked until the transaction ends, so its numbers are in the order of the commits.
            // With several arguments `unnest` is part of the grammar, and no name.
            add: Statement::new(format!(
                "WITH advanced AS (INSERT INTO {p}event_sequences AS s \
                 (tenant, last, delivered, claim, claimable) \
                 VALUES ($1, $2, 0, 0, {}) ON CONFLICT (tenant) \
                 DO UPDATE SET last=s.last + excluded.last RETURNING last) \
                 INSERT INTO {p}events (tenant, number, id, at, actor, key_id, kind, detail) \
                 SELECT $1, ((SELECT last FROM advanced) - $2) + e.place, \
                 e.id, e.at, e.actor, e.key_id, e.kind, e.detail \
                 FROM unnest(CAST($3 AS pg_catalog.bytea[]), CAST($4 AS pg_catalog.int8[]), \
                 CAST($5 AS pg_catalog.bytea[]), CAST($6 AS pg_catalog.bytea[]), \
                 CAST($7 AS pg_catalog.bytea[]), CAST($8 AS pg_catalog.bytea[])) \
                 WITH ORDINALITY AS e (id, at, actor, key_id, kind, detail, place)",
                Timestamp::MIN.as_millis()
            )),
            // Another node's claim that is under way is skipped, so that nodes do not wait for each other.
            claim: Statement::new(format!(
                "UPDATE {p}event_sequences SET claim=claim + CAST(1 AS pg_catalog.int8), claimable=$2 \
                 WHERE tenant = (SELECT s.tenant FROM {p}event_sequences s \
                 WHERE s.delivered < s.last AND s.claimable < $1 \
                 ORDER BY s.claimable LIMIT 1 FOR UPDATE SKIP LOCKED) \
                 RETURNING tenant, claim, delivered"
            )),
            after: select("e.number > $2 ORDER BY e.number LIMIT $3"),
            skip: Statement::new(format!(
                "UPDATE {p}event_sequences SET delivered=last WHERE tenant = $1"
            )),
            settle: Statement::new(format!(
                "UPDATE {p}event_sequences \
                 SET delivered=GREATEST(delivered, LEAST(last, $3)), claimable=$4 \
                 WHERE tenant = $1 AND claim = $2 AND claim > 0"
            )),
            newest: select("e.number < $2 ORDER BY e.number DESC LIMIT $3"),
            newest_of_key: select(
                "e.number < $2 AND e.key_id = $4 ORDER BY e.number DESC LIMIT $3",
            ),
            old_sequences: Statement::new(format!(
                "SELECT s.tenant FROM {p}event_sequences s WHERE {ON_PRIMARY} \
                 AND (CAST($1 AS pg_catalog.bytea) IS NULL OR s.tenant > $1) \
                 AND (SELECT e.at FROM {p}events e WHERE e.tenant = s.tenant \
                 ORDER BY e.number LIMIT 1) < $2 ORDER BY s.tenant LIMIT $3"
            )),
            lock: Statement::new(format!(
                "SELECT last, delivered FROM {p}event_sequences WHERE tenant = $1 FOR UPDATE"
            )),
            oldest: Statement::new(format!(
                "SELECT e.number, e.at FROM {p}events e WHERE e.tenant = $1 \
                 AND e.number < ($2 + CAST(1 AS pg_catalog.int8)) ORDER BY e.number LIMIT $3"
            )),
            delete: Statement::new(format!(
                "DELETE FROM {p}events \
                 WHERE tenant = $1 AND number < ($2 + CAST(1 AS pg_catalog.int8))"
            )),
            pass: Statement::new(format!(
                "UPDATE {p}event_sequences SET delivered=GREATEST(delivered, $2) WHERE tenant = $1"
            )),
            undelivered: Statement::new(format!(
                "SELECT EXISTS (SELECT 1 FROM {p}event_sequences s WHERE s.delivered < s.last) \
                 WHERE {ON_PRIMARY}"
            )),
        }
    }
}

/// Returns how a change runs that is one statement without events. With events there is a transaction.
pub(super) fn kind(events: &[Event]) -> Kind {
    if events.is_empty() { Kind::Write } else { Kind::Transaction }
}

/// Returns the queue for a change. Changes with events wait on the server for the sequence of their tenant, so only one of
/// each tenant does. The others would hold all connections for writes.
pub(super) fn turn<'t>(events: &'t [Event], otherwise: &'t [u8]) -> Turn<'t> {
    Turn::Row(events.first().map_or(otherwise, |event| sequence_id(event.tenant.as_ref())))
}

/// Adds the events in the transaction of the connection. It must be the last statement: from then on, other changes of
/// the tenant wait for the commit.
pub(super) async fn add(
    connection: &mut PgConnection,
    Inner { pool, events: statements, .. }: &Inner,
    events: &[Event],
) -> Result<(), Failure> {
    for (tenant, events) in by_sequence(events) {
        let columns = Columns::of(&events);
        let add = statements
            .add
            .query(pool)
            .bind(sequence_id(tenant))
            .bind(signed(events.len() as u64))
            .bind(&columns.ids)
            .bind(&columns.times)
            .bind(&columns.actors)
            .bind(&columns.keys)
            .bind(&columns.kinds)
            .bind(&columns.details);
        add.execute(&mut *connection).await?;
    }
    Ok(())
}

impl EventStore for PostgresStore {
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let Inner { pool, time_limit, .. } = &*self.0;
        attempt!(Transaction in turn(events, &[]), *time_limit, pool, connection => {
            add(connection, &self.0, events).await
        })
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Result<Option<EventClaim>, StoreError> {
        let Inner { pool, events: statements, time_limit, .. } = &*self.0;
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX).as_millis();
        attempt!(Transaction, *time_limit, pool, connection => {
            loop {
                let claim = statements.claim.query(pool).bind(now.as_millis() + 1).bind(until);
                let Some(claimed) = claim.fetch_optional(&mut *connection).await? else {
                    return Ok(None);
                };
                let (sequence, number): (Vec<u8>, i64) = (claimed.try_get(0)?, claimed.try_get(1)?);
                if let Some(tenant) = tenant_of(&sequence) {
                    let after = statements.after.query(pool)
                        .bind(&sequence)
                        .bind(claimed.try_get::<i64, _>(2)?)
                        .bind(sql::limit(limit.get()));
                    let events = decoded(&after.fetch_all(&mut *connection).await?, tenant.as_ref())?;
                    if !events.is_empty() {
                        return Ok(Some(EventClaim { tenant, number: unsigned(number), events }));
                    }
                }
                // Another program has deleted the events.
                statements.skip.query(pool).bind(&sequence).execute(&mut *connection).await?;
            }
        })
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Result<(), StoreError> {
        let Inner { pool, events: statements, time_limit, .. } = &*self.0;
        let sequence = sequence_id(tenant);
        attempt!(Write in Turn::Row(sequence), *time_limit, pool, connection => {
            let settle = statements.settle.query(pool)
                .bind(sequence)
                .bind(signed(claim))
                .bind(signed(delivered))
                .bind(claimable.as_millis());
            match settle.execute(connection).await?.rows_affected() {
                0 => Err(StoreError::Conflict.into()),
                _ => Ok(()),
            }
        })
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let Inner { pool, events: statements, time_limit, .. } = &*self.0;
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let newest = match key {
                None => &statements.newest,
                Some(_) => &statements.newest_of_key,
            };
            let mut newest = newest.query(pool)
                .bind(sequence_id(tenant))
                .bind(before.map_or(i64::MAX, signed))
                .bind(sql::limit(limit.get()));
            if let Some(key) = &key {
                newest = newest.bind(key.as_bytes().to_vec());
            }
            Ok(decoded(&newest.fetch_all(connection).await?, tenant)?)
        })
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Result<u64, StoreError> {
        let Inner { pool, events: statements, time_limit, .. } = &*self.0;
        let (mut deleted, mut after): (u64, Option<Vec<u8>>) = (0, None);
        loop {
            let sequences = attempt!(Read in Turn::Page, *time_limit, pool, connection => {
                let old = statements.old_sequences.query(pool)
                    .bind(&after)
                    .bind(before.as_millis())
                    .bind(SEQUENCES);
                let rows = old.fetch_all(connection).await?;
                let ids: Result<Vec<Vec<u8>>, _> = rows.iter().map(|row| row.try_get(0)).collect();
                Ok(ids?)
            })?;
            for sequence in &sequences {
                loop {
                    // Each portion has its own time limit. Portions that were already deleted stay so.
                    let portion = attempt!(Transaction in Turn::Row(sequence), *time_limit, pool, connection => {
                        purge_portion(connection, pool, statements, sequence, before, undelivered).await
                    })?;
                    deleted += portion;
                    if portion < sql::PORTION as u64 {
                        break;
                    }
                }
            }
            match sequences.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(deleted),
            }
        }
    }

    async fn has_undelivered_events(&self) -> Result<bool, StoreError> {
        let Inner { pool, events: statements, time_limit, .. } = &*self.0;
        attempt!(Read in Turn::Page, *time_limit, pool, connection => {
            let row = statements.undelivered.query(pool).fetch_one(connection).await?;
            Ok(row.try_get(0)?)
        })
    }
}

/// Deletes the oldest events of a sequence. Returns how many.
async fn purge_portion(
    connection: &mut PgConnection,
    pool: &Pool,
    statements: &EventStatements,
    sequence: &[u8],
    before: Timestamp,
    undelivered: bool,
) -> Result<u64, Failure> {
    let locked = statements.lock.query(pool).bind(sequence).fetch_optional(&mut *connection);
    let Some(locked) = locked.await? else { return Ok(0) };
    let end: i64 = locked.try_get(usize::from(!undelivered))?;
    let oldest = statements.oldest.query(pool).bind(sequence).bind(end);
    let rows = oldest.bind(sql::limit(sql::PORTION)).fetch_all(&mut *connection).await?;
    let mut oldest = Vec::with_capacity(rows.len());
    for row in &rows {
        oldest.push((row.try_get(0)?, row.try_get(1)?));
    }
    let Some(last) = last_earlier(&oldest, before) else { return Ok(0) };
    let delete = statements.delete.query(pool).bind(sequence).bind(last);
    let deleted = delete.execute(&mut *connection).await?.rows_affected();
    if deleted == 0 {
        // A further call would find the same events again.
        return Err(kept().into());
    }
    let pass = statements.pass.query(pool).bind(sequence).bind(last);
    pass.execute(&mut *connection).await?;
    Ok(deleted)
}

fn decoded(rows: &[PgRow], tenant: Option<&TenantId>) -> Result<Vec<StoredEvent>, sqlx::Error> {
    rows.iter().map(|row| Ok(event_row(row)?.decode(tenant.cloned()))).collect()
}

fn event_row(row: &PgRow) -> Result<EventRow<'_>, sqlx::Error> {
    Ok(EventRow {
        number: row.try_get(0)?,
        id: row.try_get(1)?,
        at: row.try_get(2)?,
        actor: row.try_get(3)?,
        key: row.try_get(4)?,
        kind: row.try_get(5)?,
        detail: row.try_get(6)?,
    })
}
