//! The worker processes of these tests, and their protocol with the test.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use keyway::store::AnyEventStore;

use crate::{
    allowances, databases::Database, edits, faults::Fault, quota, runtime, syscalls, usage, writer,
};

/// The variable with a worker's assignment: its role, its database, its fault, and the arguments of its role,
/// one per line.
const ASSIGNMENT: &str = "KEYWAY_WORKER";

/// The prefix of lines for the test, since the test runner prints lines too.
const MARK: &str = "> ";

/// How long a worker may be silent while a line of it is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that a test has started. It ends when this handle is dropped.
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

    /// Starts the worker as the last argument of another program.
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
        // Continues to read after the process has been killed, until all of its output has arrived.
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
        // A worker that is being killed no longer reads.
        let _ = writeln!(self.input.as_mut().unwrap(), "{line}");
    }

    /// Returns the worker's next line. `None` after its last one.
    pub fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("a worker has been silent for {PATIENCE:?}"),
        }
    }

    /// Returns the lines before the line `last`, or all lines if the worker ends first.
    pub fn hear_until(&self, last: &str) -> Vec<String> {
        std::iter::from_fn(|| self.hear()).take_while(|line| line != last).collect()
    }

    /// Returns the lines that arrive in this time.
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

    /// Kills the worker with SIGKILL, and returns its remaining lines.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.wait()
    }

    /// Closes the worker's input, which asks it to end, and returns its remaining lines.
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

/// Runs the role that this process was started for.
pub fn work() {
    let Ok(assignment) = env::var(ASSIGNMENT) else {
        println!("nothing to do: only the tests of this file start workers");
        return;
    };
    // The test runner has begun a line. This ends it.
    println!();
    let mut words = assignment.split('\n');
    let role = words.next().unwrap();
    let database = Database::from_words(&mut words);
    let fault = Fault::named(words.next().unwrap());
    let arguments: Vec<&str> = words.collect();
    runtime().block_on(async {
        let store: AnyEventStore = database.open(fault).await;
        say("ready");
        match role {
            "issuer" => quota::issuer(&store).await,
            "spender" => allowances::spender(&store, &database, &arguments).await,
            "mover" => quota::mover(&store).await,
            "editor" => edits::editor(&store, &arguments).await,
            "writer" => writer::run(&store, &arguments).await,
            "counter" => usage::counter(&store, &database, &arguments).await,
            "steps" => syscalls::steps(store, &database, &arguments).await,
            role => panic!("no worker is a {role}"),
        }
    });
}

/// Sends one line to the test, which can read it when this returns. Ends the process if the test is gone.
pub fn say(line: &str) {
    let mut output = io::stdout().lock();
    let said = output.write_all(format!("{MARK}{line}\n").as_bytes()).and_then(|()| output.flush());
    if said.is_err() {
        process::exit(1);
    }
}

/// Returns the message in a line of a worker's output, if it has one.
pub fn said(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)
}

/// Returns the commands of the test until it closes this worker's input.
pub fn told() -> impl Iterator<Item = String> {
    io::stdin().lines().map_while(Result::ok)
}

/// Returns a time that all processes agree on.
pub fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}
