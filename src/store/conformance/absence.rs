//! **Absence** of a record is not an error where the method answers with an `Option`, a list or a
//! number.

use alloc::vec::Vec;

use super::{expect::same, issuer::at, stage::Stage};
use crate::store::{KeyCursor, KeyQuery, KeyStore};

/// An empty store answers every question with nothing.
pub async fn an_empty_store_answers<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let nobody = stage.issuer.tenant("nobody");
    let key = stage.issuer.key(&nobody, "n");
    stage.expect_no_key("in an empty store", &nobody.id, key.id).await;
    same("an unknown tenant", &stage.tenant(&nobody.id).await, &None);
    same("its number of keys", &stage.count(&nobody.id).await, &0);
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

/// A tenant without keys answers every question with nothing.
pub async fn a_tenant_without_keys_answers<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let theirs = stage.add_key(&other, "n").await;
    let key = stage.issuer.key(&tenant, "n");
    stage.expect_no_key("before it was inserted", &tenant.id, key.id).await;
    same("the number of keys", &stage.count(&tenant.id).await, &0);
    let query = KeyQuery::all().containing("n");
    same("a search", &stage.keys(&tenant.id, &query).await, &Vec::new());
    same("all behind the last", &stage.tenants(Some(&other.id), 9).await, &Vec::new());
    let behind = KeyQuery::all().after(KeyCursor::of(&theirs));
    same("the keys behind the last", &stage.keys(&other.id, &behind).await, &Vec::new());
}

/// The key of another tenant is not there for those who are not its tenant.
pub async fn a_key_is_read_under_its_own_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let other = stage.add_tenant("other").await;
    let key = stage.add_key(&tenant, "n").await;
    let nobody = stage.issuer.tenant("nobody");
    for thief in [&other.id, &nobody.id] {
        stage.expect_no_key_of("for another tenant", thief, key.id).await;
        same("the number of keys of another", &stage.count(thief).await, &0);
    }
    stage.expect_key("for its own tenant", &key, &tenant).await;
}
