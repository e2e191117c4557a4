//! **Compare and set.** An update names the version that it replaces. If the stored version differs, nothing
//! is written and the result is `Conflict`.

use alloc::{format, vec::Vec};

use super::{
    expect::{conflict, not_found, one_done},
    issuer::at,
    stage::Stage,
};
use crate::store::KeyStore;

/// An update of a key that names another version is a conflict, and nothing is written.
pub(super) async fn a_key_update_names_its_version<S: KeyStore>(store: &S) {
    let (stage, tenant, first) = Stage::with_key(store, "first").await;
    let second = stage.rename(&first, &tenant, "second").await;
    let late = stage.issuer.renamed(&first, &tenant, "late");
    for replaces in [first.version, second.version + 1, 0, u64::MAX] {
        let updated = store.update_key(late.clone(), replaces, &[]).await;
        conflict(format!("updating a key of version 2 as if it had {replaces}"), updated);
        stage.expect_key("after a conflict", &second, &tenant).await;
    }
    let third = stage.rename(&second, &tenant, "third").await;
    stage.expect_key("after an update", &third, &tenant).await;
}

/// An update of a tenant that names another version is a conflict, and nothing is written.
pub(super) async fn a_tenant_update_names_its_version<S: KeyStore>(store: &S) {
    let (stage, first) = Stage::with_tenant(store).await;
    let second = stage.suspend(&first, "second").await;
    let late = stage.issuer.suspended(&first, "late");
    for replaces in [first.version, second.version + 1, 0, u64::MAX] {
        let updated = store.update_tenant(late.clone(), replaces, &[]).await;
        conflict(format!("updating a tenant of version 2 as if it had {replaces}"), updated);
        stage.expect_tenant("after a conflict", &second).await;
    }
    let third = stage.suspend(&second, "third").await;
    stage.expect_tenant("after an update", &third).await;
}

/// Of several concurrent updates of one version of a key, one succeeds and the others are conflicts.
pub(super) async fn of_concurrent_key_updates_one_is_done<S: KeyStore>(store: &S) {
    let (stage, tenant, mut key) = Stage::with_key(store, "n").await;
    for round in 0..4 {
        let rename = |n| stage.issuer.renamed(&key, &tenant, format!("round {round}, {n}"));
        let updates: Vec<_> = (0..8).map(rename).collect();
        let calls = updates.iter().map(|new| store.update_key(new.clone(), key.version, &[]));
        let won = one_done("updating a key", calls, conflict).await;
        key = updates.into_iter().nth(won).unwrap_or(key);
        stage.expect_key("after one of many updates was done", &key, &tenant).await;
    }
}

/// Of several concurrent updates of one version of a tenant, one succeeds and the others are conflicts.
pub(super) async fn of_concurrent_tenant_updates_one_is_done<S: KeyStore>(store: &S) {
    let (stage, mut tenant) = Stage::with_tenant(store).await;
    for round in 0..4 {
        let suspend = |n| stage.issuer.suspended(&tenant, &format!("round {round}, {n}"));
        let updates: Vec<_> = (0..8).map(suspend).collect();
        let calls = updates.iter().map(|new| store.update_tenant(new.clone(), tenant.version, &[]));
        let won = one_done("updating a tenant", calls, conflict).await;
        tenant = updates.into_iter().nth(won).unwrap_or(tenant);
        stage.expect_tenant("after one of many updates was done", &tenant).await;
    }
}

/// An update of a key or tenant that does not exist returns `NotFound`, and creates nothing.
pub(super) async fn an_update_of_an_unknown_record_creates_nothing<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let key = stage.issuer.renamed(&stage.issuer.key(&tenant, "n"), &tenant, "m");
    for replaces in [0, 1, 2] {
        let updated = store.update_key(key.clone(), replaces, &[]).await;
        not_found("updating an unknown key", updated);
        stage.expect_no_key("after it was not found", &tenant.id, key.id).await;
    }
    let nobody = stage.issuer.suspended(&stage.issuer.tenant("nobody"), "unknown");
    for replaces in [0, 1, 2] {
        let updated = store.update_tenant(nobody.clone(), replaces, &[]).await;
        not_found("updating an unknown tenant", updated);
        stage.expect_no_tenant("after it was not found", &nobody.id).await;
    }
    let orphan = stage.issuer.renamed(&stage.issuer.key(&nobody, "n"), &nobody, "m");
    let updated = store.update_key(orphan, 1, &[]).await;
    not_found("updating a key of an unknown tenant", updated);
}

/// An update of a key under another tenant than its own returns `NotFound`, and nothing is written.
pub(super) async fn a_key_is_updated_under_its_own_tenant<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let thief = stage.add_tenant("thief").await;
    let stolen = stage.issuer.with_id(key.id, &thief, "stolen");
    let stolen = stage.issuer.renamed(&stolen, &thief, "stolen again");
    let updated = store.update_key(stolen, key.version, &[]).await;
    not_found("updating a key under another tenant", updated);
    stage.expect_key("after an update under another tenant", &key, &tenant).await;
    stage.expect_count("after an update under another tenant", &thief.id, 0).await;
    stage.expect_no_key_of("after an update under another tenant", &thief.id, key.id).await;
}

/// An update of a key keeps the stored last use, whatever last use the new record has.
pub(super) async fn an_update_keeps_the_last_use<S: KeyStore>(store: &S) {
    let (stage, tenant, first) = Stage::with_key(store, "first").await;
    stage.note_use(first.id, at(60_000)).await;
    let mut key = first;
    for last_used in [None, Some(at(0)), Some(at(90_000))] {
        let next = stage.issuer.renamed(&key, &tenant, "next").with_last_used(last_used);
        stage.update_key(&next).await;
        key = next.with_last_used(Some(at(60_000)));
        stage.expect_key("after an update of a key that was used", &key, &tenant).await;
    }
}

/// An update of a tenant does not change its keys. An update of a key does not change other keys.
pub(super) async fn an_update_leaves_the_others<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let neighbor = stage.add_tenant("neighbor").await;
    let [one, two] = [stage.add_key(&tenant, "1").await, stage.add_key(&tenant, "2").await];
    let theirs = stage.add_key(&neighbor, "1").await;
    stage.note_use(two.id, at(0)).await;
    let two = two.with_last_used(Some(at(0)));

    let one = stage.rename(&one, &tenant, "one").await;
    let tenant = stage.suspend(&tenant, "unpaid").await;
    stage.expect_key("after its tenant was updated", &one, &tenant).await;
    stage.expect_key("after another key was updated", &two, &tenant).await;
    stage.expect_key("after another tenant was updated", &theirs, &neighbor).await;
    stage.expect_count("after an update", &tenant.id, 2).await;
}
