//! Exceptions of one tenant: each replaces one limit of the tier, at the next use of each key, and taking it away
//! restores the limit.

use core::time::Duration;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use crate::support::{
    DAY, MAX_STALENESS, World, block_on, catalog, overheard::RevealKnown as _, tenant_id,
};
use keyway::{
    ChangeError, GracePeriod, KeyEdit, KeyRecord, KeyState, KeyringError, NewKey, Policy,
    Principal, ScopeCatalog, TenantKeys, Tier, VerifyError,
    keyring::QuotaUse,
    rate::Rate,
    record::{Exceptions, TenantRecord, Terms},
    scope::ScopeDeclaration,
    store::{Change, ChangeFeed, Follower},
};

const RATE: Rate = Rate { requests: 10, per_seconds: 20 };
const OTHER_RATE: Rate = Rate { requests: 3, per_seconds: 1 };

/// Returns a policy in which `small` limits everything, and `large` only the number of keys.
fn limited() -> Policy {
    let small = Tier::new("small", 5)
        .rate(RATE)
        .tenant_rate(RATE)
        .max_lifetime(10 * DAY)
        .scopes(["operator", "erp"]);
    Policy::new("mm", catalog(), [small, Tier::new("large", 50)]).unwrap()
}

fn world() -> World {
    World::with(limited(), |builder| builder)
}

fn another_node(world: &World) -> World {
    world.another_node_with(limited(), |builder| builder)
}

fn acme_on(world: &World, tier: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant("acme", tier)).unwrap()
}

fn acme(world: &World) -> TenantRecord {
    block_on(world.keyring.find_tenant(&tenant_id("acme"))).unwrap()
}

fn terms(world: &World) -> Terms {
    world.keyring.policy().terms(&acme(world)).unwrap()
}

/// Sets the exceptions of the tenant as it is now.
fn try_set(world: &World, exceptions: Exceptions) -> Result<QuotaUse, KeyringError> {
    let acme = acme(world);
    block_on(world.keyring.set_exceptions(acme.id(), acme.version(), exceptions))
}

fn set(world: &World, exceptions: Exceptions) -> QuotaUse {
    try_set(world, exceptions).unwrap()
}

fn issue(keys: &TenantKeys, request: NewKey) -> (KeyRecord, String) {
    let issued = block_on(keys.issue(request)).unwrap();
    (issued.key, issued.token.reveal_known().to_string())
}

fn verify(world: &World, token: &str) -> Result<Principal, VerifyError> {
    block_on(world.keyring.verify(token))
}

/// Returns the state for which the token is refused, or `Active`.
fn state(world: &World, token: &str) -> KeyState {
    match verify(world, token) {
        Ok(_) => KeyState::Active,
        Err(VerifyError::Inactive(state)) => state,
        Err(error) => panic!("{error}"),
    }
}

fn may(world: &World, token: &str, scope: &str) -> bool {
    let requirement = world.keyring.requirement([scope]).unwrap();
    verify(world, token).unwrap().require(&requirement).is_ok()
}

fn refusal(error: KeyringError) -> ChangeError {
    match error {
        KeyringError::Refused(refused) => refused,
        error => panic!("{error}"),
    }
}

/// A feed that returns the changes passed to it.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<VecDeque<Change>>>);

impl ChangeFeed for Told {
    async fn next(&mut self, _: &Follower) -> Option<Change> {
        let next = |_: &mut Context<'_>| match self.0.lock().unwrap().pop_front() {
            Some(change) => Poll::Ready(Some(change)),
            None => Poll::Pending,
        };
        poll_fn(next).await
    }
}

/// Another node that follows what the test says.
struct Following {
    world: World,
    feed: Told,
    follows: Pin<Box<dyn Future<Output = ()>>>,
}

impl Following {
    fn over(world: &World) -> Self {
        let (world, feed) = (another_node(world), Told::default());
        let follows = Box::pin(world.keyring.verifier().follow(feed.clone()));
        Self { world, feed, follows }
    }

    /// Lets the node learn that the tenant has changed.
    fn tell(&mut self) {
        self.feed.0.lock().unwrap().push_back(Change::Tenant(tenant_id("acme")));
        let mut context = Context::from_waker(Waker::noop());
        assert!(self.follows.as_mut().poll(&mut context).is_pending());
    }
}

// Each limit.

#[test]
fn each_exception_replaces_one_limit_until_taken_away() {
    let world = world();
    acme_on(&world, "small");
    let tier = terms(&world);
    let catalog = world.keyring.policy().catalog().clone();
    let only = |names: &[&str]| catalog.set(names).unwrap();
    let cases: Vec<(Exceptions, Box<dyn Fn(&mut Terms)>)> = vec![
        (Exceptions::new().keys(7), Box::new(|terms| terms.keys = 7)),
        (Exceptions::new().keys(0), Box::new(|terms| terms.keys = 0)),
        (Exceptions::new().rate(OTHER_RATE), Box::new(|terms| terms.rate = Some(OTHER_RATE))),
        (Exceptions::new().rate(None), Box::new(|terms| terms.rate = None)),
        (
            Exceptions::new().tenant_rate(OTHER_RATE),
            Box::new(|terms| terms.tenant_rate = Some(OTHER_RATE)),
        ),
        (Exceptions::new().tenant_rate(None), Box::new(|terms| terms.tenant_rate = None)),
        (Exceptions::new().max_lifetime(DAY), Box::new(|terms| terms.max_lifetime = Some(DAY))),
        (Exceptions::new().max_lifetime(None), Box::new(|terms| terms.max_lifetime = None)),
        (
            Exceptions::new().scopes(["manager", "reporting"]),
            Box::new(|terms| terms.scopes = only(&["manager", "reporting"])),
        ),
        (Exceptions::new().scopes([""; 0]), Box::new(|terms| terms.scopes = only(&[]))),
        (Exceptions::new().all_scopes(), Box::new(|terms| terms.scopes = catalog.all())),
    ];
    for (exceptions, change) in cases {
        let mut expected = tier.clone();
        change(&mut expected);
        assert_ne!(expected, tier, "{exceptions}");
        set(&world, exceptions.clone());
        assert_eq!(terms(&world), expected, "{exceptions}");
        assert_eq!(acme(&world).exceptions(), &exceptions);
        // Setting exceptions replaces all of them.
        set(&world, Exceptions::new().keys(6));
        assert_eq!(terms(&world).keys, 6);
        set(&world, Exceptions::new());
        assert_eq!(terms(&world), tier, "{exceptions}");
    }
}

#[test]
fn seven_keys_on_a_tier_of_five_and_no_eighth() {
    let world = world();
    let keys = acme_on(&world, "small");
    for _ in 0..5 {
        issue(&keys, NewKey::named("k"));
    }
    assert!(block_on(keys.issue(NewKey::named("k"))).is_err());
    let quota = set(&world, Exceptions::new().keys(7));
    assert_eq!((quota.allowed, quota.held, quota.over()), (7, 5, 0));
    for _ in 5..7 {
        issue(&keys, NewKey::named("k"));
    }
    let refused = block_on(keys.issue(NewKey::named("k"))).unwrap_err();
    let KeyringError::QuotaExceeded { allowed, held, tier, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!((allowed, held, &*tier), (7, 7, "small"));
    // Another tenant of the tier has no exception.
    let other = block_on(world.keyring.create_empty_tenant("other", "small")).unwrap();
    assert_eq!(block_on(other.quota()).unwrap().allowed, 5);

    let quota = set(&world, Exceptions::new());
    assert_eq!((quota.allowed, quota.held, quota.over()), (5, 7, 2));
}

#[test]
fn fewer_keys_than_held_keeps_them_and_admits_no_new_one() {
    let world = world();
    let keys = acme_on(&world, "small");
    let held: Vec<_> = (0..4).map(|_| issue(&keys, NewKey::named("k"))).collect();
    assert_eq!(set(&world, Exceptions::new().keys(2)).over(), 2);
    assert!(held.iter().all(|(_, token)| verify(&world, token).is_ok()));
    for (key, _) in &held[..2] {
        assert!(block_on(keys.issue(NewKey::named("k"))).is_err());
        block_on(keys.delete(key.id())).unwrap();
    }
    // As many as allowed are held now.
    assert!(block_on(keys.issue(NewKey::named("k"))).is_err());
    // A key that is held can still be changed.
    block_on(keys.edit(held[2].0.id(), 1, KeyEdit::new().name("n"))).unwrap();
    block_on(keys.delete(held[3].0.id())).unwrap();
    issue(&keys, NewKey::named("k"));
}

#[test]
fn a_longest_lifetime_ends_keys_at_the_next_use_on_every_node() {
    let world = world();
    let keys = acme_on(&world, "large");
    let mut follower = Following::over(&world);
    let start = world.now();
    let (_, token) = issue(&keys, NewKey::named("k"));
    world.clock.advance(5 * DAY);
    assert_eq!(state(&world, &token), KeyState::Active);
    assert_eq!(state(&follower.world, &token), KeyState::Active);

    set(&world, Exceptions::new().max_lifetime(3 * DAY));
    let ended = KeyState::Expired { at: start.checked_add(3 * DAY).unwrap() };
    assert_eq!(state(&world, &token), ended);
    assert_eq!(state(&another_node(&world), &token), ended);
    // The node that has the key in its cache learns of it through its feed.
    assert_eq!(state(&follower.world, &token), KeyState::Active);
    follower.tell();
    assert_eq!(state(&follower.world, &token), ended);
    assert_eq!(block_on(world.keyring.describe(&token)).unwrap().state, ended);

    for longer in [Exceptions::new(), Exceptions::new().max_lifetime(6 * DAY)] {
        set(&world, longer);
        follower.tell();
        assert_eq!(state(&world, &token), KeyState::Active);
        assert_eq!(state(&follower.world, &token), KeyState::Active);
    }
    // The end is exact.
    world.clock.set(start.checked_add(6 * DAY - Duration::from_millis(1)).unwrap());
    assert_eq!(state(&another_node(&world), &token), KeyState::Active);
    world.clock.set(start.checked_add(6 * DAY).unwrap());
    let ended = KeyState::Expired { at: start.checked_add(6 * DAY).unwrap() };
    assert_eq!(state(&another_node(&world), &token), ended);
}

#[test]
fn key_ended_by_an_exception_alone_is_not_purged() {
    let world = world();
    let keys = acme_on(&world, "large");
    let (_, token) = issue(&keys, NewKey::named("k"));
    world.clock.advance(50 * DAY);
    set(&world, Exceptions::new().max_lifetime(DAY));
    assert!(matches!(state(&world, &token), KeyState::Expired { .. }));
    let purged = block_on(world.keyring.purge_expired(DAY, None, |_| {})).unwrap();
    assert_eq!((purged.tenants, purged.changed), (1, 0));
    set(&world, Exceptions::new());
    assert_eq!(state(&world, &token), KeyState::Active);
}

#[test]
fn new_keys_live_as_long_as_the_exception_allows() {
    let world = world();
    let keys = acme_on(&world, "small");
    set(&world, Exceptions::new().max_lifetime(20 * DAY));
    assert_eq!(issue(&keys, NewKey::named("k")).0.expires_at(), Some(world.after(20 * DAY)));
    let (_, token) = issue(&keys, NewKey::named("k").expires_in(15 * DAY));
    let longer = NewKey::named("k").expires_in(20 * DAY + Duration::from_millis(1));
    let refused = refusal(block_on(keys.issue(longer)).unwrap_err());
    let ChangeError::LifetimeTooLong { allowed, latest, .. } = refused else { panic!("{refused}") };
    assert_eq!((allowed, latest), (20 * DAY, world.after(20 * DAY)));
    set(&world, Exceptions::new().max_lifetime(None));
    assert_eq!(issue(&keys, NewKey::named("k")).0.expires_at(), None);
    // Without the exception the tier ends them all.
    set(&world, Exceptions::new());
    world.clock.advance(10 * DAY);
    assert!(matches!(state(&world, &token), KeyState::Expired { .. }));
}

#[test]
fn edit_that_lengthens_nothing_is_not_refused_for_its_length() {
    let world = world();
    let keys = acme_on(&world, "large");
    let (endless, _) = issue(&keys, NewKey::named("endless"));
    let (long, _) = issue(&keys, NewKey::named("long").expires_in(30 * DAY));
    let start = world.now();
    let day = |number| start.checked_add(number * DAY).unwrap();
    set(&world, Exceptions::new().max_lifetime(10 * DAY));
    let edit = |key: &KeyRecord, edit| {
        let version = block_on(keys.find(key.id())).unwrap().version();
        block_on(keys.edit(key.id(), version, edit))
    };
    let ends = |end| KeyEdit::new().expires_at(end);
    edit(&endless, KeyEdit::new().name("n").scopes(["reporting"])).unwrap();
    edit(&endless, ends(None)).unwrap();
    edit(&long, ends(Some(day(30)))).unwrap();
    // An earlier end, even if it is later than the exception allows.
    edit(&long, ends(Some(day(20)))).unwrap();
    edit(&endless, ends(Some(day(25)))).unwrap();
    for end in [Some(day(26)), None] {
        let refused = refusal(edit(&endless, ends(end)).unwrap_err());
        assert!(matches!(refused, ChangeError::LifetimeTooLong { .. }), "{refused}");
    }
    // None of these edits has moved the time from which the lifetime counts.
    let found = block_on(keys.find(endless.id())).unwrap();
    assert_eq!(found.effective_expiry(&terms(&world)), Some(day(10)));

    // A rotated key may be renewed up to the longest lifetime of its present secret.
    world.clock.advance(9 * DAY);
    let version = block_on(keys.find(long.id())).unwrap().version();
    drop(block_on(keys.rotate(long.id(), version, GracePeriod::None)).unwrap());
    assert!(edit(&long, ends(Some(day(21)))).is_err());
    let renewed = edit(&long, ends(Some(day(19)))).unwrap();
    assert_eq!(renewed.effective_expiry(&terms(&world)), Some(day(19)));
}

#[test]
fn exception_above_the_ceiling_admits_more_scopes() {
    let world = world();
    let keys = acme_on(&world, "small");
    let manager = || NewKey::named("k").scopes(["manager"]);
    let refused = refusal(block_on(keys.issue(manager())).unwrap_err());
    assert!(matches!(refused, ChangeError::AboveCeiling { .. }), "{refused}");
    for exceptions in [Exceptions::new().scopes(["manager"]), Exceptions::new().all_scopes()] {
        set(&world, exceptions);
        let (key, token) = issue(&keys, manager());
        assert!(may(&world, &token, "manager"));
        // Taking the exception away withholds the scope from the key and does not take it from its record.
        set(&world, Exceptions::new());
        assert!(!may(&world, &token, "manager"));
        let edit = KeyEdit::new().scopes(["manager", "operator"]);
        block_on(keys.edit(key.id(), 1, edit)).unwrap();
        assert!(may(&world, &token, "operator") && !may(&world, &token, "manager"));
        set(&world, Exceptions::new().all_scopes());
        assert!(may(&world, &token, "manager"));
        set(&world, Exceptions::new());
    }
}

#[test]
fn fewer_scopes_narrow_keys_at_the_next_use_on_every_node() {
    let world = world();
    let keys = acme_on(&world, "large");
    let mut follower = Following::over(&world);
    let (_, token) = issue(&keys, NewKey::named("k").scopes(["operator", "erp"]));
    assert!(may(&world, &token, "operator") && may(&follower.world, &token, "operator"));

    set(&world, Exceptions::new().scopes(["operator.read", "reporting"]));
    for (scope, is_allowed) in
        [("operator", false), ("operator.read", true), ("erp", false), ("reporting", true)]
    {
        assert_eq!(may(&world, &token, scope), is_allowed, "{scope}");
        assert_eq!(may(&another_node(&world), &token, scope), is_allowed, "{scope}");
    }
    assert!(may(&follower.world, &token, "operator"));
    follower.tell();
    assert!(!may(&follower.world, &token, "operator"));
    assert!(may(&follower.world, &token, "operator.read"));

    set(&world, Exceptions::new().scopes([""; 0]));
    assert!(!may(&world, &token, "operator.read") && !may(&world, &token, "reporting"));
    let refused = block_on(keys.issue(NewKey::named("k").scopes(["reporting"])));
    assert!(matches!(refusal(refused.unwrap_err()), ChangeError::AboveCeiling { .. }));
    set(&world, Exceptions::new());
    assert!(may(&world, &token, "operator") && may(&world, &token, "erp"));
}

// Valid exceptions.

#[test]
fn exceptions_that_make_no_sense_are_refused_by_name() {
    let world = world();
    acme_on(&world, "small");
    set(&world, Exceptions::new().keys(6));
    let before = acme(&world);
    let (no_requests, no_time) =
        (Rate { requests: 0, per_seconds: 1 }, Rate { requests: 1, per_seconds: 0 });
    for (exceptions, message) in [
        (Exceptions::new().scopes(["reporting", "nope"]), "scope `nope` is not declared"),
        (Exceptions::new().scopes(["line\nbreak"]), "scope `line\\nbreak` is not declared"),
        (Exceptions::new().scopes([""]), "scope `` is not declared"),
        (Exceptions::new().rate(no_requests), "the rate is zero"),
        (Exceptions::new().rate(no_time), "the rate is zero"),
        (Exceptions::new().tenant_rate(no_requests), "the rate of the tenant is zero"),
        (Exceptions::new().tenant_rate(no_time), "the rate of the tenant is zero"),
        (Exceptions::new().max_lifetime(Duration::ZERO), "the longest lifetime is zero"),
        // A lifetime is stored in whole milliseconds.
        (Exceptions::new().max_lifetime(Duration::from_nanos(999)), "the longest lifetime is zero"),
    ] {
        let refused = try_set(&world, exceptions.clone()).unwrap_err();
        assert_eq!(refusal(refused).to_string(), message);
        let refused = block_on(world.keyring.preview_exceptions(before.id(), exceptions));
        assert_eq!(refusal(refused.unwrap_err()).to_string(), message);
    }
    assert_eq!(acme(&world), before);
}

#[test]
fn names_of_scopes_are_stored_once_and_in_order() {
    let world = world();
    acme_on(&world, "small");
    set(&world, Exceptions::new().scopes(["reporting", "operator.read", "reporting", "operator"]));
    let expected = Exceptions::new().scopes(["operator", "reporting"]);
    assert_eq!(acme(&world).exceptions(), &expected);
}

#[test]
fn second_of_two_changes_of_exceptions_is_a_conflict() {
    let world = world();
    acme_on(&world, "small");
    let read = acme(&world);
    let change = |keys| {
        let exceptions = Exceptions::new().keys(keys);
        world.keyring.set_exceptions(read.id(), read.version(), exceptions)
    };
    // Both have read the tenant before the first one writes.
    world.store.hold("update_tenant");
    let (mut first, mut second) = (pin!(change(6)), pin!(change(7)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    world.store.release("update_tenant");
    assert_eq!(block_on(first).unwrap().allowed, 6);
    assert!(matches!(block_on(second), Err(KeyringError::Conflict)));
    assert_eq!(terms(&world).keys, 6);

    // Any other change of the tenant counts too.
    let read = acme(&world);
    block_on(world.keyring.set_tier(read.id(), "large")).unwrap();
    let late = world.keyring.set_exceptions(read.id(), read.version(), Exceptions::new());
    assert!(matches!(block_on(late), Err(KeyringError::Conflict)));
    let nobody = tenant_id("nobody");
    let unknown = world.keyring.set_exceptions(&nobody, 1, Exceptions::new());
    assert!(matches!(block_on(unknown), Err(KeyringError::NoTenant(_))));
}

#[test]
fn second_of_two_moves_of_a_version_is_a_conflict() {
    let world = world();
    acme_on(&world, "small");
    let read = acme(&world);
    let change = |tier| world.keyring.set_tier_version(read.id(), read.version(), tier);
    // Both have read the tenant before the first one writes.
    world.store.hold("update_tenant");
    let (mut first, mut second) = (pin!(change("large")), pin!(change("small")));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    world.store.release("update_tenant");
    assert_eq!(block_on(first).unwrap().allowed, 50);
    assert!(matches!(block_on(second), Err(KeyringError::Conflict)));

    // A version that was read before the change is not compared with the store alone.
    assert!(matches!(block_on(change("small")), Err(KeyringError::Conflict)));
    assert_eq!(acme(&world).tier(), "large");
    let nobody = tenant_id("nobody");
    let unknown = block_on(world.keyring.set_tier_version(&nobody, 1, "large"));
    assert!(matches!(unknown, Err(KeyringError::NoTenant(_))));
}

#[test]
fn exceptions_survive_a_move_to_another_tier() {
    let world = world();
    acme_on(&world, "small");
    let contract = Exceptions::new().keys(7).rate(None);
    set(&world, contract.clone());
    for tier in ["large", "small"] {
        let moved = block_on(world.keyring.set_tier(&tenant_id("acme"), tier)).unwrap();
        assert_eq!((moved.allowed, moved.tenant.exceptions()), (7, &contract));
        let terms = terms(&world);
        assert_eq!((terms.keys, terms.rate), (7, None));
        // The other limits are those of the new tier.
        let policy = limited();
        assert_eq!(terms.max_lifetime, policy.tier(tier).unwrap().max_lifetime);
    }
}

#[test]
fn scope_of_another_nodes_policy_is_kept_and_gives_nothing() {
    let old = world();
    let declared = ["operator", "reporting", "billing"];
    let newer = ScopeCatalog::new(declared.map(|name| ScopeDeclaration::new(name, ""))).unwrap();
    let tiers = [Tier::new("small", 5).scopes(["operator"]), Tier::new("large", 50)];
    let new = old.another_node_with(Policy::new("mm", newer, tiers).unwrap(), |builder| builder);
    acme_on(&old, "small");
    // The old node cannot set what it does not know.
    let both = || Exceptions::new().scopes(["reporting", "billing"]);
    let refused = refusal(try_set(&old, both()).unwrap_err());
    assert!(matches!(refused, ChangeError::UnknownScope(name) if name == "billing"));

    set(&new, both());
    let keys = new.keyring.tenant(tenant_id("acme"));
    let (_, token) = issue(&keys, NewKey::named("k").scopes(["reporting", "billing"]));
    assert!(may(&new, &token, "billing"));
    assert_eq!(terms(&old).scopes, old.keyring.policy().catalog().set(["reporting"]).unwrap());
    assert!(may(&old, &token, "reporting"));
    let keys_of_old = old.keyring.tenant(tenant_id("acme"));
    assert!(block_on(keys_of_old.issue(NewKey::named("k").scopes(["billing"]))).is_err());

    // The old node changes another exception and keeps the scope.
    set(&old, both().keys(6));
    assert_eq!(
        acme(&old).exceptions(),
        &Exceptions::new().scopes(["billing", "reporting"]).keys(6)
    );
    old.clock.advance(MAX_STALENESS);
    assert!(may(&new, &token, "billing"));
    let other = Exceptions::new().scopes(["reporting", "invoices"]);
    assert!(try_set(&old, other).is_err());
    // It may drop the scope, and cannot add it again.
    set(&old, Exceptions::new().scopes(["reporting"]));
    old.clock.advance(MAX_STALENESS);
    assert!(!may(&new, &token, "billing"));
    assert!(try_set(&old, both()).is_err());
}

// The preview, and audit events.

#[test]
fn preview_of_exceptions_lists_narrowed_and_ended_keys() {
    let world = world();
    let keys = acme_on(&world, "large");
    let (old, _) = issue(&keys, NewKey::named("old").scopes(["reporting"]));
    world.clock.advance(4 * DAY);
    let (wide, _) = issue(&keys, NewKey::named("wide").scopes(["manager", "reporting"]));
    let soon = NewKey::named("soon").scopes(["reporting"]).expires_in(DAY);
    let (_, token) = issue(&keys, soon);
    let before = acme(&world);
    let (writes, shown) = (world.store.writes(), world.audit.kinds().len());

    let narrow = Exceptions::new().keys(1).max_lifetime(3 * DAY).scopes(["erp"]);
    let preview = block_on(world.keyring.preview_exceptions(before.id(), narrow.clone())).unwrap();
    let affected: Vec<_> = preview
        .affected
        .iter()
        .map(|key| {
            let loses: Vec<_> = key.loses.iter().map(ToString::to_string).collect();
            (key.id, loses.join(" "), key.ends_at)
        })
        .collect();
    let ends = |key: &KeyRecord| key.created_at().checked_add(3 * DAY);
    let expected =
        [(old.id(), String::new(), ends(&old)), (wide.id(), "manager".into(), ends(&wide))];
    assert_eq!(affected, expected);
    assert_eq!((preview.held, preview.terms.keys, preview.complete), (3, 1, true));
    assert_eq!((&preview.tenant, &*preview.tier), (&before, "large"));
    // Nothing was changed or reported.
    assert_eq!((world.store.writes(), world.audit.kinds().len()), (writes, shown));
    assert_eq!(acme(&world), before);

    // The preview says what then happens, and the way back takes nothing.
    set(&world, narrow);
    assert_eq!(terms(&world), preview.terms);
    assert!(matches!(state(&world, &token), KeyState::Active));
    let back = block_on(world.keyring.preview_exceptions(before.id(), Exceptions::new())).unwrap();
    assert!(back.affected.is_empty(), "{back:?}");
    let same = acme(&world).exceptions().clone();
    let same = block_on(world.keyring.preview_exceptions(before.id(), same)).unwrap();
    assert!(same.affected.is_empty(), "{same:?}");
    // A move to another tier leaves the exceptions as they are.
    let moved = block_on(world.keyring.preview_tier(before.id(), "small")).unwrap();
    assert!(moved.affected.is_empty(), "{moved:?}");
    assert_eq!(moved.terms.keys, 1);
}

#[test]
fn changes_of_exceptions_are_audit_events() {
    let world = world();
    acme_on(&world, "small");
    world.audit.take_kinds();
    let ops = world.keyring.acting_as("ops");
    let change = |version, exceptions| {
        drop(block_on(ops.set_exceptions(&tenant_id("acme"), version, exceptions)));
    };
    change(1, Exceptions::new().keys(7));
    change(1, Exceptions::new().keys(8));
    change(2, Exceptions::new().scopes(["nope"]));
    change(2, Exceptions::new());
    let events = world.audit.events();
    assert!(events.iter().all(|event| {
        (&*event.actor, event.tenant.as_deref(), &event.key) == ("ops", Some("acme"), &None)
    }));
    let (none, seven) = (Exceptions::new(), Exceptions::new().keys(7));
    let kinds = world.audit.take_kinds();
    assert_eq!(kinds[0], format!("ExceptionsChanged {{ from: {none:?}, to: {seven:?} }}"));
    assert!(kinds[1].starts_with("ChangeRefused { change: SetExceptions, refusal: Conflict"));
    assert!(kinds[2].starts_with("ChangeRefused { change: SetExceptions, refusal: NotAllowed"));
    assert!(kinds[2].contains("scope `nope` is not declared"), "{}", kinds[2]);
    assert_eq!(kinds[3], format!("ExceptionsChanged {{ from: {seven:?}, to: {none:?} }}"));
    assert_eq!(kinds.len(), 4);
    assert_eq!((none.to_string(), seven.to_string()), ("none".into(), "7 keys".into()));
}
