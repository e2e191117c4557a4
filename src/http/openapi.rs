//! The declarations of routes in an OpenAPI document.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
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
//! // A host has this from utoipa's derives.
//! let reports = PathItem::new(HttpMethod::Get, Operation::new());
//! let mut document = OpenApi::builder().paths(PathsBuilder::new().path("/reports", reports)).build();
//!
//! routes.matrix()?.secure(&mut document)?;
//! assert!(document.to_json()?.contains(r#""security":[{"api_key":["reporting"]}]"#));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::iter;

use utoipa::openapi::{
    Components, OpenApi, Response,
    path::{Operation, PathItem},
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use super::{Access, Matrix, Row, access::fill};
use crate::scope::Scope;

/// The name of the security scheme of bearer tokens.
const BEARER: &str = "api_key";
/// The name of that of a field of the host's own. Where guards have several, a number follows for the
/// second and on.
const FIELD: &str = "api_key_field";

/// What guarded operations answer besides what the handler does, as in [`problem`](super::problem).
const REFUSALS: [(&str, &str); 5] = [
    ("400", "The credential cannot be taken"),
    ("401", "An API key is required, or it is not valid"),
    ("403", "The API key may not do this"),
    ("429", "Too many requests"),
    ("503", "API keys cannot be verified at present"),
];

impl Matrix {
    /// Writes into `document` what its operations ask of their callers: the security scheme, the
    /// requirement of each operation, and the statuses of refusals that it does not describe itself.
    ///
    /// Paths are compared without the names of their parameters. Routes that the document leaves out
    /// stay out. What an operation declares itself is replaced, except where it
    /// [is authenticated by something else](super::Endpoint::authenticated_by).
    ///
    /// # Errors
    ///
    /// [`UndeclaredOperations`] names what is in the document and has no declaration. Nothing is
    /// written then.
    pub fn secure(&self, document: &mut OpenApi) -> Result<(), UndeclaredOperations> {
        let mut undeclared = Vec::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if operation.is_some() && self.find(method, path).is_none() {
                    undeclared.push(format!("{method} {path}"));
                }
            }
        }
        if !undeclared.is_empty() {
            return Err(UndeclaredOperations(undeclared));
        }
        let fields = self.key_fields();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if let (Some(operation), Some(row)) = (operation, self.find(method, path)) {
                    let own = row.key_field.as_deref();
                    let field = fields.iter().position(|field| own == Some(*field));
                    let field = field.map(scheme_name);
                    secure_operation(operation, &row.access, field.as_deref());
                }
            }
        }
        let schemes = &mut document.components.get_or_insert_with(Components::new).security_schemes;
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("An API key")).build();
        schemes.insert(BEARER.to_owned(), SecurityScheme::Http(bearer).into());
        for (number, name) in fields.into_iter().enumerate() {
            let field = ApiKey::Header(ApiKeyValue::new(name));
            schemes.insert(scheme_name(number), SecurityScheme::ApiKey(field).into());
        }
        Ok(())
    }

    /// The fields of the host's own, each once.
    fn key_fields(&self) -> Vec<&str> {
        let mut fields = Vec::new();
        for field in self.rows.iter().filter_map(|row| row.key_field.as_deref()) {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }

    /// The route of an operation: rather one of its very path and method than another that takes it.
    fn find(&self, method: &str, path: &str) -> Option<&Row> {
        // `/jobs/{id}` and `/jobs/{job}` are one path.
        let shape = fill(path, "{}");
        let takes_it = |row: &&Row| row.takes(method) && fill(&row.path, "{}") == shape;
        let routes = self.rows.iter().filter(takes_it);
        routes.min_by_key(|row| (row.path != path, row.method != method))
    }
}

/// `field` is the name of the scheme of the field that a key may come in.
fn secure_operation(operation: &mut Operation, access: &Access, field: Option<&str>) {
    let mut security = Vec::new();
    // The ways to present a key with these scopes.
    let mut alternatives = |scopes: &[&str]| {
        for scheme in iter::once(BEARER).chain(field) {
            security.push(SecurityRequirement::new(scheme, scopes.iter().copied()));
        }
    };
    match access {
        Access::Elsewhere(_) => return,
        Access::Public => {}
        Access::Optional => {
            alternatives(&[]);
            security.insert(0, SecurityRequirement::default());
        }
        Access::Required(requirement) => {
            let scopes: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
            if requirement.is_any() {
                // One of several requirements is enough.
                for scope in scopes {
                    alternatives(&[scope]);
                }
            } else {
                alternatives(&scopes);
            }
        }
    }
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

fn scheme_name(field: usize) -> String {
    if field == 0 { FIELD.to_owned() } else { format!("{FIELD}_{}", field + 1) }
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

/// Operations in the document that no route declares.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document has operations that no route declares: {}", .0.join(", "))]
pub struct UndeclaredOperations(Vec<String>);

impl UndeclaredOperations {
    /// The operations, each as `GET /path`.
    pub fn operations(&self) -> &[String] {
        &self.0
    }
}
