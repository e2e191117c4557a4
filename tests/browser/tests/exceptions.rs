//! Exceptions of a tenant from its tier, as an operator makes them on the page.

use keyway::{
    rate::Rate,
    record::{Exceptions, TenantRecord},
};
use keyway_browser_tests::host::{ANNA, MOUNT, OLGA};

use crate::{
    axe,
    page::Page,
    verbs::{create, names},
    visit::{Visit, browse},
};

pub const OPEN: &str = "[data-action=exceptions]";
pub const SAVE: &str = "#exceptions [type=submit]";
pub const PREVIEW: &str = "#exceptions-preview";
const KEYS: &str = "#exceptions [name=keys-number]";

pub async fn acme(visit: &Visit) -> TenantRecord {
    visit.host.keyring.find_tenant(&"acme".parse().unwrap()).await.unwrap()
}

/// Opens the form of the exceptions of `acme`.
pub async fn open(visit: &Visit) -> &Page {
    let page = visit.open_at(OLGA, &format!("{MOUNT}#tenant=acme")).await;
    page.press(OPEN).await;
    page
}

/// Asks for the effect and waits until it has a text.
pub async fn preview(page: &Page, text: &str) {
    page.shows(SAVE, "Show the effect").await;
    page.press(SAVE).await;
    page.shows(PREVIEW, text).await;
    page.shows(SAVE, "Save changes").await;
}

/// Chooses `tier`, `value`, or the word for no limit.
pub async fn choose(page: &Page, limit: &str, choice: &str) {
    page.press(&format!("#exceptions [name=limit-{limit}][value={choice}]")).await;
}

#[test]
fn a_tenant_gets_seven_keys_on_a_tier_with_five() {
    browse(async |visit| {
        for name in ["1", "2", "3", "4", "5"] {
            visit.host.issue(name, &[]).await;
        }
        let page = visit.open(ANNA).await;
        page.press("[data-action=create]").await;
        page.shows(".notice", "You have all the keys").await;

        let page = open(visit).await;
        page.shows("#about", "5 of 5 keys on the advanced tier").await;
        page.shows("#exceptions [data-field=keys]", "As the tier: 5").await;
        page.visible("#exceptions [name=limit-keys][value=tier]:checked").await;
        page.fill(KEYS, "7").await;
        page.visible("#exceptions [name=limit-keys][value=value]:checked").await;
        preview(page, "5 keys held, 7 allowed after the change.").await;
        page.shows(PREVIEW, "No key loses anything.").await;
        page.press(SAVE).await;
        page.closed().await;
        page.shows("#status", "Saved: acme").await;
        page.shows("#about", "5 of 7 keys on the advanced tier").await;
        page.shows("#about", "Keys: 7").await;
        page.focused(OPEN).await;
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().keys(7));

        let page = visit.open(ANNA).await;
        page.shows("#quota", "5 of 7 keys").await;
        create(page, "6", &["reporting"]).await;
        let seventh = create(page, "7", &["reporting"]).await;
        assert_eq!(visit.host.call(&seventh), 200);
        assert_eq!(visit.host.keys("acme").await.len(), 7);
        page.shows("#quota", "7 of 7 keys").await;
        page.press("[data-action=create]").await;
        page.shows(".notice", "You have all the keys").await;

        // Without the exception, the keys stay.
        let page = open(visit).await;
        assert_eq!(page.value(KEYS).await, "7");
        choose(page, "keys", "tier").await;
        preview(page, "2 keys over the limit. They keep working.").await;
        page.press(SAVE).await;
        page.shows("#about", "7 of 5 keys").await;
        assert!(!page.text("#about").await.contains("Exceptions from the tier"));
        assert!(acme(visit).await.exceptions().is_empty());
        assert_eq!(visit.host.call(&seventh), 200);
    });
}

#[test]
fn narrower_exceptions_list_their_keys_and_cancel_changes_nothing() {
    browse(async |visit| {
        visit.host.issue("Weekly report", &["reporting"]).await;
        visit.host.issue("All metrics", &["metrics", "reporting"]).await;
        let before = acme(visit).await;
        let page = open(visit).await;
        page.press("#exceptions [name=scopes][value=reporting]").await;
        page.fill("#exceptions [name=max_lifetime_seconds-days]", "30").await;
        page.fill(KEYS, "1").await;
        preview(page, "1 key loses scopes:").await;
        page.shows(&format!("{PREVIEW} li"), "All metrics: metrics").await;
        page.shows(PREVIEW, "2 keys end earlier:").await;
        page.shows(&format!("{PREVIEW} li"), "Weekly report: ").await;
        page.shows(PREVIEW, "1 key over the limit.").await;
        axe::check(page, "exceptions with their effect").await;
        page.press("#exceptions footer [data-action=cancel]").await;
        page.closed().await;
        page.focused(OPEN).await;
        assert_eq!(acme(visit).await, before);
        names(page, 2).await;
        assert!(!page.text("#about").await.contains("Exceptions from the tier"));
    });
}

#[test]
fn all_limits_are_set_shown_and_taken_away() {
    browse(async |visit| {
        let page = open(visit).await;
        for field in ["keys", "rate", "tenant_rate", "max_lifetime_seconds", "scopes"] {
            page.shows(&format!("#exceptions [data-field={field}]"), "As the tier: ").await;
        }
        page.shows("#exceptions [data-field=rate]", "As the tier: Unlimited").await;
        page.shows("#exceptions [data-field=scopes]", "As the tier: All").await;
        assert_eq!(page.label("#exceptions [name=rate-requests]").await, "Requests");
        page.fill("#exceptions [name=rate-requests]", "100").await;
        page.fill("#exceptions [name=rate-seconds]", "60").await;
        choose(page, "tenant_rate", "unlimited").await;
        page.fill("#exceptions [name=max_lifetime_seconds-days]", "0.5").await;
        page.press("#exceptions [name=scopes][value=erp]").await;
        preview(page, "No key loses anything.").await;
        page.press(SAVE).await;
        page.closed().await;
        for text in [
            "Rate of each key: 100 requests in 1 minute",
            "Rate of all keys together: Unlimited",
            "Longest lifetime: 12 hours",
            "Scopes: erp",
        ] {
            page.shows("#about li", text).await;
        }
        axe::check(page, "keys of a tenant with exceptions").await;
        let expected = Exceptions::new()
            .rate(Rate { requests: 100, per_seconds: 60 })
            .tenant_rate(None)
            .max_lifetime(std::time::Duration::from_secs(43_200))
            .scopes(["erp"]);
        assert_eq!(acme(visit).await.exceptions(), &expected);

        page.press(OPEN).await;
        assert_eq!(page.value("#exceptions [name=rate-seconds]").await, "60");
        assert_eq!(page.value("#exceptions [name=max_lifetime_seconds-days]").await, "0.5");
        page.visible("#exceptions [name=limit-tenant_rate][value=unlimited]:checked").await;
        page.visible("#exceptions [name=scopes][value=erp]:checked").await;
        for limit in ["rate", "tenant_rate", "max_lifetime_seconds", "scopes"] {
            choose(page, limit, "tier").await;
        }
        preview(page, "No key loses anything.").await;
        page.press(SAVE).await;
        page.closed().await;
        page.gone("#about li").await;
        assert!(acme(visit).await.exceptions().is_empty());
    });
}

#[test]
fn nothing_is_saved_before_its_effect_was_shown() {
    browse(async |visit| {
        let page = open(visit).await;
        for keys in ["8", "9"] {
            page.fill(KEYS, keys).await;
            // A change takes the effect away, which is of other exceptions.
            page.gone(&format!("{PREVIEW} .notice")).await;
            preview(page, &format!("{keys} allowed after the change.")).await;
            page.focused(SAVE).await;
            assert!(acme(visit).await.exceptions().is_empty());
        }
        let requests = visit.host.take_requests().concat();
        assert!(!requests.contains("PUT"), "{requests}");
        page.press(SAVE).await;
        page.closed().await;
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().keys(9));
    });
}

#[test]
fn limits_that_cannot_be_taken_are_refused_at_their_field() {
    browse(async |visit| {
        let page = open(visit).await;
        page.expect_in_console("status of 422");
        for (input, field, text, words) in [
            ("keys-number", "keys", "", "Enter a number"),
            ("keys-number", "keys", "-1", "Enter a number"),
            ("keys-number", "keys", "1.5", "Enter a number"),
            ("rate-seconds", "rate", "0", "Enter a number"),
            ("tenant_rate-requests", "tenant_rate", "", "Enter a number"),
            ("max_lifetime_seconds-days", "max_lifetime_seconds", "0", "lives for a second"),
        ] {
            choose(page, field, "value").await;
            page.fill(&format!("#exceptions [name={input}]"), text).await;
            page.press(SAVE).await;
            let place = format!("#exceptions [data-field={field}]");
            page.shows(&format!("{place} .error"), words).await;
            page.visible(&format!("{place} [name={input}][aria-invalid=true]")).await;
            page.focused(&format!("{place} .values input")).await;
            choose(page, field, "tier").await;
        }
        axe::check(page, "exceptions with an error").await;
        assert!(acme(visit).await.exceptions().is_empty());
    });
}

#[test]
fn exceptions_that_come_second_change_nothing() {
    browse(async |visit| {
        let page = open(visit).await;
        page.expect_in_console("status of 412");
        page.fill(KEYS, "7").await;
        preview(page, "7 allowed after the change.").await;
        let other = Exceptions::new().keys(6);
        let (id, version) = ("acme".parse().unwrap(), acme(visit).await.version());
        visit.host.keyring.set_exceptions(&id, version, other.clone()).await.unwrap();
        page.press(SAVE).await;
        page.closed().await;
        page.shows("#status", "Somebody else changed acme first.").await;
        page.shows("#about", "Keys: 6").await;
        assert_eq!(acme(visit).await.exceptions(), &other);
        page.press(OPEN).await;
        assert_eq!(page.value(KEYS).await, "6");
    });
}
