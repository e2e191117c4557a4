//! One test: a service, a browser, and what the browser must have noted down at the end, which is nothing.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    thread,
};

use keyway_browser_tests::{Host, host::MOUNT};
use serde_json::{Value, json};
use tokio::runtime;

use crate::{
    driver::{Driver, Extra},
    page::Page,
};

/// What a test has.
pub struct Visit<H = Host> {
    pub host: H,
    pub page: Page,
}

/// Runs a test with a service and a browser of its own.
pub fn browse(test: impl AsyncFnOnce(&mut Visit)) {
    visit(json!({ "browser": "ALL" }), async || Host::start().await, test);
}

/// As [`browse`], with another service and other logs.
pub fn visit<H>(
    logs: Value,
    start: impl AsyncFnOnce() -> H,
    test: impl AsyncFnOnce(&mut Visit<H>),
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driver = Driver::start();
    let mut visit = runtime.block_on(async {
        let (host, client) = (start().await, driver.connect(logs).await);
        Visit { host, page: Page::new(client) }
    });
    let run = || {
        runtime.block_on(async {
            test(&mut visit).await;
            let faults = visit.page.take_faults().await;
            assert!(faults.is_empty(), "the browser's console: {faults:#?}");
        });
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        runtime.block_on(visit.page.leave_a_picture());
        resume_unwind(panic);
    }
}

impl<S> Visit<Host<S>> {
    /// Signs somebody in and opens the console.
    pub async fn open(&self, who: &str) -> &Page {
        self.open_at(who, MOUNT).await
    }

    /// As [`open`](Self::open), at a path of the service.
    pub async fn open_at(&self, who: &str, path: &str) -> &Page {
        let page = &self.page;
        page.client.goto(&format!("http://{}/sign-in?{who}", self.host.address)).await.unwrap();
        page.client.goto(&format!("http://{}{path}", self.host.address)).await.unwrap();
        page.settled().await;
        page
    }
}

impl Page {
    /// What the browser's console may say of answers in this test: it does so of every one that is not a
    /// success, whatever the page makes of it.
    pub fn expect_in_console(&self, text: &'static str) {
        self.expected.borrow_mut().push(text);
    }

    /// All that the browser's console says and the test does not expect: errors of scripts, reports of the
    /// policy of contents, and answers that are none. The rest is forgotten.
    pub async fn take_faults(&self) -> Vec<String> {
        let Ok(Value::Array(entries)) = self.client.issue_cmd(Extra::log("browser")).await else {
            panic!("the browser has no log");
        };
        let expected = self.expected.borrow();
        let is_fault = |entry: &Value| {
            let text = entry["message"].as_str().unwrap_or_default();
            entry["source"] != "network" || !expected.iter().any(|expected| text.contains(expected))
        };
        entries.into_iter().filter(is_fault).map(|entry| entry.to_string()).collect()
    }

    /// For who looks why a test failed.
    async fn leave_a_picture(&self) {
        let Ok(picture) = self.client.screenshot().await else { return };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = thread::current().name().unwrap_or("test").replace("::", "-");
        let path = folder.join(format!("{name}.png"));
        if fs::write(&path, picture).is_ok() {
            eprintln!("the page when it failed: {}", path.display());
        }
        let log = self.client.issue_cmd(Extra::log("browser")).await.unwrap_or_default();
        eprintln!("its console: {log:#}");
    }
}
