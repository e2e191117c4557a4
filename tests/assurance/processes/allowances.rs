//! A tenant never uses more units than its allowance, however many processes serve it at once, and loses at most the slices
//! of those that are killed.

use keyway::{
    Keyring, NewKey, Pepper, Policy, PostgresStore, ScopeCatalog, SqliteStore, TenantId, Tier,
    Timestamp, VerifyError,
    allowance::{Allowance, WhenAway, Window},
    store::{AnyEventStore, Leased, LimitStore, StoreError, UsedWindow},
};
use tokio::{runtime::Runtime, time::sleep};

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    Random,
    databases::{Database, Folder},
    runtime,
    support::figures::{caught, none, scale},
    support::{forwarder::Forwarder, server},
    workers::{Worker, say, told},
};

const SPENDERS: usize = 8;
const UNITS: u64 = 1_600;
/// The most units that a request takes.
const HEAVIEST: u64 = 3;
/// The most units that a process can lose when it is killed: the slice that it holds, one whose lease is under way, and a
/// request that it has admitted and not reported.
const LOST: u64 = UNITS / 64 * 2 + HEAVIEST;

#[test]
fn hold_on_sqlite_when_processes_are_killed() {
    hold(&Folder::new().database("keys.db"));
}

#[test]
fn hold_on_postgres_when_processes_are_killed() {
    hold(&Database::on(server::shared()));
}

fn hold(database: &Database) {
    let mut race = Race::new(database, "");
    let mut random = Random(11);
    let rounds = scale(4, 100);
    let (mut above, mut below, mut kills, mut lost) = (0, 0, 0, 0);
    for round in 0..rounds {
        // The first round kills nobody, so that all units are used.
        let (admitted, killed) = race.run(round, if round == 0 { 0 } else { 3 }, &mut random);
        above += usize::from(admitted > UNITS);
        below += usize::from(admitted + killed * LOST < UNITS);
        kills += killed;
        lost += UNITS.saturating_sub(admitted);
    }
    let name = database.name();
    println!("allowances under kills on {name}: {lost} units lost by {kills} processes");
    none(
        above,
        &format!(
            "of {rounds} allowances of {UNITS} units on {name} were exceeded by {SPENDERS} processes, {kills} of them killed"
        ),
    );
    none(
        below,
        &format!(
            "of {rounds} allowances on {name} lost more than {LOST} units for each of {kills} processes killed"
        ),
    );
    assert_eq!((above, below), (0, 0));
}

#[test]
fn hold_on_postgres_while_the_store_is_away() {
    /// How often the store is away in a round.
    const TIMES: u64 = 3;

    let server = server::shared();
    let (database, way) = (Database::on(server), Forwarder::to(server.port()));
    let mut race = Race::through(&database, &database.through(way.port()), "");
    let mut random = Random(12);
    let rounds = scale(3, 100);
    let (mut above, mut below, mut refused) = (0, 0, 0);
    for round in 0..rounds {
        race.begin(round);
        for _ in 0..TIMES {
            std::thread::sleep(random.millis(0, 8));
            way.hold_up(true);
            way.cut();
            std::thread::sleep(random.millis(20, 60));
            way.hold_up(false);
        }
        let (admitted, away) = race.finish();
        above += usize::from(admitted > UNITS);
        // Each process loses the slice that was on its way when the connection was cut.
        below += usize::from(admitted + TIMES * SPENDERS as u64 * LOST < UNITS);
        refused += away;
    }
    println!("allowances while the store is away: {refused} requests refused for that");
    none(
        above,
        &format!(
            "of {rounds} allowances of {UNITS} units were exceeded by {SPENDERS} processes whose store was away {TIMES} times"
        ),
    );
    none(
        below,
        &format!(
            "of {rounds} allowances lost more than the slices on their way to a store that was away"
        ),
    );
    assert_eq!((above, below), (0, 0));
    assert!(refused > 0, "the store was not away");
}

#[test]
fn a_store_that_reads_and_then_writes_is_caught() {
    let folder = Folder::new();
    let mut race = Race::new(&folder.database("keys.db"), READS_FIRST);
    let (mut rounds, mut most) = (0, 0);
    while most <= UNITS {
        (most, _) = race.run(rounds, 0, &mut Random(1));
        rounds += 1;
        assert!(rounds < 100);
    }
    let more = usize::try_from(most - UNITS).unwrap();
    caught(
        more,
        &format!(
            "units above an allowance of {UNITS} in round {rounds} when the store reads and then writes"
        ),
    );
}

/// Processes that serve one tenant at once, and the test's view of the result.
struct Race {
    runtime: Runtime,
    keyring: Keyring,
    /// The database of the other processes.
    database: Database,
    fault: &'static str,
    spenders: Vec<Worker>,
    token: String,
}

impl Race {
    fn new(database: &Database, fault: &'static str) -> Self {
        Self::through(database, database, fault)
    }

    /// Like [`new`](Self::new), for processes that reach the database in another way.
    fn through(database: &Database, way: &Database, fault: &'static str) -> Self {
        let runtime = runtime();
        let keyring = runtime.block_on(async {
            let store = database.open(None).await;
            keyring(&store, Limits::open(database, "").await)
        });
        let (database, token) = (way.clone(), String::new());
        let mut race = Self { runtime, keyring, database, fault, spenders: Vec::new(), token };
        race.spenders = (0..SPENDERS).map(|_| race.start()).collect();
        race
    }

    fn start(&self) -> Worker {
        let worker = Worker::start("spender", &self.database, None, &[self.fault]);
        assert_eq!(worker.hear().as_deref(), Some("ready"));
        assert_eq!(worker.hear().as_deref(), Some(OPEN));
        worker
    }

    /// Lets all processes use the allowance of a new tenant up, and kills some of them meanwhile. Returns the units that
    /// were admitted, and the number of processes that were killed.
    fn run(&mut self, round: usize, kills: usize, random: &mut Random) -> (u64, u64) {
        let mut fresh: Vec<Worker> = (0..kills).map(|_| self.start()).collect();
        self.begin(round);
        let mut admitted = 0;
        for _ in 0..kills {
            std::thread::sleep(random.millis(0, 10));
            let victim = usize::try_from(random.below(SPENDERS as u64)).unwrap();
            let mut next = fresh.pop().unwrap();
            next.tell(&self.token);
            let killed = std::mem::replace(&mut self.spenders[victim], next);
            admitted += sum(&killed.kill());
        }
        (admitted + self.finish().0, kills as u64)
    }

    /// Lets all processes begin to use the allowance of a new tenant up.
    fn begin(&mut self, round: usize) {
        let request = NewKey::named("spent");
        let id = format!("t{round}");
        let created = self.keyring.create_tenant_with(&id, "free", request);
        let (_, issued) = self.runtime.block_on(created).unwrap();
        self.token = issued.token.reveal().to_string();
        for spender in &mut self.spenders {
            spender.tell(&self.token);
        }
    }

    /// Waits until the allowance is used up. Returns the units that were admitted, and the number of requests that were
    /// refused because the store was away.
    fn finish(&self) -> (u64, u64) {
        let said: Vec<String> =
            self.spenders.iter().flat_map(|spender| spender.hear_until("done")).collect();
        let mut admitted = sum(&said);
        let away = said.iter().filter(|line| *line == AWAY).count() as u64;
        // Everybody has returned what it held. The rest is used here.
        let caller = self.runtime.block_on(self.keyring.verify(&self.token)).unwrap();
        let verifier = self.keyring.verifier();
        self.runtime.block_on(async {
            while verifier.reserve(&caller, 1).await.is_ok() {
                admitted += 1;
            }
            self.keyring.flush_uses().await.unwrap();
        });
        (admitted, away)
    }
}

/// The line of a process that has opened its store of limits.
const OPEN: &str = "open";

/// The line of a process that refuses a request because the store is away.
const AWAY: &str = "away";

fn sum(lines: &[String]) -> u64 {
    lines.iter().filter_map(|line| line.parse::<u64>().ok()).sum()
}

/// Uses the allowance of the tenant of each token up, and reports each request that was admitted.
pub async fn spender(store: &AnyEventStore, database: &Database, arguments: &[&str]) {
    let [fault] = arguments else { panic!("{arguments:?}") };
    let keyring = keyring(store, Limits::open(database, fault).await);
    say(OPEN);
    for token in told() {
        let caller = loop {
            match keyring.verify(&token).await {
                Ok(caller) => break caller,
                Err(error) if error.is_unavailable() => sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error:?}"),
            }
        };
        let verifier = keyring.verifier();
        for turn in 0.. {
            let units = 1 + turn % HEAVIEST;
            match verifier.reserve(&caller, units).await {
                Ok(reservation) if turn % 5 == 0 => reservation.refund(),
                Ok(_) => say(&units.to_string()),
                Err(VerifyError::UsedUp { .. }) => break,
                Err(VerifyError::Unavailable(_)) => {
                    say(AWAY);
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        while keyring.flush_uses().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        say("done");
    }
}

fn keyring(store: &AnyEventStore, limits: Limits) -> Keyring {
    let catalog = ScopeCatalog::new([]).unwrap();
    // One window holds all rounds.
    let tier = Tier::new("free", 1).allowance(Allowance::per_seconds(UNITS, u32::MAX));
    let policy = Policy::new("mm", catalog, [tier]).unwrap();
    Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
        .environment("live")
        .store(store.clone())
        .shared_limits(limits, WhenAway::Refuse)
        .build()
        .unwrap()
}

/// The name of the fault of a store that reads what is used, and then writes the sum.
const READS_FIRST: &str = "ReadsFirst";

/// The store of limits in a database, with at most one fault.
struct Limits {
    place: Place,
    reads_first: bool,
}

enum Place {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Limits {
    async fn open(database: &Database, fault: &str) -> Self {
        let place = match database {
            Database::Sqlite { path, .. } => {
                Place::Sqlite(SqliteStore::builder(path).open().await.unwrap())
            }
            Database::Postgres { url, schema, .. } => {
                let builder = PostgresStore::builder().schema(schema).max_connections(3);
                Place::Postgres(builder.connect(url).await.unwrap())
            }
        };
        Self { place, reads_first: fault == READS_FIRST }
    }
}

/// Calls a method of the store in the database.
macro_rules! forward {
    ($limits:expr, $method:ident($($argument:expr),*)) => {
        match &$limits.place {
            Place::Sqlite(store) => store.$method($($argument),*).await,
            Place::Postgres(store) => store.$method($($argument),*).await,
        }
    };
}

impl LimitStore for Limits {
    async fn lease_units(
        &self,
        tenant: &TenantId,
        window: Window,
        want: u64,
        limit: u64,
    ) -> Result<Leased, StoreError> {
        if self.reads_first {
            let used = self.used_units(tenant, &[window]).await?[0];
            let granted = want.min(limit.saturating_sub(used));
            return forward!(self, lease_units(tenant, window, granted, u64::MAX));
        }
        forward!(self, lease_units(tenant, window, want, limit))
    }

    async fn return_units(
        &self,
        tenant: &TenantId,
        window: Window,
        units: u64,
    ) -> Result<(), StoreError> {
        forward!(self, return_units(tenant, window, units))
    }

    async fn used_units(
        &self,
        tenant: &TenantId,
        windows: &[Window],
    ) -> Result<Vec<u64>, StoreError> {
        forward!(self, used_units(tenant, windows))
    }

    async fn purge_windows(&self, ended: Timestamp) -> Result<u64, StoreError> {
        forward!(self, purge_windows(ended))
    }

    async fn delete_windows(&self, tenant: &TenantId) -> Result<(), StoreError> {
        forward!(self, delete_windows(tenant))
    }

    async fn used_windows(
        &self,
        ended: Timestamp,
        after: Option<&UsedWindow>,
        limit: NonZeroUsize,
    ) -> Result<Vec<UsedWindow>, StoreError> {
        forward!(self, used_windows(ended, after, limit))
    }
}
