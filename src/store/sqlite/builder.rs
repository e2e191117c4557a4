//! Opening a [`SqliteStore`].

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{error::Error, time::Duration};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use futures_channel::oneshot;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{Inner, SqliteStore, connections::Connections, schema};
use crate::store::sql::Shared;

/// Opens a [`SqliteStore`] otherwise than by default.
///
/// ```
/// use std::time::Duration;
/// use keyway::store::SqliteStore;
///
/// # pollster::block_on(async {
/// # let folder = std::env::temp_dir().join(format!("keyway-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("keys.db");
/// let store = SqliteStore::builder(path)
///     .busy_timeout(Duration::from_secs(2))
///     .readers(2)
///     .pragma("cache_size", -16_000)
///     .open()
///     .await?;
/// # drop(store);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct SqliteBuilder {
    /// In memory without.
    path: Option<PathBuf>,
    busy_timeout: Duration,
    readers: usize,
    pragmas: Vec<(String, i64)>,
    accepts_data_loss: bool,
}

impl SqliteBuilder {
    /// How long a statement waits for another process unless it is told otherwise.
    pub const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
    /// The number of connections that read unless it is told otherwise.
    pub const DEFAULT_READERS: usize = 2;
    /// The most connections that read.
    pub const MAX_READERS: usize = 64;

    pub(super) fn new(path: Option<&Path>) -> Self {
        Self {
            path: path.map(ToOwned::to_owned),
            busy_timeout: Self::DEFAULT_BUSY_TIMEOUT,
            readers: Self::DEFAULT_READERS,
            pragmas: Vec::new(),
            accepts_data_loss: false,
        }
    }

    /// How long a write waits while another process writes, before it is
    /// [`Unavailable`](crate::store::StoreError::Unavailable). Writes that queue here wait at the same
    /// time.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The number of connections that read, each on a thread of its own, brought into 1 to 64.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, Self::MAX_READERS);
        self
    }

    /// Sets a [pragma](https://sqlite.org/pragma.html) on every connection, such as `cache_size` or
    /// `mmap_size`. What makes writes less durable is refused by [`open`](Self::open).
    pub fn pragma(mut self, name: impl Into<String>, value: i64) -> Self {
        self.pragmas.push((name.into(), value));
        self
    }

    /// Opens the store although its engine is set so that acknowledged writes may be lost: with
    /// `synchronous` below `FULL` at a loss of power, with the journal `OFF` or in `MEMORY` at any
    /// crash. A deleted key may then come back to life.
    pub fn accept_data_loss(mut self) -> Self {
        self.accepts_data_loss = true;
        self
    }

    /// Opens the database, creates what is missing of it, and brings older tables up to date.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] says why not.
    pub async fn open(self) -> Result<SqliteStore, SqliteError> {
        let (answer, answered) = oneshot::channel();
        thread::Builder::new().name("keyway-sqlite-open".to_string()).spawn(move || {
            let _ = answer.send(self.open_at_once());
        })?;
        answered.await.map_err(|_| std::io::Error::other("the thread that opens has ended"))?
    }

    fn open_at_once(self) -> Result<SqliteStore, SqliteError> {
        let mut writer = self.connect()?;
        if self.path.is_some() {
            self.switch_to_wal(&writer)?;
        }
        self.set_pragmas(&writer)?;
        if self.path.is_some() && !self.accepts_data_loss {
            check_durability(&writer)?;
        }
        schema::migrate(&mut writer)?;
        let mut readers = Vec::new();
        if self.path.is_some() {
            for _ in 0..self.readers {
                let reader = self.connect()?;
                self.set_pragmas(&reader)?;
                readers.push(reader);
            }
        }
        Ok(SqliteStore(Arc::new(Inner {
            connections: Connections::new(writer, readers)?,
            shared: Shared::new(schema::PREFIX, schema::JOIN),
            busy_timeout: self.busy_timeout,
        })))
    }

    fn connect(&self) -> Result<Connection, SqliteError> {
        let connection = match &self.path {
            // Not as a URI: a path is a path, whatever characters are in it.
            Some(path) => Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(self.busy_timeout)?;
        // Once the database has been analyzed, SQLite would compile a statement anew for every id that
        // is bound to it, in case another one had the better plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }

    /// Readers and the writer do not wait for each other then. The switch itself needs the database
    /// for itself, and does not wait by itself while others start.
    fn switch_to_wal(&self, connection: &Connection) -> Result<(), SqliteError> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                done => return Ok(done?),
            }
        }
    }

    fn set_pragmas(&self, connection: &Connection) -> Result<(), SqliteError> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Where a plain sync does not reach the disk itself, as on macOS. Elsewhere it does nothing.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        for (name, value) in &self.pragmas {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name {
                return Err(SqliteError::Pragma(name.clone()));
            }
            connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| {
                // Most pragmas answer nothing when they are set.
                if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
            })?;
        }
        Ok(())
    }
}

/// The most memory that a connection caches pages in, as the pragma has it: 32 MiB. The default of
/// 2 MB does not hold the upper levels of the indexes of a million keys.
const CACHE: i64 = -32_768;

/// Succeeds if what is committed outlasts a crash and a loss of power.
fn check_durability(connection: &Connection) -> Result<(), SqliteError> {
    /// <https://sqlite.org/pragma.html#pragma_synchronous>
    const FULL: i64 = 2;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if synchronous < FULL {
        let value = synchronous.to_string();
        return Err(SqliteError::NotDurable { setting: "synchronous", value });
    }
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if matches!(journal.as_str(), "off" | "memory") {
        return Err(SqliteError::NotDurable { setting: "journal_mode", value: journal });
    }
    Ok(())
}

/// A database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// SQLite says why.
    #[error("the database cannot be opened")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// The operating system says why.
    #[error("no thread can be started for the database")]
    Thread(#[from] std::io::Error),
    /// The tables were written by a later release of keyway.
    #[error("the tables have version {found}, and this release knows those up to {known}")]
    TooNew {
        /// The version of the tables.
        found: i64,
        /// The latest version that this release knows.
        known: i64,
    },
    /// What is acknowledged may be lost with this setting.
    #[error(
        "`{setting}` is `{value}`, with which acknowledged writes may be lost; \
         `accept_data_loss` opens the store nevertheless"
    )]
    NotDurable {
        /// The setting of SQLite.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// No pragma has such a name.
    #[error("`{}` is not the name of a pragma", .0.escape_debug())]
    Pragma(String),
}

impl From<rusqlite::Error> for SqliteError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Database(cause.into())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_look_up_is_compiled_once_in_an_analyzed_database_too() {
        let mut connection = SqliteBuilder::new(None).connect().unwrap();
        schema::migrate(&mut connection).unwrap();
        let fill = "WITH RECURSIVE numbers (n) AS \
                    (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999) \
                    INSERT INTO keyway_keys SELECT CAST(printf('%016d', n) AS BLOB), \
                    CAST(n / 5 AS BLOB), n, 1, zeroblob(300), NULL FROM numbers";
        connection.execute(fill, []).unwrap();
        connection.execute_batch("ANALYZE").unwrap();
        let shared = Shared::new(schema::PREFIX, schema::JOIN);
        for (statement, arguments) in [(&shared.lookup, 1), (&shared.count, 1)] {
            let mut statement = connection.prepare(statement).unwrap();
            assert_eq!(statement.parameter_count(), arguments);
            for number in 0..10 {
                let id = alloc::format!("{number:016}").into_bytes();
                let mut rows = statement.query([id]).unwrap();
                while rows.next().unwrap().is_some() {}
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
