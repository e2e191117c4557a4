//! The OpenAPI document describes the requests that the API accepts. All other tests check that it describes
//! the status of each response; see [`Client`].

use serde_json::{Value, json};

use crate::{
    client::{Client, MOUNT, Place},
    routes::routes,
    schema::resolve,
};

#[test]
fn document_is_openapi_3_1_with_the_mount_as_server() {
    let Place { client, .. } = Place::new();
    let document = &*client.document;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    assert_eq!(document["servers"], json!([{ "url": MOUNT }]));
    // Every `$ref` leads to a part of the document.
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(client.get("", "/openapi.json").status == 401);
}

fn schema<'d>(document: &'d Value, name: &str) -> &'d Value {
    document.pointer(&format!("/components/schemas/{name}")).unwrap()
}

#[test]
fn request_bodies_allow_no_unknown_fields() {
    let document = Place::new().client.document;
    for (name, required) in [
        ("NewKey", json!(["name"])),
        ("KeyChanges", json!(null)),
        ("Rotation", json!(["grace_period"])),
        ("Search", json!(["text"])),
        ("NewTier", json!(["tier"])),
        ("Exceptions", json!(null)),
        ("NamedKeys", json!(["keys"])),
        ("NewSuspension", json!(["reason"])),
        ("LeakReport", json!(["token", "reason", "response"])),
    ] {
        let schema = schema(&document, name);
        assert_eq!(schema["additionalProperties"], false, "{name}");
        assert_eq!(schema["required"], required, "{name}");
    }
    // An optional field is not the same as one that may be `null`.
    let changes = schema(&document, "KeyChanges");
    let kind = |member: &str| changes["properties"][member]["type"].clone();
    assert_eq!(kind("name"), "string");
    assert_eq!(kind("enabled"), "boolean");
    assert_eq!(kind("expires_at"), json!(["string", "null"]));
    let tiers = resolve(&document, &schema(&document, "NewTier")["properties"]["tier"]);
    assert_eq!(tiers["enum"], json!(["lite", "advanced"]));
    let scopes = resolve(&document, &changes["properties"]["scopes"]["items"]);
    assert_eq!(scopes["enum"].as_array().unwrap().len(), 6);
    let seconds = &schema(&document, "GracePeriod")["oneOf"][1];
    assert_eq!((&seconds["minimum"], &seconds["maximum"]), (&json!(0), &json!(2_592_000)));
}

/// A request with an unknown field is refused, and the problem names the fields that the handler reads.
#[test]
fn request_schemas_have_the_fields_that_handlers_read() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let mut checked = 0;
    for route in routes().iter().filter(|route| !route.body.is_empty()) {
        let operation = &client.document["paths"][route.path][route.method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let fields = resolve(&client.document, schema)["properties"].as_object().unwrap();
        let mut expected: Vec<_> = fields.keys().map(|name| format!("`{name}`")).collect();
        expected.sort_unstable();
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path =
            route.path.replace("{owner}", "ann").replace("{tenant}", "acme").replace("{id}", &id);
        let ask = client.ask(who, route.method, &path).field("if-match", "*");
        let answer = ask.field("idempotency-key", "k").json(&json!({ "unknown": 1 })).send();
        answer.is(400, "unreadable-body", "");
        let answer = answer.json();
        let (_, known) = answer["detail"].as_str().unwrap().split_once("these are: ").unwrap();
        let mut known: Vec<_> = known.split(", ").collect();
        known.sort_unstable();
        assert_eq!(known, expected, "{}", route.path);
        checked += 1;
    }
    assert_eq!(checked, 12);
}

/// The limits and words in the document are those of the library.
#[test]
fn document_has_the_limits_of_the_library() {
    use keyway::{
        KeyRecord,
        record::{Labels, Suspension},
    };

    let document = Place::new().client.document;
    let limit = |schema: &str, field: &str, name: &str| {
        let field = &document["components"]["schemas"][schema]["properties"][field];
        usize::try_from(field[name].as_u64().unwrap()).unwrap()
    };
    for schema in ["NewKey", "KeyChanges"] {
        assert_eq!(limit(schema, "name", "maxLength"), KeyRecord::MAX_NAME_LEN);
    }
    for schema in ["NewSuspension", "LeakReport"] {
        assert_eq!(limit(schema, "reason", "maxLength"), Suspension::MAX_REASON_LEN);
    }
    let labels = &document["components"]["schemas"]["Labels"];
    assert_eq!(labels["maxProperties"], Labels::MAX);
    assert_eq!(labels["propertyNames"]["maxLength"], Labels::MAX_NAME_LEN);
    assert_eq!(labels["additionalProperties"]["maxLength"], Labels::MAX_VALUE_LEN);
    let seconds = &schema(&document, "GracePeriod")["oneOf"][1]["maximum"];
    assert_eq!(*seconds, keyway::GracePeriod::MAX.as_secs());
}

/// The document lists the parameters that the handlers read.
#[test]
fn operations_document_their_parameters() {
    let document = Place::new().client.document;
    let parameters = |path: &str, method: &str| {
        let all = document["paths"][path][method]["parameters"].as_array().unwrap();
        let name = |parameter: &Value| {
            let parameter = resolve(&document, parameter);
            let required = parameter["required"].as_bool().unwrap_or_default();
            format!("{}{}", parameter["name"].as_str().unwrap(), if required { "" } else { "?" })
        };
        all.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        parameters("/api/keys", "get"),
        "limit? after? state? owner? created_by? label? expiring_before? unused_since? due_before?"
    );
    assert_eq!(
        parameters("/api/usage", "get"),
        "days? limit? after? state? owner? created_by? label? expiring_before? unused_since? due_before?"
    );
    assert_eq!(parameters("/api/usage.csv", "get"), "days?");
    assert_eq!(parameters("/api/keys/{id}/usage", "get"), "id days?");
    assert_eq!(parameters("/api/tenants/{tenant}/usage", "get"), "tenant days?");
    assert_eq!(parameters("/api/keys", "post"), "Idempotency-Key");
    assert_eq!(parameters("/api/keys/{id}", "patch"), "id If-Match");
    assert_eq!(parameters("/api/keys/{id}", "delete"), "id If-Match");
    assert_eq!(parameters("/api/keys/{id}/rotate", "post"), "id If-Match Idempotency-Key");
    assert_eq!(parameters("/api/tenants/{tenant}/tiers/{tier}", "get"), "tenant tier");
    assert_eq!(parameters("/api/tenants/{tenant}/tier", "put"), "tenant If-Match");
    assert_eq!(parameters("/api/tenants/{tenant}/exceptions", "put"), "tenant If-Match");
    assert_eq!(parameters("/api/tenants/{tenant}/exceptions/preview", "post"), "tenant");
    assert_eq!(parameters("/api/owners/{owner}/disabled", "put"), "owner");
}

/// The control for the check of every response: it fails with a document that lacks a status.
#[test]
#[should_panic(expected = "GET /api/keys answers 200")]
fn undocumented_status_fails_the_check() {
    let Place { client, .. } = Place::with_tenants();
    let mut document = (*client.document).clone();
    let responses = document.pointer_mut("/paths/~1api~1keys/get/responses").unwrap();
    responses.as_object_mut().unwrap().remove("200");
    let client = Client { document: document.into(), ..client };
    client.get("acme", "/api/keys");
}
