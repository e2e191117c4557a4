//! The servers that the table is sent to.
//!
//! To add one, add a variant to [`Server`], a file like `server/axum.rs` with a `serve` function of the same
//! signature, and an arm in [`Server::start`]. The server must end when its future is dropped. If it has
//! threads of its own, each of them calls
//! [`Logs::listen_to_this_thread`](crate::logs::Logs::listen_to_this_thread). Its outermost layer calls
//! [`Service::enter`]. If it responds to some rows before any middleware runs, list those in its arm in
//! [`Server::own_answers`].

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
    /// hyper's server with a service wrapped by the layer.
    Tower,
    /// `axum::serve` with declared routes.
    Axum,
    /// actix-web with declared routes.
    Actix,
}

impl Server {
    pub const ALL: [Self; 3] = [Self::Tower, Self::Axum, Self::Actix];

    /// Serves `service` until the returned value is dropped.
    pub fn start(self, service: Service) -> Running {
        let service = Arc::new(service);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (sender, receiver) = mpsc::channel();
        let serving = Arc::clone(&service);
        logs::prepare();
        // One thread, so that a recorder of this thread receives everything that the server logs.
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

    /// Returns whether a handler of this server can take the caller as an argument.
    pub fn has_extractors(self) -> bool {
        self != Self::Tower
    }

    /// Returns whether the server refuses a long header over HTTP/2 before it has read all of it. actix-web
    /// reads 1 MB, which takes seconds without optimization.
    pub fn bounds_fields_of_http2(self) -> bool {
        self != Self::Actix
    }

    /// Returns whether the server drops a request whose client hangs up while its key is verified. actix-web
    /// continues.
    pub fn notices_hang_ups(self) -> bool {
        self != Self::Actix
    }

    /// Returns whether the response to a `HEAD` is right if another request follows on the connection.
    /// actix-web uses the method of that request, and sends a body.
    pub fn tells_heads_in_a_row(self) -> bool {
        self != Self::Actix
    }

    /// Returns the expected responses of this server to a row, if they differ because no middleware runs.
    pub fn own_answers(self, row: &str) -> Option<&'static [Expected]> {
        let own = match self {
            Self::Tower | Self::Axum => &[],
            Self::Actix => actix::OWN_ANSWERS,
        };
        own.iter().find(|(name, _)| *name == row).map(|(_, expected)| *expected)
    }
}

/// A running server.
pub struct Running {
    pub kind: Server,
    pub address: SocketAddr,
    pub service: Arc<Service>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Returns the number of tasks of the server's runtime.
    pub fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Returns when no connection and no request remains.
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
