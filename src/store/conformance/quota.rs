//! **Quota.** `insert_key` counts and inserts in one step: however many processes insert at once, a
//! tenant never holds more keys than the limit that was passed.

use alloc::{format, vec::Vec};

use super::{
    expect::{conflict, done, made, not_found, quota_full, same},
    issuer::at,
    schedule::{all, both, step_back},
    stage::{ROOM, Stage},
};
use crate::{
    authority::{KeyEdit, NewKey},
    record::Suspension,
    store::KeyStore,
};

/// A tenant gets as many keys as the limit says. The next one is refused and not written, and the
/// answer says how many are held.
pub async fn the_limit_holds<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    for number in 0..3 {
        let key = stage.issuer.key(&tenant, &format!("key {number}"));
        let inserted = store.insert_key(key, tenant.version, 3).await;
        done(format!("inserting a key beside {number} with a limit of 3"), inserted);
        same("the number of keys", &stage.count(&tenant.id).await, &(number + 1));
    }
    let more = stage.issuer.key(&tenant, "one too many");
    let inserted = store.insert_key(more.clone(), tenant.version, 3).await;
    quota_full("inserting a fourth key with a limit of 3", 3, inserted);
    same("the number of keys", &stage.count(&tenant.id).await, &3);
    stage.expect_no_key("after it was refused", &tenant.id, more.id).await;
    // What was refused has used up no id.
    stage.insert_key(&more, &tenant).await;
}

/// Of many inserts at the same time, exactly as many are done as there is room for. The others hear
/// that the tenant is full, and how many keys it holds.
pub async fn the_limit_holds_under_concurrency<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for (round, (held, max)) in [(0, 1), (0, 5), (3, 5), (4, 5)].into_iter().enumerate() {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        for _ in 0..held {
            stage.add_key(&tenant, "held").await;
        }
        let keys: Vec<_> = (0..16).map(|_| stage.issuer.key(&tenant, "n")).collect();
        let inserts = keys.iter().map(|key| store.insert_key(key.clone(), tenant.version, max));
        let answers = all(inserts).await;
        let written = u32::try_from(answers.iter().filter(|answer| answer.is_ok()).count());
        let what = format!("16 inserts beside {held} keys with a limit of {max}");
        same(format!("{what}: how many were done"), &made(written), &(max - held));
        for answer in answers.into_iter().filter(Result::is_err) {
            quota_full(&what, max, answer);
        }
        same(format!("{what}: how many keys there are"), &stage.count(&tenant.id).await, &max);
        let listed = u32::try_from(stage.ids(&tenant.id).await.len());
        same(format!("{what}: how many are listed"), &made(listed), &max);
    }
}

/// A limit of zero admits no key.
pub async fn a_limit_of_zero_admits_no_key<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.issuer.key(&tenant, "n");
    let inserted = store.insert_key(key.clone(), tenant.version, 0).await;
    quota_full("inserting a key with a limit of 0", 0, inserted);
    stage.expect_no_key("after it was refused", &tenant.id, key.id).await;
}

/// The largest limit is one: it is compared as the number that it is.
pub async fn the_largest_limit_admits_keys<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    for max in [u32::MAX, u32::MAX / 2 + 1, u32::MAX / 2] {
        let key = stage.issuer.key(&tenant, "n");
        let inserted = store.insert_key(key, tenant.version, max).await;
        done(format!("inserting a key with a limit of {max}"), inserted);
    }
}

/// A tenant with more keys than the limit keeps them, gets no other, and hears how many it holds.
pub async fn a_tenant_above_its_limit_gets_no_key<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    for _ in 0..4 {
        stage.add_key(&tenant, "n").await;
    }
    for max in [0, 1, 3, 4] {
        let key = stage.issuer.key(&tenant, "one more");
        let inserted = store.insert_key(key, tenant.version, max).await;
        quota_full(format!("inserting a key beside 4 with a limit of {max}"), 4, inserted);
    }
    same("the number of keys", &stage.count(&tenant.id).await, &4);
}

/// Every key counts, whatever its state: the first one, disabled, suspended and expired ones.
pub async fn keys_count_in_every_state<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.issuer.tenant("acme");
    let first = stage.issuer.key(&tenant, "first");
    stage.insert_tenant(&tenant, Some(&first)).await;
    let disabled = stage.add_key(&tenant, "disabled").await;
    let off = KeyEdit::new().enabled(false);
    stage.update_key(&stage.issuer.edited(&disabled, &tenant, off)).await;
    let suspended = stage.add_key(&tenant, "suspended").await;
    let spam = Some(made(Suspension::for_good("spam")));
    let authority = stage.issuer.authority();
    stage.update_key(&made(authority.suspend_key(&suspended, spam))).await;
    let ended = NewKey::named("ended").expires_at(at(1));
    let ended = stage.issuer.issue(&tenant, ended, at(0));
    stage.insert_key(&ended, &tenant).await;

    same("the number of keys in four states", &stage.count(&tenant.id).await, &4);
    let key = stage.issuer.key(&tenant, "one more");
    let inserted = store.insert_key(key, tenant.version, 4).await;
    quota_full("inserting a key beside keys in four states", 4, inserted);
}

/// A key that is deleted makes room for another.
pub async fn a_deleted_key_makes_room<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let [first, second, third] = ["1", "2", "3"].map(|name| stage.issuer.key(&tenant, name));
    for key in [&first, &second] {
        let inserted = store.insert_key(key.clone(), tenant.version, 2).await;
        done("inserting a key with a limit of 2", inserted);
    }
    let full = store.insert_key(third.clone(), tenant.version, 2).await;
    quota_full("inserting a third", 2, full);
    stage.delete_key(&first).await;
    same("the number of keys after a deletion", &stage.count(&tenant.id).await, &1);
    done("inserting it again", store.insert_key(third, tenant.version, 2).await);
    let fourth = stage.issuer.key(&tenant, "4");
    quota_full("inserting a fourth", 2, store.insert_key(fourth, tenant.version, 2).await);
}

/// The keys of other tenants do not count.
pub async fn each_tenant_has_its_own_quota<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut tenants = Vec::new();
    for number in 0..20 {
        tenants.push(stage.add_tenant(&format!("t{number}")).await);
    }
    let keys: Vec<_> =
        tenants.iter().flat_map(|t| [(); 3].map(|()| (t, stage.issuer.key(t, "n")))).collect();
    let inserts = keys.iter().map(|(tenant, key)| store.insert_key(key.clone(), tenant.version, 2));
    let answers = all(inserts).await;
    for (answers, tenant) in answers.chunks(3).zip(&tenants) {
        let written = answers.iter().filter(|answer| answer.is_ok()).count();
        same(format!("of 3 inserts with a limit of 2 for {:?}", tenant.id), &written, &2);
        same("the number of keys", &stage.count(&tenant.id).await, &2);
    }
}

/// An insert that names another version of the tenant is a conflict, and nothing is written.
pub async fn an_insert_names_the_tenants_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let old = stage.add_tenant("acme").await;
    let tenant = stage.issuer.suspended(&old, "unpaid");
    stage.update_tenant(&tenant).await;
    let key = stage.issuer.key(&tenant, "n");
    for version in [old.version, tenant.version + 1, 0, u64::MAX] {
        let inserted = store.insert_key(key.clone(), version, ROOM).await;
        conflict(format!("inserting a key at version {version} of 2"), inserted);
        stage.expect_no_key("after a conflict", &tenant.id, key.id).await;
        same("the number of keys", &stage.count(&tenant.id).await, &0);
    }
    stage.insert_key(&key, &tenant).await;
}

/// Inserts at a version that is replaced at the same time are done before that or not at all: whoever
/// has read the new version knows all keys that the old one admitted.
pub async fn no_insert_outlives_the_tenants_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let old = stage.add_tenant(&format!("t{round}")).await;
        let new = stage.issuer.suspended(&old, "unpaid");
        let keys: Vec<_> = (0..8).map(|_| stage.issuer.key(&old, "n")).collect();
        let inserts = all(keys.iter().map(|key| store.insert_key(key.clone(), old.version, ROOM)));
        let change = async {
            for _ in 0..round {
                step_back().await;
            }
            stage.update_tenant(&new).await;
            stage.ids(&new.id).await.len()
        };
        let (answers, seen) = both(inserts, change).await;
        let done = answers.iter().filter(|answer| answer.is_ok()).count();
        same("the keys that were there when the tenant had changed", &seen, &done);
        for answer in answers.into_iter().filter(Result::is_err) {
            conflict("inserting a key while the tenant changes", answer);
        }
    }
}

/// An insert for a tenant that does not exist is refused, and nothing is written.
pub async fn an_insert_needs_its_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    let inserted = store.insert_key(key.clone(), 1, ROOM).await;
    not_found("inserting a key for an unknown tenant", inserted);
    stage.expect_no_key("after it was refused", &nobody.id, key.id).await;
    same("the unknown tenant", &stage.tenant(&nobody.id).await, &None);
    stage.insert_tenant(&nobody, Some(&key)).await;
    stage.expect_key("after its tenant was inserted with it", &key, &nobody).await;
}
