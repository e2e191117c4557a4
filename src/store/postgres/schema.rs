//! The tables of a [`PostgresStore`](super::PostgresStore).

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::{PostgresError, error::is_denied};

/// The name of a schema, which precedes the name of each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema(Arc<str>);

impl Schema {
    /// Leaves room for a prefix and a suffix within the 63 bytes of an identifier.
    const MAX_LEN: usize = 48;

    /// Checks a name that needs no quotes, so that it is the same in every tool.
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

    /// Returns the prefix of table names.
    pub(super) fn prefix(&self) -> String {
        format!("\"{}\".", self.0)
    }

    /// Returns the channel on which changes are announced.
    pub(super) fn channel(&self) -> String {
        format!("keyway.{}", self.0)
    }
}

/// The role and the database, for errors that name the missing grant.
#[derive(Clone, Debug)]
pub(super) struct Access {
    schema: Schema,
    /// Quoted for SQL.
    role: String,
    database: String,
}

impl Access {
    pub(super) async fn of(
        connection: &mut PgConnection,
        schema: &Schema,
    ) -> Result<Self, PostgresError> {
        let select = "SELECT pg_catalog.quote_ident(CAST(current_user AS pg_catalog.text)), \
                      pg_catalog.quote_ident(CAST(pg_catalog.current_database() AS pg_catalog.text))";
        let row = connection.fetch_one(select).await?;
        Ok(Self { schema: schema.clone(), role: row.try_get(0)?, database: row.try_get(1)? })
    }

    /// Converts an error about a missing right into one that names the grant.
    pub(super) fn explain(&self, error: PostgresError) -> PostgresError {
        let Self { schema, role, .. } = self;
        match error {
            PostgresError::Database(cause) if is_denied(&*cause) => PostgresError::MissingGrant {
                role: role.clone(),
                grant: format!(
                    "GRANT USAGE ON SCHEMA \"{0}\" TO {role}; \
                     GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{0}\" TO {role}",
                    schema.name()
                ),
                cause,
            },
            error => error,
        }
    }

    fn explain_creation(&self, error: PostgresError, schema_exists: bool) -> PostgresError {
        let Self { schema, role, database } = self;
        match error {
            PostgresError::Database(cause) if is_denied(&*cause) => PostgresError::CannotCreate {
                role: role.clone(),
                grant: if schema_exists {
                    format!("GRANT USAGE, CREATE ON SCHEMA \"{}\" TO {role}", schema.name())
                } else {
                    format!("GRANT CREATE ON DATABASE {database} TO {role}")
                },
                cause,
            },
            error => error,
        }
    }
}

/// `{}` is the prefix. There is no foreign key, because a deleted key keeps its row without a tenant.
/// Instead, every write that depends on a tenant locks the tenant's row.
///
/// Claims of events find sequences with undelivered events by an index that has no others.
///
/// Roll-ups find old rows of the usage by the indexes over `day`, and lock them in the order of these indexes.
/// Without them each roll-up would read whole tables.
const CREATE_TABLES: &str = "
    CREATE TABLE {}schema_version (
        id SMALLINT NOT NULL PRIMARY KEY,
        version BIGINT NOT NULL
    );

    CREATE TABLE {}tenants (
        id pg_catalog.bytea NOT NULL PRIMARY KEY,
        version BIGINT NOT NULL,
        record pg_catalog.bytea
    );

    CREATE TABLE {}keys (
        id pg_catalog.bytea NOT NULL PRIMARY KEY,
        tenant pg_catalog.bytea,
        created_at BIGINT NOT NULL,
        version BIGINT NOT NULL,
        record pg_catalog.bytea,
        last_used BIGINT,
        owner pg_catalog.bytea
    );

    CREATE INDEX keys_of_tenant ON {}keys (tenant, created_at, id) WHERE tenant IS NOT NULL;

    CREATE INDEX keys_of_owner ON {}keys (tenant, owner, created_at, id) WHERE owner IS NOT NULL;

    CREATE TABLE {}marker (
        id SMALLINT NOT NULL PRIMARY KEY,
        marker pg_catalog.bytea NOT NULL
    );

    CREATE TABLE {}beats (
        id SMALLINT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        silent BIGINT NOT NULL
    );

    INSERT INTO {}beats (id, at, silent) VALUES (1, 0, 0);

    CREATE TABLE {}usage_days (
        tenant pg_catalog.bytea NOT NULL,
        day INTEGER NOT NULL,
        key_id pg_catalog.bytea NOT NULL,
        admitted BIGINT NOT NULL,
        forbidden BIGINT NOT NULL,
        limited BIGINT NOT NULL,
        PRIMARY KEY (tenant, day, key_id)
    );

    CREATE INDEX usage_days_by_day ON {}usage_days (day, tenant, key_id);

    CREATE TABLE {}usage_months (
        tenant pg_catalog.bytea NOT NULL,
        day INTEGER NOT NULL,
        key_id pg_catalog.bytea NOT NULL,
        admitted BIGINT NOT NULL,
        forbidden BIGINT NOT NULL,
        limited BIGINT NOT NULL,
        PRIMARY KEY (tenant, day, key_id)
    );

    CREATE INDEX usage_months_by_day ON {}usage_months (day, tenant, key_id);

    CREATE TABLE {}usage_nodes (
        node pg_catalog.bytea NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL,
        day INTEGER NOT NULL
    );

    CREATE TABLE {}limits (
        tenant pg_catalog.bytea NOT NULL,
        ends_at BIGINT NOT NULL,
        period BIGINT NOT NULL,
        used BIGINT NOT NULL,
        granted BIGINT NOT NULL,
        PRIMARY KEY (tenant, ends_at, period)
    );

    CREATE INDEX limits_by_end ON {}limits (ends_at, tenant, period);

    CREATE TABLE {}events (
        tenant pg_catalog.bytea NOT NULL,
        number BIGINT NOT NULL,
        id pg_catalog.bytea NOT NULL,
        at BIGINT NOT NULL,
        actor pg_catalog.bytea NOT NULL,
        key_id pg_catalog.bytea,
        kind pg_catalog.bytea NOT NULL,
        detail pg_catalog.bytea NOT NULL,
        PRIMARY KEY (tenant, number)
    );

    CREATE INDEX events_of_key ON {}events (tenant, key_id, number) WHERE key_id IS NOT NULL;

    CREATE TABLE {}event_sequences (
        tenant pg_catalog.bytea NOT NULL PRIMARY KEY,
        last BIGINT NOT NULL,
        delivered BIGINT NOT NULL,
        claim BIGINT NOT NULL,
        claimable BIGINT NOT NULL
    );

    CREATE INDEX event_sequences_to_deliver ON {}event_sequences (claimable)
        WHERE delivered OPERATOR(pg_catalog.<) last;
";

/// The tables that a store reads, besides the version.
const TABLES: [&str; 10] = [
    "tenants",
    "keys",
    "marker",
    "beats",
    "usage_days",
    "usage_months",
    "usage_nodes",
    "limits",
    "events",
    "event_sequences",
];

/// The version that this release reads and writes.
const VERSION: i64 = 1;

/// Creates the tables if there are none, and checks that this release can use them. A node that starts at the
/// same time may cause an error that [`is_race`] recognizes. The caller then tries again.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    access: &Access,
) -> Result<(), PostgresError> {
    let prefix = access.schema.prefix();
    let mut found = version(connection, &prefix).await;
    if found.as_ref().is_err_and(PostgresError::is_absent) {
        // Only this check shows that no tables exist yet. After any other error tables may exist, and
        // creating them would hide the cause.
        if !has_tables(connection, &prefix).await? {
            return create(connection, access).await;
        }
        // Another node may have created them a moment ago.
        found = version(connection, &prefix).await;
    }
    match found {
        Ok(VERSION) => {
            check_tables(connection, &prefix).await.map_err(|error| access.explain(error))
        }
        Ok(found) if found > VERSION => Err(PostgresError::TooNew { found, known: VERSION }),
        Ok(found) => Err(PostgresError::TooOld { found, known: VERSION }),
        Err(error) if error.is_absent() => Err(incomplete(&prefix, "schema_version")),
        Err(error) => Err(access.explain(error)),
    }
}

async fn version(connection: &mut PgConnection, prefix: &str) -> Result<i64, PostgresError> {
    let select = format!(
        "SELECT version FROM {prefix}schema_version WHERE id OPERATOR(pg_catalog.=) 1::pg_catalog.int2"
    );
    // If the row is missing, the version is that of no release.
    match connection.fetch_optional(AssertSqlSafe(select)).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(0),
    }
}

/// Returns whether any table, or another object with the name of one, exists.
async fn has_tables(connection: &mut PgConnection, prefix: &str) -> Result<bool, PostgresError> {
    let is_there = TABLES.map(|table| {
        format!("pg_catalog.to_regclass(CAST('{prefix}{table}' AS pg_catalog.text)) IS NOT NULL")
    });
    let select = format!("SELECT {}", is_there.join(" OR "));
    Ok(connection.fetch_one(AssertSqlSafe(select)).await?.try_get(0)?)
}

fn incomplete(prefix: &str, table: &str) -> PostgresError {
    PostgresError::Incomplete { table: format!("{prefix}{table}").replace('"', "") }
}

/// Succeeds if every table exists and is readable. A role that only reads can then open the store.
async fn check_tables(connection: &mut PgConnection, prefix: &str) -> Result<(), PostgresError> {
    for table in TABLES {
        let select = format!("SELECT 1 FROM {prefix}{table} LIMIT 0");
        connection.execute(AssertSqlSafe(select)).await.map_err(
            |error| match PostgresError::from(error) {
                error if error.is_absent() => incomplete(prefix, table),
                error => error,
            },
        )?;
    }
    Ok(())
}

/// Creates the schema, if it is missing, and the tables, as a whole or not at all.
async fn create(connection: &mut PgConnection, access: &Access) -> Result<(), PostgresError> {
    let (name, prefix) = (access.schema.name(), access.schema.prefix());
    let exists =
        format!("SELECT pg_catalog.to_regnamespace(CAST('{name}' AS pg_catalog.text)) IS NOT NULL");
    let exists: bool = connection.fetch_one(AssertSqlSafe(exists)).await?.try_get(0)?;
    let tables = CREATE_TABLES.replace("{}", &prefix);
    let schema = if exists { String::new() } else { format!("CREATE SCHEMA \"{name}\";") };
    let statements = format!(
        "BEGIN; {schema} {tables} \
         INSERT INTO {prefix}schema_version (id, version) VALUES (1, {VERSION}); COMMIT"
    );
    let created = connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await;
    if created.is_err() {
        connection.execute("ROLLBACK").await?;
    }
    let created = created.map(drop).map_err(PostgresError::from);
    created.map_err(|error| access.explain_creation(error, exists))
}

/// Returns whether this error can occur because nodes start at the same time: both create the same object, or
/// both change the same row.
pub(super) fn is_race(error: &PostgresError) -> bool {
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    const RACES: [&str; 7] = [
        "23505", // unique_violation, in the catalog of the database
        "40001", // serialization_failure
        "40P01", // deadlock_detected
        "42P06", // duplicate_schema
        "42P07", // duplicate_table
        "42710", // duplicate_object
        "XX000", // internal_error: "tuple concurrently updated"
    ];
    error.code().is_some_and(|code| RACES.contains(&&*code))
}

/// The table of audit events, which a database need not have. Its version is a row of its own.
const CREATE_AUDIT: &str = "
    CREATE TABLE {}audit (
        number BIGINT NOT NULL,
        node BIGINT NOT NULL,
        at BIGINT NOT NULL,
        tenant pg_catalog.bytea,
        key_id pg_catalog.bytea,
        actor pg_catalog.bytea NOT NULL,
        kind pg_catalog.text NOT NULL,
        detail pg_catalog.bytea NOT NULL,
        PRIMARY KEY (number, node)
    );

    CREATE INDEX audit_of_key ON {}audit (key_id, number) WHERE key_id IS NOT NULL;

    CREATE INDEX audit_of_tenant ON {}audit (tenant, number) WHERE key_id IS NULL;
";

/// The version of the audit table that this release reads and writes.
const AUDIT_VERSION: i64 = 1;

/// Creates the audit table if it is missing, and checks that this release can use it. Fails like [`prepare`].
pub(super) async fn prepare_audit(
    connection: &mut PgConnection,
    access: &Access,
) -> Result<(), PostgresError> {
    let prefix = access.schema.prefix();
    let select = format!(
        "SELECT version FROM {prefix}schema_version WHERE id OPERATOR(pg_catalog.=) 2::pg_catalog.int2"
    );
    let found = connection.fetch_optional(AssertSqlSafe(select)).await;
    let found = found.map_err(|error| access.explain(error.into()))?;
    match found.map(|row| row.try_get::<i64, _>(0)).transpose()? {
        None => {
            let tables = CREATE_AUDIT.replace("{}", &prefix);
            let statements = format!(
                "BEGIN; {tables} \
                 INSERT INTO {prefix}schema_version (id, version) VALUES (2, {AUDIT_VERSION}); COMMIT"
            );
            let created = connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await;
            if created.is_err() {
                connection.execute("ROLLBACK").await?;
            }
            let created = created.map(drop).map_err(PostgresError::from);
            created.map_err(|error| access.explain_creation(error, true))
        }
        Some(AUDIT_VERSION) => {
            let select = format!("SELECT 1 FROM {prefix}audit LIMIT 0");
            let read = connection.execute(AssertSqlSafe(select)).await;
            read.map(drop).map_err(|error| match PostgresError::from(error) {
                error if error.is_absent() => incomplete(&prefix, "audit"),
                error => access.explain(error),
            })
        }
        Some(found) if found > AUDIT_VERSION => {
            Err(PostgresError::TooNew { found, known: AUDIT_VERSION })
        }
        Some(found) => Err(PostgresError::TooOld { found, known: AUDIT_VERSION }),
    }
}
