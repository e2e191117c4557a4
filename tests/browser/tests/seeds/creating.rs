//! New keys.

use std::collections::BTreeMap;

use keyway_browser_tests::host::{ANNA, GUS};
use serde_json::{Value, json};

use crate::{
    verbs::{self, card, close_one_time, create},
    visit::browse,
};

#[test]
fn a_key_is_created_and_opens_what_was_chosen() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.shows("#results", "No keys yet").await;
        verbs::ask_for_key(page, "ERP nightly sync", &["reporting", "erp"]).await;

        page.shows("#one-time", "ERP nightly sync").await;
        page.shows("#one-time", "shown only now").await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;

        let key = visit.host.key("ERP nightly sync").await;
        let card = card(page, "ERP nightly sync").await;
        page.shows(&card, key.masked()).await;
        let created = format!("{card} .fact.created time[datetime='{}']", key.created_at());
        page.visible(&created).await;
        page.shows(&card, "by anna@acme.example").await;
        assert_eq!(visit.host.call(&token), 200);
        assert_eq!(
            key.scopes().iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
            ["erp", "reporting"]
        );
        assert_eq!(visit.host.call(&token.replace("mm_live_", "mm_live_A")), 401);
    });
}

#[test]
fn every_scope_is_offered_in_any_combination() {
    let text = include_str!("../../../../examples/machinemetrics.json");
    let policy: Value = serde_json::from_str(text).unwrap();
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.press("[data-action=create]").await;
        page.visible("#create").await;
        let offered = page
            .run(
                "return Object.fromEntries([...document.querySelectorAll('.scope')].map((each) => \
                 [each.querySelector('input').value, each.querySelector('.about > span').textContent]))",
                &[],
            )
            .await;
        let scopes = policy["scopes"].as_array().unwrap();
        let declared: BTreeMap<&str, &Value> = scopes
            .iter()
            .map(|scope| (scope["name"].as_str().unwrap(), &scope["description"]))
            .collect();
        assert_eq!(declared.len(), 17);
        assert_eq!(offered, json!(declared));

        page.fill("#create [name=name]", "Mixed").await;
        for scope in ["user.read", "gateway", "operator.parts"] {
            page.press(&format!("[name=scopes][value='{scope}']")).await;
        }
        page.press("#create [name=expiry][value=never]").await;
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        let key = visit.host.key("Mixed").await;
        let scopes: Vec<_> = key.scopes().iter().map(|scope| scope.as_str()).collect();
        assert_eq!(scopes, ["gateway", "operator.parts", "user.read"]);
        assert_eq!(key.expires_at(), None);
    });
}

#[test]
fn choosing_operator_shows_what_it_includes() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.press("[data-action=create]").await;
        page.press("[name=scopes][value='operator.jobs']").await;
        let state = async || {
            page.run(
                "return [...document.querySelectorAll('[name=scopes]')].filter((each) => each.checked)\
                 .map((each) => each.value + (each.disabled ? ' included' : ''))",
                &[],
            )
            .await
        };
        assert_eq!(state().await, json!(["operator.jobs"]));
        page.press("[name=scopes][value='operator']").await;
        let included = [
            "operator",
            "operator.downtime included",
            "operator.jobs included",
            "operator.parts included",
            "operator.read included",
        ];
        assert_eq!(state().await, json!(included));
        page.shows("#create .tree", "Included in operator").await;
        // The earlier choices are selected again.
        page.press("[name=scopes][value='operator']").await;
        assert_eq!(state().await, json!(["operator.jobs"]));
        page.press("[name=scopes][value='operator']").await;

        page.fill("#create [name=name]", "Shop floor").await;
        page.press("#create [name=expiry][value='7']").await;
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        let key = visit.host.key("Shop floor").await;
        assert_eq!(
            key.scopes().iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
            ["operator"]
        );
    });
}

#[test]
fn a_key_works_for_all_of_its_last_day() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.press("[data-action=create]").await;
        page.fill("#create [name=name]", "Until a day").await;
        page.press("#create [name=expiry][value=date]").await;
        page.press("#create [type=submit]").await;
        page.shows("#create [data-field=expires_at] .error", "Choose when the key expires.").await;
        page.set("#create [name=expires_on]", "2099-01-02").await;
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        page.shows(&card(page, "Until a day").await, "2 Jan 2099").await;
        let end = visit.host.key("Until a day").await.expires_at().unwrap().as_millis();
        let script = "return new Date('2099-01-03T00:00').getTime() - arguments[0]";
        let left = page.run(script, &[end.into()]).await.as_i64().unwrap();
        assert!((0..=1_000).contains(&left), "{left} ms before midnight");
    });
}

#[test]
fn nothing_is_chosen_at_first() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.press("[data-action=create]").await;
        page.focused("#create [name=name]").await;
        // Unless a person chooses more, a key touches no machine. It may be used from anywhere.
        let defaults = "[name=resource-machine][value=none], [name=networks][value=any]";
        assert!(!page.has(&format!("#create input:checked:not({defaults})")).await);
        assert_eq!(page.value("#create [name=name]").await, "");

        page.fill("#create [name=name]", "Harmless").await;
        // When it ends is for a person to decide.
        page.press("#create [type=submit]").await;
        page.shows("#create [data-field=expires_at] .error", "Choose when the key expires.").await;
        page.press("#create [name=expiry][value='30']").await;
        page.press("#create [type=submit]").await;
        let token = page.value("#one-time [name=token]").await;
        close_one_time(page).await;
        page.shows(&card(page, "Harmless").await, "None: allows nothing").await;
        assert_eq!(visit.host.call(&token), 403);
    });
}

#[test]
fn a_key_without_a_name_is_refused_at_the_field() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 422");
        page.press("[data-action=create]").await;
        page.press("#create [name=expiry][value='30']").await;
        page.press("#create [type=submit]").await;
        page.shows("#create [data-field=name] .error", "name").await;
        page.focused("#create [name=name][aria-invalid=true]").await;
        assert_eq!(visit.host.keys("acme").await.len(), 0);

        page.type_into("#create [name=name]", "Now it has one").await;
        page.press("#create [type=submit]").await;
        close_one_time(page).await;
        assert_eq!(visit.host.keys("acme").await.len(), 1);
    });
}

#[test]
fn the_command_beside_the_key_has_it_in_its_place() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        verbs::ask_for_key(page, "Weekly report", &["reporting"]).await;
        let token = page.value("#one-time [name=token]").await;
        let command = page.value("#one-time [name=curl]").await;
        assert_eq!(
            command,
            format!(
                "curl -H 'Authorization: Bearer {token}' https://api.example/reports/production"
            )
        );
        // Copying the command copies the key as well.
        page.press("[data-action=copy-curl]").await;
        page.shows("#one-time .live", "Command copied").await;
        page.press("#one-time [data-action=done]").await;
        page.closed().await;
    });
}

#[test]
fn the_keys_of_a_company_are_its_own() {
    browse(async |visit| {
        let page = visit.open(ANNA).await;
        let token = create(page, "Only Acme's", &["reporting"]).await;
        let bearer = format!("Bearer {token}");
        let report = keyway_browser_tests::client::get(
            visit.host.address,
            "/reports/production",
            &[("authorization", &bearer)],
        );
        assert!(report.text.ends_with(r#"{"company":"acme"}"#), "{report:?}");

        let page = visit.open(GUS).await;
        assert_eq!(verbs::names(page, 1).await, ["default"]);
        for text in ["Acme", &token] {
            verbs::search(page, text).await;
            page.shows("#results", "Nothing found").await;
        }
    });
}

#[test]
fn a_new_company_has_its_first_key() {
    browse(async |visit| {
        let (_, first) = visit.host.keyring.create_tenant("initech", "lite").await.unwrap();
        let page = visit.open("tenant/initech/peter@initech.example").await;
        assert_eq!(verbs::names(page, 1).await, ["default"]);
        let card = card(page, "default").await;
        page.shows(&card, first.key.masked()).await;
        // It is for them to decide what it may do.
        page.shows(&card, "None: allows nothing").await;
    });
}
