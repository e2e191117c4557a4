//! Names, labels and searches that are made to do harm are kept exactly, or refused precisely.

#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops")]

mod common;
#[path = "support/postgres.rs"]
mod server;

use common::{pepper, policy};
use keyway::{
    authority::{ChangeError, NewKey},
    keyring::{Keyring, KeyringError},
    record::{Labels, Suspension, TenantId},
    store::{AnyStore, PostgresStore, SqliteStore},
};

/// Each can be kept as it is.
const HARMLESS: [&str; 16] = [
    "'; DROP TABLE keys; --",
    "\" OR \"\"=\"",
    "%",
    "__",
    "100% _sure_",
    "back\\slash \\' \\\" \\% \\0 \\x00",
    "$1 ?1 :a @b {} %s",
    "{\"$ne\": null}",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "🔑 emoji 👨‍👩‍👧‍👦".split_at(11).0,
    "é e\u{301} ß İ ı K",
    "שלום עולם",
    "日本語の鍵",
    "ＦＵＬＬＷＩＤＴＨ",
    "/* comment */ UNION SELECT",
];

/// None can be kept: what does not show, or shows as something else.
const REFUSED: [&str; 10] = [
    "",
    " ",
    "a\0b",
    "two\nlines",
    "tab\there",
    "esc\u{1b}[31m",
    "rtl\u{202e}gpj.exe",
    "mark\u{200f}",
    "bom\u{feff}",
    "c1\u{85}",
];

async fn stores() -> Vec<AnyStore> {
    let mut stores = vec![AnyStore::new(SqliteStore::in_memory().await.unwrap())];
    if let Some(server) = server::shared() {
        let store = PostgresStore::builder().schema(server::fresh_schema());
        stores.push(AnyStore::new(store.connect(&server.url()).await.unwrap()));
    }
    stores
}

fn keyring(store: AnyStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

#[tokio::test]
async fn texts_come_back_as_they_were_and_are_found_as_they_are() {
    for store in stores().await {
        let keyring = keyring(store);
        for (number, text) in HARMLESS.into_iter().enumerate() {
            let id = format!("{text} {number}");
            let tenant = keyring.create_empty_tenant(&id, "advanced").await.unwrap();
            let labels = Labels::new([(text, text)]).unwrap();
            let issued = tenant.issue(NewKey::named(text).labels(labels.clone())).await.unwrap();
            let _ = tenant.issue(NewKey::named("another")).await.unwrap();
            let reason = Suspension::for_good(text).unwrap();
            keyring.suspend_tenant(tenant.id(), reason.clone()).await.unwrap();

            let key = tenant.find(issued.key.id()).await.unwrap();
            assert_eq!((key.name(), key.labels()), (text, &labels));
            assert_eq!(keyring.find_tenant(tenant.id()).await.unwrap().suspension(), Some(&reason));
            let found = tenant.search(text).await.unwrap();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].id(), key.id());
            // Nothing of it is a pattern.
            assert!(tenant.search(&format!("{text}{text}")).await.unwrap().is_empty());
        }
        let tenants = keyring.tenants(None, 100).await.unwrap();
        assert_eq!(tenants.items.len(), HARMLESS.len());
        for (number, text) in HARMLESS.into_iter().enumerate() {
            let id: TenantId = format!("{text} {number}").parse().unwrap();
            keyring.delete_tenant(&id).await.unwrap();
        }
        assert!(keyring.tenants(None, 100).await.unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn texts_that_deceive_are_refused_by_name_and_change_nothing() {
    for store in stores().await {
        let keyring = keyring(store);
        let tenant = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        for text in REFUSED {
            assert!(keyring.create_empty_tenant(text, "lite").await.is_err(), "{text:?}");
            let refused = tenant.issue(NewKey::named(text)).await.unwrap_err();
            assert!(
                matches!(&refused, KeyringError::Refused(ChangeError::Invalid(field))
                    if field.to_string().contains("name of the key")),
                "{text:?} {refused:?}"
            );
            assert!(text.trim().is_empty() || !refused.to_string().contains(text), "{refused}");
            assert!(Labels::new([(text, "")]).is_err() && Suspension::for_good(text).is_err());
            // It finds nothing and harms nothing.
            assert!(tenant.search(&format!("{text}\0")).await.unwrap().is_empty(), "{text:?}");
        }
        assert_eq!(keyring.tenants(None, 100).await.unwrap().items.len(), 1);
        assert!(tenant.search("").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn ten_kilobytes_are_refused_with_the_limit_and_searched_for_in_vain() {
    let long = "ü".repeat(5_000);
    for store in stores().await {
        let keyring = keyring(store);
        let tenant = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        let refused = tenant.issue(NewKey::named(&long)).await.unwrap_err().to_string();
        assert!(refused.contains("100") && refused.len() < 300, "{refused}");
        assert!(keyring.create_empty_tenant(&long, "lite").await.is_err());
        assert!(tenant.search(&long).await.unwrap().is_empty());
        // The longest name that is allowed takes 400 bytes, and comes back.
        let name = "🔑".repeat(100);
        let key = tenant.issue(NewKey::named(&name)).await.unwrap().key;
        assert_eq!(tenant.find(key.id()).await.unwrap().name(), name);
        assert_eq!(tenant.search(&name).await.unwrap().len(), 1);
    }
}
