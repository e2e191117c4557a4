//! **Uniqueness.** An id is accepted once, and an insert takes effect as a whole or not at all.

use alloc::{format, vec::Vec};

use futures_util::future::join;

use super::{
    expect::{exists, not_found, one_done, same},
    schedule::step_back,
    stage::{ROOM, Stage},
};
use crate::{record::KeyRecord, store::KeyStore};

/// A tenant id that is taken is refused, and neither the tenant nor a first key is written.
pub(super) async fn a_taken_tenant_id_is_refused<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "old").await;
    let other = stage.issuer.tenant_at("acme", "lite", tenant.created_at);
    let new = stage.issuer.key(&other, "new");
    let refused = [(&tenant, None), (&other, None), (&other, Some(&new)), (&other, Some(&key))];
    for (again, first) in refused {
        let inserted = store.insert_tenant(again.clone(), first.cloned(), &[]).await;
        exists(format!("inserting {again:?} with the key {first:?}"), inserted);
        let when = "after its id was refused to another tenant";
        stage.expect_tenant(when, &tenant).await;
        stage.expect_key(when, &key, &tenant).await;
        stage.expect_count(when, &tenant.id, 1).await;
        stage.expect_no_key("after its tenant was refused", &tenant.id, new.id).await;
    }
    // The refused insert has used up no id.
    stage.insert_key(&new, &tenant).await;
}

/// A key id that is taken is refused, for the same tenant and for any other. The stored key is kept.
pub(super) async fn a_taken_key_id_is_refused<S: KeyStore>(store: &S) {
    let (stage, acme, key) = Stage::with_key(store, "old").await;
    let other = stage.add_tenant("other").await;
    for tenant in [&acme, &other] {
        let twin = stage.issuer.with_id(key.id, tenant, "new");
        let inserted = stage.insert(&twin, tenant, Some(ROOM)).await;
        exists(format!("inserting a taken key id for {:?}", tenant.id), inserted);
        stage.expect_key("after its id was refused to another", &key, &acme).await;
    }
    let again = stage.insert(&key, &acme, Some(ROOM)).await;
    exists("inserting the same key again", again);
    stage.expect_count("after its key was refused", &other.id, 0).await;
    stage.expect_count("after a key was refused", &acme.id, 1).await;
}

/// A tenant and its first key are inserted in one step. If the key's id is taken, the tenant is not inserted.
pub(super) async fn a_tenant_is_not_left_without_its_first_key<S: KeyStore>(store: &S) {
    let (stage, acme, key) = Stage::with_key(store, "old").await;
    let new = stage.issuer.tenant("new");
    let twin = stage.issuer.with_id(key.id, &new, "first");
    let inserted = store.insert_tenant(new.clone(), Some(twin), &[]).await;
    exists("inserting a tenant with a taken key id", inserted);
    stage.expect_no_tenant("after its first key was refused", &new.id).await;
    same("all tenants", &stage.tenants(None, 9).await, &[acme.id.clone()].into());
    stage.expect_key("after its id was refused to a new tenant", &key, &acme).await;
    let first = stage.issuer.key(&new, "first");
    not_found("inserting a key for it", stage.insert(&first, &new, Some(ROOM)).await);
    stage.insert_tenant(&new, None).await;
}

/// No reader ever sees a tenant without the first key that was inserted with it.
pub(super) async fn a_tenant_is_not_seen_before_its_first_key<S: KeyStore>(store: &S) {
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
                // The tenant is read first. If it exists, its key must exist at the next read.
                if stage.tenant(&tenant.id).await.is_some() {
                    stage.expect_count("once it is seen", &tenant.id, 1).await;
                    stage.expect_key("once its tenant is seen", key, tenant).await;
                }
                step_back().await;
            }
        };
        join(write, read).await;
        stage.expect_key("after its tenant was inserted", key, tenant).await;
    }
}

/// Of several concurrent inserts of one tenant, one succeeds and the others are refused.
pub(super) async fn of_concurrent_inserts_of_a_tenant_one_is_done<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.issuer.tenant("acme");
    let keys: Vec<_> = (0..8).map(|n| stage.issuer.key(&tenant, &format!("key {n}"))).collect();
    let inserts =
        keys.iter().map(|key| store.insert_tenant(tenant.clone(), Some(key.clone()), &[]));
    let won = one_done("inserting a tenant", inserts, exists).await;
    for (number, key) in keys.iter().enumerate() {
        if number == won {
            stage.expect_key("after its insert was done", key, &tenant).await;
        } else {
            stage.expect_no_key("after its insert was refused", &tenant.id, key.id).await;
        }
    }
}

/// Of several concurrent inserts of one key id, for any tenants, one succeeds and the others are refused.
pub(super) async fn of_concurrent_inserts_of_a_key_one_is_done<S: KeyStore>(store: &S) {
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
    let inserts = keys.iter().map(|key| store.insert_key(key.clone(), 1, Some(ROOM), &[]));
    let won = one_done("inserting a key", inserts, exists).await;
    for (number, (key, tenant)) in keys.iter().zip(&tenants).enumerate() {
        let when = "after concurrent inserts of a key";
        stage.expect_count(when, &tenant.id, u32::from(number == won)).await;
        if number == won {
            stage.expect_key("after its insert was done", key, tenant).await;
        }
    }
}
