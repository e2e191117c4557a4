//! The effect of another database role that uses the channel of a feed.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgListener};
use tokio::time::{sleep, timeout};

use super::{
    BOUND, LONG, Subject, follower, is_fast, node, open,
    support::figures::{caught, none, scale},
    support::server::{fresh_schema, shared},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_roles_learn_nothing_and_empty_no_cache() {
    let server = shared();
    let (schema, number) = (fresh_schema(), scale(200, 5_000));
    let a = node(open(&server.url(), &schema).await, |builder| builder);
    let store = open(&server.url(), &schema).await;
    let name = format!("hostile_{schema}");
    let feed = open(&format!("{}?application_name={name}", server.url()), &schema).await;
    let (b, gaps) = follower(&store, &feed, |builder| builder.max_staleness(LONG)).await;
    server.sql(&format!("CREATE ROLE mallory_{schema} LOGIN"));
    let url = server.url().replace("keyway@", &format!("mallory_{schema}@"));
    let channel = format!("keyway.{schema}");
    let mut ear = PgListener::connect(&url).await.unwrap();
    ear.listen(&channel).await.unwrap();
    let subject = Subject::of(&a).await;
    let mut heard = Vec::new();
    for _ in 0..5 {
        subject.accepted_by(&b).await;
        subject.revoke().await;
        subject.restore().await;
    }
    while let Ok(notice) = timeout(Duration::from_millis(300), ear.recv()).await {
        heard.push(notice.unwrap().payload().to_owned());
    }
    assert!(heard.len() >= 10, "{}", heard.len());
    let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let (tenant, key) = (subject.tenant.id().as_str(), subject.id.as_str());
    let shows = |payload: &&String| {
        [tenant, key, &hex(tenant), &hex(key)].iter().any(|id| payload.contains(*id))
    };
    let revealing = heard.iter().filter(shows).count();
    none(
        revealing,
        &format!("of {} payloads of notices that show an id of a tenant or key", heard.len()),
    );
    assert_eq!(revealing, 0);

    subject.accepted_by(&b).await;
    let before = gaps.number();
    let mut mallory = PgConnection::connect(&url).await.unwrap();
    for sent in 0..number {
        let payload = match sent % 4 {
            0 => "garbage".to_owned(),
            1 => format!("t{}", hex(tenant)),
            2 => "A".repeat(206),
            _ => heard[sent % heard.len()].clone(),
        };
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(&channel).bind(payload);
        notify.execute(&mut mallory).await.unwrap();
    }
    sleep(BOUND / 2).await;
    let seen = gaps.number() - before;
    none(seen, &format!("gaps at a node after {number} notices of another role"));
    assert_eq!(seen, 0);
    // Real changes still arrive.
    is_fast(&subject, &b, 3).await;

    // The control: a closed connection is a gap.
    server.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    ));
    gaps.reach(before + 1).await;
    caught(gaps.number() - before, "gaps at a node whose feed was cut");
}
