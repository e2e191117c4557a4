//! What is acknowledged outlasts the loss of the machine, if the server waits for its standby; and
//! what is lost if it does not.

use std::{
    str::FromStr,
    thread::sleep,
    time::{Duration, Instant},
};

use keyway::{
    keyring::KeyringError,
    store::{AnyStore, PostgresStore, postgres::PostgresError},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{
    Random,
    databases::{Database, keyring},
    figures::{caught, figure, measured, none, scale},
    forwarder::Forwarder,
    ledger::{Finding, Ledger},
    runtime,
    server::{Server, fresh_schema},
    writer,
};

#[test]
fn lose_nothing_with_a_synchronous_standby() {
    let failovers = scale(1, 20);
    let (mut random, mut total, mut doubts, mut slowest) = (Random(4), 0, 0, Duration::ZERO);
    let (mut revocations, mut set_back, mut undone) = (0, 0, 0);
    for number in 0..failovers {
        let commit = ["synchronous_commit=on", "synchronous_commit=remote_apply"][number % 2];
        let settings = ["synchronous_standby_names=standby", commit];
        let Some(mut primary) = Server::start(&settings) else { return };
        let standby = primary.standby();
        wait_for_standby(&primary, "sync");
        let way = Forwarder::to(primary.port());
        // Opens without a word of the host.
        let database = Database::on(&primary).through(way.port());
        let writer = writer::start(&database, None, "w", 14, random.below(1 << 32));
        let mut ledger = Ledger::default();
        ledger.note_all(writer.hear_for(random.millis(300, 900)));
        while ledger.revoked().len() < 52 {
            ledger.note(&writer.hear().unwrap());
        }
        if number % 2 == 0 {
            // The standby hangs, and while it does nothing is acknowledged.
            standby.freeze("-STOP");
            ledger.note_all(writer.hear_for(Duration::from_millis(300)));
            let acknowledged = ledger.acknowledged;
            ledger.note_all(writer.hear_for(random.millis(100, 400)));
            assert_eq!(ledger.acknowledged, acknowledged);
            primary.kill();
            standby.freeze("-CONT");
        } else {
            primary.kill();
        }
        standby.promote();
        let promoted = Instant::now();
        way.redirect(standby.port());
        // Everything that was said up to now is of the primary.
        ledger.note_all(writer.hear_for(Duration::from_millis(1)));
        let acknowledged = ledger.acknowledged;
        revocations += ledger.revoked().len();
        while ledger.acknowledged == acknowledged {
            ledger.note(&writer.hear().unwrap());
        }
        slowest = slowest.max(promoted.elapsed());
        ledger.note_all(writer.hear_for(Duration::from_millis(100)));
        ledger.note_all(writer.kill());
        let findings = check(&ledger, &database.through(standby.port()));
        if !findings.is_empty() {
            println!("{findings:#?}");
        }
        set_back += findings.len();
        undone += findings.iter().map(|finding| finding.revocations_undone).sum::<usize>();
        total += ledger.acknowledged;
        doubts += ledger.doubts;
    }
    println!("failovers: {doubts} operations in doubt");
    let during = format!("in {failovers} failovers to a synchronous standby");
    none(undone, &format!("of {revocations} acknowledged revocations undone {during}"));
    none(set_back, &format!("tenants set back of {total} acknowledged operations {during}"));
    figure(
        revocations,
        ">=",
        scale(10, 1_000),
        "acknowledged revocations before the primary was lost",
    );
    measured(
        format!("{}ms", slowest.as_millis()),
        "after the promotion at the latest, the same store writes again",
    );
    assert_eq!((undone, set_back), (0, 0));
}

/// Neither when the store gives up nor when the server ends statements that take too long.
#[test]
fn acknowledge_nothing_while_the_standby_hangs() {
    const LIMIT: Duration = Duration::from_secs(3);
    let Some(primary) = Server::start(&["synchronous_standby_names=standby"]) else { return };
    let standby = primary.standby();
    wait_for_standby(&primary, "sync");
    let mut acknowledged = 0;
    runtime().block_on(async {
        for statement_timeout in ["1s", "3s"] {
            let options = PgConnectOptions::from_str(&primary.url()).unwrap();
            let pool = PgPoolOptions::new()
                .max_connections(8)
                .connect_lazy_with(options.options([("statement_timeout", statement_timeout)]));
            let builder = PostgresStore::builder().schema(fresh_schema()).time_limit(LIMIT);
            let keyring = keyring(&AnyStore::new(builder.open(pool).await.unwrap()));
            let create = |number: usize| {
                let keyring = keyring.clone();
                let id = format!("t{number}");
                tokio::spawn(async move { keyring.create_tenant(&id, "lite").await })
            };
            standby.freeze("-STOP");
            let created: Vec<_> = (0..8).map(create).collect();
            for created in created {
                let created = created.await.unwrap();
                acknowledged += usize::from(created.is_ok());
                assert!(
                    matches!(created, Ok(_) | Err(KeyringError::Unavailable(_))),
                    "{created:?}"
                );
            }
            standby.freeze("-CONT");
            drop(create(8).await.unwrap().unwrap());
        }
    });
    none(acknowledged, "of 16 writes acknowledged while the synchronous standby hangs");
    assert_eq!(acknowledged, 0);
}

/// Not what is promised, but what the host is warned of.
#[test]
fn lose_data_with_an_asynchronous_standby() {
    let failovers = scale(1, 5) as u64;
    let (mut lost, mut acknowledged, mut undone, mut revocations) = (0, 0, 0, 0);
    for number in 0..failovers {
        let Some(mut primary) = Server::start(&[]) else { return };
        let standby = primary.standby();
        let replication = Forwarder::to(primary.port());
        let port = replication.port();
        let conninfo = format!("host=127.0.0.1 port={port} user=keyway application_name=held_up");
        standby.set("primary_conninfo", &conninfo);
        wait_for_standby(&primary, "async");
        let database = Database::on(&primary).accepting();
        let writer = writer::start(&database, None, "w", 100, number);
        let mut ledger = Ledger::default();
        ledger.note_all(writer.hear_for(Duration::from_millis(500)));
        let mut usable = ledger.usable();
        replication.hold_up(true);
        // What was acknowledged up to now may not have been heard yet.
        ledger.note_all(writer.hear_for(Duration::from_millis(1)));
        usable.extend(ledger.usable());
        let acknowledged_before = ledger.acknowledged;
        ledger.note_all(writer.hear_for(Duration::from_millis(500)));
        primary.kill();
        ledger.note_all(writer.kill());
        replication.cut();
        standby.promote();
        let findings = check(&ledger, &database.through(standby.port()));
        lost += findings.len();
        undone += findings.iter().map(|finding| finding.revocations_undone).sum::<usize>();
        acknowledged += ledger.acknowledged - acknowledged_before;
        revocations += ledger.revoked().intersection(&usable).count();
    }
    println!(
        "failovers, asynchronous: {acknowledged} operations acknowledged in the last 500 ms, {lost} \
         tenants set back"
    );
    measured(
        undone,
        &format!(
            "of {revocations} acknowledged revocations undone in {failovers} failovers to an asynchronous \
             standby that is 500 ms behind"
        ),
    );
    caught(lost, "tenants set back in failovers to an asynchronous standby that is 500 ms behind");
    assert!(lost > 0, "a standby that is behind loses what it has not got");
}

#[test]
fn a_server_that_waits_for_no_standby_is_refused() {
    let Some(primary) = Server::start(&[]) else { return };
    let _standby = primary.standby();
    wait_for_standby(&primary, "async");
    runtime().block_on(async {
        let builder = || PostgresStore::builder().schema(fresh_schema());
        let opened = builder().connect(&primary.url()).await;
        none(
            usize::from(opened.is_ok()),
            "stores that open on a server with an asynchronous standby unless the host names the danger",
        );
        assert!(matches!(opened, Err(PostgresError::AsynchronousFailover { standbys: 1 })));
        let named = builder().accept_asynchronous_failover().connect(&primary.url()).await;
        primary.set("synchronous_standby_names", "standby");
        let synchronous = builder().connect(&primary.url()).await;
        caught(
            usize::from(named.is_ok()) + usize::from(synchronous.is_ok()),
            "of 2 stores open where it is named, or the standby is synchronous",
        );
        assert!(named.is_ok() && synchronous.is_ok());
    });
}

fn check(ledger: &Ledger, database: &Database) -> Vec<Finding> {
    runtime().block_on(async {
        let store = database.open(None).await;
        ledger.check(&keyring(&store), &store, "").await
    })
}

fn wait_for_standby(primary: &Server, state: &str) {
    let select = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while primary.sql(select) != state {
        assert!(Instant::now() < deadline, "{}", primary.sql("TABLE pg_stat_replication"));
        sleep(Duration::from_millis(20));
    }
}
