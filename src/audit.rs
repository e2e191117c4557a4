//! What happened, for those who have to know.

use crate::{
    authority::LeakResponse,
    decision::KeyState,
    scope::Scope,
    time::Timestamp,
    token::{KeyId, Rejection},
};

/// Takes note of what happens.
///
/// It observes and cannot decide: it returns nothing, and a panic in it is caught. It is called while
/// the operation waits, so it should hand the event on and return. It is not told of successful
/// verifications.
pub trait AuditSink: Send + Sync + 'static {
    /// `event` has happened.
    fn record(&self, event: &AuditEvent<'_>);
}

/// Something that happened. No part of it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent<'e> {
    /// When.
    pub at: Timestamp,
    /// On whose behalf, in the host's words; empty if it did not say, and for verifications.
    pub actor: &'e str,
    /// Whose key or which tenant, as far as it is known.
    pub tenant: Option<&'e str>,
    /// Which key, as far as the caller proved that the id was minted here.
    pub key: Option<KeyId>,
    /// What.
    pub kind: AuditKind<'e>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditKind<'e> {
    /// A tenant was created.
    TenantCreated {
        /// On this tier.
        tier: &'e str,
    },
    /// A tenant was moved to another tier.
    TierChanged {
        /// From this one.
        from: &'e str,
        /// To this one.
        to: &'e str,
    },
    /// A tenant was suspended.
    TenantSuspended {
        /// Why.
        reason: &'e str,
    },
    /// A tenant's suspension was lifted.
    TenantResumed,
    /// A tenant and its keys were deleted.
    TenantDeleted,
    /// A key was issued.
    KeyIssued {
        /// With these scopes.
        scopes: &'e [Scope],
    },
    /// A key was taken over from another system.
    KeyImported {
        /// With these scopes.
        scopes: &'e [Scope],
    },
    /// A key was edited.
    KeyEdited {
        /// It has these scopes now.
        scopes: &'e [Scope],
        /// Whether it is switched on now.
        enabled: bool,
    },
    /// A key has a new secret.
    KeyRotated,
    /// The secret before the last rotation ended with the first use of the new one.
    OverlapEnded,
    /// A key was suspended.
    KeySuspended {
        /// Why.
        reason: &'e str,
    },
    /// A key's suspension was lifted.
    KeyResumed,
    /// A key was deleted.
    KeyDeleted,
    /// A key was deleted by its holder.
    KeyRevoked,
    /// A token was found where it should not be. Every report is told, whether or not the key was like
    /// that already.
    LeakReported {
        /// Why it is thought so.
        reason: &'e str,
        /// What was done about its key.
        response: LeakResponse,
    },
    /// A presented token was refused.
    Rejected(Rejection),
    /// A proven key was refused for its state.
    Inactive(KeyState),
    /// A record's seal is broken, or it cannot be read: somebody without the host's pepper wrote to
    /// the store.
    Tampered,
    /// The policy lacks scopes that a key was granted. They allow nothing.
    UnknownScopes(&'e [Scope]),
    /// The policy lacks a tenant's tier, so its keys are refused.
    UnknownTier(&'e str),
    /// The store could not answer.
    Unavailable,
    /// The change feed begins, or it was cut and changes may have been missed. All that was cached is
    /// read again.
    FeedGap,
    /// Last uses could not be kept, and this many of them are lost.
    UsesLost(u64),
}
