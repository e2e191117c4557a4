//! The main states as pictures, for the README and the guide.

use std::{fs, path::Path};

use keyway::{
    NewKey,
    grant::{Networks, Resources},
    record::{Labels, Suspension},
};
use keyway_browser_tests::host::{ANNA, OLGA};

use crate::{
    page::Page,
    verbs::{names, search},
    visit::{Visit, browse},
};

/// A picture is not to weigh more.
const MAX_BYTES: usize = 150_000;

#[test]
#[ignore = "writes the pictures of the README, with `-- --ignored pictures`"]
fn pictures_of_the_main_states() {
    browse(async |visit| {
        fill(visit).await;
        let page = visit.open(ANNA).await;
        names(page, 4).await;
        take(page, "list", 1280, 800, "light").await;
        take(page, "list-dark", 1280, 800, "dark").await;
        take(page, "list-narrow", 320, 1200, "light").await;
        page.look(1280, 800, "light").await;
        search(page, "erp").await;
        names(page, 1).await;
        take(page, "search", 1280, 560, "light").await;
        page.press("[data-action=clear]").await;
        names(page, 4).await;

        page.press("[data-action=create]").await;
        page.fill("#create [name=name]", "Shop floor tablets").await;
        page.press("[name=scopes][value=operator]").await;
        page.run("document.querySelector('.tree').scrollIntoView({ block: 'center' })", &[]).await;
        take(page, "create", 1280, 800, "light").await;
        page.press("#create [name=expiry][value='90']").await;
        page.press("#create [type=submit]").await;
        // The service ends with this test, and with it whatever this token opens.
        page.visible("#one-time").await;
        take(page, "one-time", 1280, 800, "light").await;

        let page = visit.open(OLGA).await;
        page.visible("[data-tenant=initech]").await;
        take(page, "operator", 1280, 560, "light").await;
        page.press("[data-tenant=acme] [data-action=tier]").await;
        page.choose("#tier [name=tier]", "lite").await;
        page.shows("#tier-preview", "over the limit").await;
        take(page, "tier", 1280, 640, "light").await;
    });
}

async fn take(page: &Page, name: &str, width: u32, height: u32, scheme: &str) {
    page.look(width, height, scheme).await;
    let picture = page.client.screenshot().await.unwrap();
    assert!(picture.len() <= MAX_BYTES, "{name}.png has {} bytes", picture.len());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../screenshots");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}

async fn fill(visit: &Visit) {
    let acme = visit.host.tenant("acme");
    let labels = Labels::new([("team", "erp")]).unwrap();
    let request = NewKey::named("ERP nightly sync").scopes(["erp", "reporting"]).labels(labels);
    let erp = acme.issue(request).await.unwrap();
    assert_eq!(visit.host.call(&erp.token.reveal()), 200);
    let report = NewKey::named("Weekly report").scopes(["reporting"]);
    let report = acme.issue(report.resources("machine", Resources::All)).await.unwrap();
    assert_eq!(visit.host.call(&report.token.reveal()), 200);
    let display = NewKey::named("Shop floor display")
        .scopes(["operator.read"])
        .resources("machine", Resources::only(["press-1", "press-2"]).unwrap())
        .networks(Networks::only(["192.0.2.0/24"]).unwrap());
    let off = acme.issue(display).await.unwrap();
    acme.disable(off.key.id()).await.unwrap();
    assert_eq!(visit.host.call(&off.token.reveal()), 401);
    let (held, _) = visit.host.issue("Experiment", &["gateway", "metrics"]).await;
    let ban = Suspension::permanent("10,000 requests a minute").unwrap();
    visit.host.keyring.suspend_key(held.id(), ban).await.unwrap();
    visit.host.keyring.flush_uses().await.unwrap();
    visit.host.keyring.create_empty_tenant("initech", "lite").await.unwrap();
    let ban = Suspension::permanent("unpaid since March").unwrap();
    visit.host.keyring.suspend_tenant(&"initech".parse().unwrap(), ban).await.unwrap();
}
