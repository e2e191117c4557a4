//! One request of the table, and the expected response.

use crate::answers::Expected;

/// A request that both HTTP/1.1 and HTTP/2 can carry.
#[derive(Clone)]
pub struct Row {
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    /// Values hold `{names}` of tokens.
    pub fields: Vec<(&'static str, &'static [u8])>,
    pub body: &'static [u8],
    pub expected: Expected,
    /// The expected response over HTTP/2, if it differs.
    pub over_http2: Option<Expected>,
    /// Whether the request has a key in its address, where logs of addresses show it.
    pub has_key_in_address: bool,
}

/// Creates a `GET` of `path`.
pub fn get(name: &'static str, path: &'static str) -> Row {
    request(name, "GET", path)
}

pub fn request(name: &'static str, method: &'static str, path: &'static str) -> Row {
    Row {
        name,
        method,
        path,
        fields: Vec::new(),
        body: b"",
        expected: match path {
            path if path.starts_with("/keyed") => Expected::Keyed(&Expected::Missing),
            "/only" => Expected::Only(&Expected::Missing),
            _ => Expected::Missing,
        },
        over_http2: None,
        has_key_in_address: false,
    }
}

impl Row {
    pub fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds this value of `Authorization`.
    pub fn auth(self, value: &'static [u8]) -> Self {
        self.with("authorization", value)
    }

    pub fn body(mut self, body: &'static [u8]) -> Self {
        self.body = body;
        self
    }

    pub fn is(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    pub fn over_http2(mut self, expected: Expected) -> Self {
        self.over_http2 = Some(expected);
        self
    }

    pub fn with_key_in_address(mut self) -> Self {
        self.has_key_in_address = true;
        self
    }
}

/// One or more requests, as the bytes sent over one HTTP/1 connection.
pub struct RawRow {
    pub name: &'static str,
    /// Bytes with `{names}` of tokens.
    pub bytes: Vec<&'static [u8]>,
    pub replies: Vec<Expected>,
}

/// Creates a row in which the client sends all of `bytes` at once and the server responds with `replies`.
pub fn raw(name: &'static str, bytes: &[&'static [u8]], replies: &[Expected]) -> RawRow {
    RawRow { name, bytes: bytes.to_vec(), replies: replies.to_vec() }
}
