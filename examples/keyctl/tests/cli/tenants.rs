//! Tenants: list, creation, suspension, tier and exceptions.

use serde_json::json;

use crate::support::World;

#[test]
fn tenants_are_created_listed_and_deleted() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    world.done("tenants create globex --tier large");
    let listed = world.lines("tenants list");
    let tiers: Vec<_> = listed.iter().map(|tenant| (&tenant["id"], &tenant["tier"])).collect();
    assert_eq!(tiers, [(&json!("acme"), &json!("lite")), (&json!("globex"), &json!("large"))]);
    assert_eq!(world.lines("tenants list --after acme").len(), 1);
    assert_eq!(world.lines("tenants list --limit 1").len(), 1);

    let table = world.done("tenants list");
    let column = table.find("TIER").unwrap();
    let tiers: Vec<_> =
        table.lines().map(|line| line[column..].split(' ').next().unwrap()).collect();
    assert_eq!(tiers, ["TIER", "lite", "large"], "{table}");

    world.done("tenants delete acme --yes");
    assert!(world.fails("tenants show acme", 1).contains("there is no tenant `acme`"));
}

#[test]
fn tenant_that_exists_is_not_created_again() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    assert!(world.fails("tenants create acme --tier large", 1).contains("exists already"));
    assert_eq!(world.json("tenants show acme")["tier"], "lite");
}

#[test]
fn deletion_without_consent_changes_nothing() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    let (id, _) = world.issue("--tenant acme --name ERP");
    let before = world.stored();
    for line in ["tenants delete acme", &format!("keys delete {id}"), "purge --expired-for 1d"] {
        assert!(world.fails(line, 2).contains("--yes"), "{line}");
    }
    assert_eq!(world.stored(), before);
    // The control: the same command with consent deletes it.
    world.done(&format!("keys delete {id} --yes"));
    assert_ne!(world.stored(), before);
}

#[test]
fn suspended_tenant_has_no_valid_key_until_resumed() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    let (_, token) = world.issue("--tenant acme --name ERP");
    world.done("tenants suspend acme --reason unpaid");
    assert_eq!(world.json("tenants show acme")["suspension"]["reason"], "unpaid");
    assert_eq!(world.call_with("token verify", &token).code, 1);
    world.done("tenants resume acme");
    assert_eq!(world.call_with("token verify", &token).code, 0);
}

#[test]
fn disabled_owner_has_no_valid_key_until_enabled() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    let (_, token) = world.issue("--tenant acme --name ERP --owner ann");
    world.done("tenants disable-owner acme ann");
    assert_eq!(world.call_with("token verify", &token).code, 1);
    world.done("tenants enable-owner acme ann");
    assert_eq!(world.call_with("token verify", &token).code, 0);
}

#[test]
fn smaller_tier_is_previewed_and_needs_consent() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let (id, _) = world.issue("--tenant acme --name ERP --scope erp --scope reporting");
    world.issue("--tenant acme --name Other");
    let before = world.stored();

    let preview = world.json("tenants set-tier acme lite --dry-run");
    assert_eq!(preview["preview"]["affected"][0]["id"], json!(id));
    assert_eq!(preview["preview"]["affected"][0]["loses"], json!(["erp"]));
    assert_eq!(
        (&preview["preview"]["held"], &preview["preview"]["allowed"]),
        (&json!(2), &json!(1))
    );
    let refused = world.fails("tenants set-tier acme lite", 2);
    assert!(refused.contains("--yes") && refused.contains("erp"), "{refused}");
    assert_eq!(world.stored(), before);

    world.done("tenants set-tier acme lite --yes");
    assert_eq!(world.json("tenants show acme")["tier"], "lite");
    // A larger tier takes nothing away.
    world.done("tenants set-tier acme large");
    assert!(world.fails("tenants set-tier acme gold", 1).contains("the policy has no tier `gold`"));
}

#[test]
fn exceptions_replace_limits_and_can_be_removed() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    world.done("tenants set-exceptions acme --keys 3 --rate 100/60s --max-lifetime unlimited --scope erp.read");
    let shown = world.json("tenants show acme");
    let expected = json!({
        "keys": 3,
        "rate": { "requests": 100, "per_seconds": 60 },
        "max_lifetime_seconds": "unlimited",
        "scopes": ["erp.read"],
    });
    assert_eq!((&shown["exceptions"], &shown["allowed"]), (&expected, &json!(3)));
    assert!(world.fails("tenants set-exceptions acme --scope gold", 2).contains("--scopes: "));
    assert!(world.fails("tenants set-exceptions acme", 2).contains("--none"));
    world.done("tenants set-exceptions acme --none");
    assert_eq!(world.json("tenants show acme")["exceptions"], json!({}));
}

#[test]
fn tiers_are_listed_without_a_store() {
    let world = World::without_store();
    let tiers = world.lines("tiers list");
    assert_eq!(tiers[0]["scopes"], json!(["reporting"]));
    assert_eq!(tiers[0]["max_lifetime_seconds"], 30 * 86_400);
    assert_eq!(tiers[2]["scopes"], "all");
}
