//! Stores with one planted fault. The tests must catch them.

use std::{future::Future, sync::Arc, time::Duration};

use keyway::{
    KeyRecord,
    event::Event,
    store::{AnyEventStore, EventStore as _, KeyStore, StoreError},
};
use tokio::{sync::Mutex, time::sleep};

use crate::support::wrapped_store::{Call, Faults, Wrapped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Counts the keys of a tenant first, and adds a key later.
    CountsBeforehand,
    /// Replaces a record of any version.
    IgnoresVersions,
    /// Acknowledges a write, and does it a moment later.
    WritesBehind,
    /// Writes events a moment after their changes.
    WritesEventsBehind,
}

impl Fault {
    const ALL: [Self; 4] = [
        Self::CountsBeforehand,
        Self::IgnoresVersions,
        Self::WritesBehind,
        Self::WritesEventsBehind,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    }

    /// Returns the store with this fault.
    pub fn planted_in(self, store: AnyEventStore) -> AnyEventStore {
        AnyEventStore::new(Wrapped::new(
            store.clone(),
            WrongWrites { fault: self, store, behind: Arc::default() },
        ))
    }
}

struct WrongWrites {
    fault: Fault,
    store: AnyEventStore,
    /// Held while a write is pending. Reads wait for it, so that this process does not notice the delay.
    behind: Arc<Mutex<()>>,
}

impl Faults for WrongWrites {
    async fn read<T: Clone + Send + 'static>(
        &self,
        _: Call,
        _nothing: T,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        drop(self.behind.lock().await);
        read.await
    }

    async fn write(
        &self,
        _: Call,
        write: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        let held = Arc::clone(&self.behind).lock_owned().await;
        if self.fault != Fault::WritesBehind {
            drop(held);
            return write.await;
        }
        tokio::spawn(async move {
            sleep(Duration::from_millis(3)).await;
            let _ = write.await;
            drop(held);
        });
        Ok(())
    }

    fn events(&self, events: &[Event]) -> Vec<Event> {
        let events = events.to_vec();
        if self.fault != Fault::WritesEventsBehind {
            return events;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(3)).await;
            let _ = store.add_events(&events).await;
        });
        Vec::new()
    }

    async fn limit(
        &self,
        store: &impl KeyStore,
        key: &KeyRecord,
        max_keys: Option<u32>,
    ) -> Result<Option<u32>, StoreError> {
        // A store that acknowledges before it writes must also check the quota before it writes.
        if !matches!(self.fault, Fault::IgnoresVersions | Fault::WritesEventsBehind) {
            let max = max_keys.unwrap_or(u32::MAX);
            drop(self.behind.lock().await);
            if store.count_keys(key.tenant(), max).await? >= max {
                return Err(StoreError::QuotaFull);
            }
        }
        Ok(max_keys.filter(|_| self.fault != Fault::CountsBeforehand))
    }

    async fn replaced(
        &self,
        store: &impl KeyStore,
        key: &KeyRecord,
        replaces: u64,
    ) -> Result<u64, StoreError> {
        if self.fault != Fault::IgnoresVersions {
            return Ok(replaces);
        }
        let stored = store.key(key.tenant(), key.id()).await?;
        Ok(stored.ok_or(StoreError::NotFound)?.version())
    }
}
