//! The results of verification when tokens are wrong, stores fail, nodes disagree and callers give up.

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

use crate::support::{
    DAY, HOUR, Held, MAX_STALENESS, World, block_on, catalog, chain, give_up_after,
    overheard::RevealKnown as _, pepper, policy,
};
use keyway::{
    ConfigError, GracePeriod, KeyEdit, KeyRecord, KeyState, KeyringError, LeakResponse,
    MemoryStore, NewKey, Policy, Principal, ScopeCatalog, Tier, VerifyError,
    audit::{AuditEvent, AuditSink},
    lowlevel::InsecureSeededRng,
    record::{Suspension, TenantRecord},
    scope::ScopeDeclaration,
    store::{KeyQuery, StoreError},
    verifier::{Freshness, Verifier},
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

/// Returns the result as text, for comparisons.
fn word(result: &Result<Principal, VerifyError>) -> String {
    match result {
        Ok(_) => "verified".into(),
        Err(error) => error.to_string(),
    }
}

fn ban() -> Suspension {
    Suspension::permanent("floods the report endpoint").unwrap()
}

fn rotate(held: &Held, grace_period: GracePeriod) -> String {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    let rotated = block_on(held.keys.rotate(key.id(), key.version(), grace_period)).unwrap();
    rotated.token.reveal_known().to_string()
}

// Rejected tokens look alike.

/// Returns tokens that are rejected, each with the reason that only the audit sink receives.
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
    rotate(&rotated, GracePeriod::None);
    refused.push((rotated.token.into(), "WrongSecret"));
    refused
}

#[test]
fn rejected_tokens_get_one_error_and_an_audited_reason() {
    let world = World::new();
    for (token, reason) in refused_tokens(&world) {
        world.audit.take_kinds();
        // Rejections of made-up tokens are sampled: a few of them are reported in each second.
        world.clock.advance(Duration::from_secs(1));
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
fn token_with_any_other_byte_is_rejected() {
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
fn unchanged_token_is_accepted() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let caller = verify(&world, &held.token).unwrap();
    assert_eq!(caller.key_id(), held.key.id());
    assert_eq!((caller.tenant(), caller.name()), ("acme", "first"));
    assert!(!caller.used_previous_secret());
    assert_eq!(catalog().text(caller.scopes()), "reporting");
}

#[test]
fn audit_names_a_key_only_if_its_tag_is_proven() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let forged = format!("mm_live_{}{}", held.key.id(), "A".repeat(40));
    verify(&world, &forged).unwrap_err();
    assert_eq!(world.audit.events().last().unwrap().key, None);
    rotate(&held, GracePeriod::None);
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
fn authorization_header_is_parsed_before_verification() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let read = |value: Option<&str>| block_on(world.keyring.verify_authorization(value));
    assert!(matches!(read(None), Err(VerifyError::Missing)));
    assert!(matches!(read(Some("Basic YTpi")), Err(VerifyError::Missing)));
    assert!(matches!(read(Some("Bearer")), Err(VerifyError::BadRequest)));
    assert!(matches!(read(Some("Bearer nonsense")), Err(VerifyError::Rejected)));
    assert!(read(Some(&format!("bearer  {}", held.token))).is_ok());
}

// Nodes and the age of their data.

/// A change that another node may make to a key, and the result of verification once it is known here.
type Change = fn(&World, &Held);
const CHANGES: [(&str, Change, &str); 8] = [
    (
        "disable",
        |there, held| {
            let keys = there.keyring.tenant(held.keys.id().clone());
            block_on(keys.disable(held.key.id())).unwrap();
        },
        "the API key cannot be used: disabled",
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
            drop(block_on(keys.rotate(held.key.id(), 1, GracePeriod::None)).unwrap());
        },
        "the API key is not valid",
    ),
    (
        "suspend",
        |there, held| {
            block_on(there.keyring.suspend_key(held.key.id(), ban())).unwrap();
        },
        "the API key cannot be used: suspended",
    ),
    (
        "report",
        |there, held| {
            block_on(there.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend))
                .unwrap();
        },
        "the API key cannot be used: suspended",
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
        "the API key cannot be used: tenant suspended",
    ),
    (
        "delete tenant",
        |there, held| block_on(there.keyring.delete_tenant(held.keys.id())).unwrap(),
        "the API key is not valid",
    ),
];

#[test]
fn local_write_takes_effect_at_once() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        assert_eq!(word(&verify(&world, &held.token)), "verified");
        change(&world, &held);
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

#[test]
fn freshness_now_sees_another_nodes_write() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let there = world.another_node();
        let held = world.tenant_with_key("acme");
        assert_eq!(word(&verify(&world, &held.token)), "verified");
        change(&there, &held);
        assert_eq!(word(&verify(&world, &held.token)), "verified", "{name}: not cached");
        assert_eq!(word(&verify_now(&world, &held.token)), expected, "{name}");
        // A fresh read updates the cache, so other callers get its result too.
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

#[test]
fn remote_write_takes_effect_at_the_staleness_bound() {
    for (name, change, expected) in CHANGES {
        // The bound holds for any fraction of a second at which the load begins.
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
fn lookups_do_not_extend_a_cached_keys_life() {
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
fn new_secret_is_accepted_while_the_old_is_cached() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    let rotated = block_on(keys.rotate(held.key.id(), 1, GracePeriod::None)).unwrap();
    let token = rotated.token.reveal_known();
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn dead_token_costs_one_read_a_second() {
    let world = World::new();
    let deleted = world.tenant_with_key("acme");
    block_on(deleted.keys.delete(deleted.key.id())).unwrap();
    let rotated = world.tenant_with_key("globex");
    let successor = block_on(rotated.keys.rotate(rotated.key.id(), 1, GracePeriod::None)).unwrap();
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
        // Another secret of the same key is not rejected for it.
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
fn concurrent_uses_of_an_ended_secret_share_a_read() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    let rotate =
        |version| block_on(keys.rotate(held.key.id(), version, GracePeriod::None)).unwrap();
    let (first, second) = (rotate(1).token.reveal_known(), rotate(2).token.reveal_known());
    // The cache has the first secret of all, which the store no longer has.
    let before = world.store.calls("lookup");
    world.store.hold("lookup");
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(world.keyring.verify(&*first))).collect();
    let mut context = Context::from_waker(Waker::noop());
    for waits in &mut waiting {
        assert!(waits.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(world.store.calls("lookup") - before, 1);
    // A newer secret does not join the read that began before it.
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
fn rejected_token_is_read_each_time_without_a_cache() {
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
fn cached_key_is_read_once() {
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
fn cache_has_room_for_as_many_keys_as_it_was_given() {
    let policy = Policy::new("mm", catalog(), [Tier::new("big", 2_000)]).unwrap();
    let world = World::with(policy, |builder| builder.cache_capacity(2_000));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "big")).unwrap();
    let request = |number| NewKey::named(format!("key {number}"));
    let tokens: Vec<_> = (0..2_000)
        .map(|number| block_on(keys.issue(request(number))).unwrap().token.reveal_known())
        .collect();
    for _ in 0..3 {
        for token in &tokens {
            verify(&world, token).unwrap();
        }
    }
    assert_eq!(world.store.calls("lookup"), tokens.len());
}

#[test]
fn full_cache_evicts_and_never_confuses_keys() {
    let policy = Policy::new("mm", catalog(), [Tier::new("big", 1_000)]).unwrap();
    let world = World::with(policy, |builder| builder.cache_capacity(1));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "big")).unwrap();
    let tokens: Vec<_> = (0..1_000)
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
fn read_begun_before_a_write_is_not_served_after() {
    for (name, change, expected) in CHANGES {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.store.set_slow(true);
        let mut reading = Box::pin(world.keyring.verify(&held.token));
        let mut context = Context::from_waker(Waker::noop());
        // After the second poll, the store has read the record that it is about to return.
        assert!(reading.as_mut().poll(&mut context).is_pending());
        assert!(reading.as_mut().poll(&mut context).is_pending());
        change(&world, &held);
        assert_eq!(word(&block_on(reading)), "verified", "{name}: it began before");
        assert_eq!(word(&verify(&world, &held.token)), expected, "{name}");
    }
}

// Outages.

#[test]
fn store_outage_is_unavailable_with_its_cause() {
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
                "the store did not respond",
                "the test pulled the plug"
            ]
        );
    }
    assert_eq!(world.audit.kinds().last().unwrap(), "Unavailable");
    world.store.set_down(false);
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn cached_keys_survive_an_outage_up_to_the_bound() {
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
fn failed_read_is_not_cached() {
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
fn unknown_tier_is_unavailable_and_audited() {
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
    // A caller that does not hold the key learns nothing of that.
    rotate(&held, GracePeriod::None);
    assert_eq!(word(&verify_now(&there, &held.token)), "the API key is not valid");
}

#[test]
fn unknown_scope_grants_nothing_and_is_audited() {
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
    // The record keeps the name, and a catalog that has it grants it.
    let caller = verify(&world, &token).unwrap();
    assert_eq!(crate::support::catalog().text(caller.scopes()), "manager reporting");
}

#[test]
fn new_scope_below_a_granted_one_is_granted() {
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
    assert!(caller.require(&ours).is_err(), "sets of other catalogs never fit");
}

// Records that were tampered with.

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
            "the row is not the record of a key in a version that is known here"
        ]
    );
    // An operator must find the cause.
    assert_eq!(world.audit.kinds().last().unwrap(), "Tampered");
    world.store.rewrite_nothing();
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn tampering_is_reported_only_to_the_holder() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::None);
    world.audit.take_kinds();
    world.store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "reporting", "manager")));

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
            // The bytes have another id or another digest, or are not a record.
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
fn record_of_another_key_is_rejected() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let other = world.tenant_with_key("globex").key;
    world.store.rewrite_keys(move |_| Ok(other.clone()));
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
}

#[test]
fn record_of_another_key_is_not_cached() {
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
fn key_with_another_tenants_record_is_tampered() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let globex = world.tenant_with_key("globex");
    let other = block_on(world.keyring.find_tenant(globex.keys.id())).unwrap();
    world.store.rewrite_tenants(move |_| Ok(other.clone()));
    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Tampered)));
}

// Clocks.

#[test]
fn clock_set_back_does_not_extend_a_cached_key() {
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
fn clock_jump_applies_to_cached_keys() {
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
    // The time of day has jumped forward once since the first read.
    assert_eq!(world.store.calls("lookup"), 2);
}

// Callers that give up.

#[test]
fn dropped_verification_harms_no_later_one() {
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
fn dropped_first_use_is_completed_by_the_next() {
    let mut points = 0;
    loop {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let token = rotate(&held, GracePeriod::UntilFirstUse);
        verify(&world, &held.token).unwrap();
        world.store.set_slow(true);
        let finished = give_up_after(points, world.keyring.verify(&token));
        assert_eq!(word(&verify(&world, &token)), "verified", "at point {points}");
        let old = verify(&world, &held.token);
        assert_eq!(word(&old), "the API key is not valid", "at point {points}");
        let stored = block_on(held.keys.find(held.key.id())).unwrap();
        assert_eq!((stored.version(), stored.grace_until()), (3, None));
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
            drop(held.keys.rotate(held.key.id(), 1, GracePeriod::None).await.unwrap());
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

/// Returns everything in the store that a write may change, and the result of verifying the token then.
fn picture(world: &World, held: &Held) -> String {
    let fresh = world.another_node();
    let tenants = block_on(fresh.keyring.tenants(None, 9)).unwrap().items;
    let mut picture = vec![word(&verify(&fresh, &held.token))];
    for tenant in tenants {
        let keys = fresh.keyring.tenant(tenant.id().clone());
        let keys = block_on(keys.list(&KeyQuery::all())).unwrap().items;
        // A list has the keys of one moment in the order of their random ids, so they are sorted.
        let keys: std::collections::BTreeSet<_> =
            keys.iter().map(|key| (key.name(), key.version(), key.enabled())).collect();
        picture.push(format!("{} {} {keys:?}", tenant.id(), tenant.tier()));
    }
    picture.join("; ")
}

#[test]
fn dropped_write_is_atomic_and_invalidates_the_cache() {
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

// One read for many callers.

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
fn shared_read_survives_its_first_waiter() {
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
fn dropped_waiters_leave_a_new_read_to_the_next() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("lookup");
    assert!(give_up_after(1, world.keyring.verify(&held.token)).is_none());
    world.store.release("lookup");
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    assert_eq!(world.store.calls("lookup"), 2);
}

#[test]
fn caller_after_a_write_does_not_join_an_earlier_read() {
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
        // The flag is also set when an assertion fails, so that the threads end.
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
        // An interpreter is slow.
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

// The audit sink only observes.

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
fn first_use_ends_the_old_secret_with_one_write() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    world.audit.take_kinds();
    let writes = world.store.writes();

    let old = verify(&world, &held.token).unwrap();
    assert!(old.used_previous_secret());
    assert_eq!(world.store.writes(), writes, "the old secret's use ends nothing");
    assert!(!verify(&world, &token).unwrap().used_previous_secret());
    assert_eq!(world.store.writes(), writes + 1);
    assert_eq!(world.audit.take_kinds(), ["GracePeriodEnded"]);

    assert!(matches!(verify(&world, &held.token), Err(VerifyError::Rejected)));
    assert!(matches!(verify(&there, &held.token), Err(VerifyError::Rejected)));
    for _ in 0..3 {
        assert!(verify(&world, &token).is_ok());
    }
    assert_eq!(world.store.writes(), writes + 1);
}

#[test]
fn use_of_an_inactive_key_is_not_a_first_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    block_on(held.keys.disable(held.key.id())).unwrap();
    assert!(matches!(verify(&world, &token), Err(VerifyError::Inactive(_))));
    block_on(held.keys.enable(held.key.id())).unwrap();
    assert!(verify(&world, &held.token).is_ok());
}

#[test]
fn failed_first_use_write_is_retried_by_the_next_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
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
fn unwritten_first_use_keeps_the_deadline() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    world.store.fail("update_key");
    world.clock.advance(GracePeriod::FIRST_USE_DEADLINE - MILLISECOND);
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "verified");
    world.clock.advance(MILLISECOND);
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(word(&verify(&world, &held.token)), "the API key is not valid");
}

#[test]
fn first_use_seen_by_another_node_writes_nothing() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    // The cached key has both of its secrets.
    verify(&world, &held.token).unwrap();
    verify(&there, &token).unwrap();
    let writes = world.store.writes();
    world.audit.take_kinds();
    assert_eq!(word(&verify(&world, &token)), "verified");
    assert_eq!(world.store.writes(), writes);
    assert_eq!(world.audit.take_kinds(), [""; 0]);
}

#[test]
fn first_use_keeps_concurrent_edits() {
    let world = World::new();
    let there = world.another_node();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    verify(&world, &held.token).unwrap();
    let keys = there.keyring.tenant(held.keys.id().clone());
    block_on(keys.edit(held.key.id(), 2, KeyEdit::new().name("renamed"))).unwrap();
    verify(&world, &token).unwrap();
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    assert_eq!((key.name(), key.grace_until()), ("renamed", None));
}

#[test]
fn verify_only_node_keeps_the_deadline() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    let writes = world.store.writes();
    let node = world.verifier(|builder| builder);
    let verify = |token: &str| word(&block_on(node.verify(token)));
    assert_eq!(verify(&token), "verified");
    assert_eq!(verify(&held.token), "verified");
    assert_eq!(world.store.writes(), writes);
    world.clock.advance(GracePeriod::FIRST_USE_DEADLINE);
    assert_eq!(verify(&held.token), "the API key is not valid");
    assert_eq!(verify(&token), "verified");
}

// Recording of uses.

fn last_used(world: &World, held: &Held) -> Option<String> {
    let keys = world.keyring.tenant(held.keys.id().clone());
    let key = block_on(keys.find(held.key.id())).unwrap();
    key.last_used().map(|time| time.to_string())
}

fn flush(world: &World) -> Result<usize, KeyringError> {
    block_on(world.keyring.flush_uses())
}

#[test]
fn use_is_written_by_the_next_flush() {
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
fn each_minute_of_use_is_written_and_survives_edits() {
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
fn use_in_another_minute_is_written() {
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
fn written_minute_of_use_is_not_written_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for written in [1, 0] {
        verify(&world, &held.token).unwrap();
        assert_eq!(flush(&world).unwrap(), written);
    }
}

#[test]
fn rejected_tokens_and_inactive_keys_record_no_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    block_on(held.keys.disable(held.key.id())).unwrap();
    verify(&world, &held.token).unwrap_err();
    block_on(held.keys.enable(held.key.id())).unwrap();
    let token = rotate(&held, GracePeriod::None);
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
    // A clock that is a few minutes behind changes nothing.
    world.clock.set("2026-01-01T00:56:00Z".parse().unwrap());
    verify(&world, &held.token).unwrap();
    flush(&world).unwrap();
    assert_eq!(last_used(&world, &held).unwrap(), "2026-01-01T01:00:00Z");
}

#[test]
fn failed_flush_is_completed_by_the_next() {
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
fn dropped_flush_is_completed_by_the_next() {
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

// Building a verifier.

#[test]
fn builder_requires_environment_and_store() {
    let builder = || Verifier::builder(policy(), pepper());
    let error = |builder: keyway::verifier::VerifierBuilder| builder.build().unwrap_err();
    assert_eq!(error(builder().lookup(MemoryStore::new())), ConfigError::NoEnvironment);
    assert_eq!(error(builder().environment("live")), ConfigError::NoStore);
    let complete = || builder().environment("live").lookup(MemoryStore::new());
    let longer = DAY + MILLISECOND;
    assert_eq!(error(complete().max_staleness(longer)), ConfigError::MaxStaleness(longer));
    assert!(complete().max_staleness(DAY).build().is_ok());
    assert_eq!(error(complete().environment("Live!")), ConfigError::Environment("Live!".into()));
}

#[test]
fn grace_period_end_is_retried_by_a_later_use() {
    type Plant = fn(&World);
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    let ended = || world.audit.kinds().contains(&"GracePeriodEnded".into());
    let faults: [(&str, Plant); 3] = [
        ("not written", |world| world.store.fail("update_key")),
        ("not read", |world| world.store.fail("lookup")),
        ("tampered with", |world| {
            world
                .store
                .rewrite_keys(|key| Ok(crate::support::with_text(&key, "reporting", "manager")));
        }),
    ];
    for (fault, plant) in faults {
        // The use of the old secret caches the key, whatever happened before.
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
fn every_verify_error_has_its_own_message() {
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
            "the caller's scopes are of another catalog",
        ),
    ] {
        assert_eq!(refusal.to_string(), sentence);
        assert!(refusal.is_denied());
    }
}
