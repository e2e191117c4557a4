//! Futures side by side, without an executor.

use alloc::vec::Vec;
use core::{
    future::{Future, poll_fn},
    task::Poll,
};

use futures_util::future::{join, join_all};

/// Runs all of `futures` in turn, and gives what each gave.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    join_all(futures).await
}

/// Runs both in turn, and gives what each gave.
pub(super) async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    join(one, other).await
}

/// Lets the others go first, once.
pub(super) async fn step_back() {
    let mut is_over = false;
    poll_fn(|context| {
        if is_over {
            return Poll::Ready(());
        }
        is_over = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
