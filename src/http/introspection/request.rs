//! Requests of resource servers, which present a key of their own and a form.

use alloc::string::String;
#[cfg(any(feature = "actix", feature = "axum"))]
use alloc::vec::Vec;
use core::{fmt, net::IpAddr};

use super::{basic::BasicAsBearer, form::Form, pace::Pace};
use crate::{
    config::ConfigError,
    decision::Principal,
    http::{
        Access, Admission, Guard, Headers, Response,
        incoming::Incoming,
        resource_rules::{ResourceRule, ResourceRules},
    },
    verifier::{Progress, Verifier, VerifyError},
};
#[cfg(any(feature = "actix", feature = "axum"))]
use crate::{http::Endpoint, scope::Scope};

/// The settings of an endpoint that takes a form.
#[derive(Clone)]
pub(super) struct FormEndpoint {
    guard: Guard,
    pub(super) pace: Pace,
    pub(super) own_tenant_only: bool,
    /// Whether the key of a caller may come as the password of HTTP Basic.
    pub(super) takes_basic: bool,
}

/// A resource server that the guard has admitted.
pub(super) struct Caller {
    pub(super) principal: Principal,
    /// Its headers belong to the response, unless an outer guard adds its own.
    admission: Option<Admission>,
}

impl FormEndpoint {
    /// Creates the settings for callers that `guard` admits, of all tenants.
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyRequirement`] if the guard requires no scope, or [`ConfigError::Thread`].
    pub(super) fn new(guard: &Guard) -> Result<Self, ConfigError> {
        let requirement = guard.requirement().clone();
        if requirement.scopes().next().is_none() {
            return Err(ConfigError::EmptyRequirement);
        }
        // The endpoint touches no resource, whatever the guard says about others.
        let mut rules = ResourceRules::default();
        let catalog = guard.catalog();
        for kind in catalog.resource_kinds().names().filter_map(|kind| catalog.resource(kind).ok())
        {
            rules.add(&kind, ResourceRule::Untouched);
        }
        // INVARIANT: the guard requires a key. An optional one would let everybody introspect.
        let guard = guard.for_access(Access::Required(requirement), rules);
        let guard = guard.ok_or(ConfigError::EmptyRequirement)?;
        Ok(Self { guard, pace: Pace::start()?, own_tenant_only: false, takes_basic: false })
    }

    /// Admits a request and reads its form. `known` is the caller that an outer guard has admitted.
    ///
    /// # Errors
    ///
    /// The response that refuses the request. The form is read only after the guard, so its errors do not reach others.
    pub(super) async fn admit(
        &self,
        known: Option<Principal>,
        headers: &(impl Headers + ?Sized),
        body: &[u8],
    ) -> Result<(Caller, Form), Response> {
        let is_inner = known.is_some();
        let takes_basic = self.takes_basic && self.guard.key_headers().takes_authorization();
        let of_caller = match (&known, takes_basic) {
            (None, true) => BasicAsBearer::new(headers),
            _ => BasicAsBearer::unchanged(headers),
        };
        let begun = self.guard.begin(&Known { known, headers: &of_caller });
        drop(of_caller);
        let admitted = match begun {
            Progress::Done(admitted) => admitted,
            Progress::Pending(rest) => rest.await,
        };
        let mut admission = admitted.map_err(|refusal| match refusal.status() {
            // A challenge has the scheme that the caller used (RFC 6749, section 5.2).
            401 if takes_basic => refusal.with("www-authenticate", self.guard.errors().basic()),
            _ => refusal,
        })?;
        let Some(principal) = admission.take_principal() else {
            return Err(self.refused(&VerifyError::Missing));
        };
        let caller = Caller { principal, admission: (!is_inner).then_some(admission) };
        match Form::read(headers, body) {
            Ok(form) => Ok((caller, form)),
            Err(error) => Err(caller.finish(error.response())),
        }
    }

    /// Returns whether `caller` may learn of a key of this tenant, which `verifier` has verified.
    pub(super) fn may_name(&self, caller: &Principal, verifier: &Verifier, tenant: &str) -> bool {
        // Tenants of different keyrings may have the same id.
        !self.own_tenant_only || (verifier.has_admitted(caller) && caller.tenant() == tenant)
    }

    /// Returns the response of the guard to a request with this error.
    pub(super) fn refused(&self, error: &VerifyError) -> Response {
        self.guard.errors().refused(error, &self.guard.catalog().require_none())
    }

    /// Declares an endpoint of the route table, with the requirement of the guard.
    #[cfg(any(feature = "actix", feature = "axum"))]
    pub(super) fn declare<H>(&self, endpoint: Endpoint<H>) -> Endpoint<H> {
        let requirement = self.guard.requirement();
        let scopes: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
        let endpoint = if requirement.is_any() {
            endpoint.require_any(scopes)
        } else {
            endpoint.require(scopes)
        };
        let endpoint = if self.takes_basic {
            endpoint.or("HTTP Basic with the key as the password")
        } else {
            endpoint
        };
        self.guard.catalog().resource_kinds().names().fold(endpoint, Endpoint::touches_no)
    }
}

impl Caller {
    /// Completes a response with the headers of the guard.
    pub(super) fn finish(&self, response: Response) -> Response {
        let headers = self.admission.iter().flat_map(Admission::headers);
        headers.fold(response, |response, (name, value)| response.with(name, value))
    }
}

impl fmt::Debug for FormEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormEndpoint")
            .field("guard", &self.guard)
            .field("own_tenant_only", &self.own_tenant_only)
            .finish_non_exhaustive()
    }
}

/// A request whose caller an outer guard may have admitted.
struct Known<'r, H: ?Sized> {
    known: Option<Principal>,
    headers: &'r H,
}

impl<H: Headers + ?Sized> Incoming for Known<'_, H> {
    type Headers = H;

    fn headers(&self) -> &H {
        self.headers
    }

    /// The endpoints are called by `POST`, and no ticket is for them.
    #[cfg(feature = "children")]
    fn query(&self) -> &[u8] {
        b""
    }

    fn known(&self) -> Option<Principal> {
        self.known.clone()
    }

    fn peer(&self) -> Option<IpAddr> {
        None
    }

    fn parameter(&self, _: &str) -> Option<String> {
        None
    }
}
