//! Security requirements of routes in an OpenAPI document.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! # use keyway::{Keyring, MemoryStore, Pepper, Policy};
//! use keyway::http::{Routes, axum::get};
//! use utoipa::openapi::{HttpMethod, OpenApi, PathsBuilder, path::{Operation, PathItem}};
//!
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! # }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! let routes: Routes<axum::routing::MethodRouter> =
//!     Routes::new(&keyring).route("/reports", get(async || "").require(["reporting"]));
//! // An application gets this from utoipa's derives.
//! let reports = PathItem::new(HttpMethod::Get, Operation::new());
//! let mut document = OpenApi::builder().paths(PathsBuilder::new().path("/reports", reports)).build();
//!
//! routes.table()?.secure(&mut document)?;
//! assert!(document.to_json()?.contains(r#""security":[{"api_key":["reporting"]}]"#));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use utoipa::openapi::{
    Components, OpenApi, RefOr, Response,
    path::{Operation, PathItem},
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

#[cfg(feature = "children")]
use super::ticket;
use super::{Access, RouteEntry, RouteTable, access::fill, alternative::Place};
use crate::{
    config::ConfigError,
    scope::{Requirement, Scope},
};

/// The name of the security scheme of bearer tokens. If the document has given the name to another scheme, a
/// number follows.
const BEARER: &str = "api_key";
/// The name of the security scheme of an application's own header. If guards have several, a number follows
/// from the second on.
const FIELD: &str = "api_key_field";
/// The name of the security scheme of a credential besides keys that a guard checks. If the document has given the name to
/// another scheme, or guards have several, a number follows.
const ALTERNATIVE: &str = "alternative";

/// The name of the security scheme of tickets. If the document has given the name to another scheme, a number follows.
#[cfg(feature = "children")]
const TICKET: &str = "ticket";

/// The refusals of guarded operations, besides the responses of the handler, as in
/// [`problem`](super::problem).
const REFUSALS: [(&str, &str); 5] = [
    ("400", "The credential cannot be taken"),
    ("401", "An API key is required, or it is not valid"),
    ("403", "The API key may not do this"),
    ("429", "Too many requests"),
    ("503", "API keys cannot be verified at present"),
];

impl RouteTable {
    /// Writes the access that operations require into `document`.
    ///
    /// It adds the security scheme, the requirement of each operation, and the statuses of refusals that the
    /// operation does not describe itself.
    ///
    /// Paths are compared without the names of their parameters. Routes that are not in the document are not
    /// added. Security that an operation declares itself is kept:
    ///
    /// - If the guard checks an [alternative](super::Alternative) to the key, it is replaced by that one.
    /// - With an [optional](super::Endpoint::optional) key, or a key with another
    ///   [alternative](super::Endpoint::or), it becomes a further alternative. If the operation declares
    ///   nothing, the declaration of the document for all operations becomes that alternative.
    /// - With a required key, it is needed in addition, because no request passes the guard without its key.
    /// - Without a guard, it is unchanged.
    ///
    /// Security schemes of the document are kept too. The scheme of bearer tokens is named `api_key` and that
    /// of a header `api_key_field`, unless another scheme of the document has that name. If the document
    /// already has a scheme for the same header, that scheme is used.
    ///
    /// With the feature `children`, the description of an operation that accepts [children](https://docs.rs/keyway/latest/keyway/http/struct.Endpoint.html#method.accepts_children)
    /// says so, with the name of the route for their audience. An operation that accepts
    /// [tickets](https://docs.rs/keyway/latest/keyway/http/struct.Endpoint.html#method.accept_ticket) has them as an alternative to the key. Their scheme is named `ticket`.
    ///
    /// Calling it a second time changes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::UndeclaredOperations`], which names the operations of the document that no route declares.
    /// Nothing is written in this case.
    pub fn secure(&self, document: &mut OpenApi) -> Result<(), ConfigError> {
        let mut undeclared = Vec::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if operation.is_some() && self.find(method, path).is_none() {
                    undeclared.push(format!("{method} {path}"));
                }
            }
        }
        if !undeclared.is_empty() {
            return Err(ConfigError::UndeclaredOperations(undeclared));
        }
        let schemes = Schemes::of(self, document);
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if let (Some(operation), Some(row)) = (operation, self.find(method, path)) {
                    secure_operation(operation, row, &schemes, document.security.as_deref());
                }
            }
        }
        let described = document.components.get_or_insert_with(Components::new);
        for (name, header) in schemes.keys {
            let scheme = described.security_schemes.entry(name);
            scheme.or_insert_with(|| describe(header.as_deref()).into());
        }
        #[cfg(feature = "children")]
        if let Some(name) = schemes.ticket {
            let scheme = described.security_schemes.entry(name);
            scheme.or_insert_with(|| describe_ticket().into());
        }
        for (name, place) in schemes.alternatives {
            let scheme = described.security_schemes.entry(name);
            scheme.or_insert_with(|| describe_alternative(&place).into());
        }
        Ok(())
    }

    /// Returns the headers besides `Authorization`, each once.
    fn own_headers(&self) -> Vec<&str> {
        let mut headers = Vec::new();
        for header in self.rows.iter().filter_map(|row| row.key_headers.own()) {
            if !headers.contains(&header) {
                headers.push(header);
            }
        }
        headers
    }

    /// Returns the route of an operation. A route with exactly its path and method is preferred to another
    /// match.
    fn find(&self, method: &str, path: &str) -> Option<&RouteEntry> {
        // `/jobs/{id}` and `/jobs/{job}` are one path.
        let shape = fill(path, "{}");
        let takes_it = |row: &&RouteEntry| row.takes(method) && fill(&row.path, "{}") == shape;
        let routes = self.rows.iter().filter(takes_it);
        routes.min_by_key(|row| (row.path != path, row.method != method))
    }
}

/// The security schemes of all routes, each with its name in the document.
#[derive(Default)]
struct Schemes {
    /// Those of keys, with the header of the key, or `None` for `Authorization`.
    keys: Vec<(String, Option<String>)>,
    /// Those of credentials besides keys that guards check.
    alternatives: Vec<(String, Place)>,
    /// The scheme of tickets, if a route accepts them.
    #[cfg(feature = "children")]
    ticket: Option<String>,
}

impl Schemes {
    fn of(table: &RouteTable, document: &OpenApi) -> Self {
        let takes_bearer = table.rows.iter().any(|row| row.key_headers.takes_authorization());
        let headers = table.own_headers().into_iter().map(Some);
        let mut schemes = Self::default();
        for header in takes_bearer.then_some(None).into_iter().chain(headers) {
            schemes.keys.push((schemes.free_name(header, document), header.map(ToOwned::to_owned)));
        }
        #[cfg(feature = "children")]
        if table.rows.iter().any(RouteEntry::accepts_tickets) {
            schemes.ticket = Some(schemes.name(TICKET, document, true, is_ticket));
        }
        let is_accepted = |row: &&RouteEntry| matches!(row.access, Access::RequiredOr(..));
        let accepted = table.rows.iter().filter(is_accepted);
        for place in accepted.filter_map(|row| row.alternative.as_ref()) {
            if schemes.alternative(place).is_none() {
                let is_same = |scheme: &RefOr<SecurityScheme>| is_at(scheme, place);
                let name = schemes.name(ALTERNATIVE, document, true, is_same);
                schemes.alternatives.push((name, place.clone()));
            }
        }
        schemes
    }

    /// Returns the requirement of a credential besides a key.
    fn alternative(&self, place: &Place) -> Option<SecurityRequirement> {
        let (name, _) = self.alternatives.iter().find(|(_, other)| other == place)?;
        Some(SecurityRequirement::new::<_, [String; 0], String>(name, []))
    }

    /// Returns the name of the next scheme, which is for `header`.
    fn free_name(&self, header: Option<&str>, document: &OpenApi) -> String {
        let base = if header.is_some() { FIELD } else { BEARER };
        self.name(base, document, header.is_some(), |scheme| is_for(scheme, header))
    }

    /// Returns the name of a scheme: that of the document for which `is_same` holds, if such a scheme is `shared`, or else
    /// `base`, with a number if it is taken.
    fn name(
        &self,
        base: &str,
        document: &OpenApi,
        shared: bool,
        is_same: impl Fn(&RefOr<SecurityScheme>) -> bool,
    ) -> String {
        let described = document.components.as_ref().map(|components| &components.security_schemes);
        let described = || described.into_iter().flatten();
        let same = described().find(|(_, scheme)| shared && is_same(scheme));
        if let Some((name, _)) = same {
            return name.clone();
        }
        // INVARIANT: a name that the document uses belongs to another kind of credential. If keys took the
        // name, clients would send them in the way that this scheme describes, and alternatives that name the
        // scheme would count as keys.
        let is_free = |name: &String| {
            let mut taken = described().filter(|(other, _)| *other == name);
            let is_alternative = self.alternatives.iter().any(|(other, _)| other == name);
            !self.has(name) && !is_alternative && taken.all(|(_, scheme)| is_same(scheme))
        };
        let numbered = (2..).map(|number: u32| format!("{base}_{number}"));
        let name = core::iter::once(base.to_owned()).chain(numbered).find(is_free);
        name.unwrap_or_default()
    }

    /// Returns whether a scheme of keys has this name.
    fn has(&self, name: &str) -> bool {
        #[cfg(feature = "children")]
        if self.ticket.as_deref() == Some(name) {
            return true;
        }
        self.keys.iter().any(|(other, _)| other == name)
    }

    /// Returns the names of the schemes by which the route takes keys, or tickets in their place.
    fn names(&self, row: &RouteEntry) -> Vec<&str> {
        let headers = &row.key_headers;
        let takes = |header: Option<&str>| match header {
            None => headers.takes_authorization(),
            header => headers.own() == header,
        };
        let known = self.keys.iter().filter(|(_, header)| takes(header.as_deref()));
        let known = known.map(|(name, _)| &**name);
        #[cfg(feature = "children")]
        let known = known.chain(self.ticket.as_deref().filter(|_| row.accepts_tickets()));
        known.collect()
    }

    /// Returns whether this requires a key and nothing else.
    fn is_key(&self, security: &SecurityRequirement) -> bool {
        let parts = parts(security);
        !parts.is_empty() && parts.keys().all(|name| self.has(name))
    }

    /// Returns the parts of this requirement besides a key.
    fn others(&self, security: &SecurityRequirement) -> SecurityRequirement {
        let others = parts(security).into_iter().filter(|(name, _)| !self.has(name));
        others
            .fold(SecurityRequirement::default(), |others, (name, scopes)| others.add(name, scopes))
    }
}

/// Returns the scheme of keys in this header, or of bearer tokens for `None`.
fn describe(header: Option<&str>) -> SecurityScheme {
    match header {
        None => {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
            SecurityScheme::Http(bearer.description(Some("An API key")).build())
        }
        Some(name) => SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name))),
    }
}

/// Returns the scheme of tickets.
#[cfg(feature = "children")]
fn describe_ticket() -> SecurityScheme {
    let text = "A short-lived key that was derived from an API key for this operation only";
    SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(ticket::PARAMETER, text)))
}

/// Returns whether a scheme of the document is for tickets.
#[cfg(feature = "children")]
fn is_ticket(scheme: &RefOr<SecurityScheme>) -> bool {
    let scheme = serde_json::to_value(scheme).unwrap_or_default();
    let is = |member: &str, value: &str| {
        scheme.get(member).and_then(serde_json::Value::as_str) == Some(value)
    };
    is("type", "apiKey") && is("in", "query") && is("name", ticket::PARAMETER)
}

/// Says in the description of an operation that it accepts children, unless the description says so already.
#[cfg(feature = "children")]
fn mention_children(operation: &mut Operation, row: &RouteEntry) {
    let sentence = format!(
        "Accepts short-lived keys that were derived from an API key. Their audience may name `route:{} {}`.",
        row.method, row.path
    );
    operation.description = match operation.description.take() {
        Some(text) if text.contains(&sentence) => Some(text),
        Some(text) if !text.is_empty() => Some(format!("{text}\n\n{sentence}")),
        _ => Some(sentence),
    };
}

/// Returns the scheme of a credential besides keys.
fn describe_alternative(place: &Place) -> SecurityScheme {
    SecurityScheme::ApiKey(match place {
        Place::Cookie(name) => ApiKey::Cookie(ApiKeyValue::new(&**name)),
        Place::Header(name) => ApiKey::Header(ApiKeyValue::new(&**name)),
    })
}

/// Returns whether a scheme of the document is for a credential in this place.
fn is_at(scheme: &RefOr<SecurityScheme>, place: &Place) -> bool {
    match place {
        Place::Header(name) => is_for(scheme, Some(name)),
        Place::Cookie(name) => {
            let scheme = serde_json::to_value(scheme).unwrap_or_default();
            let is = |member: &str, value: &str| {
                scheme.get(member).and_then(serde_json::Value::as_str) == Some(value)
            };
            is("type", "apiKey") && is("in", "cookie") && is("name", name)
        }
    }
}

/// Returns whether a scheme of the document is for this header, or for bearer tokens, whatever its
/// description.
fn is_for(scheme: &RefOr<SecurityScheme>, header: Option<&str>) -> bool {
    // The fields of the type cannot be read, only serialized.
    let scheme = serde_json::to_value(scheme).unwrap_or_default();
    let is = |member: &str, value: &str| {
        let text = scheme.get(member).and_then(serde_json::Value::as_str);
        text.is_some_and(|text| text.eq_ignore_ascii_case(value))
    };
    match header {
        None => is("type", "http") && is("scheme", "bearer"),
        Some(name) => is("type", "apiKey") && is("in", "header") && is("name", name),
    }
}

/// Returns the alternatives for presenting a key of one of `schemes` that meets `requirement`.
fn keys(requirement: &Requirement, schemes: &[&str]) -> Vec<SecurityRequirement> {
    let scopes: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
    // One of several scopes is enough.
    let alternatives: Vec<&[&str]> =
        if requirement.is_any() { scopes.chunks(1).collect() } else { vec![&scopes] };
    let of_scheme = |scopes: &[&str]| {
        let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        schemes.iter().map(move |scheme| SecurityRequirement::new(*scheme, scopes.clone()))
    };
    alternatives.into_iter().flat_map(of_scheme).collect()
}

/// Writes the security of one operation. `inherited` is the document's declaration for all operations.
fn secure_operation(
    operation: &mut Operation,
    row: &RouteEntry,
    schemes: &Schemes,
    inherited: Option<&[SecurityRequirement]>,
) {
    let (access, names) = (&row.access, schemes.names(row));
    #[cfg(feature = "children")]
    if row.accepts_children() {
        mention_children(operation, row);
    }
    // A document that was secured before lists keys, which are not alternatives to a key.
    let without_keys = |all: &[SecurityRequirement]| {
        let others: Vec<_> = all.iter().filter(|one| !schemes.is_key(one)).cloned().collect();
        (!others.is_empty()).then(|| distinct(others))
    };
    let own = operation.security.as_deref();
    let security = match access {
        Access::Custom(_) => return,
        Access::Public => own.and_then(without_keys).unwrap_or_default(),
        Access::Optional(requirement) | Access::RequiredOr(requirement, _) => {
            let is_optional = matches!(access, Access::Optional(_));
            let nobody = || is_optional.then(SecurityRequirement::default).into_iter().collect();
            // An operation that declares anything, even an empty list, inherits nothing.
            let declared = own.or(inherited);
            let mut alternatives = match (access, &row.alternative) {
                // The guard accepts this one, and refuses all others.
                (Access::RequiredOr(..), Some(place)) => {
                    schemes.alternative(place).into_iter().collect()
                }
                _ => declared.and_then(without_keys).unwrap_or_else(nobody),
            };
            alternatives.extend(keys(requirement, &names));
            alternatives
        }
        Access::Required(requirement) => {
            let own = own.filter(|own| !own.is_empty());
            let own = own.map(|own| distinct(own.iter().map(|one| schemes.others(one)).collect()));
            let own = own.unwrap_or_else(|| vec![SecurityRequirement::default()]);
            let keys = keys(requirement, &names);
            own.iter().flat_map(|own| keys.iter().map(|key| both(own, key))).collect()
        }
    };
    if !matches!(access, Access::Public) {
        for (status, description) in REFUSALS {
            let described = &mut operation.responses.responses;
            described
                .entry(status.to_string())
                .or_insert_with(|| Response::new(description).into());
        }
    }
    operation.security = Some(security);
}

/// Removes repetitions and keeps the order.
fn distinct(all: Vec<SecurityRequirement>) -> Vec<SecurityRequirement> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

/// Combines two requirements for one request.
fn both(one: &SecurityRequirement, other: &SecurityRequirement) -> SecurityRequirement {
    parts(one).into_iter().fold(other.clone(), |both, (name, scopes)| both.add(name, scopes))
}

/// Returns the scopes of each scheme. The type offers no way to read them except serialization.
fn parts(security: &SecurityRequirement) -> BTreeMap<String, Vec<String>> {
    // The serialized form is a map of strings to lists of strings.
    let parts = serde_json::to_value(security).and_then(serde_json::from_value);
    parts.unwrap_or_default()
}

fn operations(item: &mut PathItem) -> [(&'static str, &mut Option<Operation>); 8] {
    [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("OPTIONS", &mut item.options),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
        ("TRACE", &mut item.trace),
    ]
}
