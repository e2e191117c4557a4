//! Negative controls: a store with a planted bug fails the clauses that are there for the bug.

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

use super::{
    bug::{BUGS, Bug, CACHED, Control},
    planted::Planted,
};

#[test]
fn each_bug_is_caught_by_its_clauses() {
    check(BUGS, &clauses(), Planted::with);
}

#[test]
fn bugs_behind_a_cache_are_caught_by_their_clauses() {
    check(CACHED, &cached_clauses(), |bug| AnyStore::new(Planted::with(bug)));
}

/// Checks that a store with a bug fails the clauses of its control. The other clauses are not run.
fn check<S: KeyStore>(
    controls: &[Control],
    clauses: &[Clause<S>],
    with: impl Fn(Option<Bug>) -> S,
) {
    let mut missed = Vec::new();
    for (bug, named) in controls {
        for name in *named {
            let clause = clauses.iter().find(|clause| clause.name() == *name).unwrap();
            if !fails(clause, &with(Some(*bug))) {
                missed.push((bug, name));
            }
        }
    }
    assert!(missed.is_empty(), "these clauses pass on a store with the bug: {missed:#?}");
}

#[test]
fn a_store_without_a_bug_keeps_every_clause() {
    for clause in clauses() {
        assert!(!fails(&clause, &Planted::with(None)), "{clause:?}");
    }
    for clause in cached_clauses() {
        assert!(!fails(&clause, &AnyStore::new(Planted::with(None))), "{clause:?}");
    }
}

#[test]
fn every_clause_catches_a_bug() {
    assert_eq!(caught(BUGS), clauses::<Planted>().iter().map(Clause::name).collect());
    assert_eq!(caught(CACHED), cached_clauses().iter().map(Clause::name).collect());
}

fn caught(controls: &[Control]) -> BTreeSet<&'static str> {
    controls.iter().flat_map(|(_, named)| *named).copied().collect()
}

/// Returns whether a fresh store fails the clause.
fn fails<S: KeyStore>(clause: &Clause<S>, store: &S) -> bool {
    panics(|| pollster::block_on(clause.run(store)))
}

/// Returns whether `run` panics.
pub(super) fn panics(run: impl FnOnce()) -> bool {
    expecting_panics(|| catch_unwind(AssertUnwindSafe(run)).is_err())
}

thread_local! {
    static EXPECTS_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run` without printing its panics, and without the cost of their backtraces. Panics of other threads
/// are printed as usual.
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
