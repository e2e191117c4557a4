//! A test that a service refuses requests without a key.

use alloc::{string::String, vec::Vec};

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use tower_service::Service;

use crate::http::{
    RouteTable,
    probe::{self, Reply},
};

/// Returns the routes of `table` that need a key and do not refuse a request without one.
///
/// The result is empty if `app` does what the table says. Use this function in an application's tests, with
/// the complete middleware stack that it serves.
///
/// Each route is called without a key, with parameters filled with `x`. It must respond with status 401 and a
/// challenge of a guard. `GET` is called as `HEAD` too. A route for every method is called with nine methods,
/// one of which is an extension method. A route that is open only for some methods is listed with those
/// methods.
///
/// If a CORS layer responds to an `OPTIONS` before any route does, the route does not count as open.
///
/// A route with an [alternative](crate::http::Endpoint::or) to its key is not called, because its handler
/// decides about requests without a key.
///
/// A route that is found open has run its handler, so use this function where that does no harm. It does not
/// find routes of the app that are not in the table.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
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
/// let table = routes.table()?;
/// let app: Router = routes.build()?;
/// assert_eq!(find_unguarded(&table, &app).await, [""; 0]);
///
/// let other = Router::new().route("/reports/{day}", axum::routing::get(async || ""));
/// assert_eq!(find_unguarded(&table, &other).await, ["GET /reports/{day}: 200"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn find_unguarded(table: &RouteTable, app: &Router) -> Vec<String> {
    probe::find(table, async |method, path| {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
        *request.uri_mut() = path.parse().ok()?;
        // A router is always ready, and its error type is `Infallible`.
        let Ok(response) = app.clone().call(request).await;
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().into(), value.as_bytes().into()));
        Some(Reply { status: response.status().as_u16(), headers: headers.collect() })
    })
    .await
}
