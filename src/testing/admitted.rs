//! Requests that carry their caller.

use crate::decision::Principal;

/// A request of a framework, into which [`admit`] puts a caller.
///
/// Implemented for `http::Request`, which axum and tower use, and for actix-web's `HttpRequest`,
/// `ServiceRequest` and the result of `TestRequest::to_request`.
pub trait TestRequest: private::Carry {}

/// Returns `request` with `caller`, as a handler behind a guard would get it.
///
/// The extractor `Principal` returns this caller on a route without a guard. A guard refuses the request
/// nevertheless: only the guards of the keyring that the caller was [built for](super::Caller::build_for)
/// admit it.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use keyway::{Policy, Principal, testing};
/// use tower::ServiceExt as _;
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let report = async |caller: Principal| format!("reports of {}", caller.tenant());
/// let app: Router = Router::new().route("/reports", get(report));
///
/// let caller = testing::caller("acme").scopes(["reporting"]).build(&policy)?;
/// let request = testing::admit(Request::get("/reports").body(Body::empty())?, caller);
/// assert_eq!(app.oneshot(request).await?.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use]
pub fn admit<R: TestRequest>(mut request: R, caller: Principal) -> R {
    private::Carry::carry(&mut request, caller);
    request
}

mod private {
    use crate::decision::Principal;

    pub trait Carry {
        /// Puts the caller where extractors read it.
        fn carry(&mut self, caller: Principal);
    }
}

#[cfg(feature = "tower")]
impl<B> private::Carry for http::Request<B> {
    fn carry(&mut self, caller: Principal) {
        self.extensions_mut().insert(caller);
    }
}

#[cfg(feature = "tower")]
impl<B> TestRequest for http::Request<B> {}

#[cfg(feature = "actix")]
macro_rules! carry {
    ($($request:ty),*) => { $(
        impl private::Carry for $request {
            fn carry(&mut self, caller: Principal) {
                actix_web::HttpMessage::extensions_mut(self).insert(caller);
            }
        }

        impl TestRequest for $request {}
    )* };
}

#[cfg(feature = "actix")]
carry!(actix_http::Request, actix_web::HttpRequest, actix_web::dev::ServiceRequest);
