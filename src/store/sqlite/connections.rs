//! The connections to one database, each on a thread of its own.
//!
//! SQLite waits for disks and locks, which a future must not. So what is to be done goes to a thread
//! as a whole: a transaction never waits for the task that asked for it, a task that is dropped never
//! leaves one open, and no runtime is needed.

use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};
use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use futures_channel::oneshot;
use rusqlite::Connection;

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// One connection that writes, and some that read.
#[derive(Debug)]
pub(super) struct Connections {
    writes: Sender<Job>,
    reads: Sender<Job>,
}

impl Connections {
    /// With `readers`, or with none, when everything is done by `writer`.
    pub(super) fn new(writer: Connection, readers: Vec<Connection>) -> std::io::Result<Self> {
        let one = serve([writer])?;
        let reads = if readers.is_empty() { one.clone() } else { serve(readers)? };
        Ok(Self { writes: one, reads })
    }

    /// What `job` gives on a connection that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.reads, job).await
    }

    /// What `job` gives on the connection that writes. One job at a time is there.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.writes, job).await
    }
}

/// Starts a thread for each connection. They end when nobody can send a job any more.
fn serve(connections: impl IntoIterator<Item = Connection>) -> std::io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for connection in connections {
        let jobs = Arc::clone(&jobs);
        thread::Builder::new()
            .name("keyway-sqlite".to_string())
            .spawn(move || work(connection, &jobs))?;
    }
    Ok(sender)
}

fn work(mut connection: Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while this thread waits for a job, and free while it does one.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(&mut connection),
            Err(_) => return,
        }
    }
}

async fn run<T: Send + 'static>(
    jobs: &Sender<Job>,
    job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        // Who asked may have given up while others were served.
        if !answer.is_canceled() {
            let _ = answer.send(job(connection));
        }
    });
    let ended = || StoreError::unavailable("the thread of the connection has ended");
    jobs.send(job).map_err(|_| ended())?;
    answered.await.map_err(|_| ended())?
}
