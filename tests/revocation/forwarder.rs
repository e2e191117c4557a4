//! A way to a server that can be interrupted without anybody being told.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections to a port of this machine.
pub(super) struct Forwarder {
    port: u16,
    drops: watch::Sender<bool>,
}

impl Forwarder {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (drops, is_dropping) = watch::channel(false);
        let forwarder = Self { port: listener.local_addr().unwrap().port(), drops };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forward(from_client, to_server, is_dropping.clone()));
                tokio::spawn(forward(from_server, to_client, is_dropping.clone()));
            }
        });
        forwarder
    }

    /// From now on nothing comes through in either direction, or all that was held up does. No
    /// connection is closed.
    pub(super) fn drop_packets(&self, drops: bool) {
        self.drops.send_replace(drops);
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://keyway@127.0.0.1:{}/postgres", self.port)
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_dropping: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        if is_dropping.wait_for(|drops| !drops).await.is_err() {
            return;
        }
        match read {
            Ok(1..) if to.write_all(&bytes[..read.unwrap()]).await.is_ok() => {}
            _ => return,
        }
    }
}
