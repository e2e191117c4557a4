//! The fence under the interleavings of its threads, driven by the schedulers of `loom` and `shuttle`.
//!
//! The law: once an invalidation has returned, no verification is decided by data stored before it. Planted
//! faults break the law, and the same runs must find each of them.
//!
//! `loom` explores every interleaving of a few threads, and every value that the orderings of atomics allow a
//! thread to read. It treats `SeqCst` as `AcqRel`. `shuttle` treats every ordering as `SeqCst`, and runs more
//! threads in random orders.

#[cfg(keyway_loom)]
mod loom;
#[cfg(keyway_shuttle)]
mod shuttle;

use alloc::{string::String, sync::Arc};
use core::{
    sync::atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};
use std::panic::{UnwindSafe, catch_unwind};

use super::*;
use crate::{sync::AtomicU32, time::Timestamp};

const ID: &str = "AAAAAAAAAAAAAAAA";
const TENANT: &str = "acme";

/// A cache in front of a store that holds nothing but a version of one key.
struct World {
    cache: Cache,
    stored: AtomicU32,
    /// The latest version whose invalidation has returned.
    settled: AtomicU32,
}

type Load = fn(&World);
type Invalidate = fn(&World);
/// Delivers a change of another node, with `Invalidate`, and the proof that there is no other.
type Deliver = fn(&World, Invalidate);
/// Returns the version that is served when it is late.
type Serve = fn(&World) -> Option<u32>;

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            cache: Cache::new(SHARDS, Duration::from_millis(BOUND), false),
            stored: AtomicU32::new(0),
            settled: AtomicU32::new(0),
        })
    }

    fn read(&self) -> ResolvedKey {
        let version = self.stored.load(SeqCst);
        ResolvedKey::sample(ID, TENANT, &alloc::format!("{version}"))
    }

    fn ticket(&self) -> Ticket {
        self.cache.ticket(id(), moment(0), 0)
    }

    /// Writes the next version, and then invalidates the earlier ones.
    fn write(&self, invalidate: Invalidate) {
        let version = self.stored.fetch_add(1, SeqCst) + 1;
        invalidate(self);
        self.settled.fetch_max(version, SeqCst);
    }

    /// Verifies the key once.
    fn verify(&self) {
        let settled = self.settled.load(SeqCst);
        let served = self.cache.with(id(), moment(0), |key| key.name().parse::<u32>().unwrap());
        assert!(
            served.is_none_or(|version| version >= settled),
            "version {served:?} was served after the invalidation of what was before {settled}"
        );
    }
}

fn id() -> KeyId {
    ID.parse().unwrap()
}

/// The staleness bound, in milliseconds.
const BOUND: u64 = 5_000;

/// When everything loaded at the start has aged, so that only a proof covers it.
const LATE: u64 = 2 * BOUND;

fn moment(uptime: u64) -> Moment {
    Moment { now: Timestamp::saturating_from_millis(uptime.cast_signed()), uptime }
}

fn load(world: &World) {
    let ticket = world.ticket();
    world.cache.insert(world.read(), ticket);
}

fn key(world: &World) {
    world.cache.invalidate_key(id());
}

fn tenant(world: &World) {
    world.cache.invalidate_tenant(&TENANT.parse().unwrap());
}

/// Fault: the key is read before the ticket is taken, so it may be older than the ticket claims.
fn load_with_a_late_ticket(world: &World) {
    let key = world.read();
    world.cache.insert(key, world.ticket());
}

/// Fault: the tenant's generation is read after its changes were compared.
fn load_with_a_hasty_check(world: &World) {
    let ticket = world.ticket();
    let mut key = world.read();
    let cache = &world.cache;
    if cache.generations.tenant_changes() == ticket.tenant_changes
        && cache.generations.of_key(id()) == ticket.key_generation
    {
        let stripe = Generations::stripe(cache.hasher.hash_one(TENANT));
        let tenant_generation = cache.generations.of_tenant(stripe);
        let generation = ticket.key_generation.wrapping_add(tenant_generation);
        key.stamp = Stamp::new(generation, ticket.began, stripe);
        put(cache, key);
    }
}

/// Fault: the key's generation is the one after the load.
fn load_with_the_latest_generation(world: &World) {
    let key = world.read();
    load_as(world, key);
}

fn load_as(world: &World, mut key: ResolvedKey) {
    let cache = &world.cache;
    let stripe = Generations::stripe(cache.hasher.hash_one(TENANT));
    let generation =
        cache.generations.of_key(id()).wrapping_add(cache.generations.of_tenant(stripe));
    key.stamp = Stamp::new(generation, 0, stripe);
    put(cache, key);
}

fn put(cache: &Cache, key: ResolvedKey) {
    let hash = cache.hash(id());
    let mut index = cache.shard(hash).unwrap().0.write().unwrap();
    index.insert(hash, Arc::new(key), |id| cache.hash(id));
}

/// Fault: the key is only removed, so a load under way puts it back.
fn key_without_a_generation(world: &World) {
    let hash = world.cache.hash(id());
    let mut index = world.cache.shard(hash).unwrap().0.write().unwrap();
    index.remove(hash, id());
}

/// Fault: a load that ends between the two counts takes the new generation for its own.
fn tenant_backwards(world: &World) {
    let generations = &world.cache.generations;
    generations.bump_tenant_backwards(Generations::stripe(world.cache.hasher.hash_one(TENANT)));
}

/// A feed: the change is applied before the proof that covers it.
fn deliver(world: &World, invalidate: Invalidate) {
    invalidate(world);
    prove(world);
}

fn prove(world: &World) {
    assert!(world.cache.prove(moment(LATE), moment(LATE)));
}

/// A feed that has delivered an unreadable notice: earlier loads are not covered.
fn exclude(world: &World, _: Invalidate) {
    world.cache.cover_after(moment(BOUND));
    prove(world);
}

/// Fault: the proof is installed before the change that it covers.
fn deliver_late(world: &World, invalidate: Invalidate) {
    prove(world);
    invalidate(world);
}

/// Fault: the proof is installed before what it does not cover.
fn exclude_late(world: &World, _: Invalidate) {
    prove(world);
    world.cache.cover_after(moment(BOUND));
}

fn serve(world: &World) -> Option<u32> {
    world.cache.with(id(), moment(LATE), version_of)
}

fn version_of(key: &Arc<ResolvedKey>) -> u32 {
    key.name().parse().unwrap()
}

/// Fault: the generations are read before the proof.
fn serve_with_a_late_proof(world: &World) -> Option<u32> {
    let cache = &world.cache;
    let hash = cache.hash(id());
    let index = cache.shard(hash).unwrap().0.read().unwrap();
    let key = index.find(hash, id())?;
    let is_current = cache.is_good(id(), &key.stamp, moment(LATE), Some(key.stamp.loaded));
    let covered = cache.proofs.cover(moment(LATE));
    let is_covered = covered.is_some_and(|since| proofs::covers(since, key.stamp.loaded));
    (is_current && is_covered).then(|| version_of(key))
}

/// Fault: the first load that is covered is read before the end of the proof.
fn serve_with_an_early_start(world: &World) -> Option<u32> {
    let cache = &world.cache;
    let since = cache.proofs.since();
    let covered = cache.proofs.cover(moment(LATE)).map(|_| since);
    let hash = cache.hash(id());
    let index = cache.shard(hash).unwrap().0.read().unwrap();
    let key = index.find(hash, id())?;
    cache.is_good(id(), &key.stamp, moment(LATE), covered).then(|| version_of(key))
}

/// Delivers one change while the version before it is cached, is loaded again, and is asked for when only a proof
/// makes it valid. The version must never be served.
fn proof_model(
    world: &World,
    part: Part,
    (deliver, invalidate, serve): (Deliver, Invalidate, Serve),
) {
    match part {
        Part::Begin => load(world),
        Part::Deliver => {
            world.stored.store(1, SeqCst);
            deliver(world, invalidate);
        }
        Part::Serve => {
            let served = serve(world);
            assert!(served != Some(0), "version 0 was served after a proof without it");
        }
    }
}

/// One thread of the model of a proof.
#[derive(Clone, Copy)]
enum Part {
    Begin,
    Deliver,
    Serve,
}

/// A fault of a proof, and its name.
type ProofFault = ((Deliver, Invalidate, Serve), &'static str);

/// The proofs that must hold.
const PROOFS: [(Deliver, Invalidate, Serve); 3] =
    [(deliver, key, serve), (deliver, tenant, serve), (exclude, key, serve)];

const PROOF_FAULTS: [ProofFault; 5] = [
    ((deliver_late, key, serve), "proof before the change, key"),
    ((deliver_late, tenant, serve), "proof before the change, tenant"),
    ((exclude_late, key, serve), "proof before its start"),
    ((deliver, tenant, serve_with_a_late_proof), "proof read after the generations"),
    ((exclude, key, serve_with_an_early_start), "start read before the proof"),
];

/// The faults that both model checkers must find.
const FAULTS: [(Load, Invalidate, &str); 7] = [
    (load_with_a_late_ticket, key, "late ticket, key"),
    (load_with_a_late_ticket, tenant, "late ticket, tenant"),
    (load_with_a_hasty_check, tenant, "hasty check"),
    (load_with_the_latest_generation, key, "generation, key"),
    (load_with_the_latest_generation, tenant, "generation, tenant"),
    (load, key_without_a_generation, "removed only"),
    (load, tenant_backwards, "tenant backwards"),
];

/// Returns how often `explore` ran its model, and whether the law held every time.
fn explored(explore: impl FnOnce(Arc<AtomicUsize>) + UnwindSafe) -> (usize, bool) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let held = match catch_unwind(|| explore(count)) {
        Ok(()) => true,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            assert!(text.contains("was served after"), "it failed for another reason: {text}");
            false
        }
    };
    (runs.load(Relaxed), held)
}
