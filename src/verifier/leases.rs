//! The slices of allowances that this node holds, and their leases from the store.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{error::Error, future::Future, hash::BuildHasher as _, pin::Pin};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use foldhash::fast::RandomState;
use futures_util::future::{FutureExt as _, Shared, WeakShared};

use super::breaker::Breaker;
use crate::{
    allowance::{
        Allowance, WhenAway,
        slices::{Counted, Slices, Take, UsedUp, Want},
    },
    record::TenantId,
    store::{AnyLimitStore, LimitStore as _, StoreError},
    time::Clock,
};

/// The number of parts of the tenants, each with its own lock.
const PARTS: usize = 64;

/// Why no slice could be leased.
pub(super) type Away = Arc<dyn Error + Send + Sync>;

type Lease = Pin<Box<dyn Future<Output = Result<(), Away>> + Send>>;

/// The allowances of all tenants on this node.
pub(crate) struct Leases {
    store: AnyLimitStore,
    when_away: WhenAway,
    clock: Arc<dyn Clock>,
    breaker: Breaker,
    parts: Box<[Part]>,
    hasher: RandomState,
}

type Part = RwLock<HashMap<Box<str>, Arc<Tenant>, RandomState>>;

/// A tenant that has used an allowance since the last flush.
pub(super) struct Tenant {
    id: TenantId,
    slices: Mutex<Slices>,
    /// The lease that is under way. Each request that waits for it drives it, and it is dropped when none does.
    lease: Mutex<Option<WeakShared<Lease>>>,
}

/// Why a request was not counted. It has taken nothing.
#[derive(Debug)]
pub(crate) enum NotCounted {
    UsedUp(UsedUp),
    Away(Away),
}

impl Leases {
    pub(super) fn new(store: AnyLimitStore, when_away: WhenAway, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            when_away,
            clock,
            breaker: Breaker::default(),
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn store(&self) -> &AnyLimitStore {
        &self.store
    }

    /// Takes units of a tenant if that is possible without the store. It takes the shared lock of one part, and the lock of
    /// the tenant.
    #[cfg(feature = "http")]
    #[inline]
    pub(super) fn take_at_once(&self, id: &str, allowances: &[Allowance], units: u64) -> Take {
        let part = self.part(id).map(|part| part.read().unwrap_or_else(PoisonError::into_inner));
        match part.as_ref().and_then(|part| part.get(id)) {
            Some(tenant) => tenant.take(allowances, units, &*self.clock),
            None => Take::Short,
        }
    }

    /// Takes units of a tenant. Waits for a lease if there are not enough of them.
    ///
    /// Others may use up the slice that a request has waited for. It then waits for the next one. Each slice serves at least
    /// one request, so the loop ends when the allowance is used up at the latest.
    pub(super) async fn take(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        allowances: &[Allowance],
        units: u64,
    ) -> Result<Counted, NotCounted> {
        loop {
            match tenant.take(allowances, units, &*self.clock) {
                Take::Taken(counted) => return Ok(counted),
                Take::UsedUp(used_up) => return Err(NotCounted::UsedUp(used_up)),
                Take::Short => {}
            }
            if let Err(away) = self.lease(tenant, units).await {
                return match self.when_away {
                    WhenAway::Refuse => Err(NotCounted::Away(away)),
                    WhenAway::Admit => Ok(tenant.slices().take_without_lease(units)),
                };
            }
        }
    }

    /// Waits for the lease that is under way for the tenant, or for a new one.
    async fn lease(self: &Arc<Self>, tenant: &Arc<Tenant>, units: u64) -> Result<(), Away> {
        let waiting = self.breaker.enter(self.clock.moment().uptime);
        let waiting = waiting.map_err(|paused| Arc::new(paused) as Away)?;
        let lease = self.join(tenant, units, waiting.is_probe());
        lease.await
    }

    fn join(self: &Arc<Self>, tenant: &Arc<Tenant>, units: u64, alone: bool) -> Shared<Lease> {
        let mut under_way = tenant.lease.lock().unwrap_or_else(PoisonError::into_inner);
        // A lease that hangs does not hold up the probe of the store.
        if !alone
            && let Some(lease) = under_way.as_ref().and_then(WeakShared::upgrade)
            && lease.peek().is_none()
        {
            return lease;
        }
        let wants = tenant.slices().wants(units, self.clock.moment());
        let (leases, owner) = (Arc::clone(self), Arc::clone(tenant));
        let lease: Lease = Box::pin(async move {
            for want in wants {
                leases.ask(&owner, want).await.map_err(|error| Arc::new(error) as Away)?;
            }
            Ok(())
        });
        let lease = lease.shared();
        *under_way = lease.downgrade();
        lease
    }

    /// Leases units from the store.
    async fn ask(&self, tenant: &Tenant, want: Want) -> Result<(), StoreError> {
        let load = self.breaker.load(&*self.clock);
        let leased = self.store.lease_units(&tenant.id, want.window, want.units, want.limit).await;
        load.end(leased.is_ok());
        tenant.slices().add(want, leased?, self.clock.moment().uptime);
        Ok(())
    }

    /// Leases what was used without a lease, returns what is not used, and forgets tenants that hold nothing and had no
    /// request lately.
    ///
    /// INVARIANT: units leave their slice before they are returned, and a return is never repeated. Otherwise units that the
    /// store has got back could be used here as well.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let moment = self.clock.moment();
        for part in &self.parts {
            let tenants: Vec<Arc<Tenant>> =
                part.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for tenant in tenants {
                let windows = tenant.slices().windows(moment.now);
                for window in windows {
                    let debt = tenant.slices().debt(window);
                    if let Some(debt) = debt {
                        self.ask(&tenant, debt).await?;
                    }
                    let unused = tenant.slices().take_unused(window);
                    if unused > 0 {
                        self.store.return_units(&tenant.id, window, unused).await?;
                    }
                }
            }
            // A tenant that a request or a reservation has found keeps its slices.
            part.write().unwrap_or_else(PoisonError::into_inner).retain(|_, tenant| {
                Arc::strong_count(tenant) > 1 || !tenant.slices().is_idle(moment)
            });
        }
        Ok(())
    }

    /// Returns a tenant, which may be new here.
    pub(super) fn tenant(&self, id: &str) -> Arc<Tenant> {
        let new = || {
            Arc::new(Tenant {
                id: TenantId::of_record(id),
                slices: Mutex::default(),
                lease: Mutex::default(),
            })
        };
        let Some(part) = self.part(id) else { return new() };
        // A name is copied only for a tenant that is new.
        if let Some(tenant) = part.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Arc::clone(tenant);
        }
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(part.entry(id.into()).or_insert_with(new))
    }

    /// Forgets what this node holds for a tenant that is deleted.
    pub(crate) fn forget(&self, id: &TenantId) {
        if let Some(part) = self.part(id.as_str()) {
            part.write().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
        }
    }

    fn part(&self, id: &str) -> Option<&Part> {
        let spread = usize::try_from(self.hasher.hash_one(id)).unwrap_or_default();
        self.parts.get(spread % PARTS)
    }
}

impl Tenant {
    #[inline]
    fn take(&self, allowances: &[Allowance], units: u64, clock: &dyn Clock) -> Take {
        let mut slices = self.slices();
        // Read under the lock, so that no request goes back to an earlier window.
        let moment = clock.moment();
        slices.set(allowances, moment.now);
        slices.take(units, moment)
    }

    pub(super) fn slices(&self) -> MutexGuard<'_, Slices> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
