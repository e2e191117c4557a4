//! The builder and the errors of a [`SqliteStore`].

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
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, types::ValueRef};

use super::{
    Inner, SqliteStore,
    connections::Connections,
    files::DatabaseFile,
    origin::{self, Renewal},
    schema,
    watch::{self, Watch},
};
use crate::store::sql::CommonStatements;

/// Opens a [`SqliteStore`] with options.
///
/// ```
/// use std::time::Duration;
/// use keyway::SqliteStore;
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
    /// `None` for a database in memory.
    path: Option<PathBuf>,
    busy_timeout: Duration,
    readers: usize,
    pragmas: Vec<(String, i64)>,
    accepts_data_loss: bool,
}

impl SqliteBuilder {
    /// The default time that a statement waits for another process.
    pub const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default number of connections that read.
    pub const DEFAULT_READERS: usize = 2;
    /// The maximum number of connections that read.
    pub const MAX_READERS: usize = 64;
    /// SQLite stores the timeout as milliseconds in 31 bits, which hold more than a day.
    const MAX_BUSY_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

    pub(super) fn new(path: Option<&Path>) -> Self {
        Self {
            path: path.map(ToOwned::to_owned),
            busy_timeout: Self::DEFAULT_BUSY_TIMEOUT,
            readers: Self::DEFAULT_READERS,
            pragmas: Vec::new(),
            accepts_data_loss: false,
        }
    }

    /// Sets how long a write waits while another process writes. After that time it is
    /// [`Unavailable`](crate::store::StoreError::Unavailable). Time in this process's own queue counts too.
    /// The maximum is one day.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(Self::MAX_BUSY_TIMEOUT);
        self
    }

    /// Sets the number of connections that read, clamped to 1 to 64. Each has its own thread.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, Self::MAX_READERS);
        self
    }

    /// Sets a [pragma](https://sqlite.org/pragma.html) on every connection, such as `cache_size` or
    /// `mmap_size`. [`open`](Self::open) returns an error for a name that SQLite does not know, and for a
    /// value with which acknowledged writes may be lost.
    pub fn pragma(mut self, name: impl Into<String>, value: i64) -> Self {
        self.pragmas.push((name.into(), value));
        self
    }

    /// Opens the store although its settings may lose acknowledged writes. With `synchronous` below `FULL`
    /// they may be lost at a loss of power. With the journal `OFF` or in `MEMORY` they may be lost at any
    /// crash. A deleted key may become valid again.
    pub fn accept_data_loss(mut self) -> Self {
        self.accepts_data_loss = true;
        self
    }

    /// Opens the database, creates missing parts, and migrates older tables.
    ///
    /// # Errors
    ///
    /// [`SqliteError`] describes why the database cannot be opened.
    pub async fn open(self) -> Result<SqliteStore, SqliteError> {
        on_thread(move || self.open_at_once()).await
    }

    fn open_at_once(self) -> Result<SqliteStore, SqliteError> {
        let Some(path) = &self.path else {
            let mut writer = Connection::open_in_memory()?;
            self.configure(&writer)?;
            schema::migrate(&mut writer)?;
            return self.store(writer, Vec::new(), None, Watch::default());
        };
        let file = DatabaseFile::at(path)?;
        let path = file.path().to_owned();
        self.open_file(file).map_err(|error| error.at(&path))
    }

    fn open_file(&self, file: DatabaseFile) -> Result<SqliteStore, SqliteError> {
        let mut writer = connect(&file)?;
        let opened = watch::opened(&file)?;
        writer.busy_timeout(self.busy_timeout)?;
        // Without this setting, closing the connection could change the file of another database.
        // `Watch::let_close` clears it at the end.
        let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        writer.set_db_config(no_checkpoint, true)?;
        origin::check(&writer, file.path())?;
        self.switch_to_wal(&writer)?;
        self.configure(&writer)?;
        self.check_durability(&writer)?;
        schema::migrate(&mut writer)?;
        let _ = origin::renew(&writer);
        let mut readers = Vec::new();
        for _ in 0..self.readers {
            let reader = connect(&file)?;
            reader.set_db_config(no_checkpoint, true)?;
            self.configure(&reader)?;
            self.check_durability(&reader)?;
            readers.push(reader);
        }
        let has_wal = setting(&writer, "journal_mode")? == "wal";
        let watch = Watch::start(&file, opened, has_wal)?;
        watch.check(&writer)?;
        self.store(writer, readers, Some(file), watch)
    }

    fn store(
        &self,
        writer: Connection,
        readers: Vec<Connection>,
        file: Option<DatabaseFile>,
        watch: Watch,
    ) -> Result<SqliteStore, SqliteError> {
        let watch = Arc::new(watch);
        let at_end = Arc::clone(&watch);
        let close = move |writer: &Connection| at_end.let_close(writer);
        Ok(SqliteStore(Arc::new(Inner {
            connections: Connections::new(writer, readers, close)?,
            shared: CommonStatements::new(schema::PREFIX, schema::JOIN, ""),
            busy_timeout: self.busy_timeout,
            file,
            watch,
            renewal: Renewal::now(),
        })))
    }

    fn configure(&self, connection: &Connection) -> Result<(), SqliteError> {
        connection.busy_timeout(self.busy_timeout)?;
        // Without this setting, SQLite compiles a statement again for every bound id once the database has
        // been analyzed, in case another id had a better plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.pragma_update(None, "synchronous", "FULL")?;
        // On macOS a plain sync does not reach the disk itself. On other systems these settings have no
        // effect.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        connection.pragma_update(None, "journal_size_limit", MAX_IDLE_WAL)?;
        for (name, value) in &self.pragmas {
            // SQLite silently ignores an unknown pragma.
            let mut known =
                connection.prepare_cached("SELECT 1 FROM pragma_pragma_list WHERE name = ?1")?;
            if !known.exists([name.to_ascii_lowercase()])? {
                return Err(SqliteError::Pragma(name.clone()));
            }
            connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| {
                // Most pragmas return no row when they are set.
                if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
            })?;
        }
        Ok(())
    }

    /// Switches the database to WAL mode, in which readers and the writer do not wait for each other. The
    /// switch needs exclusive access. SQLite does not wait for that access while other processes start, so
    /// this method retries.
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

    /// Succeeds if committed writes survive a crash and a loss of power. A value is accepted only if it is
    /// known to be safe.
    fn check_durability(&self, connection: &Connection) -> Result<(), SqliteError> {
        /// <https://sqlite.org/pragma.html>; 2 is `FULL` and 3 is `EXTRA`. The other journal modes are
        /// durable only with further settings, and nothing here uses them.
        const GOOD: [(&str, &[&str]); 4] = [
            ("synchronous", &["2", "3"]),
            ("journal_mode", &["wal"]),
            ("fullfsync", &["1"]),
            ("checkpoint_fullfsync", &["1"]),
        ];
        for (name, good) in GOOD.into_iter().filter(|_| !self.accepts_data_loss) {
            let value = setting(connection, name)?;
            if !good.contains(&value.as_str()) {
                return Err(SqliteError::NotDurable { setting: name, value });
            }
        }
        Ok(())
    }
}

/// Runs `job` on its own thread.
pub(super) async fn on_thread<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("keyway-sqlite-file".to_string()).spawn(move || {
        let _ = sender.send(job());
    })?;
    receiver.await.map_err(|_| std::io::Error::other("the thread has ended"))?
}

pub(super) fn connect(file: &DatabaseFile) -> rusqlite::Result<Connection> {
    // `SQLITE_OPEN_CREATE` is not set: SQLite would create a file that everyone may read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file.path(), flags)
}

/// Returns the value of a pragma as text.
fn setting(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.pragma_query_value(None, name, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(value) => value.to_string(),
            value => String::from_utf8_lossy(value.as_bytes()?).into_owned(),
        })
    })
}

/// The page cache of a connection, in the pragma's unit: 32 MiB. The default of 2 MB does not hold the upper
/// levels of the indexes of a million keys.
const CACHE: i64 = -32_768;

/// The size in bytes to which a `-wal` file is truncated once all of it has been copied into the database: 16
/// MiB.
const MAX_IDLE_WAL: i64 = 16 * 1024 * 1024;

/// A database cannot be opened, or can no longer be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// SQLite cannot open or use the file, for the reason in the source.
    #[error("the database at `{}` cannot be opened", path.display())]
    Database {
        /// The path of the database, or `:memory:`.
        path: PathBuf,
        /// The error that SQLite reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The path cannot hold a database.
    #[error("the database cannot be at `{}`: {problem}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// The problem with the path.
        problem: String,
    },
    /// The process lacks a right. It must be able to read and write the database, and to create files in the
    /// database's folder.
    #[error("this process may not read and write `{}`", path.display())]
    Denied {
        /// The file or folder on which the right is missing.
        path: PathBuf,
        /// The error that the operating system reports.
        source: std::io::Error,
    },
    /// The file, or the `-wal` or `-shm` file beside it, was removed, moved or replaced after it had been
    /// opened. An open store reports this as the source of
    /// [`StoreError::Unavailable`](crate::store::StoreError::Unavailable), and acknowledges nothing.
    #[error(
        "`{}` is not the file that was opened: put that file back, or stop every process that uses \
         the database and start again",
        path.display()
    )]
    Replaced {
        /// The path, at which there is now another file or no file.
        path: PathBuf,
    },
    /// No thread can be started. The source is the operating system's error.
    #[error("no thread can be started for the database")]
    Thread(#[from] std::io::Error),
    /// The `-wal` file beside the database holds writes to another file. SQLite would apply them to this
    /// database. This happens after a backup replaced a database that had not been closed. The error is also
    /// returned if there is no database, or an empty one, beside the `-wal` file, because SQLite would delete
    /// the writes. Nothing has been changed.
    #[error(
        "`{path}-wal` holds writes to another file than `{path}`: put that file back, or to restore a \
         backup, stop all processes that use the database and remove `{path}-wal` and `{path}-shm`",
        path = path.display()
    )]
    ForeignWal {
        /// The path of the database.
        path: PathBuf,
    },
    /// A later release of keyway wrote the tables.
    #[error("the tables have version {found}, and this release knows those up to {known}")]
    TooNew {
        /// The version of the tables.
        found: i64,
        /// The latest version that this release knows.
        known: i64,
    },
    /// Acknowledged writes may be lost with this setting. `journal_mode` is not `wal` if the file system has
    /// no shared memory, such as a network file system.
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
    /// This release of SQLite has no pragma with this name.
    #[error("SQLite has no pragma `{}`", .0.escape_debug())]
    Pragma(String),
}

impl SqliteError {
    /// Adds the path of the database to an error of SQLite.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { path: path.to_owned(), source },
            other => other,
        }
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Database { path: ":memory:".into(), source: cause.into() }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{StatementStatus, params_from_iter, types::Value};

    use super::*;

    #[test]
    fn lookup_in_an_analyzed_database_is_compiled_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        SqliteBuilder::new(None).configure(&connection).unwrap();
        schema::migrate(&mut connection).unwrap();
        let fill = "WITH RECURSIVE numbers (n) AS \
                    (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999) \
                    INSERT INTO keyway_keys SELECT CAST(printf('%016d', n) AS BLOB), \
                    CAST(n / 5 AS BLOB), n, 1, zeroblob(300), NULL, NULL FROM numbers";
        connection.execute(fill, []).unwrap();
        connection.execute_batch("ANALYZE").unwrap();
        let shared = CommonStatements::new(schema::PREFIX, schema::JOIN, "");
        for (statement, arguments) in [(&shared.lookup, 1), (&shared.count, 2)] {
            let mut statement = connection.prepare(statement).unwrap();
            assert_eq!(statement.parameter_count(), arguments);
            for number in 0..10 {
                let id = Value::Blob(alloc::format!("{number:016}").into_bytes());
                let arguments = [id, Value::Integer(10)].into_iter().take(arguments);
                let mut rows = statement.query(params_from_iter(arguments)).unwrap();
                while rows.next().unwrap().is_some() {}
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
