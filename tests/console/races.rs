//! Only one of two changes to the same version succeeds.

use std::{sync::Barrier, thread};

use serde_json::json;

use crate::{
    client::{Client, Place, console, mount},
    support::World,
};

#[test]
fn change_requires_the_present_version_in_if_match() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let path = format!("/api/keys/{id}");
    let change = |fields: &[&str]| {
        let ask = client.ask("acme", "PATCH", &path).json(&json!({ "name": "b" }));
        fields.iter().fold(ask, |ask, value| ask.field("if-match", value)).send()
    };
    change(&[]).is(428, "precondition-required", "");
    for other in
        ["\"2\"", "W/\"1\"", "1", "\"01\"", "\"+1\"", "\"\"", "", "\"1", "x", "\"a,*,b\"", "*, \"1"]
    {
        change(&[other]).is(412, "changed", "");
    }
    assert_eq!(change(&["\"1\""]).field("etag"), "\"2\"");
    change(&["\"1\""]).is(412, "changed", "");
    assert_eq!(change(&["\"7\", \"2\""]).field("etag"), "\"3\"");
    assert_eq!(change(&["*"]).field("etag"), "\"4\"");

    let rotate = |fields: &[&str]| {
        let ask = client.ask("acme", "POST", &format!("{path}/rotate"));
        let ask = ask.json(&json!({ "grace_period": "none" })).field("idempotency-key", "r");
        fields.iter().fold(ask, |ask, value| ask.field("if-match", value)).send()
    };
    rotate(&[]).is(428, "precondition-required", "");
    rotate(&["\"1\""]).is(412, "changed", "");

    let delete = |value: &str| client.ask("acme", "DELETE", &path).field("if-match", value).send();
    delete("\"1\"").is(412, "changed", "");
    assert_eq!(delete("\"4\"").status, 204);
}

#[test]
fn one_of_two_concurrent_changes_gets_412() {
    let Place { world, client } = Place::with_tenants();
    let node = world.another_node();
    let nodes = [client.clone(), Client::of(mount(console(&node.keyring)))];
    for round in 0..20 {
        let (id, _) = client.key("acme", "a");
        let start = &Barrier::new(2);
        let edit = &|node: &Client| {
            start.wait();
            node.change("acme", &id, 1, &json!({ "name": "b" })).status
        };
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let edits: Vec<_> = nodes.iter().map(|node| scope.spawn(move || edit(node))).collect();
            edits.into_iter().map(|edit| edit.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "round {round}");
        let key = client.get("acme", &format!("/api/keys/{id}")).json();
        assert_eq!(key["version"], 2);
        client.ask("acme", "DELETE", &format!("/api/keys/{id}")).field("if-match", "*").send();
    }
}

#[test]
fn change_between_read_and_write_is_not_overwritten() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    // Another process writes between this one's version check and its write.
    world.store.hold("update_key");
    let (first, second) = thread::scope(|scope| {
        let calls = world.store.calls("update_key");
        let first = scope.spawn(|| client.change("acme", &id, 1, &json!({ "name": "b" })));
        while world.store.calls("update_key") == calls {
            thread::yield_now();
        }
        let node: World = world.another_node();
        let other = Client::of(mount(console(&node.keyring)));
        let second = other.change("acme", &id, 1, &json!({ "name": "c" }));
        world.store.release("update_key");
        (first.join().unwrap(), second)
    });
    assert_eq!(second.status, 200);
    first.is(412, "changed", "");
    assert_eq!(client.get("acme", &format!("/api/keys/{id}")).json()["name"], "c");
}
