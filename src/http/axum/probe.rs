//! A test that a service refuses who comes without a key.

use alloc::{format, string::String, vec::Vec};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header::WWW_AUTHENTICATE},
};
use tower_service::Service;

use crate::http::{Matrix, routes::ANY};

/// The routes of `matrix` that need a key and do not refuse a request without one: none, if `app` is what
/// the matrix says. For the tests of a host, with the whole stack that it serves.
///
/// It calls each of them once, with parameters filled with `x`, and expects status 401 with a `Bearer`
/// challenge. What it finds open it has called, so use it where that does no harm. A route that is in the app
/// and not in the matrix is out of its sight.
///
/// ```
/// # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
/// use axum::Router;
/// use keyway::http::{Routes, axum::{find_unguarded, get}};
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
/// let routes = Routes::new(&keyring).route("/reports/{day}", get(async || "").any_key());
/// let matrix = routes.matrix()?;
/// let app: Router = routes.build()?;
/// assert_eq!(find_unguarded(&matrix, &app).await, [""; 0]);
///
/// let other = Router::new().route("/reports/{day}", axum::routing::get(async || ""));
/// assert_eq!(find_unguarded(&matrix, &other).await, ["GET /reports/{day}: 200"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn find_unguarded(matrix: &Matrix, app: &Router) -> Vec<String> {
    let mut unguarded = Vec::new();
    for (row, path) in matrix.guarded() {
        let method = match row.method() {
            ANY => Method::GET,
            method => Method::from_bytes(method.as_bytes()).unwrap_or_default(),
        };
        let place = format!("{} {}", row.method(), row.path());
        let Ok(uri) = path.parse() else {
            unguarded.push(format!("{place}: cannot be called"));
            continue;
        };
        let mut request = Request::new(Body::empty());
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        // A router is always ready, and never fails.
        let Ok(response) = app.clone().call(request).await;
        if !is_refusal(&response) {
            unguarded.push(format!("{place}: {}", response.status().as_u16()));
        }
    }
    unguarded
}

/// Whether this is what a guard answers to a request without a key.
fn is_refusal<R>(response: &Response<R>) -> bool {
    let challenges = response.headers().get_all(WWW_AUTHENTICATE);
    let is_ours = challenges.into_iter().any(|value| value.as_bytes().starts_with(b"Bearer "));
    response.status() == StatusCode::UNAUTHORIZED && is_ours
}
