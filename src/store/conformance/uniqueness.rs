//! **Uniqueness.** An id is given once, and an insert takes effect as a whole or not at all.

use alloc::{format, vec::Vec};

use super::{
    expect::{exists, not_found, one_done, same},
    schedule::{all, both, step_back},
    stage::{ROOM, Stage},
};
use crate::{record::KeyRecord, store::KeyStore};

/// A tenant id that is taken is refused, and neither the tenant nor a first key is written.
pub async fn a_taken_tenant_id_is_refused<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "old").await;
    let other = stage.issuer.tenant_at("acme", "lite", tenant.created_at);
    let new = stage.issuer.key(&other, "new");
    let before = stage.reading(&tenant.id, &[new.id]).await;
    exists("inserting a tenant again", store.insert_tenant(tenant.clone(), None).await);
    exists("inserting it otherwise", store.insert_tenant(other.clone(), None).await);
    let with_key = store.insert_tenant(other.clone(), Some(new.clone())).await;
    exists("inserting it with a new key", with_key);
    let with_old = store.insert_tenant(other, Some(key)).await;
    exists("inserting it with its old key", with_old);
    let after = stage.reading(&tenant.id, &[new.id]).await;
    same("a tenant whose id was refused to another", &after, &before);
    // What was refused has used up no id.
    stage.insert_key(&new, &tenant).await;
}

/// A key id that is taken is refused, to the same tenant and to any other, and the key stays.
pub async fn a_taken_key_id_is_refused<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let acme = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let key = stage.add_key(&acme, "old").await;
    for tenant in [&acme, &other] {
        let twin = stage.issuer.with_id(key.id, tenant, "new");
        let inserted = store.insert_key(twin, tenant.version, ROOM).await;
        exists(format!("inserting a taken key id for {:?}", tenant.id), inserted);
        stage.expect_key("after its id was refused to another", &key, &acme).await;
    }
    let again = store.insert_key(key.clone(), acme.version, ROOM).await;
    exists("inserting the same key again", again);
    same("the keys of the other tenant", &stage.count(&other.id).await, &0);
    same("the keys of the tenant", &stage.count(&acme.id).await, &1);
}

/// A tenant and its first key are inserted in one step: if the key's id is taken, there is no tenant.
pub async fn a_tenant_is_not_left_without_its_first_key<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let acme = stage.add_tenant("acme").await;
    let key = stage.add_key(&acme, "old").await;
    let new = stage.issuer.tenant("new");
    let twin = stage.issuer.with_id(key.id, &new, "first");
    let inserted = store.insert_tenant(new.clone(), Some(twin)).await;
    exists("inserting a tenant with a taken key id", inserted);
    same("the tenant whose key was refused", &stage.tenant(&new.id).await, &None);
    same("all tenants", &stage.tenants(None, 9).await, &[acme.id.clone()].into());
    stage.expect_key("after its id was refused to a new tenant", &key, &acme).await;
    let first = stage.issuer.key(&new, "first");
    not_found("inserting a key for it", store.insert_key(first, new.version, ROOM).await);
    stage.insert_tenant(&new, None).await;
}

/// Nobody ever sees a tenant without the first key that it was inserted with.
pub async fn a_tenant_is_not_seen_before_its_first_key<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let tenant = &stage.issuer.tenant(&format!("t{round}"));
        let key = &stage.issuer.key(tenant, "first");
        let stage = &stage;
        let write = async {
            step_back().await;
            stage.insert_tenant(tenant, Some(key)).await;
        };
        let read = async {
            for _ in 0..8 {
                // The tenant is read first: if it is there, its key was there before the next read.
                if stage.tenant(&tenant.id).await.is_some() {
                    same("the keys of a tenant that is there", &stage.count(&tenant.id).await, &1);
                    stage.expect_key("once its tenant is seen", key, tenant).await;
                }
                step_back().await;
            }
        };
        both(write, read).await;
        stage.expect_key("after its tenant was inserted", key, tenant).await;
    }
}

/// Of several inserts of one tenant at the same time, one is done and the others are refused.
pub async fn of_concurrent_inserts_of_a_tenant_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.issuer.tenant("acme");
    let keys: Vec<_> = (0..8).map(|n| stage.issuer.key(&tenant, &format!("key {n}"))).collect();
    let inserts = keys.iter().map(|key| store.insert_tenant(tenant.clone(), Some(key.clone())));
    let answers = all(inserts).await;
    let won = one_done("inserting a tenant", answers, exists);
    for (number, key) in keys.iter().enumerate() {
        if number == won {
            stage.expect_key("after its insert was done", key, &tenant).await;
        } else {
            stage.expect_no_key("after its insert was refused", &tenant.id, key.id).await;
        }
    }
}

/// Of several inserts of one key id at the same time, for whichever tenants, one is done and the
/// others are refused.
pub async fn of_concurrent_inserts_of_a_key_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut keys: Vec<KeyRecord> = Vec::new();
    let mut tenants = Vec::new();
    for number in 0..8 {
        let tenant = stage.add_tenant(&format!("t{number}")).await;
        keys.push(match keys.first() {
            None => stage.issuer.key(&tenant, "n"),
            Some(first) => stage.issuer.with_id(first.id, &tenant, "n"),
        });
        tenants.push(tenant);
    }
    let inserts = keys.iter().map(|key| store.insert_key(key.clone(), 1, ROOM));
    let answers = all(inserts).await;
    let won = one_done("inserting a key", answers, exists);
    for (number, (key, tenant)) in keys.iter().zip(&tenants).enumerate() {
        let expected = u32::from(number == won);
        same("the number of keys", &stage.count(&tenant.id).await, &expected);
        if number == won {
            stage.expect_key("after its insert was done", key, tenant).await;
        }
    }
}
