//! What the tokens of another system look like, and how it digested them.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, ops::RangeInclusive};

use zeroize::Zeroizing;

use super::{ForeignDigest, ForeignHash};
use crate::mac::{Sha256, Sha512};

/// The tokens of another system.
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
/// # Ok::<(), keyway::import::ForeignFormatError>(())
/// ```
pub struct ForeignFormat {
    hash: ForeignHash,
    hashed: Hashed,
    prefix: Box<str>,
    lengths: RangeInclusive<usize>,
    /// The HMAC key as one block of the hash (RFC 2104): a shorter one has zeros behind it.
    key: Option<Box<Zeroizing<[u8; 128]>>>,
}

/// Which part of a token the digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hashed {
    Whole,
    /// What stands behind so many separators, counted from the front.
    Behind {
        separator: u8,
        count: u8,
    },
}

impl ForeignFormat {
    /// The longest token that is ever looked at, in bytes.
    pub const MAX_LEN: usize = 1_024;
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX_LEN: usize = 64;
    /// How far the public part may reach, in bytes: prefix, public part and separators together.
    pub const MAX_PUBLIC_LEN: usize = 128;
    /// How long tokens are unless [`lengths`](Self::lengths) says otherwise.
    pub const DEFAULT_LENGTHS: RangeInclusive<usize> = 20..=256;

    /// Tokens of which the other system digested the whole text.
    pub fn whole_token(hash: ForeignHash) -> Self {
        Self {
            hash,
            hashed: Hashed::Whole,
            prefix: "".into(),
            lengths: Self::DEFAULT_LENGTHS,
            key: None,
        }
    }

    /// Tokens of which the other system digested what stands behind the `count`-th `separator`,
    /// counted from the front, without that separator.
    ///
    /// What stands before it is public and belongs to the token: the same secret behind another
    /// public part is another token.
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::Separator`] unless the separator is a visible ASCII character, and
    /// [`ForeignFormatError::NoSeparator`] if `count` is 0.
    pub fn secret_part(
        hash: ForeignHash,
        separator: char,
        count: u8,
    ) -> Result<Self, ForeignFormatError> {
        let byte = u8::try_from(separator).ok().filter(u8::is_ascii_graphic);
        let separator = byte.ok_or(ForeignFormatError::Separator(separator))?;
        if count == 0 {
            return Err(ForeignFormatError::NoSeparator);
        }
        let hashed = Hashed::Behind { separator, count };
        Ok(Self { hashed, ..Self::whole_token(hash) })
    }

    /// The tokens of the crate `prefixed-api-key` with its default lengths: `company_short_long`,
    /// of which it keeps `short`, and SHA-256 of `long` in hexadecimal digits. For other lengths
    /// use [`lengths`](Self::lengths).
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::Prefix`] unless `company` is 1 to 63 visible ASCII characters without
    /// `_`.
    pub fn prefixed_api_key(company: &str) -> Result<Self, ForeignFormatError> {
        if company.is_empty() || company.contains('_') {
            return Err(ForeignFormatError::Prefix(company.into()));
        }
        // 8 and 24 bytes in base58, which makes 8 to 11 and 24 to 33 characters of them.
        let rest = company.len() + "__".len();
        Self::secret_part(ForeignHash::Sha256, '_', 2)?
            .prefix(&alloc::format!("{company}_"))?
            .lengths(rest + 8 + 24..=rest + 11 + 33)
    }

    /// What every token begins with, byte for byte.
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::Prefix`] unless it is 1 to 64 visible ASCII characters.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ForeignFormatError> {
        let is_visible = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if prefix.is_empty() || prefix.len() > Self::MAX_PREFIX_LEN || !is_visible {
            return Err(ForeignFormatError::Prefix(prefix.into()));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// How long tokens are in bytes, prefix and all. The narrower this is, the fewer made-up tokens
    /// reach the store.
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::Lengths`] unless they are a range within 1 to 1,024.
    pub fn lengths(mut self, lengths: RangeInclusive<usize>) -> Result<Self, ForeignFormatError> {
        if lengths.is_empty() || *lengths.start() == 0 || *lengths.end() > Self::MAX_LEN {
            return Err(ForeignFormatError::Lengths(*lengths.start(), *lengths.end()));
        }
        self.lengths = lengths;
        Ok(self)
    }

    /// The digests are HMACs (RFC 2104) under `key`, the other system's own pepper. It is wiped
    /// when the format is dropped.
    ///
    /// # Errors
    ///
    /// [`ForeignFormatError::Key`] if it is empty.
    pub fn keyed(mut self, key: &[u8]) -> Result<Self, ForeignFormatError> {
        if key.is_empty() {
            return Err(ForeignFormatError::Key);
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

    /// The hash.
    pub fn hash(&self) -> ForeignHash {
        self.hash
    }

    pub(super) fn begins_with(&self, prefix: &str) -> bool {
        self.prefix.starts_with(prefix)
    }

    /// What the other system would have kept of `presented`, if it can be one of its tokens.
    ///
    /// No step before the hash depends on the bytes that it covers, but for those of a fixed
    /// prefix.
    pub(super) fn identify(&self, presented: &[u8]) -> Option<ForeignIdentity> {
        let (front, hashed) = self.split(presented)?;
        Some(self.identity(front.into(), self.digest_of(hashed)))
    }

    /// Whether `text` holds more of a token than its public half, going by its prefix.
    #[cfg(feature = "std")]
    pub(super) fn is_evident_in(&self, text: &[u8]) -> bool {
        let has_prefix = !self.prefix.is_empty() && text.starts_with(self.prefix.as_bytes());
        has_prefix
            && match self.hashed {
                Hashed::Whole => self.lengths.contains(&text.len()),
                Hashed::Behind { .. } => self.front_len(text).is_some_and(|len| len < text.len()),
            }
    }

    /// What is known of a token whose digest is `digest`.
    pub(crate) fn identity_of(
        &self,
        public: Option<&str>,
        digest: ForeignDigest,
    ) -> Result<ForeignIdentity, PublicPartError> {
        let front = match self.hashed {
            Hashed::Behind { separator, count } => self.front(separator, count, public)?,
            Hashed::Whole if public.is_some() => return Err(PublicPartError::NotNeeded),
            Hashed::Whole => Vec::new(),
        };
        Ok(self.identity(front, digest))
    }

    /// The masked form of a token of which only what is public is known.
    pub(crate) fn hint(&self, identity: &ForeignIdentity) -> String {
        let front = str::from_utf8(&identity.front).unwrap_or_default();
        let front = if front.is_empty() { &*self.prefix } else { front };
        alloc::format!("{front}…")
    }

    /// Whether a token of this format can have `identity`.
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

    /// Public and hashed part.
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

    /// Where the last separator ends. Nothing behind it is looked at.
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
    ) -> Result<Vec<u8>, PublicPartError> {
        let separators = |text: &[u8]| text.split(|byte| *byte == separator).count() - 1;
        let missing = usize::from(count).saturating_sub(separators(self.prefix.as_bytes()));
        if missing == 0 {
            let len = self.front_len(self.prefix.as_bytes()).filter(|_| public.is_none());
            let front = len.and_then(|len| self.prefix.as_bytes().get(..len));
            return front.map(Into::into).ok_or(PublicPartError::NotNeeded);
        }
        let public = public.ok_or(PublicPartError::Missing)?.as_bytes();
        let front = [self.prefix.as_bytes(), public, &[separator]].concat();
        let is_visible = public.iter().all(u8::is_ascii_graphic);
        if !is_visible || separators(public) + 1 != missing || front.len() > Self::MAX_PUBLIC_LEN {
            return Err(PublicPartError::Malformed);
        }
        Ok(front)
    }

    fn identity(&self, front: Vec<u8>, digest: ForeignDigest) -> ForeignIdentity {
        ForeignIdentity { tag: self.tag(), front, digest }
    }

    /// How a digest was made, so that one that was made in another way leads to another key. The
    /// lengths are not part of it: they may be corrected later.
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

    fn digest_of(&self, message: &[u8]) -> ForeignDigest {
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

/// All that tells a foreign token from others, after it was digested.
#[derive(Clone, Debug)]
pub(crate) struct ForeignIdentity {
    pub(super) tag: [u8; 4],
    /// What stands before what was digested, which is public.
    pub(super) front: Vec<u8>,
    pub(super) digest: ForeignDigest,
}

impl ForeignIdentity {
    pub(crate) fn hash(&self) -> ForeignHash {
        self.digest.hash()
    }
}

/// Tokens cannot look like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignFormatError {
    /// The prefix.
    #[error("`{}` is not a prefix of tokens: it has 1 to 64 visible ASCII characters", .0.escape_debug())]
    Prefix(String),
    /// The separator.
    #[error("U+{:04X} is not a separator: it is a visible ASCII character", u32::from(*.0))]
    Separator(char),
    /// The digest is of what stands behind no separator, which is the whole token.
    #[error("a secret part stands behind at least one separator")]
    NoSeparator,
    /// The lengths.
    #[error("tokens of {0} to {1} bytes are not a range within 1 to 1024")]
    Lengths(usize, usize),
    /// The key of the HMAC.
    #[error("the key of an HMAC is not empty")]
    Key,
    /// All tokens of the format would be taken for keyway's own.
    #[error("`{}` begins like keyway's own tokens, which are never foreign", .0.escape_debug())]
    OwnPrefix(String),
}

impl ForeignFormatError {
    pub(super) fn own_prefix(format: &ForeignFormat) -> Self {
        Self::OwnPrefix((&*format.prefix).into())
    }
}

/// What is public of a token does not fit its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicPartError {
    /// A part of the token stands before its secret, and was not given.
    #[error("the format has a public part between its prefix and its secret, and it is missing")]
    Missing,
    /// There is none in the format.
    #[error("the format has no public part behind its prefix")]
    NotNeeded,
    /// It has other characters or more separators than the format allows, or is too long.
    #[error("the public part does not fit between the format's prefix and its secret")]
    Malformed,
}
