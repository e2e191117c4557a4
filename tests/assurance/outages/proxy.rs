//! A proxy before a server that delays, corrupts or cuts off replies.

use std::{
    future::pending,
    net::{Ipv4Addr, TcpListener as Listener},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    time::sleep,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    Open,
    /// Nothing passes in either direction, and no connection is closed.
    BlackHole,
    /// Like a black hole, but what was sent in this time is lost permanently, and so is the connection.
    Lost,
    /// Sends half of a reply, and then resets the connection.
    Reset,
    /// Sends a reply byte by byte.
    Drip,
    /// Sends replies of the right length with wrong bytes.
    Garbled,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Open, Self::BlackHole, Self::Lost, Self::Reset, Self::Drip, Self::Garbled];
}

/// The pause between two bytes of `Way::Drip`.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Proxy {
    port: u16,
    way: Arc<AtomicU8>,
}

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(AtomicU8::new(Way::Open as u8));
        let shared = Arc::clone(&way);
        thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(forward(client, server, Arc::clone(&shared)));
                }
            });
        });
        Self { port, way }
    }

    pub fn url(&self) -> String {
        format!("postgres://keyway@127.0.0.1:{}/postgres", self.port)
    }

    pub fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }
}

fn now(way: &AtomicU8) -> Way {
    Way::ALL[usize::from(way.load(Ordering::SeqCst))]
}

/// Forwards until one end closes the connection, or until `way` lets nothing more pass.
async fn forward(mut client: TcpStream, server: u16, way: Arc<AtomicU8>) {
    if now(&way) == Way::Lost {
        // The server does not see a new connection either.
        return pending().await;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let (mut asked, mut replied) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                opened(&way).await;
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut replied) => {
                let Ok(length @ 1..) = read else { return };
                if reply(&mut client, &mut replied[..length], &way).await.is_none() {
                    return;
                }
            }
        }
    }
}

/// Forwards a reply of the server. `None` ends the connection.
async fn reply(client: &mut TcpStream, said: &mut [u8], way: &AtomicU8) -> Option<()> {
    opened(way).await;
    match now(way) {
        Way::Open | Way::BlackHole | Way::Lost => client.write_all(said).await.ok(),
        Way::Reset => {
            client.write_all(&said[..said.len().div_ceil(2)]).await.ok()?;
            client.set_zero_linger().ok()?;
            None
        }
        Way::Drip => {
            for byte in said {
                client.write_all(&[*byte]).await.ok()?;
                sleep(PAUSE).await;
            }
            Some(())
        }
        Way::Garbled => {
            for byte in said.iter_mut() {
                *byte ^= 0x5a;
            }
            client.write_all(said).await.ok()
        }
    }
}

async fn opened(way: &AtomicU8) {
    loop {
        match now(way) {
            Way::BlackHole => sleep(Duration::from_millis(5)).await,
            Way::Lost => pending().await,
            _ => return,
        }
    }
}
