//! Putting a verifier together.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use super::{Shared, Verifier, sources::Sources};
#[cfg(feature = "rate-limit")]
use crate::rate::Rates;
use crate::{
    audit::AuditSink,
    authority::Authority,
    cache::{Cache, Flights, Uses},
    import::{ForeignFormat, ForeignFormatError},
    pepper::Peppers,
    policy::Policy,
    store::{AnyLookup, AnyStore, KeyLookup},
    time::{Clock, SystemClock},
    token::FormatError,
};

/// Builds a [`Verifier`].
///
/// An [`environment`](Self::environment) and a [`lookup`](Self::lookup) are needed; the rest has
/// defaults.
#[must_use = "a builder does nothing until `build`"]
pub struct VerifierBuilder {
    policy: Policy,
    peppers: Peppers,
    environment: Option<String>,
    lookup: Option<AnyLookup>,
    store: Option<AnyStore>,
    max_lag: Option<Duration>,
    clock: Arc<dyn Clock>,
    audit: Option<Arc<dyn AuditSink>>,
    foreign: Vec<ForeignFormat>,
    capacity: usize,
    max_staleness: Duration,
}

impl VerifierBuilder {
    /// The number of keys that the cache holds unless it is told otherwise.
    pub const DEFAULT_CAPACITY: usize = 100_000;
    /// The staleness bound unless it is told otherwise.
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
            max_lag: None,
            clock: Arc::new(SystemClock),
            audit: None,
            foreign: Vec::new(),
            capacity: Self::DEFAULT_CAPACITY,
            max_staleness: Self::DEFAULT_MAX_STALENESS,
        }
    }

    /// The environment that tokens name, such as `live` or `test`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Where keys are read from.
    pub fn lookup(mut self, lookup: impl KeyLookup) -> Self {
        self.lookup = Some(AnyLookup::new(lookup));
        self
    }

    pub(crate) fn store(mut self, store: &AnyStore) -> Self {
        self.lookup = self.lookup.or_else(|| Some(store.to_lookup()));
        self.store = Some(store.clone());
        self
    }

    pub(crate) fn replica(mut self, lookup: impl KeyLookup, max_lag: Duration) -> Self {
        self.max_lag = Some(max_lag);
        self.lookup(lookup)
    }

    /// Where the time comes from, instead of the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who is told of what happens.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }

    /// Accepts the tokens of keys that were imported from another system, too; see
    /// [`import`](crate::import). Of several formats, each is one more that a made-up token may fit.
    pub fn accept_imported(mut self, format: ForeignFormat) -> Self {
        self.foreign.push(format);
        self
    }

    /// The most keys that the cache holds, rounded up to a multiple of 64, each in less than 200
    /// bytes. 0 is without a cache.
    pub fn cache_capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// The staleness bound: what another node has changed holds here at most this much later. It is
    /// kept to a tenth of a second, on the early side; less than that is without a cache.
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = bound;
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names what is missing or cannot be.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let environment = self.environment.ok_or(BuildError::NoEnvironment)?;
        let lookup = self.lookup.ok_or(BuildError::NoStore)?;
        if self.max_staleness > Self::LONGEST_MAX_STALENESS {
            return Err(BuildError::MaxStaleness(self.max_staleness));
        }
        let mut authority = Authority::new(self.policy, &environment, &self.peppers)?;
        for format in self.foreign {
            authority = authority.accept_imported(format)?;
        }
        Ok(Verifier(Arc::new(Shared {
            #[cfg(feature = "rate-limit")]
            rates: Rates::new(authority.policy(), &self.clock),
            authority,
            clock: self.clock,
            cache: Cache::new(self.capacity, self.max_staleness),
            uses: Uses::default(),
            sources: Sources::new(lookup, self.store, self.max_lag),
            flights: Flights::new(),
            disputes: Flights::new(),
            audit: self.audit,
        })))
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

/// A verifier or keyring cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nobody said which environment the tokens are of.
    #[error("no environment was given, such as `live`")]
    NoEnvironment,
    /// Nobody said where keys are kept.
    #[error("no store was given")]
    NoStore,
    /// No token can be of this issuer and environment.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A foreign format cannot be told from keyway's own tokens.
    #[error(transparent)]
    Foreign(#[from] ForeignFormatError),
    /// The staleness bound is longer than a day.
    #[error("the staleness bound is {0:?}, and at most a day is allowed")]
    MaxStaleness(Duration),
}
