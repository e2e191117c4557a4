//! Tokens, peppers and passwords: they are in no output but the one that shows a token.

use std::fs;

use crate::support::{PASSWORD, PEPPER, World};

fn world() -> (World, String, String) {
    let world = World::new();
    world.done("tenants create acme --tier large");
    let (id, token) = world.issue("--tenant acme --name ERP --scope erp --scope reporting");
    (world, id, token)
}

#[test]
#[should_panic(expected = "a secret is on stdout")]
fn secret_in_an_output_is_noticed() {
    let (world, id, _) = world();
    world.keep_secret(&id);
    world.done("keys list");
}

#[test]
fn leak_report_suspends_the_key_of_the_token() {
    let (world, id, token) = world();
    let reported = world.call_with("token report-leak --reason public-repository", &token);
    assert_eq!(reported.code, 0, "{}", reported.err);
    assert!(reported.out.contains("suspended") && reported.err.contains("--grace none"));
    assert_eq!(world.key(&id)["suspension"]["reason"], "public-repository");
    assert_eq!(world.call_with("token verify", &token).code, 1);
}

#[test]
fn quarantine_keeps_the_scopes_of_the_floor() {
    let (world, id, token) = world();
    let line = "token report-leak --reason chat --response quarantine --floor reporting";
    assert_eq!(world.call_with(line, &token).code, 0);
    assert_eq!(world.key(&id)["scopes"], serde_json::json!(["reporting"]));
    let report = "token report-leak --reason chat --response report-only";
    assert_eq!(world.call_with(report, &token).code, 0);
    assert_eq!(world.key(&id)["state"], "active");
}

#[test]
fn unknown_token_is_refused_and_not_repeated() {
    let (world, _, token) = world();
    let made_up = token.replace("mm_live_", "mm_live_0");
    world.keep_secret(&made_up);
    for line in ["token show", "token verify", "token report-leak --reason chat"] {
        let refused = world.call_with(line, &made_up);
        assert_eq!(refused.code, 1, "{line}");
        assert!(refused.err.contains("the token is not valid"), "{line}: {}", refused.err);
    }
    assert_eq!(world.call_with("token verify", "").code, 2);
}

#[test]
fn token_among_the_arguments_is_refused_and_hidden() {
    let (world, _, token) = world();
    for (line, is_repeated) in [
        (format!("token verify {token}"), true),
        (format!("token verify --token={token}"), false),
        (format!("keys show {token}"), true),
        (format!("keys show KEY={token}"), true),
        (format!("tenants suspend acme --reason chat --until {token}"), true),
        (format!("{PEPPER} keys list"), true),
    ] {
        let refused = world.call(&line);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert_eq!(refused.err.contains("[hidden]"), is_repeated, "{}", refused.err);
    }
}

#[test]
fn password_of_a_server_is_hidden() {
    let world = World::without_store();
    let url = format!("postgres://ann:{PASSWORD}@127.0.0.1:1/app");
    // Refused before it is used: other users can read the arguments of a process.
    let mut command = world.program("tenants list --store");
    command.arg(&url);
    let refused = world.run(command, "");
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("KEYCTL_STORE"), "{}", refused.err);
    // Nothing listens on this port.
    let mut command = world.program("tenants list");
    command.env("KEYCTL_STORE", url);
    let away = world.run(command, "");
    assert_eq!(away.code, 3, "{}", away.err);
    assert!(away.err.contains("the database"), "{}", away.err);
}

#[cfg(unix)]
#[test]
fn token_file_is_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;

    let (world, _, _) = world();
    let shown = world.done("keys issue --tenant acme --name File --token-file token");
    let token = fs::read_to_string(world.path("token")).unwrap();
    assert!(token.starts_with("mm_live_") && !shown.contains(token.trim()), "{shown}");
    world.keep_secret(token.trim());
    let mode = fs::metadata(world.path("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let before = world.stored();
    let refused = world.fails("keys issue --tenant acme --name Second --token-file token", 1);
    assert!(refused.contains("no key was issued"), "{refused}");
    assert_eq!(world.stored(), before);
    assert_eq!(fs::read_to_string(world.path("token")).unwrap(), token);
}

#[cfg(unix)]
#[test]
fn token_that_cannot_be_written_is_reported_with_its_key() {
    let (world, _, _) = world();
    let mut command = world.program("keys issue --tenant acme --name Lost");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.stdout(full);
    let lost = world.run(command, "");
    assert_eq!(lost.code, 1, "{}", lost.err);
    let keys = world.lines("keys list --tenant acme --containing Lost");
    let id = keys[0]["id"].as_str().unwrap();
    assert!(lost.err.contains(&format!("keyctl keys rotate {id}")), "{}", lost.err);
}
