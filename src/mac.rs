//! HMAC-SHA256 (RFC 2104) of one 48-byte message from a precomputed key state.
//!
//! The MAC is the whole cost of a verification, so it takes two SHA-256 compressions and nothing else. The
//! two key blocks are compressed once, at startup. `HmacCore` of the `hmac` crate keeps compressed key blocks
//! as well. But an `Hmac` is cloned for each message and moved for its result, and its buffer copies the
//! message: the line `midstate` of `benches/ratios.rs` measures the difference. Each copy is another place to
//! wipe.
//!
//! All code that is not on the hot path uses [`Sha256::hmac`]. The tests compare both with the `hmac` crate.

mod hash;

use alloc::boxed::Box;

use sha2::block_api::compress256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use self::hash::INITIAL_256;
pub(crate) use self::hash::{Sha256, Sha512};

/// Padding of a message of 64 + 48 bytes: the bit, zeros, the length in bits (FIPS 180-4, 5.1.1).
const PAD_48: [u8; 16] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x80];

/// Padding of a message of 64 + 32 bytes.
const PAD_32: [u8; 32] = [
    0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x03, 0,
];

/// The result of a MAC, as SHA-256 returns it: eight big-endian words.
pub(crate) type Words = [u32; 8];

/// A key of HMAC-SHA256 as one whole block, padded with zeros. It is boxed and never moved, since a move
/// leaves a copy behind.
pub(crate) type Key = Box<Zeroizing<[u8; 64]>>;

/// Returns a key of zeros. The caller writes the key's bytes in place.
#[allow(clippy::unnecessary_box_returns, reason = "a key is never moved")]
pub(crate) fn blank_key() -> Key {
    Box::new(Zeroizing::new([0; 64]))
}

/// A MAC key with both of its blocks compressed.
pub(crate) struct Midstate {
    inner: Words,
    outer: Words,
}

impl Midstate {
    /// Returns an empty state. Call [`set`](Self::set) to key it in place, so that the keyed state is never
    /// moved.
    pub(crate) fn blank() -> Self {
        Self { inner: INITIAL_256, outer: INITIAL_256 }
    }

    pub(crate) fn set(&mut self, key: &[u8; 64]) {
        for (state, pad) in [(&mut self.inner, 0x36), (&mut self.outer, 0x5c)] {
            let mut block = Zeroizing::new([pad; 64]);
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            *state = INITIAL_256;
            compress256(state, core::slice::from_ref(&*block));
        }
    }

    /// Returns the MAC of `message`, in time that depends on neither the key nor the message.
    #[inline]
    pub(crate) fn mac(&self, message: &[u8; 48]) -> Words {
        // Whole 16-byte pieces only: smaller writes would stall the compression's first loads.
        let mut block = [0; 64];
        let (head, pad) = block.split_at_mut(48);
        head.copy_from_slice(message);
        pad.copy_from_slice(&PAD_48);
        let mut state = self.inner;
        compress256(&mut state, core::slice::from_ref(&block));

        let (head, pad) = block.split_at_mut(32);
        for (bytes, word) in head.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        pad.copy_from_slice(&PAD_32);
        let mut state = self.outer;
        compress256(&mut state, core::slice::from_ref(&block));
        state
    }
}

impl Drop for Midstate {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl ZeroizeOnDrop for Midstate {}

/// Returns whether two MACs are equal, in constant time.
///
/// The differences are folded into one word first, so that there is one opaque comparison and not one per
/// byte.
#[inline]
pub(crate) fn same<const N: usize>(left: [u64; N], right: [u64; N]) -> bool {
    let mut difference = 0;
    for (left, right) in left.into_iter().zip(right) {
        difference |= left ^ right;
    }
    difference.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    use super::*;
    use crate::pepper::Pepper;

    fn words(bytes: &[u8; 32]) -> Words {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        words
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// RFC 4231, sections 4.2 to 4.5: the keys that are no longer than a block.
    #[test]
    fn hmac_of_known_key_and_message_matches_rfc_4231() {
        let ascending: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str, &str); 4] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
                 bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
            ),
            (
                &ascending,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
                "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
                 a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
            ),
        ];
        for (key, message, short, long) in cases {
            let mut block = [0; 128];
            block[..key.len()].copy_from_slice(key);
            let (head, tail) = message.split_at(message.len() / 2);
            let mut mac = [0; 32];
            Sha256::hmac(block.first_chunk().unwrap(), &[head, tail], &mut mac);
            assert_eq!(hex(&mac), short);
            let mut mac = [0; 64];
            Sha512::hmac(&block, &[head, tail], &mut mac);
            assert_eq!(hex(&mac), long);
        }
    }

    /// The expected keys were computed with Python's `hmac`. Another key for a purpose would make all tokens,
    /// records or ids of that purpose invalid.
    #[test]
    fn derived_key_of_each_purpose_never_changes() {
        let pepper = Pepper::from_bytes(b"Rf6nYc3vQe8hTm1xUz5kWb9jLs2gPd7a").unwrap();
        for (purpose, expected) in [
            ("token", "33ebfbf90356e7f6011479e6d9424995443efef3d94f0a59b6012a205b0e8f2f"),
            ("seal", "62392e98046b84b963194244e14a6648ea39cc6321b63a3b375f5acc2c47486c"),
            ("import", "aa80e623a9236a45477c8d03a4fe4473dd24fa311bbaee1efb05316fa222d60d"),
            ("idempotency", "4cb5a0c11fcada832253a7c7db6d005ec356b2480ebadb16e69c3063acd33885"),
            ("notice", "23d2c0e83257288f171b9aa6c6ba819053c3cdc4da7e03e986daf46c598c1ba9"),
            ("notice cipher", "fe8c8894f72e8eeb3268e9c064cf7e6ede424475ac3370e486cad3e1ea260d24"),
            ("marker", "81f17684b9c54f4bd2038113924f04b5f64b6ece3d2ec640f82d5984ee30d24e"),
        ] {
            let key = pepper.derive(format!("keyway/v1/{purpose}\0").as_bytes(), "mm", "live");
            assert_eq!(hex(&key[..32]), expected, "{purpose}");
            assert_eq!(key[32..], [0; 32]);
        }
        let key = pepper.derive(b"keyway/v1/fingerprint\0", "", "");
        let expected = "9c756103f4716a337f87b951647a12c1fc34860b6c127ce067a91df26cb86c4f";
        assert_eq!(hex(&key[..32]), expected);
    }

    proptest! {
        #[test]
        fn the_midstate_agrees_with_the_hmac_crate(
            key: [u8; 32],
            head: [u8; 16],
            tail: [u8; 32],
            flip in 0..48_usize,
        ) {
            let mut message = [0; 48];
            message[..16].copy_from_slice(&head);
            message[16..].copy_from_slice(&tail);
            let mut expected = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
            expected.update(&message);
            let expected = words(&expected.finalize().into_bytes().into());
            let mut block = [0; 64];
            block[..32].copy_from_slice(&key);
            let mut midstate = Midstate::blank();
            midstate.set(&block);
            prop_assert_eq!(midstate.mac(&message), expected);
            // The comparison can fail: every byte of the message counts.
            message[flip] ^= 1;
            prop_assert_ne!(midstate.mac(&message), expected);
        }

        #[test]
        fn words_are_the_same_only_if_all_bits_are(
            left: [u64; 4],
            word in 0..4_usize,
            bit in 0..64_u32,
        ) {
            let mut right = left;
            prop_assert!(same(left, right));
            right[word] ^= 1 << bit;
            prop_assert!(!same(left, right));
        }
    }
}
