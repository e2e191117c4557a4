//! The name of a child in logs.

use core::fmt;

#[cfg(feature = "children")]
use base64ct::{Base64UrlUnpadded, Encoding as _};

/// The id of a child in audit events: the first 12 bytes of the SHA-256 of its text, in base64url. It is not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId([u8; 16]);

impl ChildId {
    /// Returns the id of the child whose text has this digest.
    #[cfg(feature = "children")]
    pub(crate) fn of(digest: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        let (head, _) = digest.split_at(12);
        // INVARIANT: 12 bytes are 16 characters.
        let written = Base64UrlUnpadded::encode(head, &mut id);
        debug_assert!(written.is_ok(), "16 characters hold 12 bytes");
        Self(id)
    }

    /// Returns the characters as a string.
    pub fn as_str(&self) -> &str {
        // INVARIANT: base64url is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
