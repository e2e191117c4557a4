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

use utoipa::openapi::{
    Components, OpenApi, Response,
    path::{Operation, PathItem},
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use super::{Access, Matrix, access::fill};
use crate::scope::Scope;

/// The name of the security scheme of bearer tokens.
const BEARER: &str = "api_key";
/// The name of that of a field of the host's own.
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
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                if let (Some(operation), Some(access)) = (operation, self.find(method, path)) {
                    self.secure_operation(operation, access);
                }
            }
        }
        let schemes = &mut document.components.get_or_insert_with(Components::new).security_schemes;
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("An API key")).build();
        schemes.insert(BEARER.to_owned(), SecurityScheme::Http(bearer).into());
        if let Some(name) = &self.key_field {
            let field = ApiKey::Header(ApiKeyValue::new(name.clone()));
            schemes.insert(FIELD.to_owned(), SecurityScheme::ApiKey(field).into());
        }
        Ok(())
    }

    fn find(&self, method: &str, path: &str) -> Option<&Access> {
        // `/jobs/{id}` and `/jobs/{job}` are one path.
        let path = fill(path, "{}");
        let is_it = |row: &&super::Row| {
            let is_method =
                matches!((row.method, method), ("*", _) | ("GET", "HEAD")) || row.method == method;
            is_method && fill(&row.path, "{}") == path
        };
        self.rows.iter().find(is_it).map(|row| &row.access)
    }

    fn secure_operation(&self, operation: &mut Operation, access: &Access) {
        let mut security = Vec::new();
        match access {
            Access::Elsewhere(_) => return,
            Access::Public => {}
            Access::Optional => {
                security.push(SecurityRequirement::default());
                self.alternatives(&[], &mut security);
            }
            Access::Required(requirement) => {
                let scopes: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
                if requirement.is_any() {
                    // One of several requirements is enough.
                    for scope in scopes {
                        self.alternatives(&[scope], &mut security);
                    }
                } else {
                    self.alternatives(&scopes, &mut security);
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

    /// The ways to present a key with these scopes.
    fn alternatives(&self, scopes: &[&str], security: &mut Vec<SecurityRequirement>) {
        security.push(SecurityRequirement::new(BEARER, scopes.iter().copied()));
        if self.key_field.is_some() {
            security.push(SecurityRequirement::new(FIELD, scopes.iter().copied()));
        }
    }
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
