//! Searches all memory of a process for the secrets that keyway handled in it, right after they were dropped.
//!
//! Each scenario is rehearsed in this process first, which reveals the secrets. Another process, which runs
//! this program again, then performs it, drops everything and waits. Its writable memory is searched for
//! every eight bytes in a row of every form of every secret. A copy may be overwritten before the search. So
//! each scenario is performed in several ways: on a deeper stack, on another thread, and over another heap.

mod children;
mod console;
mod host;
mod memory;
mod needles;
mod planted;
mod scenarios;
#[cfg(feature = "stack")]
mod stack;
mod variations;

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::OpenOptions,
    io::{Read, Write},
    process::{Command, Stdio},
    sync::PoisonError,
};

use crate::{
    host::{Host, Secrets},
    memory::{Found, Search, bytes_of},
    needles::Needles,
    scenarios::Scenario,
    variations::Variation,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments {
        [mode, scenario, variation, seed] if mode == "perform" => {
            perform(find(scenario)?, variations::find(variation)?, seed.parse()?)
        }
        #[cfg(feature = "stack")]
        [mode] if mode == "serve" => stack::serve(),
        #[cfg(feature = "stack")]
        [mode] if mode == "stack" => stack::report(),
        [repeats, programs @ ..] => report(repeats.parse()?, programs),
        [] => Err("how often each scenario is performed, and by which builds of this?".into()),
    }
}

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    scenarios::ALL.iter().chain(children::ALL).chain(console::ALL)
}

/// The faults of a careless service, which the search must find.
fn planted() -> impl Iterator<Item = &'static Scenario> {
    planted::ALL.iter().chain(children::PLANTED).chain(console::PLANTED)
}

fn find(name: &str) -> Result<&'static Scenario, Box<dyn Error>> {
    let mut all = scenarios().chain(planted());
    Ok(all.find(|scenario| scenario.name == name).ok_or("no such scenario")?)
}

/// Runs in the searched process: performs the scenario, reports it, and waits until the search is done.
fn perform(scenario: &Scenario, variation: &Variation, seed: u64) -> Result<(), Box<dyn Error>> {
    let host = Host::performing(seed, variation.keeps);
    let mut output = OpenOptions::new().write(true).open("/dev/stdout")?;
    let mut input = OpenOptions::new().read(true).open("/dev/stdin")?;
    variation.run(scenario.run, host, move || {
        let mut byte = [0];
        output.write_all(b".").expect("the process that searches is there");
        while input.read(&mut byte).expect("the process that searches is there") > 0 {}
    });
    Ok(())
}

/// Lets `program` perform a scenario, and searches the memory that it leaves.
fn examine(
    program: &str,
    scenario: &Scenario,
    variation: &Variation,
    seed: u64,
) -> Result<Search, Box<dyn Error>> {
    let (mut host, secrets) = Host::rehearsing(seed);
    (scenario.run)(&mut host);
    let secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let needles = needles_of(&secrets, variation);

    let mut child = Command::new(program)
        .args(["perform", scenario.name, variation.name, &seed.to_string()])
        .env_clear()
        .envs(variation.environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("a pipe")?;
    for presented in &secrets.presented {
        input.write_all(&[u8::try_from(presented.len())?])?;
        input.write_all(presented)?;
    }
    let said = child.stdout.take().ok_or("a pipe")?.read(&mut [0])?;
    if said == 0 {
        return Err(format!("{} fails in {}", scenario.name, variation.name).into());
    }
    memory::wait_until_still(child.id())?;
    let search = memory::search(child.id(), &needles)?;
    drop(input);
    child.wait()?;
    Ok(search)
}

/// While a keyring lives, peppers and the keys derived from them are in memory, and are not searched for.
fn needles_of(secrets: &Secrets, variation: &Variation) -> Needles {
    let mut needles = Needles::of_tokens(secrets);
    if !variation.keeps {
        needles.merge(Needles::of_peppers(secrets));
    }
    needles
}

/// Prints the findings and where they are.
fn tell(program: &str, scenario: &Scenario, variation: &Variation, search: &Search) {
    for piece in search.pieces() {
        let Found { mapping, before_end, what } = &piece[0];
        println!(
            "{program}, {}, {}: {} bytes of {what} in {mapping} at -{before_end:#x}",
            scenario.name,
            variation.name,
            bytes_of(piece)
        );
    }
}

#[derive(Default)]
struct Tally {
    found: usize,
    runs: u64,
}

fn report(repeats: u64, programs: &[String]) -> Result<(), Box<dyn Error>> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut peppers = Tally::default();
    let (mut runs, mut bytes) = (0, 0);
    for program in programs {
        for variation in variations::ALL {
            for scenario in scenarios() {
                for _ in 0..repeats {
                    runs += 1;
                    let search = examine(program, scenario, variation, runs)?;
                    tell(program, scenario, variation, &search);
                    bytes += search.bytes;
                    let of_peppers = search.found.iter().filter(|it| it.what.is_of_pepper).count();
                    peppers.found += of_peppers;
                    peppers.runs += u64::from(!variation.keeps);
                    let tally = tallies.entry(scenario.group).or_default();
                    tally.found += search.found.len() - of_peppers;
                    tally.runs += 1;
                }
            }
        }
    }
    for (group, Tally { found, runs }) in &tallies {
        println!("figure {found} = 0 windows of eight bytes of a token in {runs} runs of {group}");
    }
    let Tally { found, runs: ended } = peppers;
    println!(
        "figure {found} = 0 windows of a pepper or derived key in {ended} runs that ended keyrings"
    );
    println!("measured {}MB of memory of {runs} processes were searched", bytes / 1_000_000);
    for scenario in planted() {
        let mut found = 0;
        for program in programs {
            for variation in variations::ALL {
                found += examine(program, scenario, variation, 0)?.found.len();
            }
        }
        println!("control {found} > 0 windows left of {}", scenario.group);
    }
    Ok(())
}
