//! **Pages.** A page continues after a given record, not at an offset. Records that are added or removed
//! elsewhere neither hide nor repeat a record.

use alloc::{format, vec::Vec};

use super::{
    expect::{made, same},
    issuer::{at, tenant_id},
    stage::{Stage, expect_pages, ids_of, names_of},
};
use crate::{
    store::{KeyCursor, KeyQuery, KeyStore},
    time::Timestamp,
};

/// Pages of any length hold every key once and in order, even if a page ends between keys with the same
/// creation time.
pub(super) async fn pages_hold_every_key_once<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    // Four keys share each creation time.
    let keys = stage.add_keys_at(&tenant, (0..13).map(|number| at(number / 4))).await;
    for limit in [1, 2, 3, 4, 12, 13, 14] {
        stage.expect_pages_of_keys(&tenant, KeyQuery::all(), limit, &keys).await;
    }
}

/// Pages of any length hold every tenant once and in order.
pub(super) async fn pages_hold_every_tenant_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut ids = Vec::new();
    for number in 0..13 {
        ids.push(stage.add_tenant(&format!("t{number}")).await.id);
    }
    ids.sort();
    for limit in [1, 2, 3, 12, 13, 14] {
        expect_pages(limit, &ids, async |last| stage.tenants(last, limit).await).await;
    }
}

/// A page continues after a key that has been deleted.
pub(super) async fn a_page_continues_behind_a_deleted_key<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let keys = stage.add_keys_at(&tenant, [0, 0, 0, 0, 1].map(at)).await;
    let mut behind = &*keys;
    while let Some((gone, rest)) = behind.split_first() {
        stage.delete_key(gone).await;
        let query = KeyQuery::all().after(KeyCursor::of(gone));
        let page = stage.keys(&tenant.id, &query).await;
        same("the page behind a deleted key", &ids_of(&page), &ids_of(rest));
        behind = rest;
    }
}

/// Keys added before the cursor, and keys removed anywhere else, neither hide nor repeat a key. Keys added
/// after the cursor are on a later page.
pub(super) async fn pages_stay_in_place_while_keys_come_and_go<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut keys = Vec::new();
    for number in 0..6 {
        keys.push(stage.add_key_at(&tenant, &format!("key {number}"), at(number * 10)).await);
    }
    let first = stage.keys(&tenant.id, &KeyQuery::all().limit(3)).await;
    same("the first page", &names_of(&first), &["key 0", "key 1", "key 2"].into());
    let cursor = made(first.last().map(KeyCursor::of).ok_or("no key on the first page"));
    let next = KeyQuery::all().limit(2).after(cursor);
    let expect_second = async |when: &str, names: [&str; 2]| {
        let page = stage.keys(&tenant.id, &next).await;
        same(format!("the second page after {when}"), &names_of(&page), &names.into());
    };

    stage.add_key_at(&tenant, "before all", at(-5)).await;
    stage.add_key_at(&tenant, "before the cursor", at(15)).await;
    expect_second("two keys came before it", ["key 3", "key 4"]).await;
    for key in keys.iter().take(2) {
        stage.delete_key(key).await;
    }
    expect_second("two keys before it went", ["key 3", "key 4"]).await;
    stage.add_key_at(&tenant, "behind the cursor", at(25)).await;
    for key in keys.iter().skip(3).take(1) {
        stage.delete_key(key).await;
    }
    expect_second("a key behind the cursor went", ["behind the cursor", "key 4"]).await;
}

/// A cursor does not need an existing key: a page begins after any time and id.
pub(super) async fn a_page_continues_behind_any_place<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let keys = stage.add_keys_at(&tenant, [0, 0, 10, 10].map(at)).await;
    let ids = ["AAAAAAAAAAAAAAAA", "0000000000000000", "zzzzzzzzzzzzzzzz", "mmmmmmmmmmmmmmmm"];
    let ids: Vec<_> = ids.map(|id| made(id.parse())).into_iter().chain(ids_of(&keys)).collect();
    for created_at in [Timestamp::MIN, at(-1), at(0), at(5), at(10), at(11), Timestamp::MAX] {
        for cursor in ids.iter().map(|id| KeyCursor { created_at, id: *id }) {
            let page = stage.keys(&tenant.id, &KeyQuery::all().after(cursor)).await;
            let behind = keys.iter().filter(|key| KeyCursor::of(key) > cursor);
            let behind: Vec<_> = behind.map(|key| key.id).collect();
            same(format!("the page behind {cursor:?}"), &ids_of(&page), &behind);
        }
    }
}

/// A page of tenants continues after a tenant that has been deleted or never existed.
pub(super) async fn a_page_continues_behind_a_deleted_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut ids = Vec::new();
    for id in ["a", "c", "e", "g"] {
        ids.push(stage.add_tenant(id).await.id);
    }
    for place in ["B", "b", "c\u{301}", "f", "h"].map(tenant_id) {
        let behind: Vec<_> = ids.iter().filter(|id| **id > place).cloned().collect();
        let page = stage.tenants(Some(&place), 9).await;
        same(format!("the tenants behind {place:?}"), &page, &behind);
    }
    let mut behind = &*ids;
    while let Some((gone, rest)) = behind.split_first() {
        stage.delete_tenant(gone).await;
        let page = stage.tenants(Some(gone), 9).await;
        same("the tenants behind a deleted one", &page, &rest.to_vec());
        behind = rest;
    }
}
