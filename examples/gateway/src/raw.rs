//! The keys, and requests that are sent byte by byte, because no client would send most of them.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy, grant::Resources};
use tokio::runtime::Runtime;

use crate::rows::Row;

/// The keyring, and the tokens of the table.
pub struct Keys {
    pub keyring: Keyring,
    tokens: Vec<(&'static str, String)>,
}

impl Keys {
    pub fn new(runtime: &Runtime) -> Result<Self, Box<dyn Error>> {
        let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
        // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
        let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
        let keyring = Keyring::builder(policy, pepper)
            .environment("live")
            .store(MemoryStore::new())
            .build()?;
        let key = |name: &str, scopes: &[&str], machines| {
            NewKey::named(name).scopes(scopes.iter().copied()).resources("machine", machines)
        };
        let mill = Resources::only(["mill-1"])?;
        let tokens = runtime.block_on(async {
            let read = key("read", &["operator.read", "reporting"], Resources::All);
            let (tenant, first) = keyring.create_tenant_with("acme", "advanced", read).await?;
            let mill = tenant.issue(key("mill", &["reporting"], mill)).await?;
            let boss = tenant.issue(key("boss", &["manager", "operator"], Resources::All)).await?;
            let read = first.token.reveal().to_string();
            let bad = [&read[..read.len() - 4], "AAAA"].concat();
            let (mill, boss) = (mill.token.reveal().to_string(), boss.token.reveal().to_string());
            Ok::<_, Box<dyn Error>>(vec![
                ("read", read),
                ("mill", mill),
                ("boss", boss),
                ("bad", bad),
            ])
        })?;
        Ok(Self { keyring, tokens })
    }

    /// Returns the line of the header for this key, or nothing without one.
    pub fn authorization(&self, key: &str) -> String {
        let token = self.tokens.iter().find(|(name, _)| *name == key);
        token.map_or(String::new(), |(_, token)| format!("authorization: Bearer {token}"))
    }
}

/// Returns the bytes of a caller's request. The number of the row is in a header.
pub fn request(keys: &Keys, number: usize, row: &Row) -> Vec<u8> {
    message(row.method, &row.target, keys, number, row)
}

/// Returns the bytes of a gateway's question.
pub fn question(keys: &Keys, number: usize, row: &Row) -> Vec<u8> {
    message("GET", b"/keys/check", keys, number, row)
}

fn message(method: &str, target: &[u8], keys: &Keys, number: usize, row: &Row) -> Vec<u8> {
    let mut bytes =
        [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nhost: api.example.com\r\n"].concat();
    bytes.extend(format!("x-row: {number}\r\nconnection: close\r\n").bytes());
    if !matches!(method, "GET" | "HEAD" | "TRACE") {
        bytes.extend(b"content-length: 0\r\n");
    }
    let authorization = keys.authorization(row.key);
    if !authorization.is_empty() {
        bytes.extend([authorization.as_bytes(), b"\r\n"].concat());
    }
    for (name, value) in &row.headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes
}

/// A response.
pub struct Seen {
    pub status: u16,
}

/// Sends these bytes. A connection that is closed without a response has status 0.
pub fn send(to: SocketAddr, bytes: &[u8]) -> Result<Seen, Box<dyn Error>> {
    let mut connection = TcpStream::connect(to)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    connection.write_all(bytes)?;
    let mut reply = Vec::new();
    // A server that refuses a request may reset the connection after its response.
    let _ = connection.read_to_end(&mut reply);
    let line = String::from_utf8_lossy(&reply);
    let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok(Seen { status: status.unwrap_or_default() })
}
