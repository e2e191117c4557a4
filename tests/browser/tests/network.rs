//! The requests of the page, their origins, and the things that the page must not do.

use std::{collections::BTreeSet, fs, time::Duration};

use keyway_browser_tests::{
    Host,
    host::{ANNA, MOUNT, OLGA},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    commands,
    driver::Kind,
    page::Page,
    verbs::{create, press_on, search},
    visit::{THROW_LATER, Visit, browse, browse_in, browser_with_requests},
};

#[test]
fn a_first_load_is_what_is_needed_and_no_more() {
    browse(async |visit| {
        for (who, list) in [(ANNA, "api/keys?limit=50"), (OLGA, "api/tenants?limit=50")] {
            visit.host.take_requests();
            visit.open(who).await;
            let requests: Vec<String> = visit.host.take_requests();
            let below = format!("GET {MOUNT}/");
            let mut found: Vec<&str> =
                requests.iter().filter_map(|line| line.strip_prefix(&below)).collect();
            found.sort_unstable();
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/console/page");
            let files = fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap());
            let mut expected: Vec<String> = files
                .filter(|name| name != "index.html")
                // Only an operator's page needs these.
                .filter(|name| {
                    !["allowances.js", "exceptions.js", "operator.js"].contains(&&**name)
                        || who == OLGA
                })
                .chain(["theme.css", "api/session", list].map(String::from))
                .collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{who}");
            assert!(requests.contains(&format!("GET {MOUNT}")), "{requests:?}");
        }
    });
}

/// Returns the hosts and schemes of all requests since the last call.
async fn origins(visit: &Visit) -> BTreeSet<String> {
    let entries = commands::log(&visit.page.client, "performance").await.unwrap();
    let event =
        |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap();
    let sent = entries
        .iter()
        .map(event)
        .filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
    sent.filter_map(|event| {
        let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
        let (scheme, rest) = url.split_once(':').unwrap();
        let host = rest.trim_start_matches('/').split('/').next().unwrap();
        let is_of_a_host = !matches!(scheme, "about" | "blob" | "chrome" | "data");
        is_of_a_host.then(|| format!("{scheme}://{host}"))
    })
    .collect()
}

#[test]
fn nobody_else_is_asked_for_anything() {
    browse_in(
        browser_with_requests(),
        async || Host::start().await,
        async |visit| {
            let page = visit.open(ANNA).await;
            create(page, "Key", &["reporting"]).await;
            search(page, "Key").await;
            press_on(page, "Key", "history").await;
            page.press("#history [data-action=done]").await;
            visit.open(OLGA).await;
            page.press("[data-tenant=acme] [data-action=open]").await;
            page.shows(".key", "Key").await;
            assert_eq!(origins(visit).await, BTreeSet::from([visit.host.url("")]));

            // A request to somebody else would be among them.
            page.expect_in_console("net::ERR_");
            page.client.goto(&visit.host.url("/elsewhere")).await.unwrap();
            let script = "return fetch('http://127.0.0.1:9/').catch(() => true)";
            assert_eq!(page.run(script, &[]).await, true);
            assert!(origins(visit).await.contains("http://127.0.0.1:9"));
            page.take_faults().await;
        },
    );
}

#[test]
fn what_the_browser_notes_down_is_noticed() {
    browse(async |visit| {
        visit.host.preload(THROW_LATER);
        let page = visit.open(ANNA).await;
        assert_eq!(page.take_faults().await, Vec::<String>::new());
        for (planted, reported) in [
            ("document.body.setAttribute('style', 'color: red')", "style-src"),
            ("try { document.body.setAttribute('onclick', 'hit()') } catch {}", "TrustedScript"),
            (
                "document.head.append(Object.assign(document.createElement('style'), { textContent: 'p {}' }))",
                "style-src",
            ),
            ("try { document.body.innerHTML = '<b>' } catch {}", "TrustedHTML"),
            ("return fetch('http://127.0.0.1:9/').catch(() => true)", "connect-src"),
            (
                "const image = new Image(); image.src = 'http://127.0.0.1:9/'; document.body.append(image)",
                "img-src",
            ),
            ("window.throwLater()", "planted"),
            ("console.error('said')", "said"),
        ] {
            page.run(planted, &[]).await;
            // The event of a policy names the directive, and Chromium's message the type that is missing.
            let reported = match reported {
                "TrustedHTML" | "TrustedScript" if Kind::chosen() != Kind::Chromium => {
                    "require-trusted-types-for"
                }
                _ => reported,
            };
            assert!(is_noticed(page, reported).await, "{planted}");
        }
    });
}

/// Waits until the browser has noticed a fault with this text.
async fn is_noticed(page: &Page, text: &str) -> bool {
    for _ in 0..500 {
        if page.take_faults().await.concat().contains(text) {
            page.take_faults().await;
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[test]
fn a_refusal_that_is_not_expected_is_noticed() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.client.delete_all_cookies().await.unwrap();
        page.choose("#filter", "active").await;
        page.shows("#banner", "signed out").await;
        assert!(page.take_faults().await.concat().contains("status of 401"));
    });
}

#[test]
fn what_the_host_answers_to_strangers_is_seen() {
    browse(async |visit| {
        let page = &visit.page;
        page.expect_in_console("status of 401");
        page.client.goto(&visit.host.url(MOUNT)).await.unwrap();
        assert!(!page.has("#main").await);
    });
}
