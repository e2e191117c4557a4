//! Other processes of these tests, and what is said between them and the test.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use keyway::store::AnyStore;

use crate::{databases::Database, edits, faults::Fault, quota, runtime, syscalls, writer};

/// What a worker is to do: its role, its database, its fault, and what its role needs, one per line.
const ASSIGNMENT: &str = "KEYWAY_WORKER";

/// Leads what is meant for the test, since the test runner says things too.
const MARK: &str = "> ";

/// How long a worker may be silent that was asked something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that a test has started. It ends with its handle.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Worker {
    pub fn start(
        role: &str,
        database: &Database,
        fault: Option<Fault>,
        arguments: &[&str],
    ) -> Self {
        Self::start_under(&[], role, database, fault, arguments)
    }

    /// As the last argument of another program.
    pub fn start_under(
        wrapper: &[&str],
        role: &str,
        database: &Database,
        fault: Option<Fault>,
        arguments: &[&str],
    ) -> Self {
        let mut words = vec![role.to_owned()];
        words.extend(database.to_words());
        words.push(fault.map_or_else(String::new, |fault| format!("{fault:?}")));
        words.extend(arguments.iter().map(|&argument| argument.to_owned()));

        let program = env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        command
            .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(ASSIGNMENT, words.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Reads on after the process has been killed, until all that it said has been heard.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(said) = said(&line)
                    && sender.send(said.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, lines }
    }

    pub fn tell(&mut self, line: &str) {
        // One that is being killed hears nothing.
        let _ = writeln!(self.input.as_mut().unwrap(), "{line}");
    }

    /// What the worker says next, or `None` if it says nothing any more.
    pub fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("a worker has been silent for {PATIENCE:?}"),
        }
    }

    /// What it says up to the line `last`, or all if it ends before.
    pub fn hear_until(&self, last: &str) -> Vec<String> {
        std::iter::from_fn(|| self.hear()).take_while(|line| line != last).collect()
    }

    /// What it says in this time.
    pub fn hear_for(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        let mut heard = Vec::new();
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            heard.push(line);
        }
        heard
    }

    /// Kills it with SIGKILL, and gives all that it had still said.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.wait()
    }

    /// Asks it to end, and gives all that it had still to say.
    pub fn finish(mut self) -> Vec<String> {
        drop(self.input.take());
        self.wait()
    }

    fn wait(&mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.hear()).collect();
        self.child.wait().unwrap();
        said
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what this process was started for.
pub fn work() {
    let Ok(assignment) = env::var(ASSIGNMENT) else {
        println!("nothing to do: only the tests of this file start workers");
        return;
    };
    // The runner has begun a line.
    println!();
    let mut words = assignment.split('\n');
    let role = words.next().unwrap();
    let database = Database::from_words(&mut words);
    let fault = Fault::named(words.next().unwrap());
    let arguments: Vec<&str> = words.collect();
    runtime().block_on(async {
        let store: AnyStore = database.open(fault).await;
        say("ready");
        match role {
            "issuer" => quota::issuer(&store).await,
            "mover" => quota::mover(&store).await,
            "editor" => edits::editor(&store, &arguments).await,
            "writer" => writer::run(&store, &arguments).await,
            "steps" => syscalls::steps(store, &database, &arguments).await,
            role => panic!("no worker is a {role}"),
        }
    });
}

/// Says one line to the test, which has it when this returns. Ends the process if nobody listens.
pub fn say(line: &str) {
    let mut output = io::stdout().lock();
    let said = output.write_all(format!("{MARK}{line}\n").as_bytes()).and_then(|()| output.flush());
    if said.is_err() {
        process::exit(1);
    }
}

/// What a line of a worker's output says to the test, if it is one of those.
pub fn said(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}

/// What the test tells this worker, until it has nothing more to tell.
pub fn told() -> impl Iterator<Item = String> {
    io::stdin().lines().map_while(Result::ok)
}

/// A time that all processes agree on.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}
