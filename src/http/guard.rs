//! The guard that protects a route, in any framework.

use alloc::{boxed::Box, sync::Arc};
use core::{fmt, net::IpAddr, num::NonZeroU32, pin::Pin};

use super::{
    Access, Admission, ClientAddress, ForwardAuth, Headers, Response,
    credential::{self, KeyHeaders, Presented, Source},
    error_responses::ErrorResponses,
    incoming::{Incoming, Parts},
    observe::Observation,
    problem::ProblemTypes,
    resource_rules::{Parameter, ResourceRule, ResourceRules},
    response::rate_headers,
};
use crate::{
    bearer::{CredentialError, is_token_character},
    config::ConfigError,
    decision::Principal,
    grant::OutsideGrant,
    keyring::Keyring,
    rate::RateStatus,
    scope::{Requirement, ScopeCatalog},
    verifier::{Freshness, Progress, Verifier, VerifyError},
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
    verifier: Verifier,
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
}

impl Inner {
    fn set_headers(&mut self, headers: KeyHeaders) {
        self.errors.set_headers(&headers);
        self.key_headers = headers;
    }
}

impl Guard {
    /// Creates a guard that admits every active key. Its realm is the issuer of the policy.
    pub fn new(verifier: impl AsRef<Verifier>) -> Self {
        let verifier = verifier.as_ref().clone();
        Self(Arc::new(Inner {
            requirement: verifier.policy().catalog().require_none(),
            is_optional: false,
            freshness: Freshness::Cached,
            keeps_credential: false,
            key_headers: KeyHeaders::Authorization,
            vary: None,
            errors: ErrorResponses::new(verifier.policy().issuer()),
            address: None,
            resources: ResourceRules::default(),
            weight: NonZeroU32::MIN,
            verifier,
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
    /// after the guard sees it.
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
    /// `Authorization`, `Proxy-Authorization`, `Cookie` and `Host` are refused.
    pub fn key_header(&self, name: &str) -> Result<Self, ConfigError> {
        let name = header_name(name)?;
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
        let name = header_name(name)?;
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
    /// [`Principal::permit`] or [`Principal::resources`].
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

    /// Returns this guard for costly routes: the [rate](crate::rate) counts one request as `weight`. Zero counts as 1, and a
    /// weight above a rate takes all of it.
    ///
    /// Set it on the outermost guard, which is the one that counts.
    #[must_use]
    pub fn weight(&self, weight: u32) -> Self {
        self.with(|inner| inner.weight = NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN))
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

    /// Admits a request with these headers, or returns the response that refuses it. The address of the client and the
    /// parameters of the path are not known. See [`admit_request`](Self::admit_request).
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] for a request that is not admitted.
    pub async fn admit(&self, headers: &(impl Headers + ?Sized)) -> Result<Admission, Response> {
        self.admit_request(headers, None, &[]).await
    }

    /// Admits a request with these headers, or returns the response that refuses it. `peer` is the address of the other
    /// end of the connection. `parameters` are the names and values of the path's parameters, as the handler gets them.
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] for a request that is not admitted.
    pub async fn admit_request(
        &self,
        headers: &(impl Headers + ?Sized),
        peer: Option<IpAddr>,
        parameters: &[(&str, &str)],
    ) -> Result<Admission, Response> {
        match self.begin(&Parts { headers, peer, parameters }) {
            Progress::Done(result) => result,
            Progress::Pending(rest) => rest.await,
        }
    }

    /// Returns the response for a caller that the handler refuses, with the same status, headers and body as a refusal of the
    /// guard itself. Use it after [`Principal::permit`], which only the handler can call. The refusal is reported to the
    /// audit sink.
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use keyway::{Guard, Principal, grant::ResourceKind, http::Response, scope::Requirement};
    ///
    /// fn start(
    ///     guard: &Guard,
    ///     caller: &Principal,
    ///     (jobs, machine): (&Requirement, &ResourceKind),
    ///     id: &str,
    /// ) -> Result<String, Response> {
    ///     caller.permit(jobs, machine, id).map_err(|outside| guard.refuse(caller, outside))?;
    ///     Ok(format!("{id} starts"))
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn refuse(&self, caller: &Principal, outside: OutsideGrant) -> Response {
        let error = VerifyError::Forbidden(outside);
        self.record_refused(&error, Some(caller), Observation::begin());
        self.0.errors.refused(&error, &self.0.requirement)
    }

    /// Returns the header that an adapter must remove from an admitted request before any other code sees it.
    pub fn header_to_remove(&self, admission: &Admission) -> Option<&str> {
        match admission.source? {
            _ if self.0.keeps_credential => None,
            Source::Authorization => Some(credential::AUTHORIZATION),
            Source::KeyHeader => self.0.key_headers.own(),
        }
    }

    /// Admits or refuses the request at once if that is possible without waiting.
    #[inline]
    pub(super) fn begin(
        &self,
        request: &impl Incoming,
    ) -> Progress<Result<Admission, Response>, PendingAdmission> {
        let mut observation = Observation::begin();
        let inner = &*self.0;
        let headers = request.headers();
        let known = request.known().filter(|caller| self.is_known(caller));
        let presented = match self.credential(headers) {
            Ok(Some(presented)) => presented,
            Ok(None) => {
                return Progress::Done(match known {
                    // A caller that an outer guard admitted may be out of date, so it does not count with
                    // `Freshness::Now`.
                    Some(caller) if inner.freshness == Freshness::Cached => {
                        self.respond_to_known(caller, request, observation)
                    }
                    None if inner.is_optional => {
                        observation.anonymous();
                        Ok(Admission { vary: inner.vary.clone(), ..Admission::default() })
                    }
                    _ => {
                        let missing = Err(VerifyError::Missing);
                        self.respond(missing, None, None, &|_| None, observation)
                    }
                });
            }
            Err(error) => {
                self.record_refused(&error.into(), None, observation);
                return Progress::Done(Err(inner.errors.unreadable(error)));
            }
        };
        let source = Some(presented.source);
        let engine = inner.verifier.engine();
        let address = || inner.address.as_ref()?.find(request.peer(), headers);
        match engine.verify_at_once(presented.token, inner.freshness, address) {
            Progress::Done(verified) => {
                let parameter = |name: &str| request.parameter(name);
                Progress::Done(self.respond(
                    verified,
                    known.as_ref(),
                    source,
                    &parameter,
                    observation,
                ))
            }
            Progress::Pending(unfinished) => {
                observation.claims(unfinished.key_id());
                let guard = self.clone();
                let parameters = inner.resources.read(|name| request.parameter(name));
                Progress::Pending(Box::pin(async move {
                    let mut observation = observation;
                    let Inner { verifier, freshness, .. } = &*guard.0;
                    let mut inactive = None;
                    let finished = verifier.engine().finish(unfinished, *freshness, &mut inactive);
                    let verified = finished.await;
                    observation.is_of(inactive);
                    let parameter = |name: &str| parameters.get(name).cloned();
                    guard.respond(verified, known.as_ref(), source, &parameter, observation)
                }))
            }
        }
    }

    /// Returns whether a guard of the same verifier admitted this caller. Callers from other sources do not
    /// count.
    fn is_known(&self, caller: &Principal) -> bool {
        self.0.verifier.has_admitted(caller)
    }

    /// Checks only the scopes and resources. The outer guard has checked the network, counted the request and created its
    /// span.
    fn respond_to_known(
        &self,
        caller: Principal,
        request: &impl Incoming,
        observation: Observation,
    ) -> Result<Admission, Response> {
        match self.check_grant(&caller, &|name| request.parameter(name)) {
            Ok(()) => {
                let vary = self.0.vary.clone();
                Ok(Admission { principal: Some(caller), vary, ..Admission::default() })
            }
            Err(outside) => {
                let error = VerifyError::Forbidden(outside);
                self.record_refused(&error, Some(&caller), observation);
                Err(self.0.errors.refused(&error, &self.0.requirement))
            }
        }
    }

    /// Checks that the caller has the scopes of the route, and may touch its resources.
    #[inline]
    fn check_grant(
        &self,
        caller: &Principal,
        parameter: &Parameter<'_>,
    ) -> Result<(), OutsideGrant> {
        caller.require(&self.0.requirement)?;
        match caller.limits() {
            None => Ok(()),
            Some(limits) => {
                let kinds = self.catalog().resource_kinds();
                self.0.resources.check(&limits.resources, kinds, parameter)
            }
        }
    }

    #[inline]
    fn respond(
        &self,
        verified: Result<Principal, VerifyError>,
        known: Option<&Principal>,
        source: Option<Source>,
        parameter: &Parameter<'_>,
        observation: Observation,
    ) -> Result<Admission, Response> {
        // Two guards found two different keys in two headers. Neither may use the permissions of the other.
        if let (Ok(caller), Some(known)) = (&verified, known)
            && caller.key_id() != known.key_id()
        {
            let error = CredentialError::Several;
            self.record_refused(&error.into(), None, observation);
            return Err(self.0.errors.unreadable(error));
        }
        match self.authorize(verified, known.is_some(), parameter) {
            Ok((principal, rate)) => {
                let span = observation.admitted(&principal);
                let principal = self.0.verifier.mark_admitted(principal);
                let vary = self.0.vary.clone();
                Ok(Admission { principal: Some(principal), source, rate, vary, span })
            }
            Err(Refused { error, caller, rate }) => {
                self.record_refused(&error, caller.as_ref(), observation);
                let answer = self.0.errors.refused(&error, &self.0.requirement);
                let headers = rate.as_deref().map(rate_headers).into_iter().flatten();
                Err(headers.fold(answer, |answer, (name, value)| answer.with(name, value)))
            }
        }
    }

    /// Reports a refusal to the audit and to observability.
    #[cold]
    fn record_refused(
        &self,
        error: &VerifyError,
        caller: Option<&Principal>,
        observation: Observation,
    ) {
        self.0.verifier.engine().record_refused(error, caller);
        observation.refused(error, caller);
    }

    /// Checks the scopes and resources, then the rate.
    ///
    /// A request that is refused for its scopes or resources takes nothing from the rate, and no request is counted twice.
    #[inline]
    fn authorize(
        &self,
        verified: Result<Principal, VerifyError>,
        is_counted: bool,
        parameter: &Parameter<'_>,
    ) -> Result<(Principal, Option<Box<RateStatus>>), Refused> {
        let refuse = |error| Refused { error, caller: None, rate: None };
        let caller = verified.map_err(refuse)?;
        if let Err(outside) = self.check_grant(&caller, parameter) {
            return Err(Refused {
                caller: Some(caller),
                ..refuse(VerifyError::Forbidden(outside))
            });
        }
        let rate = if is_counted { None } else { self.0.verifier.rate(&caller, self.0.weight) };
        // Boxed, so that the many requests without a rate do not carry its size.
        let rate = rate.map(Box::new);
        if let Some(retry_after) = rate.as_ref().and_then(|rate| rate.retry_after()) {
            let error = VerifyError::Limited { retry_after };
            return Err(Refused { error, caller: Some(caller), rate });
        }
        Ok((caller, rate))
    }

    /// Returns the credential of a request with these headers.
    pub(super) fn credential<'f>(
        &self,
        headers: &'f (impl Headers + ?Sized),
    ) -> Result<Option<Presented<'f>>, CredentialError> {
        credential::find(headers, &self.0.key_headers, self.0.verifier.format())
    }

    /// Returns the refusal of a request without a credential.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(super) fn missing(&self) -> Response {
        self.0.errors.refused(&VerifyError::Missing, &self.0.requirement)
    }

    /// Returns the maker of this guard's error responses.
    pub(super) fn errors(&self) -> &ErrorResponses {
        &self.0.errors
    }

    /// Returns this guard for a route that requires `access`, or `None` if the route needs no guard.
    pub(super) fn for_access(&self, access: Access, resources: ResourceRules) -> Option<Self> {
        let (requirement, is_optional) = match access {
            Access::Public | Access::Custom(_) => return None,
            Access::Optional(requirement) | Access::RequiredOr(requirement, _) => {
                (requirement, true)
            }
            Access::Required(requirement) => (requirement, false),
        };
        Some(self.with(|inner| {
            (inner.requirement, inner.is_optional) = (requirement, is_optional);
            inner.resources = resources;
        }))
    }

    #[cfg(feature = "openapi")]
    pub(super) fn key_headers(&self) -> &KeyHeaders {
        &self.0.key_headers
    }

    pub(super) fn catalog(&self) -> &ScopeCatalog {
        self.0.verifier.policy().catalog()
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
        let is_covered = !inner.is_optional && inner.key_headers.own().is_none();
        inner.vary = (!is_covered).then(|| inner.key_headers.list());
        Self(Arc::new(inner))
    }
}

/// A refusal: its error and, if the caller was verified, the caller and the rate.
struct Refused {
    error: VerifyError,
    caller: Option<Principal>,
    rate: Option<Box<RateStatus>>,
}

/// An admission that waits for the store.
pub(super) type PendingAdmission =
    Pin<Box<dyn Future<Output = Result<Admission, Response>> + Send>>;

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
fn header_name(name: &str) -> Result<Box<str>, ConfigError> {
    let lower = name.to_ascii_lowercase();
    let is_taken = matches!(&*lower, "authorization" | "proxy-authorization" | "cookie" | "host");
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token_character) || is_taken {
        return Err(ConfigError::KeyHeader(name.into()));
    }
    Ok(lower.into())
}
