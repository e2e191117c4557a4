//! Arithmetic on the eight bytes of a word at once, so that no branch or index depends on any one byte.
//!
//! A result has one bit for each byte, which is the byte's high bit. The caller masks the other bits with [`HIGH`].

/// A one in each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
pub(crate) const HIGH: u64 = 0x8080_8080_8080_8080;

/// Returns a word with `byte` in each of its bytes.
#[inline]
pub(crate) fn splat(byte: u8) -> u64 {
    ONES * u64::from(byte)
}

/// Sets the high bit of each byte that is at least `min`, which is 1 to 128. The other bits are of no use.
///
/// INVARIANT: all bytes of `word` are below 128, so that no sum carries over into the next byte.
#[inline]
pub(crate) fn at_least(word: u64, min: u8) -> u64 {
    word + ONES * (128 - u64::from(min))
}

/// Sets the high bit of each byte that is zero, and clears all other bits. The bytes above a zero byte may
/// have their bits set too. So the result is zero only if no byte is (Warren, Hacker's Delight, 6-1).
#[inline]
pub(crate) fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_is_compared_in_every_place() {
        for place in 0..8 {
            for byte in 0..128_u8 {
                for min in 1..=128 {
                    let mut bytes = *b"A0z9bZya";
                    bytes[place] = byte;
                    let found = (at_least(u64::from_le_bytes(bytes), min) & HIGH).to_le_bytes();
                    assert_eq!(found, bytes.map(|byte| if byte >= min { 0x80 } else { 0 }));
                }
            }
        }
    }

    #[test]
    fn lowest_zero_byte_is_found_in_every_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                for sought in [b'-', b'_', 0x80, 0xff] {
                    let mut bytes = [b'a'; 8];
                    bytes[place] = byte;
                    let found = zeros(u64::from_le_bytes(bytes) ^ splat(sought));
                    assert_eq!(found != 0, byte == sought);
                    if byte == sought {
                        assert_eq!(found.trailing_zeros() as usize, 8 * place + 7);
                    }
                }
            }
        }
    }
}
