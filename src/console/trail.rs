//! What happened to a key, for those who manage it.

mod recent;

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{error::Error, future::Future, pin::Pin};

pub use self::recent::RecentEvents;
use crate::{
    audit::{AuditEvent, AuditKind},
    record::TenantId,
    scope::Scope,
    time::Timestamp,
    token::KeyId,
};

/// Reads back what an [`AuditSink`](crate::audit::AuditSink) was told of a key.
///
/// A host that keeps events in a database of its own reads them there; [`RecentEvents`] keeps the last ones
/// in memory. The console asks only for keys that the tenant holds.
///
/// ```
/// use keyway::{
///     console::{AuditTrail, TrailError, TrailPage},
///     record::TenantId,
///     token::KeyId,
/// };
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
    /// The newest `limit` events of `key`, the newest first.
    ///
    /// # Errors
    ///
    /// Whatever keeps them from being read. The caller is told only that they are unavailable.
    fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> impl Future<Output = Result<TrailPage, TrailError>> + Send;
}

/// Why a trail could not be read, in the host's words.
pub type TrailError = Box<dyn Error + Send + Sync>;

/// What a trail tells of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailPage {
    /// The newest first.
    pub events: Vec<TrailEvent>,
    /// Whether these are all there ever were. If not, older ones may be missing.
    pub complete: bool,
}

/// Something that happened, with nothing borrowed: what a host writes to its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEvent {
    /// When.
    pub at: Timestamp,
    /// On whose behalf; empty if nobody said. The tenant may read it.
    pub actor: String,
    /// What, in one word such as `key_edited`.
    pub kind: String,
    /// What else is known of it, such as the scopes that the key has then; may be empty.
    pub detail: String,
}

impl TrailEvent {
    /// `event`, for a sink that keeps it.
    pub fn of(event: &AuditEvent<'_>) -> Self {
        let (kind, detail) = describe(&event.kind);
        Self { at: event.at, actor: event.actor.into(), kind: kind.into(), detail }
    }
}

fn describe(kind: &AuditKind<'_>) -> (&'static str, String) {
    let names = |scopes: &[Scope]| {
        let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
        if names.is_empty() { "no scopes".into() } else { names.join(" ") }
    };
    match kind {
        AuditKind::TenantCreated { tier } => ("tenant_created", (*tier).into()),
        AuditKind::TierChanged { from, to } => ("tier_changed", format!("{from} → {to}")),
        AuditKind::TenantSuspended { reason } => ("tenant_suspended", (*reason).into()),
        AuditKind::TenantResumed => ("tenant_resumed", String::new()),
        AuditKind::TenantDeleted => ("tenant_deleted", String::new()),
        AuditKind::KeyIssued { scopes } => ("key_issued", names(scopes)),
        AuditKind::KeyImported { scopes } => ("key_imported", names(scopes)),
        AuditKind::KeyEdited { scopes, enabled: true } => ("key_edited", names(scopes)),
        AuditKind::KeyEdited { scopes, enabled: false } => {
            ("key_edited", names(scopes) + ", disabled")
        }
        AuditKind::KeyRotated => ("key_rotated", String::new()),
        AuditKind::OverlapEnded => ("overlap_ended", String::new()),
        AuditKind::KeySuspended { reason } => ("key_suspended", (*reason).into()),
        AuditKind::KeyResumed => ("key_resumed", String::new()),
        AuditKind::KeyDeleted => ("key_deleted", String::new()),
        AuditKind::KeyRevoked => ("key_revoked", String::new()),
        AuditKind::LeakReported { reason, .. } => ("leak_reported", (*reason).into()),
        AuditKind::Rejected(rejection) => ("rejected", rejection.to_string()),
        AuditKind::Inactive(state) => ("inactive", state.as_str().into()),
        AuditKind::Tampered => ("tampered", String::new()),
        AuditKind::UnknownScopes(scopes) => ("unknown_scopes", names(scopes)),
        AuditKind::UnknownTier(tier) => ("unknown_tier", (*tier).into()),
        AuditKind::Unavailable => ("unavailable", String::new()),
        AuditKind::FeedGap => ("feed_gap", String::new()),
        AuditKind::UsesLost(number) => ("uses_lost", number.to_string()),
    }
}

/// A trail of any type.
pub(super) trait ErasedTrail: Send + Sync {
    fn read<'t>(&'t self, tenant: &'t TenantId, key: KeyId, limit: usize) -> Reading<'t>;
}

pub(super) type Reading<'t> =
    Pin<Box<dyn Future<Output = Result<TrailPage, TrailError>> + Send + 't>>;

impl<T: AuditTrail> ErasedTrail for T {
    fn read<'t>(&'t self, tenant: &'t TenantId, key: KeyId, limit: usize) -> Reading<'t> {
        Box::pin(self.of_key(tenant, key, limit))
    }
}
