//! One test: a service, a browser, and the faults that the browser must not have noticed at its end.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use keyway_browser_tests::{FaultyStore, Host, host::MOUNT};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    commands,
    driver::{Browser, Kind},
    page::Page,
};

/// Sends the errors of scripts and the reports of the policy of contents to the service. Chromium needs no such
/// script, because its driver has a log, which has more.
const NOTES: &str = "
    const note = (text) => {
        const request = new XMLHttpRequest();
        request.open('POST', '/noted', false);
        try { request.send(text) } catch {}
    };
    addEventListener('error', (event) => note(`error: ${event.message}`));
    addEventListener('unhandledrejection', (event) => note(`rejection: ${event.reason}`));
    addEventListener('securitypolicyviolation', (event) => {
        if (!event.blockedURI.endsWith('/noted')) note(`policy: ${event.effectiveDirective} ${event.blockedURI}`);
    });
    const write = console.error;
    console.error = (...parts) => { note(`console: ${parts.join(' ')}`); write(...parts) };";

/// Makes WebKit prefer dates with the day before the month. Its driver has no setting for it.
const LANGUAGES: &str =
    "Object.defineProperty(Navigator.prototype, 'languages', { get: () => ['en-GB', 'en'] });";

/// Gives the page a function that throws. An exception of a driver's own script is not the page's in Firefox.
pub const THROW_LATER: &str =
    "window.throwLater = () => setTimeout(() => { throw new TypeError('planted') });";

/// A test while it runs.
pub struct Visit<S = FaultyStore> {
    pub host: Host<S>,
    pub page: Page,
}

/// Runs a test with a service of its own.
pub fn browse(test: impl AsyncFnOnce(&mut Visit)) {
    browse_at(async || Host::start().await, test);
}

/// As [`browse`], with another service.
pub fn browse_at<S>(start: impl AsyncFnOnce() -> Host<S>, test: impl AsyncFnOnce(&mut Visit<S>)) {
    let browser = browse_in(RUNTIME.block_on(Browser::take()), start, test);
    RUNTIME.block_on(browser.give_back());
}

/// As [`browse_at`], in a browser that is returned if the test passes.
pub fn browse_in<S>(
    browser: Browser,
    start: impl AsyncFnOnce() -> Host<S>,
    test: impl AsyncFnOnce(&mut Visit<S>),
) -> Browser {
    let host = RUNTIME.block_on(start());
    if Kind::chosen() != Kind::Chromium {
        host.wire.preload(NOTES);
    }
    if Kind::chosen() == Kind::WebKit {
        host.wire.preload(LANGUAGES);
    }
    let page = Page::new(browser.client.clone(), Arc::clone(&host.wire));
    let mut visit = Visit { host, page };
    let run = || {
        RUNTIME.block_on(async {
            test(&mut visit).await;
            let faults = visit.page.take_faults().await;
            assert!(faults.is_empty(), "the browser has noticed: {faults:#?}");
        });
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        RUNTIME.block_on(visit.page.leave_a_picture());
        resume_unwind(panic);
    }
    browser
}

/// The runtime of all tests, since a browser is used by several of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Starts a browser that logs its requests as well.
pub fn browser_with_requests() -> Browser {
    RUNTIME.block_on(Browser::start(json!({ "browser": "ALL", "performance": "ALL" }), None))
}

/// Starts a browser in a time zone.
pub fn browser_in(zone: &str) -> Browser {
    RUNTIME.block_on(Browser::start(json!({ "browser": "ALL" }), Some(zone)))
}

impl<S> Visit<S> {
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
    /// Expects messages about responses. Chromium's log has one for each response that is not a success, whatever
    /// the page makes of it.
    pub fn expect_in_console(&self, text: &'static str) {
        self.expected.borrow_mut().push(text);
    }

    /// Returns the faults since the last time that the test does not expect: errors of scripts, reports of the
    /// policy of contents, and in Chromium lost responses.
    pub async fn take_faults(&self) -> Vec<String> {
        if Kind::chosen() != Kind::Chromium {
            return self.wire.take_notes();
        }
        let entries = commands::log(&self.client, "browser").await.unwrap();
        let expected = self.expected.borrow();
        let is_fault = |entry: &Value| {
            let text = entry["message"].as_str().unwrap_or_default();
            entry["source"] != "network" || !expected.iter().any(|expected| text.contains(expected))
        };
        entries.into_iter().filter(is_fault).map(|entry| entry.to_string()).collect()
    }

    /// Saves a picture of the page of a test that failed.
    async fn leave_a_picture(&self) {
        let picture = timeout(Duration::from_secs(10), self.client.screenshot()).await;
        let Ok(Ok(picture)) = picture else { return };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = thread::current().name().unwrap_or("test").replace("::", "-");
        let path = folder.join(format!("{name}-{:?}.png", Kind::chosen()));
        if fs::write(&path, picture).is_ok() {
            eprintln!("the page when it failed: {}", path.display());
        }
        eprintln!("the browser has noticed: {:#?}", self.take_faults().await);
    }
}
