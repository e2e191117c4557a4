//! A node in another process, which runs this test program again.

use std::{
    collections::VecDeque,
    env,
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use keyway::Keyring;
use tokio::time::sleep;

use super::{Answer, ask};

const ARGUMENTS: &str = "KEYWAY_OTHER_PROCESS";
/// The prefix of the node's output, since the test program prints lines too.
const MARK: &str = "answer: ";
/// The prefix of a line about the first request after a pause.
const WOKE: &str = "after a pause of ";
/// The time without a request that counts as a pause.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Process {
    child: Child,
    said: Receiver<(Instant, String)>,
    /// Lines that were read and not used.
    unused: VecDeque<(Instant, String)>,
}

/// A change of a process's result.
pub(super) struct Said {
    /// When the line arrived.
    pub(super) at: Instant,
    /// When the process began the last request that it accepted.
    accepted: SystemTime,
}

impl Said {
    /// Returns how long after `revoked` the process still accepted the key.
    pub(super) fn accepted_for(&self, revoked: SystemTime) -> Duration {
        self.accepted.duration_since(revoked).unwrap_or_default()
    }
}

impl Process {
    pub(super) fn start(arguments: &[&str; 4]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "others::other_process", "--ignored", "--nocapture"])
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The program may have begun a line before it.
                if let Some((_, answer)) = line.split_once(MARK) {
                    let _ = sender.send((Instant::now(), answer.into()));
                }
            }
        });
        Self { child, said, unused: VecDeque::new() }
    }

    /// Waits until the process prints `answer`. The process prints each change of its result.
    pub(super) fn says(&mut self, answer: Answer, within: Duration) -> Said {
        let wanted = format!("{answer:?}");
        self.hear(within, |at, line| {
            let (said, accepted) = line.split_once(' ')?;
            let accepted = UNIX_EPOCH + Duration::from_nanos(accepted.parse().ok()?);
            (said == wanted).then_some(Said { at, accepted })
        })
    }

    /// Waits for the first request after a pause of at least `pause`. Returns whether it was accepted.
    ///
    /// A process that was stopped during a request prints the change of that request's result before. This line is kept for
    /// [`says`](Self::says).
    pub(super) fn accepts_after(&mut self, pause: Duration) -> bool {
        let mut before = VecDeque::new();
        let is_accepted = self.hear(pause, |at, line| {
            let woke = || {
                let (millis, answer) = line.strip_prefix(WOKE)?.split_once(' ')?;
                let lasted = Duration::from_millis(millis.parse().ok()?);
                (lasted >= pause).then_some(answer == format!("{:?}", Answer::Yes))
            };
            woke().or_else(|| {
                before.push_back((at, line.to_owned()));
                None
            })
        });
        before.append(&mut self.unused);
        self.unused = before;
        is_accepted
    }

    /// Waits for a line that `read` understands.
    fn hear<T>(&mut self, within: Duration, mut read: impl FnMut(Instant, &str) -> Option<T>) -> T {
        // The process may still be starting.
        let deadline = Instant::now() + within + Duration::from_secs(10);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let unused = self.unused.pop_front();
            let (at, line) = unused.unwrap_or_else(|| self.said.recv_timeout(left).unwrap());
            if let Some(found) = read(at, &line) {
                return found;
            }
        }
    }

    /// Sends a signal, such as `-STOP`.
    pub(super) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn arguments() -> Option<[String; 4]> {
    let arguments = env::var(ARGUMENTS).ok()?;
    let parts: Vec<String> = arguments.split('\n').map(Into::into).collect();
    parts.try_into().ok()
}

/// Ends the process when its input ends, which is when its parent ends.
pub(super) fn end_with_parent() {
    thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// Verifies the key again and again, and prints what [`Process`] waits for.
pub(super) async fn report(node: &Keyring, token: &str) {
    let (mut last, mut accepted, mut before) = (None, UNIX_EPOCH, Instant::now());
    loop {
        let (asked, time) = (Instant::now(), SystemTime::now());
        let answer = ask(node, token).await;
        if answer == Answer::Yes {
            accepted = time;
        }
        let pause = asked.duration_since(before);
        if pause >= PAUSE {
            say(&format!("{WOKE}{} {answer:?}", pause.as_millis()));
        }
        if last != Some(answer) {
            say(&format!("{answer:?} {}", accepted.duration_since(UNIX_EPOCH).unwrap().as_nanos()));
        }
        (last, before) = (Some(answer), asked);
        sleep(Duration::from_millis(1)).await;
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{MARK}{line}").unwrap();
    out.flush().unwrap();
}
