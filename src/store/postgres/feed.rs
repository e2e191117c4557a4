//! The change feed, by `LISTEN` and `NOTIFY`.
//!
//! PostgreSQL delivers notifications in the order of their commits (the manual, "NOTIFY"). So when a text that
//! this feed has sent to itself comes back, every notice of an earlier commit has come before it.

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use sqlx::{
    AssertSqlSafe, Executor, Row,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{
    Inner, PostgresStore,
    run::{backoff, is_forbidden},
    statements::Statements,
};
use crate::{
    store::{Change, ChangeFeed, Follower},
    time::Moment,
};

/// Delivers the changes that other nodes make in a [`PostgresStore`]. Created by [`PostgresStore::feed`].
///
/// The feed listens on its own connection, and reconnects when the connection breaks. Each time it begins to
/// listen it returns [`Change::Gap`]. It proves about once a second that it has delivered every change, with a
/// random text that it sends to itself. The only right that a proof needs is `SELECT`. After connections that break
/// soon one after another it waits at growing intervals, up to ten seconds.
///
/// Behind a pooler that serves each transaction with another connection, listening is impossible. The feed
/// then ends at once, unless the store has a [`feed_url`](super::PostgresBuilder::feed_url).
#[derive(Debug)]
pub struct PostgresFeed {
    store: PostgresStore,
    listener: Option<Listener>,
    /// The number of consecutive failures to connect.
    failures: u32,
    /// The number of consecutive connections that broke early.
    cuts: u32,
    /// The earliest time of the next connection attempt.
    resumes_at: Instant,
}

#[derive(Debug)]
struct Listener {
    connection: PgListener,
    since: Instant,
    next_beat: Instant,
    next_proof: Instant,
    /// The channel on which only this feed listens.
    own_channel: String,
    /// The proof under way: the text that was sent, and a moment before that.
    proof: Option<(String, Moment)>,
    /// The number of changes that were not announced.
    silent: Option<i64>,
    /// The earliest time at which the clock is set again. Until then a beat only tests the connection.
    next_write: Instant,
}

/// The interval at which the connection is tested and the clock is set. Replicas measure their lag by this
/// clock.
const BEAT: Duration = Duration::from_secs(1);
/// How long a session that may not write leaves the clock to other nodes.
const FORBIDDEN: Duration = Duration::from_secs(60);
/// How long a connection must last to count as healthy.
const LASTING: Duration = Duration::from_secs(10);

impl PostgresFeed {
    pub(super) fn new(store: PostgresStore) -> Self {
        Self { store, listener: None, failures: 0, cuts: 0, resumes_at: Instant::now() }
    }

    async fn listen(&self, follower: &Follower) -> Result<Listener, sqlx::Error> {
        // The feed has its own pool, so that a hanging connection takes none away from verification. It uses
        // the current options of the other pool, which may have changed after a failover.
        let inner = &self.store.0;
        let options = match &inner.feed {
            Some(options) => options.clone(),
            None => (*inner.pool.inner().connect_options()).clone(),
        };
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let mut connection = PgListener::connect_with(&pool).await?;
        connection.eager_reconnect(false);
        let own_channel = format!("keyway.feed.{}", nonce()?);
        connection.listen_all([&*inner.schema.channel(), &own_channel]).await?;
        // A beat that waits for a lock or a standby would look like a broken connection. Caches would be
        // emptied, and the server would keep a session for each abandoned beat.
        let wait = (inner.time_limit.min(BEAT) / 3).as_millis().max(1);
        for setting in ["synchronous_commit = local".into(), format!("lock_timeout = {wait}")] {
            let set: String = format!("SET {setting}");
            match connection.execute(AssertSqlSafe(set)).await {
                // A database that does not know a setting works without it.
                Ok(_) | Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let now = Instant::now();
        let mut listener = Listener {
            connection,
            since: now,
            next_beat: now,
            next_proof: now,
            own_channel,
            proof: None,
            silent: None,
            next_write: now,
        };
        // From here on it is known which changes were not announced. The proof itself is not needed.
        listener.begin_proof(inner, follower.moment()).await.ok_or(sqlx::Error::WorkerCrashed)?;
        Ok(listener)
    }
}

impl Listener {
    /// Waits for an event on the connection. Returns `None` if the connection is broken.
    async fn receive(&mut self, inner: &Inner, follower: &Follower) -> Option<Change> {
        loop {
            let next = self.next_beat.min(self.next_proof);
            match timeout_at(next, self.connection.try_recv()).await {
                Ok(Ok(Some(notification))) if notification.channel() == self.own_channel => {
                    // Nobody else knows the text before it comes back. Any other text proves nothing.
                    let sent = self.proof.take_if(|(text, _)| *text == notification.payload());
                    if let Some((_, moment)) = sent {
                        return Some(Change::Proof(moment));
                    }
                }
                Ok(Ok(Some(notification))) => {
                    return Some(Change::Notice(notification.payload().into()));
                }
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) if Instant::now() >= self.next_proof => {
                    self.next_proof = Instant::now() + follower.proof_interval();
                    if self.begin_proof(inner, follower.moment()).await? {
                        return Some(Change::Gap);
                    }
                }
                Err(_) => {
                    self.next_beat = Instant::now() + BEAT;
                    self.beat(inner).await?;
                }
            }
        }
    }

    /// Begins a proof as of `moment`. Returns whether a change was not announced since the last proof, or
    /// `None` if the connection is broken.
    async fn begin_proof(&mut self, inner: &Inner, moment: Moment) -> Option<bool> {
        // A proof counts only once it is known that no change was silent, also if this future is dropped.
        self.proof = None;
        let text = nonce().ok()?;
        let query =
            sqlx::query(&inner.statements.prove).bind(self.own_channel.clone()).bind(&*text);
        let limit = inner.time_limit.min(BEAT);
        match timeout(limit, self.connection.fetch_optional(query)).await.ok()? {
            Ok(Some(row)) => {
                let silent = row.try_get(0).ok()?;
                let is_missed = self.silent.replace(silent) != Some(silent);
                if !is_missed {
                    // The text is in the buffer of the connection by now, and is read after the notices before it.
                    self.proof = Some((text, moment));
                }
                Some(is_missed)
            }
            // The server refused, has no room for notifications, or is no primary. The connection is whole,
            // and cached keys age until a proof succeeds.
            Ok(None) | Err(sqlx::Error::Database(_)) => Some(false),
            Err(_) => None,
        }
    }

    async fn set_clock(&mut self, inner: &Inner) -> Result<(), sqlx::Error> {
        let Statements { beat, first_beat, .. } = &inner.statements;
        let is_there: bool = self.connection.fetch_one(sqlx::query(beat)).await?.try_get(0)?;
        if !is_there {
            self.connection.execute(sqlx::query(first_beat)).await?;
        }
        Ok(())
    }

    /// Tests the connection and sets the clock of the replicas. Returns `None` if the server does not
    /// respond, which means that the connection is broken.
    async fn beat(&mut self, inner: &Inner) -> Option<()> {
        let limit = inner.time_limit.min(BEAT);
        if Instant::now() >= self.next_write {
            match timeout(limit, self.set_clock(inner)).await.ok()? {
                Ok(()) => return Some(()),
                // A refusal comes through the connection, so the connection is whole. Another node's
                // feed may be allowed to set the clock.
                Err(error) if is_forbidden(&error) => self.next_write = Instant::now() + FORBIDDEN,
                // Another transaction was in the way. The next beat sets the clock again; otherwise it would
                // stand still.
                Err(sqlx::Error::Database(_)) => {}
                Err(_) => return None,
            }
        }
        timeout(limit, self.connection.execute("SELECT 1")).await.ok()?.ok().map(drop)
    }
}

impl ChangeFeed for PostgresFeed {
    /// This future can be dropped and the method called again without losing a change.
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        loop {
            if let Some(listener) = &mut self.listener {
                if let Some(change) = listener.receive(&self.store.0, follower).await {
                    return Some(change);
                }
                let lasted = listener.since.elapsed() >= LASTING;
                self.cuts = if lasted { 0 } else { self.cuts.saturating_add(1) };
                self.resumes_at = Instant::now() + pause(self.cuts);
                self.listener = None;
            }
            if self.store.0.pool.is_pooled() && self.store.0.feed.is_none() {
                return None;
            }
            sleep_until(self.resumes_at).await;
            if let Ok(Ok(listener)) = timeout(self.store.0.time_limit, self.listen(follower)).await
            {
                self.listener = Some(listener);
                self.failures = 0;
                return Some(Change::Gap);
            }
            self.failures = self.failures.saturating_add(1);
            self.resumes_at = Instant::now() + backoff(self.failures);
        }
    }
}

/// Returns the pause after `cuts` consecutive connections that broke early. It is zero after a connection
/// that lasted, and otherwise 0.1 to 10 seconds. Each new connection empties caches, so connections must not
/// follow one another closely.
fn pause(cuts: u32) -> Duration {
    if cuts == 0 {
        return Duration::ZERO;
    }
    let longest = 100_u64.saturating_mul(1 << cuts.min(7)).min(10_000);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}

/// Returns a text that nobody can guess.
fn nonce() -> Result<String, sqlx::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
    Ok(u128::from_ne_bytes(bytes).to_string())
}
