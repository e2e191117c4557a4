//! **Compare and set.** An update names the version that it replaces. If the stored version is
//! another, nothing is written and the answer is `Conflict`.

use alloc::{format, vec::Vec};

use super::{
    expect::{conflict, not_found, one_done, same},
    issuer::at,
    schedule::all,
    stage::Stage,
};
use crate::store::KeyStore;

/// An update of a key that names another version is a conflict, and nothing is written.
pub async fn a_key_update_names_its_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let first = stage.add_key(&tenant, "first").await;
    let second = stage.issuer.renamed(&first, &tenant, "second");
    stage.update_key(&second).await;
    let late = stage.issuer.renamed(&first, &tenant, "late");
    for replaces in [first.version, second.version + 1, 0, u64::MAX] {
        let updated = store.update_key(late.clone(), replaces).await;
        conflict(format!("updating a key of version 2 as if it had {replaces}"), updated);
        stage.expect_key("after a conflict", &second, &tenant).await;
    }
    let third = stage.issuer.renamed(&second, &tenant, "third");
    stage.update_key(&third).await;
    stage.expect_key("after an update", &third, &tenant).await;
}

/// An update of a tenant that names another version is a conflict, and nothing is written.
pub async fn a_tenant_update_names_its_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let first = stage.add_tenant("acme").await;
    let second = stage.issuer.suspended(&first, "second");
    stage.update_tenant(&second).await;
    let late = stage.issuer.suspended(&first, "late");
    for replaces in [first.version, second.version + 1, 0, u64::MAX] {
        let updated = store.update_tenant(late.clone(), replaces).await;
        conflict(format!("updating a tenant of version 2 as if it had {replaces}"), updated);
        let read = stage.tenant(&first.id).await;
        same("the tenant after a conflict", &read, &Some(second.clone()));
    }
    let third = stage.issuer.suspended(&second, "third");
    stage.update_tenant(&third).await;
    same("the tenant after an update", &stage.tenant(&first.id).await, &Some(third));
}

/// Of several updates of one version of a key at the same time, one is done and the others are
/// conflicts.
pub async fn of_concurrent_key_updates_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut key = stage.add_key(&tenant, "n").await;
    for round in 0..4 {
        let rename = |n| stage.issuer.renamed(&key, &tenant, format!("round {round}, {n}"));
        let updates: Vec<_> = (0..8).map(rename).collect();
        let answers = all(updates.iter().map(|new| store.update_key(new.clone(), key.version)));
        let won = one_done("updating a key", answers.await, conflict);
        key = updates.into_iter().nth(won).unwrap_or(key);
        stage.expect_key("after one of many updates was done", &key, &tenant).await;
    }
}

/// Of several updates of one version of a tenant at the same time, one is done and the others are
/// conflicts.
pub async fn of_concurrent_tenant_updates_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut tenant = stage.add_tenant("acme").await;
    for round in 0..4 {
        let suspend = |n| stage.issuer.suspended(&tenant, &format!("round {round}, {n}"));
        let updates: Vec<_> = (0..8).map(suspend).collect();
        let answers =
            all(updates.iter().map(|new| store.update_tenant(new.clone(), tenant.version)));
        let won = one_done("updating a tenant", answers.await, conflict);
        tenant = updates.into_iter().nth(won).unwrap_or(tenant);
        let read = stage.tenant(&tenant.id).await;
        same("the tenant after one of many updates was done", &read, &Some(tenant.clone()));
    }
}

/// An update of a key or tenant that does not exist says so, and makes none.
pub async fn an_update_makes_nothing<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.issuer.renamed(&stage.issuer.key(&tenant, "n"), &tenant, "m");
    for replaces in [0, 1, 2] {
        let updated = store.update_key(key.clone(), replaces).await;
        not_found("updating an unknown key", updated);
        stage.expect_no_key("after it was not found", &tenant.id, key.id).await;
    }
    let nobody = stage.issuer.suspended(&stage.issuer.tenant("nobody"), "unknown");
    for replaces in [0, 1, 2] {
        let updated = store.update_tenant(nobody.clone(), replaces).await;
        not_found("updating an unknown tenant", updated);
        same("the unknown tenant", &stage.tenant(&nobody.id).await, &None);
    }
    let orphan = stage.issuer.renamed(&stage.issuer.key(&nobody, "n"), &nobody, "m");
    let updated = store.update_key(orphan, 1).await;
    not_found("updating a key of an unknown tenant", updated);
}

/// A key is not updated under another tenant than its own: there is no such key, and nothing is
/// written.
pub async fn a_key_is_updated_under_its_own_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let thief = stage.add_tenant("thief").await;
    let key = stage.add_key(&tenant, "n").await;
    let stolen = stage.issuer.with_id(key.id, &thief, "stolen");
    let stolen = stage.issuer.renamed(&stolen, &thief, "stolen again");
    let updated = store.update_key(stolen, key.version).await;
    not_found("updating a key under another tenant", updated);
    stage.expect_key("after an update under another tenant", &key, &tenant).await;
    same("the number of keys of the other", &stage.count(&thief.id).await, &0);
    stage.expect_no_key_of("after an update under another tenant", &thief.id, key.id).await;
}

/// The last use stays when a key is updated, whatever the new record says of it.
pub async fn an_update_keeps_the_last_use<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let first = stage.add_key(&tenant, "first").await;
    stage.note_use(first.id, at(60_000)).await;
    let mut key = first;
    for last_used in [None, Some(at(0)), Some(at(90_000))] {
        let next = stage.issuer.renamed(&key, &tenant, "next").with_last_used(last_used);
        stage.update_key(&next).await;
        key = next.with_last_used(Some(at(60_000)));
        stage.expect_key("after an update of a key that was used", &key, &tenant).await;
    }
}

/// An update of a tenant leaves its keys as they are, and one of a key leaves all others.
pub async fn an_update_leaves_the_others<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let neighbour = stage.add_tenant("neighbour").await;
    let [one, two] = [stage.add_key(&tenant, "1").await, stage.add_key(&tenant, "2").await];
    let theirs = stage.add_key(&neighbour, "1").await;
    stage.note_use(two.id, at(0)).await;
    let two = two.with_last_used(Some(at(0)));

    let one = stage.issuer.renamed(&one, &tenant, "one");
    stage.update_key(&one).await;
    let tenant = stage.issuer.suspended(&tenant, "unpaid");
    stage.update_tenant(&tenant).await;
    stage.expect_key("after its tenant was updated", &one, &tenant).await;
    stage.expect_key("after another key was updated", &two, &tenant).await;
    stage.expect_key("after another tenant was updated", &theirs, &neighbour).await;
    same("the number of keys", &stage.count(&tenant.id).await, &2);
}
