//! An acknowledged write outlasts the loss of the primary, if the server waits for its standby. Also
//! measured: what is lost if the server does not wait.

use std::{
    str::FromStr,
    thread::sleep,
    time::{Duration, Instant},
};

use keyway::{
    KeyringError, PostgresStore,
    store::{AnyEventStore, PostgresError},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{
    Random,
    databases::{Database, keyring},
    ledger::{Finding, Ledger},
    runtime,
    support::figures::{caught, figure, measured, none, scale},
    support::forwarder::Forwarder,
    support::server::{Server, fresh_schema},
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
        let mut primary = Server::start(&settings);
        let standby = primary.standby();
        wait_for_standby(&primary, "sync");
        let way = Forwarder::to(primary.port());
        // Opens without an `accept_` setting of the application.
        let database = Database::on(&primary).through(way.port());
        let writer = writer::start(&database, None, "w", 14, random.below(1 << 32));
        let mut ledger = Ledger::default();
        ledger.note_all(writer.hear_for(random.millis(300, 900)));
        while ledger.revoked().len() < 52 {
            ledger.note(&writer.hear().unwrap());
        }
        if number % 2 == 0 {
            // While the standby hangs, nothing is acknowledged.
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
        // Every line up to now comes from writes to the former primary.
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

/// Holds both when the store gives up and when the server ends statements that take too long.
#[test]
fn acknowledge_nothing_while_the_standby_hangs() {
    const LIMIT: Duration = Duration::from_secs(3);
    let primary = Server::start(&["synchronous_standby_names=standby"]);
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
            let keyring = keyring(&AnyEventStore::new(builder.open(pool).await.unwrap()));
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

/// Measures no promise, but the loss that the application is warned of.
#[test]
fn lose_data_with_an_asynchronous_standby() {
    let failovers = scale(2, 6) as u64;
    let (mut lost, mut acknowledged, mut undone, mut revocations) = ([0, 0], 0, 0, 0);
    for number in 0..failovers {
        // In every other run the standby is synchronous, but commits do not wait for it.
        let is_named = number % 2 == 1;
        let named = ["synchronous_standby_names=held_up", "synchronous_commit=local"];
        let settings = if is_named { &named[..] } else { &[] };
        let mut primary = Server::start(settings);
        let standby = primary.standby();
        let replication = Forwarder::to(primary.port());
        let port = replication.port();
        let conninfo = format!("host=127.0.0.1 port={port} user=keyway application_name=held_up");
        standby.set("primary_conninfo", &conninfo);
        wait_for_standby(&primary, if is_named { "sync" } else { "async" });
        let database = Database::on(&primary).accepting();
        let writer = writer::start(&database, None, "w", 100, number);
        let mut ledger = Ledger::default();
        ledger.note_all(writer.hear_for(Duration::from_millis(500)));
        let mut usable = ledger.usable();
        replication.hold_up(true);
        // A write that was acknowledged before may not have been read from the worker yet.
        ledger.note_all(writer.hear_for(Duration::from_millis(1)));
        usable.extend(ledger.usable());
        let acknowledged_before = ledger.acknowledged;
        ledger.note_all(writer.hear_for(Duration::from_millis(500)));
        primary.kill();
        ledger.note_all(writer.kill());
        replication.cut();
        standby.promote();
        let findings = check(&ledger, &database.through(standby.port()));
        lost[usize::from(is_named)] += findings.len();
        undone += findings.iter().map(|finding| finding.revocations_undone).sum::<usize>();
        acknowledged += ledger.acknowledged - acknowledged_before;
        revocations += ledger.revoked().intersection(&usable).count();
    }
    println!(
        "failovers, asynchronous: {acknowledged} operations acknowledged in the last 500 ms, {lost:?} \
         tenants set back"
    );
    measured(
        undone,
        &format!(
            "of {revocations} acknowledged revocations undone in {failovers} failovers to an asynchronous \
             standby that is 500 ms behind"
        ),
    );
    caught(
        lost[0],
        "tenants set back in failovers to an asynchronous standby that is 500 ms behind",
    );
    caught(lost[1], "tenants set back in failovers with `synchronous_commit=local`");
    assert!(
        lost.iter().all(|lost| *lost > 0),
        "a standby that is behind loses what it has not got"
    );
}

#[test]
fn a_server_that_waits_for_no_standby_is_refused() {
    let primary = Server::start(&[]);
    let _standby = primary.standby();
    wait_for_standby(&primary, "async");
    runtime().block_on(async {
        let builder = || PostgresStore::builder().schema(fresh_schema());
        let opened = builder().connect(&primary.url()).await;
        none(
            usize::from(opened.is_ok()),
            "stores that open on a server with an asynchronous standby unless the host names the danger",
        );
        assert!(matches!(
            opened,
            Err(PostgresError::AsynchronousFailover { standbys, .. })
                if standbys == ["`standby` at 127.0.0.1"]
        ));
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

/// Tries every value of the relevant settings, with a standby that can be promoted.
#[test]
fn only_settings_that_protect_open_unless_the_danger_is_named() {
    let primary = Server::start(&[]);
    let _standby = primary.standby();
    wait_for_standby(&primary, "async");
    let values =
        primary.sql("SELECT unnest(enumvals) FROM pg_settings WHERE name = 'synchronous_commit'");
    let values: Vec<&str> = values.lines().filter(|value| *value != "off").collect();
    let (mut unsafe_opened, mut unsafe_values, mut safe_opened) = (0, 0, 0);
    runtime().block_on(async {
        for names in ["", "standby", "another"] {
            for value in &values {
                primary.set("synchronous_standby_names", names);
                primary.set("synchronous_commit", value);
                wait_for_standby(&primary, if names == "standby" { "sync" } else { "async" });
                let shown = || primary.sql("SELECT current_setting('synchronous_commit')");
                while shown() != *value {
                    sleep(Duration::from_millis(20));
                }
                let builder = PostgresStore::builder().schema("values");
                // The first opening creates the tables. Its commits wait for no standby.
                let options = PgConnectOptions::from_str(&primary.url()).unwrap();
                let lax = PgPoolOptions::new()
                    .connect_lazy_with(options.options([("synchronous_commit", "local")]));
                builder.clone().accept_asynchronous_failover().open(lax).await.unwrap();
                let is_open = builder.connect(&primary.url()).await.is_ok();
                if names == "standby" && matches!(*value, "on" | "remote_apply") {
                    safe_opened += usize::from(is_open);
                } else {
                    unsafe_values += 1;
                    unsafe_opened += usize::from(is_open);
                }
            }
        }
    });
    none(
        unsafe_opened,
        &format!(
            "of {unsafe_values} settings with which a failover loses acknowledged writes open unless the \
             host names the danger"
        ),
    );
    caught(safe_opened, "settings open with which a failover loses nothing");
    assert_eq!((unsafe_opened, unsafe_values, safe_opened), (0, 10, 2));
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
