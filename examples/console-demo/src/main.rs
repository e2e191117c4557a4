//! A service with the console: `cargo run -p console-demo`. Open the address that it prints.
//!
//! The demo has two companies with System73's tiers and MachineMetrics' scopes, a page in place of a real
//! sign-in, and an endpoint to try new keys. Its report has those of the machines `mill-1`, `mill-2` and
//! `lathe-1` that the key may touch. The keys are in SQLite, in the file that is given as an argument. Without an
//! argument they are in a folder that is removed when the service ends (Ctrl-C).

use std::{
    collections::{BTreeMap, HashMap},
    env,
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use keyway::{
    Keyring, KeyringError, NewKey, Pepper, Policy, Principal, SqliteStore,
    console::{Admin, Console},
    grant::{ResourceKind, Resources},
    http::ClientAddress,
    scope::ScopeSet,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = env::args_os().nth(1).map_or_else(|| folder.path().join("keys.db"), PathBuf::from);
    let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let store = SqliteStore::open(file).await?;
    let keyring = Keyring::builder(policy, pepper)
        .environment("live")
        .store_with_events(store.clone())
        .usage(store)
        .open()
        .await?;
    add_tenants(&keyring).await?;
    // Writes the times of last uses in batches, apart from requests.
    tokio::spawn(keyring.flush_uses_every(Duration::from_secs(5), tokio::time::sleep));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let sessions = Sessions::default();
    let console = console(&keyring, &sessions, &address)?;
    let machine = keyring.policy().catalog().resource("machine")?;
    // A report has many machines, so the handler selects those of the key.
    let guard = keyring.require(["reporting"])?.handler_checks("machine")?;
    let guard = guard.client_address(ClientAddress::socket());
    let app = Router::new()
        .route("/", get(async || Html(SIGN_IN)))
        .route("/sign-in", post(sign_in))
        .with_state(sessions)
        .nest_service(MOUNT, console.router::<()>())
        .route("/reports/production", get(report).with_state(machine).layer(guard));
    println!("{address}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    keyring.flush_uses().await?;
    Ok(())
}

const MOUNT: &str = "/settings/api-keys";

/// Two companies, each with a first key, unless the file has them already.
async fn add_tenants(keyring: &Keyring) -> Result<(), Box<dyn Error>> {
    for (id, tier) in [("acme", "advanced"), ("globex", "lite")] {
        let first = NewKey::named("Weekly report")
            .scopes(["reporting"])
            .resources("machine", Resources::All);
        match keyring.create_tenant_with(id, tier, first).await {
            // The token is lost here. The administrator rotates the key to get another one.
            Ok(_) | Err(KeyringError::TenantExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn console(
    keyring: &Keyring,
    sessions: &Sessions,
    address: &str,
) -> Result<Console, Box<dyn Error>> {
    let (sessions, everything) = (sessions.clone(), keyring.policy().catalog().all());
    let who = move |request: Parts| {
        let admin = sessions.admin(&request.headers, everything);
        async move { admin }
    };
    let history = keyring.events().ok_or("the keyring was built without events")?;
    let curl = format!("curl -H 'Authorization: Bearer {{token}}' {address}/reports/production");
    Ok(Console::new(keyring, who)
        .service_name("MachineMetrics")
        .accent("#0a6ebd")?
        .curl(curl)?
        .support("support@example.com")
        .audit_trail(history))
}

/// An endpoint for keys with the scope `reporting`.
async fn report(caller: Principal, State(machine): State<ResourceKind>) -> Json<Value> {
    let mut rates = BTreeMap::from([("mill-1", 0.81), ("mill-2", 0.77), ("lathe-1", 0.64)]);
    rates.retain(|id, _| caller.resources(&machine).contains(id));
    Json(json!({ "company": caller.tenant(), "utilization_rates": rates }))
}

// The sign-in, in place of a real one.

/// Signed-in users by the secrets in their cookies.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, User>>>);

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum User {
    Acme,
    Globex,
    Operator,
}

#[derive(Deserialize)]
struct SignIn {
    user: User,
}

impl Sessions {
    /// Returns the user of a request, or a response with the way to the sign-in.
    #[allow(clippy::result_large_err, reason = "the response of axum is large")]
    fn admin(&self, fields: &HeaderMap, everything: ScopeSet) -> Result<Admin, Response> {
        let session = cookie(fields).and_then(|secret| self.lock().get(secret).copied());
        let user = session.ok_or_else(signed_out)?;
        let of_tenant = |id: &str, actor: &str| {
            let tenant = id.parse().map_err(|_| signed_out())?;
            Ok(Admin::of_tenant(tenant, everything, actor))
        };
        match user {
            User::Acme => of_tenant("acme", "anna@acme.example"),
            User::Globex => of_tenant("globex", "gus@globex.example"),
            User::Operator => Ok(Admin::operator("olga@machinemetrics.example")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scripts read the status, and people follow the link.
fn signed_out() -> Response {
    let page = "<!doctype html><p>You are signed out. <a href=\"/\">Sign in</a></p>";
    (StatusCode::UNAUTHORIZED, Html(page)).into_response()
}

fn cookie(fields: &HeaderMap) -> Option<&str> {
    let cookies = fields.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session="))
}

async fn sign_in(
    State(sessions): State<Sessions>,
    Form(SignIn { user }): Form<SignIn>,
) -> Result<Response, StatusCode> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let cookie = format!("session={secret}; HttpOnly; SameSite=Lax; Path=/");
    let cookie = HeaderValue::try_from(cookie).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    sessions.lock().insert(secret, user);
    // The trailing slash keeps the page's relative links below it.
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/settings/api-keys/")).into_response())
}

const SIGN_IN: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in</title>
<style>
  body { font: 1rem/1.5 system-ui; max-width: 24rem; margin: 4rem auto; padding: 0 1rem }
  button { display: block; width: 100%; margin: .5rem 0; padding: .75rem; font: inherit }
</style>
<h1>Sign in</h1>
<p>A real service has its own sign-in here. Who do you want to be?</p>
<form method="post" action="/sign-in">
  <button name="user" value="acme">Administrator of acme</button>
  <button name="user" value="globex">Administrator of globex</button>
  <button name="user" value="operator">Operator</button>
</form>
</html>
"#;
