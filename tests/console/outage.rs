//! A store that does not answer, and records that somebody changed.

use keyway::{
    console::{Admin, AuditTrail, Console, TrailError, TrailPage},
    record::{Suspension, TenantId},
    token::KeyId,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    common::{block_on, with_text},
    routes::routes,
};

#[test]
fn an_outage_is_503_everywhere() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    world.store.set_down(true);
    for route in routes() {
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path = route.path.replace("{id}", &id).replace("{tenant}", "acme");
        let ask = client.ask(who, route.method, &path.replace("{tier}", "lite"));
        let ask = ask.field("if-match", "*").field("idempotency-key", "k");
        let answer = match route.body {
            "" => ask.send(),
            body => ask.json(&serde_json::from_str::<Value>(body).unwrap()).send(),
        };
        // A token that was not minted here needs no store to be told from one that was.
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
fn what_somebody_changed_in_the_store_is_a_fault() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "weak");
    world.store.rewrite_keys(|key| Ok(with_text(&key, "weak", "strong")));
    for path in ["/api/keys", &format!("/api/keys/{id}")] {
        let answer = client.get("acme", path);
        answer.is(500, "fault", "");
        assert!(!answer.text.contains("seal"), "{}", answer.text);
    }
    client.change("acme", &id, 1, &json!({ "name": "b" })).is(500, "fault", "");
    world.store.rewrite_nothing();
    assert_eq!(client.get("acme", "/api/keys").status, 200);
}

/// An actor that no record can name is a fault of the host's.
#[test]
fn nobody_is_kept_from_their_keys_for_a_long_name() {
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
fn a_trail_that_cannot_be_read_is_an_outage() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let router = mount(console(&world.keyring).audit_trail(Lost));
    let client = Client { router, document: client.document };
    let answer = client.get("acme", &format!("/api/keys/{id}/events"));
    answer.is(503, "unavailable", "");
    assert!(!answer.text.contains("disk"), "{}", answer.text);
}

#[test]
fn the_administrator_of_a_suspended_tenant_can_still_look_and_delete() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let ban = Suspension::for_good("fraud").unwrap();
    block_on(world.keyring.suspend_tenant(&"acme".parse().unwrap(), ban)).unwrap();
    assert_eq!(client.get("acme", "/api/keys").json()["items"][0]["state"], "tenant_suspended");
    let delete = client.ask("acme", "DELETE", &format!("/api/keys/{id}")).send();
    assert_eq!(delete.status, 204);
}
