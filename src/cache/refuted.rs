//! Claims that the store has refuted a moment ago.
//!
//! Whoever once held a key can go on presenting it after it was deleted or its secret replaced, and
//! programs do, for years. The tag of such a token is right, so each try would be a read of the store.

use alloc::vec::Vec;
use core::time::Duration;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{
    time::Moment,
    token::{Claim, Digest, KeyId, Rejection},
};

/// The most claims that are remembered. Each of them has cost somebody a key.
const CAPACITY: usize = 1_024;

/// How long a claim stays refuted, at most, in milliseconds. What a lagging replica does not know yet is
/// refused this much longer.
const LONGEST: u64 = 1_000;

pub(super) struct Refuted {
    claims: Mutex<Claims>,
    /// In milliseconds.
    max_age: u64,
}

/// By the id, which is public: the secrets are compared in constant time, as any.
#[derive(Default)]
struct Claims {
    by_id: HashMap<KeyId, Vec<Refutation>, RandomState>,
    len: usize,
    /// The uptime at which all were looked through for old ones.
    swept: u64,
}

/// Of one secret: whoever presents another one of the same key is not refused for it.
struct Refutation {
    digest: Digest,
    /// The uptime.
    at: u64,
    reason: Rejection,
}

impl Refuted {
    pub(super) fn new(max_staleness: Duration) -> Self {
        let max_staleness = u64::try_from(max_staleness.as_millis()).unwrap_or(u64::MAX);
        Self { claims: Mutex::default(), max_age: max_staleness.min(LONGEST) }
    }

    pub(super) fn reason(&self, claim: &Claim, moment: Moment) -> Option<Rejection> {
        let claims = self.claims();
        let refutations = claims.by_id.get(&claim.id())?.iter();
        let fresh = refutations.filter(|refutation| self.is_fresh(refutation, moment));
        // All of them are compared, whichever it is.
        fresh.fold(None, |reason, refutation| {
            let is_it = refutation.digest.same(claim.digest());
            if is_it { Some(refutation.reason) } else { reason }
        })
    }

    pub(super) fn note(&self, claim: &Claim, reason: Rejection, moment: Moment) {
        let mut claims = self.claims();
        if claims.len >= CAPACITY && moment.uptime.saturating_sub(claims.swept) > self.max_age / 4 {
            claims.swept = moment.uptime;
            claims.forget(|refutation| !self.is_fresh(refutation, moment));
        }
        if claims.len < CAPACITY && self.max_age > 0 {
            let Claims { by_id, len, .. } = &mut *claims;
            let refutations = by_id.entry(claim.id()).or_default();
            let before = refutations.len();
            refutations.retain(|refutation| self.is_fresh(refutation, moment));
            refutations.push(Refutation { digest: claim.digest(), at: moment.uptime, reason });
            *len = *len + refutations.len() - before;
        }
    }

    fn is_fresh(&self, refutation: &Refutation, moment: Moment) -> bool {
        moment.uptime.saturating_sub(refutation.at) < self.max_age
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claims {
    fn forget(&mut self, is_old: impl Fn(&Refutation) -> bool) {
        self.by_id.retain(|_, refutations| {
            refutations.retain(|refutation| !is_old(refutation));
            !refutations.is_empty()
        });
        self.len = self.by_id.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn claim(id: u16, secret: u64) -> Claim {
        let id = alloc::format!("A{id:015}").parse().unwrap();
        Claim::new(id, Digest { head: 0, tail: [secret, 0, 0] })
    }

    fn at(uptime: u64) -> Moment {
        Moment { now: Timestamp::saturating_from_millis(0), uptime }
    }

    #[test]
    fn it_holds_so_many_claims_for_so_long_and_no_longer() {
        let refuted = Refuted::new(Duration::from_secs(5));
        for id in 0..2_000 {
            refuted.note(&claim(id, 1), Rejection::Unknown, at(0));
        }
        let held = |moment| {
            (0..2_000).filter(|id| refuted.reason(&claim(*id, 1), moment).is_some()).count()
        };
        assert_eq!(held(at(999)), CAPACITY);
        assert_eq!(held(at(1_000)), 0);
        // Where all are old, there is room again.
        refuted.note(&claim(1_999, 1), Rejection::WrongSecret, at(1_000));
        assert_eq!(refuted.reason(&claim(1_999, 1), at(1_000)), Some(Rejection::WrongSecret));
        assert_eq!(refuted.claims().len, 1);
    }

    #[test]
    fn one_key_has_many_secrets_and_each_is_for_itself() {
        let refuted = Refuted::new(Duration::from_secs(5));
        for secret in 0..3_000 {
            refuted.note(&claim(1, secret), Rejection::WrongSecret, at(secret / 4));
            assert!(refuted.claims().len <= CAPACITY);
        }
        assert_eq!(refuted.reason(&claim(1, 0), at(0)), Some(Rejection::WrongSecret));
        assert_eq!(refuted.reason(&claim(1, 5_000), at(0)), None);
        assert_eq!(refuted.reason(&claim(2, 0), at(0)), None);
    }

    #[test]
    fn it_is_never_older_than_the_staleness_bound() {
        let refuted = Refuted::new(Duration::from_millis(300));
        refuted.note(&claim(1, 1), Rejection::Unknown, at(0));
        assert!(refuted.reason(&claim(1, 1), at(299)).is_some());
        assert!(refuted.reason(&claim(1, 1), at(300)).is_none());
        let none = Refuted::new(Duration::ZERO);
        none.note(&claim(1, 1), Rejection::Unknown, at(0));
        assert!(none.reason(&claim(1, 1), at(0)).is_none());
        assert_eq!(none.claims().len, 0);
    }

    /// It takes a thousand steps, so that whoever presents refuted claims must not have it done each time.
    #[test]
    fn a_full_one_is_looked_through_once_in_a_quarter_of_a_life() {
        let refuted = Refuted::new(Duration::from_secs(5));
        let note = |ids: core::ops::Range<u16>, moment| {
            ids.for_each(|id| refuted.note(&claim(id, 1), Rejection::Unknown, moment));
        };
        let holds = |id, moment| refuted.reason(&claim(id, 1), moment).is_some();
        note(0..512, at(0));
        note(512..1_024, at(100));
        note(2_000..2_512, at(1_000));
        assert_eq!(refuted.claims().len, CAPACITY);
        // The second half is old by now.
        note(3_000..3_001, at(1_250));
        assert!(!holds(3_000, at(1_250)));
        note(3_000..3_001, at(1_251));
        assert!(holds(3_000, at(1_251)));
    }
}
