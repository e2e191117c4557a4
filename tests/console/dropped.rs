//! Handlers whose future is dropped, as a server does when the client closes the connection. The change is
//! done as a whole or not at all, wherever the handler was. Each request is dropped at its first await, then
//! at its second, and so on until it completes.

#[path = "../../src/store/conformance/give_up.rs"]
mod give_up;

use std::time::{Duration, Instant};

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
    routing,
};
use keyway::{
    KeyEdit, KeyRecord, Keyring, MemoryStore, NewKey, SqliteStore, TenantKeys,
    store::{AnyStore, KeyQuery},
};
use serde_json::{Value, json};
use tokio::{runtime::Builder, time::sleep};
use tower::ServiceExt;

use self::give_up::give_up_after;
use crate::{
    client::{MOUNT, console, mount},
    support::figures::{caught, none, scale},
    support::{FaultyStore, overheard::RevealKnown as _, pepper, policy},
};

/// A number of awaits that no handler has.
const MOST: usize = 500;
/// The time that a dropped request may take to settle in the store.
const SETTLES: Duration = Duration::from_secs(2);

/// A console on one store.
struct Place {
    keyring: Keyring,
    router: Router,
}

impl Place {
    fn new(store: AnyStore) -> Self {
        let builder = Keyring::builder(policy(), pepper()).environment("live");
        let keyring = builder.store(store).build().unwrap();
        Self { router: mount(console(&keyring)), keyring }
    }

    /// Creates a console on a memory store that yields before and after each call.
    fn in_memory() -> Self {
        let store = FaultyStore::over(MemoryStore::new());
        store.set_slow(true);
        Self::new(AnyStore::new(store))
    }

    /// Creates the same place with another handler, which creates a key in two writes: the control.
    fn planted() -> Self {
        let place = Self::in_memory();
        let router = Router::new()
            .route(&format!("{MOUNT}/api/keys"), routing::post(create_in_two_steps))
            .layer(Extension(place.keyring.clone()));
        Self { router, ..place }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        tenant: &TenantKeys,
        idempotency_key: &str,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{MOUNT}{path}"))
            .header("x-test-who", tenant.id().as_str())
            .header("content-type", "application/json")
            .header("idempotency-key", idempotency_key)
            .header("if-match", "*")
            .body(Body::from(json!({ "name": "a", "scopes": ["reporting"] }).to_string()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (head.status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, tenant: &TenantKeys, idempotency_key: &str) -> (StatusCode, Value) {
        self.ask("POST", "/api/keys", tenant, idempotency_key).await
    }

    /// Drops a create after `polls`. Returns the error in the tenant's state, if any, and whether the request
    /// had completed.
    async fn drop_create(&self, round: usize, polls: usize) -> (Option<String>, bool) {
        let tenant = format!("created-{round}-{polls}");
        let tenant = self.keyring.create_empty_tenant(&tenant, "lite").await;
        let tenant = tenant.unwrap();
        let answered = give_up_after(polls, self.create(&tenant, "once")).await.is_some();
        (self.fault_of_created(&tenant).await.err(), answered)
    }

    async fn fault_of_created(&self, tenant: &TenantKeys) -> Result<(), String> {
        let is_asked_for = |key: &KeyRecord| {
            let scopes: Vec<_> = key.scopes().iter().map(ToString::to_string).collect();
            key.name() == "a" && scopes == ["reporting"] && key.version() == 1
        };
        let before = settled(tenant).await?;
        if !before.iter().all(is_asked_for) {
            return Err(format!("not what was asked for: {before:?}"));
        }
        // The client whose request was dropped retries it.
        let (status, body) = self.create(tenant, "once").await;
        let after = settled(tenant).await?;
        let [key] = &after[..] else { return Err(format!("{} keys", after.len())) };
        let is_told = body["key"]["id"] == key.id().as_str();
        let is_known = before.is_empty() || before[0].id() == key.id();
        let is_right = match status.as_u16() {
            201 => {
                let token = body["token"].as_str().unwrap();
                let found = tenant.find_by_token(token).await;
                before.is_empty() && found.is_ok_and(|found| found.id() == key.id())
            }
            200 => body["token"].is_null() && body["replayed"] == true,
            _ => false,
        };
        if !(is_right && is_told && is_known && is_asked_for(key)) {
            return Err(format!("{status}: {body}"));
        }
        let (status, body) = self.create(tenant, "another").await;
        if status != StatusCode::CONFLICT || settled(tenant).await?.len() != 1 {
            return Err(format!("above the quota, {status}: {body}"));
        }
        Ok(())
    }

    async fn drop_delete(&self, round: usize, polls: usize) -> (Option<String>, bool) {
        let tenant = format!("deleted-{round}-{polls}");
        let tenant = self.keyring.create_tenant(&tenant, "lite").await;
        let (tenant, issued) = tenant.unwrap();
        let path = format!("/api/keys/{}", issued.key.id());
        let answered = give_up_after(polls, self.ask("DELETE", &path, &tenant, "")).await.is_some();
        let token = issued.token.reveal_known().to_string();
        (self.fault_of_deleted(&tenant, &path, &token).await.err(), answered)
    }

    async fn fault_of_deleted(
        &self,
        tenant: &TenantKeys,
        path: &str,
        token: &str,
    ) -> Result<(), String> {
        let is_there = !settled(tenant).await?.is_empty();
        let is_accepted = self.keyring.verify(token).await.is_ok();
        // The deletion may have completed between the two reads.
        if is_accepted && !is_there {
            return Err("a deleted key is accepted".into());
        }
        let (status, body) = self.ask("DELETE", path, tenant, "").await;
        if ![204, 404].contains(&status.as_u16()) || !settled(tenant).await?.is_empty() {
            return Err(format!("{status}: {body}"));
        }
        if self.keyring.verify(token).await.is_ok() {
            return Err("a deleted key is accepted".into());
        }
        match self.create(tenant, "next").await {
            (StatusCode::CREATED, _) => Ok(()),
            (status, body) => Err(format!("its place is taken, {status}: {body}")),
        }
    }
}

/// Creates a key in two writes: first the key, then its scopes.
async fn create_in_two_steps(
    Extension(keyring): Extension<Keyring>,
    fields: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let body: Value = serde_json::from_str(&body).unwrap();
    let tenant = keyring.tenant(fields["x-test-who"].to_str().unwrap().parse().unwrap());
    let idempotency_key = fields["idempotency-key"].to_str().unwrap();
    let name = body["name"].as_str().unwrap();
    let request = NewKey::named(name).idempotency_key(idempotency_key).unwrap();
    let Ok(issued) = tenant.issue(request).await else {
        return (StatusCode::CONFLICT, String::new());
    };
    let edit = KeyEdit::new().scopes(["reporting"]);
    let key = tenant.edit(issued.key.id(), issued.key.version(), edit).await.unwrap();
    let token = issued.token.reveal_known().to_string();
    let body = json!({ "key": { "id": key.id().as_str() }, "token": token });
    (StatusCode::CREATED, body.to_string())
}

/// Waits until the quota and the list agree, and returns the tenant's keys.
async fn settled(tenant: &TenantKeys) -> Result<Vec<KeyRecord>, String> {
    let deadline = Instant::now() + SETTLES;
    loop {
        let counted = tenant.quota().await.unwrap().held;
        let listed = tenant.list(&KeyQuery::all()).await.unwrap().items;
        if usize::try_from(counted).unwrap() == listed.len() {
            return Ok(listed);
        }
        if Instant::now() > deadline {
            return Err(format!("{counted} are counted, and there are {listed:?}"));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Drops a request at every await, in several rounds, because a dropped request is not equally far in each
/// round. Returns the number of dropped requests and the errors that were found afterwards.
async fn drop_at_each(
    drop_after: impl AsyncFn(usize, usize) -> (Option<String>, bool),
) -> (usize, Vec<String>) {
    let (mut dropped, mut faults) = (0, Vec::new());
    let least = scale(2, 50);
    // If the store returns at once, a request sometimes completes at its first poll, but not in every round.
    let mut round = 0;
    while round < least || (dropped == round && round < least + 20) {
        let mut polls = 0;
        loop {
            let (fault, answered) = drop_after(round, polls).await;
            faults.extend(fault.map(|fault| format!("after {polls} polls: {fault}")));
            if answered {
                break;
            }
            (polls, dropped) = (polls + 1, dropped + 1);
            assert!(polls < MOST, "there is no end to it");
        }
        round += 1;
    }
    assert!(dropped > round, "no request was dropped after its first poll");
    (dropped, faults)
}

fn check(name: &str, place: impl AsyncFnOnce() -> Place) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = place().await;
        let (created, mut faults) = drop_at_each(async |round, polls| place.drop_create(round, polls).await).await;
        let (deleted, others) = drop_at_each(async |round, polls| place.drop_delete(round, polls).await).await;
        faults.extend(others);
        none(
            faults.len(),
            &format!(
                "of {} console requests dropped at every await on {name} left a half, or a place taken",
                created + deleted
            ),
        );
        assert_eq!(faults, Vec::<String>::new());
    });
}

#[test]
fn dropped_request_is_done_whole_or_not_at_all_in_memory() {
    check("the memory store", async || Place::in_memory());
}

#[test]
fn dropped_request_is_done_whole_or_not_at_all_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    check("SQLite", async || Place::new(AnyStore::new(SqliteStore::open(path).await.unwrap())));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn dropped_request_is_done_whole_or_not_at_all_on_postgres() {
    use keyway::PostgresStore;

    let server = crate::support::server::shared();
    check("PostgreSQL", async || {
        let builder = PostgresStore::builder().schema(crate::support::server::fresh_schema());
        Place::new(AnyStore::new(builder.connect(&server.url()).await.unwrap()))
    });
}

#[test]
fn handler_that_creates_in_two_steps_fails_the_check() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::planted();
        let mut halves = 0;
        for polls in 0.. {
            let tenant = format!("planted-{polls}");
            let tenant = place.keyring.create_empty_tenant(&tenant, "lite").await.unwrap();
            let answered = give_up_after(polls, place.create(&tenant, "once")).await.is_some();
            if answered {
                break;
            }
            let keys = settled(&tenant).await.unwrap();
            halves += usize::from(keys.iter().any(|key| key.scopes().is_empty()));
            let is_found = place.fault_of_created(&tenant).await.is_err();
            assert!(is_found || keys.is_empty());
        }
        caught(
            halves,
            "dropped requests left a half with a handler that creates a key in two steps",
        );
        assert!(halves > 0);
    });
}
