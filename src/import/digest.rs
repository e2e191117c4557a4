//! What another system kept of a token.

use alloc::{boxed::Box, vec};
use core::fmt;

use zeroize::Zeroizing;

use crate::text::from_base64;

/// How another system digested its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForeignHash {
    /// SHA-256: 32 bytes.
    Sha256,
    /// SHA-512: 64 bytes.
    Sha512,
}

impl ForeignHash {
    /// The length of a digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn of_len(len: usize) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|hash| hash.digest_len() == len)
    }
}

impl fmt::Display for ForeignHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// The digest of a token, as another system kept it. Its length says of which hash it is.
///
/// It is in no `Debug` text and is wiped when it is dropped: it is no credential, but whoever has
/// it can try guesses against it.
///
/// ```
/// use keyway::import::{DigestError, ForeignDigest, ForeignHash};
///
/// let hex = "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee";
/// let digest = ForeignDigest::from_hex(hex)?;
/// assert_eq!(digest.hash(), ForeignHash::Sha256);
/// assert_eq!(ForeignDigest::from_hex(&hex[..40]).unwrap_err(), DigestError::Length(20));
/// # Ok::<(), DigestError>(())
/// ```
#[derive(Clone)]
pub struct ForeignDigest {
    hash: ForeignHash,
    /// Zeros behind the digest. In a box, since a move would leave a copy behind.
    bytes: Box<Zeroizing<[u8; 64]>>,
}

impl ForeignDigest {
    /// The digest that these hexadecimal digits spell, in either case.
    ///
    /// # Errors
    ///
    /// [`DigestError::Hex`] or [`DigestError::Length`].
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(DigestError::Hex);
        }
        let hash = ForeignHash::of_len(pairs.len()).ok_or(DigestError::Length(pairs.len()))?;
        let mut digest = Self::blank(hash);
        for (byte, [high, low]) in digest.bytes.iter_mut().zip(pairs) {
            *byte = value_of(*high) << 4 | value_of(*low);
        }
        Ok(digest)
    }

    /// The digest in base64 (RFC 4648, sections 4 and 5), with or without padding.
    ///
    /// # Errors
    ///
    /// [`DigestError::Base64`] or [`DigestError::Length`].
    pub fn from_base64(text: &str) -> Result<Self, DigestError> {
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        Self::from_bytes(from_base64(text, &mut buffer).ok_or(DigestError::Base64)?)
    }

    /// The digest of these bytes.
    ///
    /// # Errors
    ///
    /// [`DigestError::Length`] unless there are 32 or 64.
    pub fn from_bytes(digest: &[u8]) -> Result<Self, DigestError> {
        let hash = ForeignHash::of_len(digest.len()).ok_or(DigestError::Length(digest.len()))?;
        let mut kept = Self::blank(hash);
        for (byte, digest) in kept.bytes.iter_mut().zip(digest) {
            *byte = *digest;
        }
        Ok(kept)
    }

    fn blank(hash: ForeignHash) -> Self {
        Self { hash, bytes: Box::new(Zeroizing::new([0; 64])) }
    }

    /// The digest that `write` writes in its place.
    pub(super) fn sha256(write: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut digest = Self::blank(ForeignHash::Sha256);
        if let Some(head) = digest.bytes.first_chunk_mut() {
            write(head);
        }
        digest
    }

    /// The digest that `write` writes in its place.
    pub(super) fn sha512(write: impl FnOnce(&mut [u8; 64])) -> Self {
        let mut digest = Self::blank(ForeignHash::Sha512);
        write(&mut digest.bytes);
        digest
    }

    /// Which hash has digests of this length.
    pub fn hash(&self) -> ForeignHash {
        self.hash
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.hash.digest_len()).unwrap_or_default()
    }
}

impl fmt::Debug for ForeignDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignDigest").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// The value of a hexadecimal digit.
fn value_of(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'F' => digit - b'A' + 10,
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}

/// A text is not the digest of a token. No message holds any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// Not hexadecimal digits, or half of a pair of them.
    #[error("the digest is not pairs of hexadecimal digits")]
    Hex,
    /// Not base64.
    #[error("the digest is not base64")]
    Base64,
    /// Of another hash, or in another encoding.
    #[error("a digest has 32 bytes (SHA-256) or 64 (SHA-512), and this one has {0}")]
    Length(usize),
}
