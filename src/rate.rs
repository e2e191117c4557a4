//! Rates: how often a key may be used.
//!
//! A tier may name a [`Rate`]. With the feature `rate-limit`, every guard of `http` holds callers to it,
//! and `Verifier::count_request` does so for a host without HTTP. Without the feature, nobody counts, and a rate is something for the host to read.
//!
//! - **Each key has its own.** A key may be used [`requests`](Rate::requests) times at once, and what it
//!   used comes back evenly over [`per_seconds`](Rate::per_seconds): the generic cell rate algorithm. So
//!   in any time of that length it is used at most twice as often, and over a longer one no more often
//!   than named. The flood of one key slows no other one, not even of the same tenant.
//! - **Each process counts what it serves.** On three nodes behind a balancer, a key has three times the
//!   rate of its tier. A limit that has to hold over all of them belongs in front of them.
//! - **Only proven callers are counted**: a request is verified, then its scopes are checked, then it is
//!   counted. What is forged, unknown, disabled or forbidden takes nothing from the rate of any key, so
//!   nobody can use up the rate of a key that they do not hold.
//! - **A key whose tenant changes its tier** begins with all of the new tier's rate.
//! - **Memory** is that of the keys in recent use, less than 120 bytes each. One that has all of its rate
//!   again is as good as one that was never used. Each second in which there is a request, one part of
//!   64 of each tier's keys is searched for those, and they are forgotten.

#[cfg(feature = "rate-limit")]
mod limiter;
#[cfg(feature = "rate-limit")]
mod states;

use core::time::Duration;

#[cfg(feature = "rate-limit")]
pub(crate) use self::limiter::Rates;
use crate::tier::Rate;

/// What a key has left of the rate of its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStatus {
    pub(crate) rate: Rate,
    pub(crate) remaining: u32,
    pub(crate) next: Duration,
    pub(crate) reset: Duration,
    pub(crate) is_exceeded: bool,
}

impl RateStatus {
    /// The rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How many requests are left at once.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// How long until one more is left, if there is no other request.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// How long until all of [`rate`](Self::rate) is left again, if there is no other request.
    pub fn reset(&self) -> Duration {
        self.reset
    }

    /// If this request is one too many, how long until there is one left. It was not counted, then.
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_exceeded.then_some(self.next)
    }
}
