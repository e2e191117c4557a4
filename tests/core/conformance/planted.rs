//! A store that keeps the contract, except for one planted bug.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use keyway::{
    KeyId, KeyRecord, TenantId, Timestamp,
    record::{Owner, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyUse, StoreError, StoredKey},
};

use super::bug::Bug::{self, *};
use crate::support::{pause, with_text};

pub(crate) type Answer<T> = Result<T, StoreError>;

/// A store with at most one bug.
pub(crate) struct Planted {
    pub(crate) bug: Option<Bug>,
    pub(crate) tables: Mutex<Tables>,
    /// The state before the last write.
    pub(crate) old: Mutex<Tables>,
    /// A copy for look-ups that is written after everything else.
    pub(crate) second: Mutex<Tables>,
    /// Where pages that were given ended, and how many keys came before that.
    pub(crate) offsets: Mutex<BTreeMap<KeyCursor, usize>>,
    pub(crate) buffered: Mutex<Vec<KeyUse>>,
    pub(crate) scratch: Mutex<Option<KeyRecord>>,
}

#[derive(Clone, Default)]
pub(crate) struct Tables {
    pub(crate) tenants: BTreeMap<TenantId, TenantRecord>,
    pub(crate) keys: BTreeMap<KeyId, KeyRecord>,
    pub(crate) deleted: BTreeMap<KeyId, TenantId>,
    /// How often a key was used.
    pub(crate) uses: BTreeMap<KeyId, u64>,
    pub(crate) marker: Option<Vec<u8>>,
    /// The owner that a key had first, and the keys that were deleted.
    pub(crate) first_owners: BTreeMap<KeyId, Option<Owner>>,
    pub(crate) gone: Vec<KeyRecord>,
}

impl Planted {
    pub(crate) fn with(bug: Option<Bug>) -> Self {
        Self {
            bug,
            tables: Mutex::default(),
            old: Mutex::default(),
            second: Mutex::default(),
            offsets: Mutex::default(),
            buffered: Mutex::default(),
            scratch: Mutex::default(),
        }
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn read(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// As [`read`](Self::read), before a change.
    pub(crate) fn write(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.read();
        *self.old.lock().unwrap() = tables.clone();
        if self.has(BuffersUses) {
            for used in self.buffered.lock().unwrap().drain(..) {
                tables.note(used, Timestamp::MAX);
            }
        }
        tables
    }

    pub(crate) fn read_for_list(&self) -> MutexGuard<'_, Tables> {
        if self.has(ListsFromAnOldCopy) { self.old.lock().unwrap() } else { self.read() }
    }

    /// Ends a write, whatever came of it.
    pub(crate) async fn end<T>(&self, answer: Answer<T>) -> Answer<T> {
        if self.has(WritesASecondCopyLater) {
            pause().await;
            *self.second.lock().unwrap() = self.read().clone();
        }
        answer
    }

    /// The id under which `id` is found.
    pub(crate) fn find_tenant(&self, tables: &Tables, id: &TenantId) -> TenantId {
        let same = |stored: &&TenantId| match self.bug {
            Some(FoldsTenantIds) => stored.as_str().to_lowercase() == id.as_str().to_lowercase(),
            Some(TrimsTenantIds) => stored.as_str().trim() == id.as_str().trim(),
            Some(NormalizesTenantIds) => compose(stored.as_str()) == compose(id.as_str()),
            Some(TakesTenantIdsForPatterns) => is_like(stored.as_str(), id.as_str()),
            Some(ShortensTenantIds) => {
                let start =
                    |id: &TenantId| id.as_str().as_bytes().iter().copied().take(126).collect();
                let starts: [Vec<u8>; 2] = [start(stored), start(id)];
                starts[0] == starts[1]
            }
            _ => *stored == id,
        };
        tables.tenants.keys().find(same).unwrap_or(id).clone()
    }

    pub(crate) fn find_key(&self, tables: &Tables, id: KeyId) -> KeyId {
        let same = |stored: &&KeyId| {
            self.has(FoldsKeyIds) && stored.as_str().eq_ignore_ascii_case(id.as_str())
        };
        tables.keys.keys().find(same).copied().unwrap_or(id)
    }

    pub(crate) fn check_new(&self, tables: &Tables, id: KeyId) -> Answer<()> {
        let id = self.find_key(tables, id);
        if self.has(ReplacesKeys) && tables.keys.contains_key(&id) {
            return Ok(());
        }
        let was_used = match (self.bug, tables.deleted.get(&id)) {
            (Some(ReusesDeletedIds), _) | (_, None) => false,
            (Some(ReusesIdsOfDeletedTenants), Some(tenant)) => tables.tenants.contains_key(tenant),
            (_, Some(_)) => true,
        };
        if was_used || tables.keys.contains_key(&id) {
            return Err(StoreError::Exists);
        }
        Ok(())
    }

    /// `key` as it is kept.
    pub(crate) fn as_kept(&self, key: KeyRecord) -> KeyRecord {
        let name = match self.bug {
            Some(ShortensNames) => key.name().chars().take(64).collect(),
            Some(TrimsNames) => key.name().trim().to_owned(),
            _ => return key,
        };
        if name == key.name() { key } else { with_text(&key, key.name(), &name) }
    }

    pub(crate) fn count(&self, tables: &Tables, tenant: &TenantId) -> u32 {
        let keys = tables.keys.values().filter(|key| {
            (key.tenant() == tenant || self.has(CountsEverybodysKeys))
                && (key.enabled() || !self.has(CountsEnabledKeys))
        });
        let mut count = keys.count();
        if self.has(CountsDeletedKeys) {
            count += tables.deleted.values().filter(|deleted| *deleted == tenant).count();
        }
        u32::try_from(if self.has(CountsOnePage) { count.min(10) } else { count }).unwrap()
    }

    pub(crate) fn check_room(&self, held: u32, max: Option<u32>) -> Answer<()> {
        let max = match max {
            Some(max) => max,
            None if self.has(TakesNoLimitForZero) => 0,
            None => return Ok(()),
        };
        let is_full = match self.bug {
            Some(AdmitsOneTooMany) => held > max,
            Some(IsFullAtTheLimitAlone) => held == max,
            Some(ReadsTheLimitAsSigned) => held.cast_signed() >= max.cast_signed(),
            _ => held >= max,
        };
        if is_full { Err(StoreError::QuotaFull) } else { Ok(()) }
    }

    pub(crate) fn check_tenant(&self, tables: &Tables, id: &TenantId, version: u64) -> Answer<()> {
        match tables.tenants.get(id) {
            None if self.has(InsertsForAnybody) => Ok(()),
            None => Err(StoreError::NotFound),
            Some(_) if self.has(IgnoresTheTenantsVersion) => Ok(()),
            Some(tenant) => check_version(tenant.version(), version),
        }
    }

    pub(crate) fn contains(&self, key: &KeyRecord, text: &str) -> bool {
        let finds = |field: &str| match self.bug {
            Some(MindsCaseInSearch) => field.contains(text),
            Some(FoldsAllLettersInSearch) => field.to_lowercase().contains(&text.to_lowercase()),
            Some(TakesSearchForPattern) => {
                is_like(&field.to_ascii_lowercase(), &format!("%{}%", text.to_ascii_lowercase()))
            }
            _ => field.to_ascii_lowercase().contains(&text.to_ascii_lowercase()),
        };
        finds(key.name())
            || !self.has(SearchesNamesAlone) && (finds(key.masked()) || finds(key.id().as_str()))
            || self.has(SearchesLabels) && key.labels().iter().any(|(name, _)| finds(name))
    }

    /// Whether the filter of the query selects the key.
    pub(crate) fn is_selected(&self, tables: &Tables, key: &KeyRecord, query: &KeyQuery) -> bool {
        let Some(wanted) = query.owner() else {
            return self.has(IgnoresConditions) || query.filter().matches(key);
        };
        match self.bug {
            Some(FoldsOwners) => key
                .owner()
                .is_some_and(|owner| owner.as_str().eq_ignore_ascii_case(wanted.as_str())),
            Some(KeepsTheFirstOwner) => tables.first_owners[&key.id()].as_ref() == Some(wanted),
            Some(FiltersByTheOwnerAlone) => key.owner() == Some(wanted),
            _ => query.filter().matches(key),
        }
    }

    /// The keys of a tenant in the order of lists.
    pub(crate) fn in_order(&self, tables: &Tables, tenant: &TenantId) -> Vec<KeyRecord> {
        let mut keys: Vec<_> = tables.keys.values().cloned().collect();
        keys.retain(|key| key.tenant() == tenant);
        match self.bug {
            Some(ListsInOrderOfIds) => {}
            Some(OrdersIdsByLanguage) => {
                keys.sort_by_key(|key| (key.created_at(), key.id().as_str().to_lowercase()));
            }
            _ => keys.sort_by_key(KeyCursor::of),
        }
        keys
    }

    pub(crate) fn is_behind(&self, keys: &[KeyRecord], key: &KeyRecord, cursor: KeyCursor) -> bool {
        match self.bug {
            Some(PagesBeginAtTheCursor) => KeyCursor::of(key) >= cursor,
            Some(PagesBehindTheTimeAlone) => key.created_at() > cursor.created_at,
            Some(NeedsTheCursorsKey) => {
                let is_there = keys.iter().any(|key| KeyCursor::of(key) == cursor);
                is_there && KeyCursor::of(key) > cursor
            }
            _ => KeyCursor::of(key) > cursor,
        }
    }

    pub(crate) fn note_all(&self, uses: &[KeyUse], latest: Timestamp) {
        let mut tables = self.write();
        for used in uses {
            self.note(&mut tables, *used, latest);
        }
    }

    /// Notes one use.
    pub(crate) fn note(&self, tables: &mut Tables, KeyUse { id, at }: KeyUse, latest: Timestamp) {
        let at = match self.bug {
            Some(RoundsUsesToSeconds) => {
                Timestamp::saturating_from_millis(at.as_millis().div_euclid(1_000) * 1_000)
            }
            _ => at,
        };
        if self.has(IgnoresUsesBefore1970) && at.as_millis() < 0 {
            return;
        }
        if self.has(TakesTheUseReportedLast)
            && let Some(key) = tables.keys.get_mut(&id)
        {
            *key = key.clone().with_last_used(Some(at));
            return;
        }
        let latest = if self.has(KeepsUsesOfTheFuture) { Timestamp::MAX } else { latest };
        tables.note(KeyUse { id, at }, latest);
        *tables.uses.entry(id).or_default() += 1;
    }
}

impl Tables {
    pub(crate) fn note(&mut self, KeyUse { id, at }: KeyUse, latest: Timestamp) {
        if let Some(key) = self.keys.get_mut(&id) {
            let stored = key.last_used().filter(|stored| *stored <= latest);
            *key = key.clone().with_last_used(stored.max(Some(at)));
        }
    }

    pub(crate) fn stored(&self, id: KeyId) -> Option<StoredKey> {
        let key = self.keys.get(&id)?.clone();
        let tenant = self.tenants.get(key.tenant())?.clone();
        Some(StoredKey { key, tenant })
    }
}

pub(crate) fn check_version(stored: u64, named: u64) -> Answer<()> {
    if stored == named { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Whether `text` is like the SQL pattern `pattern`, in which `%` is any text and `_` any character.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('%') => {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|end| is_like(&text[end..], rest.as_str()))
        }
        Some(wanted) => {
            let mut text = text.chars();
            let first = text.next();
            first.is_some_and(|first| wanted == '_' || first == wanted)
                && is_like(text.as_str(), rest.as_str())
        }
    }
}

/// One of the normal forms, for the one letter that the suite has in two.
fn compose(text: &str) -> String {
    text.replace("e\u{301}", "é")
}
