//! A console in a test world, and a client that sends requests to it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use keyway::{
    Keyring, MemoryStore, Policy, ScopeCatalog,
    allowance::WhenAway,
    console::{Admin, Console, RecentEvents},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    schema::{self, resolve},
    support::{World, block_on, overheard::known, policy},
};

pub const MOUNT: &str = "/settings/api-keys";

/// The header with the name of the caller, which [`who`] reads.
const WHO: &str = "x-test-who";

/// Identifies the caller. `acme` is an administrator of that tenant, `acme reporting` one with that scope
/// only, and `acme/ann` a member who manages the keys of the owner `ann`.
#[allow(clippy::result_large_err, reason = "that is how a host answers")]
pub fn who(request: &Parts, catalog: &ScopeCatalog) -> Result<Admin, Response> {
    let signed_out = || (StatusCode::UNAUTHORIZED, "sign in").into_response();
    let who = request.headers.get(WHO).ok_or_else(signed_out)?.to_str().unwrap();
    if let Some((tenant, owner)) = who.split_once('/') {
        let (tenant, owner) = (tenant.parse().unwrap(), owner.parse().unwrap());
        return Ok(Admin::of_member(tenant, owner, catalog.all(), "mia"));
    }
    Ok(match who.split_once(' ') {
        None if who == "operator" => Admin::operator("olga"),
        None => Admin::of_tenant(who.parse().unwrap(), catalog.all(), "anna"),
        Some((tenant, scopes)) => {
            Admin::of_tenant(tenant.parse().unwrap(), catalog.parse(scopes).unwrap(), "bert")
        }
    })
}

pub fn console(keyring: &Keyring) -> Console {
    let catalog = keyring.policy().catalog().clone();
    Console::new(keyring, move |request| {
        let admin = who(&request, &catalog);
        async move { admin }
    })
}

pub fn mount(console: Console) -> Router {
    Router::new().nest_service(MOUNT, console.router::<()>())
}

/// A world with a console that keeps a trail.
pub struct Place {
    pub world: World,
    pub client: Client,
}

impl Place {
    pub fn new() -> Self {
        Self::with(|console| console)
    }

    pub fn with(change: impl FnOnce(Console) -> Console) -> Self {
        Self::of(policy(), change)
    }

    fn of(policy: Policy, change: impl FnOnce(Console) -> Console) -> Self {
        let trail = RecentEvents::new(1_000);
        let world = World::with(policy, |builder| {
            let limits = MemoryStore::new();
            let builder = builder.audit(trail.clone()).usage(MemoryStore::new());
            builder.shared_limits(limits, WhenAway::Refuse)
        });
        let console = change(console(&world.keyring).audit_trail(trail));
        Self { client: Client::of(mount(console)), world }
    }

    /// Creates a place with the tenants `acme` on Advanced and `globex` on Lite, without keys.
    pub fn with_tenants() -> Self {
        Self::of_tenants(policy())
    }

    /// As [`with_tenants`](Self::with_tenants), with another policy.
    pub fn of_tenants(policy: Policy) -> Self {
        let place = Self::of(policy, |console| console);
        for (id, tier) in [("acme", "advanced"), ("globex", "lite")] {
            block_on(place.world.keyring.create_empty_tenant(id, tier)).unwrap();
        }
        place
    }
}

/// Sends requests to a router. Checks every response of the API against the OpenAPI document.
#[derive(Clone)]
pub struct Client {
    pub router: Router,
    pub document: Arc<Value>,
}

impl Client {
    pub fn of(router: Router) -> Self {
        let bare = Self { router, document: Arc::default() };
        let document = bare.get("operator", "/openapi.json");
        assert_eq!(document.status, 200);
        Self { document: Arc::new(document.json()), ..bare }
    }

    /// Returns a request of the caller `who`. If `who` is empty, the request is not authenticated.
    pub fn ask(&self, who: &str, method: &str, path: &str) -> Ask {
        let mut fields = HeaderMap::new();
        if !who.is_empty() {
            fields.insert(WHO, who.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = path.to_owned();
        Ask { client: self.clone(), method, path, fields, body: Vec::new() }
    }

    pub fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "GET", path).send()
    }

    /// Creates a key with an idempotency key of its own.
    pub fn create(&self, who: &str, body: Value) -> Answer {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let key = format!("key-{}", NUMBER.fetch_add(1, Relaxed));
        self.ask(who, "POST", "/api/keys").field("idempotency-key", &key).json(&body).send()
    }

    /// Creates a key with the scope `reporting`, and returns its id and token.
    pub fn key(&self, who: &str, name: &str) -> (String, String) {
        let answer = self.create(who, json!({ "name": name, "scopes": ["reporting"] }));
        assert_eq!(answer.status, 201, "{}", answer.text);
        let body = answer.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&body["key"]["id"]), text(&body["token"]))
    }

    pub fn change(&self, who: &str, id: &str, version: u64, body: &Value) -> Answer {
        let ask = self.ask(who, "PATCH", &format!("/api/keys/{id}"));
        ask.field("if-match", &format!("\"{version}\"")).json(body).send()
    }

    pub fn rotate(&self, who: &str, id: &str, version: u64, key: &str) -> Answer {
        let ask = self.ask(who, "POST", &format!("/api/keys/{id}/rotate"));
        ask.field("if-match", &format!("\"{version}\""))
            .field("idempotency-key", key)
            .json(&json!({ "grace_period": "none" }))
            .send()
    }
}

pub struct Ask {
    client: Client,
    method: Method,
    path: String,
    pub fields: HeaderMap,
    body: Vec<u8>,
}

impl Ask {
    pub fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string()).field("content-type", "application/json")
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn send(self) -> Answer {
        let mut request = Request::new(Body::from(self.body));
        *request.uri_mut() = format!("{MOUNT}{}", self.path).parse().unwrap();
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.fields;
        let response = block_on(self.client.router.clone().oneshot(request)).unwrap();
        let (head, body) = response.into_parts();
        let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        // Only the response to a create or a rotation has a token.
        let body = serde_json::from_str::<Value>(&text).unwrap_or_default();
        if let Some(token) = body["token"].as_str() {
            known(token);
        }
        let answer = Answer { status: head.status.as_u16(), fields: head.headers, text };
        answer.check(&self.client.document, &self.method, &self.path);
        answer
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the status, the name of the type, and the field of a problem.
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
        assert!(!text("title").is_empty() && !text("detail").is_empty(), "{self:?}");
        let link = text("type");
        let kind = link.rsplit_once(['#', '/']).unwrap().1.to_owned();
        (self.status, kind, text("field"))
    }

    #[track_caller]
    pub fn is(&self, status: u16, kind: &str, field: &str) {
        assert_eq!(self.problem(), (status, kind.into(), field.into()), "{}", self.text);
    }

    /// Checks that the OpenAPI document describes this response.
    fn check(&self, document: &Value, method: &Method, path: &str) {
        let path = path.split('?').next().unwrap();
        if document.is_null() || self.status == 405 || !path.starts_with("/api/") {
            return;
        }
        let segments: Vec<_> = path.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<_> = template.split('/').collect();
            let mut pairs = parts.iter().zip(&segments);
            parts.len() == segments.len()
                && pairs.all(|(part, segment)| part.starts_with('{') || part == segment)
        };
        let paths = document["paths"].as_object().unwrap();
        let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        let Some((_, item)) = fitting.first() else { return };
        // `HEAD` has the responses of `GET`.
        let name = if method == Method::HEAD { "get" } else { &*method.as_str().to_lowercase() };
        let operation = &item[name];
        // The gate wraps the routes, so it also refuses methods that do not exist.
        if operation.is_null() && self.status == 403 {
            return;
        }
        let described = resolve(document, &operation["responses"][self.status.to_string()]);
        assert!(described.is_object(), "{method} {path} answers {}", self.status);
        if let Some(content) = described["content"].as_object() {
            let kind = self.field("content-type");
            let content = content.get(kind);
            let content = content.unwrap_or_else(|| panic!("{method} {path}: {self:?}"));
            if method != Method::HEAD && kind.ends_with("json") {
                let fits = schema::check(document, &content["schema"], &self.json());
                assert_eq!(fits, Ok(()), "{method} {path} {}", self.status);
            }
        }
    }
}
