//! A host's own store: `cargo run --release --example custom_store`.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use keyway::{
    authority::NewKey,
    keyring::Keyring,
    pepper::Pepper,
    policy::Policy,
    record::{KeyRecord, TenantId, TenantRecord},
    store::{KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey},
    token::KeyId,
};

type Answer<T> = Result<T, StoreError>;

/// One lock stands for the transaction of a real database: every method is one of them.
#[derive(Default)]
struct TableStore(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    tenants: BTreeMap<TenantId, TenantRecord>,
    /// By place, so that pages are in order.
    keys: BTreeMap<(TenantId, KeyCursor), KeyRecord>,
    /// The place of every key that ever was: an id is never used again.
    places: BTreeMap<KeyId, (TenantId, KeyCursor)>,
}

impl TableStore {
    fn begin(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn key(&mut self, tenant: &TenantId, id: KeyId) -> Answer<&mut KeyRecord> {
        let place = self.places.get(&id).filter(|(holder, _)| holder == tenant);
        place.and_then(|place| self.keys.get_mut(place)).ok_or(StoreError::NotFound)
    }

    fn keys_of(&self, tenant: &TenantId) -> impl Iterator<Item = &KeyRecord> {
        self.keys.values().filter(move |key| key.tenant() == tenant)
    }

    fn insert_key(&mut self, key: KeyRecord) -> Answer<()> {
        let place = (key.tenant().clone(), KeyCursor::of(&key));
        if self.places.contains_key(&key.id()) {
            return Err(StoreError::Exists);
        }
        self.places.insert(key.id(), place.clone());
        self.keys.insert(place, key);
        Ok(())
    }
}

impl KeyLookup for TableStore {
    async fn lookup(&self, id: KeyId) -> Answer<Option<StoredKey>> {
        let tables = self.begin();
        let key = tables.places.get(&id).and_then(|place| tables.keys.get(place)).cloned();
        let tenant = key.as_ref().and_then(|key| tables.tenants.get(key.tenant())).cloned();
        Ok(key.zip(tenant).map(|(key, tenant)| StoredKey { key, tenant }))
    }
}

impl KeyStore for TableStore {
    async fn insert_tenant(&self, new: TenantRecord, first: Option<KeyRecord>) -> Answer<()> {
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
        n: NonZeroUsize,
    ) -> Answer<Vec<TenantRecord>> {
        let behind = |tenant: &&TenantRecord| after.is_none_or(|after| tenant.id() > after);
        Ok(self.begin().tenants.values().filter(behind).take(n.get()).cloned().collect())
    }

    async fn update_tenant(&self, new: TenantRecord, replaces: u64) -> Answer<()> {
        let mut tables = self.begin();
        let stored = tables.tenants.get_mut(new.id()).ok_or(StoreError::NotFound)?;
        if stored.version() != replaces {
            return Err(StoreError::Conflict);
        }
        *stored = new;
        Ok(())
    }

    async fn delete_tenant(&self, id: &TenantId) -> Answer<()> {
        let mut tables = self.begin();
        tables.tenants.remove(id).ok_or(StoreError::NotFound)?;
        tables.keys.retain(|_, key| key.tenant() != id);
        Ok(())
    }

    async fn insert_key(&self, new: KeyRecord, version: u64, max: u32) -> Answer<()> {
        let mut tables = self.begin();
        let tenant = tables.tenants.get(new.tenant()).ok_or(StoreError::NotFound)?;
        if tenant.version() != version {
            return Err(StoreError::Conflict);
        }
        let held = u32::try_from(tables.keys_of(new.tenant()).count()).unwrap_or(u32::MAX);
        if held >= max {
            return Err(StoreError::QuotaFull { held });
        }
        tables.insert_key(new)
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Answer<Option<KeyRecord>> {
        Ok(self.begin().key(tenant, id).ok().cloned())
    }

    async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Answer<Vec<KeyRecord>> {
        let tables = self.begin();
        let keys = tables.keys_of(tenant).filter(|key| query.matches(key));
        Ok(keys.take(query.max().get()).cloned().collect())
    }

    async fn count_keys(&self, tenant: &TenantId) -> Answer<u32> {
        Ok(u32::try_from(self.begin().keys_of(tenant).count()).unwrap_or(u32::MAX))
    }

    async fn update_key(&self, new: KeyRecord, replaces: u64) -> Answer<()> {
        let mut tables = self.begin();
        let stored = tables.key(new.tenant(), new.id())?;
        if stored.version() != replaces {
            return Err(StoreError::Conflict);
        }
        let last_used = stored.last_used();
        *stored = new.with_last_used(last_used);
        Ok(())
    }

    async fn delete_key(&self, tenant: &TenantId, id: KeyId) -> Answer<()> {
        let mut tables = self.begin();
        let place = KeyCursor::of(tables.key(tenant, id)?);
        tables.keys.remove(&(tenant.clone(), place));
        Ok(())
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Answer<()> {
        let tables = &mut *self.begin();
        for KeyUse { id, at } in uses {
            if let Some(key) = tables.places.get(id).and_then(|place| tables.keys.get_mut(place)) {
                *key = key.clone().with_last_used(key.last_used().max(Some(*at)));
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy: Policy = serde_json::from_str(include_str!("machinemetrics.json"))?;
    let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
        .environment("test")
        .store(TableStore::default())
        .build()?;
    pollster::block_on(async {
        let first = NewKey::named("Dashboard").scopes(["reporting"]);
        let (acme, issued) = keyring.create_tenant_with("acme", "lite", first).await?;
        let caller = keyring.verify(&*issued.token.reveal()).await?;
        println!("{} of {} was verified", caller.name(), caller.tenant());
        if let Err(error) = acme.issue(NewKey::named("One more")).await {
            println!("second key: {error}");
        }
        Ok(())
    })
}
