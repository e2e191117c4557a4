//! Children of the secrets of a rotated key: each ends with the grace period of its own secret, and a child of the new
//! one is a first use of it.

use super::*;

/// Returns the nodes that know the children in different ways: the one that rotates, and another one with the children
/// remembered.
fn nodes() -> (World, World) {
    let writes = world();
    let reads = another_node(&writes);
    (writes, reads)
}

fn is_admitted(node: &World, child: &str) -> bool {
    match use_child(node.keyring.verifier(), child, Freshness::Cached) {
        Ok(()) => true,
        Err(error) => {
            assert!(is_rejected(&error), "{error:?}");
            false
        }
    }
}

#[test]
fn child_of_an_old_secret_ends_at_its_own_deadline() {
    let (writes, reads) = nodes();
    let held = tenant(&writes, "acme");
    let day = NewChild::lasting(DAY).scopes(["reporting", "manager"]).unwrap();
    let day = day.resources("machine", Resources::only(["press-2"]).unwrap()).unwrap();
    let first = child(&writes, &held, &held.token, &day);
    let token = rotate(&held, GracePeriod::For(HOUR));
    let second = child(&writes, &held, &token, &day);
    let token = rotate(&held, GracePeriod::For(2 * HOUR));
    let third = child(&writes, &held, &token, &day);
    let fresh = another_node(&writes);
    let expect = |expected: [bool; 3]| {
        for node in [&writes, &reads] {
            let admitted = [&first, &second, &third].map(|child| is_admitted(node, child));
            assert_eq!(admitted, expected, "at {}", writes.now());
        }
    };
    expect([true, true, true]);
    // All are remembered now. Only the time passes, in steps in which the parent stays in the caches.
    writes.clock.advance(HOUR - Duration::from_secs(1));
    expect([true, true, true]);
    writes.clock.advance(Duration::from_millis(999));
    expect([true, true, true]);
    writes.clock.advance(Duration::from_millis(1));
    expect([false, true, true]);
    // At first sight as well.
    assert!(!is_admitted(&fresh, &first) && is_admitted(&fresh, &second));
    writes.clock.advance(HOUR - Duration::from_millis(1));
    expect([false, true, true]);
    writes.clock.advance(Duration::from_millis(1));
    expect([false, false, true]);
}

#[test]
fn rotation_without_a_grace_period_ends_all_older_children() {
    let (writes, reads) = nodes();
    let held = tenant(&writes, "acme");
    let first = child(&writes, &held, &held.token, &an_hour());
    let token = rotate(&held, GracePeriod::For(HOUR));
    let second = child(&writes, &held, &token, &an_hour());
    for node in [&writes, &reads] {
        assert!(is_admitted(node, &first) && is_admitted(node, &second));
    }
    let token = rotate(&held, GracePeriod::None);
    let third = child(&writes, &held, &token, &an_hour());
    // The new child is read from the store by a node that has heard nothing, which ends the others there.
    for node in [&writes, &reads] {
        assert!(is_admitted(node, &third));
        assert!(!is_admitted(node, &first) && !is_admitted(node, &second));
    }
}

#[test]
fn child_of_the_new_secret_ends_the_old_one() {
    for is_remembered in [false, true] {
        let (writes, reads) = nodes();
        let held = tenant(&writes, "acme");
        let old = child(&writes, &held, &held.token, &an_hour());
        for node in [&writes, &reads] {
            assert!(is_admitted(node, &old));
        }
        let token = rotate(&held, GracePeriod::UntilFirstUse);
        let new = child(&writes, &held, &token, &an_hour());
        if is_remembered {
            // The store fails, so the first use ends nothing yet. The child is remembered.
            writes.store.fail("update_key");
            assert!(is_admitted(&writes, &new) && is_admitted(&writes, &old));
            writes.store.heal("update_key");
        }
        // Uses of the old secret end nothing.
        for node in [&writes, &reads] {
            assert!(is_admitted(node, &old));
        }
        writes.audit.take_kinds();
        assert!(is_admitted(&writes, &new));
        assert_eq!(writes.audit.take_kinds(), ["GracePeriodEnded"]);
        assert!(!is_admitted(&writes, &old));
        let token = &held.token;
        let address = Some("192.0.2.7".parse().unwrap());
        let parent = writes.keyring.verify_from(token, Freshness::Cached, address);
        assert!(matches!(block_on(parent), Err(VerifyError::Rejected)));
        // The other node follows within the bound.
        assert!(is_admitted(&reads, &old));
        writes.clock.advance(MAX_STALENESS);
        assert!(!is_admitted(&reads, &old) && is_admitted(&reads, &new));
    }
}

#[test]
fn child_that_is_refused_is_no_first_use() {
    let writes = world();
    let held = tenant(&writes, "acme");
    let old = child(&writes, &held, &held.token, &an_hour());
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    let late = NewChild::lasting(HOUR).not_before(writes.after(Duration::from_secs(60)));
    let elsewhere = an_hour().host("elsewhere").unwrap();
    let network = an_hour().networks(Networks::only(["198.51.100.0/24"]).unwrap());
    for request in [&late, &elsewhere, &network] {
        let refused = child(&writes, &held, &token, request);
        for _ in 0..2 {
            verify(writes.keyring.verifier(), &refused, Freshness::Cached).unwrap_err();
        }
    }
    assert!(is_admitted(&writes, &old));
    // The control: one that is admitted ends the old secret.
    assert!(is_admitted(&writes, &child(&writes, &held, &token, &an_hour())));
    assert!(!is_admitted(&writes, &old));
}

#[test]
fn use_of_an_old_child_keeps_the_grace_period() {
    let writes = world();
    let held = tenant(&writes, "acme");
    let first = child(&writes, &held, &held.token, &an_hour());
    let token = rotate(&held, GracePeriod::UntilFirstUse);
    let second = child(&writes, &held, &token, &an_hour());
    let third = rotate(&held, GracePeriod::UntilFirstUse);
    assert!(is_admitted(&writes, &first));
    // The second secret is newer than the first. Its child ends the first, and not itself.
    assert!(is_admitted(&writes, &second));
    assert!(!is_admitted(&writes, &first) && is_admitted(&writes, &second));
    let third = child(&writes, &held, &third, &an_hour());
    assert!(is_admitted(&writes, &third));
    assert!(!is_admitted(&writes, &second) && is_admitted(&writes, &third));
}
