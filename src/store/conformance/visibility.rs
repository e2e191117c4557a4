//! **Visibility** and **One snapshot.** Every read that begins after a write has completed sees that write. A
//! lookup reads a key and its tenant as they were at one point in time.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all};

use super::{
    expect::{holds, same},
    issuer::at,
    schedule::step_back,
    stage::{Stage, names_of},
};
use crate::store::{KeyQuery, KeyStore, StoredKey};

/// Every reading method sees a completed insert.
pub(super) async fn an_insert_is_seen_at_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let tenant = stage.issuer.tenant(&format!("t{round}"));
        let first = stage.issuer.key(&tenant, "first");
        stage.insert_tenant(&tenant, Some(&first)).await;
        let when = "after a tenant was inserted";
        stage.expect_tenant(when, &tenant).await;
        let listed = stage.tenants(None, 99).await.contains(&tenant.id);
        holds(format!("{when}, it is not in `tenants`"), listed);
        stage.expect_key(when, &first, &tenant).await;
        stage.expect_count(when, &tenant.id, 1).await;
        let second = stage.add_key(&tenant, "second").await;
        stage.expect_key("after a key was inserted", &second, &tenant).await;
        stage.expect_count("after a key was inserted", &tenant.id, 2).await;
    }
}

/// A lookup of many keys returns one result for each, in the order of the ids, also for those that are unknown or
/// deleted, for one key and for none.
pub(super) async fn many_lookups_are_like_single_ones<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let other = stage.add_tenant("other").await;
    let mut expected = Vec::new();
    for number in 0..100 {
        let owner = if number % 3 == 0 { &other } else { &tenant };
        let key = stage.add_key(owner, &format!("key {number}")).await;
        let stored = StoredKey { key: key.clone(), tenant: owner.clone() };
        match number % 5 {
            0 => {
                stage.delete_key(&key).await;
                expected.push((key.id, None));
            }
            1 => expected.push((stage.issuer.key(owner, "unknown").id, None)),
            _ => expected.push((key.id, Some(stored))),
        }
    }
    expected.reverse();
    stage.expect_lookups("of two tenants", &expected).await;
    stage.expect_lookups("of nothing", &[]).await;
}

/// Every reading method sees a completed update of a key. A search finds the new name and no longer the old
/// one.
pub(super) async fn a_key_update_is_seen_at_once<S: KeyStore>(store: &S) {
    let (stage, tenant, mut key) = Stage::with_key(store, "name 0").await;
    for version in 1..8 {
        let (old, new) = (format!("name {}", version - 1), format!("name {version}"));
        key = stage.rename(&key, &tenant, &new).await;
        stage.expect_key("after an update", &key, &tenant).await;
        let found = stage.keys(&tenant.id, &KeyQuery::all().containing(&*new)).await;
        same("a search for the new name", &names_of(&found), &[&*new].into());
        let found = stage.keys(&tenant.id, &KeyQuery::all().containing(old)).await;
        same("a search for the old name", &names_of(&found), &Vec::new());
    }
}

/// Every reading method sees a completed update of a tenant, through each of its keys too.
pub(super) async fn a_tenant_update_is_seen_at_once<S: KeyStore>(store: &S) {
    let (stage, mut tenant) = Stage::with_tenant(store).await;
    let keys = stage.add_keys(&tenant, 2).await;
    for version in 1..8 {
        tenant = stage.suspend(&tenant, &format!("reason {version}")).await;
        stage.expect_tenant("after an update", &tenant).await;
        for key in &keys {
            stage.expect_key("after an update of its tenant", key, &tenant).await;
        }
        let listed = store.tenants(None, core::num::NonZeroUsize::MIN).await;
        let listed = super::expect::done("listing tenants", listed);
        same("a listed tenant after an update", &listed, &[Ok(tenant.clone())].into());
    }
}

/// Every reading method sees a recorded use.
pub(super) async fn a_use_is_seen_at_once<S: KeyStore>(store: &S) {
    let (stage, tenant, mut key) = Stage::with_key(store, "n").await;
    for minute in 1..8 {
        stage.note_use(key.id, at(minute * 60_000)).await;
        key = key.with_last_used(Some(at(minute * 60_000)));
        stage.expect_key("after a use was noted", &key, &tenant).await;
    }
}

/// A lookup returns a key and its tenant as they were at one point in time. It never returns a pair that did
/// not exist together, however often both change meanwhile.
pub(super) async fn a_lookup_is_one_snapshot<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    let id = key.id;
    let write = async {
        let (mut tenant, mut key) = (tenant, key);
        for burst in 0..24 {
            // Several changes are made at a time, since a reader may pause for as long as one of them takes.
            for _ in 0..=burst % 4 {
                // The tenant is changed first, so it is never behind its key, and at most one version ahead.
                tenant = stage.suspend(&tenant, "spam").await;
                key = stage.rename(&key, &tenant, &format!("burst {burst}")).await;
            }
            step_back().await;
        }
        (tenant, key)
    };
    let read = join_all((0..3).map(|reader| async move {
        for _ in 0..100 {
            let stored = stage.lookup(id).await;
            let versions = stored.map(|stored| (stored.tenant.version, stored.key.version));
            let (tenant, key) = versions.unwrap_or_default();
            holds(
                format!(
                    "`lookup` gave the tenant in version {tenant} and the key in version {key}, \
                     which were never there together: the tenant changes first, then the key"
                ),
                tenant == key || tenant == key.saturating_add(1),
            );
            for _ in 0..=reader {
                step_back().await;
            }
        }
    }));
    let ((tenant, key), _) = join(write, read).await;
    stage.expect_key("after the last change", &key, &tenant).await;
}

/// A lookup during the deletion of the tenant returns both records or nothing, and never an error.
pub(super) async fn a_lookup_beside_a_deletion_is_whole<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    for round in 0..8 {
        let tenant = &stage.add_tenant(&format!("t{round}")).await;
        let key = &stage.add_key(tenant, "n").await;
        let write = async {
            step_back().await;
            stage.delete_tenant(&tenant.id).await;
        };
        let read = join_all((0..4).map(|_| async move {
            let mut is_gone = false;
            for _ in 0..8 {
                match stage.lookup(key.id).await {
                    Some(stored) => {
                        same("the tenant of a key being deleted", &stored.tenant, tenant);
                        same("a key being deleted", &stored.key, key);
                        holds("a deleted key came back in `lookup`", !is_gone);
                    }
                    None => is_gone = true,
                }
                step_back().await;
            }
        }));
        join(write, read).await;
        stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
    }
}

/// Concurrent writes to many tenants do not disturb each other.
pub(super) async fn tenants_do_not_disturb_each_other<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    let lives = join_all((0..20).map(|number| async move {
        let mut tenant = stage.add_tenant(&format!("t{number}")).await;
        let mut key = stage.add_key(&tenant, "kept").await;
        let gone = stage.add_key(&tenant, "gone").await;
        for change in 0..3 {
            tenant = stage.suspend(&tenant, &format!("change {change}")).await;
            key = stage.rename(&key, &tenant, &format!("change {change}")).await;
        }
        stage.note_use(key.id, at(number)).await;
        stage.delete_key(&gone).await;
        if number % 4 == 0 {
            stage.delete_tenant(&tenant.id).await;
        }
        (number % 4 != 0, tenant, key.with_last_used(Some(at(number))), gone)
    }));
    for (is_there, tenant, key, gone) in lives.await {
        let when = "after many tenants were written at the same time";
        if is_there {
            stage.expect_key(when, &key, &tenant).await;
            stage.expect_count(when, &tenant.id, 1).await;
        } else {
            stage.expect_no_tenant(when, &tenant.id).await;
            stage.expect_no_key(when, &tenant.id, key.id).await;
        }
        stage.expect_no_key(when, &tenant.id, gone.id).await;
    }
    same("the number of tenants", &stage.tenants(None, 99).await.len(), &15);
}
