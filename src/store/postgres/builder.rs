//! The builder of a [`PostgresStore`].

use alloc::{
    string::{String, ToString},
    sync::Arc,
};
use core::{str::FromStr, time::Duration};
use std::sync::RwLock;

use sqlx::{Connection, Executor, PgConnection, PgPool, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    Inner, PostgresError, PostgresStore,
    checks::{check_durability, check_primary, check_standbys},
    events::EventStatements,
    limits::LimitStatements,
    pool::{self, Pool},
    run::{is_in_recovery, prepare},
    schema::{self, Access, Schema},
    statements::Statements,
    usage::UsageStatements,
};

/// Opens a [`PostgresStore`] with options.
///
/// ```no_run
/// use std::time::Duration;
/// use keyway::PostgresStore;
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
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[must_use = "a builder does nothing until `connect` or `open`"]
pub struct PostgresBuilder {
    schema: String,
    time_limit: Duration,
    max_connections: u32,
    announces: bool,
    accepts_data_loss: bool,
    accepts_asynchronous_failover: bool,
    is_pooled: bool,
    feed_url: Option<String>,
}

impl PostgresBuilder {
    /// The default schema.
    pub const DEFAULT_SCHEMA: &str = "keyway";
    /// The default time limit of an operation.
    pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(5);
    /// The default maximum number of connections in the store's own pool.
    pub const DEFAULT_MAX_CONNECTIONS: u32 = 10;

    pub(super) fn new() -> Self {
        Self {
            schema: Self::DEFAULT_SCHEMA.to_string(),
            time_limit: Self::DEFAULT_TIME_LIMIT,
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
            announces: true,
            accepts_data_loss: false,
            accepts_asynchronous_failover: false,
            is_pooled: false,
            feed_url: None,
        }
    }

    /// Sets the schema of the tables, which is created if it is missing. The name has 1 to 48 lower-case
    /// letters, digits and underscores, and does not start with a digit.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Sets how long an operation may take, including its waits and retries. An operation that takes longer
    /// is [`Unavailable`](crate::store::StoreError::Unavailable). If the store creates its own pool, the
    /// server ends a statement after the same time.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets the maximum number of connections that [`connect`](Self::connect) opens, at least one.
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = max.max(1);
        self
    }

    /// Turns off announcements of changes to other nodes. Use it for databases that support PostgreSQL's
    /// protocol without `NOTIFY`. Other nodes then see changes within their staleness bound. A node that
    /// follows a feed nevertheless sees a [`Gap`](crate::store::Change::Gap) for each change by this one.
    pub fn without_announcements(mut self) -> Self {
        self.announces = false;
        self
    }

    /// Opens the store although the server may lose acknowledged writes in a crash, because
    /// `synchronous_commit` or `fsync` is off. A deleted key may become valid again.
    pub fn accept_data_loss(mut self) -> Self {
        self.accepts_data_loss = true;
        self
    }

    /// Opens the store although the promotion of a standby may lose recently acknowledged writes. This is the
    /// case if `synchronous_standby_names` is empty or names no standby, or if `synchronous_commit` is
    /// neither `on` nor `remote_apply`. A key that was deleted shortly before becomes valid again. Call this
    /// if the standbys are only read from, or if the risk is acceptable.
    pub fn accept_asynchronous_failover(mut self) -> Self {
        self.accepts_asynchronous_failover = true;
        self
    }

    /// Sends every operation as its own transaction, without session state that outlasts it. Use it for a
    /// pool behind a pooler that serves each transaction with another connection, such as `PgBouncer` with
    /// `pool_mode = transaction`. An operation then takes four round trips instead of one.
    ///
    /// [`connect`](Self::connect) turns this on when the pooler refuses or ignores session settings. For the
    /// application's own pool, call it explicitly.
    pub fn transaction_pooling(mut self) -> Self {
        self.is_pooled = true;
        self
    }

    /// Sets the address to which the [feed](PostgresStore::feed) connects. The feed needs its own session: if
    /// the store goes through a pooler, give the address of the server. By default the feed connects as the
    /// store does.
    pub fn feed_url(mut self, url: impl Into<String>) -> Self {
        self.feed_url = Some(url.into());
        self
    }

    /// Connects to the server at `url` with the store's own pool.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] describes why the store cannot be opened.
    pub async fn connect(mut self, url: &str) -> Result<PostgresStore, PostgresError> {
        let options = named(PgConnectOptions::from_str(url)?);
        let (max, limit) = (self.max_connections, self.time_limit);
        if !self.is_pooled {
            let pool = pool::own(self.with_settings(options.clone()), max, limit);
            if !self.is_behind_pooler(&pool).await? {
                return self.open(pool).await;
            }
            pool.close().await;
            self.is_pooled = true;
        }
        // A pooler knows only some settings, and refuses a connection that sends others.
        self.open(pool::own(options.extra_float_digits(None), max, limit)).await
    }

    /// Uses the application's own pool.
    ///
    /// Set `statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout` on its connections.
    /// The time limit of this store ends only the wait in this process. Those settings end the operation on
    /// the server.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] describes why the store cannot be opened.
    pub async fn open(self, pool: PgPool) -> Result<PostgresStore, PostgresError> {
        let schema = Schema::new(&self.schema)?;
        let feed = self.feed_url.as_deref().map(PgConnectOptions::from_str).transpose()?;
        // The address may belong to a pooler in session mode, which knows only some settings.
        let feed = feed.map(|options| named(options).extra_float_digits(None));
        let access = match prepare(self.time_limit, || self.prepare(&pool, &schema)).await {
            Ok(access) => access,
            Err(error) if error.is_timeout() => return Err(diagnose(&pool, error).await),
            Err(error) => return Err(error),
        };
        let pooled_limit = self.is_pooled.then_some(self.time_limit);
        Ok(PostgresStore(Arc::new(Inner {
            statements: Statements::new(&schema, self.announces),
            usage: UsageStatements::new(&schema),
            events: EventStatements::new(&schema),
            limits: LimitStatements::new(&schema),
            pool: Pool::new(pool, pooled_limit, access),
            feed,
            schema,
            time_limit: self.time_limit,
            notices: RwLock::default(),
        })))
    }

    async fn prepare(&self, pool: &PgPool, schema: &Schema) -> Result<Access, PostgresError> {
        let mut connection = pool.acquire().await?;
        if let Err(error) = check_primary(&mut connection).await {
            // The next attempt may reach another server.
            connection.close_on_drop();
            return Err(error);
        }
        if !self.accepts_data_loss {
            check_durability(&mut connection).await?;
        }
        if !self.accepts_asynchronous_failover {
            check_standbys(&mut connection).await?;
        }
        let access = Access::of(&mut connection, schema).await?;
        schema::prepare(&mut connection, &access).await?;
        Ok(access)
    }

    /// Returns the options of a connection that keeps its session.
    fn with_settings(&self, options: PgConnectOptions) -> PgConnectOptions {
        let options = options.options(pool::settings(self.time_limit));
        // Each statement has one good plan for all bound values: it finds its rows through an index. Planning
        // takes longer than execution.
        if self.announces {
            options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")])
        } else {
            options
        }
    }

    /// Checks whether session settings are refused or ignored. Poolers that share a connection between
    /// sessions do this.
    async fn is_behind_pooler(&self, pool: &PgPool) -> Result<bool, PostgresError> {
        let look = async {
            let select = "SELECT pg_catalog.current_setting('search_path')";
            match pool.fetch_one(select).await {
                Ok(row) => Ok(row.try_get::<String, _>(0)? != pool::SEARCH_PATH),
                Err(error) if is_in_recovery(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        let found = timeout(self.time_limit, look).await;
        match found.unwrap_or(Err(PostgresError::TimedOut(self.time_limit))) {
            Err(error) if error.code().is_some_and(|code| REFUSALS.contains(&&*code)) => Ok(true),
            Err(error) if error.is_timeout() => Err(diagnose(pool, error).await),
            found => found,
        }
    }
}

/// The codes with which poolers refuse settings: `protocol_violation` (`PgBouncer`) and
/// `feature_not_supported` (RDS Proxy).
const REFUSALS: [&str; 2] = ["08P01", "0A000"];

/// Adds a name to the options by which the server's administrator recognizes the connections.
fn named(options: PgConnectOptions) -> PgConnectOptions {
    if options.get_application_name().is_none() {
        options.application_name("keyway")
    } else {
        options
    }
}

/// Returns the reason why no connection was available. A pool only keeps trying and does not report the
/// reason.
async fn diagnose(pool: &PgPool, error: PostgresError) -> PostgresError {
    let options = pool.connect_options();
    match timeout(pool::TRUSTED_FOR, PgConnection::connect_with(&options)).await {
        Ok(Err(cause)) => cause.into(),
        Ok(Ok(_)) | Err(_) => error,
    }
}
