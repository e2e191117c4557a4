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
pub struct OneTimeToken {
    text: Zeroizing<String>,
    /// The text with which all children of the key begin, if it has some.
    #[cfg(feature = "children")]
    child_prefix: Option<String>,
}

impl OneTimeToken {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self {
            text,
            #[cfg(feature = "children")]
            child_prefix: None,
        }
    }

    #[cfg(feature = "children")]
    pub(crate) fn with_child_prefix(self, child_prefix: Option<String>) -> Self {
        Self { child_prefix, ..self }
    }

    #[cfg(feature = "children")]
    pub(crate) fn child_prefix(&self) -> Option<&str> {
        self.child_prefix.as_deref()
    }

    /// Returns the text, for a derivation that leaves the token as it is.
    #[cfg(feature = "children")]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text, which is wiped when the returned value is dropped.
    ///
    /// keyway cannot wipe copies of the text, such as a response or a line on a terminal.
    pub fn reveal(self) -> Zeroizing<String> {
        self.text
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken([redacted])")
    }
}
