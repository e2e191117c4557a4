//! The events in memory.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{num::NonZeroUsize, time::Duration};

use super::MemoryStore;
use crate::{
    event::{Event, EventClaim, StoredEvent},
    record::TenantId,
    store::{EventStore, StoreError, events::by_sequence},
    time::Timestamp,
    token::KeyId,
};

/// The events of all tenants. `None` is the sequence of those without one.
#[derive(Debug, Default)]
pub(super) struct EventTable(BTreeMap<Option<TenantId>, Sequence>);

#[derive(Debug)]
struct Sequence {
    /// In order. Purged events are missing at the front.
    events: VecDeque<StoredEvent>,
    last: u64,
    delivered: u64,
    /// The number of the last claim.
    claim: u64,
    /// The time from which the sequence can be claimed.
    claimable: Timestamp,
}

impl Sequence {
    fn new() -> Self {
        let claimable = Timestamp::MIN;
        Self { events: VecDeque::new(), last: 0, delivered: 0, claim: 0, claimable }
    }
}

impl EventTable {
    pub(super) fn add(&mut self, events: &[Event]) {
        for (tenant, events) in by_sequence(events) {
            let sequence = self.0.entry(tenant.cloned()).or_insert_with(Sequence::new);
            for event in events {
                sequence.last += 1;
                let event = StoredEvent { number: sequence.last, event: event.clone() };
                sequence.events.push_back(event);
            }
        }
    }
}

impl EventStore for MemoryStore {
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
        self.tables().events.add(events);
        Ok(())
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Result<Option<EventClaim>, StoreError> {
        let mut tables = self.tables();
        let waiting = tables.events.0.iter_mut().filter(|(_, sequence)| {
            sequence.delivered < sequence.last && sequence.claimable <= now
        });
        let first = waiting.min_by_key(|(_, sequence)| sequence.claimable);
        Ok(first.map(|(tenant, sequence)| {
            sequence.claim += 1;
            sequence.claimable = now.checked_add(lease).unwrap_or(Timestamp::MAX);
            let delivered = sequence.delivered;
            let events = sequence.events.iter().filter(|event| event.number > delivered);
            let events = events.take(limit.get()).cloned().collect();
            EventClaim { tenant: tenant.clone(), number: sequence.claim, events }
        }))
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let sequence = tables.events.0.get_mut(&tenant.cloned());
        let sequence = sequence.filter(|sequence| claim > 0 && sequence.claim == claim);
        let sequence = sequence.ok_or(StoreError::Conflict)?;
        sequence.delivered = sequence.delivered.max(delivered.min(sequence.last));
        sequence.claimable = claimable;
        Ok(())
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.tables();
        let sequence = tables.events.0.get(&tenant.cloned());
        let events = sequence.into_iter().flat_map(|sequence| sequence.events.iter().rev());
        let events = events.filter(|event| {
            before.is_none_or(|before| event.number < before)
                && key.is_none_or(|key| event.event.key == Some(key))
        });
        Ok(events.take(limit.get()).cloned().collect())
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for sequence in self.tables().events.0.values_mut() {
            while let Some(first) = sequence.events.front()
                && first.event.at < before
                && (undelivered || first.number <= sequence.delivered)
            {
                sequence.delivered = sequence.delivered.max(first.number);
                sequence.events.pop_front();
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    async fn has_undelivered_events(&self) -> Result<bool, StoreError> {
        let tables = self.tables();
        let mut sequences = tables.events.0.values();
        Ok(sequences.any(|sequence| sequence.delivered < sequence.last))
    }
}
