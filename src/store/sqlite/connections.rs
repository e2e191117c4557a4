//! The connections to one database, each on a thread of its own.
//!
//! SQLite waits for disks and locks, which a future must not. So what is to be done goes to a thread
//! as a whole: a transaction never waits for the task that asked for it, a task that is dropped never
//! leaves one open, and no runtime is needed.

use alloc::{boxed::Box, collections::VecDeque, string::ToString, sync::Arc, vec::Vec};
use core::panic::AssertUnwindSafe;
use std::{
    panic::catch_unwind,
    sync::{
        Mutex, MutexGuard, PoisonError,
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
    writes: Threads,
    /// Without, everything is done by the one that writes.
    reads: Option<Threads>,
}

impl Connections {
    /// With `readers`, or with none, when everything is done by `writer`.
    pub(super) fn new(writer: Connection, readers: Vec<Connection>) -> std::io::Result<Self> {
        let reads = if readers.is_empty() { None } else { Some(Threads::start(readers)?) };
        Ok(Self { writes: Threads::start([writer])?, reads })
    }

    /// What `job` gives on a connection that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reads.as_ref().unwrap_or(&self.writes).run(job).await
    }

    /// What `job` gives on the connection that writes. One job at a time is there.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writes.run(job).await
    }
}

/// Threads with a connection each, which end when this is dropped.
#[derive(Debug)]
struct Threads {
    /// By the number of the thread.
    jobs: Vec<Sender<Job>>,
    waiting: Waiting,
}

/// Threads that wait for a job, or jobs that wait for a thread.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<Queues>>);

#[derive(Default)]
struct Queues {
    /// Who has waited for the shortest time is last, and the first to get a job: it still has in its
    /// caches what the job needs.
    threads: Vec<usize>,
    jobs: VecDeque<Job>,
}

impl Threads {
    fn start(connections: impl IntoIterator<Item = Connection>) -> std::io::Result<Self> {
        let waiting = Waiting::default();
        let mut jobs = Vec::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let (sender, receiver) = channel();
            let waiting = waiting.clone();
            thread::Builder::new()
                .name("keyway-sqlite".to_string())
                .spawn(move || work(number, connection, &receiver, &waiting))?;
            jobs.push(sender);
        }
        Ok(Self { jobs, waiting })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(move |connection| {
            // Who asked may have given up while others were served.
            if !answer.is_canceled() {
                let _ = answer.send(job(connection));
            }
        }));
        let ended = |_| StoreError::unavailable("the thread of the connection has ended");
        answered.await.map_err(ended)?
    }

    /// Gives the job to a thread that waits, and wakes no other.
    fn push(&self, job: Job) {
        let mut queues = self.waiting.lock();
        match queues.threads.pop().and_then(|number| self.jobs.get(number)) {
            Some(thread) => {
                drop(queues);
                // A thread that has ended drops the job, and with it its answer.
                let _ = thread.send(job);
            }
            None => queues.jobs.push_back(job),
        }
    }
}

impl Waiting {
    /// A job that waits, or else this thread does.
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

fn work(number: usize, mut connection: Connection, jobs: &Receiver<Job>, waiting: &Waiting) {
    while let Some(job) = waiting.job_or_wait(number).or_else(|| jobs.recv().ok()) {
        // What goes wrong in one job is told to who asked for it, whose answer is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
    }
}
