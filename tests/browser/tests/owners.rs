//! Owners of keys: what a member sees, and what happens to all keys of an owner or of a filter.

use std::time::Duration;

use keyway::KeyEdit;
use keyway_browser_tests::host::{ANNA, BEN, MIA};

use serde_json::json;

use crate::{
    axe,
    page::Page,
    verbs::{card, create, names, press_on, search},
    visit::{Visit, browse},
};

/// Two keys of `mia`, one of `noah`, and one without an owner. Returns the tokens of the first two.
async fn fill(visit: &Visit) -> [String; 2] {
    let (_, laptop) = visit.host.issue_to("mia", "Laptop").await;
    let (_, script) = visit.host.issue_to("mia", "Script").await;
    visit.host.issue_to("noah", "Notebook").await;
    visit.host.issue("Nightly", &["reporting"]).await;
    [laptop, script]
}

/// Waits until these keys are listed, in any order.
async fn lists(page: &Page, expected: &[&str]) {
    let script = "const names = [...document.querySelectorAll('.key h3')].map((each) => each.textContent); \
        return !document.querySelector('#results[aria-busy]') \
        && JSON.stringify(names.sort()) === JSON.stringify(arguments[0])";
    page.until(&format!("{expected:?} are listed"), script, &[json!(expected)]).await;
}

async fn of_owner(page: &Page, owner: &str, expected: &[&str]) {
    page.fill("#owner", owner).await;
    lists(page, expected).await;
}

#[test]
fn a_member_sees_only_the_own_keys() {
    browse(async |visit| {
        fill(visit).await;
        let page = visit.open(MIA).await;
        lists(page, &["Laptop", "Script"]).await;
        page.shows(".lead", "You see and manage only the keys of mia.").await;
        let text = page.all_text().await;
        assert!(!text.contains("noah") && !text.contains("Nightly"), "{text}");
        page.gone("#owner").await;
        page.choose("#filter", "active").await;
        page.visible("[data-action=disable-all]").await;
        assert!(!page.has("[data-action=disable-owner], [data-action=enable-owner]").await);
        axe::check(page, "list of a member").await;

        page.choose("#filter", "").await;
        create(page, "Tablet", &["reporting"]).await;
        assert_eq!(visit.host.key("Tablet").await.owner().unwrap().as_str(), "mia");

        // An administrator of the tenant sees all, and whose they are.
        let page = visit.open(ANNA).await;
        names(page, 5).await;
        page.shows(&card(page, "Tablet").await, "Owner: mia").await;
        assert!(!page.text(&card(page, "Nightly").await).await.contains("Owner"));
        assert!(!page.text(".lead").await.contains("only the keys"));
    });
}

#[test]
fn keys_are_filtered_by_owner() {
    browse(async |visit| {
        visit.host.issue("Nightly", &[]).await;
        let page = visit.open(ANNA).await;
        names(page, 1).await;
        page.gone("#owner").await;

        visit.host.issue_to("mia", "Laptop").await;
        visit.host.issue_to("noah", "Notebook").await;
        let page = visit.open(ANNA).await;
        names(page, 3).await;
        assert_eq!(page.label("#owner").await, "Owner");
        of_owner(page, "mia", &["Laptop"]).await;
        page.choose("#filter", "disabled").await;
        page.shows("#results", "Nothing found").await;
        page.choose("#filter", "").await;
        of_owner(page, "noah", &["Notebook"]).await;
        of_owner(page, "nobody", &[]).await;
        page.shows("#results", "Nothing found").await;
        page.gone("#many button").await;
        of_owner(page, "", &["Laptop", "Nightly", "Notebook"]).await;
        page.gone("#many button").await;
    });
}

#[test]
fn keys_that_end_soon_are_filtered() {
    browse(async |visit| {
        visit.host.issue("Nightly", &[]).await;
        let (trial, _) = visit.host.issue("Trial", &[]).await;
        let (later, _) = visit.host.issue("Later", &[]).await;
        let ended = visit.host.issue("Off", &[]).await.0;
        let keys = visit.host.tenant("acme");
        let day = Duration::from_secs(86_400);
        for (key, edit) in [
            (trial, KeyEdit::new().expires_in(day * 13)),
            (later, KeyEdit::new().expires_in(day * 15)),
            (ended, KeyEdit::new().expires_in(day * 13).enabled(false)),
        ] {
            keys.edit(key.id(), key.version(), edit).await.unwrap();
        }
        let page = visit.open(ANNA).await;
        lists(page, &["Later", "Nightly", "Off", "Trial"]).await;
        page.choose("#filter", "due").await;
        lists(page, &["Trial"]).await;
        // A search shows the same keys.
        search(page, "t").await;
        lists(page, &["Trial"]).await;
        page.press("[data-action=clear]").await;
        page.choose("#filter", "").await;
        lists(page, &["Later", "Nightly", "Off", "Trial"]).await;
    });
}

#[test]
fn all_keys_of_a_filter_are_disabled_but_the_one_that_changed() {
    browse(async |visit| {
        let [laptop, script] = fill(visit).await;
        let page = visit.open(ANNA).await;
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        page.press("[data-action=disable-all]").await;
        page.shows("#disable-all", "Disable 2 keys?").await;
        let mut hit = page.texts("#disable-all .events bdi").await;
        hit.sort();
        assert_eq!(hit, ["Laptop", "Script"]);
        axe::check(page, "disable all").await;
        // The list alone changes nothing.
        assert!(visit.host.key("Laptop").await.enabled());

        let key = visit.host.key("Script").await;
        let edit = KeyEdit::new().name("Script, renamed");
        visit.host.tenant("acme").edit(key.id(), key.version(), edit).await.unwrap();
        page.press("#disable-all [type=submit]").await;
        page.shows("#changed h2", "Disabled: 1 key").await;
        page.shows("#changed .notice", "These keys were changed since they were listed").await;
        assert_eq!(page.texts("#changed .events bdi").await, ["Script"]);
        axe::check(page, "keys that were changed").await;
        page.press("#changed footer [data-action=done]").await;
        page.closed().await;
        lists(page, &["Laptop", "Script, renamed"]).await;
        page.shows(&card(page, "Laptop").await, "Switched off").await;
        assert_eq!([visit.host.call(&laptop), visit.host.call(&script)], [401, 200]);
        assert!(visit.host.key("Notebook").await.enabled());

        // Those that are off already are not listed again.
        page.press("[data-action=disable-all]").await;
        page.shows("#disable-all", "Disable 1 key?").await;
        page.press("#disable-all [type=submit]").await;
        page.closed().await;
        page.shows("#status", "Disabled: 1 key").await;
        assert_eq!(visit.host.call(&script), 401);
        page.press("[data-action=disable-all]").await;
        page.shows("#status", "All these keys are switched off already.").await;
    });
}

#[test]
fn all_keys_of_a_filter_are_deleted_after_their_number_is_typed() {
    browse(async |visit| {
        fill(visit).await;
        let page = visit.open(ANNA).await;
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        page.press("[data-action=delete-all]").await;
        page.shows("#delete-all", "Delete 2 keys?").await;
        for wrong in ["", "1", "mia"] {
            page.fill("#delete-all [name=confirm]", wrong).await;
            page.press("#delete-all [type=submit]").await;
            page.shows("#delete-all .error", "This is not the number of keys.").await;
            page.focused("#delete-all [name=confirm][aria-invalid=true]").await;
        }
        axe::check(page, "delete all").await;
        assert_eq!(visit.host.keys("acme").await.len(), 4);
        page.press("#delete-all footer [data-action=cancel]").await;
        page.closed().await;
        page.focused("[data-action=delete-all]").await;
        page.press("[data-action=delete-all]").await;
        page.fill("#delete-all [name=confirm]", "2").await;
        page.press("#delete-all [type=submit]").await;
        page.closed().await;
        page.shows("#status", "Deleted: 2 keys").await;
        names(page, 0).await;
        page.shows("#quota", "2 of 5 keys").await;
        of_owner(page, "", &["Nightly", "Notebook"]).await;
        assert_eq!(visit.host.keys("acme").await.len(), 2);
    });
}

/// One request has at most 500 keys, and a page of the list fewer.
#[test]
fn many_keys_are_sent_in_portions() {
    browse(async |visit| {
        visit.host.keyring.set_tier(&"acme".parse().unwrap(), "huge").await.unwrap();
        for number in 0..501 {
            visit.host.issue_to("mia", &format!("{number}")).await;
        }
        visit.host.issue("Nightly", &[]).await;
        let page = visit.open(ANNA).await;
        page.fill("#owner", "mia").await;
        page.visible("[data-action=delete-all]").await;
        visit.host.take_requests();
        page.press("[data-action=delete-all]").await;
        page.shows("#delete-all", "Delete 501 keys?").await;
        page.fill("#delete-all [name=confirm]", "501").await;
        page.press("#delete-all [type=submit]").await;
        page.closed().await;
        page.shows("#status", "Deleted: 501 keys").await;
        let requests = visit.host.take_requests();
        let portions = requests.iter().filter(|request| request.ends_with("/keys/delete"));
        assert_eq!(portions.count(), 2);
        assert_eq!(visit.host.keys("acme").await.len(), 1);
    });
}

#[test]
fn an_owner_is_disabled_and_enabled_again() {
    browse(async |visit| {
        let [laptop, script] = fill(visit).await;
        let key = visit.host.key("Script").await;
        visit.host.tenant("acme").disable(key.id()).await.unwrap();
        let page = visit.open(ANNA).await;
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        assert_eq!(page.label("[data-action=disable-owner]").await, "Disable this owner: mia");
        page.press("[data-action=disable-owner]").await;
        page.shows("#disable-owner", "All keys of mia, also new ones, are refused").await;
        axe::check(page, "disable an owner").await;
        assert_eq!(visit.host.call(&laptop), 200);
        visit.host.take_requests();
        page.press("#disable-owner [type=submit]").await;
        page.closed().await;
        page.shows("#status", "Disabled: mia").await;
        page.shows(&card(page, "Laptop").await, "Owner disabled").await;
        page.visible("[data-action=enable-owner]").await;
        let requests = visit.host.take_requests();
        let changes = requests.iter().filter(|request| !request.starts_with("GET"));
        assert_eq!(changes.count(), 1, "{requests:?}");
        assert_eq!(visit.host.call(&laptop), 401);
        axe::check(page, "list of a disabled owner").await;

        // The state is among the filters, and the owner is known after a reload.
        let page = visit.open(ANNA).await;
        page.choose("#filter", "owner_disabled").await;
        names(page, 2).await;
        let page = visit.open(MIA).await;
        page.shows(&card(page, "Laptop").await, "Owner disabled").await;

        let page = visit.open(ANNA).await;
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        page.press("[data-action=enable-owner]").await;
        page.shows("#status", "Enabled: mia").await;
        page.shows(&card(page, "Laptop").await, "Active").await;
        page.shows(&card(page, "Script").await, "Switched off").await;
        page.visible("[data-action=disable-owner]").await;
        assert_eq!([visit.host.call(&laptop), visit.host.call(&script)], [200, 401]);
    });
}

/// Keys of the owner may do more than an administrator who may not grant everything.
#[test]
fn who_may_not_grant_everything_enables_no_owner() {
    browse(async |visit| {
        fill(visit).await;
        visit.host.tenant("acme").disable_owner(&"mia".parse().unwrap()).await.unwrap();
        let page = visit.open(BEN).await;
        page.expect_in_console("status of 422");
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        page.press("[data-action=enable-owner]").await;
        page.shows("#banner", "You cannot grant what you do not have.").await;
        page.shows(&card(page, "Laptop").await, "Owner disabled").await;
    });
}

#[test]
fn a_failure_between_is_said_and_the_rest_is_tried_again() {
    browse(async |visit| {
        fill(visit).await;
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 503");
        of_owner(page, "mia", &["Laptop", "Script"]).await;
        page.press("[data-action=disable-all]").await;
        page.shows("#disable-all", "Disable 2 keys?").await;
        visit.host.store.fail("update_key");
        page.press("#disable-all [type=submit]").await;
        page.shows("#disable-all .problem", "The service cannot answer").await;
        visit.host.store.heal("update_key");
        page.press("#disable-all [type=submit]").await;
        page.closed().await;
        page.shows("#status", "Disabled: 2 keys").await;
        press_on(page, "Laptop", "history").await;
        page.visible("#history").await;
    });
}
