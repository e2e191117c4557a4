//! Browsers, and what drives them: processes of ours, on free ports, that end when we do.

use std::{
    fmt,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use fantoccini::{
    Client, ClientBuilder,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

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
    address: String,
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
            Some(line.strip_suffix('.')?.split_once("started successfully on port ")?.1.to_owned())
        });
        let port = port.expect("chromedriver does not start: tests/console.sh installs it");
        // It must be able to write on.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: format!("http://127.0.0.1:{port}"), profile }
    }

    /// A session in a new browser with an empty profile, that notes down what `logs` names.
    async fn connect(&self, logs: Value) -> Client {
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
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let capabilities: Capabilities = capabilities;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities).connect(&self.address).await.unwrap()
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
    pub client: Client,
}

/// Browsers of tests that have passed, for others. They end with the process.
static IDLE: Mutex<Vec<Browser>> = Mutex::new(Vec::new());

impl Browser {
    /// A browser that nobody has used.
    pub async fn start(logs: Value) -> Self {
        let driver = Driver::start();
        let client = driver.connect(logs).await;
        Self { _driver: driver, client }
    }

    /// A browser that knows nobody, in a window that was nowhere yet.
    pub async fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(browser) = idle else { return Self::start(json!({ "browser": "ALL" })).await };
        let client = &browser.client;
        let window = client.new_window(true).await.unwrap().handle;
        client.close_window().await.unwrap();
        client.switch_to_window(window).await.unwrap();
        client.issue_cmd(Extra::devtools("Network.clearBrowserCookies", json!({}))).await.unwrap();
        client.issue_cmd(Extra::log("browser")).await.unwrap();
        browser
    }

    /// For another test.
    pub fn give_back(self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }
}

/// A command that WebDriver does not have and ChromeDriver does.
pub struct Extra {
    path: &'static str,
    body: Value,
}

impl Extra {
    /// A command of the DevTools protocol.
    pub fn devtools(command: &str, parameters: Value) -> Self {
        Self { path: "goog/cdp/execute", body: json!({ "cmd": command, "params": parameters }) }
    }

    /// All that was written to a log since the last time.
    pub fn log(kind: &str) -> Self {
        Self { path: "se/log", body: json!({ "type": kind }) }
    }
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(self.body.to_string()))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}
