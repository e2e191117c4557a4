//! Open streams and running tools end with the key.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use keyway::{KeyEdit, grant::Resources};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::wire::{ACCEPT, ERAS, Era, JSON, Key, MODERN, SESSION, Server, message};

/// The time within which a stream must end. A tool may take a second more, for its error.
const SOON: Duration = Duration::from_secs(2);

/// Opens the stream of a session for messages of the server.
async fn standalone(server: &Server, key: &Key) -> BodyDataStream {
    let session = server.session(Some(key)).await;
    let bearer = format!("Bearer {}", key.token);
    let headers = [ACCEPT, ("authorization", &*bearer), (SESSION, &*session)];
    let (status, _, body) = server.open("/mcp", "GET", &headers, "").await;
    assert_eq!(status, 200);
    body.into_data_stream()
}

/// Begins to watch a machine, and returns the response.
async fn watch(server: &Server, era: Era, key: &Key, machine: &str) -> Body {
    let mut params = json!({
        "name": "watch_machine",
        "arguments": { "machine": machine, "readings": 3000 },
        "_meta": { "progressToken": 1 },
    });
    let bearer = format!("Bearer {}", key.token);
    let session;
    let mut headers = vec![ACCEPT, JSON, ("authorization", &*bearer)];
    match era {
        Era::Sessions => {
            session = server.session(Some(key)).await;
            headers.push((SESSION, &*session));
        }
        Era::Modern => {
            for (name, value) in
                [("protocolVersion", json!(MODERN)), ("clientCapabilities", json!({}))]
            {
                params["_meta"][format!("io.modelcontextprotocol/{name}")] = value;
            }
            headers.push(("mcp-protocol-version", MODERN));
            headers.extend([("mcp-method", "tools/call"), ("mcp-name", "watch_machine")]);
        }
    }
    let body = message(8, "tools/call", &params);
    let (status, _, body) = server.open("/mcp", "POST", &headers, &body).await;
    assert_eq!(status, 200);
    body
}

/// Returns what arrives within `time`, and whether the stream has ended.
async fn read(stream: &mut BodyDataStream, time: Duration) -> (String, bool) {
    let end = Instant::now() + time;
    let mut text = String::new();
    loop {
        match tokio::time::timeout_at(end, stream.next()).await {
            Ok(Some(part)) => text.push_str(&String::from_utf8_lossy(&part.unwrap())),
            Ok(None) => return (text, true),
            Err(_) => return (text, false),
        }
    }
}

/// Returns the error at the end of a stream.
fn error(text: &str) -> Value {
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap();
    let message: Value = serde_json::from_str(last.trim()).unwrap();
    message["error"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_stream_ends_with_its_key() {
    let server = Server::new().await;
    let (key, other) = (server.key(&["reporting"], &[]).await, server.key(&["erp"], &[]).await);
    let mut stream = standalone(&server, &key).await;
    let mut stays = standalone(&server, &other).await;
    assert!(!read(&mut stream, Duration::from_millis(500)).await.1);
    server.acme.delete(key.id).await.unwrap();
    assert!(read(&mut stream, SOON).await.1);
    assert!(!read(&mut stays, Duration::from_millis(500)).await.1);
    // The negative control: without the layer, the stream outlives its key.
    let server = Server::without_sessions().await;
    let key = server.key(&["reporting"], &[]).await;
    let mut stream = standalone(&server, &key).await;
    server.acme.delete(key.id).await.unwrap();
    assert!(!read(&mut stream, SOON).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_tool_ends_with_its_key() {
    let server = Server::new().await;
    for era in ERAS {
        for (is_deleted, kind) in [(true, "invalid-token"), (false, "inactive-key")] {
            let key = server.key(&["reporting"], &["mill-1"]).await;
            let mut stream = watch(&server, era, &key, "mill-1").await.into_data_stream();
            let (text, has_ended) = read(&mut stream, Duration::from_millis(500)).await;
            assert!(text.contains("notifications/progress") && !has_ended, "{era:?} {text}");
            if is_deleted {
                server.acme.delete(key.id).await.unwrap();
            } else {
                server.acme.disable(key.id).await.unwrap();
            }
            let (text, has_ended) = read(&mut stream, SOON).await;
            assert!(has_ended, "{era:?}");
            let error = error(&text);
            assert_eq!(error["code"], 401, "{era:?}");
            assert!(error["data"]["type"].as_str().unwrap().ends_with(kind), "{error}");
            if !is_deleted {
                server.acme.delete(key.id).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_tool_ends_with_its_machine() {
    let server = Server::new().await;
    for era in ERAS {
        let key = server.key(&["reporting"], &["mill-1", "mill-2"]).await;
        let mut stream = watch(&server, era, &key, "mill-1").await.into_data_stream();
        let narrow = async |machine| {
            let record = server.acme.find(key.id).await.unwrap();
            let edit = KeyEdit::new().resources("machine", Resources::only([machine]).unwrap());
            server.acme.edit(key.id, record.version(), edit).await.unwrap();
        };
        // The loss of another machine changes nothing.
        narrow("mill-1").await;
        let (text, has_ended) = read(&mut stream, SOON).await;
        assert!(!has_ended && text.contains("notifications/progress"), "{era:?} {text}");
        narrow("lathe-1").await;
        let (text, has_ended) = read(&mut stream, SOON).await;
        let error = error(&text);
        assert!(has_ended, "{era:?}");
        assert_eq!((&error["code"], &error["data"]["resource"]), (&json!(403), &json!("machine")));
        server.acme.delete(key.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_the_same_ids_stay_apart() {
    let server = Server::new().await;
    let (one, two) = (
        server.key(&["reporting"], &["mill-1"]).await,
        server.key(&["reporting"], &["mill-2"]).await,
    );
    for era in ERAS {
        // Both have the same id and the same progress token.
        let mut first = watch(&server, era, &one, "mill-1").await.into_data_stream();
        let mut second = watch(&server, era, &two, "mill-2").await.into_data_stream();
        // The second key cancels the call of this id, in a session of its own and without one.
        let cancel = json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": { "requestId": 8 },
        });
        let session = server.session(Some(&two)).await;
        for session in [Some(&*session), None] {
            server.post(Some(&two), session, &cancel.to_string()).await;
        }
        let (text, has_ended) = read(&mut first, Duration::from_secs(1)).await;
        assert!(text.contains("mill-1") && !text.contains("mill-2") && !has_ended, "{text}");
        let (text, has_ended) = read(&mut second, Duration::from_secs(1)).await;
        assert!(text.contains("mill-2") && !text.contains("mill-1") && !has_ended, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_many_sessions_end_together() {
    let server = Server::new().await;
    let key = server.key(&["reporting"], &[]).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(standalone(&server, &key).await);
    }
    let begin = Instant::now();
    let watched: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                timeout(SOON, async { while stream.next().await.is_some() {} }).await.unwrap();
                begin.elapsed()
            })
        })
        .collect();
    server.acme.delete(key.id).await.unwrap();
    let mut times = Vec::new();
    for task in watched {
        times.push(task.await.unwrap());
    }
    times.sort();
    println!("100 streams after the deletion: median {:?}, last {:?}", times[50], times[99]);
}
