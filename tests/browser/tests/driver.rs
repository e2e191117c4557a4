//! A browser of one test, and what drives it: processes of its own, on free ports, that end with the test.

use std::{
    fmt,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use fantoccini::{
    Client, ClientBuilder,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

/// What a headless browser does without, and nothing that changes what a page may do.
const FLAGS: [&str; 14] = [
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
    "--lang=en-GB",
    "--hide-scrollbars",
    "--window-size=1280,800",
    // The browser ends when nobody drives it any more.
    "--remote-debugging-pipe",
];

/// ChromeDriver, with the browser that it starts. Both end with this, also when a test panics.
pub struct Driver {
    process: Child,
    address: String,
    profile: TempDir,
}

impl Driver {
    pub fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Whatever it starts is in its group, and can be ended with it.
            .process_group(0)
            .spawn()
            .expect("chromedriver: see tests/console.sh for what has to be installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.strip_suffix('.')?.split_once("started successfully on port ")?.1.to_owned())
        });
        // It must be able to write on.
        std::thread::spawn(move || lines.for_each(drop));
        let address = format!("http://127.0.0.1:{}", port.expect("chromedriver does not start"));
        Self { process, address, profile: TempDir::new().unwrap() }
    }

    /// A session in a new browser with an empty profile, that notes down what `logs` names.
    pub async fn connect(&self, logs: Value) -> Client {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let flags = FLAGS.into_iter().map(String::from).chain([profile]);
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags.collect::<Vec<_>>() },
            "goog:loggingPrefs": logs,
            "timeouts": { "script": 30_000, "pageLoad": 30_000 },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let capabilities: Capabilities = capabilities;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities).connect(&self.address).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
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

    /// Grants or denies the page what browsers ask their users about.
    pub fn permission(name: &str, state: &str) -> Self {
        let body = json!({ "descriptor": { "name": name }, "state": state });
        Self { path: "permissions", body }
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
