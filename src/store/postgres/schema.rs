//! The tables of a [`PostgresStore`](super::PostgresStore), and how older ones become them.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::PostgresError;

/// The name of a schema, which stands before each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema(Arc<str>);

impl Schema {
    /// Leaves room for what comes before and behind it in the 63 bytes of an identifier.
    const MAX_LEN: usize = 48;

    /// A name that needs no quotes, so that it is the same in every tool.
    pub(super) fn new(name: &str) -> Result<Self, PostgresError> {
        let mut bytes = name.bytes();
        let is_name = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.len() <= Self::MAX_LEN;
        if is_name { Ok(Self(name.into())) } else { Err(PostgresError::Schema(name.to_string())) }
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// What stands before the name of a table.
    pub(super) fn prefix(&self) -> String {
        format!("\"{}\".", self.0)
    }

    /// Where its changes are announced.
    pub(super) fn channel(&self) -> String {
        format!("keyway.{}", self.0)
    }
}

/// Each brings the tables from the version that is its place in this list to the next one. `{}` is
/// the prefix. There is no foreign key: a deleted key keeps its row without a tenant, and every write
/// that counts on a tenant locks its row.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE {}tenants (
        id BYTEA NOT NULL PRIMARY KEY,
        version BIGINT NOT NULL,
        record BYTEA NOT NULL
    );

    CREATE TABLE {}keys (
        id BYTEA NOT NULL PRIMARY KEY,
        tenant BYTEA,
        created_at BIGINT NOT NULL,
        version BIGINT NOT NULL,
        record BYTEA,
        last_used BIGINT
    );

    CREATE INDEX keys_of_tenant ON {}keys (tenant, created_at, id) WHERE tenant IS NOT NULL;

    CREATE TABLE {}beats (
        id SMALLINT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL
    );

    INSERT INTO {}beats (id, at) VALUES (1, 0);
"];

/// The version that this release reads and writes.
const VERSION: i64 = 1;

#[allow(clippy::cast_possible_wrap, reason = "a short list")]
const _: () = assert!(MIGRATIONS.len() as i64 == VERSION);

/// Brings the tables to [`VERSION`]. A node that starts at the same time may make this fail with an
/// error of the kind that [`is_race`] knows, and then it is to be tried again.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), PostgresError> {
    let prefix = schema.prefix();
    // Most nodes find everything in place, and must not need the right to create anything.
    if version(connection, &prefix).await.ok() == Some(VERSION) {
        return Ok(());
    }
    connection
        .execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", schema.name())))
        .await?;
    connection
        .execute(AssertSqlSafe(format!(
            "CREATE TABLE IF NOT EXISTS {prefix}schema_version \
             (id SMALLINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL)"
        )))
        .await?;
    connection
        .execute(AssertSqlSafe(format!(
            "INSERT INTO {prefix}schema_version (id, version) VALUES (1, 0) \
             ON CONFLICT (id) DO NOTHING"
        )))
        .await?;
    let mut transaction = connection.begin().await?;
    // Who locks this row does the work, and the others find it done.
    let lock = format!("UPDATE {prefix}schema_version SET version = version WHERE id = 1");
    transaction.execute(AssertSqlSafe(lock)).await?;
    let found = version(&mut transaction, &prefix).await?;
    if found > VERSION {
        return Err(PostgresError::TooNew { found, known: VERSION });
    }
    let done = usize::try_from(found).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(migration.replace("{}", &prefix)))).await?;
    }
    let finish = format!("UPDATE {prefix}schema_version SET version = {VERSION} WHERE id = 1");
    transaction.execute(AssertSqlSafe(finish)).await?;
    Ok(transaction.commit().await?)
}

async fn version(connection: &mut PgConnection, prefix: &str) -> Result<i64, sqlx::Error> {
    let select = format!("SELECT version FROM {prefix}schema_version WHERE id = 1");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(connection).await
}

/// Whether nodes that start at once can make one of them fail like this: creating the same thing, or
/// changing the same row, at the same time.
pub(super) fn is_race(error: &PostgresError) -> bool {
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    const RACES: [&str; 7] = [
        "23505", // unique_violation, in the catalogue of the database
        "40001", // serialization_failure
        "40P01", // deadlock_detected
        "42P06", // duplicate_schema
        "42P07", // duplicate_table
        "42710", // duplicate_object
        "XX000", // internal_error: "tuple concurrently updated"
    ];
    error.code().is_some_and(|code| RACES.contains(&&*code))
}
