//! The document says what the API takes. That it says every status that is answered is checked with every
//! answer of the other tests.

use serde_json::{Value, json};

use crate::client::{Client, MOUNT, Place};

#[test]
fn it_is_openapi_3_1_for_this_mount() {
    let Place { client, .. } = Place::new();
    let document = &*client.document;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    assert_eq!(document["servers"], json!([{ "url": MOUNT }]));
    // Everything that is referred to is there.
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
fn bodies_take_no_other_members() {
    let document = Place::new().client.document;
    for (name, required) in [
        ("NewKey", json!(["name"])),
        ("KeyChanges", json!(null)),
        ("Rotation", json!(["overlap"])),
        ("Search", json!(["text"])),
        ("NewTier", json!(["tier"])),
        ("NewSuspension", json!(["reason"])),
        ("LeakReport", json!(["token", "reason", "response"])),
    ] {
        let schema = schema(&document, name);
        assert_eq!(schema["additionalProperties"], false, "{name}");
        assert_eq!(schema["required"], required, "{name}");
    }
    // What may be left out is not what may be null.
    let changes = schema(&document, "KeyChanges");
    let kind = |member: &str| changes["properties"][member]["type"].clone();
    assert_eq!(kind("name"), "string");
    assert_eq!(kind("enabled"), "boolean");
    assert_eq!(kind("expires_at"), json!(["string", "null"]));
    let tiers = &schema(&document, "NewTier")["properties"]["tier"];
    assert_eq!(tiers["enum"], json!(["lite", "advanced"]));
    let scopes = &changes["properties"]["scopes"]["items"]["enum"];
    assert_eq!(scopes.as_array().unwrap().len(), 6);
    let seconds = &schema(&document, "Overlap")["oneOf"][1];
    assert_eq!((&seconds["minimum"], &seconds["maximum"]), (&json!(0), &json!(2_592_000)));
}

/// The parameters that the code asks for.
#[test]
fn parameters_are_named() {
    let document = Place::new().client.document;
    let parameters = |path: &str, method: &str| {
        let all = document["paths"][path][method]["parameters"].as_array().unwrap();
        let name = |parameter: &Value| {
            let required = parameter["required"].as_bool().unwrap_or_default();
            format!("{}{}", parameter["name"].as_str().unwrap(), if required { "" } else { "?" })
        };
        all.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(parameters("/api/keys", "get"), "limit? after? state?");
    assert_eq!(parameters("/api/keys", "post"), "Idempotency-Key");
    assert_eq!(parameters("/api/keys/{id}", "patch"), "id If-Match");
    assert_eq!(parameters("/api/keys/{id}", "delete"), "id If-Match?");
    assert_eq!(parameters("/api/keys/{id}/rotate", "post"), "id If-Match Idempotency-Key");
    assert_eq!(parameters("/api/tenants/{tenant}/tiers/{tier}", "get"), "tenant tier");
}

/// The control of the check of every answer: with a document that lacks a status, it fails.
#[test]
#[should_panic(expected = "GET /api/keys answers 200")]
fn an_answer_that_is_not_described_is_noticed() {
    let Place { client, .. } = Place::with_tenants();
    let mut document = (*client.document).clone();
    let responses = document.pointer_mut("/paths/~1api~1keys/get/responses").unwrap();
    responses.as_object_mut().unwrap().remove("200");
    let client = Client { document: document.into(), ..client };
    client.get("acme", "/api/keys");
}
