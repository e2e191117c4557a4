//! The cost of the console's API: `cargo bench -p keyway-tests --bench console [-- [--quick] [list]]`.
//!
//! `console_list` is one call of `GET api/keys?limit=50`, from the request to the last byte of the response,
//! without a network. 1.0 is one bare prepared statement of SQLite in the same run that reads the same 50
//! rows in full. The statement runs as in an async service: on the connection's own thread, whose result is
//! awaited. Every round measures both, and the figure is the median of the rounds' ratios.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that goes wrong stops"
)]

#[path = "common/bare.rs"]
mod bare;
#[path = "common/case.rs"]
mod case;
#[path = "common/report.rs"]
mod report;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, request::Parts},
};
use keyway::{
    Keyring, NewKey, Pepper, Policy, ScopeCatalog, SqliteStore, Tier,
    console::{self, Admin},
    scope::ScopeDeclaration,
};
use rusqlite::Connection;
use tower::ServiceExt;

use self::{
    bare::{Bare, Folder},
    report::Report,
};

const KEYS: usize = 50;
const SELECT_KEYS: &str = "SELECT id, tenant, created_at, version, record, last_used \
                           FROM keyway_keys WHERE tenant = ?1 ORDER BY created_at, id LIMIT 50";

fn main() {
    let mut report = Report::asked_for();
    if report.wants("list") {
        list_case(&mut report);
    }
    report.finish("console");
}

fn list_case(report: &mut Report) {
    let folder = Folder::new();
    let file = folder.0.join("keys.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let router = console(SqliteStore::open(&file).await.unwrap()).await;
        let bare = Bare::open(&file);
        report
            .case(
                "console_list",
                2.0,
                (301, 20),
                async || assert_eq!(bare.run(|rows| select(rows)).await, KEYS),
                async || assert!(list(&router).await > KEYS * 200),
            )
            .await;
    });
}

/// Returns the console of a service whose one tenant holds all keys.
async fn console(store: SqliteStore) -> Router {
    let scopes = ["reporting", "operator", "operator.jobs"];
    let scopes = scopes.map(|name| ScopeDeclaration::new(name, "a scope"));
    let tiers = [Tier::new("large", KEYS.try_into().unwrap())];
    let policy = Policy::new("mm", ScopeCatalog::new(scopes).unwrap(), tiers).unwrap();
    let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
        .environment("live")
        .store(store)
        .build()
        .unwrap();
    let (acme, _) = keyring.create_tenant("acme", "large").await.unwrap();
    for number in 1..KEYS {
        let name = format!("ERP nightly sync {number}");
        drop(acme.issue(NewKey::named(name).scopes(["reporting"])).await.unwrap());
    }
    let tenant = acme.id().clone();
    let all = keyring.policy().catalog().all();
    console::router::<(), _>(&keyring, move |_: Parts| {
        let admin = Admin::of_tenant(tenant.clone(), all, "anna");
        async move { Ok(admin) }
    })
}

/// Returns the number of bytes in a response.
async fn list(router: &Router) -> usize {
    let request = Request::get("/api/keys?limit=50").header("sec-fetch-site", "same-origin");
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    to_bytes(response.into_body(), usize::MAX).await.unwrap().len()
}

type Row = (Vec<u8>, Vec<u8>, i64, i64, Vec<u8>, Option<i64>);

/// Returns the number of rows, each copied into owned values.
fn select(connection: &Connection) -> usize {
    let mut statement = connection.prepare_cached(SELECT_KEYS).unwrap();
    let rows = statement.query_map([b"acme".as_slice()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    });
    let rows: Vec<Row> = rows.unwrap().map(Result::unwrap).collect();
    rows.len()
}
