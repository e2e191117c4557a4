//! Guards among the layers of tower and tower-http, inside and outside of them, on axum and without a router.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    error_handling::HandleErrorLayer,
    http::{HeaderName, HeaderValue, Request, Response, StatusCode, header},
    routing::get,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use keyway::{
    Guard, Principal,
    http::{
        Routes,
        axum::{any, find_unguarded},
        tower::GuardedBody,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::BufferLayer,
    limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer, service_fn,
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    limit::RequestBodyLimitLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};

use crate::support::World;

/// Returns a text that is long enough to be compressed.
fn report(caller: Option<&Principal>) -> String {
    caller.map_or("nobody", |caller| caller.tenant()).repeat(50)
}

async fn handler(caller: Principal) -> String {
    report(Some(&caller))
}

const TIMEOUT: Duration = Duration::from_secs(20);

/// Adds the layers of tower-http that a service is likely to have, outside or inside the guard.
macro_rules! layers {
    ($builder:expr) => {
        $builder
            // Layers whose bodies have no `Default` are outside those that need one.
            .layer(RequestBodyLimitLayer::new(1_000))
            .layer(CatchPanicLayer::new())
            .layer(TraceLayer::new_for_http())
            .layer(SetRequestIdLayer::new(HeaderName::from_static("x-id"), MakeRequestUuid))
            .layer(PropagateRequestIdLayer::new(HeaderName::from_static("x-id")))
            .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
            .layer(CorsLayer::permissive())
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
            .layer(CompressionLayer::new())
            .layer(SetResponseHeaderLayer::overriding(
                HeaderName::from_static("x-set"),
                HeaderValue::from_static("yes"),
            ))
            .layer(NormalizePathLayer::trim_trailing_slash())
            .layer(ValidateRequestHeaderLayer::accept("text/plain"))
    };
}

/// Sends a request with a key, one without a key, and a preflight, and checks the responses.
async fn check<S, R>(name: &str, service: S, world: &World, token: &str)
where
    S: Service<Request<Body>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let request = |credential: Option<&str>| {
        let mut request = Request::get("/report").header("accept", "text/plain");
        if let Some(credential) = credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        request.body(Body::empty()).unwrap()
    };
    let call = async |request| {
        let response = service.clone().oneshot(request).await.map_err(Into::into).unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Into::into).unwrap().to_bytes();
        (parts, String::from_utf8(body.to_vec()).unwrap())
    };
    // The first request reads the store, the second one the cache.
    world.store.set_down(false);
    for _ in 0..2 {
        let (parts, body) = call(request(Some(token))).await;
        assert_eq!((parts.status.as_u16(), &*body), (200, &*"acme".repeat(50)), "{name}");
    }
    let (parts, body) = call(request(None)).await;
    assert_eq!(parts.status, 401, "{name}");
    assert_eq!(parts.headers["www-authenticate"], "Bearer realm=\"mm\"", "{name}");
    assert!(body.contains("missing-credential"), "{name}: {body}");
    // The length is right: no layer takes the body of one response for that of another.
    if let Some(length) = parts.headers.get("content-length") {
        assert_eq!(length, &body.len().to_string(), "{name}");
    }
    let mut compressed = request(None);
    compressed.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
    let response = service.clone().oneshot(compressed).await.map_err(Into::into).unwrap();
    assert_eq!(response.status(), 401, "{name}");
    let body = response.into_body().collect().await.map_err(Into::into).unwrap().to_bytes();
    assert!(!body.is_empty(), "{name}");
}

/// Returns a service without a router.
fn plain() -> impl Service<
    Request<Body>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    service_fn(async |request: Request<Body>| {
        let text = report(request.extensions().get::<Principal>());
        Ok(Response::new(Full::new(Bytes::from(text))))
    })
}

#[tokio::test]
async fn guard_stacks_with_layers_on_plain_tower() {
    let world = World::new();
    let token = world.tenant_with_key("acme").token;
    let guard = world.keyring.require(["reporting"]).unwrap();
    // The smallest stack that once did not compile.
    let service =
        ServiceBuilder::new().layer(CorsLayer::permissive()).layer(guard.clone()).service(plain());
    check("cors around", service, &world, &token).await;
    let service =
        layers!(ServiceBuilder::new()).layer(guard.clone()).map_request(to_axum).service(plain());
    check("layers around", service, &world, &token).await;
    let service =
        layers!(ServiceBuilder::new().layer(guard.clone())).map_request(to_axum).service(plain());
    check("layers inside", service, &world, &token).await;
    let service = layers!(layers!(ServiceBuilder::new()).layer(guard.clone()))
        .map_request(to_axum)
        .service(plain());
    check("layers on both sides", service, &world, &token).await;
    let service = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(8))
        .timeout(TIMEOUT)
        .layer(guard.clone())
        .layer(BufferLayer::new(8))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(8))
        .timeout(TIMEOUT)
        .service(plain());
    check("limits on both sides", service, &world, &token).await;
    let guards = [guard.clone(), guard.clone(), guard];
    let [first, second, third] = guards;
    let service = ServiceBuilder::new()
        .layer(first)
        .layer(CorsLayer::permissive())
        .layer(second)
        .layer(third)
        .map_response(|response: Response<_>| response)
        .service(plain());
    check("guards around guards", service, &world, &token).await;
}

fn to_axum<B>(request: Request<B>) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    request.map(Body::new)
}

#[tokio::test]
async fn guard_stacks_with_layers_on_axum() {
    let world = World::new();
    let token = world.tenant_with_key("acme").token;
    let guard = world.keyring.require(["reporting"]).unwrap();
    let errors = || {
        HandleErrorLayer::new(async |error: BoxError| {
            (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        })
    };
    let limits = || {
        ServiceBuilder::new()
            .layer(errors())
            .layer(BufferLayer::new(8))
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(8))
            .timeout(TIMEOUT)
    };
    let app = || Router::new().route("/report", get(handler));
    let around = layers!(ServiceBuilder::new()).layer(guard.clone());
    let inside = layers!(ServiceBuilder::new().layer(guard.clone()));
    check("Router::layer, around", app().layer(around.clone()), &world, &token).await;
    check("Router::layer, inside", app().layer(inside.clone()), &world, &token).await;
    check("Router::route_layer, around", app().route_layer(around.clone()), &world, &token).await;
    check("Router::route_layer, inside", app().route_layer(inside.clone()), &world, &token).await;
    let method = |layered| Router::new().route("/report", layered);
    check("MethodRouter, around", method(get(handler).layer(around)), &world, &token).await;
    check("MethodRouter, inside", method(get(handler).layer(inside.clone())), &world, &token).await;
    check("MethodRouter::route_layer", method(get(handler).route_layer(inside)), &world, &token)
        .await;
    let limited = ServiceBuilder::new().layer(limits()).layer(guard.clone()).layer(limits());
    check("limits on both sides", app().layer(limited), &world, &token).await;
    let merged = Router::new().merge(app().layer(guard.clone())).layer(CorsLayer::permissive());
    check("cors around a merged router", merged, &world, &token).await;
}

/// Checks that a CORS layer outside the guard responds to a preflight, and that a guard outside refuses it.
#[tokio::test]
async fn preflight_is_served_only_outside_a_guard() {
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let preflight = || {
        Request::options("/report")
            .header("origin", "https://example.com")
            .header("access-control-request-method", "GET")
            .body(Body::empty())
            .unwrap()
    };
    let cors = CorsLayer::permissive();
    let around = ServiceBuilder::new().layer(cors.clone()).layer(guard.clone()).service(plain());
    assert_eq!(around.oneshot(preflight()).await.unwrap().status(), 200);
    let inside = ServiceBuilder::new().layer(guard).layer(cors).service(plain());
    assert_eq!(inside.oneshot(preflight()).await.unwrap().status(), 401);
}

/// Checks for the traits that types of tower-http have if their inner types have them.
#[test]
fn own_types_have_the_traits_of_their_parts() {
    fn has_all<T: Clone + std::fmt::Debug + Send + Sync + Unpin>() {}
    fn is_body<T: http_body::Body<Data = Bytes> + Default + Clone + std::fmt::Debug>() {}
    fn is_shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    is_body::<GuardedBody<Full<Bytes>>>();
    is_body::<GuardedBody<GuardedBody<Full<Bytes>>>>();
    has_all::<GuardedBody<Full<Bytes>>>();
    has_all::<Guard>();
    has_all::<keyway::http::tower::Guarded<tower::util::ServiceFn<fn()>>>();
    let world = World::new();
    let inner = service_fn(|_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))))
    });
    let mut guarded = Guard::new(&world.keyring).layer(inner);
    is_shared(&guarded);
    let request: Request<Full<Bytes>> = Request::new(Full::default());
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))))
    });
    let mut shared = Guard::new(&world.keyring).layer(inner);
    is_shared(&shared.call(request));
    drop(guarded.call(Request::new(Body::empty())));
}

/// Checks that `route_layer` leaves the fallback open, and that `layer` does not.
#[tokio::test]
async fn fallback_is_guarded_by_layer_alone() {
    let world = World::new();
    let guard = Guard::new(&world.keyring);
    let app = || Router::new().route("/report", get(async || "")).fallback(async || "files");
    let status = async |app: Router, path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap().status().as_u16()
    };
    for path in ["/report", "/files/a"] {
        assert_eq!(status(app().layer(guard.clone()), path).await, 401, "{path}");
    }
    let outside = app().route_layer(guard.clone());
    assert_eq!(status(outside.clone(), "/report").await, 401);
    assert_eq!(status(outside, "/files/a").await, 200);
    // A route that is added after the layer is not wrapped by it.
    let later = Router::new().route("/report", get(async || "")).layer(guard);
    assert_eq!(status(later.fallback(async || "files"), "/files/a").await, 200);
}

/// Checks that a refusal comes before the body, and that the rest of a large body is not read.
#[tokio::test]
async fn large_upload_is_refused_before_it_is_sent() {
    let world = World::new();
    let app = Router::new()
        .route("/upload", axum::routing::post(async |body: Bytes| body.len().to_string()))
        .layer(Guard::new(&world.keyring));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head =
            format!("POST /upload HTTP/1.1\r\nhost: h\r\n{expect}content-length: 8000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        // The server closes the connection, because the rest of the body is still on its way.
        let read = stream.read_to_end(&mut response);
        tokio::time::timeout(TIMEOUT, read).await.unwrap().unwrap();
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        assert!(!response.contains("100 Continue"), "{response}");
    }
}

/// Checks a key that comes in a message, as on a WebSocket.
#[tokio::test]
async fn key_in_a_message_is_admitted_without_a_request() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let guard = world.keyring.require(["reporting"]).unwrap();
    let value = format!("Bearer {}", held.token);
    let message = [("authorization", value.as_bytes())];
    let admission = guard.admit(&message[..]).await.unwrap();
    assert_eq!(admission.principal().unwrap().tenant(), "acme");
    let message = [("authorization", &b"Bearer made-up"[..])];
    assert_eq!(guard.admit(&message[..]).await.unwrap_err().status(), 401);
}

/// Checks that a preflight response of tower-http does not count as an open route.
#[tokio::test]
async fn probe_is_not_misled_by_a_cors_layer() {
    let world = World::new();
    let routes = || Routes::new(&world.keyring).route("/files/{*path}", any(async || "").any_key());
    let table = routes().table().unwrap();
    for cors in [CorsLayer::permissive(), CorsLayer::new(), CorsLayer::very_permissive()] {
        let app: Router = routes().build().unwrap().layer(cors.clone());
        assert_eq!(find_unguarded(&table, &app).await, [""; 0]);
        // The control: without a guard, all other methods are found.
        let open = Router::new().route("/files/{*path}", axum::routing::any(async || ""));
        let found = find_unguarded(&table, &open.layer(cors)).await;
        assert_eq!(found.len(), 8, "{found:?}");
    }
}
