//! A guard that accepts another credential besides a key, and a guard of several environments.

use std::{
    future::{Ready, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use crate::support::{Held, World, block_on, policy, tenant_id};
use actix_web::{
    App,
    test::{TestRequest, call_service, init_service, read_body},
};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    routing::MethodRouter,
};
use http_body_util::BodyExt;
use keyway::{
    ConfigError, Guard, Principal,
    grant::ResourceDeclaration,
    http::{Admission, Alternative, Response, Routes, actix, axum as keyway_axum},
    record::Suspension,
};
use serde_json::{Value, json};
use tower::ServiceExt;
use utoipa::openapi::{HttpMethod, OpenApi, PathsBuilder, path::Operation, path::PathItem};

/// The sessions of an application. `open` is valid, and `away` cannot be looked up.
#[derive(Clone, Default)]
struct Sessions(Arc<AtomicUsize>);

impl Sessions {
    fn look_up(&self, value: &str) -> Ready<Result<bool, io::Error>> {
        self.0.fetch_add(1, SeqCst);
        ready(match value {
            "away" => Err(io::Error::other("the sessions are away")),
            value => Ok(value == "open"),
        })
    }

    fn cookie(&self) -> Alternative {
        let sessions = self.clone();
        let check = move |value: String| sessions.look_up(&value);
        Alternative::cookie("session cookie", "sid", check).unwrap()
    }

    fn header(&self) -> Alternative {
        let sessions = self.clone();
        let check = move |value: String| sessions.look_up(&value);
        Alternative::header("session header", "X-Session", check).unwrap()
    }
}

fn admit(guard: &Guard, headers: &[(&str, String)]) -> Result<Admission, Response> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    block_on(guard.admit(&headers[..]))
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// Returns the name of the problem type in a refusal.
fn problem(response: &Response) -> String {
    let body: Value = serde_json::from_str(response.body()).unwrap();
    body["type"].as_str().unwrap().rsplit_once('#').unwrap().1.into()
}

#[test]
fn request_has_a_key_or_a_session_and_never_both() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let sessions = Sessions::default();
    let guard = world.keyring.require(["reporting"]).unwrap();
    for (guard, name, value) in [
        (guard.or(sessions.cookie()).unwrap(), "cookie", "a=b; sid="),
        (guard.or(sessions.header()).unwrap(), "x-session", ""),
    ] {
        let session = |session: &str| (name, format!("{value}{session}"));
        let status = |headers: &[(&str, String)]| match admit(&guard, headers) {
            Ok(admission) => (200, admission.principal().is_some(), String::new()),
            Err(response) => (response.status(), false, problem(&response)),
        };
        let refused = |status, problem: &str| (status, false, problem.to_owned());
        assert_eq!(status(&[session("open")]), (200, false, String::new()));
        assert_eq!(status(&[bearer(&held.token)]), (200, true, String::new()));
        for nothing in [&[][..], &[session("")], &[session("closed")]] {
            assert_eq!(status(nothing), refused(401, "missing-credential"), "{nothing:?}");
        }
        assert_eq!(status(&[session("away")]), refused(503, "unavailable"));
        // The sessions are not asked about requests that are refused anyway.
        let asked = sessions.0.load(SeqCst);
        for several in [
            [bearer(&held.token), session("open")],
            [bearer(&held.token), session("closed")],
            [bearer("mm_live_made-up"), session("open")],
            [session("open"), session("open")],
        ] {
            assert_eq!(status(&several), refused(400, "invalid-request"), "{several:?}");
        }
        assert_eq!(status(&[session("\u{fc}")]), refused(400, "invalid-request"));
        assert_eq!(status(&[session(&"7".repeat(5_000))]), refused(400, "invalid-request"));
        assert_eq!(sessions.0.load(SeqCst), asked);
        // A session in place of a key does not make a bad key valid.
        assert_eq!(status(&[bearer("mm_live_made-up")]), refused(401, "invalid-token"));

        let admission = admit(&guard, &[session("open")]).unwrap();
        let vary = format!("authorization, {name}");
        assert_eq!(admission.headers().collect::<Vec<_>>(), [("vary", vary)]);
        assert_eq!(guard.header_to_remove(&admission), None);
    }
    // The control: without an alternative the same session is nothing.
    assert_eq!(admit(&guard, &[("cookie", "sid=open".into())]).unwrap_err().status(), 401);
    let both = admit(&guard, &[("cookie", "sid=open".into()), bearer(&held.token)]);
    assert!(both.unwrap().principal().is_some());
}

#[test]
fn names_of_alternatives_are_checked() {
    let check = |value: String| Sessions::default().look_up(&value);
    for name in ["", "a b", "a;b", "a=b", "\u{fc}", &"a".repeat(65)] {
        let refused = Alternative::cookie("session", name, check).unwrap_err();
        assert_eq!(refused, ConfigError::Alternative(name.into()));
    }
    for name in ["", "authorization", "Cookie", "a b"] {
        assert!(Alternative::header("session", name, check).is_err(), "{name}");
    }
    // A key and a session in one header could not be distinguished.
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let session = || Sessions::default().header();
    for refused in [
        guard.key_header("x-session").unwrap().or(session()),
        guard.key_header_only("X-Session").unwrap().or(session()),
        guard.or(session()).unwrap().key_header("x-session"),
        guard.or(session()).unwrap().key_header_only("x-session"),
    ] {
        assert_eq!(refused.unwrap_err(), ConfigError::KeyHeader("x-session".into()));
    }
    assert!(guard.key_header("x-api-key").unwrap().or(session()).is_ok());
}

async fn caller_of(caller: Option<Principal>) -> String {
    caller.map_or_else(|| "session".into(), |caller| caller.tenant().into())
}

fn on_axum(guard: &Guard) -> Result<Router, ConfigError> {
    use keyway_axum::{Endpoint, get};
    let orders: Endpoint = get(caller_of).require(["reporting"]).or("session cookie");
    Routes::new(guard.clone())
        .route("/orders", orders)
        .route("/keys-only", get(caller_of).require(["reporting"]))
        .build()
}

#[test]
fn declared_routes_accept_the_session_that_they_name() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring).or(Sessions::default().cookie()).unwrap();
    let router = on_axum(&guard).unwrap();
    let key = format!("Bearer {}", held.token);
    let cases = [
        ("/orders", Some("sid=open"), None, 200, "session"),
        ("/orders", None, Some(&key), 200, "acme"),
        ("/orders", Some("sid=closed"), None, 401, ""),
        ("/orders", None, None, 401, ""),
        ("/orders", Some("sid=open"), Some(&key), 400, ""),
        ("/keys-only", Some("sid=open"), None, 401, ""),
        ("/keys-only", None, Some(&key), 200, "acme"),
        // A cookie that means nothing here is no credential.
        ("/keys-only", Some("sid=open"), Some(&key), 200, "acme"),
    ];
    for (path, cookie, key, status, text) in cases {
        let mut request = Request::builder().uri(path);
        for (name, value) in [(header::COOKIE, cookie), (header::AUTHORIZATION, key.map(|k| &**k))]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap());
        let response = block_on(response).unwrap();
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{path} {cookie:?}");
        let body = block_on(response.into_body().collect()).unwrap().to_bytes();
        assert!(status != 200 || body == text, "{path} {cookie:?}");
    }
}

#[test]
fn actix_routes_accept_the_session_that_they_name() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring).or(Sessions::default().cookie()).unwrap();
    actix_web::rt::System::new().block_on(async {
        let orders = actix::get(caller_of).require(["reporting"]).or("session cookie");
        let routes = Routes::new(guard).route("/orders", orders).build().unwrap();
        let app = init_service(App::new().configure(routes)).await;
        let get = || TestRequest::get().uri("/orders");
        let session = get().insert_header(("cookie", "sid=open")).to_request();
        assert_eq!(read_body(call_service(&app, session).await).await, "session");
        let key = get().insert_header(bearer(&held.token)).to_request();
        assert_eq!(read_body(call_service(&app, key).await).await, "acme");
        let both = get().insert_header(bearer(&held.token));
        let both = both.insert_header(("cookie", "sid=open")).to_request();
        assert_eq!(call_service(&app, both).await.status(), 400);
        let nothing = call_service(&app, get().to_request()).await;
        assert_eq!(nothing.status(), 401);
    });
}

#[test]
fn route_that_names_another_alternative_stops_the_start() {
    let world = World::new();
    let check = |value: String| Sessions::default().look_up(&value);
    let other = Alternative::cookie("sesion cookie", "sid", check).unwrap();
    let refused = on_axum(&Guard::new(&world.keyring).or(other).unwrap()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "GET /orders allows `session cookie` besides a key, and its guard checks `sesion cookie`: \
         name that one"
    );
    // Without an alternative of the guard, the handler checks it, and sees a request without a key.
    let router = on_axum(&Guard::new(&world.keyring)).unwrap();
    let request = Request::get("/orders").body(Body::empty()).unwrap();
    assert_eq!(block_on(router.oneshot(request)).unwrap().status(), StatusCode::OK);
}

#[test]
fn openapi_shows_the_session_beside_the_key() {
    let world = World::new();
    let sessions = Sessions::default();
    let routes: Routes<MethodRouter> =
        Routes::new(Guard::new(&world.keyring).or(sessions.cookie()).unwrap())
            .route(
                "/orders",
                keyway_axum::get(caller_of).require(["reporting"]).or("session cookie"),
            )
            .route("/keys-only", keyway_axum::get(caller_of).require(["reporting"]));
    let table = routes.table().unwrap();
    assert_eq!(
        table.to_string(),
        "GET     /orders     reporting, or (session cookie)\nGET     /keys-only  reporting\n"
    );
    let item = || PathItem::new(HttpMethod::Get, Operation::new());
    let paths = PathsBuilder::new().path("/orders", item()).path("/keys-only", item());
    let mut document: OpenApi = OpenApi::builder().paths(paths).build();
    for _ in 0..2 {
        table.secure(&mut document).unwrap();
        let document: Value = serde_json::to_value(&document).unwrap();
        assert_eq!(
            document["paths"]["/orders"]["get"]["security"],
            json!([{ "alternative": [] }, { "api_key": ["reporting"] }])
        );
        assert_eq!(
            document["paths"]["/keys-only"]["get"]["security"],
            json!([{ "api_key": ["reporting"] }])
        );
        assert_eq!(
            document["components"]["securitySchemes"]["alternative"],
            json!({ "type": "apiKey", "in": "cookie", "name": "sid" })
        );
    }
}

/// Creates a node of the environment `test`, with its own store.
fn test_world() -> World {
    World::with(policy(), |builder| builder.environment("test"))
}

fn caller(guard: &Guard, held: &Held) -> Result<Principal, Response> {
    let mut admission = admit(guard, &[bearer(&held.token)])?;
    Ok(admission.take_principal().unwrap())
}

#[test]
fn prefix_of_the_token_picks_the_environment() {
    let (live, test) = (World::new(), test_world());
    let (of_live, of_test) = (live.tenant_with_key("acme"), test.tenant_with_key("acme"));
    assert!(of_live.token.starts_with("mm_live_") && of_test.token.starts_with("mm_test_"));
    let guard = live.keyring.require(["reporting"]).unwrap().also(&test.keyring).unwrap();
    for (held, own, other) in [(&of_live, &live, &test), (&of_test, &test, &live)] {
        // The second time from the cache.
        for _ in 0..2 {
            let caller = caller(&guard, held).unwrap();
            assert!(own.keyring.verifier().has_verified(&caller));
            assert!(!other.keyring.verifier().has_verified(&caller));
        }
    }
    let strict = guard.require(["manager"]).unwrap();
    for held in [&of_live, &of_test] {
        assert_eq!(caller(&strict, held).unwrap_err().status(), 403);
    }
    // Each audit has its own events, and a change in one environment concerns that one alone.
    assert!(test.audit.kinds().iter().any(|kind| kind.starts_with("Forbidden")));
    let reason = Suspension::permanent("unpaid").unwrap();
    block_on(test.keyring.suspend_tenant(&tenant_id("acme"), reason)).unwrap();
    assert_eq!(caller(&guard, &of_test).unwrap_err().status(), 401);
    assert!(caller(&guard, &of_live).is_ok());
    // The store of one is away.
    block_on(test.keyring.resume_tenant(&tenant_id("acme"))).unwrap();
    test.store.set_down(true);
    assert_eq!(caller(&guard, &of_test).unwrap_err().status(), 503);
    assert!(caller(&guard, &of_live).is_ok());
    // The control: each alone rejects the other's keys.
    let alone = live.keyring.require(["reporting"]).unwrap();
    assert_eq!(caller(&alone, &of_test).unwrap_err().status(), 401);
}

#[test]
fn environment_is_checked_when_it_is_added() {
    let (live, test) = (World::new(), test_world());
    let guard = Guard::new(&live.keyring);
    let again = guard.also(&live.another_node().keyring).unwrap_err();
    assert_eq!(again, ConfigError::SamePrefix("mm_live_".into()));
    let guard = guard.also(&test.keyring).unwrap();
    assert!(matches!(guard.also(&test.keyring), Err(ConfigError::SamePrefix(_))));
    let other = policy();
    let kinds = [ResourceDeclaration::new("machine", "")];
    let catalog = other.catalog().clone().with_resources(kinds).unwrap();
    let tiers = other.tiers().to_vec();
    let other = keyway::Policy::new("mm", catalog, tiers).unwrap();
    let other = World::with(other, |builder| builder.environment("other"));
    assert_eq!(guard.also(&other.keyring).unwrap_err(), ConfigError::OtherCatalog);
}

#[test]
fn nested_guards_know_callers_of_each_environment() {
    let (live, test) = (World::new(), test_world());
    let of_test = test.tenant_with_key("acme");
    let outer = Guard::new(&live.keyring).also(&test.keyring).unwrap();
    let inner = outer.require(["reporting"]).unwrap();
    let strict = outer.require(["manager"]).unwrap();
    let only_live = live.keyring.require(["reporting"]).unwrap();
    for (inner, status) in [(inner, 200), (strict, 403), (only_live, 401)] {
        let handler: MethodRouter = axum::routing::get(caller_of).layer(inner);
        let router = Router::new().route("/", handler).layer(outer.clone());
        let (name, value) = bearer(&of_test.token);
        let request = Request::get("/").header(name, value).body(Body::empty()).unwrap();
        let response = block_on(router.oneshot(request)).unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
}
