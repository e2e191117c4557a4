//! The contract of [`EventStore`] as a test suite.

mod claims;
mod purges;
mod reads;
mod writes;

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use super::{
    Clause,
    expect::{done, made, same},
    issuer::{at, tenant_id},
};
use crate::{
    event::{Event, EventClaim, EventId, StoredEvent},
    record::TenantId,
    store::EventStore,
    time::Timestamp,
    token::KeyId,
};

/// Returns every clause of the contract of stores of events.
///
/// ```
/// use keyway::{MemoryStore, store::conformance};
///
/// for clause in conformance::event_clauses::<MemoryStore>() {
///     pollster::block_on(clause.run(&MemoryStore::new()));
/// }
/// ```
pub fn event_clauses<S: EventStore>() -> Vec<Clause<S>> {
    macro_rules! list {
        ({} $($module:ident::$clause:ident)*) => {
            [$(Clause {
                name: stringify!($clause),
                run: |store: &S| Box::pin($module::$clause(store)),
            }),*]
        };
    }
    __event_clauses!([list]).into()
}

/// The time for which claims are made.
const LEASE: Duration = Duration::from_secs(60);

/// More events than any store deletes in one portion of a reasonable size.
const MANY: u64 = 4_500;

/// Returns a limit that no clause reaches.
fn all() -> NonZeroUsize {
    limit(10_000)
}

fn limit(limit: usize) -> NonZeroUsize {
    made(NonZeroUsize::new(limit).ok_or("a limit is not zero"))
}

/// Returns a time so many seconds after the first one.
fn second(number: i64) -> Timestamp {
    at(number * 1_000)
}

fn key(number: u64) -> KeyId {
    made(format!("Aevent{number:010}").parse())
}

/// Returns the event with this number, of a tenant. Each has another id.
fn event(tenant: Option<&str>, number: u64) -> Event {
    let mut id = [0; 16];
    let (head, tail) = id.split_at_mut(8);
    head.copy_from_slice(&number.to_be_bytes());
    // The ids of two tenants differ as well.
    for (place, byte) in tenant.unwrap_or_default().bytes().enumerate() {
        if let Some(slot) = tail.get_mut(place % 8) {
            *slot ^= byte;
        }
    }
    Event {
        id: EventId::from_bytes(id),
        at: at(0),
        actor: String::from("anna"),
        tenant: tenant.map(tenant_id),
        key: Some(key(number)),
        kind: String::from("key_edited"),
        detail: format!("detail {number}"),
    }
}

/// Returns the events with these numbers, of a tenant.
fn events(tenant: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Event> {
    numbers.into_iter().map(|number| event(Some(tenant), number)).collect()
}

/// Returns events as the first ones of their sequence.
fn numbered(events: &[Event]) -> Vec<StoredEvent> {
    let stored = |(number, event): (u64, &Event)| StoredEvent { number, event: event.clone() };
    (1..).zip(events).map(stored).collect()
}

/// A store of events under test.
struct Stage<'s, S> {
    store: &'s S,
}

impl<'s, S: EventStore> Stage<'s, S> {
    fn new(store: &'s S) -> Self {
        Self { store }
    }

    async fn add(&self, events: &[Event]) {
        let what = format!("adding {} events", events.len());
        done(what, self.store.add_events(events).await);
    }

    /// Adds the events with these numbers to a tenant, and returns them.
    async fn add_to(&self, tenant: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Event> {
        let events = events(tenant, numbers);
        self.add(&events).await;
        events
    }

    async fn claim(&self, now: Timestamp, limit: NonZeroUsize) -> Option<EventClaim> {
        let claimed = self.store.claim_events(now, LEASE, limit).await;
        done(format_args!("claiming at most {limit} events at {now}"), claimed)
    }

    /// Claims events that must be there.
    async fn claim_some(&self, when: &str, now: Timestamp, limit: NonZeroUsize) -> EventClaim {
        match self.claim(now, limit).await {
            Some(claim) => claim,
            None => panic!("{when}: expected events to be claimed, but there were none"),
        }
    }

    async fn expect_no_claim(&self, when: &str, now: Timestamp) {
        same(format_args!("{when}, a claim"), &self.claim(now, all()).await, &None);
    }

    async fn settle(&self, claim: &EventClaim, delivered: u64, claimable: Timestamp) {
        let (tenant, number) = (claim.tenant.as_ref(), claim.number);
        let settled = self.store.settle_events(tenant, number, delivered, claimable).await;
        done(format_args!("settling claim {number} of {tenant:?} up to {delivered}"), settled);
    }

    async fn read(
        &self,
        tenant: Option<&str>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Vec<StoredEvent> {
        let id: Option<TenantId> = tenant.map(tenant_id);
        let read = self.store.events_of(id.as_ref(), key, before, limit).await;
        done(format_args!("reading the events of {tenant:?}"), read)
    }

    /// Returns all events of a sequence, in order.
    async fn all(&self, tenant: Option<&str>) -> Vec<StoredEvent> {
        let mut events = self.read(tenant, None, None, all()).await;
        events.reverse();
        events
    }

    /// Expects exactly these events in a sequence, with the numbers from 1 on.
    async fn expect_events(&self, when: &str, tenant: Option<&str>, events: &[Event]) {
        let found = self.all(tenant).await;
        same(format_args!("{when}, the events of {tenant:?}"), &found, &numbered(events));
    }

    async fn purge(&self, before: Timestamp, undelivered: bool) -> u64 {
        let purged = self.store.purge_events(before, undelivered).await;
        done(format_args!("purging events before {before}"), purged)
    }
}

/// Returns the numbers of events.
fn numbers(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}
