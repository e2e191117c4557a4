//! A small HTTP client for the calls of the example.

use std::error::Error;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A response: its status, its head and its body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends a request with a key. `form` is the body of a `POST`.
pub async fn call(
    address: &str,
    request: &str,
    key: Option<&str>,
    form: Option<&str>,
) -> Result<Answer, Box<dyn Error>> {
    let mut head = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if let Some(key) = key {
        head += &format!("authorization: Bearer {key}\r\n");
    }
    let form = form.unwrap_or_default();
    if !form.is_empty() {
        head += "content-type: application/x-www-form-urlencoded\r\n";
    }
    head += &format!("content-length: {}\r\n\r\n{form}", form.len());
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the response has no head")?;
    let status = head.split(' ').nth(1).ok_or("the response has no status")?.parse()?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.into() })
}
