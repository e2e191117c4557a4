//! The durable stores under several processes, any of which may be killed at any time.
//!
//! Each process runs this program again as a [worker](workers), which reports line by line. Every test has a
//! short form, and a long one with `KEYWAY_LONG=1`. It prints its figures for `tests/assurance.sh`. Each
//! check has a control: a store with one planted fault, which the check must catch.

mod allowances;
mod databases;
mod disk;
mod edits;
mod failovers;
mod faults;
mod kills;
mod ledger;
mod opening;
mod power_cuts;
mod quota;
mod server_kills;
#[path = "../../support/mod.rs"]
mod support;
mod syscalls;
mod usage;
mod workers;
mod writer;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// The entry point of the other processes. If it is started by hand, it does nothing.
#[test]
fn worker() {
    workers::work();
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A random number generator that returns the same numbers for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1_000 + self.below((to - from) * 1_000))
    }
}
