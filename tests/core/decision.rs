//! Decisions: the state of a key at a given time, the secrets that prove it, and its scopes.

use core::time::Duration;
use std::sync::Arc;

use crate::support::{
    overheard::RevealKnown as _,
    pure::{self, DAY, at, authority, catalog, issue, present, tenant},
    random::Seeded,
};
use keyway::{
    ChangeError, GracePeriod, KeyEdit, KeyRecord, KeyState, NewKey, Policy, TenantId, Tier,
    Timestamp,
    audit::Rejection,
    grant::Grant,
    lowlevel::{Authority, Denial, decide},
    record::{Field, Labels, Suspension, TenantRecord},
    scope::Scope,
};

fn acme(authority: &Authority) -> TenantRecord {
    tenant(authority, "acme", "advanced")
}

fn new_key() -> NewKey {
    NewKey::named("ERP sync")
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// The state of a key

/// The time at which states are tested. Suspensions, beginnings and ends are set relative to it.
const NOW: i64 = 1_000;

fn suspensions() -> [Option<Suspension>; 4] {
    [
        None,
        Some(Suspension::until(at(NOW), "over").unwrap()),
        Some(Suspension::until(at(NOW + 1), "for a while").unwrap()),
        Some(Suspension::permanent("for good").unwrap()),
    ]
}

/// Returns every key that can be issued with these facts, and its expected state at `NOW`.
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
                    // In order of precedence.
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
        assert_eq!(
            KeyState::of(&key, &tenant, &pure::policy(), at(NOW)),
            expected,
            "{key:?} {tenant:?}"
        );
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
    for name in ["tenant suspended", "suspended", "disabled", "not yet valid", "expired", "active"]
    {
        let found = every_combination().iter().any(|(_, _, _, state)| state.to_string() == name);
        assert!(found, "no key of which one says: {name}");
    }
}

#[test]
fn unknown_tier_fits_after_the_key_is() {
    assert_eq!(format!("the key is {}", KeyState::UnknownTier), "the key is on an unknown tier");
}

#[test]
fn only_an_active_key_is_active() {
    for (_, _, _, state) in every_combination() {
        assert_eq!(state.is_active(), state == KeyState::Active);
    }
}

/// Returns the states of a key just before, at and just after `time`.
fn around(
    authority: &Authority,
    tenant: &TenantRecord,
    key: &KeyRecord,
    time: i64,
) -> [KeyState; 3] {
    let resolved = authority.resolve(key, tenant).unwrap();
    [time - 1, time, time + 1].map(|millis| {
        let state = resolved.state(at(millis));
        assert_eq!(state, KeyState::of(key, tenant, &pure::policy(), at(millis)));
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
    let ban = Suspension::permanent("abuse").unwrap();
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
fn clock_set_back_applies_to_decisions() {
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
    assert!(KeyState::of(&key, &tenant, &pure::policy(), Timestamp::MAX).is_active());
}

// Possession is checked first

/// Returns a rotated key with its old and its new token, in each state except active.
fn inactive_keys() -> Vec<(TenantRecord, KeyRecord, [String; 2], KeyState)> {
    let authority = authority();
    let tenant = acme(&authority);
    let request = new_key().not_before(at(100)).expires_at(at(10_000));
    let (key, old) = issue(&authority, &tenant, request, 1);
    let (key, new) = rotate(&authority, (&key, &tenant), GracePeriod::None, 50, 2);
    let tokens = [old, new];
    let ban = || Some(Suspension::permanent("abuse").unwrap());
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
        let state = KeyState::of(&key, &tenant, &pure::policy(), at(60));
        (tenant, key, tokens.clone(), state)
    })
    .collect()
}

#[test]
fn wrong_secret_reveals_nothing_of_an_inactive_key() {
    let authority = authority();
    for (tenant, key, [old, _], _) in inactive_keys() {
        for now in [at(60), at(20_000)] {
            let denied = present(&authority, &tenant, &key, &old, now).unwrap_err();
            assert_eq!(denied, Denial::Rejected(Rejection::WrongSecret));
        }
    }
}

#[test]
fn right_secret_of_an_inactive_key_gets_its_state() {
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
fn all_rejections_have_one_message() {
    for reason in
        [Rejection::Malformed, Rejection::Forged, Rejection::Unknown, Rejection::WrongSecret]
    {
        assert_eq!(Denial::Rejected(reason).to_string(), "the token is not valid");
    }
}

// Rotation

fn rotate(
    authority: &Authority,
    (key, tenant): (&KeyRecord, &TenantRecord),
    grace_period: GracePeriod,
    millis: i64,
    seed: u64,
) -> (KeyRecord, String) {
    let rng = &mut Seeded::new(seed);
    let (key, token) = authority.rotate(key, tenant, grace_period, None, at(millis), rng).unwrap();
    (key, token.reveal_known().to_string())
}

/// Rotates a key at each of these times. Returns the last record and all tokens, oldest first.
fn rotated(rotations: &[(i64, GracePeriod)]) -> (Authority, TenantRecord, KeyRecord, Vec<String>) {
    let authority = authority();
    let tenant = acme(&authority);
    let (mut key, first) = issue(&authority, &tenant, new_key(), 1);
    let mut tokens = vec![first];
    for (seed, (millis, grace_period)) in (2..).zip(rotations) {
        let (next, token) = rotate(&authority, (&key, &tenant), *grace_period, *millis, seed);
        key = next;
        tokens.push(token);
    }
    (authority, tenant, key, tokens)
}

/// Returns which of the tokens are accepted, oldest first.
fn accepted(rotations: &[(i64, GracePeriod)], millis: i64) -> Vec<bool> {
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
    let (rotated, _) = rotate(&authority, (&key, &tenant), GracePeriod::None, 5, 2);
    assert_eq!(rotated.id(), key.id());
    assert_eq!((rotated.name(), rotated.scopes()), (key.name(), key.scopes()));
    assert_eq!(rotated.labels(), key.labels());
    assert_eq!(rotated.expires_at(), key.expires_at());
    assert_eq!(rotated.created_at(), key.created_at());
    assert_ne!(rotated.masked(), key.masked());
    assert_eq!(rotated.rotated_at(), Some(at(5)));
    assert_eq!(rotated.version(), key.version() + 1);
}

#[test]
fn without_a_grace_period_the_old_secret_ends_at_once() {
    assert_eq!(accepted(&[(10, GracePeriod::None)], 10), [false, true]);
}

#[test]
fn ended_secret_stays_ended_when_the_clock_goes_back() {
    assert_eq!(accepted(&[(10, GracePeriod::None)], 0), [false, true]);
}

#[test]
fn a_grace_period_ends_at_exactly_its_time() {
    let rotation = [(10, GracePeriod::For(millis(90)))];
    assert_eq!(accepted(&rotation, 10), [true, true]);
    assert_eq!(accepted(&rotation, 99), [true, true]);
    assert_eq!(accepted(&rotation, 100), [false, true]);
}

#[test]
fn grace_period_of_zero_is_none() {
    assert_eq!(accepted(&[(10, GracePeriod::For(millis(0)))], 10), [false, true]);
}

#[test]
fn grace_until_first_use_ends_after_a_day() {
    let rotation = [(10, GracePeriod::UntilFirstUse)];
    assert_eq!(accepted(&rotation, 10 + DAY - 1), [true, true]);
    assert_eq!(accepted(&rotation, 10 + DAY), [false, true]);
    let (_, _, key, _) = rotated(&rotation);
    assert_eq!(key.grace_until(), Some(at(10 + DAY)));
}

#[test]
fn the_default_grace_period_is_until_first_use() {
    assert_eq!(GracePeriod::default(), GracePeriod::UntilFirstUse);
}

#[test]
fn a_grace_period_lasts_30_days_at_most() {
    let (authority, tenant, key, _) = rotated(&[]);
    let rotate = |grace_period| {
        let grace_period = GracePeriod::For(grace_period);
        authority.rotate(&key, &tenant, grace_period, None, at(0), &mut Seeded::new(2))
    };
    assert!(rotate(GracePeriod::MAX).is_ok());
    for too_long in [GracePeriod::MAX + millis(1), Duration::MAX] {
        let refused = rotate(too_long);
        assert!(matches!(refused, Err(ChangeError::GracePeriodTooLong(time)) if time == too_long));
    }
}

#[test]
fn used_previous_secret_during_a_grace_period() {
    let (authority, tenant, key, tokens) = rotated(&[(10, GracePeriod::UntilFirstUse)]);
    let old = |token| {
        let caller = present(&authority, &tenant, &key, token, at(20)).unwrap();
        caller.used_previous_secret()
    };
    assert_eq!([old(&tokens[0]), old(&tokens[1])], [true, false]);
}

#[test]
fn rotating_again_keeps_every_secret_that_may_be_in_use() {
    let twice = [(10, GracePeriod::UntilFirstUse), (20, GracePeriod::UntilFirstUse)];
    assert_eq!(accepted(&twice, 30), [true, true, true]);
    // Each has its own deadline, which the second rotation did not move.
    assert_eq!(accepted(&twice, 10 + DAY - 1), [true, true, true]);
    assert_eq!(accepted(&twice, 10 + DAY), [false, true, true]);
    assert_eq!(accepted(&twice, 20 + DAY - 1), [false, true, true]);
    assert_eq!(accepted(&twice, 20 + DAY), [false, false, true]);
    let hour = GracePeriod::For(millis(3_600_000));
    assert_eq!(accepted(&[(10, hour), (20, hour)], 30), [true, true, true]);
    assert_eq!(
        accepted(&[(10, hour), (20, GracePeriod::UntilFirstUse)], 3_600_010),
        [false, true, true]
    );
}

#[test]
fn rotating_again_after_the_deadline_keeps_the_successor() {
    let twice = [(0, GracePeriod::UntilFirstUse), (DAY, GracePeriod::UntilFirstUse)];
    assert_eq!(accepted(&twice, DAY), [false, true, true]);
}

#[test]
fn no_rotation_revives_an_ended_secret() {
    // Twenty rotations are 23 hours apart, so the previous secret is the oldest that lives.
    let hours = 3_600_000;
    let rotations: Vec<_> =
        (0..20).map(|number| (number * 23 * hours, GracePeriod::UntilFirstUse)).collect();
    for count in 1..=rotations.len() {
        let last = rotations[count - 1].0;
        let accepted = accepted(&rotations[..count], last + 2 * hours);
        let (dead, live) = accepted.split_at(accepted.len() - 2);
        assert!(live.iter().all(|live| *live) && !dead.contains(&true), "{count}: {accepted:?}");
    }
}

#[test]
fn rotating_again_without_a_grace_period_ends_all_older_secrets() {
    for first in [GracePeriod::UntilFirstUse, GracePeriod::For(millis(1_000))] {
        for none in [GracePeriod::None, GracePeriod::For(Duration::ZERO)] {
            let rotations = [(10, first), (15, first), (20, none)];
            assert_eq!(accepted(&rotations, 20), [false, false, false, true]);
        }
    }
}

#[test]
fn fourth_secret_is_an_error_until_one_ends() {
    let twice = [(10, GracePeriod::UntilFirstUse), (20, GracePeriod::For(millis(50)))];
    let (authority, tenant, key, _) = rotated(&twice);
    let again = |grace_period, time| {
        authority.rotate(&key, &tenant, grace_period, None, at(time), &mut Seeded::new(9))
    };
    for grace_period in [GracePeriod::UntilFirstUse, GracePeriod::For(millis(1))] {
        let Err(ChangeError::TooManySecrets { ends }) = again(grace_period, 69) else { panic!() };
        assert_eq!(ends, at(70));
    }
    let refused = again(GracePeriod::UntilFirstUse, 69).unwrap_err().to_string();
    assert!(refused.contains("2026-01-01T00:00:00.07Z"), "{refused}");
    assert!(again(GracePeriod::None, 69).is_ok());
    assert!(again(GracePeriod::UntilFirstUse, 70).is_ok());
}

#[test]
fn at_most_three_secrets_live_and_none_beyond_its_deadline() {
    let grace_periods =
        [GracePeriod::None, GracePeriod::UntilFirstUse, GracePeriod::For(millis(25))];
    for number in 0..3_usize.pow(4) {
        let authority = authority();
        let tenant = acme(&authority);
        let (mut key, first) = issue(&authority, &tenant, new_key(), 1);
        // The tokens, each with the time from which it is rejected.
        let mut tokens = vec![(first, i64::MAX)];
        for place in 0..4_u32 {
            let now = 10 * i64::from(place);
            let grace_period = grace_periods[number / 3_usize.pow(place) % 3];
            let end = match grace_period {
                GracePeriod::None => now,
                GracePeriod::For(_) => now + 25,
                GracePeriod::UntilFirstUse => now + DAY,
            };
            let rng = &mut Seeded::new(2 + u64::from(place));
            let live = tokens.iter().filter(|(_, end)| now < *end).count();
            match authority.rotate(&key, &tenant, grace_period, None, at(now), rng) {
                Ok((next, token)) => {
                    for (_, old) in &mut tokens {
                        // A secret gets its end once, from the rotation that replaces it.
                        if *old == i64::MAX {
                            *old = end;
                        } else if grace_period == GracePeriod::None {
                            *old = now.min(*old);
                        }
                    }
                    tokens.push((token.reveal_known().to_string(), i64::MAX));
                    key = next;
                    assert!(live < 3 || grace_period == GracePeriod::None, "{number}");
                }
                Err(ChangeError::TooManySecrets { .. }) => assert_eq!(live, 3, "{number}"),
                Err(error) => panic!("{error}"),
            }
            for time in [now, now + 9, now + 24, now + 25, now + DAY - 1, now + DAY] {
                for (token, end) in &tokens {
                    let is_accepted = present(&authority, &tenant, &key, token, at(time)).is_ok();
                    assert_eq!(is_accepted, time < *end, "{number}: {end} at {time}");
                }
            }
        }
    }
}

#[test]
fn the_expiry_of_a_key_wins_over_a_grace_period() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, old) = issue(&authority, &tenant, new_key().expires_at(at(50)), 1);
    let grace_period = GracePeriod::For(millis(1_000));
    let (key, _) = rotate(&authority, (&key, &tenant), grace_period, 10, 2);
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
        authority.rotate(&key, &tenant, GracePeriod::None, None, at(time), rng)
    };
    assert!(rotate(49).is_ok());
    assert!(matches!(rotate(50), Err(ChangeError::Expired(end)) if end == at(50)));
}

#[test]
fn a_grace_period_at_the_end_of_time_ends_there() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, old) = issue(&authority, &tenant, new_key(), 1);
    let almost = Timestamp::from_millis(Timestamp::MAX.as_millis() - 1).unwrap();
    let rng = &mut Seeded::new(2);
    let grace_period = GracePeriod::UntilFirstUse;
    let (key, _) = authority.rotate(&key, &tenant, grace_period, None, almost, rng).unwrap();
    assert_eq!(key.grace_until(), Some(Timestamp::MAX));
    assert!(present(&authority, &tenant, &key, &old, almost).is_ok());
}

// Scopes of a key

fn names(authority: &Authority, key: &KeyRecord, tenant: &TenantRecord) -> String {
    let scopes = authority.resolve(key, tenant).unwrap().scopes();
    authority.policy().catalog().text(scopes)
}

#[test]
fn scopes_are_the_granted_ones_within_the_tier() {
    let authority = authority();
    let catalog = authority.policy().catalog();
    let tenant = acme(&authority);
    for chosen in 0_u32..32 {
        let granted =
            (0..).zip(pure::SCOPES).filter(|(bit, _)| chosen >> bit & 1 == 1).map(|(_, name)| name);
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
    for scope in pure::SCOPES {
        let need = catalog.require_any([scope]).unwrap();
        assert!(caller.require(&need).is_err(), "{scope}");
    }
    assert!(caller.require(&catalog.require_none()).is_ok());
}

#[test]
fn principal_returns_key_tenant_and_name() {
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
fn ids_and_names_of_all_lengths_are_split() {
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
fn issue_rejects_scopes_above_the_ceiling() {
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
fn edit_rejects_scopes_above_the_ceiling() {
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
fn edit_may_keep_any_scope_that_a_tier_withholds() {
    let authority = authority();
    let advanced = acme(&authority);
    let held = ["operator.jobs", "reporting", "user"];
    let (key, _) = issue(&authority, &advanced, new_key().scopes(held), 1);
    let lite = authority.set_tier(&advanced, "lite").unwrap();
    let edit = |key: &KeyRecord, scopes: &[&str]| {
        let edit = KeyEdit::new().scopes(scopes.iter().copied());
        authority.edit(key, &lite, edit, at(1))
    };
    // The tier withholds `user`, which is kept with fewer of the others, or alone.
    for kept in [&held[..], &["operator.jobs", "user"], &["user"], &["operator.jobs"], &[]] {
        let narrowed = edit(&key, kept).unwrap();
        assert_eq!(narrowed.scopes().iter().map(Scope::as_str).collect::<Vec<_>>(), kept);
        let allowed: Vec<_> = kept.iter().copied().filter(|name| *name != "user").collect();
        assert_eq!(names(&authority, &narrowed, &lite), allowed.join(" "));
        assert_eq!(names(&authority, &narrowed, &advanced), kept.join(" "));
    }
    // A scope that was given up must be granted again, which the tier does not allow.
    let without = edit(&key, &["reporting"]).unwrap();
    assert_above_ceiling(edit(&without, &["user"]), "tier `lite` does not allow scope `user`");
    // A granter still bounds all scopes that remain.
    let granter = authority.policy().catalog().set(["operator", "reporting"]).unwrap();
    let bounded =
        KeyEdit::new().scopes(["reporting", "user"]).granted_by(&Grant::unlimited(granter));
    assert_above_granter(authority.edit(&key, &lite, bounded, at(1)), &["user"]);
}

#[test]
fn part_of_a_scope_that_is_withheld_is_kept_too() {
    let tiers = [Tier::new("lite", 1).scopes(["reporting"]), Tier::new("advanced", 1)];
    let policy = Policy::new("mm", catalog(&pure::SCOPES), tiers).unwrap();
    let authority = Authority::new(policy, "live", &pure::pepper(7).into()).unwrap();
    let advanced = tenant(&authority, "acme", "advanced");
    let (key, _) = issue(&authority, &advanced, new_key().scopes(["operator.jobs"]), 1);
    let lite = authority.set_tier(&advanced, "lite").unwrap();
    let edit = |scope: &str| {
        authority.edit(&key, &lite, KeyEdit::new().scopes([scope, "reporting"]), at(1))
    };
    assert!(edit("operator.jobs").is_ok());
    // A wider scope of the same family was not granted.
    assert_above_ceiling(edit("operator"), "tier `lite` does not allow scope `operator`");
}

#[test]
fn an_upper_scope_is_above_a_ceiling_of_its_parts() {
    let lite = Tier::new("lite", 1).scopes(["operator.jobs", "operator.read"]);
    let policy = Policy::new("mm", catalog(&pure::SCOPES), [lite]).unwrap();
    let authority = Authority::new(policy, "live", &pure::pepper(7).into()).unwrap();
    let tenant = tenant(&authority, "acme", "lite");
    let request = new_key().scopes(["operator"]);
    let refused = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
    assert_above_ceiling(refused, "tier `lite` does not allow scope `operator`");
}

#[test]
fn unknown_scope_is_rejected_by_issue_and_edit() {
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
fn unknown_tier_is_an_error() {
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

/// Returns a key with the scopes `operator` and `user`, and an authority to change it.
fn granted_key() -> (Authority, TenantRecord, KeyRecord) {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().scopes(["operator", "user"]), 1);
    (authority, tenant, key)
}

#[test]
fn granter_cannot_issue_above_its_scopes() {
    let authority = authority();
    let tenant = acme(&authority);
    let granter = authority.policy().catalog().set(["operator"]).unwrap();
    let issue = |scopes: &[&str]| {
        let request =
            new_key().scopes(scopes.iter().copied()).granted_by(&Grant::unlimited(granter));
        authority.issue(&tenant, request, at(0), &mut Seeded::new(1))
    };
    assert_above_granter(issue(&["operator.jobs", "user", "reporting"]), &["reporting", "user"]);
    assert!(issue(&["operator"]).is_ok());
    assert!(issue(&["operator.jobs"]).is_ok());
    assert!(issue(&[]).is_ok());
}

#[test]
fn granter_without_scopes_grants_none() {
    let authority = authority();
    let tenant = acme(&authority);
    let none = authority.policy().catalog().none();
    let issue = |request: NewKey| {
        authority.issue(
            &tenant,
            request.granted_by(&Grant::unlimited(none)),
            at(0),
            &mut Seeded::new(1),
        )
    };
    assert_above_granter(issue(new_key().scopes(["user"])), &["user"]);
    assert!(issue(new_key()).is_ok());
}

#[test]
fn granter_of_another_catalog_grants_nothing() {
    let authority = authority();
    let tenant = acme(&authority);
    let foreign = catalog(&["operator", "user"]).all();
    let request = new_key().scopes(["user"]).granted_by(&Grant::unlimited(foreign));
    let issued = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
    assert_above_granter(issued, &["user"]);
}

#[test]
fn granter_cannot_edit_a_key_above_its_scopes() {
    let (authority, tenant, key) = granted_key();
    let operator = authority.policy().catalog().set(["operator"]).unwrap();
    let edit = |edit: KeyEdit| {
        authority.edit(&key, &tenant, edit.granted_by(&Grant::unlimited(operator)), at(1))
    };
    assert_above_granter(edit(KeyEdit::new().scopes(["user"])), &["user"]);
    assert_above_granter(edit(KeyEdit::new().name("n")), &["user"]);
    assert_above_granter(edit(KeyEdit::new().expires_at(at(DAY))), &["user"]);
    assert_above_granter(edit(KeyEdit::new().enabled(true)), &["user"]);
    assert!(edit(KeyEdit::new().scopes(["operator.jobs"])).is_ok());
}

#[test]
fn any_granter_may_disable_any_key() {
    let (authority, tenant, key) = granted_key();
    let none = authority.policy().catalog().none();
    let edit = |edit: KeyEdit| {
        authority.edit(&key, &tenant, edit.granted_by(&Grant::unlimited(none)), at(1))
    };
    assert!(!edit(KeyEdit::new().enabled(false)).unwrap().enabled());
    // Any other change in the same edit requires more than that.
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
fn granter_cannot_rotate_a_key_above_its_scopes() {
    let (authority, tenant, key) = granted_key();
    let rotate = |names: &[&str]| {
        let granter = authority.policy().catalog().set(names).unwrap();
        let rng = &mut Seeded::new(2);
        authority.rotate(
            &key,
            &tenant,
            GracePeriod::None,
            Some(&Grant::unlimited(granter)),
            at(1),
            rng,
        )
    };
    assert_above_granter(rotate(&["user"]), &["operator"]);
    assert!(rotate(&["operator", "user"]).is_ok());
}

/// Returns a key that holds `billing` and `reporting`, issued by a node with the new policy. The other node
/// has the old policy, which knows only `reporting`.
fn rolling_deploy() -> (Authority, Authority, TenantRecord, KeyRecord) {
    let node = |names: &[&str]| {
        let policy = Policy::new("mm", catalog(names), Tier::built_in()).unwrap();
        Authority::new(policy, "live", &pure::pepper(7).into()).unwrap()
    };
    let (old, new) = (node(&["reporting"]), node(&["billing", "reporting"]));
    let tenant = acme(&new);
    let (key, _) = issue(&new, &tenant, new_key().scopes(["billing", "reporting"]), 1);
    (old, new, tenant, key)
}

/// Returns one edit for each thing that an edit may change. None of them replaces the scopes.
fn edits_that_keep_the_scopes() -> [KeyEdit; 6] {
    [
        KeyEdit::new().name("n"),
        KeyEdit::new().labels(Labels::new([("team", "erp")]).unwrap()),
        KeyEdit::new().not_before(at(2)),
        KeyEdit::new().expires_at(at(DAY)),
        KeyEdit::new().enabled(true),
        KeyEdit::new(),
    ]
}

#[test]
fn unknown_scopes_are_above_every_granter() {
    let (old, new, tenant, key) = rolling_deploy();
    let known = old.policy().catalog();
    for (granter, above) in [
        (known.all(), &["billing"][..]),
        (known.set(["reporting"]).unwrap(), &["billing"]),
        (known.none(), &["billing", "reporting"]),
    ] {
        for edit in edits_that_keep_the_scopes() {
            let edited =
                old.edit(&key, &tenant, edit.granted_by(&Grant::unlimited(granter)), at(1));
            assert_above_granter(edited, above);
        }
        let rng = &mut Seeded::new(2);
        let rotated = old.rotate(
            &key,
            &tenant,
            GracePeriod::None,
            Some(&Grant::unlimited(granter)),
            at(1),
            rng,
        );
        assert_above_granter(rotated, above);
        let off = KeyEdit::new().enabled(false).granted_by(&Grant::unlimited(granter));
        assert!(!old.edit(&key, &tenant, off, at(1)).unwrap().enabled());
    }
    // The same edits succeed where the names are known, or where there is no granter.
    for (node, granter) in [(&new, Some(new.policy().catalog().all())), (&new, None), (&old, None)]
    {
        for mut edit in edits_that_keep_the_scopes() {
            if let Some(granter) = granter {
                edit = edit.granted_by(&Grant::unlimited(granter));
            }
            assert!(node.edit(&key, &tenant, edit, at(1)).is_ok());
        }
        let (granter, rng) = (granter.map(Grant::unlimited), &mut Seeded::new(2));
        let granter = granter.as_ref();
        assert!(node.rotate(&key, &tenant, GracePeriod::None, granter, at(1), rng).is_ok());
    }
}

#[test]
fn unknown_scopes_may_be_replaced_within_the_bound() {
    let (old, new, tenant, key) = rolling_deploy();
    let granter = old.policy().catalog().all();
    let edit =
        KeyEdit::new().name("n").scopes(["reporting"]).granted_by(&Grant::unlimited(granter));
    let edited = old.edit(&key, &tenant, edit, at(1)).unwrap();
    assert_eq!(names(&new, &edited, &tenant), "reporting");
    let none = old.policy().catalog().none();
    let edit = KeyEdit::new().scopes(["reporting"]).granted_by(&Grant::unlimited(none));
    assert_above_granter(old.edit(&key, &tenant, edit, at(1)), &["reporting"]);
}

#[test]
fn unknown_scopes_may_be_kept_beside_others() {
    let (old, new, tenant, key) = rolling_deploy();
    let edit = |key: &KeyRecord, edit: KeyEdit| old.edit(key, &tenant, edit, at(1));
    for (kept, expected) in
        [(&["billing"][..], "billing"), (&["reporting", "billing"], "billing reporting"), (&[], "")]
    {
        let edited = edit(&key, KeyEdit::new().scopes(kept.iter().copied())).unwrap();
        assert_eq!(names(&new, &edited, &tenant), expected);
        // The bound is the same as for an edit that does not name the scopes.
        let bounded = KeyEdit::new().scopes(kept.iter().copied());
        let bounded =
            edit(&key, bounded.granted_by(&Grant::unlimited(old.policy().catalog().all())));
        if kept.contains(&"billing") {
            assert_above_granter(bounded, &["billing"]);
        } else {
            assert!(bounded.is_ok());
        }
    }
    // A scope that the key does not hold is unknown as before.
    let bare = edit(&key, KeyEdit::new().scopes(["reporting"])).unwrap();
    let refused = edit(&bare, KeyEdit::new().scopes(["billing"])).unwrap_err();
    assert_eq!(refused.to_string(), "scope `billing` is not declared");
}

#[test]
fn granter_of_another_catalog_changes_nothing() {
    let (_, new, tenant, key) = rolling_deploy();
    let foreign = catalog(&["billing"]).all();
    for edit in edits_that_keep_the_scopes() {
        let edited = new.edit(&key, &tenant, edit.granted_by(&Grant::unlimited(foreign)), at(1));
        assert_above_granter(edited, &["billing", "reporting"]);
    }
    let (bare, _) = issue(&new, &tenant, new_key(), 2);
    let edit = KeyEdit::new().name("n").granted_by(&Grant::unlimited(foreign));
    let refused = new.edit(&bare, &tenant, edit, at(1)).unwrap_err();
    assert_eq!(refused.to_string(), "the granter's scopes are of another catalog");
}

// Lifetimes

/// Returns an authority whose tier `short` lets keys live for 30 days at most.
fn limited() -> (Authority, TenantRecord) {
    let lifetime = Duration::from_secs(30 * 86_400);
    let short = Tier::new("short", 1).max_lifetime(lifetime);
    let policy = Policy::new("mm", catalog(&pure::SCOPES), [short, Tier::new("long", 1)]);
    let authority = Authority::new(policy.unwrap(), "live", &pure::pepper(7).into()).unwrap();
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
fn key_without_expiry_lives_as_long_as_its_tier_allows() {
    let key = issued_at(at(5), new_key()).unwrap();
    assert_eq!(key.expires_at(), Some(at(5 + 30 * DAY)));
}

#[test]
fn key_without_a_limit_never_expires() {
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
fn lifetime_error_uses_the_largest_whole_unit() {
    for (seconds, told) in [
        (86_400, "1 day"),
        (2 * 86_400, "2 days"),
        (3_600, "1 hour"),
        (36 * 3_600, "36 hours"),
        (90, "90 seconds"),
        (1, "1 second"),
    ] {
        let tier = Tier::new("brief", 1).max_lifetime(Duration::from_secs(seconds));
        let policy = Policy::new("mm", catalog(&pure::SCOPES), [tier]).unwrap();
        let authority = Authority::new(policy, "live", &pure::pepper(7).into()).unwrap();
        let tenant = tenant(&authority, "acme", "brief");
        let request = new_key().expires_at(at(30 * DAY));
        let longer = authority.issue(&tenant, request, at(0), &mut Seeded::new(1));
        let text = longer.err().unwrap().to_string();
        assert_eq!(text, format!("tier `brief` allows keys to live for {told} at most"));
    }
}

#[test]
fn expires_in_counts_from_the_authoritys_now() {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let key = issued_at(at(5), new_key().expires_in(days(7))).unwrap();
    assert_eq!(key.expires_at(), Some(at(5 + 7 * DAY)));
    // The longest lifetime is accepted to the millisecond, and nothing longer is.
    let key = issued_at(at(5), new_key().expires_in(days(30))).unwrap();
    assert_eq!(key.expires_at(), Some(at(5 + 30 * DAY)));
    let longer = issued_at(at(5), new_key().expires_in(days(30) + millis(1)));
    let Err(ChangeError::LifetimeTooLong { latest, .. }) = longer else { panic!("{longer:?}") };
    assert_eq!(latest, at(5 + 30 * DAY));
    // If both ends are set, the later call counts.
    let key = issued_at(at(5), new_key().expires_at(at(99)).expires_in(days(1))).unwrap();
    assert_eq!(key.expires_at(), Some(at(5 + DAY)));
    let key = issued_at(at(5), new_key().expires_in(days(1)).expires_at(at(99))).unwrap();
    assert_eq!(key.expires_at(), Some(at(99)));
    // No lifetime overflows.
    let (authority, tenant) = limited();
    let tenant = authority.set_tier(&tenant, "long").unwrap();
    let (key, _) = issue(&authority, &tenant, new_key().expires_in(Duration::MAX), 1);
    assert_eq!(key.expires_at(), Some(Timestamp::MAX));

    let edit = |edit| authority.edit(&key, &tenant, edit, at(DAY)).unwrap().expires_at();
    assert_eq!(edit(KeyEdit::new().expires_in(days(7))), Some(at(8 * DAY)));
    assert_eq!(edit(KeyEdit::new().expires_in(days(7)).expires_at(None)), None);
    assert_eq!(edit(KeyEdit::new().expires_at(None).expires_in(days(7))), Some(at(8 * DAY)));
}

#[test]
fn change_error_distinguishes_invalid_fields() {
    let long = "x".repeat(600);
    let (authority, acme) = limited();
    let field = |request: NewKey| match authority.issue(&acme, request, at(0), &mut Seeded::new(1))
    {
        Err(ChangeError::Invalid(invalid)) => invalid.field(),
        other => panic!("{:?}", other.map(|(key, _)| key)),
    };
    assert_eq!(field(NewKey::named("")), Field::KeyName);
    assert_eq!(new_key().created_by(&*long).unwrap_err().field(), Field::Actor);
    assert_eq!(Suspension::permanent("").unwrap_err().field(), Field::Reason);
    assert_eq!(TenantId::try_from("").unwrap_err().field(), Field::TenantId);
    for (name, value, field) in [("", "", Field::LabelName), ("a", &*long, Field::LabelValue)] {
        assert_eq!(Labels::new([(name, value)]).unwrap_err().field(), field);
    }
    let many = (0..=Labels::MAX).map(|number| (number.to_string(), ""));
    assert_eq!(Labels::new(many).unwrap_err().field(), Field::Labels);
}

#[test]
fn later_not_before_does_not_extend_the_lifetime() {
    let request = new_key().not_before(at(10 * DAY)).expires_at(at(35 * DAY));
    assert!(is_too_long(&issued_at(at(0), request)));
}

#[test]
fn edited_expiry_counts_from_the_issue_time() {
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
fn past_expiry_is_an_error() {
    let now = at(1_000);
    assert!(is_in_past(&issued_at(now, new_key().expires_at(at(999)))));
    assert!(is_in_past(&issued_at(now, new_key().expires_at(at(1_000)))));
    assert!(issued_at(now, new_key().expires_at(at(1_001))).is_ok());
}

#[test]
fn edit_to_a_past_expiry_is_an_error() {
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
fn expiry_can_be_removed() {
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
fn edit_may_repeat_a_past_expiry() {
    let authority = authority();
    let tenant = acme(&authority);
    let (key, _) = issue(&authority, &tenant, new_key().expires_at(at(10)), 1);
    let edit = |edit: KeyEdit| authority.edit(&key, &tenant, edit.name("old"), at(20));
    // An edit that repeats everything that was read changes only the name.
    let edited = edit(KeyEdit::new().expires_at(at(10)).not_before(None)).unwrap();
    assert_eq!((edited.name(), edited.expires_at()), ("old", Some(at(10))));
    assert!(edit(KeyEdit::new().not_before(at(9))).is_ok());
    assert!(matches!(edit(KeyEdit::new().not_before(at(10))), Err(ChangeError::EndsBeforeStart)));
    for end in [9, 11, 20] {
        assert!(is_in_past(&edit(KeyEdit::new().expires_at(at(end)))));
    }
    // Both ends can be moved at once, in either direction.
    let edit = |start, end| {
        let edit = KeyEdit::new().not_before(at(start)).expires_at(at(end));
        authority.edit(&key, &tenant, edit, at(1))
    };
    let later = edit(100, 200).unwrap();
    let earlier = KeyEdit::new().not_before(at(5)).expires_at(at(50));
    assert!(authority.edit(&later, &tenant, earlier, at(1)).is_ok());
}

#[test]
fn edit_of_not_before_alone_does_not_lengthen() {
    let authority = authority_of(Some(90));
    let unlimited = authority_of(None);
    let tenant = tenant(&authority, "acme", "t");
    let (key, _) = issue(&unlimited, &tenant, new_key().expires_at(at(130 * DAY)), 1);
    let (key, _) = rotate(&authority, (&key, &tenant), GracePeriod::None, 50 * DAY, 2);
    let end = |key: &KeyRecord| key.effective_expiry(&authority.policy().terms(&tenant).unwrap());
    assert_eq!(end(&key), Some(at(90 * DAY)));
    let edit = |edit: KeyEdit| authority.edit(&key, &tenant, edit, at(60 * DAY)).unwrap();
    assert_eq!(end(&edit(KeyEdit::new().not_before(None))), Some(at(90 * DAY)));
    // An edit that sets the expiry renews the key, even if the expiry is the one that the key has.
    assert_eq!(end(&edit(KeyEdit::new().expires_at(at(130 * DAY)))), Some(at(130 * DAY)));
}

#[test]
fn not_before_must_precede_the_expiry() {
    let issue = |start, end| issued_at(at(0), new_key().not_before(at(start)).expires_at(at(end)));
    assert!(issue(99, 100).is_ok());
    for start in [100, 101] {
        let refused = issue(start, 100);
        assert!(matches!(refused, Err(ChangeError::EndsBeforeStart)));
    }
}

#[test]
fn not_before_cannot_be_edited_past_the_expiry() {
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
fn longest_possible_lifetime_sets_no_limit() {
    let tier = Tier::new("lite", 1).max_lifetime(Duration::MAX);
    let policy = Policy::new("mm", catalog(&pure::SCOPES), [tier]).unwrap();
    let authority = Authority::new(policy, "live", &pure::pepper(7).into()).unwrap();
    let tenant = tenant(&authority, "acme", "lite");
    let (key, _) = issue(&authority, &tenant, new_key(), 1);
    assert_eq!(key.expires_at(), Some(Timestamp::MAX));
}

// Enforcement of lifetimes

/// Returns an authority whose tier `t` lets keys live for `days`, or without a limit. The tier `free` sets no
/// limit.
fn authority_of(days: Option<u64>) -> Authority {
    let mut tier = Tier::new("t", 1);
    tier.max_lifetime = days.map(|days| Duration::from_secs(days * 86_400));
    let policy = Policy::new("mm", catalog(&pure::SCOPES), [tier, Tier::new("free", 1)]).unwrap();
    Authority::new(policy, "live", &pure::pepper(7).into()).unwrap()
}

/// Returns the time from which a service with a limit of `days` rejects the key. The key was issued at 0,
/// while its tier set no limit.
fn expired_from(authority: &Authority, tenant: &TenantRecord, key: &KeyRecord, token: &str) -> i64 {
    let is_accepted = |time| present(authority, tenant, key, token, at(time)).is_ok();
    let end = (0..500).map(|day| day * DAY).find(|time| !is_accepted(*time)).unwrap_or(i64::MAX);
    if end < i64::MAX {
        assert!(is_accepted(end - 1));
        let denied = present(authority, tenant, key, token, at(end)).unwrap_err();
        assert_eq!(denied, Denial::Inactive(KeyState::Expired { at: at(end) }));
    }
    let state = KeyState::of(key, tenant, authority.policy(), at(end.min(499 * DAY)));
    assert_eq!(state.is_active(), end == i64::MAX);
    end
}

#[test]
fn tier_lifetime_ends_keys_that_are_older_than_it() {
    let (before, after) = (authority_of(None), authority_of(Some(30)));
    let tenant = tenant(&before, "acme", "t");
    for (expires, ends) in [
        (None, 30 * DAY),
        (Some(400 * DAY), 30 * DAY),
        (Some(30 * DAY), 30 * DAY),
        (Some(20 * DAY), 20 * DAY),
    ] {
        let request = expires.into_iter().fold(new_key(), |key, end| key.expires_at(at(end)));
        let (key, token) = issue(&before, &tenant, request, 1);
        assert_eq!(expired_from(&after, &tenant, &key, &token), ends);
        let terms = after.policy().terms(&tenant).unwrap();
        assert_eq!(key.effective_expiry(&terms), Some(at(ends)));
        assert_eq!(key.expires_at(), expires.map(at));
        // Without the limit, the key is unchanged.
        let free = before.policy().terms(&tenant).unwrap();
        assert_eq!(key.effective_expiry(&free), expires.map(at));
        assert_eq!(expired_from(&before, &tenant, &key, &token), expires.unwrap_or(i64::MAX));
    }
}

#[test]
fn key_that_its_tier_ended_is_not_rotated() {
    let (before, after) = (authority_of(None), authority_of(Some(30)));
    let tenant = tenant(&before, "acme", "t");
    let (key, _) = issue(&before, &tenant, new_key().expires_at(at(400 * DAY)), 1);
    let rotate = |authority: &Authority, time| {
        let rng = &mut Seeded::new(2);
        authority.rotate(&key, &tenant, GracePeriod::None, None, at(time), rng).map(|(key, _)| key)
    };
    let five_years = 5 * 365 * DAY;
    for late in [30 * DAY, five_years] {
        let refused = rotate(&after, late);
        assert!(matches!(refused, Err(ChangeError::Expired(end)) if end == at(30 * DAY)));
    }
    assert!(rotate(&before, 30 * DAY).is_ok());
    // A rotation before the end does not lengthen the lifetime.
    let rotated = rotate(&after, 29 * DAY).unwrap();
    let terms = after.policy().terms(&tenant).unwrap();
    assert_eq!(rotated.effective_expiry(&terms), Some(at(30 * DAY)));
}

#[test]
fn edit_that_does_not_lengthen_is_not_too_long() {
    let (before, after) = (authority_of(None), authority_of(Some(90)));
    let tenant = tenant(&before, "acme", "t");
    let terms = after.policy().terms(&tenant).unwrap();
    let (key, _) = issue(&before, &tenant, new_key().expires_at(at(400 * DAY)), 1);
    let edit = |key: &KeyRecord, end: Option<i64>, now| {
        after.edit(key, &tenant, KeyEdit::new().expires_at(end.map(at)), at(now))
    };
    for (end, effective) in [(50, 50), (90, 90), (300, 90), (400, 90)] {
        let edited = edit(&key, Some(end * DAY), DAY).unwrap();
        assert_eq!(edited.expires_at(), Some(at(end * DAY)));
        assert_eq!(edited.effective_expiry(&terms), Some(at(effective * DAY)));
    }
    assert!(edit(&key, Some(300 * DAY), 200 * DAY).is_ok());
    // Removing the expiry or moving it later lengthens the lifetime.
    assert!(is_too_long(&edit(&key, None, DAY)));
    assert!(is_too_long(&edit(&key, Some(400 * DAY + 1), DAY)));
    let shortened = edit(&key, Some(50 * DAY), DAY).unwrap();
    assert!(is_too_long(&edit(&shortened, Some(90 * DAY + 1), DAY)));
    assert!(edit(&shortened, Some(90 * DAY), DAY).is_ok());
    // A key may stay without an expiry, and every other edit succeeds.
    let (endless, _) = issue(&before, &tenant, new_key(), 1);
    let same = edit(&endless, None, DAY).unwrap();
    assert_eq!((same.expires_at(), same.effective_expiry(&terms)), (None, Some(at(90 * DAY))));
    let start = KeyEdit::new().not_before(at(2 * DAY));
    assert!(after.edit(&endless, &tenant, start, at(DAY)).is_ok());
    let late = KeyEdit::new().not_before(at(90 * DAY));
    let refused = after.edit(&endless, &tenant, late, at(DAY));
    assert!(matches!(refused, Err(ChangeError::EndsBeforeStart)));
}

#[test]
fn rotated_key_is_renewed_by_an_edit_of_its_expiry() {
    let authority = authority_of(Some(30));
    let tenant = tenant(&authority, "acme", "t");
    let terms = authority.policy().terms(&tenant).unwrap();
    let (mut key, _) = issue(&authority, &tenant, new_key(), 1);
    // A tenant with room for one key keeps it for a year.
    for month in 1..=12 {
        let now = month * 25 * DAY;
        let later = KeyEdit::new().expires_at(at(now + 30 * DAY));
        // The present secret would live for too long.
        assert!(is_too_long(&authority.edit(&key, &tenant, later.clone(), at(now))));
        (key, _) = rotate(&authority, (&key, &tenant), GracePeriod::UntilFirstUse, now, 2);
        assert_eq!(key.effective_expiry(&terms), Some(at((month - 1) * 25 * DAY + 30 * DAY)));
        let longer = KeyEdit::new().expires_at(at(now + 30 * DAY + 1));
        assert!(is_too_long(&authority.edit(&key, &tenant, longer, at(now))));
        key = authority.edit(&key, &tenant, later, at(now)).unwrap();
        assert_eq!(key.effective_expiry(&terms), Some(at(now + 30 * DAY)));
        assert_eq!(key.lifetime_from(), at(now));
    }
}

#[test]
fn key_of_an_unknown_tier_is_neither_active_nor_rotated() {
    let (before, after) = (authority_of(None), authority());
    let tenant = tenant(&before, "acme", "t");
    let (key, _) = issue(&before, &tenant, new_key().expires_at(at(DAY)), 1);
    let state = |time| KeyState::of(&key, &tenant, after.policy(), at(time));
    assert_eq!(state(0), KeyState::UnknownTier);
    assert_eq!(state(DAY), KeyState::Expired { at: at(DAY) });
    let rotated = after.rotate(&key, &tenant, GracePeriod::None, None, at(0), &mut Seeded::new(2));
    assert!(matches!(rotated, Err(ChangeError::UnknownTier(tier)) if tier == "t"));
    let edit = KeyEdit::new().expires_at(at(1));
    assert!(matches!(after.edit(&key, &tenant, edit, at(0)), Err(ChangeError::UnknownTier(_))));
    assert!(after.edit(&key, &tenant, KeyEdit::new().enabled(false), at(0)).is_ok());
}

#[test]
fn every_state_has_its_own_as_str() {
    let until = None;
    let words = [
        (KeyState::TenantSuspended { until }, "tenant_suspended"),
        (KeyState::KeySuspended { until }, "suspended"),
        (KeyState::Disabled, "disabled"),
        (KeyState::NotYetValid { from: at(0) }, "not_yet_valid"),
        (KeyState::Expired { at: at(0) }, "expired"),
        (KeyState::UnknownTier, "unknown_tier"),
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
