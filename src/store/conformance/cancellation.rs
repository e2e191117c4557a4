//! **Atomicity** where a future is dropped halfway: every write takes effect as a whole or not at all, and
//! the store continues to work.
//!
//! Each write is dropped at its first await, at its second, and so on, until it completes. A dropped write
//! may still be running. Reads may therefore change from the old state to the new one, all at once, but never
//! back.

use alloc::{format, vec::Vec};
use core::fmt::Debug;

use super::{
    expect::{done, made, same},
    give_up::give_up_after,
    issuer::at,
    stage::{ROOM, Stage},
};
use crate::{
    record::{KeyRecord, TenantRecord},
    store::{KeyCursor, KeyQuery, KeyStore, KeyUse, StoreError, StoredKey},
    time::Timestamp,
    token::KeyId,
};

/// The maximum number of awaits at which a write is dropped.
const MOST_AWAITS: usize = 64;

/// A dropped `insert_tenant` leaves the tenant with its first key, or neither of them.
pub(super) async fn a_dropped_insert_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.issuer.tenant(id);
        let key = stage.issuer.key(&tenant, "first");
        (State::without(&tenant), State::with(&tenant, [key]))
    };
    let write = async |_: &State, new: &State| {
        store.insert_tenant(new.tenant.clone(), Some(new.first()), &[]).await
    };
    drop_at_each_await("insert_tenant", store, prepare, write).await;
}

/// A dropped `insert_key` leaves a whole key that is counted, or no key.
pub(super) async fn a_dropped_insert_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.add_tenant(id).await;
        let key = stage.issuer.key(&tenant, "n");
        (State::with(&tenant, []), State::with(&tenant, [key]))
    };
    let write = async |old: &State, new: &State| {
        store.insert_key(new.first(), old.tenant.version, Some(ROOM), &[]).await
    };
    drop_at_each_await("insert_key", store, prepare, write).await;
}

/// A dropped `update_tenant` leaves the old tenant or the new one.
pub(super) async fn a_dropped_update_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let old = stage.add_tenant(id).await;
        let key = stage.add_key(&old, "n").await;
        let new = stage.issuer.suspended(&old, "unpaid");
        (State::with(&old, [key.clone()]), State::with(&new, [key]))
    };
    let write = async |old: &State, new: &State| {
        store.update_tenant(new.tenant.clone(), old.tenant.version, &[]).await
    };
    drop_at_each_await("update_tenant", store, prepare, write).await;
}

/// A dropped `update_key` leaves the old key or the new one, with its previous last use.
pub(super) async fn a_dropped_update_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.add_tenant(id).await;
        let old = stage.add_key(&tenant, "old").await;
        stage.note_use(old.id, at(5)).await;
        let old = old.with_last_used(Some(at(5)));
        let new = stage.issuer.renamed(&old, &tenant, "new");
        (State::with(&tenant, [old]), State::with(&tenant, [new]))
    };
    let write = async |old: &State, new: &State| {
        store.update_key(new.first(), old.first().version, &[]).await
    };
    drop_at_each_await("update_key", store, prepare, write).await;
}

/// A dropped `delete_key` leaves the whole key or nothing of it.
pub(super) async fn a_dropped_deletion_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.add_tenant(id).await;
        let key = stage.add_key(&tenant, "n").await;
        (State::with(&tenant, [key]), State::with(&tenant, []))
    };
    let write = async |old: &State, _: &State| {
        store.delete_key(&old.tenant.id, old.first().id, None, &[]).await
    };
    drop_at_each_await("delete_key", store, prepare, write).await;
}

/// A dropped `delete_tenant` leaves the tenant with all of its keys, or nothing of either.
pub(super) async fn a_dropped_deletion_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.add_tenant(id).await;
        let keys = stage.add_keys(&tenant, 3).await;
        (State::with(&tenant, keys), State::without(&tenant))
    };
    let write = async |old: &State, _: &State| store.delete_tenant(&old.tenant.id, &[]).await;
    drop_at_each_await("delete_tenant", store, prepare, write).await;
}

/// A dropped `record_uses` leaves all uses of its batch recorded, or none.
pub(super) async fn a_dropped_batch_of_uses_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let prepare = async |stage: &Stage<'_, S>, id: &str| {
        let tenant = stage.add_tenant(id).await;
        let old = stage.add_keys(&tenant, 3).await;
        let new: Vec<_> = old.iter().map(|key| key.clone().with_last_used(Some(at(5)))).collect();
        (State::with(&tenant, old), State::with(&tenant, new))
    };
    let write = async |old: &State, _: &State| {
        let uses: Vec<_> = old.keys.iter().map(|key| KeyUse { id: key.id, at: at(5) }).collect();
        store.record_uses(&uses, Timestamp::MAX).await
    };
    drop_at_each_await("record_uses", store, prepare, write).await;
}

/// A tenant that exists or not, and its keys.
struct State {
    tenant: TenantRecord,
    exists: bool,
    keys: Vec<KeyRecord>,
}

impl State {
    fn with(tenant: &TenantRecord, keys: impl Into<Vec<KeyRecord>>) -> Self {
        let mut keys = keys.into();
        keys.sort_by_key(KeyCursor::of);
        Self { tenant: tenant.clone(), exists: true, keys }
    }

    fn without(tenant: &TenantRecord) -> Self {
        Self { tenant: tenant.clone(), exists: false, keys: Vec::new() }
    }

    fn first(&self) -> KeyRecord {
        made(self.keys.first().cloned().ok_or("a state without a key"))
    }

    fn tenant(&self) -> Option<TenantRecord> {
        self.exists.then(|| self.tenant.clone())
    }

    fn key(&self, id: KeyId) -> Option<KeyRecord> {
        self.keys.iter().find(|key| key.id == id).cloned()
    }

    fn lookup(&self, id: KeyId) -> Option<StoredKey> {
        self.key(id).map(|key| StoredKey { key, tenant: self.tenant.clone() })
    }

    fn keys(&self, query: &KeyQuery) -> Vec<KeyRecord> {
        self.keys.iter().filter(|key| query.matches(key)).cloned().collect()
    }
}

/// A reading method, and whether it returned the new state instead of the old one.
type IsNew = (&'static str, bool);

/// Prepares a case for each await of `write`, drops the write at that await, and reads. `prepare` returns the
/// state that it has written, and the state after `write`.
async fn drop_at_each_await<S: KeyStore>(
    method: &str,
    store: &S,
    prepare: impl AsyncFn(&Stage<'_, S>, &str) -> (State, State),
    write: impl AsyncFn(&State, &State) -> Result<(), StoreError>,
) {
    let stage = &Stage::new(store);
    for polls in 0..MOST_AWAITS {
        let (old, new) = prepare(stage, &format!("t{polls}")).await;
        let finished = give_up_after(polls, write(&old, &new)).await;
        let ended = finished.is_some();
        if let Some(answer) = finished {
            done(format_args!("`{method}`, polled {polls} times"), answer);
        }
        let mut newest = ended.then_some(method);
        // All methods are called twice, so that each one is called once more after every other one.
        let seen = [read(stage, &old, &new).await, read(stage, &old, &new).await];
        for (reader, is_new) in seen.into_iter().flatten() {
            if let Some(newest) = newest.filter(|_| !is_new) {
                panic!(
                    "`{method}` was dropped after {polls} polls and left a half: \
                     `{reader}` gives the old state after `{newest}` gave the new one"
                );
            }
            newest = newest.or(is_new.then_some(reader));
        }

        // Repeating the write completes it, whether or not the dropped one took effect.
        match write(&old, &new).await {
            Ok(()) | Err(StoreError::Exists | StoreError::NotFound | StoreError::Conflict) => {}
            Err(error) => {
                panic!("`{method}` once more after it was dropped: the store said {error:?}")
            }
        }
        let still_old = read(stage, &old, &new).await.into_iter().find(|(_, is_new)| !is_new);
        same(format!("what is still old after `{method}` once more"), &still_old, &None);
        if ended {
            return;
        }
    }
}

/// Calls every reading method. Each one must return either the old state or the new one. A method that
/// returns the same for both is left out.
async fn read<S: KeyStore>(stage: &Stage<'_, S>, old: &State, new: &State) -> Vec<IsNew> {
    let id = &old.tenant.id;
    let mut seen = Vec::new();
    let keys = if old.keys.is_empty() { &new.keys } else { &old.keys };
    for id_of_key in keys.iter().map(|key| key.id) {
        let [was, is] = [old, new].map(|state| state.lookup(id_of_key));
        seen.push(is_new("lookup", &stage.lookup(id_of_key).await, &was, &is));
        let [was, is] = [old, new].map(|state| state.key(id_of_key));
        seen.push(is_new("key", &stage.key(id, id_of_key).await, &was, &is));
    }
    for query in [KeyQuery::all(), KeyQuery::all().containing("old")] {
        let [was, is] = [old, new].map(|state| state.keys(&query));
        seen.push(is_new("keys", &stage.keys(id, &query).await, &was, &is));
    }
    let [was, is] = [old, new].map(|state| state.keys.len());
    seen.push(is_new("count_keys", &made(stage.count(id).await.try_into()), &was, &is));
    seen.push(is_new("tenant", &stage.tenant(id).await, &old.tenant(), &new.tenant()));
    let listed = stage.tenants(None, 999).await.contains(id);
    seen.push(is_new("tenants", &listed, &old.exists, &new.exists));
    seen.into_iter().flatten().collect()
}

/// Returns whether `read` equals `new`. Any other value must equal `old`.
fn is_new<T: PartialEq + Debug>(method: &'static str, read: &T, old: &T, new: &T) -> Option<IsNew> {
    if read != new {
        let what = format!("`{method}` after a dropped write, which is not the new record");
        same(what, read, old);
    }
    (old != new).then_some((method, read == new))
}
