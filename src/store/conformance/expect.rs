//! Checks the results of store calls, and panics with a message that contains the expected and the actual
//! result.

use alloc::{format, string::String, vec::Vec};
use core::{
    fmt::{Debug, Display},
    future::Future,
};

use futures_util::future::join_all;

use crate::store::StoreError;

/// Returns the value of a successful call, and panics if it failed.
#[track_caller]
pub(super) fn done<T>(call: impl Display, answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("{call}: expected it to be done, but the store said {error:?}"),
    }
}

/// Generates functions that expect a call to fail with one error.
macro_rules! refusals {
    ($($name:ident: $error:ident,)*) => {$(
        #[track_caller]
        pub(super) fn $name(call: impl Display, answer: Result<impl Debug, StoreError>) {
            let expected = stringify!($error);
            match answer {
                Err(StoreError::$error) => {}
                Ok(answer) => {
                    panic!("{call}: expected `{expected}`, but the store did it: {answer:?}")
                }
                Err(error) => {
                    panic!("{call}: expected `{expected}`, but the store said {error:?}")
                }
            }
        }
    )*};
}

refusals! {
    exists: Exists,
    not_found: NotFound,
    conflict: Conflict,
    quota_full: QuotaFull,
}

/// Runs `calls` concurrently. Expects that one of them succeeds, and that `refused` accepts the results of
/// the others. Returns the index of the successful call.
pub(super) async fn one_done<F: Future<Output = Result<(), StoreError>>>(
    call: &str,
    calls: impl IntoIterator<Item = F>,
    refused: impl Fn(String, Result<(), StoreError>),
) -> usize {
    let answers = join_all(calls).await;
    let (all, place) = (answers.len(), answers.iter().position(Result::is_ok));
    let done = others_refused(format!("{call} at the same time as another"), answers, refused);
    match place {
        Some(place) if done == 1 => place,
        _ => panic!("{call}, {all} times at once: expected 1 to be done, but {done} were"),
    }
}

/// Expects that `refused` accepts the results of the calls that failed. Returns how many succeeded.
pub(super) fn others_refused(
    call: impl Display,
    answers: Vec<Result<(), StoreError>>,
    refused: impl Fn(String, Result<(), StoreError>),
) -> usize {
    let (done, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    for answer in others {
        refused(format!("{call}"), answer);
    }
    done.len()
}

/// Expects that both values are equal.
#[track_caller]
pub(super) fn same<T: Debug + PartialEq>(what: impl Display, found: &T, expected: &T) {
    assert!(
        found == expected,
        "{what}:\nexpected        {expected:?}\nthe store gave  {found:?}\n\
         (digests and seals are compared but not shown)",
    );
}

/// Expects that the condition is true.
#[track_caller]
pub(super) fn holds(what: impl Display, condition: bool) {
    assert!(condition, "{what}");
}

/// Returns a record that the suite makes itself. A failure is a bug in the suite, not in the store.
#[track_caller]
pub(super) fn made<T, E: Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(made) => made,
        Err(error) => panic!("the suite itself is at fault, not the store: {error:?}"),
    }
}
