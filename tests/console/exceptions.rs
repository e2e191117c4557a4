//! Exceptions of a tenant from its tier.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place},
    support::{DAY, block_on},
};

const PATH: &str = "/api/tenants/acme/exceptions";

fn put(client: &Client, version: u64, body: &Value) -> Answer {
    let ask = client.ask("operator", "PUT", PATH);
    ask.field("if-match", &format!("\"{version}\"")).json(body).send()
}

fn preview(client: &Client, body: &Value) -> Answer {
    client.ask("operator", "POST", &format!("{PATH}/preview")).json(body).send()
}

fn tenant(client: &Client) -> Value {
    client.get("operator", "/api/tenants/acme").json()
}

#[test]
fn exceptions_are_set_shown_and_taken_away() {
    let Place { client, .. } = Place::with_tenants();
    for body in [
        json!({ "keys": 7 }),
        json!({ "keys": 0, "rate": { "requests": 5, "per_seconds": 60 }, "tenant_rate": "unlimited" }),
        json!({ "max_lifetime_seconds": 86_400, "scopes": ["operator"] }),
        json!({ "max_lifetime_seconds": "unlimited", "scopes": "all", "rate": "unlimited" }),
        json!({ "scopes": [] }),
        json!({}),
    ] {
        let version = tenant(&client)["version"].as_u64().unwrap();
        let set = put(&client, version, &body);
        assert_eq!((set.status, set.field("etag")), (200, &*format!("\"{}\"", version + 1)));
        assert_eq!(set.json()["version"], version + 1);
        let tenant = tenant(&client);
        assert_eq!((&tenant["exceptions"], &tenant["version"]), (&body, &json!(version + 1)));
        let listed = client.get("operator", "/api/tenants").json()["items"][0].clone();
        assert_eq!(listed, tenant);
    }
    // `null` is the same as a limit that is left out.
    let nothing = json!({
        "keys": null, "rate": null, "tenant_rate": null, "max_lifetime_seconds": null, "scopes": null,
    });
    assert_eq!(put(&client, 7, &nothing).status, 200);
    assert_eq!(tenant(&client)["exceptions"], json!({}));
}

/// A tenant learns what it may hold, and not that it is an exception.
#[test]
fn seven_keys_are_created_on_a_tier_with_five() {
    let Place { client, .. } = Place::with_tenants();
    for name in ["1", "2", "3", "4", "5"] {
        client.key("acme", name);
    }
    client.create("acme", json!({ "name": "6" })).is(409, "quota-exceeded", "");
    assert_eq!(put(&client, 1, &json!({ "keys": 7 })).json()["allowed"], 7);
    let own = client.get("acme", "/api/session").json()["tenant"].clone();
    assert_eq!((&own["held"], &own["allowed"]), (&json!(5), &json!(7)));
    assert!(own.get("exceptions").is_none() && own.get("version").is_none());
    client.key("acme", "6");
    client.key("acme", "7");
    client.create("acme", json!({ "name": "8" })).is(409, "quota-exceeded", "");
    let back = put(&client, 2, &json!({})).json();
    assert_eq!((&back["held"], &back["allowed"], &back["over"]), (&json!(7), &json!(5), &json!(2)));
}

#[test]
fn preview_reports_the_effect_and_changes_nothing() {
    let Place { world, client } = Place::with_tenants();
    client.key("acme", "plain");
    let mixed = json!({ "name": "mixed", "scopes": ["manager", "operator"] });
    let mixed = client.create("acme", mixed).json()["key"]["id"].clone();
    let before = tenant(&client);
    let body = json!({ "keys": 1, "scopes": ["operator", "erp"], "max_lifetime_seconds": 86_400 });
    let effect = preview(&client, &body);
    assert_eq!((effect.status, effect.field("etag")), (200, "\"1\""));
    let effect = effect.json();
    assert_eq!((&effect["from"], &effect["to"]), (&json!("advanced"), &json!("advanced")));
    let count = |member: &str| effect[member].clone();
    assert_eq!([count("held"), count("allowed"), count("over")], [2, 1, 1]);
    let narrowed = json!([{ "id": mixed, "name": "mixed", "loses": ["manager"] }]);
    assert_eq!(effect["narrowed"], narrowed);
    assert_eq!(effect["ended"].as_array().unwrap().len(), 2);
    assert_eq!(effect["ended"][0]["ends_at"], "2026-01-02T00:00:00Z");
    assert_eq!(tenant(&client), before);
    client.key("acme", "third");

    let set = put(&client, 1, &body).json();
    assert_eq!((&set["narrowed"], &set["version"]), (&narrowed, &json!(2)));
    world.clock.advance(DAY);
    let states = client.get("acme", "/api/keys").json()["items"].as_array().unwrap().clone();
    assert!(states.iter().all(|key| key["state"] == "expired"), "{states:?}");
}

#[test]
fn bad_exceptions_are_refused_at_their_field() {
    let Place { client, .. } = Place::with_tenants();
    for (body, status, kind, field) in [
        (json!({ "keys": -1 }), 400, "unreadable-body", "keys"),
        (json!({ "keys": 4_294_967_296_u64 }), 400, "unreadable-body", "keys"),
        (json!({ "keys": "unlimited" }), 400, "unreadable-body", "keys"),
        (json!({ "rate": { "requests": 0, "per_seconds": 1 } }), 422, "invalid-field", "rate"),
        (
            json!({ "tenant_rate": { "requests": 1, "per_seconds": 0 } }),
            422,
            "invalid-field",
            "tenant_rate",
        ),
        (json!({ "rate": { "requests": 1 } }), 422, "invalid-field", "rate"),
        (json!({ "rate": "all" }), 422, "invalid-field", "rate"),
        (json!({ "rate": 5 }), 422, "invalid-field", "rate"),
        (json!({ "max_lifetime_seconds": 0 }), 422, "invalid-field", "max_lifetime_seconds"),
        (json!({ "max_lifetime_seconds": 0.5 }), 422, "invalid-field", "max_lifetime_seconds"),
        (
            json!({ "max_lifetime_seconds": 1_u64 << 53 }),
            422,
            "invalid-field",
            "max_lifetime_seconds",
        ),
        (json!({ "scopes": ["nothing"] }), 422, "invalid-field", "scopes"),
        (json!({ "scopes": "unlimited" }), 422, "invalid-field", "scopes"),
        (json!({ "price": 1 }), 400, "unreadable-body", ""),
        (json!([]), 400, "unreadable-body", ""),
    ] {
        let refused = preview(&client, &body);
        refused.is(status, kind, field);
        assert!(!refused.text.contains("enum"), "{}", refused.text);
        put(&client, 1, &body).is(status, kind, field);
    }
    assert_eq!(tenant(&client)["exceptions"], json!({}));
}

#[test]
fn exceptions_of_another_version_are_refused() {
    let Place { world, client } = Place::with_tenants();
    let body = json!({ "keys": 7 });
    let bare = client.ask("operator", "PUT", PATH).json(&body).send();
    bare.is(428, "precondition-required", "");
    let other = keyway::record::Exceptions::new().keys(6);
    let id = "acme".parse().unwrap();
    block_on(world.keyring.set_exceptions(&id, 1, other)).unwrap();
    put(&client, 1, &body).is(412, "changed", "");
    assert_eq!(tenant(&client)["exceptions"], json!({ "keys": 6 }));
    let nobody = client.ask("operator", "PUT", "/api/tenants/nobody/exceptions");
    nobody.field("if-match", "*").json(&body).send().is(404, "not-found", "");
    let nobody = client.ask("operator", "POST", "/api/tenants/nobody/exceptions/preview");
    nobody.json(&body).send().is(404, "not-found", "");
}

#[test]
fn nobody_of_a_tenant_finds_its_exceptions() {
    let Place { client, .. } = Place::with_tenants();
    let body = json!({ "keys": 7 });
    for who in ["acme", "acme/ann"] {
        let ask = client.ask(who, "PUT", PATH).field("if-match", "*").json(&body);
        ask.send().is(404, "not-found", "");
        let ask = client.ask(who, "POST", &format!("{PATH}/preview")).json(&body);
        ask.send().is(404, "not-found", "");
    }
    assert_eq!(tenant(&client)["exceptions"], json!({}));
}
