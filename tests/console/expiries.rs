//! Expiries are counted by the service's clock, and none is changed silently.

use keyway::{Policy, Tier};
use serde_json::{Value, json};

use crate::{
    client::{Client, Place, console, mount},
    support::{DAY, World, block_on, catalog},
};

const DAYS: u64 = 86_400;

/// Creates a world with a tenant on a tier with a longest lifetime of 30 days.
fn limited() -> (World, Client) {
    let tier = Tier::new("brief", 9).max_lifetime(core::time::Duration::from_secs(30 * DAYS));
    let world = World::with(Policy::new("mm", catalog(), [tier]).unwrap(), |builder| builder);
    block_on(world.keyring.create_empty_tenant("acme", "brief")).unwrap();
    let client = Client::of(mount(console(&world.keyring)));
    (world, client)
}

fn created(client: &Client, body: Value) -> (String, Value) {
    let answer = client.create("acme", body);
    assert_eq!(answer.status, 201, "{}", answer.text);
    let key = answer.json()["key"].clone();
    (key["id"].as_str().unwrap().to_owned(), key["expires_at"].clone())
}

#[test]
fn expires_in_is_counted_from_the_clock_of_the_service() {
    let (world, client) = limited();
    // A time after midnight, so that no result is right by chance.
    world.clock.advance(core::time::Duration::from_millis(12_345));
    let (id, end) = created(&client, json!({ "name": "a", "expires_in": 7 * DAYS }));
    assert_eq!(end, "2026-01-08T00:00:12.345Z");
    let (_, end) = created(&client, json!({ "name": "b", "expires_in": 30 * DAYS }));
    assert_eq!(end, "2026-01-31T00:00:12.345Z");
    world.clock.advance(DAY);
    let changed = client.change("acme", &id, 1, &json!({ "expires_in": DAYS }));
    assert_eq!(changed.json()["expires_at"], "2026-01-03T00:00:12.345Z");
}

#[test]
fn expiry_beyond_the_tier_is_refused_with_the_latest() {
    let (world, client) = limited();
    for (field, body) in [
        ("expires_in", json!({ "expires_in": 30 * DAYS + 1 })),
        ("expires_in", json!({ "expires_in": 9_007_199_254_740_991_u64 })),
        ("expires_at", json!({ "expires_at": "2026-01-31T00:00:00.001Z" })),
        ("expires_at", json!({ "expires_at": "9999-12-31T23:59:59Z" })),
    ] {
        let mut wanted = body.clone();
        wanted["name"] = json!("a");
        let answer = client.create("acme", wanted);
        answer.is(422, "invalid-field", field);
        assert_eq!(answer.json()["latest"], "2026-01-31T00:00:00Z", "{body}");
    }
    let (id, end) = created(&client, json!({ "name": "a", "expires_at": "2026-01-31T00:00:00Z" }));
    assert_eq!(end, "2026-01-31T00:00:00Z");
    // The latest expiry of an existing key counts from its creation.
    world.clock.advance(DAY);
    let answer = client.change("acme", &id, 1, &json!({ "expires_in": 30 * DAYS }));
    answer.is(422, "invalid-field", "expires_in");
    assert_eq!(answer.json()["latest"], "2026-01-31T00:00:00Z");
    let never = client.change("acme", &id, 1, &json!({ "expires_at": null }));
    never.is(422, "invalid-field", "expires_at");
    assert_eq!(client.get("acme", &format!("/api/keys/{id}")).json()["version"], 1);
}

#[test]
fn invalid_or_contradictory_expiry_is_refused() {
    let (_world, client) = limited();
    let (id, _) = created(&client, json!({ "name": "a" }));
    for (body, status, field) in [
        (json!({ "expires_in": 1, "expires_at": "2026-01-02T00:00:00Z" }), 422, "expires_in"),
        (json!({ "expires_in": 1, "expires_at": null }), 422, "expires_in"),
        (json!({ "expires_in": 0 }), 422, "expires_in"),
        (json!({ "expires_in": -1 }), 400, "expires_in"),
        (json!({ "expires_in": 1.5 }), 400, "expires_in"),
        (json!({ "expires_in": null }), 400, "expires_in"),
        (json!({ "expires_in": "7" }), 400, "expires_in"),
        (json!({ "expires_in": 1e300 }), 400, "expires_in"),
        // A year as the page in an old browser sends it, and one with too many digits.
        (json!({ "expires_at": "+020277-01-01T00:00:00.000Z" }), 422, "expires_at"),
        (json!({ "expires_at": "20277-01-01T00:00:00Z" }), 422, "expires_at"),
        (json!({ "expires_at": "2025-12-31T23:59:59Z" }), 422, "expires_at"),
    ] {
        let kind = if status == 422 { "invalid-field" } else { "unreadable-body" };
        client.change("acme", &id, 1, &body).is(status, kind, field);
        let mut wanted = body.clone();
        wanted["name"] = json!("a");
        if body["expires_at"] != Value::Null || body.get("expires_at").is_none() {
            client.create("acme", wanted).is(status, kind, field);
        }
    }
}

#[test]
fn repetition_with_expires_in_is_recognized() {
    let (world, client) = limited();
    let create = |seconds: u64| {
        let ask = client.ask("acme", "POST", "/api/keys").field("idempotency-key", "once");
        ask.json(&json!({ "name": "a", "expires_in": seconds })).send()
    };
    let first = create(7 * DAYS);
    assert_eq!(first.status, 201);
    world.clock.advance(DAY);
    let again = create(7 * DAYS);
    assert_eq!((again.status, &again.json()["key"]), (200, &first.json()["key"]));
    create(8 * DAYS).is(422, "idempotency-key-reused", "");
}

/// The field in the problem is one that the request has.
#[test]
fn refused_lifetime_names_a_field_of_the_request() {
    let (_world, client) = limited();
    let (id, _) = created(&client, json!({ "name": "a" }));
    let late = "2027-01-01T00:00:00Z";
    for (field, body) in [
        ("not_before", json!({ "not_before": late })),
        ("expires_in", json!({ "not_before": late, "expires_in": DAYS })),
        ("expires_at", json!({ "not_before": late, "expires_at": "2026-01-02T00:00:00Z" })),
        ("expires_at", json!({ "expires_at": late })),
    ] {
        client.change("acme", &id, 1, &body).is(422, "invalid-field", field);
        let mut wanted = body.clone();
        wanted["name"] = json!("a");
        client.create("acme", wanted).is(422, "invalid-field", field);
    }
}

/// Without a limit by the tier, an expiry after the last timestamp is refused, and not shortened to it.
#[test]
fn expiry_beyond_the_end_of_time_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    let id = client.key("acme", "a").0;
    for seconds in [9_007_199_254_740_991_u64, 260_000_000_000] {
        let body = json!({ "name": "b", "expires_in": seconds });
        client.create("acme", body.clone()).is(422, "invalid-field", "expires_in");
        client.change("acme", &id, 1, &body).is(422, "invalid-field", "expires_in");
    }
    let (_, end) = created(&client, json!({ "name": "b", "expires_in": 250_000_000_000_u64 }));
    assert_eq!(end, "9948-03-09T12:26:40Z");
}

/// A lifetime of less than a day is reported exactly.
#[test]
fn session_reports_max_lifetime_in_seconds() {
    let (_world, client) = limited();
    let lifetime = client.get("acme", "/api/session").json()["tenant"]["max_lifetime"].clone();
    assert_eq!(lifetime, 30 * DAYS);
    let tier = Tier::new("brief", 9).max_lifetime(core::time::Duration::from_secs(3_600));
    let world = World::with(Policy::new("mm", catalog(), [tier]).unwrap(), |builder| builder);
    block_on(world.keyring.create_empty_tenant("acme", "brief")).unwrap();
    let client = Client::of(mount(console(&world.keyring)));
    let lifetime = client.get("acme", "/api/session").json()["tenant"]["max_lifetime"].clone();
    assert_eq!(lifetime, 3_600);
}
