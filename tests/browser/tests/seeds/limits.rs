//! How many keys there may be.

use keyway_browser_tests::host::{ANNA, BEN, GUS};

use crate::{
    verbs::{self, close_one_time, press_on},
    visit::browse,
};

#[test]
fn the_quota_is_shown_and_what_to_do_when_it_is_full() {
    browse(async |visit| {
        let page = visit.open(GUS).await;
        page.shows("#quota", "1 of 1 key").await;
        page.shows("#quota", "on the lite tier").await;
        page.press("[data-action=create]").await;
        page.shows(".notice", "You have all the keys your tier allows.").await;
        page.shows(".notice", "delete a key that is no longer used").await;
        page.shows(".notice a[href='mailto:support@example.com']", "support@example.com").await;
        // The page scrolls to it if it is out of view.
        page.focused(".notice").await;
        assert!(!page.has("dialog").await);

        press_on(page, "default", "delete").await;
        page.fill("#delete [name=confirm]", "default").await;
        page.press("#delete [type=submit]").await;
        page.shows("#quota", "0 of 1 key").await;
        page.gone(".notice").await;
        page.press("[data-action=create]").await;
        page.visible("#create").await;
    });
}

#[test]
fn who_made_the_last_key_first_has_it() {
    browse(async |visit| {
        for name in ["1", "2", "3", "4"] {
            visit.host.issue(name, &[]).await;
        }
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 409");
        page.shows("#quota", "4 of 5 keys").await;
        let (fifth, _) = visit.host.issue("5", &[]).await;
        verbs::ask_for_key(page, "6", &["reporting"]).await;
        page.shows("#create .problem", "You have all the keys your tier allows").await;
        assert_eq!(visit.host.keys("acme").await.len(), 5);

        // The entered values are kept until there is room.
        visit.host.tenant("acme").delete(fifth.id()).await.unwrap();
        assert_eq!(page.value("#create [name=name]").await, "6");
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        assert_eq!(visit.host.key("6").await.scopes().len(), 1);
    });
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    browse(async |visit| {
        visit.host.issue("Has more", &["erp", "reporting"]).await;
        let page = visit.open(BEN).await;
        page.press("[data-action=create]").await;
        page.visible("[name=scopes][value=reporting]:enabled").await;
        let enabled = "return document.querySelectorAll('[name=scopes]:enabled').length";
        assert_eq!(page.run(enabled, &[]).await, 1);
        page.shows("#create .tree", "You cannot grant this").await;
        page.press("#create [data-action=cancel]").await;

        // An administrator may disable any key, but cannot save scopes beyond their own.
        page.expect_in_console("status of 422");
        press_on(page, "Has more", "edit").await;
        page.fill("#edit [name=name]", "Renamed").await;
        page.press("#edit [type=submit]").await;
        page.shows("#edit .error", "You cannot grant what you do not have. (erp)").await;
        page.press("#edit [name=scopes][value=erp]").await;
        page.press("#edit [type=submit]").await;
        page.closed().await;
        assert_eq!(visit.host.key("Renamed").await.scopes().len(), 1);
        press_on(page, "Renamed", "toggle").await;
        page.shows("#status", "Switched off").await;
    });
}
