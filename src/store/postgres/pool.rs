//! The connections of a [`PostgresStore`](super::PostgresStore), and how an operation uses one.

use alloc::{boxed::Box, format, string::String};
use core::{hash::BuildHasher, time::Duration};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use sqlx::{
    AssertSqlSafe, Executor, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{
    PostgresError,
    run::{Failure, Kind, is_in_recovery},
    schema::Access,
};

/// How long a connection is trusted without a test after its last use.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How long a connection may take to return to the pool before it is closed.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(5);

/// Sets the isolation level explicitly, whatever the server's default is. After a wait for a lock, the next
/// statement must see what the other transaction has committed.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The number of semaphores that rows share. It is a power of two.
const ROWS: usize = 1_024;

/// How long nothing is announced after the server had no room for a notice.
const QUIET: Duration = Duration::from_secs(1);

/// The queue in which an operation waits before it takes a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn<'t> {
    Any,
    /// Waits for the other writes of the tenant or key with this id.
    Row(&'t [u8]),
    /// Waits for other pages.
    Page,
}

/// A pool, and the limits that its operations share.
#[derive(Debug)]
pub(super) struct Pool {
    inner: PgPool,
    /// Limits writes to half of the connections. Writes wait for each other's locks, and without the limit
    /// reads would find no connection.
    writers: Semaphore,
    /// Lets only one write per row wait on the server. Without this, the writes of one locked row hold all
    /// connections for writes, and no other key can be revoked.
    rows: Box<[Semaphore]>,
    hasher: RandomState,
    /// Limits pages to a third of the connections, since pages of large tenants take long.
    pages: Semaphore,
    /// The time until which nothing is announced, because the server has no room for notices.
    quiet_until: Mutex<Option<Instant>>,
    /// The statement that begins every operation if a pooler serves each transaction with another connection.
    begin_pooled: Option<Box<str>>,
    access: Access,
}

impl Pool {
    pub(super) fn new(pool: PgPool, pooled_limit: Option<Duration>, access: Access) -> Self {
        let max = pool.options().get_max_connections();
        let part = |number: u32| Semaphore::new(usize::try_from(number.max(1)).unwrap_or(1));
        Self {
            writers: part(max / 2),
            rows: (0..ROWS).map(|_| Semaphore::new(1)).collect(),
            hasher: RandomState::default(),
            pages: part(max / 3),
            quiet_until: Mutex::default(),
            inner: pool,
            begin_pooled: pooled_limit.map(begin_pooled),
            access,
        }
    }

    /// Creates a pool of a replica of the same database. It only serves lookups.
    pub(super) fn beside(&self, replica: PgPool, pooled_limit: Option<Duration>) -> Self {
        Self {
            inner: replica,
            writers: Semaphore::new(0),
            rows: Box::default(),
            hasher: RandomState::default(),
            pages: Semaphore::new(0),
            quiet_until: Mutex::default(),
            begin_pooled: pooled_limit.map(begin_pooled).or_else(|| self.begin_pooled.clone()),
            access: self.access.clone(),
        }
    }

    pub(super) fn inner(&self) -> &PgPool {
        &self.inner
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.begin_pooled.is_some()
    }

    pub(super) fn max_connections(&self) -> u32 {
        self.inner.options().get_max_connections()
    }

    /// Returns whether a connection is available without opening one.
    pub(super) fn has_idle(&self) -> bool {
        self.inner.num_idle() > 0
    }

    /// Stops announcements for a moment.
    pub(super) fn be_quiet(&self) {
        let mut until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + QUIET);
    }

    pub(super) fn is_quiet(&self) -> bool {
        let until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Waits for the semaphore of `turn`. None of the semaphores is ever closed.
    async fn wait_for(&self, turn: Turn<'_>) -> Option<SemaphorePermit<'_>> {
        let waits = match turn {
            Turn::Any => None,
            Turn::Row(id) => {
                let place = self.hasher.hash_one(id) % ROWS as u64;
                self.rows.get(usize::try_from(place).unwrap_or_default())
            }
            Turn::Page => Some(&self.pages),
        };
        waits?.acquire().await.ok()
    }

    /// Returns a connection as soon as one is free.
    pub(super) async fn lease(&self, kind: Kind, turn: Turn<'_>) -> Result<Lease<'_>, Failure> {
        let turn = self.wait_for(turn).await;
        let permit = match kind {
            Kind::Read => None,
            // The semaphore is never closed.
            Kind::Write | Kind::Transaction => self.writers.acquire().await.ok(),
        };
        let begin = match kind {
            Kind::Transaction => Some(self.begin_pooled.as_deref().unwrap_or(BEGIN)),
            Kind::Read | Kind::Write => self.begin_pooled.as_deref(),
        };
        let connection = self.inner.acquire().await?;
        Ok(Lease { connection, _permits: [turn, permit], begin, is_settled: false })
    }

    /// Adds to an error what the operator can do about it, where that is known.
    pub(super) fn explain(&self, error: sqlx::Error) -> PostgresError {
        if is_in_recovery(&error) {
            return PostgresError::InRecovery;
        }
        self.access.explain(error.into())
    }
}

/// A connection in use. It is closed instead of reused unless its last operation completed, because an
/// incomplete operation may still be running on it.
pub(super) struct Lease<'p> {
    connection: PoolConnection<Postgres>,
    /// Released after the connection.
    _permits: [Option<SemaphorePermit<'p>>; 2],
    begin: Option<&'p str>,
    is_settled: bool,
}

impl Lease<'_> {
    /// Begins the transaction, if the operation needs one.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        match self.begin {
            Some(begin) => self.execute(begin.into()).await,
            None => Ok(()),
        }
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Commits or rolls back the transaction, depending on `done`.
    pub(super) async fn end<T>(&mut self, done: Result<T, Failure>) -> Result<T, Failure> {
        let end = match &done {
            _ if self.begin.is_none() => return done,
            Ok(_) => "COMMIT",
            Err(failure) if failure.is_response() => "ROLLBACK",
            // The connection is closed, which ends the transaction.
            Err(_) => return done,
        };
        self.execute(end.into()).await?;
        done
    }

    pub(super) fn settle<T>(&mut self, result: &Result<T, Failure>) {
        self.is_settled = result.as_ref().err().is_none_or(Failure::is_response);
    }

    async fn execute(&mut self, statement: String) -> Result<(), Failure> {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        (&mut *self.connection).execute(statement).await?;
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.connection.close_on_drop();
            return;
        }
        // The pool pings the server before it takes a connection back. If packets on the connection are
        // silently dropped, the ping would occupy one of the pool's places for as long as TCP retries.
        let given_back = self.connection.return_to_pool();
        // Without a runtime no task can wait for the ping, and the connection is closed.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { timeout(GIVE_BACK_LIMIT, given_back).await });
        }
    }
}

/// Returns the statement that begins a transaction with the settings that otherwise belong to the session.
fn begin_pooled(limit: Duration) -> Box<str> {
    let settings = settings(limit).map(|(name, value)| format!("; SET LOCAL {name} = {value}"));
    let settings: String = settings.into_iter().collect();
    format!("{BEGIN}{settings}").into()
}

/// Creates the store's own pool for `options`.
pub(super) fn own(options: PgConnectOptions, max: u32, limit: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(limit)
        // A recently used connection is not tested before it is used again. The test would cost one more
        // round trip each time.
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > TRUSTED_FOR {
                    sqlx::Connection::ping(connection).await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Returns the settings of a session. They make the server give up when the client does. They also resolve
/// every unqualified name in a statement to PostgreSQL's own definition.
pub(super) fn settings(limit: Duration) -> [(&'static str, String); 4] {
    let millis = format!("{}", limit.as_millis().clamp(1, 1 << 30));
    [
        ("statement_timeout", millis.clone()),
        ("lock_timeout", millis.clone()),
        ("idle_in_transaction_session_timeout", millis),
        ("search_path", SEARCH_PATH.into()),
    ]
}

/// Names `pg_temp` last, because temporary objects otherwise come first. A server returns the setting as it
/// was sent, without a space, so it differs from a value that an administrator set.
pub(super) const SEARCH_PATH: &str = "pg_catalog,pg_temp";
