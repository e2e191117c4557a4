//! Errors of keyring operations.

use alloc::string::String;

use crate::{
    audit::Refusal,
    authority::ChangeError,
    record::{InvalidField, RecordError, TenantId},
    store::StoreError,
    token::KeyId,
};

/// An operation failed. Nothing was changed, except possibly after [`Unavailable`](Self::Unavailable).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no such tenant.
    #[error("there is no tenant `{0}`")]
    NoTenant(TenantId),
    /// The tenant holds no such key.
    #[error("there is no such key")]
    NoKey,
    /// A tenant with this id exists already.
    #[error("tenant `{0}` exists already")]
    TenantExists(TenantId),
    /// The foreign key was imported before, under this id, for this tenant or another one. The imported key
    /// may have been deleted since.
    #[error("the foreign key was imported before, as key `{0}`")]
    AlreadyImported(KeyId),
    /// A key was issued before for the same [idempotency key](crate::authority::NewKey::idempotency_key),
    /// under this id. The key may have been changed or deleted since. Its token cannot be shown again.
    #[error("the key of this request was issued before, as key `{0}`")]
    AlreadyIssued(KeyId),
    /// The tenant holds as many keys as its tier allows.
    #[error("tier `{tier}` allows tenant `{tenant}` no further key: it holds {held} of {allowed}")]
    QuotaExceeded {
        /// The tenant's id.
        tenant: TenantId,
        /// The tenant's tier.
        tier: String,
        /// The number of keys that the tier allows.
        allowed: u32,
        /// The number of keys that the tenant holds.
        held: u32,
    },
    /// Another caller changed the record since it was read. Read it again.
    #[error("the record was changed by somebody else in the meantime")]
    Conflict,
    /// The request cannot be granted.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// The presented token is not the token of any key.
    #[error("the token is not valid")]
    Rejected,
    /// The store failed or did not respond. The outcome of the operation is unknown.
    #[error("the store is not available")]
    Unavailable(#[source] StoreError),
}

impl KeyringError {
    /// Returns whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Returns whether the requested tenant or key does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoTenant(_) | Self::NoKey)
    }

    /// Returns whether a record is not as keyway wrote it.
    pub fn is_tampered(&self) -> bool {
        matches!(self, Self::Refused(ChangeError::Record(RecordError::Tampered)))
    }

    /// Returns the status of an HTTP response for this error, for an application with routes of its own that
    /// manage keys.
    ///
    /// | status | errors |
    /// |---|---|
    /// | 404 | no such tenant or key; the token in the request's body is not that of any key |
    /// | 409 | exists already, was issued or imported before, the quota is used up, another change came first, the key has expired |
    /// | 422 | a value of the request cannot be granted |
    /// | 500 | a record is broken, or the operating system has no randomness |
    /// | 503 | the store did not respond |
    ///
    /// Two statuses depend on the route. Use 412 for [`Conflict`](Self::Conflict) where the version comes from
    /// `If-Match`. Use 401 for [`Rejected`](Self::Rejected) where the token is the credential of the request.
    ///
    /// The message of an error of status 500 or 503 is for the log. The other messages may be shown to the
    /// caller, and can repeat the caller's own values.
    ///
    /// ```
    /// use keyway::KeyringError;
    ///
    /// fn respond(error: &KeyringError) -> (u16, String) {
    ///     match error.http_status() {
    ///         status @ 500.. => (status, "try again later".into()),
    ///         status => (status, error.to_string()),
    ///     }
    /// }
    ///
    /// assert_eq!(respond(&KeyringError::NoKey), (404, "there is no such key".into()));
    /// ```
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NoTenant(_) | Self::NoKey | Self::Rejected => 404,
            Self::TenantExists(_)
            | Self::AlreadyImported(_)
            | Self::AlreadyIssued(_)
            | Self::QuotaExceeded { .. }
            | Self::Conflict
            | Self::Refused(ChangeError::Expired(_)) => 409,
            // The caller cannot mend these: another tenant's key comes from a mistake of the application.
            Self::Refused(ChangeError::Mint(_) | ChangeError::Record(_))
            | Self::Unavailable(StoreError::Corrupt(_)) => 500,
            Self::Refused(_) => 422,
            Self::Unavailable(_) => 503,
        }
    }

    /// Returns the category of the error, for the audit sink.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::NoTenant(_) | Self::NoKey => Refusal::NotFound,
            Self::TenantExists(_) | Self::AlreadyImported(_) | Self::AlreadyIssued(_) => {
                Refusal::Exists
            }
            Self::QuotaExceeded { .. } => Refusal::QuotaExceeded,
            Self::Conflict => Refusal::Conflict,
            Self::Refused(_) => Refusal::NotAllowed,
            Self::Rejected => Refusal::Rejected,
            Self::Unavailable(_) => Refusal::Unavailable,
        }
    }

    /// Converts a store error of an operation on a key.
    pub(super) fn of_key(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NoKey,
            error => Self::of(error),
        }
    }

    /// Converts a store error of an operation on a tenant.
    pub(super) fn of_tenant(error: StoreError, tenant: &TenantId) -> Self {
        match error {
            StoreError::NotFound => Self::NoTenant(tenant.clone()),
            StoreError::Exists => Self::TenantExists(tenant.clone()),
            error => Self::of(error),
        }
    }

    /// Converts a store error that has the same meaning for all operations.
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

impl From<RecordError> for KeyringError {
    fn from(error: RecordError) -> Self {
        Self::Refused(error.into())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{record::RecordError, time::Timestamp};

    #[test]
    fn http_status_follows_who_can_mend_the_error() {
        let tenant: TenantId = "acme".parse().unwrap();
        let id: KeyId = "A000000000000000".parse().unwrap();
        let invalid = TenantId::try_from("").unwrap_err();
        let quota = KeyringError::QuotaExceeded {
            tenant: tenant.clone(),
            tier: "lite".into(),
            allowed: 1,
            held: 1,
        };
        let statuses = [
            (KeyringError::NoTenant(tenant.clone()), 404),
            (KeyringError::NoKey, 404),
            (KeyringError::Rejected, 404),
            (KeyringError::TenantExists(tenant), 409),
            (KeyringError::AlreadyImported(id), 409),
            (KeyringError::AlreadyIssued(id), 409),
            (quota, 409),
            (KeyringError::Conflict, 409),
            (ChangeError::Expired(Timestamp::MIN).into(), 409),
            (invalid.into(), 422),
            (ChangeError::AboveGranter(vec![]).into(), 422),
            (ChangeError::UnknownTier("gone".into()).into(), 422),
            (ChangeError::ExpiryInPast(Timestamp::MIN).into(), 422),
            (ChangeError::Record(RecordError::Misplaced).into(), 500),
            (KeyringError::Unavailable(RecordError::UnreadableKey(None).into()), 500),
            (KeyringError::Unavailable(StoreError::unavailable("away")), 503),
        ];
        for (error, status) in statuses {
            assert_eq!(error.http_status(), status, "{error:?}");
        }
    }
}
