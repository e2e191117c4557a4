//! Digests of tokens that another system stored.

use alloc::{boxed::Box, vec};
use core::fmt;

use zeroize::Zeroizing;

use super::ImportError;
use crate::base64;

/// The hash with which another system digested its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForeignHash {
    /// SHA-256: 32 bytes.
    Sha256,
    /// SHA-512: 64 bytes.
    Sha512,
}

impl ForeignHash {
    /// Returns the length of a digest in bytes.
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

/// The digest of a token, as another system stored it. Its length determines the hash.
///
/// The digest is not a credential, but guesses of the token can be tested against it. Therefore it is not
/// part of any `Debug` output and is wiped when it is dropped.
///
/// ```
/// use keyway::import::{ImportError, ForeignDigest, ForeignHash};
///
/// let hex = "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee";
/// let digest = ForeignDigest::from_hex(hex)?;
/// assert_eq!(digest.hash(), ForeignHash::Sha256);
/// assert_eq!(ForeignDigest::from_hex(&hex[..40]).unwrap_err(), ImportError::DigestLength(20));
/// # Ok::<(), ImportError>(())
/// ```
#[derive(Clone)]
pub struct ForeignDigest {
    hash: ForeignHash,
    /// The digest, padded with zeros. In a box, because moving the bytes would leave a copy that is not
    /// wiped.
    bytes: Box<Zeroizing<[u8; 64]>>,
}

impl ForeignDigest {
    /// Decodes a digest from hexadecimal digits in either case.
    ///
    /// # Errors
    ///
    /// [`ImportError::DigestHex`] or [`ImportError::DigestLength`].
    pub fn from_hex(text: &str) -> Result<Self, ImportError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ImportError::DigestHex);
        }
        let hash =
            ForeignHash::of_len(pairs.len()).ok_or(ImportError::DigestLength(pairs.len()))?;
        let mut digest = Self::blank(hash);
        for (byte, [high, low]) in digest.bytes.iter_mut().zip(pairs) {
            *byte = value_of(*high) << 4 | value_of(*low);
        }
        Ok(digest)
    }

    /// Decodes a digest from base64 (RFC 4648, sections 4 and 5), with or without padding.
    ///
    /// # Errors
    ///
    /// [`ImportError::DigestBase64`] or [`ImportError::DigestLength`].
    pub fn from_base64(text: &str) -> Result<Self, ImportError> {
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        Self::from_bytes(base64::decode(text, &mut buffer).ok_or(ImportError::DigestBase64)?)
    }

    /// Creates a digest from its bytes.
    ///
    /// # Errors
    ///
    /// [`ImportError::DigestLength`] unless there are 32 or 64 bytes.
    pub fn from_bytes(digest: &[u8]) -> Result<Self, ImportError> {
        let hash =
            ForeignHash::of_len(digest.len()).ok_or(ImportError::DigestLength(digest.len()))?;
        let mut kept = Self::blank(hash);
        for (byte, digest) in kept.bytes.iter_mut().zip(digest) {
            *byte = *digest;
        }
        Ok(kept)
    }

    fn blank(hash: ForeignHash) -> Self {
        Self { hash, bytes: Box::new(Zeroizing::new([0; 64])) }
    }

    /// Creates a digest that `write` computes in place.
    pub(super) fn sha256(write: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut digest = Self::blank(ForeignHash::Sha256);
        if let Some(head) = digest.bytes.first_chunk_mut() {
            write(head);
        }
        digest
    }

    /// Creates a digest that `write` computes in place.
    pub(super) fn sha512(write: impl FnOnce(&mut [u8; 64])) -> Self {
        let mut digest = Self::blank(ForeignHash::Sha512);
        write(&mut digest.bytes);
        digest
    }

    /// Returns the hash that has digests of this length.
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

/// Returns the value of a hexadecimal digit.
fn value_of(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'F' => digit - b'A' + 10,
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}
