//! How a scenario is performed, so that what it leaves lies elsewhere.

use std::{error::Error, hint::black_box, thread};

use crate::host::Host;

pub struct Variation {
    pub name: &'static str,
    /// How many kilobytes of stack lie between the scenario and what waits for the search.
    depth: usize,
    thread: Thread,
    /// Whether there are freed blocks of all sizes before.
    is_churned: bool,
    /// Whether keyrings live on, so that only tokens have to be gone.
    pub keeps: bool,
    pub environment: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq)]
enum Thread {
    Main,
    /// One of its own, which waits for the search itself.
    Waiting,
    /// One of its own, which has ended by then. Its stack is kept for the next one.
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
    /// Runs `scenario`, drops all that is left, and calls `wait`.
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

/// Calls `work` with so many kilobytes more on the stack.
#[inline(never)]
fn descend(kilobytes: usize, work: &mut dyn FnMut()) {
    if kilobytes == 0 {
        return work();
    }
    let frame = black_box([0_u8; 1_024]);
    descend(kilobytes - 1, work);
    black_box(&frame);
}
