//! HTTP/1, byte by byte.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::Reply;

/// Returns the bytes of a request that ends its connection.
pub fn last_request(
    method: &str,
    target: &str,
    fields: &[(&str, Vec<u8>)],
    body: &[u8],
) -> Vec<u8> {
    request(method, target, &[fields, &[("connection", b"close".to_vec())]].concat(), body)
}

/// Returns the bytes of a request after which the connection may carry others.
pub fn request(method: &str, target: &str, fields: &[(&str, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: keys.test\r\n").into_bytes();
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Sends `bytes` over a new connection, and returns everything received until the server closes it.
///
/// `heads` holds the indices of the responses to `HEAD` requests.
pub fn exchange(address: SocketAddr, bytes: &[u8], heads: &[usize]) -> Vec<Reply> {
    let mut connection = Connection::open(address);
    connection.send(bytes);
    replies(&connection.rest(), heads)
}

/// Placeholder for a response that does not arrive.
const KEPT: &[u8] = b"HTTP/1.1 999 kept\r\n\r\n";

/// A connection for a client that sends its request in parts.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Ignores write errors, because a server that has responded may stop reading.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads until the server closes the connection or resets it.
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1 << 14];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return bytes,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
                // The read timed out: the server keeps the connection open.
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    return [&bytes, KEPT].concat();
                }
            }
        }
    }

    /// Returns the responses. None of them may be to a `HEAD`.
    pub fn replies(mut self) -> Vec<Reply> {
        replies(&self.rest(), &[])
    }

    pub fn hang_up(self) {
        self.0.shutdown(Shutdown::Both).unwrap();
    }
}

/// Parses `bytes` as responses, with no other bytes before, between or after them.
fn replies(mut bytes: &[u8], heads: &[usize]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let has_body = !heads.contains(&replies.len());
        let (reply, length) = reply(bytes, has_body);
        replies.push(reply);
        bytes = &bytes[length..];
    }
    replies
}

fn reply(bytes: &[u8], has_body: bool) -> (Reply, usize) {
    let shown = || bytes.escape_ascii().to_string();
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("not a whole head: {}", shown());
    });
    let text = str::from_utf8(&bytes[..head]).unwrap();
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap();
    assert!(status_line.starts_with("HTTP/1."), "not an answer: {}", shown());
    let status: u16 = status_line[9..12].parse().unwrap();
    let fields: Vec<_> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let mut reply = Reply { status, fields, body: Vec::new() };
    let start = head + 4;
    if !has_body || status < 200 {
        return (reply, start);
    }
    assert_eq!(reply.field("transfer-encoding"), None, "all answers know their length");
    let length: usize = reply.field("content-length").unwrap_or("0").parse().unwrap();
    assert!(bytes.len() >= start + length, "not a whole body: {}", shown());
    reply.body = bytes[start..start + length].to_vec();
    (reply, start + length)
}
