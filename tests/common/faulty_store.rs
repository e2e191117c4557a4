//! A memory store with faults that a test switches on and off.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use keyway::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{KeyLookup, KeyQuery, KeyStore, KeyUse, MemoryStore, StoreError, StoredKey},
    token::KeyId,
};

/// Clones share everything.
#[derive(Clone, Default)]
pub struct FaultyStore {
    memory: MemoryStore,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    is_down: AtomicBool,
    /// Does what it is asked, and then says that it did not answer.
    loses_answers: AtomicBool,
    /// Returns to the caller's executor before and after each call.
    is_slow: AtomicBool,
    failing: Mutex<HashSet<&'static str>>,
    held: Mutex<HashMap<&'static str, Vec<Waker>>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    searched: Mutex<Vec<String>>,
    key: Mutex<Option<Rewrite<KeyRecord>>>,
    tenant: Mutex<Option<Rewrite<TenantRecord>>>,
}

type Rewrite<T> = Box<dyn Fn(T) -> Result<T, StoreError> + Send>;

impl FaultyStore {
    pub fn over(memory: MemoryStore) -> Self {
        Self { memory, faults: Arc::default() }
    }

    /// The store beneath, without faults.
    pub fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// Every call fails from now on, or no longer does.
    pub fn set_down(&self, is_down: bool) {
        self.faults.is_down.store(is_down, SeqCst);
    }

    pub fn set_losing_answers(&self, loses: bool) {
        self.faults.loses_answers.store(loses, SeqCst);
    }

    pub fn set_slow(&self, is_slow: bool) {
        self.faults.is_slow.store(is_slow, SeqCst);
    }

    /// Calls of this method fail.
    pub fn fail(&self, method: &'static str) {
        self.faults.failing.lock().unwrap().insert(method);
    }

    pub fn heal(&self, method: &'static str) {
        self.faults.failing.lock().unwrap().remove(method);
    }

    /// Calls of this method wait, before they do anything, until they are released.
    pub fn hold(&self, method: &'static str) {
        let mut held = self.faults.held.lock().unwrap();
        held.entry(method).or_default();
    }

    pub fn release(&self, method: &'static str) {
        let waiting = self.faults.held.lock().unwrap().remove(method);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns when this method has been called. What is held goes on if that does not come to be, so
    /// that a failed test ends.
    pub fn await_call(&self, method: &'static str) {
        for _ in 0..10_000 {
            if self.calls(method) > 0 {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.release(method);
        panic!("`{method}` was not called");
    }

    pub fn calls(&self, method: &'static str) -> usize {
        let calls = self.faults.calls.lock().unwrap();
        calls.get(method).copied().unwrap_or_default()
    }

    /// How often anything was asked of the store.
    pub fn all_calls(&self) -> usize {
        self.faults.calls.lock().unwrap().values().sum()
    }

    /// How often the store was asked to change anything.
    pub fn writes(&self) -> usize {
        let calls = self.faults.calls.lock().unwrap();
        let is_write = |method: &&str| {
            ["insert", "update", "delete", "record"].iter().any(|verb| method.starts_with(verb))
        };
        calls.iter().filter(|(method, _)| is_write(method)).map(|(_, calls)| calls).sum()
    }

    /// The texts that lists were asked to contain.
    pub fn searched(&self) -> Vec<String> {
        self.faults.searched.lock().unwrap().clone()
    }

    /// Every key that is read comes back as `rewrite` makes it.
    pub fn rewrite_keys(
        &self,
        rewrite: impl Fn(KeyRecord) -> Result<KeyRecord, StoreError> + Send + 'static,
    ) {
        *self.faults.key.lock().unwrap() = Some(Box::new(rewrite));
    }

    /// Every tenant that is read comes back as `rewrite` makes it.
    pub fn rewrite_tenants(
        &self,
        rewrite: impl Fn(TenantRecord) -> Result<TenantRecord, StoreError> + Send + 'static,
    ) {
        *self.faults.tenant.lock().unwrap() = Some(Box::new(rewrite));
    }

    /// Everything that is read comes back as it was written.
    pub fn rewrite_nothing(&self) {
        *self.faults.key.lock().unwrap() = None;
        *self.faults.tenant.lock().unwrap() = None;
    }

    async fn call<T>(
        &self,
        method: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let faults = &self.faults;
        *faults.calls.lock().unwrap().entry(method).or_default() += 1;
        self.pause().await;
        poll_fn(|context| match faults.held.lock().unwrap().get_mut(method) {
            Some(waiting) => {
                waiting.push(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
        let fails = faults.failing.lock().unwrap().contains(method);
        if fails || faults.is_down.load(SeqCst) {
            return Err(StoreError::unavailable("the test pulled the plug"));
        }
        let answer = answer.await;
        self.pause().await;
        if faults.loses_answers.load(SeqCst) {
            return Err(StoreError::unavailable("the test cut the line"));
        }
        answer
    }

    async fn pause(&self) {
        if self.faults.is_slow.load(SeqCst) {
            super::pause().await;
        }
    }

    fn key_as_told(&self, key: KeyRecord) -> Result<KeyRecord, StoreError> {
        match &*self.faults.key.lock().unwrap() {
            Some(rewrite) => rewrite(key),
            None => Ok(key),
        }
    }

    fn tenant_as_told(&self, tenant: TenantRecord) -> Result<TenantRecord, StoreError> {
        match &*self.faults.tenant.lock().unwrap() {
            Some(rewrite) => rewrite(tenant),
            None => Ok(tenant),
        }
    }
}

impl KeyLookup for FaultyStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let stored = self.call("lookup", self.memory.lookup(id)).await?;
        let as_told = |stored: StoredKey| {
            Ok(StoredKey {
                key: self.key_as_told(stored.key)?,
                tenant: self.tenant_as_told(stored.tenant)?,
            })
        };
        stored.map(as_told).transpose()
    }
}

impl KeyStore for FaultyStore {
    async fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> Result<(), StoreError> {
        let answer = self.memory.insert_tenant(tenant, first_key);
        self.call("insert_tenant", answer).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let tenant = self.call("tenant", self.memory.tenant(id)).await?;
        tenant.map(|tenant| self.tenant_as_told(tenant)).transpose()
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<TenantRecord>, StoreError> {
        let answer = self.memory.tenants(after, limit);
        let tenants = self.call("tenants", answer).await?.into_iter();
        tenants.map(|tenant| self.tenant_as_told(tenant)).collect()
    }

    async fn update_tenant(&self, tenant: TenantRecord, replaces: u64) -> Result<(), StoreError> {
        let answer = self.memory.update_tenant(tenant, replaces);
        self.call("update_tenant", answer).await
    }

    async fn delete_tenant(&self, id: &TenantId) -> Result<(), StoreError> {
        let answer = self.memory.delete_tenant(id);
        self.call("delete_tenant", answer).await
    }

    async fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: u32,
    ) -> Result<(), StoreError> {
        let answer = self.memory.insert_key(key, tenant_version, max_keys);
        self.call("insert_key", answer).await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let key = self.call("key", self.memory.key(tenant, id)).await?;
        key.map(|key| self.key_as_told(key)).transpose()
    }

    async fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let text = query.text().map(String::from);
        self.faults.searched.lock().unwrap().extend(text);
        let keys = self.call("keys", self.memory.keys(tenant, query)).await?;
        keys.into_iter().map(|key| self.key_as_told(key)).collect()
    }

    async fn count_keys(&self, tenant: &TenantId) -> Result<u32, StoreError> {
        let answer = self.memory.count_keys(tenant);
        self.call("count_keys", answer).await
    }

    async fn update_key(&self, key: KeyRecord, replaces: u64) -> Result<(), StoreError> {
        let answer = self.memory.update_key(key, replaces);
        self.call("update_key", answer).await
    }

    async fn delete_key(&self, tenant: &TenantId, id: KeyId) -> Result<(), StoreError> {
        let answer = self.memory.delete_key(tenant, id);
        self.call("delete_key", answer).await
    }

    async fn record_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.call("record_uses", self.memory.record_uses(uses)).await
    }
}
