//! The token: how it is minted, taken apart and checked (format version 1).
//!
//! ```text
//! mm_live_7Kf3Qw9ZbT2mXc4d5Rk8Vn1pLh6Js0YgUe3Wa9Bx7Dt2Qq5EzF4Nr8Mu
//! └┬┘└─┬─┘└───────┬──────┘└───────────────┬──────────────┘└───┬──┘
//! iss. env     id 16                 secret 32             tag 8
//! ```
//!
//! `mac = HMAC-SHA256(k, id ‖ secret)`, where `k = HMAC-SHA256(pepper, "keyway/v1/token\0" ‖ issuer ‖
//! "\0" ‖ env)`. The first 6 bytes of the MAC are the tag in the token, in base64url; the other 26 are
//! the digest in the store, and the two tell nothing about each other. A token that was not minted
//! here is refused by its tag, in constant time, before any store is asked.
//!
//! No branch, index or decoding depends on a byte of the secret before the MAC over the bytes as they
//! were presented: what is not exactly as it was minted fails the tag.

mod alphabet;
mod insecure;
mod key_id;
mod mint;
mod one_time;

use alloc::{boxed::Box, format, string::String};
use core::fmt;

use subtle::ConstantTimeEq;

pub use self::{
    insecure::InsecureSeededRng,
    key_id::{InvalidKeyId, KeyId},
    mint::{MintError, Minted},
    one_time::OneTimeToken,
};
use crate::{
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

/// The tokens of one issuer and environment, under the host's peppers.
///
/// ```
/// use getrandom::{SysRng, rand_core::UnwrapErr};
/// use keyway::{pepper::Pepper, token::TokenFormat};
///
/// let format = TokenFormat::new("mm", "live", &Pepper::from_bytes(&[7; 32])?.into())?;
/// let minted = format.mint(&mut SysRng)?;
/// let id = minted.id;
/// let text = minted.token.reveal();
///
/// let claim = format.check(text.as_bytes())?;
/// assert_eq!(claim.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TokenFormat {
    prefix: String,
    /// The prefix as words, and which of their bits count.
    expected: [u64; 4],
    mask: [u64; 4],
    /// By slot.
    keys: Box<[Option<Midstate>]>,
    current_slot: u8,
}

impl TokenFormat {
    /// The format version.
    pub const VERSION: u32 = 1;

    /// The tokens that begin with `issuer` and `environment`.
    ///
    /// # Errors
    ///
    /// [`FormatError`] unless the issuer matches `[a-z][a-z0-9]{0,15}` and the environment
    /// `[a-z][a-z0-9]{0,7}`.
    pub fn new(issuer: &str, environment: &str, peppers: &Peppers) -> Result<Self, FormatError> {
        check_issuer(issuer)?;
        if !is_label(environment, 8) {
            return Err(FormatError::Environment(environment.into()));
        }
        let prefix = format!("{issuer}_{environment}_");
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

    /// What every token begins with, such as `mm_live_`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How many bytes a token has.
    pub fn token_len(&self) -> usize {
        self.prefix.len() + BODY_LEN
    }

    /// A regular expression that finds these tokens in any text, for secret scanners: no other text
    /// of the same length and alphabet begins with the prefix by chance.
    pub fn scanner_regex(&self) -> String {
        format!(r"\b{}[0-9A-Za-z]{{{BODY_LEN}}}\b", self.prefix)
    }

    /// Takes `presented` apart and proves by its tag that it was minted here.
    ///
    /// It takes two SHA-256 compressions and neither allocates nor fails in any other way. Until the
    /// tag has been compared, no step depends on the content of secret and tag.
    ///
    /// # Errors
    ///
    /// [`Rejection::Malformed`] if prefix or length are wrong, [`Rejection::Forged`] if the tag is.
    #[inline]
    pub fn check(&self, presented: &[u8]) -> Result<Claim, Rejection> {
        let (message, tag) = self.split(presented).ok_or(Rejection::Malformed)?;
        let [slot, ..] = message;
        let key =
            key_id::slot_of(*slot).and_then(|slot| self.key(slot)).ok_or(Rejection::Forged)?;
        // Both are read beside the MAC and not after it, so that they cost next to nothing.
        let tag = alphabet::read(*tag);
        // With the public pepper anybody can tag anything, so the id may still be no id.
        let id = KeyId::from_bytes(first(message));
        let mac = key.mac(message);
        if !bool::from(tag.ct_eq(&tag_of(&mac))) {
            return Err(Rejection::Forged);
        }
        let id = id.ok_or(Rejection::Forged)?;
        Ok(Claim { id, digest: Digest::of(&mac) })
    }

    /// The token in a text that somebody pasted, or as much of it as is there: what begins with the
    /// prefix and is longer than prefix and id, which are public.
    pub fn find_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = text.match_indices(&self.prefix).filter_map(|(start, _)| text.get(start..));
        let tokens = found.filter_map(|found| {
            let body = found.get(self.prefix.len()..)?;
            let end = body.find(|end: char| !end.is_ascii_alphanumeric());
            found.get(..self.prefix.len() + end.unwrap_or(body.len()))
        });
        // The prefix may stand there alone before, as the name of what follows.
        tokens.into_iter().find(|token| token.len() > self.prefix.len() + PUBLIC_LEN)
    }

    /// Message and tag of a text of the right length and prefix.
    #[inline]
    fn split<'t>(&self, presented: &'t [u8]) -> Option<(&'t [u8; MESSAGE_LEN], &'t [u8; 8])> {
        let (rest, body) = presented.split_last_chunk::<BODY_LEN>()?;
        if rest.len() != self.prefix.len() {
            return None;
        }
        // One load of a fixed size, whatever the prefix: what lies behind it is masked out.
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

pub(crate) fn check_issuer(issuer: &str) -> Result<(), FormatError> {
    if is_label(issuer, 16) { Ok(()) } else { Err(FormatError::Issuer(issuer.into())) }
}

fn is_label(text: &str, max_len: usize) -> bool {
    text.len() <= max_len
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The bits of the tag: the first 6 bytes of the MAC.
#[inline]
fn tag_of(mac: &Words) -> u64 {
    let [first, second, ..] = *mac;
    u64::from(first) << 16 | u64::from(second >> 16)
}

/// At most 32 bytes as little-endian words, zeros behind them.
fn words(bytes: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        for (index, byte) in chunk.iter().enumerate() {
            *word |= u64::from(*byte) << (8 * index);
        }
    }
    words
}

/// The first bytes of a longer array or slice; zeros if it is shorter, which no caller's is.
#[inline]
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// A token that was minted here, or fits a format that keys are [imported](crate::import) from: the key
/// that it claims to be of, and the proof.
///
/// Whether that key exists, and whether the secret is still its secret, is for
/// [`decide`](crate::decision::decide) to say.
#[derive(Clone)]
pub struct Claim {
    id: KeyId,
    digest: Digest,
}

impl Claim {
    pub(crate) fn new(id: KeyId, digest: Digest) -> Self {
        Self { id, digest }
    }

    /// The id of the key.
    #[inline]
    pub fn id(&self) -> KeyId {
        self.id
    }

    #[inline]
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a store keeps of a secret: the 26 bytes of the MAC that are not the tag.
///
/// It cannot be turned back into a secret, and it is in no `Debug` text.
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

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

/// Why a presented token was refused before anything was said about its key.
///
/// It is for the log. Callers of the service get one and the same answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Another length or prefix than a token of this issuer and environment has.
    #[error("the token has another length or prefix")]
    Malformed,
    /// The tag does not match, or is of a pepper that the host does not have.
    #[error("the token was not minted here")]
    Forged,
    /// The key does not exist (any more).
    #[error("the key does not exist")]
    Unknown,
    /// The key has another secret (by now).
    #[error("the secret is not the key's")]
    WrongSecret,
}

/// The fixed parts of a token cannot be written in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The issuer.
    #[error(
        "`{}` is not an issuer: it has 1 to 16 lower-case letters and digits, a letter first",
        .0.escape_debug()
    )]
    Issuer(String),
    /// The environment.
    #[error(
        "`{}` is not an environment: it has 1 to 8 lower-case letters and digits, a letter first",
        .0.escape_debug()
    )]
    Environment(String),
}

const _: () = assert!(MAX_PREFIX_LEN <= 32 && BODY_LEN == MESSAGE_LEN + 8);
