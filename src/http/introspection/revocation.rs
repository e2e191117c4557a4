//! The endpoint where programs in other languages end a token.

use alloc::sync::Arc;
use core::{fmt, time::Duration};
use std::time::Instant;

use super::{
    form::{BadForm, Form},
    request::FormEndpoint,
};
#[cfg(any(feature = "actix", feature = "axum"))]
use crate::http::Endpoint;
use crate::{
    config::ConfigError,
    decision::Principal,
    http::{Guard, Headers, Response},
    keyring::{Keyring, KeyringError},
    verifier::VerifyError,
};

/// The revocation endpoint (RFC 7009): a program posts a token, and the key of the token is deleted. Cheap to clone.
///
/// The key is deleted permanently, whatever its state, as by [`Keyring::revoke`]. Its holder could do the same with
/// [`OwnKey`](crate::http::OwnKey). A token of no key gets the same response, since nothing remains to be done.
///
/// | outcome | status |
/// |---|--:|
/// | the key is deleted, or the token belongs to no key | 200, without a body |
/// | no `token`, a repeated parameter, or one that cannot be read | 400 |
/// | a [child](https://docs.rs/keyway/latest/keyway/children/index.html) of a key | 400, `unsupported_token_type` |
/// | the program's own key is missing, invalid, or lacks the scope | 401 or 403, as from its [`Guard`] |
/// | more than 8 KiB | 413 |
/// | not a form | 415 |
/// | the key may still exist: the store did not respond, or the record of the key was tampered with | 503 |
///
/// A child has no row that could be deleted, and is no proof that the caller may end its key. So nothing is done.
/// Status 200 would say that the child is invalid now (RFC 7009, section 2.2), and it is not. The error of section 2.2.1
/// says that tokens of this type cannot be revoked. It depends on the type only, so children that have ended get it too,
/// and no key is read. End or narrow the key to end its children.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
/// use keyway::http::Revocation;
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "revoke", "description": "Revoke keys" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// # let services = keyring.create_empty_tenant("services", "lite").await?;
/// # let service = services.issue(NewKey::named("portal").scopes(["revoke"])).await?;
/// # let (_, issued) = keyring.create_tenant("acme", "lite").await?;
/// let guard = keyring.require(["revoke"])?;
/// // Audit events name the actor.
/// let keyring = keyring.acting_as("revocation endpoint");
/// let revocation = Revocation::new(&keyring, &guard)?;
///
/// let value = ["Bearer ", &*service.token.reveal()].concat();
/// let headers = [
///     ("authorization", value.as_bytes()),
///     ("content-type", b"application/x-www-form-urlencoded"),
/// ];
/// let token = issued.token.reveal();
/// let body = ["token=", &*token].concat();
/// assert_eq!(revocation.revoke(&headers[..], body.as_bytes()).await.status(), 200);
/// assert!(keyring.verify(&*token).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Revocation(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    keyring: Keyring,
    endpoint: FormEndpoint,
}

impl Revocation {
    /// The longest accepted body, in bytes.
    pub const MAX_BODY_LEN: usize = Form::MAX_LEN;

    /// Creates the endpoint for the keys of `keyring`. The program needs a key that `guard` admits, even if the guard
    /// is [optional](Guard::optional).
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] if the guard requires no scope, and [`ConfigError::Thread`] if the thread that times the
    /// responses cannot be started.
    pub fn new(keyring: &Keyring, guard: &Guard) -> Result<Self, ConfigError> {
        let endpoint = FormEndpoint::new(guard)
            .map_err(|error| error.within("the guard of the revocation endpoint"))?;
        Ok(Self(Arc::new(Inner { keyring: keyring.clone(), endpoint })))
    }

    /// Returns this endpoint with another time after which status 200 is sent. The default is 20 ms, and the shortest
    /// is 1 ms.
    ///
    /// The time counts from the check of the token. It must be longer than the store usually takes to read and delete a
    /// key. A response that takes longer is sent after a multiple of the time.
    #[must_use]
    pub fn done_after(&self, time: Duration) -> Self {
        self.with(|inner| inner.endpoint.pace.set_step(time))
    }

    /// Returns this endpoint, with which a program ends only keys of its own tenant. For keys of other tenants nothing
    /// is done, with the same response.
    ///
    /// If the guard belongs to another keyring, no key is deleted.
    #[must_use]
    pub fn own_tenant_only(&self) -> Self {
        self.with(|inner| inner.endpoint.own_tenant_only = true)
    }

    /// Returns this endpoint, which takes the key of the program also as the password of HTTP Basic. Many clients know
    /// only that scheme. The user name is not examined.
    ///
    /// The route table shows both. A key of the program that is limited to networks is refused with HTTP Basic. If the
    /// guard takes keys [only from another header](Guard::key_header_only), `Authorization` is not read.
    #[must_use]
    pub fn or_basic(&self) -> Self {
        self.with(|inner| inner.endpoint.takes_basic = true)
    }

    /// Handles a `POST` with these headers and this body, and returns the response. The caller wipes the body.
    ///
    /// The address of the program is not known here, so a key of its own that is limited to networks is refused.
    pub async fn revoke(&self, headers: &(impl Headers + ?Sized), body: &[u8]) -> Response {
        self.revoke_for(None, headers, body).await
    }

    /// Returns the response to a body longer than [`MAX_BODY_LEN`](Self::MAX_BODY_LEN), for an adapter that stops
    /// reading.
    pub fn too_large(&self) -> Response {
        BadForm::TooLarge.response()
    }

    /// Handles a request that an outer guard has admitted as one of `known`, if there was an outer guard.
    pub(in crate::http) async fn revoke_for(
        &self,
        known: Option<Principal>,
        headers: &(impl Headers + ?Sized),
        body: &[u8],
    ) -> Response {
        let endpoint = &self.0.endpoint;
        let (caller, form) = match endpoint.admit(known, headers, body).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        #[cfg(feature = "children")]
        if self.0.keyring.refuses_to_revoke(&form.token) {
            return caller.finish(BadForm::Child.response());
        }
        let began = Instant::now();
        let response = match self.end(&caller.principal, &form).await {
            Ok(()) | Err(KeyringError::Rejected) => {
                drop(form);
                endpoint.pace.wait(began).await;
                Response::new(200).with("cache-control", "no-store")
            }
            // The key still exists, also if its record was tampered with. Only the audit sink learns which.
            Err(error) => endpoint.refused(&VerifyError::Unavailable(Arc::new(error))),
        };
        caller.finish(response)
    }

    /// Declares an endpoint of the route table, with the requirement of the guard.
    #[cfg(any(feature = "actix", feature = "axum"))]
    pub(in crate::http) fn declare<H>(&self, endpoint: Endpoint<H>) -> Endpoint<H> {
        self.0.endpoint.declare(endpoint)
    }

    async fn end(&self, caller: &Principal, form: &Form) -> Result<(), KeyringError> {
        let Inner { keyring, endpoint } = &*self.0;
        if endpoint.own_tenant_only {
            let described = keyring.describe(&*form.token).await?;
            if !endpoint.may_name(caller, keyring.verifier(), described.key.tenant().as_str()) {
                return Ok(());
            }
        }
        keyring.revoke(&*form.token).await
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}
