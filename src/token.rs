//! The token: how it is minted, parsed and checked (format version 1). The module `lowlevel` documents it.

mod alphabet;
mod child_id;
mod insecure;
mod key_id;
mod mint;
mod one_time;

use alloc::{boxed::Box, format, string::String};
use core::fmt;

use subtle::ConstantTimeEq;

pub use self::{
    child_id::ChildId,
    insecure::InsecureSeededRng,
    key_id::KeyId,
    mint::{MintError, Minted},
    one_time::OneTimeToken,
};
use crate::{
    config::ConfigError,
    mac::{self, Midstate, Words},
    pepper::{Pepper, Peppers},
};

/// The length of id, secret and tag together.
const BODY_LEN: usize = 56;
/// The length of the id.
const PUBLIC_LEN: usize = 16;
/// The length of id and secret, which the MAC covers.
const MESSAGE_LEN: usize = 48;
/// The longest prefix: 16 characters of issuer, 8 of environment and two underscores.
const MAX_PREFIX_LEN: usize = 26;

/// The format of the tokens of one issuer and environment, under the application's peppers.
///
/// ```
/// use getrandom::{SysRng, rand_core::UnwrapErr};
/// use keyway::{Pepper, lowlevel::TokenFormat};
///
/// let format = TokenFormat::new("mm", "live", &Pepper::from_bytes(&[7; 32])?.into())?;
/// let minted = format.mint(&mut SysRng)?;
/// let id = minted.id;
/// let text = minted.token.reveal();
///
/// let checked = format.check(text.as_bytes())?;
/// assert_eq!(checked.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TokenFormat {
    prefix: String,
    /// The prefix as words, and a mask of the bits that the prefix fills.
    expected: [u64; 4],
    mask: [u64; 4],
    /// The MAC keys, by slot.
    keys: Box<[Option<Midstate>]>,
    current_slot: u8,
}

impl TokenFormat {
    /// The format version.
    pub const VERSION: u32 = 1;

    /// Creates the format of tokens that begin with `issuer` and `environment`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless the issuer matches `[a-z][a-z0-9]{0,15}` and the environment
    /// `[a-z][a-z0-9]{0,7}`.
    pub fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Result<Self, ConfigError> {
        check_issuer(issuer)?;
        if !is_label(environment, 8) {
            return Err(ConfigError::Environment(environment.into()));
        }
        let prefix = prefix(issuer, environment);
        let mut keys: Box<[Option<Midstate>]> = (0..Pepper::SLOTS).map(|_| None).collect();
        for pepper in peppers.for_tokens() {
            let key = pepper.derive(b"keyway/v1/token\0", issuer, environment);
            if let Some(slot) = keys.get_mut(usize::from(pepper.slot())) {
                slot.insert(Midstate::blank()).set(&key);
            }
        }
        let mask = [0xff; MAX_PREFIX_LEN];
        Ok(Self {
            expected: words(prefix.as_bytes()),
            mask: words(mask.get(..prefix.len()).unwrap_or_default()),
            prefix,
            keys,
            current_slot: peppers.current().slot(),
        })
    }

    /// Returns the prefix of every token, such as `mm_live_`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the length of a token in bytes.
    pub fn token_len(&self) -> usize {
        self.prefix.len() + BODY_LEN
    }

    /// Returns a regular expression that finds these tokens in any text, for secret scanners. Other text of
    /// the same length and alphabet does not begin with the prefix by chance.
    pub fn scanner_regex(&self) -> String {
        format!(r"\b{}[0-9A-Za-z]{{{BODY_LEN}}}\b", self.prefix)
    }

    /// Parses `presented`, and checks by its tag that it was minted here.
    ///
    /// The check takes two SHA-256 compressions and does not allocate. Until the tag has been compared, no
    /// step depends on the content of secret and tag.
    ///
    /// # Errors
    ///
    /// [`Rejection::Malformed`] if the prefix or the length is wrong, [`Rejection::Forged`] if the tag is
    /// wrong.
    #[inline]
    pub fn check(&self, presented: &[u8]) -> Result<CheckedToken, Rejection> {
        let (message, tag) = self.split(presented).ok_or(Rejection::Malformed)?;
        let [slot, ..] = message;
        let key =
            key_id::slot_of(*slot).and_then(|slot| self.key(slot)).ok_or(Rejection::Forged)?;
        // The tag and the id are decoded while the MAC is computed, not after it, so that they cost almost
        // nothing.
        let tag = alphabet::read(*tag);
        // With the public pepper anyone can compute a tag, so the id may still be invalid.
        let id = KeyId::from_bytes(first(message));
        let mac = key.mac(message);
        if !bool::from(tag.ct_eq(&tag_of(&mac))) {
            return Err(Rejection::Forged);
        }
        let id = id.ok_or(Rejection::Forged)?;
        Ok(CheckedToken { id, digest: Digest::of(&mac) })
    }

    /// Finds the token, or the part of it that is present, in a text that someone pasted. A match begins with
    /// the prefix and is longer than the prefix and the id, which are public.
    pub fn find_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = text.match_indices(&self.prefix).filter_map(|(start, _)| text.get(start..));
        let tokens = found.filter_map(|found| {
            let body = found.get(self.prefix.len()..)?;
            let end = body.find(|end: char| !end.is_ascii_alphanumeric());
            found.get(..self.prefix.len() + end.unwrap_or(body.len()))
        });
        // The prefix may also occur alone before the token, as its name.
        tokens.into_iter().find(|token| token.len() > self.prefix.len() + PUBLIC_LEN)
    }

    /// Splits a text of the right length and prefix into message and tag.
    #[inline]
    fn split<'t>(&self, presented: &'t [u8]) -> Option<(&'t [u8; MESSAGE_LEN], &'t [u8; 8])> {
        let (rest, body) = presented.split_last_chunk::<BODY_LEN>()?;
        if rest.len() != self.prefix.len() {
            return None;
        }
        // One load of a fixed size, whatever the length of the prefix. The bytes after the prefix are masked
        // out.
        let start: &[u8; 32] = presented.first_chunk()?;
        let mut difference = 0;
        for ((chunk, expected), mask) in start.chunks_exact(8).zip(self.expected).zip(self.mask) {
            difference |= (u64::from_le_bytes(first(chunk)) ^ expected) & mask;
        }
        if difference != 0 {
            return None;
        }
        Some((body.first_chunk()?, body.last_chunk()?))
    }

    #[inline]
    fn key(&self, slot: u8) -> Option<&Midstate> {
        self.keys.get(usize::from(slot))?.as_ref()
    }
}

impl fmt::Debug for TokenFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFormat").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Returns the text with which all tokens of an issuer and environment begin.
pub(crate) fn prefix(issuer: &str, environment: &str) -> String {
    format!("{issuer}_{environment}_")
}

/// Splits a text that has the form of a token into prefix with id, and secret. Its tag is not checked.
///
/// INVARIANT: the secret is bytes. Any check of the boundaries of its characters would be a branch on each of them, and so
/// would a check that ends at the first character that is not alphanumeric.
#[cfg(feature = "children")]
pub(crate) fn split(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, tail) = token.split_last_chunk::<BODY_LEN>()?;
    let mut labels = str::from_utf8(head).ok()?.strip_suffix('_')?.split('_');
    let has_prefix = labels.next().is_some_and(|issuer| is_label(issuer, 16))
        && labels.next().is_some_and(|environment| is_label(environment, 8))
        && labels.next().is_none();
    if !has_prefix || !alphabet::is_alphanumeric(tail) {
        return None;
    }
    let (public, rest) = token.split_at_checked(head.len() + PUBLIC_LEN)?;
    Some((public, rest.get(..MESSAGE_LEN - PUBLIC_LEN)?))
}

/// Returns the id in a text that has the form of a token.
#[cfg(feature = "children")]
pub(crate) fn id_in(token: &str) -> Option<KeyId> {
    let (public, _) = split(token.as_bytes())?;
    KeyId::from_bytes(*public.last_chunk()?)
}

/// Returns the characters of the first 48 bits of a MAC, in base64url.
#[cfg(feature = "children")]
#[inline]
pub(crate) fn tag_text(mac: &Words) -> [u8; 8] {
    let [_, _, bits @ ..] = tag_of(mac).to_be_bytes();
    let mut text = [0; 8];
    alphabet::write(&bits, &mut text);
    text
}

pub(crate) fn check_issuer(issuer: &str) -> Result<(), ConfigError> {
    if is_label(issuer, 16) { Ok(()) } else { Err(ConfigError::Issuer(issuer.into())) }
}

fn is_label(text: &str, max_len: usize) -> bool {
    text.len() <= max_len
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Returns the bits of the tag: the first 6 bytes of the MAC.
#[inline]
fn tag_of(mac: &Words) -> u64 {
    let [first, second, ..] = *mac;
    u64::from(first) << 16 | u64::from(second >> 16)
}

/// Returns at most 32 bytes as little-endian words, padded with zeros.
fn words(bytes: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        for (index, byte) in chunk.iter().enumerate() {
            *word |= u64::from(*byte) << (8 * index);
        }
    }
    words
}

/// Returns the first bytes of an array or slice. A shorter one gives zeros, but no caller has one.
#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// A token that was minted here, or fits a format that keys are [imported](crate::import) from. It holds the
/// id of the key that the token claims, and the proof.
///
/// The key need not exist. [`decide`](crate::decision::decide) checks whether the secret is still that of the
/// stored key.
#[derive(Clone)]
pub struct CheckedToken {
    id: KeyId,
    digest: Digest,
}

impl CheckedToken {
    pub(crate) fn new(id: KeyId, digest: Digest) -> Self {
        Self { id, digest }
    }

    /// Returns the id of the key.
    #[inline]
    pub fn id(&self) -> KeyId {
        self.id
    }

    #[inline]
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for CheckedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The part of a secret's MAC that a store keeps: the 26 bytes that are not the tag.
///
/// The secret cannot be recovered from a digest. No `Debug` text contains a digest.
#[derive(Clone, Copy)]
pub(crate) struct Digest {
    pub(crate) head: u16,
    pub(crate) tail: [u64; 3],
}

impl Digest {
    pub(crate) const LEN: usize = 26;

    #[inline]
    fn of(mac: &Words) -> Self {
        let [_, head, tail @ ..] = *mac;
        let [a, b, c, d, e, f] = tail;
        let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        Self { head: (head & 0xffff) as u16, tail: [join(a, b), join(c, d), join(e, f)] }
    }

    #[inline]
    pub(crate) fn same(self, other: Self) -> bool {
        let [a, b, c] = self.tail;
        let [x, y, z] = other.tail;
        mac::same([self.head.into(), a, b, c], [other.head.into(), x, y, z])
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (head, tail) = bytes.split_at_mut(2);
        head.copy_from_slice(&self.head.to_be_bytes());
        for (bytes, word) in tail.chunks_exact_mut(8).zip(self.tail) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (head, rest) = bytes.split_at(2);
        let mut tail = [0; 3];
        for (word, bytes) in tail.iter_mut().zip(rest.chunks_exact(8)) {
            *word = u64::from_be_bytes(first(bytes));
        }
        Self { head: u16::from_be_bytes(first(head)), tail }
    }
}

/// Compares in constant time.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.same(*other)
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

/// The reason why a presented token was rejected.
///
/// The reason is for the log. Callers of the service get the same response for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The length or the prefix differs from those of this issuer's and environment's tokens.
    #[error("the token has another length or prefix")]
    Malformed,
    /// The tag does not match, or belongs to a pepper that the application does not have.
    #[error("the token was not minted here")]
    Forged,
    /// The key does not exist, or no longer does.
    #[error("the key does not exist")]
    Unknown,
    /// The key has another secret, or no longer has this one.
    #[error("the secret is not the key's")]
    WrongSecret,
}

const _: () = assert!(MAX_PREFIX_LEN <= 32 && BODY_LEN == MESSAGE_LEN + 8);
