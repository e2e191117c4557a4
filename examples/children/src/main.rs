//! Children: short-lived keys that holders derive from their own. `cargo run -p children`.
//!
//! Three clients need less than the key of a service, and only for a while:
//!
//! - a page in a browser opens a stream of events with a ticket, since `EventSource` sends no headers. The backend of the
//!   page makes the ticket, and the stream stays open after its end: `page.html`;
//! - a nightly job has a child for an hour, with one scope and for one machine: `nightly.py`;
//! - an agent has a child for two of three tools: `agent.js`.
//!
//! `mint.js` and `mint.py` make children without a request, in at most 60 lines each. Copy them.
//!
//! The program prints its address and the keys, and stays up until Ctrl-C. Open the address in a browser. The keys are in
//! memory. `check.sh` runs all of it.

mod tools;

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::MethodRouter,
};
use futures_util::{Stream, StreamExt, stream};
use keyway::{
    Guard, Keyring, MemoryStore, NewKey, Pepper, Policy, Principal,
    children::{ChildMinter, NewChild},
    grant::{ResourceKind, Resources},
    http::{
        ClientAddress, OwnKey, Routes,
        axum::{get, own_key, post, put},
    },
    operations::OperationTable,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

/// The machines of the company, with their utilization.
const MACHINES: [(&str, f64); 3] = [("mill-1", 0.81), ("mill-2", 0.77), ("lathe-1", 0.64)];
/// The lifetime of a ticket: enough to open a stream.
const TICKET: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct App {
    /// Makes the tickets of the page.
    tickets: Arc<ChildMinter>,
    machine: ResourceKind,
    tools: OperationTable,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let policy: Policy = serde_json::from_str(include_str!("../policy.json"))?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let store = MemoryStore::new();
    let keyring = Keyring::builder(policy, pepper).environment("live").store(store).build()?;

    // A key has children only if its tenant allows them.
    let key = |name, scopes: &[&str]| {
        let key = NewKey::named(name).scopes(scopes.iter().copied()).children(true);
        key.resources("machine", Resources::All)
    };
    let first = key("Dashboard", &["reporting"]);
    let (acme, dashboard) = keyring.create_tenant_with("acme", "advanced", first).await?;
    let nightly = acme.issue(key("Nightly job", &["erp", "reporting"])).await?;
    let agent = acme.issue(key("Agent", &["operator.jobs", "reporting"])).await?;

    let app = App {
        tickets: Arc::new(keyring.child_minter(&dashboard.token)?),
        machine: keyring.policy().catalog().resource("machine")?,
        tools: tools::declare(keyring.policy())?,
    };
    let (routes, tools) = (routes(&keyring), app.tools.clone());
    let table = routes.table()?;
    let router = routes.build()?.with_state(app).layer(from_fn(log));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}\n\n{table}\n{tools}", listener.local_addr()?);
    // The holder of a key gets both from the console, once.
    for (name, issued) in [("dashboard", dashboard), ("nightly", nightly), ("agent", agent)] {
        let prefix = keyring.child_prefix(&issued.key).ok_or("the key has no children")?;
        println!("{name:<9} {} {prefix}", *issued.token.reveal());
    }
    println!("\nready");

    // Children that are limited to networks need the address of each client.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async { _ = tokio::signal::ctrl_c().await };
    tokio::select! {
        ended = axum::serve(listener, service).into_future() => Ok(ended?),
        // Open streams end with the process.
        () = stop => Ok(()),
    }
}

/// A route accepts children and tickets only if it says so.
fn routes(keyring: &Keyring) -> Routes<MethodRouter<App>> {
    let guard = Guard::new(keyring).client_address(ClientAddress::socket());
    let holder = OwnKey::new(keyring, &guard);
    let events = get(events).require(["reporting"]).accept_ticket();
    let report = get(report).require(["reporting"]).accepts_children();
    let order = put(write_order).require(["erp"]).accepts_children();
    let agents = post(call_tool).any_key().accepts_children().checks_operations();
    Routes::new(guard)
        .route("/", get(async || Html(include_str!("../page.html"))).public())
        .route("/ticket", post(ticket).custom_auth("session of the page"))
        .route("/events", events.touches_no("machine"))
        .route("/reports/production", report.handler_checks("machine"))
        .route("/erp/orders/{order}", order.touches_no("machine"))
        .route("/mcp", agents.handler_checks("machine"))
        .route("/settings", get(async || "[]").any_key().touches_no("machine"))
        .route("/key", own_key(&holder))
}

/// Makes a ticket for the stream of events. A real page has a session, which is checked here.
async fn ticket(State(app): State<App>) -> Result<impl IntoResponse, StatusCode> {
    let ticket = NewChild::lasting(TICKET).route("GET /events");
    let ticket = ticket.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let ticket = app.tickets.mint(&ticket).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], ticket.reveal().to_string()))
}

/// Sends a reading ten times a second. The ticket only opens the stream, which ends with the key of the page's backend.
async fn events(caller: Principal) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let readings = stream::unfold(1, |number| async move {
        sleep(Duration::from_millis(100)).await;
        Some((Ok(Event::default().data(format!("reading {number}"))), number + 1))
    });
    Sse::new(readings.take_until(caller.ended().until_parent_ends()))
}

/// Reports on the machines that the caller may touch.
async fn report(caller: Principal, State(app): State<App>) -> Json<Value> {
    let own = caller.resources(&app.machine);
    let machines = MACHINES.into_iter().filter(|(id, _)| own.contains(id));
    let machines: Vec<_> =
        machines.map(|(id, rate)| json!({ "id": id, "utilizationRate": rate })).collect();
    Json(json!({ "company": caller.tenant(), "machines": machines }))
}

async fn write_order() -> StatusCode {
    StatusCode::CREATED
}

async fn call_tool(
    caller: Principal,
    State(app): State<App>,
    Json(call): Json<Value>,
) -> Json<Value> {
    Json(tools::respond(&app.tools, &caller, &call))
}

/// Writes a line for each request.
///
/// INVARIANT: the path is without its query, which may have a ticket. Otherwise readers of the log could open a stream.
async fn log(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    eprintln!("{line} {}", response.status().as_u16());
    response
}
