//! Owners: disabling and enabling all keys of one, and what a member sees.

use serde_json::{Value, json};

use crate::{
    bulk::key_of,
    client::{Answer, Client, Place},
};

const PATH: &str = "/api/owners/ann/disabled";

fn switch(client: &Client, who: &str, method: &str) -> Answer {
    client.ask(who, method, PATH).send()
}

fn state(client: &Client, id: &str) -> Value {
    client.get("acme", &format!("/api/keys/{id}")).json()["state"].clone()
}

#[test]
fn owner_is_disabled_and_enabled_with_one_request() {
    let Place { world, client } = Place::with_tenants();
    let [mine, off] = ["mine", "off"].map(|name| key_of(&world, "ann", name));
    let other = key_of(&world, "bob", "other");
    assert_eq!(client.change("acme", &off, 1, &json!({ "enabled": false })).status, 200);
    for _ in 0..2 {
        let disabled = switch(&client, "acme", "PUT");
        assert_eq!(
            (disabled.status, disabled.json()),
            (200, json!({ "owner": "ann", "disabled": true }))
        );
        let states = [state(&client, &mine), state(&client, &off), state(&client, &other)];
        assert_eq!(states, ["owner_disabled", "owner_disabled", "active"]);
        let session = client.get("acme", "/api/session").json();
        assert_eq!(session["tenant"]["disabled_owners"], json!(["ann"]));
    }
    let filtered = client.get("acme", "/api/keys?state=owner_disabled").json();
    assert_eq!(filtered["items"].as_array().unwrap().len(), 2);
    let ask = client.create("acme/ann", json!({ "name": "new" }));
    ask.is(409, "owner-disabled", "");
    for _ in 0..2 {
        let enabled = switch(&client, "acme", "DELETE");
        assert_eq!(
            (enabled.status, enabled.json()),
            (200, json!({ "owner": "ann", "disabled": false }))
        );
        assert_eq!([state(&client, &mine), state(&client, &off)], ["active", "disabled"]);
    }
    assert_eq!(client.get("acme", "/api/session").json()["tenant"]["disabled_owners"], json!([]));
    assert_eq!(client.get("acme", &format!("/api/keys/{mine}")).json()["version"], 1);
}

/// An administrator who may not grant everything can end the use of keys, but not allow it again.
#[test]
fn limited_administrator_disables_and_does_not_enable() {
    let Place { world, client } = Place::with_tenants();
    let mine = key_of(&world, "ann", "mine");
    assert_eq!(switch(&client, "acme reporting", "PUT").status, 200);
    switch(&client, "acme reporting", "DELETE").is(422, "above-granter", "");
    assert_eq!(state(&client, &mine), "owner_disabled");
    assert_eq!(switch(&client, "acme", "DELETE").status, 200);
    assert_eq!(state(&client, &mine), "active");
}

#[test]
fn members_and_operators_find_no_owners() {
    let Place { world, client } = Place::with_tenants();
    let mine = key_of(&world, "ann", "mine");
    for who in ["acme/ann", "acme/bob", "operator"] {
        for method in ["PUT", "DELETE"] {
            switch(&client, who, method).is(404, "not-found", "");
        }
    }
    assert_eq!(state(&client, &mine), "active");
    // Another tenant has an owner of the same name.
    assert_eq!(switch(&client, "globex", "PUT").status, 200);
    assert_eq!(state(&client, &mine), "active");
    for bad in ["%FF", "%00", &"x".repeat(129)] {
        let path = format!("/api/owners/{bad}/disabled");
        client.ask("acme", "PUT", &path).send().is(404, "not-found", "");
    }
}

#[test]
fn member_sees_and_changes_only_the_own_keys() {
    let Place { world, client } = Place::with_tenants();
    let mine = key_of(&world, "ann", "mine");
    let other = key_of(&world, "bob", "other");
    let (nobodys, _) = client.key("acme", "nobodys");
    assert_eq!(switch(&client, "acme", "PUT").status, 200);
    let tenant = client.get("acme/bob", "/api/session").json()["tenant"].clone();
    assert_eq!((&tenant["owner"], &tenant["disabled_owners"]), (&json!("bob"), &json!([])));
    assert_eq!(client.get("acme", "/api/session").json()["tenant"]["owner"], Value::Null);

    let items = client.get("acme/bob", "/api/keys").json()["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!((&items[0]["id"], &items[0]["owner"]), (&json!(other), &json!("bob")));
    for id in [&mine, &nobodys] {
        client.get("acme/bob", &format!("/api/keys/{id}")).is(404, "not-found", "");
        client.change("acme/bob", id, 1, &json!({ "name": "x" })).is(404, "not-found", "");
        client.rotate("acme/bob", id, 1, "r").is(404, "not-found", "");
    }
    let made = client.create("acme/bob", json!({ "name": "new" })).json();
    assert_eq!(made["key"]["owner"], "bob");
}
