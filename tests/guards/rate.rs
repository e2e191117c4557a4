//! Rates by tier: the requests that each key may make, the headers about them, and uncounted requests.

use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use keyway::{
    Guard, NewKey, Policy, Principal, Tier, Timestamp,
    http::{Admission, Response},
    rate::{Rate, RateStatus},
    time::{Clock, Moment},
};

use crate::support::{World, block_on, catalog, overheard::RevealKnown as _, tenant_id};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a policy with 10 requests in 20 seconds on the lower tier, 1,000 in 10 on the higher one, and no
/// rate on the third.
fn rated() -> Policy {
    let tiers = [
        Tier::new("lite", 200).rate(Rate { requests: 10, per_seconds: 20 }),
        Tier::new("advanced", 200).rate(Rate { requests: 1_000, per_seconds: 10 }),
        Tier::new("unlimited", 200),
    ];
    Policy::new("mm", catalog(), tiers).unwrap()
}

fn world() -> World {
    World::with(rated(), |builder| builder)
}

/// Returns the tokens of a new tenant with this many keys.
fn tokens(world: &World, tenant: &str, tier: &str, count: usize) -> Vec<String> {
    let request = || NewKey::named("key").scopes(["reporting"]);
    let (keys, first) =
        block_on(world.keyring.create_tenant_with(tenant, tier, request())).unwrap();
    let mut tokens = vec![first.token.reveal_known().to_string()];
    for _ in 1..count {
        tokens.push(block_on(keys.issue(request())).unwrap().token.reveal_known().to_string());
    }
    tokens
}

fn caller(world: &World, token: &str) -> Principal {
    block_on(world.keyring.verify(token)).unwrap()
}

fn count(world: &World, caller: &Principal) -> Option<RateStatus> {
    world.keyring.verifier().count_request(caller)
}

/// Returns how many of `tries` requests are admitted at once.
fn admitted(world: &World, caller: &Principal, tries: u32) -> u32 {
    let is_admitted =
        |_: &u32| count(world, caller).and_then(|status| status.retry_after()).is_none();
    u32::try_from((0..tries).filter(is_admitted).count()).unwrap()
}

fn admit(guard: &Guard, token: &str) -> Result<Admission, Response> {
    let value = format!("Bearer {token}");
    block_on(guard.admit(&[("authorization", value.as_bytes())][..]))
}

fn field(answer: &Response, name: &str) -> String {
    let mut values = answer.headers().filter(|(other, _)| *other == name);
    let value = values.next().map(|(_, value)| value.to_owned()).unwrap();
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}

fn fields(admission: &Admission) -> Vec<String> {
    admission.headers().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn a_key_may_use_exactly_what_its_tier_names() {
    let world = world();
    let caller = caller(&world, &tokens(&world, "acme", "lite", 1)[0]);

    // All requests at once. Each takes two seconds to come back.
    for used in 1..=10 {
        let status = count(&world, &caller).unwrap();
        assert_eq!(status.rate(), Rate { requests: 10, per_seconds: 20 });
        assert_eq!(status.remaining(), 10 - used);
        assert_eq!(status.reset(), 2 * SECOND * used);
        assert_eq!(status.next(), 2 * SECOND);
        assert_eq!(status.retry_after(), None);
    }
    for _ in 0..3 {
        let status = count(&world, &caller).unwrap();
        assert_eq!((status.remaining(), status.reset()), (0, 20 * SECOND));
        assert_eq!(status.retry_after(), Some(2 * SECOND));
    }

    // The limit is exact to the millisecond.
    world.clock.advance(Duration::from_millis(1_999));
    let status = count(&world, &caller).unwrap();
    assert_eq!(status.retry_after(), Some(Duration::from_millis(1)));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(admitted(&world, &caller, 5), 1);

    // One and a half requests have come back.
    world.clock.advance(3 * SECOND);
    let status = count(&world, &caller).unwrap();
    assert_eq!((status.remaining(), status.retry_after()), (0, None));
    assert_eq!((status.next(), status.reset()), (SECOND, 19 * SECOND));

    // The whole rate comes back and no more, however long the key is not used.
    world.clock.advance(19 * SECOND);
    assert_eq!(admitted(&world, &caller, 30), 10);
    world.clock.advance(3_600 * SECOND);
    assert_eq!(admitted(&world, &caller, 30), 10);
}

/// The control: counts the same over a tier without a rate, as if the limiter were off.
#[test]
fn a_limiter_that_is_off_is_noticed() {
    let world = world();
    let caller = caller(&world, &tokens(&world, "acme", "unlimited", 1)[0]);
    assert_eq!(admitted(&world, &caller, 30), 30);
    assert_eq!(count(&world, &caller), None);

    let token = &tokens(&world, "umbrella", "unlimited", 1)[0];
    let admission = admit(&Guard::new(&world.keyring), token).unwrap();
    assert_eq!(fields(&admission), [""; 0]);
}

#[test]
fn a_rate_that_does_not_divide_is_all_back_in_time() {
    for (requests, per_seconds) in [(7, 1), (3, 10), (1_000, 7), (1, 3_600)] {
        let tiers = [Tier::new("odd", 1).rate(Rate { requests, per_seconds })];
        let policy = Policy::new("mm", catalog(), tiers).unwrap();
        let world = World::with(policy, |builder| builder);
        let caller = caller(&world, &tokens(&world, "acme", "odd", 1)[0]);
        for _ in 0..5 {
            assert_eq!(admitted(&world, &caller, requests + 10), requests);
            world.clock.advance(Duration::from_secs(per_seconds.into()));
        }
    }
}

#[test]
fn a_flood_by_one_key_slows_no_other() {
    let world = world();
    let guard = Guard::new(&world.keyring);
    // 51 keys of one tenant, the first of which floods, and 50 of other tenants.
    let mut all = tokens(&world, "acme", "lite", 51);
    for tenant in 0..50 {
        all.extend(tokens(&world, &format!("tenant-{tenant}"), "lite", 1));
    }
    let (flooding, others) = all.split_first().unwrap();
    let flood = || (0..20).filter(|_| admit(&guard, flooding).is_ok()).count();

    let mut of_flood = 0;
    let mut refused = 0;
    for round in 1..=10 {
        of_flood += flood();
        for other in others {
            match admit(&guard, other) {
                Ok(admission) => {
                    let left = format!("ratelimit: \"key\";r={};t=2", 10 - round);
                    assert_eq!(fields(&admission)[1], left);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert_eq!((of_flood, refused, others.len()), (10, 0, 100));
}

#[test]
fn guards_of_a_verifier_share_counts_and_nodes_do_not() {
    let world = world();
    let token = &tokens(&world, "acme", "lite", 1)[0];
    let caller = caller(&world, token);
    let guard = Guard::new(&world.keyring);
    let guards = [
        guard.require(["reporting"]).unwrap(),
        Guard::new(world.keyring.verifier().clone()).optional(),
        guard,
    ];
    for guard in &guards {
        admit(guard, token).unwrap();
    }
    assert_eq!(admitted(&world, &caller, 30), 7);
    for guard in &guards {
        assert_eq!(admit(guard, token).unwrap_err().status(), 429);
    }

    let node = world.another_node_with(rated(), |builder| builder);
    assert_eq!(admitted(&node, &caller, 30), 10);
}

#[test]
fn a_request_through_two_guards_is_counted_once() {
    use tower::{Layer, ServiceExt, service_fn};

    let world = world();
    let token = &tokens(&world, "acme", "lite", 1)[0];
    let guard = Guard::new(&world.keyring);
    for (outer, left) in [(guard.clone(), 9), (guard.keep_credential(), 8)] {
        let handler = service_fn(async |_: http::Request<()>| {
            Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
        });
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        let service = outer.layer(guard.layer(handler));
        let response = block_on(service.oneshot(request.body(()).unwrap())).unwrap();
        let expected = format!("\"key\";r={left};t=2");
        assert_eq!(response.headers().get("ratelimit").unwrap(), &expected);
    }
    assert_eq!(admitted(&world, &caller(&world, token), 30), 8);
}

#[test]
fn key_has_the_rate_of_its_tenants_new_tier() {
    let world = world();
    let guard = Guard::new(&world.keyring);
    let token = &tokens(&world, "acme", "lite", 1)[0];
    for _ in 0..10 {
        admit(&guard, token).unwrap();
    }
    assert_eq!(admit(&guard, token).unwrap_err().status(), 429);

    block_on(world.keyring.set_tier(&tenant_id("acme"), "advanced")).unwrap();
    let expected = ["ratelimit-policy: \"key\";q=1000;w=10", "ratelimit: \"key\";r=999;t=1"];
    assert_eq!(fields(&admit(&guard, token).unwrap()), expected);

    block_on(world.keyring.set_tier(&tenant_id("acme"), "unlimited")).unwrap();
    assert_eq!(fields(&admit(&guard, token).unwrap()), [""; 0]);

    // The used part of the lower rate is not forgotten in the meantime.
    block_on(world.keyring.set_tier(&tenant_id("acme"), "lite")).unwrap();
    assert_eq!(admit(&guard, token).unwrap_err().status(), 429);
}

#[test]
fn only_proven_callers_that_may_do_it_are_counted() {
    let world = world();
    let token = tokens(&world, "acme", "lite", 1).remove(0);
    let caller = caller(&world, &token);
    let guard = Guard::new(&world.keyring);
    let reports = guard.require(["reporting"]).unwrap();
    let manager = guard.require(["manager"]).unwrap();
    let end = token.len() - 9;
    let other = if token.as_bytes()[end] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..end], &token[end + 1..]);

    for _ in 0..50 {
        assert_eq!(admit(&manager, &token).unwrap_err().status(), 403);
        assert_eq!(admit(&reports, &forged).unwrap_err().status(), 401);
        assert_eq!(admit(&reports, "made up").unwrap_err().status(), 400);
        assert_eq!(block_on(reports.admit(&[][..])).unwrap_err().status(), 401);
    }
    let answer = admit(&manager, &token).unwrap_err();
    assert!(answer.headers().all(|(name, _)| !name.starts_with("ratelimit")));
    assert_eq!(admitted(&world, &caller, 30), 10);
    // The other order: a missing scope is reported before an exceeded rate.
    assert_eq!(admit(&manager, &token).unwrap_err().status(), 403);
    assert_eq!(admit(&reports, &token).unwrap_err().status(), 429);
}

#[test]
fn caller_that_waits_for_retry_after_is_admitted() {
    // Windows that are not whole seconds per request, and an uptime between two seconds.
    for rate in [
        Rate { requests: 3, per_seconds: 10 },
        Rate { requests: 10, per_seconds: 20 },
        Rate { requests: 50, per_seconds: 7 },
        Rate { requests: 1, per_seconds: 61 },
    ] {
        let tiers = [Tier::new("only", 1).rate(rate)];
        let world = World::with(Policy::new("mm", catalog(), tiers).unwrap(), |builder| builder);
        world.clock.advance(Duration::from_millis(123));
        let guard = Guard::new(&world.keyring);
        let token = &tokens(&world, "acme", "only", 1)[0];
        for step in 0_u32..20 {
            // Uses the whole rate. The bound prevents an endless loop if no request is counted.
            _ = (0..rate.requests).take_while(|_| admit(&guard, token).is_ok()).count();
            let answer = admit(&guard, token).unwrap_err();
            assert_eq!(answer.status(), 429);
            let wait: u64 = field(&answer, "retry-after").parse().unwrap();
            let policy = format!("\"key\";q={};w={}", rate.requests, rate.per_seconds);
            assert_eq!(field(&answer, "ratelimit-policy"), policy);
            assert_eq!(field(&answer, "ratelimit"), format!("\"key\";r=0;t={wait}"));
            assert!(answer.body().contains("more often than its rate allows"), "{}", answer.body());

            // One second less is too early. The header counts in whole seconds.
            let earlier = Duration::from_secs(wait).checked_sub(SECOND).unwrap();
            world.clock.advance(earlier);
            assert_eq!(admit(&guard, token).unwrap_err().status(), 429);
            world.clock.advance(SECOND);
            admit(&guard, token).unwrap();
            world.clock.advance(Duration::from_millis(u64::from(step) * 37));
        }
    }
}

#[test]
fn threads_together_are_admitted_no_more_often_than_one() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 20;
    let world = world();
    let tokens = tokens(&world, "acme", "advanced", 4);
    let callers: Vec<_> = tokens.iter().map(|token| caller(&world, token)).collect();
    let admissions: [AtomicU32; 4] = Default::default();
    let refusals = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    for _ in 0..200 {
                        for (caller, admissions) in callers.iter().zip(&admissions) {
                            let admitted = admitted(&world, caller, 1);
                            admissions.fetch_add(admitted, Ordering::Relaxed);
                            refusals.fetch_add(1 - admitted as usize, Ordering::Relaxed);
                        }
                    }
                    world.clock.advance(Duration::from_millis(10));
                }
            });
        }
    });
    // The clock has advanced at most `ROUNDS` times for each thread, and one request comes back per 10 ms.
    // Two threads that advance the clock at once may advance it once, so this is the maximum.
    let uptime = world.clock.moment().uptime;
    let most = 1_000 + u32::try_from(uptime / 10).unwrap();
    assert!(most <= 1_000 + THREADS * ROUNDS);
    for admissions in &admissions {
        let admissions = admissions.load(Ordering::Relaxed);
        assert!((1_000..=most).contains(&admissions), "{admissions} of {most}");
    }
    assert!(refusals.load(Ordering::Relaxed) > 0, "nobody was refused, so nothing was tested");
}

/// An application's clock whose uptime goes back, against its contract.
struct Backward(AtomicUsize);

impl Clock for Backward {
    fn moment(&self) -> Moment {
        let asked = self.0.fetch_add(1, Ordering::Relaxed) as u64;
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Moment { now, uptime: 1_000_u64.saturating_sub(asked * 10) }
    }
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    let world = world();
    let caller = caller(&world, &tokens(&world, "acme", "lite", 1)[0]);
    assert_eq!(admitted(&world, &caller, 30), 10);
    for time in [Timestamp::MIN, Timestamp::MAX] {
        world.clock.set(time);
        assert_eq!(admitted(&world, &caller, 30), 0);
    }

    let clock = Backward(AtomicUsize::new(0));
    let world = World::with(rated(), |builder| builder.clock(clock));
    let caller = self::caller(&world, &tokens(&world, "acme", "lite", 1)[0]);
    assert_eq!(admitted(&world, &caller, 200), 10);
}
