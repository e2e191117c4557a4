//! Execution of statements, and decoding of rows.

use alloc::vec::Vec;

use rusqlite::{Connection, OptionalExtension, Row, ffi};

use crate::store::{
    StoreError,
    sql::{KeyRow, TenantRow},
};

/// Succeeds if the version that `select` finds is `expected`.
pub(super) fn check_version(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
    expected: u64,
) -> Result<(), StoreError> {
    match value(connection, select, arguments)? {
        None => Err(StoreError::NotFound),
        Some(version) if version == expected.cast_signed() => Ok(()),
        Some(_) => Err(StoreError::Conflict),
    }
}

pub(super) fn value(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached(select).map_err(unavailable)?;
    statement.query_row(arguments, |row| row.get(0)).optional().map_err(unavailable)
}

pub(super) fn execute(
    connection: &Connection,
    statement: &str,
    arguments: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(statement).map_err(unavailable)?;
    statement.execute(arguments).map_err(|error| match error.sqlite_error() {
        // An application's own triggers and constraints fail with other codes, which do not mean that an id
        // is taken.
        Some(cause) if cause.extended_code == ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
            StoreError::Exists
        }
        _ => unavailable(error),
    })
}

/// Calls `each` for every row that `select` finds, for as long as it returns `true`.
pub(super) fn for_each(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
    mut each: impl FnMut(&Row<'_>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(select).map_err(unavailable)?;
    let mut rows = statement.query(arguments).map_err(unavailable)?;
    while let Some(row) = rows.next().map_err(unavailable)? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

pub(super) fn bytes(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached(select).map_err(unavailable)?;
    statement.query_row(arguments, |row| row.get(0)).optional().map_err(unavailable)
}

pub(super) fn key_row<'r>(row: &'r Row<'_>) -> rusqlite::Result<KeyRow<'r>> {
    Ok(KeyRow {
        id: row.get_ref(0)?.as_blob()?,
        tenant: row.get_ref(1)?.as_blob()?,
        created_at: row.get(2)?,
        version: row.get(3)?,
        record: row.get_ref(4)?.as_blob_or_null()?,
        last_used: row.get(5)?,
        owner: row.get_ref(6)?.as_blob_or_null()?,
    })
}

/// Returns the tenant whose columns begin at `first`.
pub(super) fn tenant_row<'r>(row: &'r Row<'_>, first: usize) -> rusqlite::Result<TenantRow<'r>> {
    Ok(TenantRow {
        id: row.get_ref(first)?.as_blob()?,
        version: row.get(first + 1)?,
        record: row.get_ref(first + 2)?.as_blob_or_null()?,
    })
}

/// Wraps an error of SQLite. Its text contains statements but never values.
pub(super) fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::unavailable(error)
}
