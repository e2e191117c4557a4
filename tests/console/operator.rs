//! The routes of an operator: tenants, tiers, suspensions, leak reports.

use serde_json::{Value, json};

use crate::{
    client::{Client, Place},
    support::block_on,
};

fn put(client: &Client, path: &str, body: &Value) -> crate::client::Answer {
    client.ask("operator", "PUT", path).field("if-match", "*").json(body).send()
}

#[test]
fn tenants_are_listed_in_pages() {
    let Place { client, .. } = Place::with_tenants();
    client.key("globex", "a");
    let tenant = |id: &str, tier: &str, held: u32, allowed: u32| {
        json!({
            "id": id, "tier": tier, "state": "active", "suspension": null, "held": held,
            "allowed": allowed, "created_at": "2026-01-01T00:00:00Z", "exceptions": {},
            "version": 1,
        })
    };
    let (acme, globex) = (tenant("acme", "advanced", 0, 5), tenant("globex", "lite", 1, 1));
    let all = client.get("operator", "/api/tenants").json();
    assert_eq!(all, json!({ "items": [acme, globex], "next": null, "broken": [] }));
    let first = client.get("operator", "/api/tenants?limit=1").json();
    assert_eq!(first, json!({ "items": [acme], "next": "acme", "broken": [] }));
    let second = client.get("operator", "/api/tenants?limit=1&after=acme").json();
    assert_eq!(second, json!({ "items": [globex], "next": null, "broken": [] }));
    assert_eq!(client.get("operator", "/api/tenants/globex").json(), globex);
    client.get("operator", "/api/tenants/nobody").is(404, "not-found", "");
    client.get("operator", "/api/tenants?after=").is(422, "invalid-field", "after");
    let keys = client.get("operator", "/api/tenants/globex/keys").json();
    assert_eq!((&keys["held"], &keys["allowed"]), (&json!(1), &json!(1)));
    assert_eq!(keys["items"][0]["name"], "a");
    client.get("operator", "/api/tenants/nobody/keys").is(404, "not-found", "");
}

#[test]
fn tier_change_reports_its_effect_before_and_after() {
    let Place { world, client } = Place::with_tenants();
    let (plain, _) = client.key("acme", "plain");
    let mixed = json!({ "name": "mixed", "scopes": ["manager", "operator"] });
    let mixed = client.create("acme", mixed).json()["key"]["id"].clone();
    let expected = json!({
        "tenant": "acme", "from": "advanced", "to": "lite", "held": 2, "allowed": 1, "over": 1,
        "narrowed": [{ "id": mixed, "name": "mixed", "loses": ["manager"] }], "ended": [],
        "complete": true,
        "version": 1,
    });
    let preview = client.get("operator", "/api/tenants/acme/tiers/lite").json();
    assert_eq!(preview, expected);
    assert_eq!(client.get("operator", "/api/tenants/acme").json()["tier"], "advanced");

    let path = "/api/tenants/acme/tier";
    let moved = put(&client, path, &json!({ "tier": "lite" }));
    assert_eq!(moved.field("etag"), "\"2\"");
    let mut after = expected;
    after["version"] = json!(2);
    assert_eq!(moved.json(), after);
    let tenant = client.get("operator", "/api/tenants/acme").json();
    assert_eq!((&tenant["tier"], &tenant["version"]), (&json!("lite"), &json!(2)));
    assert_eq!((&tenant["held"], &tenant["allowed"]), (&json!(2), &json!(1)));
    client.create("acme", json!({ "name": "c" })).is(409, "quota-exceeded", "");
    // A second move to the same tier changes nothing.
    assert_eq!(put(&client, path, &json!({ "tier": "lite" })).json()["narrowed"], json!([]));
    assert_eq!(client.get("operator", "/api/tenants/acme").json()["version"], 2);
    let back = client.get("operator", "/api/tenants/acme/tiers/advanced").json();
    assert_eq!((&back["over"], &back["narrowed"]), (&json!(0), &json!([])));
    assert_eq!(client.get("acme", &format!("/api/keys/{plain}")).json()["state"], "active");

    client.get("operator", "/api/tenants/acme/tiers/gold").is(404, "not-found", "");
    client.get("operator", "/api/tenants/nobody/tiers/lite").is(404, "not-found", "");
    put(&client, path, &json!({ "tier": "gold" })).is(422, "invalid-field", "tier");
    drop(world);
}

#[test]
fn tenant_cannot_lift_an_operator_suspension() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    let works = || block_on(world.keyring.verify(&token)).is_ok();
    let of_key = format!("/api/tenants/acme/keys/{id}/suspension");
    let of_tenant = "/api/tenants/acme/suspension";
    let until = json!({ "reason": "abuse", "until": "2026-02-01T00:00:00Z" });

    let key = put(&client, &of_key, &until);
    assert_eq!((key.status, &key.json()["state"]), (200, &json!("suspended")));
    assert_eq!(key.json()["suspension"], until);
    assert!(!works());
    let enabled = client.change("acme", &id, 2, &json!({ "enabled": true })).json();
    assert_eq!((&enabled["state"], &enabled["suspension"]), (&json!("suspended"), &until));

    let tenant = put(&client, of_tenant, &json!({ "reason": "unpaid", "until": null })).json();
    assert_eq!(
        (&tenant["state"], &tenant["suspension"]["reason"]),
        (&json!("suspended"), &json!("unpaid"))
    );
    assert_eq!(client.get("acme", &format!("/api/keys/{id}")).json()["state"], "tenant_suspended");
    // A suspended tenant can still read its keys.
    assert_eq!(client.get("acme", "/api/keys").status, 200);

    for _ in 0..2 {
        let tenant =
            client.ask("operator", "DELETE", of_tenant).field("if-match", "*").send().json();
        assert_eq!((&tenant["state"], &tenant["suspension"]), (&json!("active"), &Value::Null));
        assert_eq!(tenant["version"], 3);
    }
    for _ in 0..2 {
        let key = client.ask("operator", "DELETE", &of_key).field("if-match", "*").send().json();
        assert_eq!((&key["state"], &key["suspension"]), (&json!("active"), &Value::Null));
        assert_eq!(key["version"], 4);
    }
    assert!(works());

    for path in [&*of_key, of_tenant] {
        for (body, field) in [
            (json!({ "reason": "" }), "reason"),
            (json!({ "reason": "two\nlines" }), "reason"),
            (json!({ "reason": "x".repeat(501) }), "reason"),
            (json!({ "reason": "x", "until": "soon" }), "until"),
            (json!({ "reason": "x", "until": "2026-01-01T00:00:00Z" }), "until"),
        ] {
            put(&client, path, &body).is(422, "invalid-field", field);
        }
    }
}

#[test]
fn leak_report_of_a_known_token_suspends_its_key() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    let report = |token: &str, response: &str| {
        let body = json!({ "token": token, "reason": "in a log", "response": response });
        client.ask("operator", "POST", "/api/leaks").json(&body).send()
    };
    let only = report(&token, "report_only").json();
    assert_eq!((&only["found"], &only["response"]), (&json!(true), &json!("report_only")));
    assert_eq!((&only["key"]["id"], &only["key"]["state"]), (&json!(id), &json!("active")));
    let done = report(&format!(" {token}\n"), "suspend");
    assert_eq!(done.json()["key"]["state"], "suspended");
    assert!(!done.text.contains(&token));
    assert!(block_on(world.keyring.verify(&token)).is_err());

    let mut wrong = token.clone();
    wrong.truncate(token.len() - 9);
    wrong.push_str("123456789");
    for other in ["", "x", &id, &wrong] {
        let nothing = json!({ "found": false, "key": null, "response": "suspend" });
        assert_eq!(report(other, "suspend").json(), nothing);
    }
    report(&token, "forget").is(400, "unreadable-body", "response");
    report(&"x".repeat(2_001), "suspend").is(422, "invalid-field", "token");
    let body = json!({ "token": "x", "reason": "", "response": "suspend" });
    let ask = client.ask("operator", "POST", "/api/leaks").json(&body);
    ask.send().is(422, "invalid-field", "reason");
}

/// A new policy may lack a tier that tenants are on.
#[test]
fn tenant_on_a_removed_tier_is_still_listed() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let tiers = [keyway::Tier::new("lite", 1)];
    let policy = keyway::Policy::new("mm", crate::support::catalog(), tiers).unwrap();
    let node = world.another_node_with(policy, |builder| builder);
    let client = Client::of(crate::client::mount(crate::client::console(&node.keyring)));
    let tenant = client.get("operator", "/api/tenants/acme").json();
    assert_eq!((&tenant["tier"], &tenant["allowed"]), (&json!("advanced"), &json!(0)));
    assert_eq!(client.get("operator", "/api/tenants").json()["items"][0], tenant);
    assert_eq!(client.get("acme", "/api/keys").json()["allowed"], 0);
    assert_eq!(client.get("acme", &format!("/api/keys/{id}")).status, 200);
    client.create("acme", json!({ "name": "b" })).is(500, "fault", "");
    // After a move to an existing tier, the quota applies again.
    let moved = put(&client, "/api/tenants/acme/tier", &json!({ "tier": "lite" })).json();
    assert_eq!((&moved["from"], &moved["allowed"]), (&json!("advanced"), &json!(1)));
    client.create("acme", json!({ "name": "b" })).is(409, "quota-exceeded", "");
}
