//! Builder of a keyring.

use alloc::{string::String, sync::Arc};
use core::{fmt, time::Duration};
use std::sync::Mutex;

use getrandom::SysRng;
use rand_core::TryCryptoRng;

use super::{Inner, Keyring, randomness::Randomness};
use crate::{
    allowance::WhenAway,
    audit::AuditSink,
    config::ConfigError,
    import::ForeignFormat,
    pepper::Peppers,
    policy::Policy,
    store::{AnyEventStore, AnyStore, EventStore, KeyLookup, KeyStore, LimitStore, UsageStore},
    time::Clock,
    verifier::{Verifier, VerifierBuilder},
};

/// Builds a [`Keyring`].
///
/// An [`environment`](Self::environment) and a [`store`](Self::store) are required. Everything else has the
/// defaults of [`VerifierBuilder`].
#[must_use = "a builder does nothing until `build`"]
pub struct KeyringBuilder {
    verifier: VerifierBuilder,
    store: Option<AnyStore>,
    events: Option<AnyEventStore>,
    randomness: Randomness,
}

impl KeyringBuilder {
    pub(super) fn new(policy: Policy, peppers: Peppers) -> Self {
        Self {
            verifier: Verifier::builder(policy, peppers),
            store: None,
            events: None,
            randomness: Randomness::new(SysRng),
        }
    }

    /// Sets the environment that is part of every token, such as `live` or `test`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.verifier = self.verifier.environment(environment);
        self
    }

    /// Sets the store. Changes write no [events](crate::event): use [`store_with_events`](Self::store_with_events) for those.
    pub fn store(mut self, store: impl KeyStore) -> Self {
        self.store = Some(AnyStore::new(store));
        self.events = None;
        self
    }

    /// Sets the store, and writes the [event](crate::event) of each change in the same transaction.
    /// [`Keyring::events`] delivers them. Deliver or [purge](super::Events::purge_undelivered) them: the store keeps them
    /// until then.
    pub fn store_with_events(mut self, store: impl EventStore) -> Self {
        let store = AnyEventStore::new(store);
        self.store = Some(store.keys().clone());
        self.events = Some(store);
        self
    }

    /// Sets a replica of the store, from which verifications read keys. It lags at most
    /// [`max_lag`](KeyLookup::max_lag) behind the store.
    ///
    /// A key that has not reached the replica yet is rejected. Presenting it in that time extends the
    /// rejection by one second. `max_lag` must be below the staleness bound, which holds as without a replica: a
    /// key that is read from the replica counts as `max_lag` old. For `max_lag` after a change that this node
    /// made or received through a [feed](crate::verifier::Verifier::follow), the affected data is read from the
    /// store. [`Freshness::Now`](crate::verifier::Freshness::Now)
    /// and every read that precedes a change use the store as well.
    pub fn replica(mut self, lookup: impl KeyLookup) -> Self {
        self.verifier = self.verifier.lookup(lookup);
        self
    }

    /// Sets the clock. The default is the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.verifier = self.verifier.clock(clock);
        self
    }

    /// Sets the source of randomness. The default is the operating system.
    pub fn rng<R>(mut self, rng: R) -> Self
    where
        R: TryCryptoRng + Send + 'static,
        R::Error: Send + Sync + 'static,
    {
        self.randomness = Randomness::new(rng);
        self
    }

    /// Sets the audit sink.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.verifier = self.verifier.audit(sink);
        self
    }

    /// Counts requests for the [usage](crate::usage) in this store, which may be the one of the keys.
    /// [`Keyring::flush_uses`] writes the counts.
    pub fn usage(mut self, store: impl UsageStore) -> Self {
        self.verifier = self.verifier.usage(store);
        self
    }

    /// Counts against the [allowances](crate::allowance) of tenants in this store, which all nodes share and which may be the
    /// one of the keys. `when_away` says what happens to requests beyond what this node has leased while the store is away.
    /// [`Keyring::flush_uses`] returns what this node does not need. Without it, a policy with allowances is refused.
    pub fn shared_limits(mut self, store: impl LimitStore, when_away: WhenAway) -> Self {
        self.verifier = self.verifier.shared_limits(store, when_away);
        self
    }

    /// Also accepts the tokens of keys that were imported from another system. See
    /// [`VerifierBuilder::accept_imported`].
    pub fn accept_imported(mut self, format: ForeignFormat) -> Self {
        self.verifier = self.verifier.accept_imported(format);
        self
    }

    /// Sets the maximum number of keys in the cache. See [`VerifierBuilder::cache_capacity`].
    pub fn cache_capacity(mut self, keys: usize) -> Self {
        self.verifier = self.verifier.cache_capacity(keys);
        self
    }

    /// Sets the staleness bound. See [`VerifierBuilder::max_staleness`].
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.verifier = self.verifier.max_staleness(bound);
        self
    }

    /// Builds the keyring.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that is missing or invalid.
    pub fn build(self) -> Result<Keyring, ConfigError> {
        let store = self.store.ok_or(ConfigError::NoStore)?;
        let verifier = match self.events {
            Some(events) => self.verifier.events(events),
            None => self.verifier,
        };
        let verifier = verifier.store(&store).build()?;
        store.announce_with(verifier.engine().authority.notices());
        Ok(Keyring {
            inner: Arc::new(Inner { verifier, store, randomness: Mutex::new(self.randomness) }),
            actor: "".into(),
        })
    }
}

impl fmt::Debug for KeyringBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringBuilder")
            .field("verifier", &self.verifier)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
