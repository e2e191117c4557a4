//! Refusals as tonic's client reads them, from tonic's server and from axum's.

use std::{net::SocketAddr, time::Duration};

use keyway::{Guard, NewKey, Policy, Principal, Tier, rate::Rate};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    service::LayerExt,
    transport::{Channel, Server, server::Router},
};
use tower::layer::util::{Identity, Stack};

use crate::{
    echo::{Echo, Health, Kind, call, call_path},
    support::{World, block_on, catalog, overheard::RevealKnown as _},
};

/// Creates a world with a tier of one request a minute and a tier without a rate.
fn world() -> World {
    let rate = Rate { requests: 1, per_seconds: 60 };
    let tiers = [Tier::new("slow", 5).rate(rate), Tier::new("free", 5)];
    World::with(Policy::new("mm", catalog(), tiers).unwrap(), |builder| builder)
}

/// Returns the credential of a new tenant's key.
fn key(world: &World, tenant: &str, tier: &str, scopes: &[&str]) -> String {
    let first = NewKey::named("first").scopes(scopes.iter().copied());
    let created = block_on(world.keyring.create_tenant_with(tenant, tier, first)).unwrap();
    format!("Bearer {}", *created.1.token.reveal_known())
}

/// Serves until the runtime ends.
async fn serve(router: Router<Stack<Guard, Identity>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn client(address: SocketAddr) -> tonic::client::Grpc<Channel> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.timeout(Duration::from_secs(20)).connect().await.unwrap();
    tonic::client::Grpc::new(channel)
}

fn guarded(world: &World) -> Router<Stack<Guard, Identity>> {
    let guard = world.keyring.require(["reporting"]).unwrap();
    Server::builder().layer(guard).add_service(Echo)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_refusal_has_its_status_in_every_kind_of_call() {
    let world = world();
    let first = NewKey::named("first").scopes(["reporting"]);
    let created = world.keyring.create_tenant_with("off", "free", first).await.unwrap();
    let (keys, issued) = created;
    keys.disable(issued.key.id()).await.unwrap();
    let disabled = format!("Bearer {}", *issued.token.reveal_known());
    let good = key(&world, "acme", "free", &["reporting"]);
    let weak = key(&world, "beta", "free", &["erp"]);
    let none = key(&world, "gamma", "free", &[]);
    let forged = good.replace("live_", "live_x");
    let mut client = client(serve(guarded(&world)).await).await;
    for kind in Kind::ALL {
        let rows: [(&[String], Code, &str); 7] = [
            (&[], Code::Unauthenticated, "send the API key as `Authorization: Bearer <API key>`"),
            (std::slice::from_ref(&forged), Code::Unauthenticated, "the API key is not valid"),
            (std::slice::from_ref(&disabled), Code::Unauthenticated, "the API key cannot be used"),
            (std::slice::from_ref(&none), Code::PermissionDenied, "missing scope `reporting`"),
            (
                &[good.clone(), good.clone()],
                Code::InvalidArgument,
                "more than one credential was presented",
            ),
            (&["Bearer".into()], Code::InvalidArgument, "the credential cannot be read"),
            (&["Bearer a,b".into()], Code::InvalidArgument, "the credential cannot be read"),
        ];
        for (credentials, code, message) in rows {
            let status = call(&mut client, kind, credentials).await.unwrap_err();
            assert_eq!(status.code(), code, "{kind:?} {status:?}");
            assert!(status.message().starts_with(message), "{kind:?} {status:?}");
        }
        for (credential, tenant) in [(&good, "acme"), (&weak, "beta")] {
            let replies = call(&mut client, kind, std::slice::from_ref(credential)).await.unwrap();
            assert!(replies.iter().all(|reply| reply == tenant), "{kind:?} {replies:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_refusal_keeps_challenge_and_retry() {
    let world = world();
    let slow = key(&world, "slow", "slow", &["reporting"]);
    let cold = key(&world, "cold", "free", &["reporting"]);
    let mut client = client(serve(guarded(&world)).await).await;

    let status = call(&mut client, Kind::Unary, &[]).await.unwrap_err();
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert_eq!(challenge.to_str().unwrap(), "Bearer realm=\"mm\"");

    let slow = [slow];
    call(&mut client, Kind::Unary, &slow).await.unwrap();
    for kind in Kind::ALL {
        let status = call(&mut client, kind, &slow).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{kind:?} {status:?}");
        let number = |name| {
            let value = status.metadata().get(name).unwrap().to_str().unwrap();
            value.parse::<u64>().unwrap()
        };
        assert!((1..=60).contains(&number("retry-after")), "{status:?}");
        assert_eq!(number("grpc-retry-pushback-ms"), number("retry-after") * 1_000);
    }

    world.store.set_down(true);
    for kind in Kind::ALL {
        let status = call(&mut client, kind, std::slice::from_ref(&cold)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{kind:?} {status:?}");
        assert_eq!(status.message(), "API keys cannot be verified at present");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    }
}

/// Calls axum's router over gRPC. There the handler itself may refuse.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_refusal_of_a_handler_has_its_status() {
    let world = world();
    let handler = async |caller: Principal| caller.tenant().to_owned();
    let optional = axum::routing::post(handler).layer(Guard::new(&world.keyring).optional());
    let app = axum::Router::new()
        .route("/test.Echo/Unguarded", axum::routing::post(handler))
        .route("/test.Echo/Optional", optional);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = client(address).await;
    for (path, code, message) in [
        ("/test.Echo/Unguarded", Code::Internal, "this route reads the caller"),
        ("/test.Echo/Optional", Code::Unauthenticated, "send the API key"),
    ] {
        let status = call_path(&mut client, Kind::Unary, path, &[]).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().starts_with(message), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guard_of_one_service_leaves_health_open() {
    let world = world();
    let guard = world.keyring.require(["reporting"]).unwrap();
    let router = Server::builder().add_service(guard.named_layer(Echo)).add_service(Health);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut client = client(address).await;
    let status = call(&mut client, Kind::Unary, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let health = "/grpc.health.v1.Health/Check";
    let replies = call_path(&mut client, Kind::Unary, health, &[]).await.unwrap();
    assert_eq!(replies, ["nobody"]);
}

/// Checks that a call ends at its deadline while its key waits for the store, and that the server serves the next call.
#[tokio::test(flavor = "multi_thread")]
async fn deadline_ends_a_call_whose_key_waits() {
    let world = world();
    let good = key(&world, "acme", "free", &["reporting"]);
    let address = serve(guarded(&world)).await;
    let mut client = client(address).await;
    world.store.hold("lookup");
    let sent = http::Request::post(format!("http://{address}/test.Echo/Unary"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "100m")
        .header("authorization", &good)
        .body(http_body_util::Full::<bytes::Bytes>::default())
        .unwrap();
    let plain = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let response = tokio::time::timeout(Duration::from_secs(20), plain.request(sent)).await;
    let response = response.expect("the call does not end").unwrap();
    assert_eq!(response.status(), 200);
    let code: i32 = response.headers()["grpc-status"].to_str().unwrap().parse().unwrap();
    // tonic's server says that the call was cancelled, or that its deadline is over.
    assert!(matches!(code, 1 | 4), "{:?}", response.headers());
    world.store.release("lookup");
    let replies = call(&mut client, Kind::Unary, &[good]).await.unwrap();
    assert_eq!(replies, ["acme"]);
}

/// Every refusal must have a content type of gRPC. Without one, clients of Go and Python report `UNKNOWN` in place of the
/// code.
#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_one_frame_of_headers_with_its_content_type() {
    let world = world();
    let address = serve(guarded(&world)).await;
    let plain = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for (credentials, code) in
        [(&[][..], "16"), (&["Bearer"], "3"), (&["Bearer a", "Bearer b"], "3")]
    {
        let mut request = http::Request::post(format!("http://{address}/test.Echo/Unary"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for credential in credentials {
            request = request.header("authorization", *credential);
        }
        let request = request.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
        let response = plain.request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], code);
        // The stream ends with the headers: no message, and no trailers after them.
        let body = response.into_body();
        assert!(hyper::body::Body::is_end_stream(&body));
        let collected = http_body_util::BodyExt::collect(body).await.unwrap();
        assert!(collected.trailers().is_none() && collected.to_bytes().is_empty());
    }
}
