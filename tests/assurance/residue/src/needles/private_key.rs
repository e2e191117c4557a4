//! The forms of a private key that follows from a token, of the signatures that it makes, and of the children
//! that contain these.

use base64ct::{Base64UrlUnpadded, Encoding};
use curve25519_dalek::{edwards::EdwardsPoint, scalar::Scalar};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::Needles;
use crate::host::Secrets;

const PURPOSE: &[u8] = b"keyway/v1/child\0";

/// The length of a token's secret and tag, and that of the secret.
const UNDEFINED: usize = 40;
const SECRET: usize = 32;

/// The characters of a child that its signature alone decides.
const OF_SIGNATURE: usize = 85;

/// Adds the private keys of all tokens, and the children of these.
pub fn add_all(needles: &mut Needles, secrets: &Secrets) {
    for child in &secrets.children {
        needles.add_words("a child", "", &child.as_bytes()[child.len() - OF_SIGNATURE..]);
        needles.add_words("the signature of a child", "", &Child::read(child).signature);
    }
    let signed = secrets.tokens.iter().map(|token| add_key_pair(needles, token, &secrets.children));
    assert_eq!(signed.sum::<usize>(), secrets.children.len(), "each child has one token");
}

/// Returns the private key of a token.
pub fn seed_of(token: &str) -> [u8; 32] {
    let secret = &token.as_bytes()[token.len() - UNDEFINED..][..SECRET];
    hmac(&hmac(&[], &[secret]), &[PURPOSE, public(token).as_bytes(), &[1]])
}

/// Adds the private key of a token, and what it computes for its own ones of these children. Returns their number.
fn add_key_pair(needles: &mut Needles, token: &str, children: &[String]) -> usize {
    let secret = &token.as_bytes()[token.len() - UNDEFINED..][..SECRET];
    // The first of the two hashes of each HMAC is as good as its result.
    needles.add_words("the secret's inner hash", "", &inner_hash(&[], &[secret]));
    let extracted = hmac(&[], &[secret]);
    needles.add_key("the key of a private key", &extracted);
    let info = [PURPOSE, public(token).as_bytes(), &[1]];
    needles.add_words("the private key's inner hash", "", &inner_hash(&extracted, &info));

    let seed = seed_of(token);
    needles.add_words("a private key", "", &seed);
    let expanded: [u8; 64] = Sha512::digest(seed).into();
    needles.add_words("a private key", " expanded", &expanded);
    let (clamped, hash_prefix) = expanded.split_at(32);
    let mut clamped: [u8; 32] = clamped.try_into().expect("the first half");
    clamped[0] &= 0b1111_1000;
    clamped[31] = clamped[31] & 0b0111_1111 | 0b0100_0000;
    needles.add_words("a private key", " clamped", &clamped);
    let scalar = Scalar::from_bytes_mod_order(clamped);
    add_scalar(needles, "the private scalar", &scalar);

    let public_key = EdwardsPoint::mul_base(&scalar).compress();
    let mut signed = 0;
    for child in children.iter().map(|child| Child::read(child)) {
        let (point, rest) = child.signature.split_at(32);
        let hash = wide(&[hash_prefix, &child.message]);
        let nonce = Scalar::from_bytes_mod_order_wide(&hash);
        if EdwardsPoint::mul_base(&nonce).compress().as_bytes() != point {
            continue;
        }
        // Each of these gives the private key to a reader of the signature.
        needles.add_words("a signature's nonce", " hashed", &hash);
        add_scalar(needles, "a signature's nonce", &nonce);
        let challenge = wide(&[point, public_key.as_bytes(), &child.message]);
        let product = Scalar::from_bytes_mod_order_wide(&challenge) * scalar;
        add_scalar(needles, "a signature's product", &product);
        // The signature is the one that keyway made, so all of these are what it was made with.
        assert_eq!((product + nonce).as_bytes(), rest);
        signed += 1;
    }
    signed
}

/// Adds a scalar as bytes, in the five words of 52 bits that it is multiplied in, and in the 64 digits from -8
/// to 8 that a point is multiplied with.
fn add_scalar(needles: &mut Needles, name: &'static str, scalar: &Scalar) {
    let bytes = scalar.as_bytes();
    needles.add_words(name, "", bytes);
    let bits = |from: usize| {
        (from..from + 52)
            .filter(|bit| bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
            .fold(0_u64, |word, bit| word | 1 << (bit - from))
    };
    let words: Vec<u8> = (0..5).flat_map(|word| bits(52 * word).to_le_bytes()).collect();
    needles.add(name, " in words of 52 bits", &words);
    let mut digits: Vec<i8> = bytes
        .iter()
        .flat_map(|byte| [byte & 15, byte >> 4])
        .map(|digit| i8::try_from(digit).expect("four bits"))
        .collect();
    for place in 0..63 {
        let carry = (digits[place] + 8) >> 4;
        digits[place] -= carry << 4;
        digits[place + 1] += carry;
    }
    let digits: Vec<u8> = digits.iter().map(|digit| digit.cast_unsigned()).collect();
    needles.add(name, " in digits", &digits);
}

struct Child {
    signature: [u8; 64],
    /// The signed bytes.
    message: Vec<u8>,
}

impl Child {
    fn read(text: &str) -> Self {
        let (front, payload) = text.split_once('~').expect("a child");
        let payload = Base64UrlUnpadded::decode_vec(payload).expect("base64url");
        let (caveats, signature) = payload.split_last_chunk().expect("a signature");
        let message = [PURPOSE, front.as_bytes(), b"~", caveats].concat();
        Self { signature: *signature, message }
    }
}

/// Returns the prefix and the id of a token.
fn public(token: &str) -> &str {
    &token[..token.len() - UNDEFINED]
}

fn wide(parts: &[&[u8]]) -> [u8; 64] {
    Sha512::digest(parts.concat()).into()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.update(&parts.concat());
    mac.finalize().into_bytes().into()
}

/// Returns the inner hash of HMAC.
fn inner_hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0x36; 64];
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    Sha256::digest([&block, &*parts.concat()].concat()).into()
}
