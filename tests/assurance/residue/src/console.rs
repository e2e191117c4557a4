//! Requests of administrators and operators to the console, tokens included.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing,
};
use bytes::Bytes;
use http_body::Frame;
use keyway::{
    Keyring, SqliteStore,
    console::{self, Admin},
};
use pollster::block_on;
use tower_service::Service;
use zeroize::Zeroizing;

use crate::{
    host::Host,
    scenarios::{Scenario, named, tenant},
};

const GROUP: &str = "managing keys in the console";

pub const ALL: &[Scenario] = &[
    Scenario { name: "console-create", group: GROUP, run: create },
    Scenario { name: "console-rotate", group: GROUP, run: rotate },
    Scenario { name: "console-search", group: GROUP, run: search },
    Scenario { name: "console-leak", group: GROUP, run: leak },
    Scenario { name: "console-refused", group: GROUP, run: refused },
    Scenario { name: "console-broken-off", group: GROUP, run: broken_off },
    Scenario { name: "console-create-1", group: GROUP, run: |host| create_cancelled(host, 1) },
    Scenario { name: "console-create-2", group: GROUP, run: |host| create_cancelled(host, 2) },
    Scenario { name: "console-create-3", group: GROUP, run: |host| create_cancelled(host, 3) },
];

pub const PLANTED: &[Scenario] = &[
    Scenario {
        name: "console-plain",
        group: "a body that a handler took as a `String`",
        run: |host| careless(host, routing::post(async |body: String| drop(black_box(body)))),
    },
    Scenario {
        name: "console-serde",
        group: "an error of `serde_json` that repeats a value",
        run: |host| {
            careless(host, routing::post(async |body: Bytes| drop(black_box(error(&body)))))
        },
    },
    Scenario {
        name: "console-escape",
        group: "a text that `serde_json` unescaped",
        run: |host| careless(host, routing::post(async |body: Bytes| drop(black_box(text(&body))))),
    },
];

fn error(body: &[u8]) -> Option<serde_json::Error> {
    serde_json::from_slice::<Vec<u8>>(body).err()
}

fn text(body: &[u8]) -> Option<String> {
    serde_json::from_slice(body).ok()
}

const OPERATOR: &str = "x-operator";

fn router(keyring: &Keyring) -> Router {
    let everything = keyring.policy().catalog().all();
    console::router(keyring, move |request: Parts| async move {
        if request.headers.contains_key(OPERATOR) {
            return Ok(Admin::operator("olga"));
        }
        let tenant = "acme".parse().map_err(|_| StatusCode::FORBIDDEN.into_response())?;
        Ok::<Admin, Response>(Admin::of_tenant(tenant, everything, "anna"))
    })
}

/// Joins the parts into one body, in memory that is wiped.
fn body(parts: &[&[u8]]) -> Body {
    let mut body = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| body.extend_from_slice(part));
    Body::from(Bytes::from_owner(body))
}

fn request(path: &str, fields: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).expect("its parts are fine")
}

/// Sends a request and returns the status and the body. The console wipes the body's memory.
async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let response = router.clone().call(request).await.expect("a router does not fail");
    let (head, body) = response.into_parts();
    (head.status, axum::body::to_bytes(body, usize::MAX).await.expect("it is in memory"))
}

/// Reveals the token in a response.
fn reveal(host: &Host, body: &[u8]) {
    const MEMBER: &[u8] = b"\"token\":\"";
    let at = body.windows(MEMBER.len()).position(|window| window == MEMBER).expect("a token");
    let token = &body[at + MEMBER.len()..];
    let token = token.split(|byte| *byte == b'"').next().expect("it ends");
    host.reveal_text(str::from_utf8(token).expect("it is ASCII"));
}

const NEW_KEY: &[u8] = br#"{"name":"second","scopes":["reporting"]}"#;

fn create(host: &mut Host) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = router(&keyring);
    let ask = || request("/api/keys", &[("idempotency-key", "once")], body(&[NEW_KEY]));
    let (status, created) = block_on(send(&router, ask()));
    assert_eq!(status, 201);
    reveal(host, &created);
    // A retry with the same idempotency key, for which a key was minted as well.
    assert_eq!(block_on(send(&router, ask())).0, 200);
    drop((created, router));
    host.finish(keyring);
}

fn rotate(host: &mut Host) {
    let keyring = host.keyring();
    let (keys, id) = tenant(host, &keyring);
    let router = router(&keyring);
    let path = format!("/api/keys/{id}/rotate");
    let ask = |version| {
        let fields = [("if-match", version), ("idempotency-key", "once")];
        request(&path, &fields, body(&[br#"{"grace_period":"until_first_use"}"#]))
    };
    let (status, rotated) = block_on(send(&router, ask("\"1\"")));
    assert_eq!(status, 200);
    reveal(host, &rotated);
    drop(block_on(send(&router, ask("\"1\""))));
    assert_eq!(block_on(send(&router, ask("\"7\""))).0.as_u16() / 100, 2);
    drop((rotated, router, keys));
    host.finish(keyring);
}

/// Searches for a token alone, among other text, and escaped, and for one that belongs to no key here.
fn search(host: &mut Host) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = router(&keyring);
    let token = host.present(0);
    let (first, rest) = token.split_at(1);
    let escaped = format!("\\u{:04x}", first[0]);
    for parts in [
        [br#"{"text":""#, &**token, br#""}"#],
        [br#"{"text":"export KEY=\""#, &**token, br#"\"\n"}"#],
        [[br#"{"text":""#, escaped.as_bytes()].concat().as_slice(), rest, br#""}"#],
    ] {
        let ask = request("/api/keys/search", &[], body(&parts));
        let (status, found) = block_on(send(&router, ask));
        assert_eq!(status, 200);
        assert!(found.windows(5).any(|window| window == b"first"));
    }
    // A token of another environment or system, which cannot be distinguished from a name here.
    let make = host.made_up(43);
    let unknown = host.receive_foreign(make);
    let ask = request("/api/keys/search", &[], body(&[br#"{"text":""#, &unknown, br#""}"#]));
    assert_eq!(block_on(send(&router, ask)).0, 200);
    drop((token, unknown, router));
    host.finish(keyring);
}

fn leak(host: &mut Host) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = router(&keyring);
    for (position, response) in ["report_only", "suspend"].iter().enumerate() {
        let mut token = host.present(0);
        let rest = format!(r#"\t","reason":"found","response":"{response}"}}"#);
        if position == 1 {
            // A token that belongs to nobody.
            token[40] ^= 1;
        }
        let body = body(&[br#"{"token":""#, &token, rest.as_bytes()]);
        let ask = request("/api/leaks", &[(OPERATOR, "1")], body);
        assert_eq!(block_on(send(&router, ask)).0, 200);
    }
    drop(router);
    host.finish(keyring);
}

/// Sends a token where none is expected.
fn refused(host: &mut Host) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = router(&keyring);
    let token = host.present(0);
    for (front, behind) in [
        ("", ""),
        ("\"", "\""),
        (r#"{"text":""#, ""),
        (r#"{"text":["#, ""),
        (r#"{"text":[""#, r#""]}"#),
        (r#"{"text":{""#, r#"":1}}"#),
        (r#"{"text":"a","\n"#, r#"":1}"#),
        (r#"{"text":"a",""#, r#"":1}"#),
        (r#"{"text":"\t"#, r#"","text":"a"}"#),
    ] {
        let ask = body(&[front.as_bytes(), &token, behind.as_bytes()]);
        let ask = request("/api/keys/search", &[], ask);
        assert_eq!(block_on(send(&router, ask)).0, 400, "{front} {behind}");
    }
    for (path, front, behind) in [
        ("/api/keys", r#"{"name":"a","scopes":""#, r#""}"#),
        ("/api/keys", r#"{"name":"a","not_before":{""#, r#"":""}}"#),
    ] {
        let ask = body(&[front.as_bytes(), &token, behind.as_bytes()]);
        let ask = request(path, &[("idempotency-key", "a")], ask);
        assert_eq!(block_on(send(&router, ask)).0, 400, "{front} {behind}");
    }
    let filler = vec![b' '; 70_000];
    let ask = request("/api/keys/search", &[], body(&[br#"{"text":""#, &token, &filler]));
    assert_eq!(block_on(send(&router, ask)).0, 413);
    drop((token, router));
    host.finish(keyring);
}

/// A body that yields its parts and never ends.
struct Endless(Vec<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop() {
            Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
            None => Poll::Pending,
        }
    }
}

fn give_up<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

/// A body whose sender disconnects after the token, in one part and in parts that make the buffer grow.
fn broken_off(host: &mut Host) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = router(&keyring);
    for parts in [1, 60] {
        let token = host.present(0);
        // The parts are taken from the end.
        let part = |_| Bytes::from_owner(Zeroizing::new(vec![b' '; 999]));
        let mut parts: Vec<_> = (1..parts).map(part).collect();
        let mut first = Zeroizing::new(Vec::with_capacity(100));
        first.extend_from_slice(br#"{"text":""#);
        first.extend_from_slice(&token);
        drop(token);
        parts.push(Bytes::from_owner(first));
        let ask = request("/api/keys/search", &[], Body::new(Endless(parts)));
        assert!(give_up(send(&router, ask), 2).is_none());
    }
    drop(router);
    host.finish(keyring);
}

/// Drops the request after `polls` polls. The rehearsal lets it finish, so that it knows every secret that
/// there can be.
fn create_cancelled(host: &mut Host, polls: usize) {
    let store = block_on(SqliteStore::in_memory()).expect("there is memory");
    let keyring = host.builder(store).build().expect("all of it is there");
    let created = block_on(keyring.create_tenant_with("acme", "advanced", named("first")));
    host.reveal(created.expect("an empty store").1.token);
    let router = router(&keyring);
    let ask = request("/api/keys", &[("idempotency-key", "once")], body(&[NEW_KEY]));
    let answered = if host.is_rehearsing() {
        Some(block_on(send(&router, ask)))
    } else {
        give_up(send(&router, ask), polls)
    };
    if let Some((_, created)) = answered {
        reveal(host, &created);
    }
    drop(router);
    host.finish(keyring);
}

fn careless(host: &mut Host, handler: routing::MethodRouter) {
    let keyring = host.keyring();
    drop(tenant(host, &keyring));
    let router = Router::new().route("/api/keys/search", handler);
    let token = host.present(0);
    let ask = request("/api/keys/search", &[], body(&[b"\"\\t", &token, b"\""]));
    assert_eq!(block_on(send(&router, ask)).0, 200);
    drop((token, router));
    host.finish(keyring);
}
