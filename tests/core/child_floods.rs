//! Floods of made-up children: none with a wrong tag reaches the store, and a wrong signature costs its parent alone.

use core::time::Duration;

use keyway::{
    KeyRecord, VerifyError,
    children::NewChild,
    store::KeyStore as _,
    verifier::{Freshness, Verifier},
};

use crate::{
    child_parent::{Parent, policy_with_children, present, present_to, spell, until, world},
    support::{DAY, MAX_STALENESS, World, block_on, pepper, with_text},
};

const SECOND: Duration = Duration::from_secs(1);
/// The wrong signatures that are checked for each parent in a second.
const CHECKED: usize = 20;
/// Row 16 of the assurance table floods with a million.
const MANY: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

/// The outcome of a flood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    rejected: usize,
    unavailable: usize,
    look_ups: usize,
}

/// Presents children with the right tag of `prefix` and a wrong signature, which all differ. Calls `between` after
/// each of them.
fn flood(
    world: &World,
    verifier: &Verifier,
    freshness: Freshness,
    prefix: &str,
    number: usize,
    mut between: impl FnMut(usize),
) -> Outcome {
    let caveats = until(world.after(DAY));
    let mut outcome = Outcome::default();
    for number in 0..number {
        let mut signature = [7; 64];
        signature[..8].copy_from_slice(&number.to_be_bytes());
        let before = world.store.all_calls();
        match present_to(verifier, spell(prefix, &caveats, &signature), freshness) {
            Err(VerifyError::Rejected) => outcome.rejected += 1,
            Err(error @ VerifyError::Unavailable(_)) => {
                // A store that failed has a pause of its own.
                assert!(error.retry_after().is_none_or(|after| after <= SECOND), "{error:?}");
                outcome.unavailable += 1;
            }
            other => panic!("{other:?}"),
        }
        outcome.look_ups += world.store.all_calls() - before;
        between(number);
    }
    outcome
}

#[test]
fn children_with_a_wrong_tag_never_reach_the_store() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let child = parent.mint(world.after(DAY));
    assert!(present(&world, &child).is_ok());
    let tag = 24..32;
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let before = world.store.all_calls();
    for number in 0..MANY {
        let mut text = child.clone().into_bytes();
        // Another tag, the tag of another id, or no pepper in the slot.
        let (place, digit) = match number % 4 {
            0 | 1 => (tag.start + number / 4 % 8, number / 32 % 64),
            2 => (9 + number / 4 % 15, number / 64 % 62),
            _ => (8, 1 + number / 4 % 61),
        };
        if text[place] == alphabet[digit] {
            continue;
        }
        text[place] = alphabet[digit];
        let outcome = present(&world, &text);
        assert!(matches!(outcome, Err(VerifyError::Rejected)), "{outcome:?}");
    }
    assert_eq!(world.store.all_calls(), before);
    // The control: with the right tag, a child of a parent that is not cached makes the verifier read it.
    world.clock.advance(2 * MAX_STALENESS);
    assert!(present(&world, &child).is_ok());
    assert!(world.store.all_calls() > before);
}

#[test]
fn wrong_signatures_of_one_parent_cost_it_alone() {
    let world = world();
    let (parent, other) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
    let known = parent.mint(world.after(DAY));
    assert!(present(&world, &known).is_ok());
    let new = |parent: &Parent, number: usize| {
        let nonce = number.to_be_bytes();
        parent.mint_as(NewChild::until(world.after(DAY)).nonce(&nonce).unwrap())
    };
    let number = MANY / 10;
    let outcome = flood(
        &world,
        world.keyring.verifier(),
        Freshness::Cached,
        &parent.prefix,
        number,
        |number| {
            // A child that is remembered, a key, and new children of another parent.
            if number % 100 == 0 {
                assert!(present(&world, &known).is_ok());
                assert!(present(&world, &parent.token).is_ok());
                assert!(present(&world, new(&other, number)).is_ok());
            }
        },
    );
    assert_eq!(outcome.rejected, CHECKED);
    assert_eq!(outcome.unavailable, number - CHECKED);
    assert!(outcome.look_ups <= CHECKED, "{outcome:?}");

    // A new child of the parent waits for the next second.
    let late = new(&parent, 1);
    let refusal = present(&world, &late).unwrap_err();
    assert!(refusal.is_unavailable());
    assert_eq!(refusal.retry_after(), Some(SECOND));
    world.clock.advance(refusal.retry_after().unwrap());
    assert!(present(&world, &late).is_ok());
}

/// The control: over more seconds, more signatures are checked and more reads are counted.
#[test]
fn wrong_signatures_over_many_seconds_are_all_checked() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let number = 3 * CHECKED;
    let outcome =
        flood(&world, world.keyring.verifier(), Freshness::Cached, &parent.prefix, number, |_| {
            world.clock.advance(SECOND);
        });
    assert_eq!((outcome.rejected, outcome.unavailable), (number, 0));
    assert!(outcome.look_ups >= number, "{outcome:?}");
}

#[test]
fn flood_reads_a_parent_that_is_not_cached_20_times() {
    type Case = (&'static str, Freshness, usize, fn(&World, &Parent));

    let number = 50 * CHECKED;
    let cases: [Case; 6] = [
        ("fresh", Freshness::Now, 1_000, |_, _| {}),
        ("no cache", Freshness::Cached, 0, |_, _| {}),
        ("deleted", Freshness::Cached, 1_000, |world, parent| {
            let memory = world.store.memory();
            block_on(memory.delete_key(parent.key.tenant(), parent.key.id(), None, &[])).unwrap();
        }),
        ("deleted, fresh", Freshness::Now, 1_000, |world, parent| {
            let memory = world.store.memory();
            block_on(memory.delete_key(parent.key.tenant(), parent.key.id(), None, &[])).unwrap();
        }),
        ("tampered with", Freshness::Cached, 1_000, |world, _| {
            world.store.rewrite_keys(|key| Ok(with_text(&key, "parent", "changed")));
        }),
        ("unreadable", Freshness::Cached, 1_000, |world, _| {
            world.store.rewrite_keys(|_| Err(KeyRecord::decode(b"").unwrap_err().into()));
        }),
    ];
    for (name, freshness, capacity, change) in cases {
        let world = world();
        let (parent, other) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
        let verifier = Verifier::builder(policy_with_children(), pepper())
            .environment("live")
            .lookup(world.store.clone())
            .clock(world.clock.clone())
            .cache_capacity(capacity)
            .build()
            .unwrap();
        let known = parent.mint(world.after(DAY));
        assert!(present_to(&verifier, &known, freshness).is_ok(), "{name}");
        change(&world, &parent);
        // Data that was cached before the change is too old.
        world.clock.advance(DAY / 2);
        let outcome = flood(&world, &verifier, freshness, &parent.prefix, number, |_| {});
        assert!(outcome.look_ups <= CHECKED, "{name}: {outcome:?}");
        assert!(outcome.unavailable >= number - CHECKED, "{name}: {outcome:?}");
        // A child that was proven before is not counted among the made-up ones.
        if ["fresh", "no cache"].contains(&name) {
            assert!(present_to(&verifier, &known, freshness).is_ok(), "{name}");
        }
        world.store.rewrite_nothing();
        assert!(present_to(&verifier, other.mint(world.after(DAY)), freshness).is_ok(), "{name}");
    }
}
