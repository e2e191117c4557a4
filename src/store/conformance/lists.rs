//! **Pages**, their order: keys are listed in ascending order of creation time, then of id. Tenants are
//! listed in ascending order of the bytes of their ids.

use alloc::{format, vec::Vec};

use super::{
    expect::{done, same},
    issuer::{at, in_other_case, tenant_id},
    stage::{Stage, ids_of},
};
use crate::{
    store::{KeyCursor, KeyQuery, KeyStore},
    time::Timestamp,
};

/// Keys are listed in the order of their creation, not of their insertion. A change or a use moves no key.
pub(super) async fn keys_are_in_order_of_creation<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let around_1970 = [-1, 0, 1, -10].map(Timestamp::saturating_from_millis);
    let times = [at(10), at(9), at(100), Timestamp::MAX, at(-1), Timestamp::MIN];
    let mut keys = Vec::new();
    for time in times.into_iter().chain(around_1970) {
        keys.push(stage.add_key_at(&tenant, "n", time).await);
    }
    if let [first, .., last] = &*keys {
        stage.rename(first, &tenant, "a").await;
        stage.note_use(last.id, at(5)).await;
    }
    keys.sort_by_key(KeyCursor::of);
    same("the order of keys", &stage.ids(&tenant.id).await, &ids_of(&keys));
}

/// Keys that were created at the same time are listed in the order of the bytes of their ids: digits, then
/// capital letters, then small letters.
pub(super) async fn keys_of_one_time_are_in_order_of_their_ids<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut ids = ids_of(&stage.add_keys(&tenant, 20).await);
    for id in ids.clone() {
        let twin = stage.issuer.with_id(in_other_case(id), &tenant, "n");
        stage.insert_key(&twin, &tenant).await;
        ids.push(twin.id);
    }
    ids.sort();
    same("the order of keys of one time", &stage.ids(&tenant.id).await, &ids);
}

/// Tenants are listed in the order of the bytes of their ids, not in the order of a language or of creation.
pub(super) async fn tenants_are_in_order_of_their_bytes<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let ids = "b|B|a|A|aa|a a|a-a|a_a|10|9|~| x|é|e\u{301}|z|Z|ß|\u{ffff}|🗝|日|a\u{200d}";
    let mut ids: Vec<_> = ids.split('|').collect();
    for id in &ids {
        stage.add_tenant(id).await;
    }
    // The order of `str` is the order of its bytes.
    ids.sort_unstable();
    let ids: Vec<_> = ids.into_iter().map(tenant_id).collect();
    same("the order of tenants", &stage.tenants(None, 99).await, &ids);
}

/// A page holds as many keys or tenants as its limit, if there are that many.
pub(super) async fn a_page_holds_its_limit<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("t0").await;
    stage.add_keys(&tenant, 5).await;
    for id in ["t1", "t2", "t3", "t4"] {
        stage.add_tenant(id).await;
    }
    for (limit, expected) in [(1, 1), (2, 2), (4, 4), (5, 5), (6, 5), (1_000, 5)] {
        let query = KeyQuery::all().limit(limit);
        let keys = stage.keys(&tenant.id, &query).await;
        same("the length of a page of keys", &keys.len(), &expected);
        let keys = stage.keys(&tenant.id, &query.containing("key")).await;
        same("the length of a page of a search", &keys.len(), &expected);
        let tenants = stage.tenants(None, limit).await;
        same("the length of a page of tenants", &tenants.len(), &expected);
    }
    let query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT).one_more();
    same("a page of one more than the most", &stage.keys(&tenant.id, &query).await.len(), &5);
    same("a page without an end", &stage.tenants(None, usize::MAX).await.len(), &5);
}

/// Keys are counted up to the given bound, and no further.
pub(super) async fn keys_are_counted_up_to_a_bound<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    stage.add_keys(&tenant, 3).await;
    for (up_to, count) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (u32::MAX, 3)] {
        let counted = store.count_keys(&tenant.id, up_to).await;
        let what = format!("the number of 3 keys counted up to {up_to}");
        same(what, &done("counting them", counted), &count);
    }
}

/// The count includes all keys that were inserted and not deleted.
pub(super) async fn keys_are_counted<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut keys = Vec::new();
    for held in 0..12 {
        stage.expect_count("beside keys", &tenant.id, held).await;
        keys.push(stage.add_key(&tenant, "n").await);
    }
    for (held, key) in (0..12).rev().zip(&keys) {
        stage.delete_key(key).await;
        stage.expect_count("after a deletion", &tenant.id, held).await;
    }
}
