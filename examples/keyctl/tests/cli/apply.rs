//! Manifests: plan, execution, repetition, conflicts and pruning.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Child,
};

use serde_json::{Value, json};

use crate::support::{Ended, World, lines};

/// Returns a manifest of these tenants.
pub fn manifest(tenants: &Value) -> String {
    json!({ "tenants": tenants }).to_string()
}

/// Returns a manifest of one tenant with these keys.
pub fn acme(keys: &Value) -> String {
    manifest(&json!([{ "id": "acme", "tier": "large", "keys": keys }]))
}

/// Applies a manifest, keeps the new tokens secret, and returns the summary.
fn apply(world: &World, line: &str) -> Value {
    let applied = lines(&world.done(&format!("apply {line} --json")));
    for token in applied.iter().filter_map(|step| step["token"].as_str()) {
        world.keep_secret(token);
    }
    applied.last().unwrap()["summary"].clone()
}

fn numbers(summary: &Value) -> [u64; 4] {
    ["create", "change", "delete", "unchanged"].map(|name| summary[name].as_u64().unwrap())
}

const FULL: &str = r#"{ "tenants": [
    { "id": "acme", "tier": "trial",
      "exceptions": { "keys": 3, "rate": { "requests": 5, "per_seconds": 1 }, "max_lifetime_seconds": "unlimited",
                      "tenant_rate": "unlimited", "scopes": ["erp", "erp.read", "reporting"] },
      "keys": [
        { "name": "ERP", "scopes": ["erp.read", "erp"], "resources": { "machine": ["b", "a", "a"] },
          "networks": ["192.0.2.0/25", "192.0.2.128/25"], "owner": "ann", "labels": { "team": "orders" },
          "expires_at": "2999-01-01T02:00:00+02:00" },
        { "name": "All", "resources": { "machine": "all" }, "enabled": false, "expires_at": null, "owner": null },
        { "name": "Plain" } ] },
    { "id": "globex", "tier": "lite" } ] }"#;

#[test]
fn manifest_applied_twice_changes_nothing() {
    let world = World::new();
    world.file("m.json", FULL);
    assert_eq!(numbers(&apply(&world, "m.json")), [5, 1, 0, 0]);
    let keys = world.keys_by_name();
    let (all, erp) = (&keys[0], &keys[1]);
    assert_eq!((&erp["scopes"], &erp["owner"]), (&json!(["erp"]), &json!("ann")));
    assert_eq!(erp["networks"], json!(["192.0.2.0/24"]));
    assert_eq!(erp["expires_at"], "2999-01-01T00:00:00Z");
    assert_eq!(
        (&all["state"], &all["resources"]),
        (&json!("disabled"), &json!({ "machine": "all" }))
    );

    let before = world.stored();
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 0, 0, 5]);
    assert_eq!(world.stored(), before);
    // The control: a manifest that differs in one word changes one key.
    world.file("m.json", &FULL.replace("\"ann\"", "\"bob\""));
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 1, 0, 4]);
    assert_ne!(world.stored(), before);
}

#[test]
fn dry_run_shows_the_plan_and_changes_nothing() {
    let world = World::new();
    world.file("m.json", FULL);
    let before = world.stored();
    let plan = world.json("apply m.json --dry-run");
    let actions: Vec<_> =
        plan["steps"].as_array().unwrap().iter().map(|step| &step["action"]).collect();
    let expected =
        ["create_tenant", "set_exceptions", "issue_key", "issue_key", "issue_key", "create_tenant"];
    assert_eq!(actions, expected);
    assert_eq!(world.stored(), before);
    let shown = world.done("apply m.json --dry-run");
    assert!(shown.contains("Plan: 5 to create, 1 to change, 0 to delete, 0 unchanged."), "{shown}");
}

#[test]
fn properties_that_are_left_out_stay() {
    let world = World::new();
    world.file("m.json", FULL);
    apply(&world, "m.json");
    let before = world.stored();
    let short =
        json!([{ "id": "acme", "tier": "trial", "keys": [{ "name": "ERP" }, { "name": "All" }] }]);
    world.file("m.json", &manifest(&short));
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 0, 0, 3]);
    assert_eq!(world.stored(), before);
}

#[test]
fn properties_that_are_emptied_are_taken_away() {
    let world = World::new();
    world.file("m.json", FULL);
    apply(&world, "m.json");
    let key = json!({ "name": "ERP", "scopes": [], "resources": {}, "networks": null, "owner": null,
                      "labels": {}, "expires_at": null, "enabled": true });
    world.file(
        "m.json",
        &manifest(&json!([{ "id": "acme", "tier": "large", "exceptions": {}, "keys": [key] }])),
    );
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 3, 0, 0]);
    let key = world.lines("keys list --tenant acme --containing ERP").remove(0);
    let empty = [
        ("scopes", json!([])),
        ("networks", Value::Null),
        ("owner", Value::Null),
        ("labels", json!({})),
    ];
    for (field, value) in empty {
        assert_eq!(key[field], value, "{field}");
    }
    assert_eq!(key["resources"].get("machine").unwrap_or(&json!([])), &json!([]));
    assert_eq!(world.json("tenants show acme")["exceptions"], json!({}));
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 0, 0, 2]);
}

#[test]
fn tokens_of_new_keys_are_in_the_token_file_alone() {
    let world = World::new();
    world.file("m.json", &acme(&json!([{ "name": "a" }, { "name": "b" }])));
    let shown = world.call("apply m.json --token-file tokens");
    assert_eq!(shown.code, 0, "{}", shown.err);
    let tokens = lines(&std::fs::read_to_string(world.path("tokens")).unwrap());
    assert_eq!(tokens.len(), 2);
    for line in &tokens {
        let token = line["token"].as_str().unwrap();
        assert!(!shown.out.contains(token) && !shown.err.contains(token));
        world.keep_secret(token);
        assert_eq!(world.call_with("token verify", token).code, 0);
        assert_eq!(world.key(line["id"].as_str().unwrap())["name"], line["name"]);
    }
}

#[cfg(unix)]
#[test]
fn output_that_cannot_be_written_ends_the_run_with_a_reason() {
    let world = World::new();
    world.file("m.json", &acme(&json!([{ "name": "a" }, { "name": "b" }])));
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (line, keys) in
        [("apply m.json --json", 0), ("apply m.json", 1), ("apply m.json --json", 2)]
    {
        let mut command = world.program(line);
        command.stdout(full());
        let ended = world.run(command, "");
        assert_eq!(ended.code, 1, "{}", ended.err);
        assert!(
            ended.err.contains("created, ") && ended.err.contains("not tried"),
            "{}",
            ended.err
        );
        // The first run creates the tenant, and each further one a key whose token is lost.
        let held = world.lines("keys list");
        assert_eq!(held.len(), keys.min(1), "{line}");
        if keys == 1 {
            let id = held[0]["id"].as_str().unwrap();
            assert!(ended.err.contains(&format!("keyctl keys rotate {id}")), "{}", ended.err);
        }
    }
}

/// Another process takes the lock of the database during the run, for longer than the store waits.
#[test]
fn run_whose_store_goes_away_says_what_was_done() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let names: Vec<_> = (0..200).map(|number| json!({ "name": format!("key {number}") })).collect();
    let tenant =
        json!({ "id": "acme", "tier": "large", "exceptions": { "keys": 200 }, "keys": names });
    world.file("m.json", &manifest(&json!([tenant])));
    let lock = world.database();
    lock.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let mut run = world.program("apply m.json --json").spawn().unwrap();
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let (mut exceptions, mut first) = (String::new(), String::new());
    out.read_line(&mut exceptions).unwrap();
    out.read_line(&mut first).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let ended = world.end(run);
    lock.execute_batch("ROLLBACK").unwrap();

    assert_eq!(ended.code, 3, "{}", ended.err);
    let steps = lines(&(first + &rest));
    let summary = &steps.last().unwrap()["summary"];
    let number = |name: &str| usize::try_from(summary[name].as_u64().unwrap()).unwrap();
    assert_eq!(number("unknown"), 1, "{summary}");
    assert_eq!(number("create") + number("unknown") + number("not_tried"), 200, "{summary}");
    let tokens = steps.iter().filter(|step| step["token"].is_string()).count();
    assert_eq!((number("create"), world.lines("keys list").len()), (tokens, tokens));
    // A repetition issues the rest.
    assert_eq!(numbers(&apply(&world, "m.json"))[0], u64::try_from(200 - tokens).unwrap());
}

// Conflicts.

/// Saves a plan, makes a concurrent change, and executes the plan.
fn raced(world: &World, manifest: &str, change: &str) -> (Ended, Vec<Value>) {
    world.file("m.json", manifest);
    world.done("apply m.json --dry-run --save-plan plan.json");
    world.done(change);
    let ended = world.call("apply m.json --plan plan.json --json");
    let steps = lines(&ended.out);
    (ended, steps)
}

#[test]
fn conflicting_change_of_a_key_is_reported_and_kept() {
    let world = World::new();
    world.file("m.json", &acme(&json!([{ "name": "a", "scopes": ["erp"] }, { "name": "b" }])));
    apply(&world, "m.json");
    let id = world.keys_by_name()[0]["id"].as_str().unwrap().to_owned();
    let wanted =
        acme(&json!([{ "name": "a", "scopes": ["reporting"] }, { "name": "b", "owner": "ann" }]));
    let (ended, steps) = raced(&world, &wanted, &format!("keys edit {id} --scope erp.read"));
    assert_eq!(ended.code, 1, "{}", ended.err);
    let outcomes: Vec<_> = steps.iter().filter_map(|step| step["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["unchanged", "conflict", "done"]);
    assert_eq!(world.key(&id)["scopes"], json!(["erp.read"]));
    // The control: without the saved versions the manifest wins.
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 1, 0, 2]);
    assert_eq!(world.key(&id)["scopes"], json!(["reporting"]));
}

#[test]
fn conflicting_change_of_a_tenant_ends_its_steps() {
    let world = World::new();
    world.done("tenants create acme --tier lite");
    let wanted = acme(&json!([{ "name": "a" }]));
    let (ended, steps) = raced(&world, &wanted, "tenants suspend acme --reason unpaid");
    assert_eq!(ended.code, 1);
    let outcomes: Vec<_> = steps.iter().filter_map(|step| step["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["conflict", "not_tried"]);
    assert_eq!(world.json("tenants show acme")["tier"], "lite");
    assert!(world.lines("keys list").is_empty());
    assert!(ended.err.contains("repeat the command"), "{}", ended.err);
}

#[test]
fn records_that_appeared_or_vanished_are_conflicts() {
    let key = acme(&json!([{ "name": "a", "owner": "ann" }]));
    for (before, change, message) in [
        (
            "tenants create other --tier large",
            "tenants create acme --tier large",
            "tenant was created",
        ),
        ("tenants create acme --tier large", "tenants delete acme --yes", "tenant was deleted"),
        (
            "tenants create acme --tier large",
            "keys issue --tenant acme --name a --token-file t",
            "key was created",
        ),
    ] {
        let world = World::new();
        world.done(before);
        let (ended, steps) = raced(&world, &key, change);
        assert_eq!(ended.code, 1, "{change}");
        let conflict = steps.iter().find(|step| step["outcome"] == "conflict").unwrap();
        assert!(conflict["message"].as_str().unwrap().contains(message), "{conflict}");
        let owners = world.lines("keys list").iter().filter(|key| key["owner"] == "ann").count();
        assert_eq!(owners, 0, "{change}");
    }
}

#[test]
fn runs_at_the_same_time_issue_each_key_once() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let names: Vec<_> = (0..8).map(|number| json!({ "name": format!("key {number}") })).collect();
    world.file("m.json", &acme(&json!(names)));
    let runs: Vec<Child> =
        (0..4).map(|_| world.program("apply m.json --json").spawn().unwrap()).collect();
    let ended: Vec<Ended> = runs.into_iter().map(|run| world.end(run)).collect();
    let tokens: usize = ended.iter().map(|run| run.out.matches("\"token\"").count()).sum();
    assert_eq!((world.lines("keys list").len(), tokens), (8, 8));
    for run in ended {
        let is_told = run.out.contains("\"conflict\"");
        assert!(matches!((run.code, is_told), (0, false) | (1, true)), "{} {}", run.code, run.out);
    }
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 0, 0, 9]);
}

#[test]
fn key_that_was_deleted_or_renamed_is_issued_again() {
    let world = World::new();
    world.file("m.json", &acme(&json!([{ "name": "a" }])));
    for (created, line) in [(2, "keys edit KEY --name b"), (1, "keys delete KEY --yes"), (1, "")] {
        assert_eq!(numbers(&apply(&world, "m.json"))[0], created, "{line}");
        let keys = world.lines("keys list");
        let key = keys.iter().find(|key| key["name"] == "a").unwrap();
        if !line.is_empty() {
            world.done(&line.replace("KEY", key["id"].as_str().unwrap()));
        }
    }
}

#[test]
fn plan_of_another_manifest_is_refused() {
    let world = World::new();
    world.file("m.json", &acme(&json!([])));
    world.done("apply m.json --dry-run --save-plan plan.json");
    world.file("m.json", &acme(&json!([{ "name": "a" }])));
    assert!(world.fails("apply m.json --plan plan.json", 1).contains("another manifest"));
    assert!(world.fails("apply m.json --plan policy.json", 2).contains("not a saved plan"));
}

// Deletion.

#[test]
fn nothing_is_deleted_without_prune_and_consent() {
    let world = World::new();
    world.file("m.json", &acme(&json!([{ "name": "a" }, { "name": "b" }])));
    apply(&world, "m.json");
    world.done("tenants create globex --tier lite");
    world.file("m.json", &acme(&json!([{ "name": "a" }])));
    let before = world.stored();
    assert_eq!(numbers(&apply(&world, "m.json")), [0, 0, 0, 2]);
    let refused = world.fails("apply m.json --prune", 2);
    assert!(refused.contains("acme/b") && refused.contains("--yes"), "{refused}");
    assert_eq!(world.stored(), before);

    assert_eq!(numbers(&apply(&world, "m.json --prune --yes")), [0, 0, 1, 2]);
    assert_eq!(world.lines("tenants list").len(), 2, "a tenant needs --prune-tenants");
    assert_eq!(numbers(&apply(&world, "m.json --prune-tenants --yes")), [0, 0, 1, 2]);
    assert_eq!(world.lines("tenants list").len(), 1);
}

#[test]
fn key_that_appeared_since_the_plan_is_not_pruned() {
    let world = World::new();
    world.file("m.json", &acme(&json!([])));
    apply(&world, "m.json");
    world.issue("--tenant acme --name old");
    world.done("apply m.json --prune --dry-run --save-plan plan.json");
    world.issue("--tenant acme --name new");
    let pruned = world.call("apply m.json --prune --yes --plan plan.json");
    assert_eq!(pruned.code, 1, "{}", pruned.err);
    let names: Vec<_> = world.lines("keys list").iter().map(|key| key["name"].clone()).collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn pruned_keys_make_room_for_others() {
    let world = World::new();
    let lite = |name: &str| {
        manifest(&json!([{ "id": "acme", "tier": "lite", "keys": [{ "name": name }] }]))
    };
    world.file("m.json", &lite("a"));
    apply(&world, "m.json");
    world.file("m.json", &lite("b"));
    assert!(world.fails("apply m.json", 1).contains("would hold 2 keys"));
    assert_eq!(numbers(&apply(&world, "m.json --prune --yes")), [1, 0, 1, 1]);
}
