//! A folder with a policy, a pepper and a store, and calls of the program in it.

use std::{
    cell::RefCell,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A pepper that is used nowhere else.
pub const PEPPER: &str = "dGhlIHBlcHBlciBvZiB0aGUgdGVzdHMgb2Yga2V5Y3RsLCBubyBtb3JlIQ==";
/// The password in the URL of a server, and as it is.
pub const PASSWORD: &str = "a%20secret%2Fpass%3Aword";
const PLAIN_PASSWORD: &str = "a secret/pass:word";

/// The policy of each world.
pub const POLICY: &str = r#"{
    "issuer": "mm",
    "scopes": [
        { "name": "reporting", "description": "Read reports" },
        { "name": "erp", "description": "Read and write orders" },
        { "name": "erp.read", "description": "Read orders" }
    ],
    "max_child_lifetime_seconds": 86400,
    "resources": [{ "name": "machine", "description": "One machine" }],
    "tiers": [
        { "name": "trial", "keys": 1, "scopes": ["reporting"], "max_lifetime_days": 30 },
        { "name": "lite", "keys": 1, "scopes": ["reporting"] },
        { "name": "large", "keys": 50, "scopes": "all" }
    ]
}"#;

/// A folder in which the program is called.
pub struct World {
    folder: TempDir,
    /// Texts that no output may contain.
    secrets: RefCell<Vec<String>>,
}

/// The end of a call.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// Creates a folder with an empty store.
    pub fn new() -> Self {
        let world = Self::without_store();
        world.done("init");
        world
    }

    /// Creates a folder without a store.
    pub fn without_store() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secrets = RefCell::new([PEPPER, PASSWORD, PLAIN_PASSWORD].map(str::to_owned).to_vec());
        let world = Self { folder, secrets };
        world.file("policy.json", POLICY);
        world.file("pepper", PEPPER);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Keeps a text out of all further output.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Returns the program with its settings. The arguments of `line` are separated by single spaces.
    pub fn program(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyctl"));
        command
            .args(line.split(' '))
            .current_dir(self.folder.path())
            .env_clear()
            .env("KEYCTL_POLICY", "policy.json")
            .env("KEYCTL_STORE", "keys.db")
            .env("KEYCTL_PEPPER_FILE", "pepper")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a program that [`program`](Self::program) made, and checks its output for secrets.
    pub fn run(&self, mut command: Command, stdin: &str) -> Ended {
        let mut child = command.spawn().unwrap();
        // The program may have ended without reading.
        _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        self.end(child)
    }

    /// Waits for a program, and checks its output for secrets.
    pub fn end(&self, child: Child) -> Ended {
        let ended = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(ended.stdout), text(ended.stderr));
        for secret in self.secrets.borrow().iter() {
            assert!(!out.contains(secret), "a secret is on stdout: {out}");
            assert!(!err.contains(secret), "a secret is on stderr: {err}");
        }
        Ended { code: ended.status.code().unwrap(), out, err }
    }

    pub fn call(&self, line: &str) -> Ended {
        self.run(self.program(line), "")
    }

    /// Calls the program with this text on stdin.
    pub fn call_with(&self, line: &str, stdin: &str) -> Ended {
        self.run(self.program(line), stdin)
    }

    /// Calls the program, which must succeed, and returns its stdout.
    pub fn done(&self, line: &str) -> String {
        let ended = self.call(line);
        assert_eq!(ended.code, 0, "{line}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// Calls the program, which must fail with this code, and returns its stderr.
    pub fn fails(&self, line: &str, code: i32) -> String {
        let ended = self.call(line);
        assert_eq!(ended.code, code, "{line}: {}{}", ended.out, ended.err);
        assert!(!ended.err.is_empty(), "{line}: it fails without a reason");
        ended.err
    }

    /// Calls the program with `--json`, and returns its one document.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --json"))).unwrap()
    }

    /// Calls the program with `--json`, and returns its lines.
    pub fn lines(&self, line: &str) -> Vec<Value> {
        lines(&self.done(&format!("{line} --json")))
    }

    /// Returns all keys in the order of their names. Those of one tick of the clock are listed in the order of their ids.
    pub fn keys_by_name(&self) -> Vec<Value> {
        let mut keys = self.lines("keys list");
        keys.sort_by_key(|key| key["name"].to_string());
        keys
    }

    /// Issues a key, and returns its id and its token, which is secret from now on.
    pub fn issue(&self, arguments: &str) -> (String, String) {
        let issued = self.json(&format!("keys issue {arguments}"));
        let text = |pointer: &str| issued.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let (id, token) = (text("/key/id"), text("/token"));
        self.keep_secret(&token);
        (id, token)
    }

    /// Opens the database as another program would.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("keys.db")).unwrap()
    }

    /// Returns a key as JSON.
    pub fn key(&self, id: &str) -> Value {
        self.json(&format!("keys show {id}"))
    }

    /// Returns everything that is stored, without the times of last uses.
    pub fn stored(&self) -> (Vec<Value>, Vec<Value>) {
        (self.lines("tenants list"), self.lines("keys list"))
    }
}

/// Reads lines of JSON.
pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
