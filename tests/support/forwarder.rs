//! A connection to a server that can be redirected, held up and cut.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering},
    },
    thread::{self, sleep},
    time::Duration,
};

/// Forwards connections to a port of this machine. Its own port never changes.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    backend: AtomicU16,
    is_held_up: AtomicBool,
    cuts: AtomicU32,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
}

impl Forwarder {
    pub fn to(backend: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(Way {
            backend: AtomicU16::new(backend),
            is_held_up: AtomicBool::new(false),
            cuts: AtomicU32::new(0),
            streams: Mutex::default(),
        });
        let serving = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // If the server is not there, the client's connection is closed.
                let _ = serving.connect(client);
            }
        });
        Self { port, way }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads all further connections to `backend`, and cuts the existing ones.
    pub fn redirect(&self, backend: u16) {
        self.lead(backend);
        self.cut();
    }

    /// Leads all further connections to `backend`.
    pub fn lead(&self, backend: u16) {
        self.way.backend.store(backend, Ordering::SeqCst);
    }

    /// Stops all data, or lets the delayed data through. No connection is closed.
    pub fn hold_up(&self, holds: bool) {
        self.way.is_held_up.store(holds, Ordering::SeqCst);
    }

    /// Cuts all connections. Data in transit is lost.
    pub fn cut(&self) {
        self.way.cuts.fetch_add(1, Ordering::SeqCst);
        for stream in self.way.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Way {
    fn connect(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", self.backend.load(Ordering::SeqCst)))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.streams.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let way = Arc::clone(self);
            thread::spawn(move || {
                let _ = way.pump(&from, &to);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let cuts = self.cuts.load(Ordering::SeqCst);
        loop {
            let length = from.read(&mut buffer)?;
            while self.is_held_up.load(Ordering::SeqCst) && self.cuts.load(Ordering::SeqCst) == cuts
            {
                sleep(Duration::from_millis(1));
            }
            if length == 0 || self.cuts.load(Ordering::SeqCst) != cuts {
                return Ok(());
            }
            to.write_all(&buffer[..length])?;
        }
    }
}
