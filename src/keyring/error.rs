//! Why something was not done.

use alloc::string::String;

use crate::{
    authority::ChangeError,
    record::{InvalidField, TenantId},
    seal::Tampered,
    store::StoreError,
    token::KeyId,
};

/// An operation was not done. Except after [`Unavailable`](Self::Unavailable), nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no such tenant.
    #[error("there is no tenant `{0}`")]
    NoTenant(TenantId),
    /// The tenant holds no such key.
    #[error("there is no such key")]
    NoKey,
    /// The tenant exists.
    #[error("tenant `{0}` exists already")]
    TenantExists(TenantId),
    /// The foreign key was imported before, under this id, for this tenant or another one. It may
    /// have been deleted since.
    #[error("the foreign key was imported before, as key `{0}`")]
    AlreadyImported(KeyId),
    /// A key was issued before for the same [idempotency key](crate::authority::NewKey::idempotency_key),
    /// under this id. It may have been changed or deleted since, and nobody can show its token again.
    #[error("the key of this request was issued before, as key `{0}`")]
    AlreadyIssued(KeyId),
    /// The tenant holds as many keys as its tier allows.
    #[error("tenant `{tenant}` holds {held} of the {allowed} keys that tier `{tier}` allows")]
    QuotaExceeded {
        /// The tenant.
        tenant: TenantId,
        /// Its tier.
        tier: String,
        /// How many keys the tier allows.
        allowed: u32,
        /// How many keys the tenant holds.
        held: u32,
    },
    /// Somebody else changed the record since it was read. Read it again.
    #[error("the record was changed by somebody else in the meantime")]
    Conflict,
    /// The request cannot be granted.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// The presented token is not that of any key.
    #[error("the token is not valid")]
    Rejected,
    /// The store did not answer, so nobody knows whether it was done.
    #[error("the store is not available")]
    Unavailable(#[source] StoreError),
}

impl KeyringError {
    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoTenant(_) | Self::NoKey)
    }

    /// Whether a record is not as keyway wrote it.
    pub fn is_tampered(&self) -> bool {
        matches!(self, Self::Refused(ChangeError::Tampered(_)))
    }

    /// What a store said of a key.
    pub(super) fn of_key(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NoKey,
            error => Self::of(error),
        }
    }

    /// What a store said of a tenant.
    pub(super) fn of_tenant(error: StoreError, tenant: &TenantId) -> Self {
        match error {
            StoreError::NotFound => Self::NoTenant(tenant.clone()),
            StoreError::Exists => Self::TenantExists(tenant.clone()),
            error => Self::of(error),
        }
    }

    /// What a store said that means the same everywhere.
    pub(super) fn of(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict,
            error => Self::Unavailable(error),
        }
    }
}

impl From<InvalidField> for KeyringError {
    fn from(error: InvalidField) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Tampered> for KeyringError {
    fn from(error: Tampered) -> Self {
        Self::Refused(error.into())
    }
}
