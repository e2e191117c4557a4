//! The time from the deletion of a key on one node to the end of its stream on another one.

use std::time::{Duration, Instant};

use keyway::{KeyId, Keyring, PostgresStore, TenantKeys};
use tokio::task::JoinHandle;

use crate::{
    population::{KEYS, builder, request},
    report::{Report, median},
    server::Server,
};

const STREAMS: usize = 1_000;
const BOUND: Duration = Duration::from_secs(5);

/// Measures streams of as many keys, with a feed and without one.
pub(crate) async fn ends(server: &Server, report: &mut Report) {
    for (name, follows, limit) in [("with feed", true, 100.0), ("feed cut", false, 5_000.0)] {
        let connect = async || {
            let store = PostgresStore::builder().schema("streams").connect(&server.url()).await;
            let store = store.unwrap();
            (builder(store.clone()).max_staleness(BOUND).build().unwrap(), store)
        };
        let (writes, _) = connect().await;
        let (reads, store) = connect().await;
        let feed = follows.then(|| tokio::spawn(reads.verifier().follow(store.feed())));
        // Waits until the feed listens.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let number = if report.is_quick() { STREAMS / 10 } else { STREAMS };
        let streams = open(&writes, &reads, number, name).await;
        let mut deleted = Vec::new();
        for (tenant, id, _) in &streams {
            deleted.push(Instant::now());
            tenant.delete(*id).await.unwrap();
        }
        let mut times = Vec::new();
        for ((.., ended), deleted) in streams.into_iter().zip(deleted) {
            times.push((ended.await.unwrap() - deleted).as_secs_f64() * 1e3);
        }
        if let Some(feed) = feed {
            feed.abort();
        }
        let worst = times.iter().copied().fold(0.0, f64::max);
        let median = median(times.into_iter());
        println!("streams_end_ms median {median:.1} worst {worst:.1} limit {limit} {name}");
        report.count(worst <= limit);
    }
}

type Stream = (TenantKeys, KeyId, JoinHandle<Instant>);

/// Opens a stream for each of so many keys. Each task returns the time of its end.
async fn open(writes: &Keyring, reads: &Keyring, number: usize, name: &str) -> Vec<Stream> {
    let mut streams = Vec::new();
    for tenant in 0..number / KEYS {
        let id = format!("{}-{tenant}", name.replace(' ', "-"));
        let tenant = writes.create_empty_tenant(&id, "advanced").await.unwrap();
        for _ in 0..KEYS {
            let issued = tenant.issue(request()).await.unwrap();
            let caller = reads.verify(&*issued.token.reveal()).await.unwrap();
            let task = tokio::spawn(async move {
                let reason = caller.ended().await;
                assert!(reason.is_denied(), "{reason}");
                Instant::now()
            });
            streams.push((tenant.clone(), issued.key.id(), task));
        }
    }
    // Each task has been polled.
    tokio::time::sleep(Duration::from_millis(200)).await;
    streams
}
