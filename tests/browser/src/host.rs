//! A service as a company would run it: the console is mounted at `/settings/api-keys`, and keys open
//! `/reports/production` and `/machines`.
//!
//! A request with the cookie of [`sign_in`](Host::sign_in) is signed in. A real service would not do that.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::Path,
    http::{StatusCode, header, request::Parts},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::{self, MethodRouter},
};
use keyway::{
    Guard, IssuedKey, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy, Principal,
    ScopeCatalog, TenantKeys,
    allowance::WhenAway,
    console::{Admin, Console, RecentEvents},
    http::{
        ClientAddress, Routes,
        axum::{Endpoint, get},
    },
    keyring::KeyringBuilder,
    store::{KeyQuery, KeyStore, UsageStore},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime};

use crate::{
    FaultyStore,
    client::{self, Answer},
    wire::{self, Loss, Wire},
};

/// Where the console is mounted.
pub const MOUNT: &str = "/settings/api-keys";

/// An administrator of `acme`, who may grant everything.
pub const ANNA: &str = "tenant/acme/anna@acme.example";
/// An administrator of `acme`, who may grant `reporting` alone.
pub const BEN: &str = "tenant/acme/ben@acme.example/reporting";
/// A member of `acme`, who manages only the keys of `mia`.
pub const MIA: &str = "member/acme/mia/mia@acme.example";
/// An administrator of `globex`.
pub const GUS: &str = "tenant/globex/gus@globex.example";
/// An operator of the service.
pub const OLGA: &str = "operator/olga@mm.example";

/// A tier below the others, on which a key lives for 30 days at most.
pub const BRIEF: &str = "brief";

/// A tier beside `lite` and `advanced`, for as many keys as anybody wants.
pub const HUGE: &str = "huge";

/// A tier below the others with two allowances, if there is a store of limits.
pub const METERED: &str = "metered";

/// The kind of resource.
const MACHINE: &str = "machine";
/// The machines of `acme`.
const MACHINES: [&str; 3] = ["press-1", "press-2", "press-3"];

/// A running service. It ends with this.
pub struct Host<S = FaultyStore> {
    pub keyring: Keyring,
    pub store: S,
    pub address: SocketAddr,
    pub wire: Arc<Wire>,
    router: Router,
    /// Where it runs: apart from who asks it, so that it can be stopped with all that is under way.
    server: Option<runtime::Runtime>,
}

impl Host {
    /// With `acme` on the advanced tier, without keys, and `globex` on the lite tier with its first key.
    pub async fn start() -> Self {
        let host = Self::over(FaultyStore::over(MemoryStore::new()));
        host.keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        let (_, first) = host.keyring.create_tenant("globex", "lite").await.unwrap();
        drop(first);
        host
    }
}

impl Host {
    /// As [`start`](Self::start), with a policy that lets keys have children for a day at most, and without `globex`.
    pub async fn start_with_children() -> Self {
        let mut policy = policy_json();
        policy["max_child_lifetime_seconds"] = json!(86_400);
        let policy = serde_json::from_value(policy).unwrap();
        let store = FaultyStore::over(MemoryStore::new());
        let host = Self::over_with(store, policy, |console| console, |router| router);
        host.keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        host
    }

    /// As [`start`](Self::start), with usage in the store of the keys, and without `globex`.
    pub async fn start_with_usage() -> Self {
        let store = FaultyStore::over(MemoryStore::new());
        let usage = store.memory().clone();
        let host = Self::over_with_usage(store, usage);
        host.keyring.create_empty_tenant("acme", "advanced").await.unwrap();
        host
    }

    /// With `acme` on a tier whose keys live for 30 days at most, without kinds of resources, with a console that
    /// `change` changes, and behind what `wrap` puts around the service.
    pub async fn start_with(
        change: impl FnOnce(Console) -> Console,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self {
        let store = FaultyStore::over(MemoryStore::new());
        let host = Self::over_with(store, brief_policy(), change, wrap);
        host.keyring.create_empty_tenant("acme", BRIEF).await.unwrap();
        host
    }
}

impl<S: KeyStore + Clone> Host<S> {
    /// With whatever tenants are in `store`.
    pub fn over(store: S) -> Self {
        Self::over_with(store, policy(), |console| console, |router| router)
    }

    /// As [`over`](Self::over), with usage in another store, and with allowances in a third one, which the tier
    /// [`METERED`] has.
    pub fn over_with_usage(store: S, usage: impl UsageStore) -> Self {
        let limits = MemoryStore::new();
        let count =
            |builder: KeyringBuilder| builder.usage(usage).shared_limits(limits, WhenAway::Refuse);
        let mut policy = policy_json();
        let tiers = policy["tiers"].as_array_mut().unwrap();
        let mut metered = tiers[0].clone();
        metered["name"] = json!(METERED);
        metered["allowances"] =
            json!([{ "units": 500, "per": "month" }, { "units": 9, "per_seconds": 60 }]);
        tiers.insert(0, metered);
        let policy = serde_json::from_value(policy).unwrap();
        Self::built(store, policy, count, |console| console, |router| router)
    }

    fn over_with(
        store: S,
        policy: Policy,
        change: impl FnOnce(Console) -> Console,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self {
        Self::built(store, policy, |builder| builder, change, wrap)
    }

    fn built(
        store: S,
        policy: Policy,
        count: impl FnOnce(KeyringBuilder) -> KeyringBuilder,
        change: impl FnOnce(Console) -> Console,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self {
        let trail = RecentEvents::new(10_000);
        let builder = Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
            .environment("live")
            .store(store.clone())
            .audit(trail.clone());
        let keyring = count(builder).build().unwrap();
        let wire = Arc::default();
        let router = wrap(router(&keyring, trail, &wire, change));
        let mut host = Self {
            keyring,
            store,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            router,
            wire,
            server: None,
        };
        host.go_on();
        host
    }

    /// Closes all connections, and takes no more.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    /// Listens where it did before.
    pub fn go_on(&mut self) {
        let server =
            runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let service = self.router.clone().into_make_service_with_connect_info::<SocketAddr>();
        server
            .spawn(async { axum::serve(TcpListener::from_std(listener).unwrap(), service).await });
        self.server = Some(server);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where a browser gets the cookie of somebody.
    pub fn sign_in(&self, who: &str) -> String {
        self.url(&format!("/sign-in?{who}"))
    }

    pub fn tenant(&self, id: &str) -> TenantKeys {
        self.keyring.acting_as("carla@acme.example").tenant(id.parse().unwrap())
    }

    /// Issues a key to `acme`, and gives its token too.
    pub async fn issue(&self, name: &str, scopes: &[&str]) -> (KeyRecord, String) {
        let request = NewKey::named(name).scopes(scopes.iter().copied());
        let IssuedKey { key, token } = self.tenant("acme").issue(request).await.unwrap();
        (key, token.reveal().to_string())
    }

    /// Issues a key of `owner` to `acme`.
    pub async fn issue_to(&self, owner: &str, name: &str) -> (KeyRecord, String) {
        let request = NewKey::named(name).scopes(["reporting"]).owner(owner.parse().unwrap());
        let IssuedKey { key, token } = self.tenant("acme").issue(request).await.unwrap();
        (key, token.reveal().to_string())
    }

    /// All keys of a tenant that are on one page.
    pub async fn keys(&self, tenant: &str) -> Vec<KeyRecord> {
        self.tenant(tenant).list(&KeyQuery::all().limit(100)).await.unwrap().items
    }

    /// The key of `acme` with this name.
    pub async fn key(&self, name: &str) -> KeyRecord {
        let found = self.keys("acme").await.into_iter().find(|key| key.name() == name);
        found.unwrap_or_else(|| panic!("acme has no key {name:?}"))
    }

    /// The status that an application with this token gets.
    pub fn call(&self, token: &str) -> u16 {
        self.call_at(token, "/reports/production").status
    }

    /// As [`call`](Self::call), at another path.
    pub fn call_at(&self, token: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        client::get(self.address, path, &[("authorization", &bearer)])
    }

    /// The routes below the mount, for a caller who has signed in.
    pub fn fetch(&self, who: &str, path: &str) -> Answer {
        let cookie = format!("{COOKIE}={who}");
        client::get(self.address, &format!("{MOUNT}{path}"), &[("cookie", &cookie)])
    }

    /// Runs a script before those of the page, on each load from now on.
    pub fn preload(&self, script: &str) {
        self.wire.preload(script);
    }

    /// All requests since the last time.
    pub fn take_requests(&self) -> Vec<String> {
        self.wire.take_requests()
    }

    /// Serves the next request of this method and path, and loses its response.
    pub fn lose_answer_to(&self, request: &str, loss: Loss) {
        self.wire.lose_answer_to(request, loss);
    }
}

impl<S> Drop for Host<S> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

/// MachineMetrics' scopes and machines, and System73's tiers with one more.
fn policy() -> Policy {
    serde_json::from_value(policy_json()).unwrap()
}

fn policy_json() -> Value {
    let text = include_str!("../../../examples/machinemetrics.json");
    let mut policy: Value = serde_json::from_str(text).unwrap();
    let tiers = policy["tiers"].as_array_mut().unwrap();
    tiers.push(json!({ "name": HUGE, "keys": 100_000, "scopes": "all" }));
    policy
}

/// The same with a tier below the others and without kinds of resources.
fn brief_policy() -> Policy {
    let mut policy = policy_json();
    policy.as_object_mut().unwrap().remove("resources");
    let tiers = policy["tiers"].as_array_mut().unwrap();
    let mut brief = tiers[0].clone();
    brief["name"] = json!(BRIEF);
    brief["max_lifetime_days"] = json!(30);
    tiers.insert(0, brief);
    serde_json::from_value(policy).unwrap()
}

fn router(
    keyring: &Keyring,
    trail: RecentEvents,
    wire: &Arc<Wire>,
    change: impl FnOnce(Console) -> Console,
) -> Router {
    let catalog = keyring.policy().catalog().clone();
    let who = move |request: Parts| {
        let admin = signed_in(&request).and_then(|who| admin(who, &catalog));
        async { admin.ok_or(StatusCode::UNAUTHORIZED.into_response()) }
    };
    let console = Console::new(keyring, who)
        .service_name("MachineMetrics")
        .curl("curl -H 'Authorization: Bearer {token}' https://api.example/reports/production")
        .unwrap()
        .support("support@example.com")
        .audit_trail(trail);
    routes(keyring)
        .build()
        .unwrap()
        .nest_service(MOUNT, change(console).router::<()>())
        .route("/sign-in", routing::get(sign_in))
        // Tests put layers around it that append slashes.
        .route("/sign-in/", routing::get(sign_in))
        .route(
            "/elsewhere",
            routing::get(async || Html("<title>Elsewhere</title><p>Elsewhere</p>")),
        )
        // Browsers request it on their own.
        .route("/favicon.ico", routing::get(async || StatusCode::NO_CONTENT))
        .route("/favicon.ico/", routing::get(async || StatusCode::NO_CONTENT))
        .layer(middleware::from_fn_with_state(Arc::clone(wire), wire::pass))
}

/// Returns the routes that keys open: the reports, and the machines if the policy declares them.
fn routes(keyring: &Keyring) -> Routes<MethodRouter> {
    let guard = Guard::new(keyring);
    let reports: Endpoint =
        get(async |caller: Principal| Json(json!({ "company": caller.tenant() })))
            .require(["reporting"]);
    let Ok(kind) = keyring.policy().catalog().resource(MACHINE) else {
        return Routes::new(guard).route("/reports/production", reports);
    };
    let machine = get(async |Path(id): Path<String>| id);
    let machines = get(async move |caller: Principal| {
        let own = MACHINES.into_iter().filter(|id| caller.resources(&kind).contains(id));
        Json(own.collect::<Vec<_>>())
    });
    Routes::new(guard.client_address(ClientAddress::socket()))
        .route("/reports/production", reports.touches_no(MACHINE))
        .route("/machines/{machine}", machine.require(["reporting"]).resource(MACHINE, "machine"))
        .route("/machines", machines.require(["reporting"]).handler_checks(MACHINE))
}

const COOKIE: &str = "signed-in";

async fn sign_in(request: axum::extract::Request) -> Response {
    let who = request.uri().query().unwrap_or_default();
    let cookie = format!("{COOKIE}={who}; Path=/; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], Html("<title>Signed in</title>")).into_response()
}

fn signed_in(request: &Parts) -> Option<&str> {
    let cookies = request.headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix(COOKIE)?.strip_prefix('='))
}

fn admin(who: &str, catalog: &ScopeCatalog) -> Option<Admin> {
    let parts: Vec<&str> = who.split('/').collect();
    let (tenant, actor, may_grant) = match *parts {
        ["operator", actor] => return Some(Admin::operator(actor)),
        ["member", tenant, owner, actor] => {
            let (tenant, owner) = (tenant.parse().ok()?, owner.parse().ok()?);
            return Some(Admin::of_member(tenant, owner, catalog.all(), actor));
        }
        ["tenant", tenant, actor] => (tenant, actor, catalog.all()),
        ["tenant", tenant, actor, scope] => (tenant, actor, catalog.set([scope]).ok()?),
        _ => return None,
    };
    Some(Admin::of_tenant(tenant.parse().ok()?, may_grant, actor))
}
