//! Measurement of one case beside its floor.

use std::{ops::AsyncFnMut, time::Instant};

use crate::report::Report;

impl Report {
    /// Times `case` beside `floor`. Both are warm when it begins.
    pub(crate) async fn case(
        &mut self,
        name: &str,
        limit: f64,
        (rounds, iterations): (usize, usize),
        mut floor: impl AsyncFnMut(),
        mut case: impl AsyncFnMut(),
    ) {
        let rounds = self.rounds(rounds);
        time(iterations, &mut floor).await;
        time(iterations, &mut case).await;
        let mut rows = Vec::new();
        for round in 0..rounds {
            // Each of the two goes first in half of the rounds.
            if round % 2 == 0 {
                let below = time(iterations, &mut floor).await;
                rows.push((below, time(iterations, &mut case).await));
            } else {
                let above = time(iterations, &mut case).await;
                rows.push((time(iterations, &mut floor).await, above));
            }
        }
        self.rows(name, limit, &rows);
    }
}

/// Returns the seconds of one iteration.
pub(crate) async fn time(iterations: usize, work: &mut impl AsyncFnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..iterations {
        work().await;
    }
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let iterations = iterations as f64;
    start.elapsed().as_secs_f64() / iterations
}
