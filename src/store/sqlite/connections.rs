//! The connections to one database, each on its own thread.
//!
//! SQLite waits for disks and locks, and a future must not block. Each job therefore runs on a thread as a
//! whole. A transaction never waits for the task that requested it. A dropped task never leaves a transaction
//! open. No runtime is needed.

use alloc::{boxed::Box, collections::VecDeque, string::ToString, sync::Arc, vec::Vec};
use core::panic::AssertUnwindSafe;
use std::{
    panic::catch_unwind,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;
use rusqlite::Connection;

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// One connection that writes, and any number of connections that read.
#[derive(Debug)]
pub(super) struct Connections {
    writes: Threads,
    /// If this is `None`, the writing connection also reads.
    reads: Option<Threads>,
}

impl Connections {
    /// Starts the threads. If there are no `readers`, `writer` does everything. `close` is called with the
    /// writer before the writer closes.
    ///
    /// The writer closes last. SQLite removes the `-wal` file when the last connection closes. If two
    /// connections closed at the same time, each would see the other, and the file would stay.
    pub(super) fn new(
        writer: Connection,
        readers: Vec<Connection>,
        close: impl FnOnce(&Connection) + Send + 'static,
    ) -> std::io::Result<Self> {
        let has_readers = !readers.is_empty();
        let (reads, ends) = Threads::start(readers, |_| ())?;
        let (one, _) = Threads::start(Vec::from([writer]), move |writer| {
            for thread in ends {
                let _ = thread.join();
            }
            close(writer);
        })?;
        Ok(Self { writes: one, reads: has_readers.then_some(reads) })
    }

    /// Returns the result of `job` on a connection that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reads.as_ref().unwrap_or(&self.writes).run(job).await
    }

    /// Returns the result of `job` on the connection that writes. It runs one job at a time.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writes.run(job).await
    }

    /// Runs `job` on the connection that writes, after all jobs that are queued now.
    pub(super) fn write_later(&self, job: impl FnOnce(&mut Connection) + Send + 'static) {
        self.writes.push(Box::new(job));
    }
}

/// Threads with one connection each. They end when this value is dropped.
#[derive(Debug)]
struct Threads {
    /// Indexed by the number of the thread.
    jobs: Vec<Sender<Job>>,
    waiting: Waiting,
}

/// Either threads that wait for a job, or jobs that wait for a thread.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    /// The numbers of the waiting threads. The thread that has waited for the shortest time is last and gets
    /// the next job, because its caches still hold the data that the job needs.
    threads: Vec<usize>,
    jobs: VecDeque<Job>,
}

impl Threads {
    /// Starts one thread for each connection. `close` is called before the first connection closes.
    fn start(
        connections: Vec<Connection>,
        close: impl FnOnce(&Connection) + Send + 'static,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let waiting = Waiting::default();
        let (mut jobs, mut ends, mut close) = (Vec::new(), Vec::new(), Some(close));
        for (number, connection) in connections.into_iter().enumerate() {
            let (sender, receiver) = channel();
            let (waiting, close) = (waiting.clone(), close.take());
            ends.push(thread::Builder::new().name("keyway-sqlite".to_string()).spawn(
                move || {
                    let connection = work(number, connection, &receiver, &waiting);
                    if let Some(close) = close {
                        close(&connection);
                    }
                },
            )?);
            jobs.push(sender);
        }
        Ok((Self { jobs, waiting }, ends))
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move |connection| {
            // The caller may have given up while the job was queued.
            if !answer.is_canceled() {
                let _ = answer.send(job(connection));
            }
        }));
        let ended = |_| StoreError::unavailable("the thread of the connection has ended");
        answered.await.map_err(ended)?
    }

    /// Gives the job to one waiting thread, or queues it. No other thread is woken.
    fn push(&self, job: Job) {
        let mut queues = self.waiting.lock();
        match queues.threads.pop().and_then(|number| self.jobs.get(number)) {
            Some(thread) => {
                drop(queues);
                // A thread that has ended drops the job together with the sender of its result.
                let _ = thread.send(job);
            }
            None => queues.jobs.push_back(job),
        }
    }
}

impl Waiting {
    /// Returns a waiting job, or adds this thread to the waiting threads.
    fn job_or_wait(&self, number: usize) -> Option<Job> {
        let mut queues = self.lock();
        let job = queues.jobs.pop_front();
        if job.is_none() {
            queues.threads.push(number);
        }
        job
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl core::fmt::Debug for Queues {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Queues").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Runs jobs until the store is dropped, and returns the connection.
fn work(
    number: usize,
    mut connection: Connection,
    jobs: &Receiver<Job>,
    waiting: &Waiting,
) -> Connection {
    while let Some(job) = waiting.job_or_wait(number).or_else(|| jobs.recv().ok()) {
        // A job that panics drops the sender of its result, so the caller gets an error.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
    }
    connection
}
