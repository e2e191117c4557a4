//! The client: exact bytes over a socket, or HTTP/2 with prior knowledge.

mod http1;
mod http2;

pub use self::{
    http1::{Connection, exchange, last_request, request},
    http2::Http2,
};
use crate::answers::Shown;

/// Headers that servers add themselves, with different values. All others are compared byte for byte.
const OF_THE_SERVER: [&str; 4] = ["connection", "content-length", "date", "transfer-encoding"];

/// A response as received.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names are in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the response without the headers that servers add themselves.
    pub fn shown(&self) -> Shown {
        let mut fields = self.fields.clone();
        fields.retain(|(name, _)| !OF_THE_SERVER.contains(&&**name));
        fields.sort();
        let body = String::from_utf8(self.body.clone()).unwrap();
        Shown { status: self.status, fields, body }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }
}
