//! A service on actix-web: `cargo run -p service-actix`.
//!
//! Prints its routes with the scopes that each requires, and a line of `curl` for every endpoint with a real
//! key and the status of the response. Writes the outcome of each request to stderr. The keys are in SQLite,
//! in a folder that is removed when the service ends (Ctrl-C).
//!
//! `service-axum` is the same service on axum. Both use the library `factory`.

use std::{error::Error, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer, Responder,
    http::StatusCode,
    web::{Data, Json, Path},
};
use factory::{Downtime, Factory, Order, ReportRequest};
use keyway::{
    Guard, Keyring, Principal,
    http::{
        ClientAddress, OwnKey, Response, Routes,
        actix::{ActixHandler, get, leak_reports, own_key, post, put},
        leak::LeakReports,
    },
};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let metrics = factory::observe()?;
    let folder = tempfile::tempdir()?;
    let keyring = factory::open_keyring(folder.path()).await?;
    // Writes the times of last uses in batches, apart from requests.
    tokio::spawn(keyring.flush_uses_every(Duration::from_secs(10), tokio::time::sleep));

    let page = get(move || std::future::ready(metrics.render())).public();
    let routes = routes(&keyring, &factory::leak_reports(&keyring)?).route("/metrics", page);
    let table = routes.table()?;
    // Built once, before any worker starts.
    let (routes, data) = (routes.build()?, Data::new(Factory::new(&keyring)?));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    println!("{address}\n\n{table}");
    factory::print_calls(&keyring, &address).await?;
    HttpServer::new(move || App::new().app_data(data.clone()).configure(routes.clone()))
        .listen(listener)?
        .run()
        .await?;
    keyring.flush_uses().await?;
    Ok(())
}

/// A route without a declared requirement makes `build` fail, and so does one that needs a key and does not say
/// which machines it touches.
fn routes(keyring: &Keyring, reports: &LeakReports) -> Routes<ActixHandler> {
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

async fn report_today(caller: Principal, factory: Data<Factory>) -> Json<Value> {
    Json(factory.report_today(&caller))
}

async fn report(
    caller: Principal,
    factory: Data<Factory>,
    Json(request): Json<ReportRequest>,
) -> Json<Value> {
    Json(factory.report(&caller, request))
}

async fn machines(caller: Principal, factory: Data<Factory>) -> Json<Value> {
    Json(factory.machines(&caller))
}

/// `None` is a response with status 404.
async fn status(factory: Data<Factory>, machine: Path<String>) -> Option<Json<Value>> {
    factory.status(&machine).map(Json)
}

async fn write_downtime(
    caller: Principal,
    factory: Data<Factory>,
    Json(downtime): Json<Downtime>,
) -> Result<(String, StatusCode), Response> {
    factory.write_downtime(&caller, downtime)?;
    Ok((String::new(), StatusCode::CREATED))
}

async fn graphql(
    caller: Principal,
    factory: Data<Factory>,
    Json(request): Json<async_graphql::Request>,
) -> Json<async_graphql::Response> {
    Json(factory.query(caller, request).await)
}

async fn usage(caller: Principal, factory: Data<Factory>) -> (String, StatusCode) {
    match factory.usage(&caller).await {
        Ok(chart) => (chart, StatusCode::OK),
        Err(_) => (String::new(), StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn list_jobs(factory: Data<Factory>) -> Json<Value> {
    Json(factory.jobs())
}

async fn start_job(caller: Principal, factory: Data<Factory>, job: Path<String>) -> impl Responder {
    (factory.start(&caller, job.into_inner()), StatusCode::ACCEPTED)
}

async fn write_order(
    factory: Data<Factory>,
    number: Path<String>,
    Json(order): Json<Order>,
) -> HttpResponse {
    let is_new = factory.write_order(number.into_inner(), order);
    HttpResponse::new(if is_new { StatusCode::CREATED } else { StatusCode::OK })
}
