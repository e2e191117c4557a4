//! Manifests that are refused as a whole: each problem names its field, and nothing is changed.

use serde_json::json;

use crate::{
    apply::{acme, manifest},
    support::World,
};

#[test]
fn bad_manifest_names_every_field_and_changes_nothing() {
    let world = World::new();
    world.file("m.json", r#"{ "tenants": [
        { "id": "acme\n", "tier": "lite" },
        { "id": "b", "tier": "gold", "exceptions": { "scopes": ["nothing"] }, "keys": [
            { "name": "", "scopes": ["erp", "gold"], "resources": { "room": ["1"] }, "networks": ["here"],
              "owner": " ", "labels": { "": "x" } },
            { "name": "x" }, { "name": "x" } ] },
        { "id": "b", "tier": "lite" } ] }"#);
    let refused = world.fails("apply m.json", 1);
    for field in [
        "tenants[0].id",
        "tenants[1].tier",
        "tenants[1].exceptions.scopes",
        "tenants[1].keys[0].name",
        "tenants[1].keys[0].scopes[1]",
        "tenants[1].keys[0].resources.room",
        "tenants[1].keys[0].networks",
        "tenants[1].keys[0].owner",
        "tenants[1].keys[0].labels",
        "tenants[1].keys[2].name",
        "tenants[2].id",
    ] {
        assert!(refused.contains(&format!("m.json: {field}: ")), "{field} is missing in {refused}");
    }
    assert!(refused.contains("11 problems"), "{refused}");
    assert!(world.lines("tenants list").is_empty());
}

#[test]
fn manifest_that_is_no_such_json_names_field_and_line() {
    let world = World::new();
    for (text, field, line) in [
        ("{ \"tenants\": [\n{ \"id\": 7 }] }", "tenants[0].id", "line 2"),
        (
            "{ \"tenants\": [\n{ \"id\": \"a\", \"tier\": \"lite\",\n \"color\": 1 }] }",
            "tenants[0].color",
            "line 3",
        ),
        (
            "{ \"tenants\": [{ \"id\": \"a\", \"tier\": \"lite\", \"keys\": [\n{ \"name\": \"a\", \"expires_at\": \"soon\" }] }] }",
            "tenants[0].keys[0].expires_at",
            "line 2",
        ),
        ("{ \"tenants\": [", "tenants", "line 1"),
        ("{ \"tenants\": [] } more", ".", "line 1"),
    ] {
        world.file("m.json", text);
        let refused = world.fails("apply m.json --dry-run", 1);
        assert!(
            refused.contains(&format!("m.json: {field}")) && refused.contains(line),
            "{text}: {refused}"
        );
    }
    assert!(world.fails("apply missing.json", 2).contains("missing.json"));
}

#[test]
fn grant_above_the_tier_is_refused_before_any_change() {
    let world = World::new();
    for (tenant, field) in [
        (json!({ "tier": "lite", "keys": [{ "name": "a", "scopes": ["erp"] }] }), "keys[0].scopes"),
        (json!({ "tier": "lite", "keys": [{ "name": "a" }, { "name": "b" }] }), "keys"),
        (
            json!({ "tier": "trial", "keys": [{ "name": "a", "expires_at": null }] }),
            "keys[0].expires_at",
        ),
        (
            json!({ "tier": "trial", "keys": [{ "name": "a", "expires_at": "2999-01-01T00:00:00Z" }] }),
            "keys[0].expires_at",
        ),
        (
            json!({ "tier": "large", "keys": [{ "name": "a", "expires_at": "1999-01-01T00:00:00Z" }] }),
            "keys[0].expires_at",
        ),
        (
            json!({ "tier": "large", "exceptions": { "scopes": [] }, "keys": [{ "name": "a", "scopes": ["erp"] }] }),
            "keys[0].scopes",
        ),
    ] {
        let mut tenant = tenant;
        tenant["id"] = json!("acme");
        world.file("m.json", &manifest(&json!([{ "id": "first", "tier": "lite" }, tenant])));
        let refused = world.fails("apply m.json", 1);
        assert!(refused.contains(&format!("tenants[1].{field}: ")), "{field}: {refused}");
        assert!(world.lines("tenants list").is_empty(), "{field}");
    }
}

#[test]
fn two_keys_of_one_name_are_refused() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let (first, _) = world.issue("--tenant acme --name a");
    let (second, _) = world.issue("--tenant acme --name a");
    world.file("m.json", &acme(&json!([{ "name": "a" }])));
    let refused = world.fails("apply m.json", 1);
    assert!(refused.contains(&first) && refused.contains(&second), "{refused}");
}
