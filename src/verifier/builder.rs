//! Building a verifier.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

#[cfg(feature = "children")]
use super::children::{Failures, KnownChildren};
use super::{
    Engine, UsageCounter, Verifier, grace::EndingKeys, leases::Leases, limits,
    requirements::Requirements, sources::Sources,
};
#[cfg(feature = "rate-limit")]
use crate::rate::Rates;
use crate::{
    allowance::WhenAway,
    audit::{AuditSink, Sampler},
    authority::Authority,
    cache::{Cache, SingleFlight},
    config::ConfigError,
    import::ForeignFormat,
    pepper::Peppers,
    policy::Policy,
    seal::Marker,
    store::{
        AnyEventStore, AnyLimitStore, AnyLookup, AnyStore, AnyUsageStore, KeyLookup, LimitStore,
        UsageStore,
    },
    time::{Clock, SystemClock},
};

/// Builds a [`Verifier`].
///
/// An [`environment`](Self::environment) and a [`lookup`](Self::lookup) are required. The other settings have
/// defaults.
#[must_use = "a builder does nothing until `build`"]
pub struct VerifierBuilder {
    policy: Policy,
    peppers: Peppers,
    environment: Option<String>,
    lookup: Option<AnyLookup>,
    store: Option<AnyStore>,
    clock: Arc<dyn Clock>,
    audit: Option<Arc<dyn AuditSink>>,
    usage: Option<AnyUsageStore>,
    limits: Option<(AnyLimitStore, WhenAway)>,
    events: Option<AnyEventStore>,
    foreign: Vec<ForeignFormat>,
    capacity: usize,
    max_staleness: Duration,
}

impl VerifierBuilder {
    /// The default number of keys that the cache holds.
    pub const DEFAULT_CAPACITY: usize = 100_000;
    /// The default staleness bound.
    pub const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(5);
    /// The largest staleness bound.
    pub const LONGEST_MAX_STALENESS: Duration = Duration::from_secs(24 * 3_600);

    pub(super) fn new(policy: Policy, peppers: Peppers) -> Self {
        Self {
            policy,
            peppers,
            environment: None,
            lookup: None,
            store: None,
            clock: Arc::new(SystemClock),
            audit: None,
            foreign: Vec::new(),
            usage: None,
            limits: None,
            events: None,
            capacity: Self::DEFAULT_CAPACITY,
            max_staleness: Self::DEFAULT_MAX_STALENESS,
        }
    }

    /// Sets the environment that tokens name, such as `live` or `test`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Sets the source that keys are read from. If it lags, as a replica does, a key counts as so much older, and
    /// proofs of a [feed](Verifier::follow) do not spare reads.
    pub fn lookup(mut self, lookup: impl KeyLookup) -> Self {
        self.lookup = Some(AnyLookup::new(lookup));
        self
    }

    pub(crate) fn store(mut self, store: &AnyStore) -> Self {
        self.lookup = self.lookup.or_else(|| Some(store.to_lookup()));
        self.store = Some(store.clone());
        self
    }

    /// Sets the source of time, which is by default the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the sink that receives audit events.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }

    /// Counts requests for the [usage](crate::usage) in this store. [`Verifier::flush_usage`] writes the counts.
    pub fn usage(mut self, store: impl UsageStore) -> Self {
        self.usage = Some(AnyUsageStore::new(store));
        self
    }

    /// Counts against the [allowances](crate::allowance) of tenants in this store, which all nodes share. `when_away` says
    /// what happens to requests beyond what this node has leased while the store is away. Without it, a policy with
    /// allowances is refused.
    pub fn shared_limits(mut self, store: impl LimitStore, when_away: WhenAway) -> Self {
        self.limits = Some((AnyLimitStore::new(store), when_away));
        self
    }

    /// Stores the events of changes in this store, which is also the one of the keys.
    pub(crate) fn events(mut self, store: AnyEventStore) -> Self {
        self.events = Some(store);
        self
    }

    /// Also accepts the tokens of keys that were imported from another system; see [`import`](crate::import).
    /// Each further format is one more that a made-up token may match.
    pub fn accept_imported(mut self, format: ForeignFormat) -> Self {
        self.foreign.push(format);
        self
    }

    /// Sets the number of keys that the cache has room for. Each takes less than 200 bytes. A larger number of keys
    /// may fit, by up to an eighth from 100,000 keys on, since keys are not spread evenly over the parts of the
    /// cache. 0 turns the cache off.
    pub fn cache_capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// Sets the staleness bound: a change by another node takes effect here at most this much later. The
    /// bound is rounded down to a tenth of a second. A bound below a tenth of a second turns the cache off.
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = bound;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names a setting that is missing or invalid.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let environment = self.environment.ok_or(ConfigError::NoEnvironment)?;
        let lookup = self.lookup.ok_or(ConfigError::NoStore)?;
        if self.max_staleness > Self::LONGEST_MAX_STALENESS {
            return Err(ConfigError::MaxStaleness(self.max_staleness));
        }
        let lag = lookup.max_lag();
        if self.capacity > 0 && !lag.is_zero() && lag >= self.max_staleness {
            return Err(ConfigError::MaxLag { lag, bound: self.max_staleness });
        }
        let mut authority = Authority::new(self.policy, &environment, &self.peppers)?;
        for format in self.foreign {
            authority = authority.accept_imported(format)?;
        }
        limits::check(authority.policy(), self.limits.is_some())?;
        let limits = self.limits.map(|(store, when_away)| {
            Arc::new(Leases::new(store, when_away, Arc::clone(&self.clock)))
        });
        let usage = self.usage.map(|store| UsageCounter::new(store, self.clock.moment()));
        let engine = Arc::new(Engine {
            marker: Marker::new(authority.policy().issuer(), &environment, &self.peppers),
            #[cfg(feature = "rate-limit")]
            rates: Rates::new(authority.policy(), &self.clock),
            authority,
            clock: self.clock,
            cache: Cache::new(self.capacity, self.max_staleness, self.store.is_some()),
            sources: Sources::new(lookup, self.store),
            loads: SingleFlight::new(),
            ending: EndingKeys::default(),
            audit: self.audit,
            noise: Sampler::default(),
            usage,
            limits,
            events: self.events,
            streams: Arc::default(),
            #[cfg(feature = "children")]
            children: KnownChildren::default(),
            #[cfg(feature = "children")]
            failures: Failures::default(),
            requirements: Requirements::default(),
        });
        engine.register();
        Ok(Verifier(engine))
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("environment", &self.environment)
            .field("peppers", &self.peppers)
            .field("foreign", &self.foreign)
            .field("capacity", &self.capacity)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
