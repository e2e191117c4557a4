//! Key storage: the store traits, the contract that every store keeps, and the stores that come with keyway.
//!
//! A node that only verifies needs a [`KeyLookup`]. A node that also manages keys needs a [`KeyStore`].
//! Implementors write plain `async fn`. The traits have no default bodies but that of
//! [`detach`](KeyLookup::detach), so a store implements everything that it promises. `MemoryStore` is the reference, and `examples/custom-store` shows an application's own
//! store.
//!
//! # The contract
//!
//! **Identity.** Ids of tenants and keys are compared byte for byte. Case, white space and Unicode form
//! matter, and no collation may treat different ids as equal.
//!
//! **Round trip.** A record is read equal to how it was written, together with its last use.
//!
//! **Atomicity.** Every method takes effect as a whole or not at all. This also holds if the method fails,
//! its future is dropped halfway, or the process dies. Two writes of one record happen one after the other.
//!
//! **Quota.** [`insert_key`](KeyStore::insert_key) counts and inserts in one step. A tenant never holds more
//! keys than the limit that was passed, however many processes insert at once. The count stops at that limit.
//!
//! **Compare and set.** An update names the version that it replaces. So does a deletion that was decided on
//! a read. If the stored version differs, nothing is written and the result is [`StoreError::Conflict`].
//!
//! **Visibility.** Every read that begins after a write has completed sees that write, on every node. A store
//! that reads from replicas documents by how much they may lag.
//!
//! **One snapshot.** [`lookup`](KeyLookup::lookup) and [`lookup_many`](KeyLookup::lookup_many) read a key and its
//! tenant as they were at one point in time.
//!
//! **Permanence.** A deleted key is gone, and its id is never accepted again.
//!
//! **Deletion of a tenant.** As soon as [`delete_tenant`](KeyStore::delete_tenant) has begun to write, no
//! method finds the tenant or any of its keys. A store may erase the keys afterwards, in portions. If that is
//! interrupted, a repeated call continues the deletion. A tenant that is created again under the same id
//! never has keys of the deleted tenant.
//!
//! **Pages.** Keys are listed in ascending order of creation time, then of id. Tenants are listed in
//! ascending order of the bytes of their ids. A page continues after a given record, not at an offset.
//! Records that are added or removed elsewhere therefore neither hide nor repeat a record.
//!
//! **Broken rows.** A row of a page that cannot be read as a record is returned as one item of the page, a
//! [`BrokenRow`]. It names the row as far as that is possible and does not end the page. A row with a name
//! counts toward the limit. A row without a name does not count. A page that is followed by another one
//! therefore always holds a name after which the next page begins.
//!
//! **Absence** of a record is not an error where the method returns an `Option`. A store that cannot be read
//! returns [`StoreError::Unavailable`], never an absent record.
//!
//! **Events.** The writing methods take the [events](crate::event) of their change. A store that is an `EventStore` writes
//! them in the same transaction if and only if the change is made. Any other store ignores them.
//!
//! **Errors.** If several errors apply to one call, the store chooses which one it returns.
//!
//! The feature `conformance` provides this contract as a test suite, which a store runs with one line. The
//! guide for [authors of stores](crate::guide::store_authors) starts with it.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod audit_table;
mod broken;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod copy;
mod erased;
mod error;
#[cfg(feature = "std")]
mod events;
mod feed;
mod filter;
#[cfg(feature = "std")]
mod limits;
#[cfg(feature = "std")]
pub(crate) mod memory;
mod notices;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod query;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(feature = "std")]
mod usage;

use alloc::{boxed::Box, vec::Vec};
use core::{future::Future, num::NonZeroUsize, pin::Pin, time::Duration};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use self::audit_table::AuditTable;
#[cfg(feature = "std")]
pub use self::copy::{copy_limits, copy_usage};
#[cfg(feature = "std")]
pub use self::events::{AnyEventStore, EventStore};
#[cfg(feature = "std")]
pub(crate) use self::filter::TenantFacts;
#[cfg(feature = "std")]
pub use self::limits::{Leased, LimitStore, UsedWindow};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresBuilder, PostgresError, PostgresFeed, PostgresReplica, sqlx};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteBuilder, SqliteError, SqliteFeed};
#[cfg(feature = "std")]
pub use self::usage::UsageStore;
pub use self::{
    broken::BrokenRow,
    copy::{Copied, CopyError, copy},
    erased::{AnyLookup, AnyStore},
    error::StoreError,
    feed::{Change, ChangeFeed, Follower},
    filter::KeyFilter,
    notices::Notices,
    query::{KeyCursor, KeyQuery},
};
#[cfg(feature = "std")]
pub(crate) use self::{limits::AnyLimitStore, usage::AnyUsageStore};
use crate::{
    event::Event,
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// A key and its tenant, both read at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: KeyRecord,
    /// The tenant that holds the key.
    pub tenant: TenantRecord,
}

/// The results of a lookup of several keys, one for each id.
pub type Lookups = Vec<Result<Option<StoredKey>, StoreError>>;

/// The rows of a page: records, and the rows that cannot be read as records.
pub type Rows<T> = Vec<Result<T, BrokenRow>>;

/// Work that can be run apart from the task that began it.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reads keys. A verifying node needs nothing else.
pub trait KeyLookup: Send + Sync + 'static {
    /// Returns the key `id` and its tenant in one snapshot, or `None` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn lookup(
        &self,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send;

    /// Looks up several keys at once, as many calls of [`lookup`](Self::lookup) would. The results are in the order
    /// of `ids`. Each key and its tenant are read in one snapshot. No id occurs twice. There are at most 500.
    ///
    /// A node calls this when it needs many keys that it does not have, as after its start. A store with a network
    /// in between sends one request for all of them. Others may return [`lookup_each`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if no key can be read. A key that cannot be read is
    /// [`StoreError::Corrupt`] in its place, and does not affect the others.
    fn lookup_many(
        &self,
        ids: &[KeyId],
    ) -> impl Future<Output = Result<Lookups, StoreError>> + Send;

    /// Runs `work` to its end on the lookup's own runtime, apart from the caller. Returns `work` unchanged if there is no
    /// runtime at hand, as this implementation does.
    ///
    /// The work contains calls of this lookup for an open [stream](crate::guide::streams). The task of a stream waits for
    /// its client at times, and does not drive its reads then. A lookup whose reads hold what others wait for, such as a
    /// connection of a pool, should run the work.
    fn detach(&self, work: Work) -> Option<Work> {
        Some(work)
    }

    /// Returns the most by which this lookup lags behind the writes to the store. It is zero for the store itself. A
    /// lookup that reads a replica fails while the replica is further behind.
    fn max_lag(&self) -> Duration;

    /// Returns the bytes that [`set_marker`](KeyStore::set_marker) wrote, or `None` if there are none.
    ///
    /// The marker identifies the issuer, environment and peppers to which the store belongs. A lookup that
    /// cannot read the marker, such as one over a remote service, returns `None`. Nothing is compared then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn marker(&self) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// Looks up each of `ids` with one call of [`lookup`](KeyLookup::lookup). It serves as the
/// [`lookup_many`](KeyLookup::lookup_many) of a lookup that gains nothing from one request for all.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if a key cannot be read.
pub async fn lookup_each(lookup: &impl KeyLookup, ids: &[KeyId]) -> Result<Lookups, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        match lookup.lookup(*id).await {
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            result => found.push(result),
        }
    }
    Ok(found)
}

/// Stores keys and tenants, as the [contract](self) requires.
///
/// Each method that changes a tenant or a key takes the [events](crate::event) of this change, which are of that tenant. They
/// are written in the same transaction if and only if the change is made. A store that is no `EventStore` ignores them,
/// and gets none from a keyring.
pub trait KeyStore: KeyLookup {
    /// Sets the [`Notices`] with which this store announces changes to the feeds of other nodes. A keyring
    /// calls this when it is built. A store without its own feed ignores the call.
    ///
    /// Every later write that changes a record announces the change if and only if it is committed. Before
    /// the first call, a store announces nothing that a node could read.
    fn announce_with(&self, notices: &Notices);

    /// Adds a tenant, together with its first key if one is given, in one step.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if the tenant exists, or if the key exists or ever existed;
    /// [`StoreError::Unavailable`].
    fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the tenant `id`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn tenant(
        &self,
        id: &TenantId,
    ) -> impl Future<Output = Result<Option<TenantRecord>, StoreError>> + Send;

    /// Returns one page of all tenants that follow `after`, in ascending order of the bytes of their ids. If
    /// `after` is `None`, the page begins with the first tenant.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Rows<TenantRecord>, StoreError>> + Send;

    /// Replaces the record of a tenant whose stored version is `replaces`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] or [`StoreError::Unavailable`].
    fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes a tenant and all of its keys, or continues a deletion that was interrupted. The events are written with the
    /// beginning of the deletion, and not again when it is continued.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such tenant and no remains of a deleted one;
    /// [`StoreError::Unavailable`].
    fn delete_tenant(
        &self,
        id: &TenantId,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds a key, if its tenant still has `tenant_version` and holds fewer than `max_keys` keys. If
    /// `max_keys` is `None` there is no limit, and nothing is counted.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such tenant, [`StoreError::Conflict`] if it has another
    /// version, [`StoreError::QuotaFull`] if it holds `max_keys` or more, [`StoreError::Exists`] if
    /// the id is or ever was in use, [`StoreError::Unavailable`].
    fn insert_key(
        &self,
        key: KeyRecord,
        tenant_version: u64,
        max_keys: Option<u32>,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the key `id`, if `tenant` holds it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn key(
        &self,
        tenant: &TenantId,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<KeyRecord>, StoreError>> + Send;

    /// Returns one page of the keys of `tenant` that match `query`. An unknown tenant has no keys.
    ///
    /// A row that cannot be read matches every search text, since its name is unknown.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> impl Future<Output = Result<Rows<KeyRecord>, StoreError>> + Send;

    /// Returns the number of keys that `tenant` holds in any state, or `up_to` if it holds more. The time is
    /// proportional to the result.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn count_keys(
        &self,
        tenant: &TenantId,
        up_to: u32,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Replaces the record of a key whose stored version is `replaces`. The stored last use is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] or [`StoreError::Unavailable`].
    fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the key `id`, if `tenant` holds it and its stored version is `replaces`. If `replaces` is
    /// `None`, any version is deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] or [`StoreError::Unavailable`].
    fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        events: &[Event],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records when keys were last used. A time earlier than the stored one changes nothing, unless the
    /// stored time is later than `latest`. Such a time comes from a wrong clock and is replaced. The use of a
    /// key that does not exist is ignored.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn record_uses(
        &self,
        uses: &[KeyUse],
        latest: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores `marker`, at most a few kilobytes, if the stored marker equals `replaces` byte for byte. `None`
    /// means that no marker is stored. See [`marker`](KeyLookup::marker).
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the stored marker is another one or is missing;
    /// [`StoreError::Unavailable`].
    fn set_marker(
        &self,
        marker: &[u8],
        replaces: Option<&[u8]>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// One use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub id: KeyId,
    /// The time of the use.
    pub at: Timestamp,
}
