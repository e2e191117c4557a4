//! The reason that every refusal carries, and error bodies of the application's own on axum and actix-web.

use actix_web::{
    App, Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CONTENT_TYPE, HeaderValue},
    middleware::{ErrorHandlerResponse, ErrorHandlers, Next, from_fn},
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use axum::{Router, body::Body, middleware::map_response, routing};
use http::{Method, Request, StatusCode, header};
use keyway::{
    Guard, NewKey, Policy, Principal, Tier, VerifyError,
    grant::{Networks, OutsideGrant, ResourceDeclaration, Resources},
    http::{ForwardAuth, OwnKey, Reason, Refusal, Response, axum::own_key},
    rate::Rate,
    record::Suspension,
    scope::Scope,
};
use tower::ServiceExt;

use crate::support::{World, block_on, catalog, overheard::RevealKnown as _, with_text};

/// Returns a policy with the kind `machine`, and with one request a minute on the tier `slow`.
fn policy() -> Policy {
    let machine = ResourceDeclaration::new("machine", "for tests");
    let catalog = catalog().with_resources([machine]).unwrap();
    let rate = Rate { requests: 1, per_seconds: 60 };
    let tiers = [Tier::new("slow", 9).rate(rate), Tier::new("advanced", 9)];
    Policy::new("mm", catalog, tiers).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder)
}

/// Returns the `Authorization` of a new key of a tenant on the tier `advanced`.
fn issue(world: &World, tenant: &str, request: NewKey) -> String {
    let created = world.keyring.create_tenant_with(tenant, "advanced", request);
    format!("Bearer {}", &*block_on(created).unwrap().1.token.reveal_known())
}

fn reader() -> NewKey {
    NewKey::named("first").scopes(["reporting"]).resources("machine", Resources::All)
}

fn refuse(guard: &Guard, fields: &[(&'static str, &[u8])]) -> Response {
    block_on(guard.admit(fields)).unwrap_err()
}

/// Checks the reason of `answer`, which has this status, and returns the reason.
fn reason<'a>(answer: &'a Response, status: u16, name: &str) -> &'a Reason {
    assert_eq!(answer.status(), status, "{answer:?}");
    let refusal = answer.refusal().unwrap_or_else(|| panic!("{answer:?} has no reason"));
    assert_eq!((refusal.status(), refusal.name()), (status, name));
    let body: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(body["detail"], refusal.detail());
    assert!(body["type"].as_str().unwrap().ends_with(&format!("#{name}")));
    refusal.reason()
}

macro_rules! assert_reason {
    ($answer:expr, $status:literal, $name:literal, $reason:pat) => {
        let answer = $answer;
        let reason = reason(&answer, $status, $name);
        assert!(matches!(reason, $reason), "{reason:?}");
    };
}

#[test]
fn every_refusal_of_a_guard_has_its_reason() {
    let world = world();
    let guard = world.keyring.require(["reporting"]).unwrap();
    let ask = |value: &str| refuse(&guard, &[("authorization", value.as_bytes())]);
    assert_reason!(
        refuse(&guard, &[]),
        401,
        "missing-credential",
        Reason::Verify(VerifyError::Missing)
    );
    for unreadable in ["Bearer", "Bearer a, Bearer b"] {
        let answer = ask(unreadable);
        assert_reason!(
            answer.clone(),
            400,
            "invalid-request",
            Reason::Verify(VerifyError::BadRequest)
        );
        assert!(answer.refusal().unwrap().requirement().is_none());
    }
    assert_reason!(
        ask("Bearer made_up"),
        401,
        "invalid-token",
        Reason::Verify(VerifyError::Rejected)
    );

    let disabled = issue(&world, "disabled", reader());
    let ban = Suspension::permanent("fraud").unwrap();
    block_on(world.keyring.suspend_tenant(&"disabled".parse().unwrap(), ban)).unwrap();
    // Once read from the store and once from the cache.
    for _ in 0..2 {
        assert_reason!(
            ask(&disabled),
            401,
            "inactive-key",
            Reason::Verify(VerifyError::Inactive(_))
        );
    }

    let other = issue(&world, "other", NewKey::named("first").scopes(["operator"]));
    let answer = ask(&other);
    assert_reason!(
        answer.clone(),
        403,
        "insufficient-scope",
        Reason::Verify(VerifyError::Forbidden(OutsideGrant::Scope(_)))
    );
    let required = answer.refusal().unwrap().requirement().unwrap();
    assert_eq!(required.scopes().map(Scope::as_str).collect::<Vec<_>>(), ["reporting"]);

    let office = Networks::only(["192.0.2.0/24"]).unwrap();
    let office = issue(&world, "office", reader().networks(office));
    assert_reason!(
        ask(&office),
        403,
        "other-network",
        Reason::Verify(VerifyError::Forbidden(OutsideGrant::Network))
    );
    let limited = Resources::only(["press"]).unwrap();
    let limited = issue(&world, "limited", reader().resources("machine", limited));
    assert_reason!(
        ask(&limited),
        403,
        "other-resource",
        Reason::Verify(VerifyError::Forbidden(OutsideGrant::Resource(_)))
    );

    let created = block_on(world.keyring.create_tenant_with("slow", "slow", reader())).unwrap();
    let slow = format!("Bearer {}", &*created.1.token.reveal_known());
    let slow_field: &[(&str, &[u8])] = &[("authorization", slow.as_bytes())];
    assert!(block_on(guard.admit(slow_field)).is_ok());
    assert_reason!(ask(&slow), 429, "rate-exceeded", Reason::Verify(VerifyError::Limited { .. }));

    let broken = issue(&world, "broken", reader());
    world.store.rewrite_keys(|key| Ok(with_text(&key, "first", "other")));
    let answer = ask(&broken);
    // The application learns of it, and the client does not.
    assert_reason!(answer.clone(), 401, "invalid-token", Reason::Verify(VerifyError::Tampered));
    assert_eq!(answer, ask("Bearer made_up"));
    world.store.rewrite_nothing();

    let unread = issue(&world, "unread", reader());
    world.store.set_down(true);
    assert_reason!(ask(&unread), 503, "unavailable", Reason::Verify(VerifyError::Unavailable(_)));
}

#[test]
fn refusal_that_a_handler_asks_for_has_its_reason() {
    let world = world();
    let guard = world.keyring.require(["reporting"]).unwrap();
    let value = issue(&world, "acme", reader());
    let fields: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
    let caller = block_on(guard.admit(fields)).unwrap().take_principal().unwrap();
    assert_reason!(
        guard.refuse(&caller, OutsideGrant::Network),
        403,
        "other-network",
        Reason::Verify(VerifyError::Forbidden(OutsideGrant::Network))
    );
}

#[test]
fn refusal_of_the_holders_endpoint_has_its_reason() {
    let world = world();
    let own_key = OwnKey::new(&world.keyring, &Guard::new(&world.keyring));
    let field: &[(&str, &[u8])] = &[("authorization", b"Bearer made_up")];
    for answer in [block_on(own_key.describe(field)), block_on(own_key.revoke(field))] {
        assert_reason!(answer, 401, "invalid-token", Reason::Verify(VerifyError::Rejected));
    }
    let value = issue(&world, "acme", reader());
    let field: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
    assert!(block_on(own_key.describe(field)).refusal().is_none());
    assert!(block_on(own_key.revoke(field)).refusal().is_none());
}

#[test]
fn reason_keeps_its_status_for_grpc_and_gateways() {
    let world = world();
    let guard = Guard::new(&world.keyring);
    let grpc: &[(&str, &[u8])] = &[("content-type", b"application/grpc")];
    let answer = refuse(&guard, &[]).for_request("POST", grpc);
    assert_eq!((answer.status(), answer.body()), (200, ""));
    assert_eq!(answer.refusal().unwrap().status(), 401);

    let gateway = guard.forward_auth(ForwardAuth::DenialsOnly);
    let answer = refuse(&gateway, &[("authorization", b"Bearer")]);
    assert_eq!(answer.status(), 401);
    let refusal = answer.refusal().unwrap();
    assert_eq!((refusal.status(), refusal.name()), (400, "invalid-request"));
}

#[test]
fn debug_text_of_a_reason_has_no_secret() {
    let world = world();
    let value = issue(&world, "acme", reader());
    let guard = world.keyring.require(["manager"]).unwrap();
    let answer = refuse(&guard, &[("authorization", value.as_bytes())]);
    let text = format!("{:?}", answer.refusal().unwrap());
    assert!(text.contains("insufficient-scope") && text.contains("manager"), "{text}");
    assert!(!crate::support::gives_away(&text, &value["Bearer ".len()..]), "{text}");
}

// Frameworks.

const PROBLEM: &str = "application/problem+json";

fn own_body(refusal: &Refusal) -> String {
    format!("{} {}", refusal.status(), refusal.name())
}

async fn own_errors_of_axum(mut response: axum::response::Response) -> axum::response::Response {
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if let Some(refusal) = response.extensions().get::<Refusal>().filter(|_| is_problem) {
        *response.body_mut() = Body::from(own_body(refusal));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        headers.remove(header::CONTENT_LENGTH);
    }
    response
}

/// Returns the status, the challenge, whether the response has a reason, and the body.
type Seen = (u16, Option<String>, bool, String);

fn ask_axum(app: &Router, method: Method, path: &str, value: &str, kind: &str) -> Seen {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = if value.is_empty() { request } else { request.header("authorization", value) };
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
    let (head, body) = block_on(response).unwrap().into_parts();
    let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
    let challenge = head.headers.get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let has_reason = head.extensions.get::<Refusal>().is_some();
    (head.status.as_u16(), challenge, has_reason, String::from_utf8(body.to_vec()).unwrap())
}

/// Returns what is expected for each path of both apps, for this `Authorization`.
fn expected(challenge: &str) -> [(&'static str, &'static str, Seen); 6] {
    let challenge = Some(challenge.to_owned());
    let scope = challenge
        .as_ref()
        .map(|challenge| [challenge, ", error=\"insufficient_scope\", scope=\"manager\""].concat());
    let invalid = challenge.as_ref().map(|plain| [plain, ", error=\"invalid_request\""].concat());
    [
        ("/reports", "", (401, challenge.clone(), true, "401 missing-credential".into())),
        ("/reports", "Bearer", (400, invalid, true, "400 invalid-request".into())),
        ("/manager", "key", (403, scope, true, "403 insufficient-scope".into())),
        // The extractor refuses, since the guard admits a request without a key.
        ("/optional", "", (401, challenge, true, "401 missing-credential".into())),
        ("/unguarded", "", (500, None, true, "500 unguarded-route".into())),
        ("/reports", "key", (200, None, false, "acme".into())),
    ]
}

async fn handler(caller: Principal) -> String {
    caller.tenant().to_owned()
}

#[test]
fn application_replaces_bodies_on_axum() {
    let world = world();
    let key = issue(&world, "acme", reader());
    let guarded = |scope| routing::any(handler).layer(world.keyring.require([scope]).unwrap());
    let bare = Router::new()
        .route("/reports", guarded("reporting"))
        .route("/manager", guarded("manager"))
        .route("/optional", routing::get(handler).layer(Guard::new(&world.keyring).optional()))
        .route("/unguarded", routing::get(handler));
    let app = bare.clone().layer(map_response(own_errors_of_axum));
    for (path, value, seen) in expected("Bearer realm=\"mm\"") {
        let value = if value == "key" { &key } else { value };
        assert_eq!(ask_axum(&app, Method::GET, path, value, "text/plain"), seen, "{path} {value}");
        // The control: without the layer, the body is the problem, and all else is the same.
        let plain = ask_axum(&bare, Method::GET, path, value, "text/plain");
        assert_eq!((plain.0, &plain.1, plain.2), (seen.0, &seen.1, seen.2));
        assert_eq!(plain.3.contains("problem/index.html#"), seen.2, "{plain:?}");
        // A response to `HEAD` has no body, and that of gRPC stays as it is.
        let head = ask_axum(&app, Method::HEAD, path, value, "text/plain");
        assert_eq!((head.0, head.2, &*head.3), (seen.0, seen.2, ""));
    }
    let grpc = ask_axum(&app, Method::POST, "/reports", "", "application/grpc");
    assert_eq!((grpc.0, grpc.2, &*grpc.3), (200, true, ""));
}

#[test]
fn endpoint_of_the_holder_has_reasons_on_axum() {
    let world = world();
    let guard = Guard::new(&world.keyring);
    let routes = keyway::http::Routes::new(guard.clone());
    let routes = routes.route("/key", own_key(&OwnKey::new(&world.keyring, &guard)));
    let app = routes.build().unwrap().layer(map_response(own_errors_of_axum));
    let (status, challenge, has_reason, body) = ask_axum(&app, Method::GET, "/key", "", "");
    assert_eq!((status, has_reason, &*body), (401, true, "401 missing-credential"));
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"mm\""));
}

async fn own_errors_of_actix(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    let refusal = response.response().extensions().get::<Refusal>().cloned();
    let Some(refusal) = refusal.filter(|_| is_problem) else { return Ok(response) };
    Ok(response.map_body(|head, _| {
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        BoxBody::new(own_body(&refusal))
    }))
}

fn routes_of_actix(world: &World) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    let require = |scope| world.keyring.require([scope]).unwrap();
    let (reports, manager) = (require("reporting"), require("manager"));
    let optional = Guard::new(&world.keyring).optional();
    move |config| {
        config
            .service(web::resource("/reports").route(web::route().to(handler)).wrap(reports))
            .service(web::resource("/manager").get(handler).wrap(manager))
            .service(web::resource("/optional").get(handler).wrap(optional))
            .route("/unguarded", web::get().to(handler));
    }
}

/// Returns of a response what `ask_axum` returns.
async fn seen(response: ServiceResponse<impl MessageBody>) -> Seen {
    let status = response.status().as_u16();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let has_reason = response.response().extensions().get::<Refusal>().is_some();
    let body = read_body(response).await;
    (status, challenge, has_reason, String::from_utf8(body.to_vec()).unwrap())
}

fn with_key(request: TestRequest, value: &str) -> TestRequest {
    if value.is_empty() { request } else { request.insert_header(("authorization", value)) }
}

#[test]
fn application_replaces_bodies_on_actix() {
    let world = world();
    let key = issue(&world, "acme", reader());
    System::new().block_on(async {
        let bare = init_service(App::new().configure(routes_of_actix(&world))).await;
        let app = App::new().configure(routes_of_actix(&world)).wrap(from_fn(own_errors_of_actix));
        let app = init_service(app).await;
        for (path, value, expected) in expected("Bearer realm=\"mm\"") {
            let value = if value == "key" { &key } else { value };
            let request = || with_key(TestRequest::with_uri(path), value).to_request();
            let replaced = seen(call_service(&app, request()).await).await;
            assert_eq!(replaced, expected, "{path} {value}");
            let plain = seen(call_service(&bare, request()).await).await;
            assert_eq!((plain.0, &plain.1, plain.2), (expected.0, &expected.1, expected.2));
            assert_eq!(plain.3.contains("problem/index.html#"), expected.2, "{plain:?}");
        }
        let grpc = TestRequest::post().uri("/reports");
        let grpc = grpc.insert_header(("content-type", "application/grpc"));
        let grpc = seen(call_service(&app, grpc.to_request()).await).await;
        assert_eq!((grpc.0, grpc.2, &*grpc.3), (200, true, ""));
    });
}

#[test]
fn error_handlers_of_actix_see_the_reason() {
    let world = world();
    System::new().block_on(async {
        let handlers = ErrorHandlers::new().handler(
            StatusCode::UNAUTHORIZED.as_u16().try_into().unwrap(),
            |response: ServiceResponse<_>| {
                let refusal = response.response().extensions().get::<Refusal>().cloned();
                let body = own_body(&refusal.unwrap());
                let response = response.map_body(|_, _| BoxBody::new(body));
                Ok(ErrorHandlerResponse::Response(response.map_into_right_body()))
            },
        );
        let app = App::new().configure(routes_of_actix(&world)).wrap(handlers);
        let app = init_service(app).await;
        let response = call_service(&app, TestRequest::with_uri("/reports").to_request()).await;
        assert_eq!(response.status(), 401);
        assert_eq!(read_body(response).await, "401 missing-credential");
    });
}
