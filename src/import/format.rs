//! The form of another system's tokens, and how they were digested.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, ops::RangeInclusive};

use zeroize::Zeroizing;

use super::{ForeignDigest, ForeignHash, ImportError};
use crate::config::ConfigError;
use crate::mac::{Sha256, Sha512};

/// The form of another system's tokens, and how they were digested.
///
/// ```
/// use keyway::import::{ForeignFormat, ForeignHash};
///
/// // `sk_live_` and 43 characters, of which HMAC-SHA-512 was kept.
/// let format = ForeignFormat::whole_token(ForeignHash::Sha512)
///     .prefix("sk_live_")?
///     .lengths(51..=51)?
///     .keyed(b"the other system's own pepper")?;
/// # _ = format;
/// # Ok::<(), keyway::ConfigError>(())
/// ```
pub struct ForeignFormat {
    hash: ForeignHash,
    hashed: Hashed,
    prefix: Box<str>,
    lengths: RangeInclusive<usize>,
    /// The HMAC key as one block of the hash (RFC 2104). A shorter key is padded with zeros.
    key: Option<Box<Zeroizing<[u8; 128]>>>,
}

/// The part of a token that was digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hashed {
    Whole,
    /// The part after the `count`-th separator, counted from the start.
    Behind {
        separator: u8,
        count: u8,
    },
}

impl ForeignFormat {
    /// Maximum length of a token, in bytes. Longer tokens never match.
    pub const MAX_LEN: usize = 1_024;
    /// Maximum length of a prefix, in bytes.
    pub const MAX_PREFIX_LEN: usize = 64;
    /// Maximum length of prefix, public part and separators together, in bytes.
    pub const MAX_PUBLIC_LEN: usize = 128;
    /// The lengths of tokens in bytes unless [`lengths`](Self::lengths) sets others.
    pub const DEFAULT_LENGTHS: RangeInclusive<usize> = 20..=256;

    /// Creates a format of tokens whose whole text was digested.
    pub fn whole_token(hash: ForeignHash) -> Self {
        Self {
            hash,
            hashed: Hashed::Whole,
            prefix: "".into(),
            lengths: Self::DEFAULT_LENGTHS,
            key: None,
        }
    }

    /// Creates a format of tokens of which the part after the `count`-th `separator`, counted from the
    /// start, was digested. The separator itself was not digested.
    ///
    /// The part before the separator is public. It identifies the token as well: the same secret with
    /// another public part is a different token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ForeignSeparator`] unless the separator is a visible ASCII character.
    /// [`ConfigError::NoForeignSeparator`] if `count` is 0.
    pub fn secret_part(hash: ForeignHash, separator: char, count: u8) -> Result<Self, ConfigError> {
        let byte = u8::try_from(separator).ok().filter(u8::is_ascii_graphic);
        let separator = byte.ok_or(ConfigError::ForeignSeparator(separator))?;
        if count == 0 {
            return Err(ConfigError::NoForeignSeparator);
        }
        let hashed = Hashed::Behind { separator, count };
        Ok(Self { hashed, ..Self::whole_token(hash) })
    }

    /// Creates the format of the crate `prefixed-api-key` with its default lengths. Its tokens are
    /// `company_short_long`. It stores `short`, and the SHA-256 of `long` in hexadecimal digits. For other
    /// lengths use [`lengths`](Self::lengths).
    ///
    /// # Errors
    ///
    /// [`ConfigError::ForeignPrefix`] unless `company` is 1 to 63 visible ASCII characters without `_`.
    pub fn prefixed_api_key(company: &str) -> Result<Self, ConfigError> {
        if company.is_empty() || company.contains('_') {
            return Err(ConfigError::ForeignPrefix(company.into()));
        }
        // 8 and 24 bytes in base58, which are 8 to 11 and 24 to 33 characters.
        let rest = company.len() + "__".len();
        Self::secret_part(ForeignHash::Sha256, '_', 2)?
            .prefix(&alloc::format!("{company}_"))?
            .lengths(rest + 8 + 24..=rest + 11 + 33)
    }

    /// Sets the prefix of every token, byte for byte.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ForeignPrefix`] unless it is 1 to 64 visible ASCII characters.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let is_visible = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if prefix.is_empty() || prefix.len() > Self::MAX_PREFIX_LEN || !is_visible {
            return Err(ConfigError::ForeignPrefix(prefix.into()));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// Sets the lengths of tokens in bytes, including the prefix. A narrower range lets fewer made-up tokens
    /// reach the store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ForeignLengths`] unless this is a range within 1 to 1,024.
    pub fn lengths(mut self, lengths: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        if lengths.is_empty() || *lengths.start() == 0 || *lengths.end() > Self::MAX_LEN {
            return Err(ConfigError::ForeignLengths(*lengths.start(), *lengths.end()));
        }
        self.lengths = lengths;
        Ok(self)
    }

    /// Declares that the digests are HMACs (RFC 2104) with `key`, the other system's own pepper. The key is
    /// wiped when the format is dropped.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ForeignKey`] if the key is empty.
    pub fn keyed(mut self, key: &[u8]) -> Result<Self, ConfigError> {
        if key.is_empty() {
            return Err(ConfigError::ForeignKey);
        }
        let block_len = match self.hash {
            ForeignHash::Sha256 => 64,
            ForeignHash::Sha512 => 128,
        };
        let shortened = (key.len() > block_len).then(|| self.hash_of(key));
        let key = shortened.as_ref().map_or(key, ForeignDigest::as_bytes);
        let mut block = Box::new(Zeroizing::new([0; 128]));
        for (byte, key) in block.iter_mut().zip(key) {
            *byte = *key;
        }
        self.key = Some(block);
        Ok(self)
    }

    /// Returns the hash.
    pub fn hash(&self) -> ForeignHash {
        self.hash
    }

    pub(super) fn prefix_text(&self) -> &str {
        &self.prefix
    }

    pub(super) fn begins_with(&self, prefix: &str) -> bool {
        self.prefix.starts_with(prefix)
    }

    /// Returns the data that the other system would have stored for `presented`, if `presented` fits the
    /// format.
    ///
    /// No step before the hash depends on the bytes that are hashed, except for those of a fixed prefix.
    pub(super) fn identify(&self, presented: &[u8]) -> Option<ForeignIdentity> {
        let (front, hashed) = self.split(presented)?;
        Some(self.identity(front.into(), self.digest_of(hashed)))
    }

    /// Returns whether `text` contains more of a token than its public part, judged by its prefix.
    pub(super) fn is_evident_in(&self, text: &[u8]) -> bool {
        let has_prefix = !self.prefix.is_empty() && text.starts_with(self.prefix.as_bytes());
        has_prefix
            && match self.hashed {
                Hashed::Whole => self.lengths.contains(&text.len()),
                Hashed::Behind { .. } => self.front_len(text).is_some_and(|len| len < text.len()),
            }
    }

    /// Returns the identity of a token with the digest `digest`.
    pub(crate) fn identity_of(
        &self,
        public: Option<&str>,
        digest: ForeignDigest,
    ) -> Result<ForeignIdentity, ImportError> {
        let front = match self.hashed {
            Hashed::Behind { separator, count } => self.front(separator, count, public)?,
            Hashed::Whole if public.is_some() => return Err(ImportError::PublicNotNeeded),
            Hashed::Whole => Vec::new(),
        };
        Ok(self.identity(front, digest))
    }

    /// Returns the masked form of a token whose secret is not known.
    pub(crate) fn masked(&self, identity: &ForeignIdentity) -> String {
        let front = str::from_utf8(&identity.front).unwrap_or_default();
        let front = if front.is_empty() { &*self.prefix } else { front };
        alloc::format!("{front}…")
    }

    /// Returns whether a token of this format can have `identity`.
    pub(crate) fn makes(&self, identity: &ForeignIdentity) -> bool {
        let has_prefix = match self.hashed {
            Hashed::Whole => true,
            Hashed::Behind { .. } => {
                let shorter = self.prefix.len().min(identity.front.len());
                identity.front.get(..shorter) == self.prefix.as_bytes().get(..shorter)
            }
        };
        self.tag() == identity.tag && has_prefix
    }

    /// Splits a token into the public part and the hashed part.
    fn split<'t>(&self, presented: &'t [u8]) -> Option<(&'t [u8], &'t [u8])> {
        if !self.lengths.contains(&presented.len())
            || !presented.starts_with(self.prefix.as_bytes())
        {
            return None;
        }
        let front = match self.hashed {
            Hashed::Whole => 0,
            Hashed::Behind { .. } => self.front_len(presented)?,
        };
        presented.split_at_checked(front).filter(|(_, hashed)| !hashed.is_empty())
    }

    /// Returns the end of the last separator of the public part. Nothing after it is read.
    fn front_len(&self, presented: &[u8]) -> Option<usize> {
        let Hashed::Behind { separator, count } = self.hashed else { return None };
        let public = presented.iter().take(Self::MAX_PUBLIC_LEN).enumerate();
        let mut separators = public.filter(|(_, byte)| **byte == separator);
        separators.nth(usize::from(count) - 1).map(|(place, _)| place + 1)
    }

    fn front(
        &self,
        separator: u8,
        count: u8,
        public: Option<&str>,
    ) -> Result<Vec<u8>, ImportError> {
        let separators = |text: &[u8]| text.split(|byte| *byte == separator).count() - 1;
        let missing = usize::from(count).saturating_sub(separators(self.prefix.as_bytes()));
        if missing == 0 {
            let len = self.front_len(self.prefix.as_bytes()).filter(|_| public.is_none());
            let front = len.and_then(|len| self.prefix.as_bytes().get(..len));
            return front.map(Into::into).ok_or(ImportError::PublicNotNeeded);
        }
        let public = public.ok_or(ImportError::PublicMissing)?.as_bytes();
        let front = [self.prefix.as_bytes(), public, &[separator]].concat();
        let is_visible = public.iter().all(u8::is_ascii_graphic);
        if !is_visible || separators(public) + 1 != missing || front.len() > Self::MAX_PUBLIC_LEN {
            return Err(ImportError::PublicMalformed);
        }
        Ok(front)
    }

    fn identity(&self, front: Vec<u8>, digest: ForeignDigest) -> ForeignIdentity {
        ForeignIdentity { tag: self.tag(), front, digest }
    }

    /// Returns how digests of this format are made. It is part of the identity, so a digest that was made in
    /// another way leads to another key. The lengths are not included, so that they can be corrected later.
    fn tag(&self) -> [u8; 4] {
        let hash = match self.hash {
            ForeignHash::Sha256 => 1,
            ForeignHash::Sha512 => 2,
        };
        let (separator, count) = match self.hashed {
            Hashed::Whole => (0, 0),
            Hashed::Behind { separator, count } => (separator, count),
        };
        [hash, self.key.is_some().into(), separator, count]
    }

    pub(super) fn digest_of(&self, message: &[u8]) -> ForeignDigest {
        let Some(key) = &self.key else { return self.hash_of(message) };
        match self.hash {
            ForeignHash::Sha256 => ForeignDigest::sha256(|into| {
                if let Some(key) = key.first_chunk() {
                    Sha256::hmac(key, &[message], into);
                }
            }),
            ForeignHash::Sha512 => {
                ForeignDigest::sha512(|into| Sha512::hmac(key, &[message], into))
            }
        }
    }

    fn hash_of(&self, message: &[u8]) -> ForeignDigest {
        match self.hash {
            ForeignHash::Sha256 => ForeignDigest::sha256(|into| Sha256::digest(message, into)),
            ForeignHash::Sha512 => ForeignDigest::sha512(|into| Sha512::digest(message, into)),
        }
    }
}

impl fmt::Debug for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignFormat")
            .field("hash", &self.hash)
            .field("hashed", &self.hashed)
            .field("prefix", &self.prefix)
            .field("lengths", &self.lengths)
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// The data that distinguishes a foreign token from others, after it was digested.
#[derive(Clone, Debug)]
pub(crate) struct ForeignIdentity {
    pub(super) tag: [u8; 4],
    /// The part of the token before the digested part. It is public.
    pub(super) front: Vec<u8>,
    pub(super) digest: ForeignDigest,
}

impl ForeignIdentity {
    pub(crate) fn hash(&self) -> ForeignHash {
        self.digest.hash()
    }
}
