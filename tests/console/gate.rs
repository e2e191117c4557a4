//! The gate: callers, origins, and the headers of every response.

use axum::{Router, body::Body, http::Request};
use keyway::{
    Guard, Keyring,
    console::{Admin, Console},
};
use serde_json::json;
use tower::ServiceExt;

use crate::{
    client::{Answer, Client, MOUNT, Place, console, mount},
    routes::{PAGE, routes},
    support::{World, block_on},
};

/// `Sec-Fetch-Site`, `Origin`, `Host`, and whether such a request is admitted.
const SITES: [(&str, &str, &str, bool); 14] = [
    ("", "", "", true),
    ("", "", "keys.example", true),
    ("same-origin", "", "keys.example", true),
    ("none", "", "keys.example", true),
    ("same-origin", "https://keys.example", "10.0.0.1", true),
    ("", "https://keys.example", "keys.example", true),
    ("", "http://keys.example:80", "keys.example:80", true),
    ("same-site", "", "keys.example", false),
    ("cross-site", "", "keys.example", false),
    ("cross-site", "https://keys.example", "keys.example", false),
    ("", "https://evil.example", "keys.example", false),
    ("", "https://keys.example:444", "keys.example", false),
    ("", "null", "keys.example", false),
    ("", "https://keys.example", "", false),
];

#[test]
fn cross_site_requests_are_refused() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    for (site, origin, host, passes) in SITES {
        for route in routes() {
            let who = if route.role == "operator" { "operator" } else { "acme" };
            let path = route
                .path
                .replace("{id}", &id)
                .replace("{owner}", "ann")
                .replace("{tenant}", "nobody");
            let path = path.replace("{tier}", "lite");
            let mut ask = client.ask(who, route.method, &path);
            for (name, value) in [("sec-fetch-site", site), ("origin", origin), ("host", host)] {
                if !value.is_empty() {
                    ask = ask.field(name, value);
                }
            }
            let answer = ask.send();
            let place = format!("{} {path} {site} {origin} {host}", route.method);
            if passes {
                assert!(!answer.text.contains("cross-site"), "{place}");
            } else {
                answer.is(403, "cross-site", "");
            }
            if passes && route.method == "DELETE" && route.role == "tenant" {
                break;
            }
        }
    }
}

/// The check holds for every method. The handler of `GET` also runs for `HEAD`, and the length in the
/// response to `HEAD` would disclose something about the body.
#[test]
fn every_method_of_another_site_is_refused() {
    let Place { client, .. } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let mut heads = 0;
    for route in routes() {
        let who = if route.role == "operator" { "operator" } else { "acme" };
        let path =
            route.path.replace("{id}", &id).replace("{owner}", "ann").replace("{tenant}", "acme");
        let path = path.replace("{tier}", "lite");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
        {
            let ask = |name, value| {
                let answer = client.ask(who, method, &path).field(name, value).send();
                assert!(method != "HEAD" || answer.text.is_empty(), "{path}: {}", answer.text);
                answer.status
            };
            let is_known = method == route.method || (method, route.method) == ("HEAD", "GET");
            for (name, value) in
                [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]
            {
                let status = ask(name, value);
                // A method that does not exist may be refused with 405 instead.
                assert!(status == 403 || (!is_known && status == 405), "{method} {path}: {status}");
            }
            // The control: a `HEAD` of the console's own page is admitted.
            if (method, route.method) == ("HEAD", "GET") {
                assert_eq!(ask("sec-fetch-site", "same-origin"), 200, "{path}");
                heads += 1;
            }
        }
    }
    assert_eq!(heads, 14);
}

#[test]
fn page_of_another_tenant_is_refused_as_signed_out() {
    let Place { world, client } = Place::with_tenants();
    block_on(world.keyring.create_empty_tenant("a:b&c", "lite")).unwrap();
    let status = |who: &str, named: &[&str]| {
        let ask = client.ask(who, "GET", "/api/session");
        named.iter().fold(ask, |ask, name| ask.field("keyway-tenant", name)).send()
    };
    for (who, named) in
        [("acme", &[][..]), ("acme", &["acme"]), ("operator", &[]), ("a:b&c", &["a%3Ab%26c"])]
    {
        assert_eq!(status(who, named).status, 200, "{who} {named:?}");
    }
    for (who, named) in [
        ("acme", &["globex"][..]),
        ("acme", &["acme", "globex"]),
        ("acme", &[""]),
        ("operator", &["acme"]),
    ] {
        status(who, named).is(409, "signed-out", "");
    }
    // The refused request has no effect.
    let ask = client.ask("globex", "POST", "/api/keys").field("idempotency-key", "k");
    let ask = ask.field("keyway-tenant", "acme").json(&json!({ "name": "a", "scopes": [] }));
    ask.send().is(409, "signed-out", "");
    assert_eq!(client.get("globex", "/api/keys").json()["held"], 0);
}

#[test]
fn cross_site_link_opens_the_page() {
    let Place { client, .. } = Place::with_tenants();
    for path in PAGE {
        let ask = client.ask("acme", "GET", path).field("sec-fetch-site", "cross-site");
        assert_eq!(ask.send().status, 200, "{path}");
    }
}

#[test]
fn unauthenticated_request_gets_the_application_response() {
    let Place { client, .. } = Place::with_tenants();
    let mut asked = vec![client.get("", "/"), client.get("", "/openapi.json")];
    for route in routes() {
        asked.push(client.ask("", route.method, route.path).json(&json!({})).send());
    }
    asked.push(client.get("", "/api/unknown"));
    for answer in asked {
        assert_eq!((answer.status, &*answer.text), (401, "sign in"));
        assert_eq!(answer.field("content-security-policy"), "");
    }
    // Static files are the same for all users and need no authentication.
    for path in &PAGE[2..] {
        assert_eq!(client.get("", path).status, 200, "{path}");
    }
}

fn is_secured(answer: &Answer, place: &str) {
    let policy = answer.field("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "font-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(policy.split("; ").any(|other| other == part), "{place}: {policy}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.field(name), value, "{place}: {name}");
    }
    assert!(answer.field("permissions-policy").contains("camera=()"), "{place}");
}

#[test]
fn every_response_has_security_headers() {
    let Place { world, client } = Place::with_tenants();
    let (id, _) = client.key("acme", "a");
    let mut statuses = Vec::new();
    for route in routes() {
        let path =
            route.path.replace("{id}", &id).replace("{owner}", "ann").replace("{tenant}", "acme");
        let path = path.replace("{tier}", "lite");
        for who in ["acme", "operator"] {
            for is_down in [true, false] {
                world.store.set_down(is_down);
                let ask = client.ask(who, route.method, &path);
                let ask = ask.field("if-match", "*").field("idempotency-key", "k");
                let answer = ask.body(route.body).field("content-type", "application/json").send();
                let place = format!("{who} {} {path}: {}", route.method, answer.status);
                is_secured(&answer, &place);
                assert_eq!(answer.field("cache-control"), "no-store", "{place}");
                statuses.push(answer.status);
            }
        }
    }
    // The control: the responses had different statuses.
    for status in [200, 201, 204, 404, 503] {
        assert!(statuses.contains(&status), "{status}");
    }
    for path in PAGE.into_iter().chain(["/unknown", "/api/unknown", "/openapi.json", "/logo"]) {
        is_secured(&client.get("acme", path), path);
    }
    is_secured(&client.ask("acme", "POST", "/app.js").send(), "405");
}

fn with_key(client: &Client, value: &str, path: &str) -> Answer {
    client.ask("acme", "GET", path).field("authorization", value).send()
}

#[test]
fn request_with_api_key_is_refused_by_default() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    let refused = |value: &str| {
        for path in ["/api/session", "/openapi.json", "/", "/api/unknown"] {
            with_key(&client, value, path).is(403, "api-key-not-allowed", "");
        }
    };
    for scheme in ["Bearer", "bearer", "BEARER ", "Bearer secret-token:"] {
        let space = if scheme.ends_with(':') { "" } else { " " };
        refused(&format!("{scheme}{space}{token}"));
    }
    // The state of the key does not matter.
    client.change("acme", &id, 1, &json!({ "enabled": false }));
    refused(&format!("Bearer {token}"));
    client.ask("acme", "DELETE", &format!("/api/keys/{id}")).field("if-match", "*").send();
    refused(&format!("Bearer {token}"));
    let two = client.ask("acme", "GET", "/api/session").field("authorization", "Basic YTpi");
    two.field("authorization", &format!("Bearer {token}")).send().is(
        403,
        "api-key-not-allowed",
        "",
    );
    // The application's session may be a bearer token as well, which is not looked up in the store.
    let calls = world.store.calls("lookup");
    for other in ["Basic YTpi", "Bearer eyJhbGciOi", "Bearer", "Bearer mm_live_0"] {
        assert_eq!(with_key(&client, other, "/api/session").status, 200, "{other}");
    }
    assert_eq!(world.store.calls("lookup"), calls);
}

/// Sends a request through a guard around the console. The guard removes the token and inserts the principal.
fn behind_a_guard(keyring: &Keyring, console: Console, value: &str) -> (u16, String) {
    let app = Router::new()
        .nest_service(MOUNT, console.router::<()>())
        .layer(Guard::new(keyring).optional());
    let request = Request::get(format!("{MOUNT}/api/session")).header("x-test-who", "acme");
    let request = match value {
        "" => request,
        value => request.header("authorization", value),
    };
    let response = block_on(app.oneshot(request.body(Body::empty()).unwrap())).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn principal_of_an_outer_guard_is_refused_by_default() {
    let Place { world, client } = Place::with_tenants();
    let (_, token) = client.key("acme", "a");
    let keyring = &world.keyring;
    let (status, body) = behind_a_guard(keyring, console(keyring), &format!("Bearer {token}"));
    assert_eq!(status, 403);
    assert!(body.contains("#api-key-not-allowed"), "{body}");
    assert_eq!(behind_a_guard(keyring, console(keyring), "").0, 200);
}

#[test]
fn principal_of_another_keyring_is_refused() {
    let Place { world, client } = Place::with_tenants();
    let (_, token) = client.key("acme", "a");
    let value = format!("Bearer {token}");
    // Another node of the same service. Its keyring, and so its guard, is not the console's.
    let other = world.another_node().keyring;
    let (status, body) = behind_a_guard(&other, for_api_keys(&world.keyring), &value);
    assert_eq!(status, 403);
    assert!(body.contains("#api-key-not-allowed"), "{body}");
}

/// A console of an application that accepts API keys and no other callers.
fn for_api_keys(keyring: &Keyring) -> Console {
    let console = Console::new(keyring, async |request: axum::http::request::Parts| {
        assert!(!request.headers.contains_key("authorization"));
        let caller = request.extensions.get::<keyway::Principal>();
        caller.map(Admin::of_caller).ok_or_else(|| {
            axum::response::IntoResponse::into_response(axum::http::StatusCode::UNAUTHORIZED)
        })
    });
    console.allow_api_keys()
}

#[test]
fn allowed_api_key_grants_at_most_its_own_scopes() {
    let Place { world, client } = Place::with_tenants();
    let (id, token) = client.key("acme", "a");
    let value = format!("Bearer {token}");
    let keyring = &world.keyring;
    let (status, session) = behind_a_guard(keyring, for_api_keys(keyring), &value);
    assert_eq!(status, 200, "{session}");
    assert!(session.contains(&format!("API key {id}")));

    let router = mount(for_api_keys(keyring));
    let client = Client { router, document: client.document };
    let create = |scope: &str| {
        let body = json!({ "name": "b", "scopes": [scope] });
        let ask = client.ask("", "POST", "/api/keys").field("authorization", &value);
        ask.field("idempotency-key", scope).json(&body).send()
    };
    assert_eq!(create("reporting").status, 201);
    assert_eq!(create("reporting").json()["key"]["created_by"], format!("API key {id}"));
    create("operator").is(422, "above-granter", "scopes");
    // A request without a key is not authenticated, and a disabled key is refused as by any guard.
    assert_eq!(client.get("", "/api/session").status, 401);
    block_on(world.keyring.tenant("acme".parse().unwrap()).disable(id.parse().unwrap())).unwrap();
    let refused = client.ask("", "GET", "/api/session").field("authorization", &value).send();
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("#inactive-key"), "{}", refused.text);
}

#[test]
fn imported_key_is_refused_by_default() {
    use keyway::{
        ImportedKey, NewKey,
        import::{ForeignDigest, ForeignFormat, ForeignHash},
    };
    use sha2::Digest;

    let format = || ForeignFormat::whole_token(ForeignHash::Sha256);
    let world = World::with(crate::support::policy(), |builder| builder.accept_imported(format()));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let digest = sha2::Sha256::digest(b"0123456789abcdef0123456789abcdef");
    let digest = ForeignDigest::from_bytes(&digest).unwrap();
    let imported = ImportedKey::new(&format(), digest, NewKey::named("old")).unwrap();
    block_on(keys.import(imported)).unwrap();
    let client = Client::of(mount(console(&world.keyring)));
    let ask = |token: &str| with_key(&client, &format!("Bearer {token}"), "/api/session");
    ask("0123456789abcdef0123456789abcdef").is(403, "api-key-not-allowed", "");
    assert_eq!(ask("another-0123456789abcdef01234567").status, 200);
    world.store.set_down(true);
    ask("and-another-0123456789abcdef0123").is(503, "unavailable", "");
}
