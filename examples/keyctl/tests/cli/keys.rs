//! Keys: issuing, lists with filters, edits, states and rotation.

use serde_json::{Value, json};

use crate::support::{POLICY, World};

fn world() -> World {
    let world = World::new();
    world.done("tenants create acme --tier large");
    world
}

fn names(keys: &[Value]) -> Vec<&str> {
    keys.iter().map(|key| key["name"].as_str().unwrap()).collect()
}

#[test]
fn issued_key_has_the_properties_that_were_named() {
    let world = world();
    let (id, token) = world.issue(
        "--tenant acme --name ERP --scope erp --scope erp.read --resource machine=mill-1,mill-2 \
         --network 192.0.2.0/24 --label team=orders --owner ann --expires-in 30d",
    );
    let key = world.key(&id);
    assert_eq!(key["scopes"], json!(["erp"]));
    assert_eq!(key["resources"], json!({ "machine": ["mill-1", "mill-2"] }));
    assert_eq!(key["networks"], json!(["192.0.2.0/24"]));
    assert_eq!(key["labels"], json!({ "team": "orders" }));
    assert_eq!((&key["owner"], &key["state"]), (&json!("ann"), &json!("active")));
    assert_eq!(key["created_by"], "keyctl");
    assert!(key["expires_at"].is_string());
    let verified = world.call_with("token show --json", &token);
    assert_eq!(serde_json::from_str::<Value>(&verified.out).unwrap()["id"], json!(id));
}

#[test]
fn token_is_on_stdout_alone_and_once() {
    let world = world();
    let issued = world.call("keys issue --tenant acme --name ERP");
    assert_eq!(issued.out.lines().count(), 1, "{}", issued.out);
    let token = issued.out.trim();
    assert!(token.starts_with("mm_live_"));
    assert!(!issued.err.contains(token), "{}", issued.err);
    world.keep_secret(token);
    world.done("keys list");
    assert_eq!(world.call_with("token verify", token).code, 0);
}

#[test]
fn filters_select_keys() {
    let world = world();
    world.done("tenants create globex --tier large");
    let (erp, _) =
        world.issue("--tenant acme --name ERP --owner ann --label team=orders --expires-in 5d");
    world.issue("--tenant acme --name Dashboard --owner bob --actor admin");
    world.issue("--tenant globex --name ERP");
    world.done(&format!("keys disable {erp}"));
    for (filter, expected) in [
        ("", vec!["ERP", "Dashboard", "ERP"]),
        (" --tenant acme", vec!["ERP", "Dashboard"]),
        (" --owner bob", vec!["Dashboard"]),
        (" --created-by admin", vec!["Dashboard"]),
        (" --label team=orders", vec!["ERP"]),
        (" --state disabled", vec!["ERP"]),
        (" --tenant acme --state active", vec!["Dashboard"]),
        (" --expiring-before 6d", vec!["ERP"]),
        (" --expiring-before 4d", vec![]),
        (" --unused-since 1d", vec![]),
        (" --imported", vec![]),
        (" --tenant acme --containing dash", vec!["Dashboard"]),
        (" --limit 1", vec!["ERP"]),
    ] {
        assert_eq!(names(&world.lines(&format!("keys list{filter}"))), expected, "{filter}");
    }
    assert!(world.fails("keys list --state sleeping", 2).contains("active, disabled"));
    assert!(world.fails("keys list --tenant nobody", 1).contains("no tenant `nobody`"));
}

#[test]
fn edit_changes_what_is_named_and_nothing_else() {
    let world = world();
    let (id, _) =
        world.issue("--tenant acme --name ERP --scope erp --owner ann --network 192.0.2.7");
    world.done(&format!("keys edit {id} --scope erp.read --expires-in 9d"));
    let key = world.key(&id);
    assert_eq!((&key["scopes"], &key["owner"]), (&json!(["erp.read"]), &json!("ann")));
    assert_eq!(key["networks"], json!(["192.0.2.7/32"]));
    world.done(&format!(
        "keys edit {id} --no-owner --any-network --no-expiry --no-scopes --name Orders"
    ));
    let key = world.key(&id);
    assert_eq!((&key["scopes"], &key["owner"]), (&json!([]), &Value::Null));
    assert_eq!((&key["networks"], &key["expires_at"]), (&Value::Null, &Value::Null));
    assert_eq!(key["name"], "Orders");
    assert!(world.fails(&format!("keys edit {id}"), 2).contains("no change was given"));
}

#[test]
fn edit_and_rotation_of_an_older_version_are_refused() {
    let world = world();
    let (id, _) = world.issue("--tenant acme --name ERP");
    world.done(&format!("keys edit {id} --version 1 --name Orders"));
    let before = world.key(&id);
    for line in
        [format!("keys edit {id} --version 1 --name Late"), format!("keys rotate {id} --version 1")]
    {
        assert!(world.fails(&line, 1).contains("changed by somebody else"), "{line}");
    }
    assert_eq!(world.key(&id), before);
}

#[test]
fn each_state_is_shown_and_ends_the_use() {
    let world = world();
    let (id, token) = world.issue("--tenant acme --name ERP");
    let state = |line: &str, expected: &str| {
        world.done(&line.replace("KEY", &id));
        assert_eq!(world.key(&id)["state"], expected, "{line}");
        let is_usable = world.call_with("token verify", &token).code == 0;
        assert_eq!(is_usable, expected == "active", "{line}");
    };
    state("keys disable KEY", "disabled");
    state("keys enable KEY", "active");
    state("keys suspend KEY --reason floods", "suspended");
    state("keys enable KEY", "suspended");
    state("keys resume KEY", "active");
    state("keys suspend KEY --reason floods --until 1h", "suspended");
}

#[test]
fn rotation_without_grace_ends_the_old_token() {
    let world = world();
    let (id, old) = world.issue("--tenant acme --name ERP");
    assert!(world.fails(&format!("keys rotate {id} --grace none"), 2).contains("--yes"));
    assert_eq!(world.call_with("token verify", &old).code, 0);
    let rotated = world.json(&format!("keys rotate {id} --grace none --yes"));
    let new = rotated["token"].as_str().unwrap();
    world.keep_secret(new);
    assert_eq!(world.call_with("token verify", &old).code, 1);
    assert_eq!(world.call_with("token verify", new).code, 0);
}

#[test]
fn children_are_switched_and_their_prefix_is_shown() {
    use keyway::children::{ChildMinter, MintChildError};

    let world = world();
    let (id, token) = world.issue("--tenant acme --name ERP --children on");
    let prefix = |id: &str| {
        let shown = world.json(&format!("keys child-prefix {id}"));
        shown["child_prefix"].as_str().unwrap().to_owned()
    };
    assert!(ChildMinter::new(&token, &prefix(&id)).is_ok());
    assert_eq!(world.done(&format!("keys child-prefix {id}")), prefix(&id) + "\n");
    assert_eq!(world.key(&id)["children"], "on");

    // The control: another key has another prefix, and none by default.
    let (other, _) = world.issue("--tenant acme --name Dashboard");
    assert_eq!(world.key(&other)["children"], "off");
    let refused = world.fails(&format!("keys child-prefix {other}"), 1);
    assert!(refused.contains(&format!("keys edit {other} --children on")), "{refused}");
    world.done(&format!("keys edit {other} --children on"));
    let wrong = ChildMinter::new(&token, &prefix(&other)).unwrap_err();
    assert_eq!(wrong, MintChildError::Prefix);
    world.done(&format!("keys edit {other} --children off"));
    assert!(world.done(&format!("keys show {other}")).contains("children     off"));
    world.fails(&format!("keys child-prefix {other}"), 1);
}

#[test]
fn children_need_a_policy_and_a_secret_from_then_on() {
    let world = world();
    world.file("bare.json", &POLICY.replace("\"max_child_lifetime_seconds\": 86400,", ""));
    let bare = "--policy bare.json";
    let (id, _) = world.issue(&format!("--tenant acme --name ERP {bare}"));
    for line in [
        format!("keys edit {id} --children on {bare}"),
        format!("keys issue --tenant acme --name Second --children on {bare}"),
        format!("keys child-prefix {id} {bare}"),
    ] {
        let refused = world.fails(&line, 1);
        assert!(refused.contains("set `max_child_lifetime_seconds`"), "{line}: {refused}");
    }
    assert_eq!(world.lines("keys list").len(), 1);

    world.done(&format!("keys edit {id} --children on"));
    assert_eq!(world.key(&id)["children"], "after_rotation");
    let refused = world.fails(&format!("keys child-prefix {id}"), 1);
    assert!(refused.contains(&format!("keys rotate {id}")), "{refused}");
    let rotated = world.json(&format!("keys rotate {id}"));
    world.keep_secret(rotated["token"].as_str().unwrap());
    world.done(&format!("keys child-prefix {id}"));
}

#[test]
fn idempotent_issue_makes_one_key() {
    let world = world();
    world.issue("--tenant acme --name ERP --idempotency-key ticket-7");
    let again = world.fails("keys issue --tenant acme --name ERP --idempotency-key ticket-7", 1);
    assert!(again.contains("was issued before"), "{again}");
    assert_eq!(world.lines("keys list").len(), 1);
}

#[test]
fn quota_is_refused_with_a_remedy() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    world.issue("--tenant acme --name ERP");
    let refused = world.fails("keys issue --tenant acme --name Second", 1);
    assert!(refused.contains("it holds 1 of 1") && refused.contains("larger tier"), "{refused}");
    assert!(
        world
            .fails("keys issue --tenant acme --name Wide --scope erp", 1)
            .contains("does not allow")
    );
}
