//! Every state of the page can be used by everybody: wide and narrow, light and dark, with a screen reader.

use keyway::{
    KeyEdit, NewKey,
    record::{Labels, Suspension},
};
use keyway_browser_tests::{
    Loss,
    host::{ANNA, GUS, OLGA},
};

use crate::{
    axe,
    page::Page,
    verbs::{ask_for_key, names, press_on, search},
    visit::{Visit, browse},
};

async fn close(page: &Page) {
    page.press("dialog header [data-action=close]").await;
    page.closed().await;
}

#[test]
fn what_is_wrong_is_found() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        assert_eq!(axe::violations(page).await, Vec::<String>::new());
        page.run(
            "const field = document.createElement('input'); document.querySelector('#view').append(field); \
             const text = document.createElement('p'); text.textContent = 'Hardly to be read'; \
             text.style.color = '#ddd'; text.style.background = '#fff'; text.style.width = '2000px'; \
             document.querySelector('#view').append(text);",
            &[],
        )
        .await;
        let found = axe::violations(page).await.concat();
        assert!(found.contains("label: ") && found.contains("color-contrast: "), "{found}");
        assert!(!axe::overflowing(page).await.is_empty());
    });
}

#[test]
fn lists() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.shows("#results", "No keys yet").await;
        axe::check(page, "empty").await;

        fill(visit).await;
        let page = visit.open(ANNA).await;
        names(page, 4).await;
        axe::check(page, "list with a suspended key").await;
        press_on(page, "Weekly report", "toggle").await;
        page.shows("#status", "Switched off").await;
        axe::check(page, "list after a switch").await;
        search(page, "nowhere").await;
        page.shows("#results", "Nothing found").await;
        axe::check(page, "nothing found").await;
        search(page, "report").await;
        names(page, 1).await;
        axe::check(page, "something found").await;

        visit.host.issue("Fifth", &[]).await;
        let page = visit.open(ANNA).await;
        page.shows(".notice", "You have all the keys").await;
        axe::check(page, "full").await;
        let acme = "acme".parse().unwrap();
        visit.host.keyring.set_tier(&acme, "lite").await.unwrap();
        let page = visit.open(ANNA).await;
        page.shows(".notice", "4 keys over the limit").await;
        axe::check(page, "over the quota").await;
        let ban = Suspension::permanent("unpaid since March").unwrap();
        visit.host.keyring.suspend_tenant(&acme, ban).await.unwrap();
        let page = visit.open(ANNA).await;
        page.shows(".notice", "Your account is suspended").await;
        axe::check(page, "suspended tenant").await;
    });
}

#[test]
fn dialogs_of_new_keys() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 422");
        page.press("[data-action=create]").await;
        page.press("[name=scopes][value=operator]").await;
        axe::check(page, "create").await;
        page.press("#create [name=expiry][value='30']").await;
        page.press("#create [type=submit]").await;
        page.visible("#create [aria-invalid=true]").await;
        axe::check(page, "create with an error").await;
        close(page).await;
        page.press("[data-action=create]").await;
        page.press("#create [type=submit]").await;
        page.shows("#create .error", "Choose when the key expires.").await;
        axe::check(page, "create without an expiry").await;
        close(page).await;

        ask_for_key(page, "Weekly report", &["reporting"]).await;
        page.visible("#one-time").await;
        axe::check(page, "one-time").await;
        page.press("[data-action=done]").await;
        page.visible("#close-question").await;
        axe::check(page, "question before closing").await;
        page.press("[data-action=back]").await;
        page.press("[data-action=copy]").await;
        page.shows("#one-time .live", "Key copied").await;
        axe::check(page, "copied").await;
        close(page).await;

        page.expect_in_console("net::ERR_");
        visit.host.lose_answer_to("POST /settings/api-keys/api/keys", Loss::Rest);
        ask_for_key(page, "Lost", &[]).await;
        page.shows("#create .problem", "The connection was lost").await;
        axe::check(page, "lost connection in a dialog").await;
        page.press("#create [type=submit]").await;
        page.visible("#replayed").await;
        axe::check(page, "made already").await;
    });
}

#[test]
fn dialogs_of_a_key() {
    browse(async |visit| {
        visit.host.issue("Weekly report", &["reporting"]).await;
        visit.open(ANNA).await;
        let page = &visit.page;
        page.expect_in_console("status of 412");
        for action in ["edit", "rotate", "history", "delete"] {
            press_on(page, "Weekly report", action).await;
            page.visible(&format!("dialog#{action}")).await;
            page.gone("dialog [aria-busy=true]").await;
            axe::check(page, action).await;
            if action == "delete" {
                page.fill("#delete [name=confirm]", "other").await;
                page.press("#delete [type=submit]").await;
                page.visible("#delete [aria-invalid=true]").await;
                axe::check(page, "delete with another name").await;
            }
            close(page).await;
        }
        for action in ["edit", "rotate"] {
            press_on(page, "Weekly report", action).await;
            let key = visit.host.key("Weekly report").await;
            let labels = Labels::new([("since", action)]).unwrap();
            let edit = KeyEdit::new().labels(labels);
            visit.host.tenant("acme").edit(key.id(), key.version(), edit).await.unwrap();
            if action == "edit" {
                page.fill("#edit [name=name]", "Typed").await;
            }
            page.press("dialog [type=submit]").await;
            page.shows("dialog .notice", "Somebody else changed this key").await;
            axe::check(page, &format!("lost race, {action}")).await;
            close(page).await;
        }
    });
}

#[test]
fn failures() {
    browse(async |visit| {
        visit.host.store.set_down(true);
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 503");
        page.shows("#banner", "The service cannot answer").await;
        axe::check(page, "unavailable").await;
        visit.host.store.set_down(false);

        visit.open(ANNA).await;
        visit.host.stop();
        let page = &visit.page;
        page.expect_in_console("net::ERR_");
        page.choose("#filter", "active").await;
        page.shows("#banner", "The connection was lost").await;
        axe::check(page, "lost connection").await;
        visit.host.go_on();

        let page = visit.open(GUS).await;
        page.expect_in_console("status of 401");
        page.client.delete_all_cookies().await.unwrap();
        page.choose("#filter", "active").await;
        page.shows("#banner", "You are signed out").await;
        axe::check(page, "signed out").await;
    });
}

#[test]
fn the_operators_page() {
    browse(async |visit| {
        fill(visit).await;
        let page = visit.open(OLGA).await;
        page.visible("[data-tenant=acme]").await;
        axe::check(page, "tenants").await;
        page.press("[data-tenant=acme] [data-action=tier]").await;
        page.choose("#tier [name=tier]", "lite").await;
        page.shows("#tier-preview", "keys over the limit").await;
        axe::check(page, "tier").await;
        page.press("#tier [type=submit]").await;
        page.shows("[data-tenant=acme]", "keys over the limit").await;
        axe::check(page, "tenant over its quota").await;

        page.press("[data-tenant=acme] [data-action=suspend]").await;
        page.fill("#suspend [name=reason]", "unpaid since March").await;
        axe::check(page, "suspend").await;
        page.press("#suspend [type=submit]").await;
        page.shows("[data-tenant=acme]", "unpaid since March").await;
        axe::check(page, "suspended tenant among tenants").await;

        let (_, leaked) = visit.host.keyring.create_tenant("initech", "lite").await.unwrap();
        page.press("[data-action=leak]").await;
        axe::check(page, "leak").await;
        let token = leaked.token;
        page.fill("#leak [name=token]", &leaked_text(token)).await;
        page.fill("#leak [name=reason]", "found in a public repository").await;
        page.press("#leak [type=submit]").await;
        page.shows("#leak-result", "genuine").await;
        axe::check(page, "leak that was found").await;
        close(page).await;

        let page = visit.open_at(OLGA, "/settings/api-keys#tenant=acme").await;
        names(page, 4).await;
        axe::check(page, "keys of a tenant").await;
    });
}

fn leaked_text(token: keyway::OneTimeToken) -> String {
    token.reveal().to_string()
}

/// Four keys of `acme` that look different.
async fn fill(visit: &Visit) {
    visit.host.issue("Weekly report", &["reporting"]).await;
    let (key, _) =
        visit.host.issue("Suspended", &["erp", "gateway", "metrics", "operator", "user"]).await;
    let ban = Suspension::permanent("too many requests").unwrap();
    visit.host.keyring.suspend_key(key.id(), ban).await.unwrap();
    let acme = visit.host.tenant("acme");
    let labels = Labels::new([("team", "erp"), ("stage", "production")]).unwrap();
    let later = "2099-01-02T12:00:00Z".parse().unwrap();
    let request = NewKey::named("Later").labels(labels).not_before(later);
    drop(acme.issue(request).await.unwrap());
    let (key, _) = visit.host.issue("Regenerated", &["manager"]).await;
    let rotated = acme.rotate(key.id(), key.version(), keyway::GracePeriod::UntilFirstUse);
    drop(rotated.await.unwrap());
}
