//! Durable events of changes, made from the audit events of the same changes.

use alloc::string::{String, ToString};

use super::Engine;
use crate::{
    audit::{AuditEvent, Noise},
    event::{Event, EventId},
    record::TenantId,
    store::{AnyEventStore, EventStore as _, StoreError},
};

impl Engine {
    /// Returns the store of events.
    pub(crate) fn event_store(&self) -> Option<&AnyEventStore> {
        self.events.as_ref()
    }

    /// Returns `event` as its change stores it, or `None` if there is no store of events.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the operating system has no randomness. The change must not be made without its
    /// event.
    pub(crate) fn durable(&self, event: &AuditEvent<'_>) -> Result<Option<Event>, StoreError> {
        if self.events.is_none() {
            return Ok(None);
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| StoreError::unavailable(error.to_string()))?;
        Ok(Some(Event {
            id: EventId::from_bytes(id),
            at: event.at,
            actor: String::from(event.actor),
            tenant: event.tenant.and_then(|tenant| TenantId::stored(tenant).ok()),
            key: event.key,
            kind: event.kind.as_str().into(),
            detail: event.detail(),
        }))
    }

    /// Stores an event that belongs to no write, if there is a store of events.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    pub(crate) async fn keep(&self, event: &AuditEvent<'_>) -> Result<(), StoreError> {
        match (self.durable(event)?, &self.events) {
            (Some(event), Some(store)) => store.add_events(&[event]).await,
            _ => Ok(()),
        }
    }

    /// Stores the event of a refused change, if there is a store of events. A failure does not change what the caller gets,
    /// and is reported to the audit sink like that of a request.
    pub(crate) async fn keep_refused(&self, event: &AuditEvent<'_>) {
        if self.keep(event).await.is_err() {
            self.record_noise(Noise::Unavailable);
        }
    }
}
