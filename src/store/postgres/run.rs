//! Runs an operation within its time limit, and retries it if the server asks for that.

use core::{future::Future, time::Duration};

use sqlx::{error::DatabaseError, postgres::PgDatabaseError};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    PostgresError,
    pool::{Lease, Pool, Turn},
    schema,
};
use crate::store::StoreError;

/// The maximum number of attempts of an operation that fails with serialization failures.
const MAX_TRIES: u32 = 8;

/// The effect of an operation on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads in one statement. It is safe to repeat when the connection breaks.
    Read,
    /// Writes in one statement.
    Write,
    /// Writes in several statements that take effect together.
    Transaction,
}

/// The reason why an operation did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store responded with an error.
    Store(StoreError),
    /// The server or the network failed.
    Engine(sqlx::Error),
    /// There was no response within the time limit.
    TimedOut(Duration),
}

impl Failure {
    /// Returns whether the server has responded and the connection can serve further operations.
    pub(super) fn is_response(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Engine(error) => {
                error.as_database_error().is_some()
                    && !is_demoted(error)
                    && !is_broken_connection(error)
            }
            Self::TimedOut(_) => false,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error)
    }
}

/// The attempts of one operation.
pub(super) struct Tries<'p> {
    pool: &'p Pool,
    deadline: Instant,
    limit: Duration,
    kind: Kind,
    turn: Turn<'p>,
    failed: u32,
    broken: u32,
    demoted: u32,
    is_quiet: bool,
    /// The error of the previous attempt.
    last: Option<sqlx::Error>,
}

impl<'p> Tries<'p> {
    pub(super) fn new(pool: &'p Pool, limit: Duration, kind: Kind, turn: Turn<'p>) -> Self {
        Self {
            pool,
            deadline: Instant::now() + limit,
            limit,
            kind,
            turn,
            failed: 0,
            broken: 0,
            demoted: 0,
            is_quiet: false,
            last: None,
        }
    }

    /// Returns a connection as soon as one is free.
    pub(super) async fn lease(&self) -> Result<Lease<'p>, Failure> {
        self.limit(self.pool.lease(self.kind, self.turn)).await
    }

    /// Returns the result of `work`, or a timeout after the deadline.
    pub(super) async fn limit<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout_at(self.deadline, work).await.unwrap_or(Err(Failure::TimedOut(self.limit)))
    }

    /// Waits and returns `Ok` if `failure` is temporary. Otherwise returns the error.
    pub(super) async fn again(&mut self, failure: Failure) -> Result<(), StoreError> {
        let error = match failure {
            Failure::Store(error) => return Err(error),
            Failure::Engine(error) => error,
            Failure::TimedOut(limit) => {
                // The error of the previous attempt is more informative than the timeout of the last one.
                let reason = self.last.take().map(|error| self.pool.explain(error));
                let reason = reason.unwrap_or(PostgresError::TimedOut(limit));
                return Err(StoreError::unavailable(reason));
            }
        };
        // A connection that broke or leads to a demoted server is closed. The pool may hold more such
        // connections, so those are tried without a pause.
        let soon = |failures| {
            if self.pool.has_idle() { Duration::ZERO } else { backoff(failures) }
        };
        let (passes, pause) = if is_demoted(&error) {
            // The server did nothing. A new connection may reach the new primary a little later.
            self.demoted = self.demoted.saturating_add(1);
            (true, soon(self.demoted))
        } else if is_broken_connection(&error) {
            // The outcome of a write is unknown, so only reads are repeated. After as many failed reads as
            // the pool has connections, the broken connection was a new one.
            self.broken += 1;
            let passes = self.kind == Kind::Read && self.broken <= self.pool.max_connections();
            (passes, soon(self.broken))
        } else if is_queue_full(&error) && !self.is_quiet {
            // Nothing was done. The write is repeated without a notice: a client that fills the queue must
            // not keep others from revoking a key.
            self.is_quiet = true;
            self.pool.be_quiet();
            (true, Duration::ZERO)
        } else {
            self.failed += 1;
            let passes = is_serialization_failure(&error) && self.failed < MAX_TRIES;
            (passes, backoff(self.failed))
        };
        if !passes || Instant::now() + pause >= self.deadline {
            return Err(StoreError::unavailable(self.pool.explain(error)));
        }
        self.last = Some(error);
        sleep(pause).await;
        Ok(())
    }
}

/// Runs the block with a connection of a [`Pool`], as often as [`Tries`] allows.
macro_rules! attempt {
    ($kind:ident, $limit:expr, $pool:expr, $connection:ident => $work:block) => {
        $crate::store::postgres::run::attempt!(
            $kind in $crate::store::postgres::pool::Turn::Any,
            $limit, $pool, $connection => $work
        )
    };
    ($kind:ident in $turn:expr, $limit:expr, $pool:expr, $connection:ident => $work:block) => {
        $crate::store::postgres::run::attempt!(
            ($crate::store::postgres::run::Kind::$kind) in $turn, $limit, $pool, $connection => $work
        )
    };
    (($kind:expr) in $turn:expr, $limit:expr, $pool:expr, $connection:ident => $work:block) => {{
        let mut tries = $crate::store::postgres::run::Tries::new(
            $pool,
            $limit,
            $kind,
            $turn,
        );
        loop {
            let result: Result<_, $crate::store::postgres::run::Failure> = match tries.lease().await
            {
                Ok(mut lease) => {
                    let work = async {
                        lease.begin().await?;
                        let done = {
                            let $connection = lease.connection();
                            async { $work }.await
                        };
                        lease.end(done).await
                    };
                    let result = tries.limit(work).await;
                    lease.settle(&result);
                    result
                }
                Err(failure) => Err(failure),
            };
            match result {
                Ok(done) => break Ok(done),
                Err(failure) => match tries.again(failure).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
            }
        }
    }};
}
pub(super) use attempt;

/// A condition that fails a statement on a server in recovery, and is true on a primary. A server in recovery
/// shows a past state, so no read of the primary may come from it. Each statement includes the check, because
/// a pooler or a virtual address can change the server at any time.
pub(super) const ON_PRIMARY: &str = "(SELECT CAST(CASE WHEN pg_catalog.pg_is_in_recovery() \
    THEN 'the server is in recovery' ELSE 'true' END AS pg_catalog.bool))";

/// Returns whether [`ON_PRIMARY`] has failed: `invalid_text_representation`, whose message contains the text.
/// A standby with `default_transaction_isolation=serializable` refuses every statement before it evaluates
/// the condition.
pub(super) fn is_in_recovery(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| match error.code().as_deref() {
        Some("22P02") => error.message().contains("the server is in recovery"),
        Some("0A000") => {
            let error = error.try_downcast_ref::<PgDatabaseError>();
            let routine = error.and_then(PgDatabaseError::routine);
            routine == Some("GetSerializableTransactionSnapshot")
        }
        _ => false,
    })
}

/// Returns whether the server is not a primary and therefore did nothing: it is in recovery, or refuses
/// writes (`read_only_sql_transaction`).
fn is_demoted(error: &sqlx::Error) -> bool {
    is_in_recovery(error) || code_is(error, |code| code == "25006")
}

/// Returns whether the session may not write, now and for a while: `insufficient_privilege` and
/// `read_only_sql_transaction`.
pub(super) fn is_forbidden(error: &sqlx::Error) -> bool {
    code_is(error, |code| matches!(code, "42501" | "25006"))
}

/// Returns whether the server has no room for another notice (`program_limit_exceeded`). The server keeps
/// each notice until every listening session has read it, whatever channel that session listens to.
fn is_queue_full(error: &sqlx::Error) -> bool {
    code_is(error, |code| code == "54000")
}

/// Returns whether the server has rolled the transaction back and asks for another attempt:
/// `serialization_failure` and `deadlock_detected`.
fn is_serialization_failure(error: &sqlx::Error) -> bool {
    code_is(error, |code| matches!(code, "40001" | "40P01"))
}

/// Returns whether the connection is broken, or its server is shutting down or starting.
fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now, and the connection exceptions.
        error => code_is(error, |code| {
            matches!(code, "57P01" | "57P02" | "57P03") || code.starts_with("08")
        }),
    }
}

fn code_is(error: &sqlx::Error, is: impl FnOnce(&str) -> bool) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| is(&code))
}

/// How often nodes that start at once may get in each other's way.
const MAX_RACES: u32 = 10;

/// Prepares tables within `limit`, and again after an error that comes from nodes that start at once.
pub(super) async fn prepare<T, F>(
    limit: Duration,
    mut prepare: impl FnMut() -> F,
) -> Result<T, PostgresError>
where
    F: Future<Output = Result<T, PostgresError>>,
{
    let mut races = 0;
    loop {
        let prepared = timeout(limit, prepare()).await;
        match prepared.unwrap_or(Err(PostgresError::TimedOut(limit))) {
            Err(error) if schema::is_race(&error) && races < MAX_RACES => {
                races += 1;
                sleep(backoff(races)).await;
            }
            prepared => return prepared,
        }
    }
}

/// Returns the pause before the next attempt. It doubles each time, up to one second, minus up to half of it
/// at random. The random part makes operations that conflicted retry at different times.
pub(super) fn backoff(tries: u32) -> Duration {
    let longest = 5_u64.saturating_mul(1 << tries.min(8)).min(1_000);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}
