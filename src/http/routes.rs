//! Routes that declare what they ask of their callers.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

use super::{Access, Guard, Matrix, Row};
use crate::scope::{CatalogError, ScopeCatalog};

/// Routes, each with what it asks of its callers. They become a router only when none is undeclared.
///
/// `H` is how a framework keeps a handler; see [`axum`](https://docs.rs/keyway/latest/keyway/http/axum/index.html) and
/// [`actix`](https://docs.rs/keyway/latest/keyway/http/actix/index.html) for what makes endpoints and for
/// `build`.
#[derive(Debug)]
#[must_use = "routes do nothing until they are built"]
pub struct Routes<H> {
    guard: Guard,
    endpoints: Vec<Placed<H>>,
}

#[derive(Debug)]
struct Placed<H> {
    path: String,
    endpoint: Endpoint<H>,
    guard: Guard,
}

/// The handlers of one path, by method, each with what it asks of its callers.
///
/// Every declaration is for the handlers before it that have none yet:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use keyway::http::axum::{Endpoint, get};
///
/// let jobs: Endpoint = get(async || "jobs")
///     .require(["operator.read"])
///     .post(async || "started")
///     .require(["operator.jobs"]);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an endpoint does nothing until it is part of routes"]
pub struct Endpoint<H> {
    operations: Vec<Operation<H>>,
    has_empty_declaration: bool,
}

#[derive(Clone, Debug)]
struct Operation<H> {
    method: &'static str,
    handler: H,
    declared: Option<Declared>,
}

/// As the host wrote it: scopes are known only to a guard.
#[derive(Clone, Debug)]
enum Declared {
    Public,
    Optional,
    All(Vec<String>),
    Any(Vec<String>),
    AnyKey,
    Elsewhere(Cow<'static, str>),
}

impl<H> Routes<H> {
    /// No routes yet. `guard` says how those that need a key are protected; see [`Guard`]. What it asks of
    /// callers does not count here, but what each route declares.
    pub fn new(guard: impl Into<Guard>) -> Self {
        Self { guard: guard.into(), endpoints: Vec::new() }
    }

    /// Adds the endpoint of a path, in the framework's syntax.
    pub fn route(mut self, path: &str, endpoint: Endpoint<H>) -> Self {
        let guard = self.guard.clone();
        self.endpoints.push(Placed { path: path.to_owned(), endpoint, guard });
        self
    }

    /// Adds other routes, each with `prefix` before its path. They keep the guard that they were made
    /// with, and so their keyring, realm and key field.
    pub fn nest(mut self, prefix: &str, routes: Self) -> Self {
        let prefix = prefix.trim_end_matches('/');
        self.endpoints.extend(routes.endpoints.into_iter().map(|mut placed| {
            // The fault of one that does not begin with a slash would be out of sight behind a prefix.
            if placed.path.is_empty() || placed.path.starts_with('/') {
                placed.path.insert_str(0, prefix);
            }
            placed
        }));
        self
    }

    /// The table of all routes.
    ///
    /// # Errors
    ///
    /// [`RoutesError`] names the routes that are undeclared, or the first other fault.
    pub fn matrix(&self) -> Result<Matrix, RoutesError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut undeclared = Vec::new();
        for Placed { path, endpoint, guard } in &self.endpoints {
            if !path.starts_with('/') {
                return Err(RoutesError::Path(path.clone()));
            }
            if endpoint.has_empty_declaration {
                return Err(RoutesError::DeclaredTwice(path.clone()));
            }
            for Operation { method, declared, .. } in &endpoint.operations {
                let place = || format!("{method} {path}");
                if rows.iter().any(|row| row.path == *path && overlap(row.method, method)) {
                    return Err(RoutesError::Repeated(place()));
                }
                let Some(declared) = declared else {
                    undeclared.push(place());
                    continue;
                };
                let access = declared
                    .resolve(guard.catalog())
                    .map_err(|source| RoutesError::Scope { route: place(), source })?;
                rows.push(Row {
                    method,
                    path: path.clone(),
                    access,
                    #[cfg(feature = "openapi")]
                    key_field: guard.key_field_name().map(Into::into),
                });
            }
        }
        if !undeclared.is_empty() {
            return Err(RoutesError::Undeclared(undeclared));
        }
        Ok(Matrix { rows })
    }

    /// Every handler with its guard, for the adapter of a framework.
    ///
    /// # Errors
    ///
    /// As [`matrix`](Self::matrix).
    pub fn resolve(self) -> Result<Vec<Resolved<H>>, RoutesError> {
        let rows = self.matrix()?.rows;
        let operations =
            self.endpoints.into_iter().flat_map(|Placed { endpoint, guard, .. }| {
                endpoint.operations.into_iter().map(move |operation| (operation, guard.clone()))
            });
        // One row was made for every operation, in their order.
        Ok(rows
            .into_iter()
            .zip(operations)
            .map(|(Row { method, path, access, .. }, (operation, guard))| Resolved {
                method,
                path,
                handler: operation.handler,
                guard: guard.for_access(access),
            })
            .collect())
    }
}

/// A handler, where it stands, and what protects it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved<H> {
    /// The method, in upper case; `*` is any.
    pub method: &'static str,
    /// The path, in the framework's syntax.
    pub path: String,
    /// The handler.
    pub handler: H,
    /// Its guard. A handler without one is reached by every request, as it is.
    pub guard: Option<Guard>,
}

fn overlap(method: &str, other: &str) -> bool {
    method == other || method == ANY || other == ANY
}

/// The method that stands for all of them.
pub(super) const ANY: &str = "*";

impl<H> Endpoint<H> {
    /// The handler of one method, in upper case; `*` is any.
    pub fn new(method: &'static str, handler: H) -> Self {
        Self { operations: Vec::new(), has_empty_declaration: false }.and(method, handler)
    }

    /// Adds the handler of another method.
    pub fn and(mut self, method: &'static str, handler: H) -> Self {
        self.operations.push(Operation { method, handler, declared: None });
        self
    }

    /// Needs an active key with all of `scopes`.
    pub fn require<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.declare(&Declared::All(scopes.into_iter().map(Into::into).collect()))
    }

    /// Needs an active key with any one of `scopes`.
    pub fn require_any<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.declare(&Declared::Any(scopes.into_iter().map(Into::into).collect()))
    }

    /// Needs an active key, whatever its scopes.
    pub fn any_key(self) -> Self {
        self.declare(&Declared::AnyKey)
    }

    /// Needs nothing, but who presents a key must present a valid one.
    pub fn optional(self) -> Self {
        self.declare(&Declared::Optional)
    }

    /// Needs nothing. The request reaches the handler as it is.
    pub fn public(self) -> Self {
        self.declare(&Declared::Public)
    }

    /// Needs something else than an API key, which the handler sees to: `session cookie`, say. The
    /// request reaches the handler as it is; the table of routes repeats the words.
    pub fn authenticated_by(self, how: impl Into<Cow<'static, str>>) -> Self {
        self.declare(&Declared::Elsewhere(how.into()))
    }

    fn declare(mut self, declared: &Declared) -> Self {
        let mut is_empty = true;
        for operation in &mut self.operations {
            if operation.declared.is_none() {
                operation.declared = Some(declared.clone());
                is_empty = false;
            }
        }
        self.has_empty_declaration |= is_empty;
        self
    }
}

impl Declared {
    fn resolve(&self, catalog: &ScopeCatalog) -> Result<Access, CatalogError> {
        Ok(match self {
            Self::Public => Access::Public,
            Self::Optional => Access::Optional,
            Self::All(scopes) => Access::Required(catalog.require_all(scopes)?),
            Self::Any(scopes) => Access::Required(catalog.require_any(scopes)?),
            Self::AnyKey => Access::Required(catalog.require_none()),
            Self::Elsewhere(how) => Access::Elsewhere(how.clone()),
        })
    }
}

/// Routes cannot become a router.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutesError {
    /// Nobody said what these routes ask of their callers.
    #[error("{} no declaration: {}", if .0.len() == 1 { "a route has" } else { "routes have" }, .0.join(", "))]
    Undeclared(Vec<String>),
    /// A route requires scopes that cannot be required.
    #[error("the requirement of {route} cannot be met")]
    Scope {
        /// The route.
        route: String,
        /// The scope at fault.
        source: CatalogError,
    },
    /// A declaration is not for any handler: those before it are declared already.
    #[error("{0} is declared twice")]
    DeclaredTwice(String),
    /// Two handlers are for the same requests.
    #[error("{0} has two handlers")]
    Repeated(String),
    /// A path does not begin with a slash.
    #[error("the path `{0}` does not begin with `/`")]
    Path(String),
    /// Two paths match the same requests, so that one of them would never be tried.
    #[error("the paths `{0}` and `{1}` match the same requests")]
    Ambiguous(String, String),
}
