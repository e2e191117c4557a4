//! An application's own store: `cargo run -p custom-store`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord, Keyring, NewKey, Pepper, Policy, TenantId, Timestamp,
    event::Event,
    grant::Resources,
    record::TenantRecord,
    store::{
        KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices, Rows, StoreError,
        StoredKey, lookup_each,
    },
};

type Answer<T> = Result<T, StoreError>;

/// One lock stands in for the transactions of a real database: every method is one transaction.
#[derive(Default)]
pub(crate) struct TableStore(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    tenants: BTreeMap<TenantId, TenantRecord>,
    /// `None` is a deleted key. Its id is never accepted again.
    keys: BTreeMap<KeyId, Option<KeyRecord>>,
    marker: Option<Vec<u8>>,
}

impl TableStore {
    fn begin(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn key(&mut self, tenant: &TenantId, id: KeyId) -> Answer<&mut KeyRecord> {
        let key = self.keys.get_mut(&id).and_then(Option::as_mut);
        key.filter(|key| key.tenant() == tenant).ok_or(StoreError::NotFound)
    }

    /// Returns the tenant's keys in list order. A real database has an index for this.
    fn keys_of(&self, tenant: &TenantId) -> Vec<&KeyRecord> {
        let mut keys: Vec<_> = self.keys.values().flatten().collect();
        keys.retain(|key| key.tenant() == tenant);
        keys.sort_by_key(|key| KeyCursor::of(key));
        keys
    }

    /// Counts the tenant's keys. A real database stops counting at the limit.
    fn count(&self, tenant: &TenantId, up_to: u32) -> u32 {
        u32::try_from(self.keys_of(tenant).len()).unwrap_or(u32::MAX).min(up_to)
    }

    fn insert_key(&mut self, key: KeyRecord) -> Answer<()> {
        match self.keys.entry(key.id()) {
            Entry::Occupied(_) => return Err(StoreError::Exists),
            Entry::Vacant(place) => place.insert(Some(key)),
        };
        Ok(())
    }
}

fn check_version(stored: u64, named: u64) -> Answer<()> {
    if stored == named { Ok(()) } else { Err(StoreError::Conflict) }
}

impl KeyLookup for TableStore {
    async fn lookup(&self, id: KeyId) -> Answer<Option<StoredKey>> {
        let tables = self.begin();
        let key = tables.keys.get(&id).cloned().flatten();
        let tenant = key.as_ref().and_then(|key| tables.tenants.get(key.tenant())).cloned();
        Ok(key.zip(tenant).map(|(key, tenant)| StoredKey { key, tenant }))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Answer<Lookups> {
        lookup_each(self, ids).await
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Answer<Option<Vec<u8>>> {
        Ok(self.begin().marker.clone())
    }
}

impl KeyStore for TableStore {
    /// Does nothing: this store has no feed, so no node could receive an announcement.
    fn announce_with(&self, _: &Notices) {}

    async fn insert_tenant(
        &self,
        new: TenantRecord,
        first: Option<KeyRecord>,
        _: &[Event],
    ) -> Answer<()> {
        let mut tables = self.begin();
        if tables.tenants.contains_key(new.id()) {
            return Err(StoreError::Exists);
        }
        first.map_or(Ok(()), |key| tables.insert_key(key))?;
        tables.tenants.insert(new.id().clone(), new);
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Answer<Option<TenantRecord>> {
        Ok(self.begin().tenants.get(id).cloned())
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        max: NonZeroUsize,
    ) -> Answer<Rows<TenantRecord>> {
        let behind = |tenant: &&TenantRecord| after.is_none_or(|after| tenant.id() > after);
        Ok(self.begin().tenants.values().filter(behind).take(max.get()).cloned().map(Ok).collect())
    }

    async fn update_tenant(&self, new: TenantRecord, replaces: u64, _: &[Event]) -> Answer<()> {
        let mut tables = self.begin();
        let stored = tables.tenants.get_mut(new.id()).ok_or(StoreError::NotFound)?;
        check_version(stored.version(), replaces)?;
        *stored = new;
        Ok(())
    }

    async fn delete_tenant(&self, id: &TenantId, _: &[Event]) -> Answer<()> {
        let mut tables = self.begin();
        tables.tenants.remove(id).ok_or(StoreError::NotFound)?;
        for key in tables.keys.values_mut() {
            key.take_if(|key| key.tenant() == id);
        }
        Ok(())
    }

    async fn insert_key(
        &self,
        new: KeyRecord,
        version: u64,
        max_keys: Option<u32>,
        _: &[Event],
    ) -> Answer<()> {
        let mut tables = self.begin();
        let tenant = tables.tenants.get(new.tenant()).ok_or(StoreError::NotFound)?;
        check_version(tenant.version(), version)?;
        match max_keys {
            Some(max) if tables.count(new.tenant(), max) >= max => Err(StoreError::QuotaFull),
            _ => tables.insert_key(new),
        }
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Answer<Option<KeyRecord>> {
        Ok(self.begin().key(tenant, id).ok().cloned())
    }

    async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Answer<Rows<KeyRecord>> {
        let tables = self.begin();
        let keys = tables.keys_of(tenant).into_iter().filter(|key| query.matches(key));
        Ok(keys.take(query.max().get()).cloned().map(Ok).collect())
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Answer<u32> {
        Ok(self.begin().count(tenant, up_to))
    }

    async fn update_key(&self, new: KeyRecord, replaces: u64, _: &[Event]) -> Answer<()> {
        let mut tables = self.begin();
        let stored = tables.key(new.tenant(), new.id())?;
        check_version(stored.version(), replaces)?;
        *stored = new.with_last_used(stored.last_used());
        Ok(())
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        _: &[Event],
    ) -> Answer<()> {
        let mut tables = self.begin();
        let stored = tables.key(tenant, id)?.version();
        check_version(stored, replaces.unwrap_or(stored))?;
        tables.keys.insert(id, None);
        Ok(())
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Answer<()> {
        let mut tables = self.begin();
        for KeyUse { id, at } in uses {
            if let Some(Some(key)) = tables.keys.get_mut(id) {
                // A time after `latest` was written by a wrong clock.
                let stored = key.last_used().filter(|stored| *stored <= latest);
                *key = key.clone().with_last_used(stored.max(Some(*at)));
            }
        }
        Ok(())
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Answer<()> {
        let mut tables = self.begin();
        if tables.marker.as_deref() != replaces {
            return Err(StoreError::Conflict);
        }
        tables.marker = Some(marker.to_vec());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
    let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
        .environment("test")
        .store(TableStore::default())
        .build()?;
    pollster::block_on(async {
        // The limits of a key are in its record, so a store does nothing for them.
        let first = NewKey::named("Dashboard")
            .scopes(["reporting"])
            .resources("machine", Resources::only(["mill-1"])?);
        let (acme, issued) = keyring.create_tenant_with("acme", "lite", first).await?;
        let caller = keyring.verify(&*issued.token.reveal()).await?;
        println!("{} of {} was verified", caller.name(), caller.tenant());
        let machine = keyring.policy().catalog().resource("machine")?;
        println!("it may touch: {}", caller.resources(&machine).contains("mill-1"));
        if let Err(error) = acme.issue(NewKey::named("One more")).await {
            println!("second key: {error}");
        }
        Ok(())
    })
}
