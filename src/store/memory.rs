//! The reference store: the smallest one that keeps the whole contract.

mod events;
mod limits;
mod usage;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::{num::NonZeroUsize, ops::Bound, time::Duration};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use self::{events::EventTable, limits::LimitTable, usage::UsageTable};
use super::{
    KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Rows, StoreError, StoredKey,
};
use crate::{
    event::Event,
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// Keeps everything in memory and loses it when the process ends. Clones share one store.
///
/// Use it for tests and experiments, and as the model for your own stores. One lock makes every method
/// atomic.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    tenants: BTreeMap<TenantId, Tenant>,
    keys: HashMap<KeyId, KeyRecord, RandomState>,
    /// The ids of deleted keys. They must never be accepted again.
    deleted: HashSet<KeyId, RandomState>,
    marker: Option<Vec<u8>>,
    usage: UsageTable,
    limits: LimitTable,
    events: EventTable,
}

#[derive(Debug)]
struct Tenant {
    record: TenantRecord,
    /// The tenant's keys, in list order.
    keys: BTreeSet<KeyCursor>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No method panics between two changes, so the tables are consistent even if the lock is poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn lookup(&self, id: KeyId) -> Option<StoredKey> {
        let key = self.keys.get(&id)?;
        let tenant = self.tenants.get(&key.tenant)?.record.clone();
        Some(StoredKey { key: key.clone(), tenant })
    }

    fn check_new(&self, id: KeyId) -> Result<(), StoreError> {
        if self.keys.contains_key(&id) || self.deleted.contains(&id) {
            return Err(StoreError::Exists);
        }
        Ok(())
    }
}

impl KeyLookup for MemoryStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.tables().lookup(id))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        let tables = self.tables();
        Ok(ids.iter().map(|id| Ok(tables.lookup(*id))).collect())
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables().marker.clone())
    }
}

impl KeyStore for MemoryStore {
    /// Does nothing: this store has no feed, so no node could receive an announcement.
    fn announce_with(&self, _: &super::Notices) {}

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.tenants.contains_key(&tenant.id) {
            return Err(StoreError::Exists);
        }
        let mut keys = BTreeSet::new();
        if let Some(key) = first_key {
            tables.check_new(key.id)?;
            keys.insert(KeyCursor::of(&key));
            tables.keys.insert(key.id, key);
        }
        let id = tenant.id.clone();
        tables.tenants.insert(id, Tenant { record: tenant, keys });
        tables.events.add(events);
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        Ok(self.tables().tenants.get(id).map(|tenant| tenant.record.clone()))
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Rows<TenantRecord>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let behind = tables.tenants.range::<TenantId, _>((start, Bound::Unbounded));
        Ok(behind.map(|(_, tenant)| Ok(tenant.record.clone())).take(limit.get()).collect())
    }

    async fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let stored = tables.tenants.get_mut(&tenant.id).ok_or(StoreError::NotFound)?;
        if stored.record.version != replaces {
            return Err(StoreError::Conflict);
        }
        stored.record = tenant;
        tables.events.add(events);
        Ok(())
    }

    async fn delete_tenant(&self, id: &TenantId, events: &[Event]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let tenant = tables.tenants.remove(id).ok_or(StoreError::NotFound)?;
        for KeyCursor { id, .. } in tenant.keys {
            tables.keys.remove(&id);
            tables.deleted.insert(id);
        }
        tables.events.add(events);
        Ok(())
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: Option<u32>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let tenant = tables.tenants.get(&key.tenant).ok_or(StoreError::NotFound)?;
        if tenant.record.version != tenant_version {
            return Err(StoreError::Conflict);
        }
        // The id is checked before the quota. A repeated insert then returns `Exists`, even if the first one
        // used the last free place.
        tables.check_new(key.id)?;
        if max_keys.is_some_and(|max| count(&tenant.keys) >= max) {
            return Err(StoreError::QuotaFull);
        }
        if let Some(tenant) = tables.tenants.get_mut(&key.tenant) {
            tenant.keys.insert(KeyCursor::of(&key));
        }
        tables.keys.insert(key.id, key);
        tables.events.add(events);
        Ok(())
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.tables().keys.get(&id).filter(|key| key.tenant == *tenant).cloned())
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Rows<KeyRecord>, StoreError> {
        let tables = self.tables();
        let cursors = tables.tenants.get(tenant).map(|tenant| tenant.keys.iter());
        let keys = cursors.into_iter().flatten().filter_map(|cursor| tables.keys.get(&cursor.id));
        let matching = keys.filter(|key| query.matches(key));
        Ok(matching.take(query.max().get()).cloned().map(Ok).collect())
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Result<u32, StoreError> {
        Ok(self.tables().tenants.get(tenant).map_or(0, |tenant| count(&tenant.keys)).min(up_to))
    }

    async fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let stored = tables
            .keys
            .get_mut(&key.id)
            .filter(|stored| stored.tenant == key.tenant)
            .ok_or(StoreError::NotFound)?;
        if stored.version != replaces {
            return Err(StoreError::Conflict);
        }
        let last_used = stored.last_used();
        *stored = key.with_last_used(last_used);
        tables.events.add(events);
        Ok(())
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let key = tables.keys.get(&id).filter(|key| key.tenant == *tenant);
        let key = key.ok_or(StoreError::NotFound)?;
        if replaces.is_some_and(|version| version != key.version) {
            return Err(StoreError::Conflict);
        }
        let cursor = KeyCursor::of(key);
        if let Some(tenant) = tables.tenants.get_mut(tenant) {
            tenant.keys.remove(&cursor);
        }
        tables.keys.remove(&id);
        tables.deleted.insert(id);
        tables.events.add(events);
        Ok(())
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let mut batch = BTreeMap::new();
        for KeyUse { id, at } in uses {
            batch
                .entry(*id)
                .and_modify(|known: &mut Timestamp| *known = (*at).max(*known))
                .or_insert(*at);
        }
        for (id, at) in batch {
            if let Some(key) = tables.keys.get_mut(&id)
                && key.last_used().is_none_or(|stored| stored < at || stored > latest)
            {
                *key = key.clone().with_last_used(Some(at));
            }
        }
        Ok(())
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.marker.as_deref() != replaces {
            return Err(StoreError::Conflict);
        }
        tables.marker = Some(marker.to_vec());
        Ok(())
    }
}

fn count(keys: &BTreeSet<KeyCursor>) -> u32 {
    u32::try_from(keys.len()).unwrap_or(u32::MAX)
}
