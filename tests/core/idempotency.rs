//! One key for all requests with one idempotency key, however they are repeated.

use std::thread;

use crate::support::{World, block_on, fresh_rng, overheard::RevealKnown as _, pepper, policy};
use keyway::{
    GracePeriod, KeyId, Keyring, KeyringError, NewKey, Pepper, Peppers, TenantKeys, store::KeyQuery,
};

fn request(text: &str) -> NewKey {
    NewKey::named("ERP sync").idempotency_key(text).unwrap()
}

fn issue(keys: &TenantKeys, text: &str) -> Result<KeyId, KeyringError> {
    block_on(keys.issue(request(text))).map(|issued| issued.key.id())
}

/// Returns the key id in the error of a repetition.
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
fn repetition_returns_the_key_id_and_issues_no_key() {
    let world = World::new();
    let acme = tenant(&world, "acme", "advanced");
    let id = issue(&acme, "first").unwrap();
    assert_eq!(issued_before(&acme, "first"), id);
    assert_eq!(issued_before(&world.another_node().keyring.tenant(acme.id().clone()), "first"), id);
    assert_eq!(held(&acme), 1);

    // Another text or another tenant is another request. A request without a text is always new.
    let others = [issue(&acme, "second"), issue(&tenant(&world, "beta", "advanced"), "first")];
    assert!(others.into_iter().all(|other| other.unwrap() != id));
    for _ in 0..2 {
        drop(block_on(acme.issue(NewKey::named("ERP sync"))).unwrap());
    }
    assert_eq!(held(&acme), 4);
}

#[test]
fn repetition_after_deletion_is_detected_by_the_store_alone() {
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

/// Returns the outcome of a request that finds no earlier one and is then overtaken by it.
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
fn two_concurrent_requests_issue_one_key_and_return_its_id() {
    let (id, late, held) = overtaken("advanced");
    assert!(matches!(late, Err(KeyringError::AlreadyIssued(told)) if told == id), "{late:?}");
    assert_eq!(held, 1);
}

#[test]
fn concurrent_repetitions_for_the_last_place_get_no_quota_error() {
    let (id, late, held) = overtaken("lite");
    assert!(matches!(late, Err(KeyringError::AlreadyIssued(told)) if told == id), "{late:?}");
    assert_eq!(held, 1);
    // A different request fails because of the quota.
    let world = World::new();
    let acme = tenant(&world, "acme", "lite");
    issue(&acme, "first").unwrap();
    let second = issue(&acme, "second");
    assert!(matches!(second, Err(KeyringError::QuotaExceeded { held: 1, allowed: 1, .. })));
}

#[test]
fn sign_up_that_is_repeated_creates_one_tenant_with_one_key() {
    let world = World::new();
    let sign_up =
        |text: &str| block_on(world.keyring.create_tenant_with("acme", "lite", request(text)));
    let (acme, first) = sign_up("s1").unwrap();
    for _ in 0..2 {
        let again = sign_up("s1");
        assert!(matches!(again, Err(KeyringError::AlreadyIssued(id)) if id == first.key.id()));
    }
    assert_eq!(held(&acme), 1);
    // The first response with the token was lost, so the key is rotated.
    let rotated = block_on(acme.rotate(first.key.id(), 1, GracePeriod::None)).unwrap();
    assert!(block_on(world.keyring.verify(&*rotated.token.reveal_known())).is_ok());
    assert!(block_on(world.keyring.verify(&*first.token.reveal_known())).is_err());
    // Another caller's sign-up under the same id changes nothing.
    for other in ["s2", "S1"] {
        assert!(matches!(sign_up(other), Err(KeyringError::TenantExists(_))));
    }
    let plain = block_on(world.keyring.create_tenant("acme", "lite"));
    assert!(matches!(plain, Err(KeyringError::TenantExists(_))));
    assert_eq!(held(&acme), 1);
    // A further key with the same idempotency key is a separate request.
    assert!(matches!(issue(&acme, "s1"), Err(KeyringError::QuotaExceeded { .. })));
    // A repetition does not restore a deleted tenant either.
    block_on(world.keyring.delete_tenant(acme.id())).unwrap();
    let again = sign_up("s1");
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(id)) if id == first.key.id()));
    assert!(block_on(world.keyring.find_tenant(acme.id())).is_err());
    let (_, third) = sign_up("s3").unwrap();
    // The tenant was created by another request by now.
    assert!(matches!(sign_up("s1"), Err(KeyringError::TenantExists(_))));
    block_on(acme.delete(third.key.id())).unwrap();
    assert!(matches!(sign_up("s3"), Err(KeyringError::TenantExists(_))));
}

#[test]
fn sign_ups_at_once_create_one_tenant_with_one_key() {
    let world = World::new();
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |_| {
            let node = world.another_node();
            scope.spawn(move || {
                let made = node.keyring.create_tenant_with("acme", "lite", request("s1"));
                block_on(made).map(|(_, issued)| issued.key.id())
            })
        };
        let running: Vec<_> = (0..8).map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made: Vec<KeyId> = results.iter().filter_map(|made| made.as_ref().ok()).copied().collect();
    let [id] = made[..] else { panic!("{} were made", made.len()) };
    for result in results {
        assert!(matches!(result, Ok(key) | Err(KeyringError::AlreadyIssued(key)) if key == id));
    }
    assert_eq!(held(&world.keyring.tenant("acme".parse().unwrap())), 1);
}

#[test]
fn sign_up_under_another_pepper_is_the_same_one() {
    let world = World::new();
    let (_, first) =
        block_on(world.keyring.create_tenant_with("acme", "lite", request("s1"))).unwrap();
    let pepper = keyway::Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let peppers = keyway::Peppers::new(pepper).retiring(crate::support::pepper()).unwrap();
    let next = Keyring::builder(crate::support::policy(), peppers)
        .environment("live")
        .store(world.store.memory().clone())
        .build()
        .unwrap();
    let again = block_on(next.create_tenant_with("acme", "lite", request("s1")));
    assert!(matches!(again, Err(KeyringError::AlreadyIssued(id)) if id == first.key.id()));
}

#[test]
fn ids_are_derived_under_their_own_label() {
    use hmac::{KeyInit as _, Mac as _};

    let hmac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let under = |label: &[u8]| -> String {
        let key = hmac(crate::support::PEPPER, &[label, b"\0mm\0live"]);
        let mac = hmac(&key, &[&4_u64.to_be_bytes(), b"acme", b"first"]);
        let place = |pair: &[u8]| (((usize::from(pair[0]) << 8) | usize::from(pair[1])) * 62) >> 16;
        let others = mac[..30].chunks(2).map(|pair| char::from(alphabet[place(pair)]));
        core::iter::once('A').chain(others).collect()
    };
    let world = World::new();
    let id = issue(&tenant(&world, "acme", "advanced"), "first").unwrap();
    // Computed with Python's `hmac`. An id that changes makes a repeated request a second key.
    assert_eq!(id.as_str(), "A2eH4RoiyOV2Zlo5");
    assert_eq!(id.as_str(), under(b"keyway/v1/idempotency"));
    assert_ne!(id.as_str(), under(b"keyway/v1/import"));
    let first = world.keyring.create_tenant_with("acme2", "lite", request("first"));
    assert_ne!(block_on(first).unwrap().1.key.id(), id);
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
fn debug_of_a_request_redacts_its_idempotency_key() {
    let text = format!("{:?}", request("e1b0a9d4"));
    assert!(text.contains("[redacted]") && !text.contains("e1b0a9d4"), "{text}");
}
