//! Exceptions of a tenant from its tier, in the JSON that keyway writes for them.

use std::time::Duration;

use keyway::{Policy, allowance::Allowance, rate::Rate, record::Exceptions, scope::ScopeSet};
use serde::{Deserialize, Deserializer};

/// The exceptions of a tenant. A limit that is left out, or `null`, is the tier's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExceptionLimits {
    /// The number of keys.
    pub keys: Option<u32>,
    /// The rate of each key. The inner `None` is no limit.
    #[serde(deserialize_with = "limit")]
    pub rate: Option<Option<Rate>>,
    /// The rate of the tenant.
    #[serde(deserialize_with = "limit")]
    pub tenant_rate: Option<Option<Rate>>,
    /// The allowances over all nodes.
    #[serde(deserialize_with = "limit")]
    pub allowances: Option<Option<Vec<Allowance>>>,
    /// The longest lifetime of keys, in seconds.
    #[serde(deserialize_with = "limit")]
    pub max_lifetime_seconds: Option<Option<u64>>,
    /// The scopes that keys may have. The inner `None` is all.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Option<Option<Vec<String>>>,
}

impl ExceptionLimits {
    /// Reads the exceptions of a record.
    pub fn of(exceptions: &Exceptions) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(exceptions)?)
    }

    /// Returns the exceptions, with scopes as a record has them. So equal limits are equal exceptions.
    ///
    /// # Errors
    ///
    /// The name of the field and the problem.
    pub fn build(&self, policy: &Policy) -> Result<Exceptions, (&'static str, String)> {
        let mut exceptions = Exceptions::new();
        if let Some(keys) = self.keys {
            exceptions = exceptions.keys(keys);
        }
        let is_zero = |rate: Rate| rate.requests == 0 || rate.per_seconds == 0;
        for (field, rate) in [("rate", self.rate), ("tenant_rate", self.tenant_rate)] {
            if rate.flatten().is_some_and(is_zero) {
                return Err((field, "a rate is at least 1 request in at least 1 second".into()));
            }
        }
        if let Some(rate) = self.rate {
            exceptions = exceptions.rate(rate);
        }
        if let Some(rate) = self.tenant_rate {
            exceptions = exceptions.tenant_rate(rate);
        }
        if let Some(allowances) = &self.allowances {
            exceptions = exceptions.allowances(allowances.iter().flatten().copied());
        }
        if let Some(seconds) = self.max_lifetime_seconds {
            if seconds == Some(0) {
                return Err(("max_lifetime_seconds", "a key lives for at least 1 second".into()));
            }
            exceptions = exceptions.max_lifetime(seconds.map(Duration::from_secs));
        }
        match &self.scopes {
            None => {}
            Some(None) => exceptions = exceptions.all_scopes(),
            Some(Some(names)) => {
                let catalog = policy.catalog();
                let set = catalog.set(names).map_err(|error| ("scopes", error.to_string()))?;
                exceptions =
                    exceptions.scopes(catalog.names(set).iter().map(|scope| scope.as_str()));
            }
        }
        Ok(exceptions)
    }

    /// Returns the scopes that keys may have with these exceptions on `tier`. `None` if the policy has no such
    /// tier.
    pub fn ceiling(&self, policy: &Policy, tier: &str) -> Option<ScopeSet> {
        let catalog = policy.catalog();
        match &self.scopes {
            None => policy.ceiling(tier),
            Some(None) => Some(catalog.all()),
            Some(Some(names)) => {
                let known = names.iter().filter_map(|name| catalog.set([name]).ok());
                Some(known.fold(catalog.none(), ScopeSet::join))
            }
        }
    }
}

/// Deserializes a limit, or `"unlimited"`, which is the inner `None`.
fn limit<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "unlimited")]
        Unlimited,
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a limit of at least 1, or `unlimited`")]
    enum Limit<T> {
        Word(Word),
        Value(T),
    }

    Ok(Option::<Limit<T>>::deserialize(deserializer)?.map(|limit| match limit {
        Limit::Word(Word::Unlimited) => None,
        Limit::Value(value) => Some(value),
    }))
}

/// Deserializes a list of scopes, or `"all"`, which is the inner `None`.
fn scopes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Vec<String>>>, D::Error> {
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "all")]
        All,
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a list of scopes, or `all`")]
    enum Scopes {
        Word(Word),
        Only(Vec<String>),
    }

    Ok(Option::<Scopes>::deserialize(deserializer)?.map(|scopes| match scopes {
        Scopes::Word(Word::All) => None,
        Scopes::Only(names) => Some(names),
    }))
}
