//! A memory store with faults that a test switches on and off.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use keyway::{KeyRecord, MemoryStore, record::TenantRecord, store::StoreError};

use super::wrapped_store::{Call, Faults, Wrapped};

/// A memory store with faults. Clones share everything.
pub type FaultyStore = Wrapped<MemoryStore, Switches>;

/// The faults that are switched on, and the calls so far.
#[derive(Default)]
pub struct Switches {
    is_down: AtomicBool,
    /// The store performs the call, and then returns an error as if it had not replied.
    loses_answers: AtomicBool,
    /// The store yields to the caller's executor before and after each call.
    is_slow: AtomicBool,
    failing: Mutex<HashSet<&'static str>>,
    held: Mutex<HashMap<&'static str, Vec<Waker>>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    searched: Mutex<Vec<String>>,
    key: Mutex<Option<Rewrite<KeyRecord>>>,
    tenant: Mutex<Option<Rewrite<TenantRecord>>>,
    max_lag: Mutex<Duration>,
}

type Rewrite<T> = Box<dyn Fn(T) -> Result<T, StoreError> + Send>;

impl FaultyStore {
    pub fn over(memory: MemoryStore) -> Self {
        Self::new(memory, Switches::default())
    }

    /// Returns the store beneath, without faults.
    pub fn memory(&self) -> &MemoryStore {
        self.beneath()
    }
}

impl Switches {
    /// Makes every call fail from now on, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, SeqCst);
    }

    /// Makes the store say that it lags by at most so much.
    pub fn set_max_lag(&self, lag: Duration) {
        *self.max_lag.lock().unwrap() = lag;
    }

    pub fn set_losing_answers(&self, loses: bool) {
        self.loses_answers.store(loses, SeqCst);
    }

    pub fn set_slow(&self, is_slow: bool) {
        self.is_slow.store(is_slow, SeqCst);
    }

    /// Makes calls of this method fail.
    pub fn fail(&self, method: &'static str) {
        self.failing.lock().unwrap().insert(method);
    }

    pub fn heal(&self, method: &'static str) {
        self.failing.lock().unwrap().remove(method);
    }

    /// Makes calls of this method wait, before they do anything, until they are released.
    pub fn hold(&self, method: &'static str) {
        let mut held = self.held.lock().unwrap();
        held.entry(method).or_default();
    }

    pub fn release(&self, method: &'static str) {
        let waiting = self.held.lock().unwrap().remove(method);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns once this method has been called. If it is not called in time, waiting calls are released, so
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
        let calls = self.calls.lock().unwrap();
        calls.get(method).copied().unwrap_or_default()
    }

    /// Returns how many calls were made.
    pub fn all_calls(&self) -> usize {
        self.calls.lock().unwrap().values().sum()
    }

    /// Returns how many calls to change something were made.
    pub fn writes(&self) -> usize {
        let calls = self.calls.lock().unwrap();
        let is_write = |method: &&str| {
            ["insert", "update", "delete", "record"].iter().any(|verb| method.starts_with(verb))
        };
        calls.iter().filter(|(method, _)| is_write(method)).map(|(_, calls)| calls).sum()
    }

    /// Returns the texts that lists were filtered by.
    pub fn searched(&self) -> Vec<String> {
        self.searched.lock().unwrap().clone()
    }

    /// Makes every key that is read come back as `rewrite` returns it.
    pub fn rewrite_keys(
        &self,
        rewrite: impl Fn(KeyRecord) -> Result<KeyRecord, StoreError> + Send + 'static,
    ) {
        *self.key.lock().unwrap() = Some(Box::new(rewrite));
    }

    /// Makes every tenant that is read come back as `rewrite` returns it.
    pub fn rewrite_tenants(
        &self,
        rewrite: impl Fn(TenantRecord) -> Result<TenantRecord, StoreError> + Send + 'static,
    ) {
        *self.tenant.lock().unwrap() = Some(Box::new(rewrite));
    }

    /// Makes everything that is read come back as it was written.
    pub fn rewrite_nothing(&self) {
        *self.key.lock().unwrap() = None;
        *self.tenant.lock().unwrap() = None;
    }

    /// Calls the store, with all faults but rewritten records.
    async fn call<T>(
        &self,
        method: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.calls.lock().unwrap().entry(method).or_default() += 1;
        self.pause().await;
        poll_fn(|context| match self.held.lock().unwrap().get_mut(method) {
            Some(waiting) => {
                waiting.push(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
        let fails = self.failing.lock().unwrap().contains(method);
        if fails || self.is_down.load(SeqCst) {
            return Err(StoreError::unavailable("the test pulled the plug"));
        }
        let answer = answer.await;
        self.pause().await;
        if self.loses_answers.load(SeqCst) {
            return Err(StoreError::unavailable("the test cut the line"));
        }
        answer
    }

    async fn pause(&self) {
        if self.is_slow.load(SeqCst) {
            super::pause().await;
        }
    }
}

impl Faults for Switches {
    fn max_lag(&self) -> Duration {
        *self.max_lag.lock().unwrap()
    }

    async fn read<T: Clone + Send + 'static>(
        &self,
        call: Call,
        _nothing: T,
        read: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.searched.lock().unwrap().extend(call.text);
        self.call(call.method, read).await
    }

    async fn write(
        &self,
        call: Call,
        write: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.call(call.method, write).await
    }

    fn key(&self, key: KeyRecord) -> Result<KeyRecord, StoreError> {
        match &*self.key.lock().unwrap() {
            Some(rewrite) => rewrite(key),
            None => Ok(key),
        }
    }

    fn tenant(&self, tenant: TenantRecord) -> Result<TenantRecord, StoreError> {
        match &*self.tenant.lock().unwrap() {
            Some(rewrite) => rewrite(tenant),
            None => Ok(tenant),
        }
    }
}
