//! Allowances: what a tenant may use over all nodes, and what nodes hold of it.

use core::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use keyway::{
    ChangeError, ConfigError, KeyringError, NewKey, Policy, Principal, Tier, VerifyError,
    allowance::{Allowance, AllowanceProblem, Period, WhenAway, Window},
    keyring::AllowanceState,
    record::Exceptions,
    verifier::Reservation,
};

use crate::support::{
    World, block_on, catalog, give_up_after, limit_store::FaultyLimits,
    overheard::RevealKnown as _, tenant_id,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn policy(allowances: &[Allowance]) -> Policy {
    let tier = Tier::new("free", 10);
    let tier = allowances.iter().fold(tier, |tier, allowance| tier.allowance(*allowance));
    Policy::new("mm", catalog(), [tier]).unwrap()
}

/// A node, the store of limits and the caller of one tenant.
struct Node {
    world: World,
    limits: FaultyLimits,
    caller: Principal,
}

impl Node {
    fn new(allowances: &[Allowance]) -> Self {
        Self::with(allowances, WhenAway::Refuse)
    }

    fn with(allowances: &[Allowance], when_away: WhenAway) -> Self {
        let limits = FaultyLimits::default();
        let store = limits.clone();
        let world = World::with(policy(allowances), |b| b.shared_limits(store, when_away));
        let caller = caller_of(&world, "acme");
        Self { world, limits, caller }
    }

    fn reserve(&self, units: u64) -> Result<Reservation, VerifyError> {
        block_on(self.world.keyring.verifier().reserve(&self.caller, units))
    }

    /// Returns how many of `tries` requests are admitted.
    fn admitted(&self, tries: u64) -> u64 {
        (0..tries).filter(|_| self.reserve(1).is_ok()).count() as u64
    }

    fn states(&self) -> Vec<AllowanceState> {
        states(&self.world)
    }

    fn used(&self) -> Vec<u64> {
        self.states().iter().map(|state| state.used).collect()
    }

    fn flush(&self) {
        block_on(self.world.keyring.flush_uses()).unwrap();
    }

    fn pass(&self, time: Duration) {
        self.world.clock.advance(time);
    }
}

fn states(world: &World) -> Vec<AllowanceState> {
    block_on(world.keyring.limits().unwrap().of_tenant(&tenant_id("acme"))).unwrap()
}

fn caller_of(world: &World, tenant: &str) -> Principal {
    let request = NewKey::named("key").scopes(["reporting"]);
    let created = block_on(world.keyring.create_tenant_with(tenant, "free", request));
    let token = created.unwrap().1.token.reveal_known().to_string();
    block_on(world.keyring.verify(&token)).unwrap()
}

fn is_used_up(result: &Result<Reservation, VerifyError>, after: Duration) -> bool {
    matches!(result, Err(VerifyError::UsedUp { retry_after }) if *retry_after == after)
}

fn is_unavailable(result: &Result<Reservation, VerifyError>) -> bool {
    result.as_ref().is_err_and(VerifyError::is_unavailable)
}

// Settings.

#[test]
fn allowances_are_read_from_a_policy() {
    let document = |allowances: &str| {
        let text = format!(
            r#"{{ "issuer": "mm", "scopes": [],
            "tiers": [{{ "name": "free", "keys": 1, "allowances": {allowances} }}] }}"#
        );
        serde_json::from_str::<Policy>(&text).map_err(|error| error.to_string())
    };
    let both = r#"[{ "units": 100000, "per": "month" }, { "units": 600, "per_seconds": 60 }]"#;
    let read = document(both).unwrap();
    let expected = [Allowance::per_month(100_000), Allowance::per_seconds(600, 60)];
    assert_eq!(read.tiers()[0].allowances, expected);
    assert_eq!(
        serde_json::to_string(&expected).unwrap(),
        both.replace(": ", ":").replace(", ", ",").replace("{ ", "{").replace(" }", "}")
    );
    for (allowances, problem) in [
        (r#"[{ "units": 0, "per": "month" }]"#, "at least 1 unit"),
        (r#"[{ "units": 1, "per_seconds": 0 }]"#, "at least 1 second"),
        (r#"[{ "units": 1 }]"#, "either `per`"),
        (r#"[{ "units": 1, "per": "month", "per_seconds": 60 }]"#, "either `per`"),
        (r#"[{ "units": 1, "per": "month", "per_seconds": null }]"#, "null"),
        (r#"[{ "units": 1, "per": null, "per_seconds": 60 }]"#, "expected"),
        (r#"[{ "units": 1, "per": "day" }]"#, "unknown variant"),
        (r#"[{ "units": 1, "per": "month", "more": 1 }]"#, "unknown field"),
        (
            r#"[{ "units": 1, "per": "month" }, { "units": 2, "per": "month" }]"#,
            "two allowances per month",
        ),
    ] {
        let error = document(allowances).unwrap_err();
        assert!(error.contains(problem), "{allowances}: {error}");
    }
    let five = (1..=5).map(|seconds| Allowance::per_seconds(1, seconds));
    let tier = five.fold(Tier::new("free", 1), Tier::allowance);
    let refused = Policy::new("mm", catalog(), [tier]).unwrap_err();
    let problem = AllowanceProblem::TooMany(5);
    assert_eq!(refused, ConfigError::Allowances { tier: "free".into(), problem });
}

#[test]
fn higher_tier_does_not_have_less() {
    let with = |name, allowances: &[Allowance]| {
        allowances.iter().fold(Tier::new(name, 1), |tier, allowance| tier.allowance(*allowance))
    };
    let tiers = |lower, higher| {
        Policy::new("mm", catalog(), [with("lower", lower), with("higher", higher)])
    };
    let (month, minute) = (Allowance::per_month(9), Allowance::per_seconds(9, 60));
    for (lower, higher, is_fine) in [
        (&[month, minute][..], &[minute, month][..], true),
        (&[month, minute], &[Allowance::per_month(10)], true),
        (&[month], &[Allowance::per_month(8)], false),
        (&[], &[month], false),
        (&[month], &[month, minute], false),
    ] {
        assert_eq!(tiers(lower, higher).is_ok(), is_fine, "{lower:?} {higher:?}");
    }
}

#[test]
fn allowances_without_a_store_stop_the_start() {
    let policy = policy(&[Allowance::per_month(9)]);
    let world = World::new();
    let built = keyway::Keyring::builder(policy.clone(), crate::support::pepper())
        .environment("live")
        .store(world.store.clone())
        .build();
    assert_eq!(built.unwrap_err(), ConfigError::NoLimitStore("free".into()));
    let built = keyway::verifier::Verifier::builder(policy, crate::support::pepper())
        .environment("live")
        .lookup(world.store.clone())
        .build();
    let error = built.unwrap_err();
    assert_eq!(error, ConfigError::NoLimitStore("free".into()));
    assert!(error.to_string().contains("`shared_limits`"), "{error}");
    assert!(world.keyring.limits().is_none());
}

#[test]
fn exceptions_without_a_store_are_refused() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let id = tenant_id("acme");
    let set = |world: &World, exceptions| {
        let version = block_on(world.keyring.find_tenant(&id)).unwrap().version();
        block_on(world.keyring.set_exceptions(&id, version, exceptions)).map(drop)
    };
    let some = Exceptions::new().allowances([Allowance::per_month(1)]);
    let refused = set(&world, some.clone()).unwrap_err();
    assert!(matches!(refused, KeyringError::Refused(ChangeError::NoLimitStore)), "{refused:?}");
    let preview = block_on(world.keyring.preview_exceptions(&id, some.clone())).unwrap_err();
    assert!(matches!(preview, KeyringError::Refused(ChangeError::NoLimitStore)));
    set(&world, Exceptions::new().allowances([])).unwrap();

    // Another node has a store, and sets them. This node does not admit the tenant uncounted.
    let store = FaultyLimits::default();
    let other = world.another_node_with(crate::support::policy(), |builder| {
        builder.shared_limits(store, WhenAway::Admit)
    });
    set(&other, some).unwrap();
    world.clock.advance(10 * SECOND);
    let caller = block_on(world.keyring.verify(&held.token)).unwrap();
    let refused = block_on(world.keyring.verifier().reserve(&caller, 1));
    assert!(is_unavailable(&refused));
    let counted = block_on(other.keyring.verify(&held.token)).unwrap();
    assert!(block_on(other.keyring.verifier().reserve(&counted, 1)).is_ok());
}

// Windows.

#[test]
fn months_are_those_of_utc() {
    let node = Node::new(&[Allowance::per_month(5)]);
    for (at, ends) in [
        ("2027-12-31T23:59:59Z", "2028-01-01T00:00:00Z"),
        ("2028-01-01T00:00:00Z", "2028-02-01T00:00:00Z"),
        ("2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
        ("2028-03-01T00:00:00Z", "2028-04-01T00:00:00Z"),
        ("2029-02-28T23:59:59Z", "2029-03-01T00:00:00Z"),
    ] {
        node.world.clock.set(at.parse().unwrap());
        assert_eq!(node.admitted(7), 5, "{at}");
        let [state] = node.states()[..] else { panic!() };
        assert_eq!((state.used, state.left()), (5, 0));
        assert_eq!(state.window.end().to_string(), ends);
    }
}

#[test]
fn seconds_are_aligned_to_the_epoch() {
    let node = Node::new(&[Allowance::per_seconds(2, 60)]);
    node.world.clock.set("2026-03-01T12:00:59Z".parse().unwrap());
    assert_eq!(node.admitted(3), 2);
    assert!(is_used_up(&node.reserve(1), SECOND));
    node.pass(SECOND);
    assert_eq!(node.admitted(3), 2);
    assert!(is_used_up(&node.reserve(1), 60 * SECOND));
}

#[test]
fn request_counts_in_all_allowances_or_none() {
    let both = [Allowance::per_month(7), Allowance::per_seconds(3, 60)];
    let node = Node::new(&both);
    assert_eq!(node.admitted(5), 3);
    node.flush();
    assert_eq!(node.used(), [3, 3]);
    node.pass(60 * SECOND);
    assert_eq!(node.admitted(5), 3);
    node.pass(60 * SECOND);
    // The month is used up first, and a refusal names the window that ends last.
    assert_eq!(node.admitted(5), 1);
    assert!(is_used_up(&node.reserve(1), 31 * DAY - 120 * SECOND));
    node.flush();
    assert_eq!(node.used(), [7, 1]);
}

#[test]
fn weights_count_as_so_many_units() {
    let node = Node::new(&[Allowance::per_month(10)]);
    assert_eq!(node.reserve(4).unwrap().units(), 4);
    assert!(node.reserve(7).is_err());
    assert!(node.reserve(0).is_ok());
    node.pass(SECOND);
    assert!(node.reserve(6).is_ok());
    assert!(node.reserve(1).is_err());
    // A weight above the whole allowance is never admitted.
    node.pass(31 * DAY);
    assert!(node.reserve(11).is_err());
    assert!(node.reserve(u64::MAX).is_err());
    assert!(node.reserve(10).is_ok());
}

#[test]
fn exceptions_replace_the_allowances_of_the_tier() {
    let node = Node::new(&[Allowance::per_month(5)]);
    let set = |exceptions| {
        let id = tenant_id("acme");
        let version = block_on(node.world.keyring.find_tenant(&id)).unwrap().version();
        block_on(node.world.keyring.set_exceptions(&id, version, exceptions)).unwrap();
    };
    let token = {
        let keys = node.world.keyring.tenant(tenant_id("acme"));
        let issued = block_on(keys.issue(NewKey::named("second").scopes(["reporting"])));
        issued.unwrap().token.reveal_known().to_string()
    };
    let admitted = |tries: u64| {
        let caller = block_on(node.world.keyring.verify(&token)).unwrap();
        let verifier = node.world.keyring.verifier();
        (0..tries).filter(|_| block_on(verifier.reserve(&caller, 1)).is_ok()).count()
    };
    assert_eq!(admitted(9), 5);
    set(Exceptions::new().allowances([Allowance::per_month(8)]));
    assert_eq!(admitted(9), 3);
    set(Exceptions::new().allowances([]));
    assert_eq!(admitted(99), 99);
    set(Exceptions::new().allowances([Allowance::per_seconds(2, 60)]));
    assert_eq!(admitted(9), 2);
    // The units that were used in the month count again.
    set(Exceptions::new());
    assert_eq!(admitted(9), 0);
}

#[test]
fn tenants_and_their_keys_share_nothing_but_the_tenant() {
    let node = Node::new(&[Allowance::per_month(5)]);
    let other = caller_of(&node.world, "other");
    assert_eq!(node.admitted(9), 5);
    let verifier = node.world.keyring.verifier();
    assert!((0..5).all(|_| block_on(verifier.reserve(&other, 1)).is_ok()));
    assert!(block_on(verifier.reserve(&other, 1)).is_err());
}

// Reservations.

#[test]
fn settled_reservation_counts_what_was_used() {
    let node = Node::new(&[Allowance::per_month(100)]);
    node.reserve(40).unwrap().settle(10);
    node.flush();
    assert_eq!(node.used(), [10]);
    node.reserve(40).unwrap().refund();
    node.flush();
    assert_eq!(node.used(), [10]);
    drop(node.reserve(40).unwrap());
    node.flush();
    assert_eq!(node.used(), [50]);
    // Costs above the reservation are leased with the next flush, also above the allowance.
    node.reserve(10).unwrap().settle(30);
    node.flush();
    assert_eq!(node.used(), [80]);
    node.reserve(20).unwrap().settle(25);
    assert!(node.reserve(1).is_err());
    node.flush();
    assert_eq!(node.used(), [100]);
    // They are no credit and no debt of the next month.
    node.pass(31 * DAY);
    assert_eq!(node.admitted(101), 100);
}

#[test]
fn reservation_of_a_former_window_stays() {
    let node = Node::new(&[Allowance::per_seconds(10, 60)]);
    let (more, less) = (node.reserve(3).unwrap(), node.reserve(3).unwrap());
    node.pass(60 * SECOND);
    assert!(node.reserve(1).is_ok());
    more.settle(9);
    less.refund();
    node.flush();
    assert_eq!(node.used(), [1]);
}

// The store.

#[test]
fn requests_below_a_slice_do_not_reach_the_store() {
    let node = Node::new(&[Allowance::per_month(64_000)]);
    assert_eq!(node.admitted(1_000), 1_000);
    // Slices double after the first one: 1, 32, 64, 128, 256, 512 and 1,000.
    assert_eq!(node.limits.take_leases(), 7);
    assert_eq!(node.admitted(10_000), 10_000);
    let leases = node.limits.take_leases();
    assert!((9..=12).contains(&leases), "{leases}");
    node.flush();
    assert_eq!(node.limits.take_returns(), 1);
    assert_eq!(node.used(), [11_000]);
}

#[test]
fn used_up_allowance_is_asked_for_once_a_second() {
    let node = Node::new(&[Allowance::per_month(3)]);
    assert_eq!(node.admitted(100), 3);
    assert_eq!(node.limits.take_leases(), 4);
    node.pass(SECOND);
    assert_eq!(node.admitted(100), 0);
    assert_eq!(node.limits.take_leases(), 1);
}

#[test]
fn flush_returns_what_another_node_then_uses() {
    let node = Node::new(&[Allowance::per_month(6_400)]);
    let store = node.limits.clone();
    let policy = policy(&[Allowance::per_month(6_400)]);
    let other = node.world.another_node_with(policy, |b| b.shared_limits(store, WhenAway::Refuse));
    assert_eq!(node.admitted(100), 100);
    // The last slice is used in part.
    assert_eq!(node.used(), [187]);
    let reserve = |units| block_on(other.keyring.verifier().reserve(&node.caller, units));
    assert!(reserve(6_300).is_err());
    node.flush();
    other.clock.advance(SECOND);
    assert!(reserve(6_300).is_ok());
    // A node that has returned all leases again.
    assert_eq!(node.admitted(1), 0);
    block_on(other.keyring.flush_uses()).unwrap();
    assert_eq!(node.used(), [6_400]);
}

#[test]
fn units_that_a_flush_returns_can_be_leased_at_once() {
    let node = Node::new(&[Allowance::per_month(10)]);
    // The store has ten units and not eleven, so the node holds them and asks for no more within a second.
    let first = node.reserve(5).unwrap();
    assert!(node.reserve(6).is_err());
    first.refund();
    node.flush();
    assert_eq!(node.used(), [0]);
    assert!(node.reserve(6).is_ok());
}

#[test]
fn node_that_is_killed_loses_one_slice_at_most() {
    let allowance = [Allowance::per_month(6_400)];
    let node = Node::new(&allowance);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let store = node.limits.clone();
        let world = node
            .world
            .another_node_with(policy(&allowance), |b| b.shared_limits(store, WhenAway::Refuse));
        for _ in 0..500 {
            block_on(world.keyring.verifier().reserve(&node.caller, 1)).unwrap();
        }
        nodes.push(world);
    }
    drop(nodes);
    // Each of the slices is at most a 64th.
    let served = node.admitted(6_400);
    assert!((6_400 - 1_500 - 3 * 100..=6_400 - 1_500).contains(&served), "{served}");
}

#[test]
fn store_that_is_away_refuses_or_admits() {
    for when_away in [WhenAway::Refuse, WhenAway::Admit] {
        let node = Node::with(&[Allowance::per_month(640)], when_away);
        assert_eq!(node.admitted(4), 4);
        node.limits.set_down(true);
        // The slice is served in any case.
        assert_eq!(node.admitted(3), 3);
        let beyond = node.reserve(1);
        let admits = when_away == WhenAway::Admit;
        assert_eq!(beyond.is_ok(), admits);
        assert_eq!(is_unavailable(&beyond), !admits);
        assert_eq!(node.admitted(20), if admits { 20 } else { 0 });
        let waits = node.reserve(1).err().and_then(|error| error.retry_after());
        assert_eq!(waits.is_some(), !admits);
        assert_eq!(block_on(node.world.keyring.flush_uses()).is_err(), admits);

        node.limits.set_down(false);
        node.pass(10 * SECOND);
        assert!(node.reserve(1).is_ok());
        node.flush();
        // The requests that were admitted meanwhile are counted.
        assert_eq!(node.used(), [if admits { 4 + 3 + 1 + 20 + 1 + 1 } else { 4 + 3 + 1 }]);
    }
}

#[test]
fn lost_responses_cost_units_and_never_give_any() {
    let node = Node::new(&[Allowance::per_month(100)]);
    node.limits.lose_responses(true);
    for _ in 0..3 {
        assert!(is_unavailable(&node.reserve(10)));
    }
    node.limits.lose_responses(false);
    node.pass(10 * SECOND);
    assert_eq!(node.used(), [30]);
    assert_eq!(node.admitted(100), 70);
    // The response to a return is lost, and the return is not repeated.
    node.pass(31 * DAY);
    node.reserve(40).unwrap().refund();
    node.limits.lose_responses(true);
    assert!(block_on(node.world.keyring.flush_uses()).is_err());
    node.limits.lose_responses(false);
    node.flush();
    assert_eq!(node.used(), [0]);
}

#[test]
fn deleted_tenant_begins_anew() {
    let node = Node::new(&[Allowance::per_month(5)]);
    assert_eq!(node.admitted(5), 5);
    block_on(node.world.keyring.delete_tenant(&tenant_id("acme"))).unwrap();
    let again = caller_of(&node.world, "acme");
    assert_eq!(node.used(), [0]);
    assert!(block_on(node.world.keyring.verifier().reserve(&again, 5)).is_ok());
}

#[test]
fn ended_windows_are_purged_after_a_day() {
    let node = Node::new(&[Allowance::per_seconds(5, 60)]);
    let limits = node.world.keyring.limits().unwrap();
    assert_eq!(node.admitted(1), 1);
    for (time, purged) in [(DAY, 0), (60 * SECOND, 1), (DAY, 0)] {
        node.pass(time);
        assert_eq!(block_on(limits.purge(0)).unwrap(), purged);
    }
    let window = Window::of(Period::Seconds(60), node.world.now());
    assert_eq!(node.states()[0].window, window);
}

// Requests at the same time.

#[test]
fn requests_share_one_lease() {
    let node = Node::new(&[Allowance::per_month(64_000)]);
    node.limits.hold(true);
    let verifier = node.world.keyring.verifier();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(verifier.reserve(&node.caller, 3));
    let mut second = pin!(verifier.reserve(&node.caller, 1));
    let mut third = pin!(verifier.reserve(&node.caller, 1));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(third.as_mut().poll(&mut context).is_pending());
    assert_eq!(node.limits.take_leases(), 1);
    node.limits.hold(false);
    // Each of those that wait drives the lease, also if the first one is not polled.
    for waiting in [&mut second, &mut third] {
        let done =
            (0..10).any(|_| matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
        assert!(done);
    }
    assert!((0..10).any(|_| matches!(first.as_mut().poll(&mut context), Poll::Ready(Ok(_)))));
    assert_eq!(node.limits.take_leases(), 1);
}

#[test]
fn dropped_request_blocks_no_other() {
    let node = Node::new(&[Allowance::per_month(64_000)]);
    let verifier = node.world.keyring.verifier();
    let mut context = Context::from_waker(Waker::noop());
    node.limits.hold(true);
    {
        let mut waiting = pin!(verifier.reserve(&node.caller, 1));
        for polls in 0..4 {
            assert!(give_up_after(polls, verifier.reserve(&node.caller, 1)).is_none());
        }
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(give_up_after(2, verifier.reserve(&node.caller, 1)).is_none());
        node.limits.hold(false);
        let done =
            (0..10).any(|_| matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
        assert!(done);
    }
    assert_eq!(node.admitted(100), 100);
}

/// Lets four nodes with four threads each use an allowance up. Returns the units that they admitted, and those that the
/// store has counted.
fn use_up(limits: &FaultyLimits, units: u64) -> (u64, u64) {
    let allowance = [Allowance::per_month(units)];
    let nodes: Vec<World> = {
        let build = |builder: keyway::keyring::KeyringBuilder| {
            builder.shared_limits(limits.clone(), WhenAway::Refuse)
        };
        let first = World::with(policy(&allowance), build);
        let others: Vec<_> =
            (0..3).map(|_| first.another_node_with(policy(&allowance), build)).collect();
        std::iter::once(first).chain(others).collect()
    };
    let caller = caller_of(&nodes[0], "acme");
    let admitted = AtomicU64::new(0);
    // A refusal may be due to what other nodes hold. They flush, and all nodes ask again a second later.
    for _ in 0..4 {
        thread::scope(|scope| {
            for node in nodes.iter().flat_map(|node| [node; 4]) {
                scope.spawn(|| {
                    let verifier = node.keyring.verifier();
                    for turn in 0.. {
                        let weight = 1 + turn % 3;
                        match block_on(verifier.reserve(&caller, weight)) {
                            Ok(reservation) if turn % 7 == 0 => reservation.refund(),
                            Ok(_) => _ = admitted.fetch_add(weight, SeqCst),
                            Err(_) => break,
                        }
                    }
                });
            }
        });
        for node in &nodes {
            block_on(node.keyring.flush_uses()).unwrap();
        }
        nodes[0].clock.advance(SECOND);
    }
    for node in &nodes {
        while block_on(node.keyring.verifier().reserve(&caller, 1)).is_ok() {
            admitted.fetch_add(1, SeqCst);
        }
    }
    (admitted.load(SeqCst), states(&nodes[0])[0].used)
}

#[test]
fn nodes_together_use_all_of_an_allowance_and_no_more() {
    for units in [1, 7, 100, 20_000] {
        assert_eq!(use_up(&FaultyLimits::default(), units), (units, units));
    }
    // The control: a store that reads what is used and writes it later leases units twice.
    let overspends = || {
        let faulty = FaultyLimits::default();
        faulty.read_first();
        use_up(&faulty, 2_000).0 > 2_000
    };
    // Threads of a busy machine may happen to take turns.
    assert!((0..10).any(|_| overspends()), "the fault was not found");
}
