//! The children that a verifier remembers: each holds for the read of its parent that it was derived from, and is derived
//! again from the next one.

use super::*;

/// The number of wrong signatures of one parent that are checked per second.
const WRONG_PER_SECOND: usize = 20;

/// Presents children of `held` with wrong signatures, until no more are checked in this second. From then on only a
/// child that is remembered is admitted.
fn exhaust(node: &World, held: &Held) {
    let id = held.key.id().to_string();
    let at = held.token.find(&id).unwrap() + id.len();
    // The same token with another secret.
    let other = if held.token[at..].starts_with('A') { "B" } else { "A" };
    let token = format!("{}{other}{}", &held.token[..at], &held.token[at + 1..]);
    let prefix = node.keyring.child_prefix(&held.key).unwrap();
    let minter = ChildMinter::new(&token, &prefix).unwrap();
    for number in 0..=WRONG_PER_SECOND {
        let request = an_hour().nonce(&[u8::try_from(number).unwrap()]).unwrap();
        let wrong = minter.mint_at(&request, node.now()).unwrap().reveal_known().to_string();
        let error = use_child(node.keyring.verifier(), &wrong, Freshness::Cached).unwrap_err();
        if number < WRONG_PER_SECOND / 2 {
            assert!(is_rejected(&error), "{number}: {error:?}");
        }
    }
}

fn is_unchecked(node: &World, child: &str, freshness: Freshness) -> bool {
    match use_child(node.keyring.verifier(), child, freshness) {
        Ok(()) => false,
        Err(error) => {
            assert!(error.is_unavailable(), "{error:?}");
            true
        }
    }
}

/// Returns a node, and a child that it remembers and one that it has not seen.
fn remembering(writes: &World) -> (World, Held, String, String) {
    let held = tenant(writes, "acme");
    let node = another_node(writes);
    let known = child(writes, &held, &held.token, &an_hour());
    let new = child(writes, &held, &held.token, &an_hour().nonce(b"new").unwrap());
    assert!(!is_unchecked(&node, &known, Freshness::Cached));
    (node, held, known, new)
}

#[test]
fn remembered_child_needs_no_second_signature() {
    let writes = world();
    let (node, held, known, new) = remembering(&writes);
    exhaust(&node, &held);
    for freshness in [Freshness::Cached, Freshness::Now] {
        assert!(!is_unchecked(&node, &known, freshness), "{freshness:?}");
        // The control: the signature of a child that is not remembered is not checked.
        assert!(is_unchecked(&node, &new, freshness), "{freshness:?}");
    }
    // In the next second it is.
    writes.clock.advance(Duration::from_secs(1));
    assert!(!is_unchecked(&node, &new, Freshness::Cached));
}

#[test]
fn parent_read_again_with_equal_content_keeps_its_children() {
    let writes = world();
    let (node, held, known, new) = remembering(&writes);
    for _ in 0..3 {
        // The parent has to be read again, and nobody has done so yet.
        writes.clock.advance(2 * MAX_STALENESS);
        exhaust(&node, &held);
        assert!(!is_unchecked(&node, &known, Freshness::Cached));
        assert!(is_unchecked(&node, &new, Freshness::Cached));
    }
}

#[test]
fn child_is_remembered_while_its_parent_is_read_again() {
    let writes = world();
    let (node, held, known, new) = remembering(&writes);
    let feed = Told::default();
    let mut following: Pin<Box<dyn Future<Output = ()>>> =
        Box::pin(node.keyring.verifier().follow(feed.clone()));
    exhaust(&node, &held);
    // The cache forgets the parent, of which nothing has changed.
    feed.tell(&mut following, &[Change::Key(held.key.id())]);
    assert!(!is_unchecked(&node, &known, Freshness::Cached));
    feed.tell(&mut following, &[Change::Gap]);
    assert!(!is_unchecked(&node, &known, Freshness::Cached));
    assert!(is_unchecked(&node, &new, Freshness::Cached));
}

#[test]
fn right_signatures_count_for_no_limit() {
    let world = world();
    let held = tenant(&world, "acme");
    for number in 0..3 * WRONG_PER_SECOND {
        let request = an_hour().nonce(&[u8::try_from(number).unwrap()]).unwrap();
        let text = child(&world, &held, &held.token, &request);
        use_child(world.keyring.verifier(), &text, Freshness::Cached).unwrap();
    }
}

#[test]
fn child_is_derived_again_from_what_its_parent_became() {
    type IsNew = fn(&Principal, &World) -> bool;
    let changes: [(&str, fn(&World, &Held), IsNew); 5] = [
        (
            "renamed",
            |_, held| edit(held, KeyEdit::new().name("second")),
            |caller, _| caller.name() == "second",
        ),
        (
            "narrowed",
            |_, held| edit(held, KeyEdit::new().scopes(["reporting"])),
            |caller, _| caller.scopes().len() == 1,
        ),
        (
            "rotated",
            |_, held| drop(rotate(held, GracePeriod::For(HOUR))),
            |caller, _| caller.used_previous_secret(),
        ),
        (
            "another tier",
            |world, held| drop(block_on(world.keyring.set_tier(held.keys.id(), "trial")).unwrap()),
            |caller, world| {
                caller.tier(world.keyring.policy()).is_some_and(|tier| tier.name == "trial")
            },
        ),
        ("unchanged", |_, _| (), |_, _| true),
    ];
    for (name, change, is_new) in changes {
        let writes = world();
        let (node, held, known, new) = remembering(&writes);
        let before = verify(node.keyring.verifier(), &known, Freshness::Cached).unwrap();
        assert_eq!(is_new(&before, &node), name == "unchanged", "{name}");
        // Behind the back of the node, in the store beneath it.
        change(&writes, &held);
        writes.clock.advance(MAX_STALENESS);
        exhaust(&node, &held);
        // Its signature is right for the same public key, so it needs no second check.
        let after = verify(node.keyring.verifier(), &known, Freshness::Cached).unwrap();
        assert!(is_new(&after, &node), "{name}");
        // The control.
        assert!(is_unchecked(&node, &new, Freshness::Cached), "{name}");
    }
}

#[test]
fn child_of_a_secret_that_is_gone_is_not_derived_again() {
    let writes = world();
    let (node, held, known, _) = remembering(&writes);
    drop(rotate(&held, GracePeriod::None));
    writes.clock.advance(MAX_STALENESS);
    for _ in 0..2 {
        let error = use_child(node.keyring.verifier(), &known, Freshness::Cached).unwrap_err();
        assert!(is_rejected(&error), "{error:?}");
    }
}

#[test]
fn narrowed_parent_read_without_an_invalidation_narrows() {
    // A node without room for keys reads its parent for each request.
    let writes = world();
    let node = writes.another_node_with(policy(), |builder| builder.cache_capacity(0));
    for (name, change, is_expected) in CAUSES {
        let id = format!("t{}", name.len()) + &name.replace(' ', "-");
        let held = tenant(&writes, &id);
        let text = child(&writes, &held, &held.token, &an_hour());
        let verifier = node.keyring.verifier();
        for _ in 0..2 {
            use_child(verifier, &text, Freshness::Cached).unwrap();
        }
        writes.clock.advance(HOUR - BEFORE_TRIAL_ENDS);
        let text = child(&writes, &held, &held.token, &an_hour());
        use_child(verifier, &text, Freshness::Cached).unwrap();
        change(&writes, &held);
        let error = use_child(verifier, &text, Freshness::Cached);
        let error = error.expect_err(&format!("{name}: the child is admitted"));
        assert!(is_expected(&error), "{name}: {error:?}");
    }
}

#[test]
fn children_of_one_parent_do_not_mix() {
    let world = world();
    let held = tenant(&world, "acme");
    let node = world.keyring.verifier();
    let with = |request: NewChild| child(&world, &held, &held.token, &request);
    let machine = world.keyring.policy().catalog().resource("machine").unwrap();
    let only = |id: &str| {
        let request = NewChild::lasting(HOUR).scopes(["reporting"]).unwrap();
        with(request.resources("machine", Resources::only([id]).unwrap()).unwrap())
    };
    let children = [only("press-1"), only("press-2"), only("press-3")];
    let manager = with(NewChild::lasting(HOUR).scopes(["manager"]).unwrap());
    let reporting = world.keyring.requirement(["reporting"]).unwrap();
    for _ in 0..3 {
        for (number, text) in children.iter().enumerate() {
            let caller = verify(node, text, Freshness::Cached).unwrap();
            // The third machine is not its parent's.
            let permitted = ["press-1", "press-2", "press-3"]
                .map(|id| caller.permit(&reporting, &machine, id).is_ok());
            let expected: [bool; 3] = std::array::from_fn(|at| at == number && number < 2);
            assert_eq!(permitted, expected, "{number}");
        }
        let caller = verify(node, &manager, Freshness::Cached).unwrap();
        assert!(caller.require(&reporting).is_err());
        assert!(caller.require(&world.keyring.requirement(["manager"]).unwrap()).is_ok());
    }
}

#[test]
fn children_of_two_keys_do_not_mix() {
    let world = world();
    let (one, other) = (tenant(&world, "acme"), tenant(&world, "globex"));
    edit(&other, KeyEdit::new().scopes(["reporting"]));
    let node = world.keyring.verifier();
    let of_one = child(&world, &one, &one.token, &an_hour());
    let of_other = child(&world, &other, &other.token, &an_hour());
    for _ in 0..3 {
        use_child(node, &of_one, Freshness::Cached).unwrap();
        assert!(lacks_scope(&use_child(node, &of_other, Freshness::Cached).unwrap_err()));
        assert_eq!(verify(node, &of_one, Freshness::Cached).unwrap().tenant(), "acme");
        assert_eq!(verify(node, &of_other, Freshness::Cached).unwrap().tenant(), "globex");
    }
}
