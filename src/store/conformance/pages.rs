//! **Pages.** A page continues behind a record, not at a number, so what comes and goes elsewhere
//! neither hides nor repeats a record.

use alloc::{format, vec::Vec};

use super::{
    expect::{made, same},
    issuer::at,
    stage::{Stage, ids_of, names_of},
};
use crate::{
    record::TenantRecord,
    store::{KeyCursor, KeyQuery, KeyStore},
    time::Timestamp,
};

/// Pages of any length hold every key once and in order, also where a page ends between keys of one
/// time.
pub async fn pages_hold_every_key_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for number in 0..13 {
        // Four at a time.
        keys.push(stage.add_key_at(&tenant, "n", at(number / 4)).await);
    }
    keys.sort_by_key(KeyCursor::of);
    for limit in [1, 2, 3, 4, 12, 13, 14] {
        let paged = walk(&stage, &tenant, KeyQuery::all().limit(limit)).await;
        same(format!("all pages of {limit}"), &paged, &ids_of(&keys));
    }
}

/// Pages of any length hold every tenant once and in order.
pub async fn pages_hold_every_tenant_once<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut ids = Vec::new();
    for number in 0..13 {
        ids.push(stage.add_tenant(&format!("t{number}")).await.id);
    }
    ids.sort();
    for limit in [1, 2, 3, 12, 13, 14] {
        let mut paged = Vec::new();
        loop {
            let page = stage.tenants(paged.last(), limit).await;
            if page.is_empty() || paged.len() > ids.len() {
                break;
            }
            paged.extend(page);
        }
        same(format!("all pages of {limit}"), &paged, &ids);
    }
}

/// A page continues behind a key that has been deleted.
pub async fn a_page_continues_behind_a_deleted_key<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(stage.add_key_at(&tenant, "n", at(0)).await);
    }
    keys.push(stage.add_key_at(&tenant, "n", at(1)).await);
    keys.sort_by_key(KeyCursor::of);
    for place in 0..keys.len() {
        let (_, behind) = keys.split_at(place);
        let Some((gone, behind)) = behind.split_first() else { break };
        stage.delete_key(gone).await;
        let query = KeyQuery::all().after(KeyCursor::of(gone));
        let page = stage.keys(&tenant.id, &query).await;
        same("the page behind a deleted key", &ids_of(&page), &ids_of(behind));
    }
}

/// Keys that come before the cursor, and keys that go anywhere else, neither hide nor repeat a key;
/// those that come behind it are on a later page.
pub async fn pages_stay_in_place_while_keys_come_and_go<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for number in 0..6 {
        keys.push(stage.add_key_at(&tenant, &format!("key {number}"), at(number * 10)).await);
    }
    let first = stage.keys(&tenant.id, &KeyQuery::all().limit(3)).await;
    same("the first page", &names_of(&first), &["key 0", "key 1", "key 2"].into());
    let cursor = made(first.last().map(KeyCursor::of).ok_or("no key on the first page"));
    let next = KeyQuery::all().limit(2).after(cursor);

    stage.add_key_at(&tenant, "before all", at(-5)).await;
    stage.add_key_at(&tenant, "before the cursor", at(15)).await;
    let page = stage.keys(&tenant.id, &next).await;
    let second = ["key 3", "key 4"];
    same("the second page after two keys came before it", &names_of(&page), &second.into());
    for key in keys.iter().take(2) {
        stage.delete_key(key).await;
    }
    let page = stage.keys(&tenant.id, &next).await;
    same("the second page after two keys before it went", &names_of(&page), &second.into());
    stage.add_key_at(&tenant, "behind the cursor", at(25)).await;
    if let Some(key) = keys.get(3) {
        stage.delete_key(key).await;
    }
    let page = stage.keys(&tenant.id, &next).await;
    let changed = ["behind the cursor", "key 4"].into();
    same("the second page after a key behind the cursor went", &names_of(&page), &changed);
}

/// A cursor needs no key: a page begins behind any time and id.
pub async fn a_page_continues_behind_any_place<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let mut keys = Vec::new();
    for number in 0..4 {
        keys.push(stage.add_key_at(&tenant, "n", at(number / 2 * 10)).await);
    }
    let ids = ["AAAAAAAAAAAAAAAA", "0000000000000000", "zzzzzzzzzzzzzzzz", "mmmmmmmmmmmmmmmm"];
    let mut cursors = Vec::new();
    for time in [Timestamp::MIN, at(-1), at(0), at(5), at(10), at(11), Timestamp::MAX] {
        let places = ids.map(|id| KeyCursor { created_at: time, id: made(id.parse()) });
        cursors.extend(places);
        cursors.extend(keys.iter().map(|key| KeyCursor { created_at: time, id: key.id }));
    }
    keys.sort_by_key(KeyCursor::of);
    for cursor in cursors {
        let page = stage.keys(&tenant.id, &KeyQuery::all().after(cursor)).await;
        let behind: Vec<_> =
            keys.iter().filter(|key| KeyCursor::of(key) > cursor).map(|key| key.id).collect();
        same(format!("the page behind {cursor:?}"), &ids_of(&page), &behind);
    }
}

/// A page of tenants continues behind one that has been deleted or never was.
pub async fn a_page_continues_behind_a_deleted_tenant<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let mut ids = Vec::new();
    for id in ["a", "c", "e", "g"] {
        ids.push(stage.add_tenant(id).await.id);
    }
    for place in ["B", "b", "c\u{301}", "f", "h"].map(super::issuer::tenant_id) {
        let behind: Vec<_> = ids.iter().filter(|id| **id > place).cloned().collect();
        let page = stage.tenants(Some(&place), 9).await;
        same(format!("the tenants behind {place:?}"), &page, &behind);
    }
    while let Some((gone, behind)) = ids.split_first() {
        stage.delete_tenant(gone).await;
        let page = stage.tenants(Some(gone), 9).await;
        same("the tenants behind a deleted one", &page, &behind.to_vec());
        ids.remove(0);
    }
}

/// All pages of a query, one behind the other.
async fn walk<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    query: KeyQuery,
) -> Vec<crate::token::KeyId> {
    let mut paged = Vec::new();
    let mut next = query.clone();
    loop {
        let page = stage.keys(&tenant.id, &next).await;
        let Some(last) = page.last() else { return paged };
        next = query.clone().after(KeyCursor::of(last));
        paged.extend(ids_of(&page));
        // A store whose pages go round in circles fails and does not hang.
        if paged.len() > 1_000 {
            return paged;
        }
    }
}
