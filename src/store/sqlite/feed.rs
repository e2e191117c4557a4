//! The change feed: a connection that looks for commits of others, and the log of changes.
//!
//! `PRAGMA data_version` shows without reading the file whether another connection has committed. If none has,
//! nothing has changed. Otherwise the log names the records that have changed, if any.

use alloc::{collections::VecDeque, string::ToString, sync::Arc, vec::Vec};
use core::time::Duration;
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use futures_channel::oneshot;
use rusqlite::{Connection, config::DbConfig};

use super::{Inner, SqliteError, SqliteStore, builder, statements::for_each};
use crate::{
    record::TenantId,
    store::{Change, ChangeFeed, Follower, StoreError},
    time::Moment,
    token::KeyId,
};

/// Delivers the changes that other processes make in the file of a [`SqliteStore`]. Created by
/// [`SqliteStore::feed`].
///
/// The feed has a connection and a thread of its own. It looks for changes 20 times a second, which takes a
/// few microseconds, and proves each time that there is no other change. A change that another program makes
/// to the tables is a change like any other. Each time the feed opens the file it returns [`Change::Gap`].
#[derive(Debug)]
pub struct SqliteFeed {
    store: SqliteStore,
    /// The requests to the thread. `None` if the thread has to be started.
    requests: Option<Sender<Request>>,
    /// The look that is under way, and a moment before it began.
    look: Option<(Moment, oneshot::Receiver<Vec<Change>>)>,
    ready: VecDeque<Change>,
}

/// Asks the thread to look for changes after a pause. The sender is dropped if the file cannot be read.
struct Request {
    pause: Duration,
    reply: oneshot::Sender<Vec<Change>>,
}

/// The longest time between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// The time until the file is opened again.
const BEFORE_OPENING: Duration = Duration::from_millis(500);

impl SqliteFeed {
    pub(super) fn new(store: SqliteStore) -> Self {
        Self { store, requests: None, look: None, ready: VecDeque::new() }
    }

    /// Begins a look for changes. Returns `None` if no thread can be started.
    fn begin(&mut self, follower: &Follower) -> Option<()> {
        let (reply, replied) = oneshot::channel();
        let mut request = Request { pause: follower.proof_interval().min(PAUSE), reply };
        // Taken before the thread is asked, however soon it looks.
        let moment = follower.moment();
        // The thread may have ended since the last look.
        if let Some(requests) = &self.requests {
            match requests.send(request) {
                Ok(()) => {
                    self.look = Some((moment, replied));
                    return Some(());
                }
                Err(unsent) => request = unsent.0,
            }
            request.pause = BEFORE_OPENING;
        } else {
            request.pause = Duration::ZERO;
        }
        self.look = Some((moment, replied));
        let (requests, received) = channel();
        let _ = requests.send(request);
        let inner = Arc::clone(&self.store.0);
        let work = move || work(&inner, &received);
        thread::Builder::new().name("keyway-sqlite-feed".to_string()).spawn(work).ok()?;
        self.requests = Some(requests);
        Some(())
    }
}

impl ChangeFeed for SqliteFeed {
    /// This future can be dropped and the method called again without losing a change. `None` means that no
    /// thread can be started.
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            let Some((moment, replied)) = &mut self.look else {
                self.begin(follower)?;
                continue;
            };
            let (moment, found) = (*moment, replied.await);
            self.look = None;
            // A look that failed proves nothing.
            if let Ok(changes) = found {
                self.ready.extend(changes);
                self.ready.push_back(Change::Proof(moment));
            }
        }
    }
}

/// Serves requests until the feed is dropped or the file cannot be read.
fn work(inner: &Inner, requests: &Receiver<Request>) {
    let mut log: Option<Log> = None;
    while let Ok(Request { pause, reply }) = requests.recv() {
        thread::sleep(pause);
        let changes = match &mut log {
            Some(log) => log.look(inner),
            None => Log::open(inner).map(|opened| {
                log = Some(opened);
                Vec::from([Change::Gap])
            }),
        };
        match changes {
            Ok(changes) => {
                let _ = reply.send(changes);
            }
            // The connection closes, and the next request opens the file again.
            Err(_) => return,
        }
    }
}

/// The log of changes, and how far it has been read.
struct Log {
    /// `None` if the database is in memory, which has only one connection.
    connection: Option<Connection>,
    data_version: i64,
    /// The number of the last change that was read. 0 if there was none.
    last: i64,
}

impl Log {
    fn open(inner: &Inner) -> Result<Self, StoreError> {
        let connection = inner.file.as_ref().map(|file| -> Result<_, SqliteError> {
            let connection = builder::connect(file)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.busy_timeout(inner.busy_timeout)?;
            Ok(connection)
        });
        let connection = connection.transpose()?;
        let mut log = Self { connection, data_version: 0, last: 0 };
        log.data_version = log.data_version()?;
        log.last = log.ask(inner, newest)?;
        log.check(inner)?;
        Ok(log)
    }

    /// Returns the changes since the last look.
    fn look(&mut self, inner: &Inner) -> Result<Vec<Change>, StoreError> {
        // Read before the log, so that a commit in between shows at the next look.
        let data_version = self.data_version()?;
        let mut changes = Vec::new();
        if data_version != self.data_version || self.connection.is_none() {
            let last = self.last;
            let (found, last) = self.ask(inner, move |connection| read(connection, last))?;
            (changes, self.last, self.data_version) = (found, last, data_version);
        }
        self.check(inner)?;
        Ok(changes)
    }

    /// Returns a number that changes with each commit of another connection.
    fn data_version(&self) -> Result<i64, StoreError> {
        let Some(connection) = &self.connection else { return Ok(0) };
        Ok(super::value(connection, "PRAGMA data_version", [])?.unwrap_or_default())
    }

    /// Succeeds if the file is still the one that the store has open.
    fn check(&self, inner: &Inner) -> Result<(), StoreError> {
        Ok(self.connection.as_ref().map_or(Ok(()), |connection| inner.watch.check(connection))?)
    }

    fn ask<T: Send + 'static>(
        &self,
        inner: &Inner,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some(connection) = &self.connection {
            return job(connection);
        }
        let (sender, receiver) = channel();
        inner.connections.write_later(move |connection| {
            let _ = sender.send(job(connection));
        });
        receiver.recv().map_err(StoreError::unavailable)?
    }
}

/// Reads the changes after the change number `last`, and returns the number of the last one.
fn read(connection: &Connection, last: i64) -> Result<(Vec<Change>, i64), StoreError> {
    let mut changes = Vec::new();
    // The change that was read last is expected once more. Without it, others may be missing as well.
    let mut expected = last.max(1);
    let mut is_complete = true;
    let select = "SELECT seq, kind, id FROM keyway_changes WHERE seq >= ?1 ORDER BY seq";
    for_each(connection, select, [expected], |row| {
        let seq: i64 = row.get(0).map_err(super::unavailable)?;
        is_complete &= seq == expected;
        expected = seq.saturating_add(1);
        if seq > last {
            let kind = row.get_ref(1).map_err(super::unavailable)?.as_bytes().unwrap_or_default();
            let id = row.get_ref(2).map_err(super::unavailable)?.as_bytes().unwrap_or_default();
            changes.push(change(kind, id).unwrap_or(Change::Gap));
        }
        Ok(true)
    })?;
    let read = expected - 1;
    if is_complete && read >= last {
        return Ok((changes, read));
    }
    // A change that is committed now is within the gap, which has yet to be reported.
    Ok((Vec::from([Change::Gap]), newest(connection)?))
}

/// Returns the number of the last change.
fn newest(connection: &Connection) -> Result<i64, StoreError> {
    let newest = super::value(connection, "SELECT coalesce(max(seq), 0) FROM keyway_changes", [])?;
    Ok(newest.unwrap_or_default())
}

fn change(kind: &[u8], id: &[u8]) -> Option<Change> {
    match kind {
        b"key" => Some(Change::Key(KeyId::from_bytes(id.try_into().ok()?)?)),
        b"tenant" => Some(Change::Tenant(TenantId::try_from(core::str::from_utf8(id).ok()?).ok()?)),
        _ => None,
    }
}
