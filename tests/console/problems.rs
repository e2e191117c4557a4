//! Every kind of problem with a request body, and the field that it names.

use serde_json::{Value, json};

use crate::client::{Answer, Client, Place};

fn post(client: &Client, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let ask = client.ask("acme", "POST", "/api/keys").field("idempotency-key", "k");
    let ask = if kind.is_empty() { ask } else { ask.field("content-type", kind) };
    ask.body(body).send()
}

#[test]
fn body_that_is_not_json_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    for kind in ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"] {
        post(&client, kind, r#"{ "name": "a" }"#).is(415, "unsupported-media-type", "");
    }
    for body in ["", "x", "{", r#"{ "name": "a" } x"#, "{ \"name\": \"\u{1}\" }"] {
        post(&client, "application/json", body).is(400, "unreadable-body", "");
    }
    post(&client, "application/json", b"{ \"name\": \"\xff\" }").is(400, "unreadable-body", "");
    let deep = "[".repeat(10_000);
    post(&client, "application/json", deep).is(400, "unreadable-body", "");
    for kind in ["application/json", "Application/JSON ; charset=utf-8"] {
        let answer = post(&client, kind, r#"{ "name": "a" }"#);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    }
}

#[test]
fn body_above_64_kib_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    let body = |len: usize| {
        let frame = r#"{"name":""}"#.len();
        format!(r#"{{"name":"{}"}}"#, "x".repeat(len - frame))
    };
    post(&client, "application/json", body(65_537)).is(413, "body-too-large", "");
    post(&client, "application/json", body(65_536)).is(422, "invalid-field", "name");
}

#[test]
fn unreadable_body_names_the_field_and_repeats_no_value() {
    let Place { client, .. } = Place::with_tenants();
    let unreadable = |body: Value| {
        let answer = post(&client, "application/json", body.to_string());
        let (status, kind, field) = answer.problem();
        assert_eq!((status, &*kind), (400, "unreadable-body"), "{body}");
        assert!(!answer.text.contains("secret"), "{}", answer.text);
        field
    };
    assert_eq!(unreadable(json!({})), "name");
    assert_eq!(unreadable(json!({ "name": 5 })), "name");
    assert_eq!(unreadable(json!({ "name": null })), "name");
    assert_eq!(unreadable(json!({ "name": "a", "scopes": "secret" })), "scopes");
    assert_eq!(unreadable(json!({ "name": "a", "scopes": ["a", 5] })), "scopes");
    assert_eq!(unreadable(json!({ "name": "a", "scopes": null })), "scopes");
    assert_eq!(unreadable(json!({ "name": "a", "labels": null })), "labels");
    assert_eq!(unreadable(json!({ "name": "a", "labels": { "secret": 5 } })), "labels");
    assert_eq!(unreadable(json!({ "name": "a", "expires_at": 5 })), "expires_at");
    assert_eq!(unreadable(json!({ "name": "a", "secret": 1 })), "");
    assert_eq!(unreadable(json!({ "name": "a", "tenant": "globex" })), "");
    assert_eq!(unreadable(json!(["secret"])), "");
    assert_eq!(unreadable(json!("secret")), "");
    let twice = post(&client, "application/json", r#"{ "name": "a", "name": "b" }"#);
    twice.is(400, "unreadable-body", "name");
    let unknown = post(&client, "application/json", r#"{ "name": "a", "x": 1 }"#).json();
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.contains("`name`") && detail.contains("`expires_at`"), "{detail}");
}

#[test]
fn invalid_value_names_its_field() {
    let Place { client, .. } = Place::with_tenants();
    let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
    for (member, value) in [
        ("name", json!("")),
        ("name", json!(" \u{a0}")),
        ("name", json!("two\nlines")),
        ("name", json!("\u{202e}evil")),
        ("name", json!("x".repeat(101))),
        ("name", json!("x".repeat(10_000))),
        ("scopes", json!(["no.such"])),
        ("labels", json!(many)),
        ("labels", json!({ "": "x" })),
        ("labels", json!({ "a": "x".repeat(257) })),
        ("labels", json!({ "a": "\u{0}" })),
        ("not_before", json!("tomorrow")),
        ("expires_at", json!("2026-13-01T00:00:00Z")),
        ("expires_at", json!("2026-01-01T00:00:00Z")),
        ("expires_at", json!("2026-06-01")),
    ] {
        let mut body = json!({ "name": "a" });
        body[member] = value;
        let answer = client.create("acme", body.clone());
        answer.is(422, "invalid-field", member);
        if member != "not_before" && !(member == "name" && body["name"] == "") {
            let (id, _) = client.key("acme", "b");
            let change = json!({ member: body[member] });
            client.change("acme", &id, 1, &change).is(422, "invalid-field", member);
            client.ask("acme", "DELETE", &format!("/api/keys/{id}")).field("if-match", "*").send();
        }
    }
    let ends = json!({
        "name": "a",
        "not_before": "2026-06-01T00:00:00Z",
        "expires_at": "2026-06-01T00:00:00Z",
    });
    client.create("acme", ends).is(422, "invalid-field", "expires_at");
}

#[test]
fn key_name_accepts_any_printable_text() {
    let Place { client, .. } = Place::with_tenants();
    for name in ["<script>alert(1)</script>", "مفتاح", "\"'&<>`", "👩‍💻 key", "{{base}}"]
    {
        let created = client.create("acme", json!({ "name": name }));
        assert_eq!(created.status, 201, "{name}");
        assert_eq!(created.json()["key"]["name"], name);
        assert_eq!(created.field("content-type"), "application/json");
    }
}

#[test]
fn full_quota_reports_held_allowed_and_tier() {
    let Place { client, .. } = Place::with_tenants();
    client.key("globex", "a");
    let answer = client.create("globex", json!({ "name": "b" }));
    answer.is(409, "quota-exceeded", "");
    let body = answer.json();
    assert_eq!(
        (&body["held"], &body["allowed"], &body["tier"]),
        (&json!(1), &json!(1), &json!("lite"))
    );
}

#[test]
fn expired_key_cannot_be_rotated() {
    let Place { world, client } = Place::with_tenants();
    let body = json!({ "name": "a", "expires_at": "2026-01-01T01:00:00Z" });
    let created = client.create("acme", body).json();
    let id = created["key"]["id"].as_str().unwrap();
    world.clock.advance(crate::support::HOUR);
    client.rotate("acme", id, 1, "r").is(409, "key-expired", "");
    let later = json!({ "expires_at": "2026-01-02T00:00:00Z" });
    assert_eq!(client.change("acme", id, 1, &later).status, 200);
    assert_eq!(client.rotate("acme", id, 2, "r").status, 200);
}

/// Problems of every layer of the console, and of the guard that verifies API keys.
#[test]
fn problem_types_link_to_the_configured_base() {
    let base = "https://errors.example.com/keys/";
    let types = || keyway::http::problem::ProblemTypes::new(base).unwrap();
    let Place { client, .. } = Place::with(|console| console.problem_types(types()));
    let ask = |method, path| client.ask("acme", method, path);
    let answers = [
        (ask("GET", "/api/unknown"), "not-found"),
        (ask("GET", "/unknown"), "not-found"),
        (ask("TRACE", "/api/keys"), "method-not-allowed"),
        (ask("GET", "/api/keys").field("sec-fetch-site", "cross-site"), "cross-site"),
        (ask("GET", "/api/keys?limit=0"), "invalid-field"),
        (ask("GET", "/api/session"), "not-found"),
        (ask("POST", "/api/keys").body("x"), "unsupported-media-type"),
    ];
    for (ask, kind) in answers {
        let answer = ask.send();
        assert_eq!(answer.json()["type"], format!("{base}{kind}"));
        assert_eq!(answer.problem().1, kind);
        assert_eq!(answer.field("cache-control"), "no-store");
    }
    // The control: by default, the links lead to the documentation of keyway.
    let Place { client, .. } = Place::new();
    let link = client.get("acme", "/api/unknown").json()["type"].clone();
    assert_eq!(link, "https://docs.rs/keyway/latest/keyway/http/problem/index.html#not-found");
}
