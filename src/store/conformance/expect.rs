//! What a clause expects of an answer, and how it says that it got another one.

use alloc::{format, string::String, vec::Vec};
use core::fmt::{Debug, Display};

use crate::store::StoreError;

/// What was asked for, as it was done.
#[track_caller]
pub(super) fn done<T>(call: impl Display, answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("{call}: expected it to be done, but the store said {error:?}"),
    }
}

/// The id was refused as taken.
#[track_caller]
pub(super) fn exists(call: impl Display, answer: Result<impl Debug, StoreError>) {
    match answer {
        Err(StoreError::Exists) => {}
        other => wrong(call, "`Exists`", other),
    }
}

/// The record was not found.
#[track_caller]
pub(super) fn not_found(call: impl Display, answer: Result<impl Debug, StoreError>) {
    match answer {
        Err(StoreError::NotFound) => {}
        other => wrong(call, "`NotFound`", other),
    }
}

/// The version was refused as another one.
#[track_caller]
pub(super) fn conflict(call: impl Display, answer: Result<impl Debug, StoreError>) {
    match answer {
        Err(StoreError::Conflict) => {}
        other => wrong(call, "`Conflict`", other),
    }
}

/// There was no room beside `expected` keys.
#[track_caller]
pub(super) fn quota_full(
    call: impl Display,
    expected: u32,
    answer: Result<impl Debug, StoreError>,
) {
    match answer {
        Err(StoreError::QuotaFull { held }) if held == expected => {}
        other => wrong(call, format_args!("`QuotaFull` with {expected} held"), other),
    }
}

/// Of several calls at the same time one was done, and the others were `refused`. Gives its place.
#[track_caller]
pub(super) fn one_done(
    call: &str,
    answers: Vec<Result<(), StoreError>>,
    refused: impl Fn(String, Result<(), StoreError>),
) -> usize {
    let done: Vec<_> = (0..).zip(&answers).filter(|(_, answer)| answer.is_ok()).collect();
    let place = match &*done {
        [(place, _)] => *place,
        done => {
            let (all, done) = (answers.len(), done.len());
            panic!("{call}, {all} times at once: expected 1 to be done, but {done} were")
        }
    };
    for answer in answers.into_iter().filter(Result::is_err) {
        refused(format!("{call} at the same time as another"), answer);
    }
    place
}

#[track_caller]
fn wrong(call: impl Display, expected: impl Display, answer: Result<impl Debug, StoreError>) {
    match answer {
        Ok(answer) => panic!("{call}: expected {expected}, but the store did it: {answer:?}"),
        Err(error) => panic!("{call}: expected {expected}, but the store said {error:?}"),
    }
}

/// Both are equal.
#[track_caller]
pub(super) fn same<T: Debug + PartialEq>(what: impl Display, found: &T, expected: &T) {
    assert!(
        found == expected,
        "{what}:\nexpected        {expected:?}\nthe store gave  {found:?}\n\
         (digests and seals are compared but not shown)",
    );
}

/// It holds.
#[track_caller]
pub(super) fn holds(what: impl Display, condition: bool) {
    assert!(condition, "{what}");
}

/// A record that the suite makes for itself. That it cannot is no fault of the store.
#[track_caller]
pub(super) fn made<T, E: Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(made) => made,
        Err(error) => panic!("the suite itself is at fault, not the store: {error:?}"),
    }
}
