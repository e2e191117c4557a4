//! Recognizes a `-wal` file that does not belong to the database beside it.
//!
//! After a crash the `-wal` file holds the latest writes, and SQLite applies them to any file beside it. If
//! the database has been replaced by a backup, this undoes or destroys the backup.
//!
//! The database therefore holds a nonce. `previous` is the nonce before it. The nonce changes only when the
//! whole `-wal` file, including the nonce, has been copied into the database. The database without its `-wal`
//! file thus always holds one of the two. A file with any other nonce is not this database. Every transaction
//! writes the page that holds the nonces.

use alloc::string::String;
use core::{fmt::Write as _, time::Duration};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::SqliteError;

/// The time at which the nonce was last renewed.
#[derive(Debug)]
pub(super) struct Renewal(Mutex<Instant>);

impl Renewal {
    /// The interval between renewals. A renewal costs a few syncs, so it is not done for each write.
    const EVERY: Duration = Duration::from_secs(5);

    pub(super) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Returns whether to call [`renew`] now. Returns `true` once per interval.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.elapsed() >= Self::EVERY;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }
}

/// Succeeds unless the `-wal` file of `connection`, which is new, belongs to another file than `path`.
///
/// # Errors
///
/// [`SqliteError::ForeignWal`]. In that case nothing of the `-wal` file has been written to the database, and
/// closing the connection does not write any of it either.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), SqliteError> {
    if fits(connection, path)? {
        Ok(())
    } else {
        Err(SqliteError::ForeignWal { path: path.into() })
    }
}

/// Returns whether the file at `path`, read without its `-wal` file, is the database of `connection`.
pub(super) fn fits(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    // An open read transaction keeps later writes out of the file, so the file holds this state or an earlier
    // one.
    let _reading =
        if connection.is_autocommit() { Some(connection.unchecked_transaction()?) } else { None };
    let with_wal = read(connection);
    let alone = without_wal(path);
    match (with_wal, alone) {
        (Ok(Some((nonce, previous))), Ok(Some((alone, _)))) => {
            Ok(alone == nonce || alone == previous)
        }
        // The tables of a new database may exist only in its `-wal` file.
        (Ok(None | Some((_, NEW))), Ok(None) | Err(_)) => Ok(true),
        // The `-wal` file belongs to a database without these tables.
        (Ok(None), Ok(Some(_))) | (Ok(Some(_)), Ok(None)) => Ok(false),
        // During a checkpoint the file may lack pages that are still in the `-wal` file.
        (Ok(Some(_)), Err(error)) if is_code(&error, ErrorCode::DatabaseCorrupt) => Ok(true),
        (Ok(Some(_)), Err(error)) if is_code(&error, ErrorCode::NotADatabase) => Ok(false),
        // The pages of the two files do not belong together, or the first page is missing.
        (Err(error), Ok(_))
            if is_code(&error, ErrorCode::DatabaseCorrupt)
                || is_code(&error, ErrorCode::NotADatabase) =>
        {
            Ok(false)
        }
        // The file is no database, and the `-wal` file alone lacks pages of it.
        (Err(error), Err(alone))
            if is_code(&error, ErrorCode::DatabaseCorrupt)
                && is_code(&alone, ErrorCode::NotADatabase) =>
        {
            Ok(false)
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

pub(super) fn is_code(error: &rusqlite::Error, code: ErrorCode) -> bool {
    error.sqlite_error_code() == Some(code)
}

type Nonces = ([u8; 16], [u8; 16]);

/// The value of `previous` before the first nonce. All nonces have the same length, so an update of the row
/// changes one disk sector, which is written as a whole.
const NEW: [u8; 16] = [0; 16];

/// Reads the nonce and the previous one. Returns `None` in a database without keyway's tables.
fn read(connection: &Connection) -> rusqlite::Result<Option<Nonces>> {
    let tables = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'keyway_file'";
    if !connection.prepare(tables)?.exists([])? {
        return Ok(None);
    }
    let select = "SELECT nonce, previous FROM keyway_file";
    connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Reads the nonces in the database without its `-wal` file.
fn without_wal(path: &Path) -> rusqlite::Result<Option<Nonces>> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    read(&Connection::open_with_flags(uri, flags)?)
}

/// Writes the page that holds the nonce, so that every `-wal` file with a write contains the nonce. A `-wal`
/// file without it would fit any database.
pub(super) fn touch(transaction: &Connection) -> rusqlite::Result<()> {
    let statement = "UPDATE keyway_file SET touched = randomblob(8)";
    transaction.prepare_cached(statement)?.execute([]).map(drop)
}

/// Gives the database a new nonce, unless its whole `-wal` file cannot be copied now. From then on, a copy of
/// the file that was made earlier is recognized.
///
/// This waits for no other process. If it fails, the old nonce stays valid until the next attempt.
pub(super) fn renew(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let Some((nonce, _)) = read(connection)? else { return Ok(()) };
    if !is_copied(connection)? {
        return Ok(());
    }
    // Another process may have renewed the nonce since.
    connection.execute(
        "UPDATE keyway_file SET previous = nonce, nonce = randomblob(16) WHERE nonce = ?1",
        [nonce],
    )?;
    let Some((nonce, _)) = read(connection)? else { return Ok(()) };
    if is_copied(connection)? {
        connection.execute("UPDATE keyway_file SET previous = nonce WHERE nonce = ?1", [nonce])?;
    }
    Ok(())
}

/// Gives a copy of a database its own nonce.
pub(super) fn separate(copy: &Connection) -> rusqlite::Result<()> {
    copy.execute_batch(
        "BEGIN;
         UPDATE keyway_file SET nonce = randomblob(16);
         UPDATE keyway_file SET previous = nonce;
         COMMIT;",
    )
}

/// Copies the `-wal` file into the database as far as readers allow. Returns whether all of it was copied and
/// synced.
fn is_copied(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (busy, frames, copied): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && frames >= 0 && frames == copied)
    })
}
