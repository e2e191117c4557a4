//! Detects that the files of an open database are no longer the files that were opened.

use alloc::{borrow::ToOwned, vec::Vec};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use rusqlite::{Connection, ErrorCode, config::DbConfig};

use super::{
    SqliteError,
    files::{BESIDE, DatabaseFile, beside},
    origin,
};
use crate::store::StoreError;

/// The files that a store has open.
///
/// Writes to a file that was removed or replaced are lost when the process ends. Once another file is at the
/// path, nothing may be acknowledged, and no data read may be trusted.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The database is first. Empty for a database in memory.
    files: Vec<(PathBuf, Identity)>,
    /// The modification time and length of the database when it was last verified. SQLite changes the
    /// database file only now and then, because writes go to the `-wal` file first.
    known: Mutex<Option<(SystemTime, u64)>>,
}

impl Watch {
    /// Watches the database that was `opened`, and the files beside it if it `has_wal`. A connection must
    /// hold these files open: otherwise another process may legitimately delete them.
    pub(super) fn start(
        file: &DatabaseFile,
        opened: Identity,
        has_wal: bool,
    ) -> Result<Self, SqliteError> {
        let real = fs::canonicalize(file.path()).map_err(|_| replaced(file.path()))?;
        let mut files = Vec::from([(file.path().to_owned(), opened)]);
        for end in BESIDE.into_iter().filter(|_| has_wal) {
            let path = beside(&real, end);
            let there = fs::metadata(&path).map_err(|_| replaced(&path))?;
            files.push((path, identity(&there)));
        }
        Ok(Self { files, known: Mutex::default() })
    }

    /// Succeeds if every file is still the file that was opened. The cost is one `stat` for each of the three
    /// files, and a read of the database file if it has changed. `connection` belongs to the store.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), SqliteError> {
        let Some((path, there)) = self.check_places()? else { return Ok(()) };
        let seen = there.modified().ok().map(|at| (at, there.len()));
        if seen.is_some() && seen == *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(());
        }
        // Another file may have been copied over this one, which does not change its identity.
        match origin::fits(connection, path) {
            Ok(true) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = seen;
                Ok(())
            }
            Ok(false) => Err(replaced(path)),
            // The file was a database when it was opened.
            Err(error) if origin::is_code(&error, ErrorCode::NotADatabase) => Err(replaced(path)),
            Err(error) => Err(SqliteError::from(error).at(path)),
        }
    }

    /// Succeeds if the opened files are at their paths. Returns the path and metadata of the database.
    pub(super) fn check_places(&self) -> Result<Option<(&Path, fs::Metadata)>, SqliteError> {
        let mut database = None;
        for (path, opened) in &self.files {
            let there = fs::metadata(path).map_err(|_| replaced(path))?;
            if identity(&there) != *opened {
                return Err(replaced(path));
            }
            database = database.or(Some((path.as_path(), there)));
        }
        Ok(database)
    }

    /// Lets `connection`, the last one, copy the `-wal` file into the database when it closes, unless another
    /// file is there by now.
    pub(super) fn let_close(&self, connection: &Connection) {
        if self.check(connection).is_ok() {
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

fn replaced(path: &Path) -> SqliteError {
    SqliteError::Replaced { path: path.to_owned() }
}

/// Returns the identity of the file that is now at the path of `file`.
pub(super) fn opened(file: &DatabaseFile) -> Result<Identity, SqliteError> {
    let there = fs::metadata(file.path()).map_err(|_| replaced(file.path()))?;
    Ok(identity(&there))
}

/// Device and inode. No other file has both while this one is open.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);

#[cfg(unix)]
fn identity(file: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// Windows does not allow a file that SQLite has open to be removed or replaced.
#[cfg(not(unix))]
pub(super) type Identity = ();

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        Self::unavailable(error)
    }
}
