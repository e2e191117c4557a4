//! Endpoints that keyway implements.

use actix_web::HttpRequest;
#[cfg(feature = "leak-reports")]
use actix_web::web::Payload;
#[cfg(feature = "leak-reports")]
use futures_util::StreamExt as _;
#[cfg(feature = "leak-reports")]
use zeroize::Zeroize as _;

use super::{Endpoint, get};
use crate::http::{OwnKey, Response, RotatedKey};
#[cfg(feature = "leak-reports")]
use crate::http::{leak::LeakReports, wiped::Wiped};

/// Returns the endpoint where the holder of a key reads (`GET`) and deletes (`DELETE`) that key, and rotates it (`POST`)
/// if the endpoint is [rotatable](OwnKey::rotatable).
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

async fn revoke(own_key: OwnKey, request: HttpRequest) -> Response {
    own_key.revoke(request.headers()).await
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
    super::post(move |request, body| report(reports.clone(), request, body))
        .custom_auth("signed leak report")
}

// Reads the body as it was sent, because the signature covers those bytes. Body extractors may have their own
// limit and decompress the body.
#[cfg(feature = "leak-reports")]
async fn report(reports: LeakReports, request: HttpRequest, mut body: Payload) -> Response {
    let mut report = Wiped::with_capacity(4096);
    while let Some(part) = body.next().await {
        // The connection broke off, so no client reads this response.
        let Ok(part) = part else { return reports.too_large() };
        let fits = part.len() <= LeakReports::MAX_BODY_LEN - report.as_ref().len();
        if fits {
            report.extend(&part);
        }
        if let Ok(mut own) = part.try_into_mut() {
            own.as_mut().zeroize();
        }
        if !fits {
            return reports.too_large();
        }
    }
    reports.handle(request.headers(), report.as_ref()).await
}
