//! The lag of a replica, and lag measurements that are impossible.

use std::time::Duration;

use keyway::{
    PostgresStore,
    store::{Change, KeyLookup, PostgresFeed, StoreError},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use super::{
    keyring,
    support::{
        Events,
        server::{Server, fresh_schema, shared},
    },
};

const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn lag_out_of_range_is_unavailable() {
    let server = shared();
    let schema = fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let (_, issued) = keyring(store.clone()).create_tenant("acme", "lite").await.unwrap();
    // The test needs no real replica: the primary has no lag.
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let replica = store.replica(pool, Duration::from_secs(2));
    for (beat, is_read) in [
        (NOW.to_owned(), true),
        (format!("{NOW} - 1500"), true),
        // A small difference between the clocks is accepted.
        (format!("{NOW} + 300"), true),
        (format!("{NOW} - 3000"), false),
        (format!("{NOW} + 3000"), false),
        (format!("{NOW} + 3600000"), false),
        ("0".into(), false),
        ("-1".into(), false),
        ("9223372036854775807".into(), false),
        ("-9223372036854775808".into(), false),
    ] {
        server.sql(&format!("UPDATE {schema}.beats SET at = {beat}"));
        let found = replica.lookup(issued.key.id()).await;
        if is_read {
            assert!(matches!(found, Ok(Some(_))), "{beat} {found:?}");
        } else {
            assert!(matches!(found, Err(StoreError::Unavailable(_))), "{beat} {found:?}");
        }
    }
    server.sql(&format!("DELETE FROM {schema}.beats"));
    let found = replica.lookup(issued.key.id()).await;
    assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn beat_from_the_future_is_replaced() {
    let server = shared();
    let schema = fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let ahead = format!("SELECT at - {NOW} FROM {schema}.beats");
    for beat in [format!("{NOW} + 3600000"), "9223372036854775807".into(), "0".into()] {
        server.sql(&format!("UPDATE {schema}.beats SET at = {beat}"));
        let mut feed = Events(store.feed());
        assert_eq!(feed.next().await, Some(Change::Gap));
        let beats = tokio::time::timeout(Duration::from_millis(500), feed.next()).await;
        assert!(beats.is_err(), "{beats:?}");
        let ahead: i64 = server.sql(&ahead).parse().unwrap();
        assert!((-2_000..=0).contains(&ahead), "{beat} {ahead}");
    }
    // A missing row is inserted again.
    server.sql(&format!("DELETE FROM {schema}.beats"));
    let mut feed = Events(store.feed());
    assert_eq!(feed.next().await, Some(Change::Gap));
    assert!(tokio::time::timeout(Duration::from_millis(500), feed.next()).await.is_err());
    let ahead: i64 = server.sql(&ahead).parse().unwrap();
    assert!((-2_000..=0).contains(&ahead), "{ahead}");
}

/// Returns the number of changes that a feed returns within this time.
async fn told(feed: &mut Events<PostgresFeed>, within: Duration) -> usize {
    let (mut number, deadline) = (0, tokio::time::Instant::now() + within);
    while tokio::time::timeout_at(deadline, feed.next()).await.is_ok() {
        number += 1;
    }
    number
}

/// Waits until the feed has set the clock, and checks that it returns no change meanwhile.
async fn beats(feed: &mut Events<PostgresFeed>, server: &Server, schema: &str) {
    let age = format!("SELECT {NOW} - at FROM {schema}.beats");
    for _ in 0..20 {
        assert_eq!(told(feed, Duration::from_millis(500)).await, 0);
        if server.sql(&age).parse::<i64>().unwrap() < 2_000 {
            return;
        }
    }
    panic!("no beat");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn blocked_beat_neither_breaks_the_feed_nor_stops_later_ones() {
    let server = shared();
    let schema = fresh_schema();
    let store = PostgresStore::builder().schema(&schema).connect(&server.url()).await.unwrap();
    let mut feed = Events(store.feed());
    assert_eq!(feed.next().await, Some(Change::Gap));
    let mut beside = PgConnection::connect(&server.url()).await.unwrap();
    for lock in ["UPDATE {s}.beats SET at = 0", "LOCK TABLE {s}.beats"] {
        let mut transaction = beside.begin().await.unwrap();
        transaction.execute(AssertSqlSafe(lock.replace("{s}", &schema))).await.unwrap();
        assert_eq!(told(&mut feed, Duration::from_millis(3_500)).await, 0, "{lock}");
        transaction.rollback().await.unwrap();
        beats(&mut feed, server, &schema).await;
    }
    // A statement is repeated after a serialization failure.
    server.sql(&format!(
        "UPDATE {schema}.beats SET at = 0; CREATE SEQUENCE {schema}.tries; \
         CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('{schema}.tries') <= 2 THEN \
             RAISE EXCEPTION 'planted' USING ERRCODE = '40001'; \
           END IF; RETURN NEW; END $$; \
         CREATE TRIGGER fail BEFORE UPDATE ON {schema}.beats \
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    ));
    beats(&mut feed, server, &schema).await;
    let tries = server.sql(&format!("SELECT last_value FROM {schema}.tries"));
    assert_ne!(tries, "1");
}

/// No commit completes while the synchronous standby is missing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn beat_waits_for_no_synchronous_standby() {
    let server = Server::start(&[]);
    let url = format!("{}?application_name=feeds", server.url());
    let builder = PostgresStore::builder().time_limit(Duration::from_secs(2));
    let store = builder.connect(&url).await.unwrap();
    let keyring = keyring(store.clone());
    server.set("synchronous_standby_names", "nobody");
    while server.sql("SHOW synchronous_standby_names") != "nobody" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The control: writes wait for the standby.
    assert!(keyring.create_empty_tenant("acme", "lite").await.is_err());
    let mut feed = Events(store.feed());
    assert_eq!(feed.next().await, Some(Change::Gap));
    assert_eq!(told(&mut feed, Duration::from_secs(4)).await, 0);
    beats(&mut feed, &server, "keyway").await;
    // Only one session writes beats. No abandoned session is left.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%clock_timestamp%' \
                    AND application_name = 'feeds'";
    assert_eq!(server.sql(sessions), "1");
    // Sessions that still wait would keep the server from shutting down.
    server.set("synchronous_standby_names", "");
}
