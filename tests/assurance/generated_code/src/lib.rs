//! What looks at a secret, each in a function of its own. Nobody runs them: their machine code is looked at.

#![no_std]

use core::hint::black_box;

use keyway::{
    authority::Authority,
    authorization::bearer_token,
    decision::ResolvedKey,
    record::KeyRecord,
    seal::Seals,
    time::Timestamp,
    token::{Claim, Rejection},
};

/// The token in the value of its field.
#[inline(never)]
pub fn token_of_field(value: &[u8]) -> Option<&[u8]> {
    bearer_token(value).ok()
}

/// Whether a token was minted here: prefix, alphabet, MAC and tag.
#[inline(never)]
pub fn check_token(authority: &Authority, presented: &[u8]) -> Result<Claim, Rejection> {
    authority.check(presented)
}

/// Whether a digest is that of a key.
#[inline(never)]
pub fn compare_digest(key: &ResolvedKey, claim: &Claim, now: Timestamp) -> bool {
    key.is_proven_by(claim, now)
}

/// Whether a record is as it was sealed.
#[inline(never)]
pub fn check_seal(seals: &Seals, key: &KeyRecord) -> bool {
    seals.check_key(key).is_ok()
}

/// A comparison that ends at the first difference. Its branches have to be found.
#[inline(never)]
pub fn planted_early_exit(left: &[u8; 26], right: &[u8; 26]) -> bool {
    left.iter().zip(right).all(|(left, right)| black_box(left) == right)
}

/// A comparison by the operator. Its call has to be found.
#[inline(never)]
pub fn planted_slice_equality(left: &[u8], right: &[u8]) -> bool {
    left == right
}
