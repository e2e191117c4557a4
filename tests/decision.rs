//! Decisions: what a key is at a time, which secrets prove it, and what it may do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::std_instead_of_alloc,
    reason = "a test fails by panicking, and has the standard library"
)]

#[path = "support/random.rs"]
mod random;
#[path = "support/world.rs"]
mod world;

use core::time::Duration;
use std::sync::Arc;

use keyway::{
    authority::{Authority, ChangeError, KeyEdit, NewKey, Overlap},
    decision::{Denial, KeyState, decide},
    policy::Policy,
    record::{KeyRecord, Labels, Suspension, TenantRecord},
    scope::Scope,
    tier::Tier,
    time::Timestamp,
    token::Rejection,
};
use random::Seeded;
use world::{DAY, at, authority, catalog, issue, overheard::RevealKnown as _, present, tenant};

fn acme(authority: &Authority) -> TenantRecord {
    tenant(authority, "acme", "advanced")
}

fn new_key() -> NewKey {
    NewKey::named("ERP sync")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// What a key is at a time

/// When a suspension, a beginning or an end lies, seen from `NOW`.
const NOW: i64 = 1_000;

fn suspensions() -> [Option<Suspension>; 4] {
    [
        None,
        Some(Suspension::until(at(NOW), "over").unwrap()),
        Some(Suspension::until(at(NOW + 1), "for a while").unwrap()),
        Some(Suspension::for_good("for good").unwrap()),
    ]
}

/// Every key that can be issued with these facts, and what it is expected to be at `NOW`.
fn every_combination() -> Vec<(TenantRecord, KeyRecord, String, KeyState)> {
    let authority = authority();
    let mut combinations = Vec::new();
    for (start, end) in [
        (None, None),
        (None, Some(NOW)),
        (None, Some(NOW + 500)),
        (Some(NOW), None),
        (Some(NOW - 1), Some(NOW)),
        (Some(NOW), Some(NOW + 1)),
        (Some(NOW + 1), None),
        (Some(NOW + 1), Some(NOW + 2)),
    ] {
        let mut request = new_key();
        if let Some(start) = start {
            request = request.not_before(at(start));
        }
        if let Some(end) = end {
            request = request.expires_at(at(end));
        }
        let tenant = acme(&authority);
        let (key, token) = issue(&authority, &tenant, request, 1);
        for enabled in [true, false] {
            let edit = KeyEdit::new().enabled(enabled);
            let key = authority.edit(&key, &tenant, edit, at(1)).unwrap();
            for of_key in suspensions() {
                let key = authority.suspend_key(&key, of_key.clone()).unwrap();
                for of_tenant in suspensions() {
                    let tenant = authority.suspend_tenant(&tenant, of_tenant.clone()).unwrap();
                    let holds = |suspension: &Option<Suspension>| {
                        let suspension = suspension.as_ref()?;
                        let ended = suspension.end().is_some_and(|end| end <= at(NOW));
                        (!ended).then(|| suspension.end())
                    };
                    // In the order in which they hold.
                    let states = [
                        holds(&of_tenant).map(|until| KeyState::TenantSuspended { until }),
                        holds(&of_key).map(|until| KeyState::KeySuspended { until }),
                        (!enabled).then_some(KeyState::Disabled),
                        start
                            .filter(|start| *start > NOW)
                            .map(|start| KeyState::NotYetValid { from: at(start) }),
                        end.filter(|end| *end <= NOW).map(|end| KeyState::Expired { at: at(end) }),
                    ];
                    let expected = states.into_iter().flatten().next();
                    let expected = expected.unwrap_or(KeyState::Active);
                    combinations.push((tenant, key.clone(), token.clone(), expected));
                }
            }
        }
    }
    combinations
}

#[test]
fn the_first_state_that_holds_is_the_state_of_a_record() {
    for (tenant, key, _, expected) in every_combination() {
        assert_eq!(KeyState::of(&key, &tenant, at(NOW)), expected, "{key:?} {tenant:?}");
    }
}

#[test]
fn the_first_state_that_holds_is_the_state_of_a_resolved_key() {
    let authority = authority();
    for (tenant, key, _, expected) in every_combination() {
        let resolved = authority.resolve(&key, &tenant).unwrap();
        assert_eq!(resolved.state(at(NOW)), expected, "{key:?} {tenant:?}");
    }
}

#[test]
fn a_proven_key_is_denied_by_its_state_unless_it_is_active() {
    let authority = authority();
    for (tenant, key, token, state) in every_combination() {
        let decision = present(&authority, &tenant, &key, &token, at(NOW)).map(|_| ());
        let expected = match state {
            KeyState::Active => Ok(()),
            state => Err(Denial::Inactive(state)),
        };
        assert_eq!(decision, expected, "{key:?} {tenant:?}");
    }
}

#[test]
fn every_state_occurs_among_the_combinations() {
    for name in [
        "its tenant is suspended",
        "it is suspended",
        "it is disabled",
        "it is not yet valid",
        "it has expired",
        "it is active",
    ] {
        let found = every_combination().iter().any(|(_, _, _, state)| state.to_string() == name);
        assert!(found, "no key of which one says: {name}");
    }
}

#[test]
fn only_an_active_key_is_active() {
    for (_, _, _, state) in every_combination() {
        assert_eq!(state.is_active(), state == KeyState::Active);
    }
}

/// The states of a key just before, at and just after `time`.
fn around(
    authority: &Authority,
    tenant: &TenantRecord,
    key: &KeyRecord,
    time: i64,
) -> [KeyState; 3] {
    let resolved = authority.resolve(key, tenant).unwrap();
    [time - 1, time, time + 1].map(|millis| {
        let state = resolved.state(at(millis));
        assert_eq!(state, KeyState::of(key, tenant, at(millis)));
        state
    })
}

#[test]
fn a_key_is_valid_from_exactly_its_beginning() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().not_before(at(500)), 1);
    let early = KeyState::NotYetValid { from: at(500) };
    let states = around(&authority, &tenant, &key, 500);
    assert_eq!(states, [early, KeyState::Active, KeyState::Active]);
}

#[test]
fn a_key_has_expired_from_exactly_its_end() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().expires_at(at(500)), 1);
    let late = KeyState::Expired { at: at(500) };
    let states = around(&authority, &tenant, &key, 500);
    assert_eq!(states, [KeyState::Active, late, late]);
}

#[test]
fn suspensions_end_at_exactly_their_time() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    let until = Some(at(500));
    let suspension = Suspension::until(at(500), "load").unwrap();

    let suspended = authority.suspend_key(&key, Some(suspension.clone())).unwrap();
    let states = around(&authority, &tenant, &suspended, 500);
    let ban = KeyState::KeySuspended { until };
    assert_eq!(states, [ban, KeyState::Active, KeyState::Active]);

    let tenant = authority.suspend_tenant(&tenant, Some(suspension)).unwrap();
    let states = around(&authority, &tenant, &key, 500);
    let ban = KeyState::TenantSuspended { until };
    assert_eq!(states, [ban, KeyState::Active, KeyState::Active]);
}

#[test]
fn a_tenant_cannot_lift_an_operators_suspension_by_enabling() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, token) = issue(&authority, &tenant, new_key(), 1);
    let ban = Suspension::for_good("abuse").unwrap();
    let key = authority.suspend_key(&key, Some(ban)).unwrap();
    let edit = KeyEdit::new().enabled(true);
    let key = authority.edit(&key, &tenant, edit, at(1)).unwrap();
    let denied = present(&authority, &tenant, &key, &token, at(1)).unwrap_err();
    let state = KeyState::KeySuspended { until: None };
    assert_eq!(denied, Denial::Inactive(state));

    let key = authority.suspend_key(&key, None).unwrap();
    assert!(present(&authority, &tenant, &key, &token, at(1)).is_ok());
}

#[test]
fn a_clock_that_goes_back_decides_by_the_time_that_it_shows() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, token) = issue(&authority, &tenant, new_key().expires_at(at(500)), 1);
    let accepted = |time| present(&authority, &tenant, &key, &token, time).is_ok();
    assert!(!accepted(at(500)));
    assert!(accepted(at(499)));
    // Before the key was issued, and at the beginning of time.
    assert!(accepted(at(-DAY)) && accepted(Timestamp::MIN));
}

#[test]
fn keys_work_at_both_ends_of_time() {
    let authority = authority();
    let tenant = acme(&authority);
    for (now, start, end) in [
        (Timestamp::MIN, Timestamp::MIN, Timestamp::MAX),
        (Timestamp::MIN, Timestamp::MAX, Timestamp::MAX),
        (Timestamp::MAX, Timestamp::MIN, Timestamp::MAX),
    ] {
        let request = new_key().not_before(start).expires_at(end);
        let issued = authority.issue(&tenant, request, now, &mut Seeded::new(1));
        assert_eq!(issued.is_ok(), now < end && start < end);
    }
    let request = new_key().not_before(Timestamp::MAX);
    let rng = &mut Seeded::new(1);
    let (key, _) = authority.issue(&tenant, request, Timestamp::MAX, rng).unwrap();
    assert!(KeyState::of(&key, &tenant, Timestamp::MAX).is_active());
}

// Possession first

/// A key that was rotated, with its old and its new token, in each state but active.
fn inactive_keys() -> Vec<(TenantRecord, KeyRecord, [String; 2], KeyState)> {
    let authority = authority();
    let tenant = acme(&authority);
    let request = new_key().not_before(at(100)).expires_at(at(10_000));
    let (key, old) = issue(&authority, &tenant, request, 1);
    let (key, new) = rotate(&authority, &key, Overlap::None, 50, 2);
    let tokens = [old, new];
    let ban = || Some(Suspension::for_good("abuse").unwrap());
    let suspended = authority.suspend_key(&key, ban()).unwrap();
    let suspended_tenant = authority.suspend_tenant(&tenant, ban()).unwrap();
    let edit = KeyEdit::new().enabled(false);
    let disabled = authority.edit(&key, &tenant, edit, at(60)).unwrap();
    [
        (suspended_tenant, key.clone()),
        (tenant.clone(), suspended),
        (tenant.clone(), disabled),
        (tenant, key),
    ]
    .into_iter()
    .map(|(tenant, key)| {
        let state = KeyState::of(&key, &tenant, at(60));
        (tenant, key, tokens.clone(), state)
    })
    .collect()
}

#[test]
fn a_wrong_secret_learns_nothing_of_an_inactive_key() {
    let authority = authority();
    for (tenant, key, [old, _], _) in inactive_keys() {
        for now in [at(60), at(20_000)] {
            let denied = present(&authority, &tenant, &key, &old, now).unwrap_err();
            assert_eq!(denied, Denial::Rejected(Rejection::WrongSecret));
        }
    }
}

#[test]
fn the_right_secret_of_an_inactive_key_learns_why() {
    let authority = authority();
    for (tenant, key, [_, new], state) in inactive_keys() {
        assert!(!state.is_active());
        let denied = present(&authority, &tenant, &key, &new, at(60)).unwrap_err();
        assert_eq!(denied, Denial::Inactive(state));
        assert_eq!(denied.to_string(), format!("the key is not active: {state}"));
    }
}

#[test]
fn a_token_of_one_key_does_not_prove_another() {
    let authority = authority();
    let tenant = acme(&authority);
    let (one, one_token) = issue(&authority, &tenant, new_key(), 1);
    let (other, _) = issue(&authority, &tenant, new_key(), 2);
    let denied = present(&authority, &tenant, &other, &one_token, at(1)).unwrap_err();
    assert_eq!(denied, Denial::Rejected(Rejection::Unknown));
    assert!(present(&authority, &tenant, &one, &one_token, at(1)).is_ok());
}

#[test]
fn all_rejections_read_the_same() {
    for reason in
        [Rejection::Malformed, Rejection::Forged, Rejection::Unknown, Rejection::WrongSecret]
    {
        assert_eq!(Denial::Rejected(reason).to_string(), "the token is not valid");
    }
}

// Rotation

fn rotate(
    authority: &Authority,
    key: &KeyRecord,
    overlap: Overlap,
    millis: i64,
    seed: u64,
) -> (KeyRecord, String) {
    let rng = &mut Seeded::new(seed);
    let (key, token) = authority.rotate(key, overlap, None, at(millis), rng).unwrap();
    (key, token.reveal_known().to_string())
}

/// A key, rotated at each of these times; the last record and all tokens, oldest first.
fn rotated(rotations: &[(i64, Overlap)]) -> (Authority, TenantRecord, KeyRecord, Vec<String>) {
    let authority = authority();
    let tenant = acme(&authority);
    let (mut key, first) = issue(&authority, &tenant, new_key(), 1);
    let mut tokens = vec![first];
    for (seed, (millis, overlap)) in (2..).zip(rotations) {
        let (next, token) = rotate(&authority, &key, *overlap, *millis, seed);
        key = next;
        tokens.push(token);
    }
    (authority, tenant, key, tokens)
}

/// Which of the tokens are accepted, oldest first.
fn accepted(rotations: &[(i64, Overlap)], millis: i64) -> Vec<bool> {
    let (authority, tenant, key, tokens) = rotated(rotations);
    let resolved = authority.resolve(&key, &tenant).unwrap();
    let is_accepted = |token: &String| {
        let is_accepted = present(&authority, &tenant, &key, token, at(millis)).is_ok();
        let claim = authority.check(token.as_bytes()).unwrap();
        assert_eq!(resolved.is_proven_by(&claim, at(millis)), is_accepted);
        is_accepted
    };
    tokens.iter().map(is_accepted).collect()
}

#[test]
fn a_rotation_keeps_everything_but_the_secret() {
    let authority = authority();
    let tenant = acme(&authority);
    let request = new_key()
        .scopes(["operator"])
        .labels(Labels::new([("team", "billing")]).unwrap())
        .expires_at(at(9_000));
    let (key, _) = issue(&authority, &tenant, request, 1);
    let (rotated, _) = rotate(&authority, &key, Overlap::None, 5, 2);
    assert_eq!(rotated.id(), key.id());
    assert_eq!((rotated.name(), rotated.scopes()), (key.name(), key.scopes()));
    assert_eq!(rotated.labels(), key.labels());
    assert_eq!(rotated.expires_at(), key.expires_at());
    assert_eq!(rotated.created_at(), key.created_at());
    assert_ne!(rotated.hint(), key.hint());
    assert_eq!(rotated.rotated_at(), Some(at(5)));
    assert_eq!(rotated.version(), key.version() + 1);
}

#[test]
fn without_an_overlap_the_old_secret_ends_at_once() {
    assert_eq!(accepted(&[(10, Overlap::None)], 10), [false, true]);
}

#[test]
fn without_an_overlap_the_old_secret_stays_ended_when_the_clock_goes_back() {
    assert_eq!(accepted(&[(10, Overlap::None)], 0), [false, true]);
}

#[test]
fn an_overlap_ends_at_exactly_its_time() {
    let rotation = [(10, Overlap::For(millis(90)))];
    assert_eq!(accepted(&rotation, 10), [true, true]);
    assert_eq!(accepted(&rotation, 99), [true, true]);
    assert_eq!(accepted(&rotation, 100), [false, true]);
}

#[test]
fn an_overlap_of_no_time_is_none() {
    assert_eq!(accepted(&[(10, Overlap::For(millis(0)))], 10), [false, true]);
}

#[test]
fn an_overlap_until_first_use_ends_after_a_day_at_the_latest() {
    let rotation = [(10, Overlap::UntilFirstUse)];
    assert_eq!(accepted(&rotation, 10 + DAY - 1), [true, true]);
    assert_eq!(accepted(&rotation, 10 + DAY), [false, true]);
    let (_, _, key, _) = rotated(&rotation);
    assert_eq!(key.overlap_until(), Some(at(10 + DAY)));
}

#[test]
fn the_default_overlap_is_until_first_use() {
    assert_eq!(Overlap::default(), Overlap::UntilFirstUse);
}

#[test]
fn an_overlap_lasts_30_days_at_most() {
    let (authority, _, key, _) = rotated(&[]);
    let rotate = |overlap| {
        let overlap = Overlap::For(overlap);
        authority.rotate(&key, overlap, None, at(0), &mut Seeded::new(2))
    };
    assert!(rotate(Overlap::MAX).is_ok());
    for too_long in [Overlap::MAX + millis(1), Duration::MAX] {
        let refused = rotate(too_long);
        assert!(matches!(refused, Err(ChangeError::OverlapTooLong(time)) if time == too_long));
    }
}

#[test]
fn who_uses_the_old_secret_during_an_overlap_is_told_apart() {
    let (authority, tenant, key, tokens) = rotated(&[(10, Overlap::UntilFirstUse)]);
    let old = |token| {
        let caller = present(&authority, &tenant, &key, token, at(20)).unwrap();
        caller.used_previous_secret()
    };
    assert_eq!([old(&tokens[0]), old(&tokens[1])], [true, false]);
}

#[test]
fn rotating_again_replaces_a_successor_that_nobody_used() {
    let twice = [(10, Overlap::UntilFirstUse), (20, Overlap::UntilFirstUse)];
    assert_eq!(accepted(&twice, 30), [true, false, true]);
}

#[test]
fn rotating_again_after_the_deadline_keeps_the_successor() {
    let twice = [(0, Overlap::UntilFirstUse), (DAY, Overlap::UntilFirstUse)];
    assert_eq!(accepted(&twice, DAY), [false, true, true]);
}

#[test]
fn rotating_again_during_a_fixed_overlap_ends_the_oldest_secret() {
    let hour = Overlap::For(millis(3_600_000));
    assert_eq!(accepted(&[(10, hour), (20, hour)], 30), [false, true, true]);
}

#[test]
fn rotating_again_without_an_overlap_ends_all_older_secrets() {
    for first in [Overlap::UntilFirstUse, Overlap::For(millis(1_000))] {
        let rotations = [(10, first), (20, Overlap::None)];
        assert_eq!(accepted(&rotations, 30), [false, false, true]);
    }
}

#[test]
fn at_most_two_secrets_live_whatever_the_rotations() {
    let overlaps = [Overlap::None, Overlap::UntilFirstUse, Overlap::For(millis(25))];
    for number in 0..81_usize {
        let rotations: Vec<(i64, Overlap)> = (0..4)
            .map(|place| {
                let overlap = overlaps[number / 3_usize.pow(place) % 3];
                (10 * i64::from(place), overlap)
            })
            .collect();
        let accepted = accepted(&rotations, 31);
        assert!(accepted.ends_with(&[true]), "{rotations:?}");
        let live = accepted.iter().filter(|accepted| **accepted).count();
        assert!(live <= 2, "{rotations:?}: {accepted:?}");
        // A rotation never locks out everybody who could get in before it.
        assert_eq!(live == 1, rotations[3].1 == Overlap::None, "{rotations:?}");
    }
}

#[test]
fn the_expiry_of_a_key_wins_over_an_overlap() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, old) = issue(&authority, &tenant, new_key().expires_at(at(50)), 1);
    let overlap = Overlap::For(millis(1_000));
    let (key, _) = rotate(&authority, &key, overlap, 10, 2);
    assert!(present(&authority, &tenant, &key, &old, at(49)).is_ok());
    let denied = present(&authority, &tenant, &key, &old, at(50)).unwrap_err();
    assert_eq!(denied, Denial::Inactive(KeyState::Expired { at: at(50) }));
}

#[test]
fn an_expired_key_is_not_rotated() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().expires_at(at(50)), 1);
    let rotate = |time| {
        let rng = &mut Seeded::new(2);
        authority.rotate(&key, Overlap::None, None, at(time), rng)
    };
    assert!(rotate(49).is_ok());
    assert!(matches!(rotate(50), Err(ChangeError::Expired(end)) if end == at(50)));
}

#[test]
fn an_overlap_at_the_end_of_time_ends_there() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, old) = issue(&authority, &tenant, new_key(), 1);
    let almost = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).unwrap();
    let rng = &mut Seeded::new(2);
    let overlap = Overlap::UntilFirstUse;
    let (key, _) = authority.rotate(&key, overlap, None, almost, rng).unwrap();
    assert_eq!(key.overlap_until(), Some(Timestamp::MAX));
    assert!(present(&authority, &tenant, &key, &old, almost).is_ok());
}

// What a key may do

fn names(authority: &Authority, key: &KeyRecord, tenant: &TenantRecord) -> String {
    let scopes = authority.resolve(key, tenant).unwrap().scopes();
    authority.policy().catalog().text(scopes)
}

#[test]
fn a_key_may_do_what_it_was_granted_as_far_as_its_tier_allows() {
    let authority = authority();
    let catalog = authority.policy().catalog();
    let tenant = acme(&authority);
    for chosen in 0_u32..32 {
        let granted = (0..)
            .zip(world::SCOPES)
            .filter(|(bit, _)| chosen >> bit & 1 == 1)
            .map(|(_, name)| name);
        let set = catalog.set(granted.clone()).unwrap();
        let (key, _) = issue(&authority, &tenant, new_key().scopes(granted), 1);
        for tier in ["lite", "advanced"] {
            let tenant = authority.set_tier(&tenant, tier).unwrap();
            let ceiling = authority.policy().ceiling(tier).unwrap();
            let scopes = authority.resolve(&key, &tenant).unwrap().scopes();
            assert_eq!(scopes, set.meet(ceiling), "{key:?} on {tier}");
        }
    }
}

#[test]
fn a_downgrade_narrows_at_once_and_an_upgrade_restores() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().scopes(["operator.jobs", "user"]), 1);
    assert_eq!(names(&authority, &key, &tenant), "operator.jobs user");
    let tenant = authority.set_tier(&tenant, "lite").unwrap();
    assert_eq!(names(&authority, &key, &tenant), "operator.jobs");
    let tenant = authority.set_tier(&tenant, "advanced").unwrap();
    assert_eq!(names(&authority, &key, &tenant), "operator.jobs user");
}

#[test]
fn a_key_without_scopes_may_do_nothing() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, token) = issue(&authority, &tenant, new_key(), 1);
    let caller = present(&authority, &tenant, &key, &token, at(1)).unwrap();
    assert!(caller.scopes().is_empty());
    let catalog = authority.policy().catalog();
    for scope in world::SCOPES {
        let need = catalog.require_any([scope]).unwrap();
        assert!(caller.require(&need).is_err(), "{scope}");
    }
    assert!(caller.require(&catalog.require_none()).is_ok());
}

#[test]
fn a_principal_tells_who_it_is() {
    let authority = authority();
    let tenant = acme(&authority);
    let labels = Labels::new([("team", "billing")]).unwrap();
    let request = new_key().scopes(["operator"]).labels(labels.clone());
    let (key, token) = issue(&authority, &tenant, request, 1);
    let caller = present(&authority, &tenant, &key, &token, at(1)).unwrap();
    assert_eq!((caller.tenant(), caller.name()), ("acme", "ERP sync"));
    assert_eq!((caller.key_id(), caller.labels()), (key.id(), &labels));
    let catalog = authority.policy().catalog();
    assert!(caller.require(&catalog.require_all(["operator.jobs"]).unwrap()).is_ok());
    let missing = caller.require(&catalog.require_all(["user"]).unwrap());
    assert_eq!(missing.unwrap_err().to_string(), "missing scope `user`");
}

#[test]
fn ids_and_names_of_all_lengths_are_told_apart() {
    let authority = authority();
    for (id, name) in [
        ("a".repeat(128), "b".repeat(100)),
        ("é".repeat(64), "🔑".repeat(100)),
        ("a".into(), "b".into()),
    ] {
        let tenant = tenant(&authority, &id, "lite");
        let (key, _) = issue(&authority, &tenant, NewKey::named(&name), 1);
        let resolved = authority.resolve(&key, &tenant).unwrap();
        assert_eq!((resolved.tenant(), resolved.name()), (&*id, &*name));
    }
}

#[test]
fn one_resolved_key_makes_any_number_of_principals() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, token) = issue(&authority, &tenant, new_key(), 1);
    let resolved = Arc::new(authority.resolve(&key, &tenant).unwrap());
    let claim = authority.check(token.as_bytes()).unwrap();
    let one = decide(&claim, &resolved, at(1)).unwrap();
    let other = decide(&claim, &resolved, at(2)).unwrap();
    assert_eq!(one.key_id(), other.key_id());
}

// Grant ≤ ceiling

#[track_caller]
fn assert_above_ceiling<T>(result: Result<T, ChangeError>, expected: &str) {
    let error = result.err().expect("it is above the ceiling");
    assert!(matches!(error, ChangeError::AboveCeiling { .. }), "{error}");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn nothing_above_the_ceiling_is_issued() {
    let authority = authority();
    let lite = tenant(&authority, "acme", "lite");
    let issue = |scopes: &[&str]| {
        let request = new_key().scopes(scopes.iter().copied());
        authority.issue(&lite, request, at(0), &mut Seeded::new(1))
    };
    assert_above_ceiling(issue(&["operator", "user"]), "tier `lite` does not allow scope `user`");
    assert!(issue(&["operator", "reporting"]).is_ok());
}

#[test]
fn nothing_above_the_ceiling_is_edited_in() {
    let authority = authority();
    let lite = tenant(&authority, "acme", "lite");
    let (key, _) = issue(&authority, &lite, new_key(), 1);
    let edit = |scope: &str| {
        let edit = KeyEdit::new().scopes([scope]);
        authority.edit(&key, &lite, edit, at(1))
    };
    assert_above_ceiling(edit("user"), "tier `lite` does not allow scope `user`");
    assert!(edit("operator").is_ok());
}

#[test]
fn an_upper_scope_is_above_a_ceiling_of_its_parts() {
    let lite = Tier::new("lite", 1).scopes(["operator.jobs", "operator.read"]);
    let policy = Policy::new("mm", catalog(&world::SCOPES), [lite]).unwrap();
    let authority = Authority::new(policy, "live", &world::pepper(7).into()).unwrap();
    let tenant = tenant(&authority, "acme", "lite");
    let request = new_key().scopes(["operator"]);
    let refused = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
    assert_above_ceiling(refused, "tier `lite` does not allow scope `operator`");
}

#[test]
fn an_unknown_scope_is_neither_issued_nor_edited_in() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    let request = new_key().scopes(["usr"]);
    let issued = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
    let issued = issued.unwrap_err().to_string();
    let edit = KeyEdit::new().scopes(["usr"]);
    let edited = authority.edit(&key, &tenant, edit, at(1)).unwrap_err();
    assert_eq!([issued, edited.to_string()], ["scope `usr` is not declared"; 2]);
}

#[test]
fn an_unknown_tier_is_refused() {
    let authority = authority();
    let tenant = acme(&authority);
    let refused = authority.set_tier(&tenant, "Lite").unwrap_err();
    assert_eq!(refused.to_string(), "the policy has no tier `Lite`");
    let created = authority.create_tenant("x".parse().unwrap(), "", at(0));
    assert!(matches!(created, Err(ChangeError::UnknownTier(_))));
}

// Grant ≤ granter

#[track_caller]
fn assert_above_granter<T>(result: Result<T, ChangeError>, expected: &[&str]) {
    match result {
        Err(ChangeError::AboveGranter(scopes)) => {
            let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
            assert_eq!(names, expected);
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was granted"),
    }
}

/// A key that may do `operator` and `user`, and an authority to change it.
fn granted_key() -> (Authority, TenantRecord, KeyRecord) {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().scopes(["operator", "user"]), 1);
    (authority, tenant, key)
}

#[test]
fn nobody_issues_more_than_they_have() {
    let authority = authority();
    let tenant = acme(&authority);
    let granter = authority.policy().catalog().set(["operator"]).unwrap();
    let issue = |scopes: &[&str]| {
        let request = new_key().scopes(scopes.iter().copied()).granted_by(granter);
        authority.issue(&tenant, request, at(0), &mut Seeded::new(1))
    };
    assert_above_granter(issue(&["operator.jobs", "user", "reporting"]), &["reporting", "user"]);
    assert!(issue(&["operator"]).is_ok());
    assert!(issue(&["operator.jobs"]).is_ok());
    assert!(issue(&[]).is_ok());
}

#[test]
fn who_has_nothing_passes_on_nothing() {
    let authority = authority();
    let tenant = acme(&authority);
    let none = authority.policy().catalog().none();
    let issue = |request: NewKey| {
        authority.issue(&tenant, request.granted_by(none), at(0), &mut Seeded::new(1))
    };
    assert_above_granter(issue(new_key().scopes(["user"])), &["user"]);
    assert!(issue(new_key()).is_ok());
}

#[test]
fn a_granter_of_another_catalogue_passes_on_nothing() {
    let authority = authority();
    let tenant = acme(&authority);
    let foreign = catalog(&["operator", "user"]).all();
    let request = new_key().scopes(["user"]).granted_by(foreign);
    let issued = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
    assert_above_granter(issued, &["user"]);
}

#[test]
fn nobody_leaves_a_key_with_more_than_they_have() {
    let (authority, tenant, key) = granted_key();
    let operator = authority.policy().catalog().set(["operator"]).unwrap();
    let edit = |edit: KeyEdit| authority.edit(&key, &tenant, edit.granted_by(operator), at(1));
    assert_above_granter(edit(KeyEdit::new().scopes(["user"])), &["user"]);
    assert_above_granter(edit(KeyEdit::new().name("n")), &["user"]);
    assert_above_granter(edit(KeyEdit::new().expires_at(at(DAY))), &["user"]);
    assert_above_granter(edit(KeyEdit::new().enabled(true)), &["user"]);
    assert!(edit(KeyEdit::new().scopes(["operator.jobs"])).is_ok());
}

#[test]
fn whoever_may_edit_keys_may_switch_off_any_of_them() {
    let (authority, tenant, key) = granted_key();
    let none = authority.policy().catalog().none();
    let edit = |edit: KeyEdit| authority.edit(&key, &tenant, edit.granted_by(none), at(1));
    assert!(!edit(KeyEdit::new().enabled(false)).unwrap().enabled());
    // Whatever else is in the edit, it is more than that.
    let disable = || KeyEdit::new().enabled(false);
    for more in [
        disable().name("n"),
        disable().labels(Labels::new([("team", "erp")]).unwrap()),
        disable().not_before(at(2)),
        disable().expires_at(at(DAY)),
        KeyEdit::new().enabled(true),
    ] {
        assert_above_granter(edit(more), &["operator", "user"]);
    }
}

#[test]
fn nobody_rotates_a_key_that_may_do_more_than_they() {
    let (authority, _, key) = granted_key();
    let rotate = |names: &[&str]| {
        let granter = authority.policy().catalog().set(names).unwrap();
        let rng = &mut Seeded::new(2);
        authority.rotate(&key, Overlap::None, Some(granter), at(1), rng)
    };
    assert_above_granter(rotate(&["user"]), &["operator"]);
    assert!(rotate(&["operator", "user"]).is_ok());
}

// Lifetimes

/// Keys of `short` live for 30 days at most.
fn limited() -> (Authority, TenantRecord) {
    let lifetime = Duration::from_secs(30 * 86_400);
    let short = Tier::new("short", 1).max_lifetime(lifetime);
    let policy = Policy::new("mm", catalog(&world::SCOPES), [short, Tier::new("long", 1)]);
    let authority = Authority::new(policy.unwrap(), "live", &world::pepper(7).into()).unwrap();
    let tenant = tenant(&authority, "acme", "short");
    (authority, tenant)
}

fn issued_at(now: Timestamp, request: NewKey) -> Result<KeyRecord, ChangeError> {
    let (authority, tenant) = limited();
    let (key, _) = authority.issue(&tenant, request, now, &mut Seeded::new(1))?;
    Ok(key)
}

fn is_too_long<T>(result: &Result<T, ChangeError>) -> bool {
    matches!(result, Err(ChangeError::LifetimeTooLong { .. }))
}

fn is_in_past<T>(result: &Result<T, ChangeError>) -> bool {
    matches!(result, Err(ChangeError::ExpiryInPast(_)))
}

#[test]
fn without_a_wish_a_key_lives_as_long_as_its_tier_allows() {
    let key = issued_at(at(5), new_key()).unwrap();
    assert_eq!(key.expires_at(), Some(at(5 + 30 * DAY)));
}

#[test]
fn without_a_limit_a_key_lives_for_ever() {
    let (authority, tenant) = limited();
    let tenant = authority.set_tier(&tenant, "long").unwrap();
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    assert_eq!(key.expires_at(), None);
}

#[test]
fn a_key_may_live_for_exactly_as_long_as_its_tier_allows() {
    assert!(issued_at(at(0), new_key().expires_at(at(30 * DAY))).is_ok());
    let longer = issued_at(at(0), new_key().expires_at(at(30 * DAY + 1)));
    assert!(is_too_long(&longer));
    let text = longer.unwrap_err().to_string();
    assert_eq!(text, "tier `short` allows keys to live for 30 days at most");
}

#[test]
fn a_limit_is_told_in_the_largest_unit_that_measures_it() {
    for (seconds, told) in [
        (86_400, "1 day"),
        (2 * 86_400, "2 days"),
        (3_600, "1 hour"),
        (36 * 3_600, "36 hours"),
        (90, "90 seconds"),
        (1, "1 second"),
    ] {
        let tier = Tier::new("brief", 1).max_lifetime(Duration::from_secs(seconds));
        let policy = Policy::new("mm", catalog(&world::SCOPES), [tier]).unwrap();
        let authority = Authority::new(policy, "live", &world::pepper(7).into()).unwrap();
        let tenant = tenant(&authority, "acme", "brief");
        let request = new_key().expires_at(at(30 * DAY));
        let longer = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
        let text = longer.err().unwrap().to_string();
        assert_eq!(text, format!("tier `brief` allows keys to live for {told} at most"));
    }
}

#[test]
fn a_later_beginning_does_not_prolong_a_life() {
    let request = new_key().not_before(at(10 * DAY)).expires_at(at(35 * DAY));
    assert!(is_too_long(&issued_at(at(0), request)));
}

#[test]
fn an_expiry_is_edited_within_the_lifetime_since_the_key_was_issued() {
    let (authority, tenant) = limited();
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    let edit = |end: Option<Timestamp>| {
        let edit = KeyEdit::new().expires_at(end);
        authority.edit(&key, &tenant, edit, at(20 * DAY))
    };
    assert!(edit(Some(at(30 * DAY))).is_ok());
    assert!(is_too_long(&edit(Some(at(30 * DAY + 1)))));
    assert!(is_too_long(&edit(None)));
}

#[test]
fn an_expiry_lies_in_the_future() {
    let now = at(1_000);
    assert!(is_in_past(&issued_at(now, new_key().expires_at(at(999)))));
    assert!(is_in_past(&issued_at(now, new_key().expires_at(at(1_000)))));
    assert!(issued_at(now, new_key().expires_at(at(1_001))).is_ok());
}

#[test]
fn an_expiry_is_edited_into_the_future_only() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    let edit = |end| {
        let edit = KeyEdit::new().expires_at(at(end));
        authority.edit(&key, &tenant, edit, at(1_000))
    };
    assert!(is_in_past(&edit(1_000)));
    assert!(edit(1_001).is_ok());
}

#[test]
fn an_expiry_can_be_taken_away() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, token) = issue(&authority, &tenant, new_key().expires_at(at(10)), 1);
    let edit = KeyEdit::new().expires_at(None);
    let key = authority.edit(&key, &tenant, edit, at(20)).unwrap();
    assert_eq!(key.expires_at(), None);
    assert!(present(&authority, &tenant, &key, &token, Timestamp::MAX).is_ok());
}

#[test]
fn an_expired_key_can_still_be_renamed() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().expires_at(at(10)), 1);
    let edit = KeyEdit::new().name("old");
    let key = authority.edit(&key, &tenant, edit, at(20)).unwrap();
    assert_eq!((key.name(), key.expires_at()), ("old", Some(at(10))));
}

#[test]
fn a_key_begins_before_it_ends() {
    let issue = |start, end| issued_at(at(0), new_key().not_before(at(start)).expires_at(at(end)));
    assert!(issue(99, 100).is_ok());
    for start in [100, 101] {
        let refused = issue(start, 100);
        assert!(matches!(refused, Err(ChangeError::EndsBeforeStart)));
    }
}

#[test]
fn a_beginning_is_not_edited_past_the_end() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().expires_at(at(100)), 1);
    let edit = |start| {
        let edit = KeyEdit::new().not_before(at(start));
        authority.edit(&key, &tenant, edit, at(1))
    };
    assert!(edit(99).is_ok());
    assert!(matches!(edit(100), Err(ChangeError::EndsBeforeStart)));
}

#[test]
fn a_lifetime_at_the_end_of_time_ends_there() {
    let almost = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).unwrap();
    let key = issued_at(almost, new_key()).unwrap();
    assert_eq!(key.expires_at(), Some(Timestamp::MAX));
    assert!(is_in_past(&issued_at(Timestamp::MAX, new_key())));
}

#[test]
fn the_longest_possible_lifetime_is_no_limit() {
    let tier = Tier::new("lite", 1).max_lifetime(Duration::MAX);
    let policy = Policy::new("mm", catalog(&world::SCOPES), [tier]).unwrap();
    let authority = Authority::new(policy, "live", &world::pepper(7).into()).unwrap();
    let tenant = tenant(&authority, "acme", "lite");
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    assert_eq!(key.expires_at(), Some(Timestamp::MAX));
}

#[test]
fn every_state_has_its_own_word() {
    let until = None;
    let words = [
        (KeyState::TenantSuspended { until }, "tenant_suspended"),
        (KeyState::KeySuspended { until }, "suspended"),
        (KeyState::Disabled, "disabled"),
        (KeyState::NotYetValid { from: at(0) }, "not_yet_valid"),
        (KeyState::Expired { at: at(0) }, "expired"),
        (KeyState::Active, "active"),
    ];
    for (state, word) in words {
        assert_eq!(state.as_str(), word);
    }
}

#[test]
fn a_caller_has_the_tier_of_its_tenant() {
    let authority = authority();
    for name in ["lite", "advanced"] {
        let tenant = tenant(&authority, "acme", name);
        let (key, token) = issue(&authority, &tenant, new_key(), 1);
        let caller = present(&authority, &tenant, &key, &token, at(0)).unwrap();
        assert_eq!(caller.tier(authority.policy()).unwrap().name, name);
    }
}
