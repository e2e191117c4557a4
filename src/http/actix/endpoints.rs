//! Endpoints that keyway implements.

use actix_web::{HttpMessage as _, HttpRequest, web::Payload};
use futures_util::StreamExt as _;
use zeroize::Zeroize as _;

use super::{Endpoint, any, get, post};
#[cfg(feature = "children")]
use crate::http::MintedChild;
#[cfg(feature = "leak-reports")]
use crate::http::leak::LeakReports;
use crate::{
    decision::Principal,
    http::{
        Gateway, Introspection, OwnKey, Response, Revocation, RotatedKey,
        wiped::{TooLarge, Wiped},
    },
};

/// Returns the endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key, and rotates it (`POST`)
/// if the endpoint is [rotatable](OwnKey::rotatable). With the feature `children` it may also give out children of the
/// key, by a `POST` to its path followed by `/children`.
///
/// See [`OwnKey`].
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::{Guard, http::{OwnKey, Routes, actix}};
///
/// # fn routes(keyring: &Keyring) -> Result<(), ConfigError> {
/// let guard = Guard::new(keyring);
/// let own_key = OwnKey::new(keyring, &guard);
/// let routes = Routes::new(guard).route("/key", actix::own_key(&own_key)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
pub fn own_key(own_key: &OwnKey) -> Endpoint {
    let (reads, deletes) = (own_key.clone(), own_key.clone());
    let endpoint = get(move |request| describe(reads.clone(), request))
        .delete(move |request| revoke(deletes.clone(), request))
        .custom_auth("the key itself");
    #[cfg(feature = "children")]
    let endpoint = match own_key.child_auth() {
        Some(auth) => {
            let mints = own_key.clone();
            let children = post(move |request, body| mint_child(mints.clone(), request, body));
            endpoint.with_below("/children", children.custom_auth(auth))
        }
        None => endpoint,
    };
    let Some(auth) = own_key.rotation_auth() else { return endpoint };
    let rotates = own_key.clone();
    endpoint.post(move |request| rotate(rotates.clone(), request)).custom_auth(auth)
}

async fn describe(own_key: OwnKey, request: HttpRequest) -> Response {
    own_key.describe(request.headers()).await
}

async fn rotate(own_key: OwnKey, request: HttpRequest) -> Result<RotatedKey, Response> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    own_key.rotate(request.headers(), peer).await
}

#[cfg(feature = "children")]
async fn mint_child(
    own_key: OwnKey,
    request: HttpRequest,
    body: Payload,
) -> Result<MintedChild, Response> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    match collect(body, OwnKey::MAX_CHILD_BODY_LEN).await {
        Ok(body) => own_key.mint_child(request.headers(), peer, body.as_ref()).await,
        Err(TooLarge) => Err(own_key.child_body_too_large()),
    }
}

async fn revoke(own_key: OwnKey, request: HttpRequest) -> Response {
    own_key.revoke(request.headers()).await
}

/// Returns the endpoint that a gateway asks, for any method. The body of the question is not read.
///
/// See [`Gateway`]. With [`path_prefix`](crate::http::OriginalRequest::path_prefix) declare it for the prefix followed by
/// `/{path:.*}`. In a scope the prefix begins with the path of the scope.
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Gateway, Routes, actix};
///
/// # fn routes(keyring: &Keyring, gateway: &Gateway) -> Result<(), ConfigError> {
/// let routes = Routes::new(keyring).route("/check", actix::forward_auth(gateway)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
pub fn forward_auth(gateway: &Gateway) -> Endpoint {
    let gateway = gateway.clone();
    any(move |request| check(gateway.clone(), request))
        .custom_auth("the key of the original request")
}

async fn check(gateway: Gateway, request: HttpRequest) -> Response {
    let peer = request.peer_addr().map(|peer| peer.ip());
    // Over HTTP/2 the URI has a scheme and an authority.
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    gateway.check(request.method().as_str(), target, request.headers(), peer).await
}

/// Returns the endpoint to which reports of leaked keys are posted; see [`leak`](crate::http::leak).
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::{LeakResponse, http::{Routes, actix, leak::{LeakReports, SigningKeys}}};
///
/// # fn routes(keyring: &Keyring, keys: &SigningKeys) -> Result<(), ConfigError> {
/// let reports = LeakReports::new(keyring, LeakResponse::Suspend, keys);
/// let routes = Routes::new(keyring).route("/leaks/github", actix::leak_reports(&reports)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "leak-reports")]
pub fn leak_reports(reports: &LeakReports) -> Endpoint {
    let reports = reports.clone();
    post(move |request, body| report(reports.clone(), request, body))
        .custom_auth("signed leak report")
}

#[cfg(feature = "leak-reports")]
async fn report(reports: LeakReports, request: HttpRequest, body: Payload) -> Response {
    match collect(body, LeakReports::MAX_BODY_LEN).await {
        Ok(report) => reports.handle(request.headers(), report.as_ref()).await,
        Err(TooLarge) => reports.too_large(),
    }
}

/// Returns the endpoint where resource servers introspect tokens (`POST`). It requires the scopes of the guard of
/// `introspection`, so the route table and the OpenAPI document show them.
///
/// The guard of the routes must belong to the same keyring. Otherwise each request is refused with status 401.
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Introspection, Routes, actix};
///
/// # fn routes(keyring: &Keyring) -> Result<(), ConfigError> {
/// let guard = keyring.require(["introspect"])?;
/// let introspection = Introspection::new(keyring, &guard)?;
/// let routes =
///     Routes::new(guard).route("/introspect", actix::introspection(&introspection)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
pub fn introspection(introspection: &Introspection) -> Endpoint {
    let handler = introspection.clone();
    introspection.declare(post(move |request, body| introspect(handler.clone(), request, body)))
}

async fn introspect(handler: Introspection, request: HttpRequest, body: Payload) -> Response {
    match collect(body, Introspection::MAX_BODY_LEN).await {
        Ok(body) => {
            let known = known(&request);
            handler.introspect_for(known, request.headers(), body.as_ref()).await
        }
        Err(TooLarge) => handler.too_large(),
    }
}

/// Returns the endpoint where programs end tokens (`POST`), declared like [`introspection`].
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::http::{Revocation, Routes, actix};
///
/// # fn routes(keyring: &Keyring) -> Result<(), ConfigError> {
/// let guard = keyring.require(["revoke"])?;
/// let revocation = Revocation::new(keyring, &guard)?;
/// let routes = Routes::new(guard).route("/revoke", actix::revocation(&revocation)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
pub fn revocation(revocation: &Revocation) -> Endpoint {
    let handler = revocation.clone();
    revocation.declare(post(move |request, body| end(handler.clone(), request, body)))
}

async fn end(handler: Revocation, request: HttpRequest, body: Payload) -> Response {
    match collect(body, Revocation::MAX_BODY_LEN).await {
        Ok(body) => handler.revoke_for(known(&request), request.headers(), body.as_ref()).await,
        Err(TooLarge) => handler.too_large(),
    }
}

/// Returns the caller that the guard of the routes has admitted.
fn known(request: &HttpRequest) -> Option<Principal> {
    request.extensions().get().cloned()
}

// Reads the body as it was sent, because a signature may cover those bytes. Body extractors may have their own
// limit and decompress the body. They also leave copies that are not wiped.
async fn collect(mut body: Payload, max: usize) -> Result<Wiped, TooLarge> {
    let mut bytes = Wiped::with_capacity(4096);
    while let Some(part) = body.next().await {
        // The connection broke off, so no client reads the response.
        let Ok(part) = part else { return Err(TooLarge) };
        let fits = part.len() <= max - bytes.as_ref().len();
        if fits {
            bytes.extend(&part);
        }
        if let Ok(mut own) = part.try_into_mut() {
            own.as_mut().zeroize();
        }
        if !fits {
            return Err(TooLarge);
        }
    }
    Ok(bytes)
}
