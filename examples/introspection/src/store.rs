//! A store in memory that can be away, as a database can.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord, MemoryStore, TenantId, Timestamp,
    event::Event,
    record::TenantRecord,
    store::{KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices, Rows, StoreError, StoredKey},
};

/// A store whose calls fail while it is away. Clones share everything.
#[derive(Clone, Default)]
pub struct Database {
    store: MemoryStore,
    is_away: Arc<AtomicBool>,
}

impl Database {
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, SeqCst);
    }

    fn reach(&self) -> Result<&MemoryStore, StoreError> {
        if self.is_away.load(SeqCst) {
            return Err(StoreError::unavailable("the database does not respond"));
        }
        Ok(&self.store)
    }
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(
            async fn $name(&self, $($argument: $type),*) -> Result<$output, StoreError> {
                self.reach()?.$name($($argument),*).await
            }
        )*
    };
}

impl KeyLookup for Database {
    calls! {
        lookup(id: KeyId) -> Option<StoredKey>;
        lookup_many(ids: &[KeyId]) -> Lookups;
        marker() -> Option<Vec<u8>>;
    }

    fn max_lag(&self) -> Duration {
        self.store.max_lag()
    }
}

impl KeyStore for Database {
    calls! {
        insert_tenant(tenant: TenantRecord, first_key: Option<KeyRecord>, events: &[Event]) -> ();
        tenant(id: &TenantId) -> Option<TenantRecord>;
        tenants(after: Option<&TenantId>, limit: NonZeroUsize) -> Rows<TenantRecord>;
        update_tenant(tenant: TenantRecord, replaces: u64, events: &[Event]) -> ();
        delete_tenant(id: &TenantId, events: &[Event]) -> ();
        insert_key(key: KeyRecord, tenant_version: u64, max_keys: Option<u32>, events: &[Event]) -> ();
        key(tenant: &TenantId, id: KeyId) -> Option<KeyRecord>;
        keys(tenant: &TenantId, query: &KeyQuery) -> Rows<KeyRecord>;
        count_keys(tenant: &TenantId, up_to: u32) -> u32;
        update_key(key: KeyRecord, replaces: u64, events: &[Event]) -> ();
        delete_key(tenant: &TenantId, id: KeyId, replaces: Option<u64>, events: &[Event]) -> ();
        record_uses(uses: &[KeyUse], latest: Timestamp) -> ();
        set_marker(marker: &[u8], replaces: Option<&[u8]>) -> ();
    }

    fn announce_with(&self, notices: &Notices) {
        self.store.announce_with(notices);
    }
}
