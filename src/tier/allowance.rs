//! Allowances: how many units a tenant may use in a month or another period.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::codec::{Reader, Writer};

/// A number of units that all keys of a tenant together may use in each period, over all nodes. A request is one unit, or
/// as many as its route has weight.
///
/// In a configuration file it is `{ "units": 100000, "per": "month" }` or `{ "units": 600, "per_seconds": 60 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(try_from = "document::Document", into = "document::Document")
)]
pub struct Allowance {
    /// The number of units, at least 1.
    pub units: u64,
    /// The period, after which all units are there again.
    pub period: Period,
}

/// The period of an [`Allowance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A month of the calendar in UTC.
    Month,
    /// This many seconds, at least 1. The periods follow each other from 1970-01-01T00:00:00Z on.
    Seconds(u32),
}

/// The problem of a list of allowances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowanceProblem {
    /// An allowance has no units, or a period of no time.
    #[error("an allowance has at least 1 unit in a period of at least 1 second")]
    Zero,
    /// There are more than [`Allowance::MAX`].
    #[error("there are {0} allowances, and at most 4 are possible")]
    TooMany(usize),
    /// Two allowances have one period.
    #[error("there are two allowances per {0}")]
    SamePeriod(Period),
}

impl Allowance {
    /// The most allowances of a tenant.
    pub const MAX: usize = 4;

    /// Creates an allowance for each month of the calendar in UTC.
    pub const fn per_month(units: u64) -> Self {
        Self { units, period: Period::Month }
    }

    /// Creates an allowance for each period of this many seconds.
    pub const fn per_seconds(units: u64, seconds: u32) -> Self {
        Self { units, period: Period::Seconds(seconds) }
    }

    /// Checks the allowances of a tenant.
    pub(crate) fn check(allowances: &[Self]) -> Result<(), AllowanceProblem> {
        if allowances.len() > Self::MAX {
            return Err(AllowanceProblem::TooMany(allowances.len()));
        }
        for (index, allowance) in allowances.iter().enumerate() {
            if allowance.units == 0 || allowance.period == Period::Seconds(0) {
                return Err(AllowanceProblem::Zero);
            }
            let mut earlier = allowances.iter().take(index);
            if earlier.any(|earlier| earlier.period == allowance.period) {
                return Err(AllowanceProblem::SamePeriod(allowance.period));
            }
        }
        Ok(())
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u64(self.units);
        writer.raw(&self.period.number().to_be_bytes());
    }

    /// Reads a list of allowances, which are valid and in order of their periods, so that a record has only one encoding.
    pub(crate) fn read_list(reader: &mut Reader<'_>) -> Option<Vec<Self>> {
        let list = reader.list(|reader| {
            let units = reader.u64()?;
            let period = Period::from_number(reader.raw().copied().map(u32::from_be_bytes)?);
            Some(Self { units, period })
        })?;
        let is_sorted = list.is_sorted_by_key(|allowance| allowance.period);
        (is_sorted && Self::check(&list).is_ok()).then_some(list)
    }
}

impl Period {
    /// Returns the number of the period in a record or a store: its seconds, or 0 for a month.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Month => 0,
            Self::Seconds(seconds) => seconds,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        if number == 0 { Self::Month } else { Self::Seconds(number) }
    }
}

/// Writes `month`, or the seconds such as `60 s`.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Month => f.write_str("month"),
            Self::Seconds(seconds) => write!(f, "{seconds} s"),
        }
    }
}

/// Writes the allowance, such as `100000 units per month`.
impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { units, period } = self;
        write!(f, "{units} unit{} per {period}", if *units == 1 { "" } else { "s" })
    }
}

/// Returns the difference if `higher` allows less than `lower` in any period.
pub(crate) fn what_is_lower(lower: &[Allowance], higher: &[Allowance]) -> Option<String> {
    higher.iter().find_map(|allowance| {
        let period = allowance.period;
        match lower.iter().find(|lower| lower.period == period) {
            None => Some(alloc::format!(
                "it has an allowance per {period}, which the other one has not"
            )),
            Some(lower) if lower.units > allowance.units => {
                Some(alloc::format!("its allowance per {period} is lower"))
            }
            Some(_) => None,
        }
    })
}

#[cfg(feature = "serde")]
mod document {
    use serde::{Deserialize, Deserializer};

    use crate::tier::allowance::{Allowance, Period};

    /// The form of an allowance in a file.
    #[derive(serde::Deserialize, serde::Serialize)]
    #[serde(rename = "Allowance", deny_unknown_fields)]
    pub(super) struct Document {
        units: u64,
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        per: Option<Month>,
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        per_seconds: Option<u32>,
    }

    /// Deserializes a value that may be left out, but must not be `null`.
    fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        T::deserialize(deserializer).map(Some)
    }

    #[derive(serde::Deserialize, serde::Serialize)]
    enum Month {
        #[serde(rename = "month")]
        Month,
    }

    impl TryFrom<Document> for Allowance {
        type Error = &'static str;

        fn try_from(document: Document) -> Result<Self, Self::Error> {
            let period = match (document.per, document.per_seconds) {
                (Some(Month::Month), None) => Period::Month,
                // A period of no seconds is refused with the other checks.
                (None, Some(seconds)) => Period::Seconds(seconds),
                _ => return Err("an allowance has either `per`: `month`, or `per_seconds`"),
            };
            Ok(Self { units: document.units, period })
        }
    }

    impl From<Allowance> for Document {
        fn from(Allowance { units, period }: Allowance) -> Self {
            match period {
                Period::Month => Self { units, per: Some(Month::Month), per_seconds: None },
                Period::Seconds(seconds) => Self { units, per: None, per_seconds: Some(seconds) },
            }
        }
    }
}
