//! A server in the process, its keys, and requests to it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
    routing::any_service,
};
use factory::Factory;
use keyway::{
    KeyId, Keyring, NewKey, TenantKeys,
    grant::Resources,
    http::{Routes, axum::Endpoint},
};
use mcp::server::FactoryServer;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt as _;

pub const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const SESSION: &str = "mcp-session-id";

/// The newest version of MCP, which has no sessions.
pub const MODERN: &str = "2026-07-28";

pub struct Server {
    pub app: Router,
    pub factory: Factory,
    pub acme: TenantKeys,
    _folder: TempDir,
}

/// A key and its token.
pub struct Key {
    pub id: KeyId,
    pub token: String,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// Both ways in which clients talk to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Era {
    /// With `initialize` and a session.
    Sessions,
    /// Each request has all that it needs.
    Modern,
}

pub const ERAS: [Era; 2] = [Era::Sessions, Era::Modern];

impl Server {
    pub async fn new() -> Self {
        Self::with(|keyring, factory| mcp::routes(keyring, factory).unwrap().build().unwrap()).await
    }

    /// Creates a server whose endpoint is made by `endpoint`, behind a guard that admits requests without a key too.
    pub async fn optional(endpoint: impl FnOnce(&Keyring, &Factory) -> Endpoint) -> Self {
        Self::with(|keyring, factory| {
            let endpoint = endpoint(keyring, factory).optional().handler_checks("machine");
            Routes::new(keyring).route("/mcp", endpoint).build().unwrap()
        })
        .await
    }

    /// Creates a server without the layer that binds sessions and ends streams.
    pub async fn without_sessions() -> Self {
        Self::with(|keyring, factory| {
            let server = FactoryServer::new(keyring, factory).unwrap();
            let mcp = StreamableHttpService::new(
                move || Ok(server.clone()),
                Arc::<LocalSessionManager>::default(),
                StreamableHttpServerConfig::default(),
            );
            let endpoint = Endpoint::new("*", any_service(mcp)).any_key().handler_checks("machine");
            Routes::new(keyring).route("/mcp", endpoint).build().unwrap()
        })
        .await
    }

    pub async fn with(app: impl FnOnce(&Keyring, &Factory) -> Router) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keyring = factory::open_keyring(folder.path()).await.unwrap();
        let factory = Factory::new(&keyring).unwrap();
        let app = app(&keyring, &factory);
        let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        Self { app, factory, acme, _folder: folder }
    }

    /// Issues a key for the machines with these ids. No ids are all machines.
    pub async fn key(&self, scopes: &[&str], machines: &[&str]) -> Key {
        let machines = match machines {
            [] => Resources::All,
            ids => Resources::only(ids).unwrap(),
        };
        let request = NewKey::named("agent").scopes(scopes.iter().copied());
        let issued = self.acme.issue(request.resources("machine", machines)).await.unwrap();
        Key { id: issued.key.id(), token: issued.token.reveal().to_string() }
    }

    /// Returns the jobs that were started.
    pub fn started(&self) -> Value {
        self.factory.jobs()["started"].clone()
    }

    /// Sends a request to `/mcp`.
    pub async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send_to("/mcp", method, headers, body).await
    }

    pub async fn send_to(
        &self,
        path: &str,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let (status, headers, body) = self.open(path, method, headers, body).await;
        let read = timeout(Duration::from_secs(10), to_bytes(body, usize::MAX)).await;
        let body = read.expect("the response ends").unwrap().to_vec();
        Reply { status, headers, body: String::from_utf8(body).unwrap() }
    }

    /// Sends a request, and returns the response before its body has ended.
    pub async fn open(
        &self,
        path: &str,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Body) {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body)
    }

    /// Posts a message, with the key and in the session.
    pub async fn post(&self, key: Option<&Key>, session: Option<&str>, body: &str) -> Reply {
        let bearer = key.map(|key| format!("Bearer {}", key.token));
        let mut headers = vec![ACCEPT, JSON];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        headers.extend(session.map(|session| (SESSION, session)));
        self.send("POST", &headers, body).await
    }

    /// Opens a session, and returns its id.
    pub async fn session(&self, key: Option<&Key>) -> String {
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "0" },
        });
        let reply = self.post(key, None, &message(1, "initialize", &params)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let session = reply.headers[SESSION].to_str().unwrap().to_string();
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let reply = self.post(key, Some(&session), &ready.to_string()).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        session
    }

    /// Sends one request as clients of this era do, and returns the HTTP response.
    pub async fn request(&self, era: Era, key: Option<&Key>, method: &str, params: Value) -> Reply {
        match era {
            Era::Sessions => {
                let session = self.session(key).await;
                self.post(key, Some(&session), &message(2, method, &params)).await
            }
            Era::Modern => self.modern(key, method, params, None).await,
        }
    }

    /// Sends one request of the newest version. The header names `name` in place of the tool.
    pub async fn modern(
        &self,
        key: Option<&Key>,
        method: &str,
        mut params: Value,
        name: Option<&str>,
    ) -> Reply {
        let prefix = "io.modelcontextprotocol/";
        params["_meta"] = json!({
            format!("{prefix}protocolVersion"): MODERN,
            format!("{prefix}clientCapabilities"): {},
            format!("{prefix}clientInfo"): { "name": "test", "version": "0" },
        });
        let own = params["name"].as_str().map(String::from);
        let bearer = key.map(|key| format!("Bearer {}", key.token));
        let mut headers =
            vec![ACCEPT, JSON, ("mcp-protocol-version", MODERN), ("mcp-method", method)];
        headers.extend(name.or(own.as_deref()).map(|name| ("mcp-name", name)));
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.send("POST", &headers, &message(2, method, &params)).await
    }

    /// Calls a tool, and returns the message.
    pub async fn call(&self, era: Era, key: Option<&Key>, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.request(era, key, "tools/call", params).await.message()
    }

    /// Returns the names of the tools in the list.
    pub async fn list(&self, era: Era, key: Option<&Key>) -> String {
        self.request(era, key, "tools/list", json!({})).await.tools()
    }
}

/// Returns a request of JSON-RPC.
pub fn message(id: u32, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

impl Reply {
    /// Returns the message in the body, or the last event of the stream.
    pub fn message(&self) -> Value {
        let mut events = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        let last = events.rfind(|data| !data.trim().is_empty()).unwrap_or(&self.body);
        serde_json::from_str(last.trim())
            .unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    /// Returns the names of the tools, in the order of the list.
    pub fn tools(&self) -> String {
        let message = self.message();
        let tools = message["result"]["tools"].as_array().unwrap_or_else(|| panic!("{message}"));
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        names.join(" ")
    }
}
