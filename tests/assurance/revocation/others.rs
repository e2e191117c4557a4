//! Revocations at nodes in other processes, which may be stopped for a while.

use std::time::{Duration, Instant};

use keyway::SqliteStore;
use tokio::time::sleep;

use super::{
    Answer, BOUND, LONG, SOON, Subject, TIME_LIMIT, follower, following, node, open,
    process::{self, Process},
    revocations,
    support::figures::{caught, measured, none, scale},
    support::server::{fresh_schema, shared},
};

/// How long a process is stopped.
const STOPPED: Duration = Duration::from_millis(1_300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_hears_of_a_revocation_by_the_feed() {
    let server = shared();
    let schema = fresh_schema();
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let subject = Subject::of(&a).await;
    let mut process = Process::start(&["postgres", &server.url(), &schema, &subject.token]);
    let mut times = Vec::new();
    for _ in 0..revocations(10) {
        subject.restore().await;
        process.says(Answer::Yes, BOUND + SOON);
        let revoked = subject.revoke().await;
        times.push(process.says(Answer::No, BOUND + SOON).at.saturating_duration_since(revoked));
    }
    times.sort();
    measured(
        format!("{}ms", times[times.len() - 1].as_millis()),
        &format!("is the worst of {} at a node in another process, with the feed up", times.len()),
    );
    assert!(times[times.len() / 2] < BOUND / 4, "{times:?}");
    assert!(times[times.len() - 1] < BOUND + TIME_LIMIT, "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_was_stopped_wakes_without_revoked_keys() {
    let (server, rounds) = (shared(), scale(3, 40));
    let (url, schema) = (server.url(), fresh_schema());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.db");
    let file = file.to_str().unwrap();
    let a = node(open(&url, &schema).await, |builder| builder);
    let in_file = node(SqliteStore::open(file).await.unwrap(), |builder| builder);
    let subjects = [Subject::of(&a).await, Subject::of(&in_file).await];
    let [of_server, of_file] = &subjects;
    let start = |engine, place, subject: &Subject| {
        Process::start(&[engine, place, &schema, &subject.token])
    };
    let mut nodes = [start("postgres", &url, of_server), start("sqlite", file, of_file)];
    let mut planted = start("postgres without feed and bound", &url, of_server);
    planted.says(Answer::Yes, BOUND + SOON);
    let (mut accepted, mut accepted_by_planted) = (0, 0);
    for round in 0..rounds {
        for (subject, node) in subjects.iter().zip(&mut nodes) {
            subject.restore().await;
            node.says(Answer::Yes, BOUND + SOON);
        }
        // Until only the proofs of the feeds keep the keys. The process stops at any time between two proofs.
        sleep(BOUND + BOUND / 4 + BOUND / 30 * u32::try_from(round % 10).unwrap()).await;
        let stopped = Instant::now();
        for process in nodes.iter().chain([&planted]) {
            process.signal("-STOP");
        }
        for subject in &subjects {
            subject.revoke().await;
        }
        sleep(STOPPED.saturating_sub(stopped.elapsed())).await;
        for process in nodes.iter().chain([&planted]) {
            process.signal("-CONT");
        }
        // Each process was stopped a little later, and continued in the same order.
        let pause = BOUND + BOUND / 10;
        for node in &mut nodes {
            accepted += usize::from(node.accepts_after(pause));
        }
        accepted_by_planted += usize::from(planted.accepts_after(pause));
        for node in &mut nodes {
            node.says(Answer::No, BOUND + SOON);
        }
    }
    let number = rounds * nodes.len();
    none(
        accepted,
        &format!(
            "of {number} keys that are revoked while a node is stopped are accepted when it continues"
        ),
    );
    caught(
        accepted_by_planted,
        &format!(
            "of {rounds} keys that are revoked meanwhile are accepted at a node without feed and bound"
        ),
    );
    assert_eq!((accepted, accepted_by_planted), (0, rounds));
}

/// The program of [`Process::start`]. Otherwise it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other process of the tests above"]
async fn other_process() {
    let Some([engine, place, schema, token]) = process::arguments() else { return };
    process::end_with_parent();
    let b = match &*engine {
        "postgres" => {
            let store = open(&place, &schema).await;
            follower(&store, &store, |builder| builder).await.0
        }
        "postgres without feed and bound" => {
            node(open(&place, &schema).await, |builder| builder.max_staleness(LONG))
        }
        "sqlite" => {
            let store = SqliteStore::open(place).await.unwrap();
            following(store.clone(), store.feed(), |builder| builder).await.0
        }
        "sqlite without feed" => node(SqliteStore::open(place).await.unwrap(), |builder| builder),
        engine => panic!("no process is a {engine}"),
    };
    process::report(&b, &token).await;
}
