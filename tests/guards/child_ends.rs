//! Behind guards, the end of a parent is the end of its children: with one guard, an optional one, and nested ones.

use std::{sync::mpsc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing,
};
use keyway::{
    GracePeriod, Guard, KeyEdit, LeakResponse, NewKey, Policy, Principal, Tier,
    children::{NewChild, Place},
    grant::{ResourceDeclaration, Resources},
    record::Suspension,
    verifier::Freshness,
};
use tower::ServiceExt;

use crate::support::{
    DAY, HOUR, Held, MAX_STALENESS, World, block_on, catalog, overheard::RevealKnown as _,
};

fn policy() -> Policy {
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let tiers = [Tier::new("lite", 5).scopes(["operator", "erp"]), Tier::new("advanced", 5)];
    let catalog = catalog().with_resources(kinds).unwrap();
    Policy::new("mm", catalog, tiers).unwrap().with_children(DAY).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder)
}

/// Creates a tenant with a key, and a child of it that may use less.
fn tenant(world: &World, id: &str) -> (Held, String) {
    let request = NewKey::named("first")
        .scopes(["reporting", "manager"])
        .resources("machine", Resources::only(["press-1", "press-2"]).unwrap())
        .resources("site", Resources::All)
        .owner("ann".parse().unwrap())
        .children(true);
    let created = block_on(world.keyring.create_tenant_with(id, "advanced", request));
    let (keys, issued) = created.unwrap();
    let request = NewChild::lasting(HOUR).resources("machine", machine()).unwrap();
    let minter = world.keyring.child_minter(&issued.token).unwrap();
    let child = minter.mint_at(&request, world.now()).unwrap().reveal_known().to_string();
    (Held { keys, key: issued.key, token: issued.token.reveal_known().to_string() }, child)
}

fn machine() -> Resources {
    Resources::only(["press-2"]).unwrap()
}

fn edit(held: &Held, edit: KeyEdit) {
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    block_on(held.keys.edit(key.id(), key.version(), edit)).unwrap();
}

fn rotate(held: &Held, grace: GracePeriod) -> String {
    let rotated = block_on(held.keys.rotate(held.key.id(), held.key.version(), grace)).unwrap();
    rotated.token.reveal_known().to_string()
}

fn suspension() -> Suspension {
    Suspension::permanent("unpaid").unwrap()
}

type Cause = (&'static str, fn(&World, &Held), u16);

/// Each change that ends the child or takes from it what the guards require, and the status of the refusal.
const CAUSES: &[Cause] = &[
    ("deleted", |_, held| block_on(held.keys.delete(held.key.id())).unwrap(), 401),
    ("disabled", |_, held| drop(block_on(held.keys.disable(held.key.id())).unwrap()), 401),
    ("children forbidden", |_, held| edit(held, KeyEdit::new().children(false)), 401),
    (
        "owner disabled",
        |_, held| drop(block_on(held.keys.disable_owner(&"ann".parse().unwrap())).unwrap()),
        401,
    ),
    (
        "suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_key(held.key.id(), suspension())).unwrap());
        },
        401,
    ),
    (
        "tenant suspended",
        |world, held| {
            drop(block_on(world.keyring.suspend_tenant(held.keys.id(), suspension())).unwrap());
        },
        401,
    ),
    ("scopes narrowed", |_, held| edit(held, KeyEdit::new().scopes(["reporting"])), 403),
    (
        "resources narrowed",
        |_, held| {
            let one = Resources::only(["press-1"]).unwrap();
            edit(held, KeyEdit::new().resources("machine", one));
        },
        403,
    ),
    ("rotated", |_, held| drop(rotate(held, GracePeriod::None)), 401),
    (
        "new secret used",
        |world, held| {
            let token = rotate(held, GracePeriod::UntilFirstUse);
            block_on(world.keyring.verify(token)).unwrap();
        },
        401,
    ),
    (
        "expired",
        |world, held| {
            edit(held, KeyEdit::new().expires_at(world.after(Duration::from_secs(1))));
            world.clock.advance(Duration::from_secs(1));
        },
        401,
    ),
    (
        "moved to a tier without the scope",
        |world, held| drop(block_on(world.keyring.set_tier(held.keys.id(), "lite")).unwrap()),
        403,
    ),
    (
        "reported as leaked",
        |world, held| {
            let reported =
                world.keyring.report_leak(&held.token, "in a log", LeakResponse::Suspend);
            block_on(reported).unwrap();
        },
        401,
    ),
];

/// The guards around the route, the inner one first. Together they require both scopes and the machine.
fn doors(world: &World) -> Vec<(&'static str, Vec<Guard>)> {
    let guard = |scopes: &[&str]| {
        let guard = world.keyring.require(scopes.iter().copied()).unwrap();
        guard.touches_no("site").unwrap().accepts_children(Place::new().host("api"))
    };
    let on_machine = |guard: Guard| guard.resource("machine", "id").unwrap();
    let loose = |scopes: &[&str]| guard(scopes).handler_checks("machine").unwrap();
    let both = || on_machine(guard(&["reporting", "manager"]));
    vec![
        ("one", vec![both()]),
        ("optional", vec![both().optional()]),
        ("inner requires", vec![both(), loose(&["reporting"])]),
        ("outer requires", vec![on_machine(guard(&["reporting"])), loose(&["manager"])]),
        ("both read the key", vec![both(), loose(&["reporting"]).keep_credential()]),
    ]
}

/// Sends a request through `guards`, and returns the status and the caller of the handler.
fn send(guards: &[Guard], token: &str, machine: &str) -> (u16, Option<Principal>) {
    let (sender, callers) = mpsc::sync_channel(1);
    let handler = routing::get(async move |caller: Option<Principal>| {
        sender.send(caller).unwrap();
    });
    let handler = guards.iter().fold(handler, |handler, guard| handler.layer(guard.clone()));
    let router: Router = Router::new().route("/machines/{id}", handler);
    let request = Request::get(format!("/machines/{machine}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty());
    let response = block_on(router.oneshot(request.unwrap())).unwrap();
    let caller = callers.try_recv().ok().flatten();
    assert_eq!(response.status() == StatusCode::OK, caller.is_some(), "an anonymous caller");
    (response.status().as_u16(), caller)
}

#[test]
fn child_behind_guards_ends_with_its_parent() {
    for (cause, change, expected) in CAUSES {
        for is_other_node in [false, true] {
            let writes = world();
            let (held, child) = tenant(&writes, "acme");
            let (_, other) = tenant(&writes, "globex");
            let reads = writes.another_node_with(policy(), |builder| builder);
            let node = if is_other_node { &reads } else { &writes };
            // The controls: the child is admitted before, to its machine alone. The first request remembers it.
            for (door, guards) in doors(node) {
                for _ in 0..2 {
                    assert_eq!(send(&guards, &child, "press-2").0, 200, "{cause}, {door}");
                }
                assert_eq!(send(&guards, &child, "press-1").0, 403, "{cause}, {door}");
                assert_eq!(send(&guards, &held.token, "press-1").0, 200, "{cause}, {door}");
            }
            change(&writes, &held);
            if is_other_node {
                writes.clock.advance(MAX_STALENESS);
            }
            for (door, guards) in doors(node) {
                for _ in 0..2 {
                    let (status, _) = send(&guards, &child, "press-2");
                    assert_eq!(status, *expected, "{cause}, {door}, another: {is_other_node}");
                }
                assert_eq!(send(&guards, &other, "press-2").0, 200, "{cause}, {door}");
            }
        }
    }
}

#[test]
fn guard_with_fresh_data_refuses_a_remembered_child_at_once() {
    for (cause, change, expected) in CAUSES {
        let writes = world();
        let (held, child) = tenant(&writes, "acme");
        let reads = writes.another_node_with(policy(), |builder| builder);
        let (_, cached) = doors(&reads).remove(0);
        let fresh = [cached[0].freshness(Freshness::Now)];
        for guards in [&cached[..], &fresh] {
            assert_eq!(send(guards, &child, "press-2").0, 200, "{cause}");
        }
        change(&writes, &held);
        assert_eq!(send(&fresh, &child, "press-2").0, *expected, "{cause}");
    }
}

#[test]
fn each_guard_must_accept_the_child() {
    let world = world();
    let (held, child) = tenant(&world, "acme");
    let accepts = Guard::new(&world.keyring);
    let accepts = accepts.accepts_children(Place::new());
    let refuses = Guard::new(&world.keyring);
    for guards in [
        vec![refuses.clone()],
        vec![refuses.clone(), accepts.clone()],
        vec![accepts.clone(), refuses.clone()],
        vec![refuses.clone(), accepts.keep_credential()],
        vec![refuses.optional(), accepts.clone()],
    ] {
        let guards: Vec<Guard> = guards.iter().map(without_limits).collect();
        assert_eq!(send(&guards, &child, "press-2").0, 403, "{guards:?}");
        assert_eq!(send(&guards, &held.token, "press-2").0, 200, "{guards:?}");
    }
    let guards = [without_limits(&accepts), without_limits(&accepts)];
    assert_eq!(send(&guards, &child, "press-2").0, 200);
}

fn without_limits(guard: &Guard) -> Guard {
    guard.handler_checks("machine").unwrap().handler_checks("site").unwrap()
}

#[test]
fn stream_of_a_child_ends_with_the_scope_of_any_guard() {
    let world = world();
    for (number, (door, guards)) in doors(&world).into_iter().enumerate() {
        let (held, child) = tenant(&world, &format!("tenant-{number}"));
        let caller = send(&guards, &child, "press-2").1.unwrap();
        assert!(caller.child().is_some());
        let ended = caller.ended();
        edit(&held, KeyEdit::new().scopes(["reporting"]));
        let error = block_on(ended);
        assert!(matches!(error, keyway::VerifyError::Forbidden(_)), "{door}: {error:?}");
    }
}
