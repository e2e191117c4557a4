//! The management of keys as pages and a JSON API that a host mounts: for the administrators of tenants, and
//! for the operators of the service.
//!
//! ```
//! use axum::{Router, http::{StatusCode, request::Parts}, response::{IntoResponse, Response}};
//! use keyway::{console::{self, Admin}, keyring::Keyring, scope::ScopeSet};
//!
//! # fn session(_: &Parts) -> Option<(&'static str, &'static str)> { None }
//! fn app(keyring: &Keyring) -> Router {
//!     let everything = keyring.policy().catalog().all();
//!     // Whoever has signed in, as the host knows it; nobody else.
//!     let who = move |request: Parts| async move { admin(&request, everything) };
//!     Router::new().nest_service("/settings/api-keys", console::router::<(), _>(keyring, who))
//! }
//!
//! fn admin(request: &Parts, may_grant: ScopeSet) -> Result<Admin, Response> {
//!     let (user, company) = session(request).ok_or(StatusCode::UNAUTHORIZED.into_response())?;
//!     let tenant = company.parse().map_err(|_| StatusCode::FORBIDDEN.into_response())?;
//!     Ok(Admin::of_tenant(tenant, may_grant, user))
//! }
//! # use keyway::{pepper::Pepper, policy::Policy, store::MemoryStore};
//! # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! # app(&keyring);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One mount serves both kinds of people; whom a request is of is for the host's function to say, and there
//! is no answer without it. Whoever is not the operator finds none of the operator's routes, and the key of
//! another tenant is one that does not exist.
//!
//! | path below the mount | who | |
//! |---|---|---|
//! | `/` | both | the page, in English unless the host says otherwise |
//! | `/openapi.json` | both | the description of the API, in OpenAPI 3.1 |
//! | `GET /api/session` | both | who they are, what they may grant, the quota |
//! | `GET`, `POST /api/keys`, `POST /api/keys/search` | tenant | list, create, search |
//! | `GET`, `PATCH`, `DELETE /api/keys/{id}` | tenant | read, change, delete |
//! | `POST /api/keys/{id}/rotate`, `GET /api/keys/{id}/events` | tenant | a new secret; what happened |
//! | `GET /api/tenants…`, `PUT /api/tenants/{tenant}/tier` | operator | tenants, their keys and tiers |
//! | `PUT`, `DELETE /api/tenants/{tenant}/suspension`, `…/keys/{id}/suspension` | operator | suspend, resume |
//! | `POST /api/leaks` | operator | report a token that was found |
//!
//! What goes wrong is told as [problem details](problem). The [guide](crate::guide::console) has what a host
//! decides: where it is mounted, who may, how it looks.
//!
//! # What it refuses
//!
//! A request from another origin, by what browsers say of it; a request that presents an API key, unless the
//! host [allows that](Console::allow_api_keys); a change without the version that it is to replace. Answers
//! are in no cache and in no frame, and the page asks nobody but its own host for anything.

mod admin;
mod app;
mod body;
mod gate;
mod keys;
mod openapi;
mod origin;
mod page;
mod paging;
mod parts;
pub mod problem;
mod refusal;
mod replays;
mod scopes;
mod session;
mod settings;
mod tenants;
mod trail;
mod views;

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{fmt, future::Future, pin::Pin};

use axum::{Router, http::request::Parts, response::Response};

pub use self::{
    admin::Admin,
    settings::ConsoleError,
    trail::{AuditTrail, RecentEvents, TrailError, TrailEvent, TrailPage},
};
use self::{app::App, settings::Settings};
use crate::keyring::Keyring;

/// The console of `keyring`, for a router to mount. `who` says of whom a request is; see [`Console::new`].
///
/// Mount it with `nest_service`: it then answers with and without a slash at the end. `nest` knows only the
/// path without.
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

/// A console, with how it looks and what it allows.
///
/// ```
/// # use axum::{Router, http::{StatusCode, request::Parts}, response::IntoResponse};
/// # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
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
    trail: Option<Arc<dyn trail::ErasedTrail>>,
}

/// Says of whom a request is.
type Who = Arc<dyn Fn(Parts) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Admin, Response>> + Send>>;

impl Console {
    /// The console of `keyring` for those whom `who` knows.
    ///
    /// `who` gets the head of a request, with all extensions that layers around the console have put there,
    /// and says of whom it is. What it gives in place of an [`Admin`] is answered as it is: 401, or a way to
    /// sign in. It is asked for every request except for those of the static parts of the page, and so
    /// should be quick. The script of the page takes each answer that is not JSON for "signed out".
    pub fn new<A>(keyring: &Keyring, who: impl Fn(Parts) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Admin, Response>> + Send + 'static,
    {
        Self {
            who: Arc::new(move |request: Parts| -> Answering { Box::pin(who(request)) }),
            settings: Settings::new(keyring.policy().issuer()),
            allows_api_keys: false,
            trail: None,
            keyring: keyring.clone(),
        }
    }

    /// The name of the service, instead of the issuer of its tokens.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// The logo above the page: an image of a type such as `image/svg+xml` or `image/png`.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Logo`] if the type is not that of an image.
    pub fn logo(
        mut self,
        content_type: &str,
        image: impl Into<Vec<u8>>,
    ) -> Result<Self, ConsoleError> {
        self.settings.set_logo(content_type, image.into())?;
        Ok(self)
    }

    /// The colour of buttons and links, as `#rrggbb`. Text on it is black or white, whichever can be read
    /// better.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Accent`] if it is of another form.
    pub fn accent(mut self, colour: &str) -> Result<Self, ConsoleError> {
        self.settings.accent = colour.parse()?;
        Ok(self)
    }

    /// A line that uses a new key, shown once beside its token, which takes the place of `{token}`.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Curl`] unless it is one line with one `{token}`.
    pub fn curl(mut self, line: impl Into<String>) -> Result<Self, ConsoleError> {
        self.settings.set_curl(line.into())?;
        Ok(self)
    }

    /// Whom to ask for more keys or for what only an operator can do: an address, or a few words.
    pub fn support(mut self, contact: impl Into<String>) -> Self {
        self.settings.support = Some(contact.into());
        self
    }

    /// Replaces texts of the page: `json` is an object with the keys of `text.json` and other texts, and
    /// `language` the language of these, such as `de`. What it leaves out stays.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Text`] names a key that the page does not have, or says that `json` is no object of
    /// texts; [`ConsoleError::Language`].
    pub fn text(mut self, language: &str, json: &str) -> Result<Self, ConsoleError> {
        self.settings.set_text(language, json)?;
        Ok(self)
    }

    /// Shows what happened to a key, as `trail` tells it. Without one, nothing is shown.
    pub fn audit_trail(mut self, trail: impl AuditTrail) -> Self {
        self.trail = Some(Arc::new(trail));
        self
    }

    /// Lets requests with an API key of this service come to `who`, which finds the verified
    /// [`Principal`](crate::decision::Principal) in the extensions: that of a guard of this keyring before the
    /// console, or else of the token in `Authorization`. Only what it makes of that is allowed, and
    /// [`Admin::of_caller`] gives it what its scopes bound: any key of its tenant it can switch off or delete.
    ///
    /// Otherwise they are refused before `who` is asked: a leaked key must not be able to make others that
    /// outlive it.
    pub fn allow_api_keys(mut self) -> Self {
        self.allows_api_keys = true;
        self
    }

    /// The router, to be mounted as [`router`] says. What it remembers of rotations is shared by its clones,
    /// so make it once.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        App::new(self).router()
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
