//! The endpoint where the holder of a key gets children of it, on axum and actix-web.

mod refusals;

use std::{net::SocketAddr, time::Duration};

use actix_web::{
    App,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
};
use axum::body::Body;
use http::{Method, Request};
use keyway::{
    ConfigError, GracePeriod, Guard, NewKey, Policy, Principal, ScopeCatalog, TenantKeys, Tier,
    VerifyError,
    children::{ChildMinter, NewChild, Place},
    grant::{OutsideGrant, ResourceDeclaration, Resources},
    http::{ClientAddress, OwnKey, PeerAddress, Routes, actix, axum::own_key},
    import::{ForeignFormat, ForeignHash},
    scope::ScopeDeclaration,
    verifier::Freshness,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{
    DAY, HOUR, World, block_on, gives_away,
    overheard::{RevealKnown as _, known},
};

fn policy_without_children() -> Policy {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let catalog = ScopeCatalog::new(["keys.rotate", "machines", "reporting"].map(declare));
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let catalog = catalog.unwrap().with_resources(kinds).unwrap();
    Policy::new("mm", catalog, [Tier::new("advanced", 9)]).unwrap()
}

fn policy() -> Policy {
    policy_without_children().with_children(DAY).unwrap()
}

fn foreign() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn world() -> World {
    World::with(policy(), |builder| builder.accept_imported(foreign()))
}

/// Returns the request for a key that may do all, and have children.
fn request() -> NewKey {
    let key = NewKey::named("ERP").scopes(["keys.rotate", "machines", "reporting"]);
    let key = key.resources("machine", Resources::All).resources("site", Resources::All);
    key.children(true)
}

fn issue(world: &World, tenant: &str, request: NewKey) -> (TenantKeys, String) {
    let created = world.keyring.create_tenant_with(tenant, "advanced", request);
    let (keys, issued) = block_on(created).unwrap();
    (keys, issued.token.reveal_known().to_string())
}

/// Verifies a child at `place`, for a client at the address of all requests of these tests.
fn verify_at(world: &World, child: &str, place: &Place) -> Result<Principal, VerifyError> {
    let address = Some(CLIENT.parse().unwrap());
    block_on(world.keyring.verifier().verify_at(child, Freshness::Now, address, place))
}

const CLIENT: &str = "203.0.113.7";

/// A response as a client sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Returns the child in a response with status 200.
    fn child(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        let child = self.json()["token"].as_str().unwrap().to_owned();
        known(&child);
        child
    }

    /// Returns the status and the name of the problem type of a refusal.
    fn refusal(&self) -> (u16, String) {
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (self.status, kind.split_once('#').unwrap().1.to_owned())
    }
}

fn refusal(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[derive(Clone, Copy, Debug)]
enum Framework {
    Axum,
    Actix,
}

const FRAMEWORKS: [Framework; 2] = [Framework::Axum, Framework::Actix];

/// The endpoint behind both frameworks.
struct Endpoint {
    handle: OwnKey,
    guard: Guard,
}

impl Endpoint {
    fn of(world: &World) -> Self {
        let closed = Self::closed(world);
        let handle = closed.handle.rotatable("keys.rotate", GracePeriod::UntilFirstUse).unwrap();
        Self { handle: handle.mints_children().unwrap(), ..closed }
    }

    fn closed(world: &World) -> Self {
        let guard = Guard::new(&world.keyring).client_address(ClientAddress::socket());
        Self { handle: OwnKey::new(&world.keyring, &guard), guard }
    }

    fn mint(&self, framework: Framework, token: &str, body: &Value) -> Seen {
        let authorization = ("authorization", format!("Bearer {token}"));
        let content_type = ("content-type", "application/json".to_owned());
        let fields = [authorization, content_type];
        self.send(framework, Method::POST, "/key/children", &fields, &body.to_string())
    }

    fn ask(&self, framework: Framework, method: Method, token: &str) -> Seen {
        self.send(framework, method, "/key", &[("authorization", format!("Bearer {token}"))], "")
    }

    fn send(
        &self,
        framework: Framework,
        method: Method,
        uri: &str,
        fields: &[(&'static str, String)],
        body: &str,
    ) -> Seen {
        let peer = SocketAddr::new(CLIENT.parse().unwrap(), 80);
        let body = body.to_owned();
        match framework {
            Framework::Axum => {
                let request = Request::builder().method(method).uri(uri);
                let request = request.extension(PeerAddress(peer));
                let request = fields
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, value));
                let routes = Routes::new(self.guard.clone()).route("/key", own_key(&self.handle));
                let app: axum::Router = routes.build().unwrap();
                let response = app.oneshot(request.body(Body::from(body)).unwrap());
                let (head, body) = block_on(response).unwrap().into_parts();
                let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
                let fields = head.headers.iter();
                let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
                seen(head.status.as_u16(), fields, &body)
            }
            Framework::Actix => System::new().block_on(async {
                let routes = Routes::new(self.guard.clone());
                let routes = routes.route("/key", actix::own_key(&self.handle));
                let app = App::new().configure(routes.build().unwrap());
                let method = method.as_str().parse().unwrap();
                let request = TestRequest::with_uri(uri).method(method).peer_addr(peer);
                let request = fields.iter().fold(request, |request, (name, value)| {
                    request.append_header((*name, &**value))
                });
                let request = request.set_payload(body).to_request();
                let response = call_service(&init_service(app).await, request).await;
                let (status, headers) = (response.status(), response.headers().clone());
                let body = read_body(response).await;
                let fields = headers.iter();
                let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
                seen(status.as_u16(), fields, &body)
            }),
        }
    }
}

fn seen<'a>(status: u16, fields: impl Iterator<Item = (&'a str, &'a [u8])>, body: &[u8]) -> Seen {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let fields = fields.map(|(name, value)| (name.to_owned(), text(value)));
    let mut fields: Vec<_> = fields.filter(|(name, _)| name != "content-length").collect();
    fields.sort();
    Seen { status, fields, body: text(body) }
}

#[test]
fn route_exists_only_if_the_application_opts_in() {
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let rows = |handle: &OwnKey| {
        let of_axum = Routes::new(&world.keyring)
            .nest("/v1", Routes::new(&world.keyring).route("/key/", own_key::<()>(handle)));
        let of_actix = Routes::new(&world.keyring)
            .nest("/v1", Routes::new(&world.keyring).route("/key/", actix::own_key(handle)));
        let table = of_axum.table().unwrap().to_string();
        assert_eq!(table, of_actix.table().unwrap().to_string());
        table
    };
    let closed = Endpoint::closed(&world);
    assert!(!rows(&closed.handle).contains("children"));
    for framework in FRAMEWORKS {
        let body = json!({ "expires_in_seconds": 60 });
        assert_eq!(closed.mint(framework, &token, &body).status, 404, "{framework:?}");
    }
    let fields: &[(&str, &[u8])] = &[];
    assert_eq!(block_on(closed.handle.mint_child(fields, None, b"{}")).unwrap_err().status(), 404);

    let open = closed.handle.mints_children().unwrap();
    let table = rows(&open);
    let row = "POST    /v1/key/children  (the key itself, if it may have children)\n";
    assert!(table.contains(row), "{table}");
}

#[test]
fn policy_without_children_stops_the_start() {
    let world = World::with(policy_without_children(), |builder| builder);
    let own_key = OwnKey::new(&world.keyring, &Guard::new(&world.keyring));
    assert_eq!(own_key.mints_children().unwrap_err(), ConfigError::NoChildren);
}

#[test]
fn holder_gets_a_child_that_narrows_its_key() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", request());
        let endpoint = Endpoint::of(&world);
        let body = json!({
            "expires_in_seconds": 3600,
            "scopes": ["reporting"],
            "resources": { "machine": ["press-1"], "site": "all" },
            "networks": ["203.0.113.0/24"],
            "audience": ["route:GET /events", "host:api"],
            "nonce": "one",
        });
        let before = world.store.writes();
        let answer = endpoint.mint(framework, &token, &body);
        let child = answer.child();
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(answer.json().as_object().unwrap().len(), 2);
        assert_eq!(answer.json()["expires_at"], "2026-01-01T01:00:00Z");
        assert_eq!(world.store.writes(), before);

        let place = Place::new().host("api").route("GET /events");
        let caller = verify_at(&world, &child, &place).unwrap();
        let parent = block_on(world.keyring.verify(&token)).unwrap();
        assert_eq!(caller.key_id(), parent.key_id());
        assert_eq!(caller.child().unwrap().nonce(), Some(&b"one"[..]));
        let requirement = |scope| world.keyring.requirement([scope]).unwrap();
        assert!(caller.require(&requirement("reporting")).is_ok());
        assert!(caller.require(&requirement("machines")).is_err());
        let catalog = world.keyring.policy().catalog();
        let [machine, site] = ["machine", "site"].map(|kind| catalog.resource(kind).unwrap());
        assert_eq!(*caller.resources(&machine), Resources::only(["press-1"]).unwrap());
        assert_eq!(*caller.resources(&site), Resources::All);
        let elsewhere = verify_at(&world, &child, &Place::new().host("api"));
        let audience = OutsideGrant::Audience;
        assert!(matches!(elsewhere, Err(VerifyError::Forbidden(other)) if other == audience));
        world.clock.advance(HOUR);
        let ended = verify_at(&world, &child, &place);
        assert!(matches!(ended, Err(VerifyError::Inactive(_))), "{ended:?}");
        // The control: the key itself is wider, and lasts.
        assert!(parent.require(&requirement("machines")).is_ok());
        assert!(block_on(world.keyring.verify(&token)).is_ok());
    }
}

#[test]
fn child_without_limits_does_all_that_its_key_does() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", request());
        let body = json!({
            "expires_at": "2026-01-01T12:00:00+01:00",
            "not_before": "2026-01-01T10:00:00Z",
        });
        let answer = Endpoint::of(&world).mint(framework, &token, &body);
        assert_eq!(answer.json()["expires_at"], "2026-01-01T11:00:00Z");
        let child = answer.child();
        let early = verify_at(&world, &child, &Place::new());
        assert!(matches!(early, Err(VerifyError::Inactive(_))), "{early:?}");
        world.clock.advance(10 * HOUR);
        let caller = verify_at(&world, &child, &Place::new()).unwrap();
        let parent = block_on(world.keyring.verify(&token)).unwrap();
        assert_eq!(caller.scopes(), parent.scopes());
    }
}

#[test]
fn child_ends_with_the_key_or_secret_that_it_is_of() {
    for framework in FRAMEWORKS {
        let world = world();
        let endpoint = Endpoint::of(&world);
        let short = request().expires_at(world.after(HOUR / 2));
        let (_, short) = issue(&world, "acme", short);
        let an_hour = json!({ "expires_in_seconds": 3600 });
        let answer = endpoint.mint(framework, &short, &an_hour);
        assert_eq!(answer.json()["expires_at"], "2026-01-01T00:30:00Z");

        let (keys, old) = issue(&world, "globex", request());
        let id = block_on(world.keyring.verify(&old)).unwrap().key_id();
        let grace = GracePeriod::For(HOUR / 4);
        let new = block_on(keys.rotate(id, 1, grace)).unwrap().token.reveal_known();
        let of_old = endpoint.mint(framework, &old, &an_hour);
        let of_new = endpoint.mint(framework, &new, &an_hour);
        assert_eq!(of_old.json()["expires_at"], "2026-01-01T00:15:00Z");
        assert_eq!(of_new.json()["expires_at"], "2026-01-01T01:00:00Z");
        let is_valid = |child: &Seen| verify_at(&world, &child.child(), &Place::new()).is_ok();
        assert!(is_valid(&of_old) && is_valid(&of_new));
        world.clock.advance(HOUR / 4);
        assert!(!is_valid(&of_old) && is_valid(&of_new));
    }
}

#[test]
fn child_of_a_new_secret_is_its_first_use() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, old) = issue(&world, "acme", request());
        let endpoint = Endpoint::of(&world);
        let rotated = endpoint.ask(framework, Method::POST, &old).json();
        let new = rotated["token"].as_str().unwrap();
        let body = json!({ "expires_in_seconds": 60 });
        // The control: a child of the old secret leaves both.
        endpoint.mint(framework, &old, &body).child();
        assert!(block_on(world.keyring.verify(&old)).is_ok());
        endpoint.mint(framework, new, &body).child();
        assert!(block_on(world.keyring.verify(&old)).is_err());
        assert!(block_on(world.keyring.verify(new)).is_ok());
    }
}

#[test]
fn prefix_is_given_out_with_the_key_and_to_its_holder() {
    for framework in FRAMEWORKS {
        let world = world();
        let created = world.keyring.create_tenant_with("acme", "advanced", request());
        let (keys, issued) = block_on(created).unwrap();
        let prefix = issued.child_prefix().unwrap().to_owned();
        let token = issued.token.reveal_known();
        let endpoint = Endpoint::of(&world);
        let read = endpoint.ask(framework, Method::GET, &token).json();
        assert_eq!(read["child_prefix"], *prefix);
        // The holder makes the same child that the endpoint makes.
        let minter = ChildMinter::new(&token, &prefix).unwrap();
        let end = world.after(HOUR);
        let own = minter.mint_at(&NewChild::until(end), world.now()).unwrap().reveal_known();
        let body = json!({ "expires_at": end.to_string() });
        assert_eq!(endpoint.mint(framework, &token, &body).child(), *own);

        let second = block_on(keys.issue(request().children(false))).unwrap();
        assert_eq!(second.child_prefix(), None);
        let closed = second.token.reveal_known();
        let read = endpoint.ask(framework, Method::GET, &closed).json();
        assert!(read["child_prefix"].is_null());
        // A rotation gives it out too, and does not change it.
        let rotated = endpoint.ask(framework, Method::POST, &token).json();
        assert_eq!(rotated["child_prefix"], *prefix);
        let version = rotated["key"]["version"].as_u64().unwrap();
        let id = issued.key.id();
        let rotated = block_on(keys.rotate(id, version, GracePeriod::None)).unwrap();
        assert_eq!(rotated.child_prefix(), Some(&*prefix));
        drop(rotated);
    }
}

#[test]
fn no_text_holds_the_child_or_its_key() {
    let world = world();
    let (_, token) = issue(&world, "acme", request());
    let endpoint = Endpoint::of(&world);
    let value = format!("Bearer {token}");
    let fields: &[(&str, &[u8])] =
        &[("authorization", value.as_bytes()), ("content-type", b"application/json")];
    let mint = |body: &[u8]| block_on(endpoint.handle.mint_child(fields, None, body));
    let minted = mint(br#"{ "expires_in_seconds": 60 }"#).unwrap();
    assert_eq!(minted.status(), 200);
    let headers = format!("{:?}", minted.headers().collect::<Vec<_>>());
    let refused = mint(br#"{ "expires_in_seconds": 0 }"#).unwrap_err();
    let texts = [
        format!("{minted:?} {:?} {headers}", endpoint.handle),
        format!("{refused:?} {:?}", refused.refusal()),
        world.audit.kinds().concat(),
    ];
    let body: Value = serde_json::from_slice(&minted.into_body()).unwrap();
    let child = body["token"].as_str().unwrap();
    known(child);
    let signature = &child[child.len() - 80..];
    for text in texts {
        assert!(!gives_away(&text, &token), "{text}");
        assert!(
            !signature
                .as_bytes()
                .windows(8)
                .any(|part| { text.contains(std::str::from_utf8(part).unwrap()) })
        );
    }
    assert!(body.to_string().contains(signature));
    assert!(!gives_away(&body.to_string(), &token));
}

#[test]
fn times_of_a_body_may_be_as_far_as_the_policy_allows() {
    for framework in FRAMEWORKS {
        let world = world();
        let (_, token) = issue(&world, "acme", request());
        let endpoint = Endpoint::of(&world);
        let seconds = DAY.as_secs();
        let longest = endpoint.mint(framework, &token, &json!({ "expires_in_seconds": seconds }));
        assert!(verify_at(&world, &longest.child(), &Place::new()).is_ok());
        let end = |end: keyway::Timestamp| json!({ "expires_at": end.to_string() });
        let soonest = Duration::from_millis(1);
        endpoint.mint(framework, &token, &end(world.after(soonest))).child();
        for (body, field) in [
            (json!({ "expires_in_seconds": seconds + 1 }), "expires_in_seconds"),
            (json!({ "expires_in_seconds": 0 }), "expires_in_seconds"),
            (json!({ "expires_in_seconds": 9_007_199_254_740_991_u64 }), "expires_in_seconds"),
            (end(world.after(DAY + soonest)), "expires_at"),
            (end(world.now()), "expires_at"),
            (json!({ "expires_at": "2025-12-31T23:59:59Z" }), "expires_at"),
        ] {
            let answer = endpoint.mint(framework, &token, &body);
            assert_eq!(answer.refusal(), refusal(422, "invalid-field"), "{body}");
            assert_eq!(answer.json()["field"], field, "{body}");
        }
        let answer = endpoint.mint(framework, &token, &json!({ "expires_in_seconds": 0 }));
        assert_eq!(answer.json()["latest"], "2026-01-02T00:00:00Z");
    }
}
