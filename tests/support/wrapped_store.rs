//! A store around another one, with faults in its calls.

use std::{future::Future, num::NonZeroUsize, ops::Deref, sync::Arc, time::Duration};

use keyway::{
    KeyId, KeyRecord, TenantId, Timestamp,
    event::{Event, EventClaim, StoredEvent},
    record::TenantRecord,
    store::{
        BrokenRow, EventStore, KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices,
        Rows, StoreError, StoredKey, lookup_each,
    },
};

/// The faults of a store. A method that is not implemented has none.
pub trait Faults: Send + Sync + 'static {
    /// Reads from the store. `nothing` is the result that means "not found".
    fn read<T: Clone + Send + 'static>(
        &self,
        _: Call,
        _nothing: T,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        read
    }

    /// Writes to the store.
    fn write(
        &self,
        _: Call,
        write: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        write
    }

    /// Returns the limit for an insert of `key`.
    fn limit(
        &self,
        _store: &impl KeyStore,
        _key: &KeyRecord,
        max_keys: Option<u32>,
    ) -> impl Future<Output = Result<Option<u32>, StoreError>> + Send {
        async move { Ok(max_keys) }
    }

    /// Returns the version that an update of `key` replaces.
    fn replaced(
        &self,
        _store: &impl KeyStore,
        _key: &KeyRecord,
        replaces: u64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move { Ok(replaces) }
    }

    /// Returns the events that a change writes.
    fn events(&self, events: &[Event]) -> Vec<Event> {
        events.to_vec()
    }

    /// Returns by how much reads lag behind.
    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns a key that was read.
    fn key(&self, key: KeyRecord) -> Result<KeyRecord, StoreError> {
        Ok(key)
    }

    /// Returns a tenant that was read.
    fn tenant(&self, tenant: TenantRecord) -> Result<TenantRecord, StoreError> {
        Ok(tenant)
    }
}

/// A call of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub method: &'static str,
    /// The arguments of a read, or the record that is written.
    pub arguments: String,
    /// The text that a list is filtered by.
    pub text: Option<String>,
}

impl Call {
    fn read(method: &'static str, arguments: String) -> Self {
        Self { method, arguments, text: None }
    }
}

/// A store with faults. Clones share the faults.
#[derive(Default)]
pub struct Wrapped<S, F> {
    store: S,
    faults: Arc<F>,
}

impl<S: Clone, F> Clone for Wrapped<S, F> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), faults: Arc::clone(&self.faults) }
    }
}

/// The faults.
impl<S, F> Deref for Wrapped<S, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.faults
    }
}

impl<S: KeyStore + Clone, F: Faults> Wrapped<S, F> {
    pub fn new(store: S, faults: F) -> Self {
        Self { store, faults: Arc::new(faults) }
    }

    /// Returns the store beneath, without faults.
    pub fn beneath(&self) -> &S {
        &self.store
    }

    async fn write<W: Future<Output = Result<(), StoreError>> + Send + 'static>(
        &self,
        method: &'static str,
        of: impl ToString,
        write: impl FnOnce(S) -> W,
    ) -> Result<(), StoreError> {
        let call = Call { method, arguments: of.to_string(), text: None };
        self.faults.write(call, write(self.store.clone())).await
    }

    /// Returns a key of a page. An error becomes a row that cannot be read.
    fn key_of_page(&self, key: KeyRecord) -> Result<KeyRecord, BrokenRow> {
        let (tenant, place) = (key.tenant().clone(), KeyCursor::of(&key));
        self.faults.key(key).map_err(|_| BrokenRow::of_key(tenant, Some(place)))
    }

    fn tenant_of_page(&self, tenant: TenantRecord) -> Result<TenantRecord, BrokenRow> {
        let id = tenant.id().clone();
        self.faults.tenant(tenant).map_err(|_| BrokenRow::of_tenant(Some(id)))
    }
}

impl<S: KeyStore + Clone, F: Faults> KeyLookup for Wrapped<S, F> {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let call = Call::read("lookup", id.to_string());
        let stored = self.faults.read(call, None, self.store.lookup(id)).await?;
        let as_told = |stored: StoredKey| {
            let (key, tenant) = (self.faults.key(stored.key)?, self.faults.tenant(stored.tenant)?);
            Ok(StoredKey { key, tenant })
        };
        stored.map(as_told).transpose()
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        lookup_each(self, ids).await
    }

    fn max_lag(&self) -> Duration {
        self.faults.max_lag()
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let call = Call::read("marker", String::new());
        self.faults.read(call, None, self.store.marker()).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: KeyStore + Clone, F: Faults> KeyStore for Wrapped<S, F> {
    fn announce_with(&self, notices: &Notices) {
        self.store.announce_with(notices);
    }

    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let id = tenant.id().clone();
        let events = self.faults.events(events);
        let insert = async move |store: S| store.insert_tenant(tenant, first_key, &events).await;
        self.write("insert_tenant", id, insert).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let call = Call::read("tenant", id.to_string());
        let tenant = self.faults.read(call, None, self.store.tenant(id)).await?;
        tenant.map(|tenant| self.faults.tenant(tenant)).transpose()
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Rows<TenantRecord>, StoreError> {
        let call = Call::read("tenants", format!("{after:?} {limit}"));
        let tenants = self.faults.read(call, Vec::new(), self.store.tenants(after, limit)).await?;
        Ok(tenants.into_iter().map(|tenant| self.tenant_of_page(tenant?)).collect())
    }

    async fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let id = tenant.id().clone();
        let events = self.faults.events(events);
        let update = async move |store: S| store.update_tenant(tenant, replaces, &events).await;
        self.write("update_tenant", id, update).await
    }

    async fn delete_tenant(&self, id: &TenantId, events: &[Event]) -> Result<(), StoreError> {
        let (id, events) = (id.clone(), self.faults.events(events));
        let of = id.clone();
        let delete = async move |store: S| store.delete_tenant(&id, &events).await;
        self.write("delete_tenant", of, delete).await
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: Option<u32>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let max = self.faults.limit(&self.store, &key, max_keys).await?;
        let id = key.id();
        let events = self.faults.events(events);
        let insert =
            async move |store: S| store.insert_key(key, tenant_version, max, &events).await;
        self.write("insert_key", id, insert).await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let call = Call::read("key", format!("{tenant} {id}"));
        let key = self.faults.read(call, None, self.store.key(tenant, id)).await?;
        key.map(|key| self.faults.key(key)).transpose()
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Rows<KeyRecord>, StoreError> {
        let mut call = Call::read("keys", format!("{tenant} {query:?}"));
        call.text = query.text().map(String::from);
        let keys = self.faults.read(call, Vec::new(), self.store.keys(tenant, query)).await?;
        Ok(keys.into_iter().map(|key| self.key_of_page(key?)).collect())
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Result<u32, StoreError> {
        let call = Call::read("count_keys", format!("{tenant} {up_to}"));
        self.faults.read(call, 0, self.store.count_keys(tenant, up_to)).await
    }

    async fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let replaces = self.faults.replaced(&self.store, &key, replaces).await?;
        let id = key.id();
        let events = self.faults.events(events);
        let update = async move |store: S| store.update_key(key, replaces, &events).await;
        self.write("update_key", id, update).await
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let (tenant, events) = (tenant.clone(), self.faults.events(events));
        let delete = async move |store: S| store.delete_key(&tenant, id, replaces, &events).await;
        self.write("delete_key", id, delete).await
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Result<(), StoreError> {
        let uses = uses.to_vec();
        let record = async move |store: S| store.record_uses(&uses, latest).await;
        self.write("record_uses", "", record).await
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Result<(), StoreError> {
        let (marker, replaces) = (marker.to_vec(), replaces.map(<[u8]>::to_vec));
        let set = async move |store: S| store.set_marker(&marker, replaces.as_deref()).await;
        self.write("set_marker", "", set).await
    }
}

impl<S: EventStore + Clone, F: Faults> EventStore for Wrapped<S, F> {
    async fn add_events(&self, events: &[Event]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.write("add_events", "", async move |store: S| store.add_events(&events).await).await
    }

    async fn claim_events(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: NonZeroUsize,
    ) -> Result<Option<EventClaim>, StoreError> {
        let call = Call::read("claim_events", format!("{now} {lease:?} {limit}"));
        self.faults.read(call, None, self.store.claim_events(now, lease, limit)).await
    }

    async fn settle_events(
        &self,
        tenant: Option<&TenantId>,
        claim: u64,
        delivered: u64,
        claimable: Timestamp,
    ) -> Result<(), StoreError> {
        let tenant = tenant.cloned();
        let settle = async move |store: S| {
            store.settle_events(tenant.as_ref(), claim, delivered, claimable).await
        };
        self.write("settle_events", claim, settle).await
    }

    async fn events_of(
        &self,
        tenant: Option<&TenantId>,
        key: Option<KeyId>,
        before: Option<u64>,
        limit: NonZeroUsize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let call = Call::read("events_of", format!("{tenant:?} {key:?} {before:?} {limit}"));
        self.faults.read(call, Vec::new(), self.store.events_of(tenant, key, before, limit)).await
    }

    async fn purge_events(&self, before: Timestamp, undelivered: bool) -> Result<u64, StoreError> {
        let call = Call::read("purge_events", format!("{before} {undelivered}"));
        self.faults.read(call, 0, self.store.purge_events(before, undelivered)).await
    }

    async fn has_undelivered_events(&self) -> Result<bool, StoreError> {
        let call = Call::read("has_undelivered_events", String::new());
        self.faults.read(call, false, self.store.has_undelivered_events()).await
    }
}
