//! The requests for children that are refused.

use http::Method;
use keyway::{
    GracePeriod, Guard, ImportedKey, KeyEdit, NewKey,
    children::NewChild,
    grant::Networks,
    http::{OwnKey, Reason},
    import::ForeignDigest,
    keyring::OwnChildError,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Endpoint, FRAMEWORKS, foreign, issue, policy, policy_without_children, refusal, request, seen,
    world,
};
use crate::support::{HOUR, World, block_on, overheard::RevealKnown as _};

fn a_minute() -> Value {
    json!({ "expires_in_seconds": 60 })
}

#[test]
fn body_that_cannot_be_taken_names_the_member() {
    let with = |member: &str, value: Value| {
        let mut body = a_minute();
        body[member] = value;
        body
    };
    let ids: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    let cases = [
        (400, "expires_in_seconds", json!({})),
        (400, "expires_in_seconds", json!({ "expires_in_seconds": "60" })),
        (400, "expires_in_seconds", json!({ "expires_in_seconds": -1 })),
        (400, "expires_in_seconds", json!({ "expires_in_seconds": 1.5 })),
        (400, "expires_in_seconds", json!({ "expires_in_seconds": null })),
        (400, "", with("lifetime", json!(60))),
        (400, "", json!([60])),
        (400, "scopes", with("scopes", Value::Null)),
        (400, "scopes", with("scopes", json!("reporting"))),
        (400, "resources", with("resources", Value::Null)),
        (400, "resources", with("resources", json!("all"))),
        (400, "networks", with("networks", Value::Null)),
        (400, "audience", with("audience", Value::Null)),
        (400, "nonce", with("nonce", json!(1))),
        (422, "expires_at", with("expires_at", json!("2026-01-01T01:00:00Z"))),
        (422, "expires_at", json!({ "expires_at": "tomorrow" })),
        (422, "not_before", with("not_before", json!("2026-01-01T00:01:00Z"))),
        (422, "scopes", with("scopes", json!([]))),
        (422, "scopes", with("scopes", json!(["No scope"]))),
        (422, "resources", with("resources", json!({}))),
        (422, "resources", with("resources", json!({ "machine": [] }))),
        (422, "resources", with("resources", json!({ "machine": [""] }))),
        (422, "resources", with("resources", json!({ "machine": ids }))),
        (422, "resources", with("resources", json!({ "Machine": "all" }))),
        (422, "networks", with("networks", json!([]))),
        (422, "networks", with("networks", json!(["office"]))),
        (422, "audience", with("audience", json!([]))),
        (422, "audience", with("audience", json!(["GET /events"]))),
        (422, "audience", with("audience", json!(["host:"]))),
        (422, "nonce", with("nonce", json!(""))),
        (422, "nonce", with("nonce", json!("n".repeat(33)))),
        (422, "audience", with("audience", json!([1, 2, 3, 4].map(|n| format!("host:{n:0>200}"))))),
    ];
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let endpoint = Endpoint::of(&world);
    for framework in FRAMEWORKS {
        for (status, field, body) in &cases {
            let answer = endpoint.mint(framework, &token, body);
            let kind = if *status == 400 { "unreadable-body" } else { "invalid-field" };
            assert_eq!(answer.refusal(), refusal(*status, kind), "{body}");
            let named = answer.json()["field"].as_str().unwrap_or_default().to_owned();
            assert_eq!(named, *field, "{body}");
            assert_eq!(answer.field("cache-control"), Some("no-store"));
        }
        // The control.
        endpoint.mint(framework, &token, &a_minute()).child();
    }
}

#[test]
fn body_must_be_one_json_object_of_bounded_size() {
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let endpoint = Endpoint::of(&world);
    let key = ("authorization", format!("Bearer {token}"));
    let kind = |kind: &str| ("content-type", kind.to_owned());
    let padded = |len: usize| format!("{:len$}", a_minute().to_string());
    let max = OwnKey::MAX_CHILD_BODY_LEN;
    for framework in FRAMEWORKS {
        let send = |kinds: &[&str], body: &str| {
            let kinds = kinds.iter().map(|one| kind(one));
            let fields: Vec<_> = [key.clone()].into_iter().chain(kinds).collect();
            endpoint.send(framework, Method::POST, "/key/children", &fields, body)
        };
        for kinds in [&["application/json"][..], &["Application/JSON; charset=utf-8"]] {
            send(kinds, &padded(max)).child();
        }
        let too_large = send(&["application/json"], &padded(max + 1));
        assert_eq!(too_large.refusal(), refusal(413, "body-too-large"));
        let json = "application/json";
        for kinds in [&[][..], &["text/plain"], &["application/jsonl"], &[json, json]] {
            let answer = send(kinds, &padded(max));
            assert_eq!(answer.refusal(), refusal(415, "unsupported-media-type"), "{kinds:?}");
        }
        for body in ["", "{", "[]", "null", "{}{}", r#"{"nonce":"a","nonce":"b"}"#] {
            let answer = send(&[json], body);
            assert_eq!(answer.refusal(), refusal(400, "unreadable-body"), "{body}");
        }
    }
}

#[test]
fn key_that_may_have_no_children_is_told_why() {
    const OPAQUE: &str = "q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";
    for framework in FRAMEWORKS {
        let world = world();
        let endpoint = Endpoint::of(&world);
        let refused = |token: &str| {
            world.audit.take_kinds();
            let answer = endpoint.mint(framework, token, &a_minute());
            assert_eq!(answer.refusal(), refusal(403, "children-not-allowed"));
            let kinds = world.audit.take_kinds();
            let is_told = kinds[0].contains("change: MintChild, refusal: NotAllowed");
            assert!(kinds.len() == 1 && is_told, "{kinds:?}");
            answer.json()["reason"].as_str().unwrap().to_owned()
        };
        let (keys, off) = issue(&world, "acme", request().children(false));
        assert_eq!(refused(&off), "off");

        let digest = ForeignDigest::from_bytes(&Sha256::digest(OPAQUE)).unwrap();
        let imported = ImportedKey::new(&foreign(), digest, request()).unwrap();
        let imported = block_on(keys.import(imported)).unwrap().id();
        assert_eq!(refused(OPAQUE), "after_rotation");
        let grace = GracePeriod::For(HOUR);
        let rotated = block_on(keys.rotate(imported, 1, grace)).unwrap().token.reveal_known();
        assert_eq!(refused(OPAQUE), "previous_secret");
        // The control.
        endpoint.mint(framework, &rotated, &a_minute()).child();

        // Another node, whose policy does not allow children yet, issues and rotates keys.
        let older = world.another_node_with(policy_without_children(), |builder| builder);
        let (keys, early) = issue(&older, "globex", request());
        let id = block_on(world.keyring.verify(&early)).unwrap().key_id();
        assert_eq!(refused(&early), "after_rotation");
        let second = block_on(keys.rotate(id, 1, grace)).unwrap().token.reveal_known();
        assert_eq!(refused(&second), "after_rotation");
        let keys = world.keyring.tenant("globex".parse().unwrap());
        let third = block_on(keys.rotate(id, 2, grace)).unwrap().token.reveal_known();
        assert_eq!(refused(&second), "previous_secret");
        endpoint.mint(framework, &third, &a_minute()).child();
    }
}

#[test]
fn policy_of_now_decides_about_children_of_the_past() {
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let policy = policy_without_children();
    let later = world.another_node_with(policy, |builder| builder);
    let request = NewChild::lasting(HOUR);
    let error = block_on(later.keyring.mint_own_child(&token, &request, None)).unwrap_err();
    assert!(matches!(error, OwnChildError::Mint(_)), "{error:?}");
    // Only the holder of a key learns it.
    let error = block_on(later.keyring.mint_own_child("made_up", &request, None)).unwrap_err();
    assert!(matches!(error, OwnChildError::Verify(_)), "{error:?}");
    assert!(block_on(world.keyring.mint_own_child(&token, &request, None)).is_ok());
}

#[test]
fn child_is_no_credential_of_the_endpoint() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", request());
        let id = block_on(world.keyring.verify(&token)).unwrap().key_id().to_string();
        let endpoint = Endpoint::of(&world);
        let child = endpoint.mint(framework, &token, &a_minute()).child();
        let last = if child.ends_with('A') { "B" } else { "A" };
        let made_up = format!("{}{last}", &child[..child.len() - 1]);
        let ask = |credential: &str| {
            [
                endpoint.ask(framework, Method::GET, credential),
                endpoint.ask(framework, Method::DELETE, credential),
                endpoint.ask(framework, Method::POST, credential),
                endpoint.mint(framework, credential, &a_minute()),
            ]
        };
        for (credential, expected, kind) in [
            (&child, refusal(403, "other-audience"), "OtherAudience"),
            (&made_up, refusal(401, "invalid-token"), "Rejected("),
        ] {
            world.audit.take_kinds();
            let before = world.audit.events().len();
            let writes = world.store.writes();
            for answer in ask(credential) {
                assert_eq!(answer.refusal(), expected);
                // It is the response of a guard that accepts no children.
                let value = format!("Bearer {credential}");
                let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
                let guards = block_on(endpoint.guard.admit(fields)).unwrap_err();
                let fields = guards.headers().map(|(name, value)| (name, value.as_bytes()));
                assert_eq!(answer, seen(guards.status(), fields, guards.body().as_bytes()));
            }
            let events = world.audit.events().split_off(before);
            // Each request, and each question to the guard.
            assert_eq!(events.len(), 8);
            for event in events {
                assert!(event.kind.starts_with(kind), "{event:?}");
                assert_eq!(event.key.as_deref(), Some(&*id));
                assert_eq!(event.child, Some(crate::children_audit::child_id(credential)));
            }
            assert_eq!(world.store.writes(), writes);
        }
        // A child that has ended, and one whose prefix was never given out.
        world.clock.advance(HOUR);
        for answer in ask(&child) {
            assert_eq!(answer.refusal(), refusal(401, "inactive-key"));
        }
        let tag = child.find('~').unwrap() - 1;
        let other = if child.as_bytes()[tag] == b'A' { "B" } else { "A" };
        let foreign = [&child[..tag], other, &child[tag + 1..]].concat();
        for answer in ask(&foreign) {
            assert_eq!(answer.refusal(), refusal(401, "invalid-token"));
        }
        // The control: the key itself does all of it, and ends.
        let [read, deleted, ..] = ask(&token);
        assert_eq!((read.status, deleted.status), (200, 204));
    }
}

#[test]
fn key_must_be_active_and_inside_its_networks() {
    for framework in FRAMEWORKS {
        let world = world();
        let endpoint = Endpoint::of(&world);
        let (keys, token) = issue(&world, "acme", request());
        let id = block_on(world.keyring.verify(&token)).unwrap().key_id();
        let event = || {
            let events = world.audit.events();
            let event = events.last().unwrap().clone();
            assert!(event.kind.contains("MintChild"), "{event:?}");
            assert_eq!(event.actor, format!("key {}", event.key.as_deref().unwrap()));
            assert_eq!(event.tenant.as_deref(), Some("acme"));
        };
        block_on(keys.disable(id)).unwrap();
        let answer = endpoint.mint(framework, &token, &a_minute());
        assert_eq!(answer.refusal(), refusal(401, "inactive-key"));
        event();
        let edit = KeyEdit::new().enabled(true).networks(Networks::only(["192.0.2.0/24"]).unwrap());
        let edited = block_on(keys.edit(id, 2, edit)).unwrap();
        let answer = endpoint.mint(framework, &token, &a_minute());
        assert_eq!(answer.refusal(), refusal(403, "other-network"));
        event();
        let edit = KeyEdit::new().networks(Networks::Any);
        block_on(keys.edit(id, edited.version(), edit)).unwrap();
        endpoint.mint(framework, &token, &a_minute()).child();
        // A refusal that depends on the body is an event too.
        endpoint.mint(framework, &token, &json!({ "expires_in_seconds": 0 }));
        event();
    }
}

#[test]
fn credential_is_checked_before_the_body() {
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let endpoint = Endpoint::of(&world);
    for framework in FRAMEWORKS {
        for credential in ["made_up", &token[..20]] {
            let answer = endpoint.mint(framework, credential, &json!([]));
            assert_eq!(answer.refusal(), refusal(401, "invalid-token"));
            assert!(answer.field("www-authenticate").is_some());
        }
        let none = endpoint.send(framework, Method::POST, "/key/children", &[], "{");
        assert_eq!(none.refusal(), refusal(401, "missing-credential"));
        world.store.set_down(true);
        let answer = endpoint.mint(framework, &token, &a_minute());
        assert_eq!(answer.refusal(), refusal(503, "unavailable"));
        assert_eq!(answer.field("retry-after"), Some("1"));
        world.store.set_down(false);
        assert_eq!(endpoint.mint(framework, &token, &json!([])).status, 400);
    }
}

#[test]
fn every_refusal_of_a_child_has_its_reason() {
    let world = World::with(policy(), |builder| builder);
    let endpoint = Endpoint::of(&world);
    let mint = |token: &str, body: &str| {
        let value = format!("Bearer {token}");
        let fields: &[(&str, &[u8])] =
            &[("authorization", value.as_bytes()), ("content-type", b"application/json")];
        let refused = block_on(endpoint.handle.mint_child(fields, None, body.as_bytes()));
        format!("{:?}", refused.unwrap_err().refusal().unwrap().reason())
    };
    let (_, token) = issue(&world, "acme", request());
    let (_, off) = issue(&world, "globex", NewKey::named("off"));
    assert_eq!(mint(&off, "{}"), "Child(Switch(Off))");
    assert_eq!(mint(&token, r#"{"expires_in_seconds":0}"#), "Child(Lifetime)");
    assert_eq!(mint(&token, "{}"), "InvalidBody");
    assert_eq!(mint("made_up", "{}"), "Verify(Rejected)");
    let too_large = endpoint.handle.child_body_too_large();
    assert!(matches!(too_large.refusal().unwrap().reason(), Reason::InvalidBody));
    // The control: a guard's refusal has another one.
    let guard = Guard::new(&world.keyring);
    let missing = block_on(guard.admit(&[("accept", &b"*/*"[..])][..])).unwrap_err();
    assert!(matches!(missing.refusal().unwrap().reason(), Reason::Verify(_)));
}
