//! Compares the decisions of keyway with a naive model that shares no code with it: `model DECISIONS
//! quick|full`.
//!
//! Random services go through random histories on both sides. Between the steps both sides decide who may do
//! what, to which resource and from which network. All services of at most five scopes are compared as well, and
//! all grants of still smaller ones. Then the same is done with one fault after another in the model, and each
//! fault must be noticed. `SEED` makes other histories.

use std::{env, process::ExitCode, thread};

use model::{
    fault::Fault,
    met::{ChildLimit, Limit},
    naive::Rules,
    products,
    small::{self, Count, Extent},
    world::{self, Tally},
};

/// How many decisions are compared for each planted fault.
const PLANTED: u64 = 200_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let [_, decisions, mode] = &arguments[..] else {
        eprintln!("model DECISIONS quick|full");
        return ExitCode::from(2);
    };
    let decisions: u64 = decisions.parse().expect("a number of decisions");
    let extent = if mode == "full" { Extent::Everything } else { Extent::Orders };
    let seed = env::var("SEED").map_or(6, |seed| seed.parse().expect("a number"));
    let rules = Rules(None);

    let random = on_all_threads(|part| histories(rules, seed, decisions, part)).into_iter().fold(
        Tally::default(),
        |mut sum, part| {
            sum.add(part);
            sum
        },
    );
    println!("figure {} = 0 disagreements in random histories", random.disagreements);
    println!(
        "figure {} >= {decisions} random cases: who presents what, when, to whom",
        random.decisions
    );
    println!("measured {} changes and declarations compared beside them", random.changes);
    println!("measured {} of the cases let somebody in", random.admitted);
    for (limit, what) in Limit::ALL {
        println!("measured {} {what}", random.met.of(limit));
    }
    println!(
        "figure {} >= {} of the rarest of these limits",
        random.met.least(),
        decisions / 1_000
    );

    println!(
        "figure {} >= {} random cases with a child",
        random.children.decisions,
        decisions / 100
    );
    for (limit, what) in ChildLimit::ALL {
        println!("measured {} {what}", random.children.of(limit));
    }
    println!(
        "figure {} >= {} of the rarest outcome for children",
        random.children.least(),
        decisions / 25_000
    );
    println!("figure {} = 0 children that did more than their parents", random.children.above);

    let counts = services(rules, extent);
    let sum = |number: fn(&Count) -> u64| counts.iter().map(number).sum::<u64>();
    println!("figure {} = 0 disagreements in small services", sum(|count| count.disagreements));
    // Labeled posets (OEIS A001035): 1, 1, 3, 19, 219 and 4231 with 0 to 5 elements.
    println!("figure {} = 4474 orders of up to 5 scopes, all there are", sum(|count| count.orders));
    if extent == Extent::Everything {
        // Labeled directed acyclic graphs (OEIS A003024): 1, 1, 3, 25, 543 and 29281.
        println!("figure {} = 29854 ways to declare them", sum(|count| count.acyclic));
        println!("measured {} contradictory declarations refused", sum(|count| count.cyclic));
    }
    println!("measured {} grants, bounds and requirements of these", sum(|count| count.decisions));

    let (orders, grants) = grants(rules, extent);
    println!("figure {} = 0 disagreements in grants of small services", grants.disagreements);
    // Labeled posets again: 1, 1, 3 and 19.
    let known = if extent == Extent::Everything { 24 } else { 5 };
    println!("figure {orders} = {known} orders of scopes with all small limits");
    println!("measured {} pairs of grants, and of a granter and a key", grants.pairs);
    println!("measured {} requests with these keys", grants.verdicts);

    let noticed = on_all_threads(|(at, step)| {
        let faults = Fault::OF_DECISIONS.into_iter().skip(at).step_by(step);
        faults.map(|fault| (fault, noticed(fault, seed))).collect::<Vec<_>>()
    });
    let of_children = on_all_threads(|(at, step)| {
        let faults = Fault::OF_CHILDREN.into_iter().skip(at).step_by(step);
        faults.map(|fault| (fault, self::noticed(fault, seed))).collect::<Vec<_>>()
    });
    let noticed: Vec<(Fault, u64)> = noticed.into_iter().flatten().collect();
    for (fault, disagreements) in &noticed {
        println!("planted {fault:?}: {disagreements} disagreements");
    }
    let found = noticed.iter().filter(|(_, disagreements)| *disagreements > 0).count();
    let least = noticed.iter().map(|(_, disagreements)| *disagreements).min().unwrap_or(0);
    println!("control {found} = {} faults in the model noticed", Fault::OF_DECISIONS.len());
    println!("control {least} > 0 disagreements for the least of them in {PLANTED} cases");
    let of_children: Vec<(Fault, u64)> = of_children.into_iter().flatten().collect();
    for (fault, disagreements) in &of_children {
        println!("planted {fault:?}: {disagreements} disagreements");
    }
    let found = of_children.iter().filter(|(_, disagreements)| *disagreements > 0).count();
    println!(
        "control {found} = {} faults in the model's children noticed",
        Fault::OF_CHILDREN.len()
    );
    let planted = Rules(Some(Fault::ImplicationIsOneStepDeep));
    let small = small::compare(planted, 4, Extent::Everything, (0, 1)).disagreements;
    println!(
        "control {small} > 0 disagreements in services of 4 scopes where implication ends after a step"
    );
    let planted = Rules(Some(Fault::EmptyListsAreAll));
    let grants = products::compare(planted, 1, Extent::Orders, (0, 1)).disagreements;
    println!("control {grants} > 0 disagreements in small grants where an empty list is all");
    ExitCode::SUCCESS
}

/// Runs this thread's part of the histories.
fn histories(rules: Rules, seed: u64, decisions: u64, (at, step): (usize, usize)) -> Tally {
    let mut tally = Tally::default();
    let share = decisions.div_ceil(step as u64);
    let mut number = at as u64;
    while tally.decisions < share {
        world::run(rules, seed, number, &mut tally);
        number += step as u64;
    }
    tally
}

/// Compares all services of up to five scopes. The counts are in the order of the number of scopes.
fn services(rules: Rules, extent: Extent) -> Vec<Count> {
    let compare = |scopes| {
        // There are few services of less than five scopes, so that all of them are always compared.
        let extent = if scopes < 5 { Extent::Everything } else { extent };
        let parts = on_all_threads(|part| small::compare(rules, scopes, extent, part));
        parts.into_iter().fold(Count::default(), |mut sum, part| {
            sum.add(part);
            sum
        })
    };
    (0..=5).map(compare).collect()
}

/// Compares all grants of small services. Returns the number of their orders of scopes as well.
fn grants(rules: Rules, extent: Extent) -> (usize, products::Count) {
    // There are 19 orders of three scopes. With all limits these are some 30 million pairs.
    let most = if extent == Extent::Everything { 3 } else { 2 };
    let mut sum = products::Count::default();
    for scopes in 0..=most {
        let extent = if scopes < 3 { extent } else { Extent::Orders };
        for part in on_all_threads(|part| products::compare(rules, scopes, extent, part)) {
            sum.add(part);
        }
    }
    ((0..=most).map(|scopes| small::orders(scopes).count()).sum(), sum)
}

/// Returns the number of disagreements with a model that has this fault.
fn noticed(fault: Fault, seed: u64) -> u64 {
    histories(Rules(Some(fault)), seed, PLANTED, (0, 1)).disagreements
}

/// Runs `work` on every thread with the thread's index and the number of threads, and returns all results.
fn on_all_threads<T: Send>(work: impl Fn((usize, usize)) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = &work;
        let spawn = |place| scope.spawn(move || work((place, threads)));
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread that ends")).collect()
    })
}
