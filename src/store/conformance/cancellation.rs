//! **Atomicity** where a future is dropped half-way: every write takes effect as a whole or not at
//! all, and the store goes on.
//!
//! Each write is dropped at its first await, at its second, and so on until it ends by itself. It may
//! still be under way then, so what is read may go from the old state to the new one, all at once, and
//! never back.

use alloc::{format, string::String, vec::Vec};

use super::{
    expect::{done, holds, same},
    give_up::give_up_after,
    issuer::at,
    stage::{ROOM, Stage},
};
use crate::{
    record::{KeyRecord, TenantRecord},
    store::{KeyQuery, KeyStore, KeyUse, StoreError},
};

/// More awaits than the write of any store is dropped at.
const MOST_AWAITS: usize = 64;

/// Whether what one method reads is the new state, as opposed to the old one.
type IsNew = (&'static str, bool);

/// A dropped `insert_tenant` leaves the tenant with its first key, or neither.
pub async fn a_dropped_insert_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "insert_tenant",
        async |id| {
            let tenant = stage.issuer.tenant(&id);
            let key = stage.issuer.key(&tenant, "first");
            (tenant, key)
        },
        async |(tenant, key)| store.insert_tenant(tenant.clone(), Some(key.clone())).await,
        async |(tenant, key)| {
            let mut seen = read_key(stage, tenant, key, None).await;
            let read = stage.tenant(&tenant.id).await;
            seen.push(("tenant", is_new("tenant", read.as_ref(), tenant, None)));
            seen.push(("tenants", stage.tenants(None, 999).await.contains(&tenant.id)));
            seen.push(("count_keys", stage.count(&tenant.id).await == 1));
            seen
        },
    )
    .await;
}

/// A dropped `insert_key` leaves a whole key that is counted, or none.
pub async fn a_dropped_insert_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "insert_key",
        async |id| {
            let tenant = stage.add_tenant(&id).await;
            let key = stage.issuer.key(&tenant, "n");
            (tenant, key)
        },
        async |(tenant, key)| store.insert_key(key.clone(), tenant.version, ROOM).await,
        async |(tenant, key)| {
            let mut seen = read_key(stage, tenant, key, None).await;
            seen.push(("count_keys", stage.count(&tenant.id).await == 1));
            seen
        },
    )
    .await;
}

/// A dropped `update_tenant` leaves the old tenant or the new one.
pub async fn a_dropped_update_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "update_tenant",
        async |id| {
            let old = stage.add_tenant(&id).await;
            let key = stage.add_key(&old, "n").await;
            let new = stage.issuer.suspended(&old, "unpaid");
            (old, new, key)
        },
        async |(old, new, _)| store.update_tenant(new.clone(), old.version).await,
        async |(old, new, key)| {
            let read = stage.tenant(&old.id).await;
            let found = stage.lookup(key.id).await.map(|stored| stored.tenant);
            [
                ("tenant", is_new("tenant", read.as_ref(), new, Some(old))),
                ("lookup", is_new("lookup", found.as_ref(), new, Some(old))),
            ]
            .into()
        },
    )
    .await;
}

/// A dropped `update_key` leaves the old key or the new one, with the last use that it had.
pub async fn a_dropped_update_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "update_key",
        async |id| {
            let tenant = stage.add_tenant(&id).await;
            let old = stage.add_key(&tenant, "old").await;
            stage.note_use(old.id, at(5)).await;
            let old = old.with_last_used(Some(at(5)));
            let new = stage.issuer.renamed(&old, &tenant, "new");
            (tenant, old, new)
        },
        async |(_, old, new)| store.update_key(new.clone(), old.version).await,
        async |(tenant, old, new)| {
            let mut seen = read_key(stage, tenant, new, Some(old)).await;
            for (name, is_found) in [("old", false), ("new", true)] {
                let query = KeyQuery::all().containing(name);
                let finds = !stage.keys(&tenant.id, &query).await.is_empty();
                seen.push(("keys with a text", finds == is_found));
            }
            seen
        },
    )
    .await;
}

/// A dropped `delete_key` leaves the key, or nothing of it.
pub async fn a_dropped_deletion_of_a_key_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "delete_key",
        async |id| {
            let tenant = stage.add_tenant(&id).await;
            let key = stage.add_key(&tenant, "n").await;
            (tenant, key)
        },
        async |(tenant, key)| store.delete_key(&tenant.id, key.id).await,
        async |(tenant, key)| {
            let mut seen = are_gone(read_key(stage, tenant, key, None).await);
            seen.push(("count_keys", stage.count(&tenant.id).await == 0));
            seen
        },
    )
    .await;
}

/// A dropped `delete_tenant` leaves the tenant with all of its keys, or nothing of any.
pub async fn a_dropped_deletion_of_a_tenant_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "delete_tenant",
        async |id| {
            let tenant = stage.add_tenant(&id).await;
            let mut keys = Vec::new();
            for name in ["1", "2", "3"] {
                keys.push(stage.add_key(&tenant, name).await);
            }
            (tenant, keys)
        },
        async |(tenant, _)| store.delete_tenant(&tenant.id).await,
        async |(tenant, keys)| {
            let mut seen = Vec::new();
            for key in keys {
                seen.extend(are_gone(read_key(stage, tenant, key, None).await));
            }
            let held = stage.count(&tenant.id).await;
            holds(
                format!("a dropped `delete_tenant` left {held} of 3 keys"),
                [0, 3].contains(&held),
            );
            seen.push(("count_keys", held == 0));
            seen.push(("tenant", stage.tenant(&tenant.id).await.is_none()));
            seen
        },
    )
    .await;
}

/// A dropped `record_uses` leaves all uses of its batch noted, or none.
pub async fn a_dropped_batch_of_uses_is_whole_or_nothing<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    drop_at_each_await(
        "record_uses",
        async |id| {
            let tenant = stage.add_tenant(&id).await;
            let mut keys = Vec::new();
            for name in ["1", "2", "3"] {
                keys.push(stage.add_key(&tenant, name).await);
            }
            (tenant, keys)
        },
        async |(_, keys)| {
            let uses: Vec<_> = keys.iter().map(|key| KeyUse { id: key.id, at: at(5) }).collect();
            store.record_uses(&uses).await
        },
        async |(tenant, keys)| {
            let mut seen = Vec::new();
            for old in keys {
                let new = old.clone().with_last_used(Some(at(5)));
                seen.extend(read_key(stage, tenant, &new, Some(old)).await);
            }
            seen
        },
    )
    .await;
}

/// Prepares a case for each await of `write`, drops the write there, and reads.
async fn drop_at_each_await<C>(
    method: &str,
    prepare: impl AsyncFn(String) -> C,
    write: impl AsyncFn(&C) -> Result<(), StoreError>,
    read: impl AsyncFn(&C) -> Vec<IsNew>,
) {
    for polls in 0..MOST_AWAITS {
        let case = prepare(format!("t{polls}")).await;
        let finished = give_up_after(polls, write(&case)).await;
        let ended = finished.is_some();
        if let Some(answer) = finished {
            done(format_args!("`{method}`, polled {polls} times"), answer);
        }
        let mut newest = ended.then_some(method);
        // Twice, so that each method is asked once more after every other one.
        for (reader, is_new) in read(&case).await.into_iter().chain(read(&case).await) {
            if let Some(newest) = newest.filter(|_| !is_new) {
                panic!(
                    "`{method}` was dropped after {polls} polls and left a half: \
                     `{reader}` gives the old state after `{newest}` gave the new one"
                );
            }
            newest = newest.or(is_new.then_some(reader));
        }

        // Whether it was done or not, doing it again does it.
        match write(&case).await {
            Ok(()) | Err(StoreError::Exists | StoreError::NotFound | StoreError::Conflict) => {}
            Err(error) => {
                panic!("`{method}` once more after it was dropped: the store said {error:?}")
            }
        }
        let old = read(&case).await.into_iter().find(|(_, is_new)| !is_new);
        same(format!("what is still old after `{method}` once more"), &old, &None);
        if ended {
            return;
        }
    }
}

/// What each method that reads keys gives: `new`, or else `old`.
async fn read_key<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    new: &KeyRecord,
    old: Option<&KeyRecord>,
) -> Vec<IsNew> {
    let (tenant, id) = (&tenant.id, new.id);
    let found = stage.lookup(id).await.map(|stored| stored.key);
    let read = stage.key(tenant, id).await;
    let listed = stage.keys(tenant, &KeyQuery::all()).await;
    let listed = listed.into_iter().find(|listed| listed.id == id);
    [("lookup", found), ("key", read), ("keys", listed)]
        .map(|(method, key)| (method, is_new(method, key.as_ref(), new, old)))
        .into()
}

/// Whether `read` is `new`. Anything else has to be `old`.
fn is_new<T: PartialEq + core::fmt::Debug>(
    method: &str,
    read: Option<&T>,
    new: &T,
    old: Option<&T>,
) -> bool {
    let is_new = read == Some(new);
    if !is_new {
        let what = format!("`{method}` after a dropped write, which is not the new record");
        same(what, &read, &old);
    }
    is_new
}

/// For a deletion the key is the old state, and nothing is the new one.
fn are_gone(seen: Vec<IsNew>) -> Vec<IsNew> {
    seen.into_iter().map(|(method, is_there)| (method, !is_there)).collect()
}
