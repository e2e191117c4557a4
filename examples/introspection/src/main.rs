//! An authorization service and a resource server in Python: `cargo run -p introspection`.
//!
//! The authorization service has the keys. The resource server has none. It posts each key that it is sent to the
//! introspection endpoint (RFC 7662), with a key of its own, by the library Authlib. The program prints each call with
//! its outcome, and fails if an outcome is not as it should be. It needs `python3` with `venv`, and installs the
//! libraries at its first start.

mod http;
mod python;
mod store;

use std::{error::Error, time::Duration};

use axum::Router;
use keyway::{
    Guard, IssuedKey, Keyring, NewKey, Pepper, Policy, TenantKeys,
    grant::{Networks, Resources},
    http::{Introspection, Revocation, Routes, axum::introspection, axum::revocation},
};
use tokio::{net::TcpListener, runtime::Runtime, time::sleep};

use self::{http::call, store::Database};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = Database::default();
    let policy: Policy = serde_json::from_str(include_str!("../policy.json"))?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=")?;
    let keyring =
        Keyring::builder(policy, pepper).environment("live").store(database.clone()).open().await?;

    let routes = routes(&keyring)?;
    println!("The authorization service:\n{}", routes.table()?);
    let app: Router = routes.build()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let service = listener.local_addr()?.to_string();
    // A runtime of its own, which ends with all connections.
    let serving = Runtime::new()?;
    serving.spawn(async move { axum::serve(TcpListener::from_std(listener)?, app).await });

    // The resource server is a service of our own, so its key is in a tenant of our own. Only the tier of that tenant
    // has the scopes of both endpoints, so no customer can give them to a key.
    let own = keyring.create_empty_tenant("services", "own").await?;
    let key = NewKey::named("Python reports").scopes(["keys.introspect", "keys.revoke"]);
    let own = issue(&own, key).await?.token;
    let (_server, address) = python::start(&format!("http://{service}"), &own).await?;

    let story = Story { keyring, database, service, address, own };
    let failed = story.tell().await?;
    serving.shutdown_background();
    let failed = failed + story.without_a_service().await?;
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} outcomes are not as they should be").into()),
    }
}

/// Both endpoints show their scopes in the table of routes.
fn routes(keyring: &Keyring) -> Result<Routes<axum::routing::MethodRouter>, Box<dyn Error>> {
    let to_introspect = Introspection::new(keyring, &keyring.require(["keys.introspect"])?)?;
    let named = keyring.acting_as("revocation endpoint");
    let to_revoke = Revocation::new(&named, &keyring.require(["keys.revoke"])?)?;
    Ok(Routes::new(Guard::new(keyring))
        .route("/oauth/introspect", introspection(&to_introspect))
        .route("/oauth/revoke", revocation(&to_revoke)))
}

struct Story {
    keyring: Keyring,
    database: Database,
    /// The address of the authorization service.
    service: String,
    /// The address of the resource server.
    address: String,
    /// The key of the resource server.
    own: String,
}

const REPORTS: &str = "GET /reports/production";
const MILL: &str = "GET /machines/mill-1/status";
const LATHE: &str = "GET /machines/lathe-1/status";
const START: &str = "POST /jobs/job-7/start";

impl Story {
    /// Makes the calls, and returns how many outcomes are not as they should be.
    async fn tell(&self) -> Result<u32, Box<dyn Error>> {
        let acme = self.keyring.create_empty_tenant("acme", "advanced").await?;
        let erp = issue(&acme, whole("erp")).await?;
        let operator = issue(&acme, whole("operator")).await?;
        let mut failed = 0;

        println!("\nThe responses of the introspection endpoint:");
        for token in [&*erp.token, "mm_live_made_up"] {
            let form = format!("token={token}");
            let answer =
                call(&self.service, "POST /oauth/introspect", Some(&self.own), Some(&form)).await?;
            println!("  {}", answer.body);
        }

        println!("\nThe resource server in Python:");
        failed += self.call(REPORTS, "no key", None, 401).await?;
        failed += self.call(REPORTS, "made up", Some("mm_live_made_up"), 401).await?;
        // The key has `erp`, which implies `reporting`. The resource server does not know that.
        failed += self.call(REPORTS, "ERP", Some(&erp.token), 200).await?;
        failed += self.call(START, "operator", Some(&operator.token), 202).await?;
        failed += self.call(START, "ERP, a scope is missing", Some(&erp.token), 403).await?;

        let mills = Resources::only(["mill-1", "mill-2"])?;
        let limited = NewKey::named("dashboard").scopes(["reporting"]).resources("machine", mills);
        let limited = issue(&acme, limited).await?.token;
        failed += self.call(MILL, "dashboard of two mills", Some(&limited), 200).await?;
        failed += self.call(LATHE, "dashboard of two mills", Some(&limited), 403).await?;
        failed +=
            self.call(REPORTS, "not for routes that ignore limits", Some(&limited), 401).await?;

        for (network, status) in [("127.0.0.0/8", 200), ("192.0.2.0/24", 401)] {
            let key = whole("reporting").networks(Networks::only([network])?);
            let key = issue(&acme, key).await?.token;
            failed +=
                self.call(REPORTS, &format!("only from {network}"), Some(&key), status).await?;
        }

        let brief = whole("reporting").expires_in(Duration::from_secs(2));
        let brief = issue(&acme, brief).await?.token;
        failed += self.call(REPORTS, "valid for 2 s", Some(&brief), 200).await?;
        sleep(Duration::from_millis(2_100)).await;
        failed += self.call(REPORTS, "expired, although it was cached", Some(&brief), 401).await?;

        let ended = issue(&acme, whole("reporting")).await?.token;
        failed += self.call("DELETE /key", "revokes itself", Some(&ended), 204).await?;
        failed += self.call(REPORTS, "revoked", Some(&ended), 401).await?;

        let deleted = issue(&acme, whole("reporting")).await?;
        failed += self.call(REPORTS, "in use", Some(&deleted.token), 200).await?;
        acme.delete(deleted.key.id()).await?;
        failed +=
            self.call(REPORTS, "deleted, and cached for 3 s", Some(&deleted.token), 200).await?;
        sleep(Duration::from_millis(3_100)).await;
        failed += self.call(REPORTS, "deleted", Some(&deleted.token), 401).await?;

        let fresh = issue(&acme, whole("reporting")).await?.token;
        self.database.set_away(true);
        failed += self.call(REPORTS, "the store is away", Some(&fresh), 503).await?;
        failed += self.call(REPORTS, "the store is away, made up", Some("mm_x"), 401).await?;
        self.database.set_away(false);
        sleep(Duration::from_millis(500)).await;
        failed += self.call(REPORTS, "the store is back", Some(&fresh), 200).await?;
        Ok(failed)
    }

    /// Makes a call while the authorization service does not run.
    async fn without_a_service(&self) -> Result<u32, Box<dyn Error>> {
        self.call(REPORTS, "the authorization service is away", Some("mm_live_x"), 503).await
    }

    /// Calls the resource server, and returns 1 if the outcome is not as it should be.
    async fn call(
        &self,
        request: &str,
        title: &str,
        key: Option<&str>,
        expected: u16,
    ) -> Result<u32, Box<dyn Error>> {
        let answer = call(&self.address, request, key, None).await?;
        let is_right = answer.status == expected
            && (expected != 503 || answer.head.contains("\r\nretry-after: "));
        let verdict = if is_right { "ok".into() } else { format!("WRONG, should be {expected}") };
        println!("  {:<3} {request:<28} {title:<36} {verdict}", answer.status);
        Ok(u32::from(!is_right))
    }
}

/// Returns the request for a key of all machines.
fn whole(scope: &str) -> NewKey {
    NewKey::named(scope).scopes([scope]).resources("machine", Resources::All)
}

/// A key with its token. Only examples keep tokens.
struct Issued {
    key: keyway::KeyRecord,
    token: String,
}

async fn issue(keys: &TenantKeys, request: NewKey) -> Result<Issued, Box<dyn Error>> {
    let IssuedKey { key, token } = keys.issue(request).await?;
    Ok(Issued { key, token: token.reveal().to_string() })
}
