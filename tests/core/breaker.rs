//! A store that is away. Requests that need it fail at once, one request at a time tries it, and its first
//! reply readmits all requests.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{FaultyStore, Held, MAX_STALENESS, World, block_on, chain, policy};
use keyway::{KeyringError, Principal, VerifyError, store::StoreError, verifier::Freshness};

const MILLISECOND: Duration = Duration::from_millis(1);
/// More than the first pause with all of its jitter, and more than the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(313);
const LONGEST_PAUSE: Duration = Duration::from_millis(5_001);

fn verify(world: &World, held: &Held) -> Result<Principal, VerifyError> {
    block_on(world.keyring.verify(&*held.token))
}

fn lookups(world: &World) -> usize {
    world.store.calls("lookup")
}

/// Creates `number` keys, each of its own tenant, none of which is cached.
fn keys(world: &World, number: usize) -> Vec<Held> {
    (0..number).map(|tenant| world.tenant_with_key(&format!("tenant-{tenant}"))).collect()
}

fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn requests_fail_at_once_after_five_failures() {
    let world = World::new();
    let keys = keys(&world, 100);
    let before = lookups(&world);
    world.store.set_down(true);
    for held in &keys {
        let error = verify(&world, held).unwrap_err();
        assert!(error.is_unavailable() && !error.is_denied(), "{error:?}");
    }
    assert_eq!(lookups(&world) - before, 5);
    let error = verify(&world, &keys[0]).unwrap_err();
    assert!(chain(&error).concat().contains("the store failed a moment ago"), "{error:?}");
    let retry_after = error.retry_after().unwrap();
    assert!(retry_after > Duration::ZERO && retry_after <= FIRST_PAUSE, "{retry_after:?}");
    // The control: operations that do not pass the breaker reach the store each time.
    for held in &keys {
        assert!(block_on(held.keys.find(held.key.id())).is_err());
    }
    assert_eq!(world.store.calls("key"), 100);
}

#[test]
fn one_probe_reply_readmits_all_requests() {
    let world = World::new();
    let keys = keys(&world, 20);
    world.store.set_down(true);
    for held in &keys[..5] {
        assert!(verify(&world, held).is_err());
    }
    // The end of each pause lets one request through, and the next pause is longer.
    for _ in 0..6 {
        world.clock.advance(LONGEST_PAUSE);
        let before = lookups(&world);
        for held in &keys {
            assert!(verify(&world, held).is_err());
        }
        assert_eq!(lookups(&world) - before, 1);
    }
    world.store.set_down(false);
    assert!(verify(&world, &keys[0]).is_err(), "the pause is not over");
    world.clock.advance(LONGEST_PAUSE);
    for held in &keys {
        assert!(verify(&world, held).is_ok());
    }
    // The count of failures starts again.
    world.clock.advance(MAX_STALENESS);
    world.store.set_down(true);
    let before = lookups(&world);
    for held in &keys {
        assert!(verify(&world, held).is_err());
    }
    assert_eq!(lookups(&world) - before, 5);
    world.store.set_down(false);
    world.clock.advance(FIRST_PAUSE);
    assert!(verify(&world, &keys[0]).is_ok());
}

#[test]
fn cached_keys_are_served_up_to_the_bound() {
    let world = World::new();
    let keys = keys(&world, 6);
    assert!(verify(&world, &keys[0]).is_ok());
    world.store.set_down(true);
    for held in &keys[1..] {
        assert!(verify(&world, held).is_err());
    }
    world.clock.advance(MAX_STALENESS - MILLISECOND * 200);
    assert!(verify(&world, &keys[0]).is_ok());
    world.clock.advance(MILLISECOND * 200);
    for _ in 0..10 {
        assert!(verify(&world, &keys[0]).unwrap_err().is_unavailable());
    }
}

#[test]
fn requests_do_not_pile_up_at_a_silent_store() {
    let world = World::new();
    let keys = keys(&world, 50);
    let before = lookups(&world);
    world.store.hold("lookup");
    let mut waiting: Vec<_> =
        keys[..10].iter().map(|held| Box::pin(world.keyring.verify(&*held.token))).collect();
    for request in &mut waiting {
        assert!(poll(request).is_pending());
    }
    world.clock.advance(Duration::from_secs(1));
    let mut probe = Box::pin(world.keyring.verify(&*keys[10].token));
    assert!(poll(&mut probe).is_pending());
    for held in &keys[11..] {
        let mut request = Box::pin(world.keyring.verify(&*held.token));
        assert!(matches!(poll(&mut request), Poll::Ready(Err(VerifyError::Unavailable(_)))));
    }
    // Four requests of the first ten, and the probe. The other six would have been asked for together.
    assert_eq!(lookups(&world) - before, 5);
    // A request that joins a hanging read would wait as long as the read does. So it fails at once, too.
    let mut joining = Box::pin(world.keyring.verify(&*keys[0].token));
    assert!(poll(&mut joining).is_ready());
    world.store.release("lookup");
    for request in &mut waiting {
        assert!(matches!(poll(request), Poll::Ready(Ok(_))));
    }
    for held in &keys[11..] {
        assert!(verify(&world, held).is_ok());
    }
    drop(probe);
}

#[test]
fn slow_store_rejects_nobody() {
    let world = World::new();
    for held in keys(&world, 20) {
        world.store.hold("lookup");
        let mut request = Box::pin(world.keyring.verify(&*held.token));
        assert!(poll(&mut request).is_pending());
        world.clock.advance(Duration::from_secs(3));
        world.store.release("lookup");
        assert!(matches!(poll(&mut request), Poll::Ready(Ok(_))));
    }
}

#[test]
fn missing_and_corrupt_records_do_not_open_the_breaker() {
    let world = World::new();
    let keys = keys(&world, 20);
    for held in &keys[..10] {
        block_on(held.keys.delete(held.key.id())).unwrap();
    }
    keys[..10].iter().for_each(|held| {
        assert!(matches!(verify(&world, held), Err(VerifyError::Rejected)));
    });
    // A record that cannot be read does not open the breaker either.
    world.store.rewrite_keys(|key| {
        let mut bytes = key.encode();
        bytes.truncate(3);
        keyway::KeyRecord::decode(&bytes).map_err(StoreError::from)
    });
    let before = lookups(&world);
    keys[10..19].iter().for_each(|held| {
        let error = verify(&world, held).unwrap_err();
        assert!(error.is_unavailable() && error.retry_after().is_none(), "{error:?}");
    });
    assert_eq!(lookups(&world) - before, 9);
    world.store.rewrite_nothing();
    assert!(verify(&world, &keys[19]).is_ok());
}

#[test]
fn replica_outage_does_not_block_the_store() {
    let primary = World::new();
    let replica = FaultyStore::over(primary.store.memory().clone());
    replica.set_max_lag(Duration::from_secs(1));
    let to_replica = replica.clone();
    let world = primary.another_node_with(policy(), |builder| builder.replica(to_replica));
    let keys = keys(&primary, 10);
    world.clock.advance(MAX_STALENESS);
    replica.set_down(true);
    for held in &keys {
        assert!(verify(&world, held).is_err());
    }
    assert_eq!((replica.calls("lookup"), lookups(&world)), (5, 0));
    let now = |held: &Held| block_on(world.keyring.verify_as_of(&*held.token, Freshness::Now));
    for held in &keys {
        assert!(now(held).is_ok());
    }
    // An outage of the store does not block the replica.
    replica.set_down(false);
    world.store.set_down(true);
    world.clock.advance(MAX_STALENESS);
    let before = lookups(&world);
    for held in &keys {
        assert!(now(held).is_err());
    }
    assert_eq!(lookups(&world) - before, 5);
    for held in &keys {
        assert!(verify(&world, held).is_ok());
    }
}

#[test]
fn holder_requests_fail_at_once_while_the_store_is_away() {
    let world = World::new();
    let keys = keys(&world, 10);
    world.store.set_down(true);
    for held in &keys {
        assert!(verify(&world, held).is_err());
    }
    let before = world.store.all_calls();
    for held in &keys {
        let described = block_on(world.keyring.describe(&*held.token));
        assert!(matches!(described, Err(KeyringError::Unavailable(_))), "{described:?}");
        let revoked = block_on(world.keyring.revoke(&*held.token));
        assert!(matches!(revoked, Err(KeyringError::Unavailable(_))), "{revoked:?}");
    }
    assert_eq!(world.store.all_calls(), before);
}

#[cfg(feature = "http")]
#[test]
fn guard_retry_after_is_the_breakers_pause() {
    let world = World::new();
    let keys = keys(&world, 10);
    let guard = keyway::Guard::new(&world.keyring);
    let retry_after = |held: &Held| {
        let value = format!("Bearer {}", held.token);
        let request = [("authorization", value.as_bytes())];
        let answer = block_on(guard.admit(&request[..])).unwrap_err();
        assert_eq!(answer.status(), 503);
        let value = answer.headers().find(|(name, _)| *name == "retry-after").unwrap().1;
        value.parse::<u64>().unwrap()
    };
    world.store.set_down(true);
    assert!((0..10).all(|key| retry_after(&keys[key]) == 1));
    for _ in 0..5 {
        world.clock.advance(LONGEST_PAUSE);
        retry_after(&keys[0]);
    }
    let longest = retry_after(&keys[0]);
    assert!((3..=5).contains(&longest), "{longest}");
}
