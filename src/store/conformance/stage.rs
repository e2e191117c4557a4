//! A store under test, and the calls that have to succeed for a clause to be told at all.

use alloc::{format, vec::Vec};
use core::num::NonZeroUsize;

use super::{
    expect::{done, holds, same},
    issuer::Issuer,
};
use crate::{
    record::{KeyRecord, TenantId, TenantRecord},
    store::{KeyQuery, KeyStore, KeyUse, StoredKey},
    time::Timestamp,
    token::KeyId,
};

/// More keys than any clause gives to one tenant.
pub(super) const ROOM: u32 = 1_000;

/// A store under test, with somebody who issues keys for it.
pub(super) struct Stage<'s, S> {
    pub(super) store: &'s S,
    pub(super) issuer: Issuer,
}

/// All that can be read of one tenant.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    tenant: Option<TenantRecord>,
    keys: Vec<KeyRecord>,
    count: u32,
    lookups: Vec<Option<StoredKey>>,
}

impl<'s, S: KeyStore> Stage<'s, S> {
    pub(super) fn new(store: &'s S) -> Self {
        Self { store, issuer: Issuer::new() }
    }

    /// A new tenant in the store.
    pub(super) async fn add_tenant(&self, id: &str) -> TenantRecord {
        let tenant = self.issuer.tenant(id);
        self.insert_tenant(&tenant, None).await;
        tenant
    }

    pub(super) async fn insert_tenant(&self, tenant: &TenantRecord, first: Option<&KeyRecord>) {
        let inserted = self.store.insert_tenant(tenant.clone(), first.cloned()).await;
        done(format_args!("inserting the tenant {:?}", tenant.id), inserted);
    }

    /// A new key in the store.
    pub(super) async fn add_key(&self, tenant: &TenantRecord, name: &str) -> KeyRecord {
        let key = self.issuer.key(tenant, name);
        self.insert_key(&key, tenant).await;
        key
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

    pub(super) async fn insert_key(&self, key: &KeyRecord, tenant: &TenantRecord) {
        let inserted = self.store.insert_key(key.clone(), tenant.version, ROOM).await;
        done(format_args!("inserting the key {} named {:?}", key.id, key.name), inserted);
    }

    /// Replaces the version before that of `key`.
    pub(super) async fn update_key(&self, key: &KeyRecord) {
        let updated = self.store.update_key(key.clone(), key.version - 1).await;
        done(format_args!("updating the key {} to version {}", key.id, key.version), updated);
    }

    /// Replaces the version before that of `tenant`.
    pub(super) async fn update_tenant(&self, tenant: &TenantRecord) {
        let updated = self.store.update_tenant(tenant.clone(), tenant.version - 1).await;
        let (id, version) = (&tenant.id, tenant.version);
        done(format_args!("updating the tenant {id:?} to version {version}"), updated);
    }

    pub(super) async fn delete_key(&self, key: &KeyRecord) {
        let deleted = self.store.delete_key(&key.tenant, key.id).await;
        done(format_args!("deleting the key {}", key.id), deleted);
    }

    pub(super) async fn delete_tenant(&self, id: &TenantId) {
        done(format_args!("deleting the tenant {id:?}"), self.store.delete_tenant(id).await);
    }

    pub(super) async fn note_use(&self, id: KeyId, at: Timestamp) {
        self.note_uses(&[KeyUse { id, at }]).await;
    }

    pub(super) async fn note_uses(&self, uses: &[KeyUse]) {
        let noted = self.store.record_uses(uses).await;
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
        tenants.into_iter().map(|tenant| tenant.id).collect()
    }

    pub(super) async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Vec<KeyRecord> {
        let keys = self.store.keys(tenant, query).await;
        done(format_args!("listing the keys of the tenant {tenant:?} for {query:?}"), keys)
    }

    /// All keys of a tenant, by their ids.
    pub(super) async fn ids(&self, tenant: &TenantId) -> Vec<KeyId> {
        let query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT);
        ids_of(&self.keys(tenant, &query).await)
    }

    pub(super) async fn count(&self, tenant: &TenantId) -> u32 {
        let count = self.store.count_keys(tenant).await;
        done(format_args!("counting the keys of the tenant {tenant:?}"), count)
    }

    /// All that can be read of `tenant`, and by a look-up of its keys and of `ids`.
    pub(super) async fn reading(&self, tenant: &TenantId, ids: &[KeyId]) -> Reading {
        let keys = self.keys(tenant, &KeyQuery::all().limit(KeyQuery::MAX_LIMIT)).await;
        let mut lookups = Vec::new();
        for id in keys.iter().map(|key| key.id).chain(ids.iter().copied()) {
            lookups.push(self.lookup(id).await);
        }
        Reading {
            tenant: self.tenant(tenant).await,
            count: self.count(tenant).await,
            keys,
            lookups,
        }
    }

    /// Every reading method gives the key and its tenant as they are here.
    pub(super) async fn expect_key(&self, when: &str, key: &KeyRecord, tenant: &TenantRecord) {
        let id = key.id;
        let pair = StoredKey { key: key.clone(), tenant: tenant.clone() };
        same(format!("{when}, `lookup` of the key {id}"), &self.lookup(id).await, &Some(pair));
        let read = self.key(&tenant.id, id).await;
        same(format!("{when}, `key` for the key {id}"), &read, &Some(key.clone()));
        let listed = self.keys(&tenant.id, &KeyQuery::all().limit(KeyQuery::MAX_LIMIT)).await;
        let listed: Vec<_> = listed.into_iter().filter(|listed| listed.id == id).collect();
        same(format!("{when}, the key {id} in `keys`"), &listed, &[key.clone()].into());
    }

    /// No reading method gives the key to `tenant`, though another one may hold it.
    pub(super) async fn expect_no_key_of(&self, when: &str, tenant: &TenantId, id: KeyId) {
        let read = self.key(tenant, id).await;
        same(format!("{when}, `key` of {tenant:?} for the key {id}"), &read, &None);
        holds(
            format!("{when}, `keys` of the tenant {tenant:?} gives the key {id}"),
            !self.ids(tenant).await.contains(&id),
        );
    }

    /// No reading method gives the key.
    pub(super) async fn expect_no_key(&self, when: &str, tenant: &TenantId, id: KeyId) {
        same(format!("{when}, `lookup` of the key {id}"), &self.lookup(id).await, &None);
        self.expect_no_key_of(when, tenant, id).await;
    }
}

pub(super) fn ids_of(keys: &[KeyRecord]) -> Vec<KeyId> {
    keys.iter().map(|key| key.id).collect()
}

pub(super) fn names_of(keys: &[KeyRecord]) -> Vec<&str> {
    keys.iter().map(|key| &*key.name).collect()
}
