//! The error of importing a key.

use super::ForeignHash;
use crate::time::Timestamp;

/// A key cannot be imported as requested. Nothing was changed. No message contains any part of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The digest has other characters than hexadecimal digits, or an odd number of them.
    #[error("the digest is not pairs of hexadecimal digits")]
    DigestHex,
    /// The digest is not base64.
    #[error("the digest is not base64")]
    DigestBase64,
    /// The digest has the length of neither hash. It is of another hash or in another encoding.
    #[error("a digest has 32 bytes (SHA-256) or 64 (SHA-512), and this one has {0}")]
    DigestLength(usize),
    /// The digest has the length of another hash.
    #[error("the digest is of {given}, and the format digests with {expected}")]
    Hash {
        /// The format's hash.
        expected: ForeignHash,
        /// The hash that has digests of this length.
        given: ForeignHash,
    },
    /// The format has a public part between its prefix and its secret, and none was given.
    #[error("the format has a public part between its prefix and its secret, and it is missing")]
    PublicMissing,
    /// The format has no public part after its prefix, and one was given.
    #[error("the format has no public part behind its prefix")]
    PublicNotNeeded,
    /// The public part has invalid characters or the wrong number of separators, or is too long.
    #[error("the public part does not fit between the format's prefix and its secret")]
    PublicMalformed,
    /// No accepted format has such tokens, so the key could never be verified.
    #[error("no foreign format that is accepted here makes such tokens with {0}")]
    NotAccepted(ForeignHash),
    /// The last use is in the future by this node's clock, so it comes from a wrong clock or unit.
    #[error("the last use {0:?} is in the future")]
    LastUsedInFuture(Timestamp),
    /// The masked key reveals the token: it equals the token or its secret part, or contains one of them as
    /// a word.
    #[error("the masked key is the token itself")]
    MaskedIsToken,
}
