//! **Permanence.** A deleted key is gone, and its id is never accepted again.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all};

use super::{
    expect::{conflict, done, exists, holds, not_found, one_done, others_refused, same},
    give_up::give_up_after,
    issuer::at,
    schedule::step_back,
    stage::{ROOM, Stage},
};
use crate::{
    record::{KeyRecord, TenantRecord},
    store::KeyStore,
};

/// No reading method returns a deleted key. No write finds it or restores it.
pub(super) async fn a_deleted_key_is_gone<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "gone").await;
    let other = stage.add_key(&tenant, "kept").await;
    stage.delete_key(&key).await;
    stage.expect_no_key("after it was deleted", &tenant.id, key.id).await;
    not_found("deleting it again", store.delete_key(&tenant.id, key.id, None, &[]).await);
    let next = stage.issuer.renamed(&key, &tenant, "back");
    not_found("updating it", store.update_key(next, key.version, &[]).await);
    stage.note_use(key.id, at(0)).await;
    stage.expect_no_key("after writes to a deleted key", &tenant.id, key.id).await;
    stage.expect_count("after writes to a deleted key", &tenant.id, 1).await;
    stage.expect_key("after another key was deleted", &other, &tenant).await;
}

/// The id of a deleted key is never accepted again: not for its own tenant, not for another one, and not for
/// a first key.
pub(super) async fn the_id_of_a_deleted_key_is_not_used_again<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let other = stage.add_tenant("other").await;
    stage.delete_key(&key).await;
    expect_used(&stage, &key, &[&tenant, &other]).await;
}

/// The ids of a deleted tenant's keys are never accepted again, even if the tenant is created again.
pub(super) async fn the_ids_of_a_deleted_tenant_are_not_used_again<S: KeyStore>(store: &S) {
    let (stage, old) = Stage::with_tenant(store).await;
    let other = stage.add_tenant("other").await;
    let keys = stage.add_keys(&old, 2).await;
    let earlier = stage.add_key(&old, "earlier").await;
    stage.delete_key(&earlier).await;
    stage.delete_tenant(&old.id).await;
    let with_key = store.insert_tenant(old.clone(), Some(earlier.clone()), &[]).await;
    exists("inserting the tenant again with an old key", with_key);
    stage.insert_tenant(&old, None).await;
    for key in [&earlier].into_iter().chain(&keys) {
        expect_used(&stage, key, &[&old, &other]).await;
    }
}

/// Deleting a tenant deletes all of its keys, and no key of another tenant.
pub(super) async fn a_deleted_tenant_takes_its_keys_along<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let other = stage.add_tenant("other").await;
    let theirs = stage.add_key(&other, "theirs").await;
    let keys = stage.add_keys(&tenant, 12).await;
    stage.delete_tenant(&tenant.id).await;
    same("all tenants", &stage.tenants(None, 9).await, &[other.id.clone()].into());
    expect_nothing(&stage, &tenant, &keys).await;
    stage.expect_key("after another tenant was deleted", &theirs, &other).await;
    stage.expect_count("after another tenant was deleted", &other.id, 1).await;
}

/// A deletion that names another version than the stored one is a conflict, and the key is kept. A deletion
/// that names the stored version succeeds, and so does one without a version.
pub(super) async fn a_deletion_names_its_version<S: KeyStore>(store: &S) {
    let (stage, tenant, read) = Stage::with_key(store, "n").await;
    let other = stage.add_tenant("other").await;
    let renewed = stage.rename(&read, &tenant, "renewed").await;
    for version in [read.version, renewed.version + 1, 0, u64::MAX] {
        let deleted = store.delete_key(&tenant.id, read.id, Some(version), &[]).await;
        conflict(format!("deleting version {version} of a key at version 2"), deleted);
        stage.expect_key("after a conflict", &renewed, &tenant).await;
    }
    let deleted = store.delete_key(&other.id, read.id, Some(renewed.version), &[]).await;
    not_found("deleting another tenant's key by its version", deleted);
    let deleted = store.delete_key(&tenant.id, read.id, Some(renewed.version), &[]).await;
    done("deleting a key by its version", deleted);
    stage.expect_no_key("after it was deleted", &tenant.id, read.id).await;
    let deleted = store.delete_key(&tenant.id, read.id, Some(renewed.version), &[]).await;
    not_found("deleting it again", deleted);

    let old = stage.add_key(&tenant, "n").await;
    stage.rename(&old, &tenant, "m").await;
    done("deleting a key at any version", store.delete_key(&tenant.id, old.id, None, &[]).await);
    stage.expect_no_key("after it was deleted", &tenant.id, old.id).await;
}

/// Deleting a key or tenant that does not exist returns `NotFound`.
pub(super) async fn deleting_an_unknown_record_is_not_found<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    not_found("deleting an unknown tenant", store.delete_tenant(&nobody.id, &[]).await);
    not_found(
        "deleting an unknown tenant's key",
        store.delete_key(&nobody.id, key.id, None, &[]).await,
    );
    let tenant = stage.add_tenant("acme").await;
    not_found("deleting an unknown key", store.delete_key(&tenant.id, key.id, None, &[]).await);
    // The failed deletions have used up no id.
    stage.insert_key(&stage.issuer.with_id(key.id, &tenant, "n"), &tenant).await;
    stage.delete_tenant(&tenant.id).await;
    not_found("deleting a tenant twice", store.delete_tenant(&tenant.id, &[]).await);
}

/// Another tenant's key is not found for deletion, and is kept.
pub(super) async fn a_key_is_deleted_under_its_own_tenant<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let other = stage.add_tenant("other").await;
    let nobody = stage.issuer.tenant("nobody");
    for thief in [&other.id, &nobody.id] {
        let deleted = store.delete_key(thief, key.id, None, &[]).await;
        not_found(format!("deleting a key of another tenant as {thief:?}"), deleted);
        stage.expect_key("after another tenant tried to delete it", &key, &tenant).await;
    }
    stage.expect_count("after another tenant tried to delete a key", &tenant.id, 1).await;
}

/// A tenant that is created again has no keys, and accepts new ones.
pub(super) async fn a_tenant_created_again_has_no_keys<S: KeyStore>(store: &S) {
    let (stage, old, key) = Stage::with_key(store, "old").await;
    stage.suspend(&old, "unpaid").await;
    stage.delete_tenant(&old.id).await;

    let new = stage.issuer.tenant_at("acme", "lite", at(7));
    stage.insert_tenant(&new, None).await;
    let when = "after its tenant was created again";
    stage.expect_tenant(when, &new).await;
    stage.expect_count(when, &new.id, 0).await;
    stage.expect_no_key(when, &new.id, key.id).await;
    let next = stage.issuer.key(&new, "new");
    done("inserting its first key", stage.insert(&next, &new, Some(1)).await);
    stage.expect_key(when, &next, &new).await;
    same("its keys", &stage.ids(&new.id).await, &[next.id].into());
}

/// A tenant with 250 keys is deleted completely. A tenant that is created again under its id has none of
/// them.
pub(super) async fn a_large_tenant_is_deleted_whole<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut keys = Vec::new();
    for batch in 0..5 {
        let new: Vec<_> = (0..50).map(|_| stage.issuer.key(&tenant, "n")).collect();
        let inserts =
            new.iter().map(|key| store.insert_key(key.clone(), tenant.version, None, &[]));
        for inserted in join_all(inserts).await {
            done(format_args!("inserting the keys of batch {batch}"), inserted);
        }
        keys.extend(new);
    }
    stage.delete_tenant(&tenant.id).await;
    stage.expect_no_tenant("after it was deleted", &tenant.id).await;
    stage.insert_tenant(&tenant, None).await;
    stage.expect_count("after it was created again", &tenant.id, 0).await;
    for key in keys.iter().step_by(7) {
        stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
    }
    for key in keys.iter().step_by(83) {
        expect_used(&stage, key, &[&tenant]).await;
    }
}

/// A deletion of a tenant that is dropped at any await and then repeated leaves nothing. Once it has begun to
/// write, no method finds the tenant or its keys.
pub(super) async fn an_interrupted_deletion_of_a_tenant_goes_on<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for polls in 0..12 {
        let tenant = stage.add_tenant(&format!("t{polls}")).await;
        let keys = interrupt(&stage, &tenant, polls).await;
        if stage.tenant(&tenant.id).await.is_none() {
            expect_nothing(&stage, &tenant, &keys).await;
        }
        match store.delete_tenant(&tenant.id, &[]).await {
            Ok(()) => {}
            error => not_found("deleting a tenant again after an interruption", error),
        }
        expect_nothing(&stage, &tenant, &keys).await;
        not_found("deleting it once more", store.delete_tenant(&tenant.id, &[]).await);
    }
}

/// A tenant that is created again while keys of the deleted one may still be erased has none of them, and
/// keeps its own.
pub(super) async fn a_tenant_created_again_after_an_interruption_has_no_keys<S: KeyStore>(
    store: &S,
) {
    let stage = Stage::new(store);
    for polls in 0..12 {
        let old = stage.add_tenant(&format!("t{polls}")).await;
        let keys = interrupt(&stage, &old, polls).await;
        if stage.tenant(&old.id).await.is_some() {
            // The deletion had not begun to write, or its writes are not visible yet.
            continue;
        }
        let new = stage.issuer.tenant_at(old.id.as_str(), "lite", at(7));
        let first = stage.issuer.key(&new, "new");
        stage.insert_tenant(&new, Some(&first)).await;
        for key in &keys {
            stage.expect_no_key("after its tenant was created again", &new.id, key.id).await;
        }
        same("its keys", &stage.ids(&new.id).await, &[first.id].into());
        stage.expect_key("after its tenant was created again", &first, &new).await;
    }
}

/// Gives `tenant` a few keys, and polls its deletion a limited number of times.
async fn interrupt<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    polls: usize,
) -> Vec<KeyRecord> {
    let keys = stage.add_keys(tenant, 3).await;
    if let Some(answer) = give_up_after(polls, stage.store.delete_tenant(&tenant.id, &[])).await {
        done("deleting a tenant", answer);
    }
    keys
}

/// Expects that no method finds the tenant or any of its keys.
async fn expect_nothing<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    keys: &[KeyRecord],
) {
    stage.expect_no_tenant("after it was deleted", &tenant.id).await;
    let next = stage.issuer.suspended(tenant, "unpaid");
    not_found("updating it", stage.store.update_tenant(next, tenant.version, &[]).await);
    let key = stage.issuer.key(tenant, "n");
    not_found("inserting a key for it", stage.insert(&key, tenant, Some(ROOM)).await);
    for key in keys {
        stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
        let next = stage.issuer.renamed(key, tenant, "m");
        not_found("updating a key of it", stage.store.update_key(next, key.version, &[]).await);
        for version in [None, Some(key.version)] {
            let deleted = stage.store.delete_key(&tenant.id, key.id, version, &[]).await;
            not_found("deleting a key of it", deleted);
        }
    }
}

/// If one key is deleted several times at once, one deletion succeeds and the others find nothing. If one
/// tenant is deleted several times at once, at least one deletion succeeds.
pub(super) async fn of_concurrent_deletions_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..4 {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        let key = stage.add_key(&tenant, "n").await;
        let deletions = (0..8).map(|_| store.delete_key(&tenant.id, key.id, None, &[]));
        one_done("deleting a key", deletions, not_found).await;
        stage.expect_no_key("after many deletions", &tenant.id, key.id).await;
        let answers = join_all((0..8).map(|_| store.delete_tenant(&tenant.id, &[]))).await;
        // A deletion that comes while keys are still being erased continues the erasure and succeeds too.
        let what = "deleting a tenant at the same time as another";
        let done = others_refused(what, answers, not_found);
        holds("of 8 deletions of a tenant none was done", done > 0);
        stage.expect_no_tenant("after many deletions", &tenant.id).await;
    }
}

/// No key outlives its tenant. A key that is inserted during the deletion of its tenant is deleted with it or
/// refused.
pub(super) async fn no_key_outlives_its_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        let keys: Vec<_> = (0..8).map(|_| stage.issuer.key(&tenant, "n")).collect();
        let inserts =
            join_all(keys.iter().map(|key| store.insert_key(key.clone(), 1, Some(ROOM), &[])));
        let delete = async {
            for _ in 0..round {
                step_back().await;
            }
            stage.delete_tenant(&tenant.id).await;
        };
        let (answers, ()) = join(inserts, delete).await;
        others_refused("inserting a key while its tenant is deleted", answers, not_found);
        stage.insert_tenant(&tenant, None).await;
        stage.expect_count("after it was created again", &tenant.id, 0).await;
        for key in &keys {
            stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
        }
    }
}

/// Expects that the id of `key`, which is deleted, is not accepted again.
async fn expect_used<S: KeyStore>(
    stage: &Stage<'_, S>,
    key: &KeyRecord,
    tenants: &[&TenantRecord],
) {
    for tenant in tenants {
        let again = stage.issuer.with_id(key.id, tenant, "again");
        let before = stage.count(&tenant.id).await;
        let inserted = stage.insert(&again, tenant, Some(ROOM)).await;
        exists(format!("inserting a deleted key's id for {:?}", tenant.id), inserted);
        stage.expect_no_key("after its id was refused", &tenant.id, key.id).await;
        stage.expect_count("after its id was refused", &tenant.id, before).await;
    }
    let new = stage.issuer.tenant("new");
    let first = stage.issuer.with_id(key.id, &new, "again");
    let inserted = stage.store.insert_tenant(new.clone(), Some(first), &[]).await;
    exists("inserting a new tenant with a deleted key's id", inserted);
    stage.expect_no_tenant("after its first key was refused", &new.id).await;
}
