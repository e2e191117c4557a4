//! What the hot path costs, as ratios: `cargo bench --bench ratios [-- [--quick] [hot] [many]
//! [threads]]`.
//!
//! 1.0 is two raw SHA-256 compressions of the `sha2` crate in the same run, unless a case says
//! otherwise. Every round measures each case beside its floor, and a case's figure is the median of
//! the rounds' ratios, so that a noisy machine moves both.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a benchmark that goes wrong stops"
)]

#[path = "common/report.rs"]
mod report;

use std::{
    alloc::System,
    collections::HashMap,
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use getrandom::SysRng;
use keyway::{
    authority::{Authority, NewKey},
    decision::{Principal, ResolvedKey},
    keyring::Keyring,
    pepper::Pepper,
    policy::Policy,
    record::{KeyRecord, TenantRecord},
    scope::{ScopeCatalog, ScopeDeclaration},
    store::{KeyLookup, MemoryStore, StoreError, StoredKey},
    tier::Tier,
    time::{Clock, SystemClock, Timestamp},
    token::KeyId,
    verifier::{Verifier, VerifyError},
};
use sha2::block_api::compress256;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::report::{Report, median};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut report = Report::asked_for();
    let world = World::new();
    if report.wants("hot") {
        hot_cases(&world, &mut report);
    }
    if report.wants("many") {
        many_keys(&world, 1_000_000, &mut report);
    }
    if report.wants("threads") {
        two_threads(&world, &mut report);
    }
    report.finish("ratios");
}

/// One service with one cached key.
struct World {
    authority: Arc<Authority>,
    keyring: Keyring,
    /// Of the cached key.
    token: String,
    key: Arc<ResolvedKey>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let authority = Arc::new(Authority::new(policy(), "live", &pepper().into()).unwrap());
        let keyring = Keyring::builder(policy(), pepper())
            .environment("live")
            .store(MemoryStore::new())
            .max_staleness(Duration::from_secs(86_400))
            .build()
            .unwrap();
        let first = NewKey::named("ERP nightly sync").scopes(["reporting"]);
        let created = keyring.create_tenant_with("acme", "advanced", first);
        let (acme, issued) = pollster::block_on(created).unwrap();
        let token = issued.token.reveal();
        let tenant = pollster::block_on(keyring.find_tenant(acme.id())).unwrap();
        let key = Arc::new(authority.resolve(&issued.key, &tenant).unwrap());
        Self {
            authority,
            keyring,
            token: String::clone(&token),
            key,
            now: SystemClock.moment().now,
        }
    }
}

fn policy() -> Policy {
    let scopes = ["reporting", "operator", "operator.jobs", "manager"];
    let scopes = scopes.map(|name| ScopeDeclaration::new(name, "a scope"));
    Policy::new("mm", ScopeCatalog::new(scopes).unwrap(), Tier::built_in()).unwrap()
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}

/// The state and the blocks of two compressions.
type Block = [u8; 64];
const BLOCKS: [Block; 2] = [[7; 64], [9; 64]];

fn two_compressions() {
    let mut state = [1; 8];
    for block in &BLOCKS {
        compress256(black_box(&mut state), black_box(std::slice::from_ref(block)));
    }
    black_box(state);
}

fn verify(keyring: &Keyring, token: &str) -> Result<Principal, VerifyError> {
    ready(keyring.verify(token))
}

/// What a future gives that does not have to wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

fn hot_cases(world: &World, report: &mut Report) {
    let World { authority, keyring, token, key, now } = world;
    let requirement = keyring.requirement(["reporting"]).unwrap();
    let principal = verify(keyring, token).unwrap();
    let mut forged = token.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    let malformed = &token[1..];

    report.case("check", 1.45, 500, two_compressions, || {
        let claim = authority.check(black_box(token.as_bytes())).unwrap();
        assert!(black_box(key).is_proven_by(&claim, *now));
    });
    report.case("forged", 1.45, 500, two_compressions, || {
        assert!(black_box(authority.check(black_box(forged.as_bytes()))).is_err());
    });
    report.case("malformed", 0.15, 500, two_compressions, || {
        assert!(black_box(authority.check(black_box(malformed.as_bytes()))).is_err());
    });
    report.case("verify_hot", 2.0, 500, two_compressions, || {
        black_box(verify(keyring, black_box(token)).unwrap());
    });
    report.case("require", 0.05, 5_000, two_compressions, || {
        assert!(black_box(&principal).require(black_box(&requirement)).is_ok());
    });
    let mut random = [0; 64];
    let floor = || getrandom::fill(black_box(&mut random)).unwrap();
    report.case("mint", 2.0, 100, floor, || {
        drop(black_box(authority.format().mint(&mut SysRng).unwrap()));
    });

    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        black_box(verify(keyring, black_box(token)).unwrap());
    }
    report.limit("alloc", "verify_hot", region.change().allocations, 0);
}

/// Keys that are read from a table of the benchmark's own.
struct Table(Arc<HashMap<KeyId, (KeyRecord, Arc<TenantRecord>)>>);

impl KeyLookup for Table {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.0.get(&id).map(|(key, tenant)| StoredKey {
            key: key.clone(),
            tenant: TenantRecord::clone(tenant),
        }))
    }
}

fn many_keys(world: &World, number: usize, report: &mut Report) {
    let mut tokens = Vec::with_capacity(number);
    let mut table = HashMap::with_capacity(number);
    let mut bare: HashMap<[u8; 16], u32, _> =
        HashMap::with_capacity_and_hasher(number, foldhash::fast::RandomState::default());
    let mut tenant = None;
    for index in 0..number {
        // Five keys a tenant, as on the Advanced tier.
        if index % 5 == 0 {
            let id = format!("tenant-{index:06}").parse().unwrap();
            let record = world.authority.create_tenant(id, "advanced", world.now).unwrap();
            tenant = Some(Arc::new(record));
        }
        let tenant = tenant.as_ref().unwrap();
        let request = NewKey::named(format!("key {index}")).scopes(["reporting"]);
        let issued = world.authority.issue(tenant, request, world.now, &mut SysRng);
        let (key, token) = issued.unwrap();
        bare.insert(*key.id().as_bytes(), u32::try_from(index).unwrap());
        let mut bytes = [0; 64];
        bytes.copy_from_slice(token.reveal().as_bytes());
        tokens.push(bytes);
        table.insert(key.id(), (key, Arc::clone(tenant)));
    }
    shuffle(&mut tokens);

    let verifier = Verifier::builder(policy(), pepper())
        .environment("live")
        .lookup(Table(Arc::new(table)))
        .cache_capacity(number)
        .max_staleness(Duration::from_secs(86_400))
        .build()
        .unwrap();
    let region = Region::new(ALLOCATOR);
    for token in &tokens {
        ready(verifier.verify(token)).unwrap();
    }
    let stats = region.change();
    let used = stats.bytes_allocated - stats.bytes_deallocated;
    report.limit("bytes_per_cached_key", "", used / number, 192);

    let mut next = 0;
    let mut also = 0;
    let tokens = &tokens;
    report.case(
        "verify_1m",
        1.8,
        20_000,
        || {
            two_compressions();
            let id: &[u8; 16] = tokens[next][8..24].try_into().unwrap();
            assert!(black_box(bare.get(id)).is_some());
            next = (next + 1) % number;
        },
        || {
            black_box(ready(verifier.verify(&tokens[also])).unwrap());
            also = (also + 1) % number;
        },
    );
}

fn two_threads(world: &World, report: &mut Report) {
    const ITERATIONS: usize = 20_000;
    let mut ratios = Vec::new();
    for _ in 0..report.rounds(ROUNDS) {
        let gain = |work: &(dyn Fn() + Sync)| {
            let one = time_on(1, ITERATIONS, work);
            let two = time_on(2, ITERATIONS, work);
            // Two threads did twice the work.
            2.0 * one / two
        };
        let bare = gain(&two_compressions);
        let ours = gain(&|| drop(black_box(verify(&world.keyring, &world.token).unwrap())));
        ratios.push(bare / ours);
    }
    report.ratio("two_threads", median(ratios.into_iter()), 1.10);
}

fn time_on(threads: usize, iterations: usize, work: &(dyn Fn() + Sync)) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..iterations).for_each(|_| work()));
        }
    });
    start.elapsed().as_secs_f64()
}

const ROUNDS: usize = 301;

impl Report {
    fn case(
        &mut self,
        name: &str,
        limit: f64,
        iterations: u32,
        mut floor: impl FnMut(),
        mut case: impl FnMut(),
    ) {
        let rounds = 0..self.rounds(ROUNDS);
        let rows: Vec<_> =
            rounds.map(|_| (time(iterations, &mut floor), time(iterations, &mut case))).collect();
        self.rows(name, limit, &rows);
    }

    fn limit(&mut self, what: &str, name: &str, value: usize, limit: usize) {
        let space = if name.is_empty() { "" } else { " " };
        println!("{what}{space}{name} {value} limit {limit}");
        self.count(value <= limit);
    }
}

/// Seconds of one iteration.
fn time(iterations: u32, work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..iterations {
        work();
    }
    start.elapsed().as_secs_f64() / f64::from(iterations)
}

/// Fisher and Yates, with a generator whose order is the same in every run.
fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (last as u64 + 1)).unwrap();
        items.swap(last, other);
    }
}
