//! Text of others on one line of a log.

use core::fmt::{self, Write as _};

/// Writes a text with each control character as its escape in Rust, so that the text can neither begin another
/// line of a log nor control the terminal that shows it.
pub(crate) struct OneLine<'t>(pub(crate) &'t str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            _ if character.is_control() => write!(f, "{}", character.escape_default()),
            _ => f.write_char(character),
        })
    }
}
