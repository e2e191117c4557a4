//! actix-web: routes that declare what they ask, the guard as a middleware, and the caller as an argument
//! of handlers.
//!
//! ```
//! # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
//! use actix_web::{App, web::ServiceConfig};
//! use keyway::{
//!     decision::Principal,
//!     http::{Routes, RoutesError, actix::get},
//! };
//!
//! async fn report(caller: Principal) -> String {
//!     format!("reports of {}", caller.tenant())
//! }
//!
//! fn routes(keyring: &Keyring) -> Result<impl Fn(&mut ServiceConfig) + Clone + Send, RoutesError> {
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
//! // Once, before there is any worker.
//! let routes = routes(&keyring)?;
//! // What `HttpServer::new` takes.
//! let app = move || App::new().configure(routes.clone());
//! # app();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An app, scope, resource or route that is there already takes a [`Guard`] as its
//! middleware: `web::resource("/reports").wrap(keyring.require(["reporting"])?)`. What else is around it is a
//! matter of the [guide](crate::guide::actix).

mod answer;
mod endpoints;
mod future;
mod guarded;
mod paths;

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
pub use self::{endpoints::own_key, future::GuardedFuture, guarded::Guarded};
use super::{
    Guard, Resolved, Routes, RoutesError,
    routes::{self, ANY},
};

/// The handlers of one path, each with what it asks of its callers.
pub type Endpoint = routes::Endpoint<ActixHandler>;

/// A handler, which every worker makes its own route of.
#[derive(Clone)]
pub struct ActixHandler(Arc<dyn Fn() -> Route + Send + Sync>);

impl ActixHandler {
    /// A handler with middleware or conditions of its own, behind the guard. The method is that of the
    /// endpoint and not for the route to say:
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
            #[doc = concat!("The handler of `", $method, "`. It is not part of routes before it is declared.")]
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
    /// What configures an app or scope of every worker.
    ///
    /// `GET` answers `HEAD` too, and a method without a handler is answered with 405 before anybody asks for
    /// a key. Of two paths that match a request, the one with the earlier fixed segment gets it, in
    /// whatever order they were declared. actix-web compares paths after decoding what is escaped in them,
    /// so `/%6aobs` is `/jobs`, with the same guard. Whatever is added to the app besides is not guarded by
    /// this, and is in no table.
    ///
    /// # Errors
    ///
    /// [`RoutesError`] names what is undeclared, or the first other fault.
    ///
    /// # Panics
    ///
    /// As actix-web, if a path is not in its syntax.
    pub fn build(
        self,
    ) -> Result<impl Fn(&mut ServiceConfig) + Clone + Send + Sync + 'static, RoutesError> {
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
    /// The methods that have a handler, as axum lists them.
    allow: String,
}

struct Operation {
    method: &'static str,
    handler: ActixHandler,
    guard: Option<Guard>,
}

impl Place {
    fn new(path: String, operation: Operation) -> Self {
        // A path that no resource can have stops the start here, and not each of the workers.
        drop(ResourceDef::new(path.as_str()));
        Self { path, allow: operation.answered().into(), operations: vec![operation] }
    }

    fn add(&mut self, operation: Operation) {
        self.allow.push(',');
        self.allow.push_str(operation.answered());
        // Before that of `GET`, which takes these requests too.
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
    /// The methods that it answers, as axum lists them.
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
