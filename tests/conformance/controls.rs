//! Negative controls: each planted bug is caught by the clause that is there for it, and by those that
//! cannot be kept without that one. No others fail.

use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use keyway::store::{
    AnyStore, KeyStore,
    conformance::{Clause, cached_clauses, clauses},
};

use crate::{
    bug::Bug,
    planted::Planted,
    table::{self, Control, Others},
};

#[test]
fn bugs_of_identity_and_round_trip_are_caught() {
    check(table::IDENTITY_AND_ROUND_TRIP, clauses, Planted::with);
}

#[test]
fn bugs_of_inserts_and_quota_are_caught() {
    check(table::INSERTS_AND_QUOTA, clauses, Planted::with);
}

#[test]
fn bugs_of_updates_are_caught() {
    check(table::UPDATES, clauses, Planted::with);
}

#[test]
fn bugs_of_deletion_and_absence_are_caught() {
    check(table::DELETION_AND_ABSENCE, clauses, Planted::with);
}

#[test]
fn bugs_of_lists_are_caught() {
    check(table::LISTS, clauses, Planted::with);
}

#[test]
fn bugs_of_search_are_caught() {
    check(table::SEARCH, clauses, Planted::with);
}

#[test]
fn bugs_of_last_use_are_caught() {
    check(table::LAST_USE, clauses, Planted::with);
}

#[test]
fn bugs_of_visibility_and_atomicity_are_caught() {
    check(table::VISIBILITY_AND_ATOMICITY, clauses, Planted::with);
}

#[test]
fn bugs_are_caught_behind_a_cache() {
    check(table::CACHED, cached_clauses, |bug| AnyStore::new(Planted::with(bug)));
}

#[test]
fn without_a_bug_every_clause_is_kept() {
    let none = BTreeSet::new();
    assert_eq!(failing(&clauses(), || Planted::with(None)), none);
    assert_eq!(failing(&cached_clauses(), || AnyStore::new(Planted::with(None))), none);
}

#[test]
fn every_clause_catches_a_bug() {
    let names: BTreeSet<_> = clauses::<Planted>().iter().map(Clause::name).collect();
    assert_eq!(caught(table::ALL.into_iter().flatten()), names);
    let names: BTreeSet<_> = cached_clauses().iter().map(Clause::name).collect();
    assert_eq!(caught(table::CACHED), names);
}

#[test]
fn every_bug_is_in_the_table() {
    let bugs: BTreeSet<_> = table::ALL.into_iter().flatten().map(|control| control.bug).collect();
    assert_eq!(bugs.len(), Bug::WritesHalvesOfBatches as usize + 1, "it is the last one");
}

fn caught<'c>(controls: impl IntoIterator<Item = &'c Control>) -> BTreeSet<&'static str> {
    let names = |control: &Control| match control.others {
        Others::Only(others) => [&[control.named], others].concat(),
        Others::Many => vec![control.named],
    };
    controls.into_iter().flat_map(names).collect()
}

fn check<S: KeyStore>(
    controls: &[Control],
    clauses: impl Fn() -> Vec<Clause<S>>,
    with: impl Fn(Option<Bug>) -> S,
) {
    for Control { bug, named, others } in controls {
        let failing = failing(&clauses(), || with(Some(*bug)));
        match others {
            Others::Only(others) => {
                let expected = others.iter().chain([named]).copied().collect();
                assert_eq!(failing, expected, "{bug:?}");
            }
            Others::Many => assert!(failing.contains(named), "{bug:?}: {failing:?}"),
        }
    }
}

/// The names of the clauses that a fresh store fails.
fn failing<S: KeyStore>(clauses: &[Clause<S>], fresh: impl Fn() -> S) -> BTreeSet<&'static str> {
    let fails = |clause: &&Clause<S>| {
        let run = || pollster::block_on(clause.run(&fresh()));
        expecting_panics(|| catch_unwind(AssertUnwindSafe(run)).is_err())
    };
    clauses.iter().filter(fails).map(Clause::name).collect()
}

thread_local! {
    static EXPECTS_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run` without a word, and without the cost of a backtrace, where it panics. Other threads are
/// as they were.
fn expecting_panics<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !EXPECTS_PANICS.get() {
                usual(panic);
            }
        }));
    });
    EXPECTS_PANICS.set(true);
    let output = run();
    EXPECTS_PANICS.set(false);
    output
}
