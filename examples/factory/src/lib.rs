//! The library shared by the two services: opening the keyring, their business logic, logs and metrics, and
//! the sample calls.

mod chart;

use std::{
    collections::BTreeMap,
    error::Error,
    io::stderr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{Context, EmptyMutation, EmptySubscription, Object, Schema, SimpleObject};
use keyway::{
    ConfigError, Guard, Keyring, KeyringError, LeakResponse, NewKey, Pepper, Policy, Principal,
    SqliteStore, Tier,
    allowance::{Allowance, WhenAway},
    grant::{Networks, ResourceKind, Resources},
    http::{
        Response, describe_metrics,
        leak::{LeakReports, SigningKeys},
    },
    scope::Requirement,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

// The keys.

/// Opens the keyring of the service, with its keys in a file of this folder, and follows the changes of other
/// processes.
pub async fn open_keyring(folder: &Path) -> Result<Keyring, Box<dyn Error>> {
    let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
    // A tier below those of the file. Its allowance holds over all nodes of the service.
    let trial = Tier::new("trial", 1).scopes(["reporting"]).allowance(Allowance::per_month(15));
    let tiers = [trial].into_iter().chain(policy.tiers().iter().cloned());
    let policy = Policy::new(policy.issuer(), policy.catalog().clone(), tiers)?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let store = SqliteStore::open(folder.join("keys.db")).await?;
    let keyring = Keyring::builder(policy, pepper)
        .environment("live")
        .store(store.clone())
        .usage(store.clone())
        .shared_limits(store.clone(), WhenAway::Refuse)
        .open()
        .await?;
    // Changes of other processes take effect in milliseconds, and keys that nobody changed are not read again.
    tokio::spawn(keyring.verifier().follow(store.feed()));
    Ok(keyring)
}

/// Suspends keys that GitHub finds in public.
pub fn leak_reports(keyring: &Keyring) -> Result<LeakReports, Box<dyn Error>> {
    // A service fetches the list itself, once a day:
    // https://api.github.com/meta/public_keys/secret_scanning
    // This is the key of the example in GitHub's documentation.
    let keys = SigningKeys::from_json(
        json!({ "public_keys": [{
            "key_identifier": GITHUBS_KEY,
            "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n",
            "is_current": true,
        }]})
        .to_string(),
    )?;
    Ok(LeakReports::new(&keyring.acting_as("secret scanning"), LeakResponse::Suspend, &keys))
}

const GITHUBS_KEY: &str = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";

// Logs and metrics.

/// Prints the events of keyway to stderr. The handle renders its metrics as a page for Prometheus.
pub fn observe() -> Result<PrometheusHandle, Box<dyn Error>> {
    let events = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false);
    let filter = Targets::new().with_target("keyway", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(events.with_filter(filter)).init();

    let seconds = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    let metrics = PrometheusBuilder::new().set_buckets(&seconds)?.install_recorder()?;
    describe_metrics();
    // Without this task, samples pile up between two scrapes by Prometheus.
    let summed = metrics.clone();
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(5)).await;
            summed.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Creates a company with a key for each purpose, and prints a line of `curl` for every endpoint with the
/// status of its response.
pub async fn print_calls(keyring: &Keyring, address: &str) -> Result<(), Box<dyn Error>> {
    let mills = Resources::only(["mill-1", "mill-2"])?;
    let (here, office) = (Networks::only(["127.0.0.0/8"])?, Networks::only(["192.0.2.0/24"])?);
    let key = |name, scope: &str| NewKey::named(name).scopes([scope]);

    let reporting = key("Weekly report", "reporting").resources("machine", Resources::All);
    let (acme, first) = keyring.create_tenant_with("acme", "advanced", reporting).await?;
    let issue = async |key| -> Result<String, Box<dyn Error>> {
        let issued = acme.issue(key).await?;
        Ok(format!("-H 'Authorization: Bearer {}'", *issued.token.reveal()))
    };
    let reporting = format!("-H 'Authorization: Bearer {}'", *first.token.reveal());
    let operator = issue(key("Shop floor", "operator").resources("machine", mills.clone())).await?;
    let dashboard = key("Dashboard", "reporting").resources("machine", mills).networks(here);
    let dashboard = issue(dashboard).await?;
    let erp = issue(key("ERP nightly sync", "erp")).await?;
    let office = issue(key("Office display", "reporting").networks(office)).await?;
    let trial = key("Trial", "reporting").resources("machine", Resources::All);
    let (_, trial) = keyring.create_tenant_with("globex", "trial", trial).await?;
    let trial = format!("-H 'Authorization: Bearer {}'", *trial.token.reveal());
    let json = "-H 'content-type: application/json'";

    println!("# reports");
    println!("curl {reporting} {address}/reports/production  # 200");
    let wanted =
        r#"{"startDay":"2022-07-15","endDay":"2022-07-16","data":[{"metric":"utilizationRate"}]}"#;
    println!(
        "curl '{address}/reports/production' {reporting} \
         -H 'content-type: application/json;charset=UTF-8' --data-raw '{wanted}'  # 200"
    );
    let query = r#"{"operationName":null,"variables":{},"query":"{\n machines {\n name\n }\n}"}"#;
    println!("curl '{address}/graphql' {reporting} {json} --data-raw '{query}'  # 200");
    println!("# a dashboard for two of the three machines");
    println!("curl {dashboard} {address}/machines  # 200");
    println!("curl {dashboard} {address}/machines/mill-1/status  # 200");
    println!("curl -i {dashboard} {address}/machines/lathe-1/status  # 403");
    println!("# a key of the office network");
    println!("curl -i {office} {address}/machines  # 403");
    println!("# the shop floor, which may touch the same two machines");
    let downtimes = format!("{operator} {json} {address}/downtimes");
    for (machine, status) in [("mill-1", 201), ("lathe-1", 403)] {
        let downtime = json!({ "machine": machine, "reason": "tool change" });
        println!("curl {downtimes} --data-raw '{downtime}'  # {status}");
    }
    println!("curl {operator} {address}/jobs  # 200");
    println!("curl -X POST {operator} {address}/jobs/job-7/start  # 202");
    println!("# the ERP system");
    let order = r#"{"part":"axle","pieces":12}"#;
    println!("curl -X PUT {erp} {json} {address}/erp/orders/4711 --data-raw '{order}'  # 201");
    println!("# refused: no key, and a key without the scope");
    println!("curl -i {address}/jobs  # 401");
    println!("curl -i {reporting} {address}/jobs  # 403");
    println!("# a key by its holder, who reads it and deletes it, and then it is gone");
    println!("curl {office} {address}/key  # 200");
    println!("curl -i -X DELETE {office} {address}/key  # 204");
    println!("curl -i {office} {address}/key  # 401");
    println!("# a leak report: GitHub's own example, and one without a signature");
    let signature = "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";
    let leak = r#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
    println!(
        "curl {address}/leaks/github -H 'github-public-key-identifier: {GITHUBS_KEY}' \
         -H 'github-public-key-signature: {signature}' --data-raw '{leak}'  # 200"
    );
    println!("curl -i {address}/leaks/github --data-raw '[]'  # 403");
    println!("# the requests of all keys, as a chart");
    println!("curl {reporting} {address}/usage  # 200");
    println!("# a trial with 15 units per month: a report takes 10, and any other request takes 1");
    println!("curl {trial} {address}/reports/production  # 200");
    println!("curl -i {trial} {address}/reports/production  # 429");
    println!("curl {trial} {address}/usage  # 200");
    println!("# the operators");
    println!("curl {address}/health  # 200");
    println!("curl {address}/metrics  # 200");
    println!();
    Ok(())
}

// The business of the service.

/// The machines, the jobs and the orders of a company.
#[derive(Clone)]
pub struct Factory {
    schema: Schema<Query, EmptyMutation, EmptySubscription>,
    floor: Arc<Mutex<Floor>>,
    machine: ResourceKind,
    keyring: Keyring,
    guard: Guard,
    to_write_downtime: Requirement,
}

#[derive(Default)]
struct Floor {
    started: Vec<String>,
    downtimes: Vec<Downtime>,
    orders: BTreeMap<String, Order>,
}

/// An order of parts.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    part: String,
    pieces: u32,
}

/// The time in which a machine stood still.
#[derive(Serialize, Deserialize)]
pub struct Downtime {
    machine: String,
    reason: String,
}

#[derive(Clone, Copy, SimpleObject, Serialize)]
struct Machine {
    id: &'static str,
    name: &'static str,
    utilization_rate: f64,
}

const MACHINES: [Machine; 3] = [
    Machine { id: "mill-1", name: "Haas VF-2", utilization_rate: 0.81 },
    Machine { id: "mill-2", name: "Haas VF-4", utilization_rate: 0.77 },
    Machine { id: "lathe-1", name: "Mazak QTN-200", utilization_rate: 0.64 },
];

/// Returns the machines that the caller may touch. A database would get the ids in its query.
fn machines_of(caller: &Principal, machine: &ResourceKind) -> Vec<Machine> {
    let own = caller.resources(machine);
    MACHINES.into_iter().filter(|machine| own.contains(machine.id)).collect()
}

impl Factory {
    /// Fails if the policy declares no machines.
    pub fn new(keyring: &Keyring) -> Result<Self, ConfigError> {
        let machine = keyring.policy().catalog().resource("machine")?;
        let query = Query { machine: machine.clone() };
        Ok(Self {
            schema: Schema::new(query, EmptyMutation, EmptySubscription),
            floor: Arc::default(),
            machine,
            keyring: keyring.clone(),
            guard: Guard::new(keyring),
            to_write_downtime: keyring.requirement(["operator.downtime"])?,
        })
    }

    pub async fn query(
        &self,
        caller: Principal,
        request: async_graphql::Request,
    ) -> async_graphql::Response {
        self.schema.execute(request.data(caller)).await
    }

    pub fn report_today(&self, caller: &Principal) -> Value {
        json!({ "company": caller.tenant(), "machines": machines_of(caller, &self.machine) })
    }

    pub fn report(&self, caller: &Principal, request: ReportRequest) -> Value {
        let metrics: Vec<_> = request.data.into_iter().map(|wanted| wanted.metric).collect();
        json!({
            "company": caller.tenant(),
            "days": [request.start_day, request.end_day],
            "metrics": metrics,
            "machines": machines_of(caller, &self.machine),
        })
    }

    pub fn machines(&self, caller: &Principal) -> Value {
        json!(machines_of(caller, &self.machine))
    }

    /// Returns the status of a machine, if there is one with this id. The guard has checked the id.
    pub fn status(&self, id: &str) -> Option<Value> {
        let machine = MACHINES.into_iter().find(|machine| machine.id == id)?;
        let floor = self.floor();
        let downtimes = floor.downtimes.iter().filter(|downtime| downtime.machine == id);
        Some(json!({ "machine": machine, "downtimes": downtimes.collect::<Vec<_>>() }))
    }

    /// Writes a downtime. No guard reads bodies, so the id in the body is checked here.
    pub fn write_downtime(&self, caller: &Principal, downtime: Downtime) -> Result<(), Response> {
        caller
            .permit(&self.to_write_downtime, &self.machine, &downtime.machine)
            .map_err(|outside| self.guard.refuse(caller, outside))?;
        self.floor().downtimes.push(downtime);
        Ok(())
    }

    /// Returns the requests of the company's keys as a chart, and what is left of its allowances.
    pub async fn usage(&self, caller: &Principal) -> Result<String, KeyringError> {
        chart::chart(&self.keyring, &caller.tenant().parse()?).await
    }

    pub fn jobs(&self) -> Value {
        let floor = self.floor();
        json!({ "started": floor.started, "orders": floor.orders })
    }

    /// Starts a job, and returns the text for its caller.
    pub fn start(&self, caller: &Principal, job: String) -> String {
        let text = format!("{job} started by {}", caller.name());
        self.floor().started.push(job);
        text
    }

    /// Writes an order, and returns whether it is new.
    pub fn write_order(&self, number: String, order: Order) -> bool {
        self.floor().orders.insert(number, order).is_none()
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The days and metrics of a report.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRequest {
    start_day: String,
    end_day: String,
    data: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    metric: String,
}

struct Query {
    machine: ResourceKind,
}

#[Object]
impl Query {
    /// The machines that the key may touch.
    async fn machines(&self, context: &Context<'_>) -> async_graphql::Result<Vec<Machine>> {
        Ok(machines_of(context.data()?, &self.machine))
    }

    /// The key's company.
    async fn company(&self, context: &Context<'_>) -> async_graphql::Result<String> {
        Ok(context.data::<Principal>()?.tenant().into())
    }
}
