//! Rounds in which every case takes its turn, and the median of each case.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::allocations;

/// The number of keys in every store. They are presented in turn.
pub const KEYS: usize = 64;

/// The time that a case may take in one round. A call that takes longer is made once.
const SLICE: Duration = Duration::from_millis(3);

/// One measured case.
pub struct Case {
    label: String,
    /// The expected result of every call: whether the caller is admitted.
    accepts: bool,
    /// Makes this many calls and returns how many of them admitted the caller.
    run: Box<dyn FnMut(usize) -> usize>,
    /// Calls per round.
    calls: usize,
    samples: Vec<f64>,
}

/// The measured figures of a case.
#[derive(Clone, Copy)]
pub struct Measured {
    pub median_ns: f64,
    pub allocations: u64,
}

impl Case {
    /// Creates a case. Its `call` takes the number of a key and returns whether the caller is admitted.
    pub fn new(
        label: impl Into<String>,
        accepts: bool,
        mut call: impl FnMut(usize) -> bool + 'static,
    ) -> Self {
        Self {
            label: label.into(),
            accepts,
            run: Box::new(move |calls| {
                let mut accepted = 0;
                for number in 0..calls {
                    accepted += usize::from(black_box(call(black_box(number % KEYS))));
                }
                accepted
            }),
            calls: 1,
            samples: Vec::new(),
        }
    }

    /// Makes `calls` calls and checks every result.
    fn time(&mut self, calls: usize) -> Duration {
        let start = Instant::now();
        let accepted = (self.run)(calls);
        let elapsed = start.elapsed();
        let expected = if self.accepts { calls } else { 0 };
        assert_eq!(accepted, expected, "{} gave a wrong answer", self.label);
        elapsed
    }

    /// Fills caches, and determines how many calls fit into a slice.
    fn calibrate(&mut self) {
        self.time(KEYS);
        while self.time(self.calls) < SLICE / 2 {
            self.calls *= 2;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer calls than 2^53")]
    fn sample(&mut self) {
        let elapsed = self.time(self.calls);
        self.samples.push(elapsed.as_nanos() as f64 / self.calls as f64);
    }

    fn measured(mut self) -> Measured {
        let allocations = allocations::during(|| {
            self.time(KEYS);
        });
        self.samples.sort_by(f64::total_cmp);
        Measured {
            median_ns: self.samples[self.samples.len() / 2],
            allocations: (allocations + KEYS as u64 / 2) / KEYS as u64,
        }
    }
}

/// Measures all `cases` side by side. Each round begins with another of them.
pub fn measure(mut cases: Vec<Case>, rounds: usize) -> Vec<Measured> {
    for case in &mut cases {
        case.calibrate();
    }
    let count = cases.len();
    for round in 0..rounds {
        for turn in 0..count {
            cases[(round + turn) % count].sample();
        }
    }
    cases.into_iter().map(Case::measured).collect()
}

/// Returns the output of a future that never waits.
///
/// The future is polled once, so that no executor is measured.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an in-memory store made its caller wait"),
    }
}
