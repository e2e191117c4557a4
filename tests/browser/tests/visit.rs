//! One test: a service, a browser, and what the browser must have noted down at the end, which is nothing.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::LazyLock,
    thread,
};

use keyway_browser_tests::{Host, host::MOUNT};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    driver::Browser,
    page::Page,
};

/// What a test has.
pub struct Visit<H = Host> {
    pub host: H,
    pub page: Page,
}

/// Runs a test with a service of its own.
pub fn browse(test: impl AsyncFnOnce(&mut Visit)) {
    let browser = RUNTIME.block_on(Browser::take());
    visit(browser, async || Host::start().await, test).give_back();
}

/// As [`browse`], with another service and browser, which it gives back.
pub fn visit<H>(
    browser: Browser,
    start: impl AsyncFnOnce() -> H,
    test: impl AsyncFnOnce(&mut Visit<H>),
) -> Browser {
    let host = RUNTIME.block_on(start());
    let mut visit = Visit { host, page: Page::new(browser.session.clone()) };
    let run = || {
        RUNTIME.block_on(async {
            test(&mut visit).await;
            let faults = visit.page.take_faults().await;
            assert!(faults.is_empty(), "the browser's console: {faults:#?}");
        });
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        RUNTIME.block_on(visit.page.leave_a_picture());
        resume_unwind(panic);
    }
    browser
}

/// Of all tests, since browsers go from one to the other.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A browser that notes down its requests as well.
pub fn browser_with_requests() -> Browser {
    Browser::start(json!({ "browser": "ALL", "performance": "ALL" }))
}

/// A browser of its own, for what others would disturb.
pub fn new_browser() -> Browser {
    Browser::start(json!({ "browser": "ALL" }))
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
        let entries = self.client.log("browser").await.unwrap();
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
        let log = self.client.log("browser").await.unwrap_or_default();
        eprintln!("its console: {log:#?}");
    }
}
