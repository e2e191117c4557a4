//! The time at which responses are sent.

use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, pin::Pin, time::Duration};
use std::time::Instant;

/// Delays responses to multiples of a step, so that their time does not show the work that was done for them.
#[derive(Clone)]
pub(super) struct Pace {
    step: Duration,
    sleep: Arc<dyn Fn(Duration) -> Sleep + Send + Sync>,
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pace {
    const DEFAULT_STEP: Duration = Duration::from_millis(20);
    const MIN_STEP: Duration = Duration::from_millis(1);

    pub(super) fn new<S, F>(sleep: S) -> Self
    where
        S: Fn(Duration) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let sleep = move |time| -> Sleep { Box::pin(sleep(time)) };
        Self { step: Self::DEFAULT_STEP, sleep: Arc::new(sleep) }
    }

    pub(super) fn set_step(&mut self, step: Duration) {
        self.step = step.max(Self::MIN_STEP);
    }

    /// Waits until the first multiple of the step since `began` that is not over yet.
    ///
    /// INVARIANT: the end depends on `began` alone, not on the time that has passed since. A wait of the whole step would
    /// add it to the time of the work, which stays visible.
    pub(super) async fn wait(&self, began: Instant) {
        let time = self.rest(began.elapsed());
        (self.sleep)(time).await;
    }

    fn rest(&self, elapsed: Duration) -> Duration {
        let (step, elapsed) = (self.step.as_nanos(), elapsed.as_nanos());
        // The rest is at most a step, whose nanoseconds fit if it is shorter than 584 years.
        Duration::from_nanos(u64::try_from(step - elapsed % step).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_sent_at_multiples_of_the_step() {
        let mut pace = Pace::new(|_| core::future::ready(()));
        for (step, elapsed, rest) in
            [(20, 0, 20), (20, 7, 13), (20, 20, 20), (20, 41, 19), (0, 0, 1)]
        {
            pace.set_step(Duration::from_millis(step));
            let rest = Duration::from_millis(rest);
            assert_eq!(pace.rest(Duration::from_millis(elapsed)), rest, "{elapsed} of {step}");
        }
    }
}
