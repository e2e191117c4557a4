//! Exceptions: the contract of one tenant, where it differs from the tier.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, num::NonZeroU32, time::Duration};

use super::{Allowance, Ceiling, Rate};
use crate::{
    codec::{Reader, Writer},
    scope::{Scope, ScopeSet},
    time::Span,
};

/// The limits of one tenant that replace those of its tier.
///
/// A limit that is not set is the tier's. An exception stays until it is taken away, also if the tenant moves to another
/// tier. `Keyring::set_exceptions` sets all exceptions of a tenant.
///
/// ```
/// use keyway::{rate::Rate, record::Exceptions};
///
/// // Seven keys on a tier with five, and no limit to how often each is used.
/// let contract = Exceptions::new().keys(7).rate(None);
/// assert!(!contract.is_empty());
/// # _ = contract.tenant_rate(Rate { requests: 1_000, per_seconds: 60 });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "exceptions do nothing until they are set"]
pub struct Exceptions {
    pub(crate) keys: Option<u32>,
    pub(crate) rate: Option<Option<Rate>>,
    pub(crate) tenant_rate: Option<Option<Rate>>,
    /// In order of the periods.
    pub(crate) allowances: Option<Vec<Allowance>>,
    pub(crate) max_lifetime: Option<Option<Duration>>,
    pub(crate) scopes: Option<Ceiling>,
}

impl Exceptions {
    /// Creates exceptions that set nothing: all limits are the tier's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of keys that the tenant may hold, whatever their state.
    pub fn keys(mut self, keys: u32) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets the maximum rate of use of each key. `None` means no limit.
    pub fn rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.rate = Some(rate.into());
        self
    }

    /// Sets the maximum rate of use of all keys of the tenant together. `None` means no limit.
    pub fn tenant_rate(mut self, rate: impl Into<Option<Rate>>) -> Self {
        self.tenant_rate = Some(rate.into());
        self
    }

    /// Sets the units that all keys of the tenant together may use in each period, over all nodes. An empty list means no
    /// limit. See [`Tier::allowances`](super::Tier::allowances).
    pub fn allowances(mut self, allowances: impl IntoIterator<Item = Allowance>) -> Self {
        let mut allowances: Vec<Allowance> = allowances.into_iter().collect();
        // In one order, so that a record has only one encoding.
        allowances.sort_by_key(|allowance| allowance.period);
        self.allowances = Some(allowances);
        self
    }

    /// Sets the longest lifetime of a key, in whole milliseconds. `None` means no limit.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        let whole = |lifetime: Duration| {
            Duration::from_millis(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
        };
        self.max_lifetime = Some(lifetime.into().map(whole));
        self
    }

    /// Sets the maximum scopes of each key: these and the scopes below them. Without names, the keys may do nothing.
    pub fn scopes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(Ceiling::Only(names.into_iter().map(Into::into).collect()));
        self
    }

    /// Allows each key all scopes, including those that are added to the catalog later.
    pub fn all_scopes(mut self) -> Self {
        self.scopes = Some(Ceiling::All);
        self
    }

    /// Returns whether all limits are the tier's.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether there are allowances to count.
    #[cfg(feature = "std")]
    pub(crate) fn has_allowances(&self) -> bool {
        self.allowances.as_ref().is_some_and(|allowances| !allowances.is_empty())
    }

    /// Returns whether a rate or a lifetime is zero, which would allow nothing.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        let is_zero = |rate: Option<Option<Rate>>| rate.flatten().is_some_and(Rate::is_zero);
        if is_zero(self.rate) {
            Some("rate")
        } else if is_zero(self.tenant_rate) {
            Some("rate of the tenant")
        } else if self.max_lifetime.flatten().is_some_and(|lifetime| lifetime.is_zero()) {
            Some("longest lifetime")
        } else {
            None
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        let rate = |writer: &mut Writer, rate: Option<Rate>| {
            writer.option(rate, |writer, Rate { requests, per_seconds }| {
                writer.raw(&requests.to_be_bytes());
                writer.raw(&per_seconds.to_be_bytes());
            });
        };
        writer.option(self.keys, |writer, keys| writer.raw(&keys.to_be_bytes()));
        writer.option(self.rate, rate);
        writer.option(self.tenant_rate, rate);
        writer.option(self.allowances.as_ref(), |writer, allowances| {
            writer.len(allowances.len());
            for allowance in allowances {
                allowance.write(writer);
            }
        });
        writer.option(self.max_lifetime, |writer, lifetime| {
            writer.option(lifetime, |writer, lifetime| {
                writer.u64(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
            });
        });
        writer.option(self.scopes.as_ref(), |writer, scopes| match scopes {
            Ceiling::All => writer.bool(true),
            Ceiling::Only(names) => {
                writer.bool(false);
                writer.len(names.len());
                for name in names {
                    writer.str(name);
                }
            }
        });
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let number = |reader: &mut Reader<'_>| reader.raw().copied().map(u32::from_be_bytes);
        let positive = |reader: &mut Reader<'_>| Some(NonZeroU32::new(number(reader)?)?.get());
        let rate = |reader: &mut Reader<'_>| {
            let rate = |reader: &mut Reader<'_>| {
                Some(Rate { requests: positive(reader)?, per_seconds: positive(reader)? })
            };
            reader.option(rate)
        };
        let lifetime = |reader: &mut Reader<'_>| {
            let millis = reader.u64().filter(|millis| *millis > 0)?;
            Some(Duration::from_millis(millis))
        };
        let scopes = |reader: &mut Reader<'_>| {
            if reader.bool()? {
                return Some(Ceiling::All);
            }
            let names =
                reader.list(|reader| Some(Scope::try_from(reader.str()?).ok()?.as_str().into()));
            // Names must be in the order in which they are written, so that a record has only one encoding.
            let names: Vec<String> = names?;
            names.is_sorted_by(|left, right| left < right).then_some(Ceiling::Only(names))
        };
        Some(Self {
            keys: reader.option(number)?,
            rate: reader.option(rate)?,
            tenant_rate: reader.option(rate)?,
            allowances: reader.option(Allowance::read_list)?,
            max_lifetime: reader.option(|reader| reader.option(lifetime))?,
            scopes: reader.option(scopes)?,
        })
    }
}

/// The limits that hold for one tenant: those of its tier, unless it has [`Exceptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// The number of keys that the tenant may hold, whatever their state.
    pub keys: u32,
    /// The maximum rate of use of each key. `None` means no limit.
    pub rate: Option<Rate>,
    /// The maximum rate of use of all keys together. `None` means no limit.
    pub tenant_rate: Option<Rate>,
    /// The units that all keys together may use in each period, over all nodes. Without any there is no limit.
    pub allowances: Vec<Allowance>,
    /// The longest lifetime of a key. `None` means no limit.
    pub max_lifetime: Option<Duration>,
    /// The longest time without a use after which a key is disabled. `None` means no limit.
    pub max_idle: Option<Duration>,
    /// The maximum scopes of each key.
    pub scopes: ScopeSet,
}

/// Writes the exceptions that are set, such as `7 keys, 100 requests per 60 s`, or `none`.
impl fmt::Display for Exceptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<Rate>| match rate {
            None => String::from("unlimited"),
            Some(Rate { requests, per_seconds }) => {
                format!("{requests} requests per {per_seconds} s")
            }
        };
        let mut words: Vec<String> = Vec::new();
        words.extend(self.keys.map(|keys| format!("{keys} keys")));
        words.extend(self.rate.map(|limit| format!("rate {}", rate(limit))));
        words.extend(self.tenant_rate.map(|limit| format!("rate of the tenant {}", rate(limit))));
        match self.allowances.as_deref() {
            None => {}
            Some([]) => words.push("no allowances".into()),
            Some(allowances) => words.extend(allowances.iter().map(ToString::to_string)),
        }
        words.extend(self.max_lifetime.map(|lifetime| match lifetime {
            None => "lifetime unlimited".into(),
            Some(lifetime) => format!("lifetime {}", Span(lifetime)),
        }));
        words.extend(self.scopes.as_ref().map(|scopes| match scopes {
            Ceiling::All => "all scopes".into(),
            Ceiling::Only(names) if names.is_empty() => "no scopes".into(),
            Ceiling::Only(names) => format!("scopes {}", names.join(" ")),
        }));
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

/// Serializes the exceptions that are set. A limit that is taken away is `"unlimited"`.
#[cfg(feature = "serde")]
impl serde::Serialize for Exceptions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;

        #[derive(serde::Serialize)]
        #[serde(untagged)]
        enum Limit<T> {
            Word(&'static str),
            Value(T),
        }

        fn limit<T>(limit: Option<T>) -> Limit<T> {
            limit.map_or(Limit::Word("unlimited"), Limit::Value)
        }

        let mut map = serializer.serialize_map(None)?;
        if let Some(keys) = self.keys {
            map.serialize_entry("keys", &keys)?;
        }
        if let Some(rate) = self.rate {
            map.serialize_entry("rate", &limit(rate))?;
        }
        if let Some(rate) = self.tenant_rate {
            map.serialize_entry("tenant_rate", &limit(rate))?;
        }
        if let Some(allowances) = &self.allowances {
            let unlimited = allowances.is_empty();
            let allowances = limit((!unlimited).then_some(allowances));
            map.serialize_entry("allowances", &allowances)?;
        }
        if let Some(lifetime) = self.max_lifetime {
            let seconds = limit(lifetime.map(|lifetime| lifetime.as_secs()));
            map.serialize_entry("max_lifetime_seconds", &seconds)?;
        }
        match &self.scopes {
            None => {}
            Some(Ceiling::All) => map.serialize_entry("scopes", "all")?,
            Some(Ceiling::Only(names)) => map.serialize_entry("scopes", names)?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Exceptions> {
        let mut reader = Reader::new(bytes);
        let read = Exceptions::read(&mut reader)?;
        reader.end()?;
        Some(read)
    }

    fn written(exceptions: &Exceptions) -> Vec<u8> {
        let mut writer = Writer::default();
        exceptions.write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn exceptions_are_read_as_they_are_written() {
        let rate = Rate { requests: 1, per_seconds: u32::MAX };
        let day = Duration::from_secs(86_400);
        for exceptions in [
            Exceptions::new(),
            Exceptions::new().keys(0),
            Exceptions::new().keys(u32::MAX),
            Exceptions::new().rate(rate),
            Exceptions::new().rate(None).tenant_rate(rate),
            Exceptions::new().tenant_rate(None),
            Exceptions::new().allowances([]),
            Exceptions::new().allowances([
                Allowance::per_seconds(u64::MAX, u32::MAX),
                Allowance::per_month(1),
                Allowance::per_seconds(60, 1),
            ]),
            Exceptions::new().max_lifetime(day),
            Exceptions::new().max_lifetime(None),
            Exceptions::new().scopes(["a", "b.c"]),
            Exceptions::new().scopes([""; 0]),
            Exceptions::new().all_scopes().keys(7),
        ] {
            assert_eq!(read(&written(&exceptions)), Some(exceptions));
        }
    }

    #[test]
    fn other_encodings_of_exceptions_are_refused() {
        let zero = Rate { requests: 0, per_seconds: 1 };
        for exceptions in [
            Exceptions::new().rate(zero),
            Exceptions::new().tenant_rate(Rate { requests: 1, per_seconds: 0 }),
            Exceptions::new().allowances([Allowance::per_month(0)]),
            Exceptions::new().allowances([Allowance::per_month(1), Allowance::per_month(2)]),
            Exceptions::new().allowances([1, 2, 3, 4, 5].map(|n| Allowance::per_seconds(1, n))),
            Exceptions {
                allowances: Some([Allowance::per_seconds(1, 1), Allowance::per_month(1)].to_vec()),
                ..Exceptions::new()
            },
            Exceptions::new().max_lifetime(Duration::ZERO),
            Exceptions::new().scopes(["b", "a"]),
            Exceptions::new().scopes(["a", "a"]),
            Exceptions::new().scopes(["no scope"]),
        ] {
            assert_eq!(read(&written(&exceptions)), None, "{exceptions:?}");
        }
    }
}
