//! Handles that hide the type of a store, so that code above the store needs no type parameter.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, future::Future, num::NonZeroUsize, pin::Pin, time::Duration};

#[cfg(feature = "std")]
use super::AnyEventStore;
use super::{
    KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Notices, Rows, StoreError, StoredKey, Work,
};
use crate::{
    event::Event,
    record::{KeyRecord, TenantId, TenantRecord},
    time::Timestamp,
    token::KeyId,
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A [`KeyLookup`] of any type. Clones share one lookup.
#[derive(Clone)]
pub struct AnyLookup(Arc<dyn DynLookup>);

/// A [`KeyStore`] of any type. Clones share one store.
#[derive(Clone)]
pub struct AnyStore(Arc<dyn DynStore>);

impl AnyLookup {
    /// Hides the type of `lookup`.
    pub fn new(lookup: impl KeyLookup) -> Self {
        Self(Arc::new(lookup))
    }
}

impl AnyStore {
    /// Hides the type of `store`.
    pub fn new(store: impl KeyStore) -> Self {
        Self(Arc::new(store))
    }

    /// Hides the type of a store that is used in another way as well.
    #[cfg(feature = "std")]
    pub(crate) fn shared(store: Arc<impl KeyStore>) -> Self {
        Self(store)
    }

    /// Returns the store as a lookup, which is all that a verifying node needs.
    pub fn to_lookup(&self) -> AnyLookup {
        AnyLookup(Arc::clone(&self.0) as _)
    }
}

impl fmt::Debug for AnyLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyLookup").finish_non_exhaustive()
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyStore").finish_non_exhaustive()
    }
}

/// The object-safe form of [`KeyLookup`], with boxed futures.
trait DynLookup: Send + Sync {
    fn lookup(&self, id: KeyId) -> Answer<'_, Option<StoredKey>>;
    fn lookup_many<'a>(&'a self, ids: &'a [KeyId]) -> Answer<'a, Lookups>;
    fn detach(&self, work: Work) -> Option<Work>;
    fn max_lag(&self) -> Duration;
    fn marker(&self) -> Answer<'_, Option<Vec<u8>>>;
}

impl<S: KeyLookup> DynLookup for S {
    fn lookup(&self, id: KeyId) -> Answer<'_, Option<StoredKey>> {
        Box::pin(KeyLookup::lookup(self, id))
    }

    fn lookup_many<'a>(&'a self, ids: &'a [KeyId]) -> Answer<'a, Lookups> {
        Box::pin(KeyLookup::lookup_many(self, ids))
    }

    fn detach(&self, work: Work) -> Option<Work> {
        KeyLookup::detach(self, work)
    }

    fn max_lag(&self) -> Duration {
        KeyLookup::max_lag(self)
    }

    fn marker(&self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(KeyLookup::marker(self))
    }
}

#[deny(clippy::missing_trait_methods)]
impl KeyLookup for AnyLookup {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        DynLookup::lookup(&*self.0, id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        DynLookup::lookup_many(&*self.0, ids).await
    }

    fn detach(&self, work: Work) -> Option<Work> {
        DynLookup::detach(&*self.0, work)
    }

    fn max_lag(&self) -> Duration {
        DynLookup::max_lag(&*self.0)
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        DynLookup::marker(&*self.0).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl KeyLookup for AnyStore {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        DynLookup::lookup(&*self.0, id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        DynLookup::lookup_many(&*self.0, ids).await
    }

    fn detach(&self, work: Work) -> Option<Work> {
        DynLookup::detach(&*self.0, work)
    }

    fn max_lag(&self) -> Duration {
        DynLookup::max_lag(&*self.0)
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        DynLookup::marker(&*self.0).await
    }
}

/// Generates `DynStore`, the object-safe form of [`KeyStore`] with boxed futures, and implements [`KeyStore`]
/// for [`AnyStore`] with it, and for `AnyEventStore` with that. Each argument lists its type twice: without and with the explicit lifetime.
#[allow(clippy::needless_lifetimes, reason = "the macro names a lifetime for those that borrow")]
macro_rules! erase {
    ($(fn $name:ident($($argument:ident: $plain:ty = $boxed:ty),*) -> $output:ty;)*) => {
        #[allow(clippy::elidable_lifetime_names, reason = "only some of the methods borrow")]
        trait DynStore: DynLookup {
            fn announce_with(&self, notices: &Notices);
            $(fn $name<'a>(&'a self $(, $argument: $boxed)*) -> Answer<'a, $output>;)*
        }

        #[allow(clippy::elidable_lifetime_names, reason = "only some of the methods borrow")]
        impl<S: KeyStore> DynStore for S {
            fn announce_with(&self, notices: &Notices) {
                KeyStore::announce_with(self, notices);
            }

            $(fn $name<'a>(&'a self $(, $argument: $boxed)*) -> Answer<'a, $output> {
                Box::pin(KeyStore::$name(self $(, $argument)*))
            })*
        }

        #[deny(clippy::missing_trait_methods)]
        impl KeyStore for AnyStore {
            fn announce_with(&self, notices: &Notices) {
                DynStore::announce_with(&*self.0, notices);
            }

            $(async fn $name(&self $(, $argument: $plain)*) -> Result<$output, StoreError> {
                DynStore::$name(&*self.0 $(, $argument)*).await
            })*
        }

        #[cfg(feature = "std")]
        #[deny(clippy::missing_trait_methods)]
        impl KeyStore for AnyEventStore {
            fn announce_with(&self, notices: &Notices) {
                KeyStore::announce_with(self.keys(), notices);
            }

            $(async fn $name(&self $(, $argument: $plain)*) -> Result<$output, StoreError> {
                KeyStore::$name(self.keys() $(, $argument)*).await
            })*
        }
    };
}

erase! {
    fn insert_tenant(
        tenant: TenantRecord = TenantRecord,
        first_key: Option<KeyRecord> = Option<KeyRecord>,
        events: &[Event] = &'a [Event]
    ) -> ();
    fn tenant(id: &TenantId = &'a TenantId) -> Option<TenantRecord>;
    fn tenants(
        after: Option<&TenantId> = Option<&'a TenantId>,
        limit: NonZeroUsize = NonZeroUsize
    ) -> Rows<TenantRecord>;
    fn update_tenant(
        tenant: TenantRecord = TenantRecord,
        replaces: u64 = u64,
        events: &[Event] = &'a [Event]
    ) -> ();
    fn delete_tenant(id: &TenantId = &'a TenantId, events: &[Event] = &'a [Event]) -> ();
    fn insert_key(
        key: KeyRecord = KeyRecord,
        tenant_version: u64 = u64,
        max_keys: Option<u32> = Option<u32>,
        events: &[Event] = &'a [Event]
    ) -> ();
    fn key(tenant: &TenantId = &'a TenantId, id: KeyId = KeyId) -> Option<KeyRecord>;
    fn keys(tenant: &TenantId = &'a TenantId, query: &KeyQuery = &'a KeyQuery) -> Rows<KeyRecord>;
    fn count_keys(tenant: &TenantId = &'a TenantId, up_to: u32 = u32) -> u32;
    fn update_key(
        key: KeyRecord = KeyRecord,
        replaces: u64 = u64,
        events: &[Event] = &'a [Event]
    ) -> ();
    fn delete_key(
        tenant: &TenantId = &'a TenantId,
        id: KeyId = KeyId,
        replaces: Option<u64> = Option<u64>,
        events: &[Event] = &'a [Event]
    ) -> ();
    fn record_uses(uses: &[KeyUse] = &'a [KeyUse], latest: Timestamp = Timestamp) -> ();
    fn set_marker(marker: &[u8] = &'a [u8], replaces: Option<&[u8]> = Option<&'a [u8]>) -> ();
}
