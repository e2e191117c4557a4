//! An acknowledged write outlasts the PostgreSQL server, and the server's clients recover automatically.

use std::time::{Duration, Instant};

use crate::{
    Random,
    databases::{Database, keyring},
    ledger::{Finding, Ledger},
    runtime,
    support::figures::{caught, figure, measured, none, scale},
    support::server::Server,
    writer,
};

#[test]
fn lose_nothing() {
    let mut server = Server::start(&[]);
    let kills = scale(3, 1_000);
    let Outcome { findings, acknowledged, doubts, slowest } =
        kill_server(&mut server, false, kills);
    println!("server kills: {acknowledged} operations acknowledged, {doubts} in doubt");
    none(
        findings.len(),
        &format!(
            "tenants with something lost or undone of {acknowledged} acknowledged operations in {kills} \
             kills of the PostgreSQL server"
        ),
    );
    figure(kills, ">=", scale(3, 1_000), "kills of the PostgreSQL server and all its processes");
    measured(
        format!("{}ms", slowest.as_millis()),
        "at the latest after the server is back, the same store writes again",
    );
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_server_that_loses_data_is_caught() {
    let settings = ["synchronous_commit=off", "wal_writer_delay=10s", "wal_writer_flush_after=1GB"];
    // Some kills lose nothing: the server had just written all acknowledged operations.
    let mut outcomes = (0..8).map(|_| kill_server(&mut Server::start(&settings), true, 1));
    let outcome = outcomes.find(|outcome| !outcome.findings.is_empty()).unwrap();
    caught(
        outcome.findings.len(),
        &format!(
            "losses in {} operations at one kill of a server without `synchronous_commit`",
            outcome.acknowledged
        ),
    );
}

struct Outcome {
    findings: Vec<Finding>,
    acknowledged: usize,
    doubts: usize,
    slowest: Duration,
}

/// Kills the server under a writing process several times, and checks the stored data at the end.
fn kill_server(server: &mut Server, loses: bool, kills: usize) -> Outcome {
    let (runtime, mut random, mut ledger) = (runtime(), Random(3), Ledger::default());
    let database = Database::on(server);
    let database = if loses { database.accepting() } else { database };
    let mut slowest = Duration::ZERO;
    // This store is opened before the first kill, and never again.
    let store = runtime.block_on(database.open(None));
    let keyring = keyring(&store);
    let writer = writer::start(&database, None, "w", 14, 1);
    for _ in 0..kills {
        ledger.note_all(writer.hear_for(random.millis(20, 150)));
        let doubts = ledger.doubts;
        server.kill();
        // The writer was in the middle of an operation. It soon reports that the outcome is unknown.
        while ledger.doubts == doubts {
            ledger.note(&writer.hear().unwrap());
        }
        ledger.note_all(writer.hear_for(random.millis(0, 30)));
        if loses {
            break;
        }
        server.restart();
        let (restarted, acknowledged) = (Instant::now(), ledger.acknowledged);
        while ledger.acknowledged == acknowledged {
            ledger.note(&writer.hear().unwrap());
        }
        slowest = slowest.max(restarted.elapsed());
    }
    ledger.note_all(writer.kill());
    if loses {
        // Only now: the writer would notice the loss itself, and stop.
        server.restart();
    }
    let findings = runtime.block_on(ledger.check(&keyring, &store, ""));
    let Ledger { acknowledged, doubts, .. } = ledger;
    Outcome { findings, acknowledged, doubts, slowest }
}
