//! The calls of the stores that a million requests cause on four nodes, with usage and allowances, at several rates.
//! `--nocapture` shows the figures.

#[path = "../support/mod.rs"]
mod support;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::{
    World, block_on, catalog,
    limit_store::FaultyLimits,
    overheard::{self, RevealKnown as _},
};
use keyway::{
    KeyId, MemoryStore, NewKey, Policy, TenantId, Tier,
    allowance::{Allowance, WhenAway},
    keyring::KeyringBuilder,
    store::{StoreError, UsageStore},
    usage::{Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};

const REQUESTS: u64 = 1_000_000;
const NODES: usize = 4;
const TENANTS: usize = 200;
const KEYS: usize = 5;

/// The time between two flushes of a node, in seconds.
const FLUSH: u64 = 60;

/// How long a node uses a key without reading it again.
const STALENESS: Duration = Duration::from_secs(5);

/// A store of usage that counts the flushes.
#[derive(Clone, Default)]
struct Counted(MemoryStore, Arc<AtomicU64>);

impl UsageStore for Counted {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        self.1.fetch_add(1, Relaxed);
        self.0.add_usage(flush).await
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.0.key_usage(tenant, keys, span).await
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        self.0.tenant_usage(tenant, span).await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        self.0.roll_up_usage(days, months).await
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.0.delete_usage(tenant).await
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.0.usage_rows(period, after, limit).await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        self.0.raise_usage(period, rows).await
    }
}

/// The calls of the stores by a million requests.
struct Calls {
    lookups: usize,
    last_uses: usize,
    flushes: u64,
    leases: u64,
    returns: u64,
}

/// Random numbers that are the same in each run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % end
    }
}

fn policy() -> Policy {
    overheard::listen();
    let tier = Tier::new("advanced", 5).allowance(Allowance::per_month(1 << 40));
    Policy::new("mm", catalog(), [tier]).unwrap()
}

/// Sends a million requests at this rate in a second, spread over all nodes and keys.
fn calls(rate: u64) -> Calls {
    let (usage, limits) = (Counted::default(), FaultyLimits::default());
    let build = |builder: KeyringBuilder| {
        let builder = builder.max_staleness(STALENESS).usage(usage.clone());
        builder.shared_limits(limits.clone(), WhenAway::Refuse)
    };
    let first = World::with(policy(), build);
    let others: Vec<_> = (1..NODES).map(|_| first.another_node_with(policy(), build)).collect();
    let nodes: Vec<&World> = std::iter::once(&first).chain(&others).collect();
    let mut tokens = Vec::new();
    for tenant in 0..TENANTS {
        let tenant = format!("tenant-{tenant}");
        let keys = block_on(first.keyring.create_empty_tenant(&tenant, "advanced")).unwrap();
        for _ in 0..KEYS {
            let issued = block_on(keys.issue(NewKey::named("n"))).unwrap();
            tokens.push(issued.token.reveal_known().to_string());
        }
    }
    let count = |method| nodes.iter().map(|node| node.store.calls(method)).sum::<usize>();
    let before = (count("lookup"), count("lookup_many"), count("record_uses"));
    let mut random = Random(rate);
    for second in 0..REQUESTS / rate {
        for _ in 0..rate {
            let node = nodes[random.below(NODES)];
            let verifier = node.keyring.verifier();
            let caller = block_on(verifier.verify(&tokens[random.below(tokens.len())])).unwrap();
            drop(block_on(verifier.reserve(&caller, 1)).unwrap());
        }
        first.clock.advance(Duration::from_secs(1));
        if second % FLUSH == FLUSH - 1 {
            for node in &nodes {
                block_on(node.keyring.flush_uses()).unwrap();
            }
        }
    }
    Calls {
        lookups: count("lookup") + count("lookup_many") - before.0 - before.1,
        last_uses: count("record_uses") - before.2,
        flushes: usage.1.load(Relaxed),
        leases: limits.take_leases(),
        returns: limits.take_returns(),
    }
}

#[test]
fn calls_of_a_million_requests_at_several_rates() {
    let rates = [100, 1_000, 10_000];
    let all = rates.map(|rate| {
        let calls = calls(rate);
        let Calls { lookups, last_uses, flushes, leases, returns } = &calls;
        println!(
            "{rate} requests in a second on {NODES} nodes, {} keys of {TENANTS} tenants: {lookups} lookups, {last_uses} writes of \
             last uses, {flushes} flushes of usage, {leases} leases, {returns} returns",
            TENANTS * KEYS
        );
        calls
    });
    // A busier service writes less for each request.
    for pair in all.windows(2) {
        assert!(pair[1].flushes < pair[0].flushes && pair[1].last_uses <= pair[0].last_uses);
        assert!(pair[1].leases < pair[0].leases && pair[1].lookups < pair[0].lookups);
    }
}
