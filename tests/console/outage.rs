//! A store that does not respond, and records that were tampered with.

use keyway::{
    KeyId, TenantId,
    console::{Admin, AuditTrail, Console, TrailError, TrailPage},
    record::Suspension,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    routes::routes,
    support::{block_on, with_text},
};

#[test]
fn store_outage_is_503_on_every_route() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    world.store.set_down(true);
    for route in routes() {
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path =
            route.path.replace("{id}", &id).replace("{owner}", "ann").replace("{tenant}", "acme");
        let ask = client.ask(who, route.method, &path.replace("{tier}", "lite"));
        let ask = ask.field("if-match", "*").field("idempotency-key", "k");
        let answer = match route.body {
            "" => ask.send(),
            body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
        };
        // A token that this service did not mint is recognized as such without the store.
        if route.path == "/api/leaks" {
            assert_eq!(answer.status, 200);
            continue;
        }
        answer.is(503, "unavailable", "");
        assert_eq!(answer.field("retry-after"), "1");
        assert!(!answer.text.contains("plug"), "{}", answer.text);
    }
    assert_eq!(client.get("operator", "/api/session").status, 200);
}

#[test]
fn tampered_key_is_named_and_the_others_are_shown() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "weak");
    let (fine, _) = client.key("acme", "fine");
    world.store.rewrite_keys(|key| {
        Ok(if key.name() == "weak" { with_text(&key, "weak", "strong") } else { key })
    });
    let path = format!("/api/keys/{id}");
    let search = |text: &str| {
        let ask = client.ask("acme", "POST", "/api/keys/search").json(&json!({ "text": text }));
        ask.send()
    };
    for answer in [
        client.get("acme", "/api/keys"),
        client.get("acme", "/api/keys?state=active"),
        client.get("operator", "/api/tenants/acme/keys"),
        search(""),
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let body = answer.json();
        assert_eq!(body["items"].as_array().unwrap().len(), 1, "{body}");
        assert_eq!(body["items"][0]["id"], *fine);
        assert_eq!(body["broken"], json!([{ "id": id, "problem": "tampered" }]));
        assert!(!answer.text.contains("seal") && !answer.text.contains("strong"));
    }
    let answer = client.get("acme", &path);
    answer.is(500, "fault", "");
    assert!(!answer.text.contains("seal"), "{}", answer.text);
    client.change("acme", &id, 1, &json!({ "name": "b" })).is(500, "fault", "");
    client.ask("acme", "DELETE", &path).field("if-match", "\"1\"").send().is(500, "fault", "");
    // A record that cannot be read has no version. Its tenant can still delete it with `If-Match: *`.
    assert_eq!(client.ask("acme", "DELETE", &path).field("if-match", "*").send().status, 204);
    assert_eq!(client.get("acme", "/api/keys").json()["broken"], json!([]));
}

/// An actor's name that no record can hold must not lock the administrator out.
#[test]
fn overlong_actor_name_is_truncated() {
    let Place { world, client } = Place::with_tenants();
    let all = world.keyring.policy().catalog().all();
    let who = move |_: axum::http::request::Parts| async move {
        let tenant: TenantId = "acme".parse().unwrap();
        Ok(Admin::of_tenant(tenant, all, "x\n".repeat(201)))
    };
    let console = Console::new(&world.keyring, who);
    let client = Client { router: mount(console), document: client.document };
    let created = client.create("", json!({ "name": "a" }));
    assert_eq!(created.status, 201);
    assert_eq!(created.json()["key"]["created_by"], "x".repeat(200));
}

struct Lost;

impl AuditTrail for Lost {
    async fn of_key(&self, _: &TenantId, _: KeyId, _: usize) -> Result<TrailPage, TrailError> {
        Err("the disk of 10.0.0.7 is full".into())
    }
}

#[test]
fn trail_error_is_503_without_its_text() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let router = mount(console(&world.keyring).audit_trail(Lost));
    let client = Client { router, document: client.document };
    let answer = client.get("acme", &format!("/api/keys/{id}/events"));
    answer.is(503, "unavailable", "");
    assert!(!answer.text.contains("disk"), "{}", answer.text);
}

#[test]
fn suspended_tenant_can_still_list_and_delete_keys() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let ban = Suspension::permanent("fraud").unwrap();
    block_on(world.keyring.suspend_tenant(&"acme".parse().unwrap(), ban)).unwrap();
    assert_eq!(client.get("acme", "/api/keys").json()["items"][0]["state"], "tenant_suspended");
    let delete =
        client.ask("acme", "DELETE", &format!("/api/keys/{id}")).field("if-match", "*").send();
    assert_eq!(delete.status, 204);
}
