//! A service on axum: `cargo run --release --example service`.
//!
//! It prints its routes with what each asks of its callers, and a line of `curl` for every endpoint, with a
//! real key. The keys are in SQLite, in a folder that goes when the service ends (Ctrl-C).

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{Context, EmptyMutation, EmptySubscription, Object, Schema, SimpleObject};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::MethodRouter,
};
use keyway::{
    authority::NewKey,
    decision::Principal,
    http::{
        Routes,
        axum::{get, post, put},
    },
    keyring::Keyring,
    pepper::Pepper,
    policy::Policy,
    store::SqliteStore,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let policy: Policy = serde_json::from_str(include_str!("machinemetrics.json"))?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let keyring = Keyring::builder(policy, pepper)
        .environment("live")
        .store(SqliteStore::open(folder.path().join("keys.db")).await?)
        .build()?;
    // When a key was last used is written aside, in batches.
    tokio::spawn(keyring.flush_uses_every(Duration::from_secs(10), tokio::time::sleep));

    let routes = routes(&keyring);
    let matrix = routes.matrix()?;
    let app: Router = routes.build()?.with_state(Factory::new());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    println!("{address}\n\n{matrix}");
    print_calls(&keyring, &address).await?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    keyring.flush_uses().await?;
    Ok(())
}

/// Every route says what it asks of its callers, or there is no router.
fn routes(keyring: &Keyring) -> Routes<MethodRouter<Factory>> {
    Routes::new(keyring)
        .route("/health", get(async || "ok").public())
        .route("/reports/production", get(report_today).post(report).require(["reporting"]))
        .route("/graphql", post(graphql).require(["reporting"]))
        .route("/jobs", get(list_jobs).require(["operator.read"]))
        .route("/jobs/{job}/start", post(start_job).require(["operator.jobs"]))
        .route("/erp/orders/{order}", put(write_order).require(["erp"]))
}

/// A company with a key for each purpose, and what they are good for.
async fn print_calls(keyring: &Keyring, address: &str) -> Result<(), Box<dyn Error>> {
    let reporting = NewKey::named("Weekly report").scopes(["reporting"]);
    let (acme, first) = keyring.create_tenant_with("acme", "advanced", reporting).await?;
    let reporting = first.token.reveal();
    let issue = async |name, scope: &str| -> Result<_, Box<dyn Error>> {
        Ok(acme.issue(NewKey::named(name).scopes([scope])).await?.token.reveal())
    };
    let operator = issue("Shop floor", "operator").await?;
    let erp = issue("ERP nightly sync", "erp").await?;

    println!(
        "# reports\ncurl -H 'Authorization: Bearer {}' {address}/reports/production",
        *reporting
    );
    println!(
        "curl '{address}/reports/production' -H 'Authorization: Bearer {}' \
         -H 'content-type: application/json;charset=UTF-8' \
         --data-raw '{}'",
        *reporting,
        r#"{"startDay":"2022-07-15","endDay":"2022-07-16","data":[{"metric":"utilizationRate"}]}"#
    );
    println!(
        "curl '{address}/graphql' -H 'authorization: Bearer {}' -H 'content-type: application/json' \
         --data-raw '{}'",
        *reporting,
        r#"{"operationName":null,"variables":{},"query":"{\n machines {\n name\n }\n}"}"#
    );
    println!("# the shop floor\ncurl -H 'Authorization: Bearer {}' {address}/jobs", *operator);
    println!("curl -X POST -H 'Authorization: Bearer {}' {address}/jobs/job-7/start", *operator);
    println!(
        "# the ERP system\ncurl -X PUT -H 'Authorization: Bearer {}' \
         -H 'content-type: application/json' {address}/erp/orders/4711 --data-raw '{}'",
        *erp, r#"{"part":"axle","pieces":12}"#
    );
    println!("# refused: no key, and a key without the scope\ncurl -i {address}/jobs");
    println!("curl -i -H 'Authorization: Bearer {}' {address}/jobs", *reporting);
    Ok(())
}

/// What the service does apart from its keys.
#[derive(Clone)]
struct Factory {
    schema: Schema<Query, EmptyMutation, EmptySubscription>,
    floor: Arc<Mutex<Floor>>,
}

#[derive(Default)]
struct Floor {
    started: Vec<String>,
    orders: BTreeMap<String, Order>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    part: String,
    pieces: u32,
}

#[derive(Clone, Copy, SimpleObject, Serialize)]
struct Machine {
    name: &'static str,
    utilization_rate: f64,
}

const MACHINES: [Machine; 2] = [
    Machine { name: "Haas VF-2", utilization_rate: 0.81 },
    Machine { name: "Mazak QTN-200", utilization_rate: 0.64 },
];

impl Factory {
    fn new() -> Self {
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        Self { schema, floor: Arc::default() }
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportRequest {
    start_day: String,
    end_day: String,
    data: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    metric: String,
}

async fn report_today(caller: Principal) -> Json<Value> {
    Json(json!({ "company": caller.tenant(), "machines": MACHINES }))
}

async fn report(caller: Principal, Json(request): Json<ReportRequest>) -> Json<Value> {
    let metrics: Vec<_> = request.data.into_iter().map(|wanted| wanted.metric).collect();
    Json(json!({
        "company": caller.tenant(),
        "days": [request.start_day, request.end_day],
        "metrics": metrics,
        "machines": MACHINES,
    }))
}

struct Query;

#[Object]
impl Query {
    /// The machines of the company whose key it is.
    async fn machines(&self) -> &'static [Machine] {
        &MACHINES
    }

    /// The company whose key it is.
    async fn company(&self, context: &Context<'_>) -> async_graphql::Result<String> {
        Ok(context.data::<Principal>()?.tenant().into())
    }
}

async fn graphql(
    caller: Principal,
    State(factory): State<Factory>,
    Json(request): Json<async_graphql::Request>,
) -> Json<async_graphql::Response> {
    Json(factory.schema.execute(request.data(caller)).await)
}

async fn list_jobs(State(factory): State<Factory>) -> Json<Value> {
    let floor = factory.floor();
    Json(json!({ "started": floor.started, "orders": floor.orders }))
}

async fn start_job(
    caller: Principal,
    State(factory): State<Factory>,
    Path(job): Path<String>,
) -> (StatusCode, String) {
    let text = format!("{job} started by {}", caller.name());
    factory.floor().started.push(job);
    (StatusCode::ACCEPTED, text)
}

async fn write_order(
    State(factory): State<Factory>,
    Path(number): Path<String>,
    Json(order): Json<Order>,
) -> StatusCode {
    let before = factory.floor().orders.insert(number, order);
    if before.is_none() { StatusCode::CREATED } else { StatusCode::OK }
}
