//! gRPC-Web through tonic's client, and as the bytes that a browser receives.

use http::HeaderName;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::Server};
use tonic_web::{GrpcWebClientLayer, GrpcWebLayer};
use tower::ServiceBuilder;
use tower_http::cors::{Any, CorsLayer};

use crate::{
    echo::{Echo, Kind, call},
    support::World,
};

/// Serves gRPC-Web with the guard outside or inside the layer that translates it.
async fn serve(world: &World, is_around: bool) -> String {
    let guard = world.keyring.require(["reporting"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let server = Server::builder().accept_http1(true);
    if is_around {
        let mut server = server.layer(guard).layer(GrpcWebLayer::new());
        tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
    } else {
        let mut server = server.layer(GrpcWebLayer::new()).layer(guard);
        tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
    }
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_refusal_has_its_status() {
    let world = World::new();
    let good = format!("Bearer {}", world.tenant_with_key("acme").token);
    for is_around in [true, false] {
        let origin = serve(&world, is_around).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let client = ServiceBuilder::new().layer(GrpcWebClientLayer::new()).service(client);
        let mut client = tonic::client::Grpc::with_origin(client, origin.parse().unwrap());
        for kind in [Kind::Unary, Kind::ServerStream] {
            let status = call(&mut client, kind, &[]).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            assert!(status.message().starts_with("send the API key"), "{status:?}");
            let both = [good.clone(), good.clone()];
            let status = call(&mut client, kind, &both).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            let replies = call(&mut client, kind, std::slice::from_ref(&good)).await.unwrap();
            assert!(replies.iter().all(|reply| reply == "acme"));
        }
    }
}

/// Checks that the response has the content type of the request, and its status among the headers.
#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_in_the_protocol_of_its_request() {
    let world = World::new();
    let origin = serve(&world, true).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let rows = [
        ("POST", "application/grpc-web+proto", Some("application/grpc-web+proto")),
        ("POST", "application/grpc-web-text", Some("application/grpc-web-text")),
        ("POST", "application/grpc+proto", Some("application/grpc+proto")),
        ("POST", "application/json", None),
        // Connect carries errors as HTTP statuses.
        ("POST", "application/proto", None),
        ("POST", "application/connect+proto", None),
        // gRPC uses no other method, so a `GET` gets an HTTP status.
        ("GET", "application/grpc", None),
        ("PUT", "application/grpc", None),
    ];
    for (method, content_type, translated) in rows {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{origin}/test.Echo/Unary"))
            .header("content-type", content_type)
            .body(Full::default())
            .unwrap();
        let response = client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let name = |name| parts.headers.get(name).map(|value| value.to_str().unwrap());
        match translated {
            Some(translated) => {
                assert_eq!((parts.status.as_u16(), name("grpc-status")), (200, Some("16")));
                assert_eq!((name("content-type"), body.len()), (Some(translated), 0));
            }
            None => {
                assert_eq!((parts.status.as_u16(), name("grpc-status")), (401, None));
                assert_eq!(name("content-type"), Some("application/problem+json"));
                assert!(!body.is_empty(), "{method} {content_type}");
            }
        }
    }
}

/// A browser asks for permission without a key, and its page reads a refusal only from exposed headers. Pages of several
/// clients saw an unknown error in place of `UNAUTHENTICATED` because the headers were not exposed.
#[tokio::test(flavor = "multi_thread")]
async fn page_of_another_origin_reads_the_refusal() {
    let world = World::new();
    let guard = world.keyring.require(["reporting"]).unwrap();
    let exposed = ["grpc-status", "grpc-message", "www-authenticate"].map(HeaderName::from_static);
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([http::Method::POST])
        .allow_headers(Any)
        .expose_headers(exposed.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().accept_http1(true);
    let mut server = server.layer(cors).layer(GrpcWebLayer::new()).layer(guard);
    let router = server.add_service(Echo);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let send = |method: &str, fields: &[(&str, &str)]| {
        let uri = format!("http://{address}/test.Echo/Unary");
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        client.request(request.body(Full::default()).unwrap())
    };
    let origin = ("origin", "https://page.test");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-grpc-web"),
    ];
    let allowed = send("OPTIONS", &preflight).await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "*");
    assert!(!allowed.headers().contains_key("grpc-status"));

    let refused = send("POST", &[origin, ("content-type", "application/grpc-web+proto")]);
    let refused = refused.await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["grpc-status"]),
        (200, &"16".parse().unwrap())
    );
    let list = refused.headers()["access-control-expose-headers"].to_str().unwrap();
    for name in exposed {
        assert!(list.split(',').any(|exposed| exposed == name.as_str()), "{list}");
        assert!(refused.headers().contains_key(&name), "{name}");
    }
}
