//! Reads of a node that follows a feed, and of a node that has just started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use keyway::{
    KeyId,
    store::{ChangeFeed, KeyLookup, KeyStore, Lookups, StoreError, StoredKey},
    verifier::Verifier,
};

use tokio::task::JoinSet;

use crate::{
    load::Zipf,
    population::{Population, builder, pepper, policy},
    report::Report,
};

/// Counts what reaches the store.
struct Counting<S> {
    store: S,
    requests: Arc<AtomicUsize>,
    /// Whether each key of a `lookup_many` is a request of its own.
    splits: bool,
}

impl<S: KeyLookup> KeyLookup for Counting<S> {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.requests.fetch_add(1, Relaxed);
        self.store.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<Lookups, StoreError> {
        if self.splits {
            let each = ids.iter().map(|id| self.lookup(*id));
            return Ok(try_join_all(each).await?.into_iter().map(Ok).collect());
        }
        self.requests.fetch_add(1, Relaxed);
        self.store.lookup_many(ids).await
    }

    fn max_lag(&self) -> Duration {
        self.store.max_lag()
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.marker().await
    }
}

fn node<S: KeyLookup>(store: S, splits: bool) -> (Verifier, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let lookup = Counting { store, requests: Arc::clone(&requests), splits };
    let verifier = Verifier::builder(policy(), pepper()).environment("live").lookup(lookup).build();
    (verifier.unwrap(), requests)
}

/// Measures how often a node reads its store while nothing changes and another node flushes last uses. Keys are drawn
/// by Zipf's law with exponent 1, 10,000 a second, after each was seen once.
pub(crate) async fn steady<S: KeyStore + Clone>(
    name: &str,
    (store, other): (S, S),
    feed: impl ChangeFeed,
    population: &Population,
    report: &mut Report,
) {
    let (verifier, requests) = node(store, false);
    let following = tokio::spawn(verifier.follow(feed));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for token in &*population.tokens {
        verifier.verify(token).await.unwrap();
    }
    let (seconds, pace) = if report.is_quick() { (2, 1_000) } else { (60, 10_000) };
    let flushing = {
        let tokens = Arc::clone(&population.tokens);
        let keyring = builder(other).build().unwrap();
        tokio::spawn(async move {
            let mut flushed = 0;
            for batch in tokens.chunks(100).cycle().take(seconds * 2) {
                for token in batch {
                    keyring.verify(token).await.unwrap();
                }
                flushed += keyring.flush_uses().await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            flushed
        })
    };
    let mut zipf = Zipf::new(population.tokens.len());
    let (before, began) = (requests.load(Relaxed), Instant::now());
    for tick in 1..=seconds * 100 {
        for _ in 0..pace / 100 {
            verifier.verify(&population.tokens[zipf.draw()]).await.unwrap();
        }
        let next = Duration::from_millis(10) * u32::try_from(tick).unwrap();
        tokio::time::sleep(next.saturating_sub(began.elapsed())).await;
    }
    let took = began.elapsed().as_secs_f64();
    let reads = requests.load(Relaxed) - before;
    following.abort();
    let flushed = flushing.await.unwrap();
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let (reads, rate) = (reads as f64 / took, (seconds * pace) as f64 / took);
    println!(
        "     steady_reads_{name}: {} keys, {rate:.0} verifications a second for {took:.0} s, another node flushed \
         {flushed} uses",
        population.tokens.len()
    );
    report.ratio(&format!("steady_reads_{name}"), reads, 0.0);
}

/// Measures the time until a node that has just started has verified each key once. All keys are asked for at once, and
/// share requests. The floor has one request for each key, from 64 tasks, since no pool serves more at a time. Prints by
/// how much the former is faster.
pub(crate) async fn cold_burst<S: KeyStore + Clone>(
    name: &str,
    store: S,
    population: &Population,
    report: &mut Report,
) {
    let burst = async |splits, tasks: usize| {
        let (verifier, requests) = node(store.clone(), splits);
        let began = Instant::now();
        let mut all = JoinSet::new();
        for task in 0..tasks {
            let (verifier, tokens) = (verifier.clone(), Arc::clone(&population.tokens));
            all.spawn(async move {
                for token in tokens.iter().skip(task).step_by(tasks) {
                    verifier.verify(token).await.unwrap();
                }
            });
        }
        all.join_all().await;
        (began.elapsed().as_secs_f64(), requests.load(Relaxed))
    };
    let mut ratios = Vec::new();
    for _ in 0..report.rounds(5) {
        let (shared, requests) = burst(false, population.tokens.len()).await;
        let (single, singles) = burst(true, 64).await;
        println!(
            "     cold_burst_{name}: {} keys in {requests} requests {shared:.2} s, in {singles} requests {single:.2} s",
            population.tokens.len()
        );
        report.count(requests <= population.tokens.len() / 50);
        ratios.push(single / shared);
    }
    let ratio = crate::report::median(ratios.into_iter());
    println!("ratio cold_burst_{name} {ratio:.3} limit 5 at least");
    report.count(ratio >= 5.0);
}
