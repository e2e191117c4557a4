//! A connection to a server that can be redirected, held up and cut.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
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
    /// The delay of data from the server, in milliseconds. `None` if this forwarder delays nothing.
    delay: Option<AtomicU64>,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
}

impl Forwarder {
    pub fn to(backend: u16) -> Self {
        Self::new(backend, None)
    }

    /// Like [`to`](Self::to), for a forwarder that can [delay](Self::delay) data.
    pub fn slow_to(backend: u16) -> Self {
        Self::new(backend, Some(AtomicU64::new(0)))
    }

    fn new(backend: u16, delay: Option<AtomicU64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(Way {
            backend: AtomicU16::new(backend),
            is_held_up: AtomicBool::new(false),
            cuts: AtomicU32::new(0),
            delay,
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

    /// Delivers the data from the server so much later from now on. The rate of the data stays the same.
    pub fn delay(&self, time: Duration) {
        let delay = self.way.delay.as_ref().expect("a forwarder of `slow_to`");
        delay.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
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
        let ways = [(client.try_clone()?, server.try_clone()?, false), (server, client, true)];
        for (from, to, is_from_server) in ways {
            let way = Arc::clone(self);
            thread::spawn(move || {
                let _ = match way.delay.as_ref().filter(|_| is_from_server) {
                    Some(delay) => way.pump_later(&from, &to, delay),
                    None => way.pump(&from, &to),
                };
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    /// Like [`pump`](Self::pump), with a delay between reading and writing.
    fn pump_later(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        delay: &AtomicU64,
    ) -> std::io::Result<()> {
        let (sender, received) = channel();
        thread::scope(|scope| {
            scope.spawn(|| write_later(to, received, delay));
            self.pump(from, Queue(sender))
        })
    }

    fn pump(&self, mut from: &TcpStream, mut to: impl Write) -> std::io::Result<()> {
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

/// Keeps data with the time of its arrival.
struct Queue(Sender<(Instant, Vec<u8>)>);

impl Write for Queue {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.send((Instant::now(), data.into()));
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes the data of a [`Queue`], each part so long after its arrival.
fn write_later(mut to: &TcpStream, queue: Receiver<(Instant, Vec<u8>)>, delay: &AtomicU64) {
    for (arrived, data) in queue {
        let due = arrived + Duration::from_millis(delay.load(Ordering::SeqCst));
        sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&data).is_err() {
            // The connection was cut.
            return;
        }
    }
}
