//! The store of what is used of allowances.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, future::Future, num::NonZeroUsize, pin::Pin};

use super::StoreError;
use crate::{record::TenantId, tier::Window, time::Timestamp};

/// Stores how many units of its [allowances](crate::allowance) each tenant has used. It is apart from
/// [`KeyStore`](super::KeyStore), so a store of keys without it loses nothing else, and the units may be in another database.
///
/// A node leases units from the store before it serves requests with them, and returns those that it does not need. So the
/// store holds one number for each tenant and [`Window`]: the units that are used or leased.
///
/// Each method takes effect as a whole or not at all, also if its future is dropped. Two calls for one tenant and window
/// take effect one after the other: a store that reads the number and then writes it would lease the same units twice. The
/// feature `conformance` tests this contract by `conformance::limit_clauses`.
///
/// # Lost responses
///
/// No method is repeated by a node. If the response to a lease is lost, the store may have leased the units, and nobody
/// uses them. If the response to a return is lost, the units may stay used. Either way, the tenant gets less than its
/// allowance and never more.
pub trait LimitStore: Send + Sync + 'static {
    /// Adds `want` to the units of `tenant` in `window`, or as many as are left to `limit` if these are fewer. Returns how
    /// many were added. If the units are above `limit` already, none are added and none are taken away.
    ///
    /// A limit above the largest number that the store can hold, which is 2^63 - 1 at least, counts as that number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> impl Future<Output = Result<Leased, StoreError>> + Send;

    /// Takes `units` away from those of `tenant` in `window`, down to 0 at least.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the units of `tenant` that are used or leased in each of `windows`, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> impl Future<Output = Result<Vec<u64>, StoreError>> + Send;

    /// Deletes all windows that ended at `ended` or before. Returns their number. It may take effect in portions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. A repeated call does the rest.
    fn purge_windows(
        &self,
        ended: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes all windows of `tenant`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn delete_windows(
        &self,
        tenant: &TenantId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the windows of all tenants that end after `ended` and follow `after`, in ascending order of the end, then of
    /// the tenant, then of the number of the period. There are `limit` of them, or as many as are left.
    ///
    /// [`copy_limits`](super::copy_limits()) reads a store with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], also if a row cannot be read. A tenant whose row was left out would get its whole
    /// allowance again.
    fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Vec<UsedWindow>, StoreError>> + Send;
}

/// The units of a tenant in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedWindow {
    /// The tenant.
    pub tenant: TenantId,
    /// The window.
    pub window: Window,
    /// The units that are used or leased.
    pub used: u64,
}

/// The result of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The units that were added, at most as many as were wanted.
    pub granted: u64,
    /// The units that are used or leased afterwards, by all nodes.
    pub used: u64,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The object-safe form of [`LimitStore`], with boxed futures.
trait DynLimitStore: Send + Sync {
    fn lease_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Answer<'a, Leased>;
    fn return_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        window: Window,
        units: u64,
    ) -> Answer<'a, ()>;
    fn used_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        windows: &'a [Window],
    ) -> Answer<'a, Vec<u64>>;
    fn purge_windows(&self, ended: Timestamp) -> Answer<'_, u64>;
    fn delete_windows<'a>(&'a self, tenant: &'a TenantId) -> Answer<'a, ()>;
    fn used_windows<'a>(
        &'a self,
        ended: Timestamp,
        after: Option<&'a UsedWindow>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<UsedWindow>>;
}

impl<S: LimitStore> DynLimitStore for S {
    fn lease_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Answer<'a, Leased> {
        Box::pin(LimitStore::lease_units(self, tenant, window, want, limit))
    }

    fn return_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        window: Window,
        units: u64,
    ) -> Answer<'a, ()> {
        Box::pin(LimitStore::return_units(self, tenant, window, units))
    }

    fn used_units<'a>(
        &'a self,
        tenant: &'a TenantId,
        windows: &'a [Window],
    ) -> Answer<'a, Vec<u64>> {
        Box::pin(LimitStore::used_units(self, tenant, windows))
    }

    fn purge_windows(&self, ended: Timestamp) -> Answer<'_, u64> {
        Box::pin(LimitStore::purge_windows(self, ended))
    }

    fn delete_windows<'a>(&'a self, tenant: &'a TenantId) -> Answer<'a, ()> {
        Box::pin(LimitStore::delete_windows(self, tenant))
    }

    fn used_windows<'a>(
        &'a self,
        ended: Timestamp,
        after: Option<&'a UsedWindow>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<UsedWindow>> {
        Box::pin(LimitStore::used_windows(self, ended, after, limit))
    }
}

/// A [`LimitStore`] of any type. Clones share one store.
#[derive(Clone)]
pub(crate) struct AnyLimitStore(Arc<dyn DynLimitStore>);

impl AnyLimitStore {
    pub(crate) fn new(store: impl LimitStore) -> Self {
        Self(Arc::new(store))
    }
}

impl LimitStore for AnyLimitStore {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        DynLimitStore::lease_units(&*self.0, tenant, window, want, limit).await
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        DynLimitStore::return_units(&*self.0, tenant, window, units).await
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        DynLimitStore::used_units(&*self.0, tenant, windows).await
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        DynLimitStore::purge_windows(&*self.0, ended).await
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        DynLimitStore::delete_windows(&*self.0, tenant).await
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        DynLimitStore::used_windows(&*self.0, ended, after, limit).await
    }
}

impl fmt::Debug for AnyLimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyLimitStore").finish_non_exhaustive()
    }
}
