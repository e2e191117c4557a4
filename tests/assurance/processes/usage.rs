//! The usage that was acknowledged outlasts kills, and nothing is counted twice when the response of a flush is lost.
//!
//! A worker presents its key, says `try TOTAL`, flushes, and says `ok TOTAL`. The total is the number of requests since its
//! start. A flush that fails is repeated until it succeeds. So a key whose worker was killed has the last total that was
//! acknowledged, or the last one that was tried.

use std::{num::NonZeroUsize, sync::Arc, thread::sleep, time::Duration};

use keyway::{
    KeyId, Keyring, PostgresStore, SqliteStore, TenantId,
    keyring::KeyringBuilder,
    store::{AnyEventStore, StoreError, UsageStore},
    usage::{Day, DayUsage, KeyUsage, Period, Span, UsageFlush},
};
use tokio::sync::Mutex;

use crate::{
    Random,
    databases::{self, Database, Folder},
    runtime,
    support::figures::{caught, figure, none, scale},
    support::{forwarder::Forwarder, server},
    syscalls,
    workers::{Worker, say},
};

/// The largest number of requests between two flushes.
const MOST: u64 = 40;

/// The number of flushes of a worker that is killed at a system call.
const FLUSHES: &str = "6";

#[test]
fn counts_outlast_kills_on_sqlite() {
    outlast_kills(&Folder::new().database("keys.db"));
}

#[test]
fn counts_outlast_kills_on_postgres() {
    outlast_kills(&Database::on(server::shared()));
}

fn outlast_kills(database: &Database) {
    let kills = scale(6, 300);
    let Outcome { wrong, acknowledged } = kill_counters(database, "", kills);
    let name = database.name();
    none(
        wrong,
        &format!(
            "keys with a wrong count of {acknowledged} counted requests in {kills} kills of processes on {name}"
        ),
    );
    assert_eq!(wrong, 0);
}

#[test]
fn counts_of_a_store_that_writes_behind_are_caught() {
    let folder = Folder::new();
    for attempt in 0..10 {
        let database = folder.database(&format!("keys-{attempt}.db"));
        let Outcome { wrong, .. } = kill_counters(&database, "behind", 3);
        if wrong > 0 {
            caught(wrong, "keys with a wrong count when the usage is written behind");
            return;
        }
    }
    panic!("acknowledgements before the write were not noticed");
}

#[test]
fn counts_outlast_kills_at_any_system_call() {
    if !syscalls::has_strace() {
        return;
    }
    let folder = Folder::new();
    let arguments = ["u", "", FLUSHES];
    let points = syscalls::points(&folder, "counter", &arguments);
    let wanted = scale(15, points.len());
    let (mut killed, mut wrong, mut acknowledged) = (0, 0, 0);
    for number in 0..wanted {
        let point = &points[number * points.len() / wanted];
        let run = syscalls::run_to(&folder, point, "counter", None, &arguments);
        let found = check(&run.database, "u", &run.said);
        killed += usize::from(run.was_killed);
        wrong += usize::from(found.is_wrong);
        acknowledged += found.acknowledged;
    }
    assert!(killed * 10 >= wanted * 9, "{killed} of {wanted}");
    none(
        wrong,
        &format!(
            "times that a count was wrong, of {acknowledged} requests, in {killed} kills, each at another system call"
        ),
    );
    figure(killed, ">=", scale(12, 150), "system calls at which a counting process was killed");
    assert_eq!(wrong, 0);
}

#[test]
fn counts_are_exact_where_connections_are_cut() {
    let Cut { wrong, acknowledged, failed } = cut_connections("", scale(40, 2_000));
    none(
        wrong,
        &format!(
            "keys with a wrong count of {acknowledged} requests, with {failed} flushes whose connection was cut"
        ),
    );
    figure(failed, ">", 0, "flushes that failed since their connection was cut");
    assert_eq!(wrong, 0);
}

#[test]
fn counts_of_a_node_that_forgets_its_flush_are_caught() {
    let found = (0..10).map(|_| cut_connections("forgets", 20)).find(|found| found.wrong > 0);
    caught(
        found.expect("a flush that is counted twice was not noticed").wrong,
        "keys with a wrong count when a repeated flush has a new number",
    );
}

struct Outcome {
    wrong: usize,
    acknowledged: u64,
}

/// Kills one counting process after another at random times.
fn kill_counters(database: &Database, fault: &str, kills: usize) -> Outcome {
    let mut random = Random(5);
    let mut outcome = Outcome { wrong: 0, acknowledged: 0 };
    for number in 0..kills {
        let tenant = format!("u{number}");
        let worker = Worker::start("counter", database, None, &[&tenant, fault, ""]);
        assert_eq!(worker.hear().as_deref(), Some("ready"));
        sleep(random.millis(20, 150));
        let found = check(database, &tenant, &worker.kill());
        outcome.wrong += usize::from(found.is_wrong);
        outcome.acknowledged += found.acknowledged;
    }
    outcome
}

struct Cut {
    wrong: usize,
    acknowledged: u64,
    /// How many flushes were tried again.
    failed: usize,
}

/// Cuts the connections of a counting process to PostgreSQL at random times. Responses are on their way for some milliseconds,
/// so the process often does not know that a flush was committed.
fn cut_connections(fault: &str, cuts: usize) -> Cut {
    let server = server::shared();
    let way = Forwarder::slow_to(server.port());
    way.delay(Duration::from_millis(3));
    let database = Database::on(server);
    let mut random = Random(6);
    let worker = Worker::start("counter", &database.through(way.port()), None, &["u", fault, ""]);
    let mut said = worker.hear_until("key u");
    for _ in 0..cuts {
        said.extend(worker.hear_for(random.millis(10, 80)));
        way.cut();
    }
    // The last flush succeeds before the worker ends.
    said.extend(worker.finish());
    let failed = said.iter().filter(|line| *line == "again").count();
    assert!(said.last().is_some_and(|line| line.starts_with("ok ")), "{:?}", said.last());
    let found = check(&database, "u", &said);
    Cut { wrong: usize::from(found.is_wrong), acknowledged: found.acknowledged, failed }
}

pub struct Found {
    pub is_wrong: bool,
    acknowledged: u64,
}

/// Compares the stored counts of a tenant with what its worker has said.
pub fn check(database: &Database, tenant: &str, said: &[String]) -> Found {
    let last = |word: &str| {
        let mut totals =
            said.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
        totals.next_back().unwrap_or(0_u64)
    };
    let (tried, acknowledged) = (last("try "), last("ok "));
    let stored = || {
        runtime().block_on(async {
            let keyring = keyring(database, &database.open(None).await, "").await;
            let usage = keyring.usage().unwrap();
            let today = usage.today();
            let span = Span::days(today.plus(-2), today.plus(2));
            let rows = usage.of_tenant(&tenant.parse().unwrap(), span).await.unwrap();
            rows.iter().map(|row| row.counts.admitted).sum::<u64>()
        })
    };
    let is_wrong = |total| total != acknowledged && total != tried;
    let mut total = stored();
    if is_wrong(total) {
        // A server that has not noticed yet that its client is gone may still run the last statement.
        sleep(Duration::from_millis(500));
        total = stored();
    }
    if is_wrong(total) {
        println!("{tenant}: {acknowledged} requests acknowledged, {tried} tried, {total} stored");
    }
    Found { is_wrong: is_wrong(total), acknowledged }
}

/// Builds a keyring that counts usage in its database.
async fn keyring(database: &Database, store: &AnyEventStore, fault: &str) -> Keyring {
    fn with(builder: KeyringBuilder, store: impl UsageStore, fault: &str) -> Keyring {
        match fault {
            "" => builder.usage(store),
            _ => builder.usage(Faulty {
                store: Arc::new(store),
                is_behind: fault == "behind",
                node: Mutex::default(),
            }),
        }
        .build()
        .unwrap()
    }
    let builder = databases::builder(store);
    match database {
        Database::Sqlite { path, .. } => {
            with(builder, SqliteStore::open(path).await.unwrap(), fault)
        }
        Database::Postgres { url, schema, .. } => {
            let connecting = PostgresStore::builder().schema(schema).max_connections(2);
            with(builder, connecting.connect(url).await.unwrap(), fault)
        }
    }
}

/// Runs as a worker: counts requests, and flushes until its input ends, or as often as an argument says.
pub async fn counter(store: &AnyEventStore, database: &Database, arguments: &[&str]) {
    let [tenant, fault, flushes] = arguments else { panic!("{arguments:?}") };
    let keyring = keyring(database, store, fault).await;
    let (_, issued) = keyring.create_tenant(tenant, "lite").await.unwrap();
    let token = issued.token.reveal();
    say(&format!("key {tenant}"));
    let (mut random, mut total) = (Random(7), 0);
    let mut left: usize = flushes.parse().unwrap_or(usize::MAX);
    let ended = std::thread::spawn(|| crate::workers::told().for_each(drop));
    while left > 0 && (flushes.parse::<usize>().is_ok() || !ended.is_finished()) {
        left -= 1;
        for _ in 0..=random.below(MOST) {
            // The store may be away, while the key is read again.
            total += u64::from(keyring.verify(&*token).await.is_ok());
        }
        say(&format!("try {total}"));
        while keyring.verifier().flush_usage().await.is_err() {
            say("again");
        }
        say(&format!("ok {total}"));
    }
    if flushes.parse::<usize>().is_ok() {
        say("end");
    }
}

/// A store of usage with a planted fault.
struct Faulty<S> {
    store: Arc<S>,
    /// Whether it acknowledges a flush, and writes it a moment later. Otherwise each attempt of a flush looks like a new one.
    is_behind: bool,
    node: Mutex<u128>,
}

impl<S: UsageStore> UsageStore for Faulty<S> {
    async fn add_usage(&self, flush: &UsageFlush) -> Result<(), StoreError> {
        if self.is_behind {
            let (store, flush) = (Arc::clone(&self.store), flush.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = store.add_usage(&flush).await;
            });
            return Ok(());
        }
        let mut node = self.node.lock().await;
        *node += 1;
        self.store.add_usage(&UsageFlush { node: *node, ..flush.clone() }).await
    }

    async fn key_usage(
        &self,
        tenant: &TenantId,
        keys: &[KeyId],
        span: Span,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.store.key_usage(tenant, keys, span).await
    }

    async fn tenant_usage(
        &self,
        tenant: &TenantId,
        span: Span,
    ) -> Result<Vec<DayUsage>, StoreError> {
        self.store.tenant_usage(tenant, span).await
    }

    async fn roll_up_usage(&self, days: Day, months: Day) -> Result<u64, StoreError> {
        self.store.roll_up_usage(days, months).await
    }

    async fn delete_usage(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.store.delete_usage(tenant).await
    }

    async fn usage_rows(
        &self,
        period: Period,
        after: Option<&KeyUsage>,
        limit: NonZeroUsize,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        self.store.usage_rows(period, after, limit).await
    }

    async fn raise_usage(&self, period: Period, rows: &[KeyUsage]) -> Result<(), StoreError> {
        self.store.raise_usage(period, rows).await
    }
}
