//! The text of a new token, which can be read once.

use alloc::string::String;
use core::fmt;

use zeroize::Zeroizing;

/// A new token's text: the only place where it exists.
///
/// [`reveal`](Self::reveal) gives the text and consumes this value, so there is no second time. It
/// cannot be cloned, compared, printed or serialized, and it is wiped when it is dropped. Dropping it
/// unrevealed makes the key useless, which the compiler points out.
#[must_use = "a token that is not revealed is lost, and its key is useless"]
pub struct OneTimeToken(Zeroizing<String>);

impl OneTimeToken {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text, which is wiped when the returned value is dropped.
    ///
    /// What is made of the text (a copy, a response, a line on a terminal) is out of keyway's hands.
    pub fn reveal(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken([redacted])")
    }
}
