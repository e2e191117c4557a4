//! A primary becomes a standby while stores continue to use it.

use std::time::{Duration, Instant};

use keyway::{KeyringError, PostgresStore, VerifyError, verifier::Freshness};
use sqlx::{Executor, PgPool, postgres::PgPoolOptions};

use super::{
    keyring,
    support::forwarder::Forwarder,
    support::server::Server,
    support::{chain, overheard::RevealKnown as _},
};

const LIMIT: Duration = Duration::from_secs(3);

/// The former primary, which is now a standby, and the new primary.
struct Switched {
    former: Server,
    present: Server,
}

fn switch(mut former: Server, present: Server) -> Switched {
    former.stop();
    present.promote();
    former.restart_as_standby_of(&present);
    Switched { former, present }
}

fn through(way: &Forwarder) -> String {
    format!("postgres://keyway@127.0.0.1:{}/postgres", way.port())
}

/// Fills a pool with idle connections to the current backend of `way`.
async fn fill(pool: &PgPool) {
    let mut held = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        held.push(pool.acquire().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn demoted_server_serves_nothing_and_is_left() {
    let server = Server::start(&[]);
    let standby = server.standby();
    let way = Forwarder::to(server.port());
    let pool = PgPoolOptions::new().max_connections(10).connect(&through(&way)).await.unwrap();
    let builder = PostgresStore::builder().accept_asynchronous_failover().time_limit(LIMIT);
    let own = keyring(builder.clone().connect(&through(&way)).await.unwrap());
    let apps = keyring(builder.open(pool.clone()).await.unwrap());
    let (acme, issued) = own.create_tenant("acme", "advanced").await.unwrap();
    let token = issued.token.reveal_known();

    let switched = switch(server, standby);
    // The pool now connects to the former primary.
    fill(&pool).await;
    // The control: that server responds, with its old data.
    let frozen: (bool, i64) =
        sqlx::query_as("SELECT pg_is_in_recovery(), count(*) FROM keyway.tenants")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(frozen, (true, 1));
    for keyring in [&own, &apps] {
        // Every kind of read fails instead of returning old data.
        let verified = keyring.verify_as_of(&*token, Freshness::Now).await;
        assert!(matches!(verified, Err(VerifyError::Unavailable(_))), "{verified:?}");
        let began = Instant::now();
        let unknown = keyring.find_tenant(&"nobody".parse().unwrap()).await;
        assert!(matches!(unknown, Err(KeyringError::Unavailable(_))), "{unknown:?}");
        assert!(began.elapsed() < LIMIT * 2, "{:?}", began.elapsed());
        let text = chain(&unknown.unwrap_err()).join(": ");
        assert!(text.contains("in recovery"), "{text}");
        let keys = keyring.tenant(acme.id().clone());
        assert!(matches!(keys.search("").await, Err(KeyringError::Unavailable(_))));
        assert!(matches!(keys.find(issued.key.id()).await, Err(KeyringError::Unavailable(_))));
        assert!(matches!(keyring.tenants(None, 10).await, Err(KeyringError::Unavailable(_))));
        let written = keyring.create_empty_tenant("late", "lite").await;
        assert!(matches!(written, Err(KeyringError::Unavailable(_))), "{written:?}");
    }

    // The address now leads to the new primary. Connections to the former one are not cut.
    fill(&pool).await;
    way.lead(switched.present.port());
    let began = Instant::now();
    for (keyring, name) in [(&apps, "by-apps"), (&own, "by-own")] {
        keyring.create_empty_tenant(name, "lite").await.unwrap();
        keyring.verify_as_of(&*token, Freshness::Now).await.unwrap();
        keyring.tenant(acme.id().clone()).search("").await.unwrap();
    }
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    // Each tenant exists once on the new primary.
    let tenants = "SELECT count(*) FROM keyway.tenants";
    assert_eq!(switched.present.sql(tenants), "3");
    drop(switched.former);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn write_refused_by_a_demoted_server_is_done_once_by_the_new() {
    let server = Server::start(&[]);
    let standby = server.standby();
    let way = Forwarder::to(server.port());
    let pool = PgPoolOptions::new().max_connections(4).connect(&through(&way)).await.unwrap();
    let builder = PostgresStore::builder().accept_asynchronous_failover();
    let keyring = keyring(builder.open(pool.clone()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let switched = switch(server, standby);
    fill(&pool).await;
    // This write begins at the former primary and completes at the new one.
    let writing = tokio::spawn(async move { acme.disable(issued.key.id()).await });
    // This operation reads nothing before it writes, so only the refusal of the write shows the demotion.
    let creating = tokio::spawn(async move { keyring.create_empty_tenant("late", "lite").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!writing.is_finished() && !creating.is_finished());
    way.lead(switched.present.port());
    creating.await.unwrap().unwrap();
    let key = writing.await.unwrap().unwrap();
    assert_eq!((key.enabled(), key.version()), (false, 2));
    drop(switched.former);
}

/// With this default a standby refuses every statement before it evaluates keyway's own check.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn standby_that_refuses_serializable_is_left() {
    let server = Server::start(&[]);
    let standby = server.standby();
    let way = Forwarder::to(server.port());
    let pool = PgPoolOptions::new().max_connections(4).connect(&through(&way)).await.unwrap();
    let builder = PostgresStore::builder().accept_asynchronous_failover().time_limit(LIMIT);
    let keyring = keyring(builder.open(pool.clone()).await.unwrap());
    let (acme, issued) = keyring.create_tenant("acme", "advanced").await.unwrap();
    let token = issued.token.reveal_known();
    standby.set("default_transaction_isolation", "serializable");
    way.redirect(standby.port());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        fill(&pool).await;
        match pool.fetch_one("SELECT 1").await {
            Err(error) if error.to_string().contains("hot standby") => break,
            _ => assert!(Instant::now() < deadline),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fill(&pool).await;
    way.lead(server.port());
    keyring.verify_as_of(&*token, Freshness::Now).await.unwrap();
    fill(&pool).await;
    acme.disable(issued.key.id()).await.unwrap();
}
