//! What stores are asked and what they answer, whichever store it is.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test that goes wrong stops")]

mod common;

use core::error::Error;
use std::io;

use common::{World, block_on};
use keyway::{
    record::KeyRecord,
    store::{KeyQuery, KeyStore, StoreError},
};

#[test]
fn every_answer_has_its_own_sentence() {
    let corrupt = KeyRecord::decode(b"").unwrap_err();
    assert_eq!(corrupt.key(), None);
    let answers = [
        (StoreError::Exists, "the id is taken", None),
        (StoreError::NotFound, "there is no such record", None),
        (StoreError::Conflict, "the record was changed by somebody else", None),
        (StoreError::QuotaFull { held: 3 }, "the tenant already holds 3 keys", None),
        (StoreError::from(corrupt), "a record cannot be read", Some(corrupt.to_string())),
        (
            StoreError::unavailable(io::Error::other("no route")),
            "the store did not answer",
            Some("no route".into()),
        ),
    ];
    for (answer, sentence, cause) in answers {
        assert_eq!(answer.to_string(), sentence);
        assert_eq!(answer.source().map(ToString::to_string), cause);
    }
}

#[test]
fn a_query_asks_for_all_keys_unless_it_says_otherwise() {
    let all = KeyQuery::default();
    assert_eq!((all.text(), all.cursor(), all.max()), (None, None, KeyQuery::all().max()));
    let some = KeyQuery::all().containing("erp").limit(5);
    assert_eq!((some.text(), some.cursor(), some.max().get()), (Some("erp"), None, 5));
}

#[test]
fn a_tenant_is_updated_only_by_who_read_its_latest_version() {
    let world = World::new();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let read = || block_on(world.keyring.tenants(None, 9)).unwrap().items.remove(0);
    let first = read();
    block_on(world.keyring.set_tier(acme.id(), "advanced")).unwrap();
    let late = block_on(world.store.memory().update_tenant(first.clone(), first.version()));
    assert!(matches!(late, Err(StoreError::Conflict)));
    assert_eq!(read().tier(), "advanced");
}
