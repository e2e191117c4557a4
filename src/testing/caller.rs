//! Callers that were never issued a key.

use alloc::{string::String, sync::Arc};

use getrandom::SysRng;

#[cfg(feature = "http")]
use crate::keyring::Keyring;
use crate::{
    authority::{Authority, ChangeError, NewKey},
    config::ConfigError,
    decision::{Denial, Principal, ResolvedKey, decide},
    grant::Resources,
    pepper::Pepper,
    policy::Policy,
    record::{InvalidField, Labels, Owner, RecordError, TenantId},
    time::{Clock, SystemClock},
};

/// Describes a caller for the test of a handler: a key of `tenant` that no keyring has issued.
///
/// ```
/// use keyway::{Policy, Principal, testing};
///
/// async fn report(caller: Principal) -> String {
///     format!("reports of {}", caller.tenant())
/// }
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// let caller = testing::caller("acme").scopes(["reporting"]).build(&policy)?;
/// assert_eq!(report(caller).await, "reports of acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub fn caller(tenant: impl Into<String>) -> Caller {
    Caller { tenant: tenant.into(), tier: None, key: NewKey::named("test"), invalid: None }
}

/// The description of a caller, which [`caller`] begins.
///
/// Its limits are those of a real key: it has no scope and may touch no resource that it is not given, and its
/// tier may withhold scopes.
#[derive(Clone, Debug)]
#[must_use = "a description is no caller until it is built"]
pub struct Caller {
    tenant: String,
    tier: Option<String>,
    key: NewKey,
    /// The first part that is invalid. `build` returns it, so that the calls before can be chained.
    invalid: Option<InvalidField>,
}

impl Caller {
    /// Sets the name of the key. The default is `test`.
    pub fn key_name(mut self, name: impl Into<String>) -> Self {
        self.key.rename(name.into());
        self
    }

    /// Sets the scopes that the key is granted. They include all scopes that they imply.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.key = self.key.scopes(scopes);
        self
    }

    /// Sets the ids of the resources of the kind `kind` that the caller may touch, at most 100.
    pub fn resources<S: AsRef<str>>(
        mut self,
        kind: &str,
        ids: impl IntoIterator<Item = S>,
    ) -> Self {
        if let Some(resources) = self.valid(Resources::only(ids)) {
            self.key = self.key.resources(kind, resources);
        }
        self
    }

    /// Lets the caller touch all resources of the kind `kind`.
    pub fn all_resources(mut self, kind: &str) -> Self {
        self.key = self.key.resources(kind, Resources::All);
        self
    }

    /// Sets the person or team inside the tenant that the key belongs to.
    pub fn owner(mut self, owner: &str) -> Self {
        if let Some(owner) = self.valid(Owner::try_from(owner)) {
            self.key = self.key.owner(owner);
        }
        self
    }

    /// Sets the application's own text on the key, as pairs of name and value.
    pub fn attributes<N: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        if let Some(attributes) = self.valid(Labels::new(attributes)) {
            self.key = self.key.attributes(attributes);
        }
        self
    }

    /// Sets the tenant's notes on the key, as pairs of name and value.
    pub fn labels<N: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        if let Some(labels) = self.valid(Labels::new(labels)) {
            self.key = self.key.labels(labels);
        }
        self
    }

    /// Sets the tier of the tenant. The default is the last tier of the policy.
    pub fn tier(mut self, name: impl Into<String>) -> Self {
        self.tier = Some(name.into());
        self
    }

    /// Returns the caller. Its scopes and resources are those of `policy`, so use the policy of the service.
    ///
    /// No guard admits it. A handler gets it as an argument, or from a request in which
    /// [`admit`](https://docs.rs/keyway/latest/keyway/testing/fn.admit.html) put it. Nothing changes its key, so that a
    /// stream [never ends](Principal::ended) with it.
    ///
    /// # Errors
    ///
    /// [`CallerError`] names the part that a key with this policy cannot have, such as a scope that is not
    /// declared.
    pub fn build(self, policy: &Policy) -> Result<Principal, CallerError> {
        if let Some(invalid) = self.invalid {
            return Err(ChangeError::from(invalid).into());
        }
        let authority = Authority::new(policy.clone(), "test", &Pepper::public().into())?;
        let tenant = TenantId::try_from(&*self.tenant).map_err(ChangeError::from)?;
        let last = || policy.tiers().last().map(|tier| tier.name.clone());
        let tier = self.tier.or_else(last).unwrap_or_default();
        let now = SystemClock.moment().now;
        let tenant = authority.create_tenant(tenant, &tier, now)?;
        let (key, token) = authority.issue(&tenant, self.key, now, &mut SysRng)?;
        // The caller proves its key as any other, so that it differs in nothing from a verified one.
        let checked = authority.check(token.reveal().as_bytes()).map_err(Denial::Rejected)?;
        let key = ResolvedKey::new(&key, &tenant, policy, authority.seals())?;
        Ok(decide(&checked, &Arc::new(key), now)?.verified_by(Principal::BY_A_TEST))
    }

    /// Returns the caller as one that a guard of `keyring` has admitted. Its guards admit a request in which
    /// [`admit`](https://docs.rs/keyway/latest/keyway/testing/fn.admit.html) put the caller, if the caller has the scopes and resources of the route. Guards
    /// of other keyrings refuse it.
    ///
    /// The store does not have its key. So a stream [ends](Principal::ended) once it reads the key again.
    ///
    /// A guard with [`Freshness::Now`](crate::verifier::Freshness::Now) refuses it too, since it admits nobody
    /// without a credential. The rate does not count such requests. To test a route with its real credential,
    /// use [`authorization`](super::authorization).
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use keyway::{Policy, Principal, testing};
    /// use tower::ServiceExt as _;
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = testing::keyring(policy)?;
    /// let guarded = get(async |caller: Principal| caller.tenant().to_owned())
    ///     .layer(keyring.require(["reporting"])?);
    /// let app: Router = Router::new().route("/reports", guarded);
    ///
    /// for (scopes, status) in [(vec!["reporting"], 200), (vec![], 403)] {
    ///     let caller = testing::caller("acme").scopes(scopes).build_for(&keyring)?;
    ///     let request = testing::admit(Request::get("/reports").body(Body::empty())?, caller);
    ///     assert_eq!(app.clone().oneshot(request).await?.status(), status);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "http")]
    pub fn build_for(self, keyring: &Keyring) -> Result<Principal, CallerError> {
        let verifier = keyring.verifier();
        let nothing = keyring.policy().catalog().require_none();
        let required = verifier.engine().requirements.number(&nothing);
        self.build(keyring.policy()).map(|caller| verifier.mark_admitted(caller, required))
    }

    /// Returns a valid part. Keeps the first error for `build`.
    fn valid<T>(&mut self, part: Result<T, InvalidField>) -> Option<T> {
        part.map_err(|error| self.invalid.get_or_insert(error)).ok()
    }
}

/// A caller that no key with this policy could be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallerError {
    /// No keyring can be built with the policy.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No such key can be issued.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    /// The key was issued, and cannot be used.
    #[error(transparent)]
    Denied(#[from] Denial),
}

impl From<RecordError> for CallerError {
    fn from(error: RecordError) -> Self {
        Self::Refused(error.into())
    }
}
