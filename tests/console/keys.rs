//! The routes of a tenant's administrator: create, read, list, search, change, rotate, delete.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Place},
    support::{DAY, HOUR, block_on},
};

#[test]
fn key_life_cycle_from_create_to_delete() {
    let Place { world, client } = Place::with_tenants();
    let session = client.get("acme", "/api/session").json();
    assert_eq!(session["role"], "tenant");
    assert_eq!(session["tenant"]["held"], 0);
    assert_eq!(session["tenant"]["allowed"], 5);

    let wanted = json!({
        "name": "ERP nightly sync",
        "scopes": ["operator", "operator.read"],
        "labels": { "team": "erp" },
        "expires_at": "2027-01-01T01:00:00+01:00",
    });
    let created = client.create("acme", wanted);
    assert_eq!(created.status, 201);
    let body = created.json();
    let (key, token) = (&body["key"], body["token"].as_str().unwrap());
    let id = key["id"].as_str().unwrap();
    assert_eq!(created.field("location"), format!("keys/{id}"));
    assert_eq!(created.field("etag"), "\"1\"");
    assert_eq!(body["replayed"], false);
    let expected = json!({
        "id": id, "tenant": "acme", "name": "ERP nightly sync", "masked": key["masked"],
        "imported": false, "scopes": ["operator"], "labels": { "team": "erp" }, "enabled": true,
        "state": "active", "suspension": null, "not_before": null,
        "expires_at": "2027-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z",
        "created_by": "anna", "owner": null, "rotated_at": null, "grace_until": null, "last_used": null,
        "effective_expires_at": "2027-01-01T00:00:00Z", "idle_until": null,
        "resources": {}, "networks": null, "children": "off", "version": 1,
    });
    assert_eq!(key, &expected);
    assert!(block_on(world.keyring.verify(token)).is_ok());

    let path = format!("/api/keys/{id}");
    let read = client.get("acme", &path);
    assert_eq!((read.status, read.field("etag")), (200, "\"1\""));
    assert_eq!(read.json(), expected);

    let disabled = client.change("acme", id, 1, &json!({ "enabled": false, "name": "ERP" }));
    assert_eq!((disabled.status, disabled.field("etag")), (200, "\"2\""));
    assert_eq!(disabled.json()["state"], "disabled");
    assert_eq!(disabled.json()["name"], "ERP");
    assert!(block_on(world.keyring.verify(token)).is_err());
    let everything = json!({
        "enabled": true, "scopes": [], "labels": {}, "expires_at": null,
        "not_before": "2026-01-02T00:00:00Z",
    });
    let changed = client.change("acme", id, 2, &everything).json();
    assert_eq!(changed["state"], "not_yet_valid");
    assert_eq!(changed["expires_at"], Value::Null);
    assert_eq!(changed["scopes"], json!([]));
    world.clock.advance(DAY);
    assert_eq!(client.get("acme", &path).json()["state"], "active");
    // An empty change does not change the version.
    let same = client.change("acme", id, 3, &json!({}));
    assert_eq!((same.status, same.field("etag")), (200, "\"3\""));

    let rotated = client.rotate("acme", id, 3, "r1");
    assert_eq!((rotated.status, rotated.field("etag")), (200, "\"4\""));
    let new = rotated.json();
    assert_ne!(new["token"], token);
    assert!(block_on(world.keyring.verify(new["token"].as_str().unwrap())).is_ok());
    assert!(block_on(world.keyring.verify(token)).is_err());

    let deleted = client.ask("acme", "DELETE", &path).field("if-match", "\"4\"").send();
    assert_eq!((deleted.status, &*deleted.text), (204, ""));
    client.get("acme", &path).is(404, "not-found", "");
    client.ask("acme", "DELETE", &path).field("if-match", "*").send().is(404, "not-found", "");
}

#[test]
fn rotation_applies_the_requested_grace_period() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let rotate = |version: u64, grace_period: Value| -> Answer {
        client
            .ask("acme", "POST", &format!("/api/keys/{id}/rotate"))
            .field("if-match", &format!("\"{version}\""))
            .field("idempotency-key", &format!("r{version}"))
            .json(&json!({ "grace_period": grace_period }))
            .send()
    };
    let until = |answer: Answer| answer.json()["key"]["grace_until"].clone();
    assert_eq!(until(rotate(1, json!(3_600.0))), "2026-01-01T01:00:00Z");
    assert_eq!(until(rotate(2, json!("none"))), Value::Null);
    assert_eq!(until(rotate(3, json!("until_first_use"))), "2026-01-02T00:00:00Z");
    assert_eq!(until(rotate(4, json!(2_592_000))), "2026-01-31T00:00:00Z");
    for bad in [json!(2_592_001), json!("soon"), json!(-1), json!(1.5), json!(null), json!([])] {
        rotate(5, bad).is(422, "invalid-field", "grace_period");
    }
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn list_supports_pages_and_a_state_filter() {
    let Place { world, client } = Place::with_tenants();
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(client.key("acme", name).0);
        world.clock.advance(HOUR);
    }
    for index in [1, 3] {
        client.change("acme", &ids[index], 1, &json!({ "enabled": false }));
    }
    let all = client.get("acme", "/api/keys");
    assert_eq!(names(&all), ["a", "b", "c", "d", "e"]);
    let body = all.json();
    assert_eq!(
        (&body["next"], &body["held"], &body["allowed"]),
        (&json!(null), &json!(5), &json!(5))
    );

    let walk = |query: &str| {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = client.get("acme", &format!("/api/keys?{query}{after}"));
            seen.push(names(&page).join(""));
            match page.json()["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return seen,
            }
        }
    };
    assert_eq!(walk("limit=2"), ["ab", "cd", "e"]);
    assert_eq!(walk("limit=200"), ["abcde"]);
    assert_eq!(walk("state=active&limit=2"), ["ac", "e"]);
    assert_eq!(walk("state=disabled&limit=1"), ["b", "d", ""]);
    assert_eq!(walk("state=expired"), [""]);

    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=1", "limit"),
        ("after=x", "after"),
        ("after=1.short", "after"),
        ("after=1,A000000000000000", "after"),
        ("state=asleep", "state"),
    ] {
        client.get("acme", &format!("/api/keys?{query}")).is(422, "invalid-field", field);
    }
    assert_eq!(walk("unknown=1"), ["abcde"]);
}

#[test]
fn search_finds_by_any_part_or_a_whole_token() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "ERP nightly sync");
    let (_, other) = client.key("acme", "Weekly report");
    let search = |text: &str| {
        let ask = client.ask("acme", "POST", "/api/keys/search");
        names(&ask.json(&json!({ "text": text })).send())
    };
    let last = &token[token.len() - 4..];
    // The space keeps the text out of the ids of keys, of which some contain "erp".
    for text in ["nightly s", "erp n", &id, &id[3..9], last, &token, &format!(" {token}\n")] {
        assert_eq!(search(text), ["ERP nightly sync"], "{text}");
    }
    assert_eq!(search(&other), ["Weekly report"]);
    assert_eq!(search("absent"), [""; 0]);
    assert_eq!(search("").len(), 2);
    // No token was passed to the store.
    assert!(world.store.searched().iter().all(|text| !text.contains(&token)));
    let long = json!({ "text": "x".repeat(2_001) });
    let ask = client.ask("acme", "POST", "/api/keys/search");
    ask.json(&long).send().is(422, "invalid-field", "text");
}

#[test]
fn session_lists_grantable_scopes_and_settings() {
    let Place { world, client } = Place::with_tenants();
    let grantable = |who: &str| {
        let session = client.get(who, "/api/session").json();
        let scopes = session["scopes"].as_array().unwrap().clone();
        let names = scopes.iter().filter(|scope| scope["grantable"] == true);
        names.map(|scope| scope["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(grantable("acme"), "erp reporting manager operator operator.jobs operator.read");
    // The tier of `globex` does not allow `manager`.
    assert_eq!(grantable("globex"), "erp reporting operator operator.jobs operator.read");
    assert_eq!(grantable("acme operator.read reporting"), "reporting operator.read");
    assert_eq!(grantable("operator"), "");

    let session = client.get("operator", "/api/session").json();
    assert_eq!((&session["role"], &session["tenant"]), (&json!("operator"), &Value::Null));
    assert_eq!(session["actor"], "olga");
    assert_eq!(session["now"], "2026-01-01T00:00:00Z");
    let limits = |keys: u32, scopes: Value| {
        json!({
            "keys": keys, "rate": "unlimited", "tenant_rate": "unlimited", "allowances": "unlimited",
            "max_lifetime_seconds": "unlimited", "scopes": scopes,
        })
    };
    let tiers = json!([
        { "name": "lite", "keys": 1, "limits": limits(1, json!(["operator", "erp"])) },
        { "name": "advanced", "keys": 5, "limits": limits(5, json!("all")) },
    ]);
    assert_eq!(session["tiers"], tiers);
    // Only an operator learns the limits of all tiers.
    let tiers = json!([{ "name": "lite", "keys": 1 }, { "name": "advanced", "keys": 5 }]);
    assert_eq!(client.get("acme", "/api/session").json()["tiers"], tiers);
    let service = json!({ "name": "mm", "logo": false, "curl": null, "support": null });
    assert_eq!(session["service"], service);
    let reporting = session["scopes"].as_array().unwrap();
    let reporting = reporting.iter().find(|scope| scope["name"] == "reporting").unwrap();
    assert_eq!(reporting["parent"], "erp");

    client.get("nobody", "/api/session").is(404, "not-found", "");
    let ban = keyway::record::Suspension::permanent("fraud").unwrap();
    block_on(world.keyring.suspend_tenant(&"acme".parse().unwrap(), ban)).unwrap();
    let tenant = client.get("acme", "/api/session").json()["tenant"].clone();
    assert_eq!(tenant["state"], "suspended");
    assert_eq!(tenant["suspension"], json!({ "reason": "fraud", "until": null }));
}
