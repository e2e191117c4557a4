//! Sessions belong to the key that opened them.

use keyway::GracePeriod;
use mcp::server::FactoryServer;
use serde_json::json;

use crate::wire::{ACCEPT, JSON, Key, Reply, SESSION, Server, message};

async fn in_session(server: &Server, method: &str, key: &Key, session: &str) -> Reply {
    let bearer = format!("Bearer {}", key.token);
    let headers = [ACCEPT, JSON, ("authorization", &*bearer), (SESSION, session)];
    let body = if method == "POST" { message(7, "tools/list", &json!({})) } else { String::new() };
    server.send(method, &headers, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn session_of_another_key_does_not_exist() {
    let server = Server::new().await;
    let owner = server.key(&["operator"], &[]).await;
    let thief = server.key(&["operator", "reporting"], &[]).await;
    let session = server.session(Some(&owner)).await;
    for method in ["POST", "GET", "DELETE"] {
        let stolen = in_session(&server, method, &thief, &session).await;
        let unknown = in_session(&server, method, &thief, "planted").await;
        assert_eq!((stolen.status.as_u16(), &stolen.body), (404, &unknown.body), "{method}");
        assert_eq!(stolen.status, unknown.status);
    }
    // Neither the thief's own session nor a second header helps.
    let own = server.session(Some(&thief)).await;
    let bearer = format!("Bearer {}", thief.token);
    let list = message(7, "tools/list", &json!({}));
    for (first, second) in [(&own, &session), (&session, &own)] {
        let both = [(SESSION, &**first), (SESSION, &**second)];
        let headers = [ACCEPT, JSON, ("authorization", &*bearer), both[0], both[1]];
        assert_eq!(server.send("POST", &headers, &list).await.status, 404);
    }
    // The owner has not lost it, and can end it.
    assert_eq!(in_session(&server, "POST", &owner, &session).await.status, 200);
    assert_eq!(in_session(&server, "DELETE", &owner, &session).await.status, 202);
    // The reply of rmcp to a closed session is that of the layer to the session of another key.
    let closed = in_session(&server, "POST", &owner, &session).await;
    let unknown = in_session(&server, "POST", &owner, "planted").await;
    assert_eq!((closed.status.as_u16(), closed.body), (404, unknown.body));
}

/// The negative control: without the layer, every key can use and end the session of another key.
#[tokio::test(flavor = "multi_thread")]
async fn session_without_the_layer_is_open_to_other_keys() {
    let server = Server::without_sessions().await;
    let owner = server.key(&["operator"], &[]).await;
    let thief = server.key(&["reporting"], &[]).await;
    let session = server.session(Some(&owner)).await;
    // The rights are those of the request even so.
    let list = in_session(&server, "POST", &thief, &session).await.tools();
    assert_eq!(list, "list_machines machine_status ping watch_machine");
    assert_eq!(in_session(&server, "DELETE", &thief, &session).await.status, 202);
    assert_eq!(in_session(&server, "POST", &owner, &session).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_survives_a_rotation() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let session = server.session(Some(&key)).await;
    let record = server.acme.find(key.id).await.unwrap();
    let rotated = server.acme.rotate(key.id, record.version(), GracePeriod::None).await.unwrap();
    let renewed = Key { id: key.id, token: rotated.token.reveal().to_string() };
    assert_eq!(in_session(&server, "POST", &renewed, &session).await.status, 200);
    assert_eq!(in_session(&server, "POST", &key, &session).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ends_with_its_key() {
    let server = Server::new().await;
    let key = server.key(&["operator"], &[]).await;
    let session = server.session(Some(&key)).await;
    assert_eq!(in_session(&server, "POST", &key, &session).await.status, 200);
    server.acme.delete(key.id).await.unwrap();
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(in_session(&server, method, &key, &session).await.status, 401, "{method}");
    }
    // Another key of the company does not inherit it.
    let heir = server.key(&["operator"], &[]).await;
    assert_eq!(in_session(&server, "POST", &heir, &session).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_without_a_key_is_not_a_session_with_one() {
    let server = Server::optional(|keyring, factory| {
        mcp::endpoint(FactoryServer::new(keyring, factory).unwrap())
    })
    .await;
    let key = server.key(&["operator"], &[]).await;
    let list = message(7, "tools/list", &json!({}));
    let (public, own) = (server.session(None).await, server.session(Some(&key)).await);
    assert_eq!(server.post(None, Some(&own), &list).await.status, 404);
    assert_eq!(server.post(Some(&key), Some(&public), &list).await.status, 404);
    assert_eq!(server.post(None, Some(&public), &list).await.tools(), "ping");
}
