//! The single credential of a request.

use alloc::{boxed::Box, sync::Arc};

use crate::{
    bearer::{CredentialError, bearer_token, strip_secret_token},
    import::ForeignFormat,
    swar::{HIGH, at_least, splat},
    token::TokenFormat,
};

/// The headers of a request, in whatever type a framework keeps them.
///
/// ```
/// use keyway::http::Headers;
///
/// let headers = [("authorization", &b"Bearer mm_live_7Kf3"[..]), ("accept", b"*/*")];
/// assert_eq!(headers[..].values("authorization").count(), 1);
/// assert_eq!(headers[..].names().collect::<Vec<_>>(), ["authorization", "accept"]);
/// ```
pub trait Headers {
    /// Returns all values of the header `name`, which is in lower case.
    ///
    /// Values are returned as received. White space around a value has no meaning (RFC 9110, section 5.5).
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]>;

    /// Returns the names of all headers, each at least once, in any case.
    ///
    /// A [`Gateway`](super::Gateway) refuses some names in every spelling that an application could take for
    /// them. A name that is left out here is not refused.
    fn names(&self) -> impl Iterator<Item = &str>;
}

impl Headers for [(&str, &[u8])] {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| *name)
    }
}

pub(super) const AUTHORIZATION: &str = "authorization";

/// The longest credential that is examined, in bytes. keyway's own tokens are far shorter.
pub(super) const MAX_LEN: usize = ForeignFormat::MAX_LEN;

/// The headers from which a guard takes keys.
#[derive(Clone, Debug)]
pub(super) enum KeyHeaders {
    /// `Authorization: Bearer`.
    Authorization,
    /// `Authorization: Bearer`, or the header with this name, which is in lower case.
    Either(Box<str>),
    /// The header with this name only. `Authorization` belongs to another party.
    Only(Box<str>),
}

impl KeyHeaders {
    pub(super) fn takes_authorization(&self) -> bool {
        !matches!(self, Self::Only(_))
    }

    /// Returns the header besides `Authorization`.
    pub(super) fn own(&self) -> Option<&str> {
        match self {
            Self::Authorization => None,
            Self::Either(name) | Self::Only(name) => Some(name),
        }
    }

    /// Returns the names of all headers for keys, as `Vary` lists them.
    pub(super) fn list(&self) -> Arc<str> {
        match self {
            Self::Authorization => AUTHORIZATION.into(),
            Self::Either(name) => [AUTHORIZATION, ", ", name].concat().into(),
            Self::Only(name) => (&**name).into(),
        }
    }
}

/// A credential, and the place that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presented<'f> {
    pub(super) token: &'f [u8],
    pub(super) source: Source,
}

/// The place that a credential came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Authorization,
    KeyHeader,
    /// The parameter of the query for tickets. The token is as the query spells it.
    #[cfg(feature = "children")]
    Ticket,
}

/// Finds the credential in `headers`. `own` is the format of keyway's tokens.
pub(super) fn find<'f>(
    headers: &'f (impl Headers + ?Sized),
    own_headers: &KeyHeaders,
    own: &TokenFormat,
) -> Result<Option<Presented<'f>>, CredentialError> {
    let bearer = if own_headers.takes_authorization() { bearer(headers)? } else { None };
    let key = match own_headers.own() {
        Some(name) => one(headers.values(name))?.filter(|value| !value.is_empty()),
        None => None,
    };
    let key =
        key.map(|value| Presented { token: strip_secret_token(value), source: Source::KeyHeader });
    let presented = match (bearer, key) {
        (Some(_), Some(_)) => return Err(CredentialError::Several),
        (None, None) => return Ok(None),
        (Some(presented), None) | (None, Some(presented)) => presented,
    };
    Ok(Some(Presented { token: readable(presented.token, own)?, ..presented }))
}

fn bearer(headers: &(impl Headers + ?Sized)) -> Result<Option<Presented<'_>>, CredentialError> {
    match one(headers.values(AUTHORIZATION))?.map(bearer_token) {
        Some(Ok(token)) => Ok(Some(Presented { token, source: Source::Authorization })),
        None | Some(Err(CredentialError::Missing)) => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

fn one<'f>(
    mut values: impl Iterator<Item = &'f [u8]>,
) -> Result<Option<&'f [u8]>, CredentialError> {
    // HTTP/1 parsers strip the white space around a value; HTTP/2 implementations do not.
    let first = values.next().map(<[u8]>::trim_ascii_start);
    if values.next().is_some() { Err(CredentialError::Several) } else { Ok(first) }
}

/// Checks that `token` is a single credential, and returns it without trailing white space.
///
/// A comma, which joins two credentials, and bytes that RFC 6750, section 2.1, does not allow make the header
/// unreadable. A value of a token's length is returned unchecked, because only its MAC may examine it.
///
/// No branch depends on a byte of a token that could be accepted. Therefore a token with keyway's prefix ends
/// at its fixed length, not at the last byte that is not white space. Trailing white space of other tokens is
/// looked for only if some byte is not readable.
fn readable<'t>(token: &'t [u8], own: &TokenFormat) -> Result<&'t [u8], CredentialError> {
    let token_len = own.token_len();
    if token.len() == token_len {
        return Ok(token);
    }
    if let Some((ours, rest)) = token.split_at_checked(token_len)
        && ours.starts_with(own.prefix().as_bytes())
        && rest.iter().all(u8::is_ascii_whitespace)
    {
        return Ok(ours);
    }
    if !token.is_empty() && token.len() <= MAX_LEN && is_readable(token) {
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

/// Returns whether all of these bytes are visible ASCII characters and none is a comma.
///
/// Every byte may be secret, so the check is arithmetic on whole words. A condition per byte would compile to
/// branches.
fn is_readable(token: &[u8]) -> bool {
    let (words, rest) = token.as_chunks();
    let mut last = *b"readable";
    for (byte, rest) in last.iter_mut().zip(rest) {
        *byte = *rest;
    }
    let words = words.iter().chain([&last]);
    words.fold(0, |others, word| others | unreadable(u64::from_le_bytes(*word))) == 0
}

/// Returns the high bit of each of eight bytes that is a comma or not a visible ASCII character.
fn unreadable(text: u64) -> u64 {
    let low = text & !HIGH;
    let differs_from_comma = at_least(low ^ splat(b','), 1);
    (!at_least(low, b'!') | at_least(low, b'~' + 1) | !differs_from_comma | text) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_is_readable_or_not_at_every_position_and_length() {
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
    fn two_unreadable_bytes_do_not_cancel_out() {
        for (one, other) in [(0, 8), (1, 9), (3, 19), (8, 16)] {
            let mut text = [b'k'; 20];
            (text[one], text[other]) = (b',', b',');
            assert!(!is_readable(&text), "{one} and {other}");
        }
    }
}
