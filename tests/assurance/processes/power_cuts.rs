//! An acknowledged write on SQLite outlasts a loss of power at any moment. So does a flush of usage.
//!
//! The kernel keeps the writes of a killed process. Only a loss of power shows that a sync is missing.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use keyway::{
    SqliteStore,
    store::{AnyEventStore, SqliteError},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    Random,
    databases::{Database, Folder, keyring},
    disk::{self, Disk, Event, Kept},
    ledger::Ledger,
    runtime,
    support::figures::{caught, figure, none, scale},
    syscalls, usage,
    workers::Worker,
};

/// In the short form, one of this many images is checked.
const SHORT: usize = 4;

#[test]
fn lose_nothing() {
    let Some(found) = cut_power(false, scale(SHORT, 1)) else { return };
    let (images, acknowledged) = (found.images, found.acknowledged);
    none(
        found.losing,
        &format!(
            "disk images that lose or undo one of {acknowledged} acknowledged operations on SQLite"
        ),
    );
    none(found.damaged, "disk images with a damaged database");
    figure(images, ">=", scale(100, 1_000), "different disk images of power cuts");
    assert_eq!((found.losing, found.damaged), (0, 0), "{:#?}", found.example);
}

#[test]
fn commits_that_do_not_wait_for_the_disk_are_caught() {
    let Some(found) = cut_power(true, scale(2 * SHORT, SHORT)) else { return };
    caught(
        found.losing,
        &format!("of {} disk images lose something with `synchronous` at `NORMAL`", found.images),
    );
    assert!(found.losing > 0);
}

#[test]
fn lose_no_counts() {
    let Some(found) = cut_power_of_counts("", scale(SHORT, 1)) else { return };
    let (images, acknowledged) = (found.images, found.acknowledged);
    none(
        found.losing + found.damaged,
        &format!("of {images} disk images have a wrong count of {acknowledged} requests"),
    );
    assert_eq!((found.losing, found.damaged), (0, 0), "{:#?}", found.example);
}

#[test]
fn counts_that_are_acknowledged_before_the_write_are_caught() {
    let Some(found) = cut_power_of_counts("behind", 1) else { return };
    caught(
        found.losing,
        &format!("of {} disk images have a wrong count when it is written behind", found.images),
    );
    assert!(found.losing > 0);
}

/// Data that a worker has acknowledged.
trait Acknowledged {
    /// Notes a line of the worker.
    fn note(&mut self, line: &str);

    /// Returns the number of acknowledgements.
    fn number(&self) -> usize;

    /// Returns what a database lacks.
    fn lost(&self, path: &Path) -> Option<String>;
}

impl Acknowledged for Ledger {
    fn note(&mut self, line: &str) {
        Self::note(self, line);
    }

    fn number(&self) -> usize {
        self.acknowledged
    }

    fn lost(&self, path: &Path) -> Option<String> {
        let findings = runtime().block_on(async {
            let store = AnyEventStore::new(SqliteStore::open(path).await?);
            Ok::<_, SqliteError>(self.compare(&keyring(&store), &store, "").await)
        });
        match findings {
            Ok(findings) if findings.is_empty() => None,
            Ok(findings) => Some(format!("{findings:?}")),
            Err(error) => Some(format!("{error:?}")),
        }
    }
}

/// The lines of a worker that counts requests.
#[derive(Default)]
struct Counts(Vec<String>);

impl Acknowledged for Counts {
    fn note(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn number(&self) -> usize {
        self.0.iter().filter_map(|line| line.strip_prefix("ok ")?.parse().ok()).max().unwrap_or(0)
    }

    fn lost(&self, path: &Path) -> Option<String> {
        let database = Database::Sqlite { path: path.to_owned(), checkpoint: 20, is_lax: false };
        let found = usage::check(&database, "u", &self.0);
        found.is_wrong.then(|| format!("{:?}", self.0.last()))
    }
}

struct Found {
    images: usize,
    acknowledged: usize,
    losing: usize,
    damaged: usize,
    example: Option<String>,
}

/// Checks one of `every` images of the disk under a process that writes.
fn cut_power(is_lax: bool, every: usize) -> Option<Found> {
    let tenants = ["4", "10"][scale(0, 1)];
    let name = if is_lax { "lax" } else { "as by default" };
    let events = record(is_lax, "steps", &[tenants])?;
    Some(examine(name, &events, Ledger::default(), every))
}

/// Checks one of `every` images of the disk under a process that counts requests.
fn cut_power_of_counts(fault: &str, every: usize) -> Option<Found> {
    let events = record(false, "counter", &["u", fault, ["6", "30"][scale(0, 1)]])?;
    Some(examine("counts", &events, Counts::default(), every))
}

fn examine(
    name: &str,
    events: &[Event],
    mut acknowledged: impl Acknowledged,
    every: usize,
) -> Found {
    let ground = Ground::new();
    let (mut random, started) = (Random(6), Instant::now());
    let (mut disk, mut seen) = (Disk::default(), BTreeSet::new());
    let mut found = Found { images: 0, acknowledged: 0, losing: 0, damaged: 0, example: None };
    for (number, event) in events.iter().enumerate() {
        disk.note(number, event);
        if let Event::Said(line) = event {
            acknowledged.note(line);
        }
        for kept in Kept::ANY {
            let image = disk.image(kept, &mut random);
            // An image equal to an earlier one is skipped if nothing was acknowledged in between.
            let is_new = seen.insert((disk::fingerprint(&image), acknowledged.number()));
            if !is_new || seen.len() % every != 0 {
                continue;
            }
            let folder = ground.path(&format!("{}", found.images));
            disk::write(&image, &folder);
            let path = folder.join("keys.db");
            let (lost, integrity) = (acknowledged.lost(&path), integrity(&path));
            found.images += 1;
            found.losing += usize::from(lost.is_some());
            found.damaged += usize::from(integrity != "ok");
            if lost.is_some() || integrity != "ok" {
                found.example = Some(format!("event {number}, {kept:?}: {lost:?}, {integrity}"));
            }
            let _ = fs::remove_dir_all(folder);
        }
    }
    found.acknowledged = acknowledged.number();
    let (losing, damaged) = (found.losing, found.damaged);
    println!(
        "power cuts, {name}: {} system calls and messages, {} images of {} different ones, {losing} of \
         them lose something, {damaged} are damaged, {:?}",
        events.len(),
        found.images,
        seen.len(),
        started.elapsed()
    );
    found
}

/// Records the file operations and the output of a worker, from the creation of the database to its end. Returns `None`
/// without strace.
fn record(is_lax: bool, role: &str, arguments: &[&str]) -> Option<Vec<Event>> {
    if !syscalls::has_strace() {
        return None;
    }
    let folder = Folder::new();
    let (disk, log) = (folder.path("disk"), folder.path("strace.log"));
    fs::create_dir_all(&disk).unwrap();
    let database = Database::Sqlite { path: disk.join("keys.db"), checkpoint: 20, is_lax };
    let trace = format!("trace={}", disk::SYSTEM_CALLS);
    let wrapper = [
        ["strace", "-f", "-qq", "-y", "-xx"].as_slice(),
        &["-s", "1000000", "-e", "signal=none", "-o", log.to_str().unwrap(), "-e", &trace],
    ];
    let worker = Worker::start_under(&wrapper.concat(), role, &database, None, arguments);
    let said = worker.finish();
    assert_eq!(said.last().map(String::as_str), Some("end"));
    let mut events = disk::events(&fs::read_to_string(log).unwrap(), &disk);
    let is_end = |event: &Event| matches!(event, Event::Said(line) if line == "end");
    events.truncate(events.iter().position(is_end).unwrap());
    // No line of the worker is missing from the events.
    let heard = events.iter().filter(|event| matches!(event, Event::Said(_))).count();
    assert_eq!(heard + 1, said.len());
    Some(events)
}

/// Returns the result of SQLite's integrity check.
fn integrity(path: &Path) -> String {
    let integrity = || {
        let connection = Connection::open(path)?;
        connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    };
    integrity().unwrap_or_else(|error| error.to_string())
}

/// The directory for the images of one test. It is in memory if the machine has a file system for that.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        Self(tempfile::tempdir_in(folder).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
