//! Revocations at several nodes, with a working feed and with each failure of it.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use keyway::{Keyring, PostgresStore};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    Answer, BOUND, GRAIN, Gaps, LONG, SOON, Subject, TIME_LIMIT, ask, follower, node, open,
    support::figures::{caught, figure, measured, none, scale},
    support::forwarder::Forwarder,
    support::server::{Server, fresh_schema, shared},
};

const NODES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    Up,
    /// The feed's connection is closed, and no other one can be made.
    Cut,
    /// No data arrives, and no error is reported.
    BlackHoled,
    /// The server's processes for the feed are stopped, and no other connection can be made.
    Hung,
}

/// A port without a server.
const NOWHERE: u16 = 1;
/// The time after which a feed that hung works again. It has noticed the gap, or continues without having
/// noticed.
const BACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_accepts_a_key_beyond_the_bound_whatever_the_feed_does() {
    let server = shared();
    let (keys, rounds) = (scale(25, 100), scale(1, 10));
    let mut caught_late = 0;
    for feed in [Feed::Up, Feed::Cut, Feed::BlackHoled, Feed::Hung] {
        let place = Place::new(server, feed, keys).await;
        let (mut ages, mut planted) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let unbounded = place.accepted_everywhere().await;
            place.trouble();
            let (bounded, others) = place.revoke_all(&unbounded).await;
            ages.extend(bounded);
            planted.extend(others);
            place.go_on().await;
        }
        ages.sort();
        let (late, number) = (number_later_than(BOUND, &ages), keys * rounds);
        caught_late += number_later_than(BOUND, &planted);
        let state = match feed {
            Feed::Up => "the feed up",
            Feed::Cut => "the feed cut",
            Feed::BlackHoled => "the feed black-holed",
            Feed::Hung => "the feed hung",
        };
        none(
            late,
            &format!(
                "of {number} revocations at {NODES} nodes take effect later than the bound of {BOUND:?}, \
                 with {state}"
            ),
        );
        let (median, worst) = (ages[ages.len() / 2], ages[ages.len() - 1]);
        measured(
            format!("{}ms", worst.as_millis()),
            &format!("is the worst with {state}, and {} ms the median", median.as_millis()),
        );
        figure(number, ">=", scale(20, 1_000), &format!("revocations with {state}"));
        assert_eq!(late, 0, "{worst:?}");
        if feed == Feed::Up {
            assert!(median < BOUND / 4, "{median:?}");
        } else {
            assert!(worst > BOUND / 4, "the feed was not in trouble: {worst:?}");
        }
    }
    caught(
        caught_late,
        &format!("of {} revocations are later at a node without feed and bound", 4 * keys * rounds),
    );
    assert!(caught_late > 0);
}

/// Nodes that follow a feed, and the keys that they have cached.
struct Place {
    server: &'static Server,
    feed: Feed,
    way: Forwarder,
    /// The application name of the feed's connections.
    name: String,
    nodes: Vec<Keyring>,
    gaps: Vec<Gaps>,
    store: PostgresStore,
    subjects: Arc<Vec<Subject>>,
    stopped: Mutex<Vec<String>>,
}

impl Place {
    async fn new(server: &'static Server, feed: Feed, keys: usize) -> Self {
        let schema = fresh_schema();
        // The managing node may wait longer.
        let patient =
            PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
        let a = node(patient, |builder| builder);
        let (way, name) = (Forwarder::to(server.port()), format!("feed_{schema}"));
        let url =
            format!("postgres://keyway@127.0.0.1:{}/postgres?application_name={name}", way.port());
        let (mut nodes, mut gaps) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let store = open(&server.url(), &schema).await;
            let feed = open(&url, &schema).await;
            let (node, seen) = follower(&store, &feed, |builder| builder).await;
            nodes.push(node);
            gaps.push(seen);
        }
        let store = open(&server.url(), &schema).await;
        let mut subjects = Vec::new();
        for _ in 0..keys {
            subjects.push(Subject::of(&a).await);
        }
        let (subjects, stopped) = (Arc::new(subjects), Mutex::default());
        Self { server, feed, way, name, nodes, gaps, store, subjects, stopped }
    }

    /// Waits until every node has every key in its cache. Returns another such node, which keeps what it has
    /// read for an hour and has no feed.
    async fn accepted_everywhere(&self) -> Keyring {
        for subject in &*self.subjects {
            subject.restore().await;
        }
        let mut tasks = JoinSet::new();
        for node in &self.nodes {
            let (node, subjects) = (node.clone(), Arc::clone(&self.subjects));
            tasks.spawn(async move {
                for subject in &*subjects {
                    subject.accepted_by(&node).await;
                }
            });
        }
        tasks.join_all().await;
        let unbounded = node(self.store.clone(), |builder| builder.max_staleness(LONG));
        for subject in &*self.subjects {
            subject.accepted_by(&unbounded).await;
        }
        unbounded
    }

    fn trouble(&self) {
        match self.feed {
            Feed::Up => {}
            Feed::Cut => self.way.redirect(NOWHERE),
            Feed::BlackHoled => self.way.hold_up(true),
            Feed::Hung => {
                let select = "SELECT pid FROM pg_stat_activity WHERE application_name = ";
                let serving = self.server.sql(&format!("{select}'{}'", self.name));
                *self.stopped.lock().unwrap() = serving.lines().map(Into::into).collect();
                self.signal("-STOP");
                self.way.lead(NOWHERE);
            }
        }
    }

    /// Ends a hang, so that the feed can hang again. The other failures last.
    async fn go_on(&self) {
        if self.feed != Feed::Hung {
            return;
        }
        let seen: Vec<usize> = self.gaps.iter().map(Gaps::number).collect();
        self.way.lead(self.server.port());
        self.signal("-CONT");
        let deadline = Instant::now() + BACK;
        let is_back = |(gaps, seen): (&Gaps, &usize)| gaps.number() > *seen;
        while !self.gaps.iter().zip(&seen).all(is_back) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let stopped = self.stopped.lock().unwrap();
        // A process that has ended in the meantime does not matter.
        let _ = Command::new("kill").arg(signal).args(&*stopped).output().unwrap();
    }

    /// Revokes every key. Returns how long each node still accepted each key, and how long `unbounded` did.
    async fn revoke_all(&self, unbounded: &Keyring) -> (Vec<Duration>, Vec<Duration>) {
        let nodes: Vec<_> = self.nodes.iter().collect();
        let ages = revoke_all(&self.subjects, &nodes, &[unbounded]).await;
        (ages.nodes.concat(), ages.planted.concat())
    }
}

/// How long nodes still accepted each key after it was revoked.
pub(super) struct Ages {
    pub(super) nodes: Vec<Vec<Duration>>,
    pub(super) planted: Vec<Vec<Duration>>,
}

/// Revokes every key while the nodes verify every key. The nodes of `planted` need not reject any.
pub(super) async fn revoke_all(
    subjects: &Arc<Vec<Subject>>,
    nodes: &[&Keyring],
    planted: &[&Keyring],
) -> Ages {
    let (watch, planted) = (Watch::of(nodes, subjects), Watch::of(planted, subjects));
    let mut revoked = Vec::new();
    for subject in &**subjects {
        revoked.push(subject.revoke().await);
    }
    let nodes = watch.ages(&revoked, BOUND + TIME_LIMIT + SOON).await;
    Ages { nodes, planted: planted.ages(&revoked, BOUND + GRAIN * 2).await }
}

pub(super) fn number_later_than(bound: Duration, ages: &[Duration]) -> usize {
    ages.iter().filter(|age| **age > bound + GRAIN).count()
}

/// Nodes that verify every key again and again until they reject it.
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    nodes: Vec<JoinHandle<Vec<Instant>>>,
}

impl Watch {
    pub(super) fn of(nodes: &[&Keyring], subjects: &Arc<Vec<Subject>>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = |node: &&Keyring| {
            let (node, subjects) = (Keyring::clone(node), Arc::clone(subjects));
            tokio::spawn(last_accepted(node, subjects, Arc::clone(&is_over)))
        };
        let nodes = nodes.iter().map(watch).collect();
        Self { is_over, nodes }
    }

    /// Waits until every node rejects every key, or until so long after the last revocation. Returns how long
    /// each node still accepted each key.
    pub(super) async fn ages(self, revoked: &[Instant], during: Duration) -> Vec<Vec<Duration>> {
        let deadline = revoked[revoked.len() - 1] + during;
        while self.nodes.iter().any(|node| !node.is_finished()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.is_over.store(true, Ordering::SeqCst);
        let mut ages = Vec::new();
        for node in self.nodes {
            let pairs = node.await.unwrap().into_iter().zip(revoked);
            let age = |(accepted, revoked): (Instant, &Instant)| {
                accepted.saturating_duration_since(*revoked)
            };
            ages.push(pairs.map(age).collect());
        }
        ages
    }
}

/// Verifies every key again and again until the node rejects all of them. Returns the time of the last
/// accepted request for each key.
async fn last_accepted(
    node: Keyring,
    subjects: Arc<Vec<Subject>>,
    is_over: Arc<AtomicBool>,
) -> Vec<Instant> {
    let mut accepted = vec![Instant::now(); subjects.len()];
    let mut left: Vec<usize> = (0..subjects.len()).collect();
    while !left.is_empty() && !is_over.load(Ordering::SeqCst) {
        let mut refused = Vec::new();
        for &number in &left {
            let asked = Instant::now();
            match ask(&node, &subjects[number].token).await {
                Answer::Yes => accepted[number] = asked,
                Answer::No => refused.push(number),
                Answer::Unavailable => {}
            }
        }
        left.retain(|number| !refused.contains(number));
        sleep(Duration::from_millis(1)).await;
    }
    accepted
}
