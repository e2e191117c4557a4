//! News of changes, by `LISTEN` and `NOTIFY`.

use core::time::Duration;

use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use super::{PostgresStore, run::backoff};
use crate::{
    record::TenantId,
    store::{Change, ChangeFeed},
    token::KeyId,
};

/// Tells what other nodes change in a [`PostgresStore`], made by [`PostgresStore::feed`].
///
/// It listens on one connection, tries it once a second, and connects again when it is cut. Each time
/// it says [`Change::Gap`] twice: when it finds out, and when it listens again.
#[derive(Debug)]
pub struct PostgresFeed {
    store: PostgresStore,
    listener: Option<PgListener>,
    failures: u32,
}

/// How often the connection is tried while nothing comes.
const BEAT: Duration = Duration::from_secs(1);

impl PostgresFeed {
    pub(super) fn new(store: PostgresStore) -> Self {
        Self { store, listener: None, failures: 0 }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        // A pool of its own, so that a connection that hangs takes none from those who verify; and
        // with the options that the other pool has by now, which may have followed a failover.
        let options = (*self.store.0.pool.connect_options()).clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(&self.store.0.schema.channel()).await?;
        Ok(listener)
    }

    /// Waits for a change on the connection. Without one it is cut.
    async fn receive(&self, listener: &mut PgListener) -> Option<Change> {
        loop {
            match timeout(BEAT, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => {
                    return Some(parse(notification.payload()).unwrap_or(Change::Gap));
                }
                Ok(Ok(None) | Err(_)) => return None,
                // Nothing came, or nothing comes through.
                Err(_) => {
                    let beat = listener.execute(sqlx::query(&self.store.0.statements.beat));
                    timeout(self.store.0.time_limit.min(BEAT), beat).await.ok()?.ok()?;
                }
            }
        }
    }
}

impl ChangeFeed for PostgresFeed {
    async fn next(&mut self) -> Option<Change> {
        if let Some(mut listener) = self.listener.take() {
            if let Some(change) = self.receive(&mut listener).await {
                self.listener = Some(listener);
                return Some(change);
            }
            return Some(Change::Gap);
        }
        loop {
            if let Ok(Ok(listener)) = timeout(self.store.0.time_limit, self.listen()).await {
                self.listener = Some(listener);
                self.failures = 0;
                return Some(Change::Gap);
            }
            self.failures = self.failures.saturating_add(1);
            sleep(backoff(self.failures)).await;
        }
    }
}

/// What a payload says: a letter for the kind, and the bytes of the id in hex.
fn parse(payload: &str) -> Option<Change> {
    let (kind, hex) = payload.split_at_checked(1)?;
    let mut id = alloc::vec::Vec::with_capacity(hex.len() / 2);
    for pair in hex.as_bytes().chunks(2) {
        id.push(u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?);
    }
    match kind {
        "k" => Some(Change::Key(KeyId::from_bytes(id.try_into().ok()?)?)),
        "t" => Some(Change::Tenant(TenantId::try_from(core::str::from_utf8(&id).ok()?).ok()?)),
        _ => None,
    }
}
