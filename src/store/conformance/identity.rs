//! **Identity.** Ids of tenants and keys are compared byte for byte. Case, white space and Unicode form
//! matter, and no collation may treat different ids as equal.

use alloc::{format, vec::Vec};

use super::{
    expect::{holds, not_found, same},
    issuer::{in_other_case, tenant_id},
    stage::Stage,
};
use crate::{record::TenantId, store::KeyStore};

/// Tenant ids that differ only in case are different.
pub(super) async fn tenant_ids_differ_by_case<S: KeyStore>(store: &S) {
    are_apart(store, "acme|Acme|ACME|straße|STRASSE|i|I|İ|ı".split('|')).await;
}

/// Tenant ids that differ only in white space are different, even at their ends.
pub(super) async fn tenant_ids_keep_their_white_space<S: KeyStore>(store: &S) {
    let ids = "acme|acme | acme|acme  |ac me|acme\u{a0}|acme\u{3000}";
    are_apart(store, ids.split('|')).await;
}

/// Tenant ids that look alike are different. Examples are both normal forms of é, letters of other scripts,
/// and marks that some collations ignore.
pub(super) async fn tenant_ids_keep_their_unicode_form<S: KeyStore>(store: &S) {
    let letters = "caf\u{e9}|cafe\u{301}|cafe|\u{441}afe|K|\u{212a}|ﬁ|fi|１|1";
    let marks = "ca\u{200d}fe|ca-fe|\u{1f511}|\u{1f512}";
    are_apart(store, letters.split('|').chain(marks.split('|'))).await;
}

/// Tenant ids are not interpreted as patterns, numbers, paths or parts of a query.
pub(super) async fn tenant_ids_are_taken_literally<S: KeyStore>(store: &S) {
    let words =
        r#"a% ab a_ abc % _ * a* a? [ab]b 1 01 1.0 1e0 0x1 true NULL \ \\ ' '' " a/b a:b a|b a;b"#;
    are_apart(store, words.split(' ').chain(["' OR '1'='1"])).await;
}

/// Tenant ids of the full 128 bytes are distinguished by their last byte.
pub(super) async fn tenant_ids_are_told_apart_by_their_last_byte<S: KeyStore>(store: &S) {
    let long = "x".repeat(TenantId::MAX_LEN - 1);
    let wide = "é".repeat(TenantId::MAX_LEN / 2 - 1);
    let ids = format!("{long}a|{long}b|{long}|{wide}é|{wide}è|{wide}e|{wide}");
    are_apart(store, ids.split('|')).await;
}

/// Key ids that differ only in case are different.
pub(super) async fn key_ids_differ_by_case<S: KeyStore>(store: &S) {
    let (stage, tenant, key) = Stage::with_key(store, "one").await;
    let other = in_other_case(key.id);
    stage.expect_no_key("before it was inserted", &tenant.id, other).await;
    not_found("deleting it", store.delete_key(&tenant.id, other, None, &[]).await);
    stage.expect_key("after deleting its id in other case", &key, &tenant).await;

    let twin = stage.issuer.with_id(other, &tenant, "two");
    stage.insert_key(&twin, &tenant).await;
    stage.expect_key("beside its id in other case", &key, &tenant).await;
    stage.expect_key("beside its id in other case", &twin, &tenant).await;
    let renamed = stage.rename(&twin, &tenant, "three").await;
    stage.expect_key("after updating its id in other case", &key, &tenant).await;
    stage.delete_key(&key).await;
    stage.expect_key("after deleting its id in other case", &renamed, &tenant).await;
    stage.expect_no_key("after deleting it", &tenant.id, key.id).await;
}

/// Expects that each of `ids` is unknown until it is inserted. From then on it has its own key and its own
/// version, and is deleted separately.
async fn are_apart<'i, S: KeyStore>(store: &S, ids: impl Iterator<Item = &'i str>) {
    let stage = Stage::new(store);
    let mut held = Vec::new();
    for id in ids {
        stage.expect_no_tenant("before it was inserted", &tenant_id(id)).await;
        let tenant = stage.add_tenant(id).await;
        let key = stage.add_key(&tenant, "its own").await;
        held.push((tenant, key));
    }
    for (tenant, _) in &mut held {
        *tenant = stage.suspend(tenant, &format!("it is {:?}", tenant.id)).await;
    }
    let listed = stage.tenants(None, held.len() + 1).await;
    for (tenant, key) in &held {
        let (id, when) = (&tenant.id, "with similar ids beside it");
        stage.expect_tenant(when, tenant).await;
        stage.expect_key(when, key, tenant).await;
        stage.expect_count(when, id, 1).await;
        same(format!("{when}, `keys` of {id:?}"), &stage.ids(id).await, &[key.id].into());
        let times = listed.iter().filter(|listed| *listed == id).count();
        holds(format!("`tenants` gave {id:?} {times} times instead of once"), times == 1);
    }
    while let Some((tenant, key)) = held.pop() {
        stage.delete_tenant(&tenant.id).await;
        stage.expect_no_key("after deleting its tenant", &tenant.id, key.id).await;
        for (tenant, key) in &held {
            stage.expect_key("after deleting a tenant with a similar id", key, tenant).await;
        }
    }
}
