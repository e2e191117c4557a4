//! The digest that a store keeps of a token. It is computed here by the formula of the format, so that the
//! tests need not reveal it.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The number of characters of id and secret together, which the MAC covers.
const MESSAGE: usize = 16 + 32;
const TAG: usize = 8;
/// The number of bytes of the MAC that are in the token, as its tag.
const TAG_BYTES: usize = 6;

/// The peppers that the tests shared.
pub struct Digests<'p>(&'p HashSet<Vec<u8>>);

impl<'p> Digests<'p> {
    pub fn new(peppers: &'p HashSet<Vec<u8>>) -> Self {
        Self(peppers)
    }

    /// Returns the digest of each token that was minted under one of the peppers. The tag shows under which.
    pub fn of(&self, tokens: &HashSet<Vec<u8>>) -> HashSet<Vec<u8>> {
        tokens
            .iter()
            .flat_map(|token| self.0.iter().filter_map(|pepper| digest(pepper, token)))
            .collect()
    }
}

fn digest(pepper: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    let (prefix, body) = token.split_at_checked(token.len().checked_sub(MESSAGE + TAG)?)?;
    let (message, tag) = body.split_at(MESSAGE);
    let mut names = prefix.strip_suffix(b"_")?.splitn(2, |byte| *byte == b'_');
    let (issuer, environment) = (names.next()?, names.next()?);
    let key = hmac(pepper, &[b"keyway/v1/token\0", issuer, b"\0", environment]);
    let mac = hmac(&key, &[message]);
    let (first, digest) = mac.split_at(TAG_BYTES);
    (base64(first) == tag).then(|| digest.to_vec())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let alphabet: Vec<u8> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*b"-_").collect();
    let groups = bytes.chunks_exact(3);
    let words =
        groups.map(|group| group.iter().fold(0, |word, byte| word << 8 | usize::from(*byte)));
    words.flat_map(|word| [18, 12, 6, 0].map(|shift| alphabet[word >> shift & 63])).collect()
}
