//! A test that a service refuses requests without a key.

use alloc::{string::String, vec::Vec};

use actix_http::Request;
use actix_web::{
    Error,
    dev::{Service, ServiceResponse},
    http::{Method, StatusCode, Uri, header::HeaderMap},
    test::TestRequest,
};

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
/// If a parameter has an expression that `x` does not match, the path leads to no route. The route is then
/// listed with status 404.
///
/// A route with an [alternative](crate::http::Endpoint::or) to its key is not called, because its handler
/// decides about requests without a key.
///
/// A route that is found open has run its handler, so use this function where that does no harm. It does not
/// find routes of the app that are not in the table.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use actix_web::{App, test::init_service};
/// use keyway::http::{Routes, actix::{find_unguarded, get}};
///
/// # actix_web::rt::System::new().block_on(async {
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
/// let app = init_service(App::new().configure(routes.build()?)).await;
/// assert_eq!(find_unguarded(&table, &app).await, [""; 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn find_unguarded<S, B>(table: &RouteTable, app: &S) -> Vec<String>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
{
    probe::find(table, async |method, path| {
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        // `TestRequest` panics if the path is not a URI.
        path.parse::<Uri>().ok()?;
        let request = TestRequest::default().method(method).uri(path);
        Some(match app.call(request.to_request()).await {
            Ok(response) => reply(response.status(), response.headers()),
            Err(error) => {
                let response = error.error_response();
                reply(response.status(), response.headers())
            }
        })
    })
    .await
}

fn reply(status: StatusCode, headers: &HeaderMap) -> Reply {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str().into(), value.as_bytes().into()));
    Reply { status: status.as_u16(), headers: headers.collect() }
}
