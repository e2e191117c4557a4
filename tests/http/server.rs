//! The servers that the table is driven through.
//!
//! Another one is a variant of [`Server`], a file beside `server/axum.rs` with a `serve` of the same
//! kind, and an arm in [`Server::start`]. It ends when its future is dropped; if it has threads of its
//! own, each of them calls [`Logs::listen_to_this_thread`](crate::logs::Logs::listen_to_this_thread), and
//! its outermost layer [`Service::enter`]s. Where it answers before any middleware is asked, its arm in
//! [`Server::own_answers`] says what.

mod actix;
mod axum;
mod tower;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{answers::Expected, logs, service::Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// hyper's server over a service that is guarded by the layer.
    Tower,
    /// `axum::serve` over declared routes.
    Axum,
    /// actix-web over declared routes.
    Actix,
}

impl Server {
    pub const ALL: [Self; 3] = [Self::Tower, Self::Axum, Self::Actix];

    /// Serves `service` until what this gives is dropped.
    pub fn start(self, service: Service) -> Running {
        let service = Arc::new(service);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (sender, receiver) = mpsc::channel();
        let serving = Arc::clone(&service);
        logs::prepare();
        // One thread, so that whoever listens to it hears all that the server says.
        let thread = thread::spawn(move || {
            if let Some(logs) = &serving.logs {
                logs.listen_to_this_thread();
            }
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            sender.send(runtime.handle().clone()).unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = async {
                    match self {
                        Self::Tower => tower::serve(serving, listener).await,
                        Self::Axum => axum::serve(serving, listener).await,
                        Self::Actix => actix::serve(serving, listener).await,
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        let runtime = receiver.recv().unwrap();
        Running { kind: self, address, service, runtime, stop: Some(stop), thread: Some(thread) }
    }

    /// Whether a handler of this server can name the caller as an argument.
    pub fn has_extractors(self) -> bool {
        self != Self::Tower
    }

    /// Whether it refuses a long field over HTTP/2 before it has read all of it. actix-web reads 1 MB, and
    /// takes seconds for it without optimisation.
    pub fn bounds_fields_of_http2(self) -> bool {
        self != Self::Actix
    }

    /// Whether it gives up a request whose client hangs up while its key is looked for. actix-web goes on.
    pub fn notices_hang_ups(self) -> bool {
        self != Self::Actix
    }

    /// Whether the answer to a `HEAD` is right although another request waits behind it. actix-web takes
    /// that one's method for the `HEAD`'s, and sends a body.
    pub fn tells_heads_in_a_row(self) -> bool {
        self != Self::Actix
    }

    /// What this server answers to a row, if it is of its own mind before any middleware is asked.
    pub fn own_answers(self, row: &str) -> Option<&'static [Expected]> {
        let own = match self {
            Self::Tower | Self::Axum => &[],
            Self::Actix => actix::OWN_ANSWERS,
        };
        own.iter().find(|(name, _)| *name == row).map(|(_, expected)| *expected)
    }
}

/// A server that serves.
pub struct Running {
    pub kind: Server,
    pub address: SocketAddr,
    pub service: Arc<Service>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// How many tasks the server's runtime has.
    pub fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Returns when no connection and no request is left.
    pub fn await_rest(&self, tasks: usize) {
        for _ in 0..10_000 {
            if self.service.under_way() == 0 && self.tasks() <= tasks {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("{} requests and {} tasks are left", self.service.under_way(), self.tasks());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap().unwrap();
        }
    }
}
