//! Rates: how often a key may be used.
//!
//! A tier may set a [`Rate`]. With the feature `rate-limit`, every guard of `http` enforces the rate, and
//! applications without HTTP call `Verifier::count_request`. Without the feature nothing is counted, and the
//! application can only read the rate.
//!
//! - **Each key has its own rate.** A key may be used [`requests`](Rate::requests) times at once. Its used
//!   requests come back evenly over [`per_seconds`](Rate::per_seconds) (the generic cell rate algorithm). So
//!   in any period of that length a key is used at most twice as often, and over a longer one no more often
//!   than set. A flood with one key slows no other key, not even of the same tenant.
//! - **Each process counts the requests that it serves.** On three nodes behind a balancer, a key has three
//!   times the rate of its tier. A limit that holds over all nodes is an [allowance](crate::allowance).
//! - **Only proven callers are counted.** A request is verified, then its scopes are checked, then it is
//!   counted. A forged, unknown, disabled or forbidden request takes nothing from the rate of any key. So
//!   nobody can use up the rate of another holder's key.
//! - **A tenant may have a rate as a whole**, besides that of each key: all its keys together are used no more often, so
//!   more keys give no more requests. A request that exceeds it takes nothing from the rate of its key.
//! - **A route may have a weight**: one request counts as so many. A weight above the rate takes all of it.
//! - **A key whose tenant changes its tier** starts with all of the new tier's rate. If an exception changes the rate, the
//!   key starts with all of the new one too.
//! - **Memory** is less than 120 bytes for each key in recent use. A key that has all of its rate again is
//!   equal to one that was never used, and can be forgotten. In each second with a request, one 64th of each
//!   tier's keys is searched for such keys.

#[cfg(feature = "rate-limit")]
mod limiter;
#[cfg(feature = "rate-limit")]
mod states;

#[cfg(feature = "std")]
use core::time::Duration;

#[cfg(feature = "rate-limit")]
pub(crate) use self::limiter::Rates;
pub use crate::tier::Rate;

/// The part of a rate that a key or its tenant has left.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStatus {
    pub(crate) rate: Rate,
    pub(crate) remaining: u32,
    pub(crate) next: Duration,
    pub(crate) reset: Duration,
    pub(crate) is_exceeded: bool,
    pub(crate) is_of_tenant: bool,
}

#[cfg(feature = "std")]
impl RateStatus {
    /// Returns the rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Returns whether this is the rate of all keys of the tenant together. Otherwise it is that of the key. If both have
    /// a rate, the status is that of the one that has less left.
    pub fn is_of_tenant(&self) -> bool {
        self.is_of_tenant
    }

    /// Returns how many requests are left at once.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns how long it takes until one more request is left, if there are no other requests. After a refusal it is the
    /// time until the same request could be admitted.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Returns how long it takes until all of [`rate`](Self::rate) is left again, if there are no other
    /// requests.
    pub fn reset(&self) -> Duration {
        self.reset
    }

    /// Returns how long it takes until a request is left, if this request exceeded the rate. In this case it
    /// was not counted.
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_exceeded.then_some(self.next)
    }
}
