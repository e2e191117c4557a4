//! Any number of processes may open a database at once that is not there yet.

use std::thread::sleep;

use crate::{
    Random,
    databases::{Database, Folder, keyring},
    runtime, scale, server,
    workers::Worker,
};

const PROCESSES: usize = 8;

#[test]
fn at_once_on_sqlite() {
    let folder = Folder::new();
    at_once(|round| folder.database(&format!("keys-{round}.db")));
}

#[test]
fn at_once_on_postgres() {
    let Some(server) = server::shared() else { return };
    at_once(|_| Database::on(server));
}

/// Some of the processes are killed while they open it.
fn at_once(database: impl Fn(usize) -> Database) {
    let (runtime, mut random) = (runtime(), Random(5));
    let (rounds, mut kills, mut kind) = (scale(4, 100), 0, "");
    for round in 0..rounds {
        let database = database(round);
        let start = |_| Worker::start("issuer", &database, None, &[]);
        let mut opening: Vec<Worker> = (0..PROCESSES).map(start).collect();
        for _ in 0..random.below(4) {
            sleep(random.millis(0, 20));
            opening.pop().unwrap().kill();
            kills += 1;
        }
        for worker in &opening {
            assert_eq!(worker.hear().as_deref(), Some("ready"));
        }
        runtime.block_on(async {
            let store = database.open(None).await;
            drop(keyring(&store).create_tenant("acme", "lite").await.unwrap());
        });
        kind = database.kind();
    }
    println!(
        "opening {kind}: {rounds} new databases opened by {PROCESSES} processes at once, {kills} of \
         them killed meanwhile, all others ready"
    );
}
