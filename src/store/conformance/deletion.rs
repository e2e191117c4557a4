//! **Permanence.** A deleted key is gone, and its id is never accepted again.

use alloc::{format, vec::Vec};

use super::{
    expect::{done, exists, not_found, one_done, same},
    issuer::at,
    schedule::{all, both, step_back},
    stage::{ROOM, Stage},
};
use crate::{
    record::{KeyRecord, TenantRecord},
    store::KeyStore,
};

/// A deleted key is gone from every reading method, and no write finds it or brings it back.
pub async fn a_deleted_key_is_gone<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "gone").await;
    let other = stage.add_key(&tenant, "kept").await;
    stage.delete_key(&key).await;
    stage.expect_no_key("after it was deleted", &tenant.id, key.id).await;
    not_found("deleting it again", store.delete_key(&tenant.id, key.id).await);
    let next = stage.issuer.renamed(&key, &tenant, "back");
    not_found("updating it", store.update_key(next, key.version).await);
    stage.note_use(key.id, at(0)).await;
    stage.expect_no_key("after writes to a deleted key", &tenant.id, key.id).await;
    same("the number of keys", &stage.count(&tenant.id).await, &1);
    stage.expect_key("after another key was deleted", &other, &tenant).await;
}

/// The id of a deleted key is never accepted again: not for its tenant, not for another one, not for
/// a first key.
pub async fn the_id_of_a_deleted_key_is_not_used_again<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let key = stage.add_key(&tenant, "n").await;
    stage.delete_key(&key).await;
    expect_used(&stage, &key, &[&tenant, &other]).await;
}

/// The ids of a deleted tenant's keys are never accepted again, also where the tenant is made anew.
pub async fn the_ids_of_a_deleted_tenant_are_not_used_again<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let old = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let keys = [stage.add_key(&old, "1").await, stage.add_key(&old, "2").await];
    let earlier = stage.add_key(&old, "3").await;
    stage.delete_key(&earlier).await;
    stage.delete_tenant(&old.id).await;
    let with_key = store.insert_tenant(old.clone(), Some(earlier.clone())).await;
    exists("inserting the tenant again with an old key", with_key);
    stage.insert_tenant(&old, None).await;
    for key in [&earlier].into_iter().chain(&keys) {
        expect_used(&stage, key, &[&old, &other]).await;
    }
}

/// A deleted tenant takes all of its keys along, and nobody else's.
pub async fn a_deleted_tenant_takes_its_keys_along<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let theirs = stage.add_key(&other, "theirs").await;
    let mut keys = Vec::new();
    for number in 0..12 {
        keys.push(stage.add_key(&tenant, &format!("key {number}")).await);
    }
    stage.delete_tenant(&tenant.id).await;
    same("a deleted tenant", &stage.tenant(&tenant.id).await, &None);
    same("all tenants", &stage.tenants(None, 9).await, &[other.id.clone()].into());
    same("the number of its keys", &stage.count(&tenant.id).await, &0);
    for key in &keys {
        stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
    }
    let next = stage.issuer.suspended(&tenant, "unpaid");
    not_found("updating it", store.update_tenant(next, tenant.version).await);
    if let Some(key) = keys.first() {
        let next = stage.issuer.renamed(key, &tenant, "m");
        not_found("updating a key of it", store.update_key(next, key.version).await);
        not_found("deleting a key of it", store.delete_key(&tenant.id, key.id).await);
    }
    stage.expect_key("after another tenant was deleted", &theirs, &other).await;
    same("the number of the other's keys", &stage.count(&other.id).await, &1);
}

/// Whoever deletes a key or tenant that does not exist is told so.
pub async fn deleting_nothing_is_said<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    not_found("deleting an unknown tenant", store.delete_tenant(&nobody.id).await);
    not_found("deleting an unknown tenant's key", store.delete_key(&nobody.id, key.id).await);
    let tenant = stage.add_tenant("acme").await;
    not_found("deleting an unknown key", store.delete_key(&tenant.id, key.id).await);
    // That has used up no id.
    stage.insert_key(&stage.issuer.with_id(key.id, &tenant, "n"), &tenant).await;
    stage.delete_tenant(&tenant.id).await;
    not_found("deleting a tenant twice", store.delete_tenant(&tenant.id).await);
}

/// Another tenant's key is not found for deletion, and stays.
pub async fn a_key_is_deleted_under_its_own_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let key = stage.add_key(&tenant, "n").await;
    let nobody = stage.issuer.tenant("nobody");
    for thief in [&other.id, &nobody.id] {
        let deleted = store.delete_key(thief, key.id).await;
        not_found(format!("deleting a key of another tenant as {thief:?}"), deleted);
        stage.expect_key("after another tenant tried to delete it", &key, &tenant).await;
    }
    same("the number of keys", &stage.count(&tenant.id).await, &1);
}

/// A tenant that is made anew has no keys, and gets its own.
pub async fn a_tenant_made_anew_has_no_keys<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let old = stage.add_tenant("acme").await;
    let key = stage.add_key(&old, "old").await;
    let changed = stage.issuer.suspended(&old, "unpaid");
    stage.update_tenant(&changed).await;
    stage.delete_tenant(&old.id).await;

    let new = stage.issuer.tenant_at("acme", "lite", at(7));
    stage.insert_tenant(&new, None).await;
    same("a tenant made anew", &stage.tenant(&new.id).await, &Some(new.clone()));
    same("the number of its keys", &stage.count(&new.id).await, &0);
    stage.expect_no_key("after its tenant was made anew", &new.id, key.id).await;
    let next = stage.issuer.key(&new, "new");
    done("inserting its first key", store.insert_key(next.clone(), new.version, 1).await);
    stage.expect_key("after its tenant was made anew", &next, &new).await;
    same("its keys", &stage.ids(&new.id).await, &[next.id].into());
}

/// Of several deletions of one key or tenant at the same time, one is done and the others find
/// nothing.
pub async fn of_concurrent_deletions_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..4 {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        let key = stage.add_key(&tenant, "n").await;
        let answers = all((0..8).map(|_| store.delete_key(&tenant.id, key.id))).await;
        one_done("deleting a key", answers, not_found);
        stage.expect_no_key("after many deletions", &tenant.id, key.id).await;
        let answers = all((0..8).map(|_| store.delete_tenant(&tenant.id))).await;
        one_done("deleting a tenant", answers, not_found);
        same("the tenant after many deletions", &stage.tenant(&tenant.id).await, &None);
    }
}

/// No key outlives its tenant: one that is inserted while the tenant is deleted is deleted with it or
/// refused.
pub async fn no_key_outlives_its_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        let keys: Vec<_> = (0..8).map(|_| stage.issuer.key(&tenant, "n")).collect();
        let inserts = all(keys.iter().map(|key| store.insert_key(key.clone(), 1, ROOM)));
        let delete = async {
            for _ in 0..round {
                step_back().await;
            }
            stage.delete_tenant(&tenant.id).await;
        };
        let (answers, ()) = both(inserts, delete).await;
        for answer in answers.into_iter().filter(Result::is_err) {
            not_found("inserting a key while its tenant is deleted", answer);
        }
        stage.insert_tenant(&tenant, None).await;
        same("the number of keys of a new tenant", &stage.count(&tenant.id).await, &0);
        for key in &keys {
            stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
        }
    }
}

/// The id of `key`, which is deleted, is used.
async fn expect_used<S: KeyStore>(
    stage: &Stage<'_, S>,
    key: &KeyRecord,
    tenants: &[&TenantRecord],
) {
    for tenant in tenants {
        let again = stage.issuer.with_id(key.id, tenant, "again");
        let before = stage.count(&tenant.id).await;
        let inserted = stage.store.insert_key(again, tenant.version, ROOM).await;
        exists(format!("inserting a deleted key's id for {:?}", tenant.id), inserted);
        stage.expect_no_key("after its id was refused", &tenant.id, key.id).await;
        same("the number of keys", &stage.count(&tenant.id).await, &before);
    }
    let new = stage.issuer.tenant("new");
    let first = stage.issuer.with_id(key.id, &new, "again");
    let inserted = stage.store.insert_tenant(new.clone(), Some(first)).await;
    exists("inserting a new tenant with a deleted key's id", inserted);
    same("the tenant whose key was refused", &stage.tenant(&new.id).await, &None);
}
