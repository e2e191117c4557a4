//! The history of a key.

use std::time::Duration;

use keyway::{Keyring, LeakResponse, Pepper, Peppers, console::RecentEvents, keyring::Due};
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    support::{World, block_on, pepper, policy},
};

fn kinds(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn history_lists_events_newest_first() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    client.change("acme", &id, 1, &json!({ "enabled": false }));
    assert!(block_on(world.keyring.verify(&token)).is_err());
    let path = format!("/api/tenants/acme/keys/{id}/suspension");
    client
        .ask("operator", "PUT", &path)
        .field("if-match", "*")
        .json(&json!({ "reason": "abuse" }))
        .send();

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
fn history_without_a_trail_is_empty() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let nothing = json!({ "items": [], "complete": false });
    let router = mount(console(&world.keyring));
    let without = Client { router, document: client.document.clone() };
    assert_eq!(without.get("acme", &format!("/api/keys/{id}/events")).json(), nothing);
    // `RecentEvents` has no events from before the process started.
    let router = mount(console(&world.keyring).audit_trail(RecentEvents::new(10)));
    let restarted = Client { router, document: client.document };
    assert_eq!(restarted.get("acme", &format!("/api/keys/{id}/events")).json(), nothing);
}

/// A tenant that names another tenant's key gets 404, and leaves no event in the key's history.
#[test]
fn other_tenants_cannot_change_a_history() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let path = format!("/api/keys/{id}");
    for _ in 0..RecentEvents::MAX_OF_KEY {
        client.ask("globex", "DELETE", &path).field("if-match", "*").send();
    }
    client.change("acme", &id, 1, &json!({ "name": "b" }));
    let page = client.get("acme", &format!("{path}/events")).json();
    assert_eq!(
        (kinds(&page), &page["complete"]),
        (vec!["key_edited".into(), "key_issued".into()], &json!(true))
    );
}

/// Changes by another process are not in the events of this one, and the history is reported as incomplete.
#[test]
fn history_without_changes_of_another_process_is_incomplete() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let complete =
        || client.get("acme", &format!("/api/keys/{id}/events")).json()["complete"].clone();
    assert_eq!(complete(), true);
    let elsewhere = Client::of(mount(console(&world.another_node().keyring)));
    assert_eq!(elsewhere.rotate("acme", &id, 1, "r").status, 200);
    assert_eq!(complete(), false);
    client.change("acme", &id, 2, &json!({ "name": "b" }));
    assert_eq!(complete(), false);
}

/// A notice and a new seal raise the version of a key, and are no events.
#[test]
fn history_with_notices_and_new_seals_stays_complete() {
    let trail = RecentEvents::new(100);
    let world = World::with(policy(), |builder| builder.audit(trail.clone()));
    block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let shown_by =
        |keyring: &Keyring| Client::of(mount(console(keyring).audit_trail(trail.clone())));
    let client = shown_by(&world.keyring);
    let (id, _) = client.key("acme", "a");
    let path = format!("/api/keys/{id}");
    let history = |client: &Client| {
        let version = client.get("acme", &path).json()["version"].clone();
        let page = client.get("acme", &format!("{path}/events")).json();
        assert_eq!(kinds(&page), ["key_issued"]);
        (version, page["complete"].clone())
    };
    world.clock.advance(Duration::from_secs(3_600));
    let due = Due::UnusedFor(Duration::from_secs(60));
    for notice in block_on(world.keyring.claim_notices(due, None)).unwrap().items {
        block_on(world.keyring.confirm_notice(&notice)).unwrap();
    }
    assert_eq!(history(&client), (json!(3), json!(true)));

    let newer = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let peppers = Peppers::new(newer).retiring(pepper()).unwrap();
    let builder = Keyring::builder(policy(), peppers).environment("live");
    let renewed = builder.store(world.store.memory().clone()).build().unwrap();
    block_on(renewed.reseal(None, |_| {})).unwrap();
    let client = shown_by(&renewed);
    assert_eq!(history(&client), (json!(4), json!(true)));

    // The event of this change is not in the trail.
    assert_eq!(client.change("acme", &id, 4, &json!({ "name": "b" })).status, 200);
    assert_eq!(history(&client), (json!(5), json!(false)));
}

/// A report that changed nothing is an event. It does not take the place of a change whose event is missing.
#[test]
fn repeated_leak_reports_hide_no_missing_change() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    let complete =
        || client.get("acme", &format!("/api/keys/{id}/events")).json()["complete"].clone();
    let report = |keyring: &Keyring, response| {
        block_on(keyring.report_leak(&token, "seen", response)).unwrap();
    };
    for _ in 0..3 {
        report(&world.keyring, LeakResponse::ReportOnly);
    }
    assert_eq!(complete(), true);
    let elsewhere = world.another_node().keyring;
    report(&elsewhere, LeakResponse::Suspend);
    assert_eq!(complete(), true);
    let elsewhere = Client::of(mount(console(&elsewhere)));
    assert_eq!(elsewhere.change("acme", &id, 2, &json!({ "name": "b" })).status, 200);
    assert_eq!(complete(), false);
}

/// The trail of durable events has the changes of every process, and those that were refused.
#[test]
fn history_of_durable_events_has_changes_of_all_processes() {
    let durable = |world: &World| {
        let store = world.store.memory().clone();
        world.another_node_with(policy(), |builder| builder.store_with_events(store))
    };
    let base = World::new();
    let nodes = [durable(&base), durable(&base)];
    let [first, second] = nodes.each_ref().map(|node| {
        let trail = node.keyring.events().unwrap();
        Client::of(mount(console(&node.keyring).audit_trail(trail)))
    });
    block_on(nodes[0].keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let (id, _) = first.key("acme", "a");
    assert_eq!(second.rotate("acme", &id, 1, "r").status, 200);
    // The first node has read no other version.
    assert_eq!(first.change("acme", &id, 1, &json!({ "name": "b" })).status, 412);
    first.change("acme", &id, 2, &json!({ "enabled": false }));
    for client in [&first, &second] {
        let page = client.get("acme", &format!("/api/keys/{id}/events")).json();
        assert_eq!(kinds(&page), ["key_edited", "change_refused", "key_rotated", "key_issued"]);
        assert_eq!(page["complete"], true);
        assert_eq!(page["items"][0]["actor"], "anna");
    }

    // The history says that events are missing which a purge has deleted.
    nodes[0].clock.advance(Duration::from_secs(60));
    first.change("acme", &id, 3, &json!({ "enabled": true }));
    let events = nodes[0].keyring.events().unwrap();
    assert!(block_on(events.purge_undelivered(Duration::from_secs(30))).unwrap() > 0);
    let page = second.get("acme", &format!("/api/keys/{id}/events")).json();
    assert_eq!((kinds(&page), &page["complete"]), (vec!["key_edited".into()], &json!(false)));
}
