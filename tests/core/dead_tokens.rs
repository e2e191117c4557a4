//! Tokens that were valid once. Each costs the store one read per second, whatever other callers present, and
//! does not affect other callers.

use std::time::Duration;

use crate::support::{Held, World, block_on, overheard::RevealKnown as _};
use keyway::{
    GracePeriod, ImportedKey, NewKey, VerifyError,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::Suspension,
};
use sha2::{Digest, Sha256};

const SECOND: Duration = Duration::from_secs(1);

fn is_refused(world: &World, token: &str) -> bool {
    matches!(block_on(world.keyring.verify(token)), Err(VerifyError::Rejected))
}

fn lookups(world: &World) -> usize {
    world.store.calls("lookup")
}

/// Returns how often the store is read during `work`.
fn reads(world: &World, work: impl FnOnce()) -> usize {
    let before = lookups(world);
    work();
    lookups(world) - before
}

/// Gives a key a new secret, and returns its token.
fn rotate(held: &Held) -> String {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    let rotated = block_on(held.keys.rotate(key.id(), key.version(), GracePeriod::None)).unwrap();
    rotated.token.reveal_known().to_string()
}

/// Returns the tokens that a key had before its last rotation, and its current one.
fn superseded(held: &Held, number: usize) -> (Vec<String>, String) {
    let mut tokens = vec![held.token.clone()];
    tokens.extend((0..number).map(|_| rotate(held)));
    let current = tokens.pop().unwrap();
    (tokens, current)
}

/// Returns tokens of deleted keys of one tenant.
fn deleted(held: &Held, number: usize) -> Vec<String> {
    let token = |index| {
        let request = NewKey::named(format!("key {index}")).scopes(["reporting"]);
        let issued = block_on(held.keys.issue(request)).unwrap();
        block_on(held.keys.delete(issued.key.id())).unwrap();
        issued.token.reveal_known().to_string()
    };
    (0..number).map(token).collect()
}

#[test]
fn old_secrets_cost_no_other_dead_token_reads() {
    let world = World::new();
    let (of_one_key, _) = superseded(&world.tenant_with_key("attacker"), 1_200);
    let of_many_keys = deleted(&world.tenant_with_key("another"), 1_200);
    let (mine, _) = superseded(&world.tenant_with_key("acme"), 1);
    for flood in [&of_one_key, &of_many_keys] {
        world.clock.advance(SECOND);
        assert_eq!(
            reads(&world, || assert!(flood.iter().all(|old| is_refused(&world, old)))),
            1_200
        );
        let tries = || (0..100).for_each(|_| assert!(is_refused(&world, &mine[0])));
        assert_eq!(reads(&world, tries), 1);
        // The flood costs one read for each of its tokens, in any order.
        let again = || assert!(flood.iter().rev().all(|old| is_refused(&world, old)));
        assert_eq!(reads(&world, || (0..3).for_each(|_| again())), 0);
    }
    // After a second there is one more read, which shows that these reads are counted.
    world.clock.advance(SECOND);
    assert_eq!(reads(&world, || assert!(is_refused(&world, &mine[0]))), 1);
}

#[test]
fn dead_tokens_cause_no_reads_of_other_keys() {
    let world = World::new();
    let attacker = world.tenant_with_key("attacker");
    let (old, current) = superseded(&attacker, 1_200);
    let gone = deleted(&attacker, 1_200);
    // Among so many keys, some share a counter with the attacker's keys.
    let victims: Vec<_> =
        (0..100).map(|index| world.tenant_with_key(&format!("victim-{index}"))).collect();
    let verify_all = || {
        for held in &victims {
            assert!(block_on(world.keyring.verify(&*held.token)).is_ok());
        }
    };
    assert_eq!(reads(&world, verify_all), 100);
    assert!(block_on(world.keyring.verify(&*current)).is_ok());
    let floods = reads(&world, || {
        for round in 0..5 {
            for token in old.iter().chain(&gone).skip(round * 480).take(480) {
                assert!(is_refused(&world, token));
            }
            let reads_of_victims = reads(&world, || (0..5).for_each(|_| verify_all()));
            assert_eq!(reads_of_victims, 0, "of 500 verifications");
        }
    });
    assert_eq!(floods, 2_400);
    // A key that was really changed is read again.
    let victim = &victims[0];
    block_on(world.keyring.suspend_key(victim.key.id(), Suspension::permanent("x").unwrap()))
        .unwrap();
    assert!(block_on(world.keyring.verify(&*victim.token)).is_err());
}

#[test]
fn key_deleted_elsewhere_is_read_once_and_rejected() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let (old, current) = superseded(&held, 1);
    assert!(block_on(world.keyring.verify(&*current)).is_ok());
    let other = world.another_node();
    block_on(other.keyring.tenant(held.keys.id().clone()).delete(held.key.id())).unwrap();
    let tries = || (0..100).for_each(|_| assert!(is_refused(&world, &old[0])));
    assert_eq!(reads(&world, tries), 1);
    // The read above has also dropped the cached key.
    let tries = || (0..100).for_each(|_| assert!(is_refused(&world, &current)));
    assert_eq!(reads(&world, tries), 1);
}

fn format() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256)
}

#[test]
fn imported_keys_old_token_costs_one_read_a_second() {
    let world = World::with(crate::support::policy(), |builder| builder.accept_imported(format()));
    let token = "an-old-token-of-another-system-with-43-bytes";
    let digest = ForeignDigest::from_bytes(&Sha256::digest(token)).unwrap();
    let held = world.tenant_with_key("acme");
    let request = NewKey::named("imported").scopes(["reporting"]);
    let imported = ImportedKey::new(&format(), digest, request).unwrap();
    let key = block_on(held.keys.import(imported)).unwrap();
    assert!(block_on(world.keyring.verify(token)).is_ok());
    let _ = block_on(held.keys.rotate(key.id(), key.version(), GracePeriod::None)).unwrap();
    for _ in 0..3 {
        let tries = || (0..100).for_each(|_| assert!(is_refused(&world, token)));
        assert_eq!(reads(&world, tries), 1);
        world.clock.advance(SECOND);
    }
}
