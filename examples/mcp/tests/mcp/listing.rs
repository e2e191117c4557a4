//! The list has the tools that the key may call, and no other key sees it.

use keyway::KeyEdit;
use serde_json::json;

use crate::wire::{ERAS, Era, Server, message};

const ALL: &str =
    "list_jobs list_machines machine_status ping report_downtime start_job watch_machine";

#[tokio::test(flavor = "multi_thread")]
async fn list_has_only_the_tools_of_the_key() {
    let server = Server::new().await;
    for (scopes, machines, expected) in [
        (&["operator", "reporting"][..], &[][..], ALL),
        (&["reporting"], &["mill-1"], "list_machines machine_status ping watch_machine"),
        (&["operator.jobs"], &[], "ping start_job"),
        (&["erp"], &[], "ping"),
    ] {
        let key = server.key(scopes, machines).await;
        for era in ERAS {
            assert_eq!(server.list(era, Some(&key)).await, expected, "{era:?} {scopes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_tools_are_those_that_can_be_called() {
    let server = Server::new().await;
    let key = server.key(&["operator.jobs", "operator.read"], &[]).await;
    let listed = server.list(Era::Modern, Some(&key)).await;
    let arguments = json!({ "machine": "mill-1", "job": "job-1", "reason": "x", "readings": 1 });
    for tool in ALL.split(' ') {
        let message = server.call(Era::Modern, Some(&key), tool, arguments.clone()).await;
        let is_refused = message["error"]["code"] == 403;
        assert_eq!(!is_refused, listed.split(' ').any(|name| name == tool), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_is_private_to_its_key() {
    let server = Server::new().await;
    let key = server.key(&["reporting"], &[]).await;
    let reply = server.request(Era::Modern, Some(&key), "tools/list", json!({})).await;
    let result = &reply.message()["result"];
    // A client that shares lists between users may keep a public one.
    assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(0)));
    // Older versions have no such members, and the response of a guard's service may not be stored by shared caches.
    let reply = server.request(Era::Sessions, Some(&key), "tools/list", json!({})).await;
    assert!(reply.headers["cache-control"].to_str().unwrap().contains("no-cache"));
}

#[tokio::test(flavor = "multi_thread")]
async fn list_in_an_open_session_follows_the_key() {
    let server = Server::new().await;
    let key = server.key(&["operator", "reporting"], &[]).await;
    let session = server.session(Some(&key)).await;
    let list = message(3, "tools/list", &json!({}));
    let before = server.post(Some(&key), Some(&session), &list).await;
    assert_eq!(before.tools(), ALL);
    let record = server.acme.find(key.id).await.unwrap();
    let edit = KeyEdit::new().scopes(["operator.read"]);
    server.acme.edit(key.id, record.version(), edit).await.unwrap();
    let after = server.post(Some(&key), Some(&session), &list).await;
    assert_eq!(after.tools(), "list_jobs ping");
    let start = json!({ "name": "start_job", "arguments": { "job": "job-1" } });
    let call = server.post(Some(&key), Some(&session), &message(4, "tools/call", &start)).await;
    assert_eq!(call.message()["error"]["code"], 403);
    assert_eq!(server.started(), json!([]));
}
