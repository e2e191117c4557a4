//! A collector of audit events.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    audit::{AuditEvent, AuditSink},
    time::Timestamp,
    token::KeyId,
};

/// An audit sink that keeps its events, for assertions. Cheap to clone; clones share the events.
///
/// ```
/// use keyway::{Policy, testing};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// let (clock, events) = (testing::clock(), testing::Events::new());
/// let keyring = testing::keyring_with(policy, &clock, &events)?;
/// keyring.acting_as("ann").create_empty_tenant("acme", "lite").await?;
///
/// let created = events.take().pop().unwrap();
/// assert_eq!((created.kind, &*created.detail), ("tenant_created", "lite"));
/// assert_eq!((&*created.actor, created.tenant.as_deref()), ("ann", Some("acme")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Requests that prove nothing are sampled, as for any other sink. See [`Noise`](crate::audit::Noise).
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

/// An audit event that owns its data. No part of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The time of the event.
    pub at: Timestamp,
    /// The actor, in the application's own words. It may be empty.
    pub actor: String,
    /// The tenant's id, if it is known.
    pub tenant: Option<String>,
    /// The key, if it is known.
    pub key: Option<KeyId>,
    /// The kind in one word, such as `key_edited`. See [`AuditKind::as_str`](crate::audit::AuditKind::as_str).
    pub kind: &'static str,
    /// The rest of the event as text. See [`AuditKind::detail`](crate::audit::AuditKind::detail).
    pub detail: String,
}

impl Events {
    /// Creates a collector without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the events since the last call of this function, the oldest first, and forgets them.
    pub fn take(&self) -> Vec<Event> {
        mem::take(&mut *self.all())
    }

    /// Returns the events that were not taken yet, the oldest first, and keeps them.
    pub fn seen(&self) -> Vec<Event> {
        self.all().clone()
    }

    /// Returns the kinds of the events that were not taken yet, the oldest first, and keeps the events.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.all().iter().map(|event| event.kind).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for Events {
    fn record(&self, event: &AuditEvent<'_>) {
        let AuditEvent { at, actor, tenant, key, kind, .. } = *event;
        self.all().push(Event {
            at,
            actor: actor.into(),
            tenant: tenant.map(Into::into),
            key,
            kind: kind.as_str(),
            detail: event.detail(),
        });
    }
}
