//! Queries and errors that all stores share.

use core::error::Error;
use std::io;

use crate::support::{World, block_on};
use keyway::{
    KeyRecord, NewKey,
    record::RecordError,
    store::{KeyQuery, KeyStore, StoreError},
};

#[test]
fn every_store_error_has_its_own_message() {
    let corrupt = KeyRecord::decode(b"").unwrap_err();
    assert_eq!(corrupt, RecordError::UnreadableKey(None));
    let answers = [
        (StoreError::Exists, "the id is taken", None),
        (StoreError::NotFound, "there is no such record", None),
        (StoreError::Conflict, "the record was changed by somebody else", None),
        (StoreError::QuotaFull, "the tenant holds as many keys as it may", None),
        (StoreError::from(corrupt.clone()), "a record cannot be read", Some(corrupt.to_string())),
        (
            StoreError::unavailable(io::Error::other("no route")),
            "the store did not respond",
            Some("no route".into()),
        ),
    ];
    for (answer, sentence, cause) in answers {
        assert_eq!(answer.to_string(), sentence);
        assert_eq!(answer.source().map(ToString::to_string), cause);
    }
}

#[test]
fn default_query_selects_all_keys() {
    let all = KeyQuery::default();
    assert_eq!((all.text(), all.cursor(), all.max()), (None, None, KeyQuery::all().max()));
    let some = KeyQuery::all().containing("erp").limit(5);
    assert_eq!((some.text(), some.cursor(), some.max().get()), (Some("erp"), None, 5));
}

#[test]
fn search_text_is_found_anywhere_and_in_either_case() {
    let world = World::new();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let key = block_on(acme.issue(NewKey::named("Zoë’s ERP ß sync"))).unwrap().key;
    let matches = |text: &str| KeyQuery::all().containing(text).matches(&key);
    for text in ["", "erp", "ERP", "Zoë", "zoë’S", "ß", "c", "Zoë’s ERP ß sync", " ", "…"]
    {
        assert!(matches(text), "{text}");
    }
    for text in ["ZOË", "ẞ", "erpß", "Zoë’s ERP ß sync ", "\0", "é"] {
        assert!(!matches(text), "{text}");
    }
    assert!(matches(&key.id().as_str().to_lowercase()));
}

#[test]
fn tenant_update_needs_the_latest_version() {
    let world = World::new();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let read = || block_on(world.keyring.tenants(None, 9)).unwrap().items.remove(0);
    let first = read();
    block_on(world.keyring.set_tier(acme.id(), "advanced")).unwrap();
    let late = block_on(world.store.memory().update_tenant(first.clone(), first.version(), &[]));
    assert!(matches!(late, Err(StoreError::Conflict)));
    assert_eq!(read().tier(), "advanced");
}
