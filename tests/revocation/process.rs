//! A node in a process of its own: this test program, once more.

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
/// Before what it says, since the test program says something too.
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
                // The program may have begun a line of its own before.
                if let Some((_, answer)) = line.split_once(MARK) {
                    let _ = sender.send((Instant::now(), answer.into()));
                }
            }
        });
        Self { child, said }
    }

    /// When it says so, which it does each time that its answer becomes another one.
    pub(super) fn says(&mut self, answer: Answer, within: Duration) -> Instant {
        // It may still be starting.
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

/// Its input ends with the process that started it.
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
