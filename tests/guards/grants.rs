//! Keys that are limited to resources and networks, over sockets and without.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use actix_web::{App, HttpServer, rt::System, web::ServiceConfig};
use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{Request, Response},
    routing,
};
use keyway::{
    ConfigError, GracePeriod, Guard, ImportedKey, KeyEdit, Keyring, NewKey, Policy, Principal,
    TenantKeys, Tier,
    grant::{Networks, ResourceDeclaration, ResourceKind, Resources},
    http::{ClientAddress, PeerAddress, Routes},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    rate::Rate,
    verifier::Freshness,
};
use sha2::{Digest, Sha256};
use tower::{Layer, ServiceExt};

use crate::support::{World, block_on, catalog, overheard::RevealKnown as _};

// Declarations.

type Endpoint = keyway::http::Endpoint<()>;

/// Returns a policy with the kinds `machine` and `site`. Tier `rated` permits 3 requests a minute.
fn policy() -> Policy {
    let kinds = ["machine", "site"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let catalog = catalog().with_resources(kinds).unwrap();
    let rate = Rate { requests: 3, per_seconds: 60 };
    let tiers = [Tier::new("rated", 50).rate(rate), Tier::new("advanced", 50)];
    Policy::new("mm", catalog, tiers).unwrap()
}

fn node() -> World {
    World::with(policy(), |builder| builder.accept_imported(opaque()))
}

fn get() -> Endpoint {
    Endpoint::new("GET", ()).require(["reporting"])
}

/// Adds statements: `kind=parameter`, `kind?` if the handler checks, and `kind-` for none.
fn say(endpoint: Endpoint, statements: &str) -> Endpoint {
    statements.split(' ').fold(endpoint, |endpoint, word| {
        let (kind, rule) = word.split_at(word.find(['=', '?', '-']).unwrap());
        match rule.split_at(1) {
            ("=", parameter) => endpoint.resource(kind, parameter),
            ("?", _) => endpoint.handler_checks(kind),
            _ => endpoint.touches_no(kind),
        }
    })
}

fn fault(world: &World, path: &str, endpoint: Endpoint) -> Option<ConfigError> {
    Routes::new(&world.keyring).route(path, endpoint).table().err()
}

fn unstated(places: &[&str]) -> ConfigError {
    ConfigError::UndeclaredResources(places.iter().map(|place| (*place).into()).collect())
}

#[test]
fn complete_statements_on_all_kinds_are_right() {
    let world = node();
    let bare = || Endpoint::new("GET", ());
    for (path, endpoint) in [
        ("/x/{id}", say(get(), "machine=id site-")),
        ("/x/{id}", say(get(), "site- machine=id")),
        ("/x", say(get(), "machine? site?")),
        ("/x/{a}/{b}", say(get(), "machine=a site=b")),
        ("/x/{a}", say(get(), "machine=a site=a")),
        ("/x/{a}/{b}", say(get(), "machine=a machine=b site-")),
        (r"/x/{id:\d+}", say(get(), "machine=id site-")),
        ("/x/{*rest}", say(get(), "machine=rest site-")),
        ("/x/{id}.json", say(get(), "machine=id site-")),
        ("/x", say(get(), "machine- site-").optional()),
        ("/x", say(get().optional(), "machine- site?")),
        ("/x", say(get().or("cookie"), "machine- site-")),
        ("/x", bare().public()),
        ("/x", bare().custom_auth("cookie")),
        ("/x", say(get(), "machine- site-").and("POST", ()).public()),
        ("/x", say(bare().and("POST", ()).any_key(), "machine- site-")),
        ("/x", say(bare().public().and("PUT", ()).any_key(), "machine- site-")),
    ] {
        assert_eq!(fault(&world, path, endpoint), None, "{path}");
    }
    // Without declared kinds nothing is needed.
    assert_eq!(fault(&World::new(), "/x", get()), None);
}

#[test]
fn missing_statement_names_method_path_and_kind() {
    let world = node();
    let both = ["GET /x (machine)", "GET /x (site)"];
    let any = |method| Endpoint::new(method, ()).any_key();
    for (endpoint, expected) in [
        (get(), &both[..]),
        (get().optional(), &both),
        (get().or("cookie"), &both),
        (say(get(), "machine-"), &both[1..]),
        (say(get().optional(), "machine?"), &both[1..]),
        (say(get(), "site?"), &both[..1]),
        (say(any("*"), "site-"), &["* /x (machine)"]),
        (
            say(get(), "machine- site-").and("PUT", ()).any_key(),
            &["PUT /x (machine)", "PUT /x (site)"],
        ),
        (say(get().and("PUT", ()).any_key(), "machine- site-"), &both),
    ] {
        assert_eq!(fault(&world, "/x", endpoint), Some(unstated(expected)));
    }
    let undeclared = ConfigError::UndeclaredRoutes(vec!["PUT /x".into()]);
    assert_eq!(fault(&world, "/x", get().and("PUT", ())), Some(undeclared));
    let inner = Routes::new(&world.keyring).route("/x", say(get(), "site-"));
    let outer = Routes::new(&world.keyring).nest("/v1", inner).route("/y", get());
    let places = ["GET /v1/x (machine)", "GET /y (machine)", "GET /y (site)"];
    assert_eq!(outer.table().err(), Some(unstated(&places)));
}

#[test]
fn contradictory_or_misplaced_statement_is_an_error() {
    let world = node();
    let bare = || Endpoint::new("GET", ());
    for endpoint in [
        say(get(), "machine- machine=id"),
        say(get(), "machine=id machine-"),
        say(get(), "machine=id machine?"),
        say(get(), "machine? machine-"),
        say(get(), "machine- machine-"),
        say(get(), "machine? machine?"),
        say(get(), "machine=id machine=id"),
        say(bare(), "machine-"),
        say(bare(), "machine- site-").any_key(),
        say(bare(), "machine-").public(),
        say(bare().public(), "machine-"),
        say(bare().custom_auth("cookie"), "machine?"),
        say(get().and("PUT", ()), "machine-").any_key(),
        say(get().and("PUT", ()).public(), "machine- site-"),
    ] {
        let expected = ConfigError::ContradictoryResources("/x/{id}".into());
        assert_eq!(fault(&world, "/x/{id}", endpoint), Some(expected));
    }
}

#[test]
fn table_shows_resources_and_weights() {
    let world = node();
    let rename = say(get(), "machine=from machine=to site-");
    let table = Routes::new(&world.keyring)
        .route("/x/{from}/{to}", rename.weight(5))
        .route("/x", say(get(), "machine? site-"))
        .table()
        .unwrap();
    let text = "\
GET     /x/{from}/{to}  reporting, on machine {from}, on machine {to}, counts 5
GET     /x              reporting, on machine as the handler checks
";
    assert_eq!(table.to_string(), text);
    assert_eq!(table.rows().map(keyway::http::RouteEntry::weight).collect::<Vec<_>>(), [5, 1]);
}

#[test]
fn weight_that_is_misplaced_or_zero_is_an_error() {
    let world = node();
    let stated = || say(get(), "machine- site-");
    for endpoint in [
        stated().weight(0),
        stated().weight(2).weight(3),
        Endpoint::new("GET", ()).weight(2),
        Endpoint::new("GET", ()).public().weight(2),
        stated().and("POST", ()).weight(2),
    ] {
        assert_eq!(fault(&world, "/x", endpoint), Some(ConfigError::Weight("/x".into())));
    }
}

#[test]
fn unknown_kind_or_parameter_is_named() {
    for (world, kind) in [(node(), "plant"), (World::new(), "machine")] {
        let place = "the resources of GET /x".into();
        let cause = ConfigError::UnknownResource(kind.into());
        assert_eq!(Guard::new(&world.keyring).resource(kind, "id").unwrap_err(), cause);
        let expected = ConfigError::In { place, cause: Box::new(cause) };
        assert_eq!(fault(&world, "/x", get().touches_no(kind)), Some(expected));
    }
    let world = node();
    for (path, parameter) in [
        ("/x", "id"),
        ("/x/{id2}", "id"),
        ("/x/{machine_id}", "id"),
        ("/x/{ID}", "id"),
        ("/x/{id}", ""),
        ("/x/{id}", "{id}"),
        ("/x/id", "id"),
        ("/x/{*rest}", "*rest"),
    ] {
        let endpoint = get().resource("machine", parameter).touches_no("site");
        let (place, parameter) = (format!("GET {path}"), parameter.into());
        let expected = ConfigError::NoParameter { place, parameter };
        assert_eq!(fault(&world, path, endpoint), Some(expected));
    }
}

#[test]
fn text_that_is_no_parameter_is_named() {
    let world = node();
    // with its pattern for parameters. Such a route refuses all limited keys.
    for (path, parameter) in [("/x/{{id}}", "id"), (r"/x/{id:\d+}", r"id:\d+")] {
        let endpoint = get().resource("machine", parameter).touches_no("site");
        let error = fault(&world, path, endpoint);
        assert!(matches!(error, Some(ConfigError::NoParameter { .. })), "{path}: {error:?}");
    }
}

// Requests.

/// A server on a socket. It stops when it is dropped.
struct Server {
    address: SocketAddr,
    stop: Option<Box<dyn FnOnce()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take().unwrap()();
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve_axum(router: Router) -> Server {
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await.unwrap();
    });
    Server { address, stop: Some(Box::new(move || runtime.shutdown_background())) }
}

fn serve_actix(configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) -> Server {
    let (listener, address) = listen();
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        System::new().block_on(async {
            let server = HttpServer::new(move || App::new().configure(configure.clone()));
            let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
            sender.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let handle = receiver.recv().unwrap();
    let stop = move || {
        block_on(handle.stop(false));
        server.join().unwrap();
    };
    Server { address, stop: Some(Box::new(stop)) }
}

/// A response, without the headers that depend on the server only.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    fields: Vec<String>,
    body: String,
}

impl Seen {
    /// Returns the type and the resource of the problem in the body.
    fn problem(&self) -> (String, Option<String>) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let (_, name) = body["type"].as_str().unwrap().rsplit_once('#').unwrap();
        (name.into(), body["resource"].as_str().map(Into::into))
    }

    /// Returns the status, with the problem of a refusal.
    fn short(&self) -> String {
        match (self.status, (self.status == 403).then(|| self.problem())) {
            (status, None) => status.to_string(),
            (_, Some((name, resource))) => format!("{name} {}", resource.unwrap_or_default()),
        }
    }
}

/// Sends a request as it is written. `line` is its method and target.
fn ask(server: &Server, line: &str, token: &str, fields: &[&str], body: &str) -> Seen {
    let length = format!("content-length: {}", body.len());
    let mut head = vec![format!("{line} HTTP/1.1"), "host: localhost".into(), length];
    head.push("connection: close".into());
    if !token.is_empty() {
        head.push(format!("authorization: Bearer {token}"));
    }
    head.extend(fields.iter().map(|field| (*field).into()));
    let request = format!("{}\r\n\r\n{body}", head.join("\r\n"));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap();
    let fields = fields.split("\r\n").map(str::to_ascii_lowercase);
    let is_own = |field: &String| {
        ["date:", "connection:", "content-length:"].iter().all(|name| !field.starts_with(name))
    };
    let mut fields: Vec<String> = fields.filter(is_own).collect();
    fields.sort();
    Seen { status: status[9..12].parse().unwrap(), fields, body: body.into() }
}

/// Returns the machines of a list, as far as the caller may touch them.
fn list(caller: &Principal, machine: &ResourceKind) -> String {
    let resources = caller.resources(machine);
    let all = ["press-1", "press-2", "press-3"];
    all.into_iter().filter(|id| resources.contains(id)).collect::<Vec<_>>().join(" ")
}

/// Checks an id that only the handler knows, and refuses as the guard does.
fn create(
    guard: &Guard,
    caller: &Principal,
    machine: &ResourceKind,
    id: String,
) -> Result<String, keyway::http::Response> {
    let required = policy().catalog().require_none();
    let permitted = caller.permit(&required, machine, &id);
    permitted.map(|()| id).map_err(|outside| guard.refuse(caller, outside))
}

/// Builds the same routes for either framework. Their handlers return the ids that they get.
macro_rules! routes {
    ($guard:expr, $framework:ident, $($path:ident)::+) => {{
        use keyway::http::$framework::{any, get, post};
        use $($path)::+ as Path;
        let machine = policy().catalog().resource("machine").unwrap();
        let kind = machine.clone();
        let guard: Guard = $guard;
        let refusing = guard.clone();
        let list = move |caller: Principal| std::future::ready(list(&caller, &machine));
        let create = move |caller: Principal, id: String| {
            std::future::ready(create(&refusing, &caller, &kind, id))
        };
        let two = async |ids: Path<(String, String)>| {
            let (from, to): &(String, String) = &ids;
            format!("{from} {to}")
        };
        let one = async |id: Path<String>| String::clone(&id);
        let id = get(one).require(["reporting"]).resource("machine", "id").touches_no("site");
        let rename = post(two).any_key().resource("machine", "id").resource("machine", "to");
        let many = get(list).post(create).any_key();
        Routes::new(guard)
            .route("/machines", many.handler_checks("machine").touches_no("site"))
            .route("/machines/{id}", id)
            .route("/machines/{id}/rename/{to}", rename.touches_no("site"))
            .route("/any/{id}", any(one).any_key().touches_no("site").resource("machine", "id"))
            .route("/maybe/{id}", get(one).optional().resource("machine", "id").touches_no("site"))
            .route("/sites/{id}", get(one).any_key().touches_no("machine").resource("site", "id"))
            .route("/free", get(async || "free").any_key().touches_no("machine").touches_no("site"))
            .build()
            .unwrap()
    }};
}

/// Serves the routes in axum and actix-web, each by a node of its own that has read no key yet.
fn serve(
    world: &World,
    change: impl Fn(Guard) -> Guard,
    outer: impl Fn(&Keyring) -> Option<Guard>,
) -> [(World, Server); 2] {
    let node = || world.another_node_with(policy(), |builder| builder.accept_imported(opaque()));
    let (one, other) = (node(), node());
    let guard = |node: &World| change(Guard::new(&node.keyring));
    let mut router: Router = routes!(guard(&one), axum, axum::extract::Path);
    if let Some(outer) = outer(&one.keyring) {
        router = router.layer(outer);
    }
    let of_axum = serve_axum(router);
    let configure = routes!(guard(&other), actix, actix_web::web::Path);
    let of_actix = match outer(&other.keyring) {
        None => serve_actix(configure),
        Some(outer) => serve_actix(move |config: &mut ServiceConfig| {
            let scope = actix_web::web::scope("").configure(configure.clone());
            config.service(scope.wrap(outer.clone()));
        }),
    };
    [(one, of_axum), (other, of_actix)]
}

fn world() -> (World, TenantKeys) {
    let world = node();
    let keys = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    (world, keys)
}

fn request() -> NewKey {
    NewKey::named("a key").scopes(["reporting"])
}

fn unlimited() -> NewKey {
    request().resources("machine", Resources::All).resources("site", Resources::All)
}

fn presses() -> NewKey {
    request().resources("machine", Resources::only(["press-1", "press-2"]).unwrap())
}

fn limited_to(network: &str) -> NewKey {
    unlimited().networks(Networks::only([network]).unwrap())
}

fn issue(keys: &TenantKeys, request: NewKey) -> String {
    block_on(keys.issue(request)).unwrap().token.reveal_known().to_string()
}

const MACHINE: &str = "other-resource machine";
const SITE: &str = "other-resource site";

/// Requests, with the responses to keys of two machines, of nothing, of all machines and of all.
const ROWS: &[(&str, &str, [&str; 4])] = &[
    ("GET /machines/press-1", "", ["200", MACHINE, "200", "200"]),
    ("GET /machines/press-2", "", ["200", MACHINE, "200", "200"]),
    ("HEAD /free", "", ["200", "200", "200", "200"]),
    ("GET /machines/press-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press%2D1", "", ["200", MACHINE, "200", "200"]),
    ("GET /machines/%70ress-%31", "", ["200", MACHINE, "200", "200"]),
    ("GET /machines/press-1?id=press-3", "", ["200", MACHINE, "200", "200"]),
    ("GET /machines/press-3?id=press-1", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET http://localhost/machines/press-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%2F..", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%2f..%2fpress-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/..%2Fmachines%2Fpress-1", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/PRESS-1", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%00", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%20", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%3F", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1%2B", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1;x", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1,press-2", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press%252D1", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press%2D%EF%BC%91", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines/press-1/../press-3", "", ["404", "404", "404", "404"]),
    ("GET /machines/", "", ["404", "404", "404", "404"]),
    ("GET /Machines/press-1", "", ["404", "404", "404", "404"]),
    ("PUT /any/press-1", "", ["200", MACHINE, "200", "200"]),
    ("PROPFIND /any/press-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /maybe/press-1", "", ["200", MACHINE, "200", "200"]),
    ("GET /maybe/press-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("POST /machines/press-1/rename/press-2", "", ["200", MACHINE, "200", "200"]),
    ("POST /machines/press-1/rename/press-3", "", [MACHINE, MACHINE, "200", "200"]),
    ("POST /machines/press-3/rename/press-1", "", [MACHINE, MACHINE, "200", "200"]),
    ("GET /machines", "", ["200", "200", "200", "200"]),
    ("POST /machines", "press-1", ["200", MACHINE, "200", "200"]),
    ("POST /machines", "press-3", [MACHINE, MACHINE, "200", "200"]),
    ("GET /sites/press-1", "", [SITE, SITE, SITE, "200"]),
    ("GET /free", "", ["200", "200", "200", "200"]),
];

/// Requests whose paths are no valid text, or are decoded differently by the frameworks.
const ODD: &[&str] = &[
    "press-1%FF",
    "press%FF1",
    "press-1%",
    "press-1%2",
    "press%%32D1",
    "press%%2D1",
    "press-%%331",
    "press-%2531",
    "press-3%C0%AF",
    "%c0%ae%c0%ae",
];

/// Asks both frameworks for all rows, and compares their responses and events.
// not support. So its guards find no parameter, and refuse limited keys their own ids.
fn check_rows(
    change: impl Fn(Guard) -> Guard + Copy,
    outer: impl Fn(&Keyring) -> Option<Guard> + Copy,
) {
    let (world, keys) = world();
    let all = request().resources("machine", Resources::All);
    let tokens = [presses(), request(), all, unlimited()].map(|request| issue(&keys, request));
    let servers = serve(&world, change, outer);
    for (line, body, expected) in ROWS {
        for (token, expected) in tokens.iter().zip(expected) {
            let seen = servers.each_ref().map(|(node, server)| {
                let seen = ask(server, line, token, &[], body);
                let events = node.audit.take_kinds();
                assert_eq!(events.len(), usize::from(seen.status == 403), "{line}: {events:?}");
                assert!(events.iter().all(|event| event.starts_with("OtherResource { kind: ")));
                seen
            });
            assert_eq!(seen[0], seen[1], "axum and actix-web differ at {line}");
            assert_eq!(seen[0].short(), *expected, "{line}");
        }
    }
    let own = ["press-1", "press-2"];
    let odd = ODD.iter().map(|id| format!("GET /machines/{id}"));
    let rows = ROWS.iter().map(|(line, ..)| (*line).to_owned()).chain(odd);
    for line in rows.filter(|line| line.starts_with("GET ") && line.contains("machines/")) {
        for (_, server) in &servers {
            let seen = ask(server, &line, &tokens[0], &[], "");
            assert!(seen.status != 200 || own.contains(&&*seen.body), "{line}: {seen:?}");
            assert!(matches!(seen.status, 200 | 403 | 404), "{line}: {seen:?}");
        }
    }
    for (_, server) in &servers {
        let body = |line, token: &String, body| ask(server, line, token, &[], body).body;
        let lists = tokens.each_ref().map(|token| body("GET /machines", token, ""));
        let whole = "press-1 press-2 press-3";
        assert_eq!(lists, ["press-1 press-2", "", whole, whole]);
        // A refusal by the handler is that of the guard.
        let by_handler = ask(server, "POST /machines", &tokens[0], &[], "press-3");
        assert_eq!(by_handler, ask(server, "GET /machines/press-3", &tokens[0], &[], ""));
    }
}

fn unchanged(guard: Guard) -> Guard {
    guard
}

fn none(_: &Keyring) -> Option<Guard> {
    None
}

#[test]
fn limited_key_reaches_own_ids_in_both_frameworks() {
    check_rows(unchanged, none);
}

#[test]
fn limited_key_reaches_own_ids_if_keys_are_read_anew() {
    check_rows(|guard| guard.freshness(Freshness::Now), none);
}

#[test]
fn inner_guard_checks_resources_of_the_outer_caller() {
    check_rows(unchanged, |keyring| {
        let outer = Guard::new(keyring).touches_no("machine").unwrap();
        Some(outer.touches_no("site").unwrap())
    });
    check_rows(unchanged, |keyring| {
        let outer = Guard::new(keyring).handler_checks("machine").unwrap();
        Some(outer.handler_checks("site").unwrap().keep_credential())
    });
}

#[test]
fn optional_guard_admits_any_id_without_a_key_only() {
    let (world, keys) = world();
    let token = issue(&keys, presses());
    for (_, server) in serve(&world, unchanged, none) {
        let short = |id: &str, token: &str| {
            ask(&server, &format!("GET /maybe/{id}"), token, &[], "").short()
        };
        assert_eq!(short("press-3", ""), "200");
        assert_eq!(short("press-3", &token), MACHINE);
        assert_eq!(short("press-1", &token), "200");
    }
}

#[test]
fn guard_that_says_nothing_admits_keys_of_all_resources() {
    let (world, keys) = world();
    let sites = request().resources("site", Resources::All);
    let all = request().resources("machine", Resources::All);
    let rows = [
        (presses(), MACHINE),
        (request(), MACHINE),
        (sites, MACHINE),
        (all, SITE),
        (unlimited(), "200"),
        (limited_to("127.0.0.0/8"), "other-network "),
    ];
    let servers = serve(&world, unchanged, |keyring| keyring.require(["reporting"]).ok());
    for (request, expected) in rows {
        let token = issue(&keys, request);
        for (_, server) in &servers {
            assert_eq!(ask(server, "GET /free", &token, &[], "").short(), expected);
        }
    }
}

/// Returns the response of a router, or of a service of tower, in short.
fn short<B>(
    service: impl tower::Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    path: &str,
    token: &str,
    peer: Option<&str>,
) -> String
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    let mut request = request.body(Body::empty()).unwrap();
    if let Some(peer) = peer {
        request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
    }
    let response = block_on(service.oneshot(request)).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(Body::new(response.into_body()), 10_000)).unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Seen { status, fields: Vec::new(), body }.short()
}

#[test]
fn layers_of_existing_routers_check_what_they_see() {
    let (world, keys) = world();
    let (own, all) = (issue(&keys, presses()), issue(&keys, unlimited()));
    let guard = Guard::new(&world.keyring).touches_no("site").unwrap();
    let guard = guard.resource("machine", "id").unwrap();
    let one = async |id: axum::extract::RawPathParams| format!("{:?}", id.iter().last());
    let route = |path: &str| Router::new().route(path, routing::get(one));
    let layered = |path: &str| Router::new().route(path, routing::get(one).layer(guard.clone()));
    let service = |router: Router| guard.layer(router);
    let ask = |router: Router, path| [&own, &all].map(|key| short(router.clone(), path, key, None));
    assert_eq!(ask(layered("/m/{id}"), "/m/press-1"), ["200", "200"]);
    assert_eq!(ask(layered("/m/{id}"), "/m/press-3"), [MACHINE, "200"]);
    assert_eq!(ask(layered("/m/{other}"), "/m/press-1"), [MACHINE, "200"]);
    assert_eq!(ask(layered("/m/{*id}"), "/m/press-1/press-3"), [MACHINE, "200"]);
    let nested = || Router::new().nest("/{id}", layered("/m/{machine}"));
    assert_eq!(ask(nested(), "/press-1/m/press-3"), ["200", "200"]);
    // `Router::layer` wraps each route, so it sees parameters. A layer around the service does not.
    assert_eq!(ask(route("/m/{id}").layer(guard.clone()), "/m/press-3"), [MACHINE, "200"]);
    assert_eq!(ask(route("/m/{id}").layer(guard.clone()), "/none"), [MACHINE, "404"]);
    for id in ["press-1", "press-3"] {
        let path = format!("/m/{id}");
        assert_eq!(short(service(route("/m/{id}")), &path, &own, None), MACHINE);
        assert_eq!(short(service(route("/m/{id}")), &path, &all, None), "200");
    }
}

#[test]
fn two_parameters_of_one_name_are_no_id() {
    let (world, keys) = world();
    let token = issue(&keys, presses());
    let inner: Router = routes!(Guard::new(&world.keyring), axum, axum::extract::Path);
    let inner = Router::new().nest("/{id}", inner);
    let configure = routes!(Guard::new(&world.keyring), actix, actix_web::web::Path);
    let nested = move |config: &mut ServiceConfig| {
        config.service(actix_web::web::scope("/{id}").configure(configure.clone()));
    };
    for server in [serve_axum(inner), serve_actix(nested)] {
        for path in
            ["/press-1/machines/press-3", "/press-3/machines/press-1", "/press-1/any/press-1"]
        {
            let seen = ask(&server, &format!("GET {path}"), &token, &[], "");
            assert_eq!(seen.short(), MACHINE, "{path}");
        }
    }
}

/// Returns the response of a guard without a framework, in short.
fn admit(guard: &Guard, token: &str, peer: &str, id: &[(&str, &str)]) -> String {
    let value = format!("Bearer {token}");
    let headers = [("authorization", value.as_bytes())];
    let peer: Option<IpAddr> = (!peer.is_empty()).then(|| peer.parse().unwrap());
    match block_on(guard.admit_request(&headers[..], peer, id)) {
        Ok(_) => "200".into(),
        Err(answer) => {
            let limits = answer.headers().filter(|(name, _)| name.starts_with("ratelimit"));
            assert_eq!(limits.count() == 0, answer.status() == 403);
            Seen { status: answer.status(), fields: Vec::new(), body: answer.body().into() }.short()
        }
    }
}

fn machine_guard(keyring: &Keyring) -> Guard {
    let guard = Guard::new(keyring).touches_no("site").unwrap();
    guard.resource("machine", "id").unwrap()
}

#[test]
fn guard_without_framework_decides_on_given_values() {
    let (world, keys) = world();
    let token = issue(&keys, presses());
    let guard = machine_guard(&world.keyring);
    for (parameters, expected) in [
        (&[("id", "press-1")][..], "200"),
        (&[("id", "press-3")], MACHINE),
        (&[("id", "press%2D1")], MACHINE),
        (&[("id", "")], MACHINE),
        (&[("ID", "press-1")], MACHINE),
        (&[("id", "press-1"), ("other", "press-3")], "200"),
        (&[("id", "press-1"), ("id", "press-1")], MACHINE),
        (&[], MACHINE),
    ] {
        assert_eq!(admit(&guard, &token, "", parameters), expected, "{parameters:?}");
    }
    let both = guard.resource("machine", "to").unwrap();
    for (to, expected) in [("press-2", "200"), ("press-3", MACHINE)] {
        assert_eq!(admit(&both, &token, "", &[("id", "press-1"), ("to", to)]), expected);
    }
    let value = format!("Bearer {token}");
    let headers = [("authorization", value.as_bytes())];
    assert_eq!(block_on(guard.admit(&headers[..])).unwrap_err().status(), 403);
}

// Networks.

#[test]
fn network_of_the_socket_is_compared() {
    let (world, keys) = world();
    let local = issue(&keys, limited_to("127.0.0.0/8"));
    let far = issue(&keys, limited_to("192.0.2.0/24"));
    let free = issue(&keys, unlimited());
    let other = "other-network ";
    let forged = &["x-forwarded-for: 192.0.2.7", "forwarded: for=192.0.2.7"][..];
    let with = |guard: Guard| guard.client_address(ClientAddress::socket());
    for fields in [&[], forged] {
        for (_, server) in serve(&world, with, none) {
            let short = |token: &str| ask(&server, "GET /free", token, fields, "").short();
            assert_eq!([&local, &far, &free].map(|token| short(token)), ["200", other, "200"]);
        }
        for (node, server) in serve(&world, unchanged, none) {
            let short = |token: &str| ask(&server, "GET /free", token, fields, "").short();
            assert_eq!([&local, &far, &free].map(|token| short(token)), [other, other, "200"]);
            assert_eq!(node.audit.take_kinds(), ["OtherNetwork"; 2]);
        }
    }
    let ok = || Router::new().route("/", routing::get(async || "ok"));
    let guard = with(Guard::new(&world.keyring));
    let service = guard.layer(ok());
    for (peer, expected) in [
        (None, [other, other, "200"]),
        (Some("127.0.0.1:80"), ["200", other, "200"]),
        (Some("192.0.2.9:80"), [other, "200", "200"]),
        (Some("[::ffff:192.0.2.9]:80"), [other, "200", "200"]),
    ] {
        let short = |token: &String| short(service.clone(), "/", token, peer);
        assert_eq!([&local, &far, &free].map(short), expected, "{peer:?}");
    }
}

#[test]
fn forwarded_address_is_read_from_right_to_left() {
    let (world, keys) = world();
    let local = issue(&keys, limited_to("127.0.0.0/8"));
    let far = issue(&keys, limited_to("192.0.2.0/24"));
    let free = issue(&keys, unlimited());
    let other = "other-network ";
    let behind = ClientAddress::x_forwarded_for(["127.0.0.1"]).unwrap();
    let servers = serve(&world, |guard| guard.client_address(behind.clone()), none);
    for (lines, expected) in [
        (&["192.0.2.7"][..], [other, "200"]),
        (&["127.0.0.5, 192.0.2.7"], [other, "200"]),
        (&["192.0.2.7, 198.51.100.1"], [other, other]),
        (&["192.0.2.7, 127.0.0.5"], ["200", other]),
        (&["192.0.2.7, 127.0.0.1"], [other, "200"]),
        (&["192.0.2.7", "198.51.100.1"], [other, other]),
        (&["198.51.100.1", "192.0.2.7"], [other, "200"]),
        (&["192.0.2.7", "127.0.0.1"], [other, "200"]),
        (&["127.0.0.1"], ["200", other]),
        (&["192.0.2.7, unknown"], [other, other]),
        (&["192.0.2.7,"], [other, other]),
        (&["nonsense"], [other, other]),
        (&[""], [other, other]),
        (&[], [other, other]),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| format!("X-Forwarded-For: {line}")).collect();
        let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
        for (node, server) in &servers {
            let short = |token: &String| ask(server, "GET /free", token, &lines, "").short();
            assert_eq!([&local, &far].map(short), expected, "{lines:?}");
            let events = expected.iter().filter(|expected| **expected == other).count();
            assert_eq!(node.audit.take_kinds(), vec!["OtherNetwork"; events], "{lines:?}");
            assert_eq!(short(&free), "200", "{lines:?}");
        }
    }
}

// Keys that change, and what is counted.

const OPAQUE: &str = "q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";

fn opaque() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

#[test]
fn limits_of_edited_keys_hold_on_each_node() {
    let (world, keys) = world();
    let issued = block_on(keys.issue(presses())).unwrap();
    let token = issued.token.reveal_known().to_string();
    let node = world.another_node_with(policy(), |builder| builder);
    let cached = [&world, &node].map(|world| machine_guard(&world.keyring));
    let shorts =
        |guard: &Guard| ["press-1", "press-3"].map(|id| admit(guard, &token, "", &[("id", id)]));
    for guard in cached.iter().chain(&cached) {
        assert_eq!(shorts(guard), ["200", MACHINE]);
    }
    let edit = KeyEdit::new().resources("machine", Resources::only(["press-3"]).unwrap());
    let edited = block_on(keys.edit(issued.key.id(), issued.key.version(), edit)).unwrap();
    assert_eq!(shorts(&cached[0]), [MACHINE, "200"]);
    assert_eq!(shorts(&cached[1].freshness(Freshness::Now)), [MACHINE, "200"]);
    let edit = KeyEdit::new().networks(Networks::only(["192.0.2.0/24"]).unwrap());
    block_on(keys.edit(edited.id(), edited.version(), edit)).unwrap();
    assert_eq!(shorts(&cached[0]), ["other-network ", "other-network "]);
}

#[test]
fn rotated_and_imported_keys_keep_their_limits() {
    let (world, keys) = world();
    let request = presses().networks(Networks::only(["192.0.2.0/24"]).unwrap());
    let issued = block_on(keys.issue(request.clone())).unwrap();
    let (old, key) = (issued.token.reveal_known().to_string(), issued.key);
    let rotated = block_on(keys.rotate(key.id(), key.version(), GracePeriod::default())).unwrap();
    let new = rotated.token.reveal_known().to_string();
    let digest = ForeignDigest::from_bytes(&Sha256::digest(OPAQUE)).unwrap();
    let import = ImportedKey::new(&opaque(), digest, request).unwrap();
    block_on(keys.import(import)).unwrap();
    for token in [&*old, &*new, OPAQUE] {
        let node = world.another_node_with(policy(), |builder| builder.accept_imported(opaque()));
        let guard = machine_guard(&node.keyring).client_address(ClientAddress::socket());
        for guard in [&guard.freshness(Freshness::Now), &guard, &guard.optional()] {
            for (peer, id, expected) in [
                ("192.0.2.7", "press-3", MACHINE),
                ("198.51.100.7", "press-1", "other-network "),
                ("", "press-1", "other-network "),
                ("192.0.2.7", "press-1", "200"),
            ] {
                // The second time, the key is cached.
                for _ in 0..2 {
                    _ = node.audit.take_kinds();
                    assert_eq!(admit(guard, token, peer, &[("id", id)]), expected, "{token}");
                    let kinds = node.audit.take_kinds();
                    let refusals = kinds.iter().filter(|kind| kind.starts_with("Other")).count();
                    assert_eq!(refusals, usize::from(expected != "200"), "{kinds:?}");
                }
            }
        }
    }
}

#[test]
fn each_refusal_is_one_event_with_tenant_and_key() {
    let (world, keys) = world();
    let request = presses().networks(Networks::only(["192.0.2.0/24"]).unwrap());
    let issued = block_on(keys.issue(request)).unwrap();
    let token = issued.token.reveal_known().to_string();
    let node = world.another_node_with(policy(), |builder| builder);
    let guard = machine_guard(&node.keyring).client_address(ClientAddress::socket());
    for (peer, kind) in [
        ("192.0.2.7", "OtherResource { kind: \"machine\" }"),
        ("198.51.100.7", "OtherNetwork"),
        ("192.0.2.7", "OtherResource { kind: \"machine\" }"),
        ("", "OtherNetwork"),
    ] {
        let before = node.audit.events().len();
        assert_ne!(admit(&guard, &token, peer, &[("id", "press-3")]), "200");
        let events = node.audit.events().split_off(before);
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&*event.kind, event.tenant.as_deref()), (kind, Some("acme")));
        assert_eq!(event.key, Some(issued.key.id().to_string()));
    }
}

#[test]
fn refusal_for_a_limit_takes_nothing_from_the_rate() {
    let world = node();
    let keys = block_on(world.keyring.create_empty_tenant("acme", "rated")).unwrap();
    let token = issue(&keys, presses().networks(Networks::only(["192.0.2.0/24"]).unwrap()));
    let guard = machine_guard(&world.keyring).client_address(ClientAddress::socket());
    let ask = |peer, id| admit(&guard, &token, peer, &[("id", id)]);
    for _ in 0..10 {
        assert_eq!(ask("192.0.2.7", "press-3"), MACHINE);
        assert_eq!(ask("198.51.100.7", "press-1"), "other-network ");
    }
    let statuses = [(); 4].map(|()| ask("192.0.2.7", "press-1"));
    assert_eq!(statuses, ["200", "200", "200", "429"]);
    // A limit is reported before an exceeded rate.
    assert_eq!(ask("192.0.2.7", "press-3"), MACHINE);
}
