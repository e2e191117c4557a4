//! **Absence** of a record is not an error where the method returns an `Option`, a list or a number.

use alloc::vec::Vec;

use super::{expect::same, issuer::at, stage::Stage};
use crate::store::{KeyCursor, KeyQuery, KeyStore};

/// Every reading method of an empty store succeeds and returns nothing.
pub(super) async fn an_empty_store_answers<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    stage.expect_no_key("in an empty store", &nobody.id, key.id).await;
    stage.expect_no_tenant("in an empty store", &nobody.id).await;
    same("all tenants", &stage.tenants(None, 9).await, &Vec::new());
    same("all behind one", &stage.tenants(Some(&nobody.id), 9).await, &Vec::new());
    let cursor = KeyCursor::of(&key);
    for query in [
        KeyQuery::all(),
        KeyQuery::all().containing("n"),
        KeyQuery::all().after(cursor),
        KeyQuery::all().containing("n").after(cursor).limit(1),
    ] {
        same("the keys of an unknown tenant", &stage.keys(&nobody.id, &query).await, &Vec::new());
    }
    stage.note_use(key.id, at(0)).await;
    stage.expect_no_key("after a use of an unknown key", &nobody.id, key.id).await;
}

/// Every reading method succeeds and returns nothing for a tenant without keys.
pub(super) async fn a_tenant_without_keys_answers<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let other = stage.add_tenant("other").await;
    let theirs = stage.add_key(&other, "n").await;
    let key = stage.issuer.key(&tenant, "n");
    stage.expect_no_key("before it was inserted", &tenant.id, key.id).await;
    stage.expect_count("before the first key", &tenant.id, 0).await;
    let query = KeyQuery::all().containing("n");
    same("a search", &stage.keys(&tenant.id, &query).await, &Vec::new());
    same("all behind the last", &stage.tenants(Some(&other.id), 9).await, &Vec::new());
    let behind = KeyQuery::all().after(KeyCursor::of(&theirs));
    same("the keys behind the last", &stage.keys(&other.id, &behind).await, &Vec::new());
}

/// A key is not found under any tenant but its own.
pub(super) async fn a_key_is_read_under_its_own_tenant<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "n").await;
    let other = stage.add_tenant("other").await;
    let nobody = stage.issuer.tenant("nobody");
    for thief in [&other.id, &nobody.id] {
        stage.expect_no_key_of("for another tenant", thief, key.id).await;
        stage.expect_count("beside another tenant's key", thief, 0).await;
    }
    stage.expect_key("for its own tenant", &key, &tenant).await;
}
