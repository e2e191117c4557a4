//! The feed of a store in an SQLite file: what it reports of other processes, and what it proves.

use std::{
    future::Future,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Events, MAX_STALENESS, Switches, block_on, overheard::RevealKnown as _, pepper, policy,
    wrapped_store::Wrapped,
};
use keyway::{
    Keyring, SqliteStore,
    store::{
        AnyStore, Change, SqliteFeed,
        conformance::{FollowedStore, feed_clauses},
    },
    time::ManualClock,
};
use rusqlite::Connection;
use tempfile::TempDir;

/// A store, and the folder that is removed after it.
struct Followed(SqliteStore, #[allow(dead_code, reason = "it is dropped")] Option<TempDir>);

impl FollowedStore for Followed {
    type Feed = SqliteFeed;

    fn store(&self) -> AnyStore {
        AnyStore::new(self.0.clone())
    }

    fn feed(&self) -> SqliteFeed {
        self.0.feed()
    }

    /// There is no connection that could break.
    async fn cut(&self) {}
}

#[test]
fn feed_of_a_file_keeps_every_clause() {
    for clause in feed_clauses::<Followed>() {
        let folder = tempfile::tempdir().unwrap();
        let store = block_on(SqliteStore::open(folder.path().join("keys.db"))).unwrap();
        pollster::block_on(clause.run(&Followed(store, Some(folder))));
    }
}

#[test]
fn feed_of_a_database_in_memory_keeps_every_clause() {
    for clause in feed_clauses::<Followed>() {
        let store = block_on(SqliteStore::in_memory()).unwrap();
        pollster::block_on(clause.run(&Followed(store, None)));
    }
}

/// A file, with the key of one node in the cache of another one, which follows.
struct Nodes {
    _folder: TempDir,
    file: PathBuf,
    writes: Keyring,
    reads: Keyring,
    store: Wrapped<SqliteStore, Switches>,
    clock: ManualClock,
    token: String,
    key: keyway::KeyId,
}

fn keyring(store: impl keyway::store::KeyStore, clock: &ManualClock) -> Keyring {
    let builder = Keyring::builder(policy(), pepper()).environment("live").store(store);
    builder.clock(clock.clone()).max_staleness(MAX_STALENESS).build().unwrap()
}

fn nodes() -> Nodes {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let writes = keyring(block_on(SqliteStore::open(&file)).unwrap(), &clock);
    let own = block_on(SqliteStore::open(&file)).unwrap();
    let store = Wrapped::new(own.clone(), Switches::default());
    let reads = keyring(store.clone(), &clock);
    follow(reads.verifier().follow(own.feed()));
    let (_, issued) = block_on(writes.create_tenant("acme", "advanced")).unwrap();
    let token = issued.token.reveal_known().to_string();
    let nodes =
        Nodes { _folder: folder, file, writes, reads, store, clock, token, key: issued.key.id() };
    nodes.settle();
    nodes
}

fn follow(following: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(|| pollster::block_on(following));
}

impl Nodes {
    fn accepts(&self) -> bool {
        block_on(self.reads.verify(&*self.token)).is_ok()
    }

    /// Waits until the feed has begun, and a proof covers the key.
    fn settle(&self) {
        let begun = Instant::now();
        loop {
            assert!(self.accepts());
            self.clock.advance(MAX_STALENESS * 2);
            thread::sleep(Duration::from_millis(120));
            let before = self.store.calls("lookup");
            assert!(self.accepts());
            if self.store.calls("lookup") == before {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the feed proves nothing");
        }
    }

    /// Returns how long it takes until the key is refused.
    fn refused_after(&self) -> Duration {
        let began = Instant::now();
        while self.accepts() {
            assert!(began.elapsed() < Duration::from_secs(5), "the key is still accepted");
            thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }
}

#[test]
fn change_of_another_node_takes_effect_in_milliseconds() {
    let nodes = nodes();
    let keys = nodes.writes.tenant("acme".parse().unwrap());
    let mut times = Vec::new();
    for _ in 0..20 {
        block_on(keys.disable(nodes.key)).unwrap();
        times.push(nodes.refused_after());
        block_on(keys.enable(nodes.key)).unwrap();
        while !nodes.accepts() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    times.sort_unstable();
    println!(
        "measured {:?} median, {:?} worst until a revocation takes effect",
        times[10], times[19]
    );
    assert!(times[10] <= Duration::from_millis(100), "{times:?}");
}

#[test]
fn change_of_another_program_takes_effect() {
    let changes: [fn(&Connection, &Nodes); 6] = [
        |other, nodes| {
            let replace = "REPLACE INTO keyway_keys SELECT id, tenant, created_at, version, \
                           zeroblob(9), last_used, owner FROM keyway_keys WHERE id = ?1";
            other.execute(replace, [nodes.key.as_bytes()]).unwrap();
        },
        |other, _| {
            let replace =
                "INSERT OR REPLACE INTO keyway_tenants SELECT id, 0, NULL FROM keyway_tenants";
            other.execute(replace, []).unwrap();
        },
        |other, nodes| {
            other.execute("DELETE FROM keyway_keys WHERE id = ?1", [nodes.key.as_bytes()]).unwrap();
        },
        |other, _| {
            other.execute("UPDATE keyway_keys SET record = zeroblob(9)", []).unwrap();
        },
        |other, _| {
            other.execute("UPDATE keyway_tenants SET record = NULL, version = 0", []).unwrap();
        },
        |other, _| {
            other.execute("DELETE FROM keyway_tenants", []).unwrap();
        },
    ];
    for change in changes {
        let nodes = nodes();
        change(&Connection::open(&nodes.file).unwrap(), &nodes);
        nodes.refused_after();
    }
}

#[test]
fn nothing_is_read_while_another_node_flushes_uses() {
    let nodes = nodes();
    let before = nodes.store.calls("lookup");
    let mut flushed = 0;
    for _ in 0..20 {
        block_on(nodes.writes.verify(&*nodes.token)).unwrap();
        flushed += block_on(nodes.writes.flush_uses()).unwrap();
        nodes.clock.advance(Duration::from_secs(60));
        thread::sleep(Duration::from_millis(120));
        assert!(nodes.accepts());
    }
    assert!(flushed >= 10, "{flushed}");
    assert_eq!(nodes.store.calls("lookup"), before);
}

#[test]
fn lost_part_of_the_log_is_a_gap() {
    let losses: [fn(&Connection); 3] = [
        |other| {
            other.execute_batch("BEGIN").unwrap();
            for _ in 0..5_000 {
                other.execute("UPDATE keyway_keys SET version = version", []).unwrap();
            }
            other.execute_batch("COMMIT").unwrap();
        },
        |other| {
            other.execute_batch("DELETE FROM keyway_changes").unwrap();
        },
        |other| {
            other
                .execute_batch(
                    "UPDATE keyway_keys SET version = version; \
                     UPDATE keyway_keys SET version = version; \
                     DELETE FROM keyway_changes \
                     WHERE seq = (SELECT max(seq) - 1 FROM keyway_changes)",
                )
                .unwrap();
        },
    ];
    for lose in losses {
        let nodes = nodes();
        let store = block_on(SqliteStore::open(&nodes.file)).unwrap();
        let mut feed = Events(store.feed());
        assert_eq!(pollster::block_on(feed.next()), Some(Change::Gap));
        let other = Connection::open(&nodes.file).unwrap();
        other.execute("UPDATE keyway_keys SET version = version", []).unwrap();
        assert_eq!(pollster::block_on(feed.next()), Some(Change::Key(nodes.key)));
        lose(&other);
        assert_eq!(pollster::block_on(feed.next()), Some(Change::Gap));
        // The feed continues.
        other.execute("UPDATE keyway_keys SET version = version", []).unwrap();
        assert_eq!(pollster::block_on(feed.next()), Some(Change::Key(nodes.key)));
    }
}

#[test]
fn log_does_not_grow_without_bound() {
    let nodes = nodes();
    let other = Connection::open(&nodes.file).unwrap();
    other.execute_batch("BEGIN").unwrap();
    for _ in 0..10_000 {
        other.execute("UPDATE keyway_keys SET version = version", []).unwrap();
    }
    other.execute_batch("COMMIT").unwrap();
    let rows = "SELECT count(*) FROM keyway_changes";
    let rows: i64 = other.query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 4_096);
}

#[test]
fn feed_of_a_replaced_file_proves_nothing() {
    let nodes = nodes();
    replace(&nodes.file);
    nodes.clock.advance(MAX_STALENESS * 2);
    thread::sleep(Duration::from_millis(300));
    nodes.clock.advance(MAX_STALENESS * 2);
    assert!(!nodes.accepts());
}

/// Puts a copy in the place of the file.
fn replace(file: &Path) {
    let copy = file.with_extension("copy");
    std::fs::copy(file, &copy).unwrap();
    std::fs::rename(copy, file).unwrap();
}
