//! The times of a child, to the millisecond: its begin, its end, those of its parent, and the longest lifetime of the
//! policy.

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns the outcome for the child with this text at `time`, of a node that remembers it and of one that sees it first.
#[track_caller]
fn at(world: &World, child: &str, time: keyway::Timestamp) -> Result<(), KeyState> {
    world.clock.set(time);
    let nodes = [None, Some(another_node(world))];
    let answers = nodes.map(|other| {
        let node = other.as_ref().unwrap_or(world).keyring.verifier();
        match use_child(node, child, Freshness::Cached) {
            Ok(()) => Ok(()),
            Err(VerifyError::Inactive(state)) => Err(state),
            Err(error) => panic!("{error:?}"),
        }
    });
    assert_eq!(answers[0], answers[1], "the nodes differ at {time}");
    answers[0]
}

#[test]
fn begin_and_end_of_a_child_are_exact() {
    let world = world();
    let held = tenant(&world, "acme");
    let (from, end) = (world.after(HOUR), world.after(2 * HOUR));
    let text = child(&world, &held, &held.token, &{
        let request = NewChild::until(end).not_before(from);
        request.scopes(["reporting", "manager"]).unwrap().resources("machine", machines()).unwrap()
    });
    let not_yet = Err(KeyState::NotYetValid { from });
    let expired = Err(KeyState::Expired { at: end });
    assert_eq!(at(&world, &text, before(from)), not_yet);
    assert_eq!(at(&world, &text, from), Ok(()));
    assert_eq!(at(&world, &text, before(end)), Ok(()));
    assert_eq!(at(&world, &text, end), expired);
    // A clock that jumps: each outcome is that of the time which it shows.
    assert_eq!(at(&world, &text, from), Ok(()));
    assert_eq!(at(&world, &text, before(from)), not_yet);
    assert_eq!(at(&world, &text, end.checked_add(400 * DAY).unwrap()), expired);
    assert_eq!(at(&world, &text, before(end)), Ok(()));
    assert_eq!(at(&world, &text, keyway::Timestamp::MAX), expired);
    assert_eq!(at(&world, &text, keyway::Timestamp::MIN), not_yet);
}

fn machines() -> Resources {
    Resources::only(["press-2"]).unwrap()
}

fn before(time: keyway::Timestamp) -> keyway::Timestamp {
    keyway::Timestamp::from_millis(time.as_millis() - 1).unwrap()
}

#[test]
fn child_with_a_far_end_begins_when_it_is_near_enough() {
    let world = world();
    let held = tenant(&world, "acme");
    for (ahead, from) in
        [(Duration::ZERO, None), (MILLISECOND, Some(MILLISECOND)), (DAY, Some(DAY))]
    {
        let now = world.now();
        let end = world.after(DAY + ahead);
        let text = child(&world, &held, &held.token, &limited(NewChild::until(end)));
        let begin = from.map_or(now, |from| now.checked_add(from).unwrap());
        if from.is_some() {
            let not_yet = Err(KeyState::NotYetValid { from: begin });
            assert_eq!(at(&world, &text, now), not_yet);
            assert_eq!(at(&world, &text, before(begin)), not_yet);
        }
        assert_eq!(at(&world, &text, begin), Ok(()));
        assert_eq!(at(&world, &text, before(end)), Ok(()));
        assert_eq!(at(&world, &text, end), Err(KeyState::Expired { at: end }));
        // The later of both begins counts.
        let late = begin.checked_add(HOUR).unwrap();
        let request = limited(NewChild::until(end)).not_before(late);
        let text = child(&world, &held, &held.token, &request);
        assert_eq!(at(&world, &text, before(late)), Err(KeyState::NotYetValid { from: late }));
        assert_eq!(at(&world, &text, late), Ok(()));
        let early = limited(NewChild::until(end)).not_before(before(begin));
        let text = child(&world, &held, &held.token, &early);
        assert_eq!(at(&world, &text, begin), Ok(()));
        assert_eq!(at(&world, &text, before(begin)), Err(KeyState::NotYetValid { from: begin }));
        world.clock.set(now);
    }
}

fn limited(request: NewChild) -> NewChild {
    let request = request.scopes(["reporting", "manager"]).unwrap();
    request.resources("machine", machines()).unwrap()
}

#[test]
fn lifetime_of_the_present_policy_counts() {
    let writes = world();
    let held = tenant(&writes, "acme");
    let text = child(&writes, &held, &held.token, &limited(NewChild::lasting(DAY)));
    use_child(writes.keyring.verifier(), &text, Freshness::Cached).unwrap();
    // After a deploy with a shorter lifetime, the child that is there begins later.
    let shorter = policy().with_children(HOUR).unwrap();
    let deployed = writes.another_node_with(shorter, |builder| builder);
    let from = writes.after(DAY - HOUR);
    for (time, expected) in [
        (writes.now(), Err(KeyState::NotYetValid { from })),
        (before(from), Err(KeyState::NotYetValid { from })),
        (from, Ok(())),
    ] {
        writes.clock.set(time);
        let answer = use_child(deployed.keyring.verifier(), &text, Freshness::Cached);
        match expected {
            Ok(()) => answer.unwrap(),
            Err(expected) => assert!(
                matches!(&answer, Err(VerifyError::Inactive(state)) if *state == expected),
                "{answer:?}"
            ),
        }
    }
}

#[test]
fn child_is_within_the_times_of_its_parent() {
    let world = world();
    let held = tenant(&world, "acme");
    let (from, end) = (world.after(HOUR), world.after(3 * HOUR));
    edit(&held, KeyEdit::new().not_before(Some(from)).expires_at(end));
    let text = child(&world, &held, &held.token, &limited(NewChild::lasting(4 * HOUR)));
    assert_eq!(at(&world, &text, before(from)), Err(KeyState::NotYetValid { from }));
    assert_eq!(at(&world, &text, from), Ok(()));
    assert_eq!(at(&world, &text, before(end)), Ok(()));
    assert_eq!(at(&world, &text, end), Err(KeyState::Expired { at: end }));
    // One that begins before its parent and ends before it.
    let now = from;
    world.clock.set(now);
    let early = before(from);
    let child_end = before(end);
    let request = limited(NewChild::until(child_end)).not_before(early);
    let text = child(&world, &held, &held.token, &request);
    assert_eq!(at(&world, &text, early), Err(KeyState::NotYetValid { from }));
    assert_eq!(at(&world, &text, before(child_end)), Ok(()));
    assert_eq!(at(&world, &text, child_end), Err(KeyState::Expired { at: child_end }));
}
