//! Refusals of HTTP, before any message is read.

use mcp::server::FactoryServer;
use serde_json::json;

use crate::wire::{ACCEPT, ERAS, JSON, SESSION, Server, message};

const METHODS: [&str; 7] = ["POST", "GET", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"];

#[tokio::test(flavor = "multi_thread")]
async fn every_method_needs_a_key() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let session = server.session(Some(&key)).await;
    let list = message(1, "tools/list", &json!({}));
    for method in METHODS {
        for (token, challenge) in [
            (None, r#"Bearer realm="mm""#),
            (Some("mm_live_forged"), r#"Bearer realm="mm", error="invalid_token""#),
        ] {
            let bearer = token.map(|token| format!("Bearer {token}"));
            let mut bodies = Vec::new();
            // With a session that exists, with one that does not, and without any.
            for session in [Some(&*session), Some("planted"), None] {
                let mut headers = vec![ACCEPT, JSON];
                headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
                headers.extend(session.map(|session| (SESSION, session)));
                let reply = server.send(method, &headers, &list).await;
                assert_eq!(reply.status, 401, "{method} {token:?}");
                assert_eq!(reply.headers["www-authenticate"], challenge, "{method}");
                assert!(!reply.headers.contains_key(SESSION));
                bodies.push(reply.body);
            }
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        }
    }
    // The session is still open.
    assert!(server.post(Some(&key), Some(&session), &list).await.tools().contains("start_job"));
}

#[tokio::test(flavor = "multi_thread")]
async fn key_outside_of_its_header_is_no_key() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let list = message(1, "tools/list", &json!({}));
    for path in ["/mcp?access_token=KEY", "/mcp?api_key=KEY", "/mcp?key=KEY"] {
        let path = path.replace("KEY", &key.token);
        assert_eq!(server.send_to(&path, "POST", &[ACCEPT, JSON], &list).await.status, 401);
    }
    let bearer = format!("Bearer {}", key.token);
    let twice = [ACCEPT, JSON, ("authorization", &*bearer), ("authorization", &*bearer)];
    assert_eq!(server.send("POST", &twice, &list).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_a_browser_is_refused() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let bearer = format!("Bearer {}", key.token);
    let list = message(1, "tools/list", &json!({}));
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost"),
        ("host", "evil.example"),
    ] {
        let headers = [ACCEPT, JSON, ("authorization", &*bearer), (name, value)];
        assert_eq!(server.send("POST", &headers, &list).await.status, 403, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_tool_works_without_a_key_if_the_guard_is_optional() {
    let server = Server::optional(|keyring, factory| {
        mcp::endpoint(FactoryServer::new(keyring, factory).unwrap())
    })
    .await;
    for era in ERAS {
        assert_eq!(server.list(era, None).await, "ping", "{era:?}");
        let pong = server.call(era, None, "ping", json!({})).await;
        assert_eq!(pong["result"]["content"][0]["text"], "pong", "{era:?}");
        let message = server.call(era, None, "start_job", json!({ "job": "job-1" })).await;
        assert_eq!(message["error"]["code"], 401, "{era:?}");
        let kind = message["error"]["data"]["type"].as_str().unwrap();
        assert!(kind.ends_with("#missing-credential"), "{kind}");
    }
    assert_eq!(server.started(), json!([]));
    // A forged key is not the same as none.
    let forged = [ACCEPT, JSON, ("authorization", "Bearer mm_live_forged")];
    assert_eq!(server.send("POST", &forged, &message(1, "ping", &json!({}))).await.status, 401);
}
