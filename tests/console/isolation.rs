//! Another tenant's keys and the other role's routes are reported as missing.

use serde_json::{Value, json};

use crate::{
    client::{Client, Place},
    routes::{Route, routes},
};

/// Sends a request for `route` with the key `id`, the tenant `tenant`, and a valid body.
fn ask(client: &Client, who: &str, route: &Route, tenant: &str, id: &str) -> crate::client::Answer {
    let path = route
        .path
        .replace("{id}", id)
        .replace("{owner}", "ann")
        .replace("{tenant}", tenant)
        .replace("{tier}", "lite");
    let ask = client.ask(who, route.method, &path);
    let ask = ask.field("if-match", "*").field("idempotency-key", "k");
    match route.body {
        "" => ask.send(),
        body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
    }
}

#[test]
fn key_of_another_tenant_is_not_found() {
    let Place { client, .. } = Place::with_tenants();
    let (id, token) = client.key("globex", "theirs");
    let of_keys = || routes().into_iter().filter(|route| route.path.starts_with("/api/keys/{id}"));
    assert_eq!(of_keys().count(), 6);
    for route in of_keys() {
        ask(&client, "acme", &route, "", &id).is(404, "not-found", "");
        // Text that is not an id gets 404 as well.
        for bad in
            ["A000000000000000", "short", "A00000000000000%C3%BC", "%FF", "%00", "..", "x%2Fy"]
        {
            ask(&client, "acme", &route, "", bad).is(404, "not-found", "");
        }
    }
    let search = |who: &str, text: &str| {
        let ask = client.ask(who, "POST", "/api/keys/search").json(&json!({ "text": text }));
        ask.send().json()["items"].as_array().unwrap().len()
    };
    for text in [&*id, &token, "theirs"] {
        assert_eq!((search("acme", text), search("globex", text)), (0, 1), "{text}");
    }
    assert_eq!(client.get("acme", "/api/keys").json()["items"], json!([]));
    // The key has not been changed.
    let key = client.get("globex", &format!("/api/keys/{id}")).json();
    assert_eq!((&key["version"], &key["name"]), (&json!(1), &json!("theirs")));
}

#[test]
fn cursor_of_another_tenant_shows_own_keys_only() {
    let Place { client, .. } = Place::with_tenants();
    client.key("globex", "theirs");
    for name in ["a", "b"] {
        client.key("acme", name);
    }
    let next = client.get("acme", "/api/keys?limit=1").json()["next"].clone();
    let page = client.get("globex", &format!("/api/keys?after={}", next.as_str().unwrap())).json();
    let items = page["items"].as_array().unwrap();
    assert!(items.iter().all(|key| key["tenant"] == "globex"));
}

#[test]
fn operator_route_with_the_wrong_tenant_is_not_found() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("globex", "theirs");
    let of_keys = routes().into_iter().filter(|route| route.path.contains("{tenant}/keys/{id}"));
    let mut count = 0;
    for route in of_keys {
        ask(&client, "operator", &route, "acme", &id).is(404, "not-found", "");
        ask(&client, "operator", &route, "nobody", &id).is(404, "not-found", "");
        assert_eq!(ask(&client, "operator", &route, "globex", &id).status, 200);
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn routes_of_the_other_role_are_not_found() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    for route in routes() {
        let answer = |who| ask(&client, who, &route, "acme", &id);
        let (tenant, operator) = (answer("acme"), answer("operator"));
        match route.role {
            "tenant" => operator.is(404, "not-found", ""),
            "operator" => tenant.is(404, "not-found", ""),
            _ => assert_eq!((tenant.status, operator.status), (200, 200)),
        }
        // The control: the route exists for the right role. Its key may have been deleted by then.
        let own = if route.role == "operator" { operator } else { tenant };
        let is_there = own.status < 300 || route.path.contains("{id}");
        assert!(is_there, "{} {}: {}", route.method, route.path, own.text);
    }
}

#[test]
fn scopes_above_granter_or_tier_are_refused() {
    let Place { client, .. } = Place::with_tenants();
    let create =
        |who: &str, scopes: Value| client.create(who, json!({ "name": "a", "scopes": scopes }));
    let refused = create("acme reporting", json!(["reporting", "operator.read"]));
    refused.is(422, "above-granter", "scopes");
    assert_eq!(refused.json()["scopes"], json!(["operator.read"]));
    let refused = create("globex", json!(["manager", "reporting"]));
    refused.is(422, "above-tier", "scopes");
    assert_eq!(refused.json()["scopes"], json!(["manager"]));
    let unknown = create("acme", json!(["<script>"]));
    unknown.is(422, "invalid-field", "scopes");
    assert!(!unknown.text.contains("script"));

    // Editing and rotating are limited in the same way.
    let strong = create("acme", json!(["operator"])).json()["key"]["id"].clone();
    let strong = strong.as_str().unwrap();
    let weak = create("acme reporting", json!(["reporting"]));
    assert_eq!(weak.status, 201);
    let weak = weak.json()["key"]["id"].clone();
    let weak = weak.as_str().unwrap();
    let more = json!({ "scopes": ["operator"] });
    client.change("acme reporting", weak, 1, &more).is(422, "above-granter", "scopes");
    let name = json!({ "name": "b" });
    client.change("acme reporting", strong, 1, &name).is(422, "above-granter", "scopes");
    client.rotate("acme reporting", strong, 1, "r").is(422, "above-granter", "scopes");
    // Any administrator of the tenant may disable a key.
    let off = client.change("acme reporting", strong, 1, &json!({ "enabled": false }));
    assert_eq!(off.status, 200);
    let on = json!({ "enabled": true });
    client.change("acme reporting", strong, 2, &on).is(422, "above-granter", "scopes");
    assert_eq!(client.rotate("acme", strong, 2, "r").status, 200);
}
