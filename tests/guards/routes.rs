//! Routes declare the access they require, or no router is built.

use std::{
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll},
};

use crate::support::{World, block_on, overheard::RevealKnown as _};
use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderValue, Method, Request, Response, StatusCode},
    routing::{self, MethodRouter},
};
use http_body_util::BodyExt;
use keyway::{
    ConfigError, Guard, NewKey, Principal,
    http::{
        Access, OwnKey, RouteTable, Routes,
        axum::{Endpoint, any, delete, find_unguarded, get, post},
        problem::ProblemTypes,
    },
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
        .route("/settings", get(ok).custom_auth("session cookie"))
}

fn call(app: &Router, method: &Method, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    block_on(app.clone().oneshot(request.body(Body::empty()).unwrap())).unwrap()
}

fn key(world: &World, scopes: &[&str]) -> String {
    key_of(world, "acme", scopes)
}

fn key_of(world: &World, tenant: &str, scopes: &[&str]) -> String {
    let first = NewKey::named("A key").scopes(scopes.iter().copied());
    let created = world.keyring.create_tenant_with(tenant, "advanced", first);
    block_on(created).unwrap().1.token.reveal_known().to_string()
}

#[test]
fn table_lists_every_route_with_its_access() {
    let world = World::new();
    let text = "\
GET     /health         public
POST    /reports/{day}  manager or reporting
GET     /shop/jobs      operator.read
POST    /shop/jobs      operator.jobs
DELETE  /shop/jobs      operator.jobs
GET     /me             any key, or none
*       /files/{*path}  any key
GET     /settings       (session cookie)
";
    let table = routes(&world).table().unwrap();
    assert_eq!(table.to_string(), text);
    assert!(matches!(table.access("PUT", "/files/{*path}"), Some(Access::Required(_))));
    assert!(table.access("PUT", "/health").is_none());
    assert!(matches!(table.access("HEAD", "/shop/jobs"), Some(Access::Required(_))));
    assert!(table.access("HEAD", "/reports/{day}").is_none());
}

#[test]
fn alternatives_of_a_key_are_in_the_table_and_hold() {
    let world = World::new();
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/catalog", get(whoever).require(["reporting"]).optional())
        .route("/index", get(whoever).optional().require_any(["reporting", "manager"]))
        .route("/orders", get(whoever).require(["reporting"]).or("session cookie"))
        .route(
            "/mixed",
            get(ok).any_key().or("session cookie").post(ok).require(["manager"]).put(ok).optional(),
        );
    let table = routes.table().unwrap();
    let text = "\
GET     /catalog  reporting, or none
GET     /index    manager or reporting, or none
GET     /orders   reporting, or (session cookie)
GET     /mixed    any key, or (session cookie)
POST    /mixed    manager
PUT     /mixed    any key, or none
";
    assert_eq!(table.to_string(), text);
    let app = routes.build().unwrap();
    let (strong, weak) = (key(&world, &["reporting"]), key_of(&world, "beta", &["operator"]));
    for path in ["/catalog", "/index", "/orders"] {
        let status = |token| call(&app, &Method::GET, path, token).status().as_u16();
        let statuses = [None, Some(&*strong), Some(&*weak), Some("mm_live_x")].map(status);
        assert_eq!(statuses, [200, 200, 403, 401], "{path}");
        let vary = call(&app, &Method::GET, path, None).headers()["vary"].clone();
        assert_eq!(vary, "authorization", "{path}");
    }
    let status = |method| call(&app, &method, "/mixed", Some(&weak)).status().as_u16();
    assert_eq!([Method::GET, Method::POST, Method::PUT].map(status), [200, 403, 200]);
    assert_eq!(call(&app, &Method::POST, "/mixed", None).status(), 401);
}

#[test]
fn misplaced_alternative_stops_the_start() {
    let world = World::new();
    let fault = |endpoint: Endpoint| {
        let routes = Routes::new(&world.keyring).route("/x", endpoint);
        routes.build().unwrap_err().to_string()
    };
    let no_key = "/x has an alternative to a key that it does not require: call `or` right after \
                  `require`, `require_any` or `any_key`";
    for endpoint in [
        get(ok).or("session cookie"),
        get(ok).public().or("session cookie"),
        get(ok).optional().or("session cookie"),
        get(ok).any_key().post(ok).or("session cookie"),
        get(ok).any_key().or("session cookie").or("another"),
    ] {
        assert_eq!(fault(endpoint), no_key);
    }
    for endpoint in [
        get(ok).require(["erp"]).require(["manager"]),
        get(ok).require(["erp"]).optional().optional(),
        get(ok).optional().require(["erp"]).require(["erp"]),
        get(ok).public().optional(),
        get(ok).any_key().or("session cookie").optional(),
    ] {
        assert_eq!(fault(endpoint), "/x is declared twice");
    }
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
        // A caller without a key may learn whether a method exists.
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
    assert_eq!(error, ConfigError::UndeclaredRoutes(forgotten));
    assert_eq!(error.to_string(), "routes have no declaration: GET /forgotten, POST /half");
}

#[test]
fn other_route_errors_stop_the_start_and_are_named() {
    let world = World::new();
    let with = |path, endpoint: Endpoint| {
        Routes::new(&world.keyring).route("/twice", any(ok).public()).route(path, endpoint).build()
    };
    let rows = [
        (
            with("/x", get(ok).require(["reports"])).unwrap_err(),
            "the requirement of GET /x: scope `reports` is not declared",
        ),
        (
            with("/x", get(ok).require([""; 0])).unwrap_err(),
            "the requirement of GET /x: a requirement names at least one scope; `require_none` is for \
             routes without any",
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
    let error = with("/x", get(ok).require(["reports"])).unwrap_err();
    let cause = Box::new(ConfigError::UnknownScope("reports".into()));
    assert_eq!(error, ConfigError::In { place: "the requirement of GET /x".into(), cause });
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
    let table = routes(&world).table().unwrap();
    let app: Router = routes(&world).build().unwrap();
    assert_eq!(block_on(find_unguarded(&table, &app)), [""; 0]);

    let app: Router = Routes::new(&world.keyring)
        .route("/reports/{day}", post(ok).public())
        .route("/shop/jobs", get(ok).any_key().post(ok).any_key())
        .build()
        .unwrap();
    let open = ["POST /reports/{day}: 200", "DELETE /shop/jobs: 405", "* /files/{*path}: 404"];
    assert_eq!(block_on(find_unguarded(&table, &app)), open);

    // Neither another layer's 401 nor a challenge after the handler's work counts as a guard's refusal.
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/reports", get(ok).any_key())
        .route("/jobs", get(ok).any_key());
    let table = routes.table().unwrap();
    let with = |status: u16, challenge: &'static str| {
        let answer = move || {
            ready((StatusCode::from_u16(status).unwrap(), [("www-authenticate", challenge)]))
        };
        routing::get(answer)
    };
    let app = Router::new()
        .route("/reports", with(401, "Basic realm=\"mm\""))
        .route("/jobs", with(200, "Bearer realm=\"mm\""));
    assert_eq!(block_on(find_unguarded(&table, &app)), ["GET /reports: 401", "GET /jobs: 200"]);
}

/// Returns the open routes of `table` if every method of `/files` except `open` has a guard.
fn open_for(world: &World, table: &RouteTable, open: &[&'static str]) -> Vec<String> {
    let guard = Guard::new(&world.keyring);
    let open: Vec<Method> = open.iter().map(|method| method.parse().unwrap()).collect();
    let choose = move |request: Request<Body>| {
        let (guard, is_open) = (guard.clone(), open.contains(request.method()));
        async move {
            let inner = tower::service_fn(async |_| Ok(Response::new(Body::empty())));
            if is_open {
                return inner.oneshot(request).await;
            }
            let response = guard.layer(inner).oneshot(request).await;
            response.map(|response| response.map(Body::new))
        }
    };
    let app = Router::new().route_service("/files/{*path}", tower::service_fn(choose));
    block_on(find_unguarded(table, &app))
}

#[test]
fn probe_calls_a_route_of_all_methods_with_each() {
    let world = World::new();
    let routes: Routes<MethodRouter> =
        Routes::new(&world.keyring).route("/files/{*path}", any(ok).any_key());
    let table = routes.table().unwrap();
    assert_eq!(open_for(&world, &table, &[]), [""; 0]);
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"];
    for method in methods {
        let expected = [format!("{method} /files/{{*path}}: 200")];
        assert_eq!(open_for(&world, &table, &[method]), expected);
    }
    assert_eq!(open_for(&world, &table, &methods), ["* /files/{*path}: 200"]);
    let get: Routes<MethodRouter> =
        Routes::new(&world.keyring).route("/files/{*path}", get(ok).any_key());
    let table = get.table().unwrap();
    assert_eq!(open_for(&world, &table, &["HEAD"]), ["HEAD /files/{*path}: 200"]);
    assert_eq!(open_for(&world, &table, &["GET", "HEAD"]), ["GET /files/{*path}: 200"]);
}

#[test]
fn probe_knows_a_preflight_from_an_open_route() {
    fn cors(mut response: Response<Body>) -> Response<Body> {
        response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
        response
    }
    let world = World::new();
    let routes = || -> Routes<MethodRouter> {
        Routes::new(&world.keyring).route("/files", any(ok).any_key())
    };
    let table = routes().table().unwrap();
    // Like a CORS layer: it responds to every `OPTIONS` around all routes.
    let preflight = axum::middleware::from_fn(
        |request: Request<Body>, next: axum::middleware::Next| async move {
            if request.method() == Method::OPTIONS {
                return cors(Response::new(Body::empty()));
            }
            cors(next.run(request).await)
        },
    );
    let app = routes().build().unwrap().layer(preflight);
    assert_eq!(block_on(find_unguarded(&table, &app)), [""; 0]);
    // An open handler responds in the same way, and other paths do not.
    let open = Router::new().route(
        "/files",
        routing::any(ok)
            .layer(Guard::new(&world.keyring))
            .options(async || [("access-control-allow-origin", "*")]),
    );
    assert_eq!(block_on(find_unguarded(&table, &open)), ["OPTIONS /files: 200"]);
}

#[test]
fn one_guard_sets_up_all_routes() {
    let world = World::new();
    let guard = Guard::new(&world.keyring).key_header("X-Api-Key").unwrap().realm("shop").unwrap();
    let app =
        Routes::new(guard).route("/jobs", get(ok).require(["operator.read"])).build().unwrap();
    let token = key(&world, &["operator"]);
    let request = Request::get("/jobs").header("x-api-key", &token).body(Body::empty()).unwrap();
    assert_eq!(block_on(app.clone().oneshot(request)).unwrap().status(), 200);
    let refused = call(&app, &Method::GET, "/jobs", None);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"shop\"");
}

#[test]
fn guard_error_names_the_invalid_header_or_realm() {
    let guard = Guard::new(&World::new().keyring);
    let longest = "k".repeat(64);
    for name in ["x", "X-Api-Key", &longest] {
        assert!(guard.key_header(name).is_ok(), "{name}");
    }
    let too_long = "k".repeat(65);
    let taken = ["authorization", "Proxy-Authorization", "COOKIE", "host"];
    for name in taken.into_iter().chain(["", "x api key", "x-api-key:", "clé", &too_long]) {
        assert_eq!(guard.key_header(name).unwrap_err(), ConfigError::KeyHeader(name.into()));
    }

    let longest = "r".repeat(128);
    for realm in ["r", "the \"shop\" ~", &longest] {
        assert!(guard.realm(realm).is_ok(), "{realm}");
    }
    let too_long = "r".repeat(129);
    for realm in ["", "a\tb", "boutique d'été", "\u{7f}", &too_long] {
        assert_eq!(guard.realm(realm).unwrap_err(), ConfigError::Realm(realm.into()));
    }
}

#[test]
fn inner_guard_checks_its_scopes_against_the_outer_caller() {
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
        // The same policy, but other keys.
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
    let inner = Guard::new(&world.keyring).key_header("x-api-key").unwrap();
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
fn route_declaration_overrides_the_guards_requirement() {
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
fn optional_and_require_commute() {
    let world = World::new();
    let (manager, weak) = (key(&world, &["manager"]), key_of(&world, "beta", &["erp"]));
    let status = |guard: &Guard, token| {
        let app = Router::new().route("/", routing::get(ok).layer(guard.clone()));
        call(&app, &Method::GET, "/", token).status().as_u16()
    };
    let guard = Guard::new(&world.keyring);
    let scopes = ["manager", "operator"];
    for optional in [
        guard.optional().require(["manager"]).unwrap(),
        guard.require(["manager"]).unwrap().optional(),
        guard.optional().require_any(scopes).unwrap(),
        guard.require_any(scopes).unwrap().optional(),
        // Other settings in between make no difference.
        guard.optional().realm("mm").unwrap().require(["manager"]).unwrap().keep_credential(),
    ] {
        let statuses = [None, Some(&*manager), Some(&*weak)].map(|token| status(&optional, token));
        assert_eq!(statuses, [200, 200, 403], "{optional:?}");
    }
    for required in [guard.require(["manager"]).unwrap(), guard.require_any(scopes).unwrap()] {
        let statuses = [None, Some(&*manager), Some(&*weak)].map(|token| status(&required, token));
        assert_eq!(statuses, [401, 200, 403], "{required:?}");
    }
}

#[test]
fn nested_routes_keep_their_guard() {
    let (shop, office) = (World::new(), World::new());
    let inner = Guard::new(&office.keyring).key_header("x-office-key").unwrap();
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
fn handler_of_one_method_serves_no_other() {
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
fn admit_without_a_framework_returns_the_principal() {
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

/// A service that responds once and is busy afterwards.
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
fn guarded_service_is_ready_when_the_inner_one_is() {
    let world = World::new();
    let mut service = Guard::new(&world.keyring).optional().layer(Once::default());
    let answer = block_on(block_on(service.ready()).unwrap().call(Request::new(Body::empty())));
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(block_on(service.ready()).err(), Some("busy"));
}

#[test]
fn refusal_body_is_one_frame_and_reports_its_end() {
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

#[test]
fn guard_for_fresh_data_reads_a_cached_key_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reads = || world.store.calls("lookup");
    let app = |guard: Guard| Router::new().route("/", routing::get(ok).layer(guard));
    let cached = app(Guard::new(&world.keyring));
    let fresh = app(Guard::new(&world.keyring).freshness(Freshness::Now));
    let status = |app: &Router| call(app, &Method::GET, "/", Some(&held.token)).status().as_u16();
    assert_eq!(status(&cached), 200);
    let before = reads();
    // The control: without freshness, a cached key is not read.
    assert_eq!((status(&cached), reads() - before), (200, 0));
    assert_eq!((status(&fresh), reads() - before), (200, 1));
    // Another node disables the key, and this node is not notified.
    let elsewhere = world.another_node();
    let keys = elsewhere.keyring.tenant("acme".parse().unwrap());
    block_on(keys.disable(held.key.id())).unwrap();
    assert_eq!((status(&cached), status(&fresh)), (200, 401));
}

#[test]
fn caller_of_another_keyring_does_not_pass_an_optional_guard() {
    let (world, other) = (World::new(), World::new());
    let token = other.tenant_with_key("evil").token;
    let whoever = async |caller: Option<axum::Extension<Principal>>| {
        caller.map_or("nobody".into(), |caller| caller.tenant().to_owned())
    };
    let app = |inner: Guard| {
        let route = routing::get(whoever).layer(inner);
        Router::new().route("/", route).layer(Guard::new(&other.keyring))
    };
    let body = |app: &Router| {
        let response = call(app, &Method::GET, "/", Some(&token));
        let body = block_on(axum::body::to_bytes(response.into_body(), 1_000)).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    // The control: a guard of the same keyring accepts the caller.
    assert_eq!(body(&app(Guard::new(&other.keyring).optional())), "evil");
    // This guard has not admitted anyone, and the request no longer has a credential.
    assert_eq!(body(&app(Guard::new(&world.keyring).optional())), "nobody");
}

#[test]
fn problem_types_have_the_address_of_the_application() {
    let world = World::new();
    let token = key(&world, &["erp"]);
    let types = ProblemTypes::new("https://errors.example.com/keys#").unwrap();
    let guard = Guard::new(&world.keyring).problem_types(types.clone());
    let own = OwnKey::new(&world.keyring, &guard);
    // Later settings keep the address.
    let guard = guard.key_header("x-api-key").unwrap().realm("shop").unwrap();
    let routes = Routes::new(guard)
        .route("/jobs", get(ok).require(["manager"]))
        .route("/me", get(async |_: Principal| "").optional())
        .route("/key", keyway::http::axum::own_key(&own));
    let app = routes.build().unwrap();
    let kind = |path: &str, token| {
        let response = call(&app, &Method::GET, path, token);
        let body = block_on(axum::body::to_bytes(response.into_body(), 10_000)).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["type"].as_str().unwrap().to_owned()
    };
    for (path, token, name) in [
        ("/jobs", None, "missing-credential"),
        ("/jobs", Some("a,b"), "invalid-request"),
        ("/jobs", Some("mm_live_x"), "invalid-token"),
        ("/jobs", Some(&*token), "insufficient-scope"),
        ("/me", None, "missing-credential"),
        ("/key", None, "missing-credential"),
        ("/key", Some("mm_live_x"), "invalid-token"),
    ] {
        assert_eq!(kind(path, token), types.link(name), "{path}");
        assert!(types.link(name).starts_with("https://errors.example.com/keys#"), "{name}");
    }
    for base in ["", "https://errors.example.com/API keys#", "https://\"", "https://\u{fc}/"] {
        assert!(ProblemTypes::new(base).is_err(), "{base}");
    }
    assert!(ProblemTypes::new("x".repeat(256)).is_ok());
    assert!(ProblemTypes::new("x".repeat(257)).is_err());
}

#[test]
fn guard_of_one_header_leaves_authorization_alone() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let sees = async |headers: axum::http::HeaderMap| {
        ["authorization", "x-api-key"].map(|name| headers.contains_key(name).to_string()).join(" ")
    };
    let app = |guard: Guard| Router::new().route("/", routing::get(sees).layer(guard));
    let send = |guard: Guard, headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let response = block_on(app(guard).oneshot(request.body(Body::empty()).unwrap())).unwrap();
        let (parts, body) = response.into_parts();
        let body = block_on(axum::body::to_bytes(body, 10_000)).unwrap();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    };
    let only = Guard::new(&world.keyring).key_header_only("X-Api-Key").unwrap();
    let either = Guard::new(&world.keyring).key_header("X-Api-Key").unwrap();
    let foreign = ("authorization", "Bearer of-the-gateway");
    let both = [foreign, ("x-api-key", &*held.token)];
    let (status, headers, body) = send(only.clone(), &both);
    assert_eq!((status, &*body), (200, "true false"));
    assert_eq!(headers["vary"], "x-api-key");
    // The control: a guard that reads both headers refuses two credentials.
    assert_eq!(send(either, &both).0, 400);
    let bearer = format!("Bearer {}", held.token);
    for headers in [vec![], vec![foreign], vec![("authorization", &*bearer)]] {
        let (status, headers, body) = send(only.clone(), &headers);
        assert_eq!(status, 401);
        assert_eq!(headers["www-authenticate"], "ApiKey realm=\"mm\", header=\"x-api-key\"");
        assert!(body.contains("send the API key as `x-api-key: <API key>`"), "{body}");
    }
}

#[test]
fn refusal_says_what_the_tier_withholds() {
    let world = World::new();
    let token = key(&world, &["manager", "operator.read"]);
    let guard = Guard::new(&world.keyring);
    let routes: Routes<MethodRouter> = Routes::new(guard)
        .route("/manage", get(ok).require(["manager"]))
        .route("/both", get(ok).require(["manager", "reporting"]))
        .route("/jobs", get(ok).require(["operator.jobs"]));
    let app = routes.build().unwrap();
    let body = |path| {
        let response = call(&app, &Method::GET, path, Some(&token));
        let body = block_on(axum::body::to_bytes(response.into_body(), 10_000)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()
    };
    assert_eq!(call(&app, &Method::GET, "/manage", Some(&token)).status(), 200);
    // The lower tier does not have `manager`, which stays in the key's record.
    block_on(world.keyring.set_tier(&"acme".parse().unwrap(), "lite")).unwrap();
    let seen = body("/manage");
    assert_eq!(
        seen["detail"],
        "missing scope `manager`; the tier of the tenant withholds scope `manager`"
    );
    assert_eq!(seen["withheld"], serde_json::json!(["manager"]));
    let seen = body("/both");
    assert_eq!(seen["scopes"], serde_json::json!(["manager", "reporting"]));
    assert_eq!(seen["withheld"], serde_json::json!(["manager"]));
    // The control: a scope that was never granted is only missing.
    let seen = body("/jobs");
    assert_eq!(
        (&seen["detail"], &seen["withheld"]),
        (&"missing scope `operator.jobs`".into(), &serde_json::Value::Null)
    );
}
