//! The endpoints where programs in other languages ask about tokens, and end them.

mod basic;
mod description;
mod form;
mod pace;
mod request;
mod revocation;

use alloc::{string::String, sync::Arc};
use core::{fmt, time::Duration};
use std::time::Instant;

pub use self::revocation::Revocation;
use self::{description::describe, form::Form, request::FormEndpoint};
#[cfg(any(feature = "actix", feature = "axum"))]
use super::Endpoint;
use super::{Guard, Headers, Response};
use crate::{
    config::ConfigError,
    decision::Principal,
    grant::{OutsideGrant, Resources},
    scope::ScopeCatalog,
    verifier::{Accepts, Freshness, Verifier, VerifyError},
};

/// The introspection endpoint (RFC 7662): a resource server posts the token that it was sent, and gets what the token
/// permits. Cheap to clone.
///
/// The request is a form with the parameter `token`. The [guide](crate::guide::introspection) has all parameters, and
/// the members of the response. The response is `{"active":false}` for everything that is not the token of a key that
/// may be used now. Its bytes and its time are the same for unknown, foreign, forged, malformed, expired, disabled and
/// suspended keys.
///
/// | outcome | status |
/// |---|--:|
/// | a key that may be used | 200, `"active":true` |
/// | anything else | 200, `{"active":false}` |
/// | no `token`, a repeated parameter, or one that cannot be read | 400 |
/// | the resource server's own key is missing, invalid, or lacks the scope | 401 or 403, as from its [`Guard`] |
/// | more than 8 KiB | 413 |
/// | not a form | 415 |
/// | the store did not respond | 503 |
///
/// An introspection is a use of the key that the token belongs to. It appears in its last use, and it ends a grace
/// period that lasts until the first use of a new secret. The [rate](crate::rate) of the introspected key is not
/// counted. The rate of the resource server's own key is.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
/// use keyway::http::Introspection;
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [
/// #         { "name": "reporting", "description": "Read reports" },
/// #         { "name": "introspect", "description": "Introspect keys" }
/// #     ]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// # let services = keyring.create_empty_tenant("services", "lite").await?;
/// # let service = services.issue(NewKey::named("reports").scopes(["introspect"])).await?;
/// # let acme = keyring.create_empty_tenant("acme", "lite").await?;
/// # let issued = acme.issue(NewKey::named("ERP sync").scopes(["reporting"])).await?;
/// let guard = keyring.require(["introspect"])?;
/// let introspection = Introspection::new(&keyring, &guard)?;
///
/// let value = ["Bearer ", &*service.token.reveal()].concat();
/// let headers = [
///     ("authorization", value.as_bytes()),
///     ("content-type", b"application/x-www-form-urlencoded"),
/// ];
/// let body = ["token=", &*issued.token.reveal()].concat();
/// let response = introspection.introspect(&headers[..], body.as_bytes()).await;
/// assert!(response.body().starts_with(r#"{"active":true,"scope":"reporting","client_id":"acme""#));
///
/// let response = introspection.introspect(&headers[..], b"token=made_up").await;
/// assert_eq!(response.body(), r#"{"active":false}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Introspection(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    verifier: Verifier,
    endpoint: FormEndpoint,
    freshness: Freshness,
    /// Whether children can be active.
    #[cfg(feature = "children")]
    accepts_children: bool,
}

const INACTIVE: &str = r#"{"active":false}"#;

impl Introspection {
    /// The longest accepted body, in bytes.
    pub const MAX_BODY_LEN: usize = Form::MAX_LEN;

    /// Creates the endpoint for the keys of `verifier`. The resource server needs a key that `guard` admits, even if
    /// the guard is [optional](Guard::optional).
    ///
    /// The resource server may introspect keys of all tenants, so only the tier of your own services should have the
    /// scope of `guard`. See [`own_tenant_only`](Self::own_tenant_only).
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if the guard requires no scope, because every key could then introspect all others.
    /// Returns [`ConfigError::Thread`] if the thread that times the responses cannot be started.
    pub fn new(verifier: impl AsRef<Verifier>, guard: &Guard) -> Result<Self, ConfigError> {
        let endpoint = FormEndpoint::new(guard)
            .map_err(|error| error.within("the guard of the introspection endpoint"))?;
        let verifier = verifier.as_ref().clone();
        Ok(Self(Arc::new(Inner {
            verifier,
            endpoint,
            freshness: Freshness::Cached,
            #[cfg(feature = "children")]
            accepts_children: false,
        })))
    }

    /// Returns this endpoint with another time after which `{"active":false}` is sent. The default is 20 ms, and the
    /// shortest is 1 ms.
    ///
    /// The time counts from the check of the token. It must be longer than the store usually takes for one read. A
    /// response that takes longer is sent after a multiple of the time. The caller then learns that the store was read.
    #[must_use]
    pub fn inactive_after(&self, time: Duration) -> Self {
        self.with(|inner| inner.endpoint.pace.set_step(time))
    }

    /// Returns this endpoint with another freshness of the data of introspected keys. The default is
    /// [`Freshness::Cached`].
    #[must_use]
    pub fn freshness(&self, freshness: Freshness) -> Self {
        self.with(|inner| inner.freshness = freshness)
    }

    /// Returns this endpoint, with which a resource server introspects only keys of its own tenant. Keys of other
    /// tenants are inactive.
    ///
    /// If the guard belongs to another keyring than the introspected keys, all keys are inactive.
    #[must_use]
    pub fn own_tenant_only(&self) -> Self {
        self.with(|inner| inner.endpoint.own_tenant_only = true)
    }

    /// Returns this endpoint, with which a [child](crate::children) of a key can be active. By default children are inactive.
    ///
    /// The response describes what the child may do, and has its id as `keyway_child`. `client_id`, `sub` and `jti` are those
    /// of its key. A child with an audience has the names of its audience as `aud`, such as `route:GET /events`. It is
    /// inactive unless the request has the parameter `keyway_checks_audience=true`. With it the resource server says that it
    /// checks `aud` by the rules of a [`Place`](crate::children::Place): of each kind of name in it, one must fit the request.
    #[cfg(feature = "children")]
    #[must_use]
    pub fn accepts_children(&self) -> Self {
        self.with(|inner| inner.accepts_children = true)
    }

    /// Returns this endpoint, which takes the key of the resource server also as the password of HTTP Basic. Many
    /// clients know only that scheme. The user name is not examined.
    ///
    /// The route table shows both. A key of the resource server that is limited to networks is refused with HTTP Basic.
    /// If the guard takes keys [only from another header](Guard::key_header_only), `Authorization` is not read.
    #[must_use]
    pub fn or_basic(&self) -> Self {
        self.with(|inner| inner.endpoint.takes_basic = true)
    }

    /// Handles a `POST` with these headers and this body, and returns the response. The caller wipes the body.
    ///
    /// The address of the resource server is not known here, so a key of its own that is limited to networks is
    /// refused.
    pub async fn introspect(&self, headers: &(impl Headers + ?Sized), body: &[u8]) -> Response {
        self.introspect_for(None, headers, body).await
    }

    /// Returns the response to a body longer than [`MAX_BODY_LEN`](Self::MAX_BODY_LEN), for an adapter that stops
    /// reading.
    pub fn too_large(&self) -> Response {
        form::BadForm::TooLarge.response()
    }

    /// Handles a request that an outer guard has admitted as one of `known`, if there was an outer guard.
    pub(super) async fn introspect_for(
        &self,
        known: Option<Principal>,
        headers: &(impl Headers + ?Sized),
        body: &[u8],
    ) -> Response {
        let Inner { endpoint, .. } = &*self.0;
        let (caller, form) = match endpoint.admit(known, headers, body).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        let began = Instant::now();
        let response = match self.active(&caller.principal, &form).await {
            Ok(Some(body)) => Response::new(200).json("application/json", body),
            Ok(None) => {
                drop(form);
                endpoint.pace.wait(began).await;
                Response::new(200).json("application/json", INACTIVE.into())
            }
            Err(error) => endpoint.refused(&error),
        };
        caller.finish(response)
    }

    /// Declares an endpoint of the route table, with the requirement of the guard.
    #[cfg(any(feature = "actix", feature = "axum"))]
    pub(super) fn declare<H>(&self, endpoint: Endpoint<H>) -> Endpoint<H> {
        self.0.endpoint.declare(endpoint)
    }

    /// Returns the body for an active key, or `None` for everything else.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if it is not known whether the key is active.
    async fn active(&self, caller: &Principal, form: &Form) -> Result<Option<String>, VerifyError> {
        let Inner { verifier, endpoint, freshness, .. } = &*self.0;
        let (address, accepts) = (form.client_address, self.accepts());
        let verified = verifier.verify_for(&form.token, *freshness, address, accepts).await;
        let key = match verified {
            Ok(key) => key,
            Err(error) if error.is_unavailable() => return Err(error),
            Err(_) => return Ok(None),
        };
        if !endpoint.may_name(caller, verifier, key.tenant()) {
            return Ok(None);
        }
        let catalog = verifier.policy().catalog();
        let unchecked = unchecked_kind(&key, catalog, form);
        let unchecked = unchecked.map(|kind| OutsideGrant::Resource(kind.into()));
        #[cfg(feature = "children")]
        let unchecked = unchecked.or_else(|| unchecked_audience(&key, form));
        if let Some(outside) = unchecked {
            let error = VerifyError::Forbidden(outside);
            verifier.engine().record_refused(&error, Some(&key));
            return Ok(None);
        }
        let now = verifier.engine().clock.moment().now;
        Ok(Some(describe(&key, verifier.policy(), now)))
    }

    /// Returns which children can be active. The audience of a child is checked after its verification.
    #[cfg_attr(
        not(feature = "children"),
        allow(clippy::unused_self, reason = "its twin reads a field")
    )]
    fn accepts(&self) -> Accepts<'static> {
        #[cfg(feature = "children")]
        if self.0.accepts_children {
            return Accepts::ANY_CHILD;
        }
        Accepts::NO_CHILDREN
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

/// Returns a kind of resource in which the key is limited, and which the resource server does not check. To a program
/// that ignores the limit the key would look unlimited.
fn unchecked_kind<'c>(key: &Principal, catalog: &'c ScopeCatalog, form: &Form) -> Option<&'c str> {
    let limits = key.limits()?;
    let kinds = catalog.resource_kinds().names();
    kinds
        .filter(|kind| *limits.resources.of_kind(kind) != Resources::All)
        .find(|kind| !form.checks_kind(kind))
}

/// Returns the reason to refuse a child with an audience that the resource server does not check. To a program that
/// ignores the audience the child would look valid everywhere.
#[cfg(feature = "children")]
fn unchecked_audience(key: &Principal, form: &Form) -> Option<OutsideGrant> {
    let has_audience = key.child().is_some_and(|child| child.audience().len() > 0);
    (has_audience && !form.checks_audience).then_some(OutsideGrant::Audience)
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}
