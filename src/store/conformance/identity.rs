//! **Identity.** Ids of tenants and keys are compared byte for byte. Case, white space and Unicode
//! form matter, and no collation may say otherwise.

use alloc::{format, vec::Vec};

use super::{
    expect::{holds, not_found, same},
    issuer::{in_other_case, tenant_id},
    stage::Stage,
};
use crate::{record::TenantId, store::KeyStore};

/// Tenant ids that differ in case alone are different.
pub async fn tenant_ids_differ_by_case<S: KeyStore>(store: &S) {
    are_apart(store, &["acme", "Acme", "ACME", "straße", "STRASSE", "i", "I", "İ", "ı"]).await;
}

/// Tenant ids that differ in white space alone are different, also at their ends.
pub async fn tenant_ids_keep_their_white_space<S: KeyStore>(store: &S) {
    are_apart(store, &["acme", "acme ", " acme", "acme  ", "ac me", "acme\u{a0}", "acme\u{3000}"])
        .await;
}

/// Tenant ids that look alike are different: both normal forms of é, letters of other scripts, marks
/// that some collations ignore.
pub async fn tenant_ids_keep_their_unicode_form<S: KeyStore>(store: &S) {
    are_apart(
        store,
        &[
            "caf\u{e9}",
            "cafe\u{301}",
            "cafe",
            "\u{441}afe",
            "K",
            "\u{212a}",
            "ﬁ",
            "fi",
            "１",
            "1",
            "ca\u{200d}fe",
            "ca-fe",
            "\u{1f511}",
            "\u{1f512}",
        ],
    )
    .await;
}

/// Tenant ids are no patterns, numbers, paths or parts of a query.
pub async fn tenant_ids_are_taken_literally<S: KeyStore>(store: &S) {
    are_apart(
        store,
        &[
            "a%",
            "ab",
            "a_",
            "abc",
            "%",
            "_",
            "*",
            "a*",
            "a?",
            "[ab]b",
            "1",
            "01",
            "1.0",
            "1e0",
            "0x1",
            "true",
            "NULL",
            "\\",
            "\\\\",
            "'",
            "''",
            "\"",
            "a/b",
            "a:b",
            "a|b",
            "a;b",
            "' OR '1'='1",
        ],
    )
    .await;
}

/// Tenant ids of the full 128 bytes are told apart by their last one.
pub async fn tenant_ids_are_told_apart_by_their_last_byte<S: KeyStore>(store: &S) {
    let long = "x".repeat(TenantId::MAX_LEN - 1);
    let wide = "é".repeat(TenantId::MAX_LEN / 2 - 1);
    let ids = [
        format!("{long}a"),
        format!("{long}b"),
        long,
        format!("{wide}é"),
        format!("{wide}è"),
        format!("{wide}e"),
        wide,
    ];
    are_apart(store, &ids.each_ref().map(|id| &**id)).await;
}

/// Key ids that differ in case alone are different.
pub async fn key_ids_differ_by_case<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.add_tenant("acme").await;
    let key = stage.add_key(&tenant, "one").await;
    let other = in_other_case(key.id);
    stage.expect_no_key("before it was inserted", &tenant.id, other).await;
    not_found("deleting it", store.delete_key(&tenant.id, other).await);
    stage.expect_key("after deleting its id in other case", &key, &tenant).await;

    let twin = stage.issuer.with_id(other, &tenant, "two");
    stage.insert_key(&twin, &tenant).await;
    stage.expect_key("beside its id in other case", &key, &tenant).await;
    stage.expect_key("beside its id in other case", &twin, &tenant).await;
    let renamed = stage.issuer.renamed(&twin, &tenant, "three");
    stage.update_key(&renamed).await;
    stage.expect_key("after updating its id in other case", &key, &tenant).await;
    stage.delete_key(&key).await;
    stage.expect_key("after deleting its id in other case", &renamed, &tenant).await;
    stage.expect_no_key("after deleting it", &tenant.id, key.id).await;
}

/// Each of `ids` is unknown until it is inserted, and from then on has a key, a version and an end of
/// its own.
async fn are_apart<S: KeyStore>(store: &S, ids: &[&str]) {
    let stage = Stage::new(store);
    let mut held = Vec::new();
    for id in ids {
        let when = format!("before the tenant {id:?} was inserted");
        let unknown = tenant_id(id);
        same(format!("{when}, `tenant` for it"), &stage.tenant(&unknown).await, &None);
        same(format!("{when}, `count_keys` of it"), &stage.count(&unknown).await, &0);
        let tenant = stage.add_tenant(id).await;
        let key = stage.add_key(&tenant, "its own").await;
        held.push((tenant, key));
    }
    for (tenant, _) in &mut held {
        *tenant = stage.issuer.suspended(tenant, &format!("it is {}", tenant.id));
        stage.update_tenant(tenant).await;
    }
    for (tenant, key) in &held {
        let id = &tenant.id;
        let when = "with similar ids beside it";
        same(
            format!("{when}, `tenant` for {id:?}"),
            &stage.tenant(id).await,
            &Some(tenant.clone()),
        );
        stage.expect_key(when, key, tenant).await;
        same(format!("{when}, `count_keys` of {id:?}"), &stage.count(id).await, &1);
        same(format!("{when}, `keys` of {id:?}"), &stage.ids(id).await, &[key.id].into());
    }
    let listed = stage.tenants(None, ids.len() + 1).await;
    for (tenant, _) in &held {
        let count = listed.iter().filter(|listed| **listed == tenant.id).count();
        holds(
            format!("`tenants` gave the tenant {:?} {count} times instead of once", tenant.id),
            count == 1,
        );
    }
    while let Some((tenant, key)) = held.pop() {
        stage.delete_tenant(&tenant.id).await;
        stage.expect_no_key("after deleting its tenant", &tenant.id, key.id).await;
        for (tenant, key) in &held {
            stage.expect_key("after deleting a tenant with a similar id", key, tenant).await;
        }
    }
}
