//! The feed of a PostgreSQL store: what it proves, and what it refuses to prove.

use std::time::{Duration, Instant};

use keyway::{
    Keyring, PostgresStore,
    store::{
        AnyStore, Change, ChangeFeed, Follower, KeyLookup, PostgresFeed,
        conformance::{FollowedStore, feed_clauses},
    },
    time::{ManualClock, SystemClock},
};

use super::{
    keyring,
    support::{
        Events, MAX_STALENESS, Switches,
        overheard::RevealKnown as _,
        pepper, policy,
        server::{Server, fresh_schema, shared},
        wrapped_store::Wrapped,
    },
};

struct Followed {
    store: PostgresStore,
    server: &'static Server,
    name: String,
}

impl FollowedStore for Followed {
    type Feed = PostgresFeed;

    fn store(&self) -> AnyStore {
        AnyStore::new(self.store.clone())
    }

    fn feed(&self) -> PostgresFeed {
        self.store.feed()
    }

    async fn cut(&self) {
        let name = &self.name;
        self.server.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = '{name}' AND (query LIKE 'LISTEN%' OR query LIKE '%beats%')"
        ));
    }
}

async fn open(schema: &str, name: &str) -> PostgresStore {
    let url = format!("{}?application_name={name}", shared().url());
    PostgresStore::builder().schema(schema).connect(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn feed_keeps_every_clause() {
    for clause in feed_clauses::<Followed>() {
        let name = fresh_schema();
        let store = open(&name, &name).await;
        let followed = Followed { store, server: shared(), name };
        let run = tokio::time::timeout(Duration::from_secs(120), clause.run(&followed));
        run.await.unwrap_or_else(|_| panic!("{clause:?} does not end"));
    }
}

/// A node that follows a feed, a store that counts its reads, and the node's clock.
struct Node {
    keyring: Keyring,
    store: Wrapped<PostgresStore, Switches>,
    clock: ManualClock,
}

impl Node {
    fn new(store: &PostgresStore, feed: PostgresFeed) -> Self {
        let counted = Wrapped::new(store.clone(), Switches::default());
        let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
        let builder = Keyring::builder(policy(), pepper()).environment("live");
        let builder = builder.store(counted.clone()).clock(clock.clone());
        let keyring = builder.max_staleness(MAX_STALENESS).build().unwrap();
        tokio::spawn(keyring.verifier().follow(feed));
        Self { keyring, store: counted, clock }
    }

    async fn accepts(&self, token: &str) -> bool {
        self.keyring.verify(token).await.is_ok()
    }

    /// Lets the clock of the node run ten times as fast for so long, and returns how often the key was read.
    async fn reads(&self, token: &str, time: Duration) -> usize {
        let (before, began) = (self.store.calls("lookup"), Instant::now());
        while began.elapsed() < time {
            assert!(self.accepts(token).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.clock.advance(Duration::from_millis(60));
        }
        self.store.calls("lookup") - before
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn nothing_is_read_while_nothing_changes() {
    let schema = fresh_schema();
    let store = open(&schema, "writes").await;
    let writes = keyring(store.clone());
    let (acme, issued) = writes.create_tenant("acme", "advanced").await.unwrap();
    let token = issued.token.reveal_known();
    let node = Node::new(&store, store.feed());
    node.reads(&token, Duration::from_secs(3)).await;
    assert_eq!(node.reads(&token, Duration::from_secs(5)).await, 0);
    // Last uses are no changes, and a change is read once.
    assert_eq!(writes.flush_uses().await.unwrap(), 0);
    writes.verify(&*token).await.unwrap();
    assert_eq!(writes.flush_uses().await.unwrap(), 1);
    assert_eq!(node.reads(&token, Duration::from_secs(2)).await, 0);
    acme.edit(issued.key.id(), 1, keyway::KeyEdit::new().name("new")).await.unwrap();
    assert_eq!(node.reads(&token, Duration::from_secs(2)).await, 1);
    // The control: without a feed the key is read again and again.
    let alone = Node::new(&store, store.feed());
    let alone = Node { keyring: node_without_feed(&alone), ..alone };
    assert!(alone.reads(&token, Duration::from_secs(5)).await > 1);
}

fn node_without_feed(node: &Node) -> Keyring {
    let builder = Keyring::builder(policy(), pepper()).environment("live");
    let builder = builder.store(node.store.clone()).clock(node.clock.clone());
    builder.max_staleness(MAX_STALENESS).build().unwrap()
}

/// A role that may only read cannot set the clock of the replicas. It proves nevertheless.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn role_that_may_only_read_proves() {
    let server = shared();
    let schema = fresh_schema();
    let store = open(&schema, "writes").await;
    server.sql(&format!(
        "CREATE ROLE reader_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader_{schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}"
    ));
    let url = server.url().replace("keyway@", &format!("reader_{schema}@"));
    let reader = PostgresStore::builder().schema(&schema).connect(&url).await.unwrap();
    let mut feed = reader.feed();
    let follower = Follower::new(SystemClock, MAX_STALENESS);
    assert_eq!(feed.next(&follower).await, Some(Change::Gap));
    for _ in 0..5 {
        assert!(matches!(feed.next(&follower).await, Some(Change::Proof(_))));
    }
    let writes = keyring(store);
    let (acme, issued) = writes.create_tenant("acme", "advanced").await.unwrap();
    acme.disable(issued.key.id()).await.unwrap();
    let mut events = Events(feed);
    assert!(matches!(events.next().await, Some(Change::Notice(_))));
}

/// A change that is not announced is a gap, whatever the reason for the silence is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn change_without_an_announcement_is_a_gap() {
    let server = shared();
    let schema = fresh_schema();
    let store = open(&schema, "writes").await;
    let (acme, issued) = keyring(store.clone()).create_tenant("acme", "advanced").await.unwrap();
    let record = store.lookup(issued.key.id()).await.unwrap().unwrap().key;
    let mut feed = Events(store.feed());
    assert_eq!(soon(&mut feed).await, Some(Change::Gap));

    // A node without announcements.
    let builder = PostgresStore::builder().schema(&schema).without_announcements();
    let silent = keyring(builder.connect(&server.url()).await.unwrap());
    silent.tenant(acme.id().clone()).disable(record.id()).await.unwrap();
    assert_eq!(soon(&mut feed).await, Some(Change::Gap));
    silent.tenant(acme.id().clone()).delete(record.id()).await.unwrap();
    assert_eq!(soon(&mut feed).await, Some(Change::Gap));
    silent
        .suspend_tenant(acme.id(), keyway::record::Suspension::permanent("x").unwrap())
        .await
        .unwrap();
    assert_eq!(soon(&mut feed).await, Some(Change::Gap));

    // A store without a keyring, which has no key for notices.
    let bare = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    keyway::store::KeyStore::delete_tenant(&bare, acme.id(), &[]).await.unwrap();
    assert_eq!(soon(&mut feed).await, Some(Change::Gap));
}

/// Returns the next event of a feed, which must come within ten seconds.
async fn soon(feed: &mut Events<PostgresFeed>) -> Option<Change> {
    tokio::time::timeout(Duration::from_secs(10), feed.next()).await.unwrap()
}

/// Texts that others send on the feed's own channel prove nothing, and break nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn forged_proof_is_ignored() {
    let server = Server::start(&["log_statement=all"]);
    let store = PostgresStore::builder().connect(&server.url()).await.unwrap();
    let mut feed = store.feed();
    let follower = Follower::new(SystemClock, MAX_STALENESS);
    assert_eq!(feed.next(&follower).await, Some(Change::Gap));
    assert!(matches!(feed.next(&follower).await, Some(Change::Proof(_))));
    let log = server.log();
    let after = log.split_once("keyway.feed.").unwrap().1;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    for _ in 0..3 {
        server.sql(&format!(
            "SELECT pg_notify('keyway.feed.{digits}', n::text) FROM generate_series(0, 99) n"
        ));
        let began = Instant::now();
        assert!(matches!(feed.next(&follower).await, Some(Change::Proof(_))));
        // A proof comes once a second and not with each of the texts.
        assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    }
    // The control: the feed listens on this channel.
    assert!(server.log().matches(&*digits).count() >= 4);
}
