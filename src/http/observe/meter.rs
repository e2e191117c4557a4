//! Counts and times for a recorder of `metrics`.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::{Outcome, with_word};

/// Tells the recorder of `metrics` what the metrics of guards mean, and in what unit they are. Call it
/// once, after the recorder is installed; without it they have no help text.
pub fn describe_metrics() {
    describe_counter!(
        "keyway_requests_total",
        Unit::Count,
        "Requests through a guard of API keys, by outcome"
    );
    describe_histogram!(
        "keyway_verification_seconds",
        Unit::Seconds,
        "Time from a request to the verdict on its API key, waiting for the store included"
    );
}

/// Takes the time of one request.
pub(super) struct Meter(Instant);

impl Meter {
    #[inline]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn stop(self, outcome: Outcome) {
        histogram!("keyway_verification_seconds").record(self.0.elapsed());
        // As a literal, which makes a key and label without allocation.
        macro_rules! increment {
            ($word:literal) => {
                counter!("keyway_requests_total", "outcome" => $word).increment(1)
            };
        }
        with_word!(outcome, increment);
    }
}
