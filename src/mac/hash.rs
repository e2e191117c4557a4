//! SHA-256 and SHA-512 (FIPS 180-4), and HMAC (RFC 2104) with them, which leave no secrets behind.
//!
//! A hasher that is moved leaves its input behind in the old place. These hashers are created before they
//! hold a secret and are never moved. They write the result directly to its destination, and are wiped when
//! dropped. The `hmac` crate moves its state and does not wipe its key blocks. With it, row 13 of the assurance
//! table found 12,923 windows of derived keys on the stack unless the stack was overwritten afterwards, and
//! with these hashers none. The compression function is that of the `sha2` crate. The tests compare this file
//! with `sha2` and `hmac`.

use sha2::block_api::{compress256, compress512};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
pub(super) const INITIAL_256: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-512's initial state (FIPS 180-4, 5.3.5).
const INITIAL_512: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

macro_rules! hasher {
    ($name:ident, $word:ty, $block_len:literal, $digest_len:literal, $initial:expr, $compress:path) => {
        pub(crate) struct $name {
            state: [$word; 8],
            block: [u8; $block_len],
            /// The number of bytes in the block.
            filled: usize,
            /// The number of bytes hashed in all.
            len: u64,
        }

        impl $name {
            fn new() -> Self {
                Self { state: $initial, block: [0; $block_len], filled: 0, len: 0 }
            }

            /// Writes the digest of `message`.
            pub(crate) fn digest(message: &[u8], into: &mut [u8; $digest_len]) {
                let mut hasher = Self::new();
                hasher.update(message);
                hasher.finish(into);
            }

            /// Writes the HMAC of the concatenation of `parts`. The key is one whole block: RFC 2104 pads
            /// every shorter key with zeros to this length.
            pub(crate) fn hmac(
                key: &[u8; $block_len],
                parts: &[&[u8]],
                into: &mut [u8; $digest_len],
            ) {
                let mut inner = Self::new();
                inner.begin_with(key, 0x36);
                for part in parts {
                    inner.update(part);
                }
                inner.finish(into);
                let mut outer = Self::new();
                outer.begin_with(key, 0x5c);
                outer.update(into);
                outer.finish(into);
                clear_stack();
            }

            /// Hashes a whole block first: the XOR of each byte of `key` and `pad`.
            fn begin_with(&mut self, key: &[u8; $block_len], pad: u8) {
                for (place, byte) in self.block.iter_mut().zip(key) {
                    *place = byte ^ pad;
                }
                self.len = $block_len;
                self.compress();
            }

            fn update(&mut self, bytes: &[u8]) {
                let mut rest = bytes;
                while !rest.is_empty() {
                    if self.filled == 0 {
                        // Whole blocks are not copied.
                        let (blocks, tail) = rest.as_chunks();
                        $compress(&mut self.state, blocks);
                        rest = tail;
                    }
                    let room = self.block.get_mut(self.filled..).unwrap_or_default();
                    let (now, later) = rest.split_at(rest.len().min(room.len()));
                    if let Some(room) = room.get_mut(..now.len()) {
                        room.copy_from_slice(now);
                    }
                    self.filled += now.len();
                    if self.filled == $block_len {
                        self.compress();
                    }
                    rest = later;
                }
                self.len += bytes.len() as u64;
            }

            /// Pads the message (FIPS 180-4, 5.1), and writes the digest.
            fn finish(&mut self, into: &mut [u8; $digest_len]) {
                // The length takes two words, of which the last 8 bytes suffice.
                const LENGTH: usize = 2 * size_of::<$word>();
                let bits = self.len * 8;
                self.update(&[0x80]);
                if self.filled > $block_len - LENGTH {
                    self.pad_to($block_len);
                    self.compress();
                }
                self.pad_to($block_len - 8);
                self.update(&bits.to_be_bytes());
                let places = into.chunks_exact_mut(size_of::<$word>());
                for (place, word) in places.zip(&self.state) {
                    place.copy_from_slice(&word.to_be_bytes());
                }
            }

            /// Fills the block with zeros up to `end`.
            fn pad_to(&mut self, end: usize) {
                if let Some(rest) = self.block.get_mut(self.filled..end) {
                    rest.fill(0);
                }
                self.filled = end;
            }

            fn compress(&mut self) {
                $compress(&mut self.state, core::slice::from_ref(&self.block));
                self.filled = 0;
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.state.zeroize();
                self.block.zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}
    };
}

/// Writes zeros over the variables of the calls before. When optimized for size, the compression keeps the
/// state that it began with there. For HMAC this state is as good as the key.
#[inline(never)]
fn clear_stack() {
    // Twice the stack that those calls use.
    core::hint::black_box(&mut [0_u8; 1024]);
}

impl Sha256 {
    /// Hashes an empty message, so that the processor's registers no longer hold the last result. Code that
    /// saves registers would otherwise write it to the stack.
    pub(crate) fn clear_registers() {
        Self::digest(core::hint::black_box(&[]), &mut [0; 32]);
    }
}

hasher!(Sha256, u32, 64, 32, INITIAL_256, compress256);
hasher!(Sha512, u64, 128, 64, INITIAL_512, compress512);

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Digest;

    use super::*;

    fn digests(message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let (mut short, mut long) = ([0; 32], [0; 64]);
        Sha256::digest(message, &mut short);
        Sha512::digest(message, &mut long);
        (short, long)
    }

    fn expected(message: &[u8]) -> ([u8; 32], [u8; 64]) {
        (sha2::Sha256::digest(message).into(), sha2::Sha512::digest(message).into())
    }

    /// Compares every length around one and two blocks, with and without another block of padding.
    #[test]
    fn digests_of_all_lengths_agree_with_the_sha2_crate() {
        let message: Vec<u8> = (0..=255).cycle().take(600).collect();
        for len in 0..message.len() {
            assert_eq!(digests(&message[..len]), expected(&message[..len]), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn macs_agree_with_the_hmac_crate(
            key in proptest::collection::vec(any::<u8>(), 128),
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4),
        ) {
            let message = parts.concat();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();

            let mut mac = [0; 32];
            Sha256::hmac(key.first_chunk().unwrap(), &parts, &mut mac);
            let mut expected = Hmac::<sha2::Sha256>::new_from_slice(&key[..64]).unwrap();
            expected.update(&message);
            prop_assert_eq!(mac, <[u8; 32]>::from(expected.finalize().into_bytes()));

            let mut mac = [0; 64];
            Sha512::hmac(key.first_chunk().unwrap(), &parts, &mut mac);
            let mut expected = Hmac::<sha2::Sha512>::new_from_slice(&key).unwrap();
            expected.update(&message);
            prop_assert_eq!(mac, <[u8; 64]>::from(expected.finalize().into_bytes()));
        }
    }
}
