//! A node in another process, which runs this test program again.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write, stdin, stdout},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::Answer;

const ARGUMENTS: &str = "KEYWAY_OTHER_PROCESS";
/// The prefix of the node's output, since the test program prints lines too.
const MARK: &str = "answer: ";

pub(super) struct Process {
    child: Child,
    said: Receiver<(Instant, String)>,
}

impl Process {
    pub(super) fn start(arguments: &[&str; 4]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "other_process", "--ignored", "--nocapture"])
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
        Self { child, said }
    }

    /// Waits until the process prints `answer`, and returns the time. The process prints each change of its
    /// result.
    pub(super) fn says(&mut self, answer: Answer, within: Duration) -> Instant {
        // The process may still be starting.
        let deadline = Instant::now() + within + Duration::from_secs(10);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, said) = self.said.recv_timeout(left).unwrap();
            if said == format!("{answer:?}") {
                return at;
            }
        }
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

pub(super) fn say(answer: Answer) {
    let mut out = stdout().lock();
    writeln!(out, "{MARK}{answer:?}").unwrap();
    out.flush().unwrap();
}
