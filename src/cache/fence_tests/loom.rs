//! Every interleaving of two and three threads.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::AcqRel;
use std::{env, println};

use ::loom::{model::Builder, thread};

use super::*;

/// The faults that only a model of the memory finds.
const WEAK_FAULTS: [(Load, Invalidate, &str); 3] = [
    (load, key_relaxed, "key, relaxed"),
    (load, tenant_with_a_relaxed_change, "tenant, its change relaxed"),
    (load, tenant_with_a_relaxed_generation, "tenant, its generation relaxed"),
];

/// A model of the fence, run with a given load and a given invalidation.
#[derive(Clone, Copy)]
enum Model {
    /// A load beside a write.
    Load,
    /// A load beside a write, while the earlier version is cached.
    CachedLoad,
    /// The same with a third thread, which verifies twice, the second time with its own copy.
    Verification,
    /// Two loads beside a write.
    Loads,
}

fn key_relaxed(world: &World) {
    world.cache.generations.bump_key_relaxed(id());
    key_without_a_generation(world);
}

fn tenant_with_a_relaxed_change(world: &World) {
    tenant_as(world, [Relaxed, AcqRel]);
}

fn tenant_with_a_relaxed_generation(world: &World) {
    tenant_as(world, [AcqRel, Relaxed]);
}

fn tenant_as(world: &World, orderings: [core::sync::atomic::Ordering; 2]) {
    let stripe = Generations::stripe(world.cache.hasher.hash_one(TENANT));
    world.cache.generations.bump_tenant_as(stripe, orderings);
}

impl Model {
    fn threads(self) -> usize {
        match self {
            Self::Load | Self::CachedLoad => 2,
            Self::Verification | Self::Loads => 3,
        }
    }

    fn run(self, load: Load, invalidate: Invalidate) {
        let world = World::new();
        let spawn = |work: fn(&World, Load)| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world, load))
        };
        let mut threads = Vec::new();
        match self {
            Self::Load => {}
            Self::CachedLoad => load(&world),
            Self::Verification => {
                load(&world);
                threads.push(spawn(|world, _| (0..2).for_each(|_| world.verify())));
            }
            Self::Loads => threads.push(spawn(|world, load| load(world))),
        }
        threads.push(spawn(|world, load| load(world)));
        world.write(invalidate);
        world.verify();
        for thread in threads {
            thread.join().unwrap();
        }
        world.verify();
    }

    /// Runs the model in every interleaving. Returns their number, and whether the fence held in all of them.
    fn explore(
        self,
        load: Load,
        invalidate: Invalidate,
        preemptions: Option<usize>,
    ) -> (usize, bool) {
        let mut builder = Builder::new();
        builder.preemption_bound = preemptions;
        builder.max_permutations = None;
        builder.max_duration = None;
        explored(|count| {
            builder.check(move || {
                count.fetch_add(1, Relaxed);
                self.run(load, invalidate);
            });
        })
    }
}

fn holds(models: &[Model], invalidations: &[Invalidate], preemptions: Option<usize>) {
    let (mut interleavings, mut broken) = (0, 0);
    for model in models {
        for invalidate in invalidations {
            let (number, held) = model.explore(load, *invalidate, preemptions);
            interleavings += number;
            broken += usize::from(!held);
        }
    }
    let threads = models.iter().map(|model| model.threads()).max().unwrap();
    let bound = preemptions.map(|most| alloc::format!(" with at most {most} preemptions"));
    let bound = bound.unwrap_or_default();
    println!(
        "figure {broken} = 0 models of {threads} threads at the cache's fence that serve what is out of \
         date, in {interleavings} interleavings{bound} (loom)"
    );
    assert_eq!(broken, 0);
}

#[test]
fn no_interleaving_of_two_threads_breaks_the_fence() {
    holds(&[Model::Load, Model::CachedLoad], &[key, tenant], None);
}

/// `KEYWAY_PREEMPTIONS` limits how often a thread is interrupted where it could continue.
#[test]
fn no_interleaving_of_three_threads_breaks_the_fence() {
    let most = env::var("KEYWAY_PREEMPTIONS").map_or(2, |most| most.parse().unwrap());
    holds(&[Model::Loads, Model::Verification], &[key, tenant], Some(most));
}

/// Fault: see [`Proofs::extend_relaxed`].
fn deliver_relaxed(world: &World, invalidate: Invalidate) {
    invalidate(world);
    world.cache.proofs.extend_relaxed(LATE + BOUND);
}

/// Explores a proof in every interleaving of two threads. Returns their number, and whether the law held.
fn explore_proof(model: (Deliver, Invalidate, Serve)) -> (usize, bool) {
    let mut builder = Builder::new();
    builder.max_permutations = None;
    builder.max_duration = None;
    explored(|count| {
        builder.check(move || {
            count.fetch_add(1, Relaxed);
            let world = World::new();
            proof_model(&world, Part::Begin, model);
            let other = Arc::clone(&world);
            let feed = thread::spawn(move || proof_model(&other, Part::Deliver, model));
            proof_model(&world, Part::Serve, model);
            feed.join().unwrap();
            proof_model(&world, Part::Serve, model);
        });
    })
}

#[test]
fn no_interleaving_of_two_threads_breaks_a_proof() {
    let (mut interleavings, mut broken) = (0, 0);
    for proof in PROOFS {
        let (number, held) = explore_proof(proof);
        interleavings += number;
        broken += usize::from(!held);
    }
    println!(
        "figure {broken} = 0 models of 2 threads that serve by a proof what is out of date, in {interleavings} \
         interleavings (loom)"
    );
    assert_eq!(broken, 0);
}

#[test]
fn every_fault_of_a_proof_is_found() {
    let weak =
        [((deliver_relaxed as Deliver, tenant as Invalidate, serve as Serve), "proof, relaxed")];
    let faults: Vec<_> = PROOF_FAULTS.into_iter().chain(weak).collect();
    let missed = faults.iter().filter(|(model, _)| explore_proof(*model).1);
    let missed: Vec<_> = missed.map(|(_, fault)| *fault).collect();
    println!(
        "control {} = {} faults planted at proofs found, 1 of them in the order of memory alone (loom)",
        faults.len() - missed.len(),
        faults.len()
    );
    assert_eq!(missed, [""; 0]);
}

#[test]
fn every_planted_fault_is_found() {
    let faults: Vec<_> = FAULTS.into_iter().chain(WEAK_FAULTS).collect();
    let mut found = 0;
    for (load, invalidate, fault) in &faults {
        let (_, held) = Model::Load.explore(*load, *invalidate, None);
        if held {
            println!("not found by loom: {fault}");
        } else {
            found += 1;
        }
    }
    println!(
        "control {found} = {} faults planted at the fence found, {} of them in the order of memory alone (loom)",
        faults.len(),
        WEAK_FAULTS.len()
    );
    assert_eq!(found, faults.len());
}
