//! Any number of processes may open a database at once that does not exist yet.

use std::thread::sleep;

use crate::{
    Random,
    databases::{Database, Folder, keyring},
    runtime,
    support::figures::{none, scale},
    support::server,
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
    let server = server::shared();
    at_once(|_| Database::on(server));
}

/// Some of the processes are killed while they open the database.
fn at_once(database: impl Fn(usize) -> Database) {
    let (runtime, mut random) = (runtime(), Random(5));
    let (rounds, mut kills, mut failed, mut name) = (scale(4, 60), 0, 0, "");
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
            failed += usize::from(worker.hear().as_deref() != Some("ready"));
        }
        runtime.block_on(async {
            let store = database.open(None).await;
            drop(keyring(&store).create_tenant("acme", "lite").await.unwrap());
        });
        name = database.name();
    }
    none(
        failed,
        &format!(
            "processes that could not open one of {rounds} new databases on {name}, {PROCESSES} at once, \
             {kills} of them killed meanwhile"
        ),
    );
    assert_eq!(failed, 0);
}
