//! Errors of stores.

use alloc::boxed::Box;
use core::{error::Error, fmt};

use crate::record::RecordError;

/// An error of a store operation. Nothing was written, except that after [`Unavailable`](Self::Unavailable)
/// the outcome is unknown.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The id is taken.
    Exists,
    /// There is no such record.
    NotFound,
    /// The stored version is not the one that the call named.
    Conflict,
    /// The tenant holds as many keys as allowed, or more.
    QuotaFull,
    /// A record cannot be read.
    Corrupt(RecordError),
    /// The store did not respond, or responded with an error of its own.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Creates [`Unavailable`](Self::Unavailable) with `cause` as its source.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("the id is taken"),
            Self::NotFound => f.write_str("there is no such record"),
            Self::Conflict => f.write_str("the record was changed by somebody else"),
            Self::QuotaFull => f.write_str("the tenant holds as many keys as it may"),
            Self::Corrupt(_) => f.write_str("a record cannot be read"),
            Self::Unavailable(_) => f.write_str("the store did not respond"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(cause) => Some(cause),
            Self::Unavailable(cause) => Some(&**cause),
            Self::Exists | Self::NotFound | Self::Conflict | Self::QuotaFull => None,
        }
    }
}

impl From<RecordError> for StoreError {
    fn from(cause: RecordError) -> Self {
        Self::Corrupt(cause)
    }
}
