//! The text of a new token, which can be read once.

use alloc::string::String;
use core::fmt;

use zeroize::Zeroizing;

/// The text of a new token. It exists only in this value.
///
/// [`reveal`](Self::reveal) returns the text and consumes this value, so it cannot be called twice. The value
/// cannot be cloned, compared, printed or serialized, and is wiped when it is dropped. Dropping it unrevealed
/// makes the key useless, so the compiler warns about it.
#[must_use = "a token that is not revealed is lost, and its key is useless"]
pub struct OneTimeToken(Zeroizing<String>);

impl OneTimeToken {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Returns the text, for a derivation that leaves the token as it is.
    #[cfg(feature = "children")]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Returns the text, which is wiped when the returned value is dropped.
    ///
    /// keyway cannot wipe copies of the text, such as a response or a line on a terminal.
    pub fn reveal(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken([redacted])")
    }
}
