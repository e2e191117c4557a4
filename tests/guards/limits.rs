//! Allowances at guards: which requests count, and the response where an allowance is used up.

use core::time::Duration;

use keyway::{
    Guard, MemoryStore, NewKey, Policy, Tier, VerifyError,
    allowance::{Allowance, WhenAway},
    http::{Reason, Response},
    operations::{Needs, Operations},
    rate::Rate,
    usage::{Counts, Span},
};

use crate::support::{
    World, block_on, catalog, limit_store::FaultyLimits, overheard::RevealKnown as _, tenant_id,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A node, its store of limits and the token of a tenant.
struct Node {
    world: World,
    limits: FaultyLimits,
    token: String,
}

impl Node {
    fn new(tier: Tier, when_away: WhenAway) -> Self {
        let limits = FaultyLimits::default();
        let store = limits.clone();
        let policy = Policy::new("mm", catalog(), [tier]).unwrap();
        let world = World::with(policy, |builder| {
            builder.shared_limits(store, when_away).usage(MemoryStore::new())
        });
        let request = NewKey::named("key").scopes(["reporting"]);
        let created = block_on(world.keyring.create_tenant_with("acme", "free", request));
        let token = created.unwrap().1.token.reveal_known().to_string();
        Self { world, limits, token }
    }

    fn guard(&self) -> Guard {
        Guard::new(&self.world.keyring)
    }

    fn admit(&self, guard: &Guard) -> Result<(), Response> {
        let value = format!("Bearer {}", self.token);
        block_on(guard.admit(&[("authorization", value.as_bytes())][..])).map(drop)
    }

    fn statuses(&self, guard: &Guard, tries: usize) -> Vec<u16> {
        let status = |answer: Response| answer.status();
        (0..tries).map(|_| self.admit(guard).map_or_else(status, |()| 200)).collect()
    }

    fn used(&self) -> Vec<u64> {
        block_on(self.world.keyring.flush_uses()).unwrap();
        let limits = self.world.keyring.limits().unwrap();
        let states = block_on(limits.of_tenant(&tenant_id("acme"))).unwrap();
        states.iter().map(|state| state.used).collect()
    }

    fn counts(&self) -> Counts {
        block_on(self.world.keyring.flush_uses()).unwrap();
        let usage = self.world.keyring.usage().unwrap();
        let span = Span::days(usage.today(), usage.today());
        let days = block_on(usage.of_tenant(&tenant_id("acme"), span)).unwrap();
        days.first().map_or(Counts::ZERO, |day| day.counts)
    }
}

fn free(allowance: Allowance) -> Tier {
    Tier::new("free", 5).allowance(allowance)
}

fn field<'r>(answer: &'r Response, name: &str) -> Option<&'r str> {
    let mut values = answer.headers().filter(|(other, _)| *other == name);
    let value = values.next().map(|(_, value)| value);
    assert_eq!(values.next(), None, "{name} stands twice");
    value
}

#[test]
fn request_beyond_the_month_gets_429_until_the_next() {
    let node = Node::new(free(Allowance::per_month(3)), WhenAway::Refuse);
    let guard = node.guard().require(["reporting"]).unwrap();
    node.world.clock.set("2028-02-29T23:58:59.500Z".parse().unwrap());
    assert_eq!(node.statuses(&guard, 4), [200, 200, 200, 429]);
    let answer = node.admit(&guard).unwrap_err();
    for (name, value) in [
        ("retry-after", "61"),
        ("ratelimit-policy", "\"month\";q=3;w=2505600"),
        ("ratelimit", "\"month\";r=0;t=61"),
        ("content-type", "application/problem+json"),
    ] {
        assert_eq!(field(&answer, name), Some(value));
    }
    assert!(answer.body().contains("#allowance-used-up\""), "{}", answer.body());
    let refusal = answer.refusal().unwrap();
    assert!(matches!(refusal.reason(), Reason::Verify(VerifyError::UsedUp { .. })));
    assert_eq!(answer.grpc_status().0, 8);
    assert!(node.world.audit.kinds().iter().any(|kind| kind.to_lowercase().contains("limited")));

    node.world.clock.advance(Duration::from_millis(60_500));
    assert_eq!(node.statuses(&guard, 4), [200, 200, 200, 429]);
    assert_eq!(node.used(), [3]);
}

#[test]
fn period_of_seconds_is_named_by_them() {
    let node = Node::new(free(Allowance::per_seconds(1, 60)), WhenAway::Refuse);
    let guard = node.guard();
    assert_eq!(node.statuses(&guard, 1), [200]);
    let answer = node.admit(&guard).unwrap_err();
    assert_eq!(field(&answer, "ratelimit-policy"), Some("\"60s\";q=1;w=60"));
    assert_eq!(field(&answer, "ratelimit"), Some("\"60s\";r=0;t=60"));
}

#[test]
fn integers_of_headers_stay_within_their_range() {
    let node = Node::new(free(Allowance::per_month(u64::MAX)), WhenAway::Refuse);
    let caller = block_on(node.world.keyring.verify(&node.token)).unwrap();
    drop(block_on(node.world.keyring.verifier().reserve(&caller, u64::MAX)));
    let answer = node.admit(&node.guard()).unwrap_err();
    let policy = field(&answer, "ratelimit-policy").unwrap();
    assert!(policy.starts_with("\"month\";q=999999999999999;"), "{policy}");
}

#[test]
fn weight_of_a_route_counts() {
    let node = Node::new(free(Allowance::per_month(10)), WhenAway::Refuse);
    let (light, heavy) = (node.guard(), node.guard().weight(4));
    assert_eq!(node.statuses(&heavy, 3), [200, 200, 429]);
    let answer = node.admit(&heavy).unwrap_err();
    assert_eq!(field(&answer, "ratelimit"), Some("\"month\";r=2;t=2678400"));
    assert_eq!(node.statuses(&light, 3), [200, 200, 429]);
    assert_eq!(node.used(), [10]);
}

#[test]
fn weight_of_an_operation_counts() {
    use tower::{Layer, ServiceExt, service_fn};

    let node = Node::new(free(Allowance::per_month(20)), WhenAway::Refuse);
    let names = ["/m.M/Get", "/m.M/Report", "/m.M/Health"];
    let table = Operations::new(node.world.keyring.policy())
        .operation("/m.M/Get", Needs::any_key())
        .operation("/m.M/Report", Needs::any_key().weight(10))
        .operation("/m.M/Health", Needs::nothing())
        .build(names)
        .unwrap();
    let call = |guard: Guard, path: &str| {
        let handler = service_fn(async |_: http::Request<()>| {
            Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
        });
        let value = format!("Bearer {}", node.token);
        let request = http::Request::post(path).header("authorization", value).body(()).unwrap();
        let guarded = guard.operations(&table).unwrap().layer(handler);
        block_on(guarded.oneshot(request)).unwrap().status().as_u16()
    };
    assert_eq!([call(node.guard(), "/m.M/Get"), call(node.guard(), "/m.M/Report")], [200, 200]);
    assert_eq!(node.used(), [11]);
    assert_eq!(call(node.guard(), "/m.M/Report"), 429);
    assert_eq!(call(node.guard(), "/m.M/Health"), 200);
    assert_eq!(node.used(), [11]);
    // An operation without a weight has that of the guard, and its own one goes before it.
    assert_eq!(call(node.guard().weight(3), "/m.M/Get"), 200);
    assert_eq!(node.used(), [14]);
    assert_eq!(call(node.guard().weight(3), "/m.M/Report"), 429);
}

#[test]
fn request_that_is_refused_for_another_reason_is_not_counted() {
    let rate = Rate { requests: 3, per_seconds: 60 };
    let node = Node::new(free(Allowance::per_month(10)).rate(rate), WhenAway::Refuse);
    let manager = node.guard().require(["manager"]).unwrap();
    assert_eq!(node.statuses(&manager, 2), [403, 403]);
    assert_eq!(node.used(), [0]);
    assert_eq!(node.statuses(&node.guard(), 5), [200, 200, 200, 429, 429]);
    let answer = node.admit(&node.guard()).unwrap_err();
    assert_eq!(field(&answer, "ratelimit-policy"), Some("\"key\";q=3;w=60"));
    assert_eq!(node.used(), [3]);
}

#[test]
fn usage_counts_refusals_as_limited() {
    let node = Node::new(free(Allowance::per_month(2)), WhenAway::Refuse);
    assert_eq!(node.statuses(&node.guard(), 5), [200, 200, 429, 429, 429]);
    assert_eq!(node.counts(), Counts { admitted: 2, forbidden: 0, limited: 3 });
    // A request without a result is none of these.
    node.world.clock.advance(31 * 1_440 * MINUTE);
    node.limits.set_down(true);
    assert_eq!(node.statuses(&node.guard(), 2), [503, 503]);
    node.limits.set_down(false);
    assert_eq!(node.counts(), Counts::ZERO);
}

#[test]
fn nested_guards_count_in_an_allowance_once() {
    use tower::{Layer, ServiceExt, service_fn};

    let node = Node::new(free(Allowance::per_month(10)), WhenAway::Refuse);
    let inner = node.guard();
    for outer in [inner.clone(), inner.keep_credential()] {
        let handler = service_fn(async |_: http::Request<()>| {
            Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
        });
        let value = format!("Bearer {}", node.token);
        let request = http::Request::get("/").header("authorization", value).body(()).unwrap();
        let response = block_on(outer.layer(inner.layer(handler)).oneshot(request)).unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(node.used(), [2]);
}

#[test]
fn store_that_is_away_gives_503_or_admits() {
    for (when_away, beyond) in [(WhenAway::Refuse, 503), (WhenAway::Admit, 200)] {
        let node = Node::new(free(Allowance::per_month(640)), when_away);
        let guard = node.guard();
        assert_eq!(node.statuses(&guard, 2), [200, 200]);
        node.limits.set_down(true);
        // The slice of this node has one more.
        assert_eq!(node.statuses(&guard, 9), [&[200][..], &[beyond; 8]].concat());
        if let Err(answer) = node.admit(&guard) {
            assert!(field(&answer, "retry-after").is_some());
            assert_eq!(field(&answer, "ratelimit"), None);
            assert!(answer.body().contains("#unavailable\""), "{}", answer.body());
        }
    }
}

#[test]
fn tenant_is_not_admitted_uncounted_on_a_node_without_a_store() {
    use keyway::record::Exceptions;

    let node = World::new();
    let held = node.tenant_with_key("acme");
    let other = node.another_node_with(crate::support::policy(), |builder| {
        builder.shared_limits(MemoryStore::new(), WhenAway::Admit)
    });
    let some = Exceptions::new().allowances([Allowance::per_month(1)]);
    block_on(other.keyring.set_exceptions(&tenant_id("acme"), 1, some)).unwrap();
    let value = format!("Bearer {}", held.token);
    let header = [("authorization", value.as_bytes())];
    let status = |world: &World| {
        let admitted = block_on(Guard::new(&world.keyring).admit(&header[..]));
        admitted.map_or_else(|answer| answer.status(), |_| 200)
    };
    assert_eq!((status(&other), status(&other)), (200, 429));
    assert_eq!(status(&node), 503);
}
