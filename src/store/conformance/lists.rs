//! **Pages**, their order: lists are in ascending order of creation, then of id.

use alloc::vec::Vec;

use super::{
    expect::same,
    issuer::{at, in_other_case, tenant_id},
    stage::{Stage, ids_of},
};
use crate::{
    store::{KeyCursor, KeyQuery, KeyStore},
    time::Timestamp,
};

/// Keys are listed in the order in which they were created, not inserted, and a change or a use moves
/// none.
pub async fn keys_are_in_order_of_creation<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let times = [
        at(10),
        at(9),
        at(100),
        Timestamp::MAX,
        at(-1),
        Timestamp::MIN,
        Timestamp::saturating_from_millis(-1),
        Timestamp::saturating_from_millis(0),
        Timestamp::saturating_from_millis(1),
        Timestamp::saturating_from_millis(-10),
    ];
    let mut keys = Vec::new();
    for time in times {
        keys.push(stage.add_key_at(&tenant, "n", time).await);
    }
    if let [first, .., last] = &*keys {
        let renamed = stage.issuer.renamed(first, &tenant, "a");
        stage.update_key(&renamed).await;
        stage.note_use(last.id, at(5)).await;
    }
    keys.sort_by_key(KeyCursor::of);
    same("the order of keys", &stage.ids(&tenant.id).await, &ids_of(&keys));
}

/// Keys that were created at the same time are listed in the order of their ids' bytes: digits before
/// capitals before small letters.
pub async fn keys_of_one_time_are_in_order_of_their_ids<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for _ in 0..20 {
        let key = stage.add_key(&tenant, "n").await;
        let twin = stage.issuer.with_id(in_other_case(key.id), &tenant, "n");
        stage.insert_key(&twin, &tenant).await;
        keys.extend([key, twin]);
    }
    keys.sort_by_key(|key| key.id);
    same("the order of keys of one time", &stage.ids(&tenant.id).await, &ids_of(&keys));
}

/// Tenants are listed in the order of their ids' bytes, not of any language or of their creation.
pub async fn tenants_are_in_order_of_their_bytes<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut ids = [
        "b",
        "B",
        "a",
        "A",
        "aa",
        "a a",
        "a-a",
        "a_a",
        "10",
        "9",
        "~",
        " x",
        "é",
        "e\u{301}",
        "z",
        "Z",
        "ß",
        "\u{ffff}",
        "🗝",
        "日",
        "a\u{200d}",
    ]
    .map(tenant_id);
    for id in &ids {
        stage.add_tenant(id.as_str()).await;
    }
    ids.sort_by(|left, right| left.as_str().as_bytes().cmp(right.as_str().as_bytes()));
    same("the order of tenants", &stage.tenants(None, 99).await, &ids.to_vec());
}

/// A page holds as many keys or tenants as its limit says, if there are so many.
pub async fn a_page_holds_its_limit<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("t0").await;
    for time in 0..5 {
        stage.add_key_at(&tenant, "n", at(time)).await;
    }
    for id in ["t1", "t2", "t3", "t4"] {
        stage.add_tenant(id).await;
    }
    for (limit, expected) in [(1, 1), (2, 2), (4, 4), (5, 5), (6, 5), (1_000, 5)] {
        let query = KeyQuery::all().limit(limit);
        let keys = stage.keys(&tenant.id, &query).await;
        same("the length of a page of keys", &keys.len(), &expected);
        let keys = stage.keys(&tenant.id, &query.containing("n")).await;
        same("the length of a page of a search", &keys.len(), &expected);
        let tenants = stage.tenants(None, limit).await;
        same("the length of a page of tenants", &tenants.len(), &expected);
    }
    let query = KeyQuery::all().limit(KeyQuery::MAX_LIMIT).one_more();
    same("a page of one more than the most", &stage.keys(&tenant.id, &query).await.len(), &5);
    let all = stage.tenants(None, usize::MAX).await;
    same("a page without an end", &all.len(), &5);
}

/// The number of keys is that of all keys that were inserted and not deleted.
pub async fn keys_are_counted<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for held in 0..12 {
        same("the number of keys", &stage.count(&tenant.id).await, &held);
        keys.push(stage.add_key(&tenant, "n").await);
    }
    for (held, key) in (0..12).rev().zip(&keys) {
        stage.delete_key(key).await;
        same("the number of keys after a deletion", &stage.count(&tenant.id).await, &held);
    }
}
