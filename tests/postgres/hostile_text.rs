//! Malicious names, labels and searches are either stored exactly or refused with a precise error.

use crate::support::{pepper, policy, server};
use keyway::{
    ChangeError, Keyring, KeyringError, NewKey, PostgresStore, SqliteStore, TenantId,
    record::{Labels, Suspension},
    store::AnyStore,
};

/// Texts that are stored unchanged.
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

/// Texts that are refused, because they are invisible or display as something else.
const REFUSED: [&str; 26] = [
    "\u{64b}\u{651}",
    "\u{3099}",
    "\u{20dd}",
    "object\u{fffc}",
    "\u{3164}",
    "\u{115f}",
    "\u{1160}",
    "\u{ffa0}",
    "\u{2800}",
    "\u{34f}a",
    "soft\u{ad}hyphen",
    "mongolian\u{180b}",
    "acme\u{e0061}",
    "acme\u{e0100}",
    "ac\u{200d}me",
    "acme\u{fe0f}",
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

async fn sqlite() -> AnyStore {
    AnyStore::new(SqliteStore::in_memory().await.unwrap())
}

async fn postgres() -> AnyStore {
    let store = PostgresStore::builder().schema(server::fresh_schema());
    AnyStore::new(store.connect(&server::shared().url()).await.unwrap())
}

fn keyring(store: AnyStore) -> Keyring {
    Keyring::builder(policy(), pepper()).environment("live").store(store).build().unwrap()
}

/// Returns a tenant id without characters that have a meaning in a URL.
fn tenant_of(text: &str, number: usize) -> String {
    format!("{} {number}", text.replace(['/', '\\', '%', '?', '#'], "_"))
}

/// Runs a test on both engines.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            #[ignore = "needs PostgreSQL"]
            async fn $name() {
                super::$name(super::postgres().await).await;
            })*
        }
    };
}

on_both! {
    hostile_text_is_stored_and_found_unchanged
    deceptive_text_is_refused_by_name_and_changes_nothing
    text_of_ten_kilobytes_is_refused_and_never_found
}

async fn hostile_text_is_stored_and_found_unchanged(store: AnyStore) {
    let keyring = keyring(store);
    for (number, text) in HARMLESS.into_iter().enumerate() {
        let id = tenant_of(text, number);
        let tenant = keyring.create_empty_tenant(&id, "advanced").await.unwrap();
        let labels = Labels::new([(text, text)]).unwrap();
        let issued = tenant.issue(NewKey::named(text).labels(labels.clone())).await.unwrap();
        let _ = tenant.issue(NewKey::named("another")).await.unwrap();
        let reason = Suspension::permanent(text).unwrap();
        keyring.suspend_tenant(tenant.id(), reason.clone()).await.unwrap();

        let key = tenant.find(issued.key.id()).await.unwrap();
        assert_eq!((key.name(), key.labels()), (text, &labels));
        assert_eq!(keyring.find_tenant(tenant.id()).await.unwrap().suspension(), Some(&reason));
        let found = tenant.search(text).await.unwrap().items;
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].id(), key.id());
        // No part of the text acts as a pattern.
        assert!(tenant.search(&format!("{text}{text}")).await.unwrap().items.is_empty());
    }
    let tenants = keyring.tenants(None, 100).await.unwrap();
    assert_eq!(tenants.items.len(), HARMLESS.len());
    for (number, text) in HARMLESS.into_iter().enumerate() {
        let id: TenantId = tenant_of(text, number).parse().unwrap();
        keyring.delete_tenant(&id).await.unwrap();
    }
    assert!(keyring.tenants(None, 100).await.unwrap().items.is_empty());
}

async fn deceptive_text_is_refused_by_name_and_changes_nothing(store: AnyStore) {
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
        let is_empty = text.trim().is_empty();
        assert!(is_empty || !refused.to_string().contains(text), "{refused}");
        assert!(Labels::new([(text, "")]).is_err() && Suspension::permanent(text).is_err());
        // The search finds nothing and does no harm.
        assert!(tenant.search(&format!("{text}\0")).await.unwrap().items.is_empty(), "{text:?}");
    }
    assert_eq!(keyring.tenants(None, 100).await.unwrap().items.len(), 1);
    assert!(tenant.search("").await.unwrap().items.is_empty());
}

#[tokio::test]
async fn tenant_ids_unusable_in_urls_are_refused_by_name() {
    let keyring = keyring(AnyStore::new(SqliteStore::in_memory().await.unwrap()));
    for (id, problem) in [
        (".", "is only dots"),
        ("..", "is only dots"),
        ("a/b", "holds `/`"),
        ("a\\b", "holds `\\`"),
        ("a%2e", "holds `%`"),
        ("a?b", "holds `?`"),
        ("a#b", "holds `#`"),
        ("acme\u{a0}", "holds the character U+00A0"),
        ("acme\u{2800}", "holds the character U+2800"),
        ("acme ", "begins or ends with a space"),
        (" acme", "begins or ends with a space"),
        ("acme\u{fffc}", "holds the character U+FFFC"),
        ("acme\u{13430}", "holds the character U+13430"),
        ("acme\u{ae}\u{fe0e}", "holds the character U+FE0E"),
        ("\u{301}", "holds nothing that can be seen"),
    ] {
        let refused = keyring.create_empty_tenant(id, "lite").await.unwrap_err().to_string();
        assert!(refused.starts_with(&format!("the id of the tenant {problem}")), "{refused}");
    }
    for id in ["acme", "a b", "a.b", "...a", "a:b;c", "日本", "4f9a-11", "a@b.example", "👩🏽‍💻"]
    {
        keyring.create_empty_tenant(id, "lite").await.unwrap();
    }
}

async fn text_of_ten_kilobytes_is_refused_and_never_found(store: AnyStore) {
    let long = "ü".repeat(5_000);
    let keyring = keyring(store);
    let tenant = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    let refused = tenant.issue(NewKey::named(&long)).await.unwrap_err().to_string();
    assert!(refused.contains("100") && refused.len() < 300, "{refused}");
    assert!(keyring.create_empty_tenant(&long, "lite").await.is_err());
    assert!(tenant.search(&long).await.unwrap().items.is_empty());
    // The longest allowed name takes 400 bytes and is read unchanged.
    let name = "🔑".repeat(100);
    let key = tenant.issue(NewKey::named(&name)).await.unwrap().key;
    assert_eq!(tenant.find(key.id()).await.unwrap().name(), name);
    assert_eq!(tenant.search(&name).await.unwrap().items.len(), 1);
}
