//! A service on axum: `cargo run -p service-axum`.
//!
//! Prints its routes with the scopes that each requires, and a line of `curl` for every endpoint with a real
//! key and the status of the response. Writes the outcome of each request to stderr. The keys are in SQLite,
//! in a folder that is removed when the service ends (Ctrl-C).
//!
//! `service-actix` is the same service on actix-web. Both use the library `factory`.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::MethodRouter,
};
use factory::{Downtime, Factory, Order, ReportRequest};
use keyway::{
    Guard, Keyring, Principal,
    http::{
        ClientAddress, OwnKey, Response, Routes,
        axum::{get, leak_reports, own_key, post, put},
        leak::LeakReports,
    },
};
use serde_json::Value;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let metrics = factory::observe()?;
    let folder = tempfile::tempdir()?;
    let keyring = factory::open_keyring(folder.path()).await?;
    // Writes the times of last uses in batches, apart from requests.
    tokio::spawn(keyring.flush_uses_every(Duration::from_secs(10), tokio::time::sleep));

    let page = get(async move || metrics.render()).public();
    let routes = routes(&keyring, &factory::leak_reports(&keyring)?).route("/metrics", page);
    let table = routes.table()?;
    let app: Router = routes.build()?.with_state(Factory::new(&keyring)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    println!("{address}\n\n{table}");
    factory::print_calls(&keyring, &address).await?;
    // The guard needs the address of each client for keys that are limited to networks.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    keyring.flush_uses().await?;
    Ok(())
}

/// A route without a declared requirement makes `build` fail, and so does one that needs a key and does not say
/// which machines it touches.
fn routes(keyring: &Keyring, reports: &LeakReports) -> Routes<MethodRouter<Factory>> {
    // The clients connect directly. Behind a load balancer the address is in one of its headers.
    let guard = Guard::new(keyring).client_address(ClientAddress::socket());
    let holder = OwnKey::new(keyring, &guard);
    let report = get(report_today).post(report).require(["reporting"]).weight(10);
    let status = get(status).require(["reporting"]);
    let downtime = post(write_downtime).require(["operator.downtime"]);
    Routes::new(guard)
        .route("/health", get(async || "ok").public())
        .route("/reports/production", report.handler_checks("machine"))
        .route("/graphql", post(graphql).require(["reporting"]).handler_checks("machine"))
        .route("/machines", get(machines).require(["reporting"]).handler_checks("machine"))
        .route("/machines/{machine}/status", status.resource("machine", "machine"))
        .route("/downtimes", downtime.handler_checks("machine"))
        .route("/jobs", get(list_jobs).require(["operator.read"]).touches_no("machine"))
        .route(
            "/jobs/{job}/start",
            post(start_job).require(["operator.jobs"]).touches_no("machine"),
        )
        .route("/erp/orders/{order}", put(write_order).require(["erp"]).touches_no("machine"))
        .route("/usage", get(usage).require(["reporting"]).touches_no("machine"))
        .route("/key", own_key(&holder))
        .route("/leaks/github", leak_reports(reports))
}

async fn report_today(caller: Principal, State(factory): State<Factory>) -> Json<Value> {
    Json(factory.report_today(&caller))
}

async fn report(
    caller: Principal,
    State(factory): State<Factory>,
    Json(request): Json<ReportRequest>,
) -> Json<Value> {
    Json(factory.report(&caller, request))
}

async fn machines(caller: Principal, State(factory): State<Factory>) -> Json<Value> {
    Json(factory.machines(&caller))
}

async fn status(
    State(factory): State<Factory>,
    Path(machine): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    factory.status(&machine).map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn write_downtime(
    caller: Principal,
    State(factory): State<Factory>,
    Json(downtime): Json<Downtime>,
) -> Result<StatusCode, Response> {
    factory.write_downtime(&caller, downtime)?;
    Ok(StatusCode::CREATED)
}

async fn graphql(
    caller: Principal,
    State(factory): State<Factory>,
    Json(request): Json<async_graphql::Request>,
) -> Json<async_graphql::Response> {
    Json(factory.query(caller, request).await)
}

async fn usage(caller: Principal, State(factory): State<Factory>) -> Result<String, StatusCode> {
    factory.usage(&caller).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn list_jobs(State(factory): State<Factory>) -> Json<Value> {
    Json(factory.jobs())
}

async fn start_job(
    caller: Principal,
    State(factory): State<Factory>,
    Path(job): Path<String>,
) -> (StatusCode, String) {
    (StatusCode::ACCEPTED, factory.start(&caller, job))
}

async fn write_order(
    State(factory): State<Factory>,
    Path(number): Path<String>,
    Json(order): Json<Order>,
) -> StatusCode {
    if factory.write_order(number, order) { StatusCode::CREATED } else { StatusCode::OK }
}
