//! The description of the API, in OpenAPI 3.1.
//!
//! `openapi.json` declares each operation once. The router binds handlers to its operations by `operationId`, so
//! paths and methods are written nowhere else. Tests compare requests and responses with its schemas.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::Response,
    routing::MethodFilter,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{body::response_of, children::max_lifetime_seconds};
use crate::policy::Policy;

/// The document of a service, without the URL of the server, which depends on the path of the request.
pub(super) struct Document(Map<String, Value>);

/// An operation of the API.
pub(super) struct Operation {
    /// The `operationId`.
    pub(super) id: String,
    /// The path below `/api`, for a router. Names of parameters begin with `keyway`, so that they differ from
    /// parameters in the path of the mount.
    pub(super) path: String,
    pub(super) method: MethodFilter,
}

impl Document {
    /// Returns the document of a service with `policy`: with the names of its scopes and tiers. Without children in the
    /// policy, no request may have the member `children`.
    pub(super) fn of(policy: &Policy) -> Self {
        // INVARIANT: the file is a JSON object, which a test checks. Otherwise the API would have no operations.
        let document = serde_json::from_str(include_str!("openapi.json"));
        let mut document = Self(document.unwrap_or_default());
        let scopes = policy.catalog().iter().map(|(scope, _)| scope.as_str());
        let tiers = policy.tiers().iter().map(|tier| &*tier.name);
        if let Some(info) = object(&mut document.0, &["info"]) {
            info.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        }
        if let Some(schemas) = object(&mut document.0, &["components", "schemas"]) {
            schemas.insert("ScopeName".into(), one_of(scopes));
            schemas.insert("TierName".into(), one_of(tiers));
            if max_lifetime_seconds(policy).is_none() {
                schemas.insert("MayHaveChildren".into(), json!(false));
            }
        }
        document
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let paths =
            self.0.get("paths").map(BTreeMap::<String, BTreeMap<String, Identified>>::deserialize);
        let mut operations = Vec::new();
        for (path, item) in paths.and_then(Result::ok).unwrap_or_default() {
            let path = path.trim_start_matches("/api").replace('{', "{keyway_");
            for (method, Identified { id }) in item {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok();
                if let Some(method) = method.and_then(|method| method.try_into().ok()) {
                    operations.push(Operation { id, path: path.clone(), method });
                }
            }
        }
        operations
    }

    /// Removes the operation `id`, and its path if it was the last one there.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(paths) = object(&mut self.0, &["paths"]) else { return };
        for item in paths.values_mut().filter_map(Value::as_object_mut) {
            item.retain(|_, operation| operation.get("operationId").is_none_or(|name| name != id));
        }
        paths.retain(|_, item| item.as_object().is_none_or(|item| !item.is_empty()));
    }

    /// Responds with the document as it is served at `path`.
    pub(super) fn response(&self, path: &str) -> Response {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mount = path.strip_suffix("/openapi.json").filter(|mount| !mount.is_empty());
        let mut document = self.0.clone();
        document.insert("servers".into(), json!([{ "url": mount.unwrap_or("/") }]));
        let body = Body::from(Value::Object(document).to_string());
        response_of(StatusCode::OK, "application/json", body)
    }
}

/// An operation of the document, of which the router needs the identifier.
#[derive(Deserialize)]
struct Identified {
    #[serde(rename = "operationId")]
    id: String,
}

fn object<'d>(
    document: &'d mut Map<String, Value>,
    path: &[&str],
) -> Option<&'d mut Map<String, Value>> {
    path.iter().try_fold(document, |object, name| object.get_mut(*name)?.as_object_mut())
}

/// Returns the schema of a string that is one of `names`.
fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> Value {
    let names: Vec<_> = names.collect();
    // An `enum` must not be empty. The schema `false` accepts no value.
    if names.is_empty() { json!(false) } else { json!({ "type": "string", "enum": names }) }
}
