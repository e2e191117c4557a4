//! Tiers: how many keys a tenant may hold, and the limits of these keys.

pub(crate) mod allowance;
mod exceptions;
#[cfg(feature = "std")]
mod window;

use alloc::{string::String, vec::Vec};
use core::time::Duration;

pub(crate) use self::allowance::what_is_lower;
#[cfg(feature = "std")]
pub use self::window::Window;
pub use self::{
    allowance::{Allowance, AllowanceProblem, Period},
    exceptions::{Exceptions, Terms},
};

/// The limits for tenants of one tier.
///
/// ```
/// use std::time::Duration;
/// use keyway::{Tier, rate::Rate};
///
/// let lite = Tier::new("lite", 1).scopes(["metrics.basic"]);
/// let advanced = Tier::new("advanced", 5)
///     .rate(Rate { requests: 100, per_seconds: 1 })
///     .max_lifetime(Duration::from_secs(365 * 86_400));
/// # _ = (lite, advanced);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Tier {
    /// The name, 1 to 64 characters.
    pub name: String,
    /// The number of keys that a tenant may hold, whatever their state.
    pub keys: u32,
    /// The maximum scopes of each of the tenant's keys.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) scopes: Ceiling,
    /// The maximum rate of use of each key. The module `rate` describes how uses are counted. `None` means
    /// no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rate: Option<Rate>,
    /// The maximum rate of use of all keys of a tenant together. `None` means no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub tenant_rate: Option<Rate>,
    /// The units that all keys of a tenant together may use in each period, over all nodes: at most
    /// [`Allowance::MAX`], each of another period. Without any there is no limit. The module `allowance` describes how
    /// they are counted.
    #[cfg_attr(feature = "serde", serde(default))]
    pub allowances: Vec<Allowance>,
    /// The longest time from a key's creation to its expiry. After a rotation, it counts from the rotation
    /// for the next edit that moves the expiry later. `None` means no limit. In a configuration file it is a
    /// number of days.
    #[cfg_attr(
        feature = "serde",
        serde(default, rename = "max_lifetime_days", deserialize_with = "days")
    )]
    pub max_lifetime: Option<Duration>,
    /// The longest time without a use after which a key is disabled, if the application calls
    /// [`Keyring::disable_idle`](https://docs.rs/keyway/latest/keyway/struct.Keyring.html#method.disable_idle). `None` means no
    /// limit. In a configuration file it is a number of days.
    #[cfg_attr(
        feature = "serde",
        serde(default, rename = "max_idle_days", deserialize_with = "days")
    )]
    pub max_idle: Option<Duration>,
}

impl Tier {
    /// Creates a tier with `keys` keys and without other limits.
    pub fn new(name: impl Into<String>, keys: u32) -> Self {
        Self {
            name: name.into(),
            keys,
            scopes: Ceiling::All,
            rate: None,
            tenant_rate: None,
            allowances: Vec::new(),
            max_lifetime: None,
            max_idle: None,
        }
    }

    /// Returns the built-in tiers: Lite with 1 key and Advanced with 5.
    pub fn built_in() -> [Self; 2] {
        [Self::new("lite", 1), Self::new("advanced", 5)]
    }

    /// Limits keys to these scopes and the scopes below them.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Ceiling::Only(names.into_iter().map(Into::into).collect());
        self
    }

    /// Limits the rate of use of each key.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Limits the rate of use of all keys of a tenant together.
    #[must_use]
    pub fn tenant_rate(mut self, rate: Rate) -> Self {
        self.tenant_rate = Some(rate);
        self
    }

    /// Adds a number of units that all keys of a tenant together may use in each period, over all nodes.
    #[must_use]
    pub fn allowance(mut self, allowance: Allowance) -> Self {
        self.allowances.push(allowance);
        self
    }

    /// Limits the lifetime of a key.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// Limits the time for which a key stays enabled without being used.
    #[must_use]
    pub fn max_idle(mut self, time: Duration) -> Self {
        self.max_idle = Some(time);
        self
    }

    /// Returns the exceptions that set every limit to that of this tier.
    #[cfg(feature = "console")]
    pub(crate) fn to_exceptions(&self) -> Exceptions {
        Exceptions {
            keys: Some(self.keys),
            rate: Some(self.rate),
            tenant_rate: Some(self.tenant_rate),
            allowances: Some(self.allowances.clone()),
            max_lifetime: Some(self.max_lifetime),
            scopes: Some(self.scopes.clone()),
        }
    }
}

/// The maximum scopes of a tier's keys.
///
/// In a configuration file it is `"all"` or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ceiling {
    /// Every scope, including those that are added to the catalog later.
    #[default]
    All,
    /// These scopes and the scopes below them. An empty list allows nothing.
    Only(Vec<String>),
}

/// A number of requests per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
pub struct Rate {
    /// The number of requests, at least 1.
    pub requests: u32,
    /// The period in seconds, at least 1.
    pub per_seconds: u32,
}

impl Rate {
    /// Returns whether this is the rate of nothing, or of no time.
    pub(crate) fn is_zero(self) -> bool {
        self.requests == 0 || self.per_seconds == 0
    }

    /// Returns whether this rate allows at least as many requests as `other` over any period.
    pub(crate) fn covers(self, other: Self) -> bool {
        let product = |requests: u32, seconds: u32| u64::from(requests) * u64::from(seconds);
        product(self.requests, other.per_seconds) >= product(other.requests, self.per_seconds)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Ceiling {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Ceiling;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("`\"all\"` or a list of scopes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ceiling, E> {
                if text == "all" {
                    return Ok(Ceiling::All);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut names: A,
            ) -> Result<Ceiling, A::Error> {
                let mut only = Vec::new();
                while let Some(name) = names.next_element()? {
                    only.push(name);
                }
                Ok(Ceiling::Only(only))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "serde")]
fn days<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let days = <Option<u32> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(days.map(|days| Duration::from_secs(u64::from(days) * 86_400)))
}
