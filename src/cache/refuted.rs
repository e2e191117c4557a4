//! Claims that the store has refuted a moment ago.
//!
//! Whoever once held a key can go on presenting it after it was deleted or its secret replaced, and
//! programs do, for years. The tag of such a token is right, so each try would be a read of the store.

use core::time::Duration;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{
    time::Moment,
    token::{Claim, Digest, KeyId, Rejection},
};

/// The most claims that are remembered. Everyone has cost somebody a key.
const CAPACITY: usize = 1_024;

/// How long a claim stays refuted, at most, in milliseconds. What a lagging replica does not know yet is
/// refused this much longer.
const LONGEST: u64 = 1_000;

pub(super) struct Refuted {
    claims: Mutex<HashMap<Key, Refutation, RandomState>>,
    /// In milliseconds.
    max_age: u64,
}

/// A claim: another secret of the same key is another one.
type Key = (KeyId, [u8; Digest::LEN]);

/// When, and why.
type Refutation = (u64, Rejection);

impl Refuted {
    pub(super) fn new(max_staleness: Duration) -> Self {
        let max_staleness = u64::try_from(max_staleness.as_millis()).unwrap_or(u64::MAX);
        Self { claims: Mutex::default(), max_age: max_staleness.min(LONGEST) }
    }

    pub(super) fn reason(&self, claim: &Claim, moment: Moment) -> Option<Rejection> {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = claims.get(&key(claim))?;
        self.is_fresh(*at, moment).then_some(*reason)
    }

    pub(super) fn note(&self, claim: &Claim, reason: Rejection, moment: Moment) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.len() >= CAPACITY {
            claims.retain(|_, (at, _)| self.is_fresh(*at, moment));
        }
        if claims.len() < CAPACITY && self.max_age > 0 {
            claims.insert(key(claim), (moment.uptime, reason));
        }
    }

    fn is_fresh(&self, at: u64, moment: Moment) -> bool {
        moment.uptime.saturating_sub(at) < self.max_age
    }
}

fn key(claim: &Claim) -> Key {
    (claim.id(), claim.digest().to_bytes())
}
