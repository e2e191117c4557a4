//! Another person was faster, or the service does not respond. No typed text is lost, and nothing happens twice.

use keyway::KeyEdit;
use keyway_browser_tests::{
    Loss,
    host::{ANNA, MOUNT},
};

use crate::{
    verbs::{ask_for_key, card, close_one_time, names, press_on},
    visit::{Visit, browse},
};

const CREATE: &str = "POST /settings/api-keys/api/keys";

/// The action of another administrator in the meantime.
async fn edit_behind(visit: &Visit, name: &str, edit: KeyEdit) {
    let key = visit.host.key(name).await;
    visit.host.tenant("acme").edit(key.id(), key.version(), edit).await.unwrap();
}

#[test]
fn an_edit_that_comes_second_keeps_what_was_typed() {
    browse(async |visit| {
        visit.host.issue("Shared", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 412");
        press_on(page, "Shared", "edit").await;
        page.fill("#edit [name=name]", "Typed by Anna").await;
        edit_behind(visit, "Shared", KeyEdit::new().scopes(["erp"])).await;
        let page = &visit.page;
        page.press("#edit [type=submit]").await;

        page.shows("#edit .notice", "Somebody else changed this key").await;
        page.shows("#edit .notice", "Scopes: was reporting, is now erp").await;
        assert_eq!(visit.host.key("Shared").await.scopes()[0].as_str(), "erp");
        assert_eq!(page.value("#edit [name=name]").await, "Typed by Anna");
        page.visible("#edit [name=scopes][value=erp]:checked").await;
        assert!(!page.has("#edit [name=scopes][value=reporting]:checked").await);

        page.press("#edit [type=submit]").await;
        page.closed().await;
        let key = visit.host.key("Typed by Anna").await;
        assert_eq!(key.scopes()[0].as_str(), "erp");
    });
}

#[test]
fn a_switch_that_comes_second_switches_nothing() {
    browse(async |visit| {
        visit.host.issue("Shared", &[]).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 412");
        edit_behind(visit, "Shared", KeyEdit::new().name("Renamed")).await;
        let page = &visit.page;
        press_on(page, "Shared", "toggle").await;
        page.shows("#status", "Somebody else changed Renamed first").await;
        let card = card(page, "Renamed").await;
        page.visible(&format!("{card} [aria-checked=true]")).await;
        assert!(visit.host.key("Renamed").await.enabled());
        page.press(&format!("{card} [data-action=toggle]")).await;
        page.visible(&format!("{card} [aria-checked=false]")).await;
    });
}

#[test]
fn a_regeneration_that_comes_second_asks_again() {
    browse(async |visit| {
        let (_, token) = visit.host.issue("Shared", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 412");
        press_on(page, "Shared", "rotate").await;
        page.press("#rotate [name=grace_period][value=none]").await;
        edit_behind(visit, "Shared", KeyEdit::new().name("Renamed")).await;
        let page = &visit.page;
        page.press("#rotate [type=submit]").await;
        page.shows("#rotate .notice", "Somebody else changed this key").await;
        assert_eq!(visit.host.call(&token), 200);
        page.visible("#rotate [value=none]:checked").await;
        page.press("#rotate [type=submit]").await;
        close_one_time(page).await;
        assert_eq!(visit.host.call(&token), 401);
    });
}

#[test]
fn what_was_deleted_meanwhile_is_gone_whatever_is_done_with_it() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 404");
        for action in ["edit", "rotate", "delete", "toggle"] {
            let (key, _) = visit.host.issue(action, &[]).await;
            page.client.refresh().await.unwrap();
            page.settled().await;
            press_on(page, action, action).await;
            if action == "toggle" {
                page.shows("#status", "Switched off").await;
            }
            visit.host.tenant("acme").delete(key.id()).await.unwrap();
            match action {
                "edit" => page.fill("#edit [name=name]", "Too late").await,
                "delete" => page.fill("#delete [name=confirm]", "delete").await,
                "toggle" => press_on(page, action, action).await,
                _ => {}
            }
            if action != "toggle" {
                page.press("dialog [type=submit]").await;
            }
            page.closed().await;
            page.shows("#status", &format!("Deleted: {action}")).await;
            names(page, 0).await;
            page.shows("#quota", "0 of 5 keys").await;
        }
    });
}

#[test]
fn pressing_twice_makes_one_key() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        visit.host.store.hold("insert_key");
        ask_for_key(page, "Once", &[]).await;
        visit.host.store.await_call("insert_key");
        page.run("for (let i = 0; i < 3; i += 1) document.querySelector('#create [type=submit]').click()", &[]).await;
        page.press("#create [type=submit]").await;
        page.fill("#create [name=name]", "Once").await;
        page.keys(&["\u{e007}"]).await;
        visit.host.store.release("insert_key");
        close_one_time(page).await;
        assert_eq!(names(page, 1).await, ["Once"]);
        assert_eq!(visit.host.keys("acme").await.len(), 1);
        let requests = visit.host.take_requests();
        assert_eq!(requests.iter().filter(|request| *request == CREATE).count(), 1);
    });
}

#[test]
fn a_retry_after_a_lost_answer_makes_no_second_key() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("net::ERR_");
        visit.host.lose_answer_to(CREATE, Loss::Rest);
        ask_for_key(page, "Lost", &["reporting"]).await;
        page.shows("#create .problem", "The connection was lost").await;
        // It was done, and nobody knows.
        assert_eq!(visit.host.keys("acme").await.len(), 1);
        page.press("#create [type=submit]").await;
        page.shows("#replayed", "This key was made already").await;
        page.shows("#replayed", "cannot be shown again").await;
        assert_eq!(visit.host.keys("acme").await.len(), 1);
        let requests = visit.host.take_requests();
        assert_eq!(requests.iter().filter(|request| *request == CREATE).count(), 2);

        page.press("#replayed [data-action=rotate]").await;
        page.press("#rotate [name=grace_period][value=none]").await;
        page.press("#rotate [type=submit]").await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        assert_eq!(visit.host.call(&token), 200);
        assert_eq!(names(page, 1).await, ["Lost"]);
        page.shows("#quota", "1 of 5 keys").await;
    });
}

#[test]
fn a_browser_that_asks_again_by_itself_gets_no_second_key() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        visit.host.lose_answer_to(CREATE, Loss::Whole);
        ask_for_key(page, "Asked twice", &[]).await;
        page.shows("#replayed", "This key was made already").await;
        let requests = visit.host.take_requests();
        assert_eq!(requests.iter().filter(|request| *request == CREATE).count(), 2);
        assert_eq!(visit.host.keys("acme").await.len(), 1);
    });
}

#[test]
fn a_retry_of_a_regeneration_does_not_end_the_new_secret() {
    browse(async |visit| {
        let (key, old) = visit.host.issue("Lost", &["reporting"]).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("net::ERR_");
        let rotate = format!("POST {MOUNT}/api/keys/{}/rotate", key.id());
        visit.host.lose_answer_to(&rotate, Loss::Rest);
        press_on(page, "Lost", "rotate").await;
        page.press("#rotate [type=submit]").await;
        page.shows("#rotate .problem", "The connection was lost").await;
        let version = visit.host.key("Lost").await.version();
        page.press("#rotate [type=submit]").await;
        page.shows("#replayed", "cannot be shown again").await;
        assert_eq!(visit.host.key("Lost").await.version(), version);
        // Nobody is locked out.
        assert_eq!(visit.host.call(&old), 200);
        page.press("#replayed [data-action=done]").await;
        page.closed().await;
    });
}

#[test]
fn a_lost_connection_is_said_and_tried_again() {
    browse(async |visit| {
        visit.host.issue("Key", &["reporting"]).await;
        visit.open(ANNA).await;
        let page = &visit.page;
        page.expect_in_console("net::ERR_");
        visit.host.stop();
        press_on(page, "Key", "edit").await;
        page.fill("#edit [name=name]", "Typed without a connection").await;
        page.press("#edit [type=submit]").await;
        page.shows("#edit .problem", "The connection was lost").await;
        page.press("#edit [data-action=cancel]").await;
        page.choose("#filter", "active").await;
        page.shows("#banner", "The connection was lost").await;
        page.press("#banner [data-action=retry]").await;
        page.shows("#banner", "The connection was lost").await;
        visit.host.go_on();
        page.press("#banner [data-action=retry]").await;
        page.gone("#banner .notice").await;
        assert_eq!(names(page, 1).await, ["Key"]);
    });
}

#[test]
fn an_outage_of_the_store_is_said_and_tried_again() {
    browse(async |visit| {
        visit.host.issue("Key", &["reporting"]).await;
        visit.host.store.set_down(true);
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 503");
        page.shows("#banner", "The service cannot answer at the moment").await;
        // The page does not claim that there are no keys.
        assert!(!page.has(".key").await && !page.has(".empty").await);
        visit.host.store.set_down(false);
        page.press("#banner [data-action=retry]").await;
        page.gone("#banner .notice").await;
        assert_eq!(names(page, 1).await, ["Key"]);

        visit.host.store.fail("update_key");
        press_on(page, "Key", "toggle").await;
        page.shows("#banner", "The service cannot answer at the moment").await;
        let card = card(page, "Key").await;
        page.visible(&format!("{card} [aria-checked=true]")).await;
        visit.host.store.heal("update_key");
        page.press("#banner [data-action=retry]").await;
        page.visible(&format!("{card} [aria-checked=false]")).await;
        page.gone("#banner .notice").await;
    });
}

#[test]
fn who_is_signed_out_is_told_so() {
    browse(async |visit| {
        visit.host.issue("Key", &[]).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 401");
        press_on(page, "Key", "edit").await;
        page.fill("#edit [name=name]", "Typed").await;
        page.client.delete_all_cookies().await.unwrap();
        page.press("#edit [type=submit]").await;
        page.shows("#edit .problem", "You are signed out").await;
        assert_eq!(page.value("#edit [name=name]").await, "Typed");
        page.press("#edit [data-action=cancel]").await;
        page.choose("#filter", "active").await;
        page.shows("#banner", "You are signed out").await;
        page.visible("#banner [data-action=reload]").await;
    });
}
