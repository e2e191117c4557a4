//! Allowances: what is left of them, and their field in the form of a tenant's exceptions.

use keyway::{allowance::Allowance, record::Exceptions};
use keyway_browser_tests::host::{ANNA, Host, METERED, MOUNT, OLGA};

use crate::{
    axe,
    exceptions::{OPEN, PREVIEW, SAVE, acme, choose, open, preview},
    page::Page,
    visit::{Visit, browse, browse_at},
};

const FIELD: &str = "#exceptions [data-field=allowances]";
const ERROR: &str = "#exceptions [data-field=allowances] .error";
const ADD: &str = "#exceptions [data-action=add-allowance]";

/// A control of an allowance in the form, by its place from 1 on.
fn control(place: usize, control: &str) -> String {
    format!("{FIELD} [role=group]:nth-child({place}) {control}")
}

/// Fills in an allowance: its units, and its seconds unless it is per month.
async fn fill(page: &Page, place: usize, units: &str, seconds: Option<&str>) {
    page.fill(&control(place, "[name=allowances-units]"), units).await;
    let period = if seconds.is_some() { "seconds" } else { "month" };
    page.choose(&control(place, "select"), period).await;
    if let Some(seconds) = seconds {
        page.fill(&control(place, "[name=allowances-seconds]"), seconds).await;
    }
}

async fn save(page: &Page) {
    preview(page, "No key loses anything.").await;
    page.press(SAVE).await;
    page.closed().await;
}

/// Sets exceptions of `acme` without the page.
async fn set(visit: &Visit, exceptions: Exceptions) {
    let acme = acme(visit).await;
    visit.host.keyring.set_exceptions(acme.id(), acme.version(), exceptions).await.unwrap();
}

#[test]
fn page_shows_what_is_left_of_allowances() {
    browse_at(Host::start_with_usage, async |visit| {
        let allowances = [Allowance::per_month(1_000), Allowance::per_seconds(60, 3_600)];
        set(visit, Exceptions::new().allowances(allowances)).await;
        let (_, token) = visit.host.issue("Weekly report", &["reporting"]).await;
        for _ in 0..3 {
            assert_eq!(visit.host.call(&token), 200);
        }
        visit.host.keyring.flush_uses().await.unwrap();
        for (who, place) in [(ANNA, MOUNT.into()), (OLGA, format!("{MOUNT}#tenant=acme"))] {
            let page = visit.open_at(who, &place).await;
            page.shows("#allowances", "997 left of 1,000 units per month, until ").await;
            page.shows("#allowances", "57 left of 60 units in 1 hour, until ").await;
            axe::check(page, &format!("list with allowances for {who}")).await;
        }
    });
}

#[test]
fn allowances_of_a_tenant_are_set_changed_and_removed() {
    browse_at(Host::start_with_usage, async |visit| {
        let page = open(visit).await;
        page.shows(FIELD, "As the tier: Unlimited").await;
        page.visible("#exceptions [name=limit-allowances][value=tier]:checked").await;
        assert_eq!(page.label(FIELD).await, "Allowance over all nodes");
        assert_eq!(page.label(&control(1, "")).await, "Allowance 1");
        assert_eq!(page.label(&control(1, "[name=allowances-units]")).await, "Units");
        // WebKit adds what is chosen or entered to the name that a label gives.
        assert!(page.label(&control(1, "select")).await.starts_with("Period"));
        page.gone(&control(1, "[name=allowances-seconds]")).await;

        fill(page, 1, "9007199254740991", None).await;
        page.visible("#exceptions [name=limit-allowances][value=value]:checked").await;
        page.press(ADD).await;
        page.focused(&control(2, "[name=allowances-units]")).await;
        fill(page, 2, "600", Some("60")).await;
        let seconds = page.label(&control(2, "[name=allowances-seconds]")).await;
        assert!(seconds.starts_with("In seconds"), "{seconds}");
        axe::check(page, "exceptions with allowances").await;
        save(page).await;
        let both = [Allowance::per_month((1 << 53) - 1), Allowance::per_seconds(600, 60)];
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().allowances(both));
        let text = "9,007,199,254,740,991 units per month, 600 units in 1 minute";
        page.shows("#about li", &format!("Allowance over all nodes: {text}")).await;

        // Whatever changes them takes the effect away, which is of other exceptions.
        page.press(OPEN).await;
        fill(page, 2, "700", Some("4294967295")).await;
        preview(page, "No key loses anything.").await;
        assert_eq!(page.label(&control(1, "button")).await, "Remove: Allowance 1");
        page.press(&control(1, "button")).await;
        page.gone(&format!("{PREVIEW} .notice")).await;
        page.focused(ADD).await;
        assert_eq!(page.label(&control(1, "button")).await, "Remove: Allowance 1");
        assert_eq!(page.value(&control(1, "[name=allowances-units]")).await, "700");
        preview(page, "No key loses anything.").await;
        page.press(ADD).await;
        page.gone(&format!("{PREVIEW} .notice")).await;
        page.press(&control(2, "button")).await;
        save(page).await;
        let one = [Allowance::per_seconds(700, u32::MAX)];
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().allowances(one));

        page.press(OPEN).await;
        choose(page, "allowances", "unlimited").await;
        save(page).await;
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().allowances([]));
        page.shows("#about li", "Allowance over all nodes: Unlimited").await;
        page.press(OPEN).await;
        choose(page, "allowances", "tier").await;
        save(page).await;
        assert!(acme(visit).await.exceptions().is_empty());
    });
}

#[test]
fn new_allowances_begin_with_those_of_the_tier() {
    browse_at(Host::start_with_usage, async |visit| {
        let before = acme(visit).await;
        visit.host.keyring.set_tier(before.id(), METERED).await.unwrap();
        let page = open(visit).await;
        page.shows(FIELD, "As the tier: 500 units per month, 9 units in 1 minute").await;
        page.visible("#exceptions [name=limit-allowances][value=tier]:checked").await;
        assert_eq!(page.value(&control(2, "[name=allowances-seconds]")).await, "60");
        page.fill(&control(1, "[name=allowances-units]"), "800").await;
        save(page).await;
        let raised = [Allowance::per_month(800), Allowance::per_seconds(9, 60)];
        assert_eq!(acme(visit).await.exceptions(), &Exceptions::new().allowances(raised));
        page.shows("#allowances", "800 left of 800 units per month, until ").await;
    });
}

#[test]
fn allowances_that_nobody_touches_stay_as_they_are() {
    browse_at(Host::start_with_usage, async |visit| {
        let all = [
            Allowance::per_month((1 << 53) - 1),
            Allowance::per_seconds(1, 1),
            Allowance::per_seconds(60, 3_600),
            Allowance::per_seconds((1 << 53) - 1, u32::MAX),
        ];
        let none = Exceptions::new();
        for held in [none.clone().allowances(all), none.clone().allowances([]), none] {
            set(visit, held.clone()).await;
            let page = open(visit).await;
            page.fill("#exceptions [name=keys-number]", "7").await;
            save(page).await;
            assert_eq!(acme(visit).await.exceptions(), &held.keys(7));
        }
    });
}

#[test]
fn allowances_that_cannot_be_taken_are_refused_at_their_row() {
    browse_at(Host::start_with_usage, async |visit| {
        let page = open(visit).await;
        let (units, seconds) = ("[name=allowances-units]", "[name=allowances-seconds]");
        choose(page, "allowances", "value").await;
        page.press(ADD).await;
        for (first, second, fault, words) in [
            (("", None), ("1", Some("60")), (1, units), "Enter whole numbers"),
            (("1", None), ("0", Some("60")), (2, units), "Enter whole numbers"),
            (("1", None), ("1.5", Some("60")), (2, units), "Enter whole numbers"),
            (
                ("1", None),
                ("9007199254740992", Some("60")),
                (2, units),
                "9,007,199,254,740,991 units",
            ),
            (("1", None), ("1", Some("")), (2, seconds), "Enter whole numbers"),
            (("1", Some("0")), ("1", None), (1, seconds), "Enter whole numbers"),
            (("1", Some("4294967296")), ("1", None), (1, seconds), "4,294,967,295 seconds"),
            (("1", None), ("2", None), (2, "select"), "Two allowances have the same period"),
            (("1", Some("60")), ("2", Some("60")), (2, "select"), "Two allowances have the same"),
        ] {
            fill(page, 1, first.0, first.1).await;
            fill(page, 2, second.0, second.1).await;
            page.press(SAVE).await;
            page.shows(ERROR, words).await;
            let place = control(fault.0, fault.1);
            page.focused(&format!("{place}[aria-invalid=true]")).await;
            let others = page.texts(&format!("{FIELD} [aria-invalid]")).await;
            assert_eq!(others.len(), 1, "{first:?} {second:?}");
        }
        axe::check(page, "exceptions with an allowance that is refused").await;

        // Four are the most, and there must be one.
        page.press(ADD).await;
        page.press(ADD).await;
        page.gone(ADD).await;
        for _ in 0..4 {
            page.press(&control(1, "button")).await;
            page.focused(ADD).await;
        }
        page.press(SAVE).await;
        page.shows(ERROR, "Add an allowance, or choose something else.").await;
        // A fault is forgotten with its row.
        page.press(ADD).await;
        fill(page, 1, "5", Some("60")).await;
        save(page).await;
        let five = Exceptions::new().allowances([Allowance::per_seconds(5, 60)]);
        assert_eq!(acme(visit).await.exceptions(), &five);
    });
}

/// The control: without a store of limits, the service refuses allowances.
#[test]
fn form_without_a_store_of_limits_has_no_allowances() {
    browse(async |visit| {
        let page = open(visit).await;
        page.visible("#exceptions [data-field=rate]").await;
        assert!(!page.has(FIELD).await);
    });
}
