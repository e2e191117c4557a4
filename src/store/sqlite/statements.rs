//! Executing statements, and what their rows become.

use alloc::vec::Vec;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::{
    record::{KeyRecord, TenantRecord},
    store::{
        StoreError,
        sql::{KeyRow, TenantRow},
    },
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
    statement.execute(arguments).map_err(|error| match error.sqlite_error_code() {
        // The only constraints that a statement of ours can break are those of primary keys.
        Some(ErrorCode::ConstraintViolation) => StoreError::Exists,
        _ => unavailable(error),
    })
}

pub(super) fn tenant_records(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
) -> Result<Vec<TenantRecord>, StoreError> {
    let mut statement = connection.prepare_cached(select).map_err(unavailable)?;
    let mut rows = statement.query(arguments).map_err(unavailable)?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        tenants.push(tenant_row(row, 0).map_err(unavailable)?.decode()?);
    }
    Ok(tenants)
}

/// Calls `each` for every key that `select` finds, until it says stop.
pub(super) fn key_records(
    connection: &Connection,
    select: &str,
    arguments: impl rusqlite::Params,
    mut each: impl FnMut(&mut bool, KeyRecord),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(select).map_err(unavailable)?;
    let mut rows = statement.query(arguments).map_err(unavailable)?;
    let mut stop = false;
    while let Some(row) = rows.next().map_err(unavailable)?.filter(|_| !stop) {
        each(&mut stop, key_row(row).map_err(unavailable)?.decode()?);
    }
    Ok(())
}

pub(super) fn key_row<'r>(row: &'r Row<'_>) -> rusqlite::Result<KeyRow<'r>> {
    Ok(KeyRow {
        id: row.get_ref(0)?.as_blob()?,
        tenant: row.get_ref(1)?.as_blob()?,
        created_at: row.get(2)?,
        version: row.get(3)?,
        record: row.get_ref(4)?.as_blob()?,
        last_used: row.get(5)?,
    })
}

/// The tenant whose columns begin at `first`.
pub(super) fn tenant_row<'r>(row: &'r Row<'_>, first: usize) -> rusqlite::Result<TenantRow<'r>> {
    Ok(TenantRow {
        id: row.get_ref(first)?.as_blob()?,
        version: row.get(first + 1)?,
        record: row.get_ref(first + 2)?.as_blob()?,
    })
}

/// A failure of the engine. Its text names statements and never values.
pub(super) fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::unavailable(error)
}
