//! Names that want to be something else.

use keyway_browser_tests::host::{ANNA, OLGA};

use crate::{
    axe,
    verbs::{card, close_one_time, create, names, press_on},
    visit::browse,
};

/// Markup, words from right to left, signs of more than one code point, and no room to break a line.
fn hostile() -> [String; 5] {
    [
        "<script>window.hit = 1</script>".into(),
        "\"><img src=x onerror=window.hit=1>{name}".into(),
        "מפתח (admin) مفتاح!".into(),
        "👩🏽\u{200d}🏭 Ключ 钥匙".into(),
        "W".repeat(100),
    ]
}

#[test]
fn names_are_text_wherever_they_are_shown() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        for name in hostile() {
            create(page, &name, &["reporting"]).await;
        }
        assert_eq!(names(page, 5).await.len(), 5);
        for name in hostile() {
            assert_eq!(visit.host.key(&name).await.name(), name);
            // The card has exactly this text, and each dialog has it too.
            card(page, &name).await;
            for action in ["edit", "rotate", "history", "delete"] {
                press_on(page, &name, action).await;
                page.visible(&format!("dialog#{action}")).await;
                if action == "edit" {
                    assert_eq!(page.value("#edit [name=name]").await, name);
                } else {
                    let shown =
                        page.run("return document.querySelector('dialog').textContent", &[]).await;
                    assert!(shown.as_str().unwrap().contains(&name), "{action}: {shown}");
                }
                page.press("dialog header [data-action=close]").await;
                page.closed().await;
            }
            press_on(page, &name, "toggle").await;
            page.shows("#status", "Switched off").await;
            // No name turns the words around it: it is isolated from them.
            let script =
                "return document.querySelector('#status bdi').textContent === arguments[0]";
            page.until("the name is isolated", script, &[name.into()]).await;
        }
        for width in [320, 1280] {
            page.look(width, 800, "light").await;
            assert_eq!(axe::overflowing(page).await, Vec::<String>::new());
        }
        assert!(page.run("return window.hit ?? null", &[]).await.is_null());
        assert!(!page.has("#view script, #view img").await);

        let page = visit.open_at(OLGA, "/settings/api-keys#tenant=acme").await;
        for name in hostile() {
            card(page, &name).await;
        }
        assert!(page.run("return window.hit ?? null", &[]).await.is_null());
    });
}

#[test]
fn a_name_is_confirmed_without_what_is_unseen() {
    browse(async |visit| {
        visit.host.issue("\u{26f9}\u{200d}\u{2642}  plan", &[]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "\u{26f9}\u{200d}\u{2642}  plan", "delete").await;
        page.fill("#delete [name=confirm]", "\u{26f9}\u{2642} plan").await;
        page.press("#delete [type=submit]").await;
        page.shows("#status", "Deleted").await;
        assert_eq!(visit.host.keys("acme").await.len(), 0);
    });
}

#[test]
fn a_name_that_is_too_long_or_deceives_is_refused_at_the_field() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 422");
        page.press("[data-action=create]").await;
        page.fill("#create [name=name]", &"x".repeat(10_000)).await;
        page.press("#create [name=expiry][value='30']").await;
        page.press("#create [type=submit]").await;
        page.shows("#create [data-field=name] .error", "100").await;
        page.focused("#create [name=name][aria-invalid=true]").await;
        assert_eq!(page.value("#create [name=name]").await.len(), 10_000);
        assert_eq!(visit.host.keys("acme").await.len(), 0);

        // It would turn the letters behind it around.
        page.fill("#create [name=name]", "shift \u{202e}yek nimda").await;
        page.press("#create [type=submit]").await;
        page.shows("#create [data-field=name] .error", "U+202E").await;
        assert_eq!(visit.host.keys("acme").await.len(), 0);

        page.fill("#create [name=name]", "Short").await;
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        card(page, "Short").await;
    });
}
