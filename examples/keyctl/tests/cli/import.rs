//! Import from CSV: dry run, report by line, repetition and quotas.

use serde_json::{Value, json};

use crate::support::World;

/// SHA-256 of `old_11111111` and of `old_22222222`.
const FIRST: &str = "6b9ed9aad8383dd66f98add756273f7817c8ea3d49cfe2f042cee5d239c491a1";
const SECOND: &str = "6a34df15b6f2dd6f7da80b1506bae98c7e0d638645139639b09522f635a6ecdf";
const FORMAT: &str = "--prefix old_ --lengths 12";

fn world(rows: &str) -> World {
    let world = World::new();
    world.done("tenants create acme --tier large");
    csv(&world, rows);
    world
}

fn csv(world: &World, rows: &str) {
    let rows = rows.replace("FIRST", FIRST).replace("SECOND", SECOND);
    world.file(
        "keys.csv",
        &format!("tenant,name,digest,scopes,owner,expires_at,enabled,last_used,masked\n{rows}"),
    );
    world.keep_secret(FIRST);
    world.keep_secret(SECOND);
}

fn import(arguments: &str) -> String {
    format!("import keys.csv {FORMAT}{arguments}")
}

#[test]
fn import_keeps_the_properties_of_each_line() {
    let world = world(
        "acme,\"ERP, nightly\",FIRST,erp reporting,ann,2999-01-01T00:00:00Z,true,2024-05-06T07:08:09Z,…c4d5\n\
         acme,Old,SECOND,,,,false,,\n",
    );
    let done = world.json(&import(""));
    assert_eq!((&done["imported"], &done["already_imported"]), (&json!(2), &json!(0)));
    assert_eq!(world.lines("keys list --imported").len(), 2);
    let keys = world.keys_by_name();
    assert_eq!(
        (&keys[0]["name"], &keys[0]["scopes"]),
        (&json!("ERP, nightly"), &json!(["erp", "reporting"]))
    );
    assert_eq!((&keys[0]["owner"], &keys[0]["masked"]), (&json!("ann"), &json!("…c4d5")));
    assert_eq!(keys[0]["last_used"], "2024-05-06T07:08:00Z");
    assert_eq!((&keys[1]["state"], &keys[1]["expires_at"]), (&json!("disabled"), &Value::Null));
}

#[test]
fn dry_run_changes_nothing() {
    let world = world("acme,ERP,FIRST,,,,,,\nglobex,Old,SECOND,,,,,,\n");
    let before = world.stored();
    let dry = world.json(&import(" --create-tenants large --dry-run"));
    assert_eq!((&dry["to_import"], &dry["to_create"]), (&json!(2), &json!(["globex"])));
    assert_eq!(world.stored(), before);
}

#[test]
fn import_repeated_changes_nothing() {
    let world = world("acme,ERP,FIRST,,,,,,\nglobex,Old,SECOND,,,,,,\n");
    let line = import(" --create-tenants large");
    let first = world.call(&format!("{line} --progress always --json"));
    let counts: Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!((&counts["imported"], &counts["tenants_created"]), (&json!(2), &json!(1)));
    assert!(first.err.ends_with("2 of 2 lines\n"), "{}", first.err);
    let before = world.stored();
    let again = world.json(&line);
    assert_eq!((&again["imported"], &again["already_imported"]), (&json!(0), &json!(2)));
    assert_eq!(world.stored(), before);
}

#[test]
fn each_bad_line_is_named_and_nothing_is_imported() {
    let world = world(
        "acme,Good,FIRST,,,,,,\n\
         acme,Short\n\
         acme,Digest,abcdef,,,,,,\n\
         \n\
         nobody,Tenant,SECOND,,,,,,\n\
         acme,Scope,SECOND,gold,,,,,\n\
         acme,Time,SECOND,,,soon,,,\n\
         acme,Past,SECOND,,,1999-01-01T00:00:00Z,,,\n\
         acme,Enabled,SECOND,,,,yes,,\n\
         acme,Used,SECOND,,,,,2999-01-01T00:00:00Z,\n\
         acme,Twice,FIRST,,,,,,\n\
         ,Nobody,SECOND,,,,,,\n\
         acme,,SECOND,,,,,,\n",
    );
    let before = world.stored();
    let refused = world.fails(&import(""), 1);
    for (line, what) in [
        (3, "the line has 2 fields"),
        (4, "digest"),
        (6, "no tenant `nobody`"),
        (7, "`gold`"),
        (8, "expires_at"),
        (9, "not in the future"),
        (10, "enabled"),
        (11, "in the future"),
        (12, "line 2 has the same"),
        (13, "tenant: the field is empty"),
        (14, "name: the field is empty"),
    ] {
        let prefix = format!("keys.csv:{line}: ");
        let found = refused.lines().find(|problem| problem.starts_with(&prefix));
        assert!(found.is_some_and(|problem| problem.contains(what)), "{line} {what}: {refused}");
    }
    assert!(refused.contains("11 problems"), "{refused}");
    assert_eq!(world.stored(), before);
}

#[test]
fn problems_as_json_have_file_and_line() {
    let world = world("acme,Digest,abcdef,,,,,,\n");
    let refused = world.call(&format!("{} --json", import("")));
    let problem: Value = serde_json::from_str(refused.err.lines().next().unwrap()).unwrap();
    assert_eq!(
        (refused.code, &problem["line"], &problem["file"]),
        (1, &json!(2), &json!("keys.csv"))
    );
}

#[test]
fn file_without_the_columns_is_refused() {
    let world = World::new();
    world.keep_secret(FIRST);
    for (text, what) in [
        (format!("acme,ERP,{FIRST}\n"), "the column `tenant` is missing"),
        (format!("tenant,name,digest,{FIRST}\n"), "column 4 has an unknown name"),
        ("tenant,name,digest,name\n".into(), "`name` occurs twice"),
        (String::new(), "the column `tenant` is missing"),
    ] {
        world.file("keys.csv", &text);
        let refused = world.fails(&import(""), 1);
        assert!(refused.contains(what) && refused.contains("line 1"), "{refused}");
    }
    assert!(world.fails("import none.csv", 2).contains("none.csv"));
}

#[test]
fn quota_is_checked_for_all_lines_together() {
    let world = world("acme,ERP,FIRST,,,,,,\nacme,Old,SECOND,,,,,,\n");
    world.done("tenants set-tier acme lite");
    let refused = world.fails(&import(""), 1);
    assert!(refused.contains("keys.csv:3: tier `lite` allows 1 keys"), "{refused}");
    assert!(world.lines("keys list").is_empty());
    assert_eq!(world.json(&import(" --over-quota"))["imported"], 2);
}

#[test]
fn digest_of_another_tenant_is_refused() {
    let world = world("acme,ERP,FIRST,,,,,,\n");
    world.done(&import(""));
    world.done("tenants create globex --tier large");
    csv(&world, "globex,ERP,FIRST,,,,,,\n");
    assert!(world.fails(&import(""), 1).contains("imported before, for tenant `acme`"));
}
