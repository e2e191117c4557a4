//! A tenant never has more keys than its tier allows, however many processes issue at once.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use keyway::{
    KeyId, Keyring, KeyringError, NewKey, TenantId, TenantKeys,
    record::Exceptions,
    store::{AnyEventStore, KeyQuery},
};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    Random,
    databases::{Database, Folder, keyring},
    faults::Fault,
    runtime,
    support::figures::{caught, none, scale},
    support::server::{self, Server},
    workers::{Worker, now, say, told},
};

const ISSUERS: usize = 8;
const QUOTA: usize = 5;

#[test]
fn is_exact_on_sqlite() {
    is_exact(&Folder::new().database("keys.db"), "SQLite");
}

#[test]
fn is_exact_on_postgres() {
    let server = server::shared();
    is_exact(&Database::on(server), "PostgreSQL");
}

#[test]
fn is_exact_on_postgres_whatever_its_default_isolation() {
    let server = Server::start(&["default_transaction_isolation=repeatable read"]);
    for level in ["repeatable read", "serializable"] {
        server.set("default_transaction_isolation", level);
        is_exact(&Database::on(&server), &format!("PostgreSQL with {level}"));
    }
}

fn is_exact(database: &Database, name: &str) {
    let mut race = Race::new(database, None);
    let (rounds, mut inexact) = (scale(10, 200), 0);
    for round in 0..rounds {
        let tenant = race.tenant(&format!("t{round}"));
        let acknowledged = race.issue_at_once(&tenant);
        let held = race.held(&tenant);
        if acknowledged.len() != QUOTA || held != ids(&acknowledged) {
            println!("{acknowledged:?} and {held:?}");
            inexact += 1;
        }
    }
    none(
        inexact,
        &format!(
            "of {rounds} races of {ISSUERS} processes for {QUOTA} keys on {name} ended with more or fewer"
        ),
    );
    assert_eq!(inexact, 0);
}

#[test]
fn a_store_that_counts_beforehand_is_caught() {
    let folder = Folder::new();
    let mut race = Race::new(&folder.database("keys.db"), Some(Fault::CountsBeforehand));
    // Most rounds exceed the quota. The loop ends after one that does.
    let (mut rounds, mut most) = (0, 0);
    while most <= QUOTA {
        let tenant = race.tenant(&format!("t{rounds}"));
        race.issue_at_once(&tenant);
        most = race.held(&tenant).len();
        rounds += 1;
        assert!(rounds < 100);
    }
    caught(
        most - QUOTA,
        &format!(
            "keys above the quota of {QUOTA} in race {rounds} when the store counts beforehand"
        ),
    );
}

#[test]
fn holds_on_sqlite_when_processes_are_killed() {
    holds_under_kills(&Folder::new().database("keys.db"));
}

#[test]
fn holds_on_postgres_when_processes_are_killed() {
    let server = server::shared();
    holds_under_kills(&Database::on(server));
}

fn holds_under_kills(database: &Database) {
    let mut race = Race::new(database, None);
    let mut random = Random(1);
    let (rounds, mut kills, mut unacknowledged) = (scale(5, 200), 0, 0);
    let mut inexact = 0;
    for round in 0..rounds {
        let tenant = race.tenant(&format!("t{round}"));
        race.begin("fill", &tenant);
        let mut acknowledged = BTreeSet::new();
        for _ in 0..3 {
            std::thread::sleep(random.millis(0, 6));
            let victim = usize::try_from(random.below(ISSUERS as u64)).unwrap();
            let fresh = race.start();
            let killed = std::mem::replace(&mut race.issuers[victim], fresh);
            acknowledged.extend(ids(&only("issued", &killed.kill())));
            race.issuers[victim].tell(&format!("fill {}", tenant.id()));
            kills += 1;
        }
        acknowledged.extend(ids(&only("issued", &race.hear())));
        let held = race.held(&tenant);
        assert!(held.is_superset(&acknowledged), "{acknowledged:?} of {held:?}");
        unacknowledged += held.difference(&acknowledged).count();
        // An unfinished operation of a killed process does not use up the quota.
        race.top_up(&tenant);
        inexact += usize::from(held.len() > QUOTA || race.held(&tenant).len() != QUOTA);
    }
    println!("quota under kills: {unacknowledged} keys issued and not acknowledged");
    none(
        inexact,
        &format!(
            "of {rounds} races on {} with {kills} processes killed ended with other than {QUOTA} keys",
            database.name()
        ),
    );
    assert_eq!(inexact, 0);
}

#[test]
fn follows_the_tier_on_sqlite() {
    follows(&Folder::new().database("keys.db"), Limit::Tier);
}

#[test]
fn follows_the_tier_on_postgres() {
    let server = server::shared();
    follows(&Database::on(server), Limit::Tier);
}

#[test]
fn follows_exceptions_on_sqlite() {
    follows(&Folder::new().database("keys.db"), Limit::Exceptions);
}

#[test]
fn follows_exceptions_on_postgres() {
    let server = server::shared();
    follows(&Database::on(server), Limit::Exceptions);
}

/// The source of a quota that another process changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// The tenant moves between the tiers.
    Tier,
    /// The tenant stays on the higher tier, and has an exception from time to time.
    Exceptions,
}

/// Keys are issued and deleted while another process changes the quota of the tenant between 1 key and 5.
fn follows(database: &Database, limit: Limit) {
    let (order, changing) = match limit {
        Limit::Tier => ("move", "moves change the tier"),
        Limit::Exceptions => ("except", "exceptions change the number"),
    };
    let mut race = Race::new(database, None);
    let mut mover = Worker::start("mover", database, None, &[]);
    assert_eq!(mover.hear().as_deref(), Some("ready"));
    let (mut rounds, mut total, mut changes, mut on_lite, mut above) = (0, 0, 0, 0, 0);
    while rounds < scale(5, 100) || on_lite == 0 {
        let tenant = race.tenant(&format!("t{rounds}"));
        mover.tell(&format!("{order} {}", tenant.id()));
        race.begin("turn over", &tenant);
        let lines = race.hear();
        let tiers: Vec<Event> = events(&mover.hear_until("done"));
        let added = only("issued", &lines);
        let deleted = only("deleted", &lines);
        let held = race.held(&tenant);
        let is_deleted = |id: &String| deleted.iter().any(|event| event.what == *id);
        assert_eq!(held, ids(&added).into_iter().filter(|id| !is_deleted(id)).collect());

        for one in &added {
            // The keys that certainly existed when this one was acknowledged.
            let there = added.iter().filter(|other| {
                let mut deletions = deleted.iter().filter(|event| event.what == other.what);
                other.ended <= one.ended && deletions.all(|event| event.began > one.ended)
            });
            let mut overshoots = there.count() > QUOTA;
            // The other keys that certainly existed when this one was added.
            let others = added.iter().filter(|other| {
                let mut deletions = deleted.iter().filter(|event| event.what == other.what);
                other.ended < one.began && deletions.all(|event| event.began > one.ended)
            });
            let is_lite = tiers.windows(2).any(|pair| {
                pair[0].what == "lite" && pair[0].ended < one.began && one.ended < pair[1].began
            });
            let quota = if is_lite { 1 } else { QUOTA };
            overshoots |= others.count() >= quota;
            if overshoots {
                println!("{one:?} of {added:?} with {deleted:?} on {tiers:?}");
            }
            above += usize::from(overshoots);
            on_lite += usize::from(is_lite);
        }
        total += added.len();
        changes += tiers.len();
        rounds += 1;
        assert!(rounds < 1_000);

        // The last change is to the lower quota. After it no key above that can be issued.
        let more = race.issue_at_once(&tenant);
        assert_eq!(more.len(), usize::from(held.is_empty()));
    }
    println!(
        "quota while {changing}: {rounds} rounds, {on_lite} keys under the lower one for certain"
    );
    none(
        above,
        &format!(
            "of {total} keys on {} above the quota of the time, while {changes} {changing}",
            database.name()
        ),
    );
    assert_eq!(above, 0);
}

/// Processes that issue at once, and the test's view of the result.
struct Race {
    runtime: Runtime,
    keyring: Keyring,
    database: Database,
    fault: Option<Fault>,
    issuers: Vec<Worker>,
}

impl Race {
    fn new(database: &Database, fault: Option<Fault>) -> Self {
        let runtime = runtime();
        let store = runtime.block_on(database.open(None));
        let database = database.clone();
        let keyring = keyring(&store);
        let mut race = Self { runtime, keyring, database, fault, issuers: Vec::new() };
        race.issuers = (0..ISSUERS).map(|_| race.start()).collect();
        for issuer in &race.issuers {
            assert_eq!(issuer.hear().as_deref(), Some("ready"));
        }
        race
    }

    fn start(&self) -> Worker {
        Worker::start("issuer", &self.database, self.fault, &[])
    }

    fn tenant(&self, id: &str) -> TenantKeys {
        self.runtime.block_on(self.keyring.create_empty_tenant(id, "advanced")).unwrap()
    }

    fn begin(&mut self, what: &str, tenant: &TenantKeys) {
        for issuer in &mut self.issuers {
            issuer.tell(&format!("{what} {}", tenant.id()));
        }
    }

    /// Returns the output of all processes until they are done.
    fn hear(&self) -> Vec<String> {
        self.issuers.iter().flat_map(|issuer| issuer.hear_until("done")).collect()
    }

    /// Lets all processes issue as many keys as they can. Returns the acknowledged ones.
    fn issue_at_once(&mut self, tenant: &TenantKeys) -> Vec<Event> {
        self.begin("fill", tenant);
        only("issued", &self.hear())
    }

    fn held(&self, tenant: &TenantKeys) -> BTreeSet<String> {
        let held = self.runtime.block_on(tenant.list(&KeyQuery::all())).unwrap();
        held.items.iter().map(|key| key.id().to_string()).collect()
    }

    fn top_up(&self, tenant: &TenantKeys) {
        let fill = async { while tenant.issue(NewKey::named("more")).await.is_ok() {} };
        self.runtime.block_on(fill);
    }
}

/// An acknowledged operation.
#[derive(Debug)]
struct Event {
    kind: String,
    /// A key or a tier.
    what: String,
    began: u128,
    ended: u128,
}

impl Event {
    fn say(kind: &str, what: impl Display, began: u128) {
        say(&format!("{kind} {what} {began} {}", now()));
    }

    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, what, began, ended] = words[..] else { panic!("{line}") };
        let time = |text: &str| text.parse().unwrap();
        Self { kind: kind.into(), what: what.into(), began: time(began), ended: time(ended) }
    }
}

fn events(lines: &[String]) -> Vec<Event> {
    let lines = lines.iter().filter(|line| !["ready", "done"].contains(&line.as_str()));
    lines.map(|line| Event::parse(line)).collect()
}

fn only(kind: &str, lines: &[String]) -> Vec<Event> {
    events(lines).into_iter().filter(|event| event.kind == kind).collect()
}

fn ids(issued: &[Event]) -> BTreeSet<String> {
    issued.iter().map(|issue| issue.what.clone()).collect()
}

/// Issues keys of the tenant in each command: as many as the quota allows, or some that it deletes again.
pub async fn issuer(store: &AnyEventStore) {
    const ATTEMPTS: usize = 12;
    let keyring = keyring(store);
    for line in told() {
        let (what, tenant) = line.rsplit_once(' ').unwrap();
        let keys = keyring.tenant(tenant.parse().unwrap());
        if what == "fill" {
            while issue(&keys).await.is_some() {}
        } else {
            for attempt in 0..ATTEMPTS {
                let issued = issue(&keys).await;
                sleep(Duration::from_millis(1)).await;
                if let Some(id) = issued.filter(|_| attempt + 1 < ATTEMPTS) {
                    let began = now();
                    keys.delete(id).await.unwrap();
                    Event::say("deleted", id, began);
                }
            }
        }
        say("done");
    }
}

/// Issues a key. `None` if the tenant has as many keys as its tier allows.
async fn issue(keys: &TenantKeys) -> Option<KeyId> {
    loop {
        let began = now();
        match keys.issue(NewKey::named("raced")).await {
            Ok(issued) => {
                Event::say("issued", issued.key.id(), began);
                return Some(issued.key.id());
            }
            Err(KeyringError::QuotaExceeded { .. }) => return None,
            // The tier was changed again and again.
            Err(KeyringError::Conflict) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Changes the quota of the tenant in each command, by its tier or its exceptions, and to the lower one at the end.
pub async fn mover(store: &AnyEventStore) {
    const MOVES: usize = 9;
    let keyring = keyring(store);
    for line in told() {
        let (what, id) = line.split_once(' ').unwrap();
        let id: TenantId = id.parse().unwrap();
        for number in 0..MOVES {
            let tier = if number % 2 == 0 { "lite" } else { "advanced" };
            let began = now();
            if what == "move" {
                keyring.set_tier(&id, tier).await.unwrap();
            } else {
                let version = keyring.find_tenant(&id).await.unwrap().version();
                let one = Exceptions::new().keys(1);
                let exceptions = if tier == "lite" { one } else { Exceptions::new() };
                keyring.set_exceptions(&id, version, exceptions).await.unwrap();
            }
            Event::say("moved", tier, began);
            sleep(Duration::from_millis(10)).await;
        }
        say("done");
    }
}
