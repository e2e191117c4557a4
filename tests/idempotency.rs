//! One key for all requests with one idempotency key, however they are repeated.

#![cfg(feature = "std")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that goes wrong stops")]

mod common;

use std::thread;

use common::{World, block_on, fresh_rng, pepper, policy};
use keyway::{
    authority::NewKey,
    keyring::{Keyring, KeyringError, TenantKeys},
    pepper::{Pepper, Peppers},
    store::KeyQuery,
    token::KeyId,
};

fn request(text: &str) -> NewKey {
    NewKey::named("ERP sync").idempotency_key(text).unwrap()
}

fn issue(keys: &TenantKeys, text: &str) -> Result<KeyId, KeyringError> {
    block_on(keys.issue(request(text))).map(|issued| issued.key.id())
}

/// The key that a repetition is told of.
fn issued_before(keys: &TenantKeys, text: &str) -> KeyId {
    match issue(keys, text) {
        Err(KeyringError::AlreadyIssued(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn tenant(world: &World, id: &str, tier: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant(id, tier)).unwrap()
}

fn held(keys: &TenantKeys) -> usize {
    block_on(keys.list(&KeyQuery::all())).unwrap().items.len()
}

#[test]
fn a_repetition_is_told_the_key_and_makes_none() {
    let world = World::new();
    let acme = tenant(&world, "acme", "advanced");
    let id = issue(&acme, "first").unwrap();
    assert_eq!(issued_before(&acme, "first"), id);
    assert_eq!(issued_before(&world.another_node().keyring.tenant(acme.id().clone()), "first"), id);
    assert_eq!(held(&acme), 1);

    // Another text or another tenant is another request, and one without a text is always new.
    let others = [issue(&acme, "second"), issue(&tenant(&world, "beta", "advanced"), "first")];
    assert!(others.into_iter().all(|other| other.unwrap() != id));
    for _ in 0..2 {
        drop(block_on(acme.issue(NewKey::named("ERP sync"))).unwrap());
    }
    assert_eq!(held(&acme), 4);
}

#[test]
fn a_repetition_is_known_after_the_key_was_deleted_only_by_the_store() {
    let world = World::new();
    let acme = tenant(&world, "acme", "advanced");
    let id = issue(&acme, "first").unwrap();
    block_on(acme.delete(id)).unwrap();
    assert_eq!(issued_before(&acme, "first"), id);
    assert_eq!(held(&acme), 0);
}

#[test]
fn a_repetition_is_known_under_the_next_pepper() {
    let world = World::new();
    let acme = tenant(&world, "acme", "advanced");
    let id = issue(&acme, "first").unwrap();
    let renewed = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(1).unwrap();
    let peppers = Peppers::new(renewed).retiring(pepper()).unwrap();
    let next = Keyring::builder(policy(), peppers)
        .environment("live")
        .store(world.store.clone())
        .clock(world.clock.clone())
        .rng(fresh_rng())
        .build()
        .unwrap();
    let acme = next.tenant(acme.id().clone());
    assert_eq!(issued_before(&acme, "first"), id);
    assert_ne!(issue(&acme, "second").unwrap().slot(), id.slot());
}

/// What a request is told that looks for an earlier one, finds none, and is overtaken by it.
fn overtaken(tier: &str) -> (KeyId, Result<KeyId, KeyringError>, usize) {
    let world = World::new();
    let acme = tenant(&world, "acme", tier);
    let other = world.another_node().keyring.tenant(acme.id().clone());
    world.store.hold("insert_key");
    thread::scope(|scope| {
        let late = scope.spawn(|| issue(&acme, "first"));
        world.store.await_call("insert_key");
        let id = issue(&other, "first").unwrap();
        world.store.release("insert_key");
        (id, late.join().unwrap(), held(&other))
    })
}

#[test]
fn of_two_at_once_one_makes_the_key_and_the_other_is_told_it() {
    let (id, late, held) = overtaken("advanced");
    assert!(matches!(late, Err(KeyringError::AlreadyIssued(told)) if told == id), "{late:?}");
    assert_eq!(held, 1);
}

#[test]
fn of_two_at_once_for_the_last_place_none_is_told_that_there_is_no_place() {
    let (id, late, held) = overtaken("lite");
    assert!(matches!(late, Err(KeyringError::AlreadyIssued(told)) if told == id), "{late:?}");
    assert_eq!(held, 1);
    // A request of its own is told so.
    let world = World::new();
    let acme = tenant(&world, "acme", "lite");
    issue(&acme, "first").unwrap();
    let second = issue(&acme, "second");
    assert!(matches!(second, Err(KeyringError::QuotaExceeded { held: 1, allowed: 1, .. })));
}

#[test]
fn an_idempotency_key_is_1_to_255_visible_characters() {
    let named = |text: &str| NewKey::named("ERP sync").idempotency_key(text);
    for text in ["!", "~", &"k".repeat(255)] {
        assert!(named(text).is_ok(), "{text:?}");
    }
    for text in ["", " ", "a b", "\u{7f}", "a\n", "é", &"k".repeat(256)] {
        assert!(named(text).is_err(), "{text:?}");
    }
}

#[test]
fn whoever_reads_a_request_in_a_log_cannot_ask_what_became_of_it() {
    let text = format!("{:?}", request("e1b0a9d4"));
    assert!(text.contains("[redacted]") && !text.contains("e1b0a9d4"), "{text}");
}
