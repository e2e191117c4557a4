//! Every operation that changes a key or a tenant requires the version that it changes.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place, console, mount},
    routes::{Route, routes},
    schema::resolve,
};

/// Operations that need no version: they change no key or tenant that the request names by id. A leak report
/// names the key by its token, and a create is repeatable by its idempotency key. A change of several keys has their
/// versions in the body. An owner is disabled and enabled whatever else of the tenant has changed.
const WITHOUT: [&str; 8] = [
    "POST /api/keys",
    "POST /api/keys/search",
    "POST /api/leaks",
    "POST /api/keys/disable",
    "POST /api/keys/delete",
    "PUT /api/owners/{owner}/disabled",
    "DELETE /api/owners/{owner}/disabled",
    "POST /api/tenants/{tenant}/exceptions/preview",
];

fn changes(route: &Route) -> bool {
    let name = format!("{} {}", route.method, route.path);
    route.method != "GET" && !WITHOUT.contains(&&*name)
}

/// Sends a request for `route` with the tenant `acme`, its key `id`, and these values of `If-Match`.
fn ask(client: &Client, route: &Route, id: &str, if_match: &[&str]) -> Answer {
    let who = if route.role == "operator" { "operator" } else { "acme" };
    let path = route.path.replace("{owner}", "ann").replace("{tenant}", "acme").replace("{id}", id);
    let ask = client.ask(who, route.method, &path).field("idempotency-key", "k");
    let ask = if_match.iter().fold(ask, |ask, value| ask.field("if-match", value));
    match route.body {
        "" => ask.send(),
        body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
    }
}

/// Creates a tenant at version 2 with one key at version 1, and returns the id of the key.
fn place() -> (Place, String) {
    let place = Place::with_tenants();
    let (id, _) = place.client.key("acme", "a");
    let lite = json!({ "tier": "lite" });
    let put = place.client.ask("operator", "PUT", "/api/tenants/acme/tier");
    assert_eq!(put.field("if-match", "\"1\"").json(&lite).send().status, 200);
    (place, id)
}

/// Returns the present state: the whole key and the whole tenant.
fn state(client: &Client, id: &str) -> (Value, Value) {
    let key = client.get("acme", &format!("/api/keys/{id}")).json();
    (key, client.get("operator", "/api/tenants/acme").json())
}

#[test]
fn every_change_requires_if_match() {
    let mut count = 0;
    for route in routes().iter().filter(|route| changes(route)) {
        count += 1;
        let name = format!("{} {}", route.method, route.path);
        let (Place { client, .. }, id) = place();
        let before = state(&client, &id);
        let is_of_key = route.path.contains("{id}");
        let version = if is_of_key { &before.0["version"] } else { &before.1["version"] };
        let right = format!("\"{version}\"");
        ask(&client, route, &id, &[]).is(428, "precondition-required", "");
        let weak = format!("W/{right}");
        for wrong in ["\"9\"", "\"0\"", "\"x\"", "", "9", &weak, "\"7\", \"8\""] {
            let answer = ask(&client, route, &id, &[wrong]);
            assert_eq!(answer.problem().1, "changed", "{name}: {wrong}");
        }
        assert_eq!(state(&client, &id), before, "{name}");
        assert!(ask(&client, route, &id, &[&right]).status < 300, "{name}");

        // `*` is accepted for every change except a rotation, which a retry could do a second time.
        let (Place { client, .. }, id) = place();
        let before = state(&client, &id);
        let any = ask(&client, route, &id, &["*"]);
        if route.path.ends_with("/rotate") {
            any.is(428, "precondition-required", "");
            let several = format!("{right}, \"2\"");
            ask(&client, route, &id, &[&several]).is(428, "precondition-required", "");
            assert_eq!(state(&client, &id), before, "{name}");
        } else {
            assert!(any.status < 300, "{name}: {}", any.text);
        }
    }
    assert_eq!(count, 9);
}

/// The OpenAPI document requires the same, so that a generated client sends the version.
#[test]
fn document_requires_if_match_for_changes() {
    let document = Place::new().client.document;
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let is_required = parameters
            .iter()
            .map(|parameter| resolve(&document, parameter))
            .any(|parameter| parameter["name"] == "If-Match" && parameter["required"] == true);
        let name = format!("{} {}", route.method, route.path);
        assert_eq!(is_required, changes(&route), "{name}");
        for status in ["412", "428"] {
            let response = &operation["responses"][status];
            let is_described = resolve(&document, response).is_object();
            assert!(is_described || !changes(&route), "{name} {status}");
        }
    }
}

/// Each response with a key or a tenant has its version as the `ETag`, for the next change.
#[test]
fn response_has_the_version_as_etag() {
    let (Place { client, .. }, id) = place();
    for path in
        [&*format!("/api/keys/{id}"), "/api/tenants/acme", "/api/tenants/acme/tiers/advanced"]
    {
        let who = if path.contains("tenants") { "operator" } else { "acme" };
        let answer = client.get(who, path);
        assert_eq!(answer.field("etag"), format!("\"{}\"", answer.json()["version"]), "{path}");
    }
    let put = client.ask("operator", "PUT", "/api/tenants/acme/suspension");
    let put = put.field("if-match", "\"2\"").json(&json!({ "reason": "abuse" })).send();
    assert_eq!((put.status, put.field("etag")), (200, "\"3\""));
}

/// The version is compared in the write, not only before it.
#[test]
fn change_of_a_stale_tenant_is_refused_in_the_write() {
    for (body, path) in [
        (json!({ "tier": "advanced" }), "/api/tenants/acme/tier"),
        (json!({ "keys": 7 }), "/api/tenants/acme/exceptions"),
        (json!({ "reason": "abuse" }), "/api/tenants/acme/suspension"),
    ] {
        let (Place { world, client }, _) = place();
        world.store.hold("update_tenant");
        let late = std::thread::scope(|scope| {
            let calls = world.store.calls("update_tenant");
            let late = scope.spawn(|| {
                client.ask("operator", "PUT", path).field("if-match", "\"2\"").json(&body).send()
            });
            while world.store.calls("update_tenant") == calls {
                std::thread::yield_now();
            }
            let node = world.another_node();
            let other = Client::of(mount(console(&node.keyring)));
            let other = other.ask("operator", "PUT", "/api/tenants/acme/suspension");
            let first = other.field("if-match", "\"2\"").json(&json!({ "reason": "first" })).send();
            assert_eq!(first.status, 200);
            world.store.release("update_tenant");
            late.join().unwrap()
        });
        late.is(412, "changed", "");
        let tenant = client.get("operator", "/api/tenants/acme").json();
        assert_eq!(tenant["suspension"]["reason"], "first");
    }
}

/// Another process makes the same change after this one has compared the version. This one may have read the
/// tenant again by then.
#[test]
fn change_that_another_process_made_meanwhile_is_refused() {
    for (body, path) in [
        (json!({ "tier": "advanced" }), "/api/tenants/acme/tier"),
        (json!({ "keys": 7 }), "/api/tenants/acme/exceptions"),
        (json!({ "reason": "abuse" }), "/api/tenants/acme/suspension"),
    ] {
        let put = move |client: &Client| {
            let ask = client.ask("operator", "PUT", path);
            ask.field("if-match", "\"2\"").json(&body).send()
        };
        let (Place { world, client }, _) = place();
        let other = Client::of(mount(console(&world.another_node().keyring)));
        let (is_done, other_put) = (AtomicBool::new(false), put.clone());
        world.store.rewrite_tenants(move |tenant| {
            if !is_done.swap(true, SeqCst) {
                std::thread::scope(|scope| {
                    let done = scope.spawn(|| other_put(&other)).join().unwrap();
                    assert_eq!(done.status, 200);
                });
            }
            Ok(tenant)
        });
        put(&client).is(412, "changed", "");
        world.store.rewrite_nothing();
        assert_eq!(client.get("operator", "/api/tenants/acme").json()["version"], 3, "{path}");
    }
}
