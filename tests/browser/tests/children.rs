//! Children: which keys may have some, and the prefix that their holders need.

use std::time::Duration;

use keyway::{
    KeyEdit, Keyring, NewKey, Pepper, VerifyError,
    children::{ChildMinter, NewChild, Place},
    verifier::Freshness,
};
use keyway_browser_tests::host::{ANNA, Host};

use crate::{
    axe,
    page::Page,
    verbs::{card, close_one_time, press_on},
    visit::{Visit, browse, browse_at},
};

const BOX: &str = "dialog [name=children]";

/// Opens the form for a new key that opens reports for 30 days.
async fn begin(page: &Page, name: &str) {
    page.press("[data-action=create]").await;
    page.fill("#create [name=name]", name).await;
    page.press("#create [name=scopes][value=reporting]").await;
    page.press("#create [name=expiry][value='30']").await;
}

async fn save(page: &Page) {
    page.press("dialog [type=submit]").await;
}

/// Makes a child from the token and the prefix that the dialog shows.
async fn child_of_the_shown(page: &Page) -> String {
    let token = page.value("#one-time [name=token]").await;
    let prefix = page.value("#one-time [name=child_prefix]").await;
    let minter = ChildMinter::new(&token, &prefix).unwrap();
    minter.mint(&NewChild::lasting(Duration::from_secs(600))).unwrap().reveal().to_string()
}

async fn verify(visit: &Visit, child: &str) -> Result<keyway::Principal, VerifyError> {
    let verifier = visit.host.keyring.verifier();
    verifier.verify_at(child, Freshness::Now, None, &Place::new()).await
}

#[test]
fn a_child_of_the_shown_token_and_prefix_is_accepted() {
    browse_at(Host::start_with_children, async |visit| {
        let page = visit.open(ANNA).await;
        begin(page, "Dashboard").await;
        assert_eq!(page.label(BOX).await, "May have children");
        page.shows("#create .choice .hint", "last 1 day at most").await;
        assert!(!page.has(&format!("{BOX}:checked")).await);
        page.press(BOX).await;
        axe::check(page, "create with children").await;
        save(page).await;

        page.shows("#one-time [data-field=child_prefix]", "The prefix is not secret.").await;
        assert_eq!(page.label("#one-time [name=child_prefix]").await, "Prefix of its children");
        axe::check(page, "one-time with a prefix").await;
        let child = child_of_the_shown(page).await;
        assert!(verify(visit, &child).await.is_ok());

        // A copy of the prefix alone does not count: closing the dialog would lose the token.
        page.press("#one-time [data-action=copy-prefix]").await;
        page.shows("#one-time .live", "Prefix copied.").await;
        page.press("#one-time [data-action=done]").await;
        page.shows("#one-time .question", "The key was not copied").await;
        page.press("#one-time [data-action=back]").await;
        close_one_time(page).await;

        let dashboard = card(page, "Dashboard").await;
        page.shows(&dashboard, "may have children").await;
        press_on(page, "Dashboard", "edit").await;
        page.visible(&format!("{BOX}:checked")).await;
        axe::check(page, "edit with children").await;
        page.press(BOX).await;
        save(page).await;
        page.closed().await;
        assert!(!page.text(&dashboard).await.contains("children"));
        assert!(matches!(verify(visit, &child).await, Err(VerifyError::Rejected)));
    });
}

#[test]
fn a_key_from_before_children_is_regenerated_first() {
    browse_at(Host::start_with_children, async |visit| {
        let policy = include_str!("../../../examples/machinemetrics.json");
        let before = Keyring::builder(
            serde_json::from_str(policy).unwrap(),
            Pepper::from_bytes(&[7; 32]).unwrap(),
        );
        let before = before.environment("live").store(visit.host.store.clone()).build().unwrap();
        let older = NewKey::named("Older").scopes(["reporting"]);
        drop(before.tenant("acme".parse().unwrap()).issue(older).await.unwrap());

        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 412");
        press_on(page, "Older", "edit").await;
        page.fill("#edit [name=name]", "Old").await;
        let key = visit.host.key("Older").await;
        let edit = KeyEdit::new().children(true);
        visit.host.tenant("acme").edit(key.id(), key.version(), edit).await.unwrap();
        save(page).await;
        let news = "May have children: was No, is now Yes, once the key is regenerated";
        page.shows("#edit .notice", news).await;
        save(page).await;
        page.closed().await;
        let old = card(page, "Old").await;
        page.shows(&old, "It must be regenerated before it can have children.").await;
        axe::check(page, "list with a key to regenerate").await;

        press_on(page, "Old", "rotate").await;
        save(page).await;
        let child = child_of_the_shown(page).await;
        close_one_time(page).await;
        assert!(verify(visit, &child).await.is_ok());
        assert!(!page.text(&old).await.contains("must be regenerated"));
    });
}

#[test]
fn a_policy_without_children_shows_none() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        begin(page, "Dashboard").await;
        page.visible("#create [name=networks]").await;
        assert!(!page.has(BOX).await);
        save(page).await;
        page.visible("#one-time [name=token]").await;
        assert!(!page.has("[name=child_prefix]").await);
        close_one_time(page).await;
        press_on(page, "Dashboard", "edit").await;
        assert!(!page.has(BOX).await);
        assert!(!page.all_text().await.contains("children"));
    });
}
