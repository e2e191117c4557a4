//! The feature `testing`: callers that no keyring issued, a clock that a test moves, and collected audit events.

use std::time::Duration;

use keyway::{
    ChangeError, KeyState, NewKey, Policy, Tier, VerifyError,
    grant::{ResourceDeclaration, Resources},
    testing::{self, CallerError, Events},
    time::Clock as _,
};

use crate::support::{block_on, catalog};

/// Returns a policy with the kind `machine`, and a tier that does not allow `manager`.
fn policy() -> Policy {
    let machine = ResourceDeclaration::new("machine", "for tests");
    let catalog = catalog().with_resources([machine]).unwrap();
    let tiers = [Tier::new("lite", 1).scopes(["reporting"]), Tier::new("advanced", 5)];
    Policy::new("mm", catalog, tiers).unwrap()
}

#[test]
fn caller_has_what_it_was_given() {
    let policy = policy();
    let caller = testing::caller("acme")
        .key_name("ERP")
        .scopes(["erp"])
        .resources("machine", ["press"])
        .owner("ann")
        .attributes([("plan", "gold")])
        .labels([("site", "north")])
        .tier("advanced")
        .build(&policy)
        .unwrap();
    assert_eq!((caller.tenant(), caller.name()), ("acme", "ERP"));
    assert_eq!(caller.owner().unwrap().as_str(), "ann");
    assert_eq!(caller.attributes().get("plan"), Some("gold"));
    assert_eq!(caller.labels().get("site"), Some("north"));
    assert_eq!(caller.tier(&policy).unwrap().name, "advanced");
    assert!(!caller.used_previous_secret());
    // The scope implies the other one.
    let machine = policy.catalog().resource("machine").unwrap();
    for (scope, is_held) in [("erp", true), ("reporting", true), ("manager", false)] {
        let requirement = policy.catalog().require_all([scope]).unwrap();
        assert_eq!(caller.require(&requirement).is_ok(), is_held, "{scope}");
        assert_eq!(caller.permit(&requirement, &machine, "press").is_ok(), is_held, "{scope}");
        assert!(caller.permit(&requirement, &machine, "lathe").is_err(), "{scope}");
    }
}

#[test]
fn caller_has_nothing_that_it_was_not_given() {
    let policy = policy();
    let caller = testing::caller("acme").build(&policy).unwrap();
    assert_eq!((caller.name(), caller.owner()), ("test", None));
    assert_eq!(caller.tier(&policy).unwrap().name, "advanced");
    assert_eq!(caller.scopes(), policy.catalog().none());
    let machine = policy.catalog().resource("machine").unwrap();
    assert_eq!(caller.resources(&machine), &Resources::Nothing);
    let all = testing::caller("acme").all_resources("machine").build(&policy).unwrap();
    assert_eq!(all.resources(&machine), &Resources::All);
}

#[test]
fn caller_that_no_key_could_be_is_refused() {
    let policy = policy();
    let caller = || testing::caller("acme");
    let refused = |caller: testing::Caller| match caller.build(&policy) {
        Err(CallerError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(caller().scopes(["gone"])), ChangeError::UnknownScope(_)));
    assert!(matches!(refused(caller().all_resources("gone")), ChangeError::UnknownResource(_)));
    assert!(matches!(refused(caller().tier("gone")), ChangeError::UnknownTier(_)));
    let above = caller().tier("lite").scopes(["manager"]);
    assert!(matches!(refused(above), ChangeError::AboveCeiling { .. }));
    let invalid = [
        testing::caller(" "),
        caller().key_name(""),
        caller().owner(""),
        caller().resources("machine", [""]),
        caller().labels([("", "")]),
        caller().attributes([("", "")]),
        // The first error is kept.
        caller().owner("").scopes(["reporting"]).owner("ann"),
    ];
    for caller in invalid {
        assert!(matches!(refused(caller.clone()), ChangeError::Invalid(_)), "{caller:?}");
    }
}

#[test]
fn manual_clock_moves_an_expiry_and_the_cache() {
    let (clock, events) = (testing::clock(), Events::new());
    let keyring = testing::keyring_with(policy(), &clock, &events).unwrap();
    let hour = Duration::from_secs(3_600);
    let request = || NewKey::named("test").scopes(["reporting"]);
    let value = |request| block_on(testing::authorization_of(&keyring, "acme", request)).unwrap();
    let verify = |value: &str| block_on(keyring.verify_authorization(Some(value)));
    let (short, long) = (value(request().expires_in(hour)), value(request()));
    let before = clock.moment();
    clock.advance(hour - Duration::from_millis(1));
    assert!(verify(&short).is_ok() && verify(&long).is_ok());
    clock.advance(Duration::from_millis(1));
    let late = verify(&short).unwrap_err();
    assert!(matches!(late, VerifyError::Inactive(KeyState::Expired { .. })), "{late:?}");
    assert!(verify(&long).is_ok());
    // Both readings of the clock moved alike, so that cached keys age as well.
    let after = clock.moment();
    assert_eq!(after.now.saturating_since(before.now), hour);
    assert_eq!(after.uptime - before.uptime, 3_600_000);
    // An administrator moves the time of day alone, and back as well.
    clock.set(before.now);
    assert_eq!(clock.clone().moment().uptime, after.uptime);
    assert!(verify(&short).is_ok());
}

#[test]
fn collector_owns_the_events_of_all_its_clones() {
    let (clock, events) = (testing::clock(), Events::new());
    let keyring = testing::keyring_with(policy(), &clock, &events).unwrap();
    let value = block_on(testing::authorization(&keyring, "acme", ["reporting"])).unwrap();
    assert_eq!(events.kinds(), ["tenant_created", "key_issued"]);
    assert_eq!(events.seen(), events.clone().take());
    assert!(events.take().is_empty());

    let acme = keyring.acting_as("ann").tenant("acme".parse().unwrap());
    let key = block_on(keyring.verify_authorization(Some(&value))).unwrap().key_id();
    clock.advance(Duration::from_secs(60));
    block_on(acme.disable(key)).unwrap();
    assert!(block_on(keyring.verify_authorization(Some(&value))).is_err());
    let taken = events.take();
    let [edited, inactive] = &*taken else { panic!("{taken:?}") };
    assert_eq!((edited.kind, &*edited.detail), ("key_edited", "reporting, disabled"));
    assert_eq!((&*edited.actor, edited.tenant.as_deref()), ("ann", Some("acme")));
    assert_eq!((edited.key, edited.at), (Some(key), clock.moment().now));
    assert_eq!((inactive.kind, &*inactive.detail, &*inactive.actor), ("inactive", "disabled", ""));
}
