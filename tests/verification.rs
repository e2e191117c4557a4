//! What a verification answers when tokens are wrong, stores fail, nodes disagree and callers give up.

#![cfg(feature = "std")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    reason = "tests, and helpers of tests"
)]

mod common;

use core::{error::Error, pin::Pin, time::Duration};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use common::{
    DAY, HOUR, Held, MAX_STALENESS, World, block_on, catalog, chain, give_up_after,
    overheard::RevealKnown as _, pepper, policy,
};
use keyway::{
    audit::{AuditEvent, AuditSink},
    authority::{KeyEdit, LeakResponse, NewKey, Overlap},
    decision::{KeyState, Principal},
    keyring::KeyringError,
    policy::Policy,
    record::{KeyRecord, Suspension, TenantRecord},
    scope::{ScopeCatalog, ScopeDeclaration},
    store::{KeyQuery, MemoryStore, StoreError},
    tier::Tier,
    token::InsecureSeededRng,
    verifier::{BuildError, Freshness, Verifier, VerifyError},
};
use rand_core::TryRng;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

fn verify(world: &World, token: &str) -> Result<Principal, VerifyError> {
    block_on(world.keyring.verify(token))
}

fn verify_now(world: &World, token: &str) -> Result<Principal, VerifyError> {
    block_on(world.keyring.verify_as_of(token, Freshness::Now))
}

/// Only the word, for comparisons.
fn word(result: &Result<Principal, VerifyError>) -> String {
    match result {
        Ok(_) => "verified".into(),
        Err(error) => error.to_string(),
    }
}

fn ban() -> Suspension {
    Suspension::for_good("floods the report endpoint").unwrap()
}

fn rotate(held: &Held, overlap: Overlap) -> String {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    let rotated = block_on(held.keys.rotate(key.id(), key.version(), overlap)).unwrap();
    rotated.token.reveal_known().to_string()
}

// Refused tokens look alike.

/// Tokens that are refused, each with the reason that only the audit is told.
fn refused_tokens(world: &World) -> Vec<(Vec<u8>, &'static str)> {
    let held = world.tenant_with_key("acme");
    let good = held.token.clone().into_bytes();
    let changed = |at: usize, byte: u8| {
        let mut token = good.clone();
        token[at] = if token[at] == byte { byte + 1 } else { byte };
        token
    };
    let mut refused: Vec<(Vec<u8>, &'static str)> = vec![
        (vec![], "Malformed"),
        (b"mm_live_".to_vec(), "Malformed"),
        (good[..63].to_vec(), "Malformed"),
        ([&good[..], b"A"].concat(), "Malformed"),
        ([b" ", &good[..]].concat(), "Malformed"),
        (held.token.replace("live", "test").into(), "Malformed"),
        (held.token.replace("mm", "xx").into(), "Malformed"),
        (held.token.to_uppercase().into(), "Malformed"),
        (vec![0xff; 64], "Malformed"),
        ([b"mm_live_", &[0xff; 56][..]].concat(), "Forged"),
        ([b"mm_live_", &[0; 56][..]].concat(), "Forged"),
    ];
    for at in 8..good.len() {
        refused.push((changed(at, b'k'), "Forged"));
        refused.push((changed(at, b'-'), "Forged"));
        refused.push((changed(at, 0xf0), "Forged"));
    }
    // Minted with the same pepper, for another database.
    let elsewhere = World::new().tenant_with_key("acme");
    refused.push((elsewhere.token.into(), "Unknown"));
    let deleted = world.tenant_with_key("deleted");
    block_on(deleted.keys.delete(deleted.key.id())).unwrap();
    refused.push((deleted.token.into(), "Unknown"));
    let rotated = world.tenant_with_key("rotated");
    rotate(&rotated, Overlap::None);
    refused.push((rotated.token.into(), "WrongSecret"));
    refused
}

#[test]
fn all_refused_tokens_get_one_and_the_same_answer_and_only_the_audit_is_told_why() {
    let world = World::new();
    for (token, reason) in refused_tokens(&world) {
        world.audit.take_kinds();
        for freshness in [Freshness::Cached, Freshness::Now] {
            let verified = block_on(world.keyring.verify_as_of(&token, freshness));
            let error = verified.expect_err(reason);
            assert!(matches!(error, VerifyError::Rejected), "{reason}: {error:?}");
            assert_eq!(format!("{error:?}"), "Rejected");
            assert_eq!(error.to_string(), "the API key is not valid");
            assert!(error.source().is_none());
            assert!(error.is_denied());
        }
        let told = format!("Rejected({reason})");
        assert_eq!(world.audit.take_kinds(), [told.clone(), told]);
    }
}

#[test]
fn a_token_has_one_spelling_whatever_byte_stands_in_its_place() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let mut token = held.token.clone().into_bytes();
    for at in 0..token.len() {
        let good = token[at];
        for byte in 0..=u8::MAX {
            token[at] = byte;
            let verified = block_on(world.keyring.verify(&token));
            assert_eq!(verified.is_ok(), byte == good, "{byte} at {at}");
        }
        token[at] = good;
    }
}

#[test]
fn the_token_that_those_were_made_from_is_accepted() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let caller = verify(&world, &held.token).unwrap();
    assert_eq!(caller.key_id(), held.key.id());
    assert_eq!((caller.tenant(), caller.name()), ("acme", "first"));
    assert!(!caller.used_previous_secret());
    assert_eq!(catalog().text(caller.scopes()), "reporting");
}

#[test]
fn the_audit_names_a_key_only_to_who_proved_that_its_id_was_minted_here() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let forged = format!("mm_live_{}{}", held.key.id(), "A".repeat(40));
    verify(&world, &forged).unwrap_err();
    assert_eq!(world.audit.events().last().unwrap().key, None);
    rotate(&held, Overlap::None);
    verify(&world, &held.token).unwrap_err();
    let id = held.key.id().to_string();
    assert_eq!(world.audit.events().last().unwrap().key, Some(id));
}

#[test]
fn ten_thousand_forged_tokens_never_reach_the_store() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let before = world.store.all_calls();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = InsecureSeededRng::new(4_711);
    for number in 0..10_000 {
        let mut body = [0; 56];
        rng.try_fill_bytes(&mut body).unwrap();
        let mut body = body.map(|byte| char::from(alphabet[usize::from(byte) % 62]));
        if number % 2 == 0 {
            // With the id of a key that exists.
            for (place, id) in body.iter_mut().zip(held.key.id().as_str().chars()) {
                *place = id;
            }
        }
        let forged: String = "mm_live_".chars().chain(body).collect();
        let verified = verify(&world, &forged);
        assert!(matches!(verified, Err(VerifyError::Rejected)), "{forged}");
    }
    assert_eq!(world.store.all_calls(), before);
    assert!(verify(&world, &held.token).is_ok());
    assert_eq!(world.store.all_calls(), before + 1);
}

#[test]
fn an_authorization_field_is_read_before_its_token_is_verified() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let read = |value: Option<&str>| block_on(world.keyring.verify_authorization(value));
    assert!(matches!(read(None), Err(VerifyError::Missing)));
    assert!(matches!(read(Some("Basic YTpi")), Err(VerifyError::Missing)));
    assert!(matches!(read(Some("Bearer")), Err(VerifyError::BadRequest)));
    assert!(matches!(read(Some("Bearer nonsense")), Err(VerifyError::Rejected)));
    assert!(read(Some(&format!("bearer  {}", held.token))).is_ok());
}

// Nodes and the age of what they know.

/// What another node may do to a key, and what is answered once that is known.
type Change = fn(&World, &Held);
const CHANGES: [(&str, Change, &str); 8] = [
    (
        "disable",
        |there, held| {
            let keys = there.keyring.tenant(held.keys.id().clone());
            block_on(keys.disable(held.key.id())).unwrap();
        },
        "the API key cannot be used: it is disabled",
    ),
    (
        "delete",
        |there, held| {
            let keys = there.keyring.tenant(held.keys.id().clone());
            block_on(keys.delete(held.key.id())).unwrap();
        },
        "the API key is not valid",
    ),
    (
        "rotate",
        |there, held| {
            let keys = there.keyring.tenant(held.keys.id().clone());
            drop(block_on(keys.rotate(held.key.id(), 1, Overlap::None)).unwrap());
        },
        "the API key is not valid",
    ),
    (
        "suspend",
        |there, held| {
            block_on(there.keyring.suspend_key(held.key.id(), ban())).unwrap();
        },
        "the API key cannot be used: it is suspended",
    ),
    (
        "report",
        |there, held| {
            block_on(there.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend))
                .unwrap();
        },
        "the API key cannot be used: it is suspended",
    ),
    (
        "revoke",
        |there, held| block_on(there.keyring.revoke(&held.token)).unwrap(),
        "the API key is not valid",
    ),
    (
        "suspend tenant",
        |there, held| {
            block_on(there.keyring.suspend_tenant(held.keys.id(), ban())).unwrap();
        },
        "the API key cannot be used: its tenant is suspended",
    ),
    (
        "delete tenant",
        |there, held| block_on(there.keyring.delete_tenant(held.keys.id())).unwrap(),
        "the API key is not valid",
    ),
];

#[test]
fn what_this_node_writes_holds_at_once() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        assert_eq!(word(&verify(&world, &held.token)), "verified");
        change(&world, &held);
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

#[test]
fn what_another_node_writes_is_seen_now_by_who_asks_for_it() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let there = world.another_node();
        let held = world.tenant_with_key("acme");
        assert_eq!(word(&verify(&world, &held.token)), "verified");
        change(&there, &held);
        assert_eq!(word(&verify(&world, &held.token)), "verified", "{name}: not cached");
        assert_eq!(word(&verify_now(&world, &held.token)), expected, "{name}");
        // What was read for one is known to all.
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

#[test]
fn what_another_node_writes_is_seen_when_the_staleness_bound_has_passed_and_never_later() {
    for (name, change, expected) in CHANGES {
        // Whatever fraction of a second the load begins at.
        for fraction in [0, 1, 50, 99, 100, 101, 999] {
            let world = World::new();
            let there = world.another_node();
            let held = world.tenant_with_key("acme");
            world.clock.advance(Duration::from_millis(fraction));
            assert_eq!(word(&verify(&world, &held.token)), "verified");
            change(&there, &held);
            world.clock.advance(MAX_STALENESS - Duration::from_millis(100));
            assert_eq!(word(&verify(&world, &held.token)), "verified", "{name}: not cached");
            world.clock.advance(Duration::from_millis(100));
            assert_eq!(word(&verify(&world, &held.token)), expected, "{name} at {fraction}");
        }
    }
}

#[test]
fn being_asked_for_does_not_keep_a_cached_key_young() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    block_on(there.keyring.suspend_key(held.key.id(), ban())).unwrap();
    for _ in 0..49 {
        world.clock.advance(Duration::from_millis(100));
        assert!(verify(&world, &held.token).is_ok());
    }
    world.clock.advance(Duration::from_millis(100));
    assert!(verify(&world, &held.token).is_err());
}

#[test]
fn a_new_secret_from_another_node_is_accepted_at_once_although_the_old_one_is_cached() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    let rotated = block_on(keys.rotate(held.key.id(), 1, Overlap::None)).unwrap();
    let token = rotated.token.reveal_known();
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn who_once_held_a_key_costs_one_read_a_second() {
    let world = World::new();
    let deleted = world.tenant_with_key("acme");
    block_on(deleted.keys.delete(deleted.key.id())).unwrap();
    let rotated = world.tenant_with_key("globex");
    let successor = block_on(rotated.keys.rotate(rotated.key.id(), 1, Overlap::None)).unwrap();
    let successor = successor.token.reveal_known();
    for token in [&deleted.token, &rotated.token] {
        verify(&world, &successor).unwrap();
        let before = world.store.calls("lookup");
        let reads = || world.store.calls("lookup") - before;
        for _ in 0..10 {
            for _ in 0..10 {
                assert_eq!(word(&verify(&world, token)), "the API key is not valid");
            }
            world.clock.advance(Duration::from_millis(99));
        }
        assert_eq!(reads(), 1);
        // Another secret of the same key is not refused for it.
        assert_eq!(word(&verify(&world, &successor)), "verified");
        assert_eq!(reads(), 1);
        verify_now(&world, token).unwrap_err();
        assert_eq!(reads(), 2);
        world.clock.advance(Duration::from_secs(1));
        verify(&world, token).unwrap_err();
        assert_eq!(reads(), 3);
    }
}

#[test]
fn all_who_present_a_secret_that_has_ended_wait_for_one_read() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    let rotate = |version| block_on(keys.rotate(held.key.id(), version, Overlap::None)).unwrap();
    let (first, second) = (rotate(1).token.reveal_known(), rotate(2).token.reveal_known());
    // The cache has the first secret of all, which is no longer the store's.
    let before = world.store.calls("lookup");
    world.store.hold("lookup");
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(world.keyring.verify(&*first))).collect();
    let mut context = Context::from_waker(Waker::noop());
    for waits in &mut waiting {
        assert!(waits.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(world.store.calls("lookup") - before, 1);
    // A newer secret is not answered by a read from before it.
    let mut newer = Box::pin(world.keyring.verify(&*second));
    assert!(newer.as_mut().poll(&mut context).is_pending());
    assert_eq!(world.store.calls("lookup") - before, 2);
    world.store.release("lookup");
    assert!(block_on(newer).is_ok());
    for waits in waiting {
        assert_eq!(word(&block_on(waits)), "the API key is not valid");
    }
    assert_eq!(world.store.calls("lookup") - before, 2);
}

#[test]
fn a_refuted_token_is_read_each_time_without_a_cache_and_audited_each_time() {
    for (capacity, reads) in [(0, 10), (1, 1)] {
        let world = World::with(policy(), |builder| builder.cache_capacity(capacity));
        let held = world.tenant_with_key("acme");
        block_on(held.keys.delete(held.key.id())).unwrap();
        world.audit.take_kinds();
        for _ in 0..10 {
            verify(&world, &held.token).unwrap_err();
        }
        assert_eq!(world.store.calls("lookup"), reads);
        assert_eq!(world.audit.kinds(), ["Rejected(Unknown)"; 10]);
    }
}

#[test]
fn a_cached_key_is_read_once_and_none_is_without_a_cache() {
    let cases = [
        (World::new(), 1),
        (World::with(policy(), |builder| builder.cache_capacity(0)), 10),
        (World::with(policy(), |builder| builder.max_staleness(Duration::ZERO)), 10),
    ];
    for (world, lookups) in cases {
        let held = world.tenant_with_key("acme");
        for _ in 0..10 {
            verify(&world, &held.token).unwrap();
        }
        assert_eq!(world.store.calls("lookup"), lookups);
    }
}

#[test]
fn a_full_cache_forgets_keys_and_never_mistakes_one_for_another() {
    let policy = Policy::new("mm", catalog(), [Tier::new("big", 400)]).unwrap();
    let world = World::with(policy, |builder| builder.cache_capacity(64));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "big")).unwrap();
    let tokens: Vec<_> = (0..300)
        .map(|number| {
            let request = NewKey::named(format!("key {number}"));
            block_on(keys.issue(request)).unwrap().token.reveal_known()
        })
        .collect();
    for round in 0..3 {
        for (number, token) in tokens.iter().enumerate() {
            let caller = verify(&world, token).unwrap();
            assert_eq!(caller.name(), format!("key {number}"), "in round {round}");
        }
    }
    assert!(world.store.calls("lookup") > tokens.len());
}

#[test]
fn a_read_that_began_before_a_write_is_not_believed_after_it() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.store.set_slow(true);
        let mut reading = Box::pin(world.keyring.verify(&held.token));
        let mut context = Context::from_waker(Waker::noop());
        // The second time, the store has read what it is about to answer.
        assert!(reading.as_mut().poll(&mut context).is_pending());
        assert!(reading.as_mut().poll(&mut context).is_pending());
        change(&world, &held);
        assert_eq!(word(&block_on(reading)), "verified", "{name}: it began before");
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

// Outages.

#[test]
fn a_store_that_is_down_is_unavailable_with_its_cause_and_not_denied() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.set_down(true);
    for freshness in [Freshness::Cached, Freshness::Now] {
        let verified = block_on(world.keyring.verify_as_of(&held.token, freshness));
        let error = verified.unwrap_err();
        assert!(error.is_unavailable() && !error.is_denied());
        assert_eq!(
            chain(&error),
            [
                "API keys cannot be verified at present",
                "the store did not answer",
                "the test pulled the plug"
            ]
        );
    }
    assert_eq!(world.audit.kinds().last().unwrap(), "Unavailable");
    world.store.set_down(false);
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn while_the_store_is_down_cached_keys_are_served_within_the_staleness_bound_only() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    world.store.set_down(true);
    world.clock.advance(MAX_STALENESS - Duration::from_millis(100));
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    world.clock.advance(Duration::from_millis(100));
    assert!(verify(&world, &held.token).unwrap_err().is_unavailable());
}

#[test]
fn forged_tokens_are_denied_also_while_the_store_is_down() {
    let world = World::new();
    world.tenant_with_key("acme");
    world.store.set_down(true);
    let forged = format!("mm_live_{}", "A".repeat(56));
    assert!(verify(&world, &forged).unwrap_err().is_denied());
}

#[test]
fn a_failed_read_is_not_remembered() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for _ in 0..3 {
        world.store.set_down(true);
        assert!(verify_now(&world, &held.token).unwrap_err().is_unavailable());
        world.store.set_down(false);
        assert!(verify_now(&world, &held.token).is_ok());
    }
}

// Records that do not fit the policy.

#[test]
fn a_tier_that_the_policy_lacks_makes_its_keys_unavailable_and_the_audit_is_told() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let lite_only = Policy::new("mm", catalog(), [Tier::new("lite", 1)]).unwrap();
    let there = world.another_node_with(lite_only, |builder| builder);
    let error = verify(&there, &held.token).unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(
        chain(&error).last().unwrap(),
        "the policy has no tier `advanced`, on which tenant `acme` is"
    );
    assert_eq!(there.audit.kinds(), ["UnknownTier(\"advanced\")"]);
    assert_eq!(there.audit.events()[0].tenant.as_deref(), Some("acme"));
    assert!(verify(&world, &held.token).is_ok());
    // Whoever does not hold the key is told nothing of that.
    rotate(&held, Overlap::None);
    assert_eq!(word(&verify_now(&there, &held.token)), "the API key is not valid");
}

#[test]
fn a_scope_that_the_catalogue_lacks_grants_nothing_and_the_audit_is_told() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let request = NewKey::named("both").scopes(["manager", "reporting"]);
    let token = block_on(held.keys.issue(request)).unwrap().token.reveal_known();

    let smaller = ScopeCatalog::new([ScopeDeclaration::new("reporting", "all that is left")]);
    let smaller = Policy::new("mm", smaller.unwrap(), Tier::built_in()).unwrap();
    let there = world.another_node_with(smaller, |builder| builder);
    let caller = verify(&there, &token).unwrap();
    let catalog = there.keyring.policy().catalog().clone();
    assert_eq!(catalog.text(caller.scopes()), "reporting");
    assert_eq!(there.audit.kinds(), ["UnknownScopes([Scope(\"manager\")])"]);
    // The record keeps the name, and a catalogue that has it grants it.
    let caller = verify(&world, &token).unwrap();
    assert_eq!(common::catalog().text(caller.scopes()), "manager reporting");
}

#[test]
fn a_scope_that_the_catalogue_gains_below_a_granted_one_is_granted_too() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let request = NewKey::named("k").scopes(["operator"]);
    let token = block_on(held.keys.issue(request)).unwrap().token.reveal_known();
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let larger = ScopeCatalog::new(["operator", "operator.audit"].map(declare)).unwrap();
    let larger = Policy::new("mm", larger, Tier::built_in()).unwrap();
    let there = world.another_node_with(larger, |builder| builder);
    let caller = verify(&there, &token).unwrap();
    let audit = there.keyring.requirement(["operator.audit"]).unwrap();
    assert!(caller.require(&audit).is_ok());
    let ours = world.keyring.requirement(["operator"]).unwrap();
    assert!(caller.require(&ours).is_err(), "sets of other catalogues never fit");
}

// Records that somebody changed.

#[test]
fn a_record_that_cannot_be_read_is_unavailable() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.rewrite_keys(|_| KeyRecord::decode(b"nonsense").map_err(StoreError::from));
    let error = verify(&world, &held.token).unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(
        chain(&error)[1..],
        [
            "a record cannot be read",
            "the bytes are not a key record of a version that is known here"
        ]
    );
    // Whoever made it so has to be found.
    assert_eq!(world.audit.kinds().last().unwrap(), "Tampered");
    world.store.rewrite_nothing();
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn that_a_record_was_tampered_with_is_told_to_the_holder_only() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::None);
    world.audit.take_kinds();
    world.store.rewrite_keys(|key| Ok(common::with_text(&key, "reporting", "manager")));

    let error = verify(&world, &token).unwrap_err();
    assert!(matches!(error, VerifyError::Tampered) && error.is_denied());
    let error = verify(&world, &held.token).unwrap_err();
    assert!(matches!(error, VerifyError::Rejected), "{error:?}");
    assert_eq!(world.audit.take_kinds(), ["Tampered", "Tampered"]);

    world.store.rewrite_nothing();
    assert!(verify(&world, &token).is_ok());
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
    assert_eq!(world.audit.take_kinds(), ["Rejected(WrongSecret)"]);
}

#[test]
fn no_bit_of_a_stored_key_can_be_changed() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let length = held.key.encode().len();
    let mut tampered = 0;
    for bit in 0..length * 8 {
        world.store.rewrite_keys(move |key| {
            let mut bytes = key.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Ok(KeyRecord::decode(&bytes)?)
        });
        match verify_now(&world, &held.token) {
            Err(VerifyError::Tampered) => tampered += 1,
            // Another id, another digest, or bytes of no record.
            Err(VerifyError::Rejected | VerifyError::Unavailable(_)) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    assert!(tampered > length, "only {tampered} changes were found out by the seal");
    world.store.rewrite_nothing();
    assert!(verify_now(&world, &held.token).is_ok());
}

#[test]
fn no_bit_of_a_stored_tenant_can_be_changed() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let tenant = block_on(world.keyring.find_tenant(held.keys.id())).unwrap();
    let length = tenant.encode().len();
    let mut tampered = 0;
    for bit in 0..length * 8 {
        world.store.rewrite_tenants(move |tenant| {
            let mut bytes = tenant.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Ok(TenantRecord::decode(&bytes)?)
        });
        match verify_now(&world, &held.token) {
            Err(VerifyError::Tampered) => tampered += 1,
            Err(VerifyError::Unavailable(_)) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    assert!(tampered > length, "only {tampered} changes were found out by the seal");
    world.store.rewrite_nothing();
    assert!(verify_now(&world, &held.token).is_ok());
}

#[test]
fn a_store_that_answers_with_another_key_is_not_believed() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let other = world.tenant_with_key("globex").key;
    world.store.rewrite_keys(move |_| Ok(other.clone()));
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
}

#[test]
fn what_a_store_answers_in_the_place_of_another_key_is_not_remembered() {
    let world = World::new();
    let there = world.another_node();
    let held = there.tenant_with_key("acme");
    let issued = block_on(held.keys.issue(NewKey::named("second"))).unwrap();
    let (old, token) = (issued.key.clone(), issued.token.reveal_known().to_string());
    block_on(there.keyring.suspend_key(old.id(), ban())).unwrap();

    world.store.rewrite_keys(move |_| Ok(old.clone()));
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
    world.store.rewrite_nothing();
    assert!(matches!(verify(&world, &token), Err(VerifyError::Inactive(_))));
}

#[test]
fn a_key_beside_another_tenants_record_is_not_believed() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    let other = block_on(world.keyring.find_tenant(globex.keys.id())).unwrap();
    world.store.rewrite_tenants(move |_| Ok(other.clone()));
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Tampered)));
}

// Clocks.

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_cached_key_young() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    world.clock.advance(DAY);
    verify(&world, &held.token).unwrap();
    block_on(there.keyring.suspend_key(held.key.id(), ban())).unwrap();
    world.clock.set(held.key.created_at());
    assert!(verify(&world, &held.token).is_ok());
    world.clock.advance(MAX_STALENESS);
    assert!(verify(&world, &held.token).is_err());
}

#[test]
fn a_clock_that_jumps_decides_cached_keys_by_the_time_that_it_shows() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let edit = KeyEdit::new().not_before(world.after(HOUR)).expires_at(world.after(2 * HOUR));
    block_on(held.keys.edit(held.key.id(), 1, edit)).unwrap();
    let start = world.now();
    let at = |offset: Duration| {
        world.clock.set(start.checked_add(offset).unwrap());
        match verify(&world, &held.token) {
            Ok(_) => KeyState::Active,
            Err(VerifyError::Inactive(state)) => state,
            Err(other) => panic!("{other}"),
        }
    };
    let from = start.checked_add(HOUR).unwrap();
    let end = start.checked_add(2 * HOUR).unwrap();
    assert_eq!(at(HOUR), KeyState::Active);
    assert_eq!(at(HOUR - MILLISECOND), KeyState::NotYetValid { from });
    assert_eq!(at(2 * HOUR), KeyState::Expired { at: end });
    assert_eq!(at(2 * HOUR - MILLISECOND), KeyState::Active);
    assert_eq!(world.store.calls("lookup"), 1);
}

// Callers who give up.

#[test]
fn a_verification_that_is_given_up_at_any_point_harms_no_later_one() {
    let mut points = 0;
    loop {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.store.set_slow(true);
        let finished = give_up_after(points, world.keyring.verify(&held.token));
        assert_eq!(word(&verify(&world, &held.token)), "verified", "at point {points}");
        if finished.is_some() {
            break;
        }
        points += 1;
    }
    assert_eq!(points, 3, "before, in and after the read");
}

#[test]
fn a_first_use_that_is_given_up_at_any_point_is_made_good_by_the_next() {
    let mut points = 0;
    loop {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let token = rotate(&held, Overlap::UntilFirstUse);
        verify(&world, &held.token).unwrap();
        world.store.set_slow(true);
        let finished = give_up_after(points, world.keyring.verify(&token));
        assert_eq!(word(&verify(&world, &token)), "verified", "at point {points}");
        let old = verify(&world, &held.token);
        assert_eq!(word(&old), "the API key is not valid", "at point {points}");
        let stored = block_on(held.keys.find(held.key.id())).unwrap();
        assert_eq!((stored.version(), stored.overlap_until()), (3, None));
        if finished.is_some() {
            break;
        }
        points += 1;
    }
    assert!(points > 4, "only {points} points");
}

/// The writes of a keyring, as futures that a test may drop.
type Write = for<'a> fn(&'a World, &'a Held) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
const WRITES: [(&str, Write); 12] = [
    ("edit", |_, held| {
        Box::pin(async {
            let edit = KeyEdit::new().name("renamed").enabled(false);
            held.keys.edit(held.key.id(), 1, edit).await.unwrap();
        })
    }),
    ("disable", |_, held| {
        Box::pin(async {
            held.keys.disable(held.key.id()).await.unwrap();
        })
    }),
    ("rotate", |_, held| {
        Box::pin(async {
            drop(held.keys.rotate(held.key.id(), 1, Overlap::None).await.unwrap());
        })
    }),
    ("delete", |_, held| Box::pin(async { held.keys.delete(held.key.id()).await.unwrap() })),
    ("issue", |_, held| {
        Box::pin(async { drop(held.keys.issue(NewKey::named("second")).await.unwrap()) })
    }),
    ("create tenant", |world, _| {
        Box::pin(async { drop(world.keyring.create_tenant("new", "lite").await.unwrap()) })
    }),
    ("set tier", |world, held| {
        Box::pin(async {
            world.keyring.set_tier(held.keys.id(), "lite").await.unwrap();
        })
    }),
    ("suspend tenant", |world, held| {
        Box::pin(async {
            let suspended = world.keyring.suspend_tenant(held.keys.id(), ban());
            suspended.await.unwrap();
        })
    }),
    ("delete tenant", |world, held| {
        Box::pin(async { world.keyring.delete_tenant(held.keys.id()).await.unwrap() })
    }),
    ("suspend key", |world, held| {
        Box::pin(async {
            world.keyring.suspend_key(held.key.id(), ban()).await.unwrap();
        })
    }),
    ("report leak", |world, held| {
        Box::pin(async {
            world.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend).await.unwrap();
        })
    }),
    ("revoke", |world, held| Box::pin(async { world.keyring.revoke(&held.token).await.unwrap() })),
];

/// Everything in the store that a write may change, and what the token is good for by it.
fn picture(world: &World, held: &Held) -> String {
    let fresh = world.another_node();
    let tenants = block_on(fresh.keyring.tenants(None, 9)).unwrap().items;
    let mut picture = vec![word(&verify(&fresh, &held.token))];
    for tenant in tenants {
        let keys = fresh.keyring.tenant(tenant.id().clone());
        let keys = block_on(keys.list(&KeyQuery::all())).unwrap().items;
        // A list has the keys of one moment in the order of their random ids.
        let keys: std::collections::BTreeSet<_> =
            keys.iter().map(|key| (key.name(), key.version(), key.enabled())).collect();
        picture.push(format!("{} {} {keys:?}", tenant.id(), tenant.tier()));
    }
    picture.join("; ")
}

#[test]
fn a_write_that_is_given_up_at_any_point_is_done_or_not_and_the_cache_knows() {
    for (name, write) in WRITES {
        let done = {
            let world = World::new();
            let held = world.tenant_with_key("acme");
            block_on(write(&world, &held));
            picture(&world, &held)
        };
        let (mut points, mut done_though_dropped) = (0, 0);
        loop {
            let world = World::new();
            let held = world.tenant_with_key("acme");
            let before = picture(&world, &held);
            verify(&world, &held.token).unwrap();
            world.store.set_slow(true);
            let finished = give_up_after(points, write(&world, &held));
            world.store.set_slow(false);

            let after = picture(&world, &held);
            assert!(after == before || after == done, "{name} at point {points}: {after}");
            let cached = word(&verify(&world, &held.token));
            let stored = word(&verify(&world.another_node(), &held.token));
            assert_eq!(cached, stored, "{name} at point {points}");
            if finished.is_some() {
                assert_eq!(after, done, "{name}");
                break;
            }
            done_though_dropped += usize::from(after == done);
            points += 1;
        }
        assert!(done_though_dropped > 0, "{name} was never dropped after its effect");
    }
}

// One read for many.

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn many_verifications_of_one_missing_key_cause_one_read() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("lookup");
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> =
        (0..100).map(|_| Box::pin(world.keyring.verify(&held.token))).collect();
    for verification in &mut waiting {
        assert!(verification.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(world.store.calls("lookup"), 1);
    world.store.release("lookup");
    for verification in waiting {
        assert_eq!(word(&block_on(verification)), "verified");
    }
    assert_eq!(world.store.calls("lookup"), 1);
}

#[test]
fn when_the_first_who_waits_gives_up_the_others_go_on_with_the_same_read() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("lookup");
    let mut first = Box::pin(world.keyring.verify(&held.token));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());

    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut second = Box::pin(world.keyring.verify(&held.token));
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(first);
    world.store.release("lookup");
    assert!(woken.0.load(SeqCst), "nobody woke the one who still waits");
    match second.as_mut().poll(&mut context) {
        Poll::Ready(verified) => assert_eq!(word(&verified), "verified"),
        Poll::Pending => panic!("it still waits"),
    }
    assert_eq!(world.store.calls("lookup"), 1);
}

#[test]
fn when_all_who_wait_give_up_the_next_one_reads_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("lookup");
    assert!(give_up_after(1, world.keyring.verify(&held.token)).is_none());
    world.store.release("lookup");
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    assert_eq!(world.store.calls("lookup"), 2);
}

#[test]
fn who_comes_after_a_local_write_does_not_join_a_read_from_before_it() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.set_slow(true);
    let mut early = Box::pin(world.keyring.verify(&held.token));
    let mut context = Context::from_waker(Waker::noop());
    assert!(early.as_mut().poll(&mut context).is_pending());
    assert!(early.as_mut().poll(&mut context).is_pending());
    block_on(held.keys.disable(held.key.id())).unwrap();
    let late = verify(&world, &held.token);
    assert!(matches!(late, Err(VerifyError::Inactive(KeyState::Disabled))));
    assert_eq!(word(&block_on(early)), "verified");
    let after = verify(&world, &held.token);
    assert!(matches!(after, Err(VerifyError::Inactive(KeyState::Disabled))));
}

#[test]
fn many_threads_verify_while_others_write() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when an assertion fails, so that the threads end.
        let _over = OnDrop(|| is_over.store(true, SeqCst));
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    match verify(&world, &held.token) {
                        Ok(_) | Err(VerifyError::Inactive(KeyState::Disabled)) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        // An interpreter takes its time.
        let rounds = if cfg!(miri) { 2 } else { 300 };
        for round in 0..rounds {
            let off = round % 2 == 0;
            let switched = if off {
                block_on(held.keys.disable(held.key.id()))
            } else {
                block_on(held.keys.enable(held.key.id()))
            };
            switched.unwrap();
            assert_eq!(verify(&world, &held.token).is_err(), off, "round {round}");
        }
    });
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// The audit observes.

struct Panicking;

impl AuditSink for Panicking {
    fn record(&self, _: &AuditEvent<'_>) {
        panic!("the audit sink of a test panics on purpose");
    }
}

#[test]
fn a_panicking_audit_sink_changes_no_outcome() {
    let quiet = World::new();
    let loud = World::with(policy(), |builder| builder.audit(Panicking));
    for (name, change, expected) in CHANGES {
        for world in [&quiet, &loud] {
            let held = world.tenant_with_key(name);
            assert_eq!(word(&verify(world, &held.token)), "verified");
            change(world, &held);
            assert_eq!(word(&verify(world, &held.token)), expected, "{name}");
        }
    }
    assert!(quiet.audit.kinds().len() > 8);
    assert_eq!(loud.audit.kinds().len(), 0);
}

// The first use of a rotated secret.

#[test]
fn the_first_use_of_a_new_secret_ends_the_old_one_with_one_write() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    world.audit.take_kinds();
    let writes = world.store.writes();

    let old = verify(&world, &held.token).unwrap();
    assert!(old.used_previous_secret());
    assert_eq!(world.store.writes(), writes, "the old secret's use ends nothing");
    assert!(!verify(&world, &token).unwrap().used_previous_secret());
    assert_eq!(world.store.writes(), writes + 1);
    assert_eq!(world.audit.take_kinds(), ["OverlapEnded"]);

    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
    assert!(matches!(verify(&there, &held.token), Err(VerifyError::Rejected)));
    for _ in 0..3 {
        assert!(verify(&world, &token).is_ok());
    }
    assert_eq!(world.store.writes(), writes + 1);
}

#[test]
fn a_use_that_is_refused_for_the_keys_state_is_no_first_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    block_on(held.keys.disable(held.key.id())).unwrap();
    assert!(matches!(verify(&world, &token), Err(VerifyError::Inactive(_))));
    block_on(held.keys.enable(held.key.id())).unwrap();
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn a_first_use_whose_write_fails_is_verified_and_the_next_use_tries_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    world.store.fail("update_key");
    for _ in 0..2 {
        assert_eq!(word(&verify(&world, &token)), "verified");
        assert_eq!(word(&verify(&world, &held.token)), "verified");
    }
    world.store.heal("update_key");
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn a_first_use_that_is_never_written_leaves_the_old_secret_to_its_deadline() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    world.store.fail("update_key");
    world.clock.advance(Overlap::FIRST_USE_DEADLINE - MILLISECOND);
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    world.clock.advance(MILLISECOND);
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn a_first_use_that_another_node_has_seen_before_writes_nothing() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    // Cached with both of its secrets.
    verify(&world, &held.token).unwrap();
    verify(&there, &token).unwrap();
    let writes = world.store.writes();
    world.audit.take_kinds();
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(world.store.writes(), writes);
    assert_eq!(world.audit.take_kinds(), [""; 0]);
}

#[test]
fn a_first_use_does_not_undo_what_changed_in_the_key_meanwhile() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    block_on(keys.edit(held.key.id(), 2, KeyEdit::new().name("renamed"))).unwrap();
    verify(&world, &token).unwrap();
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    assert_eq!((key.name(), key.overlap_until()), ("renamed", None));
}

#[test]
fn a_node_that_only_verifies_leaves_the_old_secret_to_its_deadline() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    let writes = world.store.writes();
    let node = world.verifier(|builder| builder);
    let verify = |token: &str| word(&block_on(node.verify(token)));
    assert_eq!(verify(&token), "verified");
    assert_eq!(verify(&held.token), "verified");
    assert_eq!(world.store.writes(), writes);
    world.clock.advance(Overlap::FIRST_USE_DEADLINE);
    assert_eq!(verify(&held.token), "the API key is not valid");
    assert_eq!(verify(&token), "verified");
}

// Recording use.

fn last_used(world: &World, held: &Held) -> Option<String> {
    let keys = world.keyring.tenant(held.keys.id().clone());
    let key = block_on(keys.find(held.key.id())).unwrap();
    key.last_used().map(|time| time.to_string())
}

fn flush(world: &World) -> Result<usize, KeyringError> {
    block_on(world.keyring.flush_uses())
}

#[test]
fn a_verification_writes_nothing_and_its_use_is_written_with_the_next_flush() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let writes = world.store.writes();
    world.clock.advance(90 * MINUTE + 30 * Duration::from_secs(1));
    for _ in 0..10 {
        verify(&world, &held.token).unwrap();
        verify_now(&world, &held.token).unwrap();
    }
    assert_eq!(world.store.writes(), writes);
    assert_eq!(last_used(&world, &held), None);

    assert_eq!(flush(&world).unwrap(), 1);
    assert_eq!(world.store.writes(), writes + 1);
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T01:30:00Z");
    assert_eq!(flush(&world).unwrap(), 0);
    assert_eq!(world.store.writes(), writes + 1);
}

#[test]
fn each_minute_of_use_is_written_and_a_change_of_the_key_keeps_the_last() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for minute in ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"] {
        verify(&world, &held.token).unwrap();
        assert_eq!(flush(&world).unwrap(), 1);
        assert_eq!(last_used(&world, &held).unwrap(), minute);
        world.clock.advance(MINUTE);
    }
    block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("renamed"))).unwrap();
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T00:01:00Z");
}

#[test]
fn a_use_soon_after_another_is_written_if_its_minute_is_another() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.clock.advance(MINUTE - Duration::from_millis(1));
    verify(&world, &held.token).unwrap();
    world.clock.advance(Duration::from_millis(1));
    verify(&world, &held.token).unwrap();
    assert_eq!(flush(&world).unwrap(), 1);
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T00:01:00Z");
}

#[test]
fn a_minute_of_use_that_is_written_is_not_written_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for written in [1, 0] {
        verify(&world, &held.token).unwrap();
        assert_eq!(flush(&world).unwrap(), written);
    }
}

#[test]
fn refused_tokens_and_inactive_keys_are_not_used() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    block_on(held.keys.disable(held.key.id())).unwrap();
    verify(&world, &held.token).unwrap_err();
    block_on(held.keys.enable(held.key.id())).unwrap();
    let token = rotate(&held, Overlap::None);
    verify(&world, &held.token).unwrap_err();
    assert_eq!(flush(&world).unwrap(), 0);
    verify(&world, &token).unwrap();
    assert_eq!(flush(&world).unwrap(), 1);
}

#[test]
fn the_last_use_never_goes_back() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&there, &held.token).unwrap();
    world.clock.advance(HOUR);
    verify(&world, &held.token).unwrap();
    flush(&world).unwrap();
    flush(&there).unwrap();
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T01:00:00Z");
    world.clock.set(held.key.created_at());
    verify(&world, &held.token).unwrap();
    flush(&world).unwrap();
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T01:00:00Z");
}

#[test]
fn what_a_failed_flush_did_not_write_the_next_one_does() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    world.store.set_down(true);
    assert!(flush(&world).unwrap_err().is_unavailable());
    world.store.set_down(false);
    assert_eq!(last_used(&world, &held), None);
    assert_eq!(flush(&world).unwrap(), 1);
    assert!(last_used(&world, &held).is_some());
}

#[test]
fn what_a_flush_that_was_given_up_did_not_write_the_next_one_does() {
    for points in 0..3 {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        verify(&world, &held.token).unwrap();
        world.store.set_slow(true);
        let finished = give_up_after(points, world.keyring.flush_uses());
        assert!(finished.is_none(), "at point {points}");
        flush(&world).unwrap();
        assert!(last_used(&world, &held).is_some(), "at point {points}");
    }
}

#[test]
fn uses_are_written_in_batches() {
    let policy = Policy::new("mm", catalog(), [Tier::new("big", 20_000)]).unwrap();
    let world = World::with(policy, |builder| builder);
    let keys = block_on(world.keyring.create_empty_tenant("acme", "big")).unwrap();
    for _ in 0..10_001 {
        let token = block_on(keys.issue(NewKey::named("k"))).unwrap().token.reveal_known();
        verify(&world, &token).unwrap();
    }
    assert_eq!(flush(&world).unwrap(), 10_001);
    assert_eq!(world.store.calls("record_uses"), 2);
}

// Putting a verifier together.

#[test]
fn a_verifier_is_not_built_from_less_than_it_needs() {
    let builder = || Verifier::builder(policy(), pepper());
    let error = |builder: keyway::verifier::VerifierBuilder| builder.build().unwrap_err();
    assert_eq!(error(builder().lookup(MemoryStore::new())), BuildError::NoEnvironment);
    assert_eq!(error(builder().environment("live")), BuildError::NoStore);
    let complete = || builder().environment("live").lookup(MemoryStore::new());
    let longer = DAY + MILLISECOND;
    assert_eq!(error(complete().max_staleness(longer)), BuildError::MaxStaleness(longer));
    assert!(complete().max_staleness(DAY).build().is_ok());
    assert!(matches!(error(complete().environment("Live!")), BuildError::Format(_)));
}

#[test]
fn an_overlap_that_could_not_be_ended_is_ended_by_a_later_use() {
    type Plant = fn(&World);
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, Overlap::UntilFirstUse);
    let ended = || world.audit.kinds().contains(&"OverlapEnded".into());
    let faults: [(&str, Plant); 3] = [
        ("not written", |world| world.store.fail("update_key")),
        ("not read", |world| world.store.fail("lookup")),
        ("tampered with", |world| {
            world.store.rewrite_keys(|key| Ok(common::with_text(&key, "reporting", "manager")));
        }),
    ];
    for (fault, plant) in faults {
        // The use of the old secret brings the key into the cache, whatever happened before.
        assert!(verify(&world, &held.token).is_ok(), "{fault}");
        plant(&world);
        assert!(verify(&world, &token).is_ok(), "{fault}");
        assert!(!ended(), "{fault}");
        world.store.heal("update_key");
        world.store.heal("lookup");
        world.store.rewrite_nothing();
    }
    assert!(verify(&world, &token).is_ok());
    assert!(ended());
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn every_refusal_has_its_own_sentence() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let caller = verify(&world, &held.token).unwrap();
    let above = world.keyring.requirement(["manager"]).unwrap();
    let other = ScopeCatalog::new([ScopeDeclaration::new("reporting", "elsewhere")]).unwrap();
    let foreign = other.require_none();
    let wait = Duration::from_secs(3);
    for (refusal, sentence) in [
        (VerifyError::Missing, "no API key was presented"),
        (VerifyError::BadRequest, "the API key cannot be read"),
        (
            VerifyError::Limited { retry_after: wait },
            "too many requests with the API key; the next in 3s",
        ),
        (caller.require(&above).unwrap_err().into(), "missing scope `manager`"),
        (
            caller.require(&foreign).unwrap_err().into(),
            "the caller's scopes are of another catalogue",
        ),
    ] {
        assert_eq!(refusal.to_string(), sentence);
        assert!(refusal.is_denied());
    }
}
