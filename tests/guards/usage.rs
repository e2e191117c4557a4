//! Usage of guards: each request counts once, with the outcome that its caller sees.

use keyway::{
    Guard, MemoryStore, NewKey, Policy, Tier,
    rate::Rate,
    record::Suspension,
    usage::{Counts, Span},
};

use crate::support::{World, block_on, catalog, overheard::RevealKnown as _, policy};

fn world(policy: Policy) -> World {
    World::with(policy, |builder| builder.usage(MemoryStore::new()))
}

/// Returns the token of a new tenant's key with the scope `reporting`.
fn token(world: &World, tier: &str) -> String {
    let request = NewKey::named("a key").scopes(["reporting"]);
    let created = block_on(world.keyring.create_tenant_with("acme", tier, request));
    created.unwrap().1.token.reveal_known().to_string()
}

fn status(guard: &Guard, token: &str) -> u16 {
    let value = format!("Bearer {token}");
    let admitted = block_on(guard.admit(&[("authorization", value.as_bytes())][..]));
    admitted.map_or_else(|answer| answer.status(), |_| 200)
}

fn counts(world: &World) -> Counts {
    block_on(world.keyring.flush_uses()).unwrap();
    let usage = world.keyring.usage().unwrap();
    let span = Span::days(usage.today(), usage.today());
    let days = block_on(usage.of_tenant(&"acme".parse().unwrap(), span)).unwrap();
    days.first().map_or(Counts::ZERO, |day| day.counts)
}

#[test]
fn guard_counts_what_the_caller_sees() {
    let rate = Rate { requests: 2, per_seconds: 60 };
    let tiers = [Tier::new("lite", 5).rate(rate)];
    let world = world(Policy::new("mm", catalog(), tiers).unwrap());
    let token = token(&world, "lite");
    let open = Guard::new(&world.keyring);
    let closed = open.require(["manager"]).unwrap();
    // A first request waits for the store, and the others do not.
    let statuses =
        [&closed, &closed, &open, &open, &open, &closed].map(|guard| status(guard, &token));
    assert_eq!(statuses, [403, 403, 200, 200, 429, 403]);
    assert_eq!(status(&open, "mm_live_made-up"), 401);
    assert_eq!(counts(&world), Counts { admitted: 2, forbidden: 3, limited: 1 });
}

#[test]
fn nested_guards_count_once() {
    use tower::{Layer, ServiceExt, service_fn};

    let world = world(policy());
    let token = token(&world, "advanced");
    let outer = Guard::new(&world.keyring);
    for (inner, expected) in [(outer.clone(), 200), (outer.require(["manager"]).unwrap(), 403)] {
        for outer in [outer.clone(), outer.keep_credential()] {
            let handler = service_fn(async |_: http::Request<()>| {
                Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
            });
            let request =
                http::Request::get("/").header("authorization", format!("Bearer {token}"));
            let service = outer.layer(inner.layer(handler));
            let response = block_on(service.oneshot(request.body(()).unwrap())).unwrap();
            assert_eq!(response.status(), expected);
        }
    }
    // As the outer guard decided.
    assert_eq!(counts(&world), Counts { admitted: 4, ..Counts::ZERO });
}

#[test]
fn inactive_key_counts_as_forbidden() {
    let world = world(policy());
    let token = token(&world, "advanced");
    let guard = Guard::new(&world.keyring);
    assert_eq!(status(&guard, &token), 200);
    let suspension = Suspension::permanent("unpaid").unwrap();
    block_on(world.keyring.suspend_tenant(&"acme".parse().unwrap(), suspension)).unwrap();
    (0..2).for_each(|_| assert_ne!(status(&guard, &token), 200));
    assert_eq!(counts(&world), Counts { admitted: 1, forbidden: 2, limited: 0 });
}

#[test]
fn child_counts_for_its_parent() {
    use core::time::Duration;

    use keyway::children::{NewChild, Place};

    let hour = Duration::from_secs(3_600);
    let world = world(policy().with_children(hour).unwrap());
    let request = NewKey::named("a key").scopes(["reporting"]).children(true);
    let created = block_on(world.keyring.create_tenant_with("acme", "advanced", request));
    let minter = world.keyring.child_minter(&created.unwrap().1.token).unwrap();
    let child = minter.mint_at(&NewChild::lasting(hour), world.now()).unwrap();
    let child = child.reveal_known().to_string();
    let guard = Guard::new(&world.keyring).accepts_children(Place::new());
    (0..2).for_each(|_| assert_eq!(status(&guard, &child), 200));
    assert_eq!(status(&guard.require(["manager"]).unwrap(), &child), 403);
    // A guard that accepts none.
    assert_eq!(status(&Guard::new(&world.keyring), &child), 403);
    assert_eq!(counts(&world), Counts { admitted: 2, forbidden: 2, limited: 0 });
}
