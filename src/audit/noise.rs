//! Rejected requests that prove nothing and that anyone can send in any number.

use super::AuditKind;
use crate::token::Rejection;

/// A kind of rejected request that proves nothing.
///
/// The first [ten](Self::EVENTS_PER_SECOND) requests of each kind in a second are events of their own. The
/// others are counted. Their number is reported in one [`Suppressed`](super::AuditKind::Suppressed) event,
/// before the next event of that kind in a later second, by a flush of last uses, or when the verifier is
/// dropped. Each process counts separately.
///
/// A token with a valid tag proves that it was minted by this keyring, and its rejection is always an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Noise {
    /// A request without an API key.
    Missing,
    /// A request whose credential cannot be read.
    BadRequest,
    /// A request with a text that is not a token.
    Malformed,
    /// A request with a token that was not minted by this keyring.
    Forged,
    /// A request with a foreign token for which the store has no key.
    Unknown,
    /// A request with a token that may be valid, while the store is not queried because it failed a moment
    /// ago.
    Unavailable,
}

impl Noise {
    /// Number of requests of each kind per second that are events of their own.
    pub const EVENTS_PER_SECOND: u32 = 10;

    pub(super) const ALL: [Self; 6] = [
        Self::Missing,
        Self::BadRequest,
        Self::Malformed,
        Self::Forged,
        Self::Unknown,
        Self::Unavailable,
    ];

    /// Returns the event of one such request.
    pub(crate) fn kind(self) -> AuditKind<'static> {
        match self {
            Self::Missing => AuditKind::Missing,
            Self::BadRequest => AuditKind::BadRequest,
            Self::Malformed => AuditKind::Rejected(Rejection::Malformed),
            Self::Forged => AuditKind::Rejected(Rejection::Forged),
            Self::Unknown => AuditKind::Rejected(Rejection::Unknown),
            Self::Unavailable => AuditKind::Unavailable,
        }
    }
}
