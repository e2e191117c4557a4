//! The verdict on a request that a gateway asks about, by the routes of the application behind it.

mod ambiguity;
mod forbidden;
mod original;
mod overlap;
mod pattern;
mod target;
mod tree;
mod verdict;

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec::Vec};
use core::{fmt, net::IpAddr};

pub use self::original::OriginalRequest;
use self::{
    ambiguity::Ambiguity,
    forbidden::Forbidden,
    target::Target,
    tree::{Found, Tree},
};
use super::{
    ForwardAuth, Guard, Headers, Response, Routes, incoming::Parts, resource_rules::ResourceRule,
    routes::ANY,
};
use crate::{config::ConfigError, resource::ResourceKind};

/// The endpoint that a gateway asks whether it may pass a request on, for a whole application.
///
/// It finds the route of the original method and path among the declared routes of the application behind the
/// gateway, and asks the guard of that route. A method or path that is not declared is refused. The
/// [guide](crate::guide::gateways) has the configuration of gateways.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use keyway::http::{Endpoint, ForwardAuth, Gateway, OriginalRequest, Routes};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
/// #     .environment("live")
/// #     .store(MemoryStore::new())
/// #     .build()?;
/// let routes = Routes::new(&keyring)
///     .route("/health", Endpoint::new("GET", ()).public())
///     .route("/reports/{id}", Endpoint::new("GET", ()).require(["reporting"]));
/// let original = OriginalRequest::headers("x-original-method", "x-original-uri")?;
/// let gateway = Gateway::new(routes, ForwardAuth::DenialsOnly, original)?;
///
/// let ask = async |path: &[u8]| {
///     let headers = [("x-original-method", &b"GET"[..]), ("x-original-uri", path)];
///     gateway.check("GET", "/check", &headers[..], None).await.status()
/// };
/// assert_eq!(ask(b"/health").await, 200);
/// assert_eq!(ask(b"/reports/7").await, 401);
/// assert_eq!(ask(b"/health/../reports/7").await, 403);
/// assert_eq!(ask(b"/admin").await, 403);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Routes
///
/// Paths have the syntax of axum: `{name}` is one segment, and `{*name}` at the end is one or more. A literal
/// segment comes before a parameter. A `GET` route also serves `HEAD`. A route of all methods (`*`) serves
/// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` and `OPTIONS`. Other methods are declared by name.
///
/// Two paths may match the same requests if one is more exact in each segment, as `/machines/new` is more exact than
/// `/machines/{id}`. Applications disagree about `/public/settings` if `/{org}/settings` and `/public/{page}` are
/// declared. So this path must be declared as well, with the requirement of the route that serves it.
///
/// A public route, and one with other means of authentication, is admitted without a look at the key. On an
/// optional route a key that is presented must be valid.
///
/// With the feature `children`, a route that [accepts children](https://docs.rs/keyway/latest/keyway/http/struct.Endpoint.html#method.accepts_children) or
/// [tickets](https://docs.rs/keyway/latest/keyway/http/struct.Endpoint.html#method.accept_ticket) does so for the original request, by its name in the declared routes. A ticket is
/// read from the original query. The gateway passes it on with the address, unless its configuration removes the parameter.
/// Children that are limited to operations are refused, since the application does not know the child.
///
/// # Ambiguous requests
///
/// Gateways and applications disagree about some paths: one decodes `%2F` or resolves `..`, and the other does
/// not. A request with such a path is refused. The path may have none of these:
///
/// - a segment `.` or `..`, or an empty one; a slash at its end, unless it is declared with one; `;`;
/// - escapes of `/`, `\`, `?`, `#`, `;` and control characters, of characters that need none, and of escapes;
/// - bytes that are not UTF-8, and those that must be escaped and are not;
/// - a segment that begins with a space, or ends with a space, a dot or a comma;
/// - a segment that differs from a declared one in case or encoding only;
/// - more than 8,192 bytes, with the query.
///
/// A request is also refused if it has a header with which some frameworks replace the method or the path
/// (see [`allow_overrides`](Self::allow_overrides)), or one of the headers of an admission.
///
/// # Responses
///
/// An admission has status 200, no body, and these headers. Their values are visible ASCII; `%` begins an
/// escape of a byte of UTF-8. Each is empty if there is nothing to say.
///
/// | header | |
/// |---|---|
/// | `x-auth-tenant` | the id of the tenant |
/// | `x-auth-key` | the id of the key |
/// | `x-auth-scopes` | the scopes, separated by spaces, without those that another one implies |
/// | `x-auth-owner` | the owner of the key |
/// | `x-auth-resources` | `machine=mill-1 mill-2` or `machine=*`, for the kinds that the application [checks](super::Endpoint::handler_checks) |
/// | `ratelimit`, `ratelimit-policy` | the state of the rate, if there is one |
///
/// A refusal has the status, headers and problem of a [`Guard`], in the form of [`ForwardAuth`]. An undeclared
/// route is refused with 403, and an ambiguous request with 400, which `DenialsOnly` turns into 403.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// Makes the refusals of requests without a route.
    guard: Guard,
    original: OriginalRequest,
    tree: Arc<Tree<Vec<Operation>>>,
    forbidden: Forbidden,
}

/// A method of a path.
#[derive(Debug)]
struct Operation {
    method: &'static str,
    /// `None` if the route needs no key.
    guard: Option<Guard>,
    /// The kinds of resources that the application checks.
    kinds: Vec<ResourceKind>,
}

impl Gateway {
    /// Creates the endpoint for an application with these routes. `mode` is the form of refusals that the
    /// gateway understands, and `original` the place of the original method and target.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError`] for each error of [`Routes::table`], for a path that is not in the syntax
    /// above, for two paths that match the same requests, unless one is more exact, and for a method that is not
    /// in upper case.
    pub fn new(
        routes: Routes<()>,
        mode: ForwardAuth,
        original: OriginalRequest,
    ) -> Result<Self, ConfigError> {
        let guard = routes.guard().forward_auth(mode);
        let rows = routes.table()?.rows;
        let mut tree: Tree<Vec<Operation>> = Tree::new();
        // `resolve` returns the routes in the order of the table.
        for (row, route) in rows.iter().zip(routes.resolve()?) {
            if route.method != ANY && !original::is_method(route.method) {
                let problem = "a method of this path is not in upper case";
                return Err(ConfigError::GatewayPath { path: route.path, problem });
            }
            let guard = route.guard.map(|guard| guard.forward_auth(mode));
            #[cfg(feature = "children")]
            let guard = guard.map(|guard| guard.without_operations());
            let kinds = guard.iter().flat_map(|guard| {
                let catalog = guard.catalog();
                let names = catalog.resource_kinds().names().enumerate();
                let checked =
                    names.filter(|(at, _)| *row.resources.get(*at) == ResourceRule::Handler);
                checked.filter_map(|(_, name)| catalog.resource(name).ok())
            });
            let kinds = kinds.collect();
            tree.value(&route.path)?.push(Operation { method: route.method, guard, kinds });
        }
        let paths: BTreeSet<&str> = rows.iter().map(|row| &*row.path).collect();
        overlap::check(paths)?;
        let forbidden = Forbidden::new(&original);
        Ok(Self(Arc::new(Inner { guard, original, tree: Arc::new(tree), forbidden })))
    }

    /// Returns this endpoint for an application that reads the method and path from the request line only.
    ///
    /// Otherwise requests with `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`,
    /// `X-Original-URL`, `X-Rewrite-URL`, `Script-Name`, `Path-Info`, `X-Script-Name`, `X-Forwarded-Prefix`,
    /// `X-Forwarded-Path` or a parameter `_method` in the query are refused, whatever their method. A parameter in
    /// a body is not seen here: turn it off in the application. A gateway that sets `X-Forwarded-Prefix` itself
    /// sets it [after the question](crate::guide::gateways#the-requests-that-are-refused).
    #[must_use]
    pub fn allow_overrides(&self) -> Self {
        let mut inner = Inner::clone(&self.0);
        inner.forbidden.allow_overrides();
        Self(Arc::new(inner))
    }

    /// Returns the verdict on the request that the gateway asks about. Status 200 admits it.
    ///
    /// `method`, `target`, `headers` and `peer` are those of the question itself. `target` is its path and query,
    /// without a scheme and authority. `peer` is the address of the
    /// gateway, so a guard that checks networks needs a
    /// [`ClientAddress`](super::ClientAddress) that reads a header of the gateway.
    pub async fn check(
        &self,
        method: &str,
        target: &str,
        headers: &(impl Headers + ?Sized),
        peer: Option<IpAddr>,
    ) -> Response {
        let inner = &*self.0;
        let Route { operation, parameters, query } = match inner.find((method, target), headers) {
            Ok(Some(route)) => route,
            Ok(None) => return verdict::undeclared(&inner.guard),
            Err(ambiguity) => return verdict::ambiguous(&inner.guard, ambiguity),
        };
        let Some(guard) = &operation.guard else { return verdict::anonymous() };
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (*name, &**value)).collect();
        let parts = Parts {
            headers,
            peer,
            parameters: &parameters,
            #[cfg(feature = "children")]
            query,
        };
        #[cfg(not(feature = "children"))]
        let _ = query;
        let admission = match guard.admit_parts(&parts).await {
            Ok(admission) => admission,
            Err(refusal) => return refusal,
        };
        match admission.principal() {
            Some(caller) => verdict::admitted(guard, caller, &operation.kinds, &admission),
            None => verdict::anonymous(),
        }
    }
}

/// The declared route of an original request.
struct Route<'t, 'r> {
    operation: &'t Operation,
    /// The names and values of the parameters of the path.
    parameters: Vec<(&'t str, String)>,
    query: &'r [u8],
}

impl Inner {
    /// Returns the route of the original request, or `None` if it is not declared.
    fn find<'t, 'r>(
        &'t self,
        asked: (&'r str, &'r str),
        headers: &'r (impl Headers + ?Sized),
    ) -> Result<Option<Route<'t, 'r>>, Ambiguity> {
        let (method, target) = self.original.read(asked, headers)?;
        let target = Target::parse(target)?;
        self.forbidden.check(headers, target.query)?;
        let Some(Found { leaf, values }) = self.tree.find(&target)? else { return Ok(None) };
        let takes = |operation: &&Operation| match operation.method {
            ANY => KNOWN.contains(&method),
            own => own == method || (own, method) == ("GET", "HEAD"),
        };
        let candidates = leaf.value.iter().filter(takes);
        let Some(operation) = candidates.min_by_key(|operation| operation.method != method) else {
            return Ok(None);
        };
        let names = leaf.names.iter().map(|name| &**name);
        let parameters = names.zip(values).collect();
        Ok(Some(Route { operation, parameters, query: target.query }))
    }
}

/// The methods of a route of all methods. `TRACE` and `CONNECT` are not among them, because proxies treat them
/// in their own ways.
const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("original", &self.0.original).finish_non_exhaustive()
    }
}
