//! An application behind HAProxy, which asks a check that holds the application's routes.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, extract::Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use keyway::http::{Endpoint, ForwardAuth, Gateway, OriginalRequest, Routes, axum::forward_auth};
use tempfile::TempDir;

use crate::{
    gateway::{Reply, free_address, key, send, serve, world},
    support::World,
};

/// Returns a block of the guide.
fn block(language: &str) -> &'static str {
    let guide = include_str!("../../../../src/guide/gateways.md");
    let (_, rest) = guide.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

struct Haproxy {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts HAProxy with the guide's configuration, with `changes`. Tests that call this are `#[ignore]`d.
fn haproxy(check: SocketAddr, application: SocketAddr, changes: &[(&str, &str)]) -> Haproxy {
    let program = ["/usr/sbin/haproxy", "/usr/bin/haproxy", "/usr/local/sbin/haproxy"];
    let program = program.into_iter().find(|path| fs::exists(path).unwrap_or_default());
    let program = program.expect("this test needs HAProxy, which was not found");
    let address = free_address();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("forward_auth.lua");
    fs::write(&script, block("lua")).unwrap();
    let (check, application) = (check.to_string(), application.to_string());
    let (own, script) = (address.to_string(), script.display().to_string());
    let own_changes = [
        ("127.0.0.1:8000", &*own),
        ("127.0.0.1:8080", &check),
        ("127.0.0.1:8081", &application),
        ("forward_auth.lua", &script),
    ];
    let changes = own_changes.into_iter().chain(changes.iter().copied());
    let configuration = changes.fold(block("haproxy").to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the guide has no `{from}`");
        text.replace(from, to)
    });
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, configuration).unwrap();
    let mut process = Command::new(program)
        .args(["-db", "-f", file.to_str().unwrap()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..400 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Haproxy { process, address, _folder: folder };
        }
        assert!(process.try_wait().unwrap().is_none(), "HAProxy does not start");
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("HAProxy does not listen");
}

fn check(world: &World) -> Router {
    let on = |method| Endpoint::new(method, ());
    let reports = on("GET").require(["reporting"]).and("POST", ()).require(["erp"]);
    let application = Routes::new(&world.keyring)
        .route("/health", on("GET").public())
        .route("/reports/{id}", reports);
    let original = OriginalRequest::headers("x-original-method", "x-original-uri").unwrap();
    let gateway = Gateway::new(application, ForwardAuth::EveryStatus, original).unwrap();
    Routes::new(&world.keyring).route("/keys/check", forward_auth(&gateway)).build().unwrap()
}

/// Returns an application without a guard, which returns what it was sent.
fn application() -> Router {
    Router::new().fallback(async |request: Request| {
        let (parts, body) = request.into_parts();
        let field = |name| parts.headers.get_all(name).iter().collect::<Vec<_>>();
        let (tenant, scopes) = (field("x-auth-tenant"), field("x-auth-scopes"));
        let said = format!("{} {} for {tenant:?} {scopes:?}", parts.method, parts.uri);
        let has_key = parts.headers.contains_key("authorization");
        let length = body.collect().await.unwrap().to_bytes().len();
        format!("{said}, key {has_key}, {length}")
    })
}

async fn ask(proxy: &Haproxy, method: &str, path: &str, key: &str) -> Reply {
    let request = http::Request::builder().method(method).uri(path);
    let request = if key.is_empty() { request } else { request.header("authorization", key) };
    send(proxy.address, request, Bytes::new()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HAProxy"]
async fn haproxy_passes_and_refuses_as_the_check_says() {
    let world = world();
    let proxy = haproxy(serve(check(&world)).await, serve(application()).await, &[]);
    let good = key(&world, "acme", "free", &["reporting"]).await;
    let erp = key(&world, "beta", "free", &["erp"]).await;
    let slow = key(&world, "slow", "slow", &["reporting"]).await;
    let cold = key(&world, "delta", "free", &["reporting"]).await;

    let reply = ask(&proxy, "GET", "/reports/7?day=1", &good).await;
    let expected = r#"GET /reports/7?day=1 for ["acme"] ["reporting"], key false, 0"#;
    assert_eq!((reply.status, &*reply.body), (200, expected));
    let reply = ask(&proxy, "GET", "/health", "").await;
    assert_eq!((reply.status, &*reply.body), (200, r#"GET /health for [""] [""], key false, 0"#));

    let reply = ask(&proxy, "GET", "/reports/7", "").await;
    assert_eq!((reply.status, reply.field("www-authenticate")), (401, "Bearer realm=\"mm\""));
    assert_eq!(ask(&proxy, "GET", "/reports/7", "Bearer a,b").await.status, 400);
    assert_eq!(ask(&proxy, "POST", "/reports/7", &good).await.status, 403);
    assert_eq!(ask(&proxy, "GET", "/admin", &good).await.status, 403);
    assert_eq!(ask(&proxy, "GET", "/health/%2e%2e/reports/7", "").await.status, 400);

    for _ in 0..2 {
        assert_eq!(ask(&proxy, "GET", "/reports/7", &slow).await.status, 200);
    }
    let reply = ask(&proxy, "GET", "/reports/7", &slow).await;
    assert_eq!(reply.status, 429);
    assert!((1..=60).contains(&reply.field("retry-after").parse::<u64>().unwrap()));

    // The body never reaches the check.
    let large = Bytes::from(vec![b'x'; 8_000_000]);
    let request = http::Request::post("/reports/7").header("authorization", &erp);
    let reply = send(proxy.address, request, large).await;
    assert_eq!(reply.body, r#"POST /reports/7 for ["beta"] ["erp"], key false, 8000000"#);

    world.store.set_down(true);
    let reply = ask(&proxy, "GET", "/reports/7", &cold).await;
    assert_eq!((reply.status, reply.field("retry-after").is_empty()), (503, false));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HAProxy"]
async fn haproxy_admits_nothing_if_the_check_is_away() {
    let proxy = haproxy(free_address(), serve(application()).await, &[]);
    assert_eq!(ask(&proxy, "GET", "/health", "").await.status, 503);
    // The control: without the question, the application is reached.
    let none = [
        ("http-request lua.forward_auth", "# http-request lua.forward_auth"),
        ("http-request deny deny_status 403", "# http-request deny deny_status 403"),
    ];
    let proxy = haproxy(free_address(), serve(application()).await, &none);
    assert_eq!(ask(&proxy, "GET", "/health", "").await.status, 200);
}
