//! Walks over all tenants, and the flush of last uses at intervals.

#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops")]

mod common;

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{DAY, HOUR, World, block_on, pepper, tenant_id, with_text};
use keyway::{
    authority::{KeyEdit, NewKey},
    keyring::{Keyring, KeyringError, TenantKeys, Upkeep},
    pepper::{Pepper, Peppers},
    store::{KeyQuery, KeyStore},
};

/// A keyring over the same store, under a pepper that is to take over from the world's.
fn renewed(world: &World) -> Keyring {
    let current = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    Keyring::builder(common::policy(), Peppers::new(current).retiring(pepper()).unwrap())
        .environment("live")
        .store(world.store.clone())
        .build()
        .unwrap()
}

fn purge(world: &World, age: Duration) -> Upkeep {
    block_on(world.keyring.purge_expired(age, None, |_| {})).unwrap()
}

/// A tenant with keys of these names, each of which expires after so long, if at all.
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
    // At the very age a key stays, and a moment later it goes.
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
fn an_expiry_that_somebody_invented_purges_nothing() {
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
fn a_walk_tells_how_far_it_is_and_goes_on_from_there() {
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

    // Behind a tenant only those that are behind it are seen to.
    let rest = block_on(renewed.reseal(Some(&tenant_id("tenant 199")), |_| {})).unwrap();
    assert_eq!((rest.tenants, rest.changed), (50, 0));
    let none = block_on(renewed.reseal(Some(&tenant_id("tenant 249")), |_| {})).unwrap();
    assert_eq!((none.tenants, none.last), (0, Some(tenant_id("tenant 249"))));
}

#[test]
fn a_walk_that_fails_keeps_what_it_has_done() {
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
fn uses_are_flushed_at_intervals_until_the_keyring_is_gone() {
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
    // What a flush could not write the next one does.
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
    // Were it to say that there is nothing to write, a service could end before it is written.
    assert!(poll(&mut second).is_pending());
    world.store.release("record_uses");
    assert_eq!(block_on(first).unwrap(), 1);
    assert_eq!(block_on(second).unwrap(), 0);

    // Who gives up hands its uses and its turn to the next.
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
fn a_tenant_that_somebody_changed_is_told_and_left_alone() {
    let world = World::new();
    tenant(&world, "acme", &[("day", Some(DAY))]);
    tenant(&world, "beta", &[("day", Some(DAY))]);
    world.clock.advance(9 * DAY);
    world.store.rewrite_tenants(|tenant| match tenant.id().as_str() {
        "acme" => Ok(common::tenant_with_text(&tenant, "advanced", "lite")),
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
