//! A table of audit events in the database of the keys.

mod queue;

use alloc::sync::Arc;
use core::{fmt, time::Duration};

pub(super) use self::queue::{AuditRow, Queue};
use super::StoreError;
#[cfg(feature = "postgres")]
use super::postgres::audit::PostgresAudit;
#[cfg(feature = "sqlite")]
use super::sqlite::audit::SqliteAudit;
use crate::{
    audit::{AuditEvent, AuditSink},
    time::{Clock as _, SystemClock},
};
#[cfg(feature = "console")]
use crate::{record::TenantId, token::KeyId};

/// Keeps audit events in a table beside the keys, where they outlast restarts. Clones share one queue.
///
/// `SqliteStore::audit_table` and `PostgresStore::audit_table` open one. It is a sink for
/// [`KeyringBuilder::audit`](crate::keyring::KeyringBuilder::audit), and with the feature `console` a history for
/// `Console::audit_trail`. Events are only ever added, and [`prune`](Self::prune) is the only deletion.
///
/// # Writes
///
/// A request never waits for the table. [`record`](AuditSink::record) puts the event into a queue in memory. A
/// writer in the background empties it, with up to 500 events in one transaction. A write for each event would
/// let a flood of refused requests compete with the changes of keys for the database. The price is that a crash
/// loses the events of the last moment: call [`flush`](Self::flush) before the service stops.
///
/// While the database does not respond, up to 10,000 events wait. They are tried again with the next event and
/// with each [`flush`](Self::flush), and none is written twice. Further events are lost. Their number is in
/// [`lost`](Self::lost), and the table gets one event `events_lost` with it afterwards. With the feature `tracing`
/// the first of them is an error with the target `keyway::audit`.
///
/// # Events
///
/// Requests that prove nothing are left out, since anyone could fill the table with them: those of
/// [`Noise`](crate::audit::Noise) and their numbers. Of the refused requests of one key, each process writes the
/// first ten in a minute. One event `suppressed` has the number of the others.
///
/// The events of a key, a tenant or both stay when these are deleted, until they are pruned.
#[derive(Clone)]
pub struct AuditTable(Arc<Inner>);

struct Inner {
    engine: Engine,
    queue: Arc<Queue>,
}

enum Engine {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteAudit),
    #[cfg(feature = "postgres")]
    Postgres(Arc<PostgresAudit>),
}

/// Does the same with either engine.
macro_rules! with_engine {
    ($table:expr, $engine:ident => $work:expr) => {
        match &$table.0.engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite($engine) => $work,
            #[cfg(feature = "postgres")]
            Engine::Postgres($engine) => $work,
        }
    };
}

impl AuditTable {
    /// How many rows one deletion takes at most.
    pub(super) const PORTION: usize = 2_000;

    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite(engine: SqliteAudit) -> Self {
        Self::new(Engine::Sqlite(engine))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(engine: PostgresAudit) -> Self {
        Self::new(Engine::Postgres(Arc::new(engine)))
    }

    fn new(engine: Engine) -> Self {
        Self(Arc::new(Inner { engine, queue: Arc::default() }))
    }

    /// Writes all events that were recorded before the call.
    ///
    /// Call it every minute beside [`Keyring::flush_uses`](crate::keyring::Keyring::flush_uses), so that events
    /// which could not be written are tried again, and before the service stops.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. The events stay in the queue then.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.queue.report_suppressed();
        self.write().await
    }

    async fn write(&self) -> Result<(), StoreError> {
        with_engine!(self, engine => engine.write(&self.0.queue).await)
    }

    /// Returns how many events this process could not write since the table was opened, because too many
    /// waited.
    pub fn lost(&self) -> u64 {
        self.0.queue.lost()
    }

    /// Deletes the events that are older than `max_age` by the system's clock, and of each key all but its newest
    /// `max_of_key` events. Returns how many were deleted.
    ///
    /// Call it once a day, for example. `Duration::MAX` and `u32::MAX` keep everything. The deletion takes effect
    /// in portions, so that other writes get through in between.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. The portions before it stay deleted.
    pub async fn prune(&self, max_age: Duration, max_of_key: u32) -> Result<u64, StoreError> {
        let before = SystemClock.moment().now.saturating_sub(max_age);
        let old = self.prune_before(queue::first_number(before.as_millis())).await?;
        let many = if max_of_key == u32::MAX { 0 } else { self.prune_keys(max_of_key).await? };
        Ok(old + many)
    }

    async fn prune_before(&self, number: i64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let portion = with_engine!(self, engine => engine.delete_before(number).await)?;
            deleted += portion;
            if portion < Self::PORTION as u64 {
                return Ok(deleted);
            }
        }
    }

    async fn prune_keys(&self, max: u32) -> Result<u64, StoreError> {
        let (mut deleted, mut after) = (0, [0; 16]);
        loop {
            let keys = with_engine!(self, engine => engine.count_by_key(after).await)?;
            let Some((last, _)) = keys.last() else { return Ok(deleted) };
            after = *last;
            for (key, _) in keys.into_iter().filter(|(_, held)| *held > max.into()) {
                deleted += with_engine!(self, engine => engine.delete_of_key(key, max).await)?;
            }
        }
    }

    /// Returns the newest `limit` events of `key`, the newest first, and whether these are all there were.
    #[cfg(feature = "console")]
    pub(crate) async fn stored_events(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> Result<(alloc::vec::Vec<StoredEvent>, bool), StoreError> {
        // An administrator who has just changed the key sees the change. An older history is better than none.
        let _ = self.write().await;
        let limit = super::sql::limit(limit);
        with_engine!(self, engine => engine.of_key(tenant, key, limit).await)
    }
}

impl AuditSink for AuditTable {
    fn record(&self, event: &AuditEvent<'_>) {
        let pushed = self.0.queue.push(event);
        #[cfg(feature = "tracing")]
        if pushed.begins_to_lose {
            tracing::error!(target: "keyway::audit", kind = "events_lost");
        }
        if pushed.calls_writer {
            with_engine!(self, engine => engine.write_later(&self.0.queue));
        }
    }
}

impl fmt::Debug for AuditTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditTable").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

/// An event as the table has it.
#[cfg(feature = "console")]
#[derive(Debug)]
pub(crate) struct StoredEvent {
    /// In milliseconds.
    pub(crate) at: i64,
    pub(crate) actor: alloc::vec::Vec<u8>,
    pub(crate) kind: alloc::string::String,
    pub(crate) detail: alloc::vec::Vec<u8>,
    /// The place in the order of events.
    pub(super) number: i64,
}
