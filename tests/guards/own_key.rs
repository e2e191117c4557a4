//! The endpoint where the holder of a key reads and deletes it.

use crate::support::{HOUR, Held, World, block_on, gives_away};
use axum::body::Body;
use http::{Method, Request};
use keyway::{
    GracePeriod, Guard, KeyEdit, VerifyError,
    http::{OwnKey, Response, Routes, axum::own_key},
    record::Suspension,
};
use serde_json::Value;
use tower::ServiceExt;

type Headers<'a> = &'a [(&'static str, &'a [u8])];

/// Both methods, without a framework and through axum. Both ways must agree.
struct Endpoint {
    own_key: OwnKey,
    router: axum::Router,
}

impl Endpoint {
    fn of(world: &World, guard: &Guard) -> Self {
        let own_key = OwnKey::new(&world.keyring, guard);
        let routes = Routes::new(guard.clone()).route("/key", self::own_key(&own_key));
        let table = routes.table().unwrap();
        for method in ["GET", "DELETE"] {
            let access = table.access(method, "/key").unwrap();
            assert_eq!(access.to_string(), "(the key itself)");
        }
        Self { router: routes.build().unwrap(), own_key }
    }

    fn get(&self, fields: Headers<'_>) -> Response {
        let answer = block_on(self.own_key.describe(fields));
        assert_eq!(self.through_axum(Method::GET, fields), shape(&answer));
        answer
    }

    /// Deletes only without a framework, because a key cannot be deleted twice.
    fn delete(&self, fields: Headers<'_>) -> Response {
        block_on(self.own_key.revoke(fields))
    }

    fn through_axum(&self, method: Method, fields: Headers<'_>) -> Shape {
        let request = fields
            .iter()
            .fold(Request::builder().method(method).uri("/key"), |request, (name, value)| {
                request.header(*name, *value)
            });
        let request = request.body(Body::empty()).unwrap();
        let response = block_on(self.router.clone().oneshot(request)).unwrap();
        let (head, body) = response.into_parts();
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let mut fields: Vec<_> = head.headers.iter().map(field).collect();
        fields.retain(|(name, _)| name != "content-length");
        let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        (head.status.as_u16(), fields, String::from_utf8(body.to_vec()).unwrap())
    }
}

type Shape = (u16, Vec<(String, String)>, String);

fn shape(answer: &Response) -> Shape {
    let fields = answer.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (answer.status(), fields.collect(), answer.body().to_owned())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Returns the response of the guard to the request, or `None` if it admits the request.
fn guards_answer(guard: &Guard, fields: Headers<'_>) -> Option<Response> {
    block_on(guard.admit(fields)).err()
}

#[test]
fn a_holder_reads_its_own_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let endpoint = Endpoint::of(&world, &Guard::new(&world.keyring));
    let value = bearer(&held.token);
    let answer = endpoint.get(&[("authorization", value.as_bytes())]);
    assert_eq!(answer.status(), 200);
    let fields: Vec<_> = answer.headers().collect();
    assert_eq!(fields, [("content-type", "application/json"), ("cache-control", "no-store")]);
    let described: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(described["state"], "active");
    assert_eq!(described["key"]["id"], held.key.id().as_str());
    assert_eq!(described["key"]["masked"], held.key.masked());
    // A member that is added to a description must be checked here too.
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&described), ["child_prefix", "effective_expires_at", "key", "state"]);
    assert!(described["child_prefix"].is_null());
    assert_eq!(
        members(&described["key"]),
        [
            "children",
            "created_at",
            "created_by",
            "enabled",
            "expires_at",
            "id",
            "imported",
            "labels",
            "last_used",
            "masked",
            "name",
            "networks",
            "not_before",
            "owner",
            "resources",
            "rotated_at",
            "scopes",
            "suspension",
            "tenant",
            "version",
        ]
    );
}

/// Checks that no 8 characters of a token's secret half are in a response.
#[test]
fn no_response_holds_any_part_of_the_secret() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let endpoint = Endpoint::of(&world, &Guard::new(&world.keyring));
    let cut = bearer(&held.token[..held.token.len() - 1]);
    let value = bearer(&held.token);
    let mut texts = Vec::new();
    for value in [&cut, &value] {
        let fields: Headers<'_> = &[("authorization", value.as_bytes())];
        texts.push(format!("{:?}", endpoint.get(fields)));
        world.store.set_down(true);
        texts.push(format!("{:?}", endpoint.get(fields)));
        texts.push(format!("{:?}", endpoint.delete(fields)));
        world.store.set_down(false);
        texts.push(format!("{:?}", endpoint.delete(fields)));
    }
    texts.push(format!("{:?}", endpoint.own_key));
    for text in texts {
        assert!(!gives_away(&text, &held.token), "{text}");
    }
    assert!(gives_away(&format!("{:?}", &value[..46]), &held.token));
}

/// Returns a key in every state, and the guard's name for the state.
fn in_every_state(world: &World) -> Vec<(&'static str, Held)> {
    let ban = || Suspension::permanent("fraud").unwrap();
    let held = |id| world.tenant_with_key(id);
    let edit = |held: &Held, edit| drop(block_on(held.keys.edit(held.key.id(), 1, edit)).unwrap());
    let active = held("active");
    let disabled = held("disabled");
    block_on(disabled.keys.disable(disabled.key.id())).unwrap();
    let suspended = held("suspended");
    block_on(world.keyring.suspend_key(suspended.key.id(), ban())).unwrap();
    let banned = held("banned");
    block_on(world.keyring.suspend_tenant(banned.keys.id(), ban())).unwrap();
    let early = held("early");
    edit(&early, KeyEdit::new().not_before(world.after(2 * HOUR)));
    let expired = held("expired");
    edit(&expired, KeyEdit::new().expires_at(world.after(HOUR)));
    world.clock.advance(HOUR);
    vec![
        ("active", active),
        ("disabled", disabled),
        ("suspended", suspended),
        ("tenant_suspended", banned),
        ("not_yet_valid", early),
        ("expired", expired),
    ]
}

#[test]
fn holder_reads_and_deletes_its_key_in_any_state() {
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let endpoint = Endpoint::of(&world, &guard);
    for (state, held) in in_every_state(&world) {
        let value = bearer(&held.token);
        let fields: Headers<'_> = &[("authorization", value.as_bytes())];
        let answer = endpoint.get(fields);
        assert_eq!(answer.status(), 200, "{state}");
        let described: Value = serde_json::from_str(answer.body()).unwrap();
        let told = described["state"].as_str().unwrap();
        assert!(told.starts_with(state), "{told} and not {state}");
        world.audit.take_kinds();
        assert_eq!(
            shape(&endpoint.delete(fields)),
            (204, vec![("cache-control".into(), "no-store".into())], String::new())
        );
        assert_eq!(world.audit.take_kinds(), ["KeyRevoked"]);
        let verified = block_on(world.keyring.verify(&held.token));
        assert!(matches!(verified, Err(VerifyError::Rejected)), "{verified:?}");
        let gone = guards_answer(&guard, fields).unwrap();
        assert_eq!(gone.status(), 401);
        assert_eq!(endpoint.get(fields), gone);
        assert_eq!(endpoint.delete(fields), gone);
    }
}

#[test]
fn axum_deletes_too() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let endpoint = Endpoint::of(&world, &Guard::new(&world.keyring));
    let value = bearer(&held.token);
    let fields: Headers<'_> = &[("authorization", value.as_bytes())];
    assert_eq!(endpoint.through_axum(Method::DELETE, fields).0, 204);
    let again = shape(&endpoint.delete(fields));
    assert_eq!(endpoint.through_axum(Method::DELETE, fields), again);
    assert_eq!(again.0, 401);
    assert_eq!(endpoint.through_axum(Method::POST, fields).0, 405);
}

#[test]
fn invalid_key_gets_the_response_of_a_guard() {
    let world = World::new();
    let guard = Guard::new(&world.keyring).key_header("x-api-key").unwrap().realm("keys").unwrap();
    let endpoint = Endpoint::of(&world, &guard);
    let held = world.tenant_with_key("acme");
    let gone = world.tenant_with_key("globex");
    block_on(gone.keys.delete(gone.key.id())).unwrap();
    let rotated = world.tenant_with_key("initech");
    drop(block_on(rotated.keys.rotate(rotated.key.id(), 1, GracePeriod::None)).unwrap());
    let last = if held.token.ends_with('A') { "B" } else { "A" };
    let own = bearer(&held.token);
    let [forged, cut, deleted, superseded, foreign] = [
        &format!("{}{last}", &held.token[..held.token.len() - 1]),
        &held.token[..20],
        &gone.token,
        &rotated.token,
        "ghp_0123456789",
    ]
    .map(bearer);
    let several = format!("{own}, {own}");
    let cases: [(u16, Headers<'_>); 13] = [
        (401, &[]),
        (401, &[("authorization", b"Basic YWxhZGRpbjpvcGVuc2VzYW1l")]),
        (401, &[("authorization", forged.as_bytes())]),
        (401, &[("authorization", cut.as_bytes())]),
        (401, &[("authorization", deleted.as_bytes())]),
        (401, &[("authorization", superseded.as_bytes())]),
        (401, &[("authorization", foreign.as_bytes())]),
        (401, &[("x-api-key", b"made_up")]),
        (400, &[("authorization", b"Bearer")]),
        (400, &[("authorization", several.as_bytes())]),
        (400, &[("authorization", own.as_bytes()), ("authorization", own.as_bytes())]),
        (400, &[("authorization", own.as_bytes()), ("x-api-key", held.token.as_bytes())]),
        (400, &[("x-api-key", held.token.as_bytes()), ("x-api-key", held.token.as_bytes())]),
    ];
    for (number, (status, fields)) in cases.into_iter().enumerate() {
        let expected = guards_answer(&guard, fields).unwrap();
        assert_eq!(expected.status(), status, "case {number}");
        assert_eq!(endpoint.get(fields), expected, "case {number}");
        assert_eq!(endpoint.delete(fields), expected, "case {number}");
        let challenge = expected.headers().find(|(name, _)| *name == "www-authenticate");
        assert!(challenge.unwrap().1.starts_with("Bearer realm=\"keys\""), "case {number}");
    }
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    // All credentials that are not the key of anyone get the same body.
    let bodies = [&forged, &cut, &deleted, &superseded, &foreign]
        .map(|value| endpoint.delete(&[("authorization", value.as_bytes())]));
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    // The same key in its own header.
    assert_eq!(endpoint.delete(&[("x-api-key", held.token.as_bytes())]).status(), 204);
}

#[test]
fn a_requirement_of_the_guard_does_not_matter() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring).require(["manager"]).unwrap();
    let endpoint = Endpoint::of(&world, &guard);
    let value = bearer(&held.token);
    let fields: Headers<'_> = &[("authorization", value.as_bytes())];
    assert_eq!(guards_answer(&guard, fields).unwrap().status(), 403);
    assert_eq!(endpoint.get(fields).status(), 200);
    assert_eq!(endpoint.delete(fields).status(), 204);
}

#[test]
fn outage_says_nothing_about_the_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let endpoint = Endpoint::of(&world, &Guard::new(&world.keyring));
    let value = bearer(&held.token);
    let fields: Headers<'_> = &[("authorization", value.as_bytes())];
    world.store.set_down(true);
    for answer in [endpoint.get(fields), endpoint.delete(fields)] {
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().any(|(name, _)| name == "retry-after"));
    }
    world.store.set_down(false);
    world.store.fail("delete_key");
    assert_eq!(endpoint.delete(fields).status(), 503);
    world.store.heal("delete_key");
    assert_eq!(endpoint.delete(fields).status(), 204);
}

#[test]
fn tampered_record_gets_the_response_for_invalid_keys() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring);
    let endpoint = Endpoint::of(&world, &guard);
    let value = bearer(&held.token);
    let fields: Headers<'_> = &[("authorization", value.as_bytes())];
    world.store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "first", "other")));
    let made_up = guards_answer(&guard, &[("authorization", b"Bearer made_up")]).unwrap();
    world.audit.take_kinds();
    assert_eq!(endpoint.get(fields), made_up);
    assert_eq!(endpoint.delete(fields), made_up);
    assert_eq!(world.audit.take_kinds(), ["Tampered"; 3]);
    world.store.rewrite_nothing();
    assert_eq!(endpoint.get(fields).status(), 200);
}

#[test]
fn the_handle_can_be_shared_between_threads() {
    fn is_shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    is_shared::<OwnKey>();
}

#[test]
fn white_space_around_a_token_does_not_change_the_response() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring);
    // A value of a token's length, with a comma, which no token has.
    let made_up = format!("{},", &held.token[..held.token.len() - 1]);
    let answer = |value: String| guards_answer(&guard, &[("authorization", value.as_bytes())]);
    let refused = answer(bearer(&made_up));
    assert_eq!(refused.as_ref().unwrap().status(), 401);
    assert_eq!(answer(format!(" {} ", bearer(&made_up))), refused);
    assert_eq!(answer(format!(" {} ", bearer(&held.token))), None);
}
