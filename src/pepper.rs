//! The application's secret, kept outside the database.

#[cfg(feature = "std")]
use alloc::string::String;
use alloc::{vec, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

use crate::{
    base64,
    config::ConfigError,
    mac::{self, Sha256},
};

/// The largest file that is read as a pepper, in bytes.
#[cfg(feature = "std")]
const MAX_FILE_LEN: usize = 1_024;

/// One secret of the application, in one of 62 slots.
///
/// Every token's tag, every stored digest and every seal is keyed with it. A reader of the database without
/// the pepper learns nothing that helps to make a token. A writer without the pepper cannot make a row that
/// keyway accepts.
///
/// A token carries the slot that it was minted under, so a new pepper can be added while older tokens remain
/// valid. The secret is wiped when the pepper is dropped. No `Debug` text contains it.
///
/// ```
/// use keyway::Pepper;
///
/// let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
/// assert_eq!(format!("{pepper:?}"), "Pepper { slot: 0, secret: \"[redacted]\", .. }");
/// # Ok::<(), keyway::ConfigError>(())
/// ```
pub struct Pepper {
    slot: u8,
    /// The secret, padded with zeros to a whole block, as HMAC uses it.
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

    /// Creates a pepper from these bytes, in slot 0. The bytes must come from a source of randomness, not
    /// from a person.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PepperLength`] unless there are 32 to 64 bytes.
    pub fn from_bytes(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < Self::MIN_LEN || secret.len() > Self::MAX_LEN {
            return Err(ConfigError::PepperLength(secret.len()));
        }
        Ok(Self::filled(secret, false))
    }

    /// Creates a pepper from these bytes in base64 (RFC 4648, sections 4 and 5), with or without padding, in
    /// slot 0. `openssl rand -base64 32` makes one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PepperBase64`] or [`ConfigError::PepperLength`].
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        let mut buffer = Zeroizing::new(vec![0; text.len()]);
        Self::from_bytes(base64::decode(text, &mut buffer).ok_or(ConfigError::PepperBase64)?)
    }

    /// Reads a pepper from the environment variable `name`, in base64, for slot 0. White space around the
    /// value, line breaks in it and one pair of quotes around it are ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PepperVariable`] if the variable is not set or is not valid Unicode, and
    /// [`ConfigError::In`] if the value is not a pepper. Both name the variable. Neither contains any
    /// part of the value.
    #[cfg(feature = "std")]
    pub fn from_env(name: &str) -> Result<Self, ConfigError> {
        let value = std::env::var_os(name).map(std::ffi::OsString::into_string);
        match value {
            Some(Ok(value)) => Self::from_text(&Zeroizing::new(value)).map_err(|error| {
                error.within(alloc::format!(
                    "the environment variable `{}` holds no pepper",
                    name.escape_debug()
                ))
            }),
            // A value that is not Unicode may still contain a part of the secret, so it is wiped.
            Some(Err(value)) => {
                drop(Zeroizing::new(value.into_encoded_bytes()));
                Err(ConfigError::PepperVariable(name.into()))
            }
            None => Err(ConfigError::PepperVariable(name.into())),
        }
    }

    /// Reads a pepper from the file at `path`, in base64, for slot 0. The file is typically a secret that
    /// Docker, Kubernetes or systemd mounts. White space around the content, such as the newline at its end,
    /// line breaks in it and one pair of quotes around it are ignored, as in [`from_env`](Self::from_env).
    ///
    /// A service that can get the path in a variable reads that variable first:
    ///
    /// ```no_run
    /// use keyway::Pepper;
    ///
    /// let pepper = match std::env::var_os("KEYWAY_PEPPER_FILE") {
    ///     Some(path) => Pepper::from_file(path)?,
    ///     None => Pepper::from_env("KEYWAY_PEPPER")?,
    /// };
    /// # Ok::<(), keyway::ConfigError>(())
    /// ```
    ///
    /// The permissions of the file are not checked, and are up to the service. Mounted secrets are often
    /// readable to every user in their container.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unreadable`] if the file cannot be read, is not UTF-8 or is longer than 1,024 bytes, and
    /// [`ConfigError::In`] if the content is not a pepper. Both name the path. Neither contains any part
    /// of the content.
    #[cfg(feature = "std")]
    pub fn from_file(path: impl AsRef<std::path::Path>) -> Result<Self, ConfigError> {
        use std::io::Read as _;

        let path = path.as_ref();
        let named = ConfigError::file(path);
        let unreadable = |problem: &dyn fmt::Display| ConfigError::unreadable(&*named, problem);
        // The buffer never grows, since growing leaves copies of the secret behind.
        let mut content = Zeroizing::new(vec![0; MAX_FILE_LEN + 1]);
        let mut len = 0;
        let mut file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
        loop {
            let free = content.get_mut(len..).unwrap_or_default();
            match file.read(free) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        if len > MAX_FILE_LEN {
            return Err(unreadable(&format_args!("it is longer than {MAX_FILE_LEN} bytes")));
        }
        let text = core::str::from_utf8(content.get(..len).unwrap_or_default())
            .map_err(|_| unreadable(&"it is not text"))?;
        Self::from_text(text)
            .map_err(|error| error.within(alloc::format!("{named} holds no pepper")))
    }

    /// Reads a pepper from a text that a person set up, with white space around it, and perhaps in quotes.
    #[cfg(feature = "std")]
    fn from_text(text: &str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
        let is_quoted = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let text = is_quoted('"').or_else(|| is_quoted('\'')).unwrap_or(text).trim();
        if text.is_empty() {
            return Err(ConfigError::PepperEmpty);
        }
        // `openssl` and `base64` break long lines. The capacity suffices, so that no copy is left behind.
        let mut joined = Zeroizing::new(String::with_capacity(text.len()));
        joined.extend(text.split(['\r', '\n']));
        Self::from_base64(&joined)
    }

    /// Returns a well-known pepper, for applications without a secret one.
    ///
    /// The tag of a token is then a checksum that anyone can compute, so made-up tokens reach the store.
    /// Anyone who can write to the database can also seal rows. It remains impossible to make a token from a
    /// stored digest.
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
    /// [`ConfigError::PepperSlot`] unless `slot` is below 62.
    pub fn in_slot(mut self, slot: u8) -> Result<Self, ConfigError> {
        if slot >= Self::SLOTS {
            return Err(ConfigError::PepperSlot(slot));
        }
        self.slot = slot;
        Ok(self)
    }

    /// Returns the slot, 0 to 61.
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// Returns whether this is the well-known pepper.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// Derives the MAC key of one `purpose`, which ends with a zero byte, for the keys of one issuer and
    /// environment.
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

/// The peppers of an application: the current one, and older ones that are still needed.
///
/// To replace a pepper:
///
/// 1. Make the new one [current](Self::new), in a slot of its own, and keep the old one as
///    [`retiring`](Self::retiring).
/// 2. Seal every row again.
/// 3. Keep the old one as [`retired`](Self::retired) for as long as there are tokens of its slot.
///
/// ```
/// use keyway::{Pepper, Peppers};
///
/// let old = Pepper::from_bytes(&[1; 32])?;
/// let new = Pepper::from_bytes(&[2; 32])?.in_slot(1)?;
/// let peppers = Peppers::new(new).retiring(old)?;
/// assert_eq!(peppers.current().slot(), 1);
/// # Ok::<(), keyway::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Peppers {
    current: Pepper,
    older: Vec<(Pepper, Use)>,
}

/// The purposes that an older pepper is still used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    TokensAndSeals,
    Tokens,
}

impl Peppers {
    /// Creates a ring of one pepper: `current` mints, checks and seals.
    pub fn new(current: Pepper) -> Self {
        Self { current, older: Vec::new() }
    }

    /// Adds an older pepper whose tokens and seals are still accepted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PepperSlotTaken`] if the ring already has a pepper in this slot.
    pub fn retiring(self, older: Pepper) -> Result<Self, ConfigError> {
        self.with(older, Use::TokensAndSeals)
    }

    /// Adds an older pepper whose tokens are still accepted, but not the rows that it sealed. A leaked pepper
    /// does no harm here, since nobody can make a valid token from it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PepperSlotTaken`] if the ring already has a pepper in this slot.
    pub fn retired(self, older: Pepper) -> Result<Self, ConfigError> {
        self.with(older, Use::Tokens)
    }

    fn with(mut self, older: Pepper, purpose: Use) -> Result<Self, ConfigError> {
        if self.for_tokens().any(|pepper| pepper.slot == older.slot) {
            return Err(ConfigError::PepperSlotTaken(older.slot));
        }
        self.older.push((older, purpose));
        Ok(self)
    }

    /// Returns the pepper that mints and seals.
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
