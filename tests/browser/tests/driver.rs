//! The browsers and their drivers: processes of the tests, on free ports, that end with the tests.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::commands;

/// The browsers that the tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
    WebKit,
}

impl Kind {
    /// Returns the browser of this process, which `KEYWAY_BROWSER` names.
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Kind> =
            LazyLock::new(|| match env::var("KEYWAY_BROWSER").as_deref() {
                Err(_) | Ok("chromium") => Kind::Chromium,
                Ok("firefox") => Kind::Firefox,
                Ok("webkit") => Kind::WebKit,
                Ok(other) => panic!("KEYWAY_BROWSER: chromium, firefox or webkit, not {other:?}"),
            });
        *CHOSEN
    }

    /// Returns the shell command that runs the driver on `$PORT`, with files below `$HOME` only.
    fn command(self) -> &'static str {
        match self {
            Self::Chromium => r#"exec chromedriver --port="$PORT""#,
            Self::Firefox => {
                r#"exec geckodriver --port="$PORT" --websocket-port=0 --profile-root="$HOME""#
            }
            // WebKit has no headless mode. A display of its own keeps the clipboards of two tests apart.
            Self::WebKit => {
                r#"Xvfb -displayfd 1 -screen 0 1400x1400x24 -nolisten tcp >"$HOME/display" &
                until [ -s "$HOME/display" ]; do sleep 0.02; done
                DISPLAY=":$(cat "$HOME/display")" exec WebKitWebDriver --port="$PORT""#
            }
        }
    }

    /// Returns the capabilities of a session. Dates have the day before the month.
    fn capabilities(self, logs: &Value, profile: &str) -> Value {
        match self {
            Self::Chromium => {
                let profile = format!("--user-data-dir={profile}/profile");
                let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
                json!({
                    "goog:chromeOptions": {
                        "args": flags,
                        "prefs": { "intl.accept_languages": "en-GB,en" },
                    },
                    "goog:loggingPrefs": logs,
                })
            }
            Self::Firefox => {
                let mut options = json!({
                    "args": ["-headless", "-width=1280", "-height=800"],
                    "prefs": { "intl.accept_languages": "en-GB, en" },
                });
                // The driver finds a `firefox` on the path. Debian's has another name.
                if let Some(binary) = FIREFOX.iter().find(|binary| Path::new(binary).exists()) {
                    options["binary"] = json!(binary);
                }
                json!({ "moz:firefoxOptions": options })
            }
            Self::WebKit => json!({}),
        }
    }
}

const FIREFOX: [&str; 1] = ["/usr/bin/firefox-esr"];

/// Features that a headless Chromium does not need. None of them changes the rights of a page.
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

/// Runs a command until the standard input ends, which also happens if the process of the tests is killed.
/// Then all processes of the command are killed, and their files are removed.
const SCRIPT: &str =
    r#"set -m; bash -c "$0" & read -r _; kill -KILL -- "-$!"; wait; rm -rf "$HOME""#;

/// The longest time for a driver to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A driver with the browser that it starts. Both end when the value is dropped, also if a test panics.
struct Driver {
    process: Child,
    address: SocketAddr,
    home: String,
}

impl Driver {
    fn start(zone: Option<&str>) -> Self {
        let home = tempfile::Builder::new().prefix("keyway-browser").tempdir().unwrap().keep();
        let home = home.to_str().unwrap().to_owned();
        let port = free_port();
        let mut command = Command::new("bash");
        command
            .args(["-c", SCRIPT, Kind::chosen().command()])
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C ends the tests, and with them the standard input of the script.
            .process_group(0);
        if let Some(zone) = zone {
            command.env("TZ", zone);
        }
        let process = command.spawn().unwrap();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < PATIENCE, "no driver: tests/console.sh installs it");
            sleep(Duration::from_millis(10));
        }
        Self { process, address, home }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Returns a port that nobody uses. It is below those that the system gives to clients, which would otherwise
/// take it before the driver does.
fn free_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 400 * 50).unwrap();
    loop {
        let port = 10_000 + (first + COUNT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A browser with one window.
pub struct Browser {
    pub client: Client,
    _driver: Driver,
}

/// Browsers of tests that have passed, for other tests. They end with the process.
static IDLE: Mutex<Vec<Browser>> = Mutex::new(Vec::new());

impl Browser {
    /// Starts a browser with an empty profile, in a time zone. `logs` names the logs that Chromium keeps.
    pub async fn start(logs: Value, zone: Option<&str>) -> Self {
        let driver = Driver::start(zone);
        let mut capabilities = Kind::chosen().capabilities(&logs, &driver.home);
        capabilities["timeouts"] = json!({ "script": 20_000, "pageLoad": 20_000 });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = ClientBuilder::new(connector)
            .capabilities(capabilities)
            .connect(&format!("http://{}", driver.address))
            .await
            .unwrap();
        Self { client, _driver: driver }
    }

    /// Returns a browser without cookies, in a window without a history.
    pub async fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(browser) = idle else {
            return Self::start(json!({ "browser": "ALL" }), None).await;
        };
        if Kind::chosen() == Kind::Chromium {
            // The last test's page may have complained that its service ended.
            commands::log(&browser.client, "browser").await.unwrap();
        }
        browser
    }

    /// Keeps the browser for another test. It must show a page of the service, whose cookies are removed.
    pub async fn give_back(self) {
        self.client.delete_all_cookies().await.unwrap();
        let window = self.client.new_window(true).await.unwrap();
        self.client.close_window().await.unwrap();
        self.client.switch_to_window(window.handle).await.unwrap();
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }
}
