//! Audit events for operators: changes that were made or refused, and requests that were rejected.

mod limits;
#[cfg(feature = "tracing")]
mod log;
mod noise;
#[cfg(feature = "std")]
mod sampler;
mod words;

use core::time::Duration;

#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use self::log::TracingSink;
#[cfg(feature = "std")]
pub(crate) use self::sampler::Sampler;
#[cfg(feature = "console")]
pub(crate) use self::words::begins_history;
pub use self::{limits::KeyLimits, noise::Noise};
pub use crate::token::{ChildId, Rejection};
use crate::{
    authority::LeakResponse, decision::KeyState, record::Exceptions, scope::Scope, time::Timestamp,
    token::KeyId,
};

/// Receives audit events.
///
/// The sink receives every change, made or refused, and every request that is rejected by a verifier, by a
/// guard, or at a holder's endpoint. It does not receive successful verifications, or reads by callers that
/// manage keys.
///
/// Requests that prove nothing cost their sender nothing, so their events are sampled. See [`Noise`].
///
/// A crash between a change and the call loses the event. Durable [events](crate::event) are written with their
/// changes.
///
/// A sink observes and cannot affect the operation: `record` returns nothing, and a panic in it is caught.
/// The operation waits for `record`, so it should pass the event on and return.
pub trait AuditSink: Send + Sync + 'static {
    /// Records `event`, which has happened.
    fn record(&self, event: &AuditEvent<'_>);
}

/// An audit event. No part of it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent<'e> {
    /// The time of the event.
    pub at: Timestamp,
    /// The actor, in the application's own words. Empty for verifications, and if the application did not
    /// set it.
    pub actor: &'e str,
    /// The tenant's id, if it is known.
    pub tenant: Option<&'e str>,
    /// The key. For a request, this is set only if the caller proved that the id was minted by this keyring.
    /// For a refused change, it is the requested key.
    pub key: Option<KeyId>,
    /// The [child](https://docs.rs/keyway/latest/keyway/children/index.html) of the key that was presented in its place.
    pub child: Option<ChildId>,
    /// The kind of the event, with its details.
    pub kind: AuditKind<'e>,
}

/// The kind of an event, with its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditKind<'e> {
    /// A tenant was created.
    TenantCreated {
        /// The name of its tier.
        tier: &'e str,
    },
    /// A tenant was moved to another tier.
    TierChanged {
        /// The name of the old tier.
        from: &'e str,
        /// The name of the new tier.
        to: &'e str,
    },
    /// The exceptions of a tenant from its tier were changed.
    ExceptionsChanged {
        /// The exceptions before.
        from: &'e Exceptions,
        /// The exceptions after.
        to: &'e Exceptions,
    },
    /// An owner of a tenant was disabled, and with it the use of all of the owner's keys.
    OwnerDisabled {
        /// The id of the owner.
        owner: &'e str,
    },
    /// An owner of a tenant was enabled again.
    OwnerEnabled {
        /// The id of the owner.
        owner: &'e str,
    },
    /// A tenant was suspended.
    TenantSuspended {
        /// The reason of the suspension.
        reason: &'e str,
    },
    /// A tenant's suspension was lifted.
    TenantResumed,
    /// A tenant and its keys were deleted.
    TenantDeleted,
    /// A key was issued.
    KeyIssued {
        /// The granted scopes.
        scopes: &'e [Scope],
        /// The other limits.
        limits: KeyLimits<'e>,
    },
    /// A key was imported from another system.
    KeyImported {
        /// The granted scopes.
        scopes: &'e [Scope],
        /// The other limits.
        limits: KeyLimits<'e>,
    },
    /// A key was edited.
    KeyEdited {
        /// The scopes after the edit.
        scopes: &'e [Scope],
        /// The other limits after the edit.
        limits: KeyLimits<'e>,
        /// Whether the key is enabled after the edit.
        enabled: bool,
    },
    /// A key got a new secret.
    KeyRotated,
    /// The first use of a newer secret ended the grace period of an older one.
    GracePeriodEnded,
    /// A key was suspended.
    KeySuspended {
        /// The reason of the suspension.
        reason: &'e str,
    },
    /// A key's suspension was lifted.
    KeyResumed,
    /// A key was deleted.
    KeyDeleted,
    /// A key was deleted by its holder.
    KeyRevoked,
    /// A token was found where it should not be. Every report is an event, even if it changed nothing.
    LeakReported {
        /// The reason that the reporter gave.
        reason: &'e str,
        /// The response to the leak.
        response: LeakResponse,
    },
    /// A change was requested and not made. The event names the tenant and the key if they are known. If the
    /// seal of a record is broken, [`Tampered`](Self::Tampered) is the only event. A leak report of a token
    /// that belongs to no key is not an event.
    ChangeRefused {
        /// The requested change.
        change: ChangeKind,
        /// The category of the reason.
        refusal: Refusal,
        /// The reason in words: the text of the error that the caller got.
        detail: &'e str,
    },
    /// A guard rejected a request without an API key.
    Missing,
    /// A guard rejected a request whose credential cannot be read.
    BadRequest,
    /// A presented token was rejected.
    Rejected(Rejection),
    /// A key was rejected because of its state. The token was valid.
    Inactive(KeyState),
    /// A guard rejected a verified caller whose key lacks scopes.
    Forbidden {
        /// The scopes that the key lacks. If the route requires any one of several scopes, these are all of
        /// them.
        scopes: &'e [Scope],
    },
    /// A guard rejected a verified caller whose key may not touch a resource of this kind.
    OtherResource {
        /// The name of the kind.
        kind: &'e str,
    },
    /// A key was rejected because it may not be used from the network of the client. The token was valid.
    OtherNetwork,
    /// A child was rejected because it is for another place, or because the place accepts no children. Its signature was
    /// valid.
    OtherAudience,
    /// A guard rejected a verified caller that has used up its rate, or an allowance of its tenant.
    Limited {
        /// The time after which the caller may retry.
        retry_after: Duration,
    },
    /// Rejected requests of one kind that were not reported one by one.
    Suppressed {
        /// The kind of the requests.
        noise: Noise,
        /// The number of requests since the last event with this kind of noise.
        count: u64,
    },
    /// The seal of a record is broken, or the record cannot be read. The store was written to without the
    /// application's pepper.
    Tampered,
    /// The policy does not declare scopes that a key was granted. They allow nothing.
    UnknownScopes(&'e [Scope]),
    /// The policy does not have a tenant's tier, so the tenant's keys are rejected.
    UnknownTier(&'e str),
    /// The store failed, or was not queried because it failed a moment ago.
    Unavailable,
    /// The change feed started, or it was interrupted and changes may have been missed. All cached data is
    /// read again.
    FeedGap,
    /// This many last uses could not be kept and are lost.
    UsesLost(u64),
}

/// A change that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Creating a tenant.
    CreateTenant,
    /// Moving a tenant to another tier.
    SetTier,
    /// Changing the exceptions of a tenant from its tier.
    SetExceptions,
    /// Disabling an owner of a tenant.
    DisableOwner,
    /// Enabling an owner of a tenant.
    EnableOwner,
    /// Suspending a tenant.
    SuspendTenant,
    /// Lifting a tenant's suspension.
    ResumeTenant,
    /// Deleting a tenant.
    DeleteTenant,
    /// Issuing a key.
    IssueKey,
    /// Importing a key.
    ImportKey,
    /// Editing, enabling or disabling a key.
    EditKey,
    /// Giving a key a new secret.
    RotateKey,
    /// Suspending a key.
    SuspendKey,
    /// Lifting a key's suspension.
    ResumeKey,
    /// Deleting a key.
    DeleteKey,
    /// Deleting a key, by its holder.
    RevokeKey,
    /// Reporting a leaked token.
    ReportLeak,
    /// Making a child of a key, for its holder. Nothing is stored, so only refusals are events.
    MintChild,
}

impl ChangeKind {
    /// Returns the change as one word, such as `issue_key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateTenant => "create_tenant",
            Self::SetTier => "set_tier",
            Self::SetExceptions => "set_exceptions",
            Self::DisableOwner => "disable_owner",
            Self::EnableOwner => "enable_owner",
            Self::SuspendTenant => "suspend_tenant",
            Self::ResumeTenant => "resume_tenant",
            Self::DeleteTenant => "delete_tenant",
            Self::IssueKey => "issue_key",
            Self::ImportKey => "import_key",
            Self::EditKey => "edit_key",
            Self::RotateKey => "rotate_key",
            Self::SuspendKey => "suspend_key",
            Self::ResumeKey => "resume_key",
            Self::DeleteKey => "delete_key",
            Self::RevokeKey => "revoke_key",
            Self::ReportLeak => "report_leak",
            Self::MintChild => "mint_child",
        }
    }
}

/// The category of the reason why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such tenant or key. Another tenant's key is reported in this way too.
    NotFound,
    /// The tenant or key exists already, or existed before.
    Exists,
    /// The tenant holds as many keys as its tier allows.
    QuotaExceeded,
    /// Another change was made first.
    Conflict,
    /// The request cannot be granted. It exceeds the tier or the granter, or violates another rule.
    NotAllowed,
    /// The presented token is not the token of any key.
    Rejected,
    /// The store failed or did not respond. The outcome of the change is unknown.
    Unavailable,
}
