//! The cost of the hot path, as ratios: `cargo bench --bench ratios [-- [--quick] [hot] [many] [threads]
//! [set] [children]]`. The last part needs the feature `children`.
//!
//! 1.0 is two raw SHA-256 compressions of the `sha2` crate in the same run, unless a case says otherwise.
//! Every round measures each case beside its floor. A case's figure is the median of the rounds' ratios, so a
//! noisy machine affects both.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a benchmark that goes wrong stops"
)]

#[path = "../src/token/alphabet.rs"]
#[allow(dead_code, unused_imports, reason = "only the reading of characters is measured")]
mod alphabet;
#[cfg(feature = "children")]
#[path = "common/children.rs"]
mod children;
#[path = "common/report.rs"]
mod report;
#[path = "../src/swar.rs"]
#[allow(dead_code, unused_imports, reason = "only the reading of characters is measured")]
mod swar;

use std::{
    alloc::System,
    collections::HashMap,
    future::poll_fn,
    hint::black_box,
    mem::replace,
    pin::pin,
    sync::{
        Arc, Barrier, RwLock,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use base64ct::{Base64UrlUnpadded, Encoding};
use futures_util::future::join_all;
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    KeyId, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, Principal, ScopeCatalog, Tier,
    Timestamp, VerifyError,
    allowance::{Allowance, WhenAway},
    grant::{Networks, ResourceDeclaration, Resources},
    keyring::KeyringBuilder,
    lowlevel::{Authority, ResolvedKey, decide},
    operations::{Needs, Operations},
    record::TenantRecord,
    scope::ScopeDeclaration,
    store::{KeyLookup, KeyQuery, StoreError, StoredKey},
    time::{Clock, Moment, SystemClock},
    verifier::{Freshness, Verifier},
};
use sha2::{Sha256, block_api::compress256};
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
    if report.wants("hot") {
        shared_read(&world, &mut report);
    }
    if report.wants("many") {
        many_keys(&world, 1_000_000, &mut report);
    }
    if report.wants("threads") {
        two_threads(&world, &mut report);
    }
    if report.wants("set") {
        working_set(100_000, &mut report);
    }
    #[cfg(feature = "children")]
    if report.wants("children") {
        children::cases(&mut report);
    }
    report.finish("ratios");
}

/// One service with one cached key.
struct World {
    authority: Arc<Authority>,
    keyring: Keyring,
    /// The token of the cached key.
    token: String,
    key: Arc<ResolvedKey>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let authority = Arc::new(Authority::new(policy(), "live", &pepper().into()).unwrap());
        let keyring = builder(policy()).build().unwrap();
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

/// Returns the output of a future that does not have to wait.
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
    // The floor is the MAC alone by the `hmac` crate, which keeps compressed key blocks too.
    let keyed = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    let message = [7; 48];
    let floor = || {
        let mut mac = black_box(&keyed).clone();
        mac.update(black_box(&message));
        black_box(mac.finalize());
    };
    report.case("midstate", 0.9, 500, floor, || {
        assert!(black_box(authority.check(black_box(token.as_bytes()))).is_ok());
    });
    report.case("verify_hot", 2.0, 500, two_compressions, || {
        black_box(verify(keyring, black_box(token)).unwrap());
    });
    // The floor is a key of the same keyring without limits.
    let (limits, [unlimited, limited]) = limited();
    let office = Some("192.0.2.7".parse().unwrap());
    let verify_from = |token: &String| {
        let verified = limits.verify_from(black_box(token), Freshness::Cached, black_box(office));
        drop(black_box(ready(verified).unwrap()));
    };
    let floor = || verify_from(&unlimited);
    report.case("verify_limited", 1.15, 500, floor, || verify_from(&limited));
    // The floor is the same verification by a keyring that counts nothing.
    let (counting, counted) = counting();
    let floor = || drop(black_box(verify(keyring, black_box(token)).unwrap()));
    report.case("verify_counted", 1.02, 500, floor, || {
        drop(black_box(verify(&counting, black_box(&counted)).unwrap()));
    });
    // The same floor for a keyring that also has allowances. Units are taken apart from the verification.
    let (shared, of_shared) = shared();
    report.case("verify_shared", 1.02, 500, floor, || {
        drop(black_box(verify(&shared, black_box(&of_shared)).unwrap()));
    });
    let metered = verify(&shared, &of_shared).unwrap();
    let reserve = || drop(black_box(ready(shared.verifier().reserve(&metered, 1)).unwrap()));
    // Slices grow, so that the measured reservations need no lease.
    (0..100_000).for_each(|_| reserve());
    report.case("reserve", 1.0, 500, two_compressions, reserve);
    report.case("require", 0.05, 5_000, two_compressions, || {
        assert!(black_box(&principal).require(black_box(&requirement)).is_ok());
    });
    // Thirty methods of gRPC. The middle one is called.
    let methods = (0..30).map(|method| format!("/factory.v1.Machines/Method{method}"));
    let methods: Vec<String> = methods.collect();
    let declared = Operations::new(keyring.policy());
    let declared = methods
        .iter()
        .fold(declared, |table, name| table.operation(name, Needs::all(["reporting"])));
    let table = declared.build(&methods).unwrap();
    report.case("operations", 0.06, 5_000, two_compressions, || {
        let called = black_box(&*methods[15]);
        assert!(black_box(&table).check(called, Some(black_box(&principal)), &[]).is_ok());
    });
    // The floor decodes as many characters by the `base64ct` crate, which accepts two more.
    let characters = *b"A0z9bZya";
    let floor = || {
        let mut bytes = [0; 6];
        Base64UrlUnpadded::decode(black_box(&characters), &mut bytes).unwrap();
        black_box(bytes);
    };
    report.case("alphabet", 0.8, 5_000, floor, || {
        black_box(alphabet::read(black_box(characters)));
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
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        verify_from(&limited);
    }
    report.limit("alloc", "verify_limited", region.change().allocations, 0);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        drop(black_box(verify(&counting, black_box(&counted)).unwrap()));
    }
    report.limit("alloc", "verify_counted", region.change().allocations, 0);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        drop(black_box(verify(&shared, black_box(&of_shared)).unwrap()));
        reserve();
    }
    report.limit("alloc", "verify_shared", region.change().allocations, 0);
}

/// Returns a keyring that counts requests for the usage, and the token of a key that it has cached.
fn counting() -> (Keyring, String) {
    cached(builder(policy()).usage(MemoryStore::new()))
}

/// Returns a keyring that counts requests for the usage and in an allowance, and the token of a key that it has cached.
fn shared() -> (Keyring, String) {
    let scopes = policy().catalog().clone();
    let tier = Tier::new("advanced", 5).allowance(Allowance::per_month(1 << 50));
    let policy = Policy::new("mm", scopes, [tier]).unwrap();
    let limits = MemoryStore::new();
    cached(builder(policy).usage(MemoryStore::new()).shared_limits(limits, WhenAway::Refuse))
}

fn builder(policy: Policy) -> KeyringBuilder {
    Keyring::builder(policy, pepper())
        .environment("live")
        .store(MemoryStore::new())
        .max_staleness(Duration::from_secs(86_400))
}

fn cached(builder: KeyringBuilder) -> (Keyring, String) {
    let keyring = builder.build().unwrap();
    let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
    let created = pollster::block_on(keyring.create_tenant_with("acme", "advanced", request));
    let token = String::clone(&created.unwrap().1.token.reveal());
    pollster::block_on(keyring.verify(&token)).unwrap();
    (keyring, token)
}

/// Returns a verifier, and the tokens of two keys: one without limits, and one that is limited to 100 resources
/// and 16 networks.
fn limited() -> (Verifier, [String; 2]) {
    let scopes = [ScopeDeclaration::new("reporting", "a scope")];
    let kinds = [ResourceDeclaration::new("machine", "a machine")];
    let catalog = ScopeCatalog::new(scopes).unwrap().with_resources(kinds).unwrap();
    let policy = Policy::new("mm", catalog, Tier::built_in()).unwrap();
    let keyring = builder(policy).build().unwrap();
    let (acme, _) = pollster::block_on(keyring.create_tenant("acme", "advanced")).unwrap();
    let networks = (0..15).map(|net| format!("10.{}.0.0/16", 2 * net));
    let networks = Networks::only(networks.chain(["192.0.2.0/24".into()])).unwrap();
    let machines = Resources::only((0..100).map(|id| format!("press-{id}"))).unwrap();
    let key = || NewKey::named("ERP nightly sync").scopes(["reporting"]);
    let requests = [
        key().resources("machine", Resources::All),
        key().resources("machine", machines).networks(networks),
    ];
    let tokens = requests.map(|request| {
        let issued = pollster::block_on(acme.issue(request)).unwrap();
        String::clone(&issued.token.reveal())
    });
    (keyring.verifier().clone(), tokens)
}

/// A lookup of keys in the benchmark's own table.
struct Table(Arc<HashMap<KeyId, (KeyRecord, Arc<TenantRecord>)>>);

impl KeyLookup for Table {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.0.get(&id).map(|(key, tenant)| StoredKey {
            key: key.clone(),
            tenant: TenantRecord::clone(tenant),
        }))
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

/// Counts the reads of a store that many callers of one key wait for at once. Without sharing, each of them
/// reads.
fn shared_read(world: &World, report: &mut Report) {
    const CALLERS: usize = 1_000;
    let reads = Arc::new(AtomicUsize::new(0));
    let tenant = pollster::block_on(world.keyring.find_tenant(&"acme".parse().unwrap())).unwrap();
    let keys = pollster::block_on(world.keyring.tenant(tenant.id().clone()).list(&KeyQuery::all()));
    let key = keys.unwrap().items.swap_remove(0);
    let lookup = Slow { reads: Arc::clone(&reads), stored: StoredKey { key, tenant } };
    let verifier =
        Verifier::builder(policy(), pepper()).environment("live").lookup(lookup).build().unwrap();
    let callers = (0..CALLERS).map(|_| verifier.verify(&world.token));
    assert!(pollster::block_on(join_all(callers)).iter().all(Result::is_ok));
    report.limit("reads", "single_flight", reads.load(Relaxed), 1);
}

/// A lookup of one key that is not done at once.
struct Slow {
    reads: Arc<AtomicUsize>,
    stored: StoredKey,
}

impl KeyLookup for Slow {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        let mut waited = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(Some(self.stored.clone()))
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

fn many_keys(world: &World, number: usize, report: &mut Report) {
    let mut tokens = Vec::with_capacity(number);
    let mut table = HashMap::with_capacity(number);
    let mut bare: HashMap<[u8; 16], u32, _> =
        HashMap::with_capacity_and_hasher(number, foldhash::fast::RandomState::default());
    let mut plain: HashMap<KeyId, Arc<ResolvedKey>, _> =
        HashMap::with_capacity_and_hasher(number, foldhash::fast::RandomState::default());
    let mut tenant = None;
    for index in 0..number {
        // Five keys per tenant, as on the Advanced tier.
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
        plain.insert(key.id(), Arc::new(world.authority.resolve(&key, tenant).unwrap()));
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
    // The floor is what an application would write by hand: a map of the same keys behind one lock, which
    // forgets nothing and knows of no invalidation.
    let plain = RwLock::new(plain);
    let (mut next, mut also) = (0, 0);
    report.case(
        "index",
        1.1,
        20_000,
        || {
            let checked = world.authority.check(&tokens[next]).unwrap();
            let now = SystemClock.moment().now;
            let plain = plain.read().unwrap();
            black_box(decide(&checked, &plain[&checked.id()], now).unwrap());
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

/// Measures a service that uses many cached keys in random order, on several threads, each in its own order.
fn working_set(number: usize, report: &mut Report) {
    let clock = Minutes::default();
    let keyring = Keyring::builder(policy(), pepper())
        .environment("live")
        .store(MemoryStore::new())
        .clock(clock.clone())
        .cache_capacity(number * 2)
        .max_staleness(Duration::from_secs(86_400))
        .build()
        .unwrap();
    let mut tokens: Vec<[u8; 64]> = Vec::with_capacity(number);
    let mut bare: HashMap<[u8; 16], usize, _> =
        HashMap::with_capacity_and_hasher(number, foldhash::fast::RandomState::default());
    let bytes = |token: &str| token.as_bytes().try_into().unwrap();
    for tenant in 0..number / 5 {
        let id = format!("tenant-{tenant:06}");
        let keys = pollster::block_on(keyring.create_empty_tenant(&id, "advanced")).unwrap();
        for _ in 0..5 {
            let issued = pollster::block_on(keys.issue(NewKey::named("a key"))).unwrap();
            bare.insert(*issued.key.id().as_bytes(), tokens.len());
            tokens.push(bytes(&issued.token.reveal()));
        }
    }
    shuffle(&mut tokens);
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    // Each thread begins elsewhere, so that the threads do not follow each other.
    let turn = |thread: usize, work: &dyn Fn(&[u8; 64])| {
        let (before, after) = tokens.split_at(number / threads * thread);
        after.iter().chain(before).for_each(work);
    };
    let floor = |token: &[u8; 64]| {
        two_compressions();
        let id: &[u8; 16] = token[8..24].try_into().unwrap();
        assert!(black_box(bare.get(id)).is_some());
    };
    let verify =
        |token: &[u8; 64]| drop(black_box(pollster::block_on(keyring.verify(token)).unwrap()));
    tokens.iter().for_each(verify);

    for (name, limit, minutes) in [("verify_set", 2.0, 0), ("verify_set_minute", 2.6, 1)] {
        let mut rows = Vec::new();
        let mut allocations = 0;
        for _ in 0..report.rounds(SET_ROUNDS) {
            let below = together(threads, &|| (), &|thread| turn(thread, &floor)).0;
            let next = || clock.pass(minutes);
            let (above, allocated) = together(threads, &next, &|thread| turn(thread, &verify));
            allocations = allocations.max(allocated);
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let each = (number * threads) as f64;
            rows.push((below / each, above / each));
            pollster::block_on(keyring.flush_uses()).unwrap();
        }
        report.rows(name, limit, &rows);
        report.limit("alloc", name, allocations, 0);
    }
    println!("     on {threads} threads, {number} keys");
}

const SET_ROUNDS: usize = 41;

/// The system's clock, set forward by some minutes.
#[derive(Clone, Default)]
struct Minutes(Arc<AtomicI64>);

impl Minutes {
    fn pass(&self, minutes: i64) {
        self.0.fetch_add(minutes * 60_000, Relaxed);
    }
}

impl Clock for Minutes {
    fn moment(&self) -> Moment {
        let (moment, passed) = (SystemClock.moment(), self.0.load(Relaxed));
        Moment {
            now: Timestamp::saturating_from_millis(moment.now.as_millis() + passed),
            uptime: moment.uptime + passed.unsigned_abs(),
        }
    }
}

/// Runs `work` on several threads, and again after `next`. Returns the seconds and the allocations of the
/// second run.
fn together(threads: usize, next: &dyn Fn(), work: &(dyn Fn(usize) + Sync)) -> (f64, usize) {
    let gate = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for thread in 0..threads {
            let gate = &gate;
            scope.spawn(move || {
                // A thread's first verifications allocate its own slots.
                work(thread);
                gate.wait();
                gate.wait();
                work(thread);
                gate.wait();
                gate.wait();
            });
        }
        gate.wait();
        next();
        let region = Region::new(ALLOCATOR);
        let start = Instant::now();
        gate.wait();
        gate.wait();
        let taken = (start.elapsed().as_secs_f64(), region.change().allocations);
        gate.wait();
        taken
    })
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

/// Returns the seconds of one iteration.
fn time(iterations: u32, work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..iterations {
        work();
    }
    start.elapsed().as_secs_f64() / f64::from(iterations)
}

/// Shuffles by Fisher and Yates, with a generator whose order is the same in every run.
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
