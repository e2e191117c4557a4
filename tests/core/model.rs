//! A keyring with its store and cache, and services without them, through random histories beside a naive
//! model that shares no code with the library.
//!
//! `PROPTEST_CASES` sets the number of histories. The default is 200. A failed test prints the `SEED` that
//! repeats its histories. Row 6 of the assurance table compares many more services.

mod granting;
mod history;
#[path = "../assurance/model/src/lib.rs"]
mod naive_model;
mod steps;

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
};

use naive_model::{
    fault::Fault,
    naive::Rules,
    products,
    small::{self, Extent},
    world::{self, Tally},
};

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn histories() -> u64 {
    number("PROPTEST_CASES").unwrap_or(200)
}

/// Returns another seed in each run, so that the runs find what a fixed set of histories does not contain.
fn seed() -> u64 {
    number("SEED").unwrap_or_else(|| RandomState::new().hash_one("seed") >> 32)
}

#[test]
fn keyring_agrees_with_the_model_on_random_histories() {
    let seed = seed();
    for number in 0..histories() {
        history::play(Rules(None), seed, number)
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn decisions_agree_with_the_model_in_random_services() {
    let (seed, mut tally) = (seed(), Tally::default());
    for number in 0..histories() {
        world::run(Rules(None), seed, number, &mut tally);
        assert_eq!(tally.disagreements, 0, "history {number} of SEED={seed}");
    }
    assert!(tally.admitted > 0, "{tally:?}");
    // A comparison that meets no limit shows nothing about limits. A few histories may meet none.
    assert!(tally.met.least() > 0 || histories() < 200, "{tally:?}");
}

#[test]
fn decisions_agree_with_the_model_in_all_small_services() {
    for (scopes, orders) in [(0, 1), (1, 1), (2, 3), (3, 19)] {
        let count = small::compare(Rules(None), scopes, Extent::Everything, (0, 1));
        assert_eq!((count.orders, count.disagreements), (orders, 0), "{scopes} scopes");
    }
}

#[test]
fn grants_agree_with_the_model_in_the_smallest_services() {
    let count = products::compare(Rules(None), 0, Extent::Everything, (0, 1));
    assert!(count.pairs > 0 && count.verdicts > 0, "{count:?}");
    assert_eq!(count.disagreements, 0, "{count:?}");
    let planted = Rules(Some(Fault::EmptyListsAreAll));
    assert!(products::compare(planted, 0, Extent::Orders, (0, 1)).disagreements > 0);
}

#[test]
fn every_fault_in_the_models_service_is_noticed() {
    for fault in Fault::OF_SERVICES {
        let is_noticed = |number| history::play(Rules(Some(fault)), 6, number).is_err();
        assert!((0..400).any(is_noticed), "{fault:?}");
    }
}

#[test]
fn every_fault_in_the_models_decisions_is_noticed() {
    for fault in Fault::OF_DECISIONS {
        let mut tally = Tally::default();
        let mut is_noticed = |number| {
            world::run(Rules(Some(fault)), 6, number, &mut tally);
            tally.disagreements > 0
        };
        assert!((0..400).any(&mut is_noticed), "{fault:?}");
    }
}

/// The numbers of the histories whose keys may have children.
#[cfg(feature = "children")]
fn with_children() -> impl Iterator<Item = u64> {
    (0..).filter(|number| world::has_children(*number))
}

#[cfg(feature = "children")]
#[test]
fn children_agree_with_the_model_in_random_services() {
    let (seed, mut tally) = (seed(), Tally::default());
    for number in with_children().take(usize::try_from(histories() / 10).unwrap()) {
        world::run(Rules(None), seed, number, &mut tally);
        assert_eq!(tally.disagreements, 0, "history {number} of SEED={seed}");
    }
    assert!(tally.children.decisions > 0 || histories() < 200, "{tally:?}");
    assert_eq!(tally.children.above, 0, "{tally:?}");
}
