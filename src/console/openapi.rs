//! The description of the API, in OpenAPI 3.1.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use axum::{
    extract::{OriginalUri, State},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{app::App, body, keys, problem::ProblemView, session, tenants};
use crate::{authority::Overlap, policy::Policy, record::Labels};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "API keys",
        description = "What administrators of tenants and operators do with API keys. Whoever is not an \
            operator finds none of their paths, and the other way round.",
    ),
    paths(
        session::session,
        keys::list_keys,
        keys::create::create_key,
        keys::search_keys,
        keys::get_key,
        keys::change::change_key,
        keys::change::delete_key,
        keys::change::rotate_key,
        keys::events::key_events,
        tenants::list_tenants,
        tenants::get_tenant,
        tenants::list_tenant_keys,
        tenants::tiers::preview_tier,
        tenants::tiers::set_tier,
        tenants::suspension::suspend_tenant,
        tenants::suspension::resume_tenant,
        tenants::suspension::suspend_key,
        tenants::suspension::resume_key,
        tenants::suspension::report_leak,
    ),
    components(schemas(ProblemView))
)]
struct Api;

/// What every operation may answer besides what it is for.
const REFUSALS: [u16; 5] = [403, 404, 409, 500, 503];
/// What those with a body may answer.
const REFUSALS_OF_BODIES: [u16; 4] = [400, 413, 415, 422];
/// What these may answer in addition.
const MORE_REFUSALS: [(&str, &[u16]); 13] = [
    ("list_keys", &[422]),
    ("list_tenants", &[422]),
    ("list_tenant_keys", &[422]),
    ("create_key", &[410, 412]),
    ("change_key", &[412, 428]),
    ("delete_key", &[412]),
    ("rotate_key", &[412, 428]),
    ("set_tier", &[412]),
    ("suspend_tenant", &[412]),
    ("resume_tenant", &[412]),
    ("suspend_key", &[412]),
    ("resume_key", &[412]),
    ("report_leak", &[412]),
];

/// Text that can be shown on one line, with more in it than white space, as `text::check_filled` has it.
const FILLED_LINE: &str = "^[^UNPRINTABLE]*[^UNPRINTABLE\\s][^UNPRINTABLE]*$";
const LINE: &str = "^[^UNPRINTABLE]*$";
const UNPRINTABLE: &str = "\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\
    \\u2028-\\u202e\\u2060-\\u206f\\ufeff";

/// The document, but for the place where it is served.
pub(super) struct Document(Value);

impl Document {
    /// The document of a service with this policy.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
        for operation in operations(&mut document) {
            add_refusals(operation);
        }
        for (schema, member, pattern) in [
            ("NewKey", "name", FILLED_LINE),
            ("KeyChanges", "name", FILLED_LINE),
            ("NewSuspension", "reason", FILLED_LINE),
            ("LeakReport", "reason", FILLED_LINE),
        ] {
            let pattern = printable(pattern);
            describe(&mut document, schema, member, json!({ "pattern": pattern }));
        }
        for schema in ["NewKey", "KeyChanges"] {
            let names = policy.catalog().iter().map(|(scope, _)| scope.as_str());
            describe(&mut document, schema, "scopes", json!({ "items": one_of(names) }));
            describe(&mut document, schema, "labels", labels());
        }
        if let Some(Value::Object(after)) =
            document.pointer_mut("/paths/~1api~1tenants/get/parameters/1/schema")
        {
            after.insert("pattern".into(), printable(FILLED_LINE).into());
        }
        let tiers = policy.tiers().iter().map(|tier| &*tier.name);
        describe(&mut document, "NewTier", "tier", one_of(tiers));
        if let Some(Value::Object(seconds)) =
            document.pointer_mut("/components/schemas/Overlap/oneOf/1")
        {
            seconds.insert("maximum".into(), Overlap::MAX.as_secs().into());
        }
        Self(document)
    }

    /// The document as it is served at `path`.
    fn at(&self, path: &str) -> String {
        let mount = path.strip_suffix("/openapi.json").filter(|mount| !mount.is_empty());
        let mut document = self.0.clone();
        if let Some(document) = document.as_object_mut() {
            document.insert("servers".into(), json!([{ "url": mount.unwrap_or("/") }]));
        }
        document.to_string()
    }
}

fn operations(document: &mut Value) -> Vec<&mut Value> {
    let paths = document.pointer_mut("/paths").and_then(Value::as_object_mut);
    let items = paths.into_iter().flat_map(|paths| paths.values_mut());
    let items = items.filter_map(Value::as_object_mut);
    items.flat_map(|item| item.values_mut()).collect()
}

fn add_refusals(operation: &mut Value) {
    let name = operation.pointer("/operationId").and_then(Value::as_str).unwrap_or_default();
    let mut statuses = REFUSALS.to_vec();
    let more = MORE_REFUSALS.iter().filter(|(other, _)| *other == name);
    statuses.extend(more.flat_map(|(_, more)| *more));
    if operation.pointer("/requestBody").is_some() {
        statuses.extend(REFUSALS_OF_BODIES);
    }
    let Some(responses) = operation.pointer_mut("/responses").and_then(Value::as_object_mut) else {
        return;
    };
    let signed_out =
        json!({ "description": "Whoever asks has not signed in; told by the service" });
    responses.insert("401".into(), signed_out);
    for status in statuses {
        let status_code = StatusCode::from_u16(status).unwrap_or_default();
        let mut response = json!({
            "description": status_code.canonical_reason().unwrap_or_default(),
            "content": {
                "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/Problem" }
                }
            },
        });
        if status == 503
            && let Some(response) = response.as_object_mut()
        {
            let seconds = json!({ "retry-after": { "schema": { "type": "integer" } } });
            response.insert("headers".into(), seconds);
        }
        responses.insert(status.to_string(), response);
    }
}

/// Adds `more` to what the document says of a member.
fn describe(document: &mut Value, schema: &str, member: &str, more: Value) {
    let path = alloc::format!("/components/schemas/{schema}/properties/{member}");
    let known = document.pointer_mut(&path).and_then(Value::as_object_mut);
    if let (Some(known), Value::Object(more)) = (known, more) {
        known.extend(more);
    }
}

/// A text that is one of `names`.
fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> Value {
    let names: Vec<_> = names.collect();
    // An `enum` is not empty; `false` takes nothing.
    if names.is_empty() { json!(false) } else { json!({ "type": "string", "enum": names }) }
}

fn labels() -> Value {
    json!({
        "maxProperties": Labels::MAX,
        "propertyNames": {
            "minLength": 1,
            "maxLength": Labels::MAX_NAME_LEN,
            "pattern": printable(FILLED_LINE),
        },
        "additionalProperties": {
            "type": "string",
            "maxLength": Labels::MAX_VALUE_LEN,
            "pattern": printable(LINE),
        },
    })
}

fn printable(pattern: &str) -> String {
    pattern.replace("UNPRINTABLE", UNPRINTABLE)
}

/// Tells the document.
pub(super) async fn document(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
) -> Response {
    body::text_of(StatusCode::OK, "application/json", app.document.at(uri.path()))
}
