//! Verification of a cached key allocates nothing, however many keys take turns.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that goes wrong stops"
)]

#[path = "support/mod.rs"]
mod support;

use std::{
    alloc::System,
    future::Future,
    pin::Pin,
    sync::Mutex,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use crate::support::{HOUR, World, block_on, overheard::RevealKnown as _, policy};
use keyway::{
    MemoryStore, NewKey, Policy, Principal, Tier,
    allowance::{Allowance, WhenAway},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Serializes the tests, since allocations of the whole process are counted.
static ALONE: Mutex<()> = Mutex::new(());

const KEYS: usize = 1_000;

/// Returns a node on which this many keys are cached, with their tokens.
fn cached(number: usize) -> (World, Vec<String>) {
    let world = World::with(policy(), |builder| builder.max_staleness(HOUR));
    let tokens = issue(&world, number);
    (world, tokens)
}

/// Returns the tokens of this many keys, which are cached.
fn issue(world: &World, number: usize) -> Vec<String> {
    let tokens: Vec<String> = (0..number)
        .map(|tenant| {
            let request = NewKey::named("a key").scopes(["reporting"]);
            let id = format!("tenant-{tenant}");
            let created = block_on(world.keyring.create_tenant_with(&id, "advanced", request));
            created.unwrap().1.token.reveal_known().to_string()
        })
        .collect();
    for token in &tokens {
        verify(world, token);
    }
    tokens
}

fn verify(world: &World, token: &str) {
    assert!(block_on(world.keyring.verify(token)).is_ok());
}

/// Returns how many allocations `work` makes. It is the least of three, since other threads of the test
/// runner allocate.
fn allocations(mut work: impl FnMut()) -> usize {
    (0..3)
        .map(|_| {
            let region = Region::new(ALLOCATOR);
            work();
            let change = region.change();
            change.allocations + change.reallocations
        })
        .min()
        .unwrap()
}

#[test]
fn cached_keys_are_verified_without_allocating() {
    let _alone = ALONE.lock();
    let (world, tokens) = cached(KEYS);
    // Each key once, each key twice in a row, and a few keys that share slots all the time.
    let orders: [Box<dyn Fn()>; 3] = [
        Box::new(|| tokens.iter().for_each(|token| verify(&world, token))),
        Box::new(|| tokens.iter().for_each(|token| (0..2).for_each(|_| verify(&world, token)))),
        Box::new(|| (0..KEYS).for_each(|turn| verify(&world, &tokens[turn / 3 * 7 % 100]))),
    ];
    for order in &orders {
        // The control shows that allocations are counted.
        assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
        assert_eq!(allocations(order), 0);
    }
}

#[test]
fn a_new_minute_allocates_nothing() {
    let _alone = ALONE.lock();
    let (world, tokens) = cached(KEYS);
    for _ in 0..3 {
        let turn = || {
            world.clock.advance(Duration::from_secs(60));
            for token in &tokens {
                verify(&world, token);
            }
        };
        assert_eq!(allocations(turn), 0);
        assert_eq!(block_on(world.keyring.flush_uses()).unwrap(), KEYS);
    }
}

#[test]
fn counting_for_the_usage_allocates_nothing() {
    let _alone = ALONE.lock();
    let world =
        World::with(policy(), |builder| builder.max_staleness(HOUR).usage(MemoryStore::new()));
    let tokens = issue(&world, KEYS);
    let all = || tokens.iter().for_each(|token| (0..3).for_each(|_| verify(&world, token)));
    // The first round takes the places of this thread, and makes room for the keys that have none.
    all();
    assert_eq!(allocations(all), 0);
    assert!(block_on(world.keyring.flush_uses()).unwrap() > 0);
    assert_eq!(allocations(all), 0);
}

/// Creates a service whose tenants have this tier, and ten keys.
fn of_tier(tier: Tier) -> (World, Vec<String>) {
    let policy = Policy::new("mm", support::catalog(), [tier]).unwrap();
    let world = World::with(policy, |builder| {
        builder.max_staleness(HOUR).shared_limits(MemoryStore::new(), WhenAway::Refuse)
    });
    let tokens = issue(&world, 10);
    (world, tokens)
}

/// Returns a tier with two allowances that nobody uses up.
fn limited() -> Tier {
    let month = Allowance::per_month(1 << 40);
    Tier::new("advanced", 5).allowance(month).allowance(Allowance::per_seconds(1 << 40, 60))
}

#[test]
fn request_below_its_slice_allocates_nothing() {
    let _alone = ALONE.lock();
    let (world, tokens) = of_tier(limited());
    let rounds = || {
        let verifier = world.keyring.verifier();
        for _ in 0..50 {
            for token in &tokens {
                let caller = block_on(verifier.verify(token)).unwrap();
                block_on(verifier.reserve(&caller, 1)).unwrap().settle(1);
            }
        }
    };
    // Slices double until the last one has room for all further rounds.
    (0..10).for_each(|_| rounds());
    assert_eq!(allocations(rounds), 0);
    // The control: after a flush, each tenant leases again.
    let leases = allocations(|| {
        block_on(world.keyring.flush_uses()).unwrap();
        rounds();
    });
    assert!(leases > 10, "{leases}");
}

#[cfg(feature = "http")]
#[test]
fn guard_with_allowances_allocates_no_more_than_without() {
    let _alone = ALONE.lock();
    let guarded = |tier: Tier| {
        let (world, tokens) = of_tier(tier);
        let guard = keyway::Guard::new(&world.keyring);
        let values: Vec<String> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
        let all = || {
            for value in &values {
                drop(block_on(guard.admit(&[("authorization", value.as_bytes())][..])).unwrap());
            }
        };
        (0..2_000).for_each(|_| all());
        allocations(all)
    };
    assert_eq!(guarded(limited()), guarded(Tier::new("advanced", 5)));
}

#[test]
fn thread_allocates_its_slots_once() {
    let _alone = ALONE.lock();
    let (world, tokens) = cached(KEYS);
    thread::scope(|scope| {
        let work = || {
            let all = || tokens.iter().for_each(|token| (0..2).for_each(|_| verify(&world, token)));
            let region = Region::new(ALLOCATOR);
            all();
            let first = region.change().allocations;
            (first, allocations(all))
        };
        let (first, then) = scope.spawn(work).join().unwrap();
        assert!((1..=100).contains(&first), "{first}");
        assert_eq!(then, 0);
    });
}

#[cfg(feature = "children")]
#[test]
fn known_child_allocates_nothing_on_any_thread() {
    use keyway::{
        children::{NewChild, Place},
        verifier::Freshness,
    };

    let _alone = ALONE.lock();
    let policy = policy().with_children(HOUR).unwrap();
    let world = World::with(policy, |builder| builder.max_staleness(HOUR));
    let request = NewKey::named("a key").scopes(["reporting"]).children(true);
    let created = block_on(world.keyring.create_tenant_with("acme", "advanced", request));
    let minter = world.keyring.child_minter(&created.unwrap().1.token).unwrap();
    let child = minter.mint_at(&NewChild::lasting(HOUR), world.now()).unwrap();
    let child = child.reveal_known().to_string();
    let verify = || {
        let (verifier, place) = (world.keyring.verifier(), Place::new());
        let caller = verifier.verify_at(&child, Freshness::Cached, None, &place);
        drop(block_on(caller).unwrap());
    };
    verify();
    // Two threads have copies of the parent of their own.
    let (to_other, turns) = std::sync::mpsc::channel::<()>();
    let (to_first, answers) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for () in turns {
                verify();
                to_first.send(()).unwrap();
            }
        });
        let turn = || {
            verify();
            to_other.send(()).unwrap();
            answers.recv().unwrap();
        };
        // A channel allocates for each 31 messages, and a thread once for its slots and for the copy.
        (0..100).for_each(|_| turn());
        let made = allocations(|| (0..1_000).for_each(|_| turn()));
        assert!(made < 200, "{made}");
        drop(to_other);
    });
}

#[test]
fn stream_takes_less_than_200_bytes_and_no_thread_of_its_own() {
    const STREAMS: usize = 10_000;
    let _alone = ALONE.lock();
    let (world, tokens) = cached(KEYS);
    let callers: Vec<_> = (0..STREAMS)
        .map(|number| block_on(world.keyring.verify(&*tokens[number % KEYS])).unwrap())
        .collect();
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let mut context = Context::from_waker(Waker::noop());
    // The thread of the verifier, which all streams share.
    let mut first = Box::pin(callers[0].ended());
    assert!(first.as_mut().poll(&mut context).is_pending());
    let before = threads();
    let region = Region::new(ALLOCATOR);
    let mut streams: Vec<_> = callers.iter().map(Principal::ended).collect();
    for stream in &mut streams {
        assert!(Pin::new(stream).poll(&mut context).is_pending());
    }
    let change = region.change();
    let taken = (change.bytes_allocated - change.bytes_deallocated) / STREAMS;
    println!("a stream takes {taken} bytes");
    assert!((100..200).contains(&taken), "{taken} bytes");
    assert!(threads() <= before, "streams have threads of their own");
    drop(streams);
    let change = region.change();
    // The list of streams stays, for later ones.
    let kept = change.bytes_allocated.saturating_sub(change.bytes_deallocated) / STREAMS;
    assert!(kept < taken, "{kept} bytes are kept");
}

#[test]
fn held_principals_cost_no_allocations() {
    let _alone = ALONE.lock();
    let (world, tokens) = cached(KEYS);
    let all = || {
        tokens.iter().map(|token| {
            verify(&world, token);
            block_on(world.keyring.verify(&**token)).unwrap()
        })
    };
    let _held: Vec<_> = all().collect();
    let turn = || all().for_each(drop);
    assert_eq!(allocations(turn), 0);
}

/// Checks that a table of operations costs a request no allocation beyond those of the guard itself.
#[cfg(feature = "tower")]
#[test]
fn operation_of_a_request_is_found_without_allocating() {
    use std::{convert::Infallible, future::ready, pin::pin, task};

    use keyway::{
        Guard,
        operations::{Needs, Operations},
    };
    use tower::{Layer as _, Service, service_fn};

    /// Returns the status of a response that a service returns without waiting.
    fn call<S, R>(service: &mut S, request: http::Request<()>) -> u16
    where
        S: Service<http::Request<()>, Response = http::Response<R>, Error = Infallible>,
    {
        let mut context = task::Context::from_waker(task::Waker::noop());
        match pin!(service.call(request)).poll(&mut context) {
            task::Poll::Ready(Ok(response)) => response.status().as_u16(),
            task::Poll::Pending => panic!("the service waits"),
        }
    }

    let _alone = ALONE.lock();
    let (world, tokens) = cached(1);
    let paths: Vec<String> = (0..100).map(|number| format!("/factory.v1.A/{number}")).collect();
    let declared = paths.iter().fold(Operations::new(&policy()), |table, path| {
        table.operation(path, Needs::all(["reporting"]))
    });
    let table = declared.operation("/public", Needs::nothing());
    let table = table.build(paths.iter().map(|path| &**path).chain(["/public"])).unwrap();
    let guard = Guard::new(&world.keyring);
    let inner =
        service_fn(|_: http::Request<()>| ready(Ok::<_, Infallible>(http::Response::new(()))));
    let mut guarded = guard.require(["reporting"]).unwrap().layer(inner);
    let mut by_path = guard.operations(&table).unwrap().layer(inner);
    let request = |path: &str, with_key: bool| {
        let mut request = http::Request::post(path);
        if with_key {
            request = request.header("authorization", format!("Bearer {}", tokens[0]));
        }
        request.body(()).unwrap()
    };
    let made = allocations(|| drop(request(&paths[50], true)));
    let once = allocations(|| assert_eq!(call(&mut guarded, request(&paths[50], true)), 200));
    let found = allocations(|| assert_eq!(call(&mut by_path, request(&paths[50], true)), 200));
    assert_eq!(found, once);
    // The control: the guard itself puts the caller into the request.
    assert!(once > made, "{once} {made}");
    let made = allocations(|| drop(request("/public", false)));
    assert_eq!(
        allocations(|| assert_eq!(call(&mut by_path, request("/public", false)), 200)),
        made
    );
    let refused = allocations(|| assert_eq!(call(&mut by_path, request("/other", false)), 404));
    assert!(refused > made);
}
