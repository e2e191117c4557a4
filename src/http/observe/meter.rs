//! Counts and durations for a recorder of `metrics`.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::{Outcome, with_word};

/// Describes the metrics of guards, with help texts and units, to the recorder of `metrics`.
///
/// Call it once, after the recorder is installed. Without this call the metrics have no help texts.
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

/// Measures the duration of one request.
pub(super) struct Meter(Instant);

impl Meter {
    #[inline]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn stop(self, outcome: Outcome) {
        histogram!("keyway_verification_seconds").record(self.0.elapsed());
        // A literal, because the macro then creates key and label without allocation.
        macro_rules! increment {
            ($word:literal) => {
                counter!("keyway_requests_total", "outcome" => $word).increment(1)
            };
        }
        with_word!(outcome, increment);
    }
}
