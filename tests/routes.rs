//! Routes declare what they ask of their callers, or there is no router.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::std_instead_of_alloc,
    reason = "tests, and helpers of tests"
)]

mod common;

use std::{
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Method, Request, Response, StatusCode},
    routing::{self, MethodRouter},
};
use common::{World, block_on, overheard::RevealKnown as _};
use http_body_util::BodyExt;
use keyway::{
    authority::NewKey,
    decision::Principal,
    http::{
        Access, Guard, GuardError, Routes, RoutesError,
        axum::{Endpoint, any, delete, find_unguarded, get, post},
    },
    scope::CatalogError,
    verifier::Freshness,
};
use tower::{Layer, Service, ServiceExt};

async fn ok() -> &'static str {
    "ok"
}

async fn whoever(caller: Option<Principal>) -> String {
    caller.map_or_else(|| "nobody".into(), |caller| caller.name().into())
}

fn routes(world: &World) -> Routes<MethodRouter> {
    let jobs: Endpoint =
        get(ok).require(["operator.read"]).post(ok).delete(ok).require(["operator.jobs"]);
    Routes::new(&world.keyring)
        .route("/health", get(ok).public())
        .route("/reports/{day}", post(ok).require_any(["reporting", "manager"]))
        .nest("/shop", Routes::new(&world.keyring).route("/jobs", jobs))
        .route("/me", get(whoever).optional())
        .route("/files/{*path}", any(ok).any_key())
        .route("/settings", get(ok).authenticated_by("session cookie"))
}

fn call(app: &Router, method: &Method, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    block_on(app.clone().oneshot(request.body(Body::empty()).unwrap())).unwrap()
}

fn key(world: &World, scopes: &[&str]) -> String {
    let first = NewKey::named("A key").scopes(scopes.iter().copied());
    let created = world.keyring.create_tenant_with("acme", "advanced", first);
    block_on(created).unwrap().1.token.reveal_known().to_string()
}

#[test]
fn the_table_lists_every_route_with_what_it_asks() {
    let world = World::new();
    let table = "\
GET     /health         public
POST    /reports/{day}  manager or reporting
GET     /shop/jobs      operator.read
POST    /shop/jobs      operator.jobs
DELETE  /shop/jobs      operator.jobs
GET     /me             any key, or none
*       /files/{*path}  any key
GET     /settings       (session cookie)
";
    let matrix = routes(&world).matrix().unwrap();
    assert_eq!(matrix.to_string(), table);
    assert!(matches!(matrix.access("PUT", "/files/{*path}"), Some(Access::Required(_))));
    assert!(matrix.access("PUT", "/health").is_none());
    assert!(matches!(matrix.access("HEAD", "/shop/jobs"), Some(Access::Required(_))));
    assert!(matrix.access("HEAD", "/reports/{day}").is_none());
}

#[test]
fn the_router_does_what_the_table_says() {
    let world = World::new();
    let app = routes(&world).build().unwrap();
    let token = key(&world, &["operator.read"]);
    let rows = [
        (Method::GET, "/health", 200, 200),
        (Method::POST, "/reports/monday", 401, 403),
        (Method::GET, "/shop/jobs", 401, 200),
        (Method::HEAD, "/shop/jobs", 401, 200),
        (Method::POST, "/shop/jobs", 401, 403),
        (Method::DELETE, "/shop/jobs", 401, 403),
        // Whether a method exists is no secret.
        (Method::PUT, "/shop/jobs", 405, 405),
        (Method::OPTIONS, "/shop/jobs", 405, 405),
        (Method::GET, "/me", 200, 200),
        (Method::PATCH, "/files/a/b", 401, 200),
        (Method::GET, "/settings", 200, 200),
        (Method::GET, "/nowhere", 404, 404),
    ];
    for (method, path, without, with) in rows {
        let status = |token| call(&app, &method, path, token).status().as_u16();
        assert_eq!((status(None), status(Some(&token))), (without, with), "{method} {path}");
    }
}

#[test]
fn an_undeclared_route_stops_the_start() {
    let world = World::new();
    let routes =
        routes(&world).route("/forgotten", get(ok)).route("/half", get(ok).public().post(ok));
    let forgotten = vec!["GET /forgotten".to_owned(), "POST /half".to_owned()];
    let error = routes.build().unwrap_err();
    assert_eq!(error, RoutesError::Undeclared(forgotten));
    assert_eq!(error.to_string(), "routes have no declaration: GET /forgotten, POST /half");
}

#[test]
fn whatever_else_is_wrong_stops_the_start_and_is_named() {
    let world = World::new();
    let with = |path, endpoint: Endpoint| {
        Routes::new(&world.keyring).route("/twice", any(ok).public()).route(path, endpoint).build()
    };
    let rows = [
        (
            with("/x", get(ok).require(["reports"])).unwrap_err(),
            "the requirement of GET /x cannot be met",
        ),
        (
            with("/x", get(ok).require([""; 0])).unwrap_err(),
            "the requirement of GET /x cannot be met",
        ),
        (with("/x", get(ok).public().require(["erp"])).unwrap_err(), "/x is declared twice"),
        (with("/twice", delete(ok).public()).unwrap_err(), "DELETE /twice has two handlers"),
        (with("x", get(ok).public()).unwrap_err(), "the path `x` does not begin with `/`"),
        (
            Routes::<MethodRouter>::new(&world.keyring)
                .nest("/shop", Routes::new(&world.keyring).route("jobs", get(ok).public()))
                .build()
                .unwrap_err(),
            "the path `jobs` does not begin with `/`",
        ),
    ];
    for (error, text) in rows {
        assert_eq!(error.to_string(), text);
    }
    let RoutesError::Scope { source, .. } = with("/x", get(ok).require(["reports"])).unwrap_err()
    else {
        unreachable!("another error");
    };
    assert_eq!(source, CatalogError::Unknown("reports".into()));
}

#[test]
fn a_key_is_checked_where_none_is_needed() {
    let world = World::new();
    let app = routes(&world).build().unwrap();
    let token = key(&world, &[]);
    let body = |token| {
        let response = call(&app, &Method::GET, "/me", token);
        let (parts, body) = response.into_parts();
        let body = block_on(axum::body::to_bytes(body, 1_000)).unwrap();
        (parts.status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(body(None), (StatusCode::OK, "nobody".into()));
    assert_eq!(body(Some(&token)), (StatusCode::OK, "A key".into()));
    assert_eq!(body(Some(&token[1..])).0, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_probe_finds_what_the_stack_leaves_open() {
    let world = World::new();
    let matrix = routes(&world).matrix().unwrap();
    let app: Router = routes(&world).build().unwrap();
    assert_eq!(block_on(find_unguarded(&matrix, &app)), [""; 0]);

    let app: Router = Routes::new(&world.keyring)
        .route("/reports/{day}", post(ok).public())
        .route("/shop/jobs", get(ok).any_key().post(ok).any_key())
        .build()
        .unwrap();
    let open = ["POST /reports/{day}: 200", "DELETE /shop/jobs: 405", "* /files/{*path}: 404"];
    assert_eq!(block_on(find_unguarded(&matrix, &app)), open);

    // Neither somebody else's 401 is a guard's answer, nor a challenge behind the work.
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/reports", get(ok).any_key())
        .route("/jobs", get(ok).any_key());
    let matrix = routes.matrix().unwrap();
    let with = |status: u16, challenge: &'static str| {
        let answer = move || {
            ready((StatusCode::from_u16(status).unwrap(), [("www-authenticate", challenge)]))
        };
        routing::get(answer)
    };
    let app = Router::new()
        .route("/reports", with(401, "Basic realm=\"mm\""))
        .route("/jobs", with(200, "Bearer realm=\"mm\""));
    assert_eq!(block_on(find_unguarded(&matrix, &app)), ["GET /reports: 401", "GET /jobs: 200"]);
}

#[test]
fn one_guard_sets_up_all_routes() {
    let world = World::new();
    let guard = Guard::new(&world.keyring).key_field("X-Api-Key").unwrap().realm("shop").unwrap();
    let app =
        Routes::new(guard).route("/jobs", get(ok).require(["operator.read"])).build().unwrap();
    let token = key(&world, &["operator"]);
    let request = Request::get("/jobs").header("x-api-key", &token).body(Body::empty()).unwrap();
    assert_eq!(block_on(app.clone().oneshot(request)).unwrap().status(), 200);
    let refused = call(&app, &Method::GET, "/jobs", None);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"shop\"");
}

#[test]
fn a_guard_names_what_cannot_be_its_field_or_its_realm() {
    let guard = Guard::new(&World::new().keyring);
    let longest = "k".repeat(64);
    for name in ["x", "X-Api-Key", &longest] {
        assert!(guard.key_field(name).is_ok(), "{name}");
    }
    let too_long = "k".repeat(65);
    let taken = ["authorization", "Proxy-Authorization", "COOKIE", "host"];
    for name in taken.into_iter().chain(["", "x api key", "x-api-key:", "clé", &too_long]) {
        assert_eq!(guard.key_field(name).unwrap_err(), GuardError::KeyField(name.into()));
    }

    let longest = "r".repeat(128);
    for realm in ["r", "the \"shop\" ~", &longest] {
        assert!(guard.realm(realm).is_ok(), "{realm}");
    }
    let too_long = "r".repeat(129);
    for realm in ["", "a\tb", "boutique d'été", "\u{7f}", &too_long] {
        assert_eq!(guard.realm(realm).unwrap_err(), GuardError::Realm(realm.into()));
    }
}

#[test]
fn a_guard_behind_another_asks_the_same_caller_for_more() {
    let (world, other) = (World::new(), World::new());
    let inner = |scope| routing::get(ok).layer(world.keyring.require([scope]).unwrap());
    let whoever = routing::get(whoever).layer(Guard::new(&world.keyring).optional());
    let fresh = Guard::new(&world.keyring).freshness(Freshness::Now);
    let app = Router::new()
        .route("/reports", inner("reporting"))
        .route("/jobs", inner("operator.jobs"))
        .route("/me", whoever)
        .route("/fresh", routing::get(ok).layer(fresh.clone()))
        .route("/fresh/me", routing::get(ok).layer(fresh.optional()))
        // The same policy, and not the same keys.
        .route("/other", routing::get(ok).layer(Guard::new(&other.keyring)))
        .layer(Guard::new(&world.keyring));
    let token = key(&world, &["reporting"]);
    let rows = [
        ("/reports", 200),
        ("/jobs", 403),
        ("/me", 200),
        ("/fresh", 401),
        ("/fresh/me", 401),
        ("/other", 401),
    ];
    for (path, expected) in rows {
        let status = |token| call(&app, &Method::GET, path, token).status().as_u16();
        assert_eq!((status(None), status(Some(&token))), (401, expected), "{path}");
    }
    let body = call(&app, &Method::GET, "/me", Some(&token)).into_body();
    assert_eq!(block_on(axum::body::to_bytes(body, 1_000)).unwrap(), "A key");
}

#[test]
fn two_keys_do_not_pass_two_guards_together() {
    let world = World::new();
    let inner = Guard::new(&world.keyring).key_field("x-api-key").unwrap();
    let inner = inner.require(["reporting"]).unwrap();
    let outer = world.keyring.require(["manager"]).unwrap();
    let status = |outer: Guard, first: &str, second: Option<&str>| {
        let app: Router =
            Router::new().route("/", routing::get(ok).layer(inner.clone())).layer(outer);
        let mut request = Request::get("/").header("authorization", format!("Bearer {first}"));
        if let Some(second) = second {
            request = request.header("x-api-key", second);
        }
        let request = request.body(Body::empty()).unwrap();
        block_on(app.oneshot(request)).unwrap().status().as_u16()
    };
    let both = key(&world, &["manager", "reporting"]);
    let manager = world.keyring.tenant("acme".parse().unwrap());
    let one = |scope| {
        let issued = manager.issue(NewKey::named(scope).scopes([scope]));
        block_on(issued).unwrap().token.reveal_known().to_string()
    };
    let (manager, reporting) = (one("manager"), one("reporting"));
    assert_eq!(status(outer.clone(), &both, None), 200);
    assert_eq!(status(outer.clone(), &both, Some(&both)), 200);
    assert_eq!(status(outer.clone(), &manager, None), 403);
    assert_eq!(status(outer, &manager, Some(&reporting)), 400);
}

#[test]
fn what_a_route_declares_holds_whatever_its_guard_asks_elsewhere() {
    let world = World::new();
    let token = key(&world, &["operator.read"]);
    let lax = Guard::new(&world.keyring).optional();
    let strict = world.keyring.require(["manager"]).unwrap();
    for guard in [lax, strict] {
        let app = Routes::new(guard)
            .route("/jobs", get(ok).require(["operator.read"]))
            .route("/any", get(ok).any_key())
            .route("/me", get(ok).optional())
            .build()
            .unwrap();
        for (path, without, with) in [("/jobs", 401, 200), ("/any", 401, 200), ("/me", 200, 200)] {
            let status = |token| call(&app, &Method::GET, path, token).status().as_u16();
            assert_eq!((status(None), status(Some(&token))), (without, with), "{path}");
        }
    }
}

#[test]
fn a_guard_that_requires_scopes_is_for_nobody_without_a_key() {
    let world = World::new();
    let optional = Guard::new(&world.keyring).optional();
    let status = |guard: Guard| {
        let app = Router::new().route("/", routing::get(ok).layer(guard));
        call(&app, &Method::GET, "/", None).status().as_u16()
    };
    assert_eq!(status(optional.require(["manager"]).unwrap()), 401);
    assert_eq!(status(optional.require_any(["manager"]).unwrap()), 401);
    assert_eq!(status(world.keyring.require(["manager"]).unwrap().optional()), 200);
    assert_eq!(status(optional), 200);
}

#[test]
fn nested_routes_keep_their_guard() {
    let (shop, office) = (World::new(), World::new());
    let inner = Guard::new(&office.keyring).key_field("x-office-key").unwrap();
    let inner = Routes::new(inner.realm("office").unwrap()).route("/jobs", get(ok).any_key());
    let app = Routes::new(&shop.keyring)
        .route("/jobs", get(ok).any_key())
        .nest("/office", inner)
        .build()
        .unwrap();

    let (shop_key, office_key) = (key(&shop, &[]), key(&office, &[]));
    let status = |path, token| call(&app, &Method::GET, path, Some(token)).status().as_u16();
    assert_eq!((status("/jobs", &shop_key), status("/jobs", &office_key)), (200, 401));
    assert_eq!(
        (status("/office/jobs", &shop_key), status("/office/jobs", &office_key)),
        (401, 200)
    );
    let request = Request::get("/office/jobs").header("x-office-key", &office_key);
    let request = request.body(Body::empty()).unwrap();
    assert_eq!(block_on(app.clone().oneshot(request)).unwrap().status(), 200);
    let refused = call(&app, &Method::GET, "/office/jobs", None);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"office\"");
}

#[test]
fn a_handler_of_one_method_answers_no_other() {
    let world = World::new();
    let built = |method, handler| {
        let endpoint = Endpoint::new(method, handler).any_key();
        let routes: Routes<MethodRouter> = Routes::new(&world.keyring).route("/x", endpoint);
        catch_unwind(AssertUnwindSafe(|| routes.build().unwrap()))
    };
    for (method, handler) in [
        ("GET", routing::get(ok).fallback(ok)),
        ("GET", routing::any(ok).get(ok)),
        ("GET", routing::get(ok).post(ok)),
        ("HEAD", routing::get(ok)),
        ("POST", routing::put(ok)),
        ("PURGE", routing::any(ok)),
    ] {
        assert!(built(method, handler).is_err(), "{method}");
    }
    for (method, handler) in [
        ("GET", routing::get(ok)),
        ("GET", routing::get(ok).head(ok)),
        ("HEAD", routing::head(ok)),
        ("TRACE", routing::trace(ok)),
        ("*", routing::get(ok).fallback(ok)),
    ] {
        let app = built(method, handler).unwrap();
        assert_eq!(call(&app, &Method::DELETE, "/x", None).status() == 401, method == "*");
    }
}

#[test]
fn who_asks_the_guard_directly_learns_who_calls() {
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let value = format!("Bearer {}", key(&world, &["reporting"]));
    let fields: [(&str, &[u8]); 1] = [("authorization", value.as_bytes())];
    let mut admission = block_on(guard.admit(&fields[..])).unwrap();
    assert_eq!(admission.principal().map(Principal::tenant), Some("acme"));
    assert!(admission.take_principal().is_some_and(|caller| caller.tenant() == "acme"));
    assert!(admission.principal().is_none());
    let nobody = block_on(guard.optional().admit(&fields[..0])).unwrap();
    assert!(nobody.principal().is_none());
}

/// A service that answers once, and says that it is busy from then on.
#[derive(Clone, Default)]
struct Once {
    is_busy: bool,
}

impl Service<Request<Body>> for Once {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(if self.is_busy { Err("busy") } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.is_busy = true;
        ready(Ok(Response::new(Body::from("done"))))
    }
}

#[test]
fn a_guarded_service_is_as_ready_as_the_one_behind_the_guard() {
    let world = World::new();
    let mut service = Guard::new(&world.keyring).optional().layer(Once::default());
    let answer = block_on(block_on(service.ready()).unwrap().call(Request::new(Body::empty())));
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(block_on(service.ready()).err(), Some("busy"));
}

#[test]
fn the_body_of_a_refusal_comes_in_one_piece_and_says_when_it_ends() {
    let world = World::new();
    for (method, len) in [(Method::GET, 1), (Method::HEAD, 0)] {
        let request = Request::builder().method(method).body(Body::empty()).unwrap();
        let answer = block_on(Guard::new(&world.keyring).layer(Once::default()).oneshot(request));
        let mut body = pin!(answer.unwrap().into_body());
        for _ in 0..len {
            assert!(!body.is_end_stream());
            let frame = block_on(body.frame()).unwrap().unwrap();
            assert!(frame.into_data().unwrap().starts_with(b"{\"type\""));
        }
        assert!(body.is_end_stream());
        assert!(block_on(body.frame()).is_none());
    }
}
