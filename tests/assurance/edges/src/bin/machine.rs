//! Runs under a faked clock or a failing source of randomness: see
//! tests/assurance/rows/17-clocks-and-randomness.sh.
//!
//! - `machine clock FILE` sets its own time of day through FILE, which libfaketime reads, and counts results
//!   that contradict the standard library's clock.
//! - `machine mint KEYS` prints the tokens that it could mint with the system's randomness, and prints errors
//!   to stderr. `machine mint KEYS SEED` uses a source that returns the same bytes for the same seed.
//! - `machine check` reads tokens and counts the weak ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, BufRead},
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use keyway::{
    Keyring, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog, TenantKeys, Tier, Timestamp,
    keyring::KeyringBuilder,
    lowlevel::{InsecureSeededRng, TokenFormat},
    scope::ScopeDeclaration,
    store::AnyStore,
    time::{Clock, ManualClock, SystemClock},
};
use pollster::block_on;

/// The time of day is read again this often; see `SystemClock`.
const NOTICED_WITHIN: Duration = Duration::from_millis(150);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["clock", file] => clock(file),
        ["mint", keys] => mint(keys, None),
        ["mint", keys, seed] => mint(keys, Some(seed)),
        ["check"] => check(),
        _ => {
            eprintln!("machine clock FILE | mint KEYS [SEED] | check");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn clock(file: &str) {
    // Seconds, in both directions: 1 s to 10 years.
    let spans: [i64; 7] = [1, 60, 300, 3_600, 86_400, 31_557_600, 315_576_000];
    let set = |seconds: i64| {
        fs::write(file, format!("{seconds:+}")).expect("a file that can be written");
        thread::sleep(NOTICED_WITHIN);
    };
    set(0);
    let start = SystemClock.moment();
    let store = AnyStore::new(MemoryStore::new());
    let keyring = builder(&store).build().expect("an environment and a store");
    // The control: its clock stays at the time of the start.
    let frozen = builder(&store).clock(ManualClock::at(start.now)).build();
    let frozen = frozen.expect("an environment and a store");
    let tenant = tenant(&keyring);
    let at = |seconds: i64| {
        let millis = start.now.as_millis() + 1_000 * seconds;
        Timestamp::from_millis(millis).expect("within the years 1 to 9999")
    };
    // Each key ends halfway through a jump.
    let keys: Vec<(String, Timestamp)> = spans
        .iter()
        .map(|span| {
            let end = at(1_000 + span / 2);
            let issued = block_on(tenant.issue(NewKey::named("k").expires_at(end)));
            (issued.expect("a key").token.reveal().to_string(), end)
        })
        .collect();
    let (mut answers, mut refused, mut expired, mut planted, mut faked) = (0, 0, 0, 0, 0);
    for span in spans {
        for seconds in [span, -span, 1_000 + span, 1_000 - span] {
            set(seconds);
            let ours = SystemClock.moment().now;
            let theirs = time_of_day();
            let is_faked = theirs.as_millis().abs_diff(at(seconds).as_millis()) < 60_000;
            let agrees = theirs.as_millis().abs_diff(ours.as_millis()) < 2_000;
            faked += u64::from(is_faked && agrees);
            for (token, end) in &keys {
                let before = time_of_day();
                let is_accepted = block_on(keyring.verify(token.as_bytes())).is_ok();
                let after = time_of_day();
                answers += 1;
                // The key may have expired between `before` and `after`.
                refused += u64::from(!is_accepted && later(after) < *end);
                expired += u64::from(is_accepted && before >= later(*end));
                let is_accepted = block_on(frozen.verify(token.as_bytes())).is_ok();
                planted += u64::from(is_accepted && before >= later(*end));
            }
        }
    }
    let jumps = 4 * spans.len();
    println!("figure {faked} = {jumps} jumps of a process's time of day noticed within 0.15 s");
    println!(
        "figure {expired} = 0 of {answers} answers of that process accept what has ended by its time"
    );
    println!("figure {refused} = 0 of them refuse what has not");
    println!("control {planted} > 0 accept what has ended, by a clock that stands still");
}

/// Returns the time of day of the standard library, independent of the clock under test. libfaketime sets
/// both.
fn time_of_day() -> Timestamp {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    let millis = i64::try_from(since_1970.as_millis()).expect("a time before the year 9999");
    Timestamp::from_millis(millis).expect("within the years 1 to 9999")
}

/// Adds the time within which the clock under test must notice a change.
fn later(time: Timestamp) -> Timestamp {
    time.checked_add(NOTICED_WITHIN).expect("before the year 9999")
}

/// The keyring of a service whose tenant is `acme`.
fn builder(store: &AnyStore) -> KeyringBuilder {
    let catalog = ScopeCatalog::new([ScopeDeclaration::new("read", "")]).expect("one scope");
    let policy = Policy::new("mm", catalog, [Tier::new("free", u32::MAX)]).expect("a tier");
    Keyring::builder(policy, pepper()).environment("live").store(store.clone())
}

fn tenant(keyring: &Keyring) -> TenantKeys {
    block_on(keyring.create_empty_tenant("acme", "free")).expect("the first tenant");
    keyring.tenant("acme".parse().expect("an id"))
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).expect("32 bytes")
}

fn mint(keys: &str, seed: Option<&str>) {
    let mut builder = builder(&AnyStore::new(MemoryStore::new()));
    if let Some(seed) = seed {
        builder = builder.rng(InsecureSeededRng::new(seed.parse().expect("a number")));
    }
    let keyring = builder.build().expect("an environment and a store");
    let tenant = tenant(&keyring);
    for _ in 0..keys.parse().expect("a number of keys") {
        match block_on(tenant.issue(NewKey::named("k"))) {
            Ok(issued) => println!("{}", *issued.token.reveal()),
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                eprintln!("{text}");
            }
        }
    }
}

/// Counts ids that occur twice, and runs of twelve characters that two secrets share or one secret has twice.
/// By chance there is none in millions of keys.
fn check() {
    let format = TokenFormat::new("mm", "live", &pepper().into()).expect("labels");
    let (mut ids, mut stretches) = (BTreeMap::new(), BTreeSet::new());
    let (mut tokens, mut weak) = (0, 0);
    for line in io::stdin().lock().lines() {
        let token = line.expect("text");
        let claim = format.check(token.as_bytes()).expect("a token of ours");
        tokens += 1;
        let is_repeated = ids.insert(claim.id(), tokens).is_some();
        let secret = &token.as_bytes()[token.len() - 40..token.len() - 8];
        let new = secret.windows(12).filter(|part| stretches.insert(part.to_vec())).count();
        weak += u64::from(is_repeated || new < secret.len() - 11);
    }
    println!("{weak} {tokens}");
}
