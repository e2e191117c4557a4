//! The counts of one key or tenant.

/// How many requests had each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The requests that were admitted.
    pub admitted: u64,
    /// The requests that were refused, although the secret was right: the key was not active, or did not permit the request.
    pub forbidden: u64,
    /// The requests above a rate or an allowance.
    pub limited: u64,
}

impl Counts {
    /// No requests.
    pub const ZERO: Self = Self { admitted: 0, forbidden: 0, limited: 0 };

    /// Returns the sum of both, or the largest number where the sum does not fit.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            admitted: self.admitted.saturating_add(other.admitted),
            forbidden: self.forbidden.saturating_add(other.forbidden),
            limited: self.limited.saturating_add(other.limited),
        }
    }

    /// Returns the larger one of each count.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            admitted: self.admitted.max(other.admitted),
            forbidden: self.forbidden.max(other.forbidden),
            limited: self.limited.max(other.limited),
        }
    }

    /// Returns the number of all requests, or the largest number if it does not fit.
    pub fn total(self) -> u64 {
        self.admitted.saturating_add(self.forbidden).saturating_add(self.limited)
    }
}

/// The outcome of one request of a proven key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    Forbidden,
    #[cfg(feature = "http")]
    Limited,
}

impl Outcome {
    /// The number of outcomes.
    pub(crate) const COUNT: usize = 3;

    /// Returns the place of the outcome among [`COUNT`](Self::COUNT).
    #[inline]
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Admitted => 0,
            Self::Forbidden => 1,
            #[cfg(feature = "http")]
            Self::Limited => 2,
        }
    }
}

impl From<[u64; Outcome::COUNT]> for Counts {
    fn from([admitted, forbidden, limited]: [u64; Outcome::COUNT]) -> Self {
        Self { admitted, forbidden, limited }
    }
}
