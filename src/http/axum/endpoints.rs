//! Endpoints that keyway implements.

use axum::{extract::Request, http::HeaderMap};

use super::{Endpoint, get};
use crate::http::{OwnKey, Response, RotatedKey, incoming::Incoming as _};
#[cfg(feature = "leak-reports")]
use crate::http::{
    leak::LeakReports,
    wiped::{self, TooLarge},
};

/// Returns the endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key, and rotates it (`POST`)
/// if the endpoint is [rotatable](OwnKey::rotatable).
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
    let Some(auth) = own_key.rotation_auth() else { return endpoint };
    let rotates = own_key.clone();
    let rotate = async move |request: Request| -> Result<RotatedKey, Response> {
        let (peer, headers) = (request.peer(), request.into_parts().0.headers);
        rotates.rotate(&headers, peer).await
    };
    endpoint.post(rotate).custom_auth(auth)
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
    super::post(async move |request: Request| -> Response {
        let (head, body) = request.into_parts();
        match wiped::collect(body, LeakReports::MAX_BODY_LEN).await {
            Ok(body) => reports.handle(&head.headers, body.as_ref()).await,
            Err(TooLarge) => reports.too_large(),
        }
    })
    .custom_auth("signed leak report")
}
