//! What is acknowledged outlasts the PostgreSQL server, and its clients recover by themselves.

use std::time::{Duration, Instant};

use crate::{
    Random,
    databases::{Database, keyring},
    figures::{caught, figure, measured, none, scale},
    ledger::{Finding, Ledger},
    runtime,
    server::Server,
    writer,
};

#[test]
fn lose_nothing() {
    let Some(mut server) = Server::start(&[]) else { return };
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
    let Some(mut server) = Server::start(&settings) else { return };
    let outcome = kill_server(&mut server, true, 1);
    caught(
        outcome.findings.len(),
        &format!(
            "losses in {} operations at one kill of a server without `synchronous_commit`",
            outcome.acknowledged
        ),
    );
    assert!(!outcome.findings.is_empty());
}

struct Outcome {
    findings: Vec<Finding>,
    acknowledged: usize,
    doubts: usize,
    slowest: Duration,
}

/// Kills the server under a writing process, and looks in the end at what is stored.
fn kill_server(server: &mut Server, loses: bool, kills: usize) -> Outcome {
    let (runtime, mut random, mut ledger) = (runtime(), Random(3), Ledger::default());
    let database = Database::on(server);
    let database = if loses { database.accepting() } else { database };
    let mut slowest = Duration::ZERO;
    // Its store is opened before the first kill, and never again.
    let store = runtime.block_on(database.open(None));
    let keyring = keyring(&store);
    let writer = writer::start(&database, None, "w", 14, 1);
    for _ in 0..kills {
        ledger.note_all(writer.hear_for(random.millis(20, 150)));
        let doubts = ledger.doubts;
        server.kill();
        // It was at something, and soon nobody knows what became of that.
        while ledger.doubts == doubts {
            ledger.note(&writer.hear().unwrap());
        }
        ledger.note_all(writer.hear_for(random.millis(0, 30)));
        server.restart();
        if loses {
            break;
        }
        let (restarted, acknowledged) = (Instant::now(), ledger.acknowledged);
        while ledger.acknowledged == acknowledged {
            ledger.note(&writer.hear().unwrap());
        }
        slowest = slowest.max(restarted.elapsed());
    }
    ledger.note_all(writer.kill());
    let findings = runtime.block_on(ledger.check(&keyring, &store, ""));
    let Ledger { acknowledged, doubts, .. } = ledger;
    Outcome { findings, acknowledged, doubts, slowest }
}
