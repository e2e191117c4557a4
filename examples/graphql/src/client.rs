//! A client for the demonstration and the tests.

use std::{error::Error, net::SocketAddr};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::socket::PROTOCOL;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Sends a request to the service.
///
/// # Errors
///
/// An error of the connection.
pub async fn send(request: Request<Body>) -> Outcome<(StatusCode, HeaderMap, Bytes)> {
    let client = legacy::Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await?.into_parts();
    Ok((parts.status, parts.headers, body.collect().await?.to_bytes()))
}

/// Posts a GraphQL request, or a batch of them, and returns the response. `key` is the value of `Authorization`.
///
/// # Errors
///
/// An error of the connection, or a response that is not JSON.
pub async fn post(address: SocketAddr, key: Option<&str>, request: &Value) -> Outcome<Value> {
    let mut builder = Request::post(format!("http://{address}/graphql"));
    builder = builder.header("content-type", "application/json");
    if let Some(key) = key {
        builder = builder.header("authorization", key);
    }
    let (_, _, body) = send(builder.body(Body::from(request.to_string()))?).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Writes a response in short: its data, and each error with its code, its path and its reason.
pub fn summary(response: &Value) -> String {
    let mut text = response["data"].to_string();
    let mut errors: Vec<_> = response["errors"].as_array().into_iter().flatten().collect();
    errors.sort_by_key(|error| error["path"].to_string());
    for error in errors {
        let extensions = &error["extensions"];
        let segments = error["path"].as_array().into_iter().flatten();
        let path: Vec<_> = segments.map(|of| of.to_string().replace('"', "")).collect();
        let code = extensions["code"].as_str().unwrap_or("ERROR");
        text += &format!(" {code} {}", path.join("."));
        for name in ["missingScopes", "missingOneOf", "resource"] {
            if let Some(reason) = extensions.get(name) {
                text += &format!(" {name}={}", reason_text(reason));
            }
        }
    }
    text
}

fn reason_text(reason: &Value) -> String {
    reason.to_string().replace(['"', '[', ']'], "")
}

/// A WebSocket to the service.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// A message from the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A message of the protocol.
    Message(Value),
    /// The code with which the service closed the socket.
    Closed(u16),
    /// The connection ended without a code.
    Gone,
}

impl Socket {
    /// Opens a WebSocket, with the value of `Authorization`, if there is one.
    ///
    /// # Errors
    ///
    /// An error of the connection, or a response other than the switch to WebSocket.
    pub async fn open(address: SocketAddr, key: Option<&str>) -> Outcome<Self> {
        Self::open_as(PROTOCOL, address, key).await
    }

    /// Opens a WebSocket of another protocol, or of none if it is empty.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_as(protocol: &str, address: SocketAddr, key: Option<&str>) -> Outcome<Self> {
        let mut request = format!("ws://{address}/graphql/ws").into_client_request()?;
        if !protocol.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse()?);
        }
        if let Some(key) = key {
            request.headers_mut().insert("authorization", key.parse()?);
        }
        Ok(Self(tokio_tungstenite::connect_async(request).await?.0))
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// An error of the connection.
    pub async fn send(&mut self, message: &Value) -> Outcome<()> {
        Ok(self.0.send(Message::text(message.to_string())).await?)
    }

    /// Sends `connection_init` with this payload.
    ///
    /// # Errors
    ///
    /// An error of the connection.
    pub async fn init(&mut self, payload: Value) -> Outcome<()> {
        self.send(&json!({ "type": "connection_init", "payload": payload })).await
    }

    /// Starts an operation.
    ///
    /// # Errors
    ///
    /// An error of the connection.
    pub async fn subscribe(&mut self, id: &str, query: &str) -> Outcome<()> {
        let payload = json!({ "query": query });
        self.send(&json!({ "type": "subscribe", "id": id, "payload": payload })).await
    }

    /// Returns the next message.
    pub async fn receive(&mut self) -> Received {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    Received::Message(serde_json::from_str(&text).unwrap_or_default())
                }
                Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => {
                    Received::Closed(code.into())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => Received::Gone,
            };
        }
    }
}
