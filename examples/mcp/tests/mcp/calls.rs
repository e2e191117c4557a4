//! Calls of tools: refusals with their reasons, and arguments that try to mislead the check.

use mcp::server::{FactoryServer, declarations};
use serde_json::{Value, json};

use crate::wire::{ERAS, Era, Server, message};

const TYPES: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

#[tokio::test(flavor = "multi_thread")]
async fn tool_outside_the_grant_is_refused_with_its_reason() {
    let server = Server::new().await;
    let key = server.key(&["reporting"], &[]).await;
    for era in ERAS {
        let message = server.call(era, Some(&key), "start_job", json!({ "job": "job-1" })).await;
        let expected = json!({
            "code": 403,
            "message": "missing scope `operator.jobs`",
            "data": {
                "type": format!("{TYPES}insufficient-scope"),
                "scopes": ["operator.jobs"],
                "match": "all",
            },
        });
        assert_eq!(message["error"], expected, "{era:?}");
        assert_eq!(message["id"], 2);
        assert_eq!(server.started(), json!([]), "{era:?}");
    }
    // The control: the same call with the scope.
    let key = server.key(&["operator.jobs"], &[]).await;
    server.call(Era::Modern, Some(&key), "start_job", json!({ "job": "job-1" })).await;
    assert_eq!(server.started(), json!(["job-1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_outside_the_grant_is_refused_with_its_kind() {
    let server = Server::new().await;
    let key = server.key(&["reporting"], &["mill-1", "lost-1"]).await;
    let foreign = json!({
        "code": 403,
        "message": "the API key may not touch this resource of the kind `machine`",
        "data": { "type": format!("{TYPES}other-resource"), "resource": "machine" },
    });
    for era in ERAS {
        let status = async |machine: &str| {
            server.call(era, Some(&key), "machine_status", json!({ "machine": machine })).await
        };
        assert!(status("mill-1").await["result"]["content"][0]["text"].is_string());
        // A machine of others and one that does not exist are refused alike.
        assert_eq!(status("lathe-1").await["error"], foreign, "{era:?}");
        assert_eq!(status("nowhere").await["error"], foreign, "{era:?}");
        // Only the tool itself can know that a permitted machine does not exist.
        assert_eq!(status("lost-1").await["result"]["isError"], true, "{era:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_machine_is_refused_for_limited_keys() {
    let server = Server::new().await;
    let limited = server.key(&["reporting"], &["mill-1"]).await;
    let free = server.key(&["reporting"], &[]).await;
    for arguments in [
        r#"{}"#,
        r#"{"machine":null}"#,
        r#"{"machine":7}"#,
        r#"{"machine":{"id":"mill-1"}}"#,
        r#"{"machine":[]}"#,
        r#"{"machine":["mill-1",7]}"#,
        r#"{"machine":["mill-1","lathe-1"]}"#,
        r#"{"machine":""}"#,
        r#"{"machine":" mill-1"}"#,
        r#"{"machine":"MILL-1"}"#,
        r#"{"machine":"mill-1\u0000"}"#,
        r#"{"machine":"mill-1,lathe-1"}"#,
        r#"{"Machine":"mill-1"}"#,
    ] {
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        let message = server.call(Era::Modern, Some(&limited), "machine_status", arguments.clone());
        assert_eq!(message.await["error"]["code"], 403, "{arguments}");
        // For a key without limits, the tool itself says what is wrong.
        let message = server.call(Era::Modern, Some(&free), "machine_status", arguments.clone());
        assert_eq!(message.await["result"]["isError"], true, "{arguments}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_argument_is_the_same_for_check_and_tool() {
    let server = Server::new().await;
    let limited = server.key(&["reporting"], &["mill-1"]).await;
    let session = server.session(Some(&limited)).await;
    for (first, second, is_refused) in [("mill-1", "lathe-1", true), ("lathe-1", "mill-1", false)] {
        // Written by hand, since no map has a member twice.
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"machine_status",
            "arguments":{{"machine":"{first}","machine":"{second}"}}}}}}"#
        );
        let message = server.post(Some(&limited), Some(&session), &body).await.message();
        assert_eq!(message["error"]["code"] == 403, is_refused, "{message}");
        if !is_refused {
            let text = message["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains("mill-1") && !text.contains("lathe-1"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_near_a_tool_are_unknown() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let unknown = json!({ "code": -32602, "message": "unknown tool" });
    for name in
        ["START_JOB", "start_job ", " start_job", "start_job\0", "ping/start_job", "start-job", ""]
    {
        // The header of the newest version could not have all of these names.
        let message = server.call(Era::Sessions, Some(&key), name, json!({ "job": "job-1" })).await;
        assert_eq!(message["error"], unknown, "{name:?}");
    }
    assert_eq!(server.started(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tool_is_no_missing_method() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let call = json!({ "name": "planted", "arguments": {} });
    let reply = server.request(Era::Modern, Some(&key), "tools/call", call).await;
    assert_eq!((reply.status.as_u16(), &reply.message()["error"]["code"]), (200, &json!(-32602)));
    // The control: a method that the server lacks has status 404, which ends a session for older clients.
    let reply = server.request(Era::Modern, Some(&key), "tools/planted", json!({})).await;
    assert_eq!((reply.status.as_u16(), &reply.message()["error"]["code"]), (404, &json!(-32601)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concealed_tool_is_refused_like_an_unknown_one() {
    let concealed = Server::optional(|keyring, factory| {
        let declarations = declarations(keyring.policy()).concealed();
        mcp::endpoint(FactoryServer::with(declarations, factory).unwrap())
    });
    let open = Server::optional(|keyring, factory| {
        mcp::endpoint(FactoryServer::new(keyring, factory).unwrap())
    });
    for (server, is_concealed) in [(concealed.await, true), (open.await, false)] {
        let key = server.key(&["reporting"], &["mill-1"]).await;
        for key in [Some(&key), None] {
            let session = server.session(key).await;
            let body = async |tool: &str| {
                let call = json!({ "name": tool, "arguments": { "job": "job-1" } });
                let reply =
                    server.post(key, Some(&session), &message(9, "tools/call", &call)).await;
                reply.message().to_string()
            };
            assert_eq!(body("start_job").await == body("start_jab").await, is_concealed);
        }
        // A tool in the list keeps its reason, since the caller knows that there is one.
        let call =
            server.call(Era::Modern, Some(&key), "machine_status", json!({ "machine": "x" }));
        assert_eq!(call.await["error"]["data"]["resource"], "machine");
    }
}
