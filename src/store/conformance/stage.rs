//! A store under test, and the calls that must succeed before a clause can be tested at all.

use alloc::{format, vec::Vec};
use core::{fmt::Debug, num::NonZeroUsize};

use super::{
    expect::{done, holds, same},
    issuer::{Issuer, at},
};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{BrokenRow, KeyCursor, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey},
    time::Timestamp,
    token::KeyId,
};

/// A limit above the number of keys that any clause gives to one tenant.
pub(super) const ROOM: u32 = 1_000;

/// A store under test, and an issuer of keys for it.
pub(super) struct Stage<'s, S> {
    pub(super) store: &'s S,
    pub(super) issuer: Issuer,
}

impl<'s, S: KeyStore> Stage<'s, S> {
    pub(super) fn new(store: &'s S) -> Self {
        Self { store, issuer: Issuer::new() }
    }

    /// Creates a stage with a tenant in the store.
    pub(super) async fn with_tenant(store: &'s S) -> (Self, TenantRecord) {
        let stage = Self::new(store);
        let tenant = stage.add_tenant("acme").await;
        (stage, tenant)
    }

    /// Creates a stage with a tenant and its key in the store.
    pub(super) async fn with_key(store: &'s S, name: &str) -> (Self, TenantRecord, KeyRecord) {
        let (stage, tenant) = Self::with_tenant(store).await;
        let key = stage.add_key(&tenant, name).await;
        (stage, tenant, key)
    }

    /// Adds a new tenant to the store.
    pub(super) async fn add_tenant(&self, id: &str) -> TenantRecord {
        let tenant = self.issuer.tenant(id);
        self.insert_tenant(&tenant, None).await;
        tenant
    }

    pub(super) async fn insert_tenant(&self, tenant: &TenantRecord, first: Option<&KeyRecord>) {
        let inserted = self.store.insert_tenant(tenant.clone(), first.cloned(), &[]).await;
        done(format_args!("inserting the tenant {:?}", tenant.id), inserted);
    }

    /// Adds a new key to the store.
    pub(super) async fn add_key(&self, tenant: &TenantRecord, name: &str) -> KeyRecord {
        self.add_key_at(tenant, name, at(0)).await
    }

    /// Adds this number of new keys to the store.
    pub(super) async fn add_keys(&self, tenant: &TenantRecord, number: usize) -> Vec<KeyRecord> {
        let mut keys = Vec::new();
        for number in 0..number {
            keys.push(self.add_key(tenant, &format!("key {number}")).await);
        }
        keys
    }

    pub(super) async fn add_key_at(
        &self,
        tenant: &TenantRecord,
        name: &str,
        now: Timestamp,
    ) -> KeyRecord {
        let key = self.issuer.key_at(tenant, name, now);
        self.insert_key(&key, tenant).await;
        key
    }

    /// Adds a new key for each of these creation times. Returns the keys in the order of lists.
    pub(super) async fn add_keys_at(
        &self,
        tenant: &TenantRecord,
        times: impl IntoIterator<Item = Timestamp>,
    ) -> Vec<KeyRecord> {
        let mut keys = Vec::new();
        for time in times {
            keys.push(self.add_key_at(tenant, "n", time).await);
        }
        keys.sort_by_key(KeyCursor::of);
        keys
    }

    pub(super) async fn insert_key(&self, key: &KeyRecord, tenant: &TenantRecord) {
        let inserted = self.insert(key, tenant, Some(ROOM)).await;
        done(format_args!("inserting the key {} named {:?}", key.id, key.name), inserted);
    }

    /// Inserts the key at the version of `tenant`, and returns what the store did.
    pub(super) async fn insert(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        max_keys: Option<u32>,
    ) -> Result<(), StoreError> {
        self.store.insert_key(key.clone(), tenant.version, max_keys, &[]).await
    }

    /// Writes `key`, which replaces the version before it.
    pub(super) async fn update_key(&self, key: &KeyRecord) {
        let updated = self.store.update_key(key.clone(), key.version - 1, &[]).await;
        done(format_args!("updating the key {} to version {}", key.id, key.version), updated);
    }

    /// Writes `tenant`, which replaces the version before it.
    pub(super) async fn update_tenant(&self, tenant: &TenantRecord) {
        let updated = self.store.update_tenant(tenant.clone(), tenant.version - 1, &[]).await;
        let (id, version) = (&tenant.id, tenant.version);
        done(format_args!("updating the tenant {id:?} to version {version}"), updated);
    }

    /// Writes and returns the next version of `key`, with another name.
    pub(super) async fn rename(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        name: &str,
    ) -> KeyRecord {
        let key = self.issuer.renamed(key, tenant, name);
        self.update_key(&key).await;
        key
    }

    /// Writes and returns the next version of `tenant`, suspended for this reason.
    pub(super) async fn suspend(&self, tenant: &TenantRecord, reason: &str) -> TenantRecord {
        let tenant = self.issuer.suspended(tenant, reason);
        self.update_tenant(&tenant).await;
        tenant
    }

    pub(super) async fn delete_key(&self, key: &KeyRecord) {
        let deleted = self.store.delete_key(&key.tenant, key.id, None, &[]).await;
        done(format_args!("deleting the key {}", key.id), deleted);
    }

    pub(super) async fn delete_tenant(&self, id: &TenantId) {
        done(format_args!("deleting the tenant {id:?}"), self.store.delete_tenant(id, &[]).await);
    }

    pub(super) async fn note_use(&self, id: KeyId, at: Timestamp) {
        self.note_uses(&[KeyUse { id, at }]).await;
    }

    pub(super) async fn note_uses(&self, uses: &[KeyUse]) {
        let noted = self.store.record_uses(uses, Timestamp::MAX).await;
        done(format_args!("noting {} uses", uses.len()), noted);
    }

    pub(super) async fn lookup(&self, id: KeyId) -> Option<StoredKey> {
        done(format_args!("looking up the key {id}"), self.store.lookup(id).await)
    }

    pub(super) async fn key(&self, tenant: &TenantId, id: KeyId) -> Option<KeyRecord> {
        let key = self.store.key(tenant, id).await;
        done(format_args!("reading the key {id} of the tenant {tenant:?}"), key)
    }

    pub(super) async fn tenant(&self, id: &TenantId) -> Option<TenantRecord> {
        done(format_args!("reading the tenant {id:?}"), self.store.tenant(id).await)
    }

    pub(super) async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Vec<TenantId> {
        let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        let tenants = self.store.tenants(after, limit).await;
        let tenants = done(format_args!("listing {limit} tenants behind {after:?}"), tenants);
        tenants.into_iter().map(|tenant| sound(tenant).id).collect()
    }

    pub(super) async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Vec<KeyRecord> {
        let keys = self.store.keys(tenant, query).await;
        let keys = done(format_args!("listing the keys of {tenant:?} for {query:?}"), keys);
        keys.into_iter().map(sound).collect()
    }

    /// Returns the ids of all keys of a tenant.
    pub(super) async fn ids(&self, tenant: &TenantId) -> Vec<KeyId> {
        let query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        ids_of(&self.keys(tenant, &query).await)
    }

    pub(super) async fn count(&self, tenant: &TenantId) -> u32 {
        let count = self.store.count_keys(tenant, u32::MAX).await;
        done(format_args!("counting the keys of the tenant {tenant:?}"), count)
    }

    /// Expects that `count_keys` returns this number.
    pub(super) async fn expect_count(&self, when: &str, tenant: &TenantId, count: u32) {
        let counted = self.count(tenant).await;
        same(format!("{when}, `count_keys` of {tenant:?}"), &counted, &count);
    }

    /// Expects that `tenant` returns the tenant as given.
    pub(super) async fn expect_tenant(&self, when: &str, tenant: &TenantRecord) {
        let read = self.tenant(&tenant.id).await;
        same(format!("{when}, `tenant` for {:?}", tenant.id), &read, &Some(tenant.clone()));
    }

    /// Expects that there is no tenant with this id, and that it has no keys.
    pub(super) async fn expect_no_tenant(&self, when: &str, id: &TenantId) {
        same(format!("{when}, `tenant` for {id:?}"), &self.tenant(id).await, &None);
        self.expect_count(when, id, 0).await;
    }

    /// Expects that the pages of a query hold these keys once and in order.
    pub(super) async fn expect_pages_of_keys(
        &self,
        tenant: &TenantRecord,
        query: KeyQuery,
        limit: usize,
        keys: &[KeyRecord],
    ) {
        expect_pages(limit, keys, async |last| {
            let query = query.clone().limit(limit);
            let query = last.map(KeyCursor::of).into_iter().fold(query, KeyQuery::after);
            self.keys(&tenant.id, &query).await
        })
        .await;
    }

    /// Expects that every reading method returns the key and its tenant as given.
    pub(super) async fn expect_key(&self, when: &str, key: &KeyRecord, tenant: &TenantRecord) {
        let id = key.id;
        let pair = Some(StoredKey { key: key.clone(), tenant: tenant.clone() });
        same(format!("{when}, `lookup` of the key {id}"), &self.lookup(id).await, &pair);
        self.expect_lookups(when, &[(id, pair)]).await;
        let read = self.key(&tenant.id, id).await;
        same(format!("{when}, `key` for the key {id}"), &read, &Some(key.clone()));
        let listed = self.keys(&tenant.id, &KeyQuery::all().limit(KeyQuery::MAX_LIMIT)).await;
        let listed: Vec<_> = listed.into_iter().filter(|listed| listed.id == id).collect();
        same(format!("{when}, the key {id} in `keys`"), &listed, &[key.clone()].into());
    }

    /// Expects that one `lookup_many` of all these keys returns these results in this order.
    pub(super) async fn expect_lookups(&self, when: &str, all: &[(KeyId, Option<StoredKey>)]) {
        let ids: Vec<_> = all.iter().map(|(id, _)| *id).collect();
        let found = self.store.lookup_many(&ids).await;
        let found = done(format_args!("{when}, looking up {} keys at once", ids.len()), found);
        let one = |found| done(format_args!("{when}, one of {} keys", ids.len()), found);
        let found: Vec<_> = found.into_iter().map(one).collect();
        let expected: Vec<_> = all.iter().map(|(_, stored)| stored.clone()).collect();
        same(format!("{when}, `lookup_many` of {} keys", ids.len()), &found, &expected);
    }

    /// Expects that no reading method returns the key for `tenant`. Another tenant may hold it.
    pub(super) async fn expect_no_key_of(&self, when: &str, tenant: &TenantId, id: KeyId) {
        let read = self.key(tenant, id).await;
        same(format!("{when}, `key` of {tenant:?} for the key {id}"), &read, &None);
        holds(
            format!("{when}, `keys` of the tenant {tenant:?} gives the key {id}"),
            !self.ids(tenant).await.contains(&id),
        );
    }

    /// Expects that no reading method returns the key.
    pub(super) async fn expect_no_key(&self, when: &str, tenant: &TenantId, id: KeyId) {
        same(format!("{when}, `lookup` of the key {id}"), &self.lookup(id).await, &None);
        self.expect_lookups(when, &[(id, None)]).await;
        self.expect_no_key_of(when, tenant, id).await;
    }
}

/// Expects that pages of `limit` records hold `all` records once and in order. `next` reads the page after a
/// record, or the first page.
pub(super) async fn expect_pages<T: Clone + Debug + PartialEq>(
    limit: usize,
    all: &[T],
    next: impl AsyncFn(Option<&T>) -> Vec<T>,
) {
    let mut paged: Vec<T> = Vec::new();
    loop {
        let (_, rest) = all.split_at(paged.len());
        let page = next(paged.last()).await;
        let what = format!("the page of {limit} after {} of {}", paged.len(), all.len());
        same(what, &page, &rest.get(..limit).unwrap_or(rest).to_vec());
        if page.is_empty() {
            return;
        }
        paged.extend(page);
    }
}

/// Returns the record of a row. No clause breaks a row, so a broken one is a failure.
#[track_caller]
pub(super) fn sound<T>(row: Result<T, BrokenRow>) -> T {
    match row {
        Ok(record) => record,
        Err(broken) => panic!("a page has a row that cannot be read: {broken}"),
    }
}

pub(super) fn ids_of(keys: &[KeyRecord]) -> Vec<KeyId> {
    keys.iter().map(|key| key.id).collect()
}

pub(super) fn names_of(keys: &[KeyRecord]) -> Vec<&str> {
    keys.iter().map(|key| &*key.name).collect()
}
