//! Sessions and streams of keys: the layer between the guard and rmcp. Copy it.
//!
//! rmcp finds a session by its id alone. Ids are in the logs of proxies and clients, and must not be a second credential.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use keyway::{KeyId, Principal, VerifyError};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The sessions of a server, each with the key that opened it. `None` is a session that was opened without a key.
#[derive(Clone, Default)]
pub struct Sessions {
    open: Arc<LocalSessionManager>,
    owners: Arc<Mutex<HashMap<String, Option<KeyId>>>>,
}

impl Sessions {
    /// Returns the sessions for rmcp.
    pub fn manager(&self) -> Arc<LocalSessionManager> {
        self.open.clone()
    }

    /// Returns whether `caller` may name the session in these headers. Requests without a session may pass.
    fn permit(&self, headers: &HeaderMap, caller: Option<KeyId>) -> bool {
        let mut values = headers.get_all(SESSION).iter();
        let Some(session) = values.next() else { return true };
        let session = session.to_str().unwrap_or_default();
        // With two headers, rmcp could read the other one.
        values.next().is_none() && self.owners().get(session) == Some(&caller)
    }

    /// Keeps the owner of a new session, and drops those of closed ones.
    async fn keep(&self, session: &str, caller: Option<KeyId>) {
        let open = self.open.sessions.read().await;
        let mut owners = self.owners();
        // rmcp closes sessions that are not used. Each walk frees at least half of the owners.
        if owners.len() > 2 * open.len() + 64 {
            owners.retain(|session, _| open.contains_key(&**session));
        }
        owners.insert(session.to_string(), caller);
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<String, Option<KeyId>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds each session to the key that opened it, and ends streams with the key. Another key gets the response for a session
/// that does not exist.
///
/// The owner is the id of the key and not its token, so a session survives a rotation.
pub async fn bind(State(sessions): State<Sessions>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Principal>().cloned();
    let owner = caller.as_ref().map(Principal::key_id);
    if !sessions.permit(request.headers(), owner) {
        // The same bytes as rmcp's response. Otherwise the response would show which sessions exist.
        let body = Body::from("Not Found: Session not found");
        return (StatusCode::NOT_FOUND, body).into_response();
    }
    let is_call = request.method() == Method::POST;
    let is_new = !request.headers().contains_key(SESSION);
    let response = next.run(request).await;
    // INVARIANT: only a request without a session opens one. Otherwise a response could give a session to another key.
    if let Some(session) = response.headers().get(SESSION).filter(|_| is_new) {
        sessions.keep(session.to_str().unwrap_or_default(), owner).await;
    }
    match caller {
        Some(caller) if is_stream(&response) => end_with(caller, is_call, response),
        _ => response,
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Ends the stream of the response when the key of the caller ends.
fn end_with(caller: Principal, is_call: bool, response: Response) -> Response {
    let ended = async move {
        let reason = caller.ended().await;
        if is_call {
            // `GuardedTools::call` ends the tool, by what that tool needs.
            if matches!(reason, VerifyError::Forbidden(_)) {
                pending().await
            }
            // Time for the error of the tool to reach the client.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let until = Box::pin(ended);
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(until)))
}
