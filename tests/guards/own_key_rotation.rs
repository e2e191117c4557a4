//! The rotation of a key by its holder, on axum and actix-web.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use actix_web::{
    App,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
};
use axum::body::Body;
use http::{Method, Request};
use keyway::{
    ConfigError, GracePeriod, Guard, ImportedKey, KeyEdit, NewKey, Policy, Principal, ScopeCatalog,
    TenantKeys, Tier,
    grant::Networks,
    http::{ClientAddress, OwnKey, PeerAddress, Reason, Response, Routes, actix, axum::own_key},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::Suspension,
    scope::ScopeDeclaration,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::support::{
    DAY, HOUR, World, block_on, gives_away, overheard::RevealKnown as _, with_text,
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Returns a policy where the tier `closed` allows no rotation, and it and `short` end keys after two days.
fn policy() -> Policy {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new([
        declare("keys.rotate"),
        declare("admin").implies(["keys.rotate"]),
        declare("reporting"),
    ]);
    let tiers = [
        Tier::new("closed", 9).scopes(["reporting"]).max_lifetime(2 * DAY),
        Tier::new("short", 9).max_lifetime(2 * DAY),
        Tier::new("advanced", 9),
    ];
    Policy::new("mm", catalog.unwrap(), tiers).unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder.accept_imported(foreign()))
}

fn request() -> NewKey {
    NewKey::named("ERP").scopes(["keys.rotate"])
}

/// Returns the token of a new key of a new tenant.
fn issue(world: &World, tenant: &str, tier: &str, request: NewKey) -> (TenantKeys, String) {
    let created = world.keyring.create_tenant_with(tenant, tier, request);
    let (keys, issued) = block_on(created).unwrap();
    (keys, issued.token.reveal_known().to_string())
}

fn caller(world: &World, token: &str) -> Principal {
    block_on(world.keyring.verify(token)).unwrap()
}

fn is_accepted(world: &World, token: &str) -> bool {
    block_on(world.keyring.verify(token)).is_ok()
}

/// A response as a client sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Returns the new token of a rotation that was made.
    fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let body = self.json();
        body["token"].as_str().unwrap().to_owned()
    }

    /// Returns the status and the name of the problem type of a refusal.
    fn refusal(&self) -> (u16, String) {
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (self.status, kind.split_once('#').unwrap().1.to_owned())
    }
}

fn refusal(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[derive(Clone, Copy, Debug)]
enum Framework {
    Axum,
    Actix,
}

const FRAMEWORKS: [Framework; 2] = [Framework::Axum, Framework::Actix];

/// The endpoint behind both frameworks.
struct Endpoint {
    handle: OwnKey,
    guard: Guard,
}

impl Endpoint {
    fn of(world: &World, grace: impl Into<Option<GracePeriod>>) -> Self {
        let guard = Guard::new(&world.keyring).client_address(ClientAddress::socket());
        let handle = OwnKey::new(&world.keyring, &guard);
        let handle = match grace.into() {
            Some(grace) => handle.rotatable("keys.rotate", grace).unwrap(),
            None => handle,
        };
        Self { handle, guard }
    }

    fn post(&self, framework: Framework, token: &str) -> Seen {
        self.send(framework, Method::POST, &format!("Bearer {token}"), "203.0.113.7")
    }

    fn send(&self, framework: Framework, method: Method, value: &str, from: &str) -> Seen {
        let peer = SocketAddr::new(from.parse().unwrap(), 80);
        match framework {
            Framework::Axum => {
                let request = Request::builder().method(method).uri("/key");
                let request = request.header("authorization", value).extension(PeerAddress(peer));
                let routes = Routes::new(self.guard.clone()).route("/key", own_key(&self.handle));
                let app: axum::Router = routes.build().unwrap();
                let response = app.oneshot(request.body(Body::empty()).unwrap());
                let (head, body) = block_on(response).unwrap().into_parts();
                let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
                let fields = head.headers.iter();
                let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
                seen(head.status.as_u16(), fields, &body)
            }
            Framework::Actix => System::new().block_on(async {
                let routes = Routes::new(self.guard.clone());
                let routes = routes.route("/key", actix::own_key(&self.handle));
                let app = App::new().configure(routes.build().unwrap());
                let method = method.as_str().parse().unwrap();
                let request = TestRequest::with_uri("/key").method(method).peer_addr(peer);
                let request = request.insert_header(("authorization", value)).to_request();
                let response = call_service(&init_service(app).await, request).await;
                let (status, headers) = (response.status(), response.headers().clone());
                let body = read_body(response).await;
                let fields = headers.iter();
                let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
                seen(status.as_u16(), fields, &body)
            }),
        }
    }
}

fn seen<'a>(status: u16, fields: impl Iterator<Item = (&'a str, &'a [u8])>, body: &[u8]) -> Seen {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let fields = fields.map(|(name, value)| (name.to_owned(), text(value)));
    let mut fields: Vec<_> = fields.filter(|(name, _)| name != "content-length").collect();
    fields.sort();
    Seen { status, fields, body: text(body) }
}

#[test]
fn route_exists_only_if_the_application_opts_in() {
    let world = world();
    let (_, token) = issue(&world, "acme", "advanced", request());
    let rows = |endpoint: &Endpoint| {
        let of_axum = Routes::new(endpoint.guard.clone());
        let of_axum = of_axum.route("/key", own_key::<()>(&endpoint.handle)).table().unwrap();
        let of_actix = Routes::new(endpoint.guard.clone());
        let of_actix = of_actix.route("/key", actix::own_key(&endpoint.handle)).table().unwrap();
        assert_eq!(of_axum.to_string(), of_actix.to_string());
        of_axum.to_string()
    };
    let closed = Endpoint::of(&world, None);
    let both = "GET     /key  (the key itself)\nDELETE  /key  (the key itself)\n";
    assert_eq!(rows(&closed), both);
    for framework in FRAMEWORKS {
        assert_eq!(closed.post(framework, &token).status, 405, "{framework:?}");
    }
    let value = format!("Bearer {token}");
    let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
    assert_eq!(block_on(closed.handle.rotate(fields, None)).unwrap_err().status(), 405);
    assert!(is_accepted(&world, &token));

    let open = Endpoint::of(&world, GracePeriod::None);
    let third = "POST    /key  (the key itself, with keys.rotate)\n";
    assert_eq!(rows(&open), [both, third].concat());
}

#[test]
fn terms_that_cannot_be_met_stop_the_start() {
    let world = world();
    let own_key = OwnKey::new(&world.keyring, &Guard::new(&world.keyring));
    let error = own_key.rotatable("keys.turn", GracePeriod::None).unwrap_err();
    assert_eq!(error, ConfigError::UnknownScope("keys.turn".into()));
    let long = GracePeriod::MAX + Duration::from_millis(1);
    let error = own_key.rotatable("keys.rotate", GracePeriod::For(long)).unwrap_err();
    assert_eq!(error, ConfigError::GracePeriod(long));
    assert!(own_key.rotatable("keys.rotate", GracePeriod::For(GracePeriod::MAX)).is_ok());
}

#[test]
fn holder_gets_a_new_token_and_the_old_one_ends() {
    for framework in FRAMEWORKS {
        let world = world();
        let (keys, old) = issue(&world, "acme", "advanced", request());
        let id = caller(&world, &old).key_id();
        let endpoint = Endpoint::of(&world, GracePeriod::For(HOUR));
        world.audit.take_kinds();
        let answer = endpoint.post(framework, &old);
        let new = answer.token();
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!(body["previous_ends_at"], "2026-01-01T01:00:00Z");
        assert_eq!(body["previous_ends_with_first_use"], false);
        assert_eq!((&body["key"]["id"], &body["key"]["version"]), (&id.as_str().into(), &2.into()));
        assert_eq!(body["state"], "active");
        // The description is that of a `GET`.
        let bearer = format!("Bearer {new}");
        let read = endpoint.send(framework, Method::GET, &bearer, "203.0.113.7").json();
        for member in ["key", "state", "effective_expires_at", "child_prefix"] {
            assert_eq!(body[member], read[member], "{member}");
        }
        assert_eq!(body.as_object().unwrap().len(), 7);

        assert_ne!(new, old);
        assert_eq!((caller(&world, &new).key_id(), caller(&world, &old).key_id()), (id, id));
        assert!(caller(&world, &old).used_previous_secret());
        world.clock.advance(HOUR);
        assert!(is_accepted(&world, &new) && !is_accepted(&world, &old));

        let events = world.audit.events();
        let rotated = events.iter().find(|event| event.kind == "KeyRotated").unwrap();
        assert_eq!(rotated.actor, format!("key {id}"));
        assert_eq!(rotated.tenant.as_deref(), Some("acme"));
        assert_eq!(rotated.key.as_deref(), Some(id.as_str()));
        assert_eq!(block_on(keys.find(id)).unwrap().masked(), body["key"]["masked"]);
    }
}

#[test]
fn old_token_ends_at_once_or_with_the_first_use() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, old) = issue(&world, "acme", "advanced", request());
        let answer = Endpoint::of(&world, GracePeriod::None).post(framework, &old);
        assert!(answer.json()["previous_ends_at"].is_null());
        assert!(!is_accepted(&world, &old));

        let (_, old) = issue(&world, "globex", "advanced", request());
        let answer = Endpoint::of(&world, GracePeriod::UntilFirstUse).post(framework, &old);
        let body = answer.json();
        assert_eq!(body["previous_ends_at"], "2026-01-02T00:00:00Z");
        assert_eq!(body["previous_ends_with_first_use"], true);
        // A holder that lost the response can still use the old one.
        assert!(is_accepted(&world, &old));
        assert!(is_accepted(&world, &answer.token()));
        assert!(!is_accepted(&world, &old));
    }
}

#[test]
fn key_needs_the_scope_in_effect() {
    for framework in FRAMEWORKS {
        let world = world();
        let endpoint = Endpoint::of(&world, GracePeriod::None);
        let other = NewKey::named("ERP").scopes(["reporting"]);
        let (_, other) = issue(&world, "acme", "advanced", other);
        // The tier withholds the scope that the key was granted.
        let (_, withheld) = issue(&world, "globex", "advanced", request());
        block_on(world.keyring.set_tier(&"globex".parse().unwrap(), "closed")).unwrap();
        for token in [&other, &withheld] {
            let answer = endpoint.post(framework, token);
            assert_eq!(answer.refusal(), refusal(403, "insufficient-scope"));
            let challenge = answer.field("www-authenticate").unwrap();
            assert!(challenge.ends_with("scope=\"keys.rotate\""), "{challenge}");
            assert!(is_accepted(&world, token));
        }
        assert_eq!(endpoint.post(framework, &withheld).json()["withheld"][0], "keys.rotate");
        // The control: an implied scope suffices.
        let (_, implied) =
            issue(&world, "initech", "advanced", NewKey::named("ERP").scopes(["admin"]));
        assert!(is_accepted(&world, &endpoint.post(framework, &implied).token()));
    }
}

#[test]
fn key_must_be_active_and_inside_its_networks() {
    for framework in FRAMEWORKS {
        let world = world();
        let endpoint = Endpoint::of(&world, GracePeriod::None);
        let edited = |tenant: &str, edit: KeyEdit| {
            let (keys, token) = issue(&world, tenant, "advanced", request());
            let id = caller(&world, &token).key_id();
            block_on(keys.edit(id, 1, edit)).unwrap();
            token
        };
        let disabled = edited("disabled", KeyEdit::new().enabled(false));
        let early = edited("early", KeyEdit::new().not_before(world.after(HOUR)));
        let expired = edited("expired", KeyEdit::new().expires_at(world.after(HOUR / 2)));
        world.clock.advance(HOUR / 2);
        let (_, suspended) = issue(&world, "suspended", "advanced", request());
        let ban = Suspension::permanent("fraud").unwrap();
        block_on(world.keyring.suspend_tenant(&"suspended".parse().unwrap(), ban)).unwrap();
        for token in [&disabled, &early, &expired, &suspended] {
            world.audit.take_kinds();
            let before = world.store.writes();
            let answer = endpoint.post(framework, token);
            assert_eq!(answer.refusal(), refusal(401, "inactive-key"));
            assert_eq!(world.store.writes(), before);
            let kinds = world.audit.take_kinds();
            assert!(kinds.len() == 1 && kinds[0].contains("RotateKey"), "{kinds:?}");
            // The control: it can be read in any state.
            let bearer = format!("Bearer {token}");
            let read = endpoint.send(framework, Method::GET, &bearer, "203.0.113.7");
            assert_eq!(read.status, 200);
        }

        let office = Networks::only(["192.0.2.0/24"]).unwrap();
        let (_, office) = issue(&world, "office", "advanced", request().networks(office));
        let bearer = format!("Bearer {office}");
        let outside = endpoint.send(framework, Method::POST, &bearer, "203.0.113.7");
        assert_eq!(outside.refusal(), refusal(403, "other-network"));
        let unknown: &[(&str, &[u8])] = &[("authorization", bearer.as_bytes())];
        assert_eq!(block_on(endpoint.handle.rotate(unknown, None)).unwrap_err().status(), 403);
        let inside = endpoint.send(framework, Method::POST, &bearer, "192.0.2.9");
        let address: IpAddr = "192.0.2.9".parse().unwrap();
        let verified = world.keyring.verify_from(
            inside.token(),
            keyway::verifier::Freshness::Cached,
            Some(address),
        );
        assert!(block_on(verified).is_ok());
    }
}

#[test]
fn old_token_cannot_take_over_the_key() {
    for framework in FRAMEWORKS {
        for grace in [GracePeriod::For(DAY), GracePeriod::UntilFirstUse] {
            let world = world();
            let (_, leaked) = issue(&world, "acme", "advanced", request());
            let endpoint = Endpoint::of(&world, grace);
            let new = endpoint.post(framework, &leaked).token();
            assert!(is_accepted(&world, &leaked));
            world.audit.take_kinds();
            let before = world.store.writes();
            let answer = endpoint.post(framework, &leaked);
            assert_eq!(answer.refusal(), refusal(403, "previous-secret"));
            assert_eq!(world.store.writes(), before);
            let kinds = world.audit.take_kinds();
            assert!(kinds.len() == 1 && kinds[0].contains("RotateKey"), "{kinds:?}");
            // The control: the holder of the newest one can rotate again.
            let newest = endpoint.post(framework, &new).token();
            assert!(is_accepted(&world, &newest), "{framework:?} {grace:?}");
        }
    }
}

#[test]
fn rotations_in_a_row_lock_nobody_out() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, first) = issue(&world, "acme", "advanced", request());
        let endpoint = Endpoint::of(&world, GracePeriod::For(HOUR));
        let second = endpoint.post(framework, &first).token();
        world.clock.advance(HOUR / 2);
        let third = endpoint.post(framework, &second).token();
        let full = endpoint.post(framework, &third);
        assert_eq!(full.refusal(), refusal(409, "too-many-secrets"));
        assert_eq!(full.field("retry-after"), Some("1800"));
        for token in [&first, &second, &third] {
            assert!(is_accepted(&world, token));
        }
        world.clock.advance(HOUR / 2);
        assert!(is_accepted(&world, &endpoint.post(framework, &third).token()));

        // The rotation is a use of each new token, which ends the older ones, so there is always room.
        let (_, mut token) = issue(&world, "globex", "advanced", request());
        let endpoint = Endpoint::of(&world, GracePeriod::UntilFirstUse);
        for _ in 0..5 {
            token = endpoint.post(framework, &token).token();
        }
        assert!(is_accepted(&world, &token));
    }
}

/// Runs `meanwhile` while the endpoint is about to write the rotation of `token`.
fn raced(
    world: &World,
    endpoint: &Endpoint,
    framework: Framework,
    token: &str,
    meanwhile: impl FnOnce(),
) -> Seen {
    let before = world.store.calls("update_key");
    world.store.hold("update_key");
    thread::scope(|scope| {
        let rotation = scope.spawn(|| endpoint.post(framework, token));
        while world.store.calls("update_key") == before && !rotation.is_finished() {
            thread::yield_now();
        }
        meanwhile();
        world.store.release("update_key");
        rotation.join().unwrap()
    })
}

#[test]
fn only_one_of_two_rotations_is_made() {
    for framework in FRAMEWORKS {
        for grace in [GracePeriod::For(HOUR), GracePeriod::None] {
            let world = world();
            let (keys, old) = issue(&world, "acme", "advanced", request());
            let id = caller(&world, &old).key_id();
            let endpoint = Endpoint::of(&world, grace);
            let other = world.another_node_with(policy(), |builder| builder);
            let mut winner = String::new();
            let lost = raced(&world, &endpoint, framework, &old, || {
                let handle = Endpoint::of(&other, grace);
                winner = handle.post(framework, &old).token();
            });
            assert_eq!(lost.refusal(), refusal(409, "rotated-meanwhile"));
            assert!(is_accepted(&world, &winner));
            assert_eq!(block_on(keys.find(id)).unwrap().version(), 2);
            assert_eq!(is_accepted(&world, &old), grace != GracePeriod::None);
        }
    }
}

#[test]
fn rotation_goes_through_beside_another_change() {
    for framework in FRAMEWORKS {
        let world = world();
        let (keys, old) = issue(&world, "acme", "advanced", request());
        let id = caller(&world, &old).key_id();
        let endpoint = Endpoint::of(&world, GracePeriod::None);
        let other = world.another_node_with(policy(), |builder| builder);
        let elsewhere = other.keyring.tenant(keys.id().clone());
        let renamed = raced(&world, &endpoint, framework, &old, || {
            block_on(elsewhere.edit(id, 1, KeyEdit::new().name("renamed"))).unwrap();
        });
        assert_eq!(renamed.json()["key"]["name"], "renamed");
        // A change that takes the permission away counts, since the key is checked once more.
        let token = renamed.token();
        let narrowed = raced(&world, &endpoint, framework, &token, || {
            block_on(elsewhere.edit(id, 3, KeyEdit::new().scopes(["reporting"]))).unwrap();
        });
        assert_eq!(narrowed.refusal(), refusal(403, "insufficient-scope"));
        let (keys, token) = issue(&world, "globex", "advanced", request());
        let id = caller(&world, &token).key_id();
        let deleted = raced(&world, &endpoint, framework, &token, || {
            block_on(other.keyring.tenant(keys.id().clone()).delete(id)).unwrap();
        });
        assert_eq!(deleted.refusal(), refusal(409, "rotated-meanwhile"));
    }
}

#[test]
fn rotation_does_not_extend_the_life_of_a_key() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", "short", request());
        let endpoint = Endpoint::of(&world, GracePeriod::For(30 * DAY));
        world.clock.advance(DAY);
        let answer = endpoint.post(framework, &token);
        let body = answer.json();
        // The tier ends the key two days after it was issued, and with it the old token.
        assert_eq!(body["effective_expires_at"], "2026-01-03T00:00:00Z");
        assert_eq!(body["previous_ends_at"], "2026-01-03T00:00:00Z");
        assert_eq!(body["key"]["expires_at"], "2026-01-03T00:00:00Z");
        world.clock.advance(DAY);
        let late = endpoint.post(framework, &answer.token());
        assert_eq!(late.refusal(), refusal(401, "inactive-key"));

        let expires = request().expires_in(YEAR);
        let (_, token) = issue(&world, "globex", "advanced", expires);
        let body = endpoint.post(framework, &token).json();
        assert_eq!(body["key"]["expires_at"], "2027-01-03T00:00:00Z");
    }
}

#[test]
fn outage_tells_whether_the_key_may_be_rotated() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", "advanced", request());
        let endpoint = Endpoint::of(&world, GracePeriod::UntilFirstUse);
        let unavailable = |part: &str| {
            let answer = endpoint.post(framework, &token);
            assert_eq!(answer.refusal(), refusal(503, "unavailable"));
            assert_eq!(answer.field("retry-after"), Some("1"));
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(part), "{detail}");
        };
        world.store.set_down(true);
        unavailable("cannot be verified");
        world.store.set_down(false);
        world.store.fail("update_key");
        unavailable("may have been rotated");
        world.store.heal("update_key");
        assert!(is_accepted(&world, &endpoint.post(framework, &token).token()));
    }
}

#[test]
fn other_credentials_get_the_response_of_a_guard() {
    let world = world();
    let (_, held) = issue(&world, "acme", "advanced", request());
    let (_, broken) = issue(&world, "globex", "advanced", request());
    let endpoint = Endpoint::of(&world, GracePeriod::None);
    let as_is = |answer: Response| {
        let fields = answer.headers().map(|(name, value)| (name, value.as_bytes()));
        seen(answer.status(), fields, answer.body().as_bytes())
    };
    for framework in FRAMEWORKS {
        let cut = &held[..20];
        for value in ["Bearer", "Bearer made_up", "Basic eDp5", &format!("Bearer {cut}")] {
            let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
            let expected = as_is(block_on(endpoint.guard.admit(fields)).unwrap_err());
            let answer = endpoint.send(framework, Method::POST, value, "203.0.113.7");
            assert_eq!(answer, expected, "{value}");
        }
        world.store.rewrite_keys(|key| Ok(with_text(&key, "ERP", "PRE")));
        world.audit.take_kinds();
        let answer = endpoint.post(framework, &broken);
        assert_eq!(answer.refusal(), refusal(401, "invalid-token"));
        assert_eq!(world.audit.take_kinds(), ["Tampered"]);
        world.store.rewrite_nothing();
    }
}

#[test]
fn imported_key_gets_a_token_of_its_own() {
    const OPAQUE: &str = "q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";
    for framework in FRAMEWORKS {
        let world = world();
        let acme = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
        let digest = ForeignDigest::from_bytes(&Sha256::digest(OPAQUE)).unwrap();
        block_on(acme.import(ImportedKey::new(&foreign(), digest, request()).unwrap())).unwrap();
        let endpoint = Endpoint::of(&world, GracePeriod::None);
        let answer = endpoint.post(framework, OPAQUE);
        assert!(answer.token().starts_with("mm_live_"));
        assert_eq!(answer.json()["key"]["imported"], false);
        assert!(!is_accepted(&world, OPAQUE) && is_accepted(&world, &answer.token()));
    }
}

#[test]
fn every_refusal_of_a_rotation_has_its_reason() {
    let world = world();
    let (_, token) = issue(&world, "acme", "advanced", request());
    let endpoint = Endpoint::of(&world, GracePeriod::For(HOUR));
    let rotate = |token: &str| {
        let value = format!("Bearer {token}");
        let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
        let body = block_on(endpoint.handle.rotate(fields, None))?.into_body();
        let body: Value = serde_json::from_slice(&body).unwrap();
        Ok::<_, Response>(body["token"].as_str().unwrap().to_owned())
    };
    let second = rotate(&token).unwrap();
    let reason =
        |token: &str| format!("{:?}", rotate(token).unwrap_err().refusal().unwrap().reason());
    assert_eq!(reason(&token), "PreviousSecret");
    let third = rotate(&second).unwrap();
    assert!(reason(&third).starts_with("Change(Refused(TooManySecrets"), "{}", reason(&third));
    assert!(matches!(
        rotate("made_up").unwrap_err().refusal().unwrap().reason(),
        Reason::Verify(keyway::VerifyError::Rejected)
    ));
}

#[test]
fn no_text_holds_the_new_token() {
    let world = world();
    let (_, token) = issue(&world, "acme", "advanced", request());
    let endpoint = Endpoint::of(&world, GracePeriod::None);
    let value = format!("Bearer {token}");
    let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
    let rotated = block_on(endpoint.handle.rotate(fields, None)).unwrap();
    assert_eq!(rotated.status(), 200);
    let headers = format!("{:?}", rotated.headers().collect::<Vec<_>>());
    let texts =
        [format!("{rotated:?} {:?} {headers}", endpoint.handle), world.audit.kinds().concat()];
    let body: Value = serde_json::from_slice(&rotated.into_body()).unwrap();
    let new = body["token"].as_str().unwrap();
    for text in texts {
        assert!(!gives_away(&text, new) && !gives_away(&text, &token), "{text}");
    }
    // The token is in one member alone.
    let mut rest = body.clone();
    rest.as_object_mut().unwrap().remove("token");
    assert!(!gives_away(&rest.to_string(), new));
    assert!(gives_away(&body.to_string(), new));
}
