//! The public half of a token.

use alloc::borrow::ToOwned;
use core::{fmt, str::FromStr};

use super::alphabet;

/// The id of a key: 16 alphanumeric characters, the first of which names its pepper's slot.
///
/// It is public: it stands in logs and URLs, and nobody can do anything with it alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id that these characters spell, if each is alphanumeric.
    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        alphabet::is_alphanumeric(&bytes).then_some(Self(bytes))
    }

    /// The characters.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // INVARIANT: only alphanumeric ASCII gets in, so this is always text.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The slot of the pepper under which its secrets are minted, 0 to 61.
    pub fn slot(self) -> u8 {
        let [first, ..] = self.0;
        slot_of(first).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes().to_owned().try_into().map_err(|_| InvalidKeyId(()))?;
        Self::from_bytes(bytes).ok_or(InvalidKeyId(()))
    }
}

/// A text is not the id of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has 16 letters and digits")]
pub struct InvalidKeyId(());

#[cfg(feature = "serde")]
impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The slot that an id's first character names: its value in base64 (RFC 4648, table 2).
#[inline]
pub(super) fn slot_of(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        _ => None,
    }
}

/// The first character of the ids of a slot.
pub(super) fn character_of(slot: u8) -> u8 {
    match slot {
        0..26 => b'A' + slot,
        26..52 => b'a' + slot - 26,
        _ => b'0' + (slot - 52) % 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_characters_are_one_to_one() {
        for slot in 0..62 {
            assert_eq!(slot_of(character_of(slot)), Some(slot));
        }
        assert_eq!((0..=u8::MAX).filter_map(slot_of).count(), 62);
    }
}
