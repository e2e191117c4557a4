//! A service over a store: guards of axum and actix-web, a console, and keys to present.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use actix_web::{App, test as actix, web::ServiceConfig};
use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures_util::future::{LocalBoxFuture, join_all};
use keyway::{
    Guard, IssuedKey, Keyring, NewKey, Pepper, Policy, ScopeCatalog, TenantKeys, Tier,
    console::{Admin, Console},
    http::{Routes, actix as keyway_actix, axum as keyway_axum},
    scope::ScopeDeclaration,
    store::{AnyStore, KeyLookup},
    verifier::Verifier,
};
use tower::ServiceExt;

use crate::tally::{Reply, Tally};

/// The staleness bound. Once it has passed, no request is decided without the store.
const BOUND: Duration = Duration::from_millis(500);

pub struct Service {
    /// Another node, which issues the keys.
    manager: Keyring,
    pub guards: Guards,
    console: Router,
}

/// The same route after each guard.
pub struct Guards {
    axum: Router,
    actix: Box<dyn Fn(&mut ServiceConfig)>,
}

fn policy() -> Policy {
    let scope = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new([scope("read"), scope("write")]).unwrap();
    Policy::new("mm", catalog, Tier::built_in()).unwrap()
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}

fn node(store: &AnyStore) -> Keyring {
    let builder = Keyring::builder(policy(), pepper()).environment("live");
    builder.store(store.clone()).max_staleness(BOUND).build().unwrap()
}

async fn ok() -> &'static str {
    "ok"
}

impl Guards {
    fn new(guard: &Guard) -> Self {
        let axum = Routes::new(guard.clone())
            .route("/report", keyway_axum::get(ok).require(["read"]))
            .route("/optional", keyway_axum::get(ok).optional());
        let actix = Routes::new(guard.clone())
            .route("/report", keyway_actix::get(ok).require(["read"]))
            .route("/optional", keyway_actix::get(ok).optional());
        Self { axum: axum.build().unwrap(), actix: Box::new(actix.build().unwrap()) }
    }

    /// Creates guards that look keys up in `lookup`.
    pub fn over(lookup: impl KeyLookup) -> Self {
        let builder = Verifier::builder(policy(), pepper()).environment("live");
        let verifier = builder.lookup(lookup).max_staleness(BOUND).build().unwrap();
        Self::new(&Guard::from(&verifier))
    }

    /// Returns each guard's response at `path` to `token`. `what` describes the token in reports.
    pub async fn ask(&self, path: &str, token: &str, what: &str) -> Vec<Reply> {
        let by_both =
            tokio::join!(self.ask_axum(path, token, what), self.ask_actix(path, token, what));
        vec![by_both.0, by_both.1]
    }

    pub async fn ask_axum(&self, path: &str, token: &str, what: &str) -> Reply {
        let (field, value) = field(token);
        let request = Request::get(path).header(field, &value).body(Body::empty()).unwrap();
        send(self.axum.clone(), request, format!("axum, {path}, {what}")).await
    }

    pub async fn ask_actix(&self, path: &str, token: &str, what: &str) -> Reply {
        let app = actix::init_service(App::new().configure(&*self.actix)).await;
        let request = actix::TestRequest::with_uri(path).insert_header(field(token));
        let started = Instant::now();
        let response = actix::call_service(&app, request.to_request()).await;
        Reply {
            request: format!("actix-web, {path}, {what}"),
            status: response.status().as_u16(),
            has_retry_after: response.headers().contains_key("retry-after"),
            took: started.elapsed(),
        }
    }
}

/// The header of a request with this token.
fn field(token: &str) -> (&'static str, String) {
    match token {
        "" => ("x-no-key", String::new()),
        token => ("authorization", format!("Bearer {token}")),
    }
}

async fn send(router: Router, what: Request<Body>, request: String) -> Reply {
    let started = Instant::now();
    let response: Response<_> = router.oneshot(what).await.unwrap();
    Reply {
        request,
        status: response.status().as_u16(),
        has_retry_after: response.headers().contains_key("retry-after"),
        took: started.elapsed(),
    }
}

/// The responses to reads.
pub struct Look {
    pub guards: Vec<Reply>,
    pub console: Vec<Reply>,
}

/// The keys that a caller can present.
pub struct Keys {
    /// Tokens that have not been presented yet.
    fresh: Vec<String>,
    /// A token that every guard accepted, longer ago than the staleness bound.
    pub stale: String,
    deleted: String,
    malformed: String,
    /// A tenant whose console is called, and the id of one of its keys.
    tenant: String,
    id: String,
}

impl Keys {
    /// Waits until all cached keys are older than the staleness bound.
    pub async fn become_stale(&self) {
        tokio::time::sleep(BOUND).await;
    }
}

impl Service {
    pub fn new(store: &AnyStore) -> Self {
        let keyring = node(store);
        let console = Console::new(&keyring, |request: axum::http::request::Parts| async move {
            let tenant = request.headers["x-test-tenant"].to_str().unwrap().parse().unwrap();
            Ok(Admin::of_tenant(tenant, policy().catalog().all(), "anna"))
        });
        Self {
            manager: node(store),
            guards: Guards::new(&Guard::from(&keyring)),
            console: Router::new().nest_service("/keys", console.router::<()>()),
        }
    }

    /// Issues a key of a new tenant.
    async fn issue(&self) -> (TenantKeys, IssuedKey) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tenant-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = NewKey::named("first").scopes(["read"]);
        self.manager.create_tenant_with(&name, "advanced", request).await.unwrap()
    }

    /// Returns the tokens of `number` keys. None of them has been presented.
    pub async fn tokens(&self, number: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        for _ in 0..number {
            tokens.push(self.issue().await.1.token.reveal().to_string());
        }
        tokens
    }

    /// Returns the responses of the guards and the console to reads with a key that was accepted too long
    /// ago.
    pub async fn look(&self, keys: &Keys, what: &str) -> Look {
        let path = format!("/api/keys/{}", keys.id);
        let (guards, list, key) = tokio::join!(
            self.guards.ask("/report", &keys.stale, what),
            self.manage("GET", "/api/keys", keys),
            self.manage("GET", &path, keys)
        );
        Look { guards, console: [list, key].concat() }
    }

    /// Issues keys of new tenants while the store is up. Their cache entries are stale on return.
    pub async fn keys(&self, others: &[&Guards], tally: &mut Tally) -> Keys {
        let (fresh, mut tokens) = (4, Vec::new());
        let (mut tenant, mut id) = (String::new(), String::new());
        for _ in 0..fresh + 2 {
            let (keys, issued) = self.issue().await;
            (tenant, id) = (keys.id().to_string(), issued.key.id().to_string());
            tokens.push(issued.token.reveal().to_string());
            if tokens.len() == fresh + 1 {
                keys.delete(issued.key.id()).await.unwrap();
            }
        }
        let (stale, deleted) = (tokens.pop().unwrap(), tokens.pop().unwrap());
        let last = if stale.ends_with('A') { "B" } else { "A" };
        let malformed = format!("{}{last}", &stale[..stale.len() - 1]);
        let mut replies = Vec::new();
        for guards in [&self.guards].into_iter().chain(others.iter().copied()) {
            replies.extend(guards.ask("/report", &stale, "the key").await);
        }
        for reply in replies {
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        // While the store is up, a wrong key is rejected as one.
        for (token, what) in [(&deleted, "a deleted key"), (&malformed, "a malformed key")] {
            for reply in self.guards.ask("/report", token, what).await {
                tally.unchanged(reply, 401);
            }
        }
        let keys = Keys { fresh: tokens, stale, deleted, malformed, tenant, id };
        keys.become_stale().await;
        keys
    }

    /// Sends every request that reads a key.
    pub async fn read(&self, keys: &Keys, tally: &mut Tally) {
        let Keys { fresh, stale, deleted, malformed, .. } = keys;
        let path = format!("/api/keys/{}", keys.id);
        let mut asked: Vec<LocalBoxFuture<'_, Vec<Reply>>> = Vec::new();
        for (path, fresh) in [("/report", &fresh[0]), ("/optional", &fresh[1])] {
            asked.push(Box::pin(self.guards.ask(path, fresh, "a key that is not cached")));
            asked.push(Box::pin(self.guards.ask(
                path,
                stale,
                "a key that was cached too long ago",
            )));
        }
        // Without the store nobody knows whether the deleted key still exists, so this is a 503 as well.
        asked.push(Box::pin(self.guards.ask("/report", deleted, "a key that was deleted")));
        asked.push(Box::pin(self.manage("GET", "/api/keys", keys)));
        asked.push(Box::pin(self.manage("GET", &path, keys)));
        let replies = join_all(asked).await.concat();
        tally.in_trouble(replies);
        for reply in self.guards.ask("/report", malformed, "a malformed key").await {
            tally.unchanged(reply, 401);
        }
        for reply in self.guards.ask("/report", "", "no key").await {
            tally.unchanged(reply, 401);
        }
    }

    /// Sends every request that changes a key.
    pub async fn write(&self, keys: &Keys, tally: &mut Tally) {
        let path = format!("/api/keys/{}", keys.id);
        let rotate = format!("{path}/rotate");
        let asked = [("POST", "/api/keys"), ("PATCH", &path), ("POST", &rotate), ("DELETE", &path)];
        let asked = asked.map(|(method, path)| self.manage(method, path, keys));
        tally.in_trouble(join_all(asked).await.concat());
    }

    async fn manage(&self, method: &str, path: &str, keys: &Keys) -> Vec<Reply> {
        let body = match method {
            "POST" if path.ends_with("rotate") => r#"{ "grace_period": "none" }"#,
            "POST" | "PATCH" => r#"{ "name": "another" }"#,
            _ => "",
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/keys{path}"))
            .header("x-test-tenant", &keys.tenant)
            .header("content-type", "application/json")
            // A rotation names one version. No key here is changed before it.
            .header("if-match", if path.ends_with("rotate") { "\"1\"" } else { "*" })
            .header("idempotency-key", "once")
            .body(Body::from(body))
            .unwrap();
        vec![send(self.console.clone(), request, format!("console, {method} {path}")).await]
    }

    /// Waits until the service works again: it accepts a key not seen before, and a key can be changed.
    pub async fn recovers(&self, keys: &Keys) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut replies = self.guards.ask("/report", &keys.fresh[2], "after the trouble").await;
            replies.extend(self.manage("PATCH", &format!("/api/keys/{}", keys.id), keys).await);
            // A deletion with an unknown outcome may have happened.
            if replies.iter().all(|reply| [200, 404].contains(&reply.status)) {
                return;
            }
            assert!(Instant::now() < deadline, "{replies:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
