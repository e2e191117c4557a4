//! Endpoints that keyway answers itself.

use actix_web::HttpRequest;
#[cfg(feature = "leak-reports")]
use actix_web::web::Payload;

use super::{Endpoint, get};
#[cfg(feature = "leak-reports")]
use crate::http::leak::LeakReports;
use crate::http::{Answer, OwnKey};

/// The endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key; see [`OwnKey`].
///
/// ```
/// # use keyway::{http::RoutesError, keyring::Keyring};
/// use keyway::http::{Guard, OwnKey, Routes, actix};
///
/// # fn routes(keyring: &Keyring) -> Result<(), RoutesError> {
/// let guard = Guard::new(keyring);
/// let own_key = OwnKey::new(keyring, &guard);
/// let routes = Routes::new(guard).route("/key", actix::own_key(&own_key)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
pub fn own_key(own_key: &OwnKey) -> Endpoint {
    let (reads, deletes) = (own_key.clone(), own_key.clone());
    get(move |request| describe(reads.clone(), request))
        .delete(move |request| revoke(deletes.clone(), request))
        .authenticated_by("the key itself")
}

async fn describe(own_key: OwnKey, request: HttpRequest) -> Answer {
    own_key.describe(request.headers()).await
}

async fn revoke(own_key: OwnKey, request: HttpRequest) -> Answer {
    own_key.revoke(request.headers()).await
}

/// The endpoint that reports of leaked keys are posted to; see [`leak`](crate::http::leak).
///
/// ```
/// # use keyway::{http::RoutesError, keyring::Keyring};
/// use keyway::{
///     authority::LeakResponse,
///     http::{
///         Routes, actix,
///         leak::{LeakReports, SigningKeys},
///     },
/// };
///
/// # fn routes(keyring: &Keyring, keys: &SigningKeys) -> Result<(), RoutesError> {
/// let reports = LeakReports::new(keyring, LeakResponse::Suspend, keys);
/// let routes = Routes::new(keyring).route("/leaks/github", actix::leak_reports(&reports)).build()?;
/// # let _ = actix_web::App::new().configure(routes);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "leak-reports")]
pub fn leak_reports(reports: &LeakReports) -> Endpoint {
    let reports = reports.clone();
    super::post(move |request, body| report(reports.clone(), request, body))
        .authenticated_by("signed leak report")
}

// The body as it came: what reads it for handlers may have its own limit, and decompresses it.
#[cfg(feature = "leak-reports")]
async fn report(reports: LeakReports, request: HttpRequest, body: Payload) -> Answer {
    match body.to_bytes_limited(LeakReports::MAX_BODY_LEN).await {
        Ok(Ok(body)) => reports.answer(request.headers(), &body).await,
        // Or the sender went away, and reads no answer.
        _ => LeakReports::too_large(),
    }
}
