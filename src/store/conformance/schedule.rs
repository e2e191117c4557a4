//! Lets concurrent futures take turns without an executor.

use core::{future::poll_fn, task::Poll};

/// Yields once to the other futures.
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
