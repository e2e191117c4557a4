//! Audit events in words, for sinks that write text.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{AuditEvent, AuditKind, KeyLimits};
use crate::scope::Scope;

/// Returns whether no event of a key comes before one of this kind. `kind` is a result of [`AuditKind::as_str`].
#[cfg(feature = "console")]
pub(crate) fn begins_history(kind: &str) -> bool {
    matches!(kind, "key_issued" | "key_imported")
}

impl AuditEvent<'_> {
    /// Returns the rest of the event as text: the [details](AuditKind::detail) of its kind, and the child that was presented.
    /// Empty if there is no more.
    pub fn detail(&self) -> String {
        let detail = self.kind.detail();
        match self.child {
            None => detail,
            Some(child) if detail.is_empty() => format!("child {child}"),
            Some(child) => format!("{detail}, child {child}"),
        }
    }
}

impl AuditKind<'_> {
    /// Returns the kind in one word, such as `key_edited`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TenantCreated { .. } => "tenant_created",
            Self::TierChanged { .. } => "tier_changed",
            Self::ExceptionsChanged { .. } => "exceptions_changed",
            Self::OwnerDisabled { .. } => "owner_disabled",
            Self::OwnerEnabled { .. } => "owner_enabled",
            Self::TenantSuspended { .. } => "tenant_suspended",
            Self::TenantResumed => "tenant_resumed",
            Self::TenantDeleted => "tenant_deleted",
            Self::KeyIssued { .. } => "key_issued",
            Self::KeyImported { .. } => "key_imported",
            Self::KeyEdited { .. } => "key_edited",
            Self::KeyRotated => "key_rotated",
            Self::GracePeriodEnded => "grace_period_ended",
            Self::KeySuspended { .. } => "key_suspended",
            Self::KeyResumed => "key_resumed",
            Self::KeyDeleted => "key_deleted",
            Self::KeyRevoked => "key_revoked",
            Self::LeakReported { .. } => "leak_reported",
            Self::ChangeRefused { .. } => "change_refused",
            Self::Missing => "missing",
            Self::BadRequest => "bad_request",
            Self::Rejected(_) => "rejected",
            Self::Inactive(_) => "inactive",
            Self::Forbidden { .. } => "forbidden",
            Self::OtherResource { .. } => "other_resource",
            Self::OtherNetwork => "other_network",
            Self::OtherAudience => "other_audience",
            Self::Limited { .. } => "limited",
            Self::Suppressed { .. } => "suppressed",
            Self::Tampered => "tampered",
            Self::UnknownScopes(_) => "unknown_scopes",
            Self::UnknownTier(_) => "unknown_tier",
            Self::Unavailable => "unavailable",
            Self::FeedGap => "feed_gap",
            Self::UsesLost(_) => "uses_lost",
        }
    }

    /// Returns the rest of the event as text, such as the scopes of a key; empty if there is no more.
    pub fn detail(&self) -> String {
        match self {
            Self::TenantCreated { tier } | Self::UnknownTier(tier) => (*tier).into(),
            Self::TierChanged { from, to } => format!("{from} → {to}"),
            Self::ExceptionsChanged { from, to } => format!("{from} → {to}"),
            Self::OwnerDisabled { owner } | Self::OwnerEnabled { owner } => (*owner).into(),
            Self::TenantSuspended { reason }
            | Self::KeySuspended { reason }
            | Self::LeakReported { reason, .. } => (*reason).into(),
            Self::OtherResource { kind } => (*kind).into(),
            Self::KeyIssued { scopes, limits }
            | Self::KeyImported { scopes, limits }
            | Self::KeyEdited { scopes, limits, enabled: true } => granted(scopes, *limits),
            Self::KeyEdited { scopes, limits, enabled: false } => {
                granted(scopes, *limits) + ", disabled"
            }
            Self::Forbidden { scopes } | Self::UnknownScopes(scopes) => names(scopes),
            Self::ChangeRefused { change, detail, .. } => format!("{}: {detail}", change.as_str()),
            Self::Limited { retry_after } => format!("{retry_after:?}"),
            Self::Suppressed { noise, count } => format!("{count} {noise:?}"),
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Inactive(state) => state.as_str().into(),
            Self::UsesLost(number) => number.to_string(),
            Self::TenantResumed
            | Self::TenantDeleted
            | Self::KeyRotated
            | Self::GracePeriodEnded
            | Self::KeyResumed
            | Self::KeyDeleted
            | Self::KeyRevoked
            | Self::Missing
            | Self::BadRequest
            | Self::OtherNetwork
            | Self::OtherAudience
            | Self::Tampered
            | Self::Unavailable
            | Self::FeedGap => String::new(),
        }
    }
}

fn granted(scopes: &[Scope], limits: KeyLimits<'_>) -> String {
    let between = if limits.is_empty() { "" } else { "; " };
    format!("{}{between}{limits}", names(scopes))
}

fn names(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
    if names.is_empty() { "no scopes".into() } else { names.join(" ") }
}
