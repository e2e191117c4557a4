//! The key pair that follows from a token.

use alloc::boxed::Box;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::{
    mac::{self, Sha256},
    record::PublicKey,
    token,
};

/// The purpose of the derived key, and of each signature.
pub(super) const PURPOSE: &[u8] = b"keyway/v1/child\0";
/// The length of a signature.
pub(crate) const SIGNATURE_LEN: usize = Signature::BYTE_SIZE;

/// The private key of one secret of a key. It is wiped when it is dropped.
///
/// INVARIANT: boxed before it is filled, since a move leaves a copy behind.
pub(super) struct Seed(Box<Zeroizing<[u8; 32]>>);

impl Seed {
    pub(super) fn blank() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }

    /// Derives the private key: HKDF-SHA256 (RFC 5869) without a salt, whose first block is the whole output. `public` is the
    /// prefix and the id.
    pub(super) fn derive(&mut self, secret: &[u8], public: &[u8]) {
        let mut extracted = mac::blank_key();
        if let Some(head) = extracted.first_chunk_mut() {
            Sha256::hmac(&[0; 64], &[secret], head);
        }
        Sha256::hmac(&extracted, &[PURPOSE, public, &[1]], &mut self.0);
        Sha256::clear_registers();
    }

    pub(super) fn public_key(&self) -> PublicKey {
        let key = public_key_of(&self.0);
        clear_stack();
        key
    }

    /// Signs `message`. The signature of a child is as good as the child, so its place is one that the caller wipes.
    pub(super) fn sign(&self, message: &[u8], into: &mut [u8; SIGNATURE_LEN]) {
        write_signature(&self.0, message, into);
        clear_stack();
    }
}

/// INVARIANT: not inlined, nor the next two. Their variables hold the private key or a signature, and are below those of the
/// caller, where `clear_stack` overwrites them.
#[inline(never)]
fn public_key_of(seed: &[u8; 32]) -> PublicKey {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

#[inline(never)]
fn write_signature(seed: &[u8; 32], message: &[u8], into: &mut [u8; SIGNATURE_LEN]) {
    *into = SigningKey::from_bytes(seed).sign(message).to_bytes();
}

#[inline(never)]
fn is_right(key: &PublicKey, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// Writes zeros over the variables of the calls before.
#[inline(never)]
pub(super) fn clear_stack() {
    core::hint::black_box(&mut [0_u8; 16_384]);
    Sha256::clear_registers();
}

/// Returns the public key that follows from a text with the form of a token.
pub(crate) fn public_key(token: &str) -> Option<PublicKey> {
    let (public, secret) = token::split(token.as_bytes())?;
    let mut seed = Seed::blank();
    seed.derive(secret, public);
    Some(seed.public_key())
}

/// Returns whether `signature` over `message` was made with the private key of `key`.
///
/// The strict rules refuse keys and points of small order, and every second encoding of a signature. So a child has one
/// spelling.
pub(super) fn is_signed(key: &PublicKey, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    let is_right = is_right(key, message, signature);
    clear_stack();
    is_right
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    fn seed(secret: &[u8], public: &[u8]) -> Seed {
        let mut seed = Seed::blank();
        seed.derive(secret, public);
        seed
    }

    /// Computed with `HKDF` and `Ed25519PrivateKey` of Python's `cryptography`.
    #[test]
    fn key_pair_of_a_secret_never_changes() {
        let seed = seed(b"5Rk8Vn1pLh6Js0YgUe3Wa9Bx7Dt2Qq5E", b"mm_live_A7Kf3Qw9ZbT2mXc4");
        assert_eq!(hex(&seed.0[..]), SEED);
        assert_eq!(hex(&seed.public_key()), PUBLIC_KEY);
    }

    #[test]
    fn seed_stays_where_it_was_derived_when_its_owner_moves() {
        let first = seed(b"5Rk8Vn1pLh6Js0YgUe3Wa9Bx7Dt2Qq5E", b"mm_live_A7Kf3Qw9ZbT2mXc4");
        let place = first.0.as_ptr();
        let moved = [first];
        assert_eq!(moved[0].0.as_ptr(), place);
        assert_eq!(hex(&moved[0].0[..]), SEED);
    }

    const SEED: &str = "4bd6f9aaf25e8ea914dc341274a12a91988cf855d0010fb69b49951706fccff9";
    const PUBLIC_KEY: &str = "56a731cfdec1c83e732bab03353d1f8b6164da7a91f110e271e56e4c465ef8fc";

    /// RFC 8032, section 7.1, test 3.
    #[test]
    fn signature_matches_rfc_8032() {
        let mut seed = Seed::blank();
        **seed.0 = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        assert_eq!(
            hex(&seed.public_key()),
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
        );
        let mut signature = [0; SIGNATURE_LEN];
        seed.sign(&[0xaf, 0x82], &mut signature);
        assert_eq!(
            hex(&signature),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
        let key = seed.public_key();
        assert!(is_signed(&key, &[0xaf, 0x82], &signature));
        assert!(!is_signed(&key, &[0xaf, 0x83], &signature));
    }

    fn unhex(text: &str) -> [u8; 32] {
        let digits = |place: usize| text.get(2 * place..2 * place + 2).unwrap();
        core::array::from_fn(|place| u8::from_str_radix(digits(place), 16).unwrap())
    }

    /// Every encoding of a point whose order is at most 8. The last six are not canonical.
    const SMALL: [&str; 14] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    #[test]
    fn public_key_of_small_order_signs_nothing() {
        use ed25519_dalek::Verifier as _;

        let mut lenient = 0;
        for key in SMALL.map(unhex) {
            for point in SMALL.map(unhex) {
                let mut signature = [0; SIGNATURE_LEN];
                signature[..32].copy_from_slice(&point);
                assert!(!is_signed(&key, b"anything", &signature), "{key:?} {point:?}");
                let signature = Signature::from_bytes(&signature);
                let key = VerifyingKey::from_bytes(&key);
                lenient +=
                    usize::from(key.is_ok_and(|key| key.verify(b"anything", &signature).is_ok()));
            }
        }
        // The control: under the lenient rules, several of these sign everything.
        assert!(lenient > 0);
    }
}
