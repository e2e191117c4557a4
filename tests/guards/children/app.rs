//! One application on tower, axum and actix-web, and the family of keys that its tests use.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpMessage as _, HttpRequest,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use axum::{
    body::{Body, to_bytes},
    extract::OriginalUri,
    routing::MethodRouter,
};
use http::{Request, Response};
use keyway::{
    Guard, NewKey, Principal,
    children::{ChildMinter, NewChild},
    http::{Endpoint, Routes, actix::ActixHandler},
};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{DAY, World, block_on, overheard::RevealKnown as _, policy};

/// A key and the children that it makes.
pub struct Family {
    pub world: World,
    pub parent: String,
    minter: ChildMinter,
}

impl Family {
    pub fn new() -> Self {
        let policy = policy().with_children(DAY).unwrap();
        Self::of(World::with(policy, |builder| builder))
    }

    pub fn of(world: World) -> Self {
        let request = NewKey::named("parent").scopes(["reporting"]).children(true);
        let created = block_on(world.keyring.create_tenant_with("acme", "advanced", request));
        let (_, issued) = created.unwrap();
        let minter = world.keyring.child_minter(&issued.token).unwrap();
        let parent = issued.token.reveal_known().to_string();
        Self { world, parent, minter }
    }

    pub fn child(&self, request: NewChild) -> String {
        let child = self.minter.mint_at(&request, self.world.now()).unwrap();
        child.reveal_known().to_string()
    }

    pub fn guard(&self) -> Guard {
        Guard::new(&self.world.keyring)
    }
}

pub fn lasting(seconds: u64) -> NewChild {
    NewChild::lasting(Duration::from_secs(seconds))
}

pub fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// A response, and what the handler has seen of its request.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    /// Returns the status, and the name of the problem of a refusal.
    pub fn short(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let name = body["type"].as_str().and_then(|link| link.rsplit('#').next());
        name.map_or(self.status.to_string(), |name| format!("{} {name}", self.status))
    }

    /// Returns what the handler has seen, by name.
    pub fn handler(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }
}

/// Returns what a handler has seen: all addresses, the number of credentials, its caller, and a parameter of the path.
fn report(
    addresses: &[String],
    credentials: usize,
    caller: Option<&Principal>,
    id: Option<&str>,
) -> String {
    let caller = caller.map(|caller| (caller.tenant(), caller.child().is_some()));
    let is_child = caller.map(|(_, is_child)| is_child);
    let tenant = caller.map(|(tenant, _)| tenant);
    json!({ "uri": addresses, "credentials": credentials, "tenant": tenant, "child": is_child, "id": id })
        .to_string()
}

fn of_tower<B>(request: &Request<B>) -> String {
    let mut addresses = vec![request.uri().to_string()];
    if let Some(OriginalUri(uri)) = request.extensions().get() {
        addresses.push(uri.to_string());
    }
    let credentials = request.headers().get_all("authorization").iter().count();
    report(&addresses, credentials, request.extensions().get(), None)
}

fn of_actix(request: &HttpRequest) -> String {
    let addresses = [
        request.uri().to_string(),
        request.match_info().get_ref().uri().to_string(),
        request.head().uri.to_string(),
    ];
    let credentials = request.headers().get_all("authorization").count();
    report(&addresses, credentials, request.extensions().get(), request.match_info().get("id"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    Tower,
    Axum,
    Actix,
}

pub const ALL: [Framework; 3] = [Framework::Tower, Framework::Axum, Framework::Actix];

/// Declares the routes of the application. `on` returns the handler of a method.
pub fn routes<H>(guard: Guard, on: impl Fn(&'static str) -> H) -> Routes<H> {
    let on = |method| Endpoint::new(method, on(method));
    Routes::new(guard)
        .route("/machines/{id}", on("GET").require(["reporting"]).accepts_children())
        .route("/jobs", on("POST").require(["operator.jobs"]).accepts_children())
        .route("/keys-only", on("GET").require(["reporting"]))
        .route("/maybe", on("GET").require(["reporting"]).optional().accepts_children())
        .route("/any", on("*").any_key().accepts_children())
        .route("/tools", on("POST").any_key().accepts_children().checks_operations())
        .route("/events", on("GET").require(["reporting"]).accept_ticket())
        .route("/both", on("GET").require(["reporting"]).accepts_children().accept_ticket())
        .route("/maybe-events", on("GET").require(["reporting"]).optional().accept_ticket())
        .route("/streams/{id}", on("GET").any_key().accept_ticket())
}

/// The application, with guards around its routes.
pub struct App {
    /// The guard of the routes.
    pub guard: Guard,
    /// The guard around all routes.
    pub outer: Option<Guard>,
    /// The guard around each handler, inside that of its route.
    pub inner: Option<Guard>,
}

pub type Field = (&'static str, String);

impl App {
    pub fn new(guard: Guard) -> Self {
        Self { guard, outer: None, inner: None }
    }

    /// Sends a request by its line, such as `GET /events`, and returns the response.
    pub fn ask(&self, framework: Framework, line: &str, headers: &[Field]) -> Seen {
        let (method, uri) = line.split_once(' ').unwrap();
        match framework {
            Framework::Tower => self.on_tower(method, uri, headers),
            Framework::Axum => self.on_axum(method, uri, headers),
            Framework::Actix => self.on_actix(method, uri, headers),
        }
    }

    fn on_tower(&self, method: &str, uri: &str, headers: &[Field]) -> Seen {
        let request = request(method, uri, headers);
        let path = request.uri().path().to_owned();
        let is_at = |route: &str| {
            let mut parts = route.split('/').zip(path.split('/'));
            route.split('/').count() == path.split('/').count()
                && parts.all(|(own, other)| own.starts_with('{') || own == other)
        };
        let takes = |own: &str| [method, "*"].contains(&own) || (own, method) == ("GET", "HEAD");
        let rows = routes(self.guard.clone(), |_| ()).resolve().unwrap();
        let row = rows.into_iter().find(|row| is_at(&row.path) && takes(row.method)).unwrap();
        let handler = service_fn(async |request: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::from(of_tower(&request))))
        });
        let guards = self.inner.iter().chain(&row.guard).chain(&self.outer);
        let service = guards.fold(BoxCloneSyncService::new(handler), |service, guard| {
            let guarded = guard.layer(service);
            BoxCloneSyncService::new(guarded.map_response(|response| response.map(Body::new)))
        });
        seen(block_on(service.oneshot(request)).unwrap())
    }

    fn on_axum(&self, method: &str, uri: &str, headers: &[Field]) -> Seen {
        let handler = |method: &'static str| -> MethodRouter {
            let handler = async |request: axum::extract::Request| of_tower(&request);
            let handler = match method {
                "*" => axum::routing::any(handler),
                "GET" => axum::routing::get(handler),
                "POST" => axum::routing::post(handler),
                other => panic!("no handler of {other}"),
            };
            match &self.inner {
                Some(guard) => handler.layer(guard.clone()),
                None => handler,
            }
        };
        let own: axum::Router = routes(self.guard.clone(), handler).build().unwrap();
        // A nested router sees a shorter address, and the original one is elsewhere.
        let mut router = axum::Router::new().nest("/nested", own.clone()).merge(own);
        if let Some(guard) = &self.outer {
            router = router.layer(guard.clone());
        }
        seen(block_on(router.oneshot(request(method, uri, headers))).unwrap())
    }

    fn on_actix(&self, method: &str, uri: &str, headers: &[Field]) -> Seen {
        let handler = |_: &'static str| {
            let inner = self.inner.clone();
            ActixHandler::new(move || {
                let route = web::route().to(async |request: HttpRequest| of_actix(&request));
                match &inner {
                    Some(guard) => route.wrap(guard.clone()),
                    None => route,
                }
            })
        };
        let routes = routes(self.guard.clone(), handler).build().unwrap();
        let request = TestRequest::with_uri(uri).method(method.parse().unwrap());
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.append_header((*name, &**value)))
            .to_request();
        System::new().block_on(async {
            let scope = web::scope("").configure(routes);
            let app = if let Some(guard) = &self.outer {
                let scope = scope.wrap(guard.clone());
                let app = init_service(actix_web::App::new().service(scope)).await;
                call_service(&app, request).await.map_into_boxed_body()
            } else {
                let app = init_service(actix_web::App::new().service(scope)).await;
                call_service(&app, request).await.map_into_boxed_body()
            };
            let status = app.status().as_u16();
            let headers = app.headers().iter();
            let headers = headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let body = String::from_utf8(read_body(app).await.to_vec()).unwrap();
            Seen { status, headers, body }
        })
    }
}

fn request(method: &str, uri: &str, headers: &[Field]) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    request.body(Body::empty()).unwrap()
}

fn seen(response: Response<Body>) -> Seen {
    let (head, body) = response.into_parts();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let body = block_on(to_bytes(body, usize::MAX)).unwrap().to_vec();
    Seen {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: String::from_utf8(body).unwrap(),
    }
}
