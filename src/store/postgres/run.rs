//! Doing an operation within its time limit, and again where the server asks for that.

use core::{future::Future, time::Duration};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::{Instant, sleep, timeout_at};

use super::PostgresError;
use crate::store::StoreError;

/// How often an operation is tried.
const MAX_TRIES: u32 = 8;

/// Why an operation did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store has the answer, and it is no.
    Store(StoreError),
    /// The server, or the way to it, is the trouble.
    Engine(sqlx::Error),
    /// There was no answer within the time limit.
    TimedOut(Duration),
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

/// Whether trying again is safe when the connection breaks: it is for what reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// The tries of one operation.
pub(super) struct Tries {
    deadline: Instant,
    limit: Duration,
    kind: Kind,
    failed: u32,
}

impl Tries {
    pub(super) fn new(limit: Duration, kind: Kind) -> Self {
        Self { deadline: Instant::now() + limit, limit, kind, failed: 0 }
    }

    /// A connection, as soon as one is free.
    pub(super) async fn acquire(&self, pool: &PgPool) -> Result<Lease, Failure> {
        match timeout_at(self.deadline, pool.acquire()).await {
            Ok(connection) => Ok(Lease { connection: connection?, is_settled: false }),
            Err(_) => Err(Failure::TimedOut(self.limit)),
        }
    }

    /// What `work` gives, if it does so in time.
    pub(super) async fn limit<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout_at(self.deadline, work).await.unwrap_or(Err(Failure::TimedOut(self.limit)))
    }

    /// Waits if `failure` is one that passes, and else ends with it.
    pub(super) async fn again(&mut self, failure: Failure) -> Result<(), StoreError> {
        let error = match failure {
            Failure::Store(error) => return Err(error),
            Failure::Engine(error) => error,
            Failure::TimedOut(limit) => {
                return Err(StoreError::unavailable(PostgresError::TimedOut(limit)));
            }
        };
        self.failed += 1;
        let pause = backoff(self.failed);
        // A pool may hand out one connection that has broken since it was last used.
        let passes = is_serialization_failure(&error) && self.failed < MAX_TRIES
            || is_broken_connection(&error) && self.failed == 1 && self.kind == Kind::Read;
        if !passes || Instant::now() + pause >= self.deadline {
            return Err(StoreError::unavailable(error));
        }
        sleep(pause).await;
        Ok(())
    }
}

/// A connection that is closed instead of used again unless its last operation came to an end:
/// nobody knows what still happens on it.
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    is_settled: bool,
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(super) fn settle<T>(&mut self, result: &Result<T, Failure>) {
        self.is_settled = match result {
            Ok(_) | Err(Failure::Store(_)) => true,
            Err(Failure::Engine(error)) => error.as_database_error().is_some(),
            Err(Failure::TimedOut(_)) => false,
        };
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_settled {
            self.connection.close_on_drop();
        }
    }
}

/// Does the block with a connection, for a [`PostgresStore`](super::PostgresStore)'s pool, as often as
/// [`Tries`] says.
macro_rules! attempt {
    ($kind:ident, $limit:expr, $pool:expr, $connection:ident => $work:block) => {{
        let mut tries = $crate::store::postgres::run::Tries::new(
            $limit,
            $crate::store::postgres::run::Kind::$kind,
        );
        loop {
            let result: Result<_, $crate::store::postgres::run::Failure> =
                match tries.acquire($pool).await {
                    Ok(mut lease) => {
                        let result = {
                            let $connection = lease.connection();
                            tries.limit(async { $work }).await
                        };
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

/// The server has rolled the transaction back and asks for another try: `serialization_failure` and
/// `deadlock_detected`.
fn is_serialization_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// The connection is gone, or is to a server that is about to be.
fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now, and the connection exceptions.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            matches!(&*code, "57P01" | "57P02" | "57P03") || code.starts_with("08")
        }),
        _ => false,
    }
}

/// The pause before the next try: twice as long each time, up to a second, less up to a half of it at
/// random, so that those who were in each other's way come back at different times.
pub(super) fn backoff(tries: u32) -> Duration {
    let longest = 5_u64.saturating_mul(1 << tries.min(8)).min(1_000);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}
