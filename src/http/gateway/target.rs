//! The path of the original request, in a form that every server reads in the same way.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::Ambiguity;

/// The longest target, in bytes. It is the size of the buffer for a request line in nginx.
const MAX_LEN: usize = 8192;

/// One part of a path between two slashes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment<'t> {
    /// The text as it was sent.
    pub(super) raw: &'t str,
    /// The text with its escapes decoded once.
    pub(super) text: Cow<'t, str>,
}

/// A target in origin-form (RFC 9112, section 3.2.1).
#[derive(Debug)]
pub(super) struct Target<'t> {
    /// The segments. The path `/` has none. No segment is empty.
    pub(super) segments: Vec<Segment<'t>>,
    /// Whether the path has a slash after its last segment.
    pub(super) is_slashed: bool,
    /// The text after the first `?`.
    pub(super) query: &'t [u8],
}

impl<'t> Target<'t> {
    /// Parses `target`, and refuses it if two servers could read two different paths in it.
    pub(super) fn parse(target: &'t [u8]) -> Result<Self, Ambiguity> {
        if target.len() > MAX_LEN {
            return Err(Ambiguity::TooLong);
        }
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let path = path.strip_prefix(b"/").ok_or(Ambiguity::NotAPath)?;
        let (path, is_slashed) = match path.strip_suffix(b"/") {
            Some([]) => return Err(Ambiguity::EmptySegment),
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut segments = Vec::new();
        if !path.is_empty() {
            for segment in path.split(|byte| *byte == b'/') {
                segments.push(Segment::parse(segment)?);
            }
        }
        Ok(Self { segments, is_slashed, query })
    }
}

impl<'t> Segment<'t> {
    fn parse(raw: &'t [u8]) -> Result<Self, Ambiguity> {
        let mut decoded = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                b'%' => {
                    let (escape, after) = after.split_first_chunk().ok_or(Ambiguity::Escape)?;
                    decoded.push(unescaped(*escape)?);
                    rest = after;
                }
                b';' => return Err(Ambiguity::MatrixParameter),
                byte if is_plain(*byte) => decoded.push(*byte),
                _ => return Err(Ambiguity::Byte),
            }
        }
        // Every byte that was not escaped is ASCII.
        let raw = str::from_utf8(raw).map_err(|_| Ambiguity::Byte)?;
        let text = if decoded.len() == raw.len() {
            Cow::Borrowed(raw)
        } else {
            Cow::Owned(String::from_utf8(decoded).map_err(|_| Ambiguity::NotUtf8)?)
        };
        check(&text)?;
        Ok(Self { raw, text })
    }
}

/// Returns the byte that `%` and these two digits are, unless some server decodes it to another path.
fn unescaped(digits: [u8; 2]) -> Result<u8, Ambiguity> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let (Some(high), Some(low)) = (high, low) else { return Err(Ambiguity::Escape) };
    let byte = u8::try_from(high << 4 | low).map_err(|_| Ambiguity::Escape)?;
    match byte {
        b'/' | b'\\' | b'?' | b'#' => Err(Ambiguity::EncodedSeparator),
        b';' => Err(Ambiguity::MatrixParameter),
        b'.' => Err(Ambiguity::DotSegment),
        0..=0x1f | 0x7f => Err(Ambiguity::Control),
        byte if is_unreserved(byte) => Err(Ambiguity::NeedlessEscape),
        byte => Ok(byte),
    }
}

/// Checks the decoded text of a segment.
fn check(text: &str) -> Result<(), Ambiguity> {
    if text.is_empty() {
        return Err(Ambiguity::EmptySegment);
    }
    if matches!(text, "." | "..") {
        return Err(Ambiguity::DotSegment);
    }
    if text.chars().any(char::is_control) {
        return Err(Ambiguity::Control);
    }
    // A server that decodes twice, or that knows the form `%u002f`, reads another text.
    let is_escape = |rest: &str| {
        let mut after = rest.bytes();
        match (after.next(), after.next()) {
            (Some(b'u' | b'U'), _) => true,
            (Some(high), Some(low)) => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
            _ => false,
        }
    };
    if text.split('%').skip(1).any(is_escape) {
        return Err(Ambiguity::DoubleEncoding);
    }
    // Windows drops dots and spaces at the end of a name. A comma there is the trace of two joined headers.
    let is_dropped = |character: char| character.is_whitespace() || matches!(character, '.' | ',');
    if text.starts_with(char::is_whitespace) || text.ends_with(is_dropped) {
        return Err(Ambiguity::SegmentEnd);
    }
    Ok(())
}

/// Returns whether a segment may hold this byte as it is (RFC 3986, section 3.3).
pub(super) fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte)
}

/// Returns whether this byte is never escaped (RFC 3986, section 2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(target: &str) -> Result<Vec<String>, Ambiguity> {
        let target = Target::parse(target.as_bytes())?;
        Ok(target.segments.into_iter().map(|segment| segment.text.into_owned()).collect())
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        for (target, expected) in [
            ("/", &[][..]),
            ("/jobs", &["jobs"]),
            ("/jobs/7?a=/../b#c", &["jobs", "7"]),
            ("/a%20b/%C3%A9", &["a b", "é"]),
            ("/.well-known/v1.2/~ann", &[".well-known", "v1.2", "~ann"]),
            ("/100%25", &["100%"]),
            ("/a:b@c,d", &["a:b@c,d"]),
            ("/jobs/", &["jobs"]),
        ] {
            assert_eq!(texts(target).unwrap(), expected, "{target}");
        }
        assert!(Target::parse(b"/jobs/").unwrap().is_slashed);
        assert_eq!(Target::parse(b"/jobs?x=1?y").unwrap().query, b"x=1?y");
    }

    #[test]
    fn every_byte_and_escape_is_classified() {
        for byte in 0..=u8::MAX {
            let raw = Target::parse(&[b'/', b'x', byte, b'x']).is_ok();
            assert_eq!(raw, is_plain(byte) || matches!(byte, b'/' | b'?'), "{byte:#04x}");
            for escape in [alloc::format!("/x%{byte:02x}x"), alloc::format!("/x%{byte:02X}x")] {
                let may_be_escaped = byte.is_ascii()
                    && !byte.is_ascii_control()
                    && !is_unreserved(byte)
                    && !b"/\\?#;".contains(&byte);
                assert_eq!(texts(&escape).is_ok(), may_be_escaped, "{escape}");
            }
        }
    }

    #[test]
    fn length_is_limited() {
        let long = |len: usize| [b"/".as_slice(), &alloc::vec![b'x'; len - 1]].concat();
        assert!(Target::parse(&long(MAX_LEN)).is_ok());
        assert_eq!(Target::parse(&long(MAX_LEN + 1)).unwrap_err(), Ambiguity::TooLong);
    }
}
