//! The one credential of a request.

use crate::{
    authorization::{BearerError, bearer_token, strip_secret_token},
    import::ForeignFormat,
    verifier::VerifyError,
};

/// The header fields of a request, in whatever type a framework keeps them.
///
/// ```
/// use keyway::http::Fields;
///
/// let fields = [("authorization", &b"Bearer mm_live_7Kf3"[..]), ("accept", b"*/*")];
/// assert_eq!(fields[..].values("authorization").count(), 1);
/// ```
pub trait Fields {
    /// All values of the field with this name, which is in lower case. Each is given as it came; white
    /// space around it means nothing (RFC 9110, section 5.5).
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]>;
}

impl Fields for [(&str, &[u8])] {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

pub(super) const AUTHORIZATION: &str = "authorization";

/// The longest credential that is looked at, in bytes. No token of ours comes near.
const MAX_LEN: usize = ForeignFormat::MAX_LEN;

/// A credential, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presented<'f> {
    pub(super) token: &'f [u8],
    pub(super) source: Source,
}

/// The field that a credential came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Authorization,
    KeyField,
}

/// Finds the credential in `fields`: behind `Authorization: Bearer`, or in `key_field` if the host has
/// one. A token of ours has `token_len` bytes.
pub(super) fn find<'f>(
    fields: &'f (impl Fields + ?Sized),
    key_field: Option<&str>,
    token_len: usize,
) -> Result<Option<Presented<'f>>, CredentialError> {
    let bearer = match one(fields.values(AUTHORIZATION))?.map(bearer_token) {
        Some(Ok(token)) => Some(Presented { token, source: Source::Authorization }),
        None | Some(Err(BearerError::Missing)) => None,
        Some(Err(BearerError::Unreadable)) => return Err(CredentialError::Unreadable),
    };
    let key = match key_field {
        Some(name) => one(fields.values(name))?.filter(|value| !value.is_empty()),
        None => None,
    };
    let key =
        key.map(|value| Presented { token: strip_secret_token(value), source: Source::KeyField });
    let presented = match (bearer, key) {
        (Some(_), Some(_)) => return Err(CredentialError::Several),
        (None, None) => return Ok(None),
        (Some(presented), None) | (None, Some(presented)) => presented,
    };
    Ok(Some(Presented { token: readable(presented.token, token_len)?, ..presented }))
}

fn one<'f>(
    mut values: impl Iterator<Item = &'f [u8]>,
) -> Result<Option<&'f [u8]>, CredentialError> {
    // HTTP/1 has dropped white space around a value when it comes here, and HTTP/2 has not.
    let first = values.next().map(<[u8]>::trim_ascii_start);
    if values.next().is_some() { Err(CredentialError::Several) } else { Ok(first) }
}

/// What joins two credentials, or cannot stand in one (RFC 6750, section 2.1), makes the field
/// unreadable. What has the length of a token is left to its MAC, before which nothing looks at it.
fn readable(token: &[u8], token_len: usize) -> Result<&[u8], CredentialError> {
    if token.len() == token_len {
        return Ok(token);
    }
    let token = token.trim_ascii_end();
    if token.len() == token_len {
        return Ok(token);
    }
    if token.len() > MAX_LEN {
        return Err(CredentialError::TooLong);
    }
    if token.is_empty() || !is_readable(token) {
        return Err(CredentialError::Unreadable);
    }
    Ok(token)
}

/// Whether all of these bytes are visible ASCII characters and none is a comma.
///
/// Each of them may be secret, so all of it is arithmetic on whole words: of a condition for each byte the
/// compiler would make branches.
fn is_readable(token: &[u8]) -> bool {
    let (words, rest) = token.as_chunks();
    let mut last = *b"readable";
    for (byte, rest) in last.iter_mut().zip(rest) {
        *byte = *rest;
    }
    let words = words.iter().chain([&last]);
    words.fold(0, |others, word| others | unreadable(u64::from_le_bytes(*word))) == 0
}

/// The high bit of each of eight bytes that is no visible character, or a comma.
fn unreadable(text: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let low = text & !HIGH;
    // The high bit of each byte that is at least `min`. All bytes are below 128, so no sum carries over.
    let from = |bytes: u64, min: u8| bytes + ONES * (128 - u64::from(min));
    let differs_from_comma = from(low ^ (ONES * u64::from(b',')), 1);
    (!from(low, b'!') | from(low, b'~' + 1) | !differs_from_comma | text) & HIGH
}

/// The credential of a request cannot be taken: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// More than one credential was presented, in one field or in two.
    #[error("more than one credential was presented")]
    Several,
    /// The field is not of the form `Bearer <token>`.
    #[error("the credential cannot be read; it is sent as `Authorization: Bearer <API key>`")]
    Unreadable,
    /// The credential is longer than any that could be accepted.
    #[error("the credential is longer than any API key")]
    TooLong,
}

impl From<CredentialError> for VerifyError {
    fn from(_: CredentialError) -> Self {
        Self::BadRequest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_readable_or_not_in_every_place_of_a_text_of_any_length() {
        for len in 1..=17 {
            for place in 0..len {
                for byte in 0..=u8::MAX {
                    let mut text = [b'k'; 17];
                    text[place] = byte;
                    let expected = byte.is_ascii_graphic() && byte != b',';
                    assert_eq!(is_readable(&text[..len]), expected, "{byte} in {place} of {len}");
                }
            }
        }
    }

    #[test]
    fn two_unreadable_bytes_do_not_make_up_for_each_other() {
        for (one, other) in [(0, 8), (1, 9), (3, 19), (8, 16)] {
            let mut text = [b'k'; 20];
            (text[one], text[other]) = (b',', b',');
            assert!(!is_readable(&text), "{one} and {other}");
        }
    }
}
