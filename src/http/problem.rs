//! The problem types of refusals (RFC 9457).
//!
//! Each refusal has a body of type `application/problem+json`. Its `type` is a link to one of the
//! headings below, which stay as they are: programs may branch on it. `title`, `status` and `detail` are
//! always there; what else is there is said with the type. Nothing of the request is repeated.
//!
//! ```json
//! {
//!   "type": "https://docs.rs/keyway/latest/keyway/http/problem/index.html#insufficient-scope",
//!   "title": "The API key may not do this",
//!   "status": 403,
//!   "detail": "missing `operator.jobs`",
//!   "scopes": ["operator.jobs"],
//!   "match": "all"
//! }
//! ```
//!
//! # Missing credential
//!
//! Status 401. The request came without an API key, and this route needs one.
//!
//! # Invalid request
//!
//! Status 400. More than one credential was presented, or it cannot be read.
//!
//! # Invalid token
//!
//! Status 401. The API key is not valid. A malformed, made-up, deleted and unknown key and one of another
//! service are answered alike.
//!
//! # Inactive key
//!
//! Status 401. The caller holds the key, which cannot be used now. `state` is one of `disabled`, `suspended`,
//! `tenant_suspended`, `expired` and `not_yet_valid`.
//!
//! # Insufficient scope
//!
//! Status 403. The key lacks a scope that the route requires. `scopes` names those that it lacks; with `match`
//! `all` it needs all of them, with `any` one of them.
//!
//! # Rate exceeded
//!
//! Status 429. The key has been used more often than its tier allows. `Retry-After` says how long to wait.
//!
//! # Unavailable
//!
//! Status 503. API keys cannot be verified at present. This is no word on the key: try again after
//! `Retry-After`. A leak report that is answered so is to be sent again; what was done of it stays done.
//!
//! # Leak report rejected
//!
//! Status 403. The report is not signed by a key that is accepted here. That it has no signature, that
//! another key made it, and that the body is another one is answered alike.
//!
//! # Leak report unreadable
//!
//! Status 400. The report is signed, but not a JSON array of objects with `token` and `type`. Nothing
//! was done.
//!
//! # Leak report too large
//!
//! Status 413. The report has more than 1 MB or more than 1,000 tokens. Nothing was done.
//!
//! # Unguarded route
//!
//! Status 500. A handler of the service needs a caller, and no guard stands before it.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::scope::Scope;

/// What stands before the name of a type.
const BASE: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

/// The body of a refusal.
#[derive(Serialize)]
pub(super) struct Problem<'p> {
    #[serde(rename = "type", serialize_with = "link")]
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) detail: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'static str>,
    #[serde(flatten)]
    pub(super) missing: Option<Missing<'p>>,
}

#[derive(Serialize)]
pub(super) struct Missing<'p> {
    #[serde(serialize_with = "names")]
    pub(super) scopes: &'p [Scope],
    pub(super) r#match: &'static str,
}

impl Problem<'_> {
    pub(super) fn to_json(&self) -> String {
        // Nothing in it fails to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn link<S: serde::Serializer>(kind: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{BASE}{kind}"))
}

fn names<S: serde::Serializer>(scopes: &[Scope], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scopes.iter().map(Scope::as_str).collect::<Vec<_>>())
}
