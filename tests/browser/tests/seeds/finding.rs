//! Looking at keys, and looking for them.

use std::time::Duration;

use keyway::{NewKey, Timestamp};
use keyway_browser_tests::host::ANNA;
use tokio::time::sleep;

use crate::{
    verbs::{self, card, close_one_time, names, search},
    visit::browse,
};

#[test]
fn a_card_shows_what_there_is_to_know() {
    browse(async |visit| {
        let (key, token) = visit.host.issue("ERP nightly sync", &["erp", "reporting"]).await;
        assert_eq!(visit.host.call(&token), 200);
        visit.host.keyring.flush_uses().await.unwrap();
        let page = visit.open(ANNA).await;
        let card = card(page, "ERP nightly sync").await;
        for text in [key.masked(), "erp", "reporting", "by carla@acme.example", "Never", "Active"] {
            page.shows(&card, text).await;
        }
        // The last use is stored to the minute, which may be over when the page shows it.
        let text = page.text(&card).await;
        assert!(["just now", "1 minute ago"].iter().any(|age| text.contains(age)), "{text}");
        for action in ["edit", "rotate", "history", "delete", "toggle"] {
            page.visible(&format!("{card} [data-action={action}]")).await;
        }
        page.press(&format!("{card} [data-action=history]")).await;
        page.shows("#history .events", "Created").await;
        page.shows("#history .events", "carla@acme.example").await;
    });
}

#[test]
fn what_ends_soon_and_what_has_ended_is_marked() {
    browse(async |visit| {
        let acme = visit.host.tenant("acme");
        let issue = async |name, millis: u64| {
            let end = now().checked_add(Duration::from_millis(millis)).unwrap();
            drop(acme.issue(NewKey::named(name).expires_at(end)).await.unwrap());
            end
        };
        issue("Long", 40 * 86_400_000).await;
        issue("Soon", 3 * 86_400_000 + 60_000).await;
        let end = issue("Over", 600).await;
        while now() <= end {
            sleep(Duration::from_millis(20)).await;
        }
        let page = visit.open(ANNA).await;
        page.shows(&format!("{} .chip.warn", card(page, "Soon").await), "Soon: in 3 days").await;
        page.shows(&format!("{} .chip.bad", card(page, "Over").await), "Expired").await;
        let text = page.text(&card(page, "Long").await).await;
        assert!(
            text.contains("Active") && text.contains("next month") && !text.contains("Soon"),
            "{text}"
        );

        page.choose("#filter", "expired").await;
        assert_eq!(names(page, 1).await, ["Over"]);
        page.choose("#filter", "disabled").await;
        page.shows("#results", "No keys with this status").await;
        page.choose("#filter", "").await;
        names(page, 3).await;
    });
}

#[test]
fn keys_are_found_while_typing() {
    browse(async |visit| {
        visit.host.issue("Weekly report", &[]).await;
        let (erp, token) = visit.host.issue("ERP nightly sync", &[]).await;
        visit.host.issue("ERP hourly sync", &[]).await;
        let page = visit.open(ANNA).await;
        names(page, 3).await;
        // No button is pressed, and no line is ended. Two letters would often be in an id too.
        search(page, "erp").await;
        let mut found = names(page, 2).await;
        found.sort_unstable();
        assert_eq!(found, ["ERP hourly sync", "ERP nightly sync"]);
        page.type_into("#search", " ni").await;
        assert_eq!(names(page, 1).await, ["ERP nightly sync"]);
        page.shows(".count", "1 key found").await;
        let id = erp.id().to_string();
        for text in [&id, &id[3..12], &token[token.len() - 4..]] {
            search(page, text).await;
            assert_eq!(names(page, 1).await, ["ERP nightly sync"], "{text}");
        }
        search(page, "nowhere").await;
        page.shows("#results", "Nothing found").await;
        page.press("[data-action=clear]").await;
        names(page, 3).await;
        page.focused("#search").await;
    });
}

#[test]
fn a_new_key_is_copied_and_found_by_pasting_it() {
    browse(async |visit| {
        visit.host.issue("Another", &[]).await;
        let page = visit.open(ANNA).await;
        verbs::ask_for_key(page, "Copied", &["reporting"]).await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        names(page, 2).await;

        visit.host.take_requests();
        page.press("#search").await;
        page.keys(&["\u{e009}v"]).await;
        assert_eq!(names(page, 1).await, ["Copied"]);
        // A key is nothing to leave on a screen.
        page.shows(".count", "taken out of the field").await;
        assert_eq!(page.value("#search").await, "");
        assert_eq!(visit.host.take_requests(), ["POST /settings/api-keys/api/keys/search"]);
        // The pasted text is the shown token.
        assert_eq!(visit.host.call(&token), 200);
        page.press("[data-action=clear]").await;
        names(page, 2).await;
    });
}

#[test]
fn what_cannot_be_copied_can_be_selected() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        verbs::ask_for_key(page, "Plain http", &[]).await;
        page.visible("#one-time").await;
        // As on plain http, or where the browser refuses: first with the older way, then with none.
        page.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })", &[]).await;
        page.press("#one-time [data-action=copy]").await;
        page.shows("#one-time .live", "Key copied").await;
        page.run("document.execCommand = () => false", &[]).await;
        page.press("#one-time [data-action=copy-curl]").await;
        page.shows("#one-time .live", "copy it with the keyboard").await;
        page.focused("#one-time [name=curl]").await;
        let script = "const field = document.activeElement; \
            return field.selectionEnd - field.selectionStart === field.value.length";
        assert_eq!(page.run(script, &[]).await, true);
        page.press("#one-time [data-action=done]").await;
        page.closed().await;
    });
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).unwrap()
}
