//! The charts of usage, and the tables with the same numbers.

use keyway_browser_tests::host::{ANNA, Host, OLGA};

use crate::{
    axe,
    page::Page,
    verbs::{card, press_on},
    visit::{Visit, browse, browse_at},
};

const NUMBERS: &str = "#requests [data-action=numbers]";

/// Calls with two keys of `acme`, and writes the counts: 3 requests that are admitted and 2 that are forbidden.
async fn call(visit: &Visit) {
    let (_, report) = visit.host.issue("Weekly report", &["reporting"]).await;
    let (_, gateway) = visit.host.issue("Gateway", &["gateway"]).await;
    visit.host.issue("Unused", &["reporting"]).await;
    for _ in 0..3 {
        assert_eq!(visit.host.call(&report), 200);
    }
    for _ in 0..2 {
        assert_eq!(visit.host.call(&gateway), 403);
    }
    visit.host.keyring.flush_uses().await.unwrap();
}

/// The last row of a table, and the number of its rows.
async fn last_row(page: &Page, place: &str) -> String {
    let script = "const rows = [...document.querySelectorAll(`${arguments[0]} tbody tr`)]; \
        return [rows.length, ...[...rows.at(-1).children].slice(1).map((each) => each.textContent)].join(' ')";
    page.run(script, &[place.into()]).await.as_str().unwrap().into()
}

#[test]
fn charts_show_the_requests_of_the_tenant_and_of_a_key() {
    browse_at(Host::start_with_usage, async |visit| {
        call(visit).await;
        let page = visit.open(ANNA).await;
        page.shows("#requests .legend", "Admitted: 3").await;
        page.shows("#requests .legend", "Forbidden: 2").await;
        page.shows("#requests .ends", "At most 5 in a day").await;
        page.shows(&card(page, "Weekly report").await, "3 requests in 30 days").await;
        page.shows(&card(page, "Unused").await, "0 requests in 30 days").await;
        // Today has both outcomes, and no other day has any.
        let bars = "return [...document.querySelectorAll('#requests .chart g')]\
            .map((each) => [...each.querySelectorAll('[class]')])\
            .map((bars) => bars.map((bar) => bar.getAttribute('class')).join('+')).join()";
        let bars = page.run(bars, &[]).await;
        assert_eq!(bars, format!("{}admitted+forbidden", ",".repeat(29)));
        assert_eq!(last_row(page, "#requests").await, "30 3 2 0");
        axe::check(page, "list with usage").await;

        assert!(page.has("#requests .numbers.hidden").await);
        page.press(NUMBERS).await;
        page.visible(&format!("{NUMBERS}[aria-pressed=true]")).await;
        page.visible("#requests .numbers:not(.hidden) table").await;
        axe::check(page, "list with the numbers").await;
        page.press(NUMBERS).await;
        assert!(page.has("#requests .numbers.hidden").await);

        press_on(page, "Gateway", "usage").await;
        page.shows("#usage .legend", "Forbidden: 2").await;
        page.shows("#usage .legend", "Admitted: 0").await;
        assert_eq!(last_row(page, "#usage").await, "30 0 2 0");
        axe::check(page, "usage of a key").await;
        page.press("#usage [data-action=done]").await;
        page.closed().await;

        let page = visit.open(OLGA).await;
        page.press("[data-tenant=acme] [data-action=open]").await;
        page.shows("#requests .legend", "Admitted: 3").await;
        axe::check(page, "usage for an operator").await;
    });
}

#[test]
fn file_has_the_requests_of_the_tenant() {
    browse_at(Host::start_with_usage, async |visit| {
        call(visit).await;
        let page = visit.open(ANNA).await;
        page.visible("#requests [data-action=csv][download]").await;
        let link = "return document.querySelector('[data-action=csv]').getAttribute('href')";
        let link = page.run(link, &[]).await;
        assert_eq!(link, visit.host.url("/settings/api-keys/api/usage.csv"));
        let read = "return fetch(arguments[0]).then((answer) => answer.text())";
        let file = page.run(read, &[link]).await;
        let rows: Vec<&str> = file.as_str().unwrap().lines().skip(1).collect();
        assert_eq!(rows.len(), 2);
        // The rows of a day are in the order of the ids of the keys, which are random.
        for expected in [",\"Weekly report\",3,0,0", ",\"Gateway\",0,2,0"] {
            assert!(rows.iter().any(|row| row.ends_with(expected)), "{rows:?}");
        }
    });
}

/// The control: a service that counts no requests shows no usage.
#[test]
fn page_without_usage_shows_none() {
    browse(async |visit| {
        visit.host.issue("Weekly report", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        card(page, "Weekly report").await;
        assert!(!page.has("#requests, #allowances").await);
        assert!(!page.has("[data-action=usage], [data-action=csv], [data-usage]").await);
    });
}
