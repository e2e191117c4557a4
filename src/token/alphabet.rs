//! Characters of base64url (RFC 4648, table 2), eight at a time.
//!
//! All of it is arithmetic on whole words: no branch or index depends on any one character.

/// The number of characters that are handled at once. They stand for 48 bits.
pub(super) const WIDTH: usize = 8;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The 48 bits that eight characters stand for, or a number above them if any is not alphanumeric.
#[inline]
pub(super) fn read(text: [u8; WIDTH]) -> u64 {
    let text = u64::from_le_bytes(text);
    let kinds = Kinds::of(text);
    // A-Z are 0 to 25, a-z 26 to 51, 0-9 52 to 61. The sums wrap only where a character is none of
    // these.
    let values = (text & !HIGH)
        .wrapping_sub(kinds.upper * u64::from(b'A'))
        .wrapping_sub(kinds.lower * u64::from(b'a' - 26))
        .wrapping_add(kinds.digit * u64::from(52 - b'0'))
        & (ONES * 63);
    // The first character is the most significant: pairs, fours, and all eight.
    let values = values.swap_bytes();
    let values = (values & 0x3f00_3f00_3f00_3f00) >> 2 | (values & 0x003f_003f_003f_003f);
    let values = (values & 0x0fff_0000_0fff_0000) >> 4 | (values & 0x0000_0fff_0000_0fff);
    let values = (values & 0x00ff_ffff_0000_0000) >> 8 | (values & 0x0000_0000_00ff_ffff);
    // The negative of what is not zero, and at most the ones, has its highest bit set.
    values | kinds.other.wrapping_neg() >> 63 << 63
}

/// The characters that stand for 48 bits, `-` and `_` among them.
#[inline]
pub(super) fn write(bits: u64) -> [u8; WIDTH] {
    // The steps of `read` in reverse.
    let values = (bits & 0x0000_ffff_ff00_0000) << 8 | (bits & 0x0000_0000_00ff_ffff);
    let values = (values & 0x00ff_f000_00ff_f000) << 4 | (values & 0x0000_0fff_0000_0fff);
    let values = (values & 0x0fc0_0fc0_0fc0_0fc0) << 2 | (values & 0x003f_003f_003f_003f);
    let values = values.swap_bytes();
    let from = |min: u64| at_least(values, min);
    let text = values + ONES * u64::from(b'A') + from(26) * u64::from(b'a' - b'Z' - 1)
        - from(52) * u64::from(b'z' + 1 - b'0')
        - from(62) * u64::from(b'9' + 1 - b'-')
        + from(63) * u64::from(b'_' - b'-' - 1);
    text.to_le_bytes()
}

/// Whether all of these characters are letters and digits.
#[inline]
pub(super) fn is_alphanumeric<const N: usize>(text: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(WIDTH)) };
    let words = text.as_chunks().0.iter();
    words.fold(0, |others, word| others | other(u64::from_le_bytes(*word))) == 0
}

/// The high bit of each of eight characters that is neither letter nor digit.
#[inline]
fn other(text: u64) -> u64 {
    let low = text & !HIGH;
    // The bit that tells lower case from upper; it makes no letter of what is none.
    let folded = low | (ONES * 0x20);
    // The high bit of each byte that is at least `min`, as in `at_least`.
    let from = |bytes: u64, min: u8| bytes + ONES * (128 - u64::from(min));
    let letter = from(folded, b'a') & !from(folded, b'z' + 1);
    let digit = from(low, b'0') & !from(low, b'9' + 1);
    (!(letter | digit) | text) & HIGH
}

/// Of which kind each of eight characters is: a one in its byte.
struct Kinds {
    upper: u64,
    lower: u64,
    digit: u64,
    other: u64,
}

impl Kinds {
    #[inline]
    fn of(text: u64) -> Self {
        let from = |min: u8| at_least(text & !HIGH, min.into());
        let upper = from(b'A') - from(b'Z' + 1);
        let lower = from(b'a') - from(b'z' + 1);
        let digit = from(b'0') - from(b'9' + 1);
        Self { upper, lower, digit, other: (ONES - upper - lower - digit) | (text & HIGH) >> 7 }
    }
}

/// A one in each byte that is at least `min`. All bytes are below 128, so no sum carries over.
#[inline]
fn at_least(bytes: u64, min: u64) -> u64 {
    ((bytes + ONES * (128 - min)) & HIGH) >> 7
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};

    use super::*;

    #[test]
    fn every_value_is_written_as_base64url_in_every_place() {
        for place in 0..8 {
            for value in 0..64 {
                let bits = value << (42 - 6 * place);
                let mut expected = [0; 8];
                let bytes = &u64::to_be_bytes(bits)[2..];
                Base64UrlUnpadded::encode(bytes, &mut expected).unwrap();
                assert_eq!(write(bits), expected);
            }
        }
    }

    #[test]
    fn every_alphanumeric_character_reads_back_in_every_place() {
        for place in 0..8 {
            for value in 0..62 {
                let bits = value << (42 - 6 * place);
                assert_eq!(read(write(bits)), bits);
            }
        }
    }

    #[test]
    fn every_other_byte_is_refused_in_every_place() {
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
