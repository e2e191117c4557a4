//! The events in SQL: the tables, and what both engines do with their rows.
//!
//! | `events` | |
//! |---|---|
//! | `tenant` | the text as bytes; empty for events without a tenant |
//! | `number` | the place in the sequence of the tenant, from 1 |
//! | `id` | 16 bytes |
//! | `at` | milliseconds |
//! | `actor`, `kind`, `detail` | the text as bytes |
//! | `key_id` | 16 bytes, or null |
//!
//! The primary key is `tenant`, `number`. An index over `tenant`, `key_id`, `number` finds the events of a key.
//!
//! | `event_sequences` | |
//! |---|---|
//! | `tenant` | as above |
//! | `last` | the number of the last event |
//! | `delivered` | the number up to which events are delivered |
//! | `claim` | the number of the last claim |
//! | `claimable` | the time from which events can be claimed, in milliseconds |
//!
//! Each transaction that adds events writes the row of the sequence last, and holds its lock until it commits. So numbers
//! have no gaps and are in the order of the commits. An index over `claimable` has only the sequences with undelivered
//! events, so a claim does not read the others.

use alloc::string::String;
#[cfg(feature = "postgres")]
use alloc::vec::Vec;

use crate::{
    event::{Event, EventId, StoredEvent},
    record::TenantId,
    store::StoreError,
    time::Timestamp,
    token::KeyId,
};

/// The number of sequences whose first events a purge reads at a time.
pub(in crate::store) const SEQUENCES: i64 = 500;

/// Returns the id of a sequence. No tenant has an empty id.
pub(in crate::store) fn sequence_id(tenant: Option<&TenantId>) -> &[u8] {
    tenant.map_or(&[], |tenant| tenant.as_str().as_bytes())
}

/// Returns the tenant of a sequence, or `None` if another program wrote an id that no tenant can have.
pub(in crate::store) fn tenant_of(sequence: &[u8]) -> Option<Option<TenantId>> {
    if sequence.is_empty() {
        return Some(None);
    }
    super::usage::tenant_of(sequence).map(Some)
}

/// Converts a number for SQL. No sequence has so many events that it does not fit.
pub(in crate::store) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a number from SQL. A negative number was written by another program.
pub(in crate::store) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A row of `events`, in the order of the columns that statements select.
pub(in crate::store) struct EventRow<'r> {
    pub(in crate::store) number: i64,
    pub(in crate::store) id: &'r [u8],
    pub(in crate::store) at: i64,
    pub(in crate::store) actor: &'r [u8],
    pub(in crate::store) key: Option<&'r [u8]>,
    pub(in crate::store) kind: &'r [u8],
    pub(in crate::store) detail: &'r [u8],
}

/// The columns of an event `e`, in the order of [`EventRow`].
macro_rules! columns {
    () => {
        "e.number, e.id, e.at, e.actor, e.key_id, e.kind, e.detail"
    };
}
pub(in crate::store) use columns;

impl EventRow<'_> {
    /// Decodes the row. A part that another program has written and that cannot be read is replaced. One broken row must not
    /// keep the others from being delivered.
    pub(in crate::store) fn decode(&self, tenant: Option<TenantId>) -> StoredEvent {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        StoredEvent {
            number: unsigned(self.number),
            event: Event {
                id: EventId::from_bytes(self.id.try_into().unwrap_or_default()),
                at: Timestamp::saturating_from_millis(self.at),
                actor: text(self.actor),
                tenant,
                key: self.key.and_then(|key| KeyId::from_bytes(key.try_into().ok()?)),
                kind: text(self.kind),
                detail: text(self.detail),
            },
        }
    }
}

/// Returns the number of the last of the oldest events that are all earlier than `before`. The events are in order, each
/// with its number and time.
pub(in crate::store) fn last_earlier(events: &[(i64, i64)], before: Timestamp) -> Option<i64> {
    let earlier = events.iter().take_while(|(_, at)| *at < before.as_millis());
    earlier.last().map(|(number, _)| *number)
}

/// Returns the error for another program's trigger that keeps events.
pub(in crate::store) fn kept() -> StoreError {
    StoreError::unavailable("an event cannot be deleted")
}

/// Events of one sequence, as arrays that a statement takes.
#[cfg(feature = "postgres")]
#[derive(Debug)]
pub(in crate::store) struct Columns<'e> {
    pub(in crate::store) ids: Vec<&'e [u8]>,
    pub(in crate::store) times: Vec<i64>,
    pub(in crate::store) actors: Vec<&'e [u8]>,
    pub(in crate::store) keys: Vec<Option<&'e [u8]>>,
    pub(in crate::store) kinds: Vec<&'e [u8]>,
    pub(in crate::store) details: Vec<&'e [u8]>,
}

#[cfg(feature = "postgres")]
impl<'e> Columns<'e> {
    pub(in crate::store) fn of(events: &[&'e Event]) -> Self {
        let each =
            |part: fn(&'e Event) -> &'e [u8]| events.iter().map(|event| part(event)).collect();
        Self {
            ids: each(|event| event.id.as_bytes()),
            times: events.iter().map(|event| event.at.as_millis()).collect(),
            actors: each(|event| event.actor.as_bytes()),
            keys: events
                .iter()
                .map(|event| event.key.as_ref().map(|key| &key.as_bytes()[..]))
                .collect(),
            kinds: each(|event| event.kind.as_bytes()),
            details: each(|event| event.detail.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purge_ends_before_the_first_later_event() {
        let before = Timestamp::from_millis(10).unwrap();
        assert_eq!(last_earlier(&[(4, 3), (5, 9), (6, 10), (7, 1)], before), Some(5));
        assert_eq!(last_earlier(&[(4, 10), (5, 1)], before), None);
        assert_eq!(last_earlier(&[], before), None);
    }

    #[test]
    fn row_of_another_program_is_read_as_far_as_possible() {
        let row = EventRow {
            number: -1,
            id: &[1],
            at: i64::MAX,
            actor: &[0xff],
            key: Some(&[b' '; 16]),
            kind: b"key_issued",
            detail: b"",
        };
        let StoredEvent { number, event } = row.decode(None);
        assert_eq!((number, event.key, &*event.kind), (0, None, "key_issued"));
        assert_eq!((event.at, &*event.actor), (Timestamp::MAX, "\u{fffd}"));
        assert_eq!(tenant_of(b""), Some(None));
        assert_eq!(tenant_of(&[0xff]), None);
    }
}
