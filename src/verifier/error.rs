//! The error of a verification.

use alloc::sync::Arc;
use core::{error::Error, fmt, time::Duration};

use super::breaker::Paused;
#[cfg(feature = "children")]
use super::children::TooManyFailures;
use crate::{
    bearer::CredentialError, decision::KeyState, grant::OutsideGrant, scope::MissingScope,
};

/// The reason why a caller was not verified, or may not do what it asked for.
///
/// The error reveals no more than the caller has proven to hold. A malformed, foreign, forged or unknown
/// token and a wrong secret are all [`Rejected`](Self::Rejected). Only the audit sink receives the
/// distinction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// No credential was presented. HTTP: 401, with a challenge and without an error code.
    Missing,
    /// The credential cannot be read. HTTP: 400.
    BadRequest,
    /// The token is not valid. HTTP: 401.
    Rejected,
    /// The caller holds the key, which is not active. HTTP: 401.
    Inactive(KeyState),
    /// The caller is verified, and its grant does not include what it asked for. HTTP: 403.
    Forbidden(OutsideGrant),
    /// The caller is verified and has used up the rate of its tier. HTTP: 429.
    Limited {
        /// How long the caller should wait.
        retry_after: Duration,
    },
    /// The caller is verified, and an [allowance](crate::allowance) of its tenant has not enough units left. HTTP: 429.
    UsedUp {
        /// The time until the next window of the allowance.
        retry_after: Duration,
    },
    /// The caller holds the key, but the key's record was changed by someone without the application's
    /// pepper. HTTP: 401. This is a reason for alarm.
    Tampered,
    /// The verification has no result. The store did not reply, a record cannot be read, or the policy lacks
    /// the tenant's tier. HTTP: 503.
    ///
    /// After a store has failed, requests that need it fail at once for a moment, and do not reach it. See
    /// [`Verifier`](crate::verifier::Verifier#when-the-store-is-away).
    Unavailable(Arc<dyn Error + Send + Sync>),
}

impl VerifyError {
    pub(super) fn unavailable(cause: Arc<impl Error + Send + Sync + 'static>) -> Self {
        Self::Unavailable(cause)
    }

    /// Returns whether the caller is denied. `false` means that the verification has no result.
    pub fn is_denied(&self) -> bool {
        !self.is_unavailable()
    }

    /// Returns how long the caller should wait before it tries again, if that is known. It is the time until
    /// the rate or the allowance allows another request, or until a store that has failed is tried again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after } | Self::UsedUp { retry_after } => Some(*retry_after),
            Self::Unavailable(cause) => {
                #[cfg(feature = "children")]
                if let Some(failures) = cause.downcast_ref::<TooManyFailures>() {
                    return Some(failures.retry_after());
                }
                cause.downcast_ref().copied().map(Paused::retry_after)
            }
            _ => None,
        }
    }

    /// Returns whether the verification has no result at present, and a later try may succeed.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no API key was presented"),
            Self::BadRequest => f.write_str("the API key cannot be read"),
            Self::Rejected => f.write_str("the API key is not valid"),
            Self::Inactive(state) => write!(f, "the API key cannot be used: {state}"),
            Self::Forbidden(outside) => fmt::Display::fmt(outside, f),
            Self::Limited { retry_after } => {
                write!(f, "too many requests with the API key; the next in {retry_after:?}")
            }
            Self::UsedUp { retry_after } => {
                write!(
                    f,
                    "the allowance of the tenant is used up; the next begins in {retry_after:?}"
                )
            }
            Self::Tampered => f.write_str("the record of the API key was tampered with"),
            Self::Unavailable(_) => f.write_str("API keys cannot be verified at present"),
        }
    }
}

impl Error for VerifyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(cause) => Some(&**cause),
            _ => None,
        }
    }
}

impl From<CredentialError> for VerifyError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Missing => Self::Missing,
            _ => Self::BadRequest,
        }
    }
}

impl From<MissingScope> for VerifyError {
    fn from(missing: MissingScope) -> Self {
        Self::Forbidden(missing.into())
    }
}
