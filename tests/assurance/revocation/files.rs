//! Revocations in a file of SQLite, at other processes that share the file.

use std::time::{Duration, SystemTime};

use keyway::SqliteStore;
use tokio::time::sleep;

use super::{
    Answer, BOUND, GRAIN, LONG, SOON, Subject, ask, node,
    process::Process,
    revocations,
    support::figures::{caught, figure, measured, none},
};

/// The claimed times at a process that follows the feed: half of the revocations, and all of them.
const HALF: Duration = Duration::from_millis(100);
const ALL: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_a_revocation_in_a_file_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let file = path.to_str().unwrap();
    let a = node(SqliteStore::open(&path).await.unwrap(), |builder| builder);
    let subject = Subject::of(&a).await;
    let patient = SqliteStore::open(&path).await.unwrap();
    let patient = node(patient, |builder| builder.max_staleness(LONG));
    subject.accepted_by(&patient).await;

    let mut follows = Process::start(&["sqlite", file, "", &subject.token]);
    let number = revocations(30);
    let mut times = Vec::new();
    for round in 0..number {
        subject.restore().await;
        follows.says(Answer::Yes, BOUND + SOON);
        // The feed has just looked. The next revocation is to come at any time between two looks.
        sleep(HALF * u32::try_from(round % 10).unwrap() / 10).await;
        let revoked = subject.revoke().await;
        let refused = follows.says(Answer::No, BOUND + SOON).at;
        times.push(refused.saturating_duration_since(revoked));
    }
    drop(follows);
    times.sort();
    let (median, worst) = (times[number / 2].as_millis(), times[number - 1].as_millis());
    let of =
        format!("of {number} at a process that shares the file of SQLite and follows its feed");
    figure(median, "<=", HALF.as_millis(), &format!("ms is the median {of}"));
    figure(worst, "<=", ALL.as_millis(), &format!("ms is the worst {of}"));

    let mut alone = Process::start(&["sqlite without feed", file, "", &subject.token]);
    let number = revocations(40) / 10;
    let (mut ages, mut planted) = (Vec::new(), 0);
    for _ in 0..number {
        subject.restore().await;
        alone.says(Answer::Yes, BOUND + SOON);
        subject.revoke().await;
        let revoked = SystemTime::now();
        ages.push(alone.says(Answer::No, BOUND + SOON).accepted_for(revoked));
        planted += usize::from(ask(&patient, &subject.token).await == Answer::Yes);
    }
    ages.sort();
    let late = ages.iter().filter(|age| **age > BOUND + GRAIN).count();
    let slow = ages.iter().filter(|age| **age > ALL).count();
    none(
        late,
        &format!(
            "of {number} revocations at a process that shares the file of SQLite take effect later \
             than the bound of {BOUND:?}, without its feed"
        ),
    );
    measured(
        format!("{}ms", ages[number - 1].as_millis()),
        "is the worst at a process that shares the file of SQLite, without its feed",
    );
    caught(
        slow,
        &format!(
            "of {number} revocations take longer than {} ms without the feed of the file",
            ALL.as_millis()
        ),
    );
    caught(
        planted,
        &format!(
            "of {number} revocations are not seen at a node with the file, without its feed and bound"
        ),
    );
    assert_eq!((late, planted), (0, number));
    assert!(slow > 0 && worst <= ALL.as_millis(), "{worst} ms, {slow}");
}
