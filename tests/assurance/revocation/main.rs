//! Revocation is bounded. These tests measure how long a node accepts a key that another node has disabled,
//! in normal operation and when the feed, the network or the server fails.
//!
//! With `KEYWAY_LONG=1` there are more revocations.

mod feeds;
mod files;
mod hostile;
mod kinds;
mod nodes;
mod others;
mod process;
mod proofs;
#[path = "../../support/mod.rs"]
mod support;
mod switchover;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::overheard::RevealKnown as _;
use keyway::{
    KeyId, Keyring, NewKey, Pepper, Policy, PostgresStore, ScopeCatalog, TenantKeys, Tier,
    VerifyError,
    audit::{AuditEvent, AuditKind, AuditSink},
    keyring::KeyringBuilder,
    scope::ScopeDeclaration,
    store::{ChangeFeed, KeyStore},
    verifier::Freshness,
};
use sqlx::postgres::PgPoolOptions;
use tokio::time::sleep;

use self::{
    feeds::Ignoring,
    support::{
        figures::scale,
        forwarder::Forwarder,
        server::{Server, fresh_schema, shared},
    },
};

/// The staleness bound of every node unless a test sets another one.
const BOUND: Duration = Duration::from_secs(1);
/// The time limit of the observed nodes' stores.
const TIME_LIMIT: Duration = Duration::from_millis(500);
/// The error of the kernel's coarse clock, which is added to the bound.
const GRAIN: Duration = Duration::from_millis(20);
/// A time after which anything that does not wait for the bound has happened, on a busy machine too.
const SOON: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(3_600);

fn revocations(few: usize) -> usize {
    scale(few, 200)
}

fn node(store: impl KeyStore, change: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> Keyring {
    let catalog = ScopeCatalog::new([
        ScopeDeclaration::new("reporting", "Read reports"),
        ScopeDeclaration::new("operator", "Operate machines"),
    ])
    .unwrap();
    let tiers = [Tier::new("lite", 1).scopes(["reporting"]), Tier::new("advanced", 5)];
    let policy = Policy::new("mm", catalog, tiers).unwrap();
    let builder = Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
        .environment("live")
        .store(store)
        .max_staleness(BOUND);
    change(builder).build().unwrap()
}

async fn open(url: &str, schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder().schema(schema).time_limit(TIME_LIMIT);
    let builder = builder.accept_asynchronous_failover();
    // On a busy machine the first connection may take longer than the time limit.
    for _ in 0..10 {
        if let Ok(store) = builder.clone().connect(url).await {
            return store;
        }
    }
    builder.connect(url).await.unwrap()
}

/// A key and the node that manages it.
struct Subject {
    tenant: TenantKeys,
    id: KeyId,
    token: String,
}

impl Subject {
    /// Issues a new tenant's first key at node `a`.
    async fn of(a: &Keyring) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let tenant = format!("tenant-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = NewKey::named("first");
        let (tenant, issued) = a.create_tenant_with(&tenant, "advanced", request).await.unwrap();
        Self { tenant, id: issued.key.id(), token: issued.token.reveal_known().to_string() }
    }

    /// Disables the key. Returns a time at which that was acknowledged.
    async fn revoke(&self) -> Instant {
        self.tenant.disable(self.id).await.unwrap();
        Instant::now()
    }

    /// Returns the same key, managed by node `a`.
    fn managed_by(&self, a: &Keyring) -> Self {
        let tenant = a.tenant(self.tenant.id().clone());
        Self { tenant, id: self.id, token: self.token.clone() }
    }

    async fn restore(&self) {
        self.tenant.enable(self.id).await.unwrap();
    }

    /// Waits until node `b` has the key in its cache.
    async fn accepted_by(&self, b: &Keyring) {
        self.answered(b, Answer::Yes, Duration::from_secs(20)).await;
    }

    /// Waits until node `b` returns `answer`. Returns how long that took.
    async fn answered(&self, b: &Keyring, answer: Answer, within: Duration) -> Duration {
        let start = Instant::now();
        while ask(b, &self.token).await != answer {
            assert!(start.elapsed() < within, "not {answer:?} after {within:?}");
            sleep(Duration::from_millis(1)).await;
        }
        start.elapsed()
    }

    /// Revokes the key that `b` accepts. Returns the time until `b` rejects it.
    async fn revoked_for(&self, b: &Keyring) -> Duration {
        self.restore().await;
        self.accepted_by(b).await;
        let revoked = self.revoke().await;
        self.answered(b, Answer::No, BOUND + TIME_LIMIT + SOON).await;
        revoked.elapsed()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Unavailable,
}

async fn ask(node: &Keyring, token: &str) -> Answer {
    match node.verify(token).await {
        Ok(_) => Answer::Yes,
        Err(VerifyError::Inactive(_)) => Answer::No,
        Err(VerifyError::Unavailable(_)) => Answer::Unavailable,
        Err(error) => panic!("{error}"),
    }
}

/// All results of one node over a period, each with the time of the request.
struct Answers(Vec<(Instant, Answer)>);

impl Answers {
    /// Verifies again and again. Each result arrives within the time limit of the store.
    async fn of(node: &Keyring, token: &str, during: Duration) -> Self {
        let start = Instant::now();
        let mut answers = Vec::new();
        while start.elapsed() < during {
            let asked = Instant::now();
            answers.push((asked, ask(node, token).await));
            assert!(asked.elapsed() < TIME_LIMIT + SOON, "{:?}", asked.elapsed());
            sleep(Duration::from_millis(2)).await;
        }
        Self(answers)
    }

    /// Checks that no request later than `bound` after `revoked` was accepted.
    fn are_bounded(&self, revoked: Instant, bound: Duration) {
        let stale = self.0.iter().rfind(|(_, answer)| *answer == Answer::Yes);
        if let Some((asked, _)) = stale {
            let age = asked.saturating_duration_since(revoked);
            assert!(age < bound + GRAIN, "accepted {age:?} after it was revoked");
        }
    }

    fn last(&self) -> Answer {
        self.0.last().unwrap().1
    }

    fn contain(&self, wanted: Answer) -> bool {
        self.0.iter().any(|(_, answer)| *answer == wanted)
    }
}

/// Returns the address of the server behind this forwarder.
fn through(forwarder: &Forwarder) -> String {
    format!("postgres://keyway@127.0.0.1:{}/postgres", forwarder.port())
}

/// Counts the gaps in its feed that a node reports.
#[derive(Clone, Default)]
struct Gaps(Arc<AtomicUsize>);

impl AuditSink for Gaps {
    fn record(&self, event: &AuditEvent<'_>) {
        if matches!(event.kind, AuditKind::FeedGap) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Gaps {
    fn number(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn reach(&self, number: usize) {
        let start = Instant::now();
        while self.number() < number {
            assert!(start.elapsed() < Duration::from_secs(30), "{} gaps", self.number());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Creates a node that follows the feed of `store`. Returns when it does.
async fn follower(
    store: &PostgresStore,
    feed: &PostgresStore,
    change: impl FnOnce(KeyringBuilder) -> KeyringBuilder,
) -> (Keyring, Gaps) {
    following(store.clone(), feed.feed(), change).await
}

/// Creates a node that reads `store` and follows `feed`. Returns when it does.
async fn following(
    store: impl KeyStore,
    feed: impl ChangeFeed,
    change: impl FnOnce(KeyringBuilder) -> KeyringBuilder,
) -> (Keyring, Gaps) {
    let gaps = Gaps::default();
    let b = node(store, |builder| change(builder).audit(gaps.clone()));
    tokio::spawn(b.verifier().follow(feed));
    gaps.reach(1).await;
    (b, gaps)
}

/// Checks that the feed works: revocations take effect at once, much sooner than by the bound.
async fn is_fast(subject: &Subject, b: &Keyring, number: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..number {
        times.push(subject.revoked_for(b).await);
    }
    times.sort();
    assert!(times[number / 2] < BOUND / 4, "{times:?}");
    assert!(times[number - 1] < BOUND, "{times:?}");
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_feed_a_revocation_takes_effect_at_once() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let (b, _) = follower(&store, &store, |builder| builder).await;
    let times = is_fast(&Subject::of(&a).await, &b, revocations(30)).await;
    println!("with the feed: median {:?}, worst {:?}", times[times.len() / 2], times.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_feed_the_bound_holds() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let b = node(store.clone(), |builder| builder);
    // Two nodes without a short bound. One has no feed, and the other one does not apply what its feed
    // reports.
    let patient = node(store.clone(), |builder| builder.max_staleness(LONG));
    let ignoring = node(store.clone(), |builder| builder.max_staleness(LONG));
    tokio::spawn(ignoring.verifier().follow(Ignoring(store.feed())));
    let subject = Subject::of(&a).await;
    for node in [&b, &patient, &ignoring] {
        subject.accepted_by(node).await;
    }
    let revoked = subject.revoke().await;
    let answers = Answers::of(&b, &subject.token, BOUND + SOON).await;
    answers.are_bounded(revoked, BOUND);
    assert!(answers.contain(Answer::Yes));
    assert_eq!(answers.last(), Answer::No);
    for node in [&patient, &ignoring] {
        assert_eq!(ask(node, &subject.token).await, Answer::Yes);
        let fresh = node.verify_as_of(&subject.token, Freshness::Now).await;
        assert!(matches!(fresh, Err(VerifyError::Inactive(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_whose_connection_is_ended_comes_back() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let name = format!("feed_{schema}");
    let feed = open(&format!("{}?application_name={name}", server.url()), &schema).await;
    let (b, gaps) = follower(&store, &feed, |builder| builder).await;
    let subject = Subject::of(&a).await;
    for _ in 0..scale(3, 20) {
        subject.restore().await;
        subject.accepted_by(&b).await;
        let before = gaps.number();
        server.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = '{name}' AND query LIKE 'LISTEN%' OR \
             application_name = '{name}' AND query LIKE '%beats%'"
        ));
        let revoked = subject.revoke().await;
        let answers = Answers::of(&b, &subject.token, BOUND + SOON).await;
        answers.are_bounded(revoked, BOUND);
        assert_eq!(answers.last(), Answer::No);
        gaps.reach(before + 1).await;
        is_fast(&subject, &b, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_whose_packets_are_dropped_comes_back() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let forwarder = Forwarder::to(server.port());
    let feed = open(&through(&forwarder), &schema).await;
    let (b, gaps) = follower(&store, &feed, |builder| builder).await;
    let subject = Subject::of(&a).await;
    is_fast(&subject, &b, 3).await;
    subject.restore().await;
    subject.accepted_by(&b).await;
    let before = gaps.number();
    forwarder.hold_up(true);
    let revoked = subject.revoke().await;
    let answers = Answers::of(&b, &subject.token, BOUND + SOON).await;
    answers.are_bounded(revoked, BOUND);
    assert!(answers.contain(Answer::Yes), "the feed was not cut");
    assert_eq!(answers.last(), Answer::No);
    // The feed notices the loss in two seconds, though nobody closes the connection.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(gaps.number(), before);
    forwarder.hold_up(false);
    gaps.reach(before + 1).await;
    is_fast(&subject, &b, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_says_that_it_cannot_tell() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let forwarder = Forwarder::to(server.port());
    let store = open(&through(&forwarder), &schema).await;
    let (b, gaps) = follower(&store, &store, |builder| builder).await;
    let subject = Subject::of(&a).await;
    subject.accepted_by(&b).await;
    // The notice of the new tenant has arrived. The key is cached again after it.
    sleep(Duration::from_millis(200)).await;
    subject.accepted_by(&b).await;
    let before = gaps.number();
    forwarder.hold_up(true);
    let revoked = subject.revoke().await;
    let answers = Answers::of(&b, &subject.token, BOUND + TIME_LIMIT * 2).await;
    answers.are_bounded(revoked, BOUND);
    assert!(answers.contain(Answer::Yes), "it was not cut off");
    assert!(!answers.contain(Answer::No));
    assert_eq!(answers.last(), Answer::Unavailable);
    forwarder.hold_up(false);
    subject.answered(&b, Answer::No, Duration::from_secs(10)).await;
    gaps.reach(before + 1).await;
    is_fast(&subject, &b, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_or_is_gone_makes_nothing_staler() {
    let mut server = Server::start(&[]);
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let (b, _) = follower(&store, &store, |builder| builder).await;
    let deaf = node(open(&server.url(), &schema).await, |builder| builder);
    let subject = Subject::of(&a).await;
    for hangs in [true, false] {
        subject.restore().await;
        for node in [&b, &deaf] {
            subject.accepted_by(node).await;
        }
        let revoked = subject.revoke().await;
        if hangs {
            server.freeze("-STOP");
        } else {
            server.kill();
        }
        // Until neither node can verify any more.
        let during = BOUND + TIME_LIMIT * 2;
        let (told, untold) = tokio::join!(
            Answers::of(&b, &subject.token, during),
            Answers::of(&deaf, &subject.token, during)
        );
        for answers in [&told, &untold] {
            answers.are_bounded(revoked, BOUND);
        }
        assert_eq!(untold.last(), Answer::Unavailable);
        if hangs {
            server.freeze("-CONT");
        } else {
            server.restart();
        }
        for node in [&b, &deaf] {
            subject.answered(node, Answer::No, Duration::from_secs(20)).await;
        }
        // The feed needs a moment to notice and to connect again.
        sleep(Duration::from_secs(3)).await;
        is_fast(&subject, &b, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_that_is_behind_adds_nothing_to_the_bound() {
    const MAX_LAG: Duration = Duration::from_secs(2);
    let primary = Server::start(&[]);
    let standby = primary.standby();
    let schema = fresh_schema();
    let store = open(&primary.url(), &schema).await;
    // The feed of any node writes the time by which the lag is measured.
    let (a, _) = follower(&store, &store, |builder| builder).await;
    let pool = PgPoolOptions::new().connect_lazy(&standby.url()).unwrap();
    let replica = store.replica(pool, MAX_LAG);
    // The bound has room for the lag.
    let bound = BOUND + MAX_LAG;
    let reads_there =
        |builder: KeyringBuilder| builder.replica(replica.clone()).max_staleness(bound);
    let b = node(store.clone(), reads_there);
    let (listening, _) = follower(&store, &store, reads_there).await;
    let (subject, own, heard, left) = (
        Subject::of(&a).await,
        Subject::of(&b).await,
        Subject::of(&a).await,
        Subject::of(&a).await,
    );
    // Until the replica has all keys, and the nodes no longer read the changed ones from the primary.
    sleep(MAX_LAG + SOON).await;
    for subject in [&subject, &own, &left] {
        subject.accepted_by(&b).await;
    }
    heard.accepted_by(&listening).await;

    standby.sql("SELECT pg_wal_replay_pause()");
    let revoked = subject.revoke().await;
    // Own changes and changes from the feed take effect at once. So does `Freshness::Now`.
    own.revoke().await;
    assert_eq!(ask(&b, &own.token).await, Answer::No);
    heard.revoke().await;
    heard.answered(&listening, Answer::No, BOUND / 2).await;
    let fresh = b.verify_as_of(&subject.token, Freshness::Now).await;
    assert!(matches!(fresh, Err(VerifyError::Inactive(_))));

    let answers = Answers::of(&b, &subject.token, bound + SOON).await;
    answers.are_bounded(revoked, bound);
    assert_eq!(answers.last(), Answer::Unavailable);
    assert_eq!(ask(&b, &left.token).await, Answer::Unavailable);

    standby.sql("SELECT pg_wal_replay_resume()");
    subject.answered(&b, Answer::No, Duration::from_secs(10)).await;
    left.answered(&b, Answer::Yes, Duration::from_secs(10)).await;
}
