//! The rules for text that people enter, and for text in stored records.

mod one_line;
mod visible;

pub(crate) use self::one_line::OneLine;
use self::visible::{Joiners, find_hidden, is_visible};

/// The problem with a text that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// The text is empty or only white space.
    #[error("is empty")]
    Empty,
    /// The text has too many characters.
    #[error("has {len} characters, and at most {max} are allowed")]
    TooLong {
        /// The length of the text, in characters.
        len: usize,
        /// The maximum length, in characters.
        max: usize,
    },
    /// The text has too many bytes.
    #[error("has {len} bytes, and at most {max} are allowed")]
    TooLarge {
        /// The length of the text, in bytes.
        len: usize,
        /// The maximum length, in bytes.
        max: usize,
    },
    /// The text contains an invisible character, or one that changes how the text around it is shown.
    #[error("holds the character U+{:04X}, which cannot be shown", u32::from(*.0))]
    Unprintable(char),
    /// All characters of the text are invisible.
    #[error("holds nothing that can be seen")]
    Invisible,
    /// The text contains a character with a special meaning in URL paths or for proxies.
    #[error("holds `{0}`, which does not stand safely in the path of a URL")]
    NotInPath(char),
    /// The text is `.`, `..` or more dots, which URL parsers remove.
    #[error("is only dots, which do not stand safely in the path of a URL")]
    OnlyDots,
    /// The text begins or ends with a space, so it looks like the text without the space.
    #[error("begins or ends with a space, which cannot be seen there")]
    SpaceAtEnd,
    /// The text does not have the form of its kind.
    #[error("is not {0}")]
    Malformed(&'static str),
}

/// Checks new text: at most `max` characters that can be shown unchanged on one line.
pub(crate) fn check(text: &str, max: usize) -> Result<(), TextProblem> {
    check_line(text, max, Joiners::InScripts)
}

/// Checks like [`check`], and that at least one character is visible.
pub(crate) fn check_filled(text: &str, max: usize) -> Result<(), TextProblem> {
    if text.trim().is_empty() {
        return Err(TextProblem::Empty);
    }
    check(text, max)?;
    if is_visible(text) { Ok(()) } else { Err(TextProblem::Invisible) }
}

/// Checks like [`check_filled`], for text that is compared by eye and is part of a URL path.
///
/// `/`, `\`, `%`, `?` and `#` split or end a path or are decoded twice by proxies, and a segment of dots is
/// removed. A path with any of these might not lead to the record.
pub(crate) fn check_id(text: &str, max: usize) -> Result<(), TextProblem> {
    check_filled(text, max)?;
    check_line(text, max, Joiners::No)?;
    // The ASCII space is the only white space that can be recognized by eye.
    let is_other_space = |c: char| c.is_whitespace() && c != ' ' || visible::is_blank(c);
    if let Some(space) = text.chars().find(|c| is_other_space(*c)) {
        return Err(TextProblem::Unprintable(space));
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(TextProblem::SpaceAtEnd);
    }
    if let Some(character) = text.chars().find(|c| matches!(c, '/' | '\\' | '%' | '?' | '#')) {
        return Err(TextProblem::NotInPath(character));
    }
    check_no_dots(text)
}

/// Checks that text is not only dots. URL parsers remove such segments even if they are escaped.
pub(crate) fn check_no_dots(text: &str) -> Result<(), TextProblem> {
    if text.bytes().all(|byte| byte == b'.') { Err(TextProblem::OnlyDots) } else { Ok(()) }
}

/// Checks text in a stored record, with at most `max` characters.
///
/// This rule is looser than the rules for new text and must not become stricter with them: a record that was
/// written under an older rule has to remain readable. Its seal proves that keyway wrote it.
pub(crate) fn check_stored(text: &str, max: usize) -> Result<(), TextProblem> {
    check_length(text, max)?;
    match text.chars().find(|character| is_never_stored(*character)) {
        Some(character) => Err(TextProblem::Unprintable(character)),
        None => Ok(()),
    }
}

/// Checks like [`check_stored`], and that the text is not only white space.
pub(crate) fn check_stored_filled(text: &str, max: usize) -> Result<(), TextProblem> {
    if text.trim().is_empty() {
        return Err(TextProblem::Empty);
    }
    check_stored(text, max)
}

fn check_line(text: &str, max: usize, joiners: Joiners) -> Result<(), TextProblem> {
    check_length(text, max)?;
    find_hidden(text, joiners).map_or(Ok(()), |hidden| Err(TextProblem::Unprintable(hidden)))
}

fn check_length(text: &str, max: usize) -> Result<(), TextProblem> {
    let len = text.chars().count();
    if len > max { Err(TextProblem::TooLong { len, max }) } else { Ok(()) }
}

/// Returns whether `character` is a control character, a line or paragraph separator, or one of some
/// characters that are invisible or reorder the text around them. Every rule for new text so far has
/// rejected these.
fn is_never_stored(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_deceive_a_reader_is_refused() {
        assert_eq!(check("a\u{202e}b", 9), Err(TextProblem::Unprintable('\u{202e}')));
        assert_eq!(check_filled(" \u{a0}", 9), Err(TextProblem::Empty));
        assert_eq!(check("naïve 🔑", 7), Ok(()));
        for marks in ["\u{2800}\u{301}", "\u{64b}", "\u{e38}", "\u{3099}", "\u{378}"] {
            assert_eq!(check_filled(marks, 9), Err(TextProblem::Invisible), "{marks:?}");
        }
    }

    #[test]
    fn ids_fit_in_a_url_path_and_are_visible() {
        for id in
            ["acme", "acme eu", "a.b", ".a", "42", "日本", "a@b.example", "🔑", "a:b", "caf\u{e9}"]
        {
            assert_eq!(check_id(id, 99), Ok(()), "{id}");
        }
        for id in ["acme ", " acme", " acme ", "acme  "] {
            assert_eq!(check_id(id, 99), Err(TextProblem::SpaceAtEnd));
            assert_eq!((check_filled(id, 99), check_stored_filled(id, 99)), (Ok(()), Ok(())));
        }
        for c in ['/', '\\', '%', '?', '#'] {
            let id = alloc::format!("a{c}b");
            assert_eq!(check_id(&id, 99), Err(TextProblem::NotInPath(c)));
            assert_eq!(check_filled(&id, 99), Ok(()));
        }
        for dots in [".", "..", "...."] {
            assert_eq!(check_id(dots, 99), Err(TextProblem::OnlyDots));
        }
        for c in ['\u{a0}', '\u{3000}', '\u{2800}', '\u{e0061}', '\u{200d}', '\u{3164}'] {
            let id = alloc::format!("acme{c}b");
            assert_eq!(check_id(&id, 99), Err(TextProblem::Unprintable(c)));
        }
    }

    #[test]
    fn stored_text_allows_more_than_new_text() {
        for text in ["\u{3164}", "acme\u{e0061}", "a\u{200d}b", "..", "a/b", "\u{2800}"] {
            assert_eq!(check_stored_filled(text, 9), Ok(()));
            assert!(check_id(text, 9).is_err());
        }
        assert!(check_stored("a\nb", 9).is_err() && check_stored_filled(" ", 9).is_err());
    }
}
