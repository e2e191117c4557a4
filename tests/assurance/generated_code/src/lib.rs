//! The functions that handle a secret, one for each use. They are not run: their machine code is checked.

#![no_std]

use core::hint::black_box;

use keyway::{
    KeyRecord, Timestamp,
    audit::Rejection,
    lowlevel::{Authority, CheckedToken, ResolvedKey, Seals, bearer_token},
    record::RecordError,
};

/// Returns the token in the value of the header.
#[inline(never)]
pub fn token_of_field(value: &[u8]) -> Option<&[u8]> {
    bearer_token(value).ok()
}

/// Checks that a token was minted here: prefix, alphabet, MAC and tag.
#[inline(never)]
pub fn check_token(authority: &Authority, presented: &[u8]) -> Result<CheckedToken, Rejection> {
    authority.check(presented)
}

/// Compares a digest with those of a key.
#[inline(never)]
pub fn compare_digest(key: &ResolvedKey, claim: &CheckedToken, now: Timestamp) -> bool {
    key.is_proven_by(claim, now)
}

/// Checks the seal of a record.
#[inline(never)]
pub fn check_seal(seals: &Seals, key: &KeyRecord) -> Result<(), RecordError> {
    seals.check_key(key)
}

/// A comparison that ends at the first difference. Its branches must be found.
#[inline(never)]
pub fn planted_early_exit(left: &[u8; 26], right: &[u8; 26]) -> bool {
    left.iter().zip(right).all(|(left, right)| black_box(left) == right)
}

/// A comparison by the operator. Its call must be found.
#[inline(never)]
pub fn planted_slice_equality(left: &[u8], right: &[u8]) -> bool {
    left == right
}
