//! The token in the value of an `Authorization` field.

/// The token in `value`, which is what stands behind `Authorization:` without the white space around
/// it.
///
/// The scheme is `Bearer` in any case (RFC 9110, section 11.1), followed by one or more spaces (RFC
/// 6750, section 2.1). A `secret-token:` before the token (RFC 8959) is dropped. The token itself is
/// not looked at: that is for [`TokenFormat::check`](crate::token::TokenFormat::check).
///
/// ```
/// use keyway::authorization::{BearerError, bearer_token};
///
/// assert_eq!(bearer_token(b"Bearer mm_live_7Kf3"), Ok(&b"mm_live_7Kf3"[..]));
/// assert_eq!(bearer_token(b"Basic YTpi"), Err(BearerError::Missing));
/// assert_eq!(bearer_token(b"Bearer"), Err(BearerError::Unreadable));
/// ```
///
/// # Errors
///
/// [`BearerError::Missing`] if the value is empty or of another scheme, [`BearerError::Unreadable`]
/// if no token follows the scheme.
pub fn bearer_token(value: &[u8]) -> Result<&[u8], BearerError> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(BearerError::Missing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(BearerError::Missing);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let (spaces, token) = rest.split_at_checked(spaces).ok_or(BearerError::Unreadable)?;
    match (spaces, token) {
        // A longer scheme that begins like this one.
        ([], [byte, ..]) if is_token_character(*byte) => Err(BearerError::Missing),
        ([], _) => Err(BearerError::Unreadable),
        (_, token) => match strip_secret_token(token) {
            [] => Err(BearerError::Unreadable),
            token => Ok(token),
        },
    }
}

/// `token` without the `secret-token:` before it (RFC 8959), if there is one.
pub(crate) fn strip_secret_token(token: &[u8]) -> &[u8] {
    token.strip_prefix(SECRET_TOKEN).unwrap_or(token)
}

/// Whether a scheme or the name of a field may hold this byte (RFC 9110, section 5.6.2).
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const SCHEME: &[u8] = b"Bearer";
const SECRET_TOKEN: &[u8] = b"secret-token:";

/// There is no token in the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// The value is empty or of another scheme: the caller did not present a key.
    #[error("no bearer token was presented")]
    Missing,
    /// The scheme is `Bearer`, and no token follows it.
    #[error("no token follows the scheme `Bearer`")]
    Unreadable,
}
