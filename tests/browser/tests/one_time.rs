//! A token is shown once, and nothing of it is left afterwards.

use keyway_browser_tests::host::ANNA;

use crate::{
    page::Page,
    verbs::{ask_for_key, close_one_time, press_on},
    visit::{Visit, browse},
};

/// All that a page and its browser hold of text, from wherever a script can reach.
const EVERYTHING: &str = "
    const fields = [...document.querySelectorAll('input, textarea')].map((each) => each.value);
    const storage = (each) => Object.entries(each);
    const databases = await indexedDB.databases();
    const texts = [
        document.documentElement.outerHTML, fields, document.title, document.cookie, window.name,
        storage(localStorage), storage(sessionStorage), databases, await caches.keys(),
        history.state, location.href, document.referrer,
        window.navigation?.entries().map((each) => [each.url, each.getState()]),
        performance.getEntries().map((each) => each.name),
        Object.keys(window).filter((name) => typeof window[name] === 'string').map((name) => window[name]),
    ];
    return JSON.stringify(texts);";

/// How much of a secret is too much.
const WINDOW: usize = 8;

/// The part of a token behind its prefix and the public id.
fn secret(token: &str) -> &str {
    &token["mm_live_".len() + 16..]
}

fn has_part(text: &str, secret: &str) -> bool {
    (0..=secret.len() - WINDOW).any(|start| text.contains(&secret[start..start + WINDOW]))
}

async fn is_on(page: &Page, token: &str) -> bool {
    let everything = page.run(&format!("return (async () => {{ {EVERYTHING} }})()"), &[]).await;
    has_part(everything.as_str().unwrap(), secret(token))
}

/// Returns whether any response of the API or of the page has a part of the token.
async fn is_answered(visit: &Visit, token: &str) -> bool {
    let mut paths: Vec<String> =
        ["", "/text.json", "/openapi.json", "/api/session", "/api/keys?limit=50"]
            .map(String::from)
            .into();
    for key in visit.host.keys("acme").await {
        paths.extend([format!("/api/keys/{}", key.id()), format!("/api/keys/{}/events", key.id())]);
    }
    let answers = paths.iter().map(|path| visit.host.fetch(ANNA, path));
    answers.fold(false, |found, answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        found | has_part(&answer.text, secret(token))
    })
}

#[test]
fn a_part_of_a_secret_is_found() {
    let secret = secret("mm_live_AAAAAAAAAAAAAAAA0123456789");
    assert_eq!(secret, "0123456789");
    assert!(has_part("…23456789", secret));
    assert!(!has_part("…3456789 0123456", secret));
}

#[test]
fn nothing_of_the_token_is_left_when_the_dialog_closes() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        ask_for_key(page, "Once", &["reporting"]).await;
        let token = page.value("#one-time [name=token]").await;
        // The same look finds it while it is shown.
        assert!(is_on(page, &token).await);
        close_one_time(page).await;
        assert!(!is_on(page, &token).await);
        assert!(!is_answered(visit, &token).await);

        // Neither by any way back.
        let page = &visit.page;
        page.client.goto(&visit.host.url("/elsewhere")).await.unwrap();
        page.client.back().await.unwrap();
        page.shows(".key", "Once").await;
        assert!(!is_on(page, &token).await);
        page.client.forward().await.unwrap();
        page.client.back().await.unwrap();
        page.client.refresh().await.unwrap();
        page.shows(".key", "Once").await;
        assert!(!is_on(page, &token).await);
        // It was in no address.
        let requests = visit.host.take_requests();
        assert!(requests.iter().any(|line| line == "POST /settings/api-keys/api/keys"));
        assert!(!has_part(&requests.concat(), secret(&token)));
    });
}

#[test]
fn leaving_the_page_forgets_the_token_too() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        ask_for_key(page, "Left", &[]).await;
        let token = page.value("#one-time [name=token]").await;
        assert!(is_on(page, &token).await);
        page.client.goto(&visit.host.url("/elsewhere")).await.unwrap();
        page.client.back().await.unwrap();
        page.shows(".key", "Left").await;
        assert!(!page.has("dialog").await);
        assert!(!is_on(page, &token).await);
    });
}

#[test]
fn a_regenerated_token_is_left_nowhere_either() {
    browse(async |visit| {
        let (_, old) = visit.host.issue("Again", &[]).await;
        let page = visit.open(ANNA).await;
        assert!(!is_on(page, &old).await);
        press_on(page, "Again", "rotate").await;
        page.press("#rotate [type=submit]").await;
        let token = page.value("#one-time [name=token]").await;
        assert!(is_on(page, &token).await);
        close_one_time(page).await;
        assert!(!is_on(page, &token).await);
        assert!(!is_answered(visit, &token).await);
    });
}

#[test]
fn a_key_that_was_pasted_into_the_search_is_left_nowhere() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Found", &[]).await;
        let page = visit.open(ANNA).await;
        page.fill("#search", &token).await;
        page.shows(".count", "taken out of the field").await;
        page.shows(".key", "Found").await;
        assert!(!is_on(page, &token).await);
        let requests = visit.host.take_requests();
        assert!(!has_part(&requests.concat(), secret(&token)));
    });
}

#[test]
fn closing_asks_once_when_nothing_was_copied() {
    const ESCAPE: &str = "\u{e00c}";
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        // However it is closed the first time, and the second.
        let done = "#one-time [data-action=done]";
        let cross = "#one-time header [data-action=close]";
        for (name, first, second) in [("1", done, ESCAPE), ("2", ESCAPE, done), ("3", cross, cross)]
        {
            ask_for_key(page, name, &[]).await;
            let token = page.value("#one-time [name=token]").await;
            close(page, first).await;
            page.shows("#one-time .question", "The key was not copied").await;
            assert_eq!(page.value("#one-time [name=token]").await, token);
            close(page, second).await;
            page.closed().await;
            assert!(!is_on(page, &token).await);
        }
        // Going back shows the token again. Once it is copied, leaving needs no confirmation.
        ask_for_key(page, "4", &[]).await;
        page.press(done).await;
        page.press("#one-time [data-action=back]").await;
        page.gone("#one-time .question").await;
        close_one_time(page).await;
        // A copy by keyboard is one as well.
        ask_for_key(page, "5", &[]).await;
        page.focused("#one-time [name=token]").await;
        page.keys(&["\u{e009}c"]).await;
        page.press(done).await;
        page.closed().await;
        assert_eq!(visit.host.keys("acme").await.len(), 5);
    });

    async fn close(page: &Page, way: &str) {
        if way == ESCAPE { page.keys(&[ESCAPE]).await } else { page.press(way).await }
    }
}
