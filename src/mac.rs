//! HMAC-SHA256 (RFC 2104) of one 48-byte message from a precomputed key state.
//!
//! A token's MAC is the whole cost of a verification, so it is two SHA-256 compressions and nothing
//! else: the two key blocks are compressed once, at start-up. Everything that is not on the hot path
//! uses [`Sha256::hmac`], and the tests hold both against the `hmac` crate.

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

/// The result of a MAC as SHA-256 leaves it: eight big-endian words.
pub(crate) type Words = [u32; 8];

/// A key of HMAC-SHA256 as one whole block, with zeros behind it. It is never moved, since a move leaves a
/// copy behind.
pub(crate) type Key = Box<Zeroizing<[u8; 64]>>;

/// A key of zeros, of which the first bytes are then written in place.
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
    /// That of no key, which gets one [in its place](Self::set).
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

    /// The MAC of `message`, in time that depends on nothing.
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

/// Whether two MACs are equal, in constant time.
///
/// The differences are folded into one word first: one opaque comparison rather than one per byte.
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
    fn the_macs_are_those_of_rfc_4231() {
        let ascending: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 4] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &ascending,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
        ];
        for (key, message, expected) in cases {
            let mut block = [0; 64];
            block[..key.len()].copy_from_slice(key);
            let (head, tail) = message.split_at(message.len() / 2);
            let mut mac = [0; 32];
            Sha256::hmac(&block, &[head, tail], &mut mac);
            assert_eq!(hex(&mac), expected);
        }
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
