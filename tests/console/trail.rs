//! What happened to a key.

use keyway::console::RecentEvents;
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    common::block_on,
};

fn kinds(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_happened_to_a_key_is_told_newest_first() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    client.change("acme", &id, 1, &json!({ "enabled": false }));
    assert!(block_on(world.keyring.verify(&token)).is_err());
    let path = format!("/api/tenants/acme/keys/{id}/suspension");
    client.ask("operator", "PUT", &path).json(&json!({ "reason": "abuse" })).send();

    let page = client.get("acme", &format!("/api/keys/{id}/events")).json();
    assert_eq!(kinds(&page), ["key_suspended", "inactive", "key_edited", "key_issued"]);
    assert_eq!(page["complete"], true);
    let event = |index: usize| page["items"][index].clone();
    let at = "2026-01-01T00:00:00Z";
    assert_eq!(
        event(0),
        json!({ "at": at, "actor": "olga", "kind": "key_suspended", "detail": "abuse" })
    );
    assert_eq!(event(1)["detail"], "disabled");
    assert_eq!(event(2)["detail"], "reporting, disabled");
    assert_eq!(event(3)["actor"], "anna");

    client.get("globex", &format!("/api/keys/{id}/events")).is(404, "not-found", "");
    for version in 3..250 {
        client.change("acme", &id, version, &json!({ "name": "b" }));
    }
    let page = client.get("acme", &format!("/api/keys/{id}/events")).json();
    assert_eq!(page["items"].as_array().unwrap().len(), RecentEvents::MAX_OF_KEY);
    assert_eq!(page["complete"], false);
}

#[test]
fn without_a_trail_nothing_is_known() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let nothing = json!({ "items": [], "complete": false });
    let router = mount(console(&world.keyring));
    let without = Client { router, document: client.document.clone() };
    assert_eq!(without.get("acme", &format!("/api/keys/{id}/events")).json(), nothing);
    // Nor of what happened before the process began.
    let router = mount(console(&world.keyring).audit_trail(RecentEvents::new(10)));
    let restarted = Client { router, document: client.document };
    assert_eq!(restarted.get("acme", &format!("/api/keys/{id}/events")).json(), nothing);
}
