//! Why a key or tenant was not changed.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::ImportError;
use crate::{
    record::InvalidField,
    scope::{CatalogError, List, Scope},
    seal::Tampered,
    text::Span,
    time::Timestamp,
    token::MintError,
};

/// A key or tenant cannot be made or changed as asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// A text that somebody entered.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// A scope is not declared.
    #[error(transparent)]
    Scope(#[from] CatalogError),
    /// The tenant's tier does not allow these scopes.
    #[error("tier `{tier}` does not allow {}", List(scopes))]
    AboveCeiling {
        /// The tier.
        tier: String,
        /// The scopes that it lacks.
        scopes: Vec<Scope>,
    },
    /// Whoever asks does not have these scopes themselves, so they cannot pass them on.
    #[error("whoever grants {} must have it too", List(.0))]
    AboveGranter(Vec<Scope>),
    /// The policy has no such tier.
    #[error("the policy has no tier `{}`", .0.escape_debug())]
    UnknownTier(String),
    /// The key would never be valid.
    #[error("the expiry {0:?} is not in the future")]
    ExpiryInPast(Timestamp),
    /// The key would never be valid.
    #[error("the key would end before it begins")]
    EndsBeforeStart,
    /// The tier does not allow the key to live that long.
    #[error("tier `{tier}` allows keys to live for {} at most", Span(*allowed))]
    LifetimeTooLong {
        /// The tier.
        tier: String,
        /// The longest lifetime.
        allowed: Duration,
    },
    /// The key has expired, so a new secret would not be valid either.
    #[error("the key expired at {0:?}; extend its expiry before it gets a new secret")]
    Expired(Timestamp),
    /// The old secret would live on for too long.
    #[error("an overlap of {} is too long: at most {} are allowed", Span(*.0), Span(super::Overlap::MAX))]
    OverlapTooLong(Duration),
    /// The key belongs to another tenant.
    #[error("the key is of another tenant")]
    OtherTenant,
    /// The key cannot be taken over from another system.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// No token could be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The record was changed by somebody without the host's pepper.
    #[error(transparent)]
    Tampered(#[from] Tampered),
}
