//! Revocations on a new primary, at nodes whose connections still lead to the former one.

use std::time::Duration;

use keyway::PostgresStore;
use sqlx::{Connection, PgConnection};

use super::{
    Answer, Answers, BOUND, SOON, Subject, TIME_LIMIT, ask, node, open,
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
    let revoked = std::time::Instant::now();
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
