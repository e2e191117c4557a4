//! Characters of base64url (RFC 4648, table 2).
//!
//! The functions are arithmetic: no branch or index depends on any one character. Reading takes eight
//! characters at a time, which the check of a token computes beside its MAC. The line `alphabet` of
//! `benches/ratios.rs` compares it with the `base64ct` crate.

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::swar::{self, HIGH, ONES};

/// The number of characters that are read at once. They encode 48 bits.
pub(super) const WIDTH: usize = 8;

/// Returns the 48 bits that eight characters encode, or a larger number if any of them is not alphanumeric.
#[inline]
pub(super) fn read(text: [u8; WIDTH]) -> u64 {
    let text = u64::from_le_bytes(text);
    let kinds = Kinds::of(text);
    // A-Z are 0 to 25, a-z 26 to 51, 0-9 52 to 61. The sums wrap only at a character that is none of these.
    let values = (text & !HIGH)
        .wrapping_sub(kinds.upper * u64::from(b'A'))
        .wrapping_sub(kinds.lower * u64::from(b'a' - 26))
        .wrapping_add(kinds.digit * u64::from(52 - b'0'))
        & (ONES * 63);
    // The first character is the most significant one. Joins pairs, fours, and all eight.
    let values = values.swap_bytes();
    let values = (values & 0x3f00_3f00_3f00_3f00) >> 2 | (values & 0x003f_003f_003f_003f);
    let values = (values & 0x0fff_0000_0fff_0000) >> 4 | (values & 0x0000_0fff_0000_0fff);
    let values = (values & 0x00ff_ffff_0000_0000) >> 8 | (values & 0x0000_0000_00ff_ffff);
    // The negative of a number from 1 to `ONES` has its highest bit set.
    values | kinds.other.wrapping_neg() >> 63 << 63
}

/// Writes the characters that encode `bytes`: four for each three. They may contain `-` and `_`.
///
/// INVARIANT: `text` has room for them. Otherwise it stays as it was.
#[inline]
pub(super) fn write(bytes: &[u8], text: &mut [u8]) {
    let written = Base64UrlUnpadded::encode(bytes, text);
    debug_assert!(written.is_ok(), "there is no room for {} bytes", bytes.len());
}

/// Returns whether all of these characters are letters and digits.
#[inline]
pub(super) fn is_alphanumeric<const N: usize>(text: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(WIDTH)) };
    let words = text.as_chunks().0.iter();
    words.fold(0, |others, word| others | other(u64::from_le_bytes(*word))) == 0
}

/// Returns the high bit of each of eight characters that is neither a letter nor a digit.
#[inline]
fn other(text: u64) -> u64 {
    let low = text & !HIGH;
    // Sets the bit that distinguishes lower case from upper. This turns no other character into a letter.
    let folded = low | swar::splat(0x20);
    let letter = swar::at_least(folded, b'a') & !swar::at_least(folded, b'z' + 1);
    let digit = swar::at_least(low, b'0') & !swar::at_least(low, b'9' + 1);
    (!(letter | digit) | text) & HIGH
}

/// The kind of each of eight characters: a one in its byte.
struct Kinds {
    upper: u64,
    lower: u64,
    digit: u64,
    other: u64,
}

impl Kinds {
    #[inline]
    fn of(text: u64) -> Self {
        let from = |min: u8| at_least(text & !HIGH, min);
        let upper = from(b'A') - from(b'Z' + 1);
        let lower = from(b'a') - from(b'z' + 1);
        let digit = from(b'0') - from(b'9' + 1);
        Self { upper, lower, digit, other: (ONES - upper - lower - digit) | (text & HIGH) >> 7 }
    }
}

/// Returns a one in each byte that is at least `min`. All bytes are below 128.
#[inline]
fn at_least(bytes: u64, min: u8) -> u64 {
    (swar::at_least(bytes, min) & HIGH) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alphanumeric_character_reads_back_in_every_place() {
        for place in 0..8 {
            for value in 0..62 {
                let bits: u64 = value << (42 - 6 * place);
                let mut text = [0; 8];
                write(&bits.to_be_bytes()[2..], &mut text);
                assert_eq!(read(text), bits);
            }
        }
    }

    #[test]
    fn non_alphanumeric_byte_is_rejected_in_every_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"A0z9bZya";
                text[place] = byte;
                assert_eq!(read(text) < 1 << 48, byte.is_ascii_alphanumeric(), "{byte} in {place}");
                assert_eq!(is_alphanumeric(&text), byte.is_ascii_alphanumeric());
            }
        }
    }
}
