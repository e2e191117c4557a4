//! A store of limits with faults that a test switches on and off.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use keyway::{
    MemoryStore, TenantId, Timestamp,
    allowance::Window,
    store::{Leased, LimitStore, StoreError, UsedWindow},
};

use super::pause;

/// A store of limits in memory. Clones share everything.
#[derive(Clone, Default)]
pub struct FaultyLimits(Arc<Switches>);

#[derive(Default)]
struct Switches {
    memory: MemoryStore,
    is_down: AtomicBool,
    loses_responses: AtomicBool,
    /// Leases wait until this is `false`.
    is_held: AtomicBool,
    /// A lease reads what is used, and writes the sum later.
    reads_first: AtomicBool,
    leases: AtomicU64,
    returns: AtomicU64,
}

impl FaultyLimits {
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, SeqCst);
    }

    /// Lets the store do its work, and fail as if there were no response.
    pub fn lose_responses(&self, loses: bool) {
        self.0.loses_responses.store(loses, SeqCst);
    }

    pub fn hold(&self, is_held: bool) {
        self.0.is_held.store(is_held, SeqCst);
    }

    /// Plants the fault of a store that reads and then writes.
    pub fn read_first(&self) {
        self.0.reads_first.store(true, SeqCst);
    }

    /// Returns the number of leases since the last call.
    pub fn take_leases(&self) -> u64 {
        self.0.leases.swap(0, SeqCst)
    }

    /// Returns the number of returns since the last call.
    pub fn take_returns(&self) -> u64 {
        self.0.returns.swap(0, SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.0.is_down.load(SeqCst) {
            return Err(StoreError::unavailable("the store is down"));
        }
        Ok(())
    }

    fn respond<T>(&self, answer: T) -> Result<T, StoreError> {
        if self.0.loses_responses.load(SeqCst) {
            return Err(StoreError::unavailable("the response is lost"));
        }
        Ok(answer)
    }
}

impl LimitStore for FaultyLimits {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        self.check()?;
        self.0.leases.fetch_add(1, SeqCst);
        if self.0.reads_first.load(SeqCst) {
            let used = self.0.memory.used_units(tenant, &[window]).await?[0];
            std::thread::sleep(std::time::Duration::from_millis(2));
            let granted = want.min(limit.saturating_sub(used));
            let now = self.0.memory.used_units(tenant, &[window]).await?[0];
            self.0.memory.return_units(tenant, window, now).await?;
            self.0.memory.lease_units(tenant, window, used + granted, u64::MAX).await?;
            return self.respond(Leased { granted, used: used + granted });
        }
        while self.0.is_held.load(SeqCst) {
            pause().await;
        }
        let leased = self.0.memory.lease_units(tenant, window, want, limit).await?;
        self.respond(leased)
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        self.check()?;
        self.0.returns.fetch_add(1, SeqCst);
        self.0.memory.return_units(tenant, window, units).await?;
        self.respond(())
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        self.check()?;
        self.0.memory.used_units(tenant, windows).await
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        self.check()?;
        self.0.memory.purge_windows(ended).await
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.check()?;
        self.0.memory.delete_windows(tenant).await
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        self.check()?;
        self.0.memory.used_windows(ended, after, limit).await
    }
}
