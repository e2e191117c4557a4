//! Operations and subscriptions over WebSocket.

use std::time::{Duration, Instant};

use graphql_service::client::{Received, Socket, summary};
use keyway::{
    KeyEdit, NewKey,
    grant::{Networks, Resources},
    record::Suspension,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{World, mills};

const READINGS: &str = "subscription { readings(machine: \"mill-1\") { number } }";

async fn open(world: &World, header: Option<&str>) -> Socket {
    Socket::open(world.running.address, header).await.unwrap()
}

/// An acknowledged connection with the key in the payload.
async fn connected(world: &World, key: &str) -> Socket {
    let mut socket = open(world, None).await;
    socket.init(json!({ "authorization": key })).await.unwrap();
    assert_eq!(kind(&receive(&mut socket).await), "connection_ack");
    socket
}

async fn receive(socket: &mut Socket) -> Received {
    timeout(Duration::from_secs(10), socket.receive()).await.unwrap()
}

fn kind(received: &Received) -> String {
    match received {
        Received::Message(message) => message["type"].as_str().unwrap_or_default().into(),
        other => format!("{other:?}"),
    }
}

fn payload(received: Received) -> Value {
    match received {
        Received::Message(message) => message["payload"].clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn key_in_payload_or_header_opens_a_subscription() {
    let world = World::start().await;
    let key = world.key(&["metrics.basic"], mills()).await;
    let payloads = [json!({ "authorization": key }), json!({ "Authorization": key })];
    for (header, payload) in
        [(None, payloads[0].clone()), (None, payloads[1].clone()), (Some(&*key), json!(null))]
    {
        let mut socket = open(&world, header).await;
        socket.init(payload).await.unwrap();
        assert_eq!(kind(&receive(&mut socket).await), "connection_ack");
        socket.subscribe("1", READINGS).await.unwrap();
        for number in 0..3 {
            let Received::Message(next) = receive(&mut socket).await else { panic!("closed") };
            assert_eq!(next["type"], "next");
            assert_eq!(next["payload"]["data"]["readings"]["number"], number);
        }
        // The client ends the stream, and the connection stays.
        socket.send(&json!({ "type": "complete", "id": "1" })).await.unwrap();
        socket.send(&json!({ "type": "ping" })).await.unwrap();
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind| kind != "pong") {
            kinds.push(kind(&receive(&mut socket).await));
        }
    }
}

#[tokio::test]
async fn connection_without_a_valid_key_is_closed() {
    let world = World::start().await;
    let key = world.key(&["metrics.basic"], mills()).await;
    let (deleted, old) = world.issue(&["metrics.basic"], mills()).await;
    world.acme.delete(deleted.id()).await.unwrap();
    let bare = key.trim_start_matches("Bearer ");
    for (header, payload) in [
        (None, json!(null)),
        (None, json!({})),
        (None, json!({ "authorization": "" })),
        (None, json!({ "authorization": "Bearer mm_test_made-up" })),
        (None, json!({ "authorization": old })),
        (None, json!({ "authorization": bare })),
        (None, json!({ "authorization": [key] })),
        (None, json!({ "authorization": key, "Authorization": key })),
        (Some(&*key), json!({ "authorization": key })),
    ] {
        let mut socket = open(&world, header).await;
        socket.init(payload.clone()).await.unwrap();
        assert_eq!(receive(&mut socket).await, Received::Closed(4403), "{payload}");
    }
    // With a key in the header that is not valid there is no socket.
    let refused = Socket::open(world.running.address, Some(&old)).await.err().unwrap();
    assert!(refused.to_string().contains("401"), "{refused}");
}

#[tokio::test]
async fn messages_out_of_order_close_the_socket() {
    let world = World::start().await;
    let key = world.key(&["metrics.basic"], mills()).await;
    // A key in the header does not replace the acknowledgement.
    for header in [None, Some(&*key)] {
        let mut socket = open(&world, header).await;
        socket.subscribe("1", READINGS).await.unwrap();
        assert_eq!(receive(&mut socket).await, Received::Closed(4401));
    }
    let mut socket = connected(&world, &key).await;
    socket.init(json!({ "authorization": key })).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4429));
    let mut socket = connected(&world, &key).await;
    socket.send(&json!({ "type": "planted" })).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4400));
}

/// The older protocol has let clients begin operations without `connection_init`.
#[tokio::test]
async fn older_protocol_is_refused() {
    let world = World::start().await;
    // The service names no protocol in its response, so this client gives up.
    let refused = Socket::open_as("graphql-ws", world.running.address, None).await;
    assert!(refused.err().unwrap().to_string().contains("protocol"));
    // The service closes the socket of a client that does not mind.
    let mut socket = Socket::open_as("", world.running.address, None).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4406));
    let protocols = "graphql-ws, graphql-transport-ws";
    let mut socket = Socket::open_as(protocols, world.running.address, None).await.unwrap();
    let start = json!({ "type": "start", "id": "1", "payload": { "query": READINGS } });
    socket.send(&start).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4401));
}

#[tokio::test]
async fn operations_at_a_time_are_limited() {
    let world = World::start().await;
    let key = world.key(&["metrics.basic"], mills()).await;
    let mut socket = connected(&world, &key).await;
    for id in 0..101 {
        socket.subscribe(&id.to_string(), READINGS).await.unwrap();
    }
    let mut refused = Vec::new();
    let mut numbers = 0;
    while refused.is_empty() || numbers < 200 {
        let Received::Message(message) = receive(&mut socket).await else { panic!("closed") };
        if message["payload"]["errors"].is_array() {
            refused.push(message["id"].clone());
        } else if message["type"] == "next" {
            numbers += 1;
        }
    }
    assert_eq!(refused, ["100"]);
    // A place is free again.
    socket.send(&json!({ "type": "complete", "id": "7" })).await.unwrap();
    socket.subscribe("101", READINGS).await.unwrap();
    loop {
        let Received::Message(message) = receive(&mut socket).await else { panic!("closed") };
        if message["id"] == "101" {
            assert_eq!(message["payload"]["data"]["readings"]["number"], 0, "{message}");
            return;
        }
    }
}

#[tokio::test]
async fn operations_in_a_socket_are_checked() {
    let world = World::start().await;
    let key = world.key(&["reporting", "metrics.basic"], mills()).await;
    let mut socket = connected(&world, &key).await;
    let cost = r#"{"machine":{"cost":null}} FORBIDDEN machine.cost missingScopes=manager.read"#;
    let start = r#"{"startJob":null} FORBIDDEN startJob missingScopes=operator.jobs"#;
    let readings = "null FORBIDDEN readings resource=machine";
    for (query, expected) in [
        ("{ company }", r#"{"company":"acme"}"#),
        ("{ machine(id: \"mill-1\") { cost } }", cost),
        ("mutation { startJob(machine: \"mill-1\", job: \"a\") }", start),
        ("subscription { readings(machine: \"lathe-1\") { number } }", readings),
        (
            "subscription { ...F } fragment F on Subscription { readings(machine: \"lathe-1\") { number } }",
            readings,
        ),
    ] {
        socket.subscribe("1", query).await.unwrap();
        assert_eq!(summary(&payload(receive(&mut socket).await)), expected, "{query}");
        assert_eq!(kind(&receive(&mut socket).await), "complete", "{query}");
    }
}

#[tokio::test]
async fn networks_of_the_key_hold_in_a_socket() {
    let world = World::start().await;
    for (network, expected) in [("127.0.0.0/8", "connection_ack"), ("192.0.2.0/24", "Closed(4403)")]
    {
        let networks = Networks::only([network]).unwrap();
        let request = NewKey::named("test").scopes(["metrics.basic"]).networks(networks);
        let request = request.resources("machine", Resources::All);
        let (_, key) = world.issue_key(request).await;
        let mut socket = open(&world, None).await;
        socket.init(json!({ "authorization": key })).await.unwrap();
        assert_eq!(kind(&receive(&mut socket).await), expected);
    }
}

/// The messages after the first reading, until the socket is closed: the code in the last error, and that of the socket.
async fn last_of(socket: &mut Socket) -> (String, Received) {
    let mut code = String::new();
    let mut is_complete = false;
    loop {
        match receive(socket).await {
            Received::Message(message) if message["type"] == "complete" => is_complete = true,
            Received::Message(message) => {
                assert!(!is_complete && code.is_empty(), "after the last error: {message}");
                let errors = &message["payload"]["errors"];
                code = errors[0]["extensions"]["code"].as_str().unwrap_or_default().into();
            }
            closed => {
                assert_eq!(is_complete, !code.is_empty());
                return (code, closed);
            }
        }
    }
}

#[tokio::test]
async fn subscription_and_socket_end_with_the_key() {
    for (change, code, closed) in [
        ("delete", "UNAUTHENTICATED", 4401),
        ("disable", "UNAUTHENTICATED", 4401),
        ("suspend", "UNAUTHENTICATED", 4401),
        ("suspend the tenant", "UNAUTHENTICATED", 4401),
        ("take the scope", "FORBIDDEN", 4403),
        ("take the machine", "FORBIDDEN", 4403),
        ("take another scope", "FORBIDDEN", 4403),
    ] {
        let world = World::start().await;
        let (record, key) = world.issue(&["metrics.basic", "reporting"], mills()).await;
        let (id, version) = (record.id(), record.version());
        let mut socket = connected(&world, &key).await;
        socket.subscribe("1", READINGS).await.unwrap();
        assert_eq!(kind(&receive(&mut socket).await), "next");
        let edit = match change {
            "take the scope" => Some(KeyEdit::new().scopes(["reporting"])),
            "take another scope" => Some(KeyEdit::new().scopes(["metrics.basic"])),
            "take the machine" => {
                let other = Resources::only(["mill-2"]).unwrap();
                Some(KeyEdit::new().resources("machine", other))
            }
            _ => None,
        };
        let ban = Suspension::permanent("for tests").unwrap();
        match (change, edit) {
            (_, Some(edit)) => drop(world.acme.edit(id, version, edit).await.unwrap()),
            ("delete", _) => world.acme.delete(id).await.unwrap(),
            ("disable", _) => drop(world.acme.disable(id).await.unwrap()),
            ("suspend", _) => {
                drop(world.keyring.suspend_key(id, ban).await.unwrap());
            }
            _ => drop(world.keyring.suspend_tenant(world.acme.id(), ban).await.unwrap()),
        }
        let began = Instant::now();
        let last = timeout(Duration::from_secs(10), last_of(&mut socket)).await.expect(change);
        assert_eq!(last, (code.into(), Received::Closed(closed)), "{change}");
        assert!(began.elapsed() < Duration::from_secs(2), "{change}: {:?}", began.elapsed());
    }
}

/// The negative control of the test above: other changes leave the stream open.
#[tokio::test]
async fn subscription_outlives_other_changes() {
    let world = World::start().await;
    let (record, key) = world.issue(&["metrics.basic"], mills()).await;
    let (other, _) = world.issue(&["metrics.basic"], mills()).await;
    let mut socket = connected(&world, &key).await;
    socket.subscribe("1", READINGS).await.unwrap();
    world.acme.delete(other.id()).await.unwrap();
    let edit = KeyEdit::new().name("renamed").scopes(["metrics.basic", "reporting"]);
    world.acme.edit(record.id(), record.version(), edit).await.unwrap();
    for _ in 0..8 {
        assert_eq!(kind(&receive(&mut socket).await), "next");
    }
}

#[tokio::test]
async fn idle_socket_ends_with_the_key() {
    let world = World::start().await;
    let (record, key) = world.issue(&["reporting"], mills()).await;
    let mut socket = connected(&world, &key).await;
    world.acme.delete(record.id()).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4401));
}

#[tokio::test]
async fn no_operation_begins_after_the_key_has_ended() {
    let world = World::start().await;
    let scopes = ["metrics.basic", "operator", "reporting"];
    let (record, key) = world.issue(&scopes, mills()).await;
    let mut socket = connected(&world, &key).await;
    let start = "mutation { startJob(machine: \"mill-1\", job: \"axle\") }";
    socket.subscribe("1", start).await.unwrap();
    assert!(summary(&payload(receive(&mut socket).await)).contains("axle on mill-1"));
    assert_eq!(kind(&receive(&mut socket).await), "complete");
    socket.subscribe("2", READINGS).await.unwrap();
    assert_eq!(kind(&receive(&mut socket).await), "next");
    let edit = KeyEdit::new().scopes(["operator.read", "reporting"]);
    world.acme.edit(record.id(), record.version(), edit).await.unwrap();
    while kind(&receive(&mut socket).await) != "complete" {}
    // The socket is open for a moment, in which the caller has the scopes that the key had.
    socket.subscribe("3", start).await.unwrap();
    assert_eq!(receive(&mut socket).await, Received::Closed(4403));
    let jobs = world.ask(&key, "{ jobs { name } }").await;
    assert_eq!(jobs, r#"{"jobs":[{"name":"axle on mill-1"}]}"#);
}
