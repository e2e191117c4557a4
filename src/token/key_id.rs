//! The public half of a token.

use core::{fmt, str::FromStr};

use super::alphabet;
use crate::field::{Field, InvalidField};

/// The id of a key: 16 alphanumeric characters, the first of which names its pepper's slot.
///
/// The id is public. It appears in logs and URLs, and is of no use alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The first id in ascending order.
    #[cfg(feature = "std")]
    pub(crate) const LEAST: Self = Self([b'0'; 16]);
    /// The last id in ascending order.
    #[cfg(feature = "std")]
    pub(crate) const GREATEST: Self = Self([b'z'; 16]);

    /// Returns the id with these characters, if each is alphanumeric.
    #[inline]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        alphabet::is_alphanumeric(&bytes).then_some(Self(bytes))
    }

    /// Returns the id in `slot` whose other characters follow from `random`, two bytes for each. No branch or
    /// index depends on any of these bytes.
    ///
    /// No character is more likely than another by more than one part in a thousand.
    pub(crate) fn derived(slot: u8, random: &[u8; 30]) -> Self {
        let others = random.as_chunks().0.iter().map(|pair| {
            // INVARIANT: below 62, so the character is alphanumeric.
            (u64::from(u16::from_be_bytes(*pair)) * 62) >> 16
        });
        let mut bits = [0; 2];
        for (place, value) in core::iter::once(slot.into()).chain(others).enumerate() {
            if let Some(bits) = bits.get_mut(place / alphabet::WIDTH) {
                *bits = *bits << 6 | value;
            }
        }
        let mut id = [0; 16];
        for (characters, bits) in id.chunks_exact_mut(alphabet::WIDTH).zip(bits) {
            let [_, _, bytes @ ..] = bits.to_be_bytes();
            alphabet::write(&bytes, characters);
        }
        Self(id)
    }

    /// Returns a number below 65,536 that spreads ids over counters. Ids are random, so a product of their last
    /// characters serves as a hash. An attacker who could choose ids would only cause the attacker's own keys to be
    /// read more often.
    #[inline]
    pub(crate) fn spread(self) -> usize {
        let [.., a, b, c, d] = self.0;
        // An odd number near 2^32 divided by the golden ratio (Knuth, volume 3, section 6.4).
        (u32::from_le_bytes([a, b, c, d]).wrapping_mul(0x9e37_79b1) >> 16) as usize
    }

    /// Returns the characters as bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the characters as a string.
    pub fn as_str(&self) -> &str {
        // INVARIANT: all characters are alphanumeric ASCII, so this is always valid UTF-8.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the slot of the pepper under which the key's secrets are minted, 0 to 61.
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
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.as_bytes().try_into().ok().and_then(Self::from_bytes);
        id.ok_or(InvalidField::malformed(Field::KeyId, "16 letters and digits"))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Returns the slot that an id's first character names: its value in base64 (RFC 4648, table 2).
#[inline]
pub(super) fn slot_of(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        _ => None,
    }
}

/// Returns the first character of the ids of a slot.
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

    #[test]
    fn every_derived_id_is_an_id_in_its_slot() {
        for pair in 0..=u16::MAX {
            let [a, b] = pair.to_be_bytes();
            let mut random = [0xff; 30];
            random[..2].copy_from_slice(&[a, b]);
            random[28..].copy_from_slice(&[a, b]);
            let slot = a % 62;
            let id = KeyId::derived(slot, &random);
            assert_eq!(id.slot(), slot);
            assert_eq!(id.as_str().parse(), Ok(id));
            // The characters are in the order of the bytes.
            let expected = character_of(u8::try_from((u32::from(pair) * 62) >> 16).unwrap());
            assert_eq!((id.0[1], id.0[2], id.0[15]), (expected, b'9', expected));
        }
    }
    #[test]
    fn ids_are_spread_over_counters() {
        let mut counters = alloc::vec![0; 65_536];
        for number in 0..62_u32.pow(3) {
            let mut id = [b'A'; 16];
            for (place, digit) in [(13, 62 * 62), (14, 62), (15, 1)] {
                id[place] = character_of(u8::try_from(number / digit % 62).unwrap());
            }
            counters[KeyId(id).spread()] += 1;
        }
        // There are 3.6 ids per counter.
        assert!(counters.iter().filter(|ids| **ids > 0).count() > 60_000);
        assert!(counters.iter().all(|ids| *ids <= 10));
    }
}
