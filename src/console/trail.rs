//! The history of a key, for its administrators.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{error::Error, future::Future};

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::{audit::AuditEvent, record::TenantId, time::Timestamp, token::KeyId};

/// Reads the events of a key that an [`AuditSink`](crate::audit::AuditSink) has received.
///
/// An application that writes audit events to its database implements this trait to read them there.
/// [`RecentEvents`](super::RecentEvents) keeps the last events in memory. The console reads only the events of keys that the
/// tenant holds.
///
/// ```
/// use keyway::{KeyId, TenantId, console::{AuditTrail, TrailError, TrailPage}};
///
/// struct Forgetful;
///
/// impl AuditTrail for Forgetful {
///     async fn of_key(&self, _: &TenantId, _: KeyId, _: usize) -> Result<TrailPage, TrailError> {
///         Ok(TrailPage { events: Vec::new(), complete: false })
///     }
/// }
/// ```
pub trait AuditTrail: Send + Sync + 'static {
    /// Returns the newest `limit` events of `key`, the newest first.
    ///
    /// # Errors
    ///
    /// Any error that prevents reading the events. The console responds with 503 and does not repeat the
    /// error.
    fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> impl Future<Output = Result<TrailPage, TrailError>> + Send;
}

/// An error of the application: the reason why a trail could not be read.
pub type TrailError = Box<dyn Error + Send + Sync>;

/// The events of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailPage {
    /// The events, the newest first.
    pub events: Vec<TrailEvent>,
    /// Whether these are all events of the key since it was created. If `false`, older ones may be missing.
    pub complete: bool,
}

/// An event in the history of a key. It borrows nothing, so that an application can write it to its database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrailEvent {
    /// The time of the event.
    pub at: Timestamp,
    /// The name of the person or program that acted. Empty if the application gave none. The tenant can read
    /// it.
    pub actor: String,
    /// The kind of event, in one word such as `key_edited`.
    pub kind: String,
    /// Further details, such as the scopes that the key has after the event. May be empty.
    pub detail: String,
}

impl TrailEvent {
    /// Copies `event`, for a sink that keeps it.
    pub fn of(event: &AuditEvent<'_>) -> Self {
        let (kind, detail) = (event.kind.as_str().into(), event.detail());
        Self { at: event.at, actor: event.actor.into(), kind, detail }
    }
}

/// An [`AuditTrail`] of any type.
#[derive(Clone)]
pub(super) struct AnyTrail {
    pub(super) read: Read,
    /// Whether each reported change of a key is one event of a known kind, so that a key with more changes than
    /// events has lost some.
    pub(super) has_all_changes: bool,
}

/// [`AuditTrail::of_key`].
type Read = Arc<dyn Fn(TenantId, KeyId, usize) -> Reading + Send + Sync>;
type Reading = BoxFuture<'static, Result<TrailPage, TrailError>>;

impl AnyTrail {
    pub(super) fn new(trail: impl AuditTrail, has_all_changes: bool) -> Self {
        let trail = Arc::new(trail);
        let read = move |tenant, key, limit| -> Reading {
            let trail = Arc::clone(&trail);
            Box::pin(async move { trail.of_key(&tenant, key, limit).await })
        };
        Self { read: Arc::new(read), has_all_changes }
    }
}
