//! Revocations on a new primary, at nodes whose connections still lead to the former one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyway::PostgresStore;
use sqlx::{Connection, PgConnection};

use super::{
    Answer, Answers, BOUND, SOON, Subject, TIME_LIMIT, ask,
    feeds::Eager,
    follower, following, node,
    nodes::{Watch, number_later_than},
    open,
    support::figures::{caught, measured, none, scale},
    support::forwarder::Forwarder,
    support::server::Server,
    through,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_server_revives_no_key() {
    let number = scale(3, 20);
    let mut former = Server::start(&[]);
    let present = former.standby();
    let way = Forwarder::to(former.port());
    let b = node(open(&through(&way), "keyway").await, |builder| builder);
    let a = node(open(&former.url(), "keyway").await, |builder| builder);
    let mut subjects = Vec::new();
    for _ in 0..number {
        let subject = Subject::of(&a).await;
        subject.accepted_by(&b).await;
        subjects.push(subject);
    }
    former.stop();
    present.promote();
    former.restart_as_standby_of(&present);
    // The former primary keeps the state that it had when it was demoted.
    former.sql("SELECT pg_wal_replay_pause()");
    let builder = PostgresStore::builder().accept_asynchronous_failover();
    let a = node(builder.connect(&present.url()).await.unwrap(), |builder| builder);
    let mut accepted = 0;
    for subject in &subjects {
        let tenant = a.tenant(subject.tenant.id().clone());
        tenant.disable(subject.id).await.unwrap();
    }
    let revoked = Instant::now();
    for subject in &subjects {
        let answers = Answers::of(&b, &subject.token, BOUND / 2 + TIME_LIMIT).await;
        answers.are_bounded(revoked, BOUND);
        accepted += usize::from(answers.last() == Answer::Yes);
    }
    none(accepted, &format!("of {number} revocations on a new primary undone by the demoted one"));
    assert_eq!(accepted, 0);
    // The control: the former primary would still admit the keys.
    let mut direct = PgConnection::connect(&former.url()).await.unwrap();
    let frozen: i64 = sqlx::query_scalar("SELECT count(*) FROM keyway.keys WHERE version = 1")
        .fetch_one(&mut direct)
        .await
        .unwrap();
    caught(
        usize::try_from(frozen).unwrap(),
        "revoked keys are still enabled on the demoted server",
    );
    assert_eq!(frozen, i64::try_from(number).unwrap());

    // The address leads to the new primary, and no connection to the former one is cut.
    way.lead(present.port());
    let mut slowest = Duration::ZERO;
    for subject in &subjects {
        let took =
            subject.answered(&b, Answer::No, BOUND + TIME_LIMIT + SOON + Duration::from_secs(10));
        slowest = slowest.max(took.await);
    }
    measured(
        format!("{}ms", slowest.as_millis()),
        "until a node answers again whose connections led to the demoted server",
    );
    assert_eq!(ask(&b, &subjects[0].token).await, Answer::No);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_demoted_under_the_feed_proves_nothing() {
    let number = scale(4, 20);
    let mut former = Server::start(&[]);
    let present = former.standby();
    let way = Forwarder::to(former.port());
    let a = node(open(&former.url(), "keyway").await, |builder| builder);
    let store = open(&through(&way), "keyway").await;
    let (b, gaps) = follower(&store, &store, |builder| builder).await;
    let eager = Eager::over(store.feed(), BOUND);
    let (planted, _) = following(store, eager, |builder| builder).await;
    let mut subjects = Vec::new();
    for _ in 0..number {
        subjects.push(Subject::of(&a).await);
    }
    // Until the last notice has arrived, and only proofs keep the keys.
    for pause in [BOUND / 4, BOUND, Duration::ZERO] {
        for subject in &subjects {
            subject.accepted_by(&b).await;
            subject.accepted_by(&planted).await;
        }
        tokio::time::sleep(pause).await;
    }
    // A request takes as long as the time limit while the server is gone, so each key has its own task.
    let builder = PostgresStore::builder().accept_asynchronous_failover();
    let of_present: Vec<_> = subjects
        .into_iter()
        .map(|subject| {
            let subject = Arc::new(vec![subject]);
            (Watch::of(&[&b], &subject), Watch::of(&[&planted], &subject), subject)
        })
        .collect();
    let seen = gaps.number();
    // The former primary keeps the state that it had when it was demoted.
    former.set("recovery_min_apply_delay", "1h");
    former.stop();
    present.promote();
    let a = node(builder.connect(&present.url()).await.unwrap(), |builder| builder);
    let mut revoked = Vec::new();
    for (_, _, subject) in &of_present {
        revoked.push(subject[0].managed_by(&a).revoke().await);
    }
    former.restart_as_standby_of(&present);
    let (mut ages, mut eager, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for ((watch, watch_planted, subject), revoked) in of_present.into_iter().zip(revoked) {
        ages.extend(watch.ages(&[revoked], BOUND + TIME_LIMIT + SOON).await.concat());
        eager.extend(watch_planted.ages(&[revoked], BOUND + TIME_LIMIT + SOON).await.concat());
        left.extend(Arc::into_inner(subject).unwrap());
    }
    ages.sort();
    let (late, caught_late) = (number_later_than(BOUND, &ages), number_later_than(BOUND, &eager));
    none(
        late,
        &format!(
            "of {number} revocations take effect later than the bound of {BOUND:?}, with the server demoted \
             under the feed"
        ),
    );
    measured(
        format!("{}ms", ages[number - 1].as_millis()),
        "is the worst with the server demoted under the feed",
    );
    caught(
        caught_late,
        &format!(
            "of {number} revocations are later at a node whose feed proves without the primary"
        ),
    );
    let frozen = former.sql("SELECT count(*) FROM keyway.keys WHERE version = 1");
    caught(
        frozen.parse().unwrap(),
        "revoked keys are enabled on the server demoted under the feed",
    );
    assert!(late == 0 && caught_late > 0, "{ages:?} {eager:?}");
    // The feed comes back at the new primary.
    way.lead(present.port());
    gaps.reach(seen + 1).await;
    for subject in &left {
        subject.answered(&b, Answer::No, Duration::from_secs(10)).await;
    }
}
