//! A service on a store: guards of axum and actix-web, a console, and keys to come with.

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
    authority::NewKey,
    console::{Admin, Console},
    http::{Guard, Routes, actix as keyway_actix, axum as keyway_axum},
    keyring::Keyring,
    pepper::Pepper,
    policy::Policy,
    scope::{ScopeCatalog, ScopeDeclaration},
    store::{AnyStore, KeyLookup},
    tier::Tier,
    verifier::Verifier,
};
use tower::ServiceExt;

use crate::tally::{Reply, Tally};

/// The staleness bound: as soon as that has passed, no answer is given without the store.
const BOUND: Duration = Duration::from_millis(500);

pub struct Service {
    /// Another node, which issues.
    manager: Keyring,
    guards: Guards,
    console: Router,
}

/// The same route behind each guard.
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

    /// Guards that look their keys up in `lookup`.
    pub fn over(lookup: impl KeyLookup) -> Self {
        let builder = Verifier::builder(policy(), pepper()).environment("live");
        let verifier = builder.lookup(lookup).max_staleness(BOUND).build().unwrap();
        Self::new(&Guard::from(&verifier))
    }

    /// What each guard answers at `path` to `token`, which is said to be `what`.
    pub async fn ask(&self, path: &str, token: &str, what: &str) -> Vec<Reply> {
        let (field, value) = match token {
            "" => ("x-no-key", String::new()),
            token => ("authorization", format!("Bearer {token}")),
        };
        let request = Request::get(path).header(field, &value).body(Body::empty()).unwrap();
        let by_axum = send(self.axum.clone(), request, format!("axum, {path}, {what}"));
        let by_actix = async {
            let app = actix::init_service(App::new().configure(&*self.actix)).await;
            let request = actix::TestRequest::with_uri(path).insert_header((field, value));
            let started = Instant::now();
            let response = actix::call_service(&app, request.to_request()).await;
            Reply {
                request: format!("actix-web, {path}, {what}"),
                status: response.status().as_u16(),
                has_retry_after: response.headers().contains_key("retry-after"),
                took: started.elapsed(),
            }
        };
        let (by_axum, by_actix) = tokio::join!(by_axum, by_actix);
        vec![by_axum, by_actix]
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

/// What somebody can come with.
pub struct Keys {
    /// Nobody has presented it yet.
    fresh: Vec<String>,
    /// Was accepted by every guard, longer ago than the staleness bound.
    pub stale: String,
    deleted: String,
    malformed: String,
    /// A tenant whose console is asked, and a key of it.
    tenant: String,
    id: String,
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

    /// Keys of new tenants, made while the store is up. What is cached of them is too old afterwards.
    pub async fn keys(&self, others: &[&Guards], tally: &mut Tally) -> Keys {
        let (fresh, mut tokens) = (4, Vec::new());
        let (mut tenant, mut id) = (String::new(), String::new());
        for _ in 0..fresh + 2 {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let name = format!("tenant-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let request = NewKey::named("first").scopes(["read"]);
            let (keys, issued) =
                self.manager.create_tenant_with(&name, "advanced", request).await.unwrap();
            (tenant, id) = (name, issued.key.id().to_string());
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
        // A wrong key is a wrong key while the store is up.
        for (token, what) in [(&deleted, "a deleted key"), (&malformed, "a malformed key")] {
            for reply in self.guards.ask("/report", token, what).await {
                tally.unchanged(reply, 401);
            }
        }
        tokio::time::sleep(BOUND).await;
        Keys { fresh: tokens, stale, deleted, malformed, tenant, id }
    }

    /// Everything that looks for a key.
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
        // Whether it is still there is for nobody to say.
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

    /// Everything that is to change a key.
    pub async fn write(&self, keys: &Keys, tally: &mut Tally) {
        let path = format!("/api/keys/{}", keys.id);
        let rotate = format!("{path}/rotate");
        let asked = [("POST", "/api/keys"), ("PATCH", &path), ("POST", &rotate), ("DELETE", &path)];
        let asked = asked.map(|(method, path)| self.manage(method, path, keys));
        tally.in_trouble(join_all(asked).await.concat());
    }

    async fn manage(&self, method: &str, path: &str, keys: &Keys) -> Vec<Reply> {
        let body = match method {
            "POST" if path.ends_with("rotate") => r#"{ "overlap": "none" }"#,
            "POST" | "PATCH" => r#"{ "name": "another" }"#,
            _ => "",
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/keys{path}"))
            .header("x-test-tenant", &keys.tenant)
            .header("content-type", "application/json")
            .header("if-match", "*")
            .header("idempotency-key", "once")
            .body(Body::from(body))
            .unwrap();
        vec![send(self.console.clone(), request, format!("console, {method} {path}")).await]
    }

    /// Until all goes on: a key that has not been seen is accepted, and one can be changed.
    pub async fn recovers(&self, keys: &Keys) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut replies = self.guards.ask("/report", &keys.fresh[2], "after the trouble").await;
            replies.extend(self.manage("PATCH", &format!("/api/keys/{}", keys.id), keys).await);
            // In doubt, a deletion may have been done.
            if replies.iter().all(|reply| [200, 404].contains(&reply.status)) {
                return;
            }
            assert!(Instant::now() < deadline, "{replies:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
