//! Limits on resources and networks in the API: what is granted, what is shown, and how a bad one is refused.

use axum::{http::request::Parts, response::Response};
use keyway::{
    NewKey, Policy, Principal, ScopeCatalog, Tier,
    console::{Admin, Console},
    grant::{Networks, ResourceDeclaration, Resources},
    scope::ScopeDeclaration,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    support::{World, block_on, overheard::RevealKnown as _},
};

/// Returns a place whose policy has two kinds of resources, with the tenant `acme`.
fn place() -> Place {
    let scopes = ["operator", "reporting"].map(|name| ScopeDeclaration::new(name, ""));
    let kinds = [("machine", "One machine"), ("site", "One site")]
        .map(|(name, description)| ResourceDeclaration::new(name, description));
    let catalog = ScopeCatalog::new(scopes).unwrap().with_resources(kinds).unwrap();
    let policy = Policy::new("mm", catalog, [Tier::new("advanced", 5)]).unwrap();
    let world = World::with(policy, |builder| builder);
    block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let client = Client::of(mount(console(&world.keyring)));
    Place { world, client }
}

#[test]
fn limits_are_granted_shown_and_changed() {
    let Place { world, client } = place();
    let session = client.get("acme", "/api/session").json();
    let kinds = json!([
        { "name": "machine", "description": "One machine" },
        { "name": "site", "description": "One site" },
    ]);
    assert_eq!(session["resources"], kinds);

    let created = client.create(
        "acme",
        json!({
            "name": "Dashboard", "scopes": ["reporting"],
            "resources": { "machine": ["press-2", "press-1", "press-1"], "site": "all" },
            "networks": ["192.0.2.7", "10.128.0.0/9", "10.0.0.0/9"],
        }),
    );
    assert_eq!(created.status, 201, "{}", created.text);
    let key = created.json()["key"].clone();
    assert_eq!(key["resources"], json!({ "machine": ["press-1", "press-2"], "site": "all" }));
    assert_eq!(key["networks"], json!(["10.0.0.0/8", "192.0.2.7/32"]));
    let id = key["id"].as_str().unwrap();
    let stored = block_on(world.keyring.find_key(id.parse().unwrap())).unwrap();
    assert_eq!(stored.key.resources().len(), 2);

    // A kind that is left out is not changed, and an empty list is nothing.
    let edit = |version, body: Value| client.change("acme", id, version, &body).json();
    let edited = edit(1, json!({ "resources": { "machine": [] } }));
    assert_eq!(edited["resources"], json!({ "site": "all" }));
    let edited = edit(2, json!({ "networks": null, "resources": { "machine": "all" } }));
    assert_eq!(edited["resources"], json!({ "machine": "all", "site": "all" }));
    assert_eq!(edited["networks"], Value::Null);
    let stored = block_on(world.keyring.find_key(id.parse().unwrap())).unwrap();
    assert_eq!(stored.key.networks(), &Networks::Any);
    assert!(stored.key.resources().all(|(_, resources)| *resources == Resources::All));
}

#[test]
fn key_without_limits_in_its_body_touches_nothing() {
    let Place { client, .. } = place();
    let created = client.create("acme", json!({ "name": "k", "scopes": ["reporting"] }));
    let key = created.json()["key"].clone();
    assert_eq!((&key["resources"], &key["networks"]), (&json!({}), &Value::Null));
}

#[test]
fn bad_limit_is_refused_at_its_field() {
    let Place { client, .. } = place();
    let long = "x".repeat(65);
    let many: Vec<_> = (0..101).map(|id| id.to_string()).collect();
    for (limits, status, kind, field) in [
        (json!({ "resources": { "plant": "all" } }), 422, "invalid-field", "resources"),
        (json!({ "resources": { "machine": [long] } }), 422, "invalid-field", "resources"),
        (json!({ "resources": { "machine": [""] } }), 422, "invalid-field", "resources"),
        (json!({ "resources": { "machine": many } }), 422, "invalid-field", "resources"),
        (json!({ "networks": [] }), 422, "invalid-field", "networks"),
        (json!({ "networks": ["10.0.0.1/8"] }), 422, "invalid-field", "networks"),
        (json!({ "networks": ["office"] }), 422, "invalid-field", "networks"),
        (json!({ "networks": "10.0.0.0/8" }), 400, "unreadable-body", "networks"),
        (json!({ "resources": null }), 400, "unreadable-body", "resources"),
        (json!({ "resources": [] }), 400, "unreadable-body", "resources"),
    ] {
        let mut body = json!({ "name": "k", "scopes": ["reporting"] });
        body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        client.create("acme", body).is(status, kind, field);
    }
    // Nothing was created.
    assert_eq!(client.get("acme", "/api/keys").json()["held"], 0);
}

#[test]
fn repeated_request_with_other_limits_is_not_the_same() {
    let Place { client, .. } = place();
    let create = |limits: Value| {
        let mut body = json!({ "name": "k", "scopes": ["reporting"] });
        body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        client.ask("acme", "POST", "/api/keys").field("idempotency-key", "one").json(&body).send()
    };
    let limits = json!({ "resources": { "machine": ["1", "2"], "site": [] }, "networks": ["::1"] });
    assert_eq!(create(limits).status, 201);
    let same = json!({ "resources": { "machine": ["2", "1"] }, "networks": ["::1/128"] });
    assert_eq!(create(same).status, 200);
    for other in [
        json!({}),
        json!({ "resources": { "machine": ["1"] }, "networks": ["::1"] }),
        json!({ "resources": { "machine": "all" }, "networks": ["::1"] }),
        json!({ "resources": { "machine": ["1", "2"] }, "networks": null }),
        json!({ "resources": { "machine": ["1", "2"], "site": "all" }, "networks": ["::1"] }),
    ] {
        create(other).is(422, "idempotency-key-reused", "");
    }
}

#[test]
fn limited_api_key_passes_on_at_most_its_own_limits() {
    let Place { world, client } = place();
    let keys = world.keyring.tenant("acme".parse().unwrap());
    let own = NewKey::named("own").scopes(["reporting"]);
    let own = own.resources("machine", Resources::only(["1", "2"]).unwrap());
    let issued = block_on(keys.issue(own)).unwrap();
    let value = format!("Bearer {}", &*issued.token.reveal_known());
    let console = Console::new(&world.keyring, async |request: Parts| {
        let caller = request.extensions.get::<Principal>().expect("a key");
        Ok::<_, Response>(Admin::of_caller(caller))
    });
    let client = Client { router: mount(console.allow_api_keys()), ..client };
    let create = |number: usize, resources: Value| {
        let body = json!({ "name": "b", "scopes": ["reporting"], "resources": resources });
        let ask = client.ask("", "POST", "/api/keys").field("authorization", &value);
        ask.field("idempotency-key", &number.to_string()).json(&body).send()
    };
    assert_eq!(create(0, json!({ "machine": ["2"] })).status, 201);
    for (number, above) in [
        json!({ "machine": "all" }),
        json!({ "machine": ["2", "3"] }),
        json!({ "machine": ["2"], "site": ["1"] }),
    ]
    .into_iter()
    .enumerate()
    {
        create(number + 1, above).is(422, "above-granter", "resources");
    }
    // Nor does it widen another key, or itself.
    let id = issued.key.id().to_string();
    let edit = client.ask("", "PATCH", &format!("/api/keys/{id}")).field("authorization", &value);
    let body = json!({ "resources": { "machine": "all" } });
    edit.field("if-match", "\"1\"").json(&body).send().is(422, "above-granter", "resources");
}
