//! The endpoint that a gateway asks: the table of requests that try to pass for others, without a framework, on
//! axum and on actix-web, and the paths that servers of any kind read.

#[path = "../../examples/gateway/src/rows.rs"]
mod rows;

use actix_web::{
    App,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
};
use axum::body::{Body, to_bytes};
use http::Request;
use keyway::{
    ConfigError, Guard, NewKey, Policy, Tier,
    grant::{ResourceDeclaration, Resources},
    http::{Endpoint, ForwardAuth, Gateway, OriginalRequest, Routes, actix, axum as on_axum},
    rate::Rate,
};
use serde_json::Value;
use tower::ServiceExt;

use self::rows::{Row, Via};
use crate::support::{World, block_on, catalog, overheard::RevealKnown as _};

/// A world with a tenant that holds the keys of the table.
struct Keys {
    world: World,
    tokens: Vec<(&'static str, String)>,
}

impl Keys {
    fn new() -> Self {
        let catalog = catalog().with_resources([ResourceDeclaration::new("machine", "for tests")]);
        let rate = Rate { requests: 1_000, per_seconds: 60 };
        let tiers = [Tier::new("advanced", 9).rate(rate)];
        let world =
            World::with(Policy::new("mm", catalog.unwrap(), tiers).unwrap(), |builder| builder);
        let key = |name: &str, scopes: &[&str]| NewKey::named(name).scopes(scopes.iter().copied());
        let all = Resources::All;
        let read = key("read", &["operator.read", "reporting"]).resources("machine", all.clone());
        let created = block_on(world.keyring.create_tenant_with("acme, é", "advanced", read));
        let (tenant, first) = created.unwrap();
        let mill = Resources::only(["mill-1", "mill 2"]).unwrap();
        let mill = key("mill", &["reporting"]).resources("machine", mill);
        let mill = mill.owner("ann@example.com".parse().unwrap());
        let boss = key("boss", &["manager", "operator"]).resources("machine", all);
        let many: Vec<_> = (0..50).map(|id| format!("{id}-{}", "m".repeat(50))).collect();
        let many = key("many", &["reporting"]).resources("machine", Resources::only(many).unwrap());
        let mut tokens = vec![("read", first.token.reveal_known().to_string())];
        for (name, key) in [("mill", mill), ("boss", boss), ("many", many)] {
            let issued = block_on(tenant.issue(key)).unwrap();
            tokens.push((name, issued.token.reveal_known().to_string()));
        }
        let (_, read) = &tokens[0];
        let forged = [&read[..read.len() - 4], "AAAA"].concat();
        tokens.push(("bad", forged));
        Self { world, tokens }
    }

    fn authorization(&self, key: &str) -> Option<(&'static str, Vec<u8>)> {
        let (_, token) = self.tokens.iter().find(|(name, _)| *name == key)?;
        Some(("authorization", format!("Bearer {token}").into_bytes()))
    }

    fn gateway(&self, mode: ForwardAuth) -> Gateway {
        let original = OriginalRequest::headers("X-Original-Method", "X-Original-URI").unwrap();
        Gateway::new(rows::routes(&self.world.keyring), mode, original).unwrap()
    }

    /// Returns the headers of the question about a row. The gateway of a client's row replaces the headers of
    /// the convention, and passes everything else on.
    fn question(&self, row: &Row) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers: Vec<_> = self.authorization(row.key).into_iter().collect();
        match row.via {
            Via::Question => headers.extend(row.headers.clone()),
            Via::Client => {
                let is_own = |name: &str| {
                    let name = name.to_ascii_lowercase();
                    name == "x-original-method" || name == "x-original-uri"
                };
                headers.extend(row.headers.iter().filter(|(name, _)| !is_own(name)).cloned());
                headers.push(("X-Original-Method", row.method.into()));
                headers.push(("X-Original-URI", row.target.clone()));
            }
        }
        headers
    }
}

/// A response as a gateway sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn new<'h>(
        status: u16,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        body: &[u8],
    ) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = headers.map(|(name, value)| (name.to_owned(), text(value)));
        let mut headers: Vec<_> = headers.filter(|(name, _)| name != "content-length").collect();
        headers.sort();
        Self { status, headers, body: text(body) }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// Returns the name of the problem's type, and its reason.
    fn problem(&self) -> (String, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        let link = body["type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        (link, body["reason"].as_str().unwrap_or_default().to_owned())
    }
}

type Headers = [(&'static str, Vec<u8>)];

fn without_framework(gateway: &Gateway, headers: &Headers) -> Seen {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    let answer = block_on(gateway.check("GET", "/check", &headers[..], None));
    let fields = answer.headers().map(|(name, value)| (name, value.as_bytes()));
    Seen::new(answer.status(), fields, answer.body().as_bytes())
}

fn through_axum(
    gateway: &Gateway,
    world: &World,
    method: &str,
    uri: &str,
    headers: &Headers,
) -> Seen {
    let endpoint = || on_axum::forward_auth(gateway);
    let routes = Routes::new(&world.keyring).route("/check", endpoint());
    let routes = routes.route("/check/", endpoint()).route("/check/{*path}", endpoint());
    let app: axum::Router = routes.build().unwrap();
    let request = Request::builder().method(method).uri(uri);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, &**value));
    let response = block_on(app.oneshot(request.body(Body::empty()).unwrap())).unwrap();
    let (head, body) = response.into_parts();
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Seen::new(head.status.as_u16(), fields, &block_on(to_bytes(body, usize::MAX)).unwrap())
}

fn through_actix(
    gateway: &Gateway,
    world: &World,
    method: &str,
    uri: &str,
    headers: &Headers,
) -> Seen {
    let endpoint = || actix::forward_auth(gateway);
    let routes = Routes::new(&world.keyring).route("/check", endpoint());
    let routes = routes.route("/check/{path:.*}", endpoint()).build().unwrap();
    let mut request = TestRequest::with_uri(uri).method(method.parse().unwrap());
    for (name, value) in headers {
        request = request.append_header((*name, &**value));
    }
    let request = request.to_request();
    System::new().block_on(async {
        let app = init_service(App::new().configure(routes)).await;
        let response = call_service(&app, request).await;
        let (status, fields) = (response.status().as_u16(), response.headers().clone());
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Seen::new(status, fields, &read_body(response).await)
    })
}

// The table.

#[test]
fn table_has_its_rows_and_no_name_twice() {
    let rows = rows::rows();
    let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
    let refused = rows.iter().filter(|row| !row.is_admitted()).count();
    assert!(refused >= 40, "{refused} rows are refused");
    for row in &rows {
        assert_eq!(row.status == 400, !row.reason.is_empty(), "{}", row.name);
    }
}

#[test]
fn every_row_has_its_verdict_everywhere() {
    let keys = Keys::new();
    let gateway = keys.gateway(ForwardAuth::EveryStatus);
    let mut on_frameworks = 0;
    for row in rows::rows() {
        let headers = keys.question(&row);
        let seen = without_framework(&gateway, &headers);
        assert_eq!(seen.status, row.status, "{}: {seen:?}", row.name);
        assert_eq!(seen.field("x-auth-tenant").is_some(), row.is_admitted(), "{}", row.name);
        if row.status == 400 {
            let expected = ("gateway-request-ambiguous".into(), row.reason.into());
            assert_eq!(seen.problem(), expected, "{}", row.name);
            // No part of the request is repeated.
            assert!(!seen.body.contains("jobs"), "{}: {}", row.name, seen.body);
        }
        let is_header = |(_, value): &(_, Vec<u8>)| http::HeaderValue::from_bytes(value).is_ok();
        if headers.iter().all(is_header) {
            on_frameworks += 1;
            for through in [through_axum, through_actix] {
                let mut other = through(&gateway, &keys.world, "GET", "/check", &headers);
                // The rate has counted the request once more.
                for (name, value) in &mut other.headers {
                    if name == "ratelimit" {
                        seen.field(name).unwrap().clone_into(value);
                    }
                }
                assert_eq!(other, seen, "{}", row.name);
            }
        }
    }
    assert!(on_frameworks >= 75, "{on_frameworks}");
}

#[test]
fn gateway_of_denials_gets_401_and_403_only() {
    let keys = Keys::new();
    let gateway = keys.gateway(ForwardAuth::DenialsOnly);
    for row in rows::rows() {
        let seen = without_framework(&gateway, &keys.question(&row));
        let denial = if row.status == 400 { 403 } else { row.status };
        assert_eq!(seen.status, denial, "{}: {seen:?}", row.name);
        let original = (!row.is_admitted()).then(|| row.status.to_string());
        assert_eq!(seen.field("x-auth-status"), original.as_deref(), "{}", row.name);
        assert_eq!(
            seen.field("www-authenticate").is_some(),
            seen.status == 401 || { row.status == 403 && seen.problem().0 == "insufficient-scope" }
        );
    }
}

// The controls of the table: two checks as services have them, each of which some rows pass.

/// Returns whether a check admits the request without a key, because the path begins with a public one.
fn by_prefix(target: &str) -> bool {
    target.starts_with("/docs/") || target.starts_with("/health")
}

/// Returns whether a check admits the request with a key of `reporting`, because the path is not exactly one that
/// needs more.
fn by_exception(target: &str) -> bool {
    !matches!(target, "/machines/new" | "/files/a/secret" | "/jobs" | "/admin")
}

#[test]
fn careless_checks_admit_refused_rows() {
    let passes = |check: fn(&str) -> bool, key: &str| -> Vec<&str> {
        let rows = rows::rows().into_iter().filter(|row| row.via == Via::Client && row.key == key);
        let is_fooled =
            |row: &Row| row.status == 400 && check(&String::from_utf8_lossy(&row.target));
        rows.filter(is_fooled).map(|row| row.name).collect()
    };
    let prefix = passes(by_prefix, "none");
    assert!(prefix.contains(&"escaped dots") && prefix.len() >= 15, "{prefix:?}");
    let exception = passes(by_exception, "read");
    assert!(exception.contains(&"slash at the end") && exception.len() >= 10, "{exception:?}");
}

// Every path that a caller without a key may send, as servers of all kinds read it.

/// Pieces of paths that some server treats in a special way.
const PIECES: [&str; 34] = [
    "docs", "jobs", "health", "JOBS", "x", "/", "//", "/../", "/./", "..", ".", "%2e%2e", "%2E",
    "%2f", "%5c", "\\", "%252f", "%252e", "%25", "%", ";", "%3b", "?", "%3F", "#", "%23", "%00",
    "%20", " ", ",", "%c0%af", "%6a", "+", "é",
];

/// One step of a server that reads a path.
type Step = fn(&str) -> String;

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    // An overlong form of a slash is one for a careless decoder.
    String::from_utf8_lossy(&bytes).replace("\u{fffd}\u{fffd}", "/")
}

/// The steps, each of which a server may take or leave, in this order.
const STEPS: [Step; 9] = [
    decoded,
    decoded,
    |path| path.replace('\\', "/"),
    |path| path.split(['?', '#', '\0']).next().unwrap().into(),
    |path| {
        let cut = |segment: &str| segment.split(';').next().unwrap().to_owned();
        path.split('/').map(cut).collect::<Vec<_>>().join("/")
    },
    |path| {
        let mut merged = path.to_owned();
        while merged.contains("//") {
            merged = merged.replace("//", "/");
        }
        merged
    },
    |path| {
        let mut kept: Vec<&str> = Vec::new();
        for segment in path.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        ["/", &kept.join("/")].concat()
    },
    |path| path.to_lowercase(),
    |path| {
        let cut = |segment: &str| segment.trim_end_matches(['.', ' ', ',']).to_owned();
        path.split('/').map(cut).collect::<Vec<_>>().join("/").trim_end_matches('/').into()
    },
];

/// Returns whether every server reads a public path in `target`.
fn is_public_everywhere(target: &str) -> bool {
    (0_u32..1 << STEPS.len()).all(|taken| {
        let steps = STEPS.iter().enumerate().filter(|(at, _)| taken >> at & 1 == 1);
        let target = target.split('?').next().unwrap().to_owned();
        let path = steps.fold(target, |path, (_, step)| step(&path));
        path == "/health" || path.starts_with("/docs/")
    })
}

/// Returns the paths that `check` admits without a key, and those of them that some server reads as another.
fn admitted(check: impl Fn(&str) -> bool) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut wrong = Vec::new();
    for first in PIECES {
        for second in PIECES {
            for between in ["", "x"] {
                for base in ["/docs/", "/health"] {
                    let target = [base, first, between, second].concat();
                    if check(&target) {
                        count += 1;
                        if !is_public_everywhere(&target) {
                            wrong.push(target);
                        }
                    }
                }
            }
        }
    }
    (count, wrong)
}

#[test]
fn admitted_path_is_public_for_every_server() {
    let keys = Keys::new();
    let gateway = keys.gateway(ForwardAuth::EveryStatus);
    let check = |target: &str| {
        let headers = [("x-original-method", &b"GET"[..]), ("x-original-uri", target.as_bytes())];
        block_on(gateway.check("GET", "/check", &headers[..], None)).status() == 200
    };
    let (count, wrong) = admitted(check);
    assert!(count > 100, "{count}");
    assert!(wrong.is_empty(), "{wrong:?}");
    // The control.
    let (_, wrong) = admitted(|target| by_prefix(target) && target.is_ascii());
    assert!(wrong.len() > 1_000, "{}", wrong.len());
}

// Admissions.

fn ask(keys: &Keys, gateway: &Gateway, key: &str, path: &str) -> Seen {
    let mut headers: Vec<_> = keys.authorization(key).into_iter().collect();
    headers.push(("x-original-method", b"GET".to_vec()));
    headers.push(("x-original-uri", path.as_bytes().to_vec()));
    without_framework(gateway, &headers)
}

#[test]
fn admission_names_the_caller_in_safe_values() {
    let keys = Keys::new();
    let gateway = keys.gateway(ForwardAuth::DenialsOnly);
    let seen = ask(&keys, &gateway, "mill", "/machines/mill%202");
    let identity = |seen: &Seen| {
        ["tenant", "scopes", "owner", "resources"]
            .map(|name| seen.field(&format!("x-auth-{name}")).unwrap().to_owned())
    };
    assert_eq!(identity(&seen), ["acme%2C%20%C3%A9", "reporting", "ann@example.com", ""]);
    let (_, token) = keys.tokens.iter().find(|(name, _)| *name == "mill").unwrap();
    let key = seen.field("x-auth-key").unwrap();
    assert!(token.contains(key) && key.len() < token.len() / 2, "{key}");
    assert_eq!(seen.field("ratelimit-policy"), Some("\"key\";q=1000;w=60"));
    assert!(seen.field("ratelimit").is_some() && seen.field("vary").is_none());
    assert_eq!((seen.field("cache-control"), &*seen.body), (Some("no-store"), ""));

    // The application gets the resources only where it has to check them.
    let seen = ask(&keys, &gateway, "mill", "/machines");
    assert_eq!(seen.field("x-auth-resources"), Some("machine=mill%202 mill-1"));
    let seen = ask(&keys, &gateway, "read", "/machines");
    assert_eq!(seen.field("x-auth-resources"), Some("machine=*"));
    assert_eq!(seen.field("x-auth-scopes"), Some("operator.read reporting"));
    // A list that no header could hold is refused and not cut off.
    let seen = ask(&keys, &gateway, "many", "/machines");
    assert_eq!((seen.status, seen.problem().0.as_str()), (403, "other-resource"));
    assert_eq!(ask(&keys, &gateway, "many", "/files/x").status, 200);

    // Without a caller every header is there and empty, so that it replaces that of the client.
    let seen = ask(&keys, &gateway, "read", "/health");
    assert_eq!(identity(&seen), [""; 4]);
    assert_eq!(seen.field("x-auth-key"), Some(""));
}

#[test]
fn store_that_is_away_is_told_apart_from_a_denial() {
    let keys = Keys::new();
    let path = "/jobs";
    keys.world.store.set_down(true);
    let seen = ask(&keys, &keys.gateway(ForwardAuth::EveryStatus), "read", path);
    assert_eq!((seen.status, seen.field("retry-after").is_some()), (503, true));
    let seen = ask(&keys, &keys.gateway(ForwardAuth::DenialsOnly), "read", path);
    assert_eq!((seen.status, seen.field("x-auth-status")), (403, Some("503")));
    // Ambiguous and undeclared requests never reach the store.
    assert_eq!(ask(&keys, &keys.gateway(ForwardAuth::EveryStatus), "read", "//jobs").status, 400);
}

#[test]
fn rate_of_the_tier_is_counted_once_per_question() {
    let keys = Keys::new();
    let gateway = keys.gateway(ForwardAuth::EveryStatus);
    let left = |path| ask(&keys, &gateway, "read", path).field("ratelimit").map(str::to_owned);
    assert!(left("/jobs").unwrap().starts_with("\"key\";r=999;"));
    // Refused questions and public routes take nothing.
    assert_eq!((left("/health"), left("/jobs/")), (None, None));
    assert!(left("/jobs").unwrap().starts_with("\"key\";r=998;"));
}

// Conventions and switches.

#[test]
fn other_conventions_are_read_alone() {
    let keys = Keys::new();
    let gateway = |original| {
        let routes = rows::routes(&keys.world.keyring);
        Gateway::new(routes, ForwardAuth::EveryStatus, original).unwrap()
    };
    let text = |name: &'static str, value: &str| (name, value.as_bytes().to_vec());
    let spoofed = [text("x-original-method", "GET"), text("x-original-uri", "/health")];

    let forwarded = gateway(OriginalRequest::x_forwarded());
    let headers = [text("x-forwarded-method", "GET"), text("x-forwarded-uri", "/health")];
    assert_eq!(without_framework(&forwarded, &headers).status, 200);
    assert_eq!(without_framework(&forwarded, &spoofed).problem().1, "no-original");

    let prefix = gateway(OriginalRequest::path_prefix("/check").unwrap());
    for through in [through_axum, through_actix] {
        let ask = |method: &str, uri: &str, headers: &Headers| {
            through(&prefix, &keys.world, method, uri, headers).status
        };
        assert_eq!(ask("GET", "/check/health?x=y", &[]), 200);
        assert_eq!(ask("HEAD", "/check/health", &[]), 200);
        assert_eq!(ask("POST", "/check/health", &spoofed), 403);
        assert_eq!(ask("GET", "/check/jobs", &spoofed), 401);
        assert_eq!(ask("GET", "/check/jobs", &[keys.authorization("read").unwrap()]), 200);
        assert_eq!(ask("GET", "/check/docs/%2e%2e/jobs", &[]), 400);
        assert_eq!(ask("GET", "/check//jobs", &[]), 400);
        assert_eq!(ask("GET", "/check", &spoofed), 400);
    }
}

/// The first version of the adapters took the URI as it is, which had a scheme over HTTP/2, and no prefix in a
/// nested router.
#[test]
fn prefix_is_read_from_the_whole_path_of_a_question() {
    let keys = Keys::new();
    let routes = || rows::routes(&keys.world.keyring);
    let gateway = |prefix| {
        let original = OriginalRequest::path_prefix(prefix).unwrap();
        Gateway::new(routes(), ForwardAuth::EveryStatus, original).unwrap()
    };
    let absolute = "http://check.example:8080";
    let whole = gateway("/check");
    for through in [through_axum, through_actix] {
        let ask = |path: &str, headers: &Headers| {
            let uri = [absolute, path].concat();
            through(&whole, &keys.world, "GET", &uri, headers).status
        };
        assert_eq!(ask("/check/health?x=y", &[]), 200);
        assert_eq!(ask("/check/jobs", &[]), 401);
        assert_eq!(ask("/check/jobs", &[keys.authorization("read").unwrap()]), 200);
        assert_eq!(ask("/check//jobs", &[]), 400);
    }

    let on_axum = |gateway: &Gateway, uri: &str| {
        let endpoint = on_axum::forward_auth(gateway);
        let routes = Routes::new(&keys.world.keyring).route("/check/{*path}", endpoint);
        let nested: axum::Router = routes.build().unwrap();
        let app = axum::Router::new().nest("/outer", axum::Router::new().nest("/inner", nested));
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        block_on(app.oneshot(request)).unwrap().status().as_u16()
    };
    let on_actix = |gateway: &Gateway, uri: &str| {
        let endpoint = actix::forward_auth(gateway);
        let routes = Routes::new(&keys.world.keyring).route("/check/{path:.*}", endpoint);
        let routes = routes.build().unwrap();
        let request = TestRequest::with_uri(uri).to_request();
        System::new().block_on(async {
            let inner = actix_web::web::scope("/inner").configure(routes);
            let outer = actix_web::web::scope("/outer").service(inner);
            let app = init_service(App::new().service(outer)).await;
            call_service(&app, request).await.status().as_u16()
        })
    };
    let nested = gateway("/outer/inner/check");
    for through in [&on_axum as &dyn Fn(&Gateway, &str) -> u16, &on_actix] {
        for base in ["", absolute] {
            let ask = |gateway: &Gateway, path: &str| through(gateway, &[base, path].concat());
            assert_eq!(ask(&nested, "/outer/inner/check/health"), 200);
            assert_eq!(ask(&nested, "/outer/inner/check/jobs"), 401);
            assert_eq!(ask(&nested, "/outer/inner/check/docs/%2e%2e/jobs"), 400);
            // The control: a part of the prefix is not enough.
            assert_eq!(ask(&whole, "/outer/inner/check/health"), 400);
        }
    }
}

#[test]
fn overrides_pass_if_the_application_ignores_them() {
    let keys = Keys::new();
    let strict = keys.gateway(ForwardAuth::EveryStatus);
    let open = strict.allow_overrides();
    let mut passed = 0;
    for row in rows::rows().into_iter().filter(|row| row.reason == "override") {
        let headers = keys.question(&row);
        assert_eq!(without_framework(&strict, &headers).status, 400, "{}", row.name);
        assert_eq!(without_framework(&open, &headers).status, 200, "{}", row.name);
        passed += 1;
    }
    assert!(passed >= 5, "{passed}");
    // The switch does not admit headers of an admission.
    let forged = rows::rows().into_iter().find(|row| row.reason == "forged-identity").unwrap();
    assert_eq!(without_framework(&open, &keys.question(&forged)).status, 400);
}

#[test]
fn key_is_read_from_the_header_of_the_guard() {
    let keys = Keys::new();
    let guard = Guard::new(&keys.world.keyring).key_header_only("x-api-key").unwrap();
    let original = OriginalRequest::x_forwarded();
    let gateway = Gateway::new(rows::routes(guard), ForwardAuth::EveryStatus, original).unwrap();
    let (_, authorization) = keys.authorization("read").unwrap();
    let ask = |name: &'static str, value: &[u8]| {
        let headers = [
            ("x-forwarded-method", b"GET".to_vec()),
            ("x-forwarded-uri", b"/jobs".to_vec()),
            (name, value.to_vec()),
        ];
        without_framework(&gateway, &headers).status
    };
    assert_eq!(ask("x-api-key", &authorization["Bearer ".len()..]), 200);
    assert_eq!(ask("authorization", &authorization), 401);
}

#[test]
fn routes_that_a_gateway_cannot_take_stop_the_start() {
    let keys = Keys::new();
    let fault = |path: &str, endpoint: Endpoint<()>| {
        let routes = Routes::new(&keys.world.keyring)
            .route("/machines/{id}", Endpoint::new("GET", ()).public())
            .route(path, endpoint);
        Gateway::new(routes, ForwardAuth::EveryStatus, OriginalRequest::x_forwarded()).unwrap_err()
    };
    let on = |method| Endpoint::new(method, ());
    for path in ["/x/{id}-y", "/{id:[0-9]+}", "/a b", "/{*rest}/x", "/a//b", "/../x"] {
        let error = fault(path, on("GET").public());
        assert!(matches!(error, ConfigError::GatewayPath { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    let error = fault("/machines/{machine}", on("GET").public());
    assert!(matches!(error, ConfigError::AmbiguousPaths(..)), "{error}");
    // Neither path is more exact, so applications disagree about `/machines/new`.
    let error = fault("/{kind}/new", on("GET").public());
    let text = error.to_string();
    assert!(matches!(error, ConfigError::OverlappingPaths { .. }), "{text}");
    for path in ["`/machines/{id}`", "`/{kind}/new`", "`/machines/new`"] {
        assert!(text.contains(path), "{text}");
    }
    let error = fault("/x", on("get").public());
    assert!(matches!(error, ConfigError::GatewayPath { .. }), "{error}");
    let error = fault("/x", on("GET"));
    assert!(matches!(error, ConfigError::UndeclaredRoutes(_)), "{error}");
    let error = fault("/x", on("GET").any_key());
    assert!(matches!(error, ConfigError::UndeclaredResources(_)), "{error}");
}

#[test]
fn shared_path_that_is_declared_has_its_requirement() {
    let keys = Keys::new();
    let on = || Endpoint::new("GET", ());
    let routes = Routes::new(&keys.world.keyring)
        .route("/{org}/settings", on().require(["manager"]).touches_no("machine"))
        .route("/public/{page}", on().public())
        .route("/public/settings", on().require(["reporting"]).touches_no("machine"));
    let original = OriginalRequest::headers("x-original-method", "x-original-uri").unwrap();
    let gateway = Gateway::new(routes, ForwardAuth::EveryStatus, original).unwrap();
    let status = |key, path| ask(&keys, &gateway, key, path).status;
    assert_eq!(status("none", "/public/terms"), 200);
    assert_eq!(status("none", "/public/settings"), 401);
    assert_eq!(status("read", "/public/settings"), 200);
    assert_eq!(status("read", "/acme/settings"), 403);
}

#[test]
fn route_of_all_methods_takes_the_known_ones() {
    let keys = Keys::new();
    let routes = Routes::new(&keys.world.keyring).route("/x", Endpoint::new("*", ()).public());
    let original = OriginalRequest::x_forwarded();
    let gateway = Gateway::new(routes, ForwardAuth::EveryStatus, original).unwrap();
    for (method, status) in
        [("GET", 200), ("DELETE", 200), ("OPTIONS", 200), ("TRACE", 403), ("PURGE", 403)]
    {
        let headers = [
            ("x-forwarded-method", method.as_bytes().to_vec()),
            ("x-forwarded-uri", b"/x".to_vec()),
        ];
        assert_eq!(without_framework(&gateway, &headers).status, status, "{method}");
    }
}
