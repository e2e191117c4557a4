//! The guard and the routes in an actix-web app.

use std::{
    future::Future,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread,
};

use crate::support::{World, block_on, give_up_after, with_text};
use actix_web::{
    App, HttpMessage, HttpRequest, HttpResponse, HttpServer, ResponseError,
    body::MessageBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::Method,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web::{self, ServiceConfig},
};
use keyway::{
    ConfigError, Guard, Principal,
    http::{
        Response, Routes,
        actix::{ActixHandler, Endpoint, any, delete, get, options, post, put},
    },
};

/// A response as a client sees it.
#[derive(Debug)]
struct Seen {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// Returns the name of the problem type in the body.
    fn problem(&self) -> &str {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let (_, rest) = self.body.split_once("index.html#").unwrap();
        rest.split_once('"').unwrap().0
    }
}

async fn seen(response: ServiceResponse<impl MessageBody>) -> Seen {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let headers = response.headers().iter();
    Seen {
        status: response.status().as_u16(),
        fields: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
        body: text(&read_body(response).await),
    }
}

/// Returns the response of a fresh app to one request.
fn answer(configure: impl FnOnce(&mut ServiceConfig), request: TestRequest) -> Seen {
    run(async {
        let app = init_service(App::new().configure(configure)).await;
        seen(call_service(&app, request.to_request()).await).await
    })
}

fn run<F: Future>(future: F) -> F::Output {
    System::new().block_on(future)
}

fn at(method: Method, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(method)
}

fn with_key(path: &str, token: &str) -> TestRequest {
    TestRequest::with_uri(path).insert_header(("authorization", format!("Bearer {token}")))
}

async fn who(caller: Principal) -> String {
    format!("{} calls", caller.tenant())
}

async fn who_if_any(caller: Option<Principal>) -> String {
    caller.map_or("somebody calls".into(), |caller| format!("{} calls", caller.tenant()))
}

/// Returns the names of the headers with credentials that reach a handler.
async fn credentials(request: HttpRequest) -> String {
    let names = ["authorization", "x-api-key"];
    names.into_iter().filter(|name| request.headers().contains_key(*name)).collect()
}

/// Returns a handler that counts its calls.
fn counted(calls: &Arc<AtomicUsize>) -> impl Fn() -> Ready + Clone + Send + Sync + 'static {
    let calls = Arc::clone(calls);
    move || {
        calls.fetch_add(1, SeqCst);
        std::future::ready("done")
    }
}

type Ready = std::future::Ready<&'static str>;

/// Builds routes with one declared route.
fn single(
    guard: impl Into<Guard>,
    endpoint: Endpoint,
) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    Routes::new(guard).route("/", endpoint).build().unwrap()
}

// Responses to callers.

#[test]
fn caller_with_the_scope_reaches_the_handler_as_principal() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let routes = single(&world.keyring, get(who).require(["reporting"]));
    // The first request reads the store, the second one the cache.
    for _ in 0..2 {
        let seen = answer(routes.clone(), with_key("/", &held.token));
        assert_eq!((seen.status, &*seen.body), (200, "acme calls"));
        // The tier of this key has no rate.
        assert_eq!(seen.field("ratelimit"), None);
        assert_eq!(seen.field("ratelimit-policy"), None);
    }
}

#[test]
fn refusal_has_status_challenge_and_problem_without_handler() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let disabled = world.tenant_with_key("disabled");
    block_on(disabled.keys.disable(disabled.key.id())).unwrap();
    let down = world.another_node();
    down.store.set_down(true);
    let lying = world.another_node();
    lying.store.rewrite_keys(|key| Ok(with_text(&key, "first", "third")));
    let forged = held.token.replace("mm_live_", "mm_test_");

    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let none = "Bearer realm=\"mm\"";
    let invalid_request = "Bearer realm=\"mm\", error=\"invalid_request\"";
    let invalid_token = "Bearer realm=\"mm\", error=\"invalid_token\"";
    let insufficient =
        "Bearer realm=\"mm\", error=\"insufficient_scope\", scope=\"operator.jobs reporting\"";
    for (world, credential, status, challenge, problem) in [
        (&world, None, 401, Some(none), "missing-credential"),
        (&world, Some("Basic YTpi".into()), 401, Some(none), "missing-credential"),
        (&world, Some("Bearer a b".into()), 400, Some(invalid_request), "invalid-request"),
        (&world, bearer(&forged), 401, Some(invalid_token), "invalid-token"),
        (&world, bearer(&disabled.token), 401, Some(invalid_token), "inactive-key"),
        (&world, bearer(&held.token), 403, Some(insufficient), "insufficient-scope"),
        (&lying, bearer(&held.token), 401, Some(invalid_token), "invalid-token"),
        (&down, bearer(&held.token), 503, None, "unavailable"),
    ] {
        let calls = Arc::default();
        let endpoint = get(counted(&calls)).require(["reporting", "operator.jobs"]);
        let mut request = TestRequest::default();
        if let Some(credential) = credential {
            request = request.insert_header(("authorization", credential));
        }
        let seen = answer(single(&world.keyring, endpoint), request);
        assert_eq!(seen.status, status, "{seen:?}");
        assert_eq!(seen.problem(), problem);
        assert_eq!(seen.field("www-authenticate"), challenge);
        assert_eq!(seen.field("retry-after"), (status == 503).then_some("1"));
        assert_eq!(seen.field("cache-control"), Some("no-store"));
        assert_eq!(calls.load(SeqCst), 0);
    }
}

#[test]
fn second_header_is_a_second_credential() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let routes = single(&world.keyring, get(who).any_key());
    let request = with_key("/", &held.token);
    let request = request.append_header(("authorization", format!("Bearer {}", held.token)));
    assert_eq!(answer(routes, request).problem(), "invalid-request");
}

#[test]
fn credential_is_removed_before_the_handler_unless_kept() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let removing = Guard::new(&world.keyring).key_header("X-Api-Key").unwrap();
    let keeping = removing.keep_credential();
    let fields = [("authorization", format!("Bearer {}", held.token)), ("x-api-key", held.token)];
    for field in fields {
        for (guard, left) in [(&removing, ""), (&keeping, field.0)] {
            // The first request reads the store, the second one the cache.
            for _ in 0..2 {
                let routes = single(guard.clone(), get(credentials).any_key());
                let request = TestRequest::default().insert_header(field.clone());
                let seen = answer(routes, request);
                assert_eq!((seen.status, &*seen.body), (200, left));
            }
        }
    }
}

#[test]
fn key_in_own_header_is_read_only_where_the_guard_says_so() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let plain = Guard::new(&world.keyring);
    let with_field = plain.key_header("x-api-key").unwrap();
    let request = || TestRequest::default().insert_header(("x-api-key", &*held.token));
    let get = || get(who).any_key();
    assert_eq!(answer(single(with_field.clone(), get()), request()).body, "acme calls");
    assert_eq!(answer(single(plain, get()), request()).problem(), "missing-credential");
    let both = request().insert_header(("authorization", format!("Bearer {}", held.token)));
    assert_eq!(answer(single(with_field, get()), both).problem(), "invalid-request");
}

#[test]
fn optional_route_admits_no_key_or_a_valid_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let routes = single(&world.keyring, get(who_if_any).optional());
    let seen = answer(routes.clone(), TestRequest::default());
    assert_eq!((seen.status, &*seen.body), (200, "somebody calls"));
    assert_eq!(answer(routes.clone(), with_key("/", &held.token)).body, "acme calls");
    let forged = held.token.replace("mm_live_", "mm_test_");
    assert_eq!(answer(routes, with_key("/", &forged)).problem(), "invalid-token");
    // A handler that takes a `Principal` needs a key, even on an optional route.
    let routes = single(&world.keyring, get(who).optional());
    let refused = answer(routes, TestRequest::default());
    assert_eq!((refused.status, refused.problem()), (401, "missing-credential"));
}

#[test]
fn unguarded_route_gets_the_request_unchanged_without_caller() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for declare in [Endpoint::public, |endpoint: Endpoint| endpoint.custom_auth("cookie")] {
        let ask = |endpoint| {
            let request = with_key("/", &held.token);
            answer(single(&world.keyring, declare(endpoint)), request)
        };
        assert_eq!(ask(get(credentials)).body, "authorization");
        assert_eq!(ask(get(who_if_any)).body, "somebody calls");
        let seen = ask(get(who));
        assert_eq!((seen.status, seen.problem()), (500, "unguarded-route"));
    }
    assert_eq!(world.store.calls("lookup"), 0);
}

#[test]
fn handler_may_return_a_refusal_as_response_or_error() {
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let refusal = block_on(guard.admit(&[][..] as &[(&str, &[u8])])).unwrap_err();
    assert_eq!(ResponseError::status_code(&refusal), 401);
    assert_eq!(refusal.to_string(), "responded with status 401");
    let (answered, failed) = (refusal.clone(), refusal);
    let answers = web::to(move || std::future::ready(answered.clone()));
    let fails = web::to(move || std::future::ready(Err::<&str, Response>(failed.clone())));
    for route in [answers, fails] {
        let seen = answer(|config| _ = config.route("/", route), TestRequest::default());
        assert_eq!((seen.status, seen.problem()), (401, "missing-credential"));
        assert_eq!(seen.field("www-authenticate"), Some("Bearer realm=\"mm\""));
    }
}

/// A service that is not ready.
struct Busy;

impl Service<ServiceRequest> for Busy {
    type Response = ServiceResponse;
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<ServiceResponse, actix_web::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), actix_web::Error>> {
        Poll::Pending
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        std::future::ready(Ok(request.into_response(HttpResponse::Ok().finish())))
    }
}

#[test]
fn guarded_service_is_ready_when_the_inner_one_is() {
    let guard = Guard::new(&World::new().keyring);
    let guarded = block_on(guard.new_transform(Busy)).unwrap();
    assert!(guarded.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
}

// Routing of requests to handlers.

fn table(world: &World) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    Routes::new(&world.keyring)
        .route("/jobs", post(async || "started").require(["operator.jobs"]))
        .route("/jobs", get(async || "jobs").require(["reporting"]))
        .route("/jobs", delete(async || "none").put(async || "jobs").any_key())
        .route("/echo", options(async || "echo").public())
        .route("/all", any(async |method: Method| method.to_string()).public())
        .route("/every", any(who).any_key())
        .nest("/v1/", Routes::new(&world.keyring).route("/jobs", put(who).any_key()))
        .build()
        .unwrap()
}

#[test]
fn method_without_handler_gets_405_and_allow_without_a_key() {
    let world = World::new();
    for (method, path, allow) in [
        (Method::PATCH, "/jobs", "POST,GET,HEAD,DELETE,PUT"),
        (Method::OPTIONS, "/jobs", "POST,GET,HEAD,DELETE,PUT"),
        (Method::from_bytes(b"PURGE").unwrap(), "/jobs", "POST,GET,HEAD,DELETE,PUT"),
        (Method::GET, "/echo", "OPTIONS"),
        (Method::HEAD, "/echo", "OPTIONS"),
        (Method::POST, "/v1/jobs", "PUT"),
    ] {
        let seen = answer(table(&world), at(method, path));
        assert_eq!((seen.status, &*seen.body), (405, ""), "{path}");
        assert_eq!(seen.field("allow"), Some(allow));
        assert_eq!(seen.field("content-type"), None);
        assert_eq!(seen.field("www-authenticate"), None);
    }
}

#[test]
fn get_serves_head_with_the_same_guard() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let seen = answer(table(&world), at(Method::HEAD, "/jobs"));
    assert_eq!(seen.status, 401);
    let request = with_key("/jobs", &held.token).method(Method::HEAD);
    assert_eq!(answer(table(&world), request).status, 200);
}

#[test]
fn a_handler_of_any_method_has_a_guard_for_all_of_them() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::CONNECT, Method::TRACE] {
        assert_eq!(answer(table(&world), at(method.clone(), "/every")).status, 401);
        let request = with_key("/every", &held.token).method(method);
        assert_eq!(answer(table(&world), request).body, "acme calls");
    }
}

#[test]
fn custom_route_serves_only_the_method_of_its_endpoint() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let route = || ActixHandler::new(|| web::route().to(async || "of the host"));
    let routes = Routes::new(&world.keyring)
        .route("/", get(async || "got").and("TRACE", route()).and("HEAD", route()).any_key())
        .build()
        .unwrap();
    for (method, status, body) in [
        (Method::TRACE, 200, "of the host"),
        (Method::HEAD, 200, "of the host"),
        (Method::GET, 200, "got"),
        (Method::POST, 405, ""),
    ] {
        let seen = answer(routes.clone(), with_key("/", &held.token).method(method.clone()));
        assert_eq!((seen.status, &*seen.body), (status, body));
        let refused = if status == 405 { 405 } else { 401 };
        assert_eq!(answer(routes.clone(), at(method, "/")).status, refused);
    }
}

#[test]
fn an_escaped_path_has_the_guard_of_the_plain_one() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    assert_eq!(answer(table(&world), at(Method::GET, "/%6aobs")).status, 401);
    assert_eq!(answer(table(&world), with_key("/%6aobs", &held.token)).body, "jobs");
}

#[test]
fn each_method_of_a_path_has_its_own_guard() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for (method, path, status, body) in [
        (Method::GET, "/jobs", 200, Some("jobs")),
        (Method::POST, "/jobs", 403, None),
        (Method::DELETE, "/jobs", 200, Some("none")),
        (Method::PUT, "/v1/jobs", 200, Some("acme calls")),
        (Method::OPTIONS, "/echo", 200, Some("echo")),
        (Method::PATCH, "/all", 200, Some("PATCH")),
        (Method::OPTIONS, "/all", 200, Some("OPTIONS")),
    ] {
        let seen = answer(table(&world), with_key(path, &held.token).method(method));
        assert_eq!(seen.status, status, "{path}");
        assert!(body.is_none_or(|body| body == seen.body), "{seen:?}");
    }
}

#[test]
fn unknown_path_is_404_for_every_caller() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for path in ["/", "/job", "/jobs/", "/jobs/1", "/v1", "/v1/jobs/", "/JOBS"] {
        for request in [TestRequest::with_uri(path), with_key(path, &held.token)] {
            let seen = answer(table(&world), request);
            assert_eq!((seen.status, &*seen.body), (404, ""), "{path}");
            assert_eq!(seen.fields, []);
        }
    }
}

#[test]
fn fixed_segment_beats_parameter_in_any_declaration_order() {
    let world = World::new();
    let (one, search) = (get(async || "one").public(), post(async || "found").public());
    let first = Routes::new(&world.keyring).route("/keys/{id}", one.clone());
    let last = Routes::new(&world.keyring).route("/keys/search", search.clone());
    let orders = [first.route("/keys/search", search), last.route("/keys/{id}", one)];
    for routes in orders {
        let routes = routes.build().unwrap();
        assert_eq!(answer(routes.clone(), at(Method::POST, "/keys/search")).body, "found");
        assert_eq!(answer(routes.clone(), at(Method::GET, "/keys/7")).body, "one");
        assert_eq!(answer(routes, at(Method::POST, "/keys/7")).status, 405);
    }
}

#[test]
fn wider_paths_are_tried_later_in_any_declaration_order() {
    let world = World::new();
    // Each path, with a request that only this path should take.
    let paths = [
        (r"/{any:.+}", "/Z/Y/X/W"),
        (r"/{shop}/keys/{id}", "/a/keys/b"),
        (r"/{shop}/keys/{id:\d+}", "/a/keys/7"),
        (r"/{shop}/keys/v{id}", "/a/keys/v7"),
        (r"/{shop}/{any:[a-z/]+}", "/a/b/c"),
        (r"/{shop}/keys", "/a/keys"),
    ];
    let said = |path: &'static str| move || async move { path };
    for turn in 0..paths.len() {
        for is_reversed in [false, true] {
            let mut order = paths;
            order.rotate_left(turn);
            if is_reversed {
                order.reverse();
            }
            let add = |routes: Routes<ActixHandler>, (path, _): (&'static str, _)| {
                routes.route(path, get(said(path)).public())
            };
            let built = order.into_iter().fold(Routes::new(&world.keyring), add).build().unwrap();
            for (path, request) in paths {
                assert_eq!(answer(built.clone(), at(Method::GET, request)).body, path, "{order:?}");
            }
        }
    }
}

#[test]
fn routes_work_inside_an_actix_scope() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let app = |config: &mut ServiceConfig| {
        config.service(web::scope("/api").configure(table(&world)));
    };
    assert_eq!(answer(app, with_key("/api/jobs", &held.token)).body, "jobs");
    assert_eq!(answer(app, at(Method::GET, "/api/jobs")).status, 401);
    assert_eq!(answer(app, with_key("/jobs", &held.token)).status, 404);
}

// Errors at the start.

fn fault(routes: Routes<ActixHandler>) -> ConfigError {
    routes.build().map(drop).unwrap_err()
}

#[test]
fn routes_with_a_fault_are_not_built() {
    let world = World::new();
    let routes = || Routes::new(&world.keyring);
    let ok = || async || "ok";

    let undeclared = routes().route("/a", get(ok()).public().post(ok())).route("/b", any(ok()));
    let expected = ConfigError::UndeclaredRoutes(vec!["POST /a".into(), "* /b".into()]);
    assert_eq!(fault(undeclared), expected);

    let unknown = fault(routes().route("/a", get(ok()).require(["reports"])));
    let cause = Box::new(ConfigError::UnknownScope("reports".into()));
    assert_eq!(unknown, ConfigError::In { place: "the requirement of GET /a".into(), cause });

    let twice = routes().route("/a", get(ok()).public()).route("/a", get(ok()).public());
    assert_eq!(fault(twice), ConfigError::DuplicateRoute("GET /a".into()));

    let both = routes().route("/a", any(ok()).public()).route("/a", get(ok()).public());
    assert_eq!(fault(both), ConfigError::DuplicateRoute("GET /a".into()));

    let ambiguous = routes().route("/{a}", get(ok()).public()).route("/{b}", put(ok()).public());
    assert_eq!(fault(ambiguous), ConfigError::AmbiguousPaths("/{a}".into(), "/{b}".into()));

    let relative = routes().route("a", get(ok()).public());
    assert_eq!(fault(relative), ConfigError::RoutePath("a".into()));
}

#[test]
fn invalid_path_stops_the_start_and_not_a_worker() {
    let world = World::new();
    let routes = Routes::new(&world.keyring).route("/{a", get(async || "ok").public());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(routes.build()))).is_err());
}

// The guard as a middleware of existing apps, scopes, resources and routes.

#[test]
fn a_guard_wraps_apps_scopes_resources_and_routes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = || world.keyring.require(["reporting"]).unwrap();
    let resource = || web::resource("/").get(who);
    let on_resource = |config: &mut ServiceConfig| {
        config.service(resource().wrap(guard()));
    };
    let on_scope = |config: &mut ServiceConfig| {
        config.service(web::scope("").service(resource()).wrap(guard()));
    };
    let on_route = |config: &mut ServiceConfig| {
        config.route("/", web::get().to(who).wrap(guard()));
    };
    let apps: [&dyn Fn(&mut ServiceConfig); 3] = [&on_resource, &on_scope, &on_route];
    for app in apps {
        assert_eq!(answer(app, with_key("/", &held.token)).body, "acme calls");
        assert_eq!(answer(app, TestRequest::default()).problem(), "missing-credential");
    }
    run(async {
        let app = init_service(App::new().service(resource()).wrap(guard())).await;
        let admitted = call_service(&app, with_key("/", &held.token).to_request()).await;
        assert_eq!(seen(admitted).await.body, "acme calls");
        // A caller without a key does not learn which paths exist.
        let refused = call_service(&app, TestRequest::with_uri("/none").to_request()).await;
        assert_eq!(seen(refused).await.problem(), "missing-credential");
    });
}

#[test]
fn outer_middleware_sees_rejections_and_principal() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    run(async {
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&log);
        let app = App::new()
            .configure(single(&world.keyring, get(async || "ok").any_key()))
            .wrap_fn(move |request, service| {
                let (told, response) = (Arc::clone(&told), service.call(request));
                async move {
                    let response = response.await?;
                    let extensions = response.request().extensions();
                    let caller = extensions.get::<Principal>().map(|it| it.tenant().to_owned());
                    drop(extensions);
                    told.lock().unwrap().push((response.status().as_u16(), caller));
                    Ok(response)
                }
            });
        let app = init_service(app).await;
        for request in [TestRequest::default(), with_key("/", &held.token)] {
            call_service(&app, request.to_request()).await;
        }
        assert_eq!(*log.lock().unwrap(), [(401, None), (200, Some("acme".into()))]);
    });
}

#[test]
fn inner_guard_checks_its_scopes_against_the_outer_caller() {
    let (world, other) = (World::new(), World::new());
    let held = world.tenant_with_key("acme");
    let outer = Guard::new(&world.keyring);
    let ask = |outer: &Guard, inner: Guard| {
        let resource = web::resource("/").get(who_if_any).wrap(inner).wrap(outer.clone());
        answer(|config| _ = config.service(resource), with_key("/", &held.token))
    };
    let inner = |scope| world.keyring.require([scope]).unwrap();
    assert_eq!(ask(&outer, inner("reporting")).body, "acme calls");
    assert_eq!(ask(&outer, inner("manager")).problem(), "insufficient-scope");
    assert_eq!(ask(&outer.keep_credential(), inner("reporting")).body, "acme calls");
    assert_eq!(ask(&outer, Guard::new(&world.keyring).optional()).body, "acme calls");
    // A caller that another keyring's guard admitted does not count.
    assert_eq!(ask(&outer, Guard::new(&other.keyring)).problem(), "missing-credential");
    assert_eq!(ask(&outer, Guard::new(&other.keyring).optional()).body, "somebody calls");
}

#[test]
fn credential_held_by_outer_middleware_reaches_no_handler() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let calls = Arc::default();
    let resource = web::resource("/")
        .get(counted(&calls))
        .wrap(Guard::new(&world.keyring))
        .wrap_fn(|request, service| {
            let clone = request.request().clone();
            let response = service.call(request);
            async move {
                let response = response.await;
                drop(clone);
                response
            }
        });
    let app = |config: &mut ServiceConfig| _ = config.service(resource);
    let asked = catch_unwind(AssertUnwindSafe(|| answer(app, with_key("/", &held.token))));
    assert!(asked.is_err());
    assert_eq!(calls.load(SeqCst), 0);
}

// Requests that wait for a lookup.

#[test]
fn request_dropped_during_lookup_leaves_no_state() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let calls = Arc::default();
    let routes = single(&world.keyring, get(counted(&calls)).any_key());
    run(async {
        let app = init_service(App::new().configure(routes)).await;
        let ask = || app.call(with_key("/", &held.token).to_request());

        world.store.hold("lookup");
        assert!(give_up_after(3, ask()).is_none());
        assert_eq!(world.store.calls("lookup"), 1);
        // A future that is never polled.
        drop(ask());
        assert_eq!(calls.load(SeqCst), 0);

        world.store.release("lookup");
        let response = ask().await.unwrap();
        assert_eq!(seen(response).await.body, "done");
        assert_eq!(calls.load(SeqCst), 1);

        // A request object that actix-web's pool reuses has no caller.
        let nobody = app.call(TestRequest::default().to_request()).await.unwrap();
        assert!(nobody.request().extensions().get::<Principal>().is_none());
        assert_eq!(nobody.status(), 401);
    });
}

#[test]
fn waiting_requests_are_decided_by_their_own_guards() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let other = world.tenant_with_key("other");
    let routes = Routes::new(&world.keyring)
        .route("/reports", get(who).require(["reporting"]))
        .route("/jobs", get(who).require(["operator.jobs"]))
        .build()
        .unwrap();
    run(async {
        let app = init_service(App::new().configure(routes)).await;
        world.store.hold("lookup");
        let mut reports = pin!(app.call(with_key("/reports", &held.token).to_request()));
        let mut jobs = pin!(app.call(with_key("/jobs", &held.token).to_request()));
        let mut others = pin!(app.call(with_key("/reports", &other.token).to_request()));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(reports.as_mut().poll(&mut context).is_pending());
            assert!(jobs.as_mut().poll(&mut context).is_pending());
            assert!(others.as_mut().poll(&mut context).is_pending());
        }
        // A request that needs nothing from the store gets its response while the others wait.
        let refused = app.call(TestRequest::with_uri("/jobs").to_request()).await.unwrap();
        assert_eq!(refused.status(), 401);

        world.store.release("lookup");
        assert_eq!(seen(others.await.unwrap()).await.body, "other calls");
        assert_eq!(seen(jobs.await.unwrap()).await.status, 403);
        assert_eq!(seen(reports.await.unwrap()).await.body, "acme calls");
        assert_eq!(world.store.calls("lookup"), 2);
    });
}

#[test]
fn cached_key_is_admitted_in_one_poll_without_the_store() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let routes = single(&world.keyring, get(who).any_key());
    run(async {
        let app = init_service(App::new().configure(routes)).await;
        let ask = || app.call(with_key("/", &held.token).to_request());
        assert_eq!(ask().await.unwrap().status(), 200);
        world.store.set_down(true);
        assert_eq!(give_up_after(1, ask()).unwrap().unwrap().status(), 200);
    });
}

// Requests over a socket.

#[test]
fn every_worker_of_a_server_gets_the_routes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let routes = table(&world);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        System::new().block_on(async {
            let app = move || App::new().configure(routes.clone());
            let server = HttpServer::new(app).workers(2).disable_signals();
            let server = server.listen(listener).unwrap().run();
            sender.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let ask = |method: &str| {
        let request = format!(
            "{method} /jobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {}\r\n\r\n",
            held.token
        );
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..2 {
        let answer = ask("GET");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\njobs"));
        let answer = ask("HEAD");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("content-length: 4\r\n"), "{answer}");
        let answer = ask("PATCH");
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("content-length: 0\r\n"), "{answer}");
    }
    System::new().block_on(receiver.recv().unwrap().stop(false));
    server.join().unwrap();
}

#[test]
fn probe_finds_what_an_app_leaves_open() {
    let world = World::new();
    let routes = || {
        Routes::new(&world.keyring)
            .route("/jobs", get(who).any_key())
            .route("/files/{path:.*}", any(who).any_key())
            .route("/me", get(who_if_any).optional())
    };
    let table = routes().table().unwrap();
    let find = |configure: &dyn Fn(&mut ServiceConfig)| {
        System::new().block_on(async {
            let app = init_service(App::new().configure(configure)).await;
            keyway::http::actix::find_unguarded(&table, &app).await
        })
    };
    assert_eq!(find(&routes().build().unwrap()), [""; 0]);
    let open = |config: &mut ServiceConfig| {
        let guard = Guard::new(&world.keyring);
        let files = web::resource("/files/{path:.*}")
            .route(web::post().to(HttpResponse::Ok))
            .route(web::to(HttpResponse::Ok).wrap(guard.clone()));
        config.service(files);
        config.service(web::resource("/jobs").route(web::get().to(HttpResponse::Ok)));
    };
    let expected = ["GET /jobs: 200", "HEAD /jobs: 405", "POST /files/{path:.*}: 200"];
    assert_eq!(find(&open), expected);
}
