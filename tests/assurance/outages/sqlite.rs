//! Outages of a SQLite database: another process that holds its lock, and a disk that fails.

use std::{env, fs, path::PathBuf, process, time::Duration};

use actix_web::rt::System;
use keyway::{SqliteStore, store::AnyStore};
use rusqlite::Connection;

use crate::{
    caught::{Caught, PlantedStores},
    service::Service,
    strace::{self, Failing},
    support::figures::scale,
    tally::{SLACK, Tally},
};

/// How long a write waits for another process.
const LIMIT: Duration = Duration::from_millis(500);

struct Place {
    folder: PathBuf,
    store: AnyStore,
    service: Service,
    /// The connection of another process.
    other: Connection,
}

impl Place {
    async fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("keyway-outages-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("keys.db");
        let store = SqliteStore::builder(&path).busy_timeout(LIMIT).open().await.unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE other (number INTEGER)").unwrap();
        let store = AnyStore::new(store);
        let service = Service::new(&store);
        Self { folder, store, service, other }
    }

    /// Makes connections read their cached pages again, which they do only after another connection has
    /// written.
    fn forget_pages(&self) {
        self.other.execute_batch("INSERT INTO other VALUES (1)").unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Just above the limit for an error that takes no time.
const LATE: Duration = LIMIT.saturating_add(SLACK).saturating_add(Duration::from_millis(150));

/// No other code of this process makes these calls.
const READS: &str = "pread64";
const WRITES: &str = "pwrite64";
const SYNCS: &str = "fsync,fdatasync";

#[test]
fn nobody_is_let_in_or_turned_away_in_any_trouble_of_sqlite() {
    if !strace::is_there() {
        return;
    }
    let _undisturbed = strace::undisturbed();
    System::new().block_on(async {
        let place = Place::new("troubles").await;
        let mut tally = Tally::new("SQLite", LIMIT);
        for _ in 0..scale(1, 5) {
            tally.begin("EIO when it reads");
            let keys = place.service.keys(&[], &mut tally).await;
            place.forget_pages();
            let failing = Failing::calls(READS, "EIO", &[process::id()]);
            place.service.read(&keys, &mut tally).await;
            place.service.write(&keys, &mut tally).await;
            drop(failing);
            place.service.recovers(&keys).await;

            for (trouble, calls, error) in [
                ("EIO when it writes", WRITES, "EIO"),
                ("EIO when it syncs", SYNCS, "EIO"),
                ("disk full", WRITES, "ENOSPC"),
                ("read-only", WRITES, "EROFS"),
            ] {
                tally.begin(trouble);
                let keys = place.service.keys(&[], &mut tally).await;
                let failing = Failing::calls(calls, error, &[process::id()]);
                place.service.write(&keys, &mut tally).await;
                drop(failing);
                place.service.recovers(&keys).await;
            }

            tally.begin("held by another process");
            let keys = place.service.keys(&[], &mut tally).await;
            place.other.execute_batch("BEGIN IMMEDIATE").unwrap();
            place.service.write(&keys, &mut tally).await;
            place.other.execute_batch("ROLLBACK").unwrap();
            place.service.recovers(&keys).await;
        }
        tally.tell();
    });
}

#[test]
fn stores_that_take_trouble_for_an_answer_are_caught() {
    if !strace::is_there() {
        return;
    }
    let _undisturbed = strace::undisturbed();
    System::new().block_on(async {
        let place = Place::new("planted").await;
        let mut tally = Tally::new("SQLite", LIMIT);
        let mut caught = Caught::default();
        let planted = PlantedStores::over(&place.store, LATE);
        let keys = place.service.keys(&planted.guards(), &mut tally).await;
        planted.remember(&keys).await;
        place.forget_pages();
        let failing = Failing::calls(READS, "EIO", &[process::id()]);
        caught.add(planted.look(&keys).await, &tally);
        drop(failing);
        caught.tell(" when SQLite cannot read", "takes 2150 ms more");
    });
}
