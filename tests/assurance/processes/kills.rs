//! An acknowledged write outlasts the process that made it, however that process ends.

use std::thread::sleep;

use crate::{
    Random,
    databases::{Database, Folder, keyring},
    faults::Fault,
    ledger::{Finding, Ledger},
    runtime,
    support::figures::{caught, none, scale},
    support::server,
    writer,
};

#[test]
fn lose_nothing_on_sqlite() {
    lose_nothing(&Folder::new().database("keys.db"));
}

#[test]
fn lose_nothing_on_postgres() {
    let server = server::shared();
    lose_nothing(&Database::on(server));
}

fn lose_nothing(database: &Database) {
    let kills = scale(8, 300);
    let Outcome { findings, acknowledged } = kill_writers(database, None, kills);
    none(
        findings.len(),
        &format!(
            "tenants with something lost or undone of {acknowledged} acknowledged operations in {kills} \
             kills of processes on {}",
            database.name()
        ),
    );
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_store_that_writes_behind_is_caught() {
    let folder = Folder::new();
    for attempt in 0..10 {
        let database = folder.database(&format!("keys-{attempt}.db"));
        let outcome = kill_writers(&database, Some(Fault::WritesBehind), 3);
        if !outcome.findings.is_empty() {
            let of = outcome.acknowledged;
            caught(
                outcome.findings.len(),
                &format!("losses in {of} operations when the store writes behind"),
            );
            return;
        }
    }
    panic!("acknowledgements before the write were not noticed");
}

#[test]
fn events_that_are_written_behind_are_caught() {
    let folder = Folder::new();
    for attempt in 0..10 {
        let database = folder.database(&format!("keys-{attempt}.db"));
        let outcome = kill_writers(&database, Some(Fault::WritesEventsBehind), 3);
        if !outcome.findings.is_empty() {
            let of = outcome.acknowledged;
            caught(
                outcome.findings.len(),
                &format!("losses in {of} operations when events are written after their changes"),
            );
            return;
        }
    }
    panic!("changes without their events were not noticed");
}

struct Outcome {
    findings: Vec<Finding>,
    acknowledged: usize,
}

/// Kills one writing process after another at random times, and checks the stored data after each.
fn kill_writers(database: &Database, fault: Option<Fault>, kills: usize) -> Outcome {
    let (runtime, mut random, mut ledger) = (runtime(), Random(2), Ledger::default());
    let mut findings = Vec::new();
    for number in 0..kills {
        let prefix = format!("w{number}");
        let writer = writer::start(database, fault, &prefix, 14, random.below(1 << 32));
        sleep(random.millis(5, 150));
        ledger.note_all(writer.kill());
        let prefix = format!("{prefix}.");
        let found = check(&ledger, database, &prefix);
        findings.extend(runtime.block_on(found));
    }
    // The earlier writes have not been undone since either.
    if findings.is_empty() {
        findings = runtime.block_on(check(&ledger, database, ""));
    }
    Outcome { findings, acknowledged: ledger.acknowledged }
}

/// Returns the differences between the acknowledged and the stored data, as another process reads it.
async fn check(ledger: &Ledger, database: &Database, prefix: &str) -> Vec<Finding> {
    let store = database.open(None).await;
    ledger.check(&keyring(&store), &store, prefix).await
}
