//! Routes that declare the access they require of their callers.

mod children;

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

pub(super) use self::children::RouteChildren;
use super::{
    Access, Guard, RouteEntry, RouteTable,
    resource_rules::{ResourceRule, ResourceRules},
};
use crate::{config::ConfigError, scope::ScopeCatalog};

/// Routes, each with the access it requires. They can be built only if every route is declared.
///
/// `H` is the framework's type of a handler. See
/// [`axum`](https://docs.rs/keyway/latest/keyway/http/axum/index.html) and
/// [`actix`](https://docs.rs/keyway/latest/keyway/http/actix/index.html) for the functions that create
/// endpoints, and for `build`.
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

/// The handlers of one path, by method, each with the access it requires of its callers.
///
/// A declaration applies to all earlier handlers that have none yet:
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
///
/// Directly after a requirement, [`optional`](Self::optional) admits requests without a key as well, and
/// [`or`](Self::or) names an alternative to the key:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use keyway::http::axum::{Endpoint, get};
///
/// let catalog: Endpoint = get(async || "").require(["reporting"]).optional();
/// let orders: Endpoint = get(async || "").require(["reporting"]).or("session cookie");
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an endpoint does nothing until it is part of routes"]
pub struct Endpoint<H> {
    operations: Vec<Operation<H>>,
    /// The first error of its declarations. It is reported when the routes are built.
    fault: Option<Fault>,
    /// The endpoints below the path of this one, each with the rest of its path.
    below: Vec<(&'static str, Endpoint<H>)>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A declaration applies to no handler.
    Empty,
    /// An alternative does not follow a required key.
    Alternative,
    /// A statement on resources does not follow a required key, or contradicts another one.
    Resources,
    /// A weight does not follow a required key, is zero, or follows another weight.
    Weight,
    /// A statement on children does not follow a required key, or is repeated.
    #[cfg(feature = "children")]
    Children,
}

#[derive(Clone, Debug)]
struct Operation<H> {
    method: &'static str,
    handler: H,
    declared: Option<Declared>,
    /// The statements on the resources of each kind, by name.
    resources: Vec<(String, ResourceRule)>,
    weight: Option<u32>,
    children: RouteChildren,
    /// Whether the last declaration applied to this handler.
    is_latest: bool,
}

/// A declaration as the application wrote it. Scopes are resolved later, because only a guard knows the
/// catalog.
#[derive(Clone, Debug)]
enum Declared {
    Public,
    Key(Scopes, Without),
    Custom(Cow<'static, str>),
}

#[derive(Clone, Debug)]
enum Scopes {
    All(Vec<String>),
    Any(Vec<String>),
    /// Every active key is enough.
    None,
}

/// The treatment of a request without a key.
#[derive(Clone, Debug)]
enum Without {
    Refused,
    /// The request is admitted.
    Admitted,
    /// The handler checks other means of authentication.
    Other(Cow<'static, str>),
}

impl<H> Routes<H> {
    /// Creates an empty set of routes. `guard` protects the routes that need a key; see [`Guard`]. Its own
    /// requirement does not count. The declaration of each route does.
    pub fn new(guard: impl Into<Guard>) -> Self {
        Self { guard: guard.into(), endpoints: Vec::new() }
    }

    /// Returns the guard that these routes were created with.
    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Adds the endpoint of a path. The path has the framework's syntax.
    pub fn route(mut self, path: &str, mut endpoint: Endpoint<H>) -> Self {
        let guard = self.guard.clone();
        let below = core::mem::take(&mut endpoint.below);
        self.endpoints.push(Placed { path: path.to_owned(), endpoint, guard });
        below.into_iter().fold(self, |routes, (rest, endpoint)| {
            routes.route(&[path.trim_end_matches('/'), rest].concat(), endpoint)
        })
    }

    /// Adds other routes, each with `prefix` before its path. They keep the guard that they were created
    /// with, and so their keyring, realm and header for keys.
    pub fn nest(mut self, prefix: &str, routes: Self) -> Self {
        let prefix = prefix.trim_end_matches('/');
        self.endpoints.extend(routes.endpoints.into_iter().map(|mut placed| {
            // A path without a leading slash stays unchanged. A prefix would hide the error from `table`.
            if placed.path.is_empty() || placed.path.starts_with('/') {
                placed.path.insert_str(0, prefix);
            }
            placed
        }));
        self
    }

    /// Returns the table of all routes.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`], which names the undeclared routes or the first other error.
    pub fn table(&self) -> Result<RouteTable, ConfigError> {
        let mut rows: Vec<RouteEntry> = Vec::new();
        let (mut undeclared, mut unstated) = (Vec::new(), Vec::new());
        for Placed { path, endpoint, guard } in &self.endpoints {
            if !path.starts_with('/') {
                return Err(ConfigError::RoutePath(path.clone()));
            }
            match endpoint.fault {
                Some(Fault::Empty) => return Err(ConfigError::DeclaredTwice(path.clone())),
                Some(Fault::Alternative) => {
                    return Err(ConfigError::NoAlternative(path.clone()));
                }
                Some(Fault::Resources) => {
                    return Err(ConfigError::ContradictoryResources(path.clone()));
                }
                Some(Fault::Weight) => return Err(ConfigError::Weight(path.clone())),
                #[cfg(feature = "children")]
                Some(Fault::Children) => return Err(ConfigError::Children(path.clone())),
                None => {}
            }
            for Operation { method, declared, resources, weight, children, .. } in
                &endpoint.operations
            {
                let place = || format!("{method} {path}");
                if rows.iter().any(|row| row.path == *path && overlap(row.method, method)) {
                    return Err(ConfigError::DuplicateRoute(place()));
                }
                let Some(declared) = declared else {
                    undeclared.push(place());
                    continue;
                };
                let access = declared
                    .resolve(guard.catalog())
                    .map_err(|error| error.within(format!("the requirement of {}", place())))?;
                if let (Access::RequiredOr(_, named), Some(known)) = (&access, guard.alternative())
                    && *named != known.how()
                {
                    return Err(ConfigError::UnknownAlternative {
                        place: place(),
                        named: named.clone().into_owned(),
                        known: known.how().into(),
                    });
                }
                children.check(method, &place)?;
                let needs_key = !matches!(access, Access::Public | Access::Custom(_));
                let rules = rules_of(resources, path, guard.catalog(), &place)?;
                let kinds = guard.catalog().resource_kinds().names().enumerate();
                for (_, kind) in
                    kinds.filter(|(at, _)| needs_key && *rules.get(*at) == ResourceRule::Unstated)
                {
                    unstated.push(format!("{} ({kind})", place()));
                }
                rows.push(RouteEntry {
                    method,
                    path: path.clone(),
                    access,
                    resources: rules,
                    stated: resources.clone(),
                    weight: weight.unwrap_or(1),
                    children: *children,
                    #[cfg(feature = "openapi")]
                    key_headers: guard.key_headers().clone(),
                    #[cfg(feature = "openapi")]
                    alternative: guard.alternative().map(|other| other.place().clone()),
                });
            }
        }
        if !undeclared.is_empty() {
            return Err(ConfigError::UndeclaredRoutes(undeclared));
        }
        if !unstated.is_empty() {
            return Err(ConfigError::UndeclaredResources(unstated));
        }
        Ok(RouteTable { rows })
    }

    /// Returns every handler with its guard, for the adapter of a framework.
    ///
    /// # Errors
    ///
    /// The same as those of [`table`](Self::table).
    pub fn resolve(self) -> Result<Vec<Resolved<H>>, ConfigError> {
        let rows = self.table()?.rows;
        let operations =
            self.endpoints.into_iter().flat_map(|Placed { endpoint, guard, .. }| {
                endpoint.operations.into_iter().map(move |operation| (operation, guard.clone()))
            });
        // `table` made one row for every operation, in the same order.
        Ok(rows
            .into_iter()
            .zip(operations)
            .map(|(row, (operation, guard))| {
                let RouteEntry { method, path, access, resources, weight, children, .. } = row;
                let guard = guard.for_access(access, resources).map(|guard| guard.weight(weight));
                let guard = guard.map(|guard| children.apply(&guard, method, &path));
                Resolved { method, path, handler: operation.handler, guard }
            })
            .collect())
    }
}

/// A handler with its method, path and guard.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved<H> {
    /// The method in upper case. `*` is any method.
    pub method: &'static str,
    /// The path in the framework's syntax.
    pub path: String,
    /// The handler, in the framework's type.
    pub handler: H,
    /// The guard. If it is `None`, every request reaches the handler unchanged.
    pub guard: Option<Guard>,
}

fn overlap(method: &str, other: &str) -> bool {
    method == other || method == ANY || other == ANY
}

/// The method that matches all methods.
pub(super) const ANY: &str = "*";

impl<H> Endpoint<H> {
    /// Creates an endpoint with the handler of one method, in upper case. `*` is any method.
    pub fn new(method: &'static str, handler: H) -> Self {
        Self { operations: Vec::new(), fault: None, below: Vec::new() }.and(method, handler)
    }

    /// Adds the handler of another method.
    pub fn and(mut self, method: &'static str, handler: H) -> Self {
        self.operations.push(Operation {
            method,
            handler,
            declared: None,
            resources: Vec::new(),
            weight: None,
            children: RouteChildren::default(),
            is_latest: false,
        });
        self
    }

    /// Adds the endpoint whose path is that of this one followed by `rest`.
    #[cfg(all(feature = "children", any(feature = "axum", feature = "actix")))]
    pub(super) fn with_below(mut self, rest: &'static str, endpoint: Self) -> Self {
        self.below.push((rest, endpoint));
        self
    }

    /// Requires an active key with all of `scopes`.
    pub fn require<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.key(Scopes::All(scopes.into_iter().map(Into::into).collect()))
    }

    /// Requires an active key with any one of `scopes`.
    pub fn require_any<T: Into<String>>(self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.key(Scopes::Any(scopes.into_iter().map(Into::into).collect()))
    }

    /// Requires an active key, whatever its scopes.
    pub fn any_key(self) -> Self {
        self.key(Scopes::None)
    }

    /// Requires no key, but a key that is presented must be active. If a requirement is declared directly
    /// before or after this call, the key must meet the requirement as well.
    pub fn optional(self) -> Self {
        self.without_key(Without::Admitted)
    }

    /// Requires the key that was declared directly before or, for a request without a key, other means: for example
    /// `session cookie`. If the guard has an [`Alternative`](super::Alternative) with this description, it checks them.
    /// Otherwise the handler must do so.
    ///
    /// A request without a key reaches the handler unchanged and without a caller, so the handler takes an
    /// `Option<Principal>`. A key that is presented must meet the requirement. The route table shows `how`.
    /// In an OpenAPI document, the security that the operation declares itself is kept as an alternative to
    /// the key.
    pub fn or(mut self, how: impl Into<Cow<'static, str>>) -> Self {
        let is_key = |operation: &Operation<H>| {
            operation.is_latest
                && matches!(operation.declared, Some(Declared::Key(_, Without::Refused)))
        };
        if !self.is_complete() || !self.operations.iter().any(is_key) {
            self.fault.get_or_insert(Fault::Alternative);
            return self;
        }
        self.without_key(Without::Other(how.into()))
    }

    /// Says that the path parameter `parameter` is the id of a resource of the kind `kind`. A key that may not touch the
    /// resource is refused. Each further call adds a parameter, such as the target of a move.
    ///
    /// If the policy declares kinds of resources, each route that needs a key must say something about each kind, directly
    /// after its requirement: this, [`handler_checks`](Self::handler_checks) or [`touches_no`](Self::touches_no).
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use keyway::http::axum::{Endpoint, get};
    ///
    /// let one: Endpoint = get(async || "").require(["reporting"]).resource("machine", "id");
    /// let list: Endpoint = get(async || "").require(["reporting"]).handler_checks("machine");
    /// let version: Endpoint = get(async || "").any_key().touches_no("machine");
    /// # }
    /// ```
    pub fn resource(self, kind: &str, parameter: &str) -> Self {
        self.state(kind, &ResourceRule::Parameters([parameter.into()].into()))
    }

    /// Says that the handler checks the resources of the kind `kind` that it touches, by
    /// [`Principal::permit`](crate::Principal::permit) or
    /// [`Principal::resources`](crate::Principal::resources).
    pub fn handler_checks(self, kind: &str) -> Self {
        self.state(kind, &ResourceRule::Handler)
    }

    /// Says that the route touches no resource of the kind `kind`.
    pub fn touches_no(self, kind: &str) -> Self {
        self.state(kind, &ResourceRule::Untouched)
    }

    /// Counts one request as `weight` against the [rate](crate::rate) and the [allowances](crate::allowance), for a costly
    /// route. A weight above a rate takes all of it, and one above an allowance is refused. Call this after a requirement.
    pub fn weight(mut self, weight: u32) -> Self {
        let mut is_set = false;
        let latest = self.operations.iter_mut().filter(|operation| operation.is_latest);
        for operation in latest {
            let needs_key = matches!(operation.declared, Some(Declared::Key(..)));
            is_set |= needs_key && weight > 0 && operation.weight.replace(weight).is_none();
        }
        if !is_set || !self.is_complete() {
            self.fault.get_or_insert(Fault::Weight);
        }
        self
    }

    fn state(mut self, kind: &str, rule: &ResourceRule) -> Self {
        let mut is_stated = false;
        let mut is_contradiction = false;
        let needs_key =
            |operation: &&mut Operation<H>| matches!(operation.declared, Some(Declared::Key(..)));
        let latest = self.operations.iter_mut().filter(|operation| operation.is_latest);
        for operation in latest.filter(needs_key) {
            let earlier = operation.resources.iter().filter(|(other, _)| other == kind);
            let adds = |earlier: &ResourceRule| {
                matches!(
                    (earlier, rule),
                    (ResourceRule::Parameters(names), ResourceRule::Parameters(more))
                        if more.iter().all(|name| !names.contains(name))
                )
            };
            is_contradiction |= earlier.into_iter().any(|(_, earlier)| !adds(earlier));
            operation.resources.push((kind.into(), rule.clone()));
            is_stated = true;
        }
        if !is_stated || is_contradiction || !self.is_complete() {
            self.fault.get_or_insert(Fault::Resources);
        }
        self
    }

    /// Requires nothing. The request reaches the handler unchanged.
    pub fn public(self) -> Self {
        self.declare(&Declared::Public)
    }

    /// Requires other means than an API key, which the handler checks: for example `session cookie`. The
    /// request reaches the handler unchanged. The route table shows `how`.
    pub fn custom_auth(self, how: impl Into<Cow<'static, str>>) -> Self {
        self.declare(&Declared::Custom(how.into()))
    }

    fn key(mut self, scopes: Scopes) -> Self {
        let is_optional = |operation: &&mut Operation<H>| {
            operation.is_latest
                && matches!(
                    operation.declared,
                    Some(Declared::Key(Scopes::None, Without::Admitted))
                )
        };
        if !self.is_complete() {
            return self.declare(&Declared::Key(scopes, Without::Refused));
        }
        let mut is_empty = true;
        for operation in self.operations.iter_mut().filter(is_optional) {
            operation.declared = Some(Declared::Key(scopes.clone(), Without::Admitted));
            is_empty = false;
        }
        self.found(!is_empty)
    }

    fn without_key(mut self, without: Without) -> Self {
        if !self.is_complete() {
            return self.declare(&Declared::Key(Scopes::None, without));
        }
        let mut is_empty = true;
        for operation in self.operations.iter_mut().filter(|operation| operation.is_latest) {
            if let Some(Declared::Key(_, refused @ Without::Refused)) = &mut operation.declared {
                *refused = without.clone();
                is_empty = false;
            }
        }
        self.found(!is_empty)
    }

    /// Returns whether every handler has its declaration.
    fn is_complete(&self) -> bool {
        self.operations.iter().all(|operation| operation.declared.is_some())
    }

    fn declare(mut self, declared: &Declared) -> Self {
        let mut is_empty = true;
        for operation in &mut self.operations {
            operation.is_latest = operation.declared.is_none();
            if operation.is_latest {
                operation.declared = Some(declared.clone());
                is_empty = false;
            }
        }
        self.found(!is_empty)
    }

    /// Records an error unless `is_found`, which is whether a declaration applies to a handler.
    fn found(mut self, is_found: bool) -> Self {
        if !is_found {
            self.fault.get_or_insert(Fault::Empty);
        }
        self
    }
}

/// Returns the rules of a route for each kind of resource.
fn rules_of(
    stated: &[(String, ResourceRule)],
    path: &str,
    catalog: &ScopeCatalog,
    place: &impl Fn() -> String,
) -> Result<ResourceRules, ConfigError> {
    let mut rules = ResourceRules::default();
    for (kind, rule) in stated {
        let within = |error: ConfigError| error.within(format!("the resources of {}", place()));
        let kind = catalog.resource(kind).map_err(within)?;
        if let ResourceRule::Parameters(names) = rule
            && let Some(parameter) = names.iter().find(|name| !has_parameter(path, name))
        {
            return Err(ConfigError::NoParameter {
                place: place(),
                parameter: String::from(&**parameter),
            });
        }
        rules.add(&kind, rule.clone());
    }
    Ok(rules)
}

/// Returns whether `path` has a parameter `name`: `{name}`, `{*name}` or `{name:pattern}`. Two braces are one literal
/// brace.
fn has_parameter(path: &str, name: &str) -> bool {
    let path = path.replace("{{", "").replace("}}", "");
    path.split('{').skip(1).any(|rest| {
        let parameter = rest.split(['}', ':']).next().unwrap_or_default();
        parameter.strip_prefix('*').unwrap_or(parameter) == name
    })
}

impl Declared {
    fn resolve(&self, catalog: &ScopeCatalog) -> Result<Access, ConfigError> {
        Ok(match self {
            Self::Public => Access::Public,
            Self::Key(scopes, without) => {
                let requirement = match scopes {
                    Scopes::All(scopes) => catalog.require_all(scopes)?,
                    Scopes::Any(scopes) => catalog.require_any(scopes)?,
                    Scopes::None => catalog.require_none(),
                };
                match without {
                    Without::Refused => Access::Required(requirement),
                    Without::Admitted => Access::Optional(requirement),
                    Without::Other(how) => Access::RequiredOr(requirement, how.clone()),
                }
            }
            Self::Custom(how) => Access::Custom(how.clone()),
        })
    }
}
