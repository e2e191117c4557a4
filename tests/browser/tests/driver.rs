//! Browsers, and what drives them: processes of ours, on free ports, that end when we do.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::session::Session;

/// What a headless browser does without, and nothing that changes what a page may do.
const FLAGS: [&str; 13] = [
    "--headless",
    // The tests run as root in most containers, where the browser's own sandbox does not.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1280,800",
    // The browser ends when nobody drives it any more.
    "--remote-debugging-pipe",
];

/// Runs ChromeDriver until the standard input ends, which it does however a process of ours ends. Then all that
/// was started goes, and the profile too.
const SCRIPT: &str =
    r#"set -m; chromedriver --port=0 & read -r _; kill -KILL -- "-$!"; wait; rm -rf "$0""#;

/// ChromeDriver, with the browser that it starts. Both end with this, also when a test panics.
pub struct Driver {
    process: Child,
    address: SocketAddr,
    profile: String,
}

impl Driver {
    fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("keyway-browser").tempdir().unwrap().keep();
        let profile = profile.to_str().unwrap().to_owned();
        let mut process = Command::new("bash")
            .args(["-c", SCRIPT, &profile])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for us, and so for what ends its input.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            line.strip_suffix('.')?.split_once("started successfully on port ")?.1.parse().ok()
        });
        let port: u16 = port.expect("chromedriver does not start: tests/console.sh installs it");
        // It must be able to write on.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: (Ipv4Addr::LOCALHOST, port).into(), profile }
    }

    /// A session in a new browser with an empty profile, that notes down what `logs` names.
    fn connect(&self, logs: Value) -> Session {
        let profile = format!("--user-data-dir={}", self.profile);
        let flags = FLAGS.into_iter().map(String::from).chain([profile]);
        let capabilities = json!({
            "goog:chromeOptions": {
                "args": flags.collect::<Vec<_>>(),
                // Day before month.
                "prefs": { "intl.accept_languages": "en-GB,en" },
            },
            "goog:loggingPrefs": logs,
            "timeouts": { "script": 60_000, "pageLoad": 60_000 },
        });
        Session::start(self.address, capabilities)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A browser with one window, and what drives it.
pub struct Browser {
    _driver: Driver,
    pub session: Session,
}

/// Browsers of tests that have passed, for others. They end with the process.
static IDLE: Mutex<Vec<Browser>> = Mutex::new(Vec::new());

impl Browser {
    /// A browser that nobody has used.
    pub fn start(logs: Value) -> Self {
        let driver = Driver::start();
        let session = driver.connect(logs);
        Self { _driver: driver, session }
    }

    /// A browser that knows nobody, in a window that was nowhere yet.
    pub async fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(browser) = idle else { return Self::start(json!({ "browser": "ALL" })) };
        browser.session.change_window().await.unwrap();
        browser.session.delete_all_cookies().await.unwrap();
        browser.session.log("browser").await.unwrap();
        browser
    }

    /// For another test.
    pub fn give_back(self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }
}
