//! A process with a SQLite store is killed at every system call that changes a file.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use keyway::{KeyId, store::AnyEventStore};
use rusqlite::Connection;

use crate::{
    databases::{Database, Folder, keyring},
    faults::Fault,
    ledger::{Finding, Ledger, Operation},
    runtime,
    support::figures::{caught, figure, none, scale},
    workers::Worker,
    writer::Writer,
};

/// The calls that write, sync, truncate or remove files, and the call by which a worker reports.
const SYSTEM_CALLS: [&str; 11] = [
    "pwrite64",
    "pwritev",
    "pwritev2",
    "write",
    "writev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "unlinkat",
    "rename",
];

/// The number of tenants of a worker.
const TENANTS: &str = "4";

#[test]
fn lose_nothing_when_killed_at_any() {
    if !has_strace() {
        return;
    }
    let folder = Folder::new();
    let points = points(&folder, "steps", &[TENANTS]);
    let wanted = scale(40, points.len());
    let (mut killed, mut acknowledged, mut by_name) = (0, 0, BTreeMap::<_, usize>::new());
    let (mut losing, mut damaged) = (0, 0);
    for number in 0..wanted {
        let point = &points[number * points.len() / wanted];
        let outcome = kill_at(&folder, point, None);
        if !outcome.findings.is_empty() || outcome.integrity != "ok" {
            println!("{point:?}: {:#?}, {}", outcome.findings, outcome.integrity);
        }
        losing += usize::from(!outcome.findings.is_empty());
        damaged += usize::from(outcome.integrity != "ok");
        killed += usize::from(outcome.was_killed);
        acknowledged += outcome.acknowledged;
        *by_name.entry(point.name).or_default() += 1;
    }
    // Threads take turns in varying order, so that some points are not reached in every run.
    assert!(killed * 10 >= wanted * 9, "{killed} of {wanted}");
    println!(
        "system calls: killed at {killed} of {} points {by_name:?}, {acknowledged} operations \
         acknowledged, {losing} times something was lost or undone, {damaged} databases damaged",
        points.len()
    );
    let kills = format!("in {killed} kills of a process with SQLite, each at another system call");
    none(losing, &format!("times that something acknowledged was lost or undone {kills}"));
    none(damaged, "databases damaged in kills at system calls");
    figure(killed, ">=", scale(30, 400), "system calls at which the process was killed");
    assert_eq!((losing, damaged), (0, 0));
}

#[test]
fn a_store_that_writes_behind_is_caught() {
    if !has_strace() {
        return;
    }
    let folder = Folder::new();
    let points = points(&folder, "steps", &[TENANTS]);
    let outcome = |number: usize| {
        kill_at(&folder, &points[number * points.len() / 10], Some(Fault::WritesBehind))
    };
    let losing = (0..10).filter(|number| !outcome(*number).findings.is_empty()).count();
    caught(losing, "of 10 kills at system calls lose something when the store writes behind");
    assert!(losing > 0);
}

pub fn has_strace() -> bool {
    let mut nothing = Command::new("strace");
    nothing.args(["-qq", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let trouble = match nothing.status() {
        Ok(status) if status.success() => return true,
        Ok(_) => "strace may not trace processes here",
        Err(_) => "strace is not installed",
    };
    assert!(env::var("CI").as_deref() != Ok("true"), "{trouble}");
    println!("not run: {trouble}");
    false
}

/// A moment before the nth call of this name.
#[derive(Debug)]
pub struct Point {
    name: &'static str,
    number: usize,
    /// Whether the database exists before the run. Calls are counted by thread. The writing thread also makes
    /// the calls that create the tables. Its later calls are therefore tried in an existing database as well.
    is_created: bool,
}

/// Returns all points of a run of a worker, from the log of one run that is only watched.
pub fn points(folder: &Folder, role: &str, arguments: &[&str]) -> Vec<Point> {
    let mut points = Vec::new();
    for is_created in [false, true] {
        let log = folder.path("strace.log");
        let trace = format!("trace={}", SYSTEM_CALLS.join(","));
        let log_path = log.to_str().unwrap();
        let wrapper = ["strace", "-f", "-qq", "-o", log_path, "-e", "signal=none", "-e", &trace];
        let database = fresh(folder, is_created);
        let said = Worker::start_under(&wrapper, role, &database, None, arguments).finish();
        assert_eq!(said.last().map(String::as_str), Some("end"));
        let log = fs::read_to_string(log).unwrap();
        for name in SYSTEM_CALLS {
            // A call that another thread's call interrupts is logged in two lines.
            let mut by_thread = BTreeMap::<_, usize>::new();
            for line in log.lines() {
                let (thread, call) = line.split_once(' ').unwrap();
                if call.trim_start().starts_with(&format!("{name}(")) {
                    *by_thread.entry(thread).or_default() += 1;
                }
            }
            let most = by_thread.into_values().max().unwrap_or(0);
            points.extend((1..=most).map(|number| Point { name, number, is_created }));
        }
    }
    points
}

#[derive(Debug)]
struct Outcome {
    was_killed: bool,
    findings: Vec<Finding>,
    acknowledged: usize,
    integrity: String,
}

/// A run of a worker that was to be killed.
pub struct Run {
    pub database: Database,
    /// The lines of the worker without its last one.
    pub said: Vec<String>,
    pub was_killed: bool,
}

/// Runs a worker until it is killed at this point. It says `end` if it does not reach the point.
pub fn run_to(
    folder: &Folder,
    point: &Point,
    role: &str,
    fault: Option<Fault>,
    arguments: &[&str],
) -> Run {
    let Point { name, number, is_created } = point;
    let database = fresh(folder, *is_created);
    let (trace, inject) =
        (format!("trace={name}"), format!("inject={name}:signal=KILL:when={number}"));
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut said = Worker::start_under(&wrapper, role, &database, fault, arguments).finish();
    let was_killed = said.last().is_none_or(|line| line != "end");
    said.retain(|line| line != "end");
    Run { database, said, was_killed }
}

fn kill_at(folder: &Folder, point: &Point, fault: Option<Fault>) -> Outcome {
    let Run { database, said, was_killed } = run_to(folder, point, "steps", fault, &[TENANTS]);
    let mut ledger = Ledger::default();
    ledger.note_all(said);
    let findings = runtime().block_on(async {
        let store = database.open(None).await;
        ledger.check(&keyring(&store), &store, "").await
    });
    let connection = Connection::open(path(&database)).unwrap();
    let integrity = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    Outcome { was_killed, findings, acknowledged: ledger.acknowledged, integrity }
}

/// Creates a database for one run. It copies its log into itself every few writes. Its name is new, because
/// the connections of the previous run may still be closing their files.
fn fresh(folder: &Folder, is_created: bool) -> Database {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = folder.path(&format!("keys-{}.db", NEXT.fetch_add(1, Ordering::Relaxed)));
    let database = Database::Sqlite { path: path.clone(), checkpoint: 20, is_lax: false };
    if is_created {
        runtime().block_on(async { drop(database.open(None).await) });
        wait_for_close(&path);
    }
    database
}

/// Runs as a worker: the same operations on some tenants each time.
pub async fn steps(store: AnyEventStore, database: &Database, arguments: &[&str]) {
    let [tenants] = arguments else { panic!("{arguments:?}") };
    for number in 0..tenants.parse().unwrap() {
        let keyring = keyring(&store);
        let mut writer = Writer::new(&keyring, &Arc::default(), &format!("t{number}"));
        writer.perform(Operation::Create("advanced".into())).await;
        let first = newest(&writer, &[]);
        writer.perform(Operation::Issue("second".into())).await;
        let second = newest(&writer, &[first]);
        let operations = [
            Operation::Use(first),
            Operation::Edit(first, "renamed".into(), "read".into()),
            Operation::Disable(second),
            Operation::Rotate(first),
            Operation::Delete(second),
            Operation::Tier("lite".into()),
            Operation::Suspend,
            Operation::Disable(first),
            Operation::Resume,
        ];
        for operation in operations {
            writer.perform(operation).await;
        }
        if number % 2 == 0 {
            writer.perform(Operation::DeleteTenant).await;
        }
    }
    drop(store);
    // The last connection copies the log into the database, and removes the log.
    wait_for_close(path(database));
    crate::workers::say("end");
}

fn newest(writer: &Writer, known: &[KeyId]) -> KeyId {
    let mut keys = writer.state.iter().flat_map(|tenant| tenant.keys.keys());
    *keys.find(|id| !known.contains(id)).unwrap()
}

/// Waits for a limited time. Two connections that close at once may each leave the log to the other one, and
/// then the log stays.
fn wait_for_close(path: &Path) {
    let deadline = Instant::now() + Duration::from_millis(500);
    while beside(path, "-wal").exists() && Instant::now() < deadline {
        sleep(Duration::from_millis(1));
    }
}

fn path(database: &Database) -> &Path {
    match database {
        Database::Sqlite { path, .. } => path,
        Database::Postgres { .. } => unreachable!(),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}
