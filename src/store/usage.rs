//! The store of usage.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, future::Future, num::NonZeroUsize, pin::Pin};

use super::StoreError;
use crate::{
    record::TenantId,
    token::KeyId,
    usage::{Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

/// Stores how often keys were used. It is apart from [`KeyStore`](super::KeyStore), so a store of keys without it loses
/// nothing else, and the usage may be in another database.
///
/// Each method takes effect as a whole or not at all, also if its future is dropped. The feature `conformance` tests this
/// contract by `conformance::usage_clauses`.
pub trait UsageStore: Send + Sync + 'static {
    /// Adds the counts of `flush` to those that are stored, unless its node has already added a flush with its number or a
    /// larger one. In this case nothing is added, and the result is the same. So a node may repeat a flush until it knows
    /// that it was added.
    ///
    /// A count that does not fit stays at the largest number that the store can hold.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. The node repeats the same flush then.
    fn add_usage(&self, flush: &UsageFlush) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the counts of these keys of `tenant`, one row for each key and period with a count that is not zero, in
    /// ascending order of the period, then of the key. There are at most 500 keys.
    ///
    /// A row for a month has the counts of its days and those that were rolled up into it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> impl Future<Output = Result<Vec<KeyUsage>, StoreError>> + Send;

    /// Returns the counts of all keys of `tenant` together, one row for each period with a count that is not zero, in
    /// ascending order. Keys that have been deleted count as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> impl Future<Output = Result<Vec<DayUsage>, StoreError>> + Send;

    /// Adds the counts of days before `days` to those of their months, and deletes these days. Deletes the months that begin
    /// before `months`. Forgets the nodes whose last flush is from a day before `days`. Returns the number of rows of days
    /// and months that were deleted.
    ///
    /// It may take effect in portions. Each portion takes effect as a whole, so no count is lost or counted twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. A repeated call does the rest.
    fn roll_up_usage(
        &self,
        days: Day,
        months: Day,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes the usage of all keys of `tenant`. It may take effect in portions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]. A repeated call does the rest.
    fn delete_usage(
        &self,
        tenant: &TenantId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the rows of all tenants that follow `after`, in ascending order of the tenant, then of the day, then of the
    /// key. There are `limit` of them, or as many as are left. With [`Period::Day`] these are the days, and with
    /// [`Period::Month`] the counts that were rolled up into months, without the days that are still stored.
    ///
    /// [`copy_usage`](super::copy_usage()) reads a store with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], also if a row cannot be read. A row that was left out would be lost with the store.
    fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Vec<KeyUsage>, StoreError>> + Send;

    /// Raises the counts of these rows of days or months to at least those that are given. Each count is raised for itself,
    /// and a row that is not stored is added. So a repeated call changes nothing. There are at most 10,000 rows, each for
    /// another key and day.
    ///
    /// [`copy_usage`](super::copy_usage()) writes to a store with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn raise_usage(
        &self,
        period: Period,
        rows: &[KeyUsage],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The object-safe form of [`UsageStore`], with boxed futures.
trait DynUsageStore: Send + Sync {
    fn add_usage<'a>(&'a self, flush: &'a UsageFlush) -> Answer<'a, ()>;
    fn key_usage<'a>(
        &'a self,
        tenant: &'a TenantId,
        keys: &'a [KeyId],
        span: Span,
    ) -> Answer<'a, Vec<KeyUsage>>;
    fn tenant_usage<'a>(&'a self, tenant: &'a TenantId, span: Span) -> Answer<'a, Vec<DayUsage>>;
    fn roll_up_usage(&self, days: Day, months: Day) -> Answer<'_, u64>;
    fn delete_usage<'a>(&'a self, tenant: &'a TenantId) -> Answer<'a, ()>;
    fn usage_rows<'a>(
        &'a self,
        period: Period,
        after: Option<&'a KeyUsage>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<KeyUsage>>;
    fn raise_usage<'a>(&'a self, period: Period, rows: &'a [KeyUsage]) -> Answer<'a, ()>;
}

impl<S: UsageStore> DynUsageStore for S {
    fn add_usage<'a>(&'a self, flush: &'a UsageFlush) -> Answer<'a, ()> {
        Box::pin(UsageStore::add_usage(self, flush))
    }

    fn key_usage<'a>(
        &'a self,
        tenant: &'a TenantId,
        keys: &'a [KeyId],
        span: Span,
    ) -> Answer<'a, Vec<KeyUsage>> {
        Box::pin(UsageStore::key_usage(self, tenant, keys, span))
    }

    fn tenant_usage<'a>(&'a self, tenant: &'a TenantId, span: Span) -> Answer<'a, Vec<DayUsage>> {
        Box::pin(UsageStore::tenant_usage(self, tenant, span))
    }

    fn roll_up_usage(&self, days: Day, months: Day) -> Answer<'_, u64> {
        Box::pin(UsageStore::roll_up_usage(self, days, months))
    }

    fn delete_usage<'a>(&'a self, tenant: &'a TenantId) -> Answer<'a, ()> {
        Box::pin(UsageStore::delete_usage(self, tenant))
    }

    fn usage_rows<'a>(
        &'a self,
        period: Period,
        after: Option<&'a KeyUsage>,
        limit: NonZeroUsize,
    ) -> Answer<'a, Vec<KeyUsage>> {
        Box::pin(UsageStore::usage_rows(self, period, after, limit))
    }

    fn raise_usage<'a>(&'a self, period: Period, rows: &'a [KeyUsage]) -> Answer<'a, ()> {
        Box::pin(UsageStore::raise_usage(self, period, rows))
    }
}

/// A [`UsageStore`] of any type. Clones share one store.
#[derive(Clone)]
pub(crate) struct AnyUsageStore(Arc<dyn DynUsageStore>);

impl AnyUsageStore {
    pub(crate) fn new(store: impl UsageStore) -> Self {
        Self(Arc::new(store))
    }
}

impl UsageStore for AnyUsageStore {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        DynUsageStore::add_usage(&*self.0, flush).await
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        DynUsageStore::key_usage(&*self.0, tenant, keys, span).await
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        DynUsageStore::tenant_usage(&*self.0, tenant, span).await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        DynUsageStore::roll_up_usage(&*self.0, days, months).await
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        DynUsageStore::delete_usage(&*self.0, tenant).await
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        DynUsageStore::usage_rows(&*self.0, period, after, limit).await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        DynUsageStore::raise_usage(&*self.0, period, rows).await
    }
}

impl fmt::Debug for AnyUsageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyUsageStore").finish_non_exhaustive()
    }
}
