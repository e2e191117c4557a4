//! HTTP/2 with prior knowledge.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::Reply;

/// A connection.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub fn open(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) =
                handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Returns the response, or `None` if the server resets the stream.
    pub fn exchange(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, Vec<u8>)],
        body: &[u8],
    ) -> Option<Reply> {
        let request = request(method, target, fields, body);
        let answer = self.sender.send_request(request);
        self.runtime.block_on(async {
            let answer = timeout(Duration::from_secs(10), answer).await.unwrap();
            let answer = answer.ok()?;
            let (head, body) = answer.into_parts();
            let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
            let fields =
                head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let body = body.collect().await.ok()?.to_bytes().to_vec();
            Some(Reply { status: head.status.as_u16(), fields, body })
        })
    }

    /// Sends a request, and resets the stream after `wait`.
    pub fn give_up(&mut self, target: &str, fields: &[(&str, Vec<u8>)], wait: impl FnOnce()) {
        let answer = self.sender.send_request(request("GET", target, fields, b""));
        self.runtime.block_on(async {
            let mut answer = Box::pin(answer);
            let sent = timeout(Duration::from_millis(100), &mut answer).await;
            assert!(sent.is_err(), "it was answered");
            wait();
            drop(answer);
            // The connection must be polled until the reset is sent.
            tokio::time::sleep(Duration::from_millis(100)).await;
        });
    }
}

fn request(
    method: &str,
    target: &str,
    fields: &[(&str, Vec<u8>)],
    body: &[u8],
) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::copy_from_slice(body));
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = format!("http://keys.test{target}").parse().unwrap();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    request
}
