//! **Filters.** A list holds the keys of one owner, or those that meet other conditions, in the order and pages of
//! every list.

use alloc::{format, vec::Vec};
use core::slice;

use super::{
    expect::{made, same},
    issuer::at,
    stage::{Stage, ids_of},
};
use crate::{
    authority::{KeyEdit, NewKey},
    record::{KeyRecord, Labels, Owner, TenantRecord},
    store::{KeyCursor, KeyFilter, KeyQuery, KeyStore},
    time::Timestamp,
};

/// Creates an owner under the rule for stored text. A store accepts every owner that a record may have.
fn owner(id: &str) -> Owner {
    made(Owner::stored(id))
}

fn of(id: &str) -> KeyQuery {
    KeyQuery::all().matching(KeyFilter::all().owner(owner(id))).limit(KeyQuery::MAX_LIMIT)
}

/// Adds a key of `id` to the store, or a key without an owner.
async fn add<'i, S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    id: impl Into<Option<&'i str>>,
    now: Timestamp,
) -> KeyRecord {
    let request = NewKey::named("n");
    let request = match id.into() {
        Some(id) => request.owner(owner(id)),
        None => request,
    };
    let key = stage.issuer.issue(tenant, request, now);
    stage.insert_key(&key, tenant).await;
    key
}

/// Expects that the list of the owner's keys holds these, in the order of lists.
async fn expect_of<S: KeyStore>(
    when: &str,
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    id: &str,
    keys: &[KeyRecord],
) {
    let mut keys = keys.to_vec();
    keys.sort_by_key(KeyCursor::of);
    let listed = stage.keys(&tenant.id, &of(id)).await;
    same(format!("{when}, the keys of the owner {id:?}"), &listed, &keys);
}

/// A list of the keys of one owner holds all of them, in order of creation, and no key of another owner or of none.
/// Owners are compared byte for byte.
pub(super) async fn keys_of_an_owner_are_listed_alone<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let (longest, shorter) = ("o".repeat(Owner::MAX_LEN), "o".repeat(Owner::MAX_LEN - 1));
    let ids = [
        "ann", "Ann", "ann ", "an", "anna", "a_n", "a%n", "1", "01", "é", "e\u{301}", "🗝",
        &longest, &shorter,
    ];
    let mut keys = Vec::new();
    for number in [3, 1, 2] {
        add(&stage, &tenant, None, at(number)).await;
        for id in ids {
            keys.push(add(&stage, &tenant, id, at(number)).await);
        }
    }
    for id in ids {
        let of_owner: Vec<_> = keys
            .iter()
            .filter(|key| key.owner.as_ref().is_some_and(|owner| owner.as_str() == id))
            .cloned()
            .collect();
        expect_of("beside other owners", &stage, &tenant, id, &of_owner).await;
    }
    expect_of("without a key", &stage, &tenant, "nobody", &[]).await;
    let all = stage.ids(&tenant.id).await.len();
    same("the number of all keys", &all, &(keys.len() + 3));
}

/// Pages of any length hold every key of an owner once and in order, whatever other keys are between them.
pub(super) async fn pages_of_an_owner_hold_every_key_once<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut keys = Vec::new();
    for number in 0..13 {
        // Four keys of the owner share each creation time, with eight others.
        keys.push(add(&stage, &tenant, "ann", at(number / 4)).await);
        add(&stage, &tenant, "bob", at(number / 4)).await;
        add(&stage, &tenant, None, at(number / 4)).await;
    }
    keys.sort_by_key(KeyCursor::of);
    for limit in [1, 2, 4, 12, 13, 14] {
        stage.expect_pages_of_keys(&tenant, of("ann"), limit, &keys).await;
    }
    // A page begins after any position, such as that of another owner's key.
    for key in stage.keys(&tenant.id, &of("bob")).await {
        let cursor = KeyCursor::of(&key);
        let page = stage.keys(&tenant.id, &of("ann").after(cursor)).await;
        let behind: Vec<_> =
            keys.iter().filter(|key| KeyCursor::of(key) > cursor).cloned().collect();
        same("the page behind another owner's key", &ids_of(&page), &ids_of(&behind));
    }
}

/// A key that gets another owner, or none, is in the list of the new owner and no longer in that of the old one.
pub(super) async fn a_key_moves_with_its_owner<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let stays = add(&stage, &tenant, "ann", at(0)).await;
    let of_bob = add(&stage, &tenant, "bob", at(1)).await;
    let first = add(&stage, &tenant, "ann", at(2)).await;
    let give = async |key: &KeyRecord, owner: Option<Owner>| {
        let changed = stage.issuer.edited(key, &tenant, KeyEdit::new().owner(owner));
        stage.update_key(&changed).await;
        changed
    };
    let given = give(&first, Some(owner("bob"))).await;
    expect_of("after a move", &stage, &tenant, "ann", slice::from_ref(&stays)).await;
    expect_of("after a move", &stage, &tenant, "bob", &[of_bob.clone(), given.clone()]).await;
    let given = give(&given, None).await;
    expect_of("after a move to none", &stage, &tenant, "bob", &[of_bob]).await;
    let given = give(&given, Some(owner("ann"))).await;
    let renamed = stage.rename(&stays, &tenant, "a").await;
    expect_of("after a move back", &stage, &tenant, "ann", &[renamed, given]).await;
}

/// A deleted key, and the keys of a deleted tenant, are in no list of an owner. A tenant that is created again has none of
/// them.
pub(super) async fn deleted_keys_leave_their_owner<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let mut keys = Vec::new();
    for number in 0..4 {
        keys.push(add(&stage, &tenant, "ann", at(number)).await);
    }
    while let Some(gone) = keys.pop() {
        stage.delete_key(&gone).await;
        expect_of("after a deletion", &stage, &tenant, "ann", &keys).await;
        if keys.len() == 2 {
            break;
        }
    }
    stage.delete_tenant(&tenant.id).await;
    expect_of("after the deletion of the tenant", &stage, &tenant, "ann", &[]).await;
    let tenant = stage.add_tenant("acme").await;
    expect_of("in a tenant created again", &stage, &tenant, "ann", &[]).await;
    let key = add(&stage, &tenant, "ann", at(0)).await;
    expect_of("in a tenant created again", &stage, &tenant, "ann", &[key]).await;
}

/// Owners with the same id in two tenants are two owners.
pub(super) async fn owners_stay_with_their_tenant<S: KeyStore>(store: &S) {
    let (stage, acme) = Stage::with_tenant(store).await;
    let other = stage.add_tenant("other").await;
    let ours = add(&stage, &acme, "ann", at(0)).await;
    let theirs = add(&stage, &other, "ann", at(0)).await;
    expect_of("beside another tenant", &stage, &acme, "ann", slice::from_ref(&ours)).await;
    expect_of("beside another tenant", &stage, &other, "ann", &[theirs]).await;
    stage.delete_tenant(&other.id).await;
    expect_of("after another tenant's deletion", &stage, &acme, "ann", &[ours]).await;
}

/// Adds eight keys with a label to the store, which are every third one of their owner, with other keys between them.
/// Returns them in the order of lists.
async fn add_labeled<S: KeyStore>(
    stage: &Stage<'_, S>,
    tenant: &TenantRecord,
    id: &str,
) -> Vec<KeyRecord> {
    let mut labeled = Vec::new();
    for number in 0..8 {
        let labels = made(Labels::new([("team", "needle")]));
        let request = NewKey::named("needle").owner(owner(id)).labels(labels);
        let key = stage.issuer.issue(tenant, request, at(number / 2));
        stage.insert_key(&key, tenant).await;
        labeled.push(key);
        add(stage, tenant, id, at(number / 2)).await;
        add(stage, tenant, id, at(number / 2)).await;
    }
    labeled.sort_by_key(KeyCursor::of);
    labeled
}

/// The other conditions of a filter select keys, and the limit counts these.
pub(super) async fn conditions_select_keys<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let labeled = add_labeled(&stage, &tenant, "ann").await;
    let filter = KeyFilter::all().label("team", "needle");
    let none = KeyFilter::all().label("team", "other");
    for limit in [1, 3, 8, 9] {
        let query = KeyQuery::all().matching(filter.clone());
        stage.expect_pages_of_keys(&tenant, query, limit, &labeled).await;
        let query = KeyQuery::all().matching(none.clone());
        stage.expect_pages_of_keys(&tenant, query, limit, &[]).await;
    }
}

/// Other conditions and a search narrow the list of an owner's keys, and the limit counts what is left.
pub(super) async fn conditions_narrow_the_keys_of_an_owner<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let of_ann = add_labeled(&stage, &tenant, "ann").await;
    let of_bob = add_labeled(&stage, &tenant, "bob").await;
    for (id, labeled) in [("ann", &of_ann), ("bob", &of_bob)] {
        let filter = KeyFilter::all().owner(owner(id));
        let of_owner = KeyQuery::all().matching(filter.clone());
        let with_label = KeyQuery::all().matching(filter.label("team", "needle"));
        for limit in [1, 3, 8, 9] {
            let search = of_owner.clone().containing("needle");
            stage.expect_pages_of_keys(&tenant, search, limit, labeled).await;
            stage.expect_pages_of_keys(&tenant, with_label.clone(), limit, labeled).await;
        }
    }
}
