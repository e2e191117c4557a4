//! The guard that protects a route, in any framework.

mod admit;
mod children;
mod refusal;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, num::NonZeroU32};

#[cfg(any(feature = "tower", feature = "actix"))]
pub(super) use self::admit::PendingAdmission;
use self::children::AcceptedChildren;
use super::{
    Access, Alternative, ClientAddress, ForwardAuth, Headers,
    credential::{self, KeyHeaders, Presented},
    error_responses::ErrorResponses,
    problem::ProblemTypes,
    resource_rules::{ResourceRule, ResourceRules},
};
use crate::{
    bearer::{CredentialError, is_token_character},
    config::ConfigError,
    decision::Principal,
    keyring::Keyring,
    scope::{Requirement, ScopeCatalog},
    verifier::{Freshness, Verifier},
};

/// Middleware that admits requests by their API key. Cheap to clone.
///
/// A new guard admits every active key:
///
/// ```
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use keyway::Guard;
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// let guard = Guard::new(&keyring).key_header("x-api-key")?.require(["reporting"])?;
///
/// let request = [("accept", &b"*/*"[..])];
/// let answer = guard.admit(&request[..]).await.unwrap_err();
/// assert_eq!(answer.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Guards nest, for example one for a group of routes and one with more scopes for a single route. The inner
/// guard checks its scopes against the caller that the outer one admitted, if both belong to the same
/// keyring. A request with a different key for the inner guard is refused. The rate counts a request once.
///
/// `Guard` implements `tower::Layer` and actix-web's `Transform`, so the same value is the middleware of
/// either. A guard that sees preflight requests of browsers (`OPTIONS` without a credential) refuses them.
/// Wrap it in the layer that responds to them, such as `tower_http::cors`.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    entrance: Entrance,
    /// Those of other environments.
    others: Vec<Entrance>,
    requirement: Requirement,
    is_optional: bool,
    freshness: Freshness,
    keeps_credential: bool,
    key_headers: KeyHeaders,
    /// The value of `Vary` in responses to admitted requests.
    vary: Option<Arc<str>>,
    errors: ErrorResponses,
    /// The source of the address of clients. `None` means that it is never known.
    address: Option<ClientAddress>,
    resources: ResourceRules,
    /// The number of requests as which the rate counts one.
    weight: NonZeroU32,
    /// The credential besides a key that is accepted.
    alternative: Option<Alternative>,
    children: AcceptedChildren,
}

/// A verifier of the guard.
#[derive(Clone)]
struct Entrance {
    verifier: Verifier,
    /// The number of the guard's requirement, for streams that must end with it.
    required: u32,
}

impl Inner {
    fn entrances(&self) -> impl Iterator<Item = &Entrance> {
        core::iter::once(&self.entrance).chain(&self.others)
    }

    /// Returns the verifier that checks this token.
    #[inline]
    fn entrance_for(&self, token: &[u8]) -> &Entrance {
        // Prefixes are public, and no verifier has the prefix of another.
        let has_prefix =
            |other: &&Entrance| token.starts_with(other.verifier.format().prefix().as_bytes());
        self.others.iter().find(has_prefix).unwrap_or(&self.entrance)
    }

    /// Returns the verifier that has verified `caller`.
    #[inline]
    fn entrance_of(&self, caller: &Principal) -> &Entrance {
        let is_own = |other: &&Entrance| other.verifier.has_verified(caller);
        self.others.iter().find(is_own).unwrap_or(&self.entrance)
    }

    fn set_headers(&mut self, headers: KeyHeaders) {
        self.errors.set_headers(&headers);
        self.key_headers = headers;
    }
}

impl Guard {
    /// Creates a guard that admits every active key. Its realm is the issuer of the policy.
    pub fn new(verifier: impl AsRef<Verifier>) -> Self {
        let verifier = verifier.as_ref().clone();
        let requirement = verifier.policy().catalog().require_none();
        let required = verifier.engine().requirements.number(&requirement);
        Self(Arc::new(Inner {
            others: Vec::new(),
            requirement,
            is_optional: false,
            freshness: Freshness::Cached,
            keeps_credential: false,
            key_headers: KeyHeaders::Authorization,
            vary: None,
            errors: ErrorResponses::new(verifier.policy().issuer()),
            address: None,
            resources: ResourceRules::default(),
            weight: NonZeroU32::MIN,
            alternative: None,
            children: AcceptedChildren::default(),
            entrance: Entrance { verifier, required },
        }))
    }

    /// Returns this guard for callers that hold every one of `scopes`. It replaces an earlier requirement.
    ///
    /// A guard that is [optional](Self::optional) stays optional, whichever of the two is called first.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if a scope is not declared, which it names, or if there is no scope.
    pub fn require<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let requirement = self.catalog().require_all(scopes)?;
        Ok(self.with(|inner| inner.requirement = requirement))
    }

    /// Returns this guard for callers that hold any one of `scopes`. It replaces an earlier requirement.
    ///
    /// A guard that is [optional](Self::optional) stays optional, whichever of the two is called first.
    ///
    /// # Errors
    ///
    /// The same as those of [`require`](Self::require).
    pub fn require_any<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let requirement = self.catalog().require_any(scopes)?;
        Ok(self.with(|inner| inner.requirement = requirement))
    }

    /// Returns this guard, admitting requests without a credential too. A request with a credential is
    /// admitted only if the credential is a valid key that meets the requirement.
    ///
    /// Responses get a `Vary` that names the headers of the key, because the response of one URL depends on
    /// the caller.
    #[must_use]
    pub fn optional(&self) -> Self {
        self.with(|inner| inner.is_optional = true)
    }

    /// Sets how fresh the key data must be.
    ///
    /// Set it on the outermost guard. An inner guard no longer sees the credential, unless the outer one
    /// [keeps](Self::keep_credential) it, so with [`Freshness::Now`] it refuses the request.
    #[must_use]
    pub fn freshness(&self, freshness: Freshness) -> Self {
        self.with(|inner| inner.freshness = freshness)
    }

    /// Returns this guard, leaving the credential in the request. By default no handler, log or upstream
    /// after the guard sees it. A ticket in the query is a credential too.
    #[must_use]
    pub fn keep_credential(&self) -> Self {
        self.with(|inner| inner.keeps_credential = true)
    }

    /// Returns this guard, taking the key also from a header of its own, such as `x-api-key`. A request with
    /// a key in both headers is refused.
    ///
    /// Shared caches do not reuse the response to a request with `Authorization` (RFC 9111, section 3.5).
    /// They have no such rule for other headers, so responses get a `Vary` that names both. Send
    /// `Cache-Control: private` as well if caches ignore `Vary`.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::KeyHeader`] unless `name` is a header name of 1 to 64 characters.
    /// `Authorization`, `Proxy-Authorization`, `Cookie`, `Host` and the header of an [alternative](Self::or) are refused.
    pub fn key_header(&self, name: &str) -> Result<Self, ConfigError> {
        let name = self.free_header(name)?;
        Ok(self.with(|inner| inner.set_headers(KeyHeaders::Either(name))))
    }

    /// Returns this guard, taking the key only from this header. It is for services behind a gateway that
    /// owns `Authorization`.
    ///
    /// `Authorization` is neither read nor removed, so it may hold another party's credential. A key in it
    /// does not count. Challenges name the header, with the scheme `ApiKey`.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::Guard;
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// let guard = Guard::new(&keyring).key_header_only("x-api-key")?;
    ///
    /// let request = [("authorization", &b"Bearer of-the-gateway"[..])];
    /// let answer = guard.admit(&request[..]).await.unwrap_err();
    /// assert_eq!(answer.status(), 401);
    /// assert!(answer.body().contains("send the API key as `x-api-key: <API key>`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The same as those of [`key_header`](Self::key_header).
    pub fn key_header_only(&self, name: &str) -> Result<Self, ConfigError> {
        let name = self.free_header(name)?;
        Ok(self.with(|inner| inner.set_headers(KeyHeaders::Only(name))))
    }

    /// Returns this guard with a source for the address of clients. A key that is limited to networks is refused without
    /// one.
    #[must_use]
    pub fn client_address(&self, source: ClientAddress) -> Self {
        self.with(|inner| inner.address = Some(source))
    }

    /// Returns this guard for routes whose path parameter `parameter` is the id of a resource of the kind `kind`. A key
    /// that may not touch this resource is refused. A second parameter of the same kind is checked as well.
    ///
    /// The value that is checked is the one that the extractors of axum and actix-web give the handler. A layer sees it
    /// after routing: a `route_layer` or `Router::layer` of axum, or a `wrap` of a resource of actix-web. Before routing,
    /// such a guard refuses every key that is limited to some resources of the kind. Routes that are declared with
    /// [`Routes`](super::Routes) need no call of this.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownResource`] if the kind is not declared.
    pub fn resource(&self, kind: &str, parameter: &str) -> Result<Self, ConfigError> {
        self.with_rule(kind, ResourceRule::Parameters([parameter.into()].into()))
    }

    /// Returns this guard for handlers that check the resources of the kind `kind` themselves, by
    /// [`Principal::permit`](crate::Principal::permit) or [`Principal::resources`](crate::Principal::resources).
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownResource`] if the kind is not declared.
    pub fn handler_checks(&self, kind: &str) -> Result<Self, ConfigError> {
        self.with_rule(kind, ResourceRule::Handler)
    }

    /// Returns this guard for routes that touch no resource of the kind `kind`. Unless a guard says one of the three, it
    /// refuses every key that may not touch all resources of a kind.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownResource`] if the kind is not declared.
    pub fn touches_no(&self, kind: &str) -> Result<Self, ConfigError> {
        self.with_rule(kind, ResourceRule::Untouched)
    }

    /// Returns this guard for costly routes: the [rate](crate::rate) and the [allowances](crate::allowance) count one
    /// request as `weight`. Zero counts as 1. A weight above a rate takes all of it, and one above an allowance is refused.
    ///
    /// Set it on the outermost guard, which is the one that counts.
    #[must_use]
    pub fn weight(&self, weight: u32) -> Self {
        self.with(|inner| inner.weight = NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN))
    }

    /// Returns this guard, accepting `alternative` in place of a key, such as the cookie of a session. It replaces an earlier
    /// one.
    ///
    /// A request with a valid alternative reaches the handler with its headers unchanged and without a caller, so the
    /// handler takes an `Option<Principal>`. Scopes, resources and rates are those of keys, and do not apply to it. A request
    /// with both credentials is refused with status 400, since it is not known which of them counts. One with neither,
    /// or with an alternative that is not valid, gets the refusal of a request without a key.
    ///
    /// Routes that are declared with [`Routes`](super::Routes) accept it if their declaration names it:
    /// [`Endpoint::or`](super::Endpoint::or).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyHeader`] if the guard takes keys from the header of the alternative.
    pub fn or(&self, alternative: Alternative) -> Result<Self, ConfigError> {
        let header = alternative.header_in();
        if self.0.key_headers.own() == Some(header) {
            return Err(ConfigError::KeyHeader(header.into()));
        }
        Ok(self.with(|inner| inner.alternative = Some(alternative)))
    }

    /// Returns this guard, admitting keys of another verifier as well, such as one for the environment `test` beside `live`.
    /// The prefix of a token decides which verifier checks it. Each has its own store, cache and audit.
    ///
    /// A handler finds out which verifier admitted its caller by
    /// [`Verifier::has_verified`](crate::verifier::Verifier::has_verified).
    ///
    /// ```
    /// # use keyway::{ConfigError, Keyring};
    /// use keyway::{Guard, Principal};
    ///
    /// fn guard(live: &Keyring, test: &Keyring) -> Result<Guard, ConfigError> {
    ///     live.require(["reporting"])?.also(test)
    /// }
    ///
    /// fn is_test(test: &Keyring, caller: &Principal) -> bool {
    ///     test.verifier().has_verified(caller)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::SamePrefix`] if a verifier of this guard takes tokens with the same prefix.
    /// [`ConfigError::OtherCatalog`] unless both policies declare the same scopes and kinds of resources.
    /// [`ConfigError::ImportedElsewhere`] if `verifier` accepts imported tokens, whose prefix does not name it. Only the
    /// verifier that the guard was created with may accept them.
    pub fn also(&self, verifier: impl AsRef<Verifier>) -> Result<Self, ConfigError> {
        let verifier = verifier.as_ref().clone();
        let prefix = verifier.format().prefix();
        if self.0.entrances().any(|other| other.verifier.format().prefix() == prefix) {
            return Err(ConfigError::SamePrefix(prefix.into()));
        }
        if verifier.engine().authority.accepts_imported() {
            return Err(ConfigError::ImportedElsewhere(prefix.into()));
        }
        // The fingerprint covers the names of scopes and of kinds of resources.
        if self.catalog().fingerprint() != verifier.policy().catalog().fingerprint() {
            return Err(ConfigError::OtherCatalog);
        }
        // `with` numbers the requirement.
        Ok(self.with(|inner| inner.others.push(Entrance { verifier, required: 0 })))
    }

    /// Returns this guard for an endpoint that a gateway asks before it forwards a request, such as
    /// `auth_request` of nginx. Refusals get the statuses that the gateway understands. See
    /// [proxies](crate::guide::proxies).
    #[must_use]
    pub fn forward_auth(&self, gateway: ForwardAuth) -> Self {
        self.with(|inner| inner.errors.set_gateway(gateway))
    }

    /// Returns this guard with problem types that the application describes itself.
    #[must_use]
    pub fn problem_types(&self, types: ProblemTypes) -> Self {
        self.with(|inner| inner.errors.set_types(types))
    }

    /// Returns this guard with another realm in its challenges (RFC 9110, section 11.5).
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Realm`] unless `realm` has 1 to 128 visible ASCII characters and spaces.
    pub fn realm(&self, realm: &str) -> Result<Self, ConfigError> {
        let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if realm.is_empty() || realm.len() > 128 || !realm.bytes().all(is_printable) {
            return Err(ConfigError::Realm(realm.into()));
        }
        Ok(self.with(|inner| inner.errors.set_realm(realm, &inner.key_headers)))
    }

    /// Returns the credential of a request with these headers.
    pub(super) fn credential<'f>(
        &self,
        headers: &'f (impl Headers + ?Sized),
    ) -> Result<Option<Presented<'f>>, CredentialError> {
        credential::find(headers, &self.0.key_headers, self.0.entrance.verifier.format())
    }

    /// Returns the scopes that this guard requires.
    pub(super) fn requirement(&self) -> &Requirement {
        &self.0.requirement
    }

    /// Returns the maker of this guard's error responses.
    pub(super) fn errors(&self) -> &ErrorResponses {
        &self.0.errors
    }

    /// Returns this guard for a route that requires `access`, or `None` if the route needs no guard.
    pub(super) fn for_access(&self, access: Access, resources: ResourceRules) -> Option<Self> {
        let (requirement, is_optional, has_alternative) = match access {
            Access::Public | Access::Custom(_) => return None,
            Access::Optional(requirement) => (requirement, true, false),
            // Without an alternative of the guard, the handler checks it.
            Access::RequiredOr(requirement, _) => {
                let is_checked = self.alternative().is_some();
                (requirement, !is_checked, is_checked)
            }
            Access::Required(requirement) => (requirement, false, false),
        };
        Some(self.with(|inner| {
            (inner.requirement, inner.is_optional) = (requirement, is_optional);
            inner.resources = resources;
            inner.alternative = inner.alternative.take().filter(|_| has_alternative);
        }))
    }

    /// Returns the credential besides a key that is accepted.
    pub(super) fn alternative(&self) -> Option<&Alternative> {
        self.0.alternative.as_ref()
    }

    pub(super) fn key_headers(&self) -> &KeyHeaders {
        &self.0.key_headers
    }

    pub(super) fn catalog(&self) -> &ScopeCatalog {
        self.0.entrance.verifier.policy().catalog()
    }

    /// Returns the name of a header for keys in lower case, unless another credential is in it.
    fn free_header(&self, name: &str) -> Result<Box<str>, ConfigError> {
        let name = header_name(name)?;
        if self.alternative().is_some_and(|alternative| alternative.header_in() == &*name) {
            return Err(ConfigError::KeyHeader(name.into()));
        }
        Ok(name)
    }

    fn with_rule(&self, kind: &str, rule: ResourceRule) -> Result<Self, ConfigError> {
        let kind = self.catalog().resource(kind)?;
        Ok(self.with(|inner| inner.resources.add(&kind, rule)))
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        // RFC 9111, section 3.5, keeps responses to requests with `Authorization` out of shared caches. It
        // covers neither requests without `Authorization` nor other headers.
        let is_covered =
            !inner.is_optional && inner.key_headers.own().is_none() && inner.alternative.is_none();
        inner.vary = (!is_covered).then(|| {
            let alternative = inner.alternative.as_ref().map(Alternative::header_in);
            match (inner.key_headers.list(), alternative) {
                (keys, None) => keys,
                (keys, Some(header)) => [&*keys, ", ", header].concat().into(),
            }
        });
        for Entrance { verifier, required } in
            core::iter::once(&mut inner.entrance).chain(&mut inner.others)
        {
            *required = verifier.engine().requirements.number(&inner.requirement);
        }
        Self(Arc::new(inner))
    }
}

impl Keyring {
    /// Returns the guard that admits callers which hold every one of `scopes`.
    ///
    /// Create the guard once, when the service starts.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if a scope is not declared, which it names, or if there is no scope.
    pub fn require<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Guard, ConfigError> {
        Guard::new(self).require(scopes)
    }
}

impl<V: AsRef<Verifier>> From<&V> for Guard {
    fn from(verifier: &V) -> Self {
        Self::new(verifier)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("requirement", &self.0.requirement)
            .field("is_optional", &self.0.is_optional)
            .finish_non_exhaustive()
    }
}

/// Returns the name of a header for keys in lower case.
pub(super) fn header_name(name: &str) -> Result<Box<str>, ConfigError> {
    let lower = name.to_ascii_lowercase();
    let is_taken = matches!(&*lower, "authorization" | "proxy-authorization" | "cookie" | "host");
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token_character) || is_taken {
        return Err(ConfigError::KeyHeader(name.into()));
    }
    Ok(lower.into())
}
