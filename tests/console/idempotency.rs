//! A retry never issues a second key, and returns the first one.

use std::{sync::Barrier, thread};

use keyway::{
    Keyring, KeyringError, MemoryStore, NewKey, Pepper, Peppers, SqliteStore, store::KeyStore,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Client, Place, console, mount},
    support::{World, block_on, pepper, policy},
};

fn create(client: &Client, who: &str, key: &str, body: &Value) -> Answer {
    client.ask(who, "POST", "/api/keys").field("idempotency-key", key).json(body).send()
}

fn reporting() -> Value {
    json!({ "name": "a", "scopes": ["reporting"], "expires_at": "2026-06-01T00:00:00Z" })
}

#[test]
fn retried_create_returns_the_same_key_without_token() {
    let Place { client, .. } = Place::with_tenants();
    let first = create(&client, "acme", "k1", &reporting());
    assert_eq!(first.status, 201);
    let again = create(&client, "acme", "k1", &reporting());
    assert_eq!(again.status, 200, "{}", again.text);
    let body = again.json();
    assert_eq!((&body["token"], &body["replayed"]), (&Value::Null, &json!(true)));
    assert_eq!(body["key"], first.json()["key"]);
    assert_eq!(again.field("location"), first.field("location"));

    // Another idempotency key issues another key, and so does the same one for another tenant.
    assert_eq!(create(&client, "acme", "k2", &reporting()).status, 201);
    assert_eq!(create(&client, "globex", "k1", &reporting()).status, 201);

    // The same request in another spelling.
    let mut same = reporting();
    same["scopes"] = json!(["reporting", "reporting"]);
    same["expires_at"] = json!("2026-06-01T02:00:00+02:00");
    same["labels"] = json!({});
    assert_eq!(create(&client, "acme", "k1", &same).status, 200);
}

#[test]
fn idempotency_key_with_another_body_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    assert_eq!(create(&client, "acme", "k1", &reporting()).status, 201);
    for (member, value) in [
        ("name", json!("b")),
        ("scopes", json!(["operator"])),
        ("scopes", json!([])),
        ("labels", json!({ "team": "erp" })),
        ("not_before", json!("2026-02-01T00:00:00Z")),
        ("expires_at", json!("2026-06-02T00:00:00Z")),
        ("expires_at", json!(null)),
    ] {
        let mut other = reporting();
        other[member] = value;
        create(&client, "acme", "k1", &other).is(422, "idempotency-key-reused", "");
    }
    // After a change, the record no longer shows the original request, so it is not compared.
    let id = create(&client, "acme", "k1", &reporting()).json()["key"]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(client.change("acme", id, 1, &json!({ "name": "b" })).status, 200);
    assert_eq!(create(&client, "acme", "k1", &reporting()).json()["key"]["name"], "b");

    client.ask("acme", "DELETE", &format!("/api/keys/{id}")).field("if-match", "*").send();
    create(&client, "acme", "k1", &reporting()).is(410, "already-issued", "");
}

#[test]
fn invalid_idempotency_key_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    let long = "x".repeat(256);
    for bad in ["", "a b", "é", &long] {
        let answer = create(&client, "acme", bad, &reporting());
        answer.is(400, "idempotency-key-required", "");
    }
    let ask = client.ask("acme", "POST", "/api/keys").json(&reporting());
    ask.send().is(400, "idempotency-key-required", "");
    let ask = client.ask("acme", "POST", "/api/keys").json(&reporting());
    let twice = ask.field("idempotency-key", "a").field("idempotency-key", "a");
    twice.send().is(400, "idempotency-key-required", "");
    assert_eq!(create(&client, "acme", &"x".repeat(255), &reporting()).status, 201);
}

/// A full quota does not hide that the key exists.
#[test]
fn retried_create_succeeds_with_a_full_quota() {
    let Place { client, .. } = Place::with_tenants();
    assert_eq!(create(&client, "globex", "k1", &reporting()).status, 201);
    assert_eq!(create(&client, "globex", "k1", &reporting()).status, 200);
    create(&client, "globex", "k2", &reporting()).is(409, "quota-exceeded", "");
}

#[test]
fn retried_create_succeeds_after_restart_and_new_pepper() {
    let memory = MemoryStore::new();
    let keyring = |peppers: Peppers| {
        let builder = Keyring::builder(policy(), peppers).environment("live");
        builder.store(memory.clone()).build().unwrap()
    };
    let before = keyring(pepper().into());
    block_on(before.create_empty_tenant("acme", "advanced")).unwrap();
    let body = json!({ "name": "a" });
    let client = |keyring: &Keyring| Client::of(mount(console(keyring)));
    let first = create(&client(&before), "acme", "k1", &body);
    assert_eq!(first.status, 201);

    let restarted = keyring(pepper().into());
    assert_eq!(create(&client(&restarted), "acme", "k1", &body).status, 200);

    let new = || Pepper::from_bytes(&[9; 32]).unwrap().in_slot(1).unwrap();
    let renewed = keyring(Peppers::new(new()).retiring(pepper()).unwrap());
    let again = create(&client(&renewed), "acme", "k1", &body);
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.json()["key"]["id"], first.json()["key"]["id"]);
    assert_eq!(create(&client(&renewed), "acme", "k2", &body).status, 201);
}

#[test]
fn retried_create_after_a_lost_response_finds_the_key() {
    let Place { world, client } = Place::with_tenants();
    let body = json!({ "name": "a" });
    world.store.hold("insert_key");
    let lost = thread::scope(|scope| {
        let call = scope.spawn(|| create(&client, "acme", "k1", &body));
        world.store.await_call("insert_key");
        world.store.set_losing_answers(true);
        world.store.release("insert_key");
        call.join().unwrap()
    });
    world.store.set_losing_answers(false);
    lost.is(503, "unavailable", "");
    assert_eq!(block_on(world.store.memory().count_keys(&"acme".parse().unwrap(), 9)).unwrap(), 1);
    let again = create(&client, "acme", "k1", &body);
    assert_eq!((again.status, &again.json()["token"]), (200, &Value::Null));
}

#[test]
fn retried_rotation_is_done_once() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let first = client.rotate("acme", &id, 1, "r1");
    assert_eq!(first.status, 200);
    let again = client.rotate("acme", &id, 1, "r1");
    assert_eq!(again.status, 200, "{}", again.text);
    let body = again.json();
    assert_eq!((&body["token"], &body["replayed"]), (&Value::Null, &json!(true)));
    assert_eq!(body["key"]["version"], 2);
    let token = first.json()["token"].as_str().unwrap().to_owned();
    assert!(block_on(world.keyring.verify(&token)).is_ok());
    // With another grace period it is another request. With another idempotency key it is a new rotation, and
    // the version in `If-Match` is stale.
    let ask = client.ask("acme", "POST", &format!("/api/keys/{id}/rotate"));
    let ask = ask.field("if-match", "\"1\"").field("idempotency-key", "r1");
    let other = ask.json(&json!({ "grace_period": "until_first_use" })).send();
    other.is(422, "idempotency-key-reused", "");
    client.rotate("acme", &id, 1, "r2").is(412, "changed", "");
    // Another process does not remember the rotation, and does not rotate again either.
    let elsewhere = Client::of(mount(console(&world.another_node().keyring)));
    elsewhere.rotate("acme", &id, 1, "r1").is(412, "changed", "");
    assert!(block_on(world.keyring.verify(&token)).is_ok());
}

#[test]
fn concurrent_equal_rotations_both_succeed_with_one_token() {
    let Place { client, .. } = Place::with_tenants();
    for round in 0..20 {
        let (id, _) = client.key("acme", "a");
        let start = &Barrier::new(2);
        let rotate = &|| {
            start.wait();
            client.rotate("acme", &id, 1, "r")
        };
        let answers: Vec<Answer> = thread::scope(|scope| {
            let both = [scope.spawn(rotate), scope.spawn(rotate)];
            both.map(|one| one.join().unwrap()).into()
        });
        let tokens = answers.iter().filter(|answer| answer.json()["token"].is_string()).count();
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!((&*statuses, tokens), (&[200, 200][..], 1), "round {round}");
        assert_eq!(
            client
                .ask("acme", "DELETE", &format!("/api/keys/{id}"))
                .field("if-match", "*")
                .send()
                .status,
            204
        );
    }
}

#[test]
fn failed_rotation_can_be_retried() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    world.store.fail("update_key");
    client.rotate("acme", &id, 1, "r").is(503, "unavailable", "");
    world.store.heal("update_key");
    let again = client.rotate("acme", &id, 1, "r");
    assert_eq!((again.status, &again.json()["replayed"]), (200, &json!(false)));
}

/// Sends 200 equal requests concurrently, through several processes of one service.
fn create_at_once(stores: &[Keyring], tier: &str) -> Vec<Answer> {
    const CALLS: usize = 200;
    block_on(stores[0].create_empty_tenant("acme", tier)).unwrap();
    let clients: Vec<_> = stores.iter().map(|store| Client::of(mount(console(store)))).collect();
    let start = Barrier::new(CALLS);
    let (start, clients) = (&start, &clients);
    let answers: Vec<_> = thread::scope(|scope| {
        let call = |number: usize| {
            scope.spawn(move || {
                start.wait();
                create(&clients[number % clients.len()], "acme", "same", &json!({ "name": "a" }))
            })
        };
        let calls: Vec<_> = (0..CALLS).map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let held = block_on(stores[0].tenant("acme".parse().unwrap()).quota()).unwrap().held;
    assert_eq!(held, 1);
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let tokens = answers.iter().filter(|answer| answer.json()["token"].is_string()).count();
    assert_eq!((created, tokens), (1, 1));
    let id = |answer: &Answer| answer.json()["key"]["id"].clone();
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201)), "{answers:#?}");
    assert!(answers.iter().all(|answer| id(answer) == id(&answers[0])));
    answers
}

fn keyring(store: impl KeyStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

#[test]
fn concurrent_equal_creates_issue_one_key_in_memory() {
    for tier in ["lite", "advanced"] {
        let store = MemoryStore::new();
        let nodes: Vec<_> = (0..4).map(|_| keyring(store.clone())).collect();
        create_at_once(&nodes, tier);
    }
}

#[test]
fn concurrent_equal_creates_issue_one_key_in_sqlite() {
    for tier in ["lite", "advanced"] {
        let folder = tempfile::tempdir().unwrap();
        let open = || block_on(SqliteStore::open(folder.path().join("keys.db"))).unwrap();
        let nodes: Vec<_> = (0..4).map(|_| keyring(open())).collect();
        create_at_once(&nodes, tier);
    }
}

/// The control for the two tests before: with different idempotency keys, each request issues a key.
#[test]
fn different_idempotency_keys_issue_different_keys() {
    let world = World::new();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    for number in 0..5 {
        let request = NewKey::named("a").idempotency_key(&format!("{number}")).unwrap();
        let _ = block_on(acme.issue(request)).unwrap();
    }
    assert_eq!(block_on(acme.quota()).unwrap().held, 5);
}

#[test]
fn already_issued_error_names_the_key() {
    let world = World::new();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let request = || NewKey::named("a").idempotency_key("k1").unwrap();
    let issued = block_on(acme.issue(request())).unwrap();
    let again = block_on(acme.issue(request()));
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(id)) if id == issued.key.id()));
    block_on(acme.delete(issued.key.id())).unwrap();
    let again = block_on(acme.issue(request()));
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(id)) if id == issued.key.id()));
    let debug = format!("{:?}", request());
    assert!(debug.contains("idempotency_key: Some([redacted])"), "{debug}");
    // The first key of a tenant is not found by a later request with the same idempotency key.
    let (globex, _) =
        block_on(world.keyring.create_tenant_with("globex", "advanced", request())).unwrap();
    assert!(block_on(globex.issue(request())).is_ok());
}
