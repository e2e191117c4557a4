//! Changes to keys, each of which counts from the next request on.

use keyway::{Timestamp, record::Suspension};
use keyway_browser_tests::host::ANNA;

use crate::{
    verbs::{card, close_one_time, names, press_on},
    visit::browse,
};

#[test]
fn scopes_change_at_any_time_and_at_once() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Weekly report", &["reporting"]).await;
        assert_eq!(visit.host.call(&token), 200);
        let page = visit.open(ANNA).await;
        press_on(page, "Weekly report", "edit").await;
        page.press("#edit [name=scopes][value=reporting]").await;
        page.press("#edit [name=scopes][value=erp]").await;
        assert_eq!(visit.host.call(&token), 200);
        page.press("#edit [type=submit]").await;
        page.shows("#status", "Saved: Weekly report").await;
        assert_eq!(visit.host.call(&token), 403);
        page.shows(&format!("{} .chips", card(page, "Weekly report").await), "erp").await;

        press_on(page, "Weekly report", "edit").await;
        page.press("#edit [name=scopes][value=reporting]").await;
        page.press("#edit [type=submit]").await;
        page.closed().await;
        assert_eq!(visit.host.call(&token), 200);
    });
}

#[test]
fn name_expiry_and_status_are_edited() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Old name", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "Old name", "edit").await;
        page.fill("#edit [name=name]", "New name").await;
        page.press("#edit [name=expiry][value='7']").await;
        page.press("#edit [name=enabled]").await;
        page.press("#edit [type=submit]").await;
        page.closed().await;

        let card = card(page, "New name").await;
        page.shows(&card, "Switched off").await;
        page.shows(&card, "Soon: in 7 days").await;
        assert_eq!(visit.host.call(&token), 401);
        let key = visit.host.key("New name").await;
        let days = key.expires_at().unwrap().as_millis() - key.created_at().as_millis();
        assert_eq!((days + 43_200_000) / 86_400_000, 7);
        assert!(!key.enabled());
    });
}

#[test]
fn the_switch_counts_from_the_next_request_on() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Integration", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        let toggle = format!("{} [data-action=toggle]", card(page, "Integration").await);
        let (on, off) =
            (format!("{toggle}[aria-checked=true]"), format!("{toggle}[aria-checked=false]"));
        for _ in 0..2 {
            page.visible(&on).await;
            assert_eq!(visit.host.call(&token), 200);
            page.press(&toggle).await;
            page.visible(&off).await;
            assert_eq!(visit.host.call(&token), 401);
            page.shows("#status", "Switched off: Integration").await;
            page.press(&toggle).await;
            page.shows("#status", "Switched on: Integration").await;
        }
        assert_eq!(visit.host.call(&token), 200);
    });
}

#[test]
fn separate_keys_are_switched_off_separately() {
    browse(async |visit| {
        let (_, experiment) = visit.host.issue("Experiment", &["reporting"]).await;
        let (_, production) = visit.host.issue("Production", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "Experiment", "toggle").await;
        page.shows("#status", "Switched off: Experiment").await;
        assert_eq!(visit.host.call(&experiment), 401);
        assert_eq!(visit.host.call(&production), 200);
    });
}

#[test]
fn a_key_is_deleted_by_its_name_and_ends_at_once() {
    browse(async |visit| {
        let (key, token) = visit.host.issue("Old integration", &["reporting"]).await;
        let (_, other) = visit.host.issue("Still needed", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        page.shows("#quota", "2 of 5 keys").await;
        press_on(page, "Old integration", "delete").await;
        page.shows("#delete", "stop at once").await;
        for wrong in ["", "Old", "Still needed", "old integration"] {
            page.fill("#delete [name=confirm]", wrong).await;
            page.press("#delete [type=submit]").await;
            page.shows("#delete .error", "neither the name nor the id").await;
            assert_eq!(visit.host.call(&token), 200);
        }
        page.fill("#delete [name=confirm]", "Old integration").await;
        page.press("#delete [type=submit]").await;
        page.shows("#status", "Deleted: Old integration").await;
        assert_eq!(visit.host.call(&token), 401);
        assert_eq!(visit.host.call(&other), 200);
        assert_eq!(names(page, 1).await, ["Still needed"]);
        page.shows("#quota", "1 of 5 keys").await;
        assert!(visit.host.tenant("acme").find(key.id()).await.is_err());
    });
}

#[test]
fn the_old_secret_works_until_the_new_one_is_used() {
    browse(async |visit| {
        let (key, old) = visit.host.issue("Lost", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "Lost", "rotate").await;
        page.shows("#rotate", "must be updated with the new one").await;
        page.press("#rotate [type=submit]").await;
        page.shows("#one-time h2", "regenerated").await;
        let new = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        page.shows(&card(page, "Lost").await, "previous key still works").await;

        assert_ne!(new, old);
        assert_eq!(visit.host.call(&old), 200);
        assert_eq!(visit.host.call(&old), 200);
        assert_eq!(visit.host.call(&new), 200);
        assert_eq!(visit.host.call(&old), 401);
        let now = visit.host.key("Lost").await;
        assert_eq!((now.id(), now.scopes()), (key.id(), key.scopes()));
    });
}

#[test]
fn a_leaked_secret_ends_at_once() {
    browse(async |visit| {
        let (_, old) = visit.host.issue("Leaked", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "Leaked", "rotate").await;
        page.press("#rotate [name=grace_period][value=none]").await;
        assert_eq!(visit.host.call(&old), 200);
        page.press("#rotate [type=submit]").await;
        let new = page.value("#one-time [name=token]").await;
        assert_eq!(visit.host.call(&old), 401);
        assert_eq!(visit.host.call(&new), 200);
        close_one_time(page).await;
    });
}

#[test]
fn what_the_service_suspends_is_shown_and_stays() {
    browse(async |visit| {
        let (key, token) = visit.host.issue("Abused", &["reporting"]).await;
        let (other, _) = visit.host.issue("Abused for a while", &["reporting"]).await;
        let operator = visit.host.keyring.acting_as("olga@mm.example");
        let ban = Suspension::permanent("too many requests").unwrap();
        operator.suspend_key(key.id(), ban).await.unwrap();
        let end = "2099-01-02T12:00:00Z".parse::<Timestamp>().unwrap();
        let ban = Suspension::until(end, "being looked at").unwrap();
        operator.suspend_key(other.id(), ban).await.unwrap();

        let page = visit.open(ANNA).await;
        let abused = card(page, "Abused").await;
        page.shows(&abused, "Suspended by the service: too many requests").await;
        let text = page.text(&card(page, "Abused for a while").await).await;
        assert!(text.contains("until 2 Jan 2099: being looked at"), "{text}");

        let toggle = format!("{abused} [data-action=toggle]");
        page.visible(&format!("{toggle}[aria-disabled=true]")).await;
        page.press(&toggle).await;
        page.shows("#status", "Only the service can lift that").await;
        // Nor does anything else that they may do.
        press_on(page, "Abused", "rotate").await;
        page.press("#rotate [type=submit]").await;
        let new = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        assert_eq!((visit.host.call(&token), visit.host.call(&new)), (401, 401));
    });
}
