//! The table of all API routes, over which other tests iterate.

use std::collections::BTreeSet;

use crate::client::Place;

pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub role: &'static str,
    pub body: &'static str,
}

pub fn routes() -> Vec<Route> {
    let route = |method, path, role, body| Route { method, path, role, body };
    let reason = r#"{ "reason": "abuse" }"#;
    let named = r#"{ "keys": [{ "id": "A000000000000000", "version": 1 }] }"#;
    let leak = r#"{ "token": "x", "reason": "found", "response": "suspend" }"#;
    vec![
        route("GET", "/api/session", "both", ""),
        route("GET", "/api/keys", "tenant", ""),
        route("POST", "/api/keys", "tenant", r#"{ "name": "new" }"#),
        route("POST", "/api/keys/search", "tenant", r#"{ "text": "" }"#),
        route("POST", "/api/keys/disable", "tenant", named),
        route("POST", "/api/keys/delete", "tenant", named),
        route("GET", "/api/keys/{id}", "tenant", ""),
        route("GET", "/api/keys/{id}/events", "tenant", ""),
        route("GET", "/api/keys/{id}/usage", "tenant", ""),
        route("GET", "/api/allowances", "tenant", ""),
        route("GET", "/api/usage", "tenant", ""),
        route("GET", "/api/usage.csv", "tenant", ""),
        route("PATCH", "/api/keys/{id}", "tenant", r#"{ "name": "b" }"#),
        route("POST", "/api/keys/{id}/rotate", "tenant", r#"{ "grace_period": "none" }"#),
        route("PUT", "/api/owners/{owner}/disabled", "tenant", ""),
        route("DELETE", "/api/owners/{owner}/disabled", "tenant", ""),
        route("GET", "/api/tenants", "operator", ""),
        route("GET", "/api/tenants/{tenant}", "operator", ""),
        route("GET", "/api/tenants/{tenant}/keys", "operator", ""),
        route("GET", "/api/tenants/{tenant}/allowances", "operator", ""),
        route("GET", "/api/tenants/{tenant}/usage", "operator", ""),
        route("GET", "/api/tenants/{tenant}/tiers/{tier}", "operator", ""),
        route("PUT", "/api/tenants/{tenant}/tier", "operator", r#"{ "tier": "advanced" }"#),
        route("PUT", "/api/tenants/{tenant}/exceptions", "operator", r#"{ "keys": 7 }"#),
        route("POST", "/api/tenants/{tenant}/exceptions/preview", "operator", r#"{ "keys": 7 }"#),
        route("PUT", "/api/tenants/{tenant}/suspension", "operator", reason),
        route("DELETE", "/api/tenants/{tenant}/suspension", "operator", ""),
        route("PUT", "/api/tenants/{tenant}/keys/{id}/suspension", "operator", reason),
        route("DELETE", "/api/tenants/{tenant}/keys/{id}/suspension", "operator", ""),
        route("POST", "/api/leaks", "operator", leak),
        route("DELETE", "/api/keys/{id}", "tenant", ""),
    ]
}

/// The paths of the page.
pub const PAGE: [&str; 6] = ["", "/", "/app.js", "/app.css", "/theme.css", "/text.json"];

#[test]
fn route_table_equals_the_document() {
    let document = Place::new().client.document;
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let table = routes().into_iter().map(|route| format!("{} {}", route.method, route.path));
    assert_eq!(documented, table.collect());
}

#[test]
fn other_method_is_405_with_the_allowed_methods() {
    let client = Place::with_tenants().client;
    let paths: BTreeSet<_> = routes().iter().map(|route| route.path).collect();
    for path in paths {
        let of_path = routes().into_iter().filter(|route| route.path == path);
        let methods: Vec<_> = of_path.map(|route| route.method).collect();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if methods.contains(&method) || method == "HEAD" {
                continue;
            }
            let place = path
                .replace("{id}", "A000000000000000")
                .replace("{owner}", "ann")
                .replace("{tenant}", "acme");
            let answer = client.ask("acme", method, &place).send();
            answer.is(405, "method-not-allowed", "");
            let allowed = answer.field("allow");
            assert!(methods.iter().all(|method| allowed.contains(method)), "{path}: {allowed}");
        }
    }
    client.get("acme", "/api/unknown").is(404, "not-found", "");
    client.get("acme", "/unknown").is(404, "not-found", "");
    client.get("acme", "/api").is(404, "not-found", "");
}
