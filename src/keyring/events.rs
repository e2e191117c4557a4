//! Delivers durable events, and reads them.

use alloc::{sync::Arc, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use super::{Keyring, KeyringError};
use crate::{
    event::{EventClaim, StoredEvent},
    record::TenantId,
    store::{AnyEventStore, EventStore as _, StoreError},
    time::Timestamp,
    token::KeyId,
    verifier::Engine,
};

/// The durable [events](crate::event). [`Keyring::events`] returns it.
#[derive(Clone)]
pub struct Events {
    engine: Arc<Engine>,
    store: AnyEventStore,
}

impl Keyring {
    /// Returns the durable events, or `None` if the keyring was built without
    /// [`store_with_events`](super::KeyringBuilder::store_with_events).
    pub fn events(&self) -> Option<Events> {
        let engine = self.engine();
        let store = engine.event_store()?.clone();
        Some(Events { engine: Arc::clone(engine), store })
    }
}

impl Events {
    /// The time for which a [`Delivery`] is not given to another caller, in which its events have to be delivered.
    pub const LEASE: Duration = Duration::from_secs(60);

    /// The most events of one [`Delivery`].
    pub const MAX_DELIVERY: usize = 100;

    /// The most events that [`of_tenant`](Self::of_tenant) returns.
    pub const MAX_READ: usize = 500;

    /// Claims the oldest undelivered events of one tenant. `None` means that nothing is to be delivered now: wait a
    /// moment, such as a second, and call again.
    ///
    /// Any number of callers on any number of nodes may do this at the same time. The events of a tenant are given to one
    /// of them at a time, in order. Tenants take turns. A delivery that is neither confirmed nor given back within
    /// [`LEASE`](Self::LEASE) is given out again, so after a crash each event comes at least once.
    ///
    /// Leases end by the clock of the caller. Clocks of nodes that differ by more than a lease cause repeated deliveries.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`].
    pub async fn next(&self) -> Result<Option<Delivery>, KeyringError> {
        let now = self.engine.clock.moment().now;
        let claim = self.store.claim_events(now, Self::LEASE, count(Self::MAX_DELIVERY)).await;
        let claim = claim.map_err(KeyringError::Unavailable)?;
        Ok(claim.map(|claim| Delivery { events: self.clone(), claim, at: now }))
    }

    /// Returns the newest events of a tenant, delivered or not, the newest first. With `key` only those of this key. To
    /// read on, pass the number of the last event as `before`. `limit` is brought into the range 1 to
    /// [`MAX_READ`](Self::MAX_READ).
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`].
    pub async fn of_tenant(
        &self,
        tenant: &TenantId,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, KeyringError> {
        let limit = count(limit.min(Self::MAX_READ));
        let events = self.store.events_of(Some(tenant), key, before, limit).await;
        events.map_err(KeyringError::Unavailable)
    }

    /// Deletes delivered events that are older than `max_age`. Returns how many. Call it once a day, for example.
    ///
    /// Each tenant's events are deleted from the oldest one on. So an event is kept as long as an older one of its tenant
    /// is undelivered.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. The next call does the rest.
    pub async fn purge(&self, max_age: Duration) -> Result<u64, KeyringError> {
        self.purge_before(max_age, false).await
    }

    /// Deletes events that are older than `max_age`, also those that were not delivered. They are never delivered then.
    /// Use it if the events are only read and not delivered, or to bound what waits for a receiver that is gone.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. The next call does the rest.
    pub async fn purge_undelivered(&self, max_age: Duration) -> Result<u64, KeyringError> {
        self.purge_before(max_age, true).await
    }

    async fn purge_before(
        &self,
        max_age: Duration,
        undelivered: bool,
    ) -> Result<u64, KeyringError> {
        let before = self.engine.clock.moment().now.saturating_sub(max_age);
        self.store.purge_events(before, undelivered).await.map_err(KeyringError::Unavailable)
    }
}

/// Events of one tenant that this caller has to deliver, in order. [`Events::next`] returns it.
///
/// Deliver the events within [`Events::LEASE`], and then call [`confirm`](Self::confirm). If that is not possible, call
/// [`retry_after`](Self::retry_after). A delivery that is dropped is given out again after the lease.
#[must_use = "the events are delivered again unless they are confirmed"]
pub struct Delivery {
    events: Events,
    claim: EventClaim,
    /// The time of the claim.
    at: Timestamp,
}

impl Delivery {
    /// Returns the tenant, or `None` if the events belong to no known tenant.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.claim.tenant.as_ref()
    }

    /// Returns the events, at least one, in the order in which they happened.
    pub fn events(&self) -> &[StoredEvent] {
        &self.claim.events
    }

    /// Notes that all events are delivered.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the lease ended and another caller has claimed the events, which then come a second
    /// time. [`KeyringError::Unavailable`]: the events may come a second time.
    pub async fn confirm(self) -> Result<(), KeyringError> {
        // The sequence keeps its place in the order of claims. So a tenant with many events does not come first again.
        self.settle(self.claim.events.len(), self.at).await
    }

    /// Gives back the events after the first `delivered` ones, which are noted as delivered. The others, and later ones of
    /// this tenant, are not given out before `pause` has passed. Other tenants do not wait.
    ///
    /// # Errors
    ///
    /// As [`confirm`](Self::confirm).
    pub async fn retry_after(self, delivered: usize, pause: Duration) -> Result<(), KeyringError> {
        let now = self.events.engine.clock.moment().now;
        self.settle(delivered, now.checked_add(pause).unwrap_or(Timestamp::MAX)).await
    }

    async fn settle(&self, delivered: usize, claimable: Timestamp) -> Result<(), KeyringError> {
        let last = delivered.min(self.claim.events.len()).checked_sub(1);
        let last = last.and_then(|last| self.claim.events.get(last));
        let number = last.map_or(0, |event| event.number);
        let (tenant, claim) = (self.claim.tenant.as_ref(), self.claim.number);
        match self.events.store.settle_events(tenant, claim, number, claimable).await {
            Err(StoreError::Conflict) => Err(KeyringError::Conflict),
            settled => settled.map_err(KeyringError::Unavailable),
        }
    }
}

fn count(limit: usize) -> NonZeroUsize {
    NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN)
}

impl core::fmt::Debug for Events {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Delivery").field("claim", &self.claim).finish_non_exhaustive()
    }
}
