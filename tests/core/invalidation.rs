//! The cache drops keys that were loaded before a write ended, not only keys that were loaded before it
//! began. This holds for every method that writes.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use crate::support::{DAY, Held, World, block_on};
use keyway::{
    GracePeriod, KeyEdit, Keyring, KeyringError, LeakResponse, NewKey, record::Suspension,
    store::KeyStore,
};

type Write = for<'w> fn(
    &'w Keyring,
    &'w Held,
) -> Pin<Box<dyn Future<Output = Result<(), KeyringError>> + 'w>>;

fn ban() -> Suspension {
    Suspension::permanent("spam").unwrap()
}

/// Every method that restricts a cached key, with the name of the store method through which it writes.
const WRITES: [(&str, &str, Write); 14] = [
    ("disable", "update_key", |_, held| {
        Box::pin(async { held.keys.disable(held.key.id()).await.map(drop) })
    }),
    ("edit", "update_key", |_, held| {
        let edit = KeyEdit::new().enabled(false);
        Box::pin(async { held.keys.edit(held.key.id(), 1, edit).await.map(drop) })
    }),
    ("rotate", "update_key", |_, held| {
        Box::pin(async { held.keys.rotate(held.key.id(), 1, GracePeriod::None).await.map(drop) })
    }),
    ("delete", "delete_key", |_, held| Box::pin(held.keys.delete(held.key.id()))),
    ("delete a version", "delete_key", |_, held| {
        Box::pin(held.keys.delete_version(held.key.id(), 1))
    }),
    ("revoke", "delete_key", |ring, held| Box::pin(ring.revoke(&held.token))),
    ("report a leak", "update_key", |ring, held| {
        Box::pin(async {
            ring.report_leak(&held.token, "seen", LeakResponse::Suspend).await.map(drop)
        })
    }),
    ("suspend a key", "update_key", |ring, held| {
        Box::pin(async { ring.suspend_key(held.key.id(), ban()).await.map(drop) })
    }),
    ("suspend a tenant", "update_tenant", |ring, held| {
        Box::pin(async { ring.suspend_tenant(held.keys.id(), ban()).await.map(drop) })
    }),
    ("delete a tenant", "delete_tenant", |ring, held| Box::pin(ring.delete_tenant(held.keys.id()))),
    // These methods write in the same way. Their changes do not cause the key to be rejected, so the test
    // checks that the key is read again.
    ("set a tier", "update_tenant", |ring, held| {
        Box::pin(async { ring.set_tier(held.keys.id(), "lite").await.map(drop) })
    }),
    ("resume a tenant", "update_tenant", |ring, held| {
        Box::pin(async { ring.resume_tenant(held.keys.id()).await.map(drop) })
    }),
    ("resume a key", "update_key", |ring, held| {
        Box::pin(async { ring.resume_key(held.key.id()).await.map(drop) })
    }),
    ("create a tenant", "insert_tenant", |ring, held| {
        let request = NewKey::named("first");
        Box::pin(async {
            ring.create_tenant_with(held.keys.id().as_str(), "lite", request).await.map(drop)
        })
    }),
];

/// Returns the number of lookups that one verification makes.
fn reads_of_a_verification(world: &World, held: &Held) -> usize {
    let before = world.store.calls("lookup");
    let _ = block_on(world.keyring.verify(&held.token));
    world.store.calls("lookup") - before
}

#[test]
fn key_loaded_during_a_write_is_dropped_from_the_cache() {
    for (name, method, write) in WRITES {
        for ends in ["done", "failed", "dropped"] {
            let world = World::new();
            let held = world.tenant_with_key("acme");
            world.store.hold(method);
            let mut context = Context::from_waker(Waker::noop());
            let mut writing = write(&world.keyring, &held);
            assert!(writing.as_mut().poll(&mut context).is_pending(), "{name} does not write");
            assert!(world.store.calls(method) > 0, "{name} does not write with {method}");
            // The store has received the write but has not completed it. A verification loads the key as it
            // was before.
            assert!(block_on(world.keyring.verify(&held.token)).is_ok(), "{name}");
            assert_eq!(reads_of_a_verification(&world, &held), 0, "{name}: nothing was cached");
            if ends == "failed" {
                world.store.fail(method);
            }
            if ends != "dropped" {
                world.store.release(method);
                assert!(matches!(writing.as_mut().poll(&mut context), Poll::Ready(_)), "{name}");
            }
            drop(writing);
            world.store.release(method);
            let reads = reads_of_a_verification(&world, &held);
            assert!(reads > 0, "{name}, {ends}: a key from before the write was believed after it");
        }
    }
}

/// The control: without a write the key stays cached.
#[test]
fn without_a_write_nothing_is_read_again() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    let other = world.tenant_with_key("other");
    block_on(other.keys.disable(other.key.id())).unwrap();
    assert_eq!(reads_of_a_verification(&world, &held), 0);
}

/// `purge_expired` deletes a key only at the version that it read. A key that is renewed meanwhile is kept.
#[test]
fn key_renewed_during_purge_is_kept() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let soon = KeyEdit::new().expires_at(Some(world.after(DAY)));
    let key = block_on(held.keys.edit(held.key.id(), 1, soon)).unwrap();
    world.clock.advance(9 * DAY);
    world.store.hold("delete_key");
    let mut walk = pin!(world.keyring.purge_expired(DAY, None, |_| {}));
    let mut context = Context::from_waker(Waker::noop());
    assert!(walk.as_mut().poll(&mut context).is_pending());
    let renewed = KeyEdit::new().expires_at(Some(world.after(9 * DAY)));
    block_on(held.keys.edit(key.id(), key.version(), renewed)).unwrap();
    world.store.release("delete_key");
    let Poll::Ready(done) = walk.as_mut().poll(&mut context) else { panic!("it hangs") };
    assert_eq!(done.unwrap().changed, 0);
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
}

/// A revocation has no effect if the presented secret is replaced while the revocation is in progress.
#[test]
fn secret_replaced_during_its_revocation_revokes_nothing() {
    for replaces in [true, false] {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.store.hold("delete_key");
        let mut revoking = pin!(world.keyring.revoke(&held.token));
        let mut context = Context::from_waker(Waker::noop());
        assert!(revoking.as_mut().poll(&mut context).is_pending());
        if replaces {
            let rotated = block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::None));
            drop(rotated.unwrap().token);
        } else {
            block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("other"))).unwrap();
        }
        world.store.release("delete_key");
        let Poll::Ready(done) = revoking.as_mut().poll(&mut context) else { panic!("it hangs") };
        let stored = block_on(world.store.memory().key(held.keys.id(), held.key.id())).unwrap();
        // Any other change of the key does not prevent its holder from revoking it.
        assert_eq!((done.is_err(), stored.is_some()), (replaces, replaces));
    }
}

/// A deletion that names a version does not delete a later version.
#[test]
fn a_deletion_of_a_version_leaves_a_later_one() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let key = block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("new"))).unwrap();
    let refused = block_on(held.keys.delete_version(key.id(), 1));
    assert!(matches!(refused, Err(KeyringError::Conflict)));
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    block_on(held.keys.delete_version(key.id(), key.version())).unwrap();
    assert!(block_on(world.keyring.verify(&held.token)).is_err());
}
