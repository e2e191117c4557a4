//! Everything without a pointer: Tab, Enter, Space, Escape and letters.

use std::time::Duration;

use keyway::{allowance::Allowance, record::Exceptions};
use keyway_browser_tests::host::{ANNA, Host, MOUNT, OLGA};

use crate::{
    exceptions::{OPEN, SAVE, acme},
    page::Page,
    verbs::card,
    visit::{browse, browse_at},
};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const SPACE: &str = " ";

/// Returns the faults in the visibility of the focus: it has no outline, or its middle is below something else. In a
/// date, the browser marks the part that has it. While Firefox's own controls have the focus, it marks nothing.
const UNSEEN: &str = "
    const focused = document.activeElement, style = getComputedStyle(focused);
    if (focused === document.body || !document.hasFocus()) return null;
    const isMarked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    if (!isMarked && !focused.matches('[type^=date]')) return 'no outline: ' + focused.outerHTML;
    const { left, right, top, bottom } = focused.getBoundingClientRect();
    const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return focused.contains(over) ? null : focused.outerHTML + ' is below ' + over?.outerHTML;";

/// Goes on from control to control until one is reached. Whatever has the focus on the way is to be seen.
async fn tab_to(page: &Page, selector: &str) {
    page.visible(selector).await;
    for _ in 0..100 {
        if page.is_focused(selector).await {
            return;
        }
        tab(page).await;
    }
    panic!("{selector} is not reached by Tab");
}

async fn tab(page: &Page) {
    page.keys(&[TAB]).await;
    let mut unseen = page.run(UNSEEN, &[]).await;
    // A browser may scroll to the focus after it has responded to the key, and later on a busy machine.
    for _ in 0..40 {
        if unseen.is_null() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        unseen = page.run(UNSEEN, &[]).await;
    }
    panic!("{unseen}");
}

#[test]
fn a_focus_that_cannot_be_seen_is_noticed() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        tab_to(page, "[data-action=create]").await;
        assert!(page.run(UNSEEN, &[]).await.is_null());
        page.run("document.activeElement.style.outline = 'none'", &[]).await;
        assert!(page.run(UNSEEN, &[]).await.as_str().unwrap().starts_with("no outline"));
        page.run(
            "document.activeElement.style.outline = ''; const cover = document.createElement('p'); \
             Object.assign(cover.style, { position: 'fixed', inset: 0, zIndex: 9 }); document.body.append(cover)",
            &[],
        )
        .await;
        assert!(page.run(UNSEEN, &[]).await.as_str().unwrap().contains("is below"));
    });
}

#[test]
fn a_key_is_made_switched_changed_and_deleted_without_a_pointer() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;

        // The first stop leads past what is on every page.
        page.keys(&[TAB]).await;
        page.focused(".skip").await;
        page.keys(&[ENTER]).await;
        page.focused("#main").await;

        tab_to(page, "[data-action=create]").await;
        page.keys(&[ENTER]).await;
        page.focused("#create [name=name]").await;
        page.keys(&["K", "e", "y", "s"]).await;
        tab_to(page, "[name=scopes][value=reporting]").await;
        page.keys(&[SPACE]).await;
        tab_to(page, "[name=expiry]").await;
        page.keys(&[SPACE]).await;
        page.visible("[name=expiry]:checked").await;
        tab_to(page, "#create [type=submit]").await;
        page.keys(&[ENTER]).await;

        page.focused("#one-time [name=token]").await;
        let token = page.value("#one-time [name=token]").await;
        tab_to(page, "[data-action=copy]").await;
        page.keys(&[SPACE]).await;
        page.shows("#one-time .live", "Key copied").await;
        page.keys(&[ESCAPE]).await;
        page.closed().await;
        page.focused("[data-action=create]").await;
        assert_eq!(visit.host.call(&token), 200);

        let card_of = card(page, "Keys").await;
        let toggle = format!("{card_of} [data-action=toggle]");
        tab_to(page, &toggle).await;
        page.keys(&[SPACE]).await;
        page.visible(&format!("{toggle}[aria-checked=false]")).await;
        assert_eq!(visit.host.call(&token), 401);
        page.focused(&toggle).await;
        page.keys(&[ENTER]).await;
        page.visible(&format!("{toggle}[aria-checked=true]")).await;

        let edit = format!("{card_of} [data-action=edit]");
        tab_to(page, &edit).await;
        page.keys(&[ENTER]).await;
        page.focused("#edit [name=name]").await;
        page.keys(&["\u{e010}", "!", ENTER]).await;
        page.closed().await;
        page.shows(&card_of, "Keys!").await;
        page.focused(&edit).await;

        let delete = format!("{card_of} [data-action=delete]");
        tab_to(page, &delete).await;
        page.keys(&[ENTER]).await;
        page.focused("#delete [name=confirm]").await;
        page.keys(&["K", "e", "y", "s", "!", ENTER]).await;
        page.gone(&card_of).await;
        // Where it stood is nothing any more.
        page.focused("#title").await;
        assert_eq!(visit.host.keys("acme").await.len(), 0);
    });
}

#[test]
fn a_dialog_keeps_the_focus_and_gives_it_back() {
    for action in ["edit", "rotate", "history", "delete"] {
        browse(async |visit| {
            visit.host.issue("Key", &[]).await;
            let page = visit.open(ANNA).await;
            let opener = format!("{} [data-action={action}]", card(page, "Key").await);
            tab_to(page, &opener).await;
            page.keys(&[ENTER]).await;
            page.visible(&format!("dialog#{action}")).await;
            let script = "return document.activeElement === document.body \
                || document.querySelector('dialog').contains(document.activeElement)";
            for _ in 0..40 {
                tab(page).await;
                assert_eq!(page.run(script, &[]).await, true, "{action}");
            }
            page.keys(&[ESCAPE]).await;
            page.closed().await;
            page.focused(&opener).await;
        });
    }
}

#[test]
fn what_happened_is_said_to_who_cannot_see_it() {
    browse(async |visit| {
        visit.host.issue("Key", &[]).await;
        let page = visit.open(ANNA).await;
        let card = card(page, "Key").await;
        tab_to(page, &format!("{card} [data-action=toggle]")).await;
        page.keys(&[SPACE]).await;
        page.shows("[role=status]", "Switched off: Key").await;
        // The accessible names of the buttons contain the name of the key.
        for (action, name) in [
            ("edit", "Edit: Key"),
            ("rotate", "Regenerate: Key"),
            ("history", "History: Key"),
            ("delete", "Delete: Key"),
            ("toggle", "Enabled: Key"),
        ] {
            assert_eq!(page.label(&format!("{card} [data-action={action}]")).await, name);
        }
    });
}

#[test]
fn allowances_are_added_removed_and_saved_without_a_pointer() {
    browse_at(Host::start_with_usage, async |visit| {
        let page = visit.open_at(OLGA, &format!("{MOUNT}#tenant=acme")).await;
        tab_to(page, OPEN).await;
        page.keys(&[ENTER]).await;
        tab_to(page, "#exceptions [name=allowances-units]").await;
        page.keys(&["5"]).await;
        page.visible("#exceptions [name=limit-allowances][value=value]:checked").await;
        tab_to(page, "#exceptions [data-action=add-allowance]").await;
        page.keys(&[SPACE]).await;
        let second = "#exceptions [role=group]:nth-child(2)";
        page.focused(&format!("{second} [name=allowances-units]")).await;
        tab_to(page, &format!("{second} [data-action=remove]")).await;
        page.keys(&[SPACE]).await;
        page.focused("#exceptions [data-action=add-allowance]").await;
        page.gone(second).await;
        tab_to(page, SAVE).await;
        page.keys(&[ENTER]).await;
        page.shows(SAVE, "Save changes").await;
        page.keys(&[ENTER]).await;
        page.closed().await;
        page.focused(OPEN).await;
        let five = Exceptions::new().allowances([Allowance::per_month(5)]);
        assert_eq!(acme(visit).await.exceptions(), &five);
    });
}
