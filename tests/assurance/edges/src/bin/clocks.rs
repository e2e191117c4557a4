//! Moves the clocks of two nodes forward and back, by one second to ten years, and counts violations: `clocks
//! ROUNDS`.
//!
//! The nodes share a store. The time of day of each node is set at random. The uptime, which is another clock
//! of the machine, continues. As a control, the same is done with nodes that trust the time of day where they
//! must not.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use keyway::{
    GracePeriod, KeyEdit, KeyState, Keyring, KeyringError, MemoryStore, NewKey, Pepper, Policy,
    ScopeCatalog, TenantKeys, Tier, Timestamp, VerifyError,
    lowlevel::InsecureSeededRng,
    rate::Rate,
    record::Suspension,
    scope::ScopeDeclaration,
    store::AnyStore,
    time::{Clock, Moment},
};
use pollster::block_on;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// By how much clocks jump, and by how much they are ahead or behind.
const JUMPS: [i64; 12] = [
    SECOND,
    5 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    60 * MINUTE,
    DAY,
    7 * DAY,
    30 * DAY,
    365 * DAY,
    2 * 365 * DAY,
    3_652 * DAY,
];
/// The true time at the start.
const START: i64 = 1_800_000_000 * SECOND;
/// The staleness bound of the nodes.
const BOUND: i64 = 30 * SECOND;
/// How far the clocks of the skewed nodes are from the true time.
const SKEW: i64 = 5 * MINUTE;
const KEYS: u32 = 5;
const REQUESTS: u32 = 20;

fn main() -> ExitCode {
    let rounds = env::args().nth(1).and_then(|rounds| rounds.parse().ok());
    let Some(rounds) = rounds else {
        eprintln!("clocks ROUNDS");
        return ExitCode::from(2);
    };
    let sound = all_rounds(rounds, Trust::Uptime);
    let Found { cases, panics, .. } = sound;
    println!(
        "figure {} = 0 of {cases} answers after jumps otherwise than the node's own clock says",
        sound.wrong
    );
    println!(
        "figure {} = 0 keys accepted more than {} s after their end by nodes {} s off",
        sound.expired,
        SKEW / SECOND,
        SKEW / SECOND
    );
    println!(
        "figure {} = 0 revoked keys accepted past the staleness bound of {} s",
        sound.revoked,
        BOUND / SECOND
    );
    println!("figure {} = 0 keys beyond the quota of a tenant", sound.keys);
    println!("figure {} = 0 requests beyond the rate of a key", sound.requests);
    println!("figure {panics} = 0 panics, at both ends of time too");
    let planted = all_rounds(rounds, Trust::TimeOfDay);
    println!(
        "control {} > 0 revoked keys accepted where ages are measured by the time of day",
        planted.revoked
    );
    println!(
        "control {} > 0 requests beyond the rate where they are counted by the time of day",
        planted.requests
    );
    let planted = all_rounds(rounds, Trust::NeverBack);
    println!(
        "control {} > 0 answers otherwise where a clock is not set back when it is told to",
        planted.wrong
    );
    let planted = all_rounds(rounds, Trust::StandsStill);
    println!(
        "control {} > 0 keys accepted after their end where a clock stands still",
        planted.expired
    );
    ExitCode::SUCCESS
}

/// The clocks that a node uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// As keyway's own clock: the time of day, and an uptime beside it.
    Uptime,
    /// The time of day is used as the uptime as well.
    TimeOfDay,
    /// The time of day is the latest one that was ever seen.
    NeverBack,
    /// The time of day is the one at the start.
    StandsStill,
}

#[derive(Clone, Copy, Default)]
struct Found {
    cases: u64,
    wrong: u64,
    expired: u64,
    revoked: u64,
    keys: u64,
    requests: u64,
    panics: u64,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.wrong += other.wrong;
        self.expired += other.expired;
        self.revoked += other.revoked;
        self.keys += other.keys;
        self.requests += other.requests;
        self.panics += other.panics;
    }
}

fn all_rounds(rounds: u64, trust: Trust) -> Found {
    let mut found = Found::default();
    for seed in 0..rounds {
        for part in [states, skewed, revoked, quota, rate, ends_of_time] {
            let mut of_part = Found::default();
            let round = AssertUnwindSafe(|| part(&mut Random(seed), trust, &mut of_part));
            match catch_unwind(round) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    if trust == Trust::Uptime {
                        println!("seed {seed}: {error}");
                    }
                    of_part.wrong += 1;
                }
                Err(_) => of_part.panics += 1,
            }
            found.add(of_part);
        }
    }
    found
}

/// The outcome of one round. It is an error if something is refused that no clock may cause to be refused.
type Outcome = Result<(), KeyringError>;

/// Checks that every result follows the node's own clock at that moment, whatever the clock showed before.
fn states(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(1, "large", trust);
    let (keyring, clock) = (&world.nodes[0], &world.clocks[0]);
    let tenant = world.tenant(0);
    let mut keys = Vec::new();
    for span in JUMPS {
        let (from, end) = (START + span, START + 2 * span);
        let request = NewKey::named("k").not_before(time(from)).expires_at(time(end));
        keys.push((block_on(tenant.issue(request))?, from, end));
    }
    let tokens: Vec<_> =
        keys.into_iter().map(|(key, from, end)| (key.token.reveal(), from, end)).collect();
    for _ in 0..20 {
        let (_, from, end) = random.pick(&tokens);
        let boundary = *random.pick(&[*from, *end]);
        let jump = random.sign() * *random.pick(&JUMPS);
        clock.set(*random.pick(&[
            boundary - 1,
            boundary,
            boundary + 1,
            boundary + jump,
            START + jump,
        ]));
        world.pass(*random.pick(&[0, 1, SECOND, BOUND]));
        let now = clock.time_of_day();
        for (token, from, end) in &tokens {
            let expected = match now {
                now if now < *from => Some(KeyState::NotYetValid { from: time(*from) }),
                now if now >= *end => Some(KeyState::Expired { at: time(*end) }),
                _ => None,
            };
            let answer = match block_on(keyring.verify(token.as_bytes())) {
                Ok(_) => None,
                Err(VerifyError::Inactive(state)) => Some(state),
                Err(error) => {
                    println!("{error}");
                    Some(KeyState::Disabled)
                }
            };
            found.cases += 1;
            found.wrong += u64::from(answer != expected);
        }
    }
    Ok(())
}

/// Checks two nodes of which each is ahead or behind. An expired key is accepted for at most the skew after
/// the true time, whichever node issued it. A suspension does not end earlier than the skew before its true
/// end.
fn skewed(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(2, "free", trust);
    for clock in &world.clocks {
        clock.set(START + random.sign() * SKEW);
    }
    let maker = random.below(2);
    let tenant = world.tenant(maker);
    let lives = *random.pick(&[MINUTE, 10 * MINUTE, DAY]);
    let end = START + lives;
    // The key may have expired already by the clock of the node that issues it.
    let request = NewKey::named("k").expires_at(time(end));
    let Ok(expiring) = block_on(tenant.issue(request)) else { return Ok(()) };
    let suspended = block_on(tenant.issue(NewKey::named("k")))?;
    let ban = Suspension::until(time(end), "a ban").expect("one line");
    block_on(world.nodes[maker].suspend_key(suspended.key.id(), ban))?;
    let rotated = block_on(tenant.issue(NewKey::named("k")))?;
    let grace_period = GracePeriod::For(Duration::from_millis(lives.unsigned_abs()));
    let version = rotated.key.version();
    drop(block_on(tenant.rotate(rotated.key.id(), version, grace_period))?);
    let grace_period_end = world.clocks[maker].time_of_day() + lives;
    let [expiring, suspended, rotated] =
        [expiring, suspended, rotated].map(|issued| issued.token.reveal());

    let mut true_time = START;
    while true_time < end + 3 * SKEW {
        let step = *random.pick(&[SECOND, MINUTE, SKEW, lives / 2]);
        world.pass(step);
        true_time += step;
        for keyring in &world.nodes {
            found.cases += 3;
            let is_accepted =
                |token: &str| u64::from(block_on(keyring.verify(token.as_bytes())).is_ok());
            if true_time >= end + SKEW {
                found.expired += is_accepted(&expiring);
            }
            if true_time < end - SKEW {
                found.expired += is_accepted(&suspended);
            }
            // The end was computed by the clock of the node that rotated, which is skewed too.
            if true_time >= grace_period_end + SKEW {
                found.expired += is_accepted(&rotated);
            }
        }
    }
    Ok(())
}

/// Checks that a revocation at one node takes effect at another one within the staleness bound, whatever
/// happens to that node's time of day.
fn revoked(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(2, "free", trust);
    let tenant = world.tenant(0);
    let issued = block_on(tenant.issue(NewKey::named("k")))?;
    let id = issued.key.id();
    let token = issued.token.reveal();
    let verify = || block_on(world.nodes[1].verify(token.as_bytes()));
    if verify().is_err() {
        found.wrong += 1;
    }
    world.pass(*random.pick(&[0, SECOND, BOUND / 2]));
    match random.below(4) {
        0 => block_on(tenant.delete(id))?,
        1 => drop(block_on(tenant.disable(id))?),
        2 => drop(block_on(tenant.rotate(id, issued.key.version(), GracePeriod::None))?),
        _ => {
            let ban = Suspension::permanent("a ban").expect("one line");
            drop(block_on(world.nodes[0].suspend_key(id, ban))?);
        }
    }
    let mut passed = 0;
    while passed < 3 * BOUND {
        let clock = &world.clocks[1];
        let jump = random.sign() * *random.pick(&JUMPS);
        // One of the jumps goes back to the time at which the key was read.
        clock.set(*random.pick(&[clock.time_of_day() + jump, START]));
        let step = *random.pick(&[0, SECOND, BOUND / 3]);
        world.pass(step);
        passed += step;
        let is_accepted = verify().is_ok();
        found.cases += 1;
        found.revoked += u64::from(is_accepted && passed >= BOUND);
    }
    Ok(())
}

/// Checks that a tenant has no more keys than its tier allows, whatever state clocks put them in.
fn quota(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(2, "free", trust);
    let tenants = [world.tenant(0), world.tenant(1)];
    let mut made: u32 = 0;
    for _ in 0..4 * KEYS {
        let node = random.below(2);
        let clock = &world.clocks[node];
        clock.set(START + random.sign() * *random.pick(&JUMPS));
        world.pass(*random.pick(&[0, SECOND, BOUND]));
        let end = clock.time_of_day() + *random.pick(&JUMPS);
        let request = NewKey::named("k").expires_at(time(end));
        match block_on(tenants[node].issue(request)) {
            Ok(_) => made += 1,
            Err(KeyringError::QuotaExceeded { .. }) => {}
            Err(error) => return Err(error),
        }
        found.cases += 1;
    }
    found.keys += u64::from(made.saturating_sub(KEYS));
    found.wrong += u64::from(made < KEYS);
    Ok(())
}

/// Checks that a key is never used more often than its rate allows, whatever happens to the time of day.
fn rate(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(1, "free", trust);
    let (keyring, clock) = (&world.nodes[0], &world.clocks[0]);
    let issued = block_on(world.tenant(0).issue(NewKey::named("k")))?;
    let token = issued.token.reveal();
    let mut admitted = 0;
    for _ in 0..10 {
        clock.set(START + random.sign() * *random.pick(&JUMPS));
        let caller = block_on(keyring.verify(token.as_bytes())).expect("it has no end");
        for _ in 0..2 * REQUESTS {
            let status = keyring.verifier().count_request(&caller);
            admitted += u32::from(status.is_some_and(|status| status.retry_after().is_none()));
            found.cases += 1;
        }
    }
    // No time has passed.
    found.requests += u64::from(admitted.saturating_sub(REQUESTS));
    found.wrong += u64::from(admitted < REQUESTS);
    Ok(())
}

/// Does everything once with a clock at either end of the range, or with an uptime that goes back, which no
/// clock may do. Such a call may be refused. It must not panic, and it must not admit a revoked key.
fn ends_of_time(random: &mut Random, trust: Trust, found: &mut Found) -> Outcome {
    let world = World::new(1, "large", trust);
    let (keyring, clock) = (&world.nodes[0], &world.clocks[0]);
    let tenant = world.tenant(0);
    let issued = block_on(tenant.issue(NewKey::named("k")))?;
    let (id, version) = (issued.key.id(), issued.key.version());
    let token = issued.token.reveal();
    let ends = [Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis(), 0, -1];
    clock.set(*random.pick(&ends));
    match random.below(3) {
        0 => clock.uptime.store(0, SeqCst),
        1 => clock.uptime.store(i64::MAX, SeqCst),
        _ => world.pass(-random.pick(&JUMPS)),
    }
    let _ = block_on(keyring.verify(token.as_bytes()));
    let _ = block_on(tenant.issue(NewKey::named("k")));
    let _ = block_on(tenant.rotate(id, version, GracePeriod::default()));
    let _ = block_on(tenant.rotate(id, version, GracePeriod::For(GracePeriod::MAX)));
    let record = block_on(tenant.find(id))?;
    let edit = KeyEdit::new().expires_at(time(START));
    let _ = block_on(tenant.edit(id, record.version(), edit));
    let _ = block_on(tenant.state(&record));
    let _ = block_on(keyring.flush_uses());
    if let Ok(caller) = block_on(keyring.verify(token.as_bytes())) {
        let _ = keyring.verifier().count_request(&caller);
    }
    block_on(tenant.delete(id))?;
    clock.set(*random.pick(&ends));
    found.cases += 1;
    found.revoked += u64::from(block_on(keyring.verify(token.as_bytes())).is_ok());
    Ok(())
}

/// Nodes that share a store, each with its own clock.
struct World {
    nodes: Vec<Keyring>,
    clocks: Vec<Node>,
}

impl World {
    fn new(nodes: usize, tier: &str, trust: Trust) -> Self {
        let store = AnyStore::new(MemoryStore::new());
        let clocks: Vec<Node> = (0..nodes).map(|_| Node::new(trust)).collect();
        let catalog = ScopeCatalog::new([ScopeDeclaration::new("read", "")]).expect("one scope");
        let many = JUMPS.len().try_into().unwrap_or(KEYS);
        let tiers = [
            Tier::new("free", KEYS).rate(Rate { requests: REQUESTS, per_seconds: 60 }),
            Tier::new("large", many).rate(Rate { requests: 1_000_000, per_seconds: 1 }),
        ];
        let policy = Policy::new("mm", catalog, tiers).expect("ascending tiers");
        let keyring = |(number, clock): (u64, &Node)| {
            Keyring::builder(policy.clone(), Pepper::from_bytes(&[7; 32]).expect("32 bytes"))
                .environment("live")
                .store(store.clone())
                .clock(clock.clone())
                .max_staleness(Duration::from_millis(BOUND.unsigned_abs()))
                .rng(InsecureSeededRng::new(number))
                .build()
                .expect("an environment and a store")
        };
        let nodes: Vec<Keyring> = (0..).zip(&clocks).map(keyring).collect();
        block_on(nodes[0].create_empty_tenant("acme", tier)).expect("the first tenant");
        Self { nodes, clocks }
    }

    fn tenant(&self, node: usize) -> TenantKeys {
        self.nodes[node].tenant("acme".parse().expect("an id"))
    }

    /// Lets this time pass on all nodes.
    fn pass(&self, time: i64) {
        for clock in &self.clocks {
            clock.now.fetch_add(time, SeqCst);
            clock.uptime.fetch_add(time, SeqCst);
        }
    }
}

#[derive(Clone)]
struct Node {
    now: Arc<AtomicI64>,
    uptime: Arc<AtomicI64>,
    latest: Arc<AtomicI64>,
    trust: Trust,
}

impl Node {
    fn new(trust: Trust) -> Self {
        let number = |number| Arc::new(AtomicI64::new(number));
        Self { now: number(START), uptime: number(7 * DAY), latest: number(START), trust }
    }

    fn set(&self, now: i64) {
        self.now.store(now, SeqCst);
    }

    fn time_of_day(&self) -> i64 {
        self.now.load(SeqCst)
    }
}

impl Clock for Node {
    fn moment(&self) -> Moment {
        let now = self.time_of_day();
        let latest = self.latest.fetch_max(now, SeqCst).max(now);
        let uptime = self.uptime.load(SeqCst);
        let (now, uptime) = match self.trust {
            Trust::Uptime => (now, uptime),
            Trust::TimeOfDay => (now, now),
            Trust::NeverBack => (latest, uptime),
            Trust::StandsStill => (START, uptime),
        };
        let uptime = u64::try_from(uptime).unwrap_or(0);
        Moment { now: Timestamp::saturating_from_millis(now), uptime }
    }
}

/// `SplitMix64` (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) >> 33).unwrap_or(0) % bound
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }

    fn sign(&mut self) -> i64 {
        *self.pick(&[-1, 1])
    }
}

fn time(millis: i64) -> Timestamp {
    Timestamp::saturating_from_millis(millis)
}
