//! The end of a parent is the end of its children, and a child never does more than its parent: for each cause, on each
//! path by which a verifier knows a child, within the bound that holds for the parent.

mod audience;
mod memo;
mod paths;
mod rotations;
mod streams;
mod times;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{
    DAY, FaultyStore, HOUR, Held, MAX_STALENESS, World, block_on, catalog,
    overheard::RevealKnown as _,
};
use keyway::{
    GracePeriod, KeyEdit, KeyState, LeakResponse, NewKey, Policy, Principal, Tier, VerifyError,
    children::{ChildMinter, NewChild, Place},
    grant::{Networks, OutsideGrant, ResourceDeclaration, Resources},
    operations::{Needs, OperationTable, Operations},
    record::Suspension,
    store::{Change, ChangeFeed, Follower},
    verifier::{Freshness, Verifier},
};

/// The time from the beginning of a world to the end of the lifetime of keys on the tier `trial`.
const BEFORE_TRIAL_ENDS: Duration = Duration::from_secs(30);

/// Lite lacks `manager`. Keys on Trial last for an hour.
fn policy() -> Policy {
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let tiers = [
        Tier::new("lite", 5).scopes(["operator", "erp"]).max_lifetime(HOUR),
        Tier::new("trial", 5).max_lifetime(HOUR),
        Tier::new("advanced", 5),
    ];
    let catalog = catalog().with_resources(kinds).unwrap();
    Policy::new("mm", catalog, tiers).unwrap().with_children(DAY).unwrap()
}

/// Returns a world whose keys on Trial would end soon.
fn world() -> World {
    World::with(policy(), |builder| builder)
}

fn another_node(world: &World) -> World {
    world.another_node_with(policy(), |builder| builder)
}

/// Creates a tenant with a key that may have children, some time ago.
fn tenant(world: &World, id: &str) -> Held {
    let request = NewKey::named("first")
        .scopes(["reporting", "manager"])
        .resources("machine", Resources::only(["press-1", "press-2"]).unwrap())
        .resources("site", Resources::All)
        .networks(Networks::only(["192.0.2.0/24"]).unwrap())
        .owner("ann".parse().unwrap())
        .children(true);
    let created = block_on(world.keyring.create_tenant_with(id, "advanced", request));
    let (keys, issued) = created.unwrap();
    Held { keys, key: issued.key, token: issued.token.reveal_known().to_string() }
}

/// Returns a child of the key with this token, minted now.
fn child(world: &World, held: &Held, token: &str, request: &NewChild) -> String {
    let prefix = world.keyring.child_prefix(&held.key).unwrap();
    let minter = ChildMinter::new(token, &prefix).unwrap();
    minter.mint_at(request, world.now()).unwrap().reveal_known().to_string()
}

/// Returns a request for a child that may use two machines, with one scope more than each test needs.
fn an_hour() -> NewChild {
    NewChild::lasting(HOUR)
        .scopes(["reporting", "manager", "operator"])
        .unwrap()
        .resources("machine", Resources::only(["press-2", "press-3"]).unwrap())
        .unwrap()
}

fn verify(node: &Verifier, child: &str, freshness: Freshness) -> Result<Principal, VerifyError> {
    let address = Some("192.0.2.7".parse().unwrap());
    block_on(node.verify_at(child, freshness, address, &Place::new().checks_operations()))
}

/// Returns the operations of the service, of which `start` is checked as [`use_child`] does.
fn operations(node: &Verifier) -> OperationTable {
    let start = Needs::all(["reporting", "manager"]).resource("machine").touches_no("site");
    Operations::new(node.policy()).operation("start", start).build(["start"]).unwrap()
}

/// Uses a child for what all of these children may do: with both scopes, on one machine. Each door decides the same.
#[track_caller]
fn use_child(node: &Verifier, child: &str, freshness: Freshness) -> Result<(), VerifyError> {
    let caller = verify(node, child, freshness)?;
    let both = node.requirement(["reporting", "manager"]).unwrap();
    let machine = node.policy().catalog().resource("machine").unwrap();
    let permitted = caller.permit(&both, &machine, "press-2").map_err(VerifyError::Forbidden);
    let checked = operations(node).check("start", Some(&caller), &[("machine", "press-2")]);
    assert_eq!(checked.is_ok(), permitted.is_ok(), "{checked:?}, {permitted:?}");
    // The controls: what the parent may touch and the child does not name, and what the child names beyond its parent.
    for other in ["press-1", "press-3"] {
        assert!(caller.permit(&both, &machine, other).is_err(), "{other}");
    }
    let site = node.policy().catalog().resource("site").unwrap();
    assert!(caller.permit(&both, &site, "north").is_err(), "a kind that the child does not name");
    assert!(caller.require(&node.requirement(["operator"]).unwrap()).is_err());
    permitted
}

fn edit(held: &Held, edit: KeyEdit) {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    block_on(held.keys.edit(key.id(), key.version(), edit)).unwrap();
}

fn rotate(held: &Held, grace: GracePeriod) -> String {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    let rotated = block_on(held.keys.rotate(key.id(), key.version(), grace)).unwrap();
    rotated.token.reveal_known().to_string()
}

fn suspension() -> Suspension {
    Suspension::permanent("unpaid").unwrap()
}

fn report(world: &World, held: &Held, response: LeakResponse) {
    block_on(world.keyring.report_leak(&held.token, "found in a log", response)).unwrap();
}

type Cause = (&'static str, fn(&World, &Held), fn(&VerifyError) -> bool);

fn is_rejected(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Rejected)
}

fn is_expired(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Inactive(KeyState::Expired { .. }))
}

fn lacks_scope(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Forbidden(OutsideGrant::Scope(_)))
}

fn is_suspended(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Inactive(KeyState::KeySuspended { .. }))
}

/// Each change after which the child may no longer be used as [`use_child`] does, and the error.
const CAUSES: &[Cause] = &[
    ("deleted", |_, held| block_on(held.keys.delete(held.key.id())).unwrap(), is_rejected),
    (
        "disabled",
        |_, held| drop(block_on(held.keys.disable(held.key.id())).unwrap()),
        |error| matches!(error, VerifyError::Inactive(KeyState::Disabled)),
    ),
    ("children forbidden", |_, held| edit(held, KeyEdit::new().children(false)), is_rejected),
    (
        "owner disabled",
        |_, held| drop(block_on(held.keys.disable_owner(&"ann".parse().unwrap())).unwrap()),
        |error| matches!(error, VerifyError::Inactive(KeyState::OwnerDisabled)),
    ),
    (
        "suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_key(held.key.id(), suspension())).unwrap());
        },
        is_suspended,
    ),
    (
        "tenant suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_tenant(held.keys.id(), suspension())).unwrap());
        },
        |error| matches!(error, VerifyError::Inactive(KeyState::TenantSuspended { .. })),
    ),
    ("scopes narrowed", |_, held| edit(held, KeyEdit::new().scopes(["reporting"])), lacks_scope),
    (
        "resources narrowed",
        |_, held| {
            let one = Resources::only(["press-1"]).unwrap();
            edit(held, KeyEdit::new().resources("machine", one));
        },
        |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Resource(_))),
    ),
    (
        "networks narrowed",
        |_, held| edit(held, KeyEdit::new().networks(Networks::only(["192.0.2.1"]).unwrap())),
        |error| matches!(error, VerifyError::Forbidden(OutsideGrant::Network)),
    ),
    ("rotated", |_, held| drop(rotate(held, GracePeriod::None)), is_rejected),
    (
        "grace period over",
        |world, held| {
            rotate(held, GracePeriod::For(Duration::from_secs(1)));
            world.clock.advance(Duration::from_secs(1));
        },
        is_rejected,
    ),
    (
        "new secret used",
        |world, held| {
            let token = rotate(held, GracePeriod::UntilFirstUse);
            let address = Some("192.0.2.7".parse().unwrap());
            block_on(world.keyring.verify_from(token, Freshness::Cached, address)).unwrap();
        },
        is_rejected,
    ),
    (
        "child of the new secret used",
        |world, held| {
            let token = rotate(held, GracePeriod::UntilFirstUse);
            let child = child(world, held, &token, &an_hour());
            verify(world.keyring.verifier(), &child, Freshness::Cached).unwrap();
        },
        is_rejected,
    ),
    (
        "expired",
        |world, held| {
            edit(held, KeyEdit::new().expires_at(world.after(Duration::from_secs(1))));
            world.clock.advance(Duration::from_secs(1));
        },
        is_expired,
    ),
    (
        "moved to a tier without the scope",
        |world, held| drop(block_on(world.keyring.set_tier(held.keys.id(), "lite")).unwrap()),
        lacks_scope,
    ),
    (
        "lifetime of the tier over",
        |world, held| {
            drop(block_on(world.keyring.set_tier(held.keys.id(), "trial")).unwrap());
            world.clock.advance(BEFORE_TRIAL_ENDS);
        },
        is_expired,
    ),
    (
        "suspended for a leak",
        |world, held| report(world, held, LeakResponse::Suspend),
        is_suspended,
    ),
    (
        "quarantined for a leak",
        |world, held| {
            let floor = world.keyring.policy().catalog().set(["reporting"]).unwrap();
            report(world, held, LeakResponse::Quarantine(floor));
        },
        lacks_scope,
    ),
];

/// A feed that returns the changes passed to it.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<VecDeque<Change>>>);

impl ChangeFeed for Told {
    async fn next(&mut self, _: &Follower) -> Option<Change> {
        let next = || self.0.lock().unwrap().pop_front();
        poll_fn(|_| next().map_or(Poll::Pending, |change| Poll::Ready(Some(change)))).await
    }
}

impl Told {
    fn tell(&self, following: &mut Pin<Box<dyn Future<Output = ()>>>, changes: &[Change]) {
        self.0.lock().unwrap().extend(changes.iter().cloned());
        let mut context = Context::from_waker(Waker::noop());
        assert!(following.as_mut().poll(&mut context).is_pending());
    }
}
