//! The events in a [`SqliteStore`].

use alloc::{string::String, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::{
    SqliteStore,
    statements::{execute, for_each, unavailable, value},
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
                EventRow, SEQUENCES, columns, kept, last_earlier, sequence_id, signed, tenant_of,
                unsigned,
            },
        },
    },
    time::Timestamp,
    token::KeyId,
};

/// Advances a sequence by `?2` events, and returns its last number. The first events of a sequence can be claimed at any
/// time.
const ADVANCE: &str = "INSERT INTO keyway_event_sequences AS s (tenant, last, delivered, claim, claimable) \
     VALUES (?1, ?2, 0, 0, -9223372036854775808) \
     ON CONFLICT (tenant) DO UPDATE SET last = s.last + excluded.last RETURNING last";

const INSERT: &str = "INSERT INTO keyway_events (tenant, number, id, at, actor, key_id, kind, detail) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const FIRST_CLAIMABLE: &str = "SELECT tenant FROM keyway_event_sequences \
     WHERE delivered < last AND claimable <= ?1 ORDER BY claimable LIMIT 1";

const CLAIM: &str = "UPDATE keyway_event_sequences SET claim = claim + 1, claimable = ?2 \
     WHERE tenant = ?1 RETURNING claim, delivered";

const AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keyway_events e WHERE e.tenant = ?1 AND e.number > ?2 ORDER BY e.number LIMIT ?3"
);

/// Ends the delivery of a sequence whose events were deleted by another program.
const SKIP: &str = "UPDATE keyway_event_sequences SET delivered = last WHERE tenant = ?1";

const SETTLE: &str = "UPDATE keyway_event_sequences \
     SET delivered = max(delivered, min(last, ?3)), claimable = ?4 \
     WHERE tenant = ?1 AND claim = ?2 AND claim > 0";

const NEWEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keyway_events e WHERE e.tenant = ?1 AND e.number < ?2 ORDER BY e.number DESC LIMIT ?3"
);

const NEWEST_OF_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM keyway_events e WHERE e.tenant = ?1 AND e.number < ?2 AND e.key_id = ?4 \
     ORDER BY e.number DESC LIMIT ?3"
);

/// Finds the sequences after `?1` whose first event is earlier than `?2`.
const OLD_SEQUENCES: &str = "SELECT s.tenant FROM keyway_event_sequences s WHERE s.tenant > ?1 \
     AND (SELECT e.at FROM keyway_events e WHERE e.tenant = s.tenant ORDER BY e.number LIMIT 1) < ?2 \
     ORDER BY s.tenant LIMIT ?3";

/// With `?2`, finds the undelivered events as well.
const OLDEST: &str = "SELECT e.number, e.at FROM keyway_events e \
     WHERE e.tenant = ?1 AND e.number <= (SELECT iif(?2, s.last, s.delivered) \
     FROM keyway_event_sequences s WHERE s.tenant = ?1) ORDER BY e.number LIMIT ?3";

const DELETE: &str = "DELETE FROM keyway_events WHERE tenant = ?1 AND number <= ?2";

const PASS: &str =
    "UPDATE keyway_event_sequences SET delivered = max(delivered, ?2) WHERE tenant = ?1";

const UNDELIVERED: &str = "SELECT 1 FROM keyway_event_sequences WHERE delivered < last LIMIT 1";

/// Adds the events in this transaction.
pub(super) fn add(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), StoreError> {
    for (tenant, events) in by_sequence(events) {
        let sequence = sequence_id(tenant);
        let count = signed(events.len() as u64);
        let last = value(transaction, ADVANCE, (sequence, count))?.unwrap_or(count);
        let mut insert = transaction.prepare_cached(INSERT).map_err(unavailable)?;
        for (number, event) in (last - count + 1..).zip(events) {
            insert
                .execute((
                    sequence,
                    number,
                    event.id.as_bytes(),
                    event.at.as_millis(),
                    event.actor.as_bytes(),
                    event.key.as_ref().map(KeyId::as_bytes),
                    event.kind.as_bytes(),
                    event.detail.as_bytes(),
                ))
                .map_err(unavailable)?;
        }
    }
    Ok(())
}

impl EventStore for SqliteStore {
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write(move |transaction, _| add(transaction, &events)).await
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Result<Option<EventClaim>, StoreError> {
        // Each write waits for the disk. A node that looks for events in vain writes nothing.
        let is_idle = self.read(move |connection, _| {
            let mut first = connection.prepare_cached(FIRST_CLAIMABLE).map_err(unavailable)?;
            Ok(!first.exists([now.as_millis()]).map_err(unavailable)?)
        });
        if is_idle.await? {
            return Ok(None);
        }
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX);
        self.write(move |transaction, _| claim(transaction, now, until, limit)).await
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Result<(), StoreError> {
        let sequence = sequence_id(tenant).to_vec();
        self.write(move |transaction, _| {
            let place = (sequence, signed(claim), signed(delivered), claimable.as_millis());
            match execute(transaction, SETTLE, place)? {
                0 => Err(StoreError::Conflict),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tenant = tenant.cloned();
        self.read(move |connection, _| {
            let sequence = sequence_id(tenant.as_ref());
            let (before, limit) = (before.map_or(i64::MAX, signed), sql::limit(limit.get()));
            let mut events = Vec::new();
            let push = |row: &Row<'_>| {
                events.push(event_row(row).map_err(unavailable)?.decode(tenant.clone()));
                Ok(true)
            };
            match key {
                None => for_each(connection, NEWEST, (sequence, before, limit), push)?,
                Some(key) => {
                    let place = (sequence, before, limit, key.as_bytes());
                    for_each(connection, NEWEST_OF_KEY, place, push)?;
                }
            }
            Ok(events)
        })
        .await
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Result<u64, StoreError> {
        let (mut deleted, mut after) = (0, None);
        loop {
            let sequences = self.old_sequences(after, before).await?;
            for sequence in &sequences {
                let sequence = sequence.clone();
                deleted += self
                    .in_portions(move |transaction| {
                        purge_portion(transaction, &sequence, before, undelivered)
                    })
                    .await?;
            }
            match sequences.last() {
                Some(last) => after = Some(last.clone()),
                None => return Ok(deleted),
            }
        }
    }

    async fn has_undelivered_events(&self) -> Result<bool, StoreError> {
        self.read(|connection, _| Ok(value(connection, UNDELIVERED, ())?.is_some())).await
    }
}

impl SqliteStore {
    /// Returns the next sequences after `after` whose first event is earlier than `before`.
    async fn old_sequences(
        &self,
        after: Option<Vec<u8>>,
        before: Timestamp,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(move |connection, _| {
            let mut sequences = Vec::new();
            // The sequence without a tenant has the empty id. Text comes before all bytes.
            let after = after.map_or(rusqlite::types::Value::Text(String::new()), Into::into);
            for_each(connection, OLD_SEQUENCES, (after, before.as_millis(), SEQUENCES), |row| {
                sequences.push(row.get(0).map_err(unavailable)?);
                Ok(true)
            })?;
            Ok(sequences)
        })
        .await
    }
}

fn claim(
    transaction: &Transaction<'_>,
    now: Timestamp,
    until: Timestamp,
    limit: NonZeroUsize,
) -> Result<Option<EventClaim>, StoreError> {
    loop {
        let mut first = transaction.prepare_cached(FIRST_CLAIMABLE).map_err(unavailable)?;
        let first = first.query_row([now.as_millis()], |row| row.get(0)).optional();
        let Some(sequence): Option<Vec<u8>> = first.map_err(unavailable)? else {
            return Ok(None);
        };
        let mut claim = transaction.prepare_cached(CLAIM).map_err(unavailable)?;
        let claimed = claim.query_row((&sequence, until.as_millis()), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let (number, delivered) = claimed.map_err(unavailable)?;
        let mut events = Vec::new();
        if let Some(tenant) = tenant_of(&sequence) {
            let place = (&sequence, delivered, sql::limit(limit.get()));
            for_each(transaction, AFTER, place, |row| {
                events.push(event_row(row).map_err(unavailable)?.decode(tenant.clone()));
                Ok(true)
            })?;
            if !events.is_empty() {
                return Ok(Some(EventClaim { tenant, number: unsigned(number), events }));
            }
        }
        execute(transaction, SKIP, [&sequence])?;
    }
}

/// Deletes the oldest events of a sequence. Returns how many.
fn purge_portion(
    transaction: &Transaction<'_>,
    sequence: &[u8],
    before: Timestamp,
    undelivered: bool,
) -> Result<usize, StoreError> {
    let mut oldest = Vec::new();
    for_each(transaction, OLDEST, (sequence, undelivered, sql::limit(sql::PORTION)), |row| {
        oldest.push((row.get(0).map_err(unavailable)?, row.get(1).map_err(unavailable)?));
        Ok(true)
    })?;
    let Some(last) = last_earlier(&oldest, before) else { return Ok(0) };
    let deleted = execute(transaction, DELETE, (sequence, last))?;
    if deleted == 0 {
        // A further call would find the same events again.
        return Err(kept());
    }
    execute(transaction, PASS, (sequence, last))?;
    Ok(deleted)
}

fn event_row<'r>(row: &'r Row<'_>) -> rusqlite::Result<EventRow<'r>> {
    Ok(EventRow {
        number: row.get(0)?,
        id: row.get_ref(1)?.as_blob()?,
        at: row.get(2)?,
        actor: row.get_ref(3)?.as_blob()?,
        key: row.get_ref(4)?.as_blob_or_null()?,
        kind: row.get_ref(5)?.as_blob()?,
        detail: row.get_ref(6)?.as_blob()?,
    })
}
