//! One layer around all services of a gRPC server, with the requirement of each method.

use std::{
    convert::Infallible,
    future::ready,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use http_body_util::BodyExt as _;
use keyway::{
    ConfigError, Guard, NewKey, Policy, Principal, Tier,
    grant::{ResourceDeclaration, Resources},
    http::{Reason, Refusal, tower::OperationGuard},
    operations::{Needs, Operations},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Channel, Server},
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::{
    echo::{Echo, Health, Kind, call, call_path},
    support::{MAX_STALENESS, World, block_on, catalog, overheard::RevealKnown as _},
};

const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Returns a policy with these kinds of resources, in this order.
fn policy(kinds: &[&str]) -> Policy {
    let kinds = kinds.iter().map(|kind| ResourceDeclaration::new(*kind, "for tests"));
    let catalog = catalog().with_resources(kinds).unwrap();
    Policy::new("mm", catalog, [Tier::new("free", 9)]).unwrap()
}

fn world() -> World {
    World::with(policy(&["machine"]), |builder| builder)
}

/// Returns the credential of a new tenant's key.
fn key(world: &World, tenant: &str, scopes: &[&str], machines: Resources) -> String {
    let first = NewKey::named("first").scopes(scopes.iter().copied());
    let first = first.resources("machine", machines);
    let created = block_on(world.keyring.create_tenant_with(tenant, "free", first)).unwrap();
    format!("Bearer {}", *created.1.token.reveal_known())
}

fn operations(world: &World) -> Operations {
    Operations::new(world.keyring.policy())
        .operation("/test.Echo/Unary", Needs::all(["reporting"]).handler_checks("machine"))
        .operation("/test.Echo/ClientStream", Needs::all(["operator.jobs"]).touches_no("machine"))
        .operation("/test.Echo/ServerStream", Needs::any_key().touches_no("machine"))
        .operation("/test.Echo/Streams", Needs::any(["reporting", "erp"]).touches_no("machine"))
        .operation(HEALTH, Needs::nothing())
}

fn names() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::path).chain([HEALTH])
}

fn layer(world: &World) -> OperationGuard {
    let table = operations(world).build(names()).unwrap();
    // The requirement of the guard itself does not count.
    let guard = world.keyring.require(["manager"]).unwrap().optional();
    guard.operations(&table).unwrap()
}

/// Serves until the runtime ends.
async fn serve(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Server::builder().layer(layer(world)).add_service(Echo).add_service(Health);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn client(address: SocketAddr) -> tonic::client::Grpc<Channel> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(channel.connect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_has_its_own_requirement() {
    let world = world();
    let none = Resources::Nothing;
    let reader = key(&world, "reader", &["reporting"], Resources::only(["press-1"]).unwrap());
    let operator = key(&world, "operator", &["operator"], none.clone());
    let powerless = key(&world, "powerless", &[], none);
    let mut client = client(serve(&world).await).await;
    let forged = reader.replace("live_", "live_x");
    let (unary, up, down, both) =
        (Kind::Unary, Kind::ClientStream, Kind::ServerStream, Kind::Streams);
    for (credential, kind, code) in [
        (Some(&reader), unary, Code::Ok),
        (Some(&reader), up, Code::PermissionDenied),
        (Some(&reader), down, Code::Ok),
        (Some(&reader), both, Code::Ok),
        (Some(&operator), unary, Code::PermissionDenied),
        (Some(&operator), up, Code::Ok),
        (Some(&operator), both, Code::PermissionDenied),
        (Some(&powerless), down, Code::Ok),
        (Some(&powerless), up, Code::PermissionDenied),
        (Some(&forged), down, Code::Unauthenticated),
        (None, unary, Code::Unauthenticated),
        (None, up, Code::Unauthenticated),
        (None, down, Code::Unauthenticated),
        (None, both, Code::Unauthenticated),
    ] {
        let credentials: Vec<_> = credential.into_iter().cloned().collect();
        let called = call(&mut client, kind, &credentials).await;
        let found = called.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok);
        assert_eq!(found, code, "{kind:?} {called:?}");
    }
    let status = call(&mut client, unary, &[operator]).await.unwrap_err();
    assert_eq!(status.message(), "missing scope `reporting`");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_method_is_reached_whatever_the_credential() {
    let world = world();
    let good = key(&world, "acme", &["reporting"], Resources::Nothing);
    let mut client = client(serve(&world).await).await;
    for credentials in [vec![], vec!["Bearer".into()], vec![good.clone(), good.clone()], vec![good]]
    {
        let replies = call_path(&mut client, Kind::Unary, HEALTH, &credentials).await.unwrap();
        // No guard has read the key, so nobody is known.
        assert_eq!(replies, ["nobody"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn method_without_a_declaration_is_unimplemented() {
    let world = world();
    let good = key(&world, "acme", &["reporting"], Resources::All);
    let mut client = client(serve(&world).await).await;
    for credentials in [vec![], vec![good]] {
        // The service itself takes this path for a unary call.
        let path = "/test.Echo/Undeclared";
        let status = call_path(&mut client, Kind::Unary, path, &credentials).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert_eq!(status.message(), "there is no such operation");
    }
}

/// Sends a request to a service of which each call is counted. Returns status, gRPC code and body.
async fn send(
    layer: &OperationGuard,
    calls: &Arc<AtomicUsize>,
    request: http::Request<String>,
) -> (u16, Option<String>, String) {
    let calls = Arc::clone(calls);
    let service = service_fn(move |request: http::Request<String>| {
        calls.fetch_add(1, SeqCst);
        let field = request.headers().get("authorization").is_some();
        let caller = request.extensions().get::<Principal>().is_some();
        ready(Ok::<_, Infallible>(http::Response::new(format!("{field} {caller}"))))
    });
    let response = layer.layer(service).oneshot(request).await.unwrap();
    let code = response.headers().get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, code, String::from_utf8(body.to_vec()).unwrap())
}

/// A path is one of the table byte for byte, or no operation at all. CVE-2026-33186 was another spelling that a server
/// routed to the method, and that the rules of its guard did not match.
#[tokio::test]
async fn other_spelling_of_a_path_reaches_no_service() {
    let world = world();
    let good = key(&world, "acme", &["reporting", "operator"], Resources::All);
    let (layer, calls) = (layer(&world), Arc::new(AtomicUsize::new(0)));
    for path in [
        "/test.Echo/unary",
        "/test.echo/Unary",
        "/test.Echo/Unary/",
        "//test.Echo/Unary",
        "/test.Echo//Unary",
        "/./test.Echo/Unary",
        "/x/../test.Echo/Unary",
        "/test.Echo/%55nary",
        "/test.Echo%2FUnary",
        "/test.Echo/Unary%00",
        "/test.Echo/Unary;x",
        "/test.Echo",
        "/Echo/Unary",
        "/",
        "*",
        // Without a path: the authority alone.
        "test.Echo:80",
        "http://test.Echo/Unary",
    ] {
        for (kind, status, code) in
            [("application/grpc", 200, Some("12")), ("application/json", 404, None)]
        {
            let request = http::Request::post(path)
                .header("content-type", kind)
                .header("authorization", &good)
                .body(String::new())
                .unwrap();
            let (found, grpc, body) = send(&layer, &calls, request).await;
            assert_eq!((found, grpc.as_deref()), (status, code), "{path}");
            assert_eq!(body.contains("#unknown-operation"), code.is_none(), "{body}");
        }
    }
    assert_eq!(calls.load(SeqCst), 0);

    // The control: the same requests with a path of the table, and with a query behind it.
    for path in ["/test.Echo/Unary", "/test.Echo/Unary?x=1", "http://a/test.Echo/Unary"] {
        let request = http::Request::post(path).header("authorization", &good);
        let answer = send(&layer, &calls, request.body(String::new()).unwrap()).await;
        assert_eq!(answer, (200, None, "false true".into()), "{path}");
    }
    assert_eq!(calls.load(SeqCst), 3);
}

/// The application sees the reason of a refusal also if the client reads a gRPC status.
#[tokio::test]
async fn refusal_of_a_path_has_its_reason() {
    let layer = layer(&world());
    for content_type in ["application/grpc", "application/json"] {
        let service = service_fn(async |_: http::Request<String>| {
            Ok::<_, Infallible>(http::Response::new(String::new()))
        });
        let request = http::Request::post("/test.Echo/Other").header("content-type", content_type);
        let response = layer.layer(service).oneshot(request.body(String::new()).unwrap()).await;
        let response = response.unwrap();
        let refusal = response.extensions().get::<Refusal>().unwrap();
        assert!(matches!(refusal.reason(), Reason::UnknownOperation), "{refusal:?}");
        assert_eq!((refusal.status(), refusal.name()), (404, "unknown-operation"));
    }
}

#[tokio::test]
async fn public_request_stays_as_it_is() {
    let world = world();
    let (layer, calls) = (layer(&world), Arc::new(AtomicUsize::new(0)));
    let request = http::Request::post(HEALTH).header("authorization", "Bearer nonsense");
    let answer = send(&layer, &calls, request.body(String::new()).unwrap()).await;
    assert_eq!(answer, (200, None, "true false".into()));
    // Every method of HTTP, since none needs a key.
    let request = http::Request::options(HEALTH).body(String::new()).unwrap();
    assert_eq!(send(&layer, &calls, request).await.0, 200);
}

#[test]
fn table_that_the_layer_cannot_decide_stops_the_start() {
    let world = world();
    let guard = Guard::new(&world.keyring);
    let build = |policy: &Policy, needs: Needs| {
        let table = Operations::new(policy).operation("/a.B/C", needs).build(["/a.B/C"]).unwrap();
        guard.operations(&table).map(drop)
    };
    let own = world.keyring.policy();
    let with_ids = Needs::any_key().resource("machine");
    let without_ids = ConfigError::OperationsWithoutIds(vec!["/a.B/C (machine)".into()]);
    assert_eq!(build(own, with_ids), Err(without_ids));

    let scope = keyway::scope::ScopeDeclaration::new("reporting", "a scope");
    let other = keyway::ScopeCatalog::new([scope]).unwrap();
    let other = Policy::new("mm", other, [Tier::new("free", 9)]).unwrap();
    let foreign = ConfigError::ForeignOperation("/a.B/C".into());
    assert_eq!(build(&other, Needs::any_key()), Err(foreign));
    // A public operation of another policy is public here.
    assert_eq!(build(&other, Needs::nothing()), Ok(()));

    // The same scopes, and other kinds of resources.
    for kinds in [&["site"][..], &["site", "machine"]] {
        let needs = kinds.iter().fold(Needs::any_key(), |needs, kind| needs.touches_no(*kind));
        let foreign = ConfigError::ForeignOperation("/a.B/C".into());
        assert_eq!(build(&policy(kinds), needs), Err(foreign), "{kinds:?}");
    }
    let own_needs = Needs::any_key().touches_no("machine");
    assert_eq!(build(own, own_needs), Ok(()));
}

#[tokio::test]
async fn settings_of_the_guard_hold_for_each_operation() {
    let world = world();
    let good = key(&world, "acme", &["reporting"], Resources::All);
    let table = operations(&world).build(names()).unwrap();
    let guard = Guard::new(&world.keyring).key_header_only("x-api-key").unwrap();
    let layer = guard.realm("own").unwrap().operations(&table).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let token = good.trim_start_matches("Bearer ");
    for (field, value, answer) in [("authorization", &*good, 401), ("x-api-key", token, 200)] {
        let request = http::Request::post("/test.Echo/Unary").header(field, value);
        let (status, _, body) = send(&layer, &calls, request.body(String::new()).unwrap()).await;
        assert_eq!(status, answer, "{body}");
    }
    // A key that waits for the store goes through the table as well.
    let cold = key(&world, "cold", &["operator"], Resources::All);
    for (path, status) in [("/test.Echo/ClientStream", 200), ("/test.Echo/Unary", 403)] {
        world.clock.advance(2 * MAX_STALENESS);
        let token = cold.trim_start_matches("Bearer ");
        let request = http::Request::post(path).header("x-api-key", token);
        let answer = send(&layer, &calls, request.body(String::new()).unwrap()).await;
        assert_eq!(answer.0, status, "{}", answer.2);
    }
}
