//! The host's secret, kept outside the database.
//!
//! Every token's tag, every stored digest and every seal is keyed with a [`Pepper`]. Whoever reads
//! the database without it learns nothing that helps to make a token, and whoever writes to it
//! cannot make a row that keyway accepts.

use alloc::{vec, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

use crate::{
    mac::{self, Sha256},
    text::from_base64,
};

/// One secret of the host, in one of 62 slots.
///
/// A token carries the slot that it was minted under, so that a new pepper can be brought in while
/// older tokens live on. The secret is wiped when the pepper is dropped and is in no `Debug` text.
///
/// ```
/// use keyway::pepper::Pepper;
///
/// let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
/// assert_eq!(format!("{pepper:?}"), "Pepper { slot: 0, secret: \"[redacted]\", .. }");
/// # Ok::<(), keyway::pepper::PepperError>(())
/// ```
pub struct Pepper {
    slot: u8,
    /// The secret, followed by zeros: a whole block, as HMAC uses it.
    block: mac::Key,
    is_public: bool,
}

impl Pepper {
    /// The shortest secret, in bytes.
    pub const MIN_LEN: usize = 32;
    /// The longest secret, in bytes: one block of SHA-256.
    pub const MAX_LEN: usize = 64;
    /// The number of slots.
    pub const SLOTS: u8 = 62;

    /// The pepper of these bytes, which must come from a source of randomness and not from a
    /// person, in slot 0.
    ///
    /// # Errors
    ///
    /// [`PepperError::Length`] unless there are 32 to 64 bytes.
    pub fn from_bytes(secret: &[u8]) -> Result<Self, PepperError> {
        if secret.len() < Self::MIN_LEN || secret.len() > Self::MAX_LEN {
            return Err(PepperError::Length(secret.len()));
        }
        Ok(Self::filled(secret, false))
    }

    /// The pepper of these bytes in base64 (RFC 4648, sections 4 and 5), with or without padding,
    /// in slot 0. `openssl rand -base64 32` makes one.
    ///
    /// # Errors
    ///
    /// [`PepperError::Base64`] or [`PepperError::Length`].
    pub fn from_base64(text: &str) -> Result<Self, PepperError> {
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        Self::from_bytes(from_base64(text, &mut buffer).ok_or(PepperError::Base64)?)
    }

    /// The pepper in the environment variable `name`, in base64, in slot 0.
    ///
    /// # Errors
    ///
    /// [`PepperError::Environment`] if the variable is not set or not text, and what
    /// [`from_base64`](Self::from_base64) says of its value.
    #[cfg(feature = "std")]
    pub fn from_env(name: &str) -> Result<Self, PepperError> {
        let value = std::env::var(name).map_err(|_| PepperError::Environment(name.into()))?;
        Self::from_base64(Zeroizing::new(value).trim())
    }

    /// A well-known pepper, for hosts that want none.
    ///
    /// A token's tag is then a checksum that anybody can compute, so made-up tokens reach the store;
    /// and whoever can write to the database can seal what they write. What remains is that nobody
    /// can make a token from a stored digest.
    pub fn public() -> Self {
        Self::filled(b"keyway/v1/public pepper: no secret", true)
    }

    fn filled(secret: &[u8], is_public: bool) -> Self {
        let mut block = mac::blank_key();
        for (byte, secret) in block.iter_mut().zip(secret) {
            *byte = *secret;
        }
        Self { slot: 0, block, is_public }
    }

    /// Moves this pepper to `slot`.
    ///
    /// # Errors
    ///
    /// [`PepperError::Slot`] unless it is below 62.
    pub fn in_slot(mut self, slot: u8) -> Result<Self, PepperError> {
        if slot >= Self::SLOTS {
            return Err(PepperError::Slot(slot));
        }
        self.slot = slot;
        Ok(self)
    }

    /// The slot, 0 to 61.
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// Whether this is the well-known pepper.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// The MAC key of one `purpose`, which ends with a zero byte, for the keys of one issuer and environment.
    #[allow(clippy::unnecessary_box_returns, reason = "a key is never moved")]
    pub(crate) fn derive(&self, purpose: &[u8], issuer: &str, environment: &str) -> mac::Key {
        let domain = [purpose, issuer.as_bytes(), b"\0", environment.as_bytes()];
        let mut key = mac::blank_key();
        if let Some(head) = key.first_chunk_mut() {
            Sha256::hmac(&self.block, &domain, head);
        }
        Sha256::clear_registers();
        key
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper")
            .field("slot", &self.slot)
            .field("secret", if self.is_public { &"public" } else { &"[redacted]" })
            .finish_non_exhaustive()
    }
}

/// The peppers of a host: the current one, and older ones that are still needed.
///
/// To bring in a new pepper: make it [current](Self::new) in a slot of its own and keep the old one
/// as [`retiring`](Self::retiring); [re-seal](crate::keyring::Keyring::reseal) every row; then keep
/// the old one as [`retired`](Self::retired) for as long as tokens of its slot live.
///
/// ```
/// use keyway::pepper::{Pepper, Peppers};
///
/// let old = Pepper::from_bytes(&[1; 32])?;
/// let new = Pepper::from_bytes(&[2; 32])?.in_slot(1)?;
/// let peppers = Peppers::new(new).retiring(old)?;
/// assert_eq!(peppers.current().slot(), 1);
/// # Ok::<(), keyway::pepper::PepperError>(())
/// ```
#[derive(Debug)]
pub struct Peppers {
    current: Pepper,
    older: Vec<(Pepper, Use)>,
}

/// What an older pepper is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    TokensAndSeals,
    Tokens,
}

impl Peppers {
    /// A ring of one: `current` mints, checks and seals.
    pub fn new(current: Pepper) -> Self {
        Self { current, older: Vec::new() }
    }

    /// Adds an older pepper whose tokens and seals are still accepted.
    ///
    /// # Errors
    ///
    /// [`PepperError::SlotTaken`] if the ring has a pepper in its slot.
    pub fn retiring(self, older: Pepper) -> Result<Self, PepperError> {
        self.with(older, Use::TokensAndSeals)
    }

    /// Adds an older pepper whose tokens are still accepted, but no row that it sealed. A leaked
    /// pepper is harmless there: nobody can make a token from it.
    ///
    /// # Errors
    ///
    /// [`PepperError::SlotTaken`] if the ring has a pepper in its slot.
    pub fn retired(self, older: Pepper) -> Result<Self, PepperError> {
        self.with(older, Use::Tokens)
    }

    fn with(mut self, older: Pepper, purpose: Use) -> Result<Self, PepperError> {
        if self.for_tokens().any(|pepper| pepper.slot == older.slot) {
            return Err(PepperError::SlotTaken(older.slot));
        }
        self.older.push((older, purpose));
        Ok(self)
    }

    /// The pepper that mints and seals.
    pub fn current(&self) -> &Pepper {
        &self.current
    }

    pub(crate) fn for_tokens(&self) -> impl Iterator<Item = &Pepper> {
        core::iter::once(&self.current).chain(self.older.iter().map(|(pepper, _)| pepper))
    }

    pub(crate) fn for_seals(&self) -> impl Iterator<Item = &Pepper> {
        let older = self.older.iter().filter(|(_, purpose)| *purpose == Use::TokensAndSeals);
        core::iter::once(&self.current).chain(older.map(|(pepper, _)| pepper))
    }
}

impl From<Pepper> for Peppers {
    fn from(current: Pepper) -> Self {
        Self::new(current)
    }
}

/// A pepper cannot be used. No message holds any part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PepperError {
    /// Too short to be a secret, or longer than one block.
    #[error("a pepper has 32 to 64 bytes, and this one has {0}")]
    Length(usize),
    /// Not base64.
    #[error("the pepper is not base64")]
    Base64,
    /// The environment variable is not set, or not text.
    #[error(
        "the environment variable `{}` does not hold a pepper; `openssl rand -base64 32` makes one",
        .0.escape_debug()
    )]
    Environment(alloc::string::String),
    /// There is no such slot.
    #[error("slot {0} does not exist: slots are 0 to 61")]
    Slot(u8),
    /// Two peppers in one slot could not be told apart.
    #[error("slot {0} holds another pepper already")]
    SlotTaken(u8),
}
