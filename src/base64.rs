//! Base64 in any of its common forms.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};

/// Decodes base64 (RFC 4648, sections 4 and 5), with or without padding, into `buffer`.
///
/// `buffer` must be as long as the text. The caller must wipe it, because a failed attempt leaves decoded
/// bytes in it.
pub(crate) fn decode<'b>(text: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let len = Base64::decode(text, buffer)
        .map(<[u8]>::len)
        .or_else(|_| Base64Unpadded::decode(text, buffer).map(<[u8]>::len))
        .or_else(|_| Base64Url::decode(text, buffer).map(<[u8]>::len))
        .or_else(|_| Base64UrlUnpadded::decode(text, buffer).map(<[u8]>::len));
    buffer.get(..len.ok()?)
}
