//! Why a caller was not verified.

use alloc::sync::Arc;
use core::{error::Error, fmt, time::Duration};

use crate::{authorization::BearerError, decision::KeyState, scope::MissingScope};

/// Why a caller was not verified, or may not do what it asked for.
///
/// It never says more to somebody than they have proven to hold: a malformed, foreign, forged and
/// unknown token and a wrong secret are all [`Rejected`](Self::Rejected), and only the audit sink is
/// told which.
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
    /// The caller is verified and lacks a scope. HTTP: 403.
    Forbidden(MissingScope),
    /// The caller is verified and has used up the rate of its tier. HTTP: 429.
    Limited {
        /// How long it should wait.
        retry_after: Duration,
    },
    /// The caller holds the key, whose record somebody has changed without the host's pepper. HTTP:
    /// 401, and reason for alarm.
    Tampered,
    /// Nobody can tell: the store did not answer, or the policy lacks the tenant's tier. HTTP: 503.
    Unavailable(Arc<dyn Error + Send + Sync>),
}

impl VerifyError {
    pub(super) fn unavailable(cause: Arc<impl Error + Send + Sync + 'static>) -> Self {
        Self::Unavailable(cause)
    }

    /// Whether the caller is refused, as opposed to nobody being able to tell.
    pub fn is_denied(&self) -> bool {
        !self.is_unavailable()
    }

    /// Whether nobody can tell at present, and a later try may succeed.
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
            Self::Forbidden(missing) => fmt::Display::fmt(missing, f),
            Self::Limited { retry_after } => {
                write!(f, "too many requests with the API key; the next in {retry_after:?}")
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

impl From<BearerError> for VerifyError {
    fn from(error: BearerError) -> Self {
        match error {
            BearerError::Missing => Self::Missing,
            BearerError::Unreadable => Self::BadRequest,
        }
    }
}

impl From<MissingScope> for VerifyError {
    fn from(missing: MissingScope) -> Self {
        Self::Forbidden(missing)
    }
}
