//! Errors of changes to keys and tenants.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use crate::{
    import::ImportError,
    record::{InvalidField, Owner, RecordError, TenantRecord},
    scope::{List, Scope},
    tier::AllowanceProblem,
    time::{Span, Timestamp},
    token::MintError,
};

/// A key or tenant cannot be created or changed as requested. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// A text that was entered is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// A scope is not declared.
    #[error("scope `{}` is not declared", .0.escape_debug())]
    UnknownScope(String),
    /// A kind of resource is not declared.
    #[error("the kind of resource `{}` is not declared", .0.escape_debug())]
    UnknownResource(String),
    /// The tenant's tier, with the exceptions of the tenant, does not allow these scopes.
    #[error("tier `{tier}` does not allow {}", List(scopes))]
    AboveCeiling {
        /// The name of the tier.
        tier: String,
        /// The scopes that the tier does not allow.
        scopes: Vec<Scope>,
    },
    /// The granter does not have these scopes, so they cannot be passed on.
    ///
    /// The list includes names that the key holds and this node's catalog does not declare, because a newer
    /// node may know them. The list is empty if the granter is a set of another catalog.
    #[error("{}", AboveGranterText(.0))]
    AboveGranter(Vec<Scope>),
    /// The granter may not touch all of the key's resources of this kind, so they cannot be passed on.
    ///
    /// It may also be a kind that this node's catalog does not declare, because a newer node may know it.
    #[error("the granter may not touch all of these resources of the kind `{}`", .0.escape_debug())]
    ResourcesAboveGranter(String),
    /// The granter is limited to networks that do not include all of the key's.
    #[error("the granter is limited to networks that do not include all networks of the key")]
    NetworksAboveGranter,
    /// The owner is disabled in the tenant, so a new key would not be valid.
    #[error("the owner `{0}` is disabled")]
    OwnerDisabled(Owner),
    /// The handle is limited to the keys of one owner, and this is not a change of these.
    #[error("only the keys of `{0}` can be changed here")]
    OtherOwner(Owner),
    /// The granter is limited, and the owner may have keys that it does not cover.
    #[error("a limited granter cannot enable all keys of the owner `{0}`")]
    OwnerAboveGranter(Owner),
    /// The tenant has as many disabled owners as a record can hold. Delete the keys of an owner that does not come back,
    /// and enable that owner.
    #[error("{} owners are disabled; no more are possible", TenantRecord::MAX_DISABLED_OWNERS)]
    TooManyDisabledOwners,
    /// An exception is zero, so that nothing would be allowed.
    #[error("the {0} is zero")]
    ZeroException(&'static str),
    /// The allowances of an exception cannot be counted.
    #[error(transparent)]
    Allowances(#[from] AllowanceProblem),
    /// An exception has allowances, and nothing counts them.
    #[error("nothing counts allowances: give the builder a store with `shared_limits`")]
    NoLimitStore,
    /// The policy has no such tier.
    #[error("the policy has no tier `{}`", .0.escape_debug())]
    UnknownTier(String),
    /// The key would never be valid, because its expiry is not in the future.
    #[error("the expiry {0:?} is not in the future")]
    ExpiryInPast(Timestamp),
    /// The key would never be valid, because it would end before it begins.
    #[error("the key would end before it begins")]
    EndsBeforeStart,
    /// The tier does not allow the key to live that long. The lifetime counts from the creation of the key,
    /// or from its last rotation.
    #[error("tier `{tier}` allows keys to live for {} at most", Span(*allowed))]
    LifetimeTooLong {
        /// The name of the tier.
        tier: String,
        /// The longest lifetime that the tier allows, or the tenant's exception.
        allowed: Duration,
        /// The latest expiry that this key may have.
        latest: Timestamp,
    },
    /// The key has expired, by its own expiry or by its tier's longest lifetime. A new secret would not be
    /// valid either.
    #[error(
        "the key expired at {0:?}; move its expiry before it gets a new secret, or issue another key \
         if its tier ended it"
    )]
    Expired(Timestamp),
    /// The grace period is longer than [`GracePeriod::MAX`](super::GracePeriod::MAX).
    #[error("a grace period of {} is too long: at most {} are allowed", Span(*.0), Span(super::GracePeriod::MAX))]
    GracePeriodTooLong(Duration),
    /// The key has three accepted secrets, and it is unknown which of them are in use. No secret was ended.
    #[error(
        "the key has three secrets that are accepted, of which the next ends at {ends:?}; rotate it \
         then, or without a grace period, which ends all older ones at once"
    )]
    TooManySecrets {
        /// The time at which the first of the older secrets ends at the latest.
        ends: Timestamp,
    },
    /// The key cannot be imported from another system.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// No token could be minted.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// A record cannot be used: it was changed without the application's pepper, or the key belongs to another
    /// tenant.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The message of [`ChangeError::AboveGranter`].
struct AboveGranterText<'s>(&'s [Scope]);

impl fmt::Display for AboveGranterText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("the granter's scopes are of another catalog"),
            scopes => write!(f, "the granter does not hold {}", List(scopes)),
        }
    }
}
