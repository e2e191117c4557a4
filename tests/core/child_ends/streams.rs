//! Streams of children: each ends with its child, or with the parent, and never later than a request would.

use std::thread;

use super::*;
use crate::streams::{SOME_LOOKS, Stream};
use keyway::verifier::Ended;

/// The end of a stream for which [`use_child`] holds.
fn ended(node: &Verifier, child: &str) -> Ended {
    let caller = verify(node, child, Freshness::Cached).unwrap();
    let both = node.requirement(["reporting", "manager"]).unwrap();
    let machine = node.policy().catalog().resource("machine").unwrap();
    caller.ended().requiring(&both).touching(&machine, "press-2")
}

/// Returns a world some time after its keys were issued, so that the lifetime of Trial can end.
fn begun() -> (World, Held) {
    let world = world();
    let held = tenant(&world, "acme");
    world.clock.advance(HOUR - BEFORE_TRIAL_ENDS);
    (world, held)
}

#[test]
fn stream_of_a_child_ends_for_each_cause() {
    for (name, change, is_expected) in CAUSES {
        let (world, held) = begun();
        let text = child(&world, &held, &held.token, &an_hour());
        let node = world.keyring.verifier();
        let own = Stream::of(ended(node, &text));
        let outlives = Stream::of(ended(node, &text).until_parent_ends());
        let operation = {
            let caller = verify(node, &text, Freshness::Cached).unwrap();
            let table = operations(node);
            Stream::of(table.ended("start", Some(&caller), &[("machine", "press-2")]).unwrap())
        };
        change(&world, &held);
        for (kind, mut stream) in [("own", own), ("outlives", outlives), ("operation", operation)] {
            let error = stream.ends();
            assert!(is_expected(&error), "{name}, {kind}: {error:?}");
        }
        // A request gets the same.
        let error = use_child(node, &text, Freshness::Cached).unwrap_err();
        assert!(is_expected(&error), "{name}: {error:?}");
    }
}

#[test]
fn stream_of_a_child_elsewhere_ends_within_the_bound() {
    for (name, change, is_expected) in CAUSES {
        let (writes, held) = begun();
        let text = child(&writes, &held, &held.token, &an_hour());
        let reads = another_node(&writes);
        let node = reads.keyring.verifier();
        let own = Stream::of(ended(node, &text));
        let outlives = Stream::of(ended(node, &text).until_parent_ends());
        change(&writes, &held);
        // Just before the bound, the parent has been read again.
        writes.clock.advance(MAX_STALENESS - Duration::from_millis(200));
        for mut stream in [own, outlives] {
            let error = stream.ends();
            assert!(is_expected(&error), "{name}: {error:?}");
        }
    }
}

#[test]
fn stream_ends_with_the_child_unless_it_lasts() {
    let (world, held) = begun();
    let text = child(&world, &held, &held.token, &an_hour());
    let node = world.keyring.verifier();
    let mut own = Stream::of(ended(node, &text));
    let mut outlives = Stream::of(ended(node, &text).until_parent_ends());
    world.clock.advance(HOUR - Duration::from_millis(1));
    own.stays_open();
    // The end wakes the task, which waits for nothing else.
    let clock = world.clock.clone();
    let passing = thread::spawn(move || {
        thread::sleep(SOME_LOOKS);
        clock.advance(Duration::from_millis(1));
    });
    assert!(is_expired(&own.ends()));
    passing.join().unwrap();
    outlives.stays_open();
    // A stream does not keep the child alive.
    assert!(is_expired(&use_child(node, &text, Freshness::Cached).unwrap_err()));
    world.clock.advance(DAY);
    outlives.stays_open();
    // A stream of the child cannot do more than the child could.
    edit(&held, KeyEdit::new().resources("site", Resources::Nothing));
    outlives.stays_open();
    edit(&held, KeyEdit::new().resources("machine", Resources::only(["press-1"]).unwrap()));
    let error = outlives.ends();
    assert!(matches!(&error, VerifyError::Forbidden(OutsideGrant::Resource(_))), "{error:?}");
}

#[test]
fn lasting_stream_ends_with_the_grace_period_of_its_secret() {
    let (world, held) = begun();
    let minute = Duration::from_secs(60);
    let request = NewChild::lasting(minute).scopes(["reporting", "manager"]).unwrap();
    let old = child(&world, &held, &held.token, &request);
    let token = rotate(&held, GracePeriod::For(HOUR));
    let new = child(&world, &held, &token, &request);
    let open = |child: &str| {
        let caller = verify(world.keyring.verifier(), child, Freshness::Cached).unwrap();
        Stream::of(caller.ended().until_parent_ends())
    };
    let (mut of_old, mut of_new) = (open(&old), open(&new));
    world.clock.advance(HOUR - Duration::from_millis(1));
    of_old.stays_open();
    world.clock.advance(Duration::from_millis(1));
    assert!(is_rejected(&of_old.ends()));
    of_new.stays_open();
    block_on(held.keys.delete(held.key.id())).unwrap();
    assert!(is_rejected(&of_new.ends()));
}

#[test]
fn stream_of_a_child_keeps_without_what_it_lacks() {
    let (world, held) = begun();
    let text = child(&world, &held, &held.token, &an_hour());
    let node = world.keyring.verifier();
    let caller = verify(node, &text, Freshness::Cached).unwrap();
    // Of the machines, the child may touch one that its parent has as well.
    let mut stream = Stream::of(caller.ended());
    edit(&held, KeyEdit::new().resources("machine", Resources::only(["press-2"]).unwrap()));
    edit(&held, KeyEdit::new().resources("site", Resources::Nothing));
    edit(&held, KeyEdit::new().name("second"));
    rotate(&held, GracePeriod::For(HOUR));
    assert!(stream.end_within(SOME_LOOKS).is_none());
    // The control: the parent's own stream has lost something.
    let address = Some("192.0.2.7".parse().unwrap());
    let parent = block_on(node.verify_from(&held.token, Freshness::Cached, address)).unwrap();
    let mut parent = Stream::of(parent.ended().until_parent_ends());
    edit(&held, KeyEdit::new().resources("machine", Resources::only(["press-1"]).unwrap()));
    for stream in [&mut stream, &mut parent] {
        let error = stream.ends();
        assert!(matches!(&error, VerifyError::Forbidden(OutsideGrant::Resource(_))), "{error:?}");
    }
}
