//! The handle to all operations.

use alloc::{string::ToString, sync::Arc};
use core::{fmt, net::IpAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{KeyringBuilder, KeyringError, TenantKeys, randomness::Randomness};
use crate::{
    audit::{AuditEvent, AuditKind, ChangeKind, Refusal},
    authority::Authority,
    config::ConfigError,
    decision::Principal,
    event::Event,
    pepper::Peppers,
    policy::Policy,
    record::TenantId,
    scope::Requirement,
    store::AnyStore,
    time::Timestamp,
    token::KeyId,
    verifier::{Engine, Freshness, Verifier, VerifyError},
};

/// All operations on API keys. Cheap to clone; clones share one cache.
///
/// ```
/// use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
///
/// # pollster::block_on(async {
/// let policy: Policy = serde_json::from_str(r#"{
///     "issuer": "mm",
///     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// }"#)?;
/// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
///     .environment("live")
///     .store(MemoryStore::new())
///     .build()?;
///
/// let acme = keyring.create_empty_tenant("acme", "lite").await?;
/// let issued = acme.issue(NewKey::named("ERP nightly sync").scopes(["reporting"])).await?;
/// let token = issued.token.reveal();
///
/// let caller = keyring.verify(&*token).await?;
/// caller.require(&keyring.requirement(["reporting"])?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Keyring {
    pub(super) inner: Arc<Inner>,
    pub(super) actor: Arc<str>,
}

pub(super) struct Inner {
    pub(super) verifier: Verifier,
    pub(super) store: AnyStore,
    pub(super) randomness: Mutex<Randomness>,
}

/// Maximum number of attempts of an operation that loses races against concurrent changes.
const MAX_RACES: usize = 16;

/// The races that an operation has lost against concurrent changes.
#[derive(Default)]
pub(super) struct Races(usize);

impl Races {
    /// Counts a lost race, after which the operation is tried again.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Conflict`] if the operation has lost too many.
    pub(super) fn lost(&mut self) -> Result<(), KeyringError> {
        self.0 += 1;
        if self.0 < MAX_RACES { Ok(()) } else { Err(KeyringError::Conflict) }
    }
}

impl Keyring {
    /// Returns a builder for a keyring with this policy and these peppers.
    pub fn builder(policy: Policy, peppers: impl Into<Peppers>) -> KeyringBuilder {
        KeyringBuilder::new(policy, peppers.into())
    }

    /// Returns this keyring with `actor` set. Audit events and new keys then name this actor. The text is
    /// the application's own.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        Self { inner: Arc::clone(&self.inner), actor: actor.into() }
    }

    /// Returns a handle to the keys of one tenant.
    ///
    /// Reads nothing. A tenant that does not exist has no keys, and issuing a key for it returns
    /// [`KeyringError::NoTenant`].
    pub fn tenant(&self, id: TenantId) -> TenantKeys {
        TenantKeys::new(self.clone(), id)
    }

    /// Verifies the token `presented`. See [`Verifier::verify`].
    ///
    /// # Errors
    ///
    /// [`VerifyError`] gives the reason and distinguishes a denied token from an unavailable store.
    pub async fn verify(&self, presented: impl AsRef<[u8]>) -> Result<Principal, VerifyError> {
        self.inner.verifier.verify_as_of(presented, Freshness::Cached).await
    }

    /// Verifies like [`verify`](Self::verify), with data that is at most as old as `freshness` allows.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn verify_as_of(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
    ) -> Result<Principal, VerifyError> {
        self.inner.verifier.verify_as_of(presented, freshness).await
    }

    /// Verifies like [`verify_as_of`](Self::verify_as_of), for a client with this address. `None` means that it is not known.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn verify_from(
        &self,
        presented: impl AsRef<[u8]>,
        freshness: Freshness,
        address: Option<IpAddr>,
    ) -> Result<Principal, VerifyError> {
        self.inner.verifier.verify_from(presented, freshness, address).await
    }

    /// Verifies the token in the value of an `Authorization` header. `None` means that the header is
    /// missing. See [`Verifier::verify_authorization`].
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify_authorization`].
    pub async fn verify_authorization(
        &self,
        value: Option<impl AsRef<[u8]>>,
    ) -> Result<Principal, VerifyError> {
        self.inner.verifier.verify_authorization(value).await
    }

    /// Returns the requirement that a caller has all of `scopes`, for [`Principal::require`]. Resolve it
    /// once, when the service starts.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a scope is not declared, or if `scopes` is empty.
    pub fn requirement<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, ConfigError> {
        self.inner.verifier.requirement(scopes)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        self.inner.verifier.policy()
    }

    /// Returns the verifier.
    pub fn verifier(&self) -> &Verifier {
        &self.inner.verifier
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        self.inner.verifier.engine()
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.engine().authority
    }

    pub(super) fn store(&self) -> &AnyStore {
        &self.inner.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.engine().clock.moment().now
    }

    pub(super) fn randomness(&self) -> MutexGuard<'_, Randomness> {
        self.inner.randomness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a change that was not made to the audit sink, and stores its event. Returns `done` unchanged. A record with a
    /// broken seal is not reported here, because the check that found it has already reported it.
    pub(super) async fn audited<T>(
        &self,
        change: ChangeKind,
        tenant: Option<&str>,
        key: Option<KeyId>,
        done: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        if let Err(error) = &done
            && self.engine().reports_changes()
            && !error.is_tampered()
        {
            let (refusal, detail) = (error.refusal(), error.to_string());
            let kind = AuditKind::ChangeRefused { change, refusal, detail: &detail };
            self.report_refused(tenant, key, kind).await;
        }
        done
    }

    /// Reports a change that was not made to the audit sink, and stores its event.
    pub(super) async fn report_refused(
        &self,
        tenant: Option<&str>,
        key: Option<KeyId>,
        kind: AuditKind<'_>,
    ) {
        let event = self.event(tenant, key, kind);
        // While the store does not respond, the outcome is unknown, and another write would only wait as well.
        if !matches!(kind, AuditKind::ChangeRefused { refusal: Refusal::Unavailable, .. }) {
            self.engine().keep_refused(&event).await;
        }
        self.engine().record_event(&event);
    }

    /// Reports a change that is refused before it is tried, like [`audited`](Self::audited). Returns the reason.
    #[cfg(feature = "console")]
    pub(crate) async fn refused(
        &self,
        change: ChangeKind,
        tenant: &TenantId,
        key: Option<KeyId>,
        error: KeyringError,
    ) -> KeyringError {
        let Err(error) = self
            .audited::<core::convert::Infallible>(change, Some(tenant.as_str()), key, Err(error))
            .await;
        error
    }

    /// Returns an event on behalf of the actor.
    pub(super) fn event<'e>(
        &'e self,
        tenant: Option<&'e str>,
        key: Option<KeyId>,
        kind: AuditKind<'e>,
    ) -> AuditEvent<'e> {
        AuditEvent { at: self.now(), actor: &self.actor, tenant, key, child: None, kind }
    }

    /// Returns the event of a change as its write stores it. Without a store of events there is none.
    pub(super) fn durable(
        &self,
        event: Option<&AuditEvent<'_>>,
    ) -> Result<Option<Event>, KeyringError> {
        let durable = event.map_or(Ok(None), |event| self.engine().durable(event));
        durable.map_err(KeyringError::Unavailable)
    }

    /// Reports a change that was made to the audit sink.
    pub(super) fn report_made(&self, event: Option<&AuditEvent<'_>>) {
        if let Some(event) = event {
            self.engine().record_event(event);
        }
    }

    /// Reports what was found on behalf of the actor to the audit sink.
    pub(super) fn record(&self, tenant: &TenantId, key: Option<KeyId>, kind: AuditKind<'_>) {
        self.engine().record_event(&self.event(Some(tenant.as_str()), key, kind));
    }
}

impl AsRef<Verifier> for Keyring {
    fn as_ref(&self) -> &Verifier {
        self.verifier()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("actor", &self.actor).finish_non_exhaustive()
    }
}
