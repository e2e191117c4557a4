//! Actions that an application removes from the console are refused, not documented, and not shown.

use std::collections::BTreeSet;

use keyway::console::OperatorAction;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place},
    routes::{Route, routes},
    support::block_on,
};

/// Each action, its name in the session, and its routes.
const ACTIONS: [(OperatorAction, &str, &[&str]); 4] = [
    (
        OperatorAction::Tiers,
        "tiers",
        &["GET /api/tenants/{tenant}/tiers/{tier}", "PUT /api/tenants/{tenant}/tier"],
    ),
    (
        OperatorAction::Exceptions,
        "exceptions",
        &["PUT /api/tenants/{tenant}/exceptions", "POST /api/tenants/{tenant}/exceptions/preview"],
    ),
    (
        OperatorAction::Suspensions,
        "suspensions",
        &[
            "PUT /api/tenants/{tenant}/suspension",
            "DELETE /api/tenants/{tenant}/suspension",
            "PUT /api/tenants/{tenant}/keys/{id}/suspension",
            "DELETE /api/tenants/{tenant}/keys/{id}/suspension",
        ],
    ),
    (OperatorAction::LeakReports, "leak_reports", &["POST /api/leaks"]),
];

fn ask(client: &Client, route: &Route, id: &str) -> Answer {
    let path = route
        .path
        .replace("{owner}", "ann")
        .replace("{tenant}", "acme")
        .replace("{id}", id)
        .replace("{tier}", "lite");
    let who = if route.role == "operator" { "operator" } else { "acme" };
    let ask = client.ask(who, route.method, &path).field("if-match", "*");
    let ask = ask.field("idempotency-key", "k");
    match route.body {
        "" => ask.send(),
        body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
    }
}

#[test]
fn removed_action_is_refused_and_not_documented() {
    for (action, name, taken) in ACTIONS {
        let Place { world, client } = Place::with(|console| console.without(action));
        block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
        let (id, _) = client.key("acme", "a");
        let before = client.get("operator", "/api/tenants/acme").json();
        let mut refused = BTreeSet::new();
        for route in routes() {
            if ask(&client, &route, &id).text.contains("not-offered") {
                ask(&client, &route, &id).is(403, "not-offered", "");
                refused.insert(format!("{} {}", route.method, route.path));
            }
        }
        let expected: BTreeSet<_> = taken.iter().map(ToString::to_string).collect();
        assert_eq!(refused, expected);
        let after = client.get("operator", "/api/tenants/acme").json();
        if action == OperatorAction::Tiers {
            assert_eq!(after["tier"], before["tier"]);
        }
        assert_eq!(client.get("operator", "/api/session").json()["without"], json!([name]));

        let documented = |route: &Route| {
            let item = &client.document["paths"][route.path];
            item[route.method.to_lowercase()].is_object()
        };
        for route in routes() {
            let is_taken = expected.contains(&format!("{} {}", route.method, route.path));
            assert_eq!(documented(&route), !is_taken, "{} {}", route.method, route.path);
        }
        // A path without operations is removed from the document.
        let paths = client.document["paths"].as_object().unwrap();
        assert!(paths.values().all(|item| !item.as_object().unwrap().is_empty()));
    }
}

/// The control: by default, the same requests succeed.
#[test]
fn all_actions_are_offered_by_default() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    for (_, _, taken) in ACTIONS {
        for route in routes() {
            if taken.contains(&&*format!("{} {}", route.method, route.path)) {
                let answer = ask(&client, &route, &id);
                assert_eq!(answer.status, 200, "{} {}: {}", route.method, route.path, answer.text);
            }
        }
    }
    assert_eq!(client.get("operator", "/api/session").json()["without"], json!([]));
}
