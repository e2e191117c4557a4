//! actix-web: routes that declare the access they require, the guard as a middleware, and the caller as an
//! argument of handlers.
//!
//! ```
//! # use keyway::{Keyring, MemoryStore, Pepper, Policy};
//! use actix_web::{App, web::ServiceConfig};
//! use keyway::{ConfigError, Principal, http::{Routes, actix::get}};
//!
//! async fn report(caller: Principal) -> String {
//!     format!("reports of {}", caller.tenant())
//! }
//!
//! fn routes(keyring: &Keyring) -> Result<impl Fn(&mut ServiceConfig) + Clone + Send, ConfigError> {
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
//!
//! // Call this once, before any worker starts.
//! let routes = routes(&keyring)?;
//! // The argument of `HttpServer::new`.
//! let app = move || App::new().configure(routes.clone());
//! # app();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An existing app, scope, resource or route takes a [`Guard`] as its middleware:
//! `web::resource("/reports").wrap(keyring.require(["reporting"])?)`. The [guide](crate::guide::actix)
//! describes how other middleware combines with it.

mod endpoints;
mod future;
mod guarded;
mod paths;
mod probe;
mod response;
#[cfg(feature = "children")]
mod ticket;

use alloc::{string::String, sync::Arc, vec, vec::Vec};
use core::{fmt, future::ready};

use actix_web::{
    FromRequest, Handler, HttpResponse, Responder, Route,
    dev::ResourceDef,
    guard,
    http::header,
    web::{self, ServiceConfig},
};

#[cfg(feature = "leak-reports")]
pub use self::endpoints::leak_reports;
pub use self::{
    endpoints::{forward_auth, introspection, own_key, revocation},
    future::GuardedFuture,
    guarded::Guarded,
    probe::find_unguarded,
};
use super::{
    Guard, Resolved, Routes,
    routes::{self, ANY},
};
use crate::config::ConfigError;

/// The handlers of one path, each with the access it requires of its callers.
pub type Endpoint = routes::Endpoint<ActixHandler>;

/// A handler, from which every worker makes its own route.
#[derive(Clone)]
pub struct ActixHandler(Arc<dyn Fn() -> Route + Send + Sync>);

impl ActixHandler {
    /// Creates a handler whose route has middleware or conditions of its own, inside the guard.
    ///
    /// The method is that of the endpoint. The route must not set it:
    ///
    /// ```
    /// use actix_web::{middleware::NormalizePath, web};
    /// use keyway::http::actix::{ActixHandler, Endpoint};
    ///
    /// let handler = || web::route().to(async || "traced").wrap(NormalizePath::trim());
    /// let endpoint: Endpoint = Endpoint::new("TRACE", ActixHandler::new(handler)).any_key();
    /// ```
    pub fn new(route: impl Fn() -> Route + Send + Sync + 'static) -> Self {
        Self(Arc::new(route))
    }

    fn of<H, T>(handler: H) -> Self
    where
        H: Handler<T> + Send + Sync,
        T: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        Self::new(move || web::route().to(handler.clone()))
    }
}

impl fmt::Debug for ActixHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActixHandler").finish_non_exhaustive()
    }
}

macro_rules! methods {
    ($(($name:ident, $method:literal)),* $(,)?) => {
        $(
            #[doc = concat!("Creates an endpoint with the handler of `", $method, "`. Declare its access before it is built.")]
            pub fn $name<H, T>(handler: H) -> Endpoint
            where
                H: Handler<T> + Send + Sync,
                T: FromRequest + 'static,
                H::Output: Responder + 'static,
            {
                Endpoint::new($method, ActixHandler::of(handler))
            }
        )*

        impl Endpoint {
            $(
                #[doc = concat!("Adds the handler of `", $method, "`.")]
                pub fn $name<H, T>(self, handler: H) -> Self
                where
                    H: Handler<T> + Send + Sync,
                    T: FromRequest + 'static,
                    H::Output: Responder + 'static,
                {
                    self.and($method, ActixHandler::of(handler))
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

impl Routes<ActixHandler> {
    /// Returns a function that configures an app or scope in every worker.
    ///
    /// `GET` handlers also serve `HEAD`. A method without a handler gets status 405 before any key is
    /// required. If two paths match a request, the path whose fixed segment comes earlier takes it, in
    /// whatever order they were declared. actix-web decodes percent-escapes before it compares paths, so
    /// `/%6aobs` is `/jobs` and has the same guard. Services that are added to the app separately are neither
    /// guarded nor listed in a table.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`], which names the undeclared routes or the first other error.
    ///
    /// # Panics
    ///
    /// Panics, as actix-web does, if a path is not in its syntax.
    pub fn build(
        self,
    ) -> Result<impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static, ConfigError> {
        let mut places: Vec<Place> = Vec::new();
        for Resolved { method, path, handler, guard } in self.resolve()? {
            let operation = Operation { method, handler, guard };
            if let Some(place) = places.iter_mut().find(|place| place.path == path) {
                place.add(operation);
            } else {
                places.push(Place::new(path, operation));
            }
        }
        paths::sort(&mut places, |place| &place.path)?;
        let places: Arc<[Place]> = places.into();
        Ok(move |config: &mut ServiceConfig| {
            for place in &*places {
                place.configure(config);
            }
        })
    }
}

/// The handlers of one path, which become one resource.
struct Place {
    path: String,
    operations: Vec<Operation>,
    /// The methods that have a handler, in the format that axum uses for `Allow`.
    allow: String,
}

struct Operation {
    method: &'static str,
    handler: ActixHandler,
    guard: Option<Guard>,
}

impl Place {
    fn new(path: String, operation: Operation) -> Self {
        // A path that cannot be a resource panics here, at the start, instead of in each worker.
        drop(ResourceDef::new(path.as_str()));
        Self { path, allow: operation.answered().into(), operations: vec![operation] }
    }

    fn add(&mut self, operation: Operation) {
        self.allow.push(',');
        self.allow.push_str(operation.answered());
        // `HEAD` goes before `GET`, whose route takes `HEAD` requests too.
        let place = if operation.method == "HEAD" { 0 } else { self.operations.len() };
        self.operations.insert(place, operation);
    }

    fn configure(&self, config: &mut ServiceConfig) {
        let mut resource = web::resource(self.path.as_str());
        for operation in &self.operations {
            resource = resource.route(operation.route());
        }
        let allow = self.allow.clone();
        let refuse = move || {
            let mut response = HttpResponse::MethodNotAllowed();
            ready(response.insert_header((header::ALLOW, allow.as_str())).finish())
        };
        config.service(resource.default_service(web::to(refuse)));
    }
}

impl Operation {
    /// Returns the methods that it serves, in the format that axum uses for `Allow`.
    fn answered(&self) -> &'static str {
        match self.method {
            "GET" => "GET,HEAD",
            ANY => "",
            method => method,
        }
    }

    fn route(&self) -> Route {
        let (method, route) = (self.method, (self.handler.0)());
        let route = match &self.guard {
            Some(guard) => route.wrap(guard.clone()),
            None => route,
        };
        match method {
            ANY => route,
            "GET" => route.guard(guard::Any(guard::Get()).or(guard::Head())),
            method => route.guard(guard::fn_guard(move |request| request.head().method == method)),
        }
    }
}
