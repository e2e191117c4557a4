//! One request of the table, and what has to be answered.

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
    /// What is answered over HTTP/2, where that differs.
    pub over_http2: Option<Expected>,
    /// Whether the request has a key where none belongs, so that what logs addresses shows it.
    pub has_key_in_address: bool,
}

/// A `GET` of `path`.
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
        expected: Expected::Missing,
        over_http2: None,
        has_key_in_address: false,
    }
}

impl Row {
    pub fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.fields.push((name, value));
        self
    }

    /// With this value of `Authorization`.
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

/// One or more requests as the bytes that go over one HTTP/1 connection.
pub struct RawRow {
    pub name: &'static str,
    /// With `{names}` of tokens.
    pub bytes: Vec<&'static [u8]>,
    pub replies: Vec<Expected>,
}

/// The client sends all of `bytes` at once, and the server answers with `replies`.
pub fn raw(name: &'static str, bytes: &[&'static [u8]], replies: &[Expected]) -> RawRow {
    RawRow { name, bytes: bytes.to_vec(), replies: replies.to_vec() }
}
