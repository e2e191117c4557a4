//! Injects errors into the system calls of running processes.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

/// Held while the calls of this process itself are traced, which slows all of it, and while times are
/// measured.
static UNDISTURBED: Mutex<()> = Mutex::new(());

pub fn undisturbed() -> MutexGuard<'static, ()> {
    UNDISTURBED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes system calls fail until it is dropped.
#[derive(Debug)]
pub struct Failing(Child);

impl Failing {
    /// Makes all calls of these names (separated by commas) fail with `error`, in `processes` and in those
    /// that they start.
    pub fn calls(names: &str, error: &str, processes: &[u32]) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"]);
        strace.args(["-e", &format!("trace={names}")]);
        strace.args(["-e", &format!("inject={names}:error={error}")]);
        for process in processes {
            strace.args(["-p", &process.to_string()]);
        }
        let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !processes.iter().all(|process| is_traced(*process)) {
            if let Some(status) = strace.try_wait().unwrap() {
                let said = BufReader::new(strace.stderr.take().unwrap()).lines().next();
                panic!("strace has ended with {status}: {said:?}");
            }
            sleep(Duration::from_millis(1));
        }
        Self(strace)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // When strace has ended, the kernel detaches from the processes. `Child::kill` needs no new process.
        // Any other signal would need one, which could not start while the calls of this process and its
        // children fail.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether all threads of a process are traced.
fn is_traced(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

/// Returns whether processes that are not children can be traced on this machine.
pub fn is_there() -> bool {
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-p", &other.id().to_string()]);
    let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let trouble = match strace {
        Ok(mut strace) => {
            while !is_traced(other.id()) && strace.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            let is_traced = is_traced(other.id());
            let _ = strace.kill();
            let _ = strace.wait();
            (!is_traced).then_some("strace may not trace other processes here")
        }
        Err(_) => Some("strace is not installed"),
    };
    let _ = other.kill();
    let _ = other.wait();
    let Some(trouble) = trouble else { return true };
    assert!(env::var("CI").as_deref() != Ok("true"), "{trouble}");
    println!("not run: {trouble}");
    false
}
