//! Changes of several keys at once, and the conditions by which keys are selected.

use keyway::NewKey;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place},
    support::{DAY, World, block_on},
};

fn bulk(client: &Client, who: &str, action: &str, keys: &Value) -> Answer {
    client.ask(who, "POST", &format!("/api/keys/{action}")).json(&json!({ "keys": keys })).send()
}

fn named(id: &str, version: u64) -> Value {
    json!({ "id": id, "version": version })
}

/// Issues a key of `owner` to `acme` and returns its id.
pub fn key_of(world: &World, owner: &str, name: &str) -> String {
    let request = NewKey::named(name).scopes(["reporting"]).owner(owner.parse().unwrap());
    let keys = world.keyring.tenant("acme".parse().unwrap());
    block_on(keys.issue(request)).unwrap().key.id().to_string()
}

#[test]
fn only_keys_of_the_named_version_are_changed() {
    for (action, after) in [("disable", json!("disabled")), ("delete", Value::Null)] {
        let Place { client, .. } = Place::with_tenants();
        let [a, b, c] = ["a", "b", "c"].map(|name| client.key("acme", name).0);
        assert_eq!(client.change("acme", &b, 1, &json!({ "name": "b2" })).status, 200);
        let keys = json!([named(&a, 1), named(&b, 1), named(&c, 1)]);
        let outcome = bulk(&client, "acme", action, &keys);
        assert_eq!(outcome.status, 200, "{}", outcome.text);
        assert_eq!(outcome.json(), json!({ "done": 2, "changed_since": [b] }));
        let state = |id: &str| {
            let key = client.get("acme", &format!("/api/keys/{id}"));
            if key.status == 404 { Value::Null } else { key.json()["state"].clone() }
        };
        assert_eq!([state(&a), state(&b), state(&c)], [after.clone(), json!("active"), after]);
    }
}

#[test]
fn foreign_and_unknown_keys_are_left_alone_and_repeated_ones_changed_once() {
    for action in ["disable", "delete"] {
        let Place { world, client } = Place::with_tenants();
        let (own, _) = client.key("acme", "own");
        let (foreign, _) = client.key("globex", "theirs");
        let other = key_of(&world, "bob", "other");
        let unknown = "A000000000000000";
        let of_ann = key_of(&world, "ann", "mine");
        // A member reaches the own keys only.
        let keys = json!([named(&own, 1), named(&other, 1), named(&of_ann, 1)]);
        let outcome = bulk(&client, "acme/ann", action, &keys).json();
        assert_eq!(outcome, json!({ "done": 1, "changed_since": [own, other] }));

        let keys = json!([named(&own, 1), named(&foreign, 1), named(unknown, 1), named(&own, 1)]);
        let outcome = bulk(&client, "acme", action, &keys).json();
        assert_eq!(outcome, json!({ "done": 1, "changed_since": [foreign, unknown, own] }));
        let theirs = client.get("globex", &format!("/api/keys/{foreign}")).json();
        assert_eq!((&theirs["version"], &theirs["state"]), (&json!(1), &json!("active")));
        assert_eq!(client.get("acme", &format!("/api/keys/{other}")).json()["state"], "active");
    }
}

#[test]
fn bad_selections_are_refused() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let many: Vec<_> = (0..501).map(|_| named(&id, 1)).collect();
    for action in ["disable", "delete"] {
        for (keys, status, kind) in [
            (json!([]), 422, "invalid-field"),
            (json!(many), 422, "invalid-field"),
            (json!([named("short", 1)]), 422, "invalid-field"),
            (json!([named(&id, 1), named("", 1)]), 422, "invalid-field"),
            (json!([named(&id, 1 << 53)]), 422, "invalid-field"),
        ] {
            bulk(&client, "acme", action, &keys).is(status, kind, "keys");
        }
        for keys in [
            json!(null),
            json!("all"),
            json!([id]),
            json!([{ "id": id }]),
            json!([{ "id": id, "version": "1" }]),
            json!([{ "id": id, "version": 1, "name": "a" }]),
        ] {
            assert_eq!(bulk(&client, "acme", action, &keys).problem().0, 400, "{keys}");
        }
        let bare = client.ask("acme", "POST", &format!("/api/keys/{action}")).json(&json!({}));
        bare.send().is(400, "unreadable-body", "keys");
        bulk(&client, "operator", action, &json!([named(&id, 1)])).is(404, "not-found", "");
    }
    assert_eq!(client.get("acme", &format!("/api/keys/{id}")).json()["version"], 1);
}

#[test]
fn list_is_filtered_by_each_condition_and_by_several() {
    let Place { world, client } = Place::with_tenants();
    let labeled = json!({ "name": "labeled", "labels": { "team": "erp" } });
    assert_eq!(client.create("acme", labeled).status, 201);
    let brief = json!({ "name": "brief", "expires_at": "2026-01-10T00:00:00Z" });
    assert_eq!(client.create("acme reporting", brief).status, 201);
    let of_ann = key_of(&world, "ann", "mine");
    assert_eq!(client.change("acme", &of_ann, 1, &json!({ "enabled": false })).status, 200);
    key_of(&world, "ann", "laptop");
    let names = |who: &str, query: &str| {
        let answer = client.get(who, &format!("/api/keys?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        let items = answer.json()["items"].as_array().unwrap().clone();
        let mut names: Vec<_> =
            items.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names.join(" ")
    };
    let list = |query: &str| names("acme", query);
    assert_eq!(list("owner=ann"), "laptop mine");
    assert_eq!(list("owner=bob"), "");
    assert_eq!(list("created_by=anna"), "labeled");
    assert_eq!(list("created_by=bert"), "brief");
    assert_eq!(list("label=team=erp"), "labeled");
    assert_eq!(list("label=team%3Derp"), "labeled");
    assert_eq!(list("label=team="), "");
    assert_eq!(list("expiring_before=2026-01-11T00:00:00Z"), "brief");
    assert_eq!(list("expiring_before=2026-01-09T00:00:00Z"), "");
    assert_eq!(list("due_before=2026-01-11T00:00:00Z"), "brief");
    assert_eq!(list("due_before=2026-01-09T00:00:00Z"), "");
    assert_eq!(list("state=disabled"), "mine");
    assert_eq!(list("state=active&owner=ann"), "laptop");
    assert_eq!(list("owner=ann&label=team=erp"), "");
    // A member sees the same of the own keys.
    assert_eq!(names("acme/ann", "state=active"), "laptop");
    assert_eq!(names("acme/ann", "owner=ann"), "laptop mine");
    assert_eq!(names("acme/bob", "owner=ann"), "");
    assert_eq!(names("acme/bob", ""), "");
    world.clock.advance(DAY);
    assert_eq!(list("unused_since=2026-01-01T12:00:00Z"), "brief labeled laptop mine");

    for (query, field) in [
        ("owner=", "owner"),
        ("owner=ann&owner=bob", "owner"),
        ("label=team", "label"),
        ("expiring_before=soon", "expiring_before"),
        ("unused_since=2026", "unused_since"),
        ("due_before=2026", "due_before"),
        ("state=on", "state"),
    ] {
        client.get("acme", &format!("/api/keys?{query}")).is(422, "invalid-field", field);
    }
}

#[test]
fn filtered_pages_have_every_key_once() {
    let Place { world, client } = Place::with_tenants();
    for name in ["1", "2", "3", "4", "5"] {
        key_of(&world, if name == "3" { "bob" } else { "ann" }, name);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get("acme", &format!("/api/keys?owner=ann&limit=2{after}")).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|key| key["name"].clone()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, ["1", "2", "4", "5"]);
}
