//! Managing keys: for operators, for tenants, and for the holders of keys.
//!
//! | who | through | what |
//! |---|---|---|
//! | operator | [`Keyring`] | creates, lists, moves, suspends and deletes tenants; suspends and resumes keys; answers a leak report; re-seals |
//! | tenant | [`TenantKeys`] | issues, lists, searches, edits, switches, rotates and deletes its own keys |
//! | holder | [`Keyring`], with the token | is verified, describes itself, revokes itself |

mod builder;
mod error;
mod holder;
mod operator;
mod randomness;
mod tenant;
mod upkeep;
mod uses;

use alloc::sync::Arc;
use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::randomness::Randomness;
pub use self::{
    builder::KeyringBuilder,
    error::KeyringError,
    holder::Description,
    operator::{QuotaUse, TierChange},
    tenant::{IssuedKey, Page, TenantKeys},
    upkeep::Upkeep,
};
use crate::{
    audit::AuditKind,
    authority::Authority,
    decision::Principal,
    pepper::Peppers,
    policy::Policy,
    record::TenantId,
    scope::{CatalogError, Requirement},
    store::AnyStore,
    time::Timestamp,
    token::KeyId,
    verifier::{Freshness, Shared, Verifier, VerifyError},
};

/// Everything that a service does with API keys. Cheap to clone; clones share one cache.
///
/// ```
/// use keyway::{
///     authority::NewKey,
///     keyring::Keyring,
///     pepper::Pepper,
///     policy::Policy,
///     store::MemoryStore,
/// };
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
    inner: Arc<Inner>,
    actor: Arc<str>,
}

struct Inner {
    verifier: Verifier,
    store: AnyStore,
    randomness: Mutex<Randomness>,
}

/// How often an operation is tried that others get ahead of.
const MAX_RACES: usize = 16;

impl Keyring {
    /// A keyring of the keys that `policy` and `peppers` describe.
    pub fn builder(policy: Policy, peppers: impl Into<Peppers>) -> KeyringBuilder {
        KeyringBuilder::new(policy, peppers.into())
    }

    /// This keyring for somebody, whom the audit sink and new keys then name in the host's words.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        Self { inner: Arc::clone(&self.inner), actor: actor.into() }
    }

    /// The keys of a tenant, and nobody else's.
    ///
    /// Nothing is read here: a tenant that does not exist has no keys, and issuing one says so.
    pub fn tenant(&self, id: TenantId) -> TenantKeys {
        TenantKeys::new(self.clone(), id)
    }

    /// Verifies the token `presented`; see [`Verifier::verify`].
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says why not, and tells "denied" from "unavailable".
    pub async fn verify(&self, presented: impl AsRef<[u8]>) -> Result<Principal, VerifyError> {
        self.inner.verifier.verify_as_of(presented, Freshness::Cached).await
    }

    /// As [`verify`](Self::verify), with data that is at most as old as `freshness` says.
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

    /// Verifies the token in the value of an `Authorization` field, if there is one; see
    /// [`Verifier::verify_authorization`].
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

    /// The requirement that a caller holds every one of `scopes`, for [`Principal::require`].
    /// Resolve it once, when the service starts.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] names a scope that is not declared, or says that there is none.
    pub fn requirement<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, CatalogError> {
        self.inner.verifier.requirement(scopes)
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.inner.verifier.policy()
    }

    /// What verifies.
    pub fn verifier(&self) -> &Verifier {
        &self.inner.verifier
    }

    fn shared(&self) -> &Arc<Shared> {
        self.inner.verifier.shared()
    }

    fn authority(&self) -> &Authority {
        &self.shared().authority
    }

    fn store(&self) -> &AnyStore {
        &self.inner.store
    }

    fn now(&self) -> Timestamp {
        self.shared().clock.moment().now
    }

    fn randomness(&self) -> MutexGuard<'_, Randomness> {
        self.inner.randomness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the audit sink what was done on behalf of the actor.
    fn record(&self, tenant: &TenantId, key: Option<KeyId>, kind: AuditKind<'_>) {
        self.shared().record(self.now(), &self.actor, Some(tenant.as_str()), key, kind);
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
