//! Measures verification by keyway and by its peers in one run, and prints a Markdown table.
//!
//! The first argument is the number of rounds, 51 by default.

mod allocations;
mod harness;
mod peers;
mod report;

use std::{env, hint::black_box};

use harness::{Case, measure};
use report::{Report, Row};
use sha2::block_api::compress256;

fn main() {
    let rounds = env::args().nth(1).map_or(51, |rounds| {
        rounds
            .parse()
            .ok()
            .filter(|rounds| *rounds > 0)
            .expect("the number of rounds is a positive integer")
    });
    let mut cases = vec![floor()];
    // The positions of the cases of each row.
    let mut add = |case: Case| {
        cases.push(case);
        cases.len() - 1
    };
    let places: Vec<_> = peers::all()
        .into_iter()
        .map(|peer| {
            let verify = add(peer.verify);
            let made_up = peer.made_up.map(&mut add);
            let wrong_secret = peer.wrong_secret.map(&mut add);
            (peer.name, peer.crates, peer.checks, verify, made_up, wrong_secret)
        })
        .collect();

    let measured = measure(cases, rounds);

    let rows = places
        .into_iter()
        .map(|(name, crates, checks, verify, made_up, wrong_secret)| Row {
            name,
            crates,
            checks,
            verify: measured[verify],
            made_up: made_up.map(|place| measured[place]),
            wrong_secret: wrong_secret.map(|place| measured[place]),
        })
        .collect();
    let report = Report { floor: measured[0], rounds, rows, left_out: peers::left_out() };
    print!("{report}");
}

/// Two compressions, the least that a MAC over a token can cost.
fn floor() -> Case {
    let (mut state, block) = ([7; 8], [42; 64]);
    Case::new("two compressions", true, move |_| {
        compress256(&mut state, &[block]);
        compress256(&mut state, &[block]);
        black_box(&state);
        true
    })
}
