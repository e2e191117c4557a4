//! Errors of opening a [`PostgresStore`](super::PostgresStore).

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};
use core::{error::Error, time::Duration};

/// A PostgreSQL store cannot be opened, or the server refuses an operation of an open one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The server or the network reported an error.
    #[error("the database cannot be used")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// The server did not respond in time.
    #[error("the database did not respond within {0:?}")]
    TimedOut(Duration),
    /// The server is in recovery: it is a standby, or a primary that was demoted.
    #[error(
        "the server is in recovery: it is a standby, or a primary that was demoted; connect to the \
         primary, and read from standbys through `PostgresStore::replica`"
    )]
    InRecovery,
    /// No schema can have this name.
    #[error(
        "`{}` is not the name of a schema: it has 1 to 48 lower-case letters, digits and \
         underscores, not a digit first",
        .0.escape_debug()
    )]
    Schema(String),
    /// A later release of keyway wrote the tables.
    #[error(
        "the tables have version {found}, and this release knows those up to {known}: update keyway"
    )]
    TooNew {
        /// The version of the tables.
        found: i64,
        /// The latest version that this release knows.
        known: i64,
    },
    /// An earlier release of keyway wrote the tables, and this release cannot read them.
    #[error(
        "the tables have version {found}, and this release needs version {known}: open them once \
         with a release that upgrades them, or name another schema"
    )]
    TooOld {
        /// The version of the tables.
        found: i64,
        /// The version that this release needs.
        known: i64,
    },
    /// A table is missing although the others are there.
    #[error("the table `{table}` is missing: restore it from a backup, or name another schema")]
    Incomplete {
        /// The name of the table, with its schema.
        table: String,
    },
    /// The role lacks a right on the tables.
    #[error("the role {role} lacks a right on the tables; their owner can run `{grant}`")]
    MissingGrant {
        /// The role, quoted as SQL needs it.
        role: String,
        /// The statements that grant everything that a store needs.
        grant: String,
        /// The server's response.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// There are no tables yet, and the role may not create them.
    #[error(
        "there are no tables yet, and the role {role} may not create them; run `{grant}`, or open \
         the store once as a role that may"
    )]
    CannotCreate {
        /// The role, quoted as SQL needs it.
        role: String,
        /// The statement that grants the missing right.
        grant: String,
        /// The server's response.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A crash of the server may lose what it has acknowledged with this setting.
    #[error(
        "`{setting}` is `{value}`, with which acknowledged writes may be lost; \
         `accept_data_loss` opens the store nevertheless"
    )]
    NotDurable {
        /// The setting of PostgreSQL.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The promotion of a standby may lose what the server has acknowledged with this setting.
    #[error(
        "`{setting}` is `{value}`, with which a failover to a standby ({}) may lose acknowledged \
         writes; `accept_asynchronous_failover` opens the store nevertheless",
        named(.standbys)
    )]
    AsynchronousFailover {
        /// The setting of PostgreSQL.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The connected standbys: `application_name`, and the address where it is known.
        standbys: Vec<String>,
    },
}

impl PostgresError {
    /// Returns the SQLSTATE of the server's response, if there was one.
    pub fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Database(cause)
            | Self::MissingGrant { cause, .. }
            | Self::CannotCreate { cause, .. } => {
                cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()
            }
            _ => None,
        }
    }

    /// Returns whether a table or its schema does not exist (`undefined_table`, `invalid_schema_name`).
    pub(super) fn is_absent(&self) -> bool {
        self.code().is_some_and(|code| matches!(&*code, "42P01" | "3F000"))
    }

    pub(super) fn is_timeout(&self) -> bool {
        match self {
            Self::Database(cause) => {
                matches!(cause.downcast_ref(), Some(sqlx::Error::PoolTimedOut))
            }
            Self::TimedOut(_) => true,
            _ => false,
        }
    }
}

impl From<sqlx::Error> for PostgresError {
    fn from(cause: sqlx::Error) -> Self {
        Self::Database(cause.into())
    }
}

/// Returns whether the server refused because a right is missing (`insufficient_privilege`).
pub(super) fn is_denied(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    let cause = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    cause.and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "42501")
}

fn named(standbys: &[String]) -> String {
    if standbys.is_empty() { "none is connected now".into() } else { standbys.join(", ") }
}
