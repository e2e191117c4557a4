//! Walks over all tenants, and the flush of last uses at intervals.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{DAY, HOUR, World, block_on, pepper, tenant_id, with_text};
use keyway::{
    KeyEdit, Keyring, KeyringError, NewKey, Pepper, Peppers, Policy, TenantKeys, Tier,
    keyring::Upkeep,
    store::{KeyFilter, KeyQuery, KeyStore},
};

/// A keyring over the same store, with a new current pepper. The pepper of the world is retiring.
fn renewed(world: &World) -> Keyring {
    let current = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    Keyring::builder(crate::support::policy(), Peppers::new(current).retiring(pepper()).unwrap())
        .environment("live")
        .store(world.store.clone())
        .build()
        .unwrap()
}

fn purge(world: &World, age: Duration) -> Upkeep {
    block_on(world.keyring.purge_expired(age, None, |_| {})).unwrap()
}

/// Creates a tenant with keys of these names. Each expires after its lifetime, if it has one.
fn tenant(world: &World, id: &str, keys: &[(&str, Option<Duration>)]) -> TenantKeys {
    block_on(async {
        let tenant = world.keyring.create_empty_tenant(id, "advanced").await.unwrap();
        for (name, lifetime) in keys {
            let mut request = NewKey::named(*name);
            if let Some(lifetime) = lifetime {
                request = request.expires_at(world.after(*lifetime));
            }
            let _ = tenant.issue(request).await.unwrap();
        }
        tenant
    })
}

fn names(tenant: &TenantKeys) -> Vec<String> {
    let keys = block_on(tenant.list(&KeyQuery::all())).unwrap().items;
    let mut names: Vec<_> = keys.iter().map(|key| key.name().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn keys_that_expired_long_enough_ago_are_purged() {
    let world = World::new();
    let acme =
        tenant(&world, "acme", &[("day", Some(DAY)), ("week", Some(7 * DAY)), ("ever", None)]);
    let beta = tenant(&world, "beta", &[("hour", Some(HOUR))]);
    assert_eq!(purge(&world, Duration::ZERO).changed, 0);

    world.clock.advance(3 * DAY);
    // At exactly this age a key stays. A moment later it is deleted.
    assert_eq!(purge(&world, 2 * DAY).changed, 1);
    assert_eq!(
        (names(&acme), names(&beta)),
        (vec!["day".into(), "ever".into(), "week".into()], vec![])
    );
    world.clock.advance(Duration::from_millis(1));
    let done = purge(&world, 2 * DAY);
    assert_eq!((done.changed, done.tenants, done.last), (1, 2, Some(tenant_id("beta"))));
    assert_eq!(names(&acme), ["ever", "week"]);
    assert!(world.audit.take_kinds().contains(&"KeyDeleted".to_owned()));

    world.clock.advance(100 * DAY);
    assert_eq!(purge(&world, DAY).changed, 1);
    assert_eq!(names(&acme), ["ever"]);
}

#[test]
fn a_key_whose_expiry_was_moved_is_not_purged() {
    let world = World::new();
    let acme = tenant(&world, "acme", &[("day", Some(DAY))]);
    world.clock.advance(9 * DAY);
    let key = block_on(acme.list(&KeyQuery::all())).unwrap().items.remove(0);
    let later = KeyEdit::new().expires_at(Some(world.after(DAY)));
    block_on(acme.edit(key.id(), key.version(), later)).unwrap();
    assert_eq!(purge(&world, DAY).changed, 0);
}

#[test]
fn forged_expiry_purges_nothing() {
    let world = World::new();
    let acme = tenant(&world, "acme", &[("real", Some(DAY))]);
    world.store.rewrite_keys(|key| Ok(with_text(&key, "real", "fake")));
    world.clock.advance(9 * DAY);
    let done = purge(&world, DAY);
    assert_eq!((done.changed, done.tampered_keys.len()), (0, 1));
    world.store.rewrite_nothing();
    assert_eq!(names(&acme), ["real"]);
}

#[test]
fn walk_reports_its_progress_and_continues_from_there() {
    let world = World::new();
    for number in 0..250 {
        tenant(&world, &format!("tenant {number:03}"), &[("key", None)]);
    }
    let renewed = renewed(&world);

    let mut told = Vec::new();
    let done = block_on(renewed.reseal(None, |so_far| {
        told.push((so_far.tenants, so_far.changed, so_far.last.clone().unwrap()));
    }));
    let done = done.unwrap();
    let expected = [(100, 200, "tenant 099"), (200, 400, "tenant 199"), (250, 500, "tenant 249")];
    assert_eq!(told, expected.map(|(tenants, changed, last)| (tenants, changed, tenant_id(last))));
    assert_eq!((done.tenants, done.changed), (250, 500));

    // Only the tenants after `after` are processed.
    let rest = block_on(renewed.reseal(Some(&tenant_id("tenant 199")), |_| {})).unwrap();
    assert_eq!((rest.tenants, rest.changed), (50, 0));
    let none = block_on(renewed.reseal(Some(&tenant_id("tenant 249")), |_| {})).unwrap();
    assert_eq!((none.tenants, none.last), (0, Some(tenant_id("tenant 249"))));
}

#[test]
fn failed_walk_keeps_its_completed_changes() {
    let world = World::new();
    for number in 0..150 {
        tenant(&world, &format!("tenant {number:03}"), &[("key", Some(DAY))]);
    }
    world.clock.advance(9 * DAY);
    let mut last = None;
    let failed = block_on(world.keyring.purge_expired(DAY, None, |so_far| {
        last.clone_from(&so_far.last);
        world.store.fail("delete_key");
    }));
    assert!(matches!(failed, Err(KeyringError::Unavailable(_))), "{failed:?}");
    assert_eq!(last, Some(tenant_id("tenant 099")));
    world.store.heal("delete_key");
    let rest = block_on(world.keyring.purge_expired(DAY, last.as_ref(), |_| {})).unwrap();
    assert_eq!((rest.tenants, rest.changed), (50, 50));
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn uses_are_flushed_at_intervals_until_the_keyring_is_dropped() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let slept = Arc::new(AtomicUsize::new(0));
    let sleeps = Arc::clone(&slept);
    // A sleep that ends once.
    let sleep = move |interval| {
        assert_eq!(interval, HOUR);
        let sleeps = Arc::clone(&sleeps);
        poll_fn(move |_| match sleeps.swap(0, SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
    };
    let mut flushing = Box::pin(world.keyring.flush_uses_every(HOUR, sleep));
    block_on(world.keyring.verify(&*held.token)).unwrap();
    let key_id = held.key.id();
    let last_used = || {
        let key = block_on(world.store.memory().key(&tenant_id("acme"), key_id)).unwrap();
        key.unwrap().last_used()
    };

    assert!(poll(&mut flushing).is_pending());
    assert_eq!(last_used(), None);
    world.store.fail("record_uses");
    slept.store(1, SeqCst);
    assert!(poll(&mut flushing).is_pending());
    assert_eq!(
        (last_used(), world.audit.take_kinds().last().unwrap().as_str()),
        (None, "Unavailable")
    );
    // The next flush writes the uses that a failed flush could not write.
    world.store.heal("record_uses");
    slept.store(1, SeqCst);
    assert!(poll(&mut flushing).is_pending());
    assert!(last_used().is_some());

    drop((world, held));
    slept.store(1, SeqCst);
    assert!(poll(&mut flushing).is_ready());
}

#[test]
fn a_flush_waits_for_the_one_before_it() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    block_on(world.keyring.verify(&*held.token)).unwrap();
    world.store.hold("record_uses");
    let mut first = Box::pin(world.keyring.flush_uses());
    let mut second = Box::pin(world.keyring.flush_uses());
    assert!(poll(&mut first).is_pending());
    // If this returned early, a service could stop before the uses are written.
    assert!(poll(&mut second).is_pending());
    world.store.release("record_uses");
    assert_eq!(block_on(first).unwrap(), 1);
    assert_eq!(block_on(second).unwrap(), 0);

    // A dropped flush passes its uses and its turn to the next one.
    world.clock.advance(HOUR);
    block_on(world.keyring.verify(&*held.token)).unwrap();
    world.store.hold("record_uses");
    let mut given_up = Box::pin(world.keyring.flush_uses());
    assert!(poll(&mut given_up).is_pending());
    drop(given_up);
    world.store.release("record_uses");
    assert_eq!(block_on(world.keyring.flush_uses()).unwrap(), 1);
}

#[test]
fn tampered_tenant_is_reported_and_left_unchanged() {
    let world = World::new();
    tenant(&world, "acme", &[("day", Some(DAY))]);
    tenant(&world, "beta", &[("day", Some(DAY))]);
    world.clock.advance(9 * DAY);
    world.store.rewrite_tenants(|tenant| match tenant.id().as_str() {
        "acme" => Ok(crate::support::tenant_with_text(&tenant, "advanced", "lite")),
        _ => Ok(tenant),
    });
    let writes = world.store.writes();
    let done = purge(&world, DAY);
    assert_eq!(done.tampered_tenants, [tenant_id("acme")]);
    assert!(world.audit.kinds().contains(&"Tampered".into()));
    let renewed = renewed(&world);
    assert!(world.store.writes() > writes, "the other tenant's key is purged");
    let done = block_on(renewed.reseal(None, |_| {})).unwrap();
    assert_eq!(done.tampered_tenants, [tenant_id("acme")]);
}

/// A tier with room for more keys than fit on a page.
fn large_policy() -> keyway::Policy {
    let tier = keyway::Tier::new("large", 3_000);
    keyway::Policy::new("mm", crate::support::catalog(), [tier]).unwrap()
}

#[test]
fn walks_cross_pages_of_keys_and_of_tenants() {
    let world = World::with(large_policy(), |builder| builder);
    let large = block_on(world.keyring.create_empty_tenant("large", "large")).unwrap();
    // More than one page, and the walk does not end at the end of a page.
    for number in 0..KeyQuery::MAX_LIMIT + 7 {
        let expires = world.after(if number % 2 == 0 { DAY } else { 100 * DAY });
        let _ = block_on(large.issue(NewKey::named("n").expires_at(expires))).unwrap();
    }
    for number in 0..203 {
        let id = format!("tenant {number:03}");
        let tenant = block_on(world.keyring.create_empty_tenant(&id, "large")).unwrap();
        let _ = block_on(tenant.issue(NewKey::named("n").expires_at(world.after(DAY)))).unwrap();
    }
    let keys = KeyQuery::MAX_LIMIT as u64 + 7 + 203;

    let current = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let renewed =
        Keyring::builder(large_policy(), Peppers::new(current).retiring(pepper()).unwrap())
            .environment("live")
            .store(world.store.clone())
            .build()
            .unwrap();
    let done = block_on(renewed.reseal(None, |_| {})).unwrap();
    assert_eq!((done.tenants, done.changed), (204, keys + 204));
    assert_eq!(block_on(renewed.reseal(None, |_| {})).unwrap().changed, 0);

    let mut seen = std::collections::BTreeSet::new();
    let mut after = None;
    loop {
        let page = block_on(renewed.all_keys(&KeyFilter::all(), after.as_ref())).unwrap();
        assert!(page.broken.is_empty() && page.items.len() <= 1_001);
        for key in page.items {
            assert!(seen.insert(key.id()), "a key was given twice");
        }
        assert!(page.next.is_none() || page.next > after, "a walk goes back");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len() as u64, keys);

    world.clock.advance(9 * DAY);
    let clock = world.clock.clone();
    let current = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let renewed =
        Keyring::builder(large_policy(), Peppers::new(current).retiring(pepper()).unwrap())
            .environment("live")
            .store(world.store.clone())
            .clock(clock)
            .build()
            .unwrap();
    let done = block_on(renewed.purge_expired(DAY, None, |_| {})).unwrap();
    assert_eq!((done.tenants, done.changed), (204, KeyQuery::MAX_LIMIT as u64 / 2 + 4 + 203));
    assert_eq!(block_on(renewed.purge_expired(DAY, None, |_| {})).unwrap().changed, 0);
}

#[test]
fn a_walk_over_all_keys_keeps_to_its_filter() {
    let world = World::new();
    let acme =
        tenant(&world, "acme", &[("day", Some(DAY)), ("week", Some(7 * DAY)), ("ever", None)]);
    let beta = tenant(&world, "beta", &[("hour", Some(HOUR)), ("late", None)]);
    let found = |filter: KeyFilter| {
        let page = block_on(world.keyring.all_keys(&filter, None)).unwrap();
        assert_eq!((page.next, page.broken.len()), (None, 0));
        page.items.iter().map(|key| key.name().to_owned()).collect::<Vec<_>>()
    };
    let sorted = |names: &[&str]| {
        let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let sorted_found = |filter| {
        let mut names = found(filter);
        names.sort();
        names
    };
    assert_eq!(sorted_found(KeyFilter::all()), sorted(&["day", "ever", "hour", "late", "week"]));
    let soon = KeyFilter::all().expiring_before(world.after(2 * DAY));
    assert_eq!(sorted_found(soon.clone()), sorted(&["day", "hour"]));
    // A second bound narrows the first.
    let narrower = soon.expiring_before(world.after(9 * DAY));
    assert_eq!(sorted_found(narrower), sorted(&["day", "hour"]));
    assert_eq!(found(KeyFilter::all().imported()), [""; 0]);
    assert_eq!(found(KeyFilter::all().unused_since(world.now())), [""; 0]);

    let start = world.now();
    world.clock.advance(DAY);
    let unused = KeyFilter::all().unused_since(world.now());
    assert_eq!(found(unused.clone()).len(), 5);
    let query = KeyQuery::all().containing("late");
    let late = block_on(beta.list(&query)).unwrap().items.pop().unwrap();
    let used = [keyway::store::KeyUse { id: late.id(), at: world.now() }];
    block_on(world.store.record_uses(&used, world.now())).unwrap();
    assert_eq!(found(unused.clone()).len(), 4);
    assert_eq!(found(KeyFilter::all().unused_since(start)), [""; 0]);
    let both = unused.expiring_before(world.after(DAY));
    assert_eq!(sorted_found(both), sorted(&["day", "hour"]));
    assert_eq!(names(&acme).len(), 3);
}

#[test]
fn walk_finds_keys_that_their_tier_ends() {
    let tiers = [Tier::new("short", 2_000).max_lifetime(30 * DAY), Tier::new("long", 2_000)];
    let policy = Policy::new("mm", crate::support::policy().catalog().clone(), tiers).unwrap();
    let world = World::with(policy, |builder| builder);
    let long = block_on(world.keyring.create_empty_tenant("a", "long")).unwrap();
    let acme = block_on(world.keyring.create_empty_tenant("b", "long")).unwrap();
    // More than one page of rows, so that the walk continues within the tenant.
    for number in 0..1_001 {
        let _ = block_on(acme.issue(NewKey::named(number.to_string()))).unwrap();
    }
    let _ = block_on(long.issue(NewKey::named("long"))).unwrap();
    block_on(world.keyring.set_tier(acme.id(), "short")).unwrap();
    let count = |before| {
        let filter = KeyFilter::all().expiring_before(before);
        let (mut found, mut after) = (0, None);
        loop {
            let page = block_on(world.keyring.all_keys(&filter, after.as_ref())).unwrap();
            assert!(page.items.iter().all(|key| key.tenant() == acme.id()));
            found += page.items.len();
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    };
    assert_eq!((count(world.after(30 * DAY)), count(world.after(31 * DAY))), (0, 1_001));
    // They stay, because on another tier they are valid again.
    world.clock.advance(400 * DAY);
    assert_eq!(purge(&world, DAY).changed, 0);
    let key = block_on(acme.list(&KeyQuery::all())).unwrap().items.pop().unwrap();
    let tenant = block_on(world.keyring.find_tenant(acme.id())).unwrap();
    let (policy, end) = (world.keyring.policy(), world.now());
    let filter = KeyFilter::all().expiring_before(end);
    assert!(filter.matches_of(&key, &tenant, policy, end) && !filter.matches(&key));
}

#[test]
fn a_last_use_of_a_wrong_clock_is_replaced() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let last_used = || block_on(held.keys.find(held.key.id())).unwrap().last_used();
    // A node whose clock is decades ahead verifies and flushes once.
    let ahead = world.another_node_with(crate::support::policy(), |builder| {
        let clock = keyway::time::ManualClock::at("2099-01-01T00:00:00Z".parse().unwrap());
        builder.clock(clock)
    });
    assert!(block_on(ahead.keyring.verify(&held.token)).is_ok());
    assert_eq!(block_on(ahead.keyring.flush_uses()).unwrap(), 1);
    assert!(last_used().unwrap() > world.after(10_000 * DAY));
    // The next node with a correct clock replaces the time.
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    assert_eq!(block_on(world.keyring.flush_uses()).unwrap(), 1);
    assert_eq!(last_used(), Some(world.now()));
    // A minute ahead is within the tolerance, and stays the latest.
    let a_little = world.after(Duration::from_secs(60));
    let used = [keyway::store::KeyUse { id: held.key.id(), at: a_little }];
    block_on(world.store.record_uses(&used, a_little)).unwrap();
    world.clock.advance(Duration::from_millis(1));
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    block_on(world.keyring.flush_uses()).unwrap();
    assert_eq!(last_used(), Some(a_little));
}

#[test]
fn a_use_noted_before_a_clock_was_set_back_is_clamped() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.clock.advance(9 * DAY);
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    let earlier = "2026-01-02T00:00:00Z".parse().unwrap();
    world.clock.set(earlier);
    block_on(world.keyring.flush_uses()).unwrap();
    let found = block_on(held.keys.find(held.key.id())).unwrap();
    assert_eq!(found.last_used(), Some(earlier));
}
