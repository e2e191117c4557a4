//! How long people wait, and how much is sent: with `KEYWAY_MEASURE=1`, best with `--release`.

use std::env;

use keyway::{authority::NewKey, store::SqliteStore};
use keyway_browser_tests::{Host, host::HUGE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    page::Page,
    visit::{Visit, new_browser, visit},
};

/// How often each is measured.
const TIMES: usize = 21;

/// Notes down the frame in which the first key and the search can be used, and the frame in which the answer
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
fn times_and_bytes() {
    if env::var_os("KEYWAY_MEASURE").is_none() {
        return;
    }
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
    visit(new_browser(), start, async |visit| {
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
async fn first_load<S>(visit: &Visit<Host<S>>, who: &str) -> f64
where
    S: keyway::store::KeyStore + Clone,
{
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
