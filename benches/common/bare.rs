//! SQLite without a store, in the smallest form in which an async service can use it.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::mpsc::{Sender, channel},
    thread,
};

use futures_channel::oneshot;
use rusqlite::{Connection, config::DbConfig};

/// Opens a connection with the same settings as the store's.
pub(crate) fn connect(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.pragma_update(None, "fullfsync", true).unwrap();
    connection.pragma_update(None, "checkpoint_fullfsync", true).unwrap();
    connection.pragma_update(None, "cache_size", -32_768).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    connection.set_prepared_statement_cache_capacity(32);
    connection
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The least code that awaits a statement of SQLite.
pub(crate) struct Bare(Sender<Job>);

impl Bare {
    pub(crate) fn open(file: &Path) -> Self {
        let mut connection = connect(file);
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || jobs.into_iter().for_each(|job| job(&mut connection)));
        Self(sender)
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| {
            let _ = answer.send(job(connection));
        });
        self.0.send(job).unwrap();
        answered.await.unwrap()
    }
}

/// A folder that is removed after the run.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("keyway-bench-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
