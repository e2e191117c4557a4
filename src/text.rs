//! The canonical bytes of records, and the rules for text that people enter.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};

use crate::time::Timestamp;

/// Writes values one behind the other, so that no two lists of values give the same bytes.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// One that need not grow for most records.
    pub(crate) fn for_record() -> Self {
        Self(Vec::with_capacity(512))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes of a length that the format fixes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(&[value.into()]);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn time(&mut self, value: Timestamp) {
        self.raw(&value.as_millis().to_be_bytes());
    }

    pub(crate) fn len(&mut self, len: usize) {
        self.u64(len as u64);
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.len(text.len());
        self.raw(text.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads what a [`Writer`] wrote, and nothing else.
pub(crate) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Succeeds if everything has been read.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    pub(crate) fn raw<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.raw()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.raw().copied().map(u64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        Timestamp::from_millis(self.raw().copied().map(i64::from_be_bytes)?)
    }

    /// A number of items, each of which takes at least one byte.
    pub(crate) fn len(&mut self) -> Option<usize> {
        let len = usize::try_from(self.u64()?).ok()?;
        (len <= self.0.len()).then_some(len)
    }

    pub(crate) fn str(&mut self) -> Option<&'b str> {
        let len = self.len()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        str::from_utf8(head).ok()
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        self.str().map(Into::into)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Some(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let len = self.len()?;
        (0..len).map(|_| read(self)).collect()
    }
}

/// A duration as it stands in a sentence: in the largest unit that measures it whole.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "day"), (3_600_000, "hour"), (1_000, "second")];
        let whole = units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit));
        let (unit, name) = whole.unwrap_or((1, "millisecond"));
        let plural = if millis / unit == 1 { "" } else { "s" };
        write!(f, "{} {name}{plural}", millis / unit)
    }
}

/// What is wrong with a text that somebody entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// Nothing in it can be seen.
    #[error("is empty")]
    Empty,
    /// It is too long.
    #[error("has {len} characters, and at most {max} are allowed")]
    TooLong {
        /// Its length in characters.
        len: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// It is too long.
    #[error("has {len} bytes, and at most {max} are allowed")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// It holds a character that would change how the text around it is shown.
    #[error("holds the character U+{:04X}, which cannot be shown", u32::from(*.0))]
    Unprintable(char),
}

/// Succeeds for text that can be shown on one line as it is, of at most `max` characters.
pub(crate) fn check(text: &str, max: usize) -> Result<(), TextProblem> {
    let len = text.chars().count();
    if len > max {
        return Err(TextProblem::TooLong { len, max });
    }
    match text.chars().find(|character| is_unprintable(*character)) {
        Some(character) => Err(TextProblem::Unprintable(character)),
        None => Ok(()),
    }
}

/// As [`check`], and the text is more than white space.
pub(crate) fn check_filled(text: &str, max: usize) -> Result<(), TextProblem> {
    if text.trim().is_empty() {
        return Err(TextProblem::Empty);
    }
    check(text, max)
}

/// Control characters, line and paragraph separators, those that reorder the text around them, and
/// those that cannot be seen. The joiners of scripts and emoji are none of these.
fn is_unprintable(character: char) -> bool {
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

/// What `text` spells in base64 (RFC 4648, sections 4 and 5), with or without padding. It is written to
/// `buffer`, which is as long as the text and for the caller to wipe, since an attempt that fails leaves
/// there what it has decoded.
pub(crate) fn from_base64<'b>(text: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let len = Base64::decode(text, buffer)
        .map(<[u8]>::len)
        .or_else(|_| Base64Unpadded::decode(text, buffer).map(<[u8]>::len))
        .or_else(|_| Base64Url::decode(text, buffer).map(<[u8]>::len))
        .or_else(|_| Base64UrlUnpadded::decode(text, buffer).map(<[u8]>::len));
    buffer.get(..len.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_input_is_refused_before_anything_is_reserved() {
        let mut writer = Writer::default();
        writer.u64(u64::MAX);
        let bytes = writer.into_bytes();
        assert_eq!(Reader::new(&bytes).str(), None);
        assert_eq!(Reader::new(&bytes).list(Reader::bool), None);
    }

    #[test]
    fn only_zero_and_one_are_booleans() {
        assert_eq!(Reader::new(&[1]).bool(), Some(true));
        assert_eq!(Reader::new(&[2]).bool(), None);
    }

    #[test]
    fn text_that_would_deceive_a_reader_is_refused() {
        assert_eq!(check("a\u{202e}b", 9), Err(TextProblem::Unprintable('\u{202e}')));
        assert_eq!(check_filled(" \u{a0}", 9), Err(TextProblem::Empty));
        assert_eq!(check("naïve 🔑", 7), Ok(()));
    }
}
