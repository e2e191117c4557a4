//! **Quota.** `insert_key` counts and inserts in one step. A tenant never holds more keys than the limit that
//! was passed, however many processes insert at once.

use alloc::{format, vec::Vec};

use futures_util::future::{join, join_all};

use super::{
    expect::{conflict, done, exists, made, not_found, others_refused, quota_full, same},
    issuer::at,
    schedule::step_back,
    stage::{ROOM, Stage},
};
use crate::{
    authority::{KeyEdit, NewKey},
    record::{KeyRecord, Suspension, TenantRecord},
    store::KeyStore,
};

/// A tenant accepts as many keys as the limit. The next key is refused and not written.
pub(super) async fn the_limit_holds<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    for number in 0..3 {
        let key = stage.issuer.key(&tenant, &format!("key {number}"));
        let inserted = stage.insert(&key, &tenant, Some(3)).await;
        done(format!("inserting a key beside {number} with a limit of 3"), inserted);
        stage.expect_count("after an insert", &tenant.id, number + 1).await;
    }
    let more = expect_full(&stage, &tenant, 3, 3).await;
    // The refused insert has used up no id.
    stage.insert_key(&more, &tenant).await;
}

/// Of many concurrent inserts exactly as many succeed as there is room for. The others return `QuotaFull`.
pub(super) async fn the_limit_holds_under_concurrency<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for (round, (held, max)) in [(0, 1), (0, 5), (3, 5), (4, 5)].into_iter().enumerate() {
        let tenant = stage.add_tenant(&format!("t{round}")).await;
        stage.add_keys(&tenant, held).await;
        let keys: Vec<_> = (0..16).map(|_| stage.issuer.key(&tenant, "n")).collect();
        let answers = join_all(keys.iter().map(|key| stage.insert(key, &tenant, Some(max)))).await;
        let what = format!("16 inserts beside {held} keys with a limit of {max}");
        let written = others_refused(&what, answers, quota_full);
        same(format!("{what}: how many were done"), &(written + held), &made(max.try_into()));
        stage.expect_count(&what, &tenant.id, max).await;
        let listed = stage.ids(&tenant.id).await.len();
        same(format!("{what}: how many are listed"), &listed, &made(max.try_into()));
    }
}

/// A limit of zero admits no key.
pub(super) async fn a_limit_of_zero_admits_no_key<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    expect_full(&stage, &tenant, 0, 0).await;
}

/// The largest limit admits keys. It is compared as an unsigned number.
pub(super) async fn the_largest_limit_admits_keys<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    for max in [u32::MAX, u32::MAX / 2 + 1, u32::MAX / 2] {
        let key = stage.issuer.key(&tenant, "n");
        let inserted = stage.insert(&key, &tenant, Some(max)).await;
        done(format!("inserting a key with a limit of {max}"), inserted);
    }
}

/// Without a limit a tenant accepts keys, however many it holds.
pub(super) async fn no_limit_admits_keys<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    for number in 0..3 {
        let key = stage.issuer.key(&tenant, "n");
        let inserted = stage.insert(&key, &tenant, None).await;
        done(format!("inserting a key beside {number} without a limit"), inserted);
        let again = stage.insert(&key, &tenant, None).await;
        exists("inserting it again without a limit", again);
        stage.expect_count("after an insert", &tenant.id, number + 1).await;
    }
    let key = stage.issuer.key(&tenant, "n");
    let conflicts = store.insert_key(key, tenant.version + 1, None, &[]).await;
    conflict("inserting a key at another version without a limit", conflicts);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    let inserted = stage.insert(&key, &nobody, None).await;
    not_found("inserting a key for an unknown tenant without a limit", inserted);
}

/// A tenant with more keys than the limit keeps them and accepts no other.
pub(super) async fn a_tenant_above_its_limit_gets_no_key<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    stage.add_keys(&tenant, 4).await;
    for max in [0, 1, 3, 4] {
        expect_full(&stage, &tenant, 4, max).await;
    }
}

/// Keys count in every state. The first key counts, and so do disabled, suspended and expired keys.
pub(super) async fn keys_count_in_every_state<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.issuer.tenant("acme");
    let first = stage.issuer.key(&tenant, "first");
    stage.insert_tenant(&tenant, Some(&first)).await;
    let disabled = stage.add_key(&tenant, "disabled").await;
    let off = KeyEdit::new().enabled(false);
    stage.update_key(&stage.issuer.edited(&disabled, &tenant, off)).await;
    let suspended = stage.add_key(&tenant, "suspended").await;
    let spam = Some(made(Suspension::permanent("spam")));
    let authority = stage.issuer.authority();
    stage.update_key(&made(authority.suspend_key(&suspended, spam))).await;
    let ended = stage.issuer.issue(&tenant, NewKey::named("ended").expires_at(at(1)), at(0));
    stage.insert_key(&ended, &tenant).await;

    expect_full(&stage, &tenant, 4, 4).await;
}

/// A deleted key makes room for another one.
pub(super) async fn a_deleted_key_makes_room<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let [first, second, third] = ["1", "2", "3"].map(|name| stage.issuer.key(&tenant, name));
    for key in [&first, &second] {
        let inserted = stage.insert(key, &tenant, Some(2)).await;
        done("inserting a key with a limit of 2", inserted);
    }
    expect_full(&stage, &tenant, 2, 2).await;
    stage.delete_key(&first).await;
    stage.expect_count("after a deletion", &tenant.id, 1).await;
    done("inserting a key instead", stage.insert(&third, &tenant, Some(2)).await);
    expect_full(&stage, &tenant, 2, 2).await;
}

/// The keys of other tenants do not count.
pub(super) async fn each_tenant_has_its_own_quota<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut tenants = Vec::new();
    for number in 0..20 {
        tenants.push(stage.add_tenant(&format!("t{number}")).await);
    }
    let keys: Vec<_> =
        tenants.iter().flat_map(|t| [(); 3].map(|()| (t, stage.issuer.key(t, "n")))).collect();
    let answers =
        join_all(keys.iter().map(|(tenant, key)| stage.insert(key, tenant, Some(2)))).await;
    for (answers, tenant) in answers.chunks(3).zip(&tenants) {
        let written = answers.iter().filter(|answer| answer.is_ok()).count();
        same(format!("of 3 inserts with a limit of 2 for {:?}", tenant.id), &written, &2);
        stage.expect_count("with a limit of 2", &tenant.id, 2).await;
    }
}

/// An insert that names another version of the tenant is a conflict, and nothing is written.
pub(super) async fn an_insert_names_the_tenants_version<S: KeyStore>(store: &S) {
    let (stage, old) = Stage::with_tenant(store).await;
    let tenant = stage.suspend(&old, "unpaid").await;
    let key = stage.issuer.key(&tenant, "n");
    for version in [old.version, tenant.version + 1, 0, u64::MAX] {
        let inserted = store.insert_key(key.clone(), version, Some(ROOM), &[]).await;
        conflict(format!("inserting a key at version {version} of 2"), inserted);
        stage.expect_no_key("after a conflict", &tenant.id, key.id).await;
        stage.expect_count("after a conflict", &tenant.id, 0).await;
    }
    stage.insert_key(&key, &tenant).await;
}

/// An insert at a tenant version that is being replaced completes before the replacement or not at all. A
/// reader of the new version therefore sees all keys that were inserted under the old one.
pub(super) async fn no_insert_outlives_the_tenants_version<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let old = stage.add_tenant(&format!("t{round}")).await;
        let new = stage.issuer.suspended(&old, "unpaid");
        let keys: Vec<_> = (0..8).map(|_| stage.issuer.key(&old, "n")).collect();
        let inserts = join_all(keys.iter().map(|key| stage.insert(key, &old, Some(ROOM))));
        let change = async {
            for _ in 0..round {
                step_back().await;
            }
            stage.update_tenant(&new).await;
            stage.ids(&new.id).await.len()
        };
        let (answers, seen) = join(inserts, change).await;
        let done = others_refused("inserting a key while the tenant changes", answers, conflict);
        same("the keys that were there when the tenant had changed", &seen, &done);
    }
}

/// An insert for a tenant that does not exist returns `NotFound`, and nothing is written.
pub(super) async fn an_insert_needs_its_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    let inserted = store.insert_key(key.clone(), 1, Some(ROOM), &[]).await;
    not_found("inserting a key for an unknown tenant", inserted);
    stage.expect_no_key("after it was refused", &nobody.id, key.id).await;
    stage.expect_no_tenant("after its key was refused", &nobody.id).await;
    stage.insert_tenant(&nobody, Some(&key)).await;
    stage.expect_key("after its tenant was inserted with it", &key, &nobody).await;
}

/// Expects that a tenant with `held` keys accepts no other under the limit `max`. Returns the refused key.
async fn expect_full<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    held: u32,
    max: u32,
) -> KeyRecord {
    let key = stage.issuer.key(tenant, "one too many");
    let inserted = stage.insert(&key, tenant, Some(max)).await;
    quota_full(format!("inserting a key beside {held} with a limit of {max}"), inserted);
    stage.expect_count("after a key was refused", &tenant.id, held).await;
    stage.expect_no_key("after it was refused", &tenant.id, key.id).await;
    key
}
