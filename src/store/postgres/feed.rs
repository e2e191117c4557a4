//! News of changes, by `LISTEN` and `NOTIFY`.

use core::time::Duration;

use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{PostgresStore, run::backoff};
use crate::{
    record::TenantId,
    store::{Change, ChangeFeed},
    token::KeyId,
};

/// Tells what other nodes change in a [`PostgresStore`], made by [`PostgresStore::feed`].
///
/// It listens on one connection of its own, tries it once a second, and connects again when it is
/// cut. Each time that it begins to listen it says [`Change::Gap`].
#[derive(Debug)]
pub struct PostgresFeed {
    store: PostgresStore,
    listener: Option<Listener>,
    failures: u32,
}

#[derive(Debug)]
struct Listener {
    connection: PgListener,
    next_beat: Instant,
}

/// How often the connection is tried, and the clock set that tells replicas how far behind they are.
const BEAT: Duration = Duration::from_secs(1);

impl PostgresFeed {
    pub(super) fn new(store: PostgresStore) -> Self {
        Self { store, listener: None, failures: 0 }
    }

    async fn listen(&self) -> Result<Listener, sqlx::Error> {
        // A pool of its own, so that a connection that hangs takes none from those who verify; and
        // with the options that the other pool has by now, which may have followed a failover.
        let options = (*self.store.0.pool.connect_options()).clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        let mut connection = PgListener::connect_with(&pool).await?;
        connection.eager_reconnect(false);
        connection.listen(&self.store.0.schema.channel()).await?;
        Ok(Listener { connection, next_beat: Instant::now() })
    }

    /// Waits for a change on the connection. Without one it is cut.
    async fn receive(&self, listener: &mut Listener) -> Option<Change> {
        loop {
            let received = timeout_at(listener.next_beat, listener.connection.try_recv());
            match received.await {
                Ok(Ok(Some(notification))) => {
                    return Some(parse(notification.payload()).unwrap_or(Change::Gap));
                }
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) => {
                    let beat = sqlx::query(&self.store.0.statements.beat);
                    let beat = listener.connection.execute(beat);
                    timeout(self.store.0.time_limit.min(BEAT), beat).await.ok()?.ok()?;
                    listener.next_beat = Instant::now() + BEAT;
                }
            }
        }
    }
}

impl ChangeFeed for PostgresFeed {
    async fn next(&mut self) -> Option<Change> {
        if let Some(mut listener) = self.listener.take()
            && let Some(change) = self.receive(&mut listener).await
        {
            self.listener = Some(listener);
            return Some(change);
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
