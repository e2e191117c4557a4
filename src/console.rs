//! A page and a JSON API for managing keys, which the application mounts in its router. They serve the
//! administrators of tenants and the operators of the service.
//!
//! ```
//! use axum::{Router, http::{StatusCode, request::Parts}, response::{IntoResponse, Response}};
//! use keyway::{Keyring, console::{self, Admin}, scope::ScopeSet};
//!
//! # fn session(_: &Parts) -> Option<(&'static str, &'static str)> { None }
//! fn app(keyring: &Keyring) -> Router {
//!     let everything = keyring.policy().catalog().all();
//!     // Identifies the signed-in user by the application's own session, and rejects everyone else.
//!     let who = move |request: Parts| async move { admin(&request, everything) };
//!     Router::new().nest_service("/settings/api-keys", console::router::<(), _>(keyring, who))
//! }
//!
//! fn admin(request: &Parts, may_grant: ScopeSet) -> Result<Admin, Response> {
//!     let (user, company) = session(request).ok_or(StatusCode::UNAUTHORIZED.into_response())?;
//!     let tenant = company.parse().map_err(|_| StatusCode::FORBIDDEN.into_response())?;
//!     Ok(Admin::of_tenant(tenant, may_grant, user))
//! }
//! # use keyway::{MemoryStore, Pepper, Policy};
//! # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! # app(&keyring);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One mount serves both roles. The application's function decides which role a request has. Only the static
//! files of the page are served without it. The routes of the other role respond with 404, and so does
//! another tenant's key.
//!
//! | path below the mount | role | |
//! |---|---|---|
//! | `/` | both | the page, in English unless the application replaces its texts |
//! | `/openapi.json` | both | the description of the API, in OpenAPI 3.1 |
//! | `GET /api/session` | both | the caller, the scopes that they can grant, the quota |
//! | `GET`, `POST /api/keys`, `POST /api/keys/search` | tenant | list, create, search |
//! | `GET`, `PATCH`, `DELETE /api/keys/{id}` | tenant | read, change, delete |
//! | `POST /api/keys/{id}/rotate`, `GET /api/keys/{id}/events` | tenant | a new secret; the key's history |
//! | `GET /api/usage`, `/api/usage.csv`, `/api/keys/{id}/usage` | tenant | the [requests](crate::usage) of each day |
//! | `GET /api/tenants…`, `PUT /api/tenants/{tenant}/tier` | operator | tenants, their keys and tiers |
//! | `PUT`, `DELETE /api/tenants/{tenant}/suspension`, `…/keys/{id}/suspension` | operator | suspend, resume |
//! | `POST /api/leaks` | operator | report a leaked token |
//!
//! Errors are returned as [problem details](crate::http::problem). The [guide](crate::guide::console) describes the
//! application's choices: where the console is mounted, who may use it, and how it looks.
//!
//! # Refused requests
//!
//! - Requests from another origin, by the headers that browsers add.
//! - Requests that present an API key, unless the application [allows that](Console::allow_api_keys), and all that present
//!   a child of one.
//! - Changes without the version that they replace.
//!
//! Responses carry `Cache-Control: no-store`, or `no-cache` for static files, and cannot be shown in a frame.
//! Responses of the application's function are passed on without these headers. The page loads from and sends
//! to its own origin only.

mod admin;
mod allowances;
mod app;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod audit_table;
mod auth;
mod body;
mod children;
mod csrf;
mod durable_events;
mod extract;
mod fair;
mod headers;
mod keys;
mod limits;
mod openapi;
mod owners;
mod page;
mod problem;
mod recent_events;
mod rotations;
mod router;
mod scopes;
mod session;
mod settings;
mod tenants;
mod trail;
mod usage;
mod views;

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    any::{Any, TypeId},
    fmt,
    future::Future,
};

use axum::{Router, http::request::Parts, response::Response};

pub use self::{
    admin::Admin,
    recent_events::RecentEvents,
    settings::OperatorAction,
    trail::{AuditTrail, TrailError, TrailEvent, TrailPage},
};
use self::{
    app::{App, Who},
    rotations::Rotations,
    scopes::ScopeTree,
    settings::Settings,
    trail::AnyTrail,
};
use crate::{
    config::ConfigError,
    http::{Guard, problem::ProblemTypes},
    keyring::Keyring,
};

/// Returns the console of `keyring` as a router. `who` identifies the caller of a request; see
/// [`Console::new`].
///
/// Mount the router with `nest_service`, which matches the path with and without a slash at the end. `nest`
/// matches only the path without it.
pub fn router<S, A>(
    keyring: &Keyring,
    who: impl Fn(Parts) -> A + Send + Sync + 'static,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    A: Future<Output = Result<Admin, Response>> + Send + 'static,
{
    Console::new(keyring, who).router()
}

/// A console with its settings: how it looks and what it allows.
///
/// ```
/// # use axum::{Router, http::{StatusCode, request::Parts}, response::IntoResponse};
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use keyway::console::{Console, RecentEvents};
///
/// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
/// let trail = RecentEvents::new(10_000);
/// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
///     .environment("live")
///     .store(MemoryStore::new())
///     .audit(trail.clone())
///     .build()?;
///
/// let console = Console::new(&keyring, async |_: Parts| Err(StatusCode::UNAUTHORIZED.into_response()))
///     .service_name("MachineMetrics")
///     .accent("#0a6ebd")?
///     .curl("curl -H 'Authorization: Bearer {token}' https://api.example/reports")?
///     .support("support@example.com")
///     .audit_trail(trail);
/// let app: Router = Router::new().nest_service("/settings/api-keys", console.router::<()>());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a console is nowhere until its router is mounted"]
pub struct Console {
    keyring: Keyring,
    who: Who,
    settings: Settings,
    allows_api_keys: bool,
    trail: Option<AnyTrail>,
}

impl Console {
    /// Creates a console of `keyring` for the callers that `who` accepts.
    ///
    /// `who` gets the head of a request, with all extensions that layers around the console have added. It
    /// returns the [`Admin`] that sends the request. Otherwise it returns a response, such as 401 or a
    /// redirect to the sign-in page, which the console passes on unchanged.
    ///
    /// `who` is called for every request except those for static files of the page, so it should be quick.
    /// The page's script treats 401, a redirect, and a successful response that is not JSON as "signed out".
    pub fn new<A>(keyring: &Keyring, who: impl Fn(Parts) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Admin, Response>> + Send + 'static,
    {
        Self {
            who: Arc::new(move |request| Box::pin(who(request))),
            settings: Settings::new(keyring.policy().issuer()),
            allows_api_keys: false,
            trail: None,
            keyring: keyring.clone(),
        }
    }

    /// Sets the name of the service that the page shows. By default it is the issuer of the tokens.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets the logo at the top of the page: an image of a type such as `image/svg+xml` or `image/png`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Logo`] if `content_type` is not an image type.
    pub fn logo(
        mut self,
        content_type: &str,
        image: impl Into<Vec<u8>>,
    ) -> Result<Self, ConfigError> {
        self.settings.set_logo(content_type, image.into())?;
        Ok(self)
    }

    /// Sets the color of buttons and links, as `#rrggbb`. Text on it is black or white, whichever has the
    /// higher contrast.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Accent`] if the color has another form.
    pub fn accent(mut self, colour: &str) -> Result<Self, ConfigError> {
        self.settings.accent = colour.parse()?;
        Ok(self)
    }

    /// Sets a command that uses a new key. The page shows it once, together with the token, which replaces
    /// `{token}`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Curl`] unless `line` is one line with exactly one `{token}`.
    pub fn curl(mut self, line: impl Into<String>) -> Result<Self, ConfigError> {
        self.settings.set_curl(line.into())?;
        Ok(self)
    }

    /// Sets the contact for more keys and for changes that only an operator can make. The page shows it as a
    /// link: to the address if it begins with `http:` or `https:`, or else with `mailto:`.
    pub fn support(mut self, contact: impl Into<String>) -> Self {
        self.settings.support = Some(contact.into());
        self
    }

    /// Replaces texts of the page. `json` is an object with keys of `text.json` and their new texts.
    /// `language` is the language of the texts, such as `de`. Texts that `json` leaves out are not changed.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::PageText`] if the page has no text with one of the keys.
    /// - [`ConfigError::Unreadable`] if `json` is not an object of strings.
    /// - [`ConfigError::Language`] if `language` is not a language tag.
    pub fn text(mut self, language: &str, json: &str) -> Result<Self, ConfigError> {
        self.settings.set_text(language, json)?;
        Ok(self)
    }

    /// Removes `action` from the console, for applications that do it elsewhere. Tiers may be up to the
    /// billing system, for instance. The action's requests are refused with 403, the page shows no control
    /// for it, and the OpenAPI document does not list it.
    ///
    /// ```
    /// # use axum::{http::{StatusCode, request::Parts}, response::IntoResponse};
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::console::{Console, OperatorAction};
    ///
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// # let who = async |_: Parts| Err(StatusCode::UNAUTHORIZED.into_response());
    /// let console = Console::new(&keyring, who).without(OperatorAction::Tiers);
    /// # let _: axum::Router = console.router();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without(mut self, action: OperatorAction) -> Self {
        self.settings.without.push(action);
        self
    }

    /// Sets where the application documents the [problem types](crate::http::problem), so that their links lead to its own
    /// documentation. The names at the end of the links do not change.
    pub fn problem_types(mut self, types: ProblemTypes) -> Self {
        self.settings.problem_types = types;
        self
    }

    /// Shows the history of a key as `trail` returns it. Without a trail, the history is empty.
    ///
    /// [`Events`](crate::keyring::Events) are a trail that has every change, made or refused, by any process.
    /// [`RecentEvents`] and `store::AuditTable` have refused requests as well, and may lose events in a crash.
    pub fn audit_trail(mut self, trail: impl AuditTrail) -> Self {
        // `RecentEvents` lacks the changes of other processes, and a table those of a process that crashed.
        let known = [
            TypeId::of::<RecentEvents>(),
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            TypeId::of::<crate::store::AuditTable>(),
        ];
        let has_all_changes = known.contains(&trail.type_id());
        self.trail = Some(AnyTrail::new(trail, has_all_changes));
        self
    }

    /// Accepts requests with an API key of this service and passes them to `who`.
    ///
    /// `who` finds the verified [`Principal`](crate::decision::Principal) in the extensions. It comes from a
    /// guard of this keyring in front of the console, or else from the token in `Authorization`. The
    /// [`Admin`] that `who` returns decides what the caller may do. With [`Admin::of_caller`] the caller can
    /// grant at most what its key may do. It can disable or delete any key of its tenant. A key that is limited to
    /// networks needs a guard in front that knows the [address of the client](crate::Guard::client_address).
    ///
    /// By default, requests with an API key are refused before `who` is called. Otherwise a leaked key could
    /// create keys that outlive it. For the same reason, a child of a key is always refused.
    pub fn allow_api_keys(mut self) -> Self {
        self.allows_api_keys = true;
        self
    }

    /// Builds the router, which is mounted as [`router`] describes. Build it once: a retry of a rotation is
    /// recognized only by the router that did it and by clones of that router.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let Self { keyring, who, settings, allows_api_keys, trail } = self;
        let guard = Guard::new(&keyring).problem_types(settings.problem_types.clone());
        // To manage keys is to touch none of the application's resources.
        let kinds = keyring.policy().catalog().resources();
        let guard = kinds.fold(guard, |guard, (kind, _)| guard.touches_no(kind).unwrap_or(guard));
        router::router(App {
            guard: allows_api_keys.then_some(guard),
            rotations: Rotations::default(),
            scopes: ScopeTree::of(keyring.policy().catalog()),
            keyring,
            who,
            settings,
            trail,
        })
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("keyring", &self.keyring)
            .field("settings", &self.settings)
            .field("allows_api_keys", &self.allows_api_keys)
            .finish_non_exhaustive()
    }
}
