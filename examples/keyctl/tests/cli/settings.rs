//! Settings, exit codes and the form of errors.

use serde_json::Value;

use crate::support::World;

#[test]
fn no_arguments_print_help() {
    let world = World::without_store();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyctl"));
    let help = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("keyctl demo"));
    assert!(world.done("tenants --help").contains("set-exceptions"));
}

#[test]
fn wrong_command_is_a_usage_error() {
    let world = World::new();
    for line in [
        "tenants",
        "tenants lst",
        "keys list --colour",
        "keys show short",
        "purge --expired-for soon",
    ] {
        world.fails(line, 2);
    }
}

#[test]
fn missing_setting_is_named() {
    let world = World::without_store();
    for (variable, named) in [
        ("KEYCTL_POLICY", "--policy"),
        ("KEYCTL_STORE", "--store"),
        ("KEYCTL_PEPPER_FILE", "KEYCTL_PEPPER"),
    ] {
        let mut command = world.program("tenants list");
        command.env_remove(variable);
        let failed = world.run(command, "");
        assert_eq!(failed.code, 2, "{variable}");
        assert!(failed.err.contains(named), "{variable}: {}", failed.err);
    }
}

#[test]
fn store_that_does_not_exist_is_not_created() {
    let world = World::without_store();
    let missing = world.fails("tenants list", 3);
    assert!(missing.contains("keyctl init"), "{missing}");
    assert!(!world.path("keys.db").exists());
    world.done("init");
    world.done("tenants list");
}

#[test]
fn store_that_cannot_be_opened_is_unavailable() {
    let world = World::without_store();
    world.file("keys.db", "this is no database, but a text that is long enough to be one");
    assert!(world.fails("tenants list", 3).contains("keys.db"));
}

#[test]
fn store_of_another_environment_or_pepper_is_refused() {
    let world = World::new();
    assert!(world.fails("tenants list --environment test", 1).contains("environment"));
    world.file("pepper", "YW5vdGhlciBwZXBwZXIgb2YgdGhlIHRlc3RzIG9mIGtleWN0bCEhIQ==");
    assert!(world.fails("tenants list", 1).contains("pepper"));
}

#[test]
fn error_as_json_has_message_remedy_and_code() {
    let world = World::new();
    let failed = world.call("tenants show nobody --json");
    assert!(failed.out.is_empty());
    let error: Value = serde_json::from_str(&failed.err).unwrap();
    assert_eq!(error["code"], 1);
    assert_eq!(error["error"], "there is no tenant `nobody`");
    assert!(error["remedy"].as_str().unwrap().contains("tenants list"));
}

#[test]
fn changes_are_in_the_audit_table_with_their_actor() {
    let world = World::new();
    world.done("tenants create before --tier lite");
    world.done("tenants create acme --tier lite --audit --actor ann");
    let rows = world.database();
    let mut rows = rows
        .prepare("SELECT kind, CAST(actor AS TEXT), CAST(tenant AS TEXT) FROM keyway_audit")
        .unwrap();
    let text = |row: &rusqlite::Row<'_>| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?]);
    let events: Vec<_> = rows.query_map([], text).unwrap().map(Result::unwrap).collect();
    assert_eq!(events, [["tenant_created", "ann", "acme"].map(String::from)]);
}

#[test]
fn row_that_was_changed_by_hand_is_named_and_fails() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let (id, _) = world.issue("--tenant acme --name ERP");
    world.issue("--tenant acme --name Other");
    let sqlite = world.database();
    let changed = sqlite.execute(
        "UPDATE keyway_keys SET record = CAST(replace(CAST(record AS TEXT), 'ERP', 'EVL') AS BLOB) WHERE id = CAST(?1 AS BLOB)",
        [&id],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(sqlite);
    let listed = world.call("keys list --json");
    assert_eq!(listed.code, 1);
    assert_eq!(listed.out.lines().count(), 1, "the other key is still listed");
    assert!(listed.err.contains(&id), "{}", listed.err);
    world.fails(&format!("keys delete {id} --yes"), 1);
    world.done(&format!("keys delete {id} --tenant acme --yes"));
    world.done("keys list");
}

/// Another process holds the lock of the database for longer than the store waits.
#[test]
fn store_that_does_not_reply_is_unavailable() {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let lock = world.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let away = world.call("tenants suspend acme --reason unpaid --json");
    assert_eq!(away.code, 3, "{}", away.err);
    let error: Value = serde_json::from_str(&away.err).unwrap();
    assert_eq!(error["code"], 3);
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.json("tenants show acme")["suspension"], Value::Null);
}
