//! Where keys are kept: the contract that every store keeps.
//!
//! A node that only verifies needs a [`KeyLookup`]; one that also manages keys needs a [`KeyStore`].
//! Implementors write plain `async fn`. There are no default bodies: whatever a store promises, it
//! does itself. [`MemoryStore`] is the reference, and `examples/custom_store.rs` a host's own.
//!
//! # The contract
//!
//! **Identity.** Ids of tenants and keys are compared byte for byte. Case, white space and Unicode
//! form matter, and no collation may say otherwise.
//!
//! **Round trip.** A record comes back equal to what was written, with the last use beside it.
//!
//! **Atomicity.** Every method takes effect as a whole or not at all, whether it fails, its future is
//! dropped half-way, or the process dies. Of two writes of one record, one comes first.
//!
//! **Quota.** [`insert_key`](KeyStore::insert_key) counts and inserts in one step: however many
//! processes insert at once, a tenant never holds more keys than the limit that was passed.
//!
//! **Compare and set.** An update names the version that it replaces. If the stored version is
//! another, nothing is written and the answer is [`StoreError::Conflict`].
//!
//! **Visibility.** What a completed write has written, every read that begins later sees, on every
//! node. A store that reads from replicas says by how much they may lag.
//!
//! **One snapshot.** [`lookup`](KeyLookup::lookup) reads a key and its tenant as they were at one
//! point in time.
//!
//! **Permanence.** A deleted key is gone, and its id is never accepted again.
//!
//! **Pages.** Lists are in ascending order of creation, then of id. A page continues behind a
//! record, not at a number, so what comes and goes elsewhere neither hides nor repeats a record.
//!
//! **Absence** of a record is not an error where the method answers with an `Option`; a store that
//! cannot answer says [`StoreError::Unavailable`] and never that nothing is there.
//!
//! **Errors.** Where several would be true of one call, it is the store's choice which one it says.
//!
//! The feature `conformance` has all this as a test suite, which a store runs with one line; the guide
//! for [authors of stores](crate::guide::store_authors) begins there.

#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod erased;
mod feed;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{error::Error, fmt, future::Future, num::NonZeroUsize};

#[cfg(feature = "std")]
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::{
    erased::{AnyLookup, AnyStore},
    feed::{Change, ChangeFeed},
};
use crate::{
    record::{DecodeError, KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

/// A key and the tenant that holds it, as they were at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: KeyRecord,
    /// Its tenant.
    pub tenant: TenantRecord,
}

/// Reads keys: all that a verifying node needs.
pub trait KeyLookup: Send + Sync + 'static {
    /// The key `id` and its tenant in one snapshot, or `None` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn lookup(
        &self,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send;
}

/// Keeps keys and tenants. The [contract](self) is the whole of it.
pub trait KeyStore: KeyLookup {
    /// Adds a tenant, and with it its first key if there is one, in one step.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if the tenant exists, or the key does or ever did;
    /// [`StoreError::Unavailable`].
    fn insert_tenant(
        &self,
        tenant: TenantRecord,
        first_key: Option<KeyRecord>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The tenant `id`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn tenant(
        &self,
        id: &TenantId,
    ) -> impl Future<Output = Result<Option<TenantRecord>, StoreError>> + Send;

    /// One page of all tenants, in ascending order of their ids' bytes, behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> impl Future<Output = Result<Vec<TenantRecord>, StoreError>> + Send;

    /// Replaces the record of a tenant whose stored version is `replaces`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] or [`StoreError::Unavailable`].
    fn update_tenant(
        &self,
        tenant: TenantRecord,
        replaces: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes a tenant and all of its keys.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] or [`StoreError::Unavailable`].
    fn delete_tenant(&self, id: &TenantId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds a key, if its tenant still has `tenant_version` and holds fewer than `max_keys` keys.
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
        max_keys: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The key `id`, if `tenant` holds it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn key(
        &self,
        tenant: &TenantId,
        id: KeyId,
    ) -> impl Future<Output = Result<Option<KeyRecord>, StoreError>> + Send;

    /// One page of the keys of `tenant` that match `query`. An unknown tenant has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] or [`StoreError::Corrupt`].
    fn keys(
        &self,
        tenant: &TenantId,
        query: &KeyQuery,
    ) -> impl Future<Output = Result<Vec<KeyRecord>, StoreError>> + Send;

    /// How many keys `tenant` holds, whatever their state.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn count_keys(&self, tenant: &TenantId)
    -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Replaces the record of a key whose stored version is `replaces`. The last use stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] or [`StoreError::Unavailable`].
    fn update_key(
        &self,
        key: KeyRecord,
        replaces: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the key `id`, if `tenant` holds it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] or [`StoreError::Unavailable`].
    fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes when keys were last used. A time earlier than the one that is known changes nothing, and
    /// neither does a key that does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    fn record_uses(&self, uses: &[KeyUse]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A key was used at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub id: KeyId,
    /// When.
    pub at: Timestamp,
}

/// Which of a tenant's keys to list.
///
/// ```
/// use keyway::store::KeyQuery;
///
/// let query = KeyQuery::all().containing("nightly").limit(20);
/// assert_eq!(query.text(), Some("nightly"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    text: Option<String>,
    after: Option<KeyCursor>,
    limit: NonZeroUsize,
}

impl KeyQuery {
    /// The most keys on one page.
    pub const MAX_LIMIT: usize = 1_000;

    /// The first 100 keys.
    pub fn all() -> Self {
        Self { text: None, after: None, limit: NonZeroUsize::MIN.saturating_add(99) }
    }

    /// Only keys whose name, hint or id contains `text`, letter for letter; the letters A to Z match
    /// in either case. Nothing in it has a special meaning.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Only keys behind this place of an earlier page.
    #[must_use]
    pub fn after(mut self, cursor: KeyCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// At most this many keys, brought into 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = NonZeroUsize::new(limit.min(Self::MAX_LIMIT)).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// With one more key than the limit, which tells whether there is another page.
    #[cfg(feature = "std")]
    pub(crate) fn one_more(mut self) -> Self {
        self.limit = self.limit.saturating_add(1);
        self
    }

    /// The text to look for.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The place behind which to begin.
    pub fn cursor(&self) -> Option<KeyCursor> {
        self.after
    }

    /// The most keys to give.
    pub fn max(&self) -> NonZeroUsize {
        self.limit
    }

    /// Whether `key` contains the text and is behind the cursor: what a store without indexes of its
    /// own asks of each of a tenant's keys.
    pub fn matches(&self, key: &KeyRecord) -> bool {
        let behind = self.after.is_none_or(|cursor| KeyCursor::of(key) > cursor);
        let contains = |field: &str, text: &str| {
            // Only ASCII letters fold, so positions and lengths stay as they are.
            field.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
        };
        behind
            && self.text.as_deref().is_none_or(|text| {
                contains(&key.name, text)
                    || contains(&key.hint, text)
                    || contains(key.id.as_str(), text)
            })
    }
}

impl Default for KeyQuery {
    fn default() -> Self {
        Self::all()
    }
}

/// The place of a key in the order of all keys of its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyCursor {
    /// When the key was created.
    pub created_at: Timestamp,
    /// The id of the key.
    pub id: KeyId,
}

impl KeyCursor {
    /// The place of `key`.
    pub fn of(key: &KeyRecord) -> Self {
        Self { created_at: key.created_at, id: key.id }
    }
}

/// What a store says when it did not do what it was asked. Nothing was written then, except that
/// after [`Unavailable`](Self::Unavailable) nobody knows.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The id is taken.
    Exists,
    /// There is no such record.
    NotFound,
    /// The record has another version than the one that was named.
    Conflict,
    /// The tenant holds as many keys as it may, or more.
    QuotaFull {
        /// How many it holds.
        held: u32,
    },
    /// A record cannot be read.
    Corrupt(DecodeError),
    /// The store did not answer, or answered with an error of its own.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// The store did not answer, because of `cause`.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("the id is taken"),
            Self::NotFound => f.write_str("there is no such record"),
            Self::Conflict => f.write_str("the record was changed by somebody else"),
            Self::QuotaFull { held } => write!(f, "the tenant already holds {held} keys"),
            Self::Corrupt(_) => f.write_str("a record cannot be read"),
            Self::Unavailable(_) => f.write_str("the store did not answer"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(cause) => Some(cause),
            Self::Unavailable(cause) => Some(&**cause),
            Self::Exists | Self::NotFound | Self::Conflict | Self::QuotaFull { .. } => None,
        }
    }
}

impl From<DecodeError> for StoreError {
    fn from(cause: DecodeError) -> Self {
        Self::Corrupt(cause)
    }
}
