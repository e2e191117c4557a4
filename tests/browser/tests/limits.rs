//! The limits of a key on resources and networks: how they are chosen and shown.

use keyway::{
    KeyEdit, NewKey,
    grant::{Networks, Resources},
};
use keyway_browser_tests::host::ANNA;

use crate::{
    axe,
    page::Page,
    verbs::{card, close_one_time, create, press_on},
    visit::{Visit, browse},
};

/// The fields of the dialogs, below `[data-field]`.
const NO_MACHINE: &str = "[name=resource-machine][value=none]";
const ALL_MACHINES: &str = "[name=resource-machine][value=all]";
const ONLY_MACHINES: &str = "[name=resource-machine][value=only]";
const MACHINES: &str = "[name=resource-machine-list]";
const ANYWHERE: &str = "[name=networks][value=any]";
const ONLY_NETWORKS: &str = "[name=networks][value=only]";
const NETWORKS: &str = "[name=networks-list]";

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

async fn is_chosen(page: &Page, selector: &str) {
    page.visible(&format!("{selector}:checked")).await;
}

/// Returns the status for each of the three machines.
fn statuses(visit: &Visit, token: &str) -> [u16; 3] {
    [1, 2, 3].map(|number| visit.host.call_at(token, &format!("/machines/press-{number}")).status)
}

#[test]
fn a_key_touches_and_comes_from_what_was_chosen() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        begin(page, "Dashboard").await;
        page.shows("#create [data-field=resources]", "One machine on the shop floor").await;
        is_chosen(page, NO_MACHINE).await;
        is_chosen(page, ANYWHERE).await;
        page.fill(MACHINES, "press-1\n press-2 \n\n").await;
        page.fill(NETWORKS, "127.0.0.0/8").await;
        is_chosen(page, ONLY_MACHINES).await;
        is_chosen(page, ONLY_NETWORKS).await;
        save(page).await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;

        let dashboard = card(page, "Dashboard").await;
        page.shows(&dashboard, "machine: press-1, press-2").await;
        page.shows(&dashboard, "from 127.0.0.0/8").await;
        assert_eq!(statuses(visit, &token), [200, 200, 403]);
        let list = visit.host.call_at(&token, "/machines");
        assert_eq!((list.status, list.body()), (200, r#"["press-1","press-2"]"#));
        assert_eq!(visit.host.call(&token), 200);

        press_on(page, "Dashboard", "edit").await;
        assert_eq!(page.value(MACHINES).await, "press-1\npress-2");
        assert_eq!(page.value(NETWORKS).await, "127.0.0.0/8");
        page.fill(NETWORKS, "192.0.2.0/24").await;
        save(page).await;
        page.shows(&dashboard, "from 192.0.2.0/24").await;
        page.closed().await;
        assert_eq!(statuses(visit, &token), [403; 3]);

        press_on(page, "Dashboard", "edit").await;
        page.press(ALL_MACHINES).await;
        page.press(ANYWHERE).await;
        save(page).await;
        page.shows(&dashboard, "machine: All, including future ones").await;
        page.closed().await;
        assert!(!page.text(&dashboard).await.contains("192.0.2.0"));
        assert_eq!(statuses(visit, &token), [200; 3]);

        press_on(page, "Dashboard", "edit").await;
        page.press(NO_MACHINE).await;
        save(page).await;
        page.closed().await;
        page.shows(&dashboard, "machine: None").await;
        assert_eq!(statuses(visit, &token), [403; 3]);
        assert_eq!(visit.host.call_at(&token, "/machines").body(), "[]");
    });
}

#[test]
fn limits_that_cannot_be_taken_are_refused_at_their_field() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 422");
        begin(page, "Key").await;
        page.press(ONLY_NETWORKS).await;
        let networks = "#create [data-field=networks]";
        let resources = "#create [data-field=resources]";
        let too_long = "x".repeat(65);
        for (field, list, text, words) in [
            // Nothing is not everything.
            (networks, NETWORKS, "", "Name at least one network"),
            (networks, NETWORKS, " \n,", "Name at least one network"),
            (networks, NETWORKS, "10.0.0.1/8", "all bits after its prefix must be zero"),
            (networks, NETWORKS, "example.org", "network"),
            (resources, MACHINES, &*too_long, "64"),
        ] {
            page.fill(list, text).await;
            save(page).await;
            page.shows(&format!("{field} .error"), words).await;
            page.visible(&format!("{field} {list}[aria-invalid=true]")).await;
            page.focused(list).await;
            axe::check(page, &format!("create with {text:?}")).await;
            assert_eq!(page.value(list).await, text);
            assert_eq!(page.value("#create [name=name]").await, "Key");
            if list == NETWORKS {
                is_chosen(page, ONLY_NETWORKS).await;
            }
            assert!(visit.host.keys("acme").await.is_empty(), "{text:?}");
            if text == "example.org" {
                page.fill(NETWORKS, "127.0.0.1, ::1").await;
            }
        }
        page.fill(MACHINES, "press-3").await;
        save(page).await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        page.shows(".key", "from 127.0.0.1/32, ::1/128").await;
        assert_eq!(statuses(visit, &token), [403, 403, 200]);
    });
}

#[test]
fn limits_are_chosen_with_a_keyboard_and_read_aloud() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        begin(page, "Key").await;
        axe::check(page, "create with limits").await;
        assert_eq!(page.label(MACHINES).await, "Ids, one per line");
        for (list, radio, text) in
            [(MACHINES, ONLY_MACHINES, "press-1"), (NETWORKS, ONLY_NETWORKS, "127.0.0.1")]
        {
            assert!(!page.has(&format!("{radio}:checked")).await);
            page.type_into(list, text).await;
            is_chosen(page, radio).await;
            page.focused(list).await;
        }
        axe::check(page, "create with chosen limits").await;
        save(page).await;
        close_one_time(page).await;
        axe::check(page, "list with limits").await;
        press_on(page, "Key", "edit").await;
        is_chosen(page, ONLY_MACHINES).await;
        axe::check(page, "edit with limits").await;
    });
}

/// An application may issue keys for ids with commas and spaces. The form takes the same text for a list if it is typed.
#[test]
fn what_is_not_edited_stays_as_it_is() {
    browse(async |visit| {
        let ids = [" hall 1, press-1 ", "a,b"];
        let request = NewKey::named("Imported")
            .scopes(["reporting"])
            .resources("machine", Resources::only(ids).unwrap())
            .networks(Networks::only(["10.0.0.0/9", "10.128.0.0/9", "::1"]).unwrap());
        drop(visit.host.tenant("acme").issue(request).await.unwrap());
        let page = visit.open(ANNA).await;
        let limits_of = async |name: &str| {
            let key = visit.host.key(name).await;
            let ids = key.resources().map(|(kind, of)| (kind.to_owned(), of.clone()));
            (ids.collect::<Vec<_>>(), key.networks().clone())
        };
        let before = limits_of("Imported").await;
        press_on(page, "Imported", "edit").await;
        page.fill("#edit [name=name]", "Renamed").await;
        save(page).await;
        page.closed().await;
        assert_eq!(limits_of("Renamed").await, before);

        press_on(page, "Renamed", "edit").await;
        page.fill(MACHINES, &format!("{}\n{}\npress-2, press-3", ids[0], ids[1])).await;
        save(page).await;
        page.closed().await;
        let (resources, networks) = limits_of("Renamed").await;
        let expected = Resources::only([ids[0], ids[1], "press-2", "press-3"]).unwrap();
        assert_eq!(resources, [("machine".to_owned(), expected)]);
        assert_eq!(networks, before.1);
    });
}

#[test]
fn limits_that_somebody_else_changed_are_shown() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        let token = create(page, "Key", &["reporting"]).await;
        page.expect_in_console("status of 412");
        press_on(page, "Key", "edit").await;
        page.fill(NETWORKS, "127.0.0.1").await;
        let key = visit.host.key("Key").await;
        let edit = KeyEdit::new().resources("machine", Resources::All);
        visit.host.tenant("acme").edit(key.id(), key.version(), edit).await.unwrap();
        save(page).await;
        page.shows("#edit .notice", "Limits: was machine: None, is now machine: All").await;
        is_chosen(page, ALL_MACHINES).await;
        assert_eq!(page.value(NETWORKS).await, "127.0.0.1");
        save(page).await;
        page.closed().await;
        page.shows(".key", "from 127.0.0.1/32").await;
        assert_eq!(statuses(visit, &token), [200; 3]);
    });
}
