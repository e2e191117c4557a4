//! **Visibility** and **One snapshot.** What a completed write has written, every read that begins
//! later sees; and a look-up reads a key and its tenant as they were at one point in time.

use alloc::{format, vec::Vec};

use super::{
    expect::{holds, same},
    issuer::at,
    schedule::{all, both, step_back},
    stage::{Stage, names_of},
};
use crate::store::{KeyQuery, KeyStore};

/// An insert that is done is seen by every reading method.
pub async fn an_insert_is_seen_at_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    for round in 0..8 {
        let tenant = stage.issuer.tenant(&format!("t{round}"));
        let first = stage.issuer.key(&tenant, "first");
        stage.insert_tenant(&tenant, Some(&first)).await;
        let when = "after a tenant was inserted";
        let read = stage.tenant(&tenant.id).await;
        same(format!("{when}, `tenant` for it"), &read, &Some(tenant.clone()));
        let listed = stage.tenants(None, 99).await.contains(&tenant.id);
        holds(format!("{when}, it is not in `tenants`"), listed);
        stage.expect_key(when, &first, &tenant).await;
        same(format!("{when}, `count_keys` of it"), &stage.count(&tenant.id).await, &1);
        let second = stage.add_key(&tenant, "second").await;
        stage.expect_key("after a key was inserted", &second, &tenant).await;
        same("the number of keys", &stage.count(&tenant.id).await, &2);
    }
}

/// An update of a key that is done is seen by every reading method, also by a search for its new name
/// and no longer by one for the old.
pub async fn a_key_update_is_seen_at_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut key = stage.add_key(&tenant, "name 0").await;
    for version in 1..8 {
        let (old, new) = (format!("name {}", version - 1), format!("name {version}"));
        key = stage.issuer.renamed(&key, &tenant, &*new);
        stage.update_key(&key).await;
        stage.expect_key("after an update", &key, &tenant).await;
        let found = stage.keys(&tenant.id, &KeyQuery::all().containing(&*new)).await;
        same("a search for the new name", &names_of(&found), &[&*new].into());
        let found = stage.keys(&tenant.id, &KeyQuery::all().containing(old)).await;
        same("a search for the old name", &names_of(&found), &Vec::new());
    }
}

/// An update of a tenant that is done is seen by every reading method, and through each of its keys.
pub async fn a_tenant_update_is_seen_at_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut tenant = stage.add_tenant("acme").await;
    let keys = [stage.add_key(&tenant, "1").await, stage.add_key(&tenant, "2").await];
    for version in 1..8 {
        tenant = stage.issuer.suspended(&tenant, &format!("reason {version}"));
        stage.update_tenant(&tenant).await;
        let read = stage.tenant(&tenant.id).await;
        same("after an update, `tenant` for it", &read, &Some(tenant.clone()));
        for key in &keys {
            stage.expect_key("after an update of its tenant", key, &tenant).await;
        }
        let listed = store.tenants(None, core::num::NonZeroUsize::MIN).await;
        let listed = super::expect::done("listing tenants", listed);
        same("a listed tenant after an update", &listed, &[tenant.clone()].into());
    }
}

/// A use that is noted is seen by every reading method.
pub async fn a_use_is_seen_at_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut key = stage.add_key(&tenant, "n").await;
    for minute in 1..8 {
        stage.note_use(key.id, at(minute * 60_000)).await;
        key = key.with_last_used(Some(at(minute * 60_000)));
        stage.expect_key("after a use was noted", &key, &tenant).await;
    }
}

/// A look-up gives a key and its tenant as they were at one time: never a pair that was not there
/// together, however often both change meanwhile.
pub async fn a_look_up_is_one_snapshot<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "n").await;
    let id = key.id;
    let write = async {
        let (mut tenant, mut key) = (tenant, key);
        for burst in 0..24 {
            // Several changes at a time, since a reader may pause for as long as one of them takes.
            for _ in 0..=burst % 4 {
                // The tenant goes first, so it is never behind its key, nor ahead by more than one.
                tenant = stage.issuer.suspended(&tenant, "spam");
                stage.update_tenant(&tenant).await;
                key = stage.issuer.renamed(&key, &tenant, format!("burst {burst}"));
                stage.update_key(&key).await;
            }
            step_back().await;
        }
        (tenant, key)
    };
    let read = all((0..3).map(|reader| async move {
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
    let ((tenant, key), _) = both(write, read).await;
    stage.expect_key("after the last change", &key, &tenant).await;
}

/// A look-up while the tenant is deleted gives both or nothing, and never an error.
pub async fn a_look_up_beside_a_deletion_is_whole<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    for round in 0..8 {
        let tenant = &stage.add_tenant(&format!("t{round}")).await;
        let key = &stage.add_key(tenant, "n").await;
        let write = async {
            step_back().await;
            stage.delete_tenant(&tenant.id).await;
        };
        let read = all((0..4).map(|_| async move {
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
        both(write, read).await;
        stage.expect_no_key("after its tenant was deleted", &tenant.id, key.id).await;
    }
}

/// Many tenants that are written at the same time do not disturb each other.
pub async fn tenants_do_not_disturb_each_other<S: KeyStore>(store: &S) {
    let stage = &Stage::new(store);
    let lives = all((0..20).map(|number| async move {
        let mut tenant = stage.add_tenant(&format!("t{number}")).await;
        let mut key = stage.add_key(&tenant, "kept").await;
        let gone = stage.add_key(&tenant, "gone").await;
        for change in 0..3 {
            tenant = stage.issuer.suspended(&tenant, &format!("change {change}"));
            stage.update_tenant(&tenant).await;
            key = stage.issuer.renamed(&key, &tenant, format!("change {change}"));
            stage.update_key(&key).await;
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
            same("the number of keys", &stage.count(&tenant.id).await, &1);
        } else {
            let read = stage.tenant(&tenant.id).await;
            same(format!("{when}, `tenant` for a deleted one"), &read, &None);
            stage.expect_no_key(when, &tenant.id, key.id).await;
        }
        stage.expect_no_key(when, &tenant.id, gone.id).await;
    }
    same("the number of tenants", &stage.tenants(None, 99).await.len(), &15);
}
