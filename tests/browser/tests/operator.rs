//! The actions of operators, and their effect on the page of an administrator.

use keyway_browser_tests::host::{ANNA, OLGA};

use crate::{
    verbs::{card, names, press_on},
    visit::browse,
};

/// The card of a tenant.
const ACME: &str = "[data-tenant=acme]";

#[test]
fn all_tenants_are_listed_with_what_they_hold() {
    browse(async |visit| {
        visit.host.issue("Key", &["reporting"]).await;
        let page = visit.open(OLGA).await;
        page.shows(ACME, "advanced").await;
        page.shows(ACME, "1 of 5 keys").await;
        page.shows("[data-tenant=globex]", "lite").await;
        page.shows(".count", "2 tenants").await;

        page.press(&format!("{ACME} [data-action=open]")).await;
        page.shows("h2", "Keys of acme").await;
        assert_eq!(names(page, 1).await, ["Key"]);
        // An operator makes and changes no keys.
        for action in ["create", "edit", "rotate", "delete", "toggle"] {
            assert!(!page.has(&format!("[data-action={action}]")).await, "{action}");
        }
        page.client.back().await.unwrap();
        page.shows("h2", "Tenants").await;
        page.visible(ACME).await;
    });
}

#[test]
fn a_change_of_tier_says_what_narrows_and_does_it() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Weekly report", &["reporting"]).await;
        visit.host.issue("All metrics", &["metrics", "reporting"]).await;
        visit.host.issue("Third", &[]).await;
        let page = visit.open(OLGA).await;
        page.press(&format!("{ACME} [data-action=tier]")).await;
        page.press("#tier [type=submit]").await;
        page.shows("#tier .error", "Choose a tier").await;
        page.choose("#tier [name=tier]", "huge").await;
        page.shows("#tier-preview", "No key loses anything.").await;
        page.choose("#tier [name=tier]", "lite").await;
        page.shows("#tier-preview", "3 keys held, 1 allowed after the change.").await;
        page.shows("#tier-preview", "2 keys over the limit. They keep working").await;
        page.shows("#tier-preview", "1 key loses scopes:").await;
        page.shows("#tier-preview li", "All metrics: ").await;
        let tier = async || visit.host.keyring.find_tenant(&"acme".parse().unwrap()).await.unwrap();
        assert_eq!(tier().await.tier(), "advanced");

        page.press("#tier [type=submit]").await;
        page.shows("#status", "acme is now on lite.").await;
        page.shows(ACME, "3 of 1 key").await;
        page.shows(ACME, "2 keys over the limit").await;
        page.focused(&format!("{ACME} [data-action=tier]")).await;
        assert_eq!(tier().await.tier(), "lite");
        assert_eq!(visit.host.call(&token), 200);

        let page = visit.open(ANNA).await;
        page.shows(".notice", "2 keys over the limit").await;
        page.shows(".notice", "Your keys keep working.").await;
    });
}

#[test]
fn a_tenant_is_suspended_and_resumed() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Key", &["reporting"]).await;
        let page = visit.open(OLGA).await;
        page.expect_in_console("status of 422");
        page.press(&format!("{ACME} [data-action=suspend]")).await;
        // Nobody is suspended without a reason.
        page.press("#suspend [type=submit]").await;
        page.focused("#suspend [name=reason][aria-invalid=true]").await;
        assert_eq!(visit.host.call(&token), 200);
        page.fill("#suspend [name=reason]", "unpaid since March").await;
        page.press("#suspend [type=submit]").await;
        page.shows("#status", "Suspended: acme").await;
        page.shows(ACME, "unpaid since March").await;
        assert_eq!(visit.host.call(&token), 401);

        let page = visit.open(ANNA).await;
        page.shows(".notice", "Your account is suspended, and its keys are refused.").await;
        page.shows(".notice", "unpaid since March").await;
        page.shows(".notice a", "support@example.com").await;
        page.shows(&card(page, "Key").await, "Account suspended").await;
        page.choose("#filter", "tenant_suspended").await;
        names(page, 1).await;

        let page = visit.open(OLGA).await;
        page.press(&format!("{ACME} [data-action=resume]")).await;
        page.shows("#status", "Resumed: acme").await;
        page.visible(&format!("{ACME} [data-action=suspend]")).await;
        assert_eq!(visit.host.call(&token), 200);
    });
}

#[test]
fn a_key_is_suspended_and_resumed() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Abused", &["reporting"]).await;
        let page = visit.open_at(OLGA, "/settings/api-keys#tenant=acme").await;
        press_on(page, "Abused", "suspend").await;
        page.fill("#suspend [name=reason]", "too many requests").await;
        page.press("#suspend [type=submit]").await;
        page.shows("#status", "Suspended: Abused").await;
        assert_eq!(visit.host.call(&token), 401);
        let key = visit.host.key("Abused").await;
        assert_eq!(key.suspension().unwrap().reason(), "too many requests");

        press_on(page, "Abused", "resume").await;
        page.shows("#status", "Resumed: Abused").await;
        assert_eq!(visit.host.call(&token), 200);
    });
}

#[test]
fn a_leaked_token_is_reported_by_pasting_it() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Leaked", &["reporting"]).await;
        let page = visit.open(OLGA).await;
        page.press("[data-action=leak]").await;
        page.fill("#leak [name=token]", &format!("  {token}\n")).await;
        page.fill("#leak [name=reason]", "found in a public repository").await;
        page.press("#leak [value=report_only]").await;
        page.press("#leak [type=submit]").await;
        page.shows("#leak-result", "the key still works").await;
        page.shows("#leak-result", "Leaked, of acme").await;
        assert_eq!(page.value("#leak [name=token]").await, "");
        assert_eq!(visit.host.call(&token), 200);

        page.fill("#leak [name=token]", &token).await;
        page.press("#leak [value=suspend]").await;
        page.press("#leak [type=submit]").await;
        page.shows("#leak-result", "The key is genuine and is suspended.").await;
        assert_eq!(visit.host.call(&token), 401);

        let forged = token.replace("mm_live_", "mm_live_A");
        page.fill("#leak [name=token]", &forged).await;
        page.press("#leak [type=submit]").await;
        page.shows("#leak-result", "This is no key of the service").await;
        page.press("#leak footer [data-action=done]").await;
        page.closed().await;
        let requests = visit.host.take_requests().concat();
        assert!(requests.contains("/api/leaks") && !requests.contains(&token[24..]));

        let page = visit.open(ANNA).await;
        page.shows(&card(page, "Leaked").await, "found in a public repository").await;
    });
}

#[test]
fn nobody_else_finds_what_is_the_operators() {
    browse(async |visit| {
        let page = visit.open_at(ANNA, "/settings/api-keys#tenant=globex").await;
        page.shows("#results", "No keys yet").await;
        assert!(!page.has("[data-tenant]").await);
        for path in ["/api/tenants", "/api/tenants/acme", "/api/tenants/globex/keys"] {
            assert_eq!(visit.host.fetch(ANNA, path).status, 404);
            assert_eq!(visit.host.fetch(OLGA, path).status, 200);
        }
        assert_eq!(visit.host.fetch(OLGA, "/api/keys").status, 404);
        assert_eq!(visit.host.fetch("nobody", "/api/session").status, 401);
    });
}
