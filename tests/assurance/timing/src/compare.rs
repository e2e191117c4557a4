//! The run of one comparison.

use std::hint::black_box;

use dudect_bencher::{BenchRng, Class, CtRunner, rand::RngExt};

/// How many inputs a run has.
const SAMPLES: usize = 100_000;

/// Times `path` with inputs of two classes. All of them are made beforehand.
pub fn compare<I>(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    mut left: impl FnMut(&mut BenchRng) -> I,
    mut right: impl FnMut(&mut BenchRng) -> I,
    path: impl Fn(&I) -> bool,
) {
    let inputs: Vec<(Class, I)> = (0..SAMPLES)
        .map(|_| match rng.random() {
            true => (Class::Left, left(rng)),
            false => (Class::Right, right(rng)),
        })
        .collect();
    for (class, input) in &inputs {
        runner.run_one(*class, || path(black_box(input)));
    }
}
