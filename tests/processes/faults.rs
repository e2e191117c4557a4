//! Stores that are wrong in one respect: what the tests must catch.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use keyway::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{AnyStore, KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey},
    token::KeyId,
};
use tokio::{sync::Mutex, time::sleep};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Counts the keys of a tenant first and adds one to them later.
    CountsBeforehand,
    /// Replaces a record of any version.
    IgnoresVersions,
    /// Acknowledges a write and does it a moment later.
    WritesBehind,
}

impl Fault {
    const ALL: [Self; 3] = [Self::CountsBeforehand, Self::IgnoresVersions, Self::WritesBehind];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    }
}

#[derive(Clone)]
pub struct Faulty {
    store: AnyStore,
    fault: Fault,
    /// Held while a write is behind. Whoever reads waits, so that this process sees nothing of it.
    behind: Arc<Mutex<()>>,
}

impl Faulty {
    pub fn new(store: AnyStore, fault: Fault) -> Self {
        Self { store, fault, behind: Arc::default() }
    }

    async fn settled(&self) -> &AnyStore {
        drop(self.behind.lock().await);
        &self.store
    }

    async fn write<W>(&self, work: impl FnOnce(AnyStore) -> W) -> Result<(), StoreError>
    where
        W: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let held = Arc::clone(&self.behind).lock_owned().await;
        let work = work(self.store.clone());
        if self.fault != Fault::WritesBehind {
            drop(held);
            return work.await;
        }
        tokio::spawn(async move {
            sleep(Duration::from_millis(3)).await;
            let _ = work.await;
            drop(held);
        });
        Ok(())
    }
}

impl KeyLookup for Faulty {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.settled().await.lookup(id).await
    }
}

impl KeyStore for Faulty {
    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> Result<(), StoreError> {
        self.write(async move |store| store.insert_tenant(tenant, first_key).await).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        self.settled().await.tenant(id).await
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<TenantRecord>, StoreError> {
        self.settled().await.tenants(after, limit).await
    }

    async fn update_tenant(&self, tenant: TenantRecord, replaces: u64) -> Result<(), StoreError> {
        self.write(async move |store| store.update_tenant(tenant, replaces).await).await
    }

    async fn delete_tenant(&self, id: &TenantId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(async move |store| store.delete_tenant(&id).await).await
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: u32,
    ) -> Result<(), StoreError> {
        // Whoever acknowledges beforehand has to refuse beforehand.
        if self.fault != Fault::IgnoresVersions {
            let held = self.settled().await.count_keys(key.tenant()).await?;
            if held >= max_keys {
                return Err(StoreError::QuotaFull { held });
            }
        }
        let limit = if self.fault == Fault::CountsBeforehand { u32::MAX } else { max_keys };
        self.write(async move |store| store.insert_key(key, tenant_version, limit).await).await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.settled().await.key(tenant, id).await
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.settled().await.keys(tenant, query).await
    }

    async fn count_keys(&self, tenant: &TenantId) -> Result<u32, StoreError> {
        self.settled().await.count_keys(tenant).await
    }

    async fn update_key(&self, key: KeyRecord, replaces: u64) -> Result<(), StoreError> {
        let mut replaces = replaces;
        if self.fault == Fault::IgnoresVersions {
            let stored = self.store.key(key.tenant(), key.id()).await?;
            replaces = stored.ok_or(StoreError::NotFound)?.version();
        }
        self.write(async move |store| store.update_key(key, replaces).await).await
    }

    async fn delete_key(&self, tenant: &TenantId, id: KeyId) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.write(async move |store| store.delete_key(&tenant, id).await).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let uses = uses.to_vec();
        self.write(async move |store| store.record_uses(&uses).await).await
    }
}
