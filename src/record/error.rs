//! The error of a stored record.

use alloc::string::String;

use crate::token::KeyId;

/// A stored record cannot be used.
///
/// Another program has written to the store, a disk has lost data, or this node has other peppers or another
/// policy than the node that wrote the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are not the record of a key in a version that this release knows, or they contradict the
    /// other columns of the row. The id is known if the store knows it. Its tenant can delete the key.
    #[error(
        "the row{} is not the record of a key in a version that is known here",
        .0.map(|id| alloc::format!(" of key {id}")).unwrap_or_default()
    )]
    UnreadableKey(Option<KeyId>),
    /// The bytes are not the record of a tenant in a version that this release knows, or they contradict the
    /// other columns of the row.
    #[error("the row is not the record of a tenant in a version that is known here")]
    UnreadableTenant,
    /// The record was changed without the application's pepper, or was sealed with a pepper that is no longer
    /// accepted.
    #[error("the seal of the record is broken")]
    Tampered,
    /// The record is not the one that belongs here: a key of another tenant, or another row of the store.
    #[error("the record is in the place of another one, or of another tenant")]
    Misplaced,
    /// The policy does not have the tenant's tier, so it is unknown what the tenant's keys may do.
    #[error("the policy has no tier `{}`", .0.escape_debug())]
    UnknownTier(String),
}
