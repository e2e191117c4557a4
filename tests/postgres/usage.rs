//! The usage in PostgreSQL, beyond the conformance suite: several pools, roles and failing statements.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use keyway::{
    KeyId, PostgresStore,
    store::{StoreError, UsageStore},
    usage::{Counts, Day, KeyUsage, Period, Span, UsageFlush},
};

use super::{
    support::server::{fresh_schema, shared},
    writes::run,
};

fn key(number: u32) -> KeyId {
    format!("Ausage{number:010}").parse().unwrap()
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn row(key: KeyId, day: Day) -> KeyUsage {
    let counts = Counts { admitted: 1, ..Counts::ZERO };
    KeyUsage { tenant: "acme".parse().unwrap(), key, day, counts }
}

fn flush(node: u128, number: u64, rows: Vec<KeyUsage>) -> UsageFlush {
    UsageFlush { node, number, day: day("2026-11-30"), rows }
}

async fn open(schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder().schema(schema).max_connections(4);
    builder.connect(&shared().url()).await.unwrap()
}

async fn admitted(store: &PostgresStore) -> u64 {
    let months = Span::months(Day::MIN, Day::MAX);
    let months = store.tenant_usage(&"acme".parse().unwrap(), months).await.unwrap();
    months.iter().map(|month| month.counts.admitted).sum()
}

/// Calls every method of the usage.
pub(super) async fn use_everything(store: &PostgresStore, key: KeyId) {
    static NODES: AtomicU32 = AtomicU32::new(100);
    let node = NODES.fetch_add(1, Ordering::Relaxed).into();
    let (acme, today) = ("acme".parse().unwrap(), day("2026-11-30"));
    for number in 1..=2 {
        store.add_usage(&flush(node, number, vec![row(key, today)])).await.unwrap();
        for span in [Span::days(today, today), Span::months(today, today)] {
            assert_eq!(store.key_usage(&acme, &[key], span).await.unwrap().len(), 1);
            assert_eq!(store.tenant_usage(&acme, span).await.unwrap().len(), 1);
        }
        assert_eq!(store.roll_up_usage(today.plus(1), Day::MIN).await.unwrap(), 1);
    }
    assert_eq!(admitted(store).await, 2);
    for period in [Period::Month, Period::Day] {
        let rows = store.usage_rows(period, None, NonZeroUsize::MIN).await.unwrap();
        assert_eq!(rows.len(), usize::from(period == Period::Month));
        store.raise_usage(period, &rows).await.unwrap();
        let rest = store.usage_rows(period, rows.first(), NonZeroUsize::MIN).await.unwrap();
        assert!(rest.is_empty());
    }
    assert_eq!(admitted(store).await, 2);
    assert_eq!(store.roll_up_usage(today, today.plus(1)).await.unwrap(), 1);
    store.add_usage(&flush(node, 3, vec![row(key, today)])).await.unwrap();
    store.delete_usage(&acme).await.unwrap();
    assert_eq!(admitted(store).await, 0);
}

/// Each node has a pool of its own, so its writes wait on the server alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn flushes_and_roll_ups_of_nodes_add_up() {
    let schema = fresh_schema();
    let days = ["2026-10-15", "2026-10-16", "2026-11-30"].map(day);
    let store = open(&schema).await;
    let began = Instant::now();
    let nodes = (0..6_u128).map(|node| {
        let schema = schema.clone();
        tokio::spawn(async move {
            let store = open(&schema).await;
            for number in 1..=8 {
                let mut rows: Vec<_> =
                    (0..50).flat_map(|number| days.map(|day| row(key(number), day))).collect();
                // Nodes collect their rows in different orders.
                if node % 2 == 0 {
                    rows.reverse();
                }
                let flush = flush(node, number, rows);
                for _ in 0..2 {
                    store.add_usage(&flush).await.unwrap();
                }
                store.roll_up_usage(day("2026-11-01"), Day::MIN).await.unwrap();
            }
        })
    });
    for node in nodes.collect::<Vec<_>>() {
        node.await.unwrap();
    }
    assert_eq!(admitted(&store).await, 6 * 8 * 50 * 3);
    // A deadlock is found after a second, so with many of them this takes longer.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn failed_flush_of_usage_can_be_repeated() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let fail = "CREATE FUNCTION {s}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.key_id = 'Ausage0000000002' THEN RAISE EXCEPTION 'planted'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON {s}.usage_days
        FOR EACH ROW EXECUTE FUNCTION {s}.fail()";
    run(shared(), &schema, fail).await;
    let flush = flush(1, 1, (1..4).map(|n| row(key(n), day("2026-11-30"))).collect());
    let failed = store.add_usage(&flush).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert_eq!(admitted(&store).await, 0);
    run(shared(), &schema, "DROP TRIGGER fail ON {s}.usage_days").await;
    store.add_usage(&flush).await.unwrap();
    assert_eq!(admitted(&store).await, 3);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn row_that_cannot_be_deleted_is_not_rolled_up() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let rows = (1..4).map(|n| row(key(n), day("2026-11-30"))).collect();
    store.add_usage(&flush(1, 1, rows)).await.unwrap();
    let keep = "CREATE FUNCTION {s}.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF OLD.key_id = 'Ausage0000000002' THEN RETURN NULL; END IF; RETURN OLD; END $$;
        CREATE TRIGGER keep BEFORE DELETE ON {s}.usage_days
        FOR EACH ROW EXECUTE FUNCTION {s}.keep()";
    run(shared(), &schema, keep).await;
    for _ in 0..2 {
        let rolled = store.roll_up_usage(Day::MAX, Day::MIN).await;
        assert!(matches!(rolled, Err(StoreError::Unavailable(_))), "{rolled:?}");
        assert_eq!(admitted(&store).await, 3);
    }
    run(shared(), &schema, "DROP TRIGGER keep ON {s}.usage_days").await;
    assert_eq!(store.roll_up_usage(Day::MAX, Day::MIN).await.unwrap(), 3);
    assert_eq!(admitted(&store).await, 3);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn role_with_the_documented_rights_writes_usage() {
    let (server, schema) = (shared(), fresh_schema());
    drop(open(&schema).await);
    server.sql(&format!(
        "CREATE ROLE usage_{schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO usage_{schema}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO usage_{schema}"
    ));
    let url = server.url().replace("keyway@", &format!("usage_{schema}@"));
    let store = PostgresStore::builder().schema(&schema).connect(&url).await.unwrap();
    // The control: a role that only reads.
    let refused = store.add_usage(&flush(1, 1, Vec::new())).await.unwrap_err();
    let text = super::support::chain(&refused).join(": ");
    assert!(text.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES"), "{text}");
    server.sql(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO usage_{schema}"
    ));
    use_everything(&store, key(1)).await;
}

/// Counts at the ends of 64 bits are summed without an error of the server.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn counts_of_another_program_are_never_negative() {
    let schema = fresh_schema();
    let store = open(&schema).await;
    let rows = (1..3).map(|n| row(key(n), day("2026-11-30"))).collect();
    store.add_usage(&flush(1, 1, rows)).await.unwrap();
    let spoil = "UPDATE {s}.usage_days SET admitted = -9223372036854775808";
    run(shared(), &schema, spoil).await;
    let (acme, all) = ("acme".parse().unwrap(), Span::days(Day::MIN, Day::MAX));
    assert!(store.key_usage(&acme, &[key(1), key(2)], all).await.unwrap().is_empty());
    assert!(store.tenant_usage(&acme, all).await.unwrap().is_empty());
    store.add_usage(&flush(1, 2, vec![row(key(1), day("2026-11-30"))])).await.unwrap();
    assert!(store.key_usage(&acme, &[key(1), key(2)], all).await.unwrap().is_empty());
}
