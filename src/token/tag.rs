//! The tag: 48 bits of a MAC as eight alphanumeric characters of base64url.

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::mac::Words;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The tag's bits of a MAC: its first 6 bytes.
#[inline]
pub(super) fn of(mac: &Words) -> u64 {
    let [first, second, ..] = *mac;
    u64::from(first) << 16 | u64::from(second >> 16)
}

/// The 48 bits that eight characters stand for, or a number above them if any is not alphanumeric.
///
/// All eight characters are read at once, by arithmetic alone: no branch or index depends on them.
#[inline]
pub(super) fn read(text: [u8; 8]) -> u64 {
    let text = u64::from_le_bytes(text);
    let Kinds { upper, lower, digit, other } = kinds(text);
    // RFC 4648, table 2: A-Z are 0 to 25, a-z 26 to 51, 0-9 52 to 61. The sums wrap only where a
    // character is none of these.
    let values = (text & !HIGH)
        .wrapping_sub(upper * u64::from(b'A'))
        .wrapping_sub(lower * u64::from(b'a' - 26))
        .wrapping_add(digit * u64::from(52 - b'0'))
        & (ONES * 63);
    // The first character is the most significant: pairs, fours, and all eight.
    let values = values.swap_bytes();
    let values = (values & 0x3f00_3f00_3f00_3f00) >> 2 | (values & 0x003f_003f_003f_003f);
    let values = (values & 0x0fff_0000_0fff_0000) >> 4 | (values & 0x0000_0fff_0000_0fff);
    let values = (values & 0x00ff_ffff_0000_0000) >> 8 | (values & 0x0000_0000_00ff_ffff);
    values | other << 48 | other >> 8 << 48
}

/// Whether all of these characters are alphanumeric. No branch depends on any one of them.
#[inline]
pub(super) fn is_alphanumeric(text: &[u8; 16]) -> bool {
    let words = text.as_chunks::<8>().0.iter();
    words.fold(0, |other, word| other | kinds(u64::from_le_bytes(*word)).other) == 0
}

/// Of which kind each of eight characters is: a one in its byte.
struct Kinds {
    upper: u64,
    lower: u64,
    digit: u64,
    other: u64,
}

#[inline]
fn kinds(text: u64) -> Kinds {
    let low = text & !HIGH;
    // One in each byte that is at least `min`. No sum carries into the next byte.
    let at_least = |min: u64| ((low + ONES * (128 - min)) & HIGH) >> 7;
    let upper = at_least(b'A'.into()) - at_least((b'Z' + 1).into());
    let lower = at_least(b'a'.into()) - at_least((b'z' + 1).into());
    let digit = at_least(b'0'.into()) - at_least((b'9' + 1).into());
    let other = (ONES - upper - lower - digit) | (text & HIGH) >> 7;
    Kinds {
        upper,
        lower,
        digit,
        other,
    }
}

/// The characters of a MAC's tag.
pub(super) fn write(mac: &Words) -> [u8; 8] {
    let mut text = [0; 8];
    let [_, _, bytes @ ..] = of(mac).to_be_bytes();
    // Six bytes are exactly eight characters, so there is no error to handle.
    let _ = Base64UrlUnpadded::encode(&bytes, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A MAC whose tag has these bits.
    fn mac(bits: u64) -> Words {
        let mut mac = [0; 8];
        mac[0] = (bits >> 16) as u32;
        mac[1] = (bits << 16) as u32;
        mac
    }

    #[test]
    fn every_alphanumeric_character_reads_back_in_every_place() {
        for place in 0..8 {
            for value in 0..62_u64 {
                let bits = value << (42 - 6 * place);
                assert_eq!(read(write(&mac(bits))), bits);
            }
        }
    }

    #[test]
    fn every_other_byte_is_refused_in_every_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"A0z9bZya";
                text[place] = byte;
                assert_eq!(
                    read(text) < 1 << 48,
                    byte.is_ascii_alphanumeric(),
                    "{byte} in {place}"
                );
            }
        }
    }
}
