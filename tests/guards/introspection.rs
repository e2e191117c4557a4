//! The endpoints where programs in other languages introspect and revoke tokens: without a framework, on axum and on
//! actix-web. Every request goes through all three, which must agree on every byte.

mod bug_reports;
mod children;
mod descriptions;
mod one_response;
mod revocation;
mod timing;

use std::time::Duration;

use actix_web::{App, rt::System, test as actix_test};
use axum::body::Body;
use http::{Method, Request};
use keyway::{
    Guard, NewKey, Policy, ScopeCatalog, TenantKeys, Tier,
    grant::{ResourceDeclaration, Resources},
    http::{Introspection, Response, Revocation, Routes, actix, axum as keyway_axum},
    rate::Rate,
    scope::ScopeDeclaration,
};
use tower::ServiceExt as _;

use crate::support::{DAY, World, block_on, overheard::RevealKnown as _};

/// A response as a client sees it: status, headers by name, body.
type Seen = (u16, Vec<(String, String)>, String);

const INACTIVE: &str = r#"{"active":false}"#;
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn policy() -> Policy {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new([
        declare("introspect"),
        declare("revoke"),
        declare("operator"),
        declare("operator.read"),
        declare("operator.jobs"),
        declare("reporting"),
        declare("erp").implies(["reporting"]),
    ]);
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let catalog = catalog.unwrap().with_resources(kinds).unwrap();
    let metered = Tier::new("metered", 100).scopes(["introspect", "reporting"]);
    let metered = metered.rate(Rate { requests: 3, per_seconds: 60 });
    let lite = Tier::new("lite", 100).scopes(["introspect", "operator.read", "erp"]);
    let tiers = [metered, lite, Tier::new("advanced", 10_000)];
    Policy::new("mm", catalog, tiers).unwrap().with_children(DAY).unwrap()
}

/// A request, independent of a framework.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    uri: String,
    fields: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Asked {
    fn to(uri: impl Into<String>) -> Self {
        Self { method: Method::POST, uri: uri.into(), fields: Vec::new(), body: Vec::new() }
    }

    fn by(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn key(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    fn form(self, body: impl Into<Vec<u8>>) -> Self {
        self.with("content-type", FORM).body(body)
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

/// A service with both endpoints, and the tokens of a resource server.
struct Service {
    world: World,
    introspection: Introspection,
    revocation: Revocation,
    guard: Guard,
    introspector: String,
    revoker: String,
}

impl Service {
    fn new() -> Self {
        Self::with(|introspection| introspection, |revocation| revocation)
    }

    fn with(
        introspection: impl FnOnce(Introspection) -> Introspection,
        revocation: impl FnOnce(Revocation) -> Revocation,
    ) -> Self {
        let world = World::with(policy(), |builder| builder);
        let services = tenant(&world, "services");
        let introspector = issue(&services, NewKey::named("reports").scopes(["introspect"]));
        let revoker = issue(&services, NewKey::named("portal").scopes(["revoke"]));
        let soon = Duration::from_millis(1);
        let to_introspect = world.keyring.require(["introspect"]).unwrap();
        let to_revoke = world.keyring.require(["revoke"]).unwrap();
        let made = Introspection::new(&world.keyring, &to_introspect).unwrap();
        let introspection = introspection(made.inactive_after(soon));
        let made = Revocation::new(&world.keyring, &to_revoke).unwrap();
        let revocation = revocation(made.done_after(soon));
        let guard = Guard::new(&world.keyring);
        Self { world, introspection, revocation, guard, introspector, revoker }
    }

    fn ask(&self, asked: &Asked) -> Seen {
        let seen = self.through_axum(asked);
        assert_eq!(self.through_actix(asked), seen, "{asked:?}");
        if asked.method == Method::POST {
            assert_eq!(self.directly(asked), seen, "{asked:?}");
        }
        seen
    }

    /// Introspects with the key of the resource server.
    fn introspect(&self, body: impl Into<Vec<u8>>) -> Seen {
        self.ask(&Asked::to("/introspect").key(&self.introspector).form(body))
    }

    /// Introspects a token that must be active, and returns the members of the response.
    fn described(&self, body: &str) -> serde_json::Value {
        let (status, _, text) = self.introspect(body);
        assert_eq!(status, 200);
        let described: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(described["active"], true, "{body}");
        described
    }

    fn revoke(&self, token: &str) -> Seen {
        self.ask(&Asked::to("/revoke").key(&self.revoker).form(format!("token={token}")))
    }

    fn directly(&self, asked: &Asked) -> Seen {
        let fields: Vec<_> = asked.fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = on_tokio(async {
            match asked.uri.split('?').next() {
                Some("/introspect") => {
                    self.introspection.introspect(&fields[..], &asked.body).await
                }
                _ => self.revocation.revoke(&fields[..], &asked.body).await,
            }
        });
        as_is(&answer)
    }

    fn through_axum(&self, asked: &Asked) -> Seen {
        let request = Request::builder().method(&asked.method).uri(&asked.uri);
        let request = asked
            .fields
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, &**value));
        let request = request.body(Body::from(asked.body.clone())).unwrap();
        let routes = Routes::new(self.guard.clone())
            .route("/introspect", keyway_axum::introspection(&self.introspection))
            .route("/revoke", keyway_axum::revocation(&self.revocation));
        let app: axum::Router = routes.build().unwrap();
        on_tokio(async {
            let (head, body) = app.oneshot(request).await.unwrap().into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
            sees(head.status.as_u16(), fields.collect(), &body)
        })
    }

    fn through_actix(&self, asked: &Asked) -> Seen {
        let mut request = actix_test::TestRequest::with_uri(&asked.uri);
        request = request.method(asked.method.as_str().parse().unwrap());
        for (name, value) in &asked.fields {
            request = request.append_header((*name, &**value));
        }
        let request = request.set_payload(asked.body.clone()).to_request();
        let configure = Routes::new(self.guard.clone())
            .route("/introspect", actix::introspection(&self.introspection))
            .route("/revoke", actix::revocation(&self.revocation))
            .build()
            .unwrap();
        System::new().block_on(async {
            let app = actix_test::init_service(App::new().configure(configure)).await;
            let response = actix_test::call_service(&app, request).await;
            let fields = response.headers().iter();
            let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
            let (status, fields) = (response.status().as_u16(), fields.collect());
            sees(status, fields, &actix_test::read_body(response).await)
        })
    }
}

fn on_tokio<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

fn as_is(answer: &Response) -> Seen {
    let fields = answer.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    sees(answer.status(), fields.collect(), answer.body().as_bytes())
}

fn sees(status: u16, mut fields: Vec<(String, String)>, body: &[u8]) -> Seen {
    fields.retain(|(name, _)| name != "content-length");
    fields.sort();
    (status, fields, text(body))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_fields() -> Vec<(String, String)> {
    [("cache-control", "no-store"), ("content-type", "application/json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn inactive() -> Seen {
    (200, json_fields(), INACTIVE.to_owned())
}

fn invalid_request(status: u16, description: &str) -> Seen {
    let body = serde_json::json!({ "error": "invalid_request", "error_description": description });
    (status, json_fields(), body.to_string())
}

fn tenant(world: &World, id: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant(id, "advanced")).unwrap()
}

fn issue(keys: &TenantKeys, request: NewKey) -> String {
    block_on(keys.issue(request)).unwrap().token.reveal_known().to_string()
}

/// Returns the request for a key without limits.
fn reporting() -> NewKey {
    let key = NewKey::named("ERP sync").scopes(["reporting"]);
    key.resources("machine", Resources::All).resources("site", Resources::All)
}

#[test]
fn table_shows_the_scopes_of_both_endpoints() {
    let service = Service::new();
    let table = Routes::new(service.guard.clone())
        .route("/introspect", keyway_axum::introspection::<()>(&service.introspection))
        .route("/revoke", keyway_axum::revocation(&service.revocation))
        .table()
        .unwrap();
    assert_eq!(table.to_string(), "POST    /introspect  introspect\nPOST    /revoke      revoke\n");
    let guard = Guard::new(&service.world.keyring).require_any(["introspect", "erp"]).unwrap();
    let either = Introspection::new(&service.world.keyring, &guard).unwrap();
    let routes =
        Routes::new(guard).route("/introspect", actix::introspection(&either)).table().unwrap();
    assert_eq!(routes.to_string(), "POST    /introspect  erp or introspect\n");
}

#[test]
fn guard_without_a_scope_is_refused() {
    let world = World::with(policy(), |builder| builder);
    let any = Guard::new(&world.keyring);
    let refused = Introspection::new(&world.keyring, &any).unwrap_err();
    assert!(refused.to_string().starts_with("the guard of the introspection endpoint: "));
    let refused = Revocation::new(&world.keyring, &any).unwrap_err();
    assert!(refused.to_string().starts_with("the guard of the revocation endpoint: "));
}

#[test]
fn resource_server_needs_a_key_with_the_scope() {
    let service = Service::new();
    let acme = tenant(&service.world, "acme");
    let held = issue(&acme, reporting());
    for (uri, own, other) in [
        ("/introspect", &service.introspector, &service.revoker),
        ("/revoke", &service.revoker, &service.introspector),
    ] {
        // The errors of a form are not shown to others.
        for body in [format!("token={held}"), String::new(), "x".repeat(9_000)] {
            let asked = Asked::to(uri).form(body);
            let (status, fields, _) = service.ask(&asked);
            assert_eq!(status, 401);
            assert!(fields.iter().any(|(name, _)| name == "www-authenticate"));
            assert_eq!(service.ask(&asked.clone().key("made_up")).0, 401);
            // The token that is introspected is no credential for its introspection.
            assert_eq!(service.ask(&asked.clone().key(&held)).0, 403);
            assert_eq!(service.ask(&asked.clone().key(other)).0, 403);
            assert_eq!(service.ask(&asked.clone().key(own).key(own)).0, 400);
        }
    }
    assert!(block_on(service.world.keyring.verify(&held)).is_ok());
}

#[test]
fn optional_guard_requires_a_key_all_the_same() {
    let service = Service::new();
    let guard = service.world.keyring.require(["introspect"]).unwrap().optional();
    let introspection = Introspection::new(&service.world.keyring, &guard).unwrap();
    let service = Service { introspection, ..service };
    assert_eq!(service.ask(&Asked::to("/introspect").form("token=a")).0, 401);
}

#[test]
fn other_methods_are_not_allowed() {
    let service = Service::new();
    for uri in ["/introspect", "/revoke"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            let (status, fields, _) = service.ask(&Asked::to(uri).by(method));
            assert_eq!(status, 405);
            assert!(fields.contains(&("allow".into(), "POST".into())), "{fields:?}");
        }
    }
}

#[test]
fn unreadable_form_gets_an_error_of_oauth() {
    let service = Service::new();
    let acme = tenant(&service.world, "acme");
    let held = issue(&acme, reporting());
    let missing = "the parameter token is missing from the body";
    let cases = [
        (400, String::new(), missing),
        (400, "token".into(), missing),
        (400, "token=".into(), missing),
        (400, format!("Token={held}&token_type_hint=access_token"), missing),
        (400, format!("token={held}&token={held}"), "the parameter token is repeated"),
        (400, format!("token=&token={held}"), "the parameter token is repeated"),
        (400, format!("token={held}&%74oken=a"), "the parameter token is repeated"),
        (
            400,
            format!("token={held}&token_type_hint=a&token_type_hint=a"),
            "the parameter token_type_hint is repeated",
        ),
        (400, format!("token={held}%"), "the parameter token cannot be read"),
        (400, format!("token={held}%zz"), "the parameter token cannot be read"),
        (
            400,
            format!("token={held}&keyway_client_address=example.com"),
            "the parameter keyway_client_address cannot be read",
        ),
        (
            400,
            format!("token={held}&keyway_resource_kinds=%ff"),
            "the parameter keyway_resource_kinds cannot be read",
        ),
        (413, format!("token={held}&pad={}", "x".repeat(8_192)), "the body has more than 8 KiB"),
    ];
    for (uri, own) in [("/introspect", &service.introspector), ("/revoke", &service.revoker)] {
        for (status, body, description) in &cases {
            let seen = service.ask(&Asked::to(uri).key(own).form(body.clone()));
            assert_eq!(seen, invalid_request(*status, description), "{body}");
        }
    }
    assert!(block_on(service.world.keyring.verify(&held)).is_ok());
    // The control: without the fault the token is found.
    assert_eq!(service.described(&format!("token={held}"))["client_id"], "acme");
}
