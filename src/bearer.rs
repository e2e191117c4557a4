//! Parsing of the token in the value of an `Authorization` header.

/// Returns the token in `value`, the value of an `Authorization` header without the white space around it.
///
/// The scheme is `Bearer` in any case (RFC 9110, section 11.1), followed by one or more spaces (RFC 6750,
/// section 2.1). A `secret-token:` before the token (RFC 8959) is dropped. The token itself is not checked:
/// [`TokenFormat::check`](crate::token::TokenFormat::check) does that.
///
/// ```
/// use keyway::lowlevel::{CredentialError, bearer_token};
///
/// assert_eq!(bearer_token(b"Bearer mm_live_7Kf3"), Ok(&b"mm_live_7Kf3"[..]));
/// assert_eq!(bearer_token(b"Basic YTpi"), Err(CredentialError::Missing));
/// assert_eq!(bearer_token(b"Bearer"), Err(CredentialError::Unreadable));
/// ```
///
/// # Errors
///
/// Returns [`CredentialError::Missing`] if the value is empty or has another scheme, and
/// [`CredentialError::Unreadable`] if no token follows the scheme.
pub fn bearer_token(value: &[u8]) -> Result<&[u8], CredentialError> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(CredentialError::Missing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(CredentialError::Missing);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let (spaces, token) = rest.split_at_checked(spaces).ok_or(CredentialError::Unreadable)?;
    match (spaces, token) {
        // Another scheme, whose name is longer and begins with `Bearer`.
        ([], [byte, ..]) if is_token_character(*byte) => Err(CredentialError::Missing),
        ([], _) => Err(CredentialError::Unreadable),
        (_, token) => match strip_secret_token(token) {
            [] => Err(CredentialError::Unreadable),
            token => Ok(token),
        },
    }
}

/// Returns `token` without the `secret-token:` before it (RFC 8959), if there is one.
pub(crate) fn strip_secret_token(token: &[u8]) -> &[u8] {
    token.strip_prefix(SECRET_TOKEN).unwrap_or(token)
}

/// Returns whether a scheme or the name of a header may hold this byte (RFC 9110, section 5.6.2).
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const SCHEME: &[u8] = b"Bearer";
const SECRET_TOKEN: &[u8] = b"secret-token:";

/// Error for a credential that is missing or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The value is empty or has another scheme, so the caller did not present a key.
    #[error("no bearer token was presented")]
    Missing,
    /// The header does not hold one token, after `Bearer` if the header is `Authorization`.
    #[error("the credential cannot be read")]
    Unreadable,
    /// More than one credential was presented, in one header or in two.
    #[error("more than one credential was presented")]
    Several,
    /// The credential is longer than any that could be accepted.
    #[error("the credential is longer than any API key")]
    TooLong,
}
