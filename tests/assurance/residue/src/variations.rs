//! The ways to perform a scenario, so that its remains are at other addresses.

use std::{error::Error, hint::black_box, thread};

use crate::host::Host;

pub struct Variation {
    pub name: &'static str,
    /// How many kilobytes of stack are between the scenario and the function that waits for the search.
    depth: usize,
    thread: Thread,
    /// Whether the heap has freed blocks of all sizes before the scenario.
    is_churned: bool,
    /// Whether keyrings stay alive, so that only tokens must be gone.
    pub keeps: bool,
    pub environment: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq)]
enum Thread {
    Main,
    /// A separate thread, which itself waits for the search.
    Waiting,
    /// A separate thread, which has ended before the search. Its stack is kept for the next thread.
    Ended,
}

const PLAIN: Variation = Variation {
    name: "plain",
    depth: 0,
    thread: Thread::Main,
    is_churned: false,
    keeps: false,
    environment: &[],
};

pub const ALL: &[Variation] = &[
    PLAIN,
    Variation { name: "deep", depth: 4, ..PLAIN },
    Variation { name: "deeper", depth: 300, ..PLAIN },
    Variation { name: "kept", depth: 8, keeps: true, ..PLAIN },
    Variation { name: "churned", depth: 8, is_churned: true, ..PLAIN },
    Variation {
        name: "uncached",
        depth: 16,
        environment: &[("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")],
        ..PLAIN
    },
    Variation { name: "thread", thread: Thread::Waiting, ..PLAIN },
    Variation { name: "ended-thread", depth: 4, thread: Thread::Ended, ..PLAIN },
];

pub fn find(name: &str) -> Result<&'static Variation, Box<dyn Error>> {
    Ok(ALL.iter().find(|variation| variation.name == name).ok_or("no such variation")?)
}

impl Variation {
    /// Runs `scenario`, drops everything that is left, and calls `wait`.
    pub fn run(&self, scenario: fn(&mut Host), mut host: Host, wait: impl FnOnce() + Send) {
        if self.is_churned {
            churn();
        }
        let depth = self.depth;
        let work = move || {
            descend(depth, &mut || scenario(&mut host));
            drop(host);
        };
        match self.thread {
            Thread::Main => {
                work();
                wait();
            }
            Thread::Waiting => thread::scope(|scope| {
                scope.spawn(|| {
                    work();
                    wait();
                });
            }),
            Thread::Ended => {
                thread::spawn(work).join().expect("the scenario succeeds");
                wait();
            }
        }
    }
}

/// Leaves the heap with freed blocks of all sizes between others.
fn churn() {
    let mut blocks: Vec<Option<Vec<u8>>> =
        (0..4_000).map(|number| Some(vec![1; 8 + number % 500])).collect();
    for block in blocks.iter_mut().step_by(2) {
        *block = None;
    }
    std::mem::forget(black_box(blocks));
}

/// Calls `work` with this many more kilobytes on the stack.
#[inline(never)]
fn descend(kilobytes: usize, work: &mut dyn FnMut()) {
    if kilobytes == 0 {
        return work();
    }
    let frame = black_box([0_u8; 1_024]);
    descend(kilobytes - 1, work);
    black_box(&frame);
}
