//! Opening a [`PostgresStore`].

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
};
use core::{error::Error, str::FromStr, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use super::{
    Inner, PostgresStore,
    run::backoff,
    schema::{self, Schema},
    statements::Statements,
};

/// Opens a [`PostgresStore`] otherwise than by default.
///
/// ```no_run
/// use std::time::Duration;
/// use keyway::store::PostgresStore;
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::builder()
///     .schema("api_keys")
///     .time_limit(Duration::from_secs(2))
///     .connect("postgres://service@db.internal/app")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` or `open`"]
pub struct PostgresBuilder {
    schema: String,
    time_limit: Duration,
    max_connections: u32,
    announces: bool,
    accepts_data_loss: bool,
    accepts_asynchronous_failover: bool,
}

impl PostgresBuilder {
    /// The schema unless it is told otherwise.
    pub const DEFAULT_SCHEMA: &str = "keyway";
    /// How long an operation may take unless it is told otherwise.
    pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(5);
    /// The most connections of a pool of our own unless it is told otherwise.
    pub const DEFAULT_MAX_CONNECTIONS: u32 = 10;

    pub(super) fn new() -> Self {
        Self {
            schema: Self::DEFAULT_SCHEMA.to_string(),
            time_limit: Self::DEFAULT_TIME_LIMIT,
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
            announces: true,
            accepts_data_loss: false,
            accepts_asynchronous_failover: false,
        }
    }

    /// The schema of the tables, which is created if it is missing: 1 to 48 lower-case letters, digits
    /// and underscores, not a digit first.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// How long an operation may take, with all that it waits for and tries again, before it is
    /// [`Unavailable`](crate::store::StoreError::Unavailable). The server ends a statement of ours
    /// after as long, if the pool is of our own making.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// The most connections that [`connect`](Self::connect) opens.
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max.max(1);
        self
    }

    /// Does not announce changes to other nodes: for databases that speak PostgreSQL's protocol
    /// without `NOTIFY`. Other nodes then hear of changes within their staleness bound.
    pub fn without_announcements(mut self) -> Self {
        self.announces = false;
        self
    }

    /// Opens the store although the server may lose what it has acknowledged when it crashes
    /// (`synchronous_commit` or `fsync` is off). A deleted key may then come back to life.
    pub fn accept_data_loss(mut self) -> Self {
        self.accepts_data_loss = true;
        self
    }

    /// Opens the store although the server has standbys and waits for none of them
    /// (`synchronous_standby_names` is empty). If one of them is promoted, what was acknowledged
    /// shortly before is lost, and a key that was deleted then comes back to life. Name this if the
    /// standbys are only read from, or if you accept it.
    pub fn accept_asynchronous_failover(mut self) -> Self {
        self.accepts_asynchronous_failover = true;
        self
    }

    /// Connects to the server at `url` with a pool of its own.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] says why not.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, PostgresError> {
        let millis = self.time_limit.as_millis().clamp(1, 1 << 30).to_string();
        let options = PgConnectOptions::from_str(url)?.options([
            ("statement_timeout", millis.as_str()),
            ("lock_timeout", millis.as_str()),
            ("idle_in_transaction_session_timeout", millis.as_str()),
        ]);
        // Each statement has one good plan whatever is bound to it: it finds its rows through an
        // index. Planning takes longer than executing it does.
        let options = if self.announces {
            options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")])
        } else {
            options
        };
        let options = if options.get_application_name().is_none() {
            options.application_name("keyway")
        } else {
            options
        };
        let pool = PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.time_limit)
            // A connection that was used a moment ago is not tried before it is used again, which
            // would be one more round trip each time.
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        self.open(pool).await
    }

    /// Uses a pool of the host's own.
    ///
    /// Set `statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout` on its
    /// connections: the time limit of this store ends the waiting here, and only those end it on the
    /// server.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] says why not.
    pub async fn open(self, pool: PgPool) -> Result<PostgresStore, PostgresError> {
        let schema = Schema::new(&self.schema)?;
        let mut tries = 0;
        loop {
            let prepared = timeout(self.time_limit, self.prepare(&pool, &schema)).await;
            match prepared.unwrap_or(Err(PostgresError::TimedOut(self.time_limit))) {
                Ok(()) => break,
                Err(error) if schema::is_race(&error) && tries < MAX_RACES => {
                    tries += 1;
                    sleep(backoff(tries)).await;
                }
                Err(error) if error.is_timeout() => return Err(diagnose(&pool, error).await),
                Err(error) => return Err(error),
            }
        }
        Ok(PostgresStore(Arc::new(Inner {
            statements: Statements::new(&schema, self.announces),
            schema,
            pool,
            time_limit: self.time_limit,
        })))
    }

    async fn prepare(&self, pool: &PgPool, schema: &Schema) -> Result<(), PostgresError> {
        let mut connection = pool.acquire().await?;
        if !self.accepts_data_loss {
            check_durability(&mut connection).await?;
        }
        if !self.accepts_asynchronous_failover {
            check_standbys(&mut connection).await?;
        }
        schema::migrate(&mut connection, schema).await
    }
}

/// How long a connection is taken to be whole after it was used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How often nodes that start at once may get in each other's way.
const MAX_RACES: u32 = 10;

/// Why no connection was to be had: a pool goes on trying, and does not say.
async fn diagnose(pool: &PgPool, error: PostgresError) -> PostgresError {
    let options = pool.connect_options();
    match timeout(TRUSTED_FOR, PgConnection::connect_with(&options)).await {
        Ok(Err(cause)) => cause.into(),
        Ok(Ok(_)) | Err(_) => error,
    }
}

/// Succeeds if what is committed outlasts a crash of the server.
async fn check_durability(connection: &mut PgConnection) -> Result<(), PostgresError> {
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        if let Some(value) = setting(connection, name).await?
            && value == "off"
        {
            return Err(PostgresError::NotDurable { setting: name, value });
        }
    }
    Ok(())
}

/// Succeeds unless the server streams to standbys and waits for none.
async fn check_standbys(connection: &mut PgConnection) -> Result<(), PostgresError> {
    let waits_for = setting(connection, "synchronous_standby_names").await?;
    if waits_for.is_none_or(|names| !names.trim().is_empty()) {
        return Ok(());
    }
    let count = "SELECT count(*) FROM pg_catalog.pg_stat_replication";
    match sqlx::query_scalar::<_, i64>(count).fetch_one(connection).await? {
        0 => Ok(()),
        standbys => Err(PostgresError::AsynchronousFailover { standbys }),
    }
}

/// The value of a setting, if the database has such a one.
async fn setting(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<String>, PostgresError> {
    let current = "SELECT current_setting($1, true)";
    Ok(sqlx::query_scalar(current).bind(name).fetch_one(connection).await?)
}

/// A PostgreSQL store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The server or the way to it says why.
    #[error("the database cannot be used")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// The server did not answer in time.
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    /// No schema can have this name.
    #[error(
        "`{}` is not the name of a schema: it has 1 to 48 lower-case letters, digits and \
         underscores, not a digit first",
        .0.escape_debug()
    )]
    Schema(String),
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
        /// The setting of PostgreSQL.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The server has standbys and waits for none.
    #[error(
        "the server has {standbys} standbys and waits for none of them \
         (`synchronous_standby_names` is empty), so a failover loses acknowledged writes; \
         `accept_asynchronous_failover` opens the store nevertheless"
    )]
    AsynchronousFailover {
        /// How many.
        standbys: i64,
    },
}

impl PostgresError {
    /// The SQLSTATE of the server's answer, if that was the trouble.
    pub fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Database(cause) => {
                cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()
            }
            _ => None,
        }
    }

    fn is_timeout(&self) -> bool {
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
