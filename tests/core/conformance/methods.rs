//! The methods of the store with a planted bug.

use std::{collections::BTreeSet, num::NonZeroUsize, time::Duration};

use keyway::{
    KeyId, KeyRecord, TenantId, Timestamp,
    event::Event,
    record::TenantRecord,
    store::{
        KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, Lookups, Rows, StoreError, StoredKey,
        lookup_each,
    },
};

use super::{
    bug::Bug::*,
    planted::{Answer, Planted, check_version},
};
use crate::support::pause;

impl KeyLookup for Planted {
    async fn lookup(&self, id: KeyId) -> Answer<Option<StoredKey>> {
        let stored = match self.bug {
            Some(LooksUpInAnOldCopy) => self.old.lock().unwrap().stored(id),
            Some(WritesASecondCopyLater) => self.second.lock().unwrap().stored(id),
            Some(ReadsTheTenantFirst) => {
                let stored = self.read().stored(id);
                pause().await;
                let key = self.read().keys.get(&id).cloned();
                stored.zip(key).map(|(stored, key)| StoredKey { key, ..stored })
            }
            Some(ReadsTheKeyFirst) => {
                let Some(key) = self.read().keys.get(&id).cloned() else { return Ok(None) };
                pause().await;
                let tenant = self.read().tenants.get(key.tenant()).cloned();
                let tenant = tenant.ok_or_else(|| StoreError::unavailable("no tenant"))?;
                Some(StoredKey { key, tenant })
            }
            Some(KeepsDeletedKeysReadable) => {
                let stored = self.read().stored(id);
                let is_deleted = self.read().deleted.contains_key(&id);
                if is_deleted { self.second.lock().unwrap().stored(id) } else { stored }
            }
            Some(LeavesKeysOfDeletedTenants) => {
                let stored = self.read().stored(id);
                stored.or_else(|| self.second.lock().unwrap().stored(id))
            }
            _ => {
                let tables = self.read();
                tables.stored(self.find_key(&tables, id))
            }
        };
        if stored.is_none() && self.has(SaysUnavailableForNothing) {
            return Err(StoreError::unavailable("no such row"));
        }
        Ok(stored)
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Answer<Lookups> {
        let mut ids = ids.to_vec();
        if self.has(SortsManyLookups) {
            ids.sort_unstable();
        }
        let mut found = lookup_each(self, &ids).await?;
        if self.has(LeavesOutMissingLookups) {
            found.retain(|found| !matches!(found, Ok(None)));
        }
        Ok(found)
    }

    fn max_lag(&self) -> Duration {
        Duration::ZERO
    }

    async fn marker(&self) -> Answer<Option<Vec<u8>>> {
        Ok(self.read().marker.clone())
    }
}

impl KeyStore for Planted {
    fn announce_with(&self, _: &keyway::store::Notices) {}

    async fn insert_tenant(
        &self,
        new: TenantRecord,
        first: Option<KeyRecord>,
        _: &[Event],
    ) -> Answer<()> {
        let first = first.map(|key| self.as_kept(key));
        if self.has(ChecksIdsFirst) {
            let is_taken = self.read().tenants.contains_key(new.id());
            pause().await;
            if !is_taken {
                self.write().tenants.remove(new.id());
            }
        }
        let insert = |with_key: bool| {
            let mut tables = self.write();
            let taken = self.find_tenant(&tables, new.id());
            if tables.tenants.contains_key(&taken) && !self.has(ReplacesTenants) {
                return Err(StoreError::Exists);
            }
            if self.has(InsertsTheTenantBeforeItsKeyIsChecked) {
                tables.tenants.insert(new.id().clone(), new.clone());
            }
            if let Some(key) = &first {
                self.check_new(&tables, key.id())?;
                if with_key {
                    tables.keys.insert(key.id(), key.clone());
                }
            }
            tables.tenants.insert(new.id().clone(), new.clone());
            Ok(())
        };
        let answer = insert(!self.has(InsertsTheTenantAndThenItsKey));
        if answer.is_ok() && self.has(InsertsTheTenantAndThenItsKey) {
            pause().await;
            self.write().keys.extend(first.map(|key| (key.id(), key)));
        }
        self.end(answer).await
    }

    async fn tenant(&self, id: &TenantId) -> Answer<Option<TenantRecord>> {
        let tables = self.read();
        let tenant = tables.tenants.get(&self.find_tenant(&tables, id)).cloned();
        if self.has(ReadsTenantsFromAnOldCopy) {
            return Ok(self.old.lock().unwrap().tenants.get(id).cloned());
        }
        if tenant.is_none() && self.has(SaysUnavailableForNothing) {
            return Err(StoreError::unavailable("no such row"));
        }
        Ok(tenant)
    }

    async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: NonZeroUsize,
    ) -> Answer<Rows<TenantRecord>> {
        let tables = self.read_for_list();
        if self.has(NeedsTheCursorsTenant)
            && after.is_some_and(|id| !tables.tenants.contains_key(id))
        {
            return Ok(Vec::new());
        }
        let mut tenants: Vec<_> = tables.tenants.values().cloned().collect();
        if self.has(OrdersTenantsByLanguage) {
            tenants.sort_by_key(|tenant| tenant.id().as_str().to_lowercase());
        }
        tenants.retain(|tenant| {
            after.is_none_or(|after| match self.bug {
                Some(PagesBeginAtTheCursor) => tenant.id() >= after,
                _ => tenant.id() > after,
            })
        });
        tenants.truncate(if self.has(IgnoresTheLimit) { usize::MAX } else { limit.get() });
        Ok(tenants.into_iter().map(Ok).collect())
    }

    async fn update_tenant(&self, new: TenantRecord, replaces: u64, _: &[Event]) -> Answer<()> {
        let update = |checks: bool, writes: bool| {
            let mut tables = self.write();
            let Some(stored) = tables.tenants.get_mut(new.id()) else {
                return Err(match self.bug {
                    Some(SaysConflictForNothing) => StoreError::Conflict,
                    _ => StoreError::NotFound,
                });
            };
            if checks && !self.has(UpdatesTenantsWithoutCompare) {
                check_version(stored.version(), replaces)?;
            }
            let skips = self.has(SkipsUpdatesThatKeepTheTier) && stored.tier() == new.tier();
            if writes && !skips {
                *stored = new.clone();
                if self.has(CascadesTenantUpdates) {
                    tables.keys.retain(|_, key| key.tenant() != new.id());
                }
            }
            Ok(())
        };
        let mut answer = update(true, !self.has(ComparesFirst));
        if answer.is_ok() && self.has(ComparesFirst) {
            pause().await;
            answer = update(false, true);
        }
        self.end(answer).await
    }

    async fn delete_tenant(&self, id: &TenantId, _: &[Event]) -> Answer<()> {
        if self.has(ChecksBeforeDeleting) {
            let is_there = self.read().tenants.contains_key(id);
            pause().await;
            let mut tables = self.write();
            let is_theirs = |key: &&KeyRecord| key.tenant() == id;
            let keys: Vec<_> = tables.keys.values().filter(is_theirs).map(KeyRecord::id).collect();
            tables.keys.retain(|_, key| key.tenant() != id);
            tables.deleted.extend(keys.into_iter().map(|key| (key, id.clone())));
            tables.tenants.remove(id);
            return if is_there { Ok(()) } else { Err(StoreError::NotFound) };
        }
        if self.has(ErasesKeysLater) && self.read().tenants.contains_key(id) {
            self.write().tenants.remove(id);
            pause().await;
            let mut tables = self.write();
            let is_theirs = |key: &&KeyRecord| key.tenant() == id;
            let keys: Vec<_> = tables.keys.values().filter(is_theirs).map(KeyRecord::id).collect();
            tables.keys.retain(|_, key| key.tenant() != id);
            tables.deleted.extend(keys.into_iter().map(|key| (key, id.clone())));
            return Ok(());
        }
        if self.has(WritesHalvesOfBatches) && self.read().tenants.contains_key(id) {
            let first = self.read().keys.values().find(|key| key.tenant() == id).map(KeyRecord::id);
            let removed = first.and_then(|first| self.write().keys.remove(&first));
            self.write().deleted.extend(removed.map(|key| (key.id(), id.clone())));
            pause().await;
        }
        let delete = || {
            let mut tables = self.write();
            let id = &self.find_tenant(&tables, id);
            if self.has(LeavesKeysOfDeletedTenants) {
                *self.second.lock().unwrap() = tables.clone();
            }
            if tables.tenants.remove(id).is_none() && !self.has(DeletesNothingSilently) {
                return Err(StoreError::NotFound);
            }
            let keys: BTreeSet<_> =
                tables.keys.values().filter(|key| key.tenant() == id).map(KeyRecord::id).collect();
            let page = match self.bug {
                Some(DeletesOnePageOfKeys) => 10,
                Some(DeletesOnePortionOfKeys) => 200,
                _ => usize::MAX,
            };
            for key in keys.into_iter().take(page) {
                tables.keys.remove(&key);
                tables.deleted.insert(key, id.clone());
            }
            Ok(())
        };
        let answer = delete();
        self.end(answer).await
    }

    async fn insert_key(
        &self,
        new: KeyRecord,
        version: u64,
        max: Option<u32>,
        _: &[Event],
    ) -> Answer<()> {
        let new = self.as_kept(new);
        if self.has(ChecksTheTenantsVersionFirst) {
            self.check_tenant(&self.read(), new.tenant(), version)?;
            pause().await;
        }
        if self.has(CountsFirst) {
            let held = self.count(&self.read(), new.tenant());
            self.check_room(held, max)?;
            pause().await;
        }
        if self.has(ChecksIdsFirst) {
            self.check_new(&self.read(), new.id())?;
            pause().await;
        }
        if self.has(SharesABuffer) {
            *self.scratch.lock().unwrap() = Some(new.clone());
            pause().await;
        }
        let insert = || {
            let mut tables = self.write();
            if !self.has(ChecksTheTenantsVersionFirst) {
                self.check_tenant(&tables, new.tenant(), version)?;
            }
            let held = self.count(&tables, new.tenant());
            if !self.has(CountsFirst) {
                self.check_room(held, max)?;
            }
            if !self.has(ChecksIdsFirst) {
                self.check_new(&tables, new.id())?;
            }
            let is_dropped = self.has(DropsKeysWithLabels) && !new.labels().is_empty();
            let written = match self.bug {
                Some(SharesABuffer) => self.scratch.lock().unwrap().clone().unwrap(),
                _ => new.clone(),
            };
            if !is_dropped {
                tables.first_owners.insert(new.id(), written.owner().cloned());
                tables.keys.insert(new.id(), written);
            }
            Ok(())
        };
        let answer = insert();
        self.end(answer).await
    }

    async fn key(&self, tenant: &TenantId, id: KeyId) -> Answer<Option<KeyRecord>> {
        let tables = self.read();
        let tenant = self.find_tenant(&tables, tenant);
        let key = tables.keys.get(&self.find_key(&tables, id));
        let key = key.filter(|key| *key.tenant() == tenant || self.has(ReadsKeysOfOtherTenants));
        if key.is_none() && self.has(SaysUnavailableForNothing) {
            return Err(StoreError::unavailable("no such row"));
        }
        Ok(key.cloned())
    }

    async fn keys(&self, tenant: &TenantId, query: &KeyQuery) -> Answer<Rows<KeyRecord>> {
        let tables = self.read_for_list();
        let tenant = self.find_tenant(&tables, tenant);
        if self.has(FailsForUnknownTenants) && !tables.tenants.contains_key(&tenant) {
            return Err(StoreError::NotFound);
        }
        let mut keys = self.in_order(&tables, &tenant);
        if self.has(SearchesEverybody) && query.text().is_some() {
            keys = tables.keys.values().cloned().collect();
            keys.sort_by_key(KeyCursor::of);
        }
        if self.has(MixesOwnersOfTenants) && query.owner().is_some() {
            keys = tables.keys.values().cloned().collect();
            keys.sort_by_key(KeyCursor::of);
        }
        if self.has(ListsDeletedKeysOfOwners) && query.owner().is_some() {
            keys.extend(tables.gone.iter().filter(|key| *key.tenant() == tenant).cloned());
            keys.sort_by_key(KeyCursor::of);
        }
        let all = keys.clone();
        let mut skipped = 0;
        if let Some(cursor) = query.cursor() {
            let offset = self.offsets.lock().unwrap().get(&cursor).copied();
            if let Some(offset) = offset.filter(|_| self.has(PagesByNumber)) {
                skipped = offset;
                keys.drain(..offset.min(all.len()));
            } else {
                keys.retain(|key| self.is_behind(&all, key, cursor));
            }
        }
        if self.has(LimitsBeforeSearching) || self.has(LimitsBeforeFiltering) {
            keys.truncate(query.max().get());
        }
        keys.retain(|key| self.is_selected(&tables, key, query));
        keys.retain(|key| query.text().is_none_or(|text| self.contains(key, text)));
        if !self.has(IgnoresTheLimit) {
            keys.truncate(query.max().get());
        }
        if let Some(last) = keys.last().filter(|_| query.text().is_none()) {
            let end = skipped + keys.len();
            self.offsets.lock().unwrap().insert(KeyCursor::of(last), end);
        }
        Ok(keys.into_iter().map(Ok).collect())
    }

    async fn count_keys(&self, tenant: &TenantId, up_to: u32) -> Answer<u32> {
        let tables = self.read();
        let tenant = self.find_tenant(&tables, tenant);
        if self.has(FailsForUnknownTenants) && !tables.tenants.contains_key(&tenant) {
            return Err(StoreError::NotFound);
        }
        let count = self.count(&tables, &tenant);
        Ok(if self.has(CountsPastTheBound) { count } else { count.min(up_to) })
    }

    async fn update_key(&self, new: KeyRecord, replaces: u64, _: &[Event]) -> Answer<()> {
        let new = self.as_kept(new);
        let update = |checks: bool, writes: bool| {
            let mut tables = self.write();
            let id = self.find_key(&tables, new.id());
            let uses = tables.uses.get(&id).copied().unwrap_or_default();
            let stored = tables
                .keys
                .get_mut(&id)
                .filter(|stored| stored.tenant() == new.tenant() || self.has(UpdatesAcrossTenants));
            let Some(stored) = stored else {
                if self.has(InsertsWhatItCannotUpdate) && !tables.keys.contains_key(&id) {
                    tables.keys.insert(id, new.clone());
                }
                return Err(match self.bug {
                    Some(SaysConflictForNothing) => StoreError::Conflict,
                    _ => StoreError::NotFound,
                });
            };
            let version = stored.version() + if self.has(CountsUsesAsVersions) { uses } else { 0 };
            if checks && !self.has(UpdatesKeysWithoutCompare) {
                check_version(version, replaces)?;
            }
            let last_used = match self.bug {
                Some(LosesTheLastUse) => new.last_used(),
                _ => stored.last_used(),
            };
            let skips = self.has(SkipsUpdatesThatKeepTheName) && stored.name() == new.name();
            if writes && !skips {
                *stored = new.clone().with_last_used(last_used);
            }
            Ok(())
        };
        let mut answer = update(true, !self.has(ComparesFirst));
        if answer.is_ok() && self.has(ComparesFirst) {
            pause().await;
            answer = update(false, true);
        }
        self.end(answer).await
    }

    async fn delete_key(
        &self,
        tenant: &TenantId,
        id: KeyId,
        replaces: Option<u64>,
        _: &[Event],
    ) -> Answer<()> {
        if self.has(ChecksBeforeDeleting) {
            let is_there = self.read().keys.get(&id).is_some_and(|key| key.tenant() == tenant);
            pause().await;
            if is_there {
                self.write().keys.remove(&id);
                self.write().deleted.insert(id, tenant.clone());
            }
            return if is_there { Ok(()) } else { Err(StoreError::NotFound) };
        }
        let delete = || {
            let mut tables = self.write();
            let tenant = self.find_tenant(&tables, tenant);
            let id = self.find_key(&tables, id);
            let is_theirs =
                |key: &&KeyRecord| *key.tenant() == tenant || self.has(DeletesAcrossTenants);
            if !tables.keys.get(&id).as_ref().is_some_and(is_theirs) {
                return if self.has(DeletesNothingSilently) {
                    Ok(())
                } else {
                    Err(StoreError::NotFound)
                };
            }
            let stored = tables.keys[&id].version();
            if !self.has(DeletesAnyVersion) {
                check_version(stored, replaces.unwrap_or(stored))?;
            }
            if self.has(KeepsDeletedKeysReadable) {
                *self.second.lock().unwrap() = tables.clone();
            }
            let gone = tables.keys.remove(&id);
            tables.gone.extend(gone);
            tables.deleted.insert(id, tenant);
            Ok(())
        };
        let answer = delete();
        self.end(answer).await
    }

    async fn record_uses(&self, uses: &[KeyUse], latest: Timestamp) -> Answer<()> {
        if self.has(BuffersUses) {
            self.buffered.lock().unwrap().extend_from_slice(uses);
            return Ok(());
        }
        if uses.is_empty() && self.has(FailsForEmptyBatches) {
            return Err(StoreError::unavailable("no values"));
        }
        let known: Vec<_> = {
            let tables = self.read();
            uses.iter().filter(|used| tables.keys.contains_key(&used.id)).copied().collect()
        };
        if known.len() < uses.len() && self.has(FailsForUnknownUses) {
            return Err(StoreError::NotFound);
        }
        if self.has(NotesUsesFromAnOldRead) {
            let read = self.read().clone();
            pause().await;
            let mut tables = self.write();
            for KeyUse { id, at } in known {
                let last_used = read.keys[&id].last_used().max(Some(at));
                if let Some(key) = tables.keys.get_mut(&id) {
                    *key = key.clone().with_last_used(last_used);
                }
            }
            return Ok(());
        }
        let (mut seen, mut only) = (BTreeSet::new(), None);
        let mut noted = Vec::new();
        for (number, used) in uses.iter().enumerate() {
            if self.has(CutsBatches) && number >= 1_000
                || self.has(TakesTheFirstUseOfABatch) && !seen.insert(used.id)
            {
                continue;
            }
            let tenant = self.read().keys.get(&used.id).map(|key| key.tenant().clone());
            if self.has(NotesUsesOfOneTenant)
                && let Some(tenant) = tenant
                && *only.get_or_insert(tenant.clone()) != tenant
            {
                continue;
            }
            noted.push(*used);
        }
        let (first, rest) = noted.split_at(noted.len().min(1));
        self.note_all(first, latest);
        if self.has(WritesHalvesOfBatches) {
            pause().await;
        }
        self.note_all(rest, latest);
        self.end(Ok(())).await
    }

    async fn set_marker(&self, marker: &[u8], replaces: Option<&[u8]>) -> Answer<()> {
        let mut tables = self.write();
        if tables.marker.as_deref() != replaces && !self.has(ReplacesAnyMarker) {
            return Err(StoreError::Conflict);
        }
        let marker =
            if self.has(ShortensMarkers) { &marker[..marker.len().min(64)] } else { marker };
        tables.marker = Some(marker.to_vec());
        Ok(())
    }
}
