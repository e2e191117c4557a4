//! A retry of a rotation gets the outcome of the first attempt, and not of another rotation.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place, console, mount},
    support::{HOUR, block_on},
};

fn rotate(client: &Client, who: &str, id: &str, version: &str, grace_period: &Value) -> Answer {
    let ask = client.ask(who, "POST", &format!("/api/keys/{id}/rotate"));
    let ask = ask.field("if-match", version).field("idempotency-key", "once");
    ask.json(&json!({ "grace_period": grace_period })).send()
}

fn none() -> Value {
    json!("none")
}

#[test]
fn retried_rotation_reports_that_it_was_done() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let first = rotate(&client, "acme", &id, "\"1\"", &none());
    assert!(first.json()["token"].is_string());
    for version in ["\"1\"", "\"2\""] {
        let again = rotate(&client, "acme", &id, version, &none());
        assert_eq!((again.status, &again.json()["replayed"]), (200, &json!(true)));
        assert_eq!(again.json()["key"], first.json()["key"]);
    }
    let other = rotate(&client, "acme", &id, "\"2\"", &json!("until_first_use"));
    other.is(422, "idempotency-key-reused", "");
    // The rotation is remembered as long as the key has its secret, whatever else changes.
    client.change("acme", &id, 2, &json!({ "name": "b" }));
    assert_eq!(rotate(&client, "acme", &id, "\"1\"", &none()).json()["replayed"], true);
    assert_eq!(client.rotate("acme", &id, 3, "another").status, 200);
    rotate(&client, "acme", &id, "\"1\"", &none()).is(412, "changed", "");
}

/// Refused rotations of every kind, each followed by another caller's rotation.
#[test]
fn refused_rotation_is_never_reported_as_done() {
    let too_long = json!(2_592_001);
    let cases: [(&str, &str, &Value, u16); 3] = [
        ("acme reporting", "\"1\"", &none(), 422),
        ("acme", "\"1\"", &too_long, 422),
        ("acme", "\"7\"", &none(), 412),
    ];
    for (who, version, grace_period, status) in cases {
        let Place { client, .. } = Place::with_tenants();
        let wanted = json!({ "name": "a", "scopes": ["operator"] });
        let id = client.create("acme", wanted).json()["key"]["id"].clone();
        let id = id.as_str().unwrap();
        assert_eq!(rotate(&client, who, id, version, grace_period).status, status);
        assert_eq!(client.rotate("acme", id, 1, "another").status, 200);
        let again = rotate(&client, who, id, version, grace_period);
        assert!(matches!(again.status, 412 | 422), "{}", again.text);
        rotate(&client, "acme", id, "\"1\"", &none()).is(412, "changed", "");
    }
}

#[test]
fn rotation_of_an_expired_key_is_not_reported_as_done() {
    let Place { world, client } = Place::with_tenants();
    let body = json!({ "name": "a", "expires_at": "2026-01-01T01:00:00Z" });
    let id = client.create("acme", body).json()["key"]["id"].clone();
    let id = id.as_str().unwrap();
    world.clock.advance(HOUR);
    rotate(&client, "acme", id, "\"1\"", &none()).is(409, "key-expired", "");
    client.change("acme", id, 1, &json!({ "expires_at": null }));
    assert_eq!(client.rotate("acme", id, 2, "another").status, 200);
    rotate(&client, "acme", id, "\"1\"", &none()).is(412, "changed", "");
    // The control: the rotation that was not done is done now.
    assert!(rotate(&client, "acme", id, "\"3\"", &none()).json()["token"].is_string());
}

/// Neither `*` nor a list of versions rotates again at a process that does not remember the first rotation.
#[test]
fn retry_at_another_process_makes_no_second_secret() {
    for if_match in ["*", "\"1\", \"2\"", "\"1\",\"2\",\"3\"", "\"1\""] {
        let Place { world, client } = Place::with_tenants();
        let (id, _) = client.key("acme", "a");
        let node = world.another_node();
        let other = Client::of(mount(console(&node.keyring)));
        let answers = [&client, &other, &client, &other]
            .map(|client| rotate(client, "acme", &id, if_match, &none()));
        let made = answers.iter().filter(|answer| answer.status == 200);
        let made = made.filter(|answer| answer.json()["token"].is_string()).count();
        let version = client.get("acme", &format!("/api/keys/{id}")).json()["version"].clone();
        // The control: with one version, the rotation is done once.
        let expected = if if_match == "\"1\"" { (1, json!(2)) } else { (0, json!(1)) };
        assert_eq!((made, version), expected, "{if_match}");
    }
}

/// The write is done, but its response does not reach the process.
#[test]
fn retried_rotation_after_a_lost_response_is_done() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    world.store.hold("update_key");
    let lost = std::thread::scope(|scope| {
        let call = scope.spawn(|| rotate(&client, "acme", &id, "\"1\"", &none()));
        world.store.await_call("update_key");
        world.store.set_losing_answers(true);
        world.store.release("update_key");
        call.join().unwrap()
    });
    lost.is(503, "unavailable", "");
    world.store.set_losing_answers(false);
    let key = block_on(world.keyring.tenant("acme".parse().unwrap()).find(id.parse().unwrap()));
    assert_eq!(key.unwrap().version(), 2, "it was done");
    assert_eq!(rotate(&client, "acme", &id, "\"1\"", &none()).json()["replayed"], true);
}
