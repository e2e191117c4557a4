//! JSON-RPC: batches, notifications and messages that are not quite requests.

use serde_json::json;

use crate::wire::{Server, message};

/// Returns a call that leaves a trace if it is executed.
fn start(id: serde_json::Value) -> serde_json::Value {
    let params = json!({ "name": "start_job", "arguments": { "job": "job-1" } });
    let mut call = json!({ "jsonrpc": "2.0", "method": "tools/call", "params": params });
    if id != "none" {
        call["id"] = id;
    }
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_not_executed() {
    let server = Server::new().await;
    let key = server.key(&["operator", "reporting"], &[]).await;
    let session = server.session(Some(&key)).await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    for batch in [json!([list, start(json!(2))]), json!([start(json!(2))]), json!([])] {
        for session in [Some(&*session), None] {
            let reply = server.post(Some(&key), session, &batch.to_string()).await;
            assert!(reply.status.is_client_error(), "{batch}: {} {}", reply.status, reply.body);
        }
    }
    assert_eq!(server.started(), json!([]));
    // The control: alone, the same call is executed.
    server.post(Some(&key), Some(&session), &start(json!(2)).to_string()).await;
    assert_eq!(server.started(), json!(["job-1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_without_an_id_is_not_executed() {
    let server = Server::new().await;
    let allowed = server.key(&["operator"], &[]).await;
    let forbidden = server.key(&["reporting"], &[]).await;
    for key in [&allowed, &forbidden] {
        let session = server.session(Some(key)).await;
        for id in [json!("none"), json!(null), json!({}), json!([1]), json!(true)] {
            let reply =
                server.post(Some(key), Some(&session), &start(id.clone()).to_string()).await;
            let text = &reply.body;
            // A notification has no response, and anything else is no message.
            assert!(
                reply.status == 202 && text.is_empty() || reply.status.is_client_error(),
                "{id}"
            );
        }
    }
    // A notification is handled after its response.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(server.started(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_that_names_another_tool_is_refused() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let call = || json!({ "name": "start_job", "arguments": { "job": "job-1" } });
    // A gateway may admit the call by the name in the header.
    let reply = server.modern(Some(&key), "tools/call", call(), Some("ping")).await;
    assert_eq!((reply.status.as_u16(), &reply.message()["error"]["code"]), (400, &json!(-32020)));
    assert_eq!(server.started(), json!([]));
    server.modern(Some(&key), "tools/call", call(), None).await;
    assert_eq!(server.started(), json!(["job-1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_before_a_session_are_not_executed() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let reply = server.post(Some(&key), None, &start(json!(1)).to_string()).await;
    assert!(reply.status.is_client_error(), "{} {}", reply.status, reply.body);
    for method in ["tools/CALL", "tools/call ", "Tools/Call", "rpc.call"] {
        let params = json!({ "name": "start_job", "arguments": { "job": "job-1" } });
        let session = server.session(Some(&key)).await;
        let reply = server.post(Some(&key), Some(&session), &message(1, method, &params)).await;
        assert_eq!(reply.message()["error"]["code"], -32601, "{method}");
    }
    assert_eq!(server.started(), json!([]));
}
