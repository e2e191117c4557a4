//! One load beside one write in every order, and many of both in random orders.

use alloc::vec::Vec;
use std::{env, println};

use ::shuttle::{check_dfs, check_random, thread};

use super::*;

/// The tests load a key and invalidate either the key or its tenant, in every mix of the two.
const MIXES: [[Invalidate; 2]; 3] = [[key, tenant], [key, key], [tenant, tenant]];

/// The number of random schedules of each mix.
fn schedules() -> usize {
    let number = env::var("KEYWAY_SCHEDULES").ok();
    number.map_or(1_000, |number| number.parse().unwrap())
}

/// Runs one load beside one write in every possible order; the key may be cached already. Returns the number
/// of orders, and whether the fence held in all of them.
fn one_beside_one(load: Load, invalidate: Invalidate, is_cached: bool) -> (usize, bool) {
    explored(|count| {
        check_dfs(
            move || {
                count.fetch_add(1, Relaxed);
                let world = World::new();
                if is_cached {
                    load(&world);
                }
                let loader = {
                    let world = Arc::clone(&world);
                    thread::spawn(move || load(&world))
                };
                world.write(invalidate);
                world.verify();
                loader.join().unwrap();
                world.verify();
            },
            None,
        );
    })
}

/// Runs loads, writes of key and tenant, and verifications at once, in random orders.
fn many(load: Load, invalidations: [Invalidate; 2]) -> (usize, bool) {
    explored(|count| {
        check_random(
            move || {
                count.fetch_add(1, Relaxed);
                let world = World::new();
                let mut threads = Vec::new();
                let mut spawn = |work: fn(&World, Load, Invalidate), invalidate| {
                    let world = Arc::clone(&world);
                    threads.push(thread::spawn(move || work(&world, load, invalidate)));
                };
                for invalidate in invalidations {
                    spawn(|world, _, invalidate| world.write(invalidate), invalidate);
                    spawn(
                        |world, load, _| {
                            load(world);
                            world.verify();
                            load(world);
                        },
                        invalidate,
                    );
                }
                spawn(|world, _, _| (0..3).for_each(|_| world.verify()), invalidations[0]);
                for thread in threads {
                    thread.join().unwrap();
                }
                world.verify();
            },
            schedules(),
        );
    })
}

/// Returns the sum of the orders, and the number of runs in which the fence was broken.
fn sum(runs: impl Iterator<Item = (usize, bool)>) -> (usize, usize) {
    runs.fold((0, 0), |(orders, broken), (number, held)| {
        (orders + number, broken + usize::from(!held))
    })
}

#[test]
fn no_order_of_a_load_and_a_write_breaks_the_fence() {
    let models = [(key as Invalidate, false), (key, true), (tenant, false), (tenant, true)];
    let (orders, broken) = sum(models
        .into_iter()
        .map(|(invalidate, is_cached)| one_beside_one(load, invalidate, is_cached)));
    println!(
        "figure {broken} = 0 models of 2 threads that serve what is out of date, in all {orders} orders (shuttle)"
    );
    assert_eq!(broken, 0);
}

#[test]
fn random_orders_of_many_do_not_break_the_fence() {
    let (orders, broken) = sum(MIXES.into_iter().map(|mix| many(load, mix)));
    println!(
        "figure {broken} = 0 models of 6 threads that serve what is out of date, in {orders} random schedules (shuttle)"
    );
    assert_eq!(broken, 0);
}

/// Explores a proof in every order of two threads. Returns their number, and whether the law held.
fn explore_proof(model: (Deliver, Invalidate, Serve)) -> (usize, bool) {
    explored(|count| {
        check_dfs(
            move || {
                count.fetch_add(1, Relaxed);
                let world = World::new();
                proof_model(&world, Part::Begin, model);
                let other = Arc::clone(&world);
                let feed = thread::spawn(move || proof_model(&other, Part::Deliver, model));
                proof_model(&world, Part::Serve, model);
                feed.join().unwrap();
                proof_model(&world, Part::Serve, model);
            },
            None,
        );
    })
}

#[test]
fn no_order_of_a_proof_and_a_verification_breaks_the_fence() {
    let (orders, broken) = sum(PROOFS.into_iter().map(explore_proof));
    println!(
        "figure {broken} = 0 models of 2 threads that serve by a proof what is out of date, in all {orders} orders \
         (shuttle)"
    );
    assert_eq!(broken, 0);
}

#[test]
fn every_fault_of_a_proof_is_found() {
    let missed = PROOF_FAULTS.into_iter().filter(|(model, _)| explore_proof(*model).1);
    let missed: Vec<_> = missed.map(|(_, fault)| fault).collect();
    println!(
        "control {} = {} faults planted at proofs found in every order (shuttle)",
        PROOF_FAULTS.len() - missed.len(),
        PROOF_FAULTS.len()
    );
    assert_eq!(missed, [""; 0]);
}

#[test]
fn every_planted_fault_is_found() {
    let mut found = 0;
    for (load, invalidate, fault) in FAULTS {
        let in_every_order = !one_beside_one(load, invalidate, false).1;
        let in_random_orders = !many(load, [invalidate, invalidate]).1;
        if in_every_order && in_random_orders {
            found += 1;
        } else {
            println!(
                "{fault}: found in every order {in_every_order}, in random orders {in_random_orders}"
            );
        }
    }
    println!(
        "control {found} = {} faults planted at the fence found, in every order and in random ones (shuttle)",
        FAULTS.len()
    );
    assert_eq!(found, FAULTS.len());
}
