//! A service behind nginx or Caddy, which ask it whether a request may pass.

use std::{
    fs,
    net::{SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{any, get},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use keyway::{Guard, NewKey, Policy, Principal, Tier, http::ForwardAuth, rate::Rate};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{World, catalog, overheard::RevealKnown as _};

/// Returns the guide's configuration, with the addresses of this test.
fn lines_of_the_guide(language: &str, addresses: &[(&str, String)]) -> String {
    let guide = include_str!("../../../../src/guide/proxies.md");
    let block = guide.split_once(&format!("```{language}\n")).unwrap().1;
    let block = block.split_once("```").unwrap().0;
    addresses.iter().fold(block.to_owned(), |block, (name, address)| {
        assert!(block.contains(name), "the guide has no `{name}`");
        block.replace(name, address)
    })
}

struct Nginx {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn free_address() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts nginx with the guide's configuration in front of `service`. Tests that call this are `#[ignore]`d.
fn nginx(service: SocketAddr) -> Nginx {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    let program = program.into_iter().find(|path| fs::exists(path).unwrap_or_default());
    let program = program.expect("this test needs nginx, which was not found");
    let address = free_address();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let locations = lines_of_the_guide("nginx", &[("127.0.0.1:8080", service.to_string())]);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {path}/{name};\n"))
        .concat();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log stderr warn;\n\
         events {{}}\nhttp {{\n{temporary}    access_log off;\n    server {{\n\
         listen {address};\nclient_max_body_size 16m;\n{locations}}}\n}}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let mut process = Command::new(program)
        .args(["-c", file.to_str().unwrap(), "-e", "stderr"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Nginx { process, address, _folder: folder };
        }
        assert!(process.try_wait().unwrap().is_none(), "nginx does not start");
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("nginx does not listen");
}

/// Returns the service: the endpoint that nginx asks, and the one that it forwards to.
fn service(world: &World, gateway: Option<ForwardAuth>) -> Router {
    let guard = world.keyring.require(["reporting"]).unwrap();
    let guard = match gateway {
        Some(gateway) => guard.forward_auth(gateway),
        None => guard,
    };
    let admit = async |caller: Principal, headers: HeaderMap| {
        let original = headers.get("x-original-uri").or_else(|| headers.get("x-forwarded-uri"));
        assert!(original.is_some(), "{headers:?}");
        (StatusCode::NO_CONTENT, [("x-tenant", caller.tenant().to_string())])
    };
    let forwarded = async |request: Request| {
        let (parts, body) = request.into_parts();
        let tenant =
            parts.headers.get("x-tenant").map(|tenant| tenant.to_str().unwrap().to_owned());
        let has_key = parts.headers.contains_key("authorization");
        let length = body.collect().await.unwrap().to_bytes().len();
        format!("{} {} for {tenant:?}, key {has_key}, {length}", parts.method, parts.uri)
            .into_response()
    };
    Router::new()
        .route("/keys/check", get(admit).layer(guard))
        .route("/{*path}", any(forwarded))
        .layer(axum::extract::DefaultBodyLimit::disable())
}

pub(super) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) async fn send(to: SocketAddr, request: http::request::Builder, body: Bytes) -> Reply {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = request.uri_ref().unwrap().to_string();
    let request = request.uri(format!("http://{to}{uri}")).body(Full::new(body)).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub(super) fn world() -> World {
    let rate = Rate { requests: 2, per_seconds: 60 };
    let tiers = [Tier::new("slow", 5).rate(rate), Tier::new("free", 5)];
    World::with(Policy::new("mm", catalog(), tiers).unwrap(), |builder| builder)
}

pub(super) async fn key(world: &World, tenant: &str, tier: &str, scopes: &[&str]) -> String {
    let first = NewKey::named("first").scopes(scopes.iter().copied());
    let created = world.keyring.create_tenant_with(tenant, tier, first).await.unwrap();
    format!("Bearer {}", *created.1.token.reveal_known())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx"]
async fn nginx_passes_and_refuses_as_the_guard_says() {
    let world = world();
    let upstream = serve(service(&world, Some(ForwardAuth::DenialsOnly))).await;
    let nginx = nginx(upstream);
    let good = key(&world, "acme", "free", &["reporting"]).await;
    let weak = key(&world, "beta", "free", &["erp"]).await;
    let none = key(&world, "gamma", "free", &[]).await;
    let cold = key(&world, "delta", "free", &["reporting"]).await;
    let slow = key(&world, "slow", "slow", &["reporting"]).await;
    let get = |path: &str| http::Request::get(path);
    let call =
        async |request: http::request::Builder| send(nginx.address, request, Bytes::new()).await;

    // The guard removes the key. The caller's own header is not taken for its tenant.
    let request = get("/reports?day=1").header("authorization", &good).header("x-tenant", "evil");
    let reply = call(request).await;
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "GET /reports?day=1 for Some(\"acme\"), key false, 0")
    );
    assert_eq!(call(get("/reports").header("authorization", &weak)).await.status, 200);

    let reply = call(get("/reports")).await;
    let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
    assert_eq!((reply.status, challenges.len()), (401, 1), "{:?}", reply.headers);
    assert_eq!(challenges[0], "Bearer realm=\"mm\"");
    let reply = call(get("/reports").header("authorization", &none)).await;
    assert_eq!(reply.status, 403);
    let reply = call(get("/reports").header("authorization", "Bearer a,b")).await;
    assert_eq!(reply.status, 400, "{:?}", reply.headers);
    assert!(reply.field("www-authenticate").contains("invalid_request"), "{:?}", reply.headers);

    // A gRPC request is refused with an HTTP status, because nginx takes status 200 for an admission.
    let request = http::Request::post("/reports").header("content-type", "application/grpc");
    assert_eq!(call(request).await.status, 401);

    for _ in 0..2 {
        assert_eq!(call(get("/reports").header("authorization", &slow)).await.status, 200);
    }
    let reply = call(get("/reports").header("authorization", &slow)).await;
    assert_eq!(reply.status, 429);
    assert!((1..=60).contains(&reply.field("retry-after").parse::<u64>().unwrap()));

    // The body of a large request waits for the verdict and never reaches the check.
    let large = Bytes::from(vec![b'x'; 8_000_000]);
    let request = http::Request::post("/upload").header("authorization", &good);
    let reply = send(nginx.address, request, large.clone()).await;
    assert_eq!(reply.body, "POST /upload for Some(\"acme\"), key false, 8000000");
    let reply = send(nginx.address, http::Request::post("/upload"), large).await;
    assert_eq!(reply.status, 401);
    let head = http::Request::head("/reports");
    assert_eq!(call(head).await.status, 401);
    let head = http::Request::head("/reports").header("authorization", &good);
    assert_eq!(call(head).await.status, 200);
    // A caller can neither call the check directly nor bypass it.
    assert_eq!(call(get("/keys/check").header("authorization", &good)).await.status, 404);

    world.store.set_down(true);
    let reply = call(get("/reports").header("authorization", &cold)).await;
    assert_eq!((reply.status, reply.field("retry-after").is_empty()), (503, false));
}

/// The control: without the mode, nginx responds with 500 to every status except 401 and 403.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx"]
async fn nginx_responds_500_for_a_guard_of_another_mode() {
    let world = world();
    let upstream = serve(service(&world, None)).await;
    let nginx = nginx(upstream);
    let cold = key(&world, "delta", "free", &["reporting"]).await;
    world.store.set_down(true);
    let request = http::Request::get("/reports").header("authorization", &cold);
    assert_eq!(send(nginx.address, request, Bytes::new()).await.status, 500);
}

struct Caddy(Child);

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Caddy with the guide's configuration. Tests that call this are `#[ignore]`d.
fn caddy(service: SocketAddr) -> (Caddy, SocketAddr, TempDir) {
    let program = ["/usr/bin/caddy", "/usr/local/bin/caddy"];
    let program = program.into_iter().find(|path| fs::exists(path).unwrap_or_default());
    let program = program.expect("this test needs Caddy, which was not found");
    let address = free_address();
    let folder = tempfile::tempdir().unwrap();
    let names =
        [("api.example.com", format!("http://{address}")), ("127.0.0.1:8080", service.to_string())];
    let lines = lines_of_the_guide("caddyfile", &names);
    let file = folder.path().join("Caddyfile");
    fs::write(&file, format!("{{\n    admin off\n}}\n{lines}")).unwrap();
    let mut process = Command::new(program)
        .args(["run", "--adapter", "caddyfile", "--config", file.to_str().unwrap()])
        .env("XDG_DATA_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..400 {
        if std::net::TcpStream::connect(address).is_ok() {
            return (Caddy(process), address, folder);
        }
        assert!(process.try_wait().unwrap().is_none(), "Caddy does not start");
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("Caddy does not listen");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Caddy"]
async fn caddy_passes_and_refuses_as_the_guard_says() {
    let world = world();
    let app = service(&world, Some(ForwardAuth::EveryStatus));
    let (_caddy, address, _folder) = caddy(serve(app).await);
    let good = key(&world, "acme", "free", &["reporting"]).await;
    let cold = key(&world, "delta", "free", &["reporting"]).await;
    let call = async |request: http::request::Builder| send(address, request, Bytes::new()).await;
    let get = |path: &str| http::Request::get(path);

    let request = get("/reports?day=1").header("authorization", &good).header("x-tenant", "evil");
    let reply = call(request).await;
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "GET /reports?day=1 for Some(\"acme\"), key false, 0")
    );
    let reply = call(get("/reports")).await;
    assert_eq!((reply.status, reply.field("www-authenticate")), (401, "Bearer realm=\"mm\""));
    assert!(reply.body.contains("missing-credential"), "{}", reply.body);
    let request = http::Request::post("/reports").header("content-type", "application/grpc");
    assert_eq!(call(request).await.status, 401);
    let large = Bytes::from(vec![b'x'; 8_000_000]);
    let request = http::Request::post("/upload").header("authorization", &good);
    let reply = send(address, request, large).await;
    assert_eq!(reply.body, "POST /upload for Some(\"acme\"), key false, 8000000");
    // The check cannot be called from outside.
    assert_eq!(call(get("/keys/check").header("authorization", &good)).await.status, 404);

    world.store.set_down(true);
    let reply = call(get("/reports").header("authorization", &cold)).await;
    assert_eq!((reply.status, reply.field("retry-after").is_empty()), (503, false));
}

/// Returns a check that admits without naming a tenant, with an upstream that returns the tenant that it was given.
fn nameless(gateway: ForwardAuth) -> Router {
    let guard = world().keyring.require(["reporting"]).unwrap().optional().forward_auth(gateway);
    let forwarded = async |headers: HeaderMap| {
        let tenant = headers.get("x-tenant").map_or(&b""[..], |tenant| tenant.as_bytes());
        format!("for {}", tenant.escape_ascii())
    };
    Router::new()
        .route("/keys/check", get(async || StatusCode::NO_CONTENT).layer(guard))
        .route("/{*path}", any(forwarded))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx"]
async fn callers_own_tenant_never_passes_nginx() {
    let nginx = nginx(serve(nameless(ForwardAuth::DenialsOnly)).await);
    let request = http::Request::get("/reports").header("x-tenant", "evil");
    let reply = send(nginx.address, request, Bytes::new()).await;
    assert_eq!((reply.status, &*reply.body), (200, "for "));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Caddy"]
async fn callers_own_tenant_never_passes_caddy() {
    let (_caddy, address, _folder) = caddy(serve(nameless(ForwardAuth::EveryStatus)).await);
    let request = http::Request::get("/reports").header("x-tenant", "evil");
    let reply = send(address, request, Bytes::new()).await;
    // Older versions of Caddy send their own placeholder, which is not a tenant.
    assert!(reply.status == 200 && !reply.body.contains("evil"), "{}", reply.body);
}

/// Checks the mode for gateways that pass on method and content type, such as Traefik. They take 200 for an
/// admission.
#[tokio::test(flavor = "multi_thread")]
async fn guard_for_a_gateway_never_speaks_grpc() {
    let world = world();
    let request = || {
        Request::post("/").header("content-type", "application/grpc").body(Body::empty()).unwrap()
    };
    let status = async |guard: Guard| {
        let app = Router::new().route("/", any(async || "")).layer(guard);
        tower::ServiceExt::oneshot(app, request()).await.unwrap().status().as_u16()
    };
    let guard = Guard::new(&world.keyring);
    for gateway in [ForwardAuth::DenialsOnly, ForwardAuth::EveryStatus] {
        assert_eq!(status(guard.forward_auth(gateway)).await, 401);
    }
    assert_eq!(status(guard).await, 200);
}
