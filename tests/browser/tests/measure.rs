//! How long people wait for the page in Chromium, and how much is sent. `tests/deep.sh` runs it.

use keyway::{NewKey, SqliteStore};
use keyway_browser_tests::{Host, host::HUGE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    page::Page,
    visit::{Visit, browse_at},
};

/// How often each is measured.
const TIMES: usize = 21;

/// Records the frame in which the first key and the search can be used, and the frame in which the response
/// to what was typed is there.
const WATCH: &str = "
    const usable = () => {
        const seen = document.querySelector('.key') && document.querySelector('#search')
            && document.querySelector('#main:not([aria-busy])');
        if (seen) window.usableAt = performance.now(); else requestAnimationFrame(usable);
    };
    requestAnimationFrame(usable);
    addEventListener('input', (event) => {
        const start = event.timeStamp;
        window.foundAfter = undefined;
        const found = () => {
            const seen = document.querySelectorAll('.key').length === 1
                && !document.querySelector('#results[aria-busy]');
            if (seen) window.foundAfter = performance.now() - start; else requestAnimationFrame(found);
        };
        requestAnimationFrame(found);
    }, true);";

#[test]
#[ignore = "measures"]
fn times_and_bytes() {
    let folder = TempDir::new().unwrap();
    let start = async || {
        let host = Host::over(SqliteStore::open(folder.path().join("keys.db")).await.unwrap());
        for (tenant, keys) in [("five", 5), ("five-thousand", 5_000)] {
            let tenant = host.keyring.create_empty_tenant(tenant, HUGE).await.unwrap();
            for number in 0..keys {
                let request =
                    NewKey::named(format!("Integration {number:04}")).scopes(["reporting"]);
                drop(tenant.issue(request).await.unwrap());
            }
        }
        host
    };
    browse_at(start, async |visit| {
        visit
            .page
            .devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }))
            .await;
        for (tenant, keys) in [("five", 5), ("five-thousand", 5_000)] {
            let who = format!("tenant/{tenant}/anna@{tenant}.example");
            let mut usable = Vec::new();
            for _ in 0..TIMES {
                usable.push(first_load(visit, &who).await);
            }
            println!("console usable-page-{keys}-keys {:.0} ms", median(usable));
            if keys == 5 {
                tell_transfer(&visit.page).await;
            }
            let mut warm = Vec::new();
            for _ in 0..TIMES {
                visit.open(&who).await;
                warm.push(
                    visit
                        .page
                        .until("it is usable", "return window.usableAt", &[])
                        .await
                        .as_f64()
                        .unwrap(),
                );
            }
            println!("console usable-page-again-{keys}-keys {:.0} ms", median(warm));
            let mut found = Vec::new();
            for number in 0..TIMES {
                found.push(keystroke(&visit.page, number % keys).await);
            }
            println!("console search-keystroke-{keys}-keys {:.0} ms", median(found));
        }
    });
}

/// Milliseconds from the start of the navigation, with nothing in the browser's cache.
async fn first_load(visit: &Visit<SqliteStore>, who: &str) -> f64 {
    visit.page.devtools("Network.clearBrowserCache", json!({})).await;
    visit.open(who).await;
    let usable = visit.page.until("it is usable", "return window.usableAt", &[]).await;
    usable.as_f64().unwrap()
}

/// Milliseconds from the last letter of a name until its card alone is shown. 120 of them are the page's
/// waiting for another letter.
async fn keystroke(page: &Page, number: usize) -> f64 {
    let name = format!("Integration {number:04}");
    let (last, rest) = (&name[name.len() - 1..], &name[..name.len() - 1]);
    page.fill("#search", rest).await;
    let script = "return document.querySelector('.count').textContent.includes('found') \
        && document.querySelectorAll('.key').length > 1 && !document.querySelector('#results[aria-busy]')";
    page.until("the first letters are answered", script, &[]).await;
    page.run("window.foundAfter = undefined", &[]).await;
    page.keys(&[last]).await;
    let found = page.until("the key is found", "return window.foundAfter ?? null", &[]).await;
    page.shows(".key", &name).await;
    found.as_f64().unwrap()
}

async fn tell_transfer(page: &Page) {
    let script = "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]; \
        return [all.length, all.reduce((sum, each) => sum + each.transferSize, 0)]";
    let Value::Array(sums) = page.run(script, &[]).await else { unreachable!() };
    println!("console first-load-requests {} requests", sums[0]);
    println!("console first-load-transferred {} bytes", sums[1]);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
