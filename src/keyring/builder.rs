//! Putting a keyring together.

use alloc::{string::String, sync::Arc};
use core::{fmt, time::Duration};
use std::sync::Mutex;

use getrandom::SysRng;
use rand_core::TryCryptoRng;

use super::{Inner, Keyring, randomness::Randomness};
use crate::{
    audit::AuditSink,
    import::ForeignFormat,
    pepper::Peppers,
    policy::Policy,
    store::{AnyStore, KeyLookup, KeyStore},
    time::Clock,
    verifier::{BuildError, Verifier, VerifierBuilder},
};

/// Builds a [`Keyring`].
///
/// An [`environment`](Self::environment) and a [`store`](Self::store) are needed; the rest has
/// defaults, which are those of a [`VerifierBuilder`].
#[must_use = "a builder does nothing until `build`"]
pub struct KeyringBuilder {
    verifier: VerifierBuilder,
    store: Option<AnyStore>,
    randomness: Randomness,
}

impl KeyringBuilder {
    pub(super) fn new(policy: Policy, peppers: Peppers) -> Self {
        Self {
            verifier: Verifier::builder(policy, peppers),
            store: None,
            randomness: Randomness::new(SysRng),
        }
    }

    /// The environment that tokens name, such as `live` or `test`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.verifier = self.verifier.environment(environment);
        self
    }

    /// Where keys are kept.
    pub fn store(mut self, store: impl KeyStore) -> Self {
        self.store = Some(AnyStore::new(store));
        self
    }

    /// Where verifications read keys, if not in the store: a replica of it, which is at most `max_lag`
    /// behind.
    ///
    /// A key that the replica does not know yet is refused, and for one second more to who presents it
    /// meanwhile. The staleness bound grows by `max_lag`, except for what this node changes itself or hears of
    /// through a [feed](crate::verifier::Verifier::follow): for so long, that is read from the store.
    /// So is all that [`Freshness::Now`](crate::verifier::Freshness::Now) asks for, and whatever is
    /// read to be changed.
    pub fn replica(mut self, lookup: impl KeyLookup, max_lag: Duration) -> Self {
        self.verifier = self.verifier.replica(lookup, max_lag);
        self
    }

    /// Where the time comes from, instead of the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.verifier = self.verifier.clock(clock);
        self
    }

    /// Where randomness comes from, instead of the operating system.
    pub fn rng<R>(mut self, rng: R) -> Self
    where
        R: TryCryptoRng + Send + 'static,
        R::Error: Send + Sync + 'static,
    {
        self.randomness = Randomness::new(rng);
        self
    }

    /// Who is told of what happens.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.verifier = self.verifier.audit(sink);
        self
    }

    /// Accepts the tokens of keys that were imported from another system, too; see
    /// [`VerifierBuilder::accept_imported`].
    pub fn accept_imported(mut self, format: ForeignFormat) -> Self {
        self.verifier = self.verifier.accept_imported(format);
        self
    }

    /// The most keys that the cache holds; see [`VerifierBuilder::cache_capacity`].
    pub fn cache_capacity(mut self, keys: usize) -> Self {
        self.verifier = self.verifier.cache_capacity(keys);
        self
    }

    /// The staleness bound; see [`VerifierBuilder::max_staleness`].
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.verifier = self.verifier.max_staleness(bound);
        self
    }

    /// The keyring.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names what is missing or cannot be.
    pub fn build(self) -> Result<Keyring, BuildError> {
        let store = self.store.ok_or(BuildError::NoStore)?;
        Ok(Keyring {
            inner: Arc::new(Inner {
                verifier: self.verifier.store(&store).build()?,
                store,
                randomness: Mutex::new(self.randomness),
            }),
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
