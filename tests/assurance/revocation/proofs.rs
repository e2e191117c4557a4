//! Revocations at nodes whose keys only the proofs of the feed keep.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use keyway::{
    Keyring, PostgresStore,
    store::{Change, ChangeFeed, Follower},
};
use tokio::time::sleep;

use super::{
    Answer, BOUND, SOON, Subject, ask,
    feeds::{Deaf, Eager},
    following, node,
    nodes::{number_later_than, revoke_all},
    open,
    support::Switches,
    support::figures::{caught, figure, measured, none, scale},
    support::forwarder::Forwarder,
    support::server::{fresh_schema, shared},
    support::wrapped_store::Wrapped,
    through,
};

async fn subjects(a: &Keyring, number: usize) -> Arc<Vec<Subject>> {
    let mut subjects = Vec::new();
    for _ in 0..number {
        subjects.push(Subject::of(a).await);
    }
    Arc::new(subjects)
}

/// Waits until the nodes have every key in their caches, and notices of its restoration have arrived.
async fn accepted(subjects: &[Subject], nodes: &[&Keyring]) {
    for subject in subjects {
        subject.restore().await;
    }
    for pause in [BOUND * 2, Duration::ZERO] {
        for subject in subjects {
            for node in nodes {
                subject.accepted_by(node).await;
            }
        }
        sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_proofs_keep_are_revoked_in_time() {
    let (server, schema) = (shared(), fresh_schema());
    let (keys, rounds) = (scale(20, 100), scale(1, 10));
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let counted = Wrapped::new(store.clone(), Switches::default());
    let (b, _) = following(counted.clone(), store.feed(), |builder| builder).await;
    let (planted, _) = following(store.clone(), Deaf(store.feed()), |builder| builder).await;
    let subjects = subjects(&a, keys).await;
    let (mut ages, mut deaf, mut read) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        accepted(&subjects, &[&b, &planted]).await;
        let before = counted.calls("lookup");
        let since = Instant::now();
        while since.elapsed() < BOUND * 3 / 2 {
            for subject in &*subjects {
                assert_eq!(ask(&b, &subject.token).await, Answer::Yes);
            }
            sleep(Duration::from_millis(5)).await;
        }
        read += counted.calls("lookup") - before;
        let times = revoke_all(&subjects, &[&b], &[&planted]).await;
        ages.extend(times.nodes.concat());
        deaf.extend(times.planted.concat());
    }
    ages.sort();
    let number = keys * rounds;
    let (late, caught_late) = (number_later_than(BOUND, &ages), number_later_than(BOUND, &deaf));
    none(
        late,
        &format!(
            "of {number} revocations of keys that proofs keep take effect later than the bound of {BOUND:?}"
        ),
    );
    measured(
        format!("{}ms", ages[number - 1].as_millis()),
        &format!(
            "is the worst of keys that proofs keep, with {read} reads of {number} keys before"
        ),
    );
    caught(
        caught_late,
        &format!("of {number} revocations are later at a node whose feed proves and drops notices"),
    );
    assert!(late == 0 && caught_late > 0, "{late} {caught_late}");
}

/// A feed that counts the proofs of the feed beneath.
struct Counting<F>(F, Arc<AtomicUsize>);

impl<F: ChangeFeed> ChangeFeed for Counting<F> {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        let event = self.0.next(follower).await;
        if matches!(event, Some(Change::Proof(_))) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        event
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_proofs_delay_no_revocation() {
    const DELAY: Duration = Duration::from_millis(700);
    /// A proof that comes so late is older than this bound.
    const SHORT: Duration = Duration::from_millis(500);
    let (server, schema) = (shared(), fresh_schema());
    let (keys, rounds) = (scale(10, 50), scale(2, 10));
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let way = Forwarder::slow_to(server.port());
    // The delay is not longer than the time limit.
    let builder = PostgresStore::builder().schema(&schema).accept_asynchronous_failover();
    let delayed = builder.time_limit(DELAY * 3).connect(&through(&way)).await.unwrap();
    let proofs = Arc::new(AtomicUsize::new(0));
    let counting = || Counting(delayed.feed(), Arc::clone(&proofs));
    let (b, _) = following(store.clone(), counting(), |builder| builder).await;
    let (short, _) =
        following(store.clone(), counting(), |builder| builder.max_staleness(SHORT)).await;
    let eager = Eager::over(delayed.feed(), SHORT);
    let (planted, _) = following(store, eager, |builder| builder.max_staleness(SHORT)).await;
    let subjects = subjects(&a, keys).await;
    // A statement takes two replies at the first time, and then one.
    sleep(BOUND * 3 / 2).await;
    way.delay(DELAY);
    sleep(BOUND * 2).await;
    let before = proofs.load(Ordering::SeqCst);
    let (mut at_b, mut at_short, mut at_planted) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        accepted(&subjects, &[&b, &short, &planted]).await;
        let times = revoke_all(&subjects, &[&b, &short], &[&planted]).await;
        at_b.extend_from_slice(&times.nodes[0]);
        at_short.extend_from_slice(&times.nodes[1]);
        at_planted.extend_from_slice(&times.planted[0]);
    }
    let proofs = proofs.load(Ordering::SeqCst) - before;
    let number = keys * rounds;
    let mut late = 0;
    for (ages, bound) in [(&mut at_b, BOUND), (&mut at_short, SHORT)] {
        ages.sort();
        late += number_later_than(bound, ages);
        none(
            number_later_than(bound, ages),
            &format!(
                "of {number} revocations take effect later than the bound of {bound:?}, with a feed that is \
                 {DELAY:?} late"
            ),
        );
        measured(
            format!("{}ms", ages[number - 1].as_millis()),
            &format!("is the worst with the bound of {bound:?} and a feed that is {DELAY:?} late"),
        );
    }
    figure(proofs, ">", 0, &format!("proofs that were {DELAY:?} late"));
    let caught_late = number_later_than(SHORT, &at_planted);
    caught(
        caught_late,
        &format!(
            "of {number} revocations are later at a node whose late feed proves without asking"
        ),
    );
    assert!(late == 0 && caught_late > 0, "{at_b:?} {at_short:?} {at_planted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_that_may_only_read_follows_without_gaps_and_reads() {
    let (server, schema) = (shared(), fresh_schema());
    let time = Duration::from_secs(u64::try_from(scale(8, 120)).unwrap());
    let (bound, seconds) = (BOUND * 2, time.as_secs());
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    server.sql(&format!(
        "CREATE ROLE reader_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader_{schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}"
    ));
    let url = server.url().replace("keyway@", &format!("reader_{schema}@"));
    let store = open(&url, &schema).await;
    let subject = Subject::of(&a).await;
    let counted = || Wrapped::new(store.clone(), Switches::default());
    let (followed, plain) = (counted(), counted());
    let (b, gaps) =
        following(followed.clone(), store.feed(), |builder| builder.max_staleness(bound)).await;
    let alone = node(plain.clone(), |builder| builder.max_staleness(bound));
    // Until a proof covers the key.
    for pause in [SOON, bound, Duration::ZERO] {
        subject.accepted_by(&b).await;
        subject.accepted_by(&alone).await;
        sleep(pause).await;
    }
    let calls = || (followed.calls("lookup"), plain.calls("lookup"));
    let (before, seen, since) = (calls(), gaps.number(), Instant::now());
    while since.elapsed() < time {
        for node in [&b, &alone] {
            assert_eq!(ask(node, &subject.token).await, Answer::Yes);
        }
        sleep(Duration::from_millis(5)).await;
    }
    let (read, read_alone) = (calls().0 - before.0, calls().1 - before.1);
    let gaps_alone = gaps.number() - seen;
    none(gaps_alone, &format!("gaps in {seconds} seconds at a node whose role may only read"));
    none(
        read,
        &format!("reads of a cached key in {seconds} seconds at a node whose role may only read"),
    );
    caught(
        read_alone,
        &format!("reads of a cached key in {seconds} seconds at a node without the feed"),
    );
    // The feed still delivers changes.
    subject.revoke().await;
    subject.answered(&b, Answer::No, bound / 2).await;
    // The control: a change that is not announced is a gap.
    let silent = PostgresStore::builder().schema(&schema).accept_asynchronous_failover();
    let silent = silent.without_announcements().connect(&server.url()).await.unwrap();
    subject.managed_by(&node(silent, |builder| builder)).restore().await;
    gaps.reach(seen + 1).await;
    caught(gaps.number() - seen, "gaps after a change that is not announced");
    assert_eq!((gaps_alone, read), (0, 0));
    assert!(read_alone > 0);
}
