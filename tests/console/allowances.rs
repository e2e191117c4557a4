//! Allowances: what is left of them, and who may read it.

use keyway::{
    MemoryStore, Policy, Tier,
    allowance::{Allowance, WhenAway},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, console, mount},
    support::{World, block_on, catalog},
};

/// Returns a console with the tenants `acme` and `globex`, which have two allowances.
fn place() -> (World, Client) {
    let tier = Tier::new("free", 9)
        .allowance(Allowance::per_month(100))
        .allowance(Allowance::per_seconds(u64::MAX, 60));
    let policy = Policy::new("mm", catalog(), [tier]).unwrap();
    let limits = MemoryStore::new();
    let world = World::with(policy, |b| b.shared_limits(limits, WhenAway::Refuse));
    for id in ["acme", "globex"] {
        block_on(world.keyring.create_empty_tenant(id, "free")).unwrap();
    }
    let client = Client::of(mount(console(&world.keyring)));
    (world, client)
}

fn get(client: &Client, who: &str, path: &str) -> Value {
    let answer = client.get(who, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

#[test]
fn tenant_and_operator_see_what_is_left() {
    let (world, client) = place();
    let (_, token) = client.key("acme", "a");
    let caller = block_on(world.keyring.verify(&token)).unwrap();
    drop(block_on(world.keyring.verifier().reserve(&caller, 30)).unwrap());
    // Numbers stay within those that JavaScript reads exactly.
    let most = (1_u64 << 53) - 1;
    let expected = json!({ "items": [
        { "units": 100, "per_seconds": null, "used": 30, "left": 70, "ends_at": "2026-02-01T00:00:00Z" },
        { "units": most, "per_seconds": 60, "used": 30, "left": most, "ends_at": "2026-01-01T00:01:00Z" },
    ] });
    assert_eq!(get(&client, "acme", "/api/allowances"), expected);
    assert_eq!(get(&client, "operator", "/api/tenants/acme/allowances"), expected);
    let other = get(&client, "globex", "/api/allowances");
    assert_eq!(other["items"][0]["used"], 0);
    assert_eq!(get(&client, "acme", "/api/session")["allowances"], true);
}

#[test]
fn member_does_not_see_what_others_use() {
    let (_world, client) = place();
    assert_eq!(client.get("acme/ann", "/api/allowances").status, 404);
    assert_eq!(get(&client, "acme/ann", "/api/session")["allowances"], false);
}

#[test]
fn console_without_shared_limits_has_no_allowances() {
    let world = World::new();
    block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let client = Client::of(mount(console(&world.keyring)));
    assert_eq!(get(&client, "acme", "/api/session")["allowances"], false);
    assert_eq!(client.get("acme", "/api/allowances").status, 404);
    let paths = client.document["paths"].as_object().unwrap();
    assert!(paths.keys().all(|path| !path.contains("allowances")));
}

#[test]
fn exceptions_of_allowances_are_set_and_shown() {
    let (_world, client) = place();
    let path = "/api/tenants/acme/exceptions";
    let put = |version: u64, body: Value| {
        let ask = client.ask("operator", "PUT", path).json(&body);
        ask.field("if-match", &format!("\"{version}\"")).send()
    };
    let allowances = json!([{ "units": 7, "per": "month" }, { "units": 9, "per_seconds": 60 }]);
    assert_eq!(put(1, json!({ "allowances": allowances })).status, 200);
    let shown = get(&client, "operator", "/api/tenants/acme");
    assert_eq!(shown["exceptions"], json!({ "allowances": allowances }));
    assert_eq!(get(&client, "acme", "/api/allowances")["items"][0]["units"], 7);
    for refused in [
        json!([{ "units": 0, "per": "month" }]),
        json!([{ "units": 1, "per": "month" }, { "units": 2, "per": "month" }]),
        json!([{ "units": 1_u64 << 53, "per": "month" }]),
        json!([{ "units": 1, "per": "month", "per_seconds": null }]),
        json!([{ "units": 1 }]),
    ] {
        let answer = put(2, json!({ "allowances": refused }));
        assert_eq!((answer.status, &answer.json()["field"]), (422, &json!("allowances")));
    }
    let answer = put(2, json!({ "allowances": [{ "units": 1 }] }));
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("write a list of allowances"));
    assert_eq!(put(2, json!({ "allowances": "unlimited" })).status, 200);
    assert_eq!(get(&client, "acme", "/api/allowances")["items"], json!([]));
}
