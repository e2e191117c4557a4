//! Endpoints that keyway answers itself.

#[cfg(feature = "leak-reports")]
use axum::extract::Request;
use axum::http::HeaderMap;

use super::{Endpoint, get};
#[cfg(feature = "leak-reports")]
use crate::http::leak::LeakReports;
use crate::http::{Answer, OwnKey};

/// The endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key; see [`OwnKey`].
///
/// ```
/// # use keyway::keyring::Keyring;
/// use keyway::http::{Guard, OwnKey, Routes, axum};
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
    get(async move |fields: HeaderMap| -> Answer { reads.describe(&fields).await })
        .delete(async move |fields: HeaderMap| -> Answer { deletes.revoke(&fields).await })
        .authenticated_by("the key itself")
}

/// The endpoint that reports of leaked keys are posted to; see [`leak`](crate::http::leak).
///
/// ```
/// # use keyway::keyring::Keyring;
/// use keyway::{
///     authority::LeakResponse,
///     http::{
///         Routes, axum,
///         leak::{LeakReports, SigningKeys},
///     },
/// };
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
    super::post(async move |request: Request| -> Answer {
        let (head, body) = request.into_parts();
        match axum::body::to_bytes(body, LeakReports::MAX_BODY_LEN).await {
            Ok(body) => reports.answer(&head.headers, &body).await,
            // Or the sender went away, and reads no answer.
            Err(_) => LeakReports::too_large(),
        }
    })
    .authenticated_by("signed leak report")
}
