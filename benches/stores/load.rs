//! The share of a load that the cache keeps from the store.
//!
//! Keys are drawn by Zipf's law with exponent 1 out of 100,000. The benchmark sets the clock forward at the
//! pace of the load. The share depends on the pace, the staleness bound and the capacity, and not on the
//! speed of this machine. Figures are for the minute after the first two bounds.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use keyway::{
    KeyId, KeyRecord,
    record::TenantRecord,
    store::{Change, ChangeFeed, Follower, KeyLookup, StoreError, StoredKey},
    time::ManualClock,
    verifier::{Verifier, VerifierBuilder},
};

use crate::population::{KEYS, Population, pepper, policy};

pub(crate) fn run(quick: bool) {
    let keys = if quick { 1_000 } else { 100_000 };
    let population = Population::new(keys / KEYS);
    let table = Table::of(&population);
    for capacity in [VerifierBuilder::DEFAULT_CAPACITY, 10_000, 1_000] {
        for pace in [1_000, 10_000] {
            for proves in [false, true] {
                measure(&population, &table, (capacity, pace, proves), quick);
            }
        }
    }
    plan();
}

/// The reads per second of one node without proofs, by the formula of `guide/scale.md`: a key with `rate` requests a
/// second is read once per bound, and once more for the request that finds it too old.
fn reads_without_proofs(keys: u32, exponent: f64, pace: f64) -> f64 {
    let bound = VerifierBuilder::DEFAULT_MAX_STALENESS.as_secs_f64();
    // Equal weights far from the first keys are summed in steps.
    let weights = || (1..=keys).map(|place| f64::from(place).powf(-exponent));
    let sum: f64 = weights().sum();
    weights().map(|weight| pace * weight / sum).map(|rate| rate / (1.0 + rate * bound)).sum()
}

/// Prints the computed reads per second of a plan. With proofs each change is read once by each node that uses the key.
fn plan() {
    println!("nodes, keys, exponent, verifications per second and node: reads per second in all");
    println!("  without proofs, and with proofs at most, by changes per second");
    for nodes in [1, 20, 200] {
        for (keys, exponent) in
            [(100_000, 1.0), (100_000, 0.8), (1_000_000, 1.0), (10_000_000, 1.0)]
        {
            for pace in [1_000.0, 10_000.0] {
                let without = reads_without_proofs(keys, exponent, pace) * f64::from(nodes);
                let with = [1, 10, 100].map(|changes| changes * nodes);
                println!(
                    "computed {nodes} {keys} {exponent} {pace}: {without:.0} without, {} / {} / {} at 1 / 10 / 100 changes",
                    with[0], with[1], with[2]
                );
            }
        }
    }
}

/// A feed that proves what its clock shows each time that it is polled.
struct Proving {
    has_begun: bool,
    last: u64,
}

impl ChangeFeed for Proving {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        if !core::mem::replace(&mut self.has_begun, true) {
            return Some(Change::Gap);
        }
        poll_fn(|_| {
            let moment = follower.moment();
            if core::mem::replace(&mut self.last, moment.uptime) == moment.uptime {
                return Poll::Pending;
            }
            Poll::Ready(Some(Change::Proof(moment)))
        })
        .await
    }
}

fn measure(
    population: &Population,
    table: &Table,
    (capacity, pace, proves): (usize, u64, bool),
    quick: bool,
) {
    let clock = ManualClock::at(population.now);
    let verifier = Verifier::builder(policy(), pepper())
        .environment("live")
        .lookup(table.clone())
        .cache_capacity(capacity)
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut zipf = Zipf::new(population.keys.len());
    let mut following =
        proves.then(|| Box::pin(verifier.follow(Proving { has_begun: false, last: 0 })));
    let mut verify_for = |seconds: u64| {
        let before = table.reads.load(Ordering::Relaxed);
        for tick in 0..seconds * 100 {
            clock.advance(Duration::from_millis(10));
            if tick % 100 == 0
                && let Some(following) = &mut following
            {
                let _ = following.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            for _ in 0..pace / 100 {
                let future = pin!(verifier.verify(&population.tokens[zipf.draw()]));
                let answer = future.poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(answer, Poll::Ready(Ok(_))));
            }
        }
        table.reads.load(Ordering::Relaxed) - before
    };
    let seconds = if quick { 1 } else { 60 };
    verify_for(seconds / 6);
    if capacity == VerifierBuilder::DEFAULT_CAPACITY {
        // After each key was seen once.
        for token in &*population.tokens {
            let future = pin!(verifier.verify(token));
            let _ = future.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
    let reads = verify_for(seconds);
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let (rate, reads) =
        (1.0 - reads as f64 / (seconds * pace) as f64, reads as f64 / seconds as f64);
    println!(
        "cached_hit_rate {rate:.3} store_reads_per_second {reads:.0} at {pace} verifications per \
         second, capacity {capacity}, {} proofs",
        if proves { "with" } else { "without" }
    );
    if capacity == VerifierBuilder::DEFAULT_CAPACITY && !quick {
        let keys = u32::try_from(population.keys.len()).unwrap();
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let computed = if proves { 0.0 } else { reads_without_proofs(keys, 1.0, pace as f64) };
        println!("     computed store_reads_per_second {computed:.0}");
        assert!((reads - computed).abs() <= computed * 0.02 + 0.01, "the formula is wrong");
    }
}

/// A lookup of keys in the benchmark's own table, which counts reads.
#[derive(Clone)]
struct Table {
    keys: Arc<HashMap<KeyId, (KeyRecord, TenantRecord)>>,
    reads: Arc<AtomicU64>,
}

impl Table {
    fn of(population: &Population) -> Self {
        let tenants = population.tenants.iter().flat_map(|tenant| [tenant; KEYS]);
        let keys = population.keys.iter().zip(tenants);
        let keys = keys.map(|(key, tenant)| (key.id(), (key.clone(), tenant.clone())));
        Self { keys: Arc::new(keys.collect()), reads: Arc::default() }
    }
}

impl KeyLookup for Table {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let found = self.keys.get(&id).cloned();
        Ok(found.map(|(key, tenant)| StoredKey { key, tenant }))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// Draws the number n, from 0 on, with a probability proportional to 1 / (n + 1).
pub(crate) struct Zipf {
    sums: Vec<f64>,
    state: u64,
}

impl Zipf {
    pub(crate) fn new(number: usize) -> Self {
        let mut sum = 0.0;
        let mut place = 0.0;
        let sums = (0..number).map(|_| {
            place += 1.0;
            sum += 1.0 / place;
            sum
        });
        Self { sums: sums.collect(), state: 0x2545_f491_4f6c_dd1d }
    }

    pub(crate) fn draw(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        #[allow(clippy::cast_precision_loss, reason = "a fraction")]
        let fraction = (self.state >> 11) as f64 / (1_u64 << 53) as f64;
        let sum = fraction * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|below| *below <= sum).min(self.sums.len() - 1)
    }
}
