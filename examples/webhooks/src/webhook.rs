//! A webhook by the [Standard Webhooks](https://www.standardwebhooks.com/) specification: one event, posted with a signature.

use std::{error::Error, time::SystemTime};

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use keyway::event::StoredEvent;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

type Failure = Box<dyn Error + Send + Sync>;

/// A receiver: its address, and the secret that it shares with the sender. Each receiver has a secret of its own.
pub struct Receiver {
    address: String,
    secret: Vec<u8>,
}

impl Receiver {
    /// Creates a receiver. `secret` is `whsec_` and 24 to 64 bytes in base64.
    pub fn new(address: String, secret: &str) -> Result<Self, Failure> {
        let encoded = secret.strip_prefix("whsec_").ok_or("the secret begins with whsec_")?;
        let secret = Base64::decode_vec(encoded).map_err(|_| "the secret is not in base64")?;
        if !(24..=64).contains(&secret.len()) {
            return Err("the secret has 24 to 64 bytes".into());
        }
        Ok(Self { address, secret })
    }

    /// Posts an event. Succeeds if the receiver returns a status of 2xx.
    ///
    /// The id is that of the event, so a receiver recognizes a repetition. The time is that of the attempt: receivers
    /// refuse old ones, because somebody may have recorded them.
    pub async fn post(&self, event: &StoredEvent) -> Result<(), Failure> {
        let body = serde_json::to_string(event)?;
        let id = format!("evt_{}", event.event.id);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let signature = self.sign(&format!("{id}.{now}.{body}"))?;
        let request = format!(
            "POST /webhooks HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        // A service of yours has an HTTP client, which also speaks TLS.
        let mut connection = TcpStream::connect(&self.address).await?;
        connection.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        connection.read_to_string(&mut response).await?;
        match response.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(()),
            status => Err(format!("the receiver returned {}", status.unwrap_or("nothing")).into()),
        }
    }

    fn sign(&self, content: &str) -> Result<String, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)?;
        mac.update(content.as_bytes());
        Ok(Base64::encode_string(&mac.finalize().into_bytes()))
    }
}
