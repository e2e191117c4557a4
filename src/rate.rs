//! Rates: how often a key may be used.

use core::time::Duration;

use crate::tier::Rate;

/// What a key has left of the rate of its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStatus {
    pub(crate) rate: Rate,
    pub(crate) remaining: u32,
    pub(crate) reset: Duration,
    pub(crate) retry_after: Option<Duration>,
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

    /// How long until all of [`rate`](Self::rate) is left again, if there is no other request.
    pub fn reset(&self) -> Duration {
        self.reset
    }

    /// If this request is one too many, how long until there is one left.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
