//! Errors of the keyring as problems: each has exactly one.

use alloc::string::ToString;

use super::problem::Problem;
use crate::{
    authority::ChangeError, keyring::KeyringError, record::InvalidField, store::StoreError,
};

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::NoTenant(_) | KeyringError::NoKey | KeyringError::Rejected => {
                Self::not_found()
            }
            KeyringError::AlreadyIssued(_) => Self::already_issued(),
            KeyringError::QuotaExceeded { held, allowed, tier, .. } => {
                let detail = alloc::format!("{held} of the {allowed} keys of the tier are held");
                Self::quota().with_detail(detail).with_quota(held, allowed, tier)
            }
            KeyringError::Conflict => Self::changed(),
            KeyringError::Refused(error) => error.into(),
            // What cannot be read will not get better by waiting; and the console makes no tenants and
            // imports no keys.
            KeyringError::Unavailable(StoreError::Corrupt(_))
            | KeyringError::TenantExists(_)
            | KeyringError::AlreadyImported(_) => Self::fault(),
            KeyringError::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Invalid(invalid) => match invalid.field() {
                "the name of the key" => Self::invalid_field("name", invalid.to_string()),
                "the reason of the suspension" => {
                    Self::invalid_field("reason", invalid.to_string())
                }
                // The actor is of the host's making.
                _ => Self::fault(),
            },
            // It might repeat what was entered.
            ChangeError::Scope(_) => Self::invalid_field("scopes", "there is no such scope"),
            ChangeError::AboveCeiling { scopes, .. } => {
                Self::above_tier().with_detail(error.to_string()).with_scopes(scopes)
            }
            ChangeError::AboveGranter(scopes) => {
                Self::granter().with_detail(error.to_string()).with_scopes(scopes)
            }
            ChangeError::ExpiryInPast(_)
            | ChangeError::EndsBeforeStart
            | ChangeError::LifetimeTooLong { .. } => {
                Self::invalid_field("expires_at", error.to_string())
            }
            ChangeError::Expired(_) => Self::key_expired(),
            ChangeError::OverlapTooLong(_) => Self::invalid_field("overlap", error.to_string()),
            ChangeError::UnknownTier(_)
            | ChangeError::OtherTenant
            | ChangeError::Import(_)
            | ChangeError::Mint(_)
            | ChangeError::Tampered(_) => Self::fault(),
        }
    }
}

/// The member `field` holds a text that cannot be kept.
pub(super) fn invalid_text(field: &'static str) -> impl FnOnce(InvalidField) -> Problem {
    move |invalid| Problem::invalid_field(field, invalid.to_string())
}
