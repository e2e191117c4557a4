//! axum: routes that declare the access they require, and the caller as an argument of handlers.
//!
//! ```
//! # use keyway::{Keyring, MemoryStore, Pepper, Policy};
//! use axum::Router;
//! use keyway::{ConfigError, Principal, http::{Routes, axum::get}};
//!
//! async fn report(caller: Principal) -> String {
//!     format!("reports of {}", caller.tenant())
//! }
//!
//! fn app(keyring: &Keyring) -> Result<Router, ConfigError> {
//!     Routes::new(keyring)
//!         .route("/health", get(async || "ok").public())
//!         .route("/reports/production", get(report).require(["reporting"]))
//!         .build()
//! }
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! # }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! # app(&keyring)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A single route of an existing router takes a [`Guard`](super::Guard) as its layer:
//! `get(report).layer(keyring.require(["reporting"])?)`.

mod endpoints;
mod probe;

use alloc::vec::Vec;
use core::convert::Infallible;

use axum::{
    Router,
    body::Bytes,
    handler::Handler,
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
    routing::{self, MethodFilter, MethodRouter},
};
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use zeroize::Zeroizing;

#[cfg(feature = "leak-reports")]
pub use self::endpoints::leak_reports;
pub use self::endpoints::{forward_auth, introspection, own_key, revocation};
pub use self::probe::find_unguarded;
use super::{
    Resolved, Response as KeywayResponse, RotatedKey, Routes,
    admission::{caller, required_caller},
    routes::{self, ANY},
};
use crate::{config::ConfigError, decision::Principal};

/// The handlers of one path, with state `S`, each with the access it requires of its callers.
pub type Endpoint<S = ()> = routes::Endpoint<MethodRouter<S, Infallible>>;

macro_rules! methods {
    ($(($name:ident, $method:literal)),* $(,)?) => {
        $(
            #[doc = concat!("Creates an endpoint with the handler of `", $method, "`. Declare its access before it is built.")]
            pub fn $name<H, T, S>(handler: H) -> Endpoint<S>
            where
                H: Handler<T, S>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                Endpoint::new($method, routing::$name(handler))
            }
        )*

        impl<S: Clone + Send + Sync + 'static> Endpoint<S> {
            $(
                #[doc = concat!("Adds the handler of `", $method, "`.")]
                pub fn $name<H: Handler<T, S>, T: 'static>(self, handler: H) -> Self {
                    self.and($method, routing::$name(handler))
                }
            )*
        }
    };
}

methods! {
    (get, "GET"),
    (post, "POST"),
    (put, "PUT"),
    (patch, "PATCH"),
    (delete, "DELETE"),
    (options, "OPTIONS"),
    (any, "*"),
}

impl<S: Clone + Send + Sync + 'static> Routes<MethodRouter<S, Infallible>> {
    /// Returns the router.
    ///
    /// `GET` handlers also serve `HEAD`. Routes that are added to the router afterwards are neither guarded
    /// nor listed in a table.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`], which names the undeclared routes or the first other error.
    ///
    /// # Panics
    ///
    /// Panics, as axum does, if two paths conflict or are not in its syntax. Panics also if the handler of a
    /// method serves other methods or has a fallback. For such a handler create an
    /// [endpoint](routes::Endpoint::new) of `*`.
    pub fn build(self) -> Result<Router<S>, ConfigError> {
        let mut router = Router::new();
        for Resolved { method, path, handler, guard } in self.resolve()? {
            check_methods(method, &handler);
            let handler = match guard {
                // A handler of all methods is the fallback of its path, and `route_layer` does not wrap
                // fallbacks.
                Some(guard) if method == ANY => handler.layer(guard),
                Some(guard) => handler.route_layer(guard),
                None => handler,
            };
            router = router.route(&path, handler);
        }
        Ok(router)
    }
}

/// Panics, by axum's own check, if `handler` serves requests of other methods than `method`.
///
/// The guard would not protect those requests, and no table would list them.
fn check_methods<S>(method: &str, handler: &MethodRouter<S, Infallible>)
where
    S: Clone + Send + Sync + 'static,
{
    if method == ANY {
        return;
    }
    let is_other = |name: &str| name != method && !matches!((method, name), ("GET", "HEAD"));
    let others = METHODS.into_iter().filter(|(name, _)| is_other(name));
    let taken = others.fold(MethodRouter::new().fallback(async || ()), |taken, (_, filter)| {
        taken.on(filter, async || ())
    });
    drop(taken.merge(handler.clone()));
}

const METHODS: [(&str, MethodFilter); 9] = [
    ("CONNECT", MethodFilter::CONNECT),
    ("DELETE", MethodFilter::DELETE),
    ("GET", MethodFilter::GET),
    ("HEAD", MethodFilter::HEAD),
    ("OPTIONS", MethodFilter::OPTIONS),
    ("PATCH", MethodFilter::PATCH),
    ("POST", MethodFilter::POST),
    ("PUT", MethodFilter::PUT),
    ("TRACE", MethodFilter::TRACE),
];

/// Extracts the caller that the route's guard admitted.
///
/// On a route whose guard is optional, a request without a key is refused with status 401, as on a route that
/// needs a key. On a route without a guard every request is refused with status 500.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = KeywayResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, KeywayResponse> {
        let caller = required_caller(parts.extensions.get(), parts.extensions.get());
        caller.map_err(|answer| answer.for_request(parts.method.as_str(), &parts.headers))
    }
}

/// Extracts the caller, or `None` if the request has no key.
///
/// On a route without a guard every request is refused with status 500. Otherwise the handler would ignore
/// every key.
impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = KeywayResponse;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, KeywayResponse> {
        let caller = caller(parts.extensions.get(), parts.extensions.get());
        caller.map_err(|answer| answer.for_request(parts.method.as_str(), &parts.headers))
    }
}

/// The body is wiped when its last part is dropped.
impl IntoResponse for RotatedKey {
    fn into_response(self) -> Response {
        secret(self.headers(), self.into_body())
    }
}

/// The body is wiped when its last part is dropped.
#[cfg(feature = "children")]
impl IntoResponse for super::MintedChild {
    fn into_response(self) -> Response {
        secret(self.headers(), self.into_body())
    }
}

fn secret(
    headers: impl Iterator<Item = (&'static str, &'static str)>,
    body: Zeroizing<Vec<u8>>,
) -> Response {
    let mut response = Response::new(axum::body::Body::from(Bytes::from_owner(body)));
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

impl IntoResponse for KeywayResponse {
    fn into_response(self) -> Response {
        super::tower::to_response::<axum::body::Body>(self).map(axum::body::Body::new)
    }
}
