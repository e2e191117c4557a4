//! The store of events.

use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::{fmt, future::Future, num::NonZeroUsize, pin::Pin, time::Duration};

use super::{AnyStore, KeyLookup, KeyStore, Lookups, StoreError, StoredKey, Work};
use crate::{
    event::{Event, EventClaim, StoredEvent},
    record::TenantId,
    time::Timestamp,
    token::KeyId,
};

/// Stores the [events](crate::event) of changes, and hands them out for delivery, at least once and in order.
///
/// It is an extension of [`KeyStore`], so that a change and its events are one transaction: each writing method of
/// [`KeyStore`] takes the events of its change.
///
/// # The contract
///
/// **One transaction.** The events that a method of [`KeyStore`] takes are stored if and only if its change is made. A
/// method that fails has stored none.
///
/// **Numbers.** The events of each tenant, and those without a tenant, are a sequence each. Its numbers are 1, 2, 3 and so
/// on, without gaps, in the order in which the transactions took effect, and in the order of the slice within one. The
/// numbers continue when events are deleted, and when a tenant is deleted and created again.
///
/// **Claims.** At most one claim of a sequence is in force at a time: a sequence that is claimed is not claimed again
/// before the end of the lease, unless the claim is settled. Leases end by the clocks of the callers, so these must not
/// differ by more than a small part of a lease.
///
/// **Delivered.** The number up to which a sequence is delivered never becomes smaller. The caller of an older claim
/// changes nothing.
///
/// Each method takes effect as a whole or not at all, also if its future is dropped. The feature `conformance` tests this
/// contract by `conformance::event_clauses`.
pub trait EventStore: KeyStore {
    /// Adds events that belong to no change, such as refused changes, in one transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn add_events(&self, events: &[Event]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Claims the oldest undelivered events of one sequence, at most `limit`, for the time `lease` from `now` on. Returns
    /// `None` if each sequence is delivered or must not be claimed at `now`.
    ///
    /// Of several sequences it takes one that has been claimable for the longest time. So a tenant with many events does
    /// not keep others waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Option<EventClaim>, StoreError>> + Send;

    /// Ends the claim `claim` of the sequence of `tenant`. The events up to the number `delivered` are delivered, and the
    /// others can be claimed from the time `claimable` on. A `delivered` below the stored number changes nothing in it, and
    /// one beyond the last event counts as the last event.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the sequence has been claimed again, or never; [`StoreError::Unavailable`].
    fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the newest events of a sequence, delivered or not, the newest first. With `key` only those of this key, and
    /// with `before` only those with smaller numbers.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// Deletes the oldest events of each sequence, up to the first one whose time is not earlier than `before`. Unless
    /// `undelivered` is set, it also stops before the first one that is not delivered. Otherwise events that it deletes
    /// count as delivered. Returns the number of events that were deleted.
    ///
    /// It may take effect in portions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. A repeated call does the rest.
    fn purge_events(
        &self,
        before: Timestamp,
        undelivered: bool,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns whether any sequence has an event that is not delivered, also if it must not be claimed now.
    ///
    /// Events are not [copied](super::copy()) to another store, so ask this before the store is given up.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn has_undelivered_events(&self) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Returns events by their sequence, in the order of the sequences. With one order, two transactions never wait for each
/// other.
pub(super) fn by_sequence(events: &[Event]) -> BTreeMap<Option<&TenantId>, Vec<&Event>> {
    let mut sequences: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        sequences.entry(event.tenant.as_ref()).or_default().push(event);
    }
    sequences
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The object-safe form of [`EventStore`], with boxed futures.
trait DynEventStore: Send + Sync {
    fn add_events<'a>(&'a self, events: &'a [Event]) -> Answer<'a, ()>;
    fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Answer<'_, Option<EventClaim>>;
    fn settle_events<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Answer<'a, ()>;
    fn events_of<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<StoredEvent>>;
    fn purge_events(&self, before: Timestamp, undelivered: bool) -> Answer<'_, u64>;
    fn has_undelivered_events(&self) -> Answer<'_, bool>;
}

impl<S: EventStore> DynEventStore for S {
    fn add_events<'a>(&'a self, events: &'a [Event]) -> Answer<'a, ()> {
        Box::pin(EventStore::add_events(self, events))
    }

    fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Answer<'_, Option<EventClaim>> {
        Box::pin(EventStore::claim_events(self, now, lease, limit))
    }

    fn settle_events<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Answer<'a, ()> {
        Box::pin(EventStore::settle_events(self, tenant, claim, delivered, claimable))
    }

    fn events_of<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<StoredEvent>> {
        Box::pin(EventStore::events_of(self, tenant, key, before, limit))
    }

    fn purge_events(&self, before: Timestamp, undelivered: bool) -> Answer<'_, u64> {
        Box::pin(EventStore::purge_events(self, before, undelivered))
    }

    fn has_undelivered_events(&self) -> Answer<'_, bool> {
        Box::pin(EventStore::has_undelivered_events(self))
    }
}

/// An [`EventStore`] of any type, such as one that is chosen when the service starts. Clones share one store.
#[derive(Clone)]
pub struct AnyEventStore {
    keys: AnyStore,
    events: Arc<dyn DynEventStore>,
}

impl AnyEventStore {
    /// Hides the type of `store`.
    pub fn new(store: impl EventStore) -> Self {
        let store = Arc::new(store);
        Self { keys: AnyStore::shared(Arc::clone(&store)), events: store }
    }

    /// Returns the store of the keys.
    pub(crate) fn keys(&self) -> &AnyStore {
        &self.keys
    }
}

impl KeyLookup for AnyEventStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.keys.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        self.keys.lookup_many(ids).await
    }

    fn detach(&self, work: Work) -> Option<Work> {
        self.keys.detach(work)
    }

    fn max_lag(&self) -> Duration {
        self.keys.max_lag()
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.keys.marker().await
    }
}

impl EventStore for AnyEventStore {
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
        self.events.add_events(events).await
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Result<Option<EventClaim>, StoreError> {
        self.events.claim_events(now, lease, limit).await
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Result<(), StoreError> {
        self.events.settle_events(tenant, claim, delivered, claimable).await
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.events.events_of(tenant, key, before, limit).await
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Result<u64, StoreError> {
        self.events.purge_events(before, undelivered).await
    }

    async fn has_undelivered_events(&self) -> Result<bool, StoreError> {
        self.events.has_undelivered_events().await
    }
}

impl fmt::Debug for AnyEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyEventStore").finish_non_exhaustive()
    }
}
