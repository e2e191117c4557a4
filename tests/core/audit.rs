//! The audit sink receives every refused change and request once, and noise does not hide them.

use std::time::Duration;

use crate::support::{Event, Held, World, block_on, policy, tenant_id};
use keyway::{
    GracePeriod, ImportedKey, KeyEdit, KeyringError, LeakResponse, NewKey, VerifyError,
    audit::{ChangeKind, Noise},
    grant::Grant,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::Suspension,
};
use sha2::{Digest, Sha256};

const SECOND: Duration = Duration::from_secs(1);

fn take(world: &World) -> Vec<Event> {
    let events = world.audit.events();
    let _ = world.audit.take_kinds();
    events
}

fn ban() -> Suspension {
    Suspension::permanent("floods the report endpoint").unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn import(number: u8) -> ImportedKey {
    let digest = ForeignDigest::from_bytes(&Sha256::digest([number])).unwrap();
    ImportedKey::new(&foreign(), digest, NewKey::named("imported")).unwrap()
}

/// A refused change: its kind, its refusal, the tenant and key that the event must name, and the result.
type Refused<'w> =
    (ChangeKind, &'static str, Option<&'w str>, Option<String>, Result<(), KeyringError>);

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_refused_change_is_one_event_with_its_subjects() {
    let world = World::with(policy(), |builder| builder.accept_imported(foreign()));
    let acme = world.tenant_with_key("acme");
    let other = world.tenant_with_key("other");
    let (id, theirs) = (acme.key.id(), other.key.id());
    let keyring = world.keyring.acting_as("anna");
    let keys = keyring.tenant(acme.keys.id().clone());
    let nobody = tenant_id("nobody");
    let gone = world.tenant_with_key("gone");
    block_on(gone.keys.delete(gone.key.id())).unwrap();
    block_on(keys.import(import(1))).unwrap();
    let token = acme.token.as_str();
    let scoped = |scopes: &[&str]| NewKey::named("x").scopes(scopes.iter().copied());
    let wide = || keys.clone().granting_at_most(&Grant::unlimited(policy().catalog().none()));
    let stale = KeyEdit::new().name("late");

    let key = |id: keyway::KeyId| Some(id.to_string());
    let done = |result: Result<(), KeyringError>| result;
    macro_rules! refused {
        ($change:ident, $refusal:literal, $tenant:expr, $key:expr, $doing:expr) => {{
            let result = block_on($doing).map(drop);
            (ChangeKind::$change, $refusal, $tenant, $key, done(result))
        }};
    }
    let _ = take(&world);
    let mut checked = Vec::new();
    let mut check = |(change, refusal, tenant, key, result): Refused<'_>| {
        let error = result.expect_err(change.as_str());
        let events = take(&world);
        let [event] = &events[..] else { panic!("{change:?}: {events:?}") };
        let kind = format!("ChangeRefused {{ change: {change:?}, refusal: {refusal}, detail: ");
        assert!(event.kind.starts_with(&kind), "{kind} and not {event:?}");
        assert!(event.kind.contains(&format!("{:?}", error.to_string())), "{event:?}");
        assert_eq!((event.tenant.as_deref(), &event.key), (tenant, &key), "{change:?}");
        assert_eq!(event.actor, "anna");
        checked.push(change);
    };

    check(refused!(
        CreateTenant,
        "Exists",
        Some("acme"),
        None,
        keyring.create_tenant("acme", "lite")
    ));
    check(refused!(
        CreateTenant,
        "NotAllowed",
        Some("new"),
        None,
        keyring.create_tenant("new", "gold")
    ));
    check(refused!(
        CreateTenant,
        "Exists",
        Some("acme"),
        None,
        keyring.create_empty_tenant("acme", "lite")
    ));
    check(refused!(SetTier, "NotFound", Some("nobody"), None, keyring.set_tier(&nobody, "lite")));
    check(refused!(
        SetTier,
        "NotAllowed",
        Some("acme"),
        None,
        keyring.set_tier(acme.keys.id(), "gold")
    ));
    check(refused!(
        SuspendTenant,
        "NotFound",
        Some("nobody"),
        None,
        keyring.suspend_tenant(&nobody, ban())
    ));
    check(refused!(ResumeTenant, "NotFound", Some("nobody"), None, keyring.resume_tenant(&nobody)));
    check(refused!(DeleteTenant, "NotFound", Some("nobody"), None, keyring.delete_tenant(&nobody)));
    check(refused!(
        SuspendKey,
        "NotFound",
        None,
        key(gone.key.id()),
        keyring.suspend_key(gone.key.id(), ban())
    ));
    check(refused!(
        ResumeKey,
        "NotFound",
        None,
        key(gone.key.id()),
        keyring.resume_key(gone.key.id())
    ));
    check(refused!(
        IssueKey,
        "NotAllowed",
        Some("acme"),
        None,
        wide().issue(scoped(&["reporting"]))
    ));
    check(refused!(IssueKey, "NotAllowed", Some("acme"), None, keys.issue(scoped(&["no.such"]))));
    check(refused!(ImportKey, "Exists", Some("acme"), None, keys.import(import(1))));
    check(refused!(EditKey, "Conflict", Some("acme"), key(id), keys.edit(id, 99, stale.clone())));
    // Another tenant's key is reported as not found, and the attempt is an event.
    check(refused!(EditKey, "NotFound", Some("acme"), key(theirs), keys.edit(theirs, 1, stale)));
    check(refused!(EditKey, "NotFound", Some("acme"), key(theirs), keys.disable(theirs)));
    check(refused!(EditKey, "NotFound", Some("acme"), key(theirs), keys.enable(theirs)));
    check(refused!(
        RotateKey,
        "NotFound",
        Some("acme"),
        key(theirs),
        keys.rotate(theirs, 1, GracePeriod::None)
    ));
    check(refused!(
        RotateKey,
        "NotAllowed",
        Some("acme"),
        key(id),
        wide().rotate(id, 1, GracePeriod::None)
    ));
    check(refused!(DeleteKey, "NotFound", Some("acme"), key(theirs), keys.delete(theirs)));
    check(refused!(DeleteKey, "Conflict", Some("acme"), key(id), keys.delete_version(id, 99)));
    check(refused!(
        ReportLeak,
        "NotAllowed",
        Some("acme"),
        key(id),
        keyring.report_leak(token, "\u{7}", LeakResponse::Suspend)
    ));
    // A store that fails.
    for (method, change) in [
        ("update_tenant", ChangeKind::SetTier),
        ("update_key", ChangeKind::RotateKey),
        ("update_key", ChangeKind::SuspendKey),
        ("delete_key", ChangeKind::RevokeKey),
    ] {
        world.store.fail(method);
        let (of_key, result) = match change {
            ChangeKind::SetTier => {
                (None, block_on(keyring.set_tier(acme.keys.id(), "lite")).map(drop))
            }
            ChangeKind::RotateKey => {
                (key(id), block_on(keys.rotate(id, 1, GracePeriod::None)).map(drop))
            }
            ChangeKind::SuspendKey => (key(id), block_on(keyring.suspend_key(id, ban())).map(drop)),
            _ => (key(id), block_on(keyring.revoke(token))),
        };
        world.store.heal(method);
        check((change, "Unavailable", Some("acme"), of_key, result));
    }
    // A child of a key that may have none.
    #[cfg(feature = "children")]
    {
        let _ = take(&world);
        let child = keyway::children::NewChild::lasting(SECOND);
        let result = block_on(keyring.mint_own_child(token, &child, None)).map(drop);
        let events = take(&world);
        assert!(result.is_err() && events.len() == 1, "{events:?}");
        assert!(events[0].kind.contains("MintChild, refusal: NotAllowed"), "{events:?}");
        assert_eq!((events[0].tenant.as_deref(), &events[0].key), (Some("acme"), &key(id)));
    }
    // The quota is last, because it fills the tenant.
    for _ in 0..3 {
        let _ = block_on(keys.issue(scoped(&[]))).unwrap();
    }
    let _ = take(&world);
    let result = block_on(keys.issue(scoped(&[]))).map(drop);
    let events = take(&world);
    assert!(result.is_err() && events.len() == 1, "{events:?}");
    assert!(events[0].kind.contains("IssueKey, refusal: QuotaExceeded"), "{events:?}");

    for change in [
        ChangeKind::CreateTenant,
        ChangeKind::SetTier,
        ChangeKind::SuspendTenant,
        ChangeKind::ResumeTenant,
        ChangeKind::DeleteTenant,
        ChangeKind::IssueKey,
        ChangeKind::ImportKey,
        ChangeKind::EditKey,
        ChangeKind::RotateKey,
        ChangeKind::SuspendKey,
        ChangeKind::ResumeKey,
        ChangeKind::DeleteKey,
        ChangeKind::RevokeKey,
        ChangeKind::ReportLeak,
    ] {
        assert!(checked.contains(&change), "{change:?} was not tried");
    }
}

#[test]
fn ten_thousand_made_up_tokens_are_a_handful_of_events() {
    let world = World::new();
    let made_up = |number: usize| format!("mm_live_{number:056}");
    let flood = || {
        for number in 0..10_000 {
            let refused = block_on(world.keyring.verify(made_up(number)));
            assert!(matches!(refused, Err(VerifyError::Rejected)));
        }
    };
    flood();
    let told = Noise::EVENTS_PER_SECOND as usize;
    assert_eq!(world.audit.take_kinds(), vec!["Rejected(Forged)"; told]);
    world.clock.advance(SECOND);
    flood();
    let kinds = world.audit.take_kinds();
    assert_eq!(kinds[0], "Suppressed { noise: Forged, count: 9990 }");
    assert_eq!(kinds[1..], vec!["Rejected(Forged)"; told]);
    // The last suppressed requests are reported even after the noise has stopped.
    block_on(world.keyring.flush_uses()).unwrap();
    assert_eq!(world.audit.take_kinds(), ["Suppressed { noise: Forged, count: 9990 }"]);
    flood();
    let audit = world.audit.clone();
    drop(world);
    assert_eq!(audit.take_kinds(), ["Suppressed { noise: Forged, count: 10000 }"]);
}

#[test]
fn noise_hides_no_refusal_of_a_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    block_on(held.keys.disable(held.key.id())).unwrap();
    let dead = world.tenant_with_key("dead");
    block_on(dead.keys.delete(dead.key.id())).unwrap();
    for number in 0..1_000 {
        let _ = block_on(world.keyring.verify(format!("mm_live_{number:056}")));
        let _ = block_on(world.keyring.verify("malformed"));
    }
    let _ = world.audit.take_kinds();
    for _ in 0..100 {
        assert!(block_on(world.keyring.verify(&*held.token)).is_err());
        assert!(block_on(world.keyring.verify(&*dead.token)).is_err());
    }
    let events = take(&world);
    let of = |held: &Held, kind: &str| {
        let key = held.key.id().to_string();
        let is = |event: &&Event| event.kind == kind && event.key.as_ref() == Some(&key);
        events.iter().filter(is).count()
    };
    assert_eq!((of(&held, "Inactive(Disabled)"), of(&dead, "Rejected(Unknown)")), (100, 100));
    assert_eq!(events.len(), 200);
}

#[test]
fn outage_is_reported_but_not_once_for_each_request() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.set_down(true);
    let _ = world.audit.take_kinds();
    (0..1_000).for_each(|_| assert!(block_on(world.keyring.verify(&*held.token)).is_err()));
    let kinds = world.audit.take_kinds();
    // Five requests reached the store. Ten of the others are events.
    assert_eq!(kinds, vec!["Unavailable"; 15]);
    block_on(world.keyring.verify("x")).unwrap_err();
    let _ = world.audit.take_kinds();
    world.clock.advance(Duration::from_millis(100));
    assert!(block_on(world.keyring.flush_uses()).is_ok());
    assert_eq!(world.audit.take_kinds(), ["Suppressed { noise: Unavailable, count: 985 }"]);
}

/// An event is one line in a log, whatever text was given as the id of a tenant.
#[test]
fn invalid_tenant_id_is_not_in_the_event() {
    let world = World::new();
    for id in ["a\nkey_deleted", "\u{1b}[2J", "", &"x".repeat(100_000)] {
        let _ = world.audit.take_kinds();
        assert!(block_on(world.keyring.create_tenant(id, "lite")).is_err());
        assert!(block_on(world.keyring.create_empty_tenant(id, "lite")).is_err());
        let events = take(&world);
        assert_eq!(events.len(), 2, "{events:?}");
        for event in events {
            assert_eq!(event.tenant, None);
            assert!(event.kind.len() < 500 && event.kind.contains("CreateTenant"), "{event:?}");
        }
    }
}

/// A caller that may send foreign tokens can make up any number of them and request the deletion of each.
#[test]
fn made_up_foreign_tokens_in_an_outage_are_sampled() {
    let world = World::with(policy(), |builder| builder.accept_imported(foreign()));
    let held = world.tenant_with_key("acme");
    world.store.set_down(true);
    let _ = world.audit.take_kinds();
    for number in 0..1_000 {
        let revoked = block_on(world.keyring.revoke(format!("{number:043}")));
        assert!(matches!(revoked, Err(KeyringError::Unavailable(_))));
    }
    assert_eq!(world.audit.take_kinds(), ["Unavailable"; Noise::EVENTS_PER_SECOND as usize]);
    // A token that was minted by this keyring names its key, even if the store fails.
    for revoked in 0..20 {
        assert!(block_on(world.keyring.revoke(&*held.token)).is_err());
        let events = take(&world);
        let [event] = &events[..] else { panic!("{revoked}: {events:?}") };
        assert!(event.kind.starts_with("ChangeRefused { change: RevokeKey, refusal: Unavailable"));
        assert_eq!(event.key, Some(held.key.id().to_string()));
    }
}

#[test]
fn successful_verifications_are_not_events() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let _ = world.audit.take_kinds();
    for _ in 0..100 {
        assert!(block_on(world.keyring.verify(&*held.token)).is_ok());
        let value = format!("Bearer {}", held.token);
        assert!(block_on(world.keyring.verify_authorization(Some(value))).is_ok());
    }
    assert!(block_on(world.keyring.describe(&*held.token)).is_ok());
    assert_eq!(world.audit.take_kinds(), Vec::<String>::new());
}

#[cfg(all(feature = "http", feature = "rate-limit"))]
mod guards {
    use keyway::{Guard, Policy, Tier, http::OwnKey, rate::Rate};

    use super::*;

    fn world() -> World {
        let tiers = [Tier::new("advanced", 5).rate(Rate { requests: 3, per_seconds: 60 })];
        let policy = Policy::new("mm", crate::support::catalog(), tiers).unwrap();
        World::with(policy, |builder| builder)
    }

    fn status(guard: &Guard, authorization: &[&str]) -> u16 {
        let fields: Vec<_> =
            authorization.iter().map(|value| ("authorization", value.as_bytes())).collect();
        block_on(guard.admit(&fields[..])).map_or_else(|answer| answer.status(), |_| 200)
    }

    #[test]
    fn each_refusal_of_a_guard_is_one_event() {
        let world = world();
        let acme = world.tenant_with_key("acme");
        let dead = world.tenant_with_key("dead");
        block_on(dead.keys.delete(dead.key.id())).unwrap();
        let disabled = world.tenant_with_key("disabled");
        block_on(disabled.keys.disable(disabled.key.id())).unwrap();
        let reporting = Guard::new(&world.keyring).require(["reporting"]).unwrap();
        let manager = Guard::new(&world.keyring).require(["manager"]).unwrap();
        let bearer = |held: &Held| format!("Bearer {}", held.token);
        let (good, dead_one, off) = (bearer(&acme), bearer(&dead), bearer(&disabled));
        let named = |held: &Held, tenant: bool| {
            (tenant.then(|| held.keys.id().to_string()), Some(held.key.id().to_string()))
        };
        let _ = take(&world);
        let cases: [(&Guard, &[&str], u16, Option<&str>, _); 8] = [
            (
                &manager,
                &[&good],
                403,
                Some("Forbidden { scopes: [Scope(\"manager\")] }"),
                named(&acme, true),
            ),
            (&reporting, &[&good], 200, None, (None, None)),
            (&reporting, &[], 401, Some("Missing"), (None, None)),
            (&reporting, &[&good, &good], 400, Some("BadRequest"), (None, None)),
            (&reporting, &["Bearer x"], 401, Some("Rejected(Malformed)"), (None, None)),
            (&reporting, &[&dead_one], 401, Some("Rejected(Unknown)"), named(&dead, false)),
            (
                &reporting,
                &[&off],
                401,
                Some("Inactive(Disabled)"),
                (None, named(&disabled, true).1),
            ),
            (
                &manager,
                &[&good],
                403,
                Some("Forbidden { scopes: [Scope(\"manager\")] }"),
                named(&acme, true),
            ),
        ];
        for (guard, authorization, expected, kind, (tenant, key)) in cases {
            assert_eq!(status(guard, authorization), expected);
            let events = take(&world);
            assert_eq!(events.len(), usize::from(kind.is_some()), "{events:?}");
            if let (Some(event), Some(kind)) = (events.first(), kind) {
                assert_eq!((&*event.kind, &event.key), (kind, &key));
                // The event of a disabled key may name the tenant as well.
                assert!(event.tenant == tenant || kind.starts_with("Inactive"), "{event:?}");
            }
        }
        // Three requests a minute. Forbidden requests are not counted.
        assert_eq!((0..2).map(|_| status(&reporting, &[&good])).collect::<Vec<_>>(), [200, 200]);
        assert_eq!(take(&world), []);
        assert_eq!(status(&reporting, &[&good]), 429);
        let events = take(&world);
        assert_eq!(events.len(), 1);
        assert!(events[0].kind.starts_with("Limited { retry_after: "), "{events:?}");
        assert_eq!((events[0].tenant.clone(), events[0].key.clone()), named(&acme, true));
    }

    #[test]
    fn requests_without_a_key_are_sampled() {
        let world = world();
        let guard = Guard::new(&world.keyring);
        let told = Noise::EVENTS_PER_SECOND as usize;
        (0..1_000).for_each(|_| assert_eq!(status(&guard, &[]), 401));
        assert_eq!(world.audit.take_kinds(), vec!["Missing"; told]);
        (0..1_000).for_each(|_| assert_eq!(status(&guard, &["Basic eDp5"]), 401));
        let _ = world.audit.take_kinds();
        // A route that needs no key does not reject a request without one.
        world.clock.advance(crate::support::HOUR);
        assert_eq!(status(&guard.optional(), &[]), 200);
        assert_eq!(world.audit.take_kinds(), Vec::<String>::new());
    }

    #[test]
    fn refusals_at_a_holders_endpoint_are_events() {
        let world = world();
        let acme = world.tenant_with_key("acme");
        block_on(acme.keys.delete(acme.key.id())).unwrap();
        let endpoint = OwnKey::new(&world.keyring, &Guard::new(&world.keyring));
        let _ = take(&world);
        let ask = |value: &str| {
            let fields = [("authorization", value.as_bytes())];
            block_on(endpoint.describe(&fields[..])).status()
        };
        assert_eq!(ask(&format!("Bearer {}", acme.token)), 401);
        let events = take(&world);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(
            (&*events[0].kind, &events[0].key),
            ("Rejected(Unknown)", &Some(acme.key.id().to_string()))
        );
        assert_eq!(ask("Bearer x"), 401);
        assert_eq!(world.audit.take_kinds(), ["Rejected(Malformed)"]);
        let none: [(&str, &[u8]); 0] = [];
        assert_eq!(block_on(endpoint.describe(&none[..])).status(), 401);
        assert_eq!(world.audit.take_kinds(), ["Missing"]);
    }
}
