//! Endpoints that keyway implements.

use axum::{
    extract::{OriginalUri, Request},
    http::{HeaderMap, uri::PathAndQuery},
};

use super::{Endpoint, any, get, post};
#[cfg(feature = "children")]
use crate::http::MintedChild;
#[cfg(feature = "leak-reports")]
use crate::http::leak::LeakReports;
use crate::http::{
    Gateway, Introspection, OwnKey, Response, Revocation, RotatedKey,
    incoming::Incoming as _,
    wiped::{self, TooLarge},
};

/// Returns the endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key, and rotates it (`POST`)
/// if the endpoint is [rotatable](OwnKey::rotatable). With the feature `children` it may also give out children of the
/// key, by a `POST` to its path followed by `/children`.
///
/// See [`OwnKey`].
///
/// ```
/// # use keyway::Keyring;
/// use keyway::{Guard, http::{OwnKey, Routes, axum}};
///
/// # fn routes(keyring: &Keyring) {
/// let guard = Guard::new(keyring);
/// let own_key = OwnKey::new(keyring, &guard);
/// let routes = Routes::new(guard).route("/key", axum::own_key(&own_key));
/// # let _: Result<::axum::Router, _> = routes.build();
/// # }
/// ```
pub fn own_key<S: Clone + Send + Sync + 'static>(own_key: &OwnKey) -> Endpoint<S> {
    let (reads, deletes) = (own_key.clone(), own_key.clone());
    let endpoint =
        get(async move |headers: HeaderMap| -> Response { reads.describe(&headers).await })
            .delete(async move |headers: HeaderMap| -> Response { deletes.revoke(&headers).await })
            .custom_auth("the key itself");
    #[cfg(feature = "children")]
    let endpoint = with_children(endpoint, own_key);
    let Some(auth) = own_key.rotation_auth() else { return endpoint };
    let rotates = own_key.clone();
    let rotate = async move |request: Request| -> Result<RotatedKey, Response> {
        let (peer, headers) = (request.peer(), request.into_parts().0.headers);
        rotates.rotate(&headers, peer).await
    };
    endpoint.post(rotate).custom_auth(auth)
}

/// Adds the endpoint where the holder gets children of the key, if there is one.
#[cfg(feature = "children")]
fn with_children<S: Clone + Send + Sync + 'static>(
    endpoint: Endpoint<S>,
    own_key: &OwnKey,
) -> Endpoint<S> {
    let Some(auth) = own_key.child_auth() else { return endpoint };
    let mints = own_key.clone();
    let mint = async move |request: Request| -> Result<MintedChild, Response> {
        let (peer, (head, body)) = (request.peer(), request.into_parts());
        match wiped::collect(body, OwnKey::MAX_CHILD_BODY_LEN).await {
            Ok(body) => mints.mint_child(&head.headers, peer, body.as_ref()).await,
            Err(TooLarge) => Err(mints.child_body_too_large()),
        }
    };
    endpoint.with_below("/children", post(mint).custom_auth(auth))
}

/// Returns the endpoint that a gateway asks, for any method. The body of the question is not read.
///
/// See [`Gateway`]. With [`path_prefix`](crate::http::OriginalRequest::path_prefix) declare it for the prefix followed by
/// `/` and by `/{*path}`. In a nested router the prefix begins with the path of the nest.
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Gateway, Routes, axum};
///
/// # fn routes(keyring: &Keyring, gateway: &Gateway) -> Result<::axum::Router, ConfigError> {
/// Routes::new(keyring).route("/check", axum::forward_auth(gateway)).build()
/// # }
/// ```
pub fn forward_auth<S: Clone + Send + Sync + 'static>(gateway: &Gateway) -> Endpoint<S> {
    let gateway = gateway.clone();
    any(async move |request: Request| -> Response {
        let peer = request.peer();
        let (head, _) = request.into_parts();
        // The URI loses the prefix of each nested router, and over HTTP/2 it has a scheme and an authority.
        let whole = head.extensions.get().map_or(&head.uri, |OriginalUri(uri)| uri);
        let target = whole.path_and_query().map_or("", PathAndQuery::as_str);
        gateway.check(head.method.as_str(), target, &head.headers, peer).await
    })
    .custom_auth("the key of the original request")
}

/// Returns the endpoint to which reports of leaked keys are posted; see [`leak`](crate::http::leak).
///
/// ```
/// # use keyway::Keyring;
/// use keyway::{LeakResponse, http::{Routes, axum, leak::{LeakReports, SigningKeys}}};
///
/// # fn routes(keyring: &Keyring, keys: &SigningKeys) {
/// let reports = LeakReports::new(keyring, LeakResponse::Suspend, keys);
/// let routes = Routes::new(keyring).route("/leaks/github", axum::leak_reports(&reports));
/// # let _: Result<::axum::Router, _> = routes.build();
/// # }
/// ```
#[cfg(feature = "leak-reports")]
pub fn leak_reports<S: Clone + Send + Sync + 'static>(reports: &LeakReports) -> Endpoint<S> {
    let reports = reports.clone();
    post(async move |request: Request| -> Response {
        let (head, body) = request.into_parts();
        match wiped::collect(body, LeakReports::MAX_BODY_LEN).await {
            Ok(body) => reports.handle(&head.headers, body.as_ref()).await,
            Err(TooLarge) => reports.too_large(),
        }
    })
    .custom_auth("signed leak report")
}

/// Returns the endpoint where resource servers introspect tokens (`POST`). It requires the scopes of the guard of
/// `introspection`, so the route table and the OpenAPI document show them.
///
/// The guard of the routes must belong to the same keyring. Otherwise each request is refused with status 401.
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Introspection, Routes, axum};
///
/// # fn routes(keyring: &Keyring) -> Result<(), ConfigError> {
/// let guard = keyring.require(["introspect"])?;
/// let introspection = Introspection::new(keyring, &guard)?;
/// let routes = Routes::new(guard).route("/introspect", axum::introspection(&introspection));
/// # let _: ::axum::Router = routes.build()?;
/// # Ok(())
/// # }
/// ```
pub fn introspection<S: Clone + Send + Sync + 'static>(
    introspection: &Introspection,
) -> Endpoint<S> {
    let handler = introspection.clone();
    introspection.declare(post(async move |request: Request| -> Response {
        let (head, body) = request.into_parts();
        let known = head.extensions.get().cloned();
        match wiped::collect(body, Introspection::MAX_BODY_LEN).await {
            Ok(body) => handler.introspect_for(known, &head.headers, body.as_ref()).await,
            Err(TooLarge) => handler.too_large(),
        }
    }))
}

/// Returns the endpoint where programs end tokens (`POST`), declared like [`introspection`].
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Revocation, Routes, axum};
///
/// # fn routes(keyring: &Keyring) -> Result<(), ConfigError> {
/// let guard = keyring.require(["revoke"])?;
/// let revocation = Revocation::new(keyring, &guard)?;
/// let routes = Routes::new(guard).route("/revoke", axum::revocation(&revocation));
/// # let _: ::axum::Router = routes.build()?;
/// # Ok(())
/// # }
/// ```
pub fn revocation<S: Clone + Send + Sync + 'static>(revocation: &Revocation) -> Endpoint<S> {
    let handler = revocation.clone();
    revocation.declare(post(async move |request: Request| -> Response {
        let (head, body) = request.into_parts();
        let known = head.extensions.get().cloned();
        match wiped::collect(body, Revocation::MAX_BODY_LEN).await {
            Ok(body) => handler.revoke_for(known, &head.headers, body.as_ref()).await,
            Err(TooLarge) => handler.too_large(),
        }
    }))
}
