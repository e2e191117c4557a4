//! axum: routes that declare what they ask, and the caller as an argument of handlers.
//!
//! ```
//! # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
//! use axum::Router;
//! use keyway::{
//!     decision::Principal,
//!     http::{Routes, RoutesError, axum::get},
//! };
//!
//! async fn report(caller: Principal) -> String {
//!     format!("reports of {}", caller.tenant())
//! }
//!
//! fn app(keyring: &Keyring) -> Result<Router, RoutesError> {
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
//! A single route of a router that is there already takes a [`Guard`](super::Guard) as its layer:
//! `get(report).layer(keyring.require(["reporting"])?)`.

mod endpoints;
mod probe;

use core::convert::Infallible;

use axum::{
    Router,
    handler::Handler,
    http::request::Parts,
    response::{IntoResponse, Response},
    routing::{self, MethodFilter, MethodRouter},
};
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};

#[cfg(feature = "leak-reports")]
pub use self::endpoints::leak_reports;
pub use self::endpoints::own_key;
pub use self::probe::find_unguarded;
use super::{
    Answer, Resolved, Routes, RoutesError,
    routes::{self, ANY},
};
use crate::decision::Principal;

/// The handlers of one path, with state `S`, each with what it asks of its callers.
pub type Endpoint<S = ()> = routes::Endpoint<MethodRouter<S, Infallible>>;

macro_rules! methods {
    ($(($name:ident, $method:literal)),* $(,)?) => {
        $(
            #[doc = concat!("The handler of `", $method, "`. It is not part of routes before it is declared.")]
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
    /// The router.
    ///
    /// `GET` answers `HEAD` too. Whatever is added to the router afterwards is not guarded by this, and is
    /// in no table.
    ///
    /// # Errors
    ///
    /// [`RoutesError`] names what is undeclared, or the first other fault.
    ///
    /// # Panics
    ///
    /// As axum, if two paths contradict each other or are not in its syntax; and if the handler of a method
    /// answers others too, or has a fallback: an [endpoint](routes::Endpoint::new) of `*` takes those.
    pub fn build(self) -> Result<Router<S>, RoutesError> {
        let mut router = Router::new();
        for Resolved { method, path, handler, guard } in self.resolve()? {
            check_methods(method, &handler);
            let handler = match guard {
                // A handler of all methods is the fallback of its paths, which `route_layer` leaves out.
                Some(guard) if method == ANY => handler.layer(guard),
                Some(guard) => handler.route_layer(guard),
                None => handler,
            };
            router = router.route(&path, handler);
        }
        Ok(router)
    }
}

/// Panics, by axum's own check, if `handler` answers what is not of `method`: the guard would not stand
/// before it, and no table would list it.
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

/// The caller whom the guard of the route has admitted.
///
/// On a route without a guard this is refused with status 500: such a route is a fault of the host's.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Answer> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Answer::unguarded)
    }
}

/// The caller, if it has presented a key.
impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        super::tower::to_response::<axum::body::Body>(self).map(axum::body::Body::new)
    }
}
