//! Rates by tier: the requests that each key may make, the headers about them, and uncounted requests.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use keyway::{
    Guard, NewKey, Policy, Principal, Tier, Timestamp,
    http::{Admission, Response},
    rate::{Rate, RateStatus},
    record::Exceptions,
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

// The rate of a tenant.

const OF_KEY: Rate = Rate { requests: 10, per_seconds: 20 };
const OF_TENANT: Rate = Rate { requests: 15, per_seconds: 60 };

/// Returns a world in which all keys of a tenant together may be used 15 times per minute. Each key of the first tier may
/// be used 10 times in 20 seconds, and each of the second one as often as its tenant.
fn shared() -> World {
    let tiers = [
        Tier::new("both", 200).rate(OF_KEY).tenant_rate(OF_TENANT),
        Tier::new("tenant", 200).tenant_rate(OF_TENANT),
    ];
    World::with(Policy::new("mm", catalog(), tiers).unwrap(), |builder| builder)
}

fn callers(world: &World, tenant: &str, tier: &str, count: usize) -> Vec<Principal> {
    tokens(world, tenant, tier, count).iter().map(|token| caller(world, token)).collect()
}

fn set(world: &World, tenant: &str, exceptions: Exceptions) {
    let tenant = block_on(world.keyring.find_tenant(&tenant_id(tenant))).unwrap();
    let set = world.keyring.set_exceptions(tenant.id(), tenant.version(), exceptions);
    block_on(set).unwrap();
}

fn count_as(world: &World, caller: &Principal, weight: u32) -> RateStatus {
    let weight = NonZeroU32::new(weight).unwrap();
    world.keyring.verifier().count_weighted(caller, weight).unwrap()
}

#[test]
fn more_keys_do_not_multiply_the_rate_of_a_tenant() {
    for (tier, keys) in [("both", 2), ("both", 60), ("tenant", 1), ("tenant", 2), ("tenant", 60)] {
        let world = shared();
        let (acme, beta) =
            (callers(&world, "acme", tier, keys), callers(&world, "beta", tier, keys));
        let of_all = |world: &World, callers: &[Principal]| {
            (0..30).flat_map(|_| callers).map(|caller| admitted(world, caller, 1)).sum::<u32>()
        };
        assert_eq!(of_all(&world, &acme), 15, "{keys} keys on {tier}");
        // The flood of one tenant slows no other.
        assert_eq!(of_all(&world, &beta), 15, "{keys} keys on {tier}");
        // One request comes back in four seconds.
        world.clock.advance(4 * SECOND);
        assert_eq!(of_all(&world, &acme), 1, "{keys} keys on {tier}");
        world.clock.advance(60 * SECOND);
        assert_eq!(of_all(&world, &acme), 15, "{keys} keys on {tier}");
    }
}

#[test]
fn refusal_by_the_tenants_rate_takes_nothing_from_the_keys() {
    let world = shared();
    let callers = callers(&world, "acme", "both", 2);
    assert_eq!(admitted(&world, &callers[0], 10), 10);
    assert_eq!(admitted(&world, &callers[1], 10), 5);
    for _ in 0..20 {
        let refused = count(&world, &callers[1]).unwrap();
        assert!(refused.is_of_tenant());
        assert_eq!((refused.rate(), refused.remaining()), (OF_TENANT, 0));
        assert_eq!(refused.retry_after(), Some(4 * SECOND));
    }
    // Without the rate of the tenant, the second key has the other half of its own.
    set(&world, "acme", Exceptions::new().tenant_rate(None));
    set(&world, "acme", Exceptions::new());
    world.clock.advance(4 * SECOND);
    // One request of the tenant and two of the key have come back.
    let status = count(&world, &callers[1]).unwrap();
    assert!(status.is_of_tenant() && status.retry_after().is_none());
    world.clock.advance(4 * SECOND);
    let status = count(&world, &callers[1]).unwrap();
    assert!(status.is_of_tenant() && status.retry_after().is_none());
    let key_alone = {
        world.clock.advance(40 * SECOND);
        count(&world, &callers[1]).unwrap()
    };
    assert_eq!((key_alone.is_of_tenant(), key_alone.remaining()), (false, 9));
}

#[test]
fn refusal_by_the_rate_of_a_key_takes_nothing_from_its_tenant() {
    let world = shared();
    let callers = callers(&world, "acme", "both", 2);
    assert_eq!(admitted(&world, &callers[0], 10), 10);
    for _ in 0..50 {
        let refused = count(&world, &callers[0]).unwrap();
        assert_eq!((refused.is_of_tenant(), refused.rate()), (false, OF_KEY));
        assert!(refused.retry_after().is_some());
    }
    assert_eq!(admitted(&world, &callers[1], 30), 5);
}

#[test]
fn headers_name_the_rate_that_has_less_left() {
    let world = shared();
    let guard = Guard::new(&world.keyring);
    let tokens = tokens(&world, "acme", "both", 2);
    let (of_key, of_tenant) =
        ("ratelimit-policy: \"key\";q=10;w=20", "ratelimit-policy: \"tenant\";q=15;w=60");
    for left in (0..10).rev() {
        let named = format!("ratelimit: \"key\";r={left};t=2");
        assert_eq!(fields(&admit(&guard, &tokens[0]).unwrap()), [of_key, &named]);
    }
    let answer = admit(&guard, &tokens[0]).unwrap_err();
    assert_eq!(field(&answer, "ratelimit"), "\"key\";r=0;t=2");
    for left in (0..5).rev() {
        let named = format!("ratelimit: \"tenant\";r={left};t=4");
        assert_eq!(fields(&admit(&guard, &tokens[1]).unwrap()), [of_tenant, &named]);
    }
    let answer = admit(&guard, &tokens[1]).unwrap_err();
    assert_eq!(answer.status(), 429);
    assert_eq!(field(&answer, "ratelimit-policy"), "\"tenant\";q=15;w=60");
    assert_eq!(field(&answer, "ratelimit"), "\"tenant\";r=0;t=4");
    assert_eq!(field(&answer, "retry-after"), "4");
    world.clock.advance(4 * SECOND);
    admit(&guard, &tokens[1]).unwrap();
}

#[test]
fn exceptions_set_the_rates_of_one_tenant() {
    let world = shared();
    let (acme, beta) = (tokens(&world, "acme", "both", 2), tokens(&world, "beta", "both", 1));
    let rate = |requests| Rate { requests, per_seconds: 100 };
    // Callers are verified again, since an exception holds from the next use.
    let used = |token: &str| admitted(&world, &caller(&world, token), 60);
    let fresh = |exceptions: Exceptions| {
        world.clock.advance(1_000 * SECOND);
        set(&world, "acme", exceptions);
    };
    for (exceptions, first, second) in [
        (Exceptions::new(), 10, 5),
        (Exceptions::new().rate(rate(3)), 3, 3),
        (Exceptions::new().rate(rate(12)), 12, 3),
        (Exceptions::new().rate(None), 15, 0),
        (Exceptions::new().tenant_rate(rate(4)), 4, 0),
        (Exceptions::new().tenant_rate(rate(40)), 10, 10),
        (Exceptions::new().tenant_rate(None), 10, 10),
        (Exceptions::new().rate(rate(2)).tenant_rate(rate(3)), 2, 1),
        (Exceptions::new().rate(None).tenant_rate(None), 60, 60),
        // Other exceptions leave the rates.
        (Exceptions::new().keys(7).all_scopes(), 10, 5),
    ] {
        fresh(exceptions.clone());
        assert_eq!((used(&acme[0]), used(&acme[1])), (first, second), "{exceptions}");
        assert_eq!(used(&beta[0]), 10, "{exceptions}");
    }
    fresh(Exceptions::new().rate(None).tenant_rate(None));
    let admission = admit(&Guard::new(&world.keyring), &acme[0]).unwrap();
    assert_eq!(fields(&admission), [""; 0]);
}

#[test]
fn used_rate_of_a_tier_is_used_after_an_exception() {
    let world = shared();
    let tokens = tokens(&world, "acme", "tenant", 2);
    let used = |token: &str| admitted(&world, &caller(&world, token), 60);
    assert_eq!((used(&tokens[0]), used(&tokens[1])), (15, 0));
    // An exception from another limit leaves the rates as they are.
    set(&world, "acme", Exceptions::new().keys(9));
    assert_eq!((used(&tokens[0]), used(&tokens[1])), (0, 0));
    // A tenant with another rate starts with all of it.
    set(&world, "acme", Exceptions::new().tenant_rate(OF_KEY));
    assert_eq!((used(&tokens[0]), used(&tokens[1])), (10, 0));
    set(&world, "acme", Exceptions::new());
    assert_eq!((used(&tokens[0]), used(&tokens[1])), (0, 0));
}

// Weights.

#[test]
fn a_request_counts_as_its_weight_against_both_rates() {
    let world = shared();
    let callers = callers(&world, "acme", "both", 2);
    assert_eq!(count_as(&world, &callers[0], 4).remaining(), 6);
    assert_eq!(count_as(&world, &callers[0], 6).remaining(), 0);
    let refused = count_as(&world, &callers[0], 3);
    // So much must come back, and a lighter request is admitted earlier.
    assert_eq!(refused.retry_after(), Some(3 * 2 * SECOND));
    assert_eq!(count_as(&world, &callers[0], 1).retry_after(), Some(2 * SECOND));
    let status = count_as(&world, &callers[1], 4);
    assert_eq!((status.is_of_tenant(), status.remaining()), (true, 1));
    // The tenant has one request left, and the key six.
    let refused = count_as(&world, &callers[1], 2);
    assert_eq!((refused.is_of_tenant(), refused.remaining()), (true, 1));
    assert_eq!(refused.retry_after(), Some(4 * SECOND));
    world.clock.advance(4 * SECOND);
    assert_eq!(count_as(&world, &callers[1], 2).retry_after(), None);
}

#[test]
fn a_weight_above_a_rate_takes_all_of_it() {
    let world = shared();
    let all = callers(&world, "acme", "both", 2);
    for weight in [10, 11, 12, 1_000, u32::MAX] {
        world.clock.advance(60 * SECOND);
        let status = count_as(&world, &all[0], weight);
        assert_eq!((status.remaining(), status.retry_after()), (0, None), "{weight}");
        assert!(count_as(&world, &all[0], weight).retry_after().is_some());
        // The tenant's rate is another one, and a weight takes at most all of it.
        let of_tenant = u32::try_from(15_i64 - i64::from(weight)).unwrap_or(0);
        assert_eq!(admitted(&world, &all[1], 30), of_tenant.min(10), "{weight}");
    }
    // A request that needs all of a rate is admitted once all of it is back, and not before.
    let world = shared();
    let caller = &callers(&world, "acme", "tenant", 1)[0];
    assert_eq!(count_as(&world, caller, 1).remaining(), 14);
    assert_eq!(count_as(&world, caller, 100).retry_after(), Some(4 * SECOND));
    world.clock.advance(Duration::from_millis(3_999));
    assert!(count_as(&world, caller, 100).retry_after().is_some());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(count_as(&world, caller, 100).retry_after(), None);
}

#[test]
fn guards_count_with_their_weight_and_nested_ones_once() {
    use tower::{Layer, ServiceExt, service_fn};

    let world = shared();
    let token = &tokens(&world, "acme", "both", 1)[0];
    let guard = Guard::new(&world.keyring);
    let heavy = guard.weight(4);
    assert_eq!(fields(&admit(&heavy, token).unwrap())[1], "ratelimit: \"key\";r=6;t=2");
    assert_eq!(fields(&admit(&guard, token).unwrap())[1], "ratelimit: \"key\";r=5;t=2");
    // Zero counts as one.
    assert_eq!(fields(&admit(&guard.weight(0), token).unwrap())[1], "ratelimit: \"key\";r=4;t=2");
    // The first guard that admits the request is the one that counts.
    let refused = heavy.require(["manager"]).unwrap();
    assert_eq!(admit(&refused, token).unwrap_err().status(), 403);
    for (outer, inner, left) in [(&guard, &heavy, "3"), (&heavy, &guard, "")] {
        let handler = service_fn(async |_: http::Request<()>| {
            Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
        });
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        let service = outer.layer(inner.layer(handler));
        let response = block_on(service.oneshot(request.body(()).unwrap())).unwrap();
        if left.is_empty() {
            // Three requests are left, and this one counts as four.
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers().get("retry-after").unwrap(), "2");
        } else {
            let expected = format!("\"key\";r={left};t=2");
            assert_eq!(response.headers().get("ratelimit").unwrap(), &expected);
        }
    }
    assert_eq!(admitted(&world, &caller(&world, token), 30), 3);
}
