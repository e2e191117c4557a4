//! Every refusal conforms to RFC 9110, RFC 6750, RFC 9457 and the documentation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    client::Reply,
    drive,
    row::{get, request},
    server::Server,
    service::Service,
    support::MAX_STALENESS,
};

const BASE: &str = "https://docs.rs/keyway/latest/keyway/http/problem/index.html#";

/// Returns the fragments of the headings of the documentation, as rustdoc makes them, without those of the
/// console.
fn documented() -> BTreeSet<String> {
    include_str!("../../src/http/problem.rs")
        .lines()
        .take_while(|line| *line != "//! # Problems of the console")
        .filter_map(|line| line.strip_prefix("//! # "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect()
}

/// Checks the problem in `reply`, and returns its type.
fn check(name: &str, reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|error| panic!("{name}: {error} in {}", reply.body.escape_ascii()));
    assert_eq!(body["status"], reply.status, "{name}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{name}");
    assert_eq!(reply.field("content-length"), Some(&*reply.body.len().to_string()), "{name}");
    let kind = body["type"].as_str().unwrap().strip_prefix(BASE).unwrap();
    assert!(documented().contains(kind), "{name}: `{kind}` is not documented");
    // Only known members are allowed.
    let known =
        ["type", "title", "status", "detail", "state", "scopes", "match", "withheld", "resource"];
    for member in body.as_object().unwrap().keys() {
        assert!(known.contains(&&**member), "{name}: `{member}`");
    }
    kind.into()
}

/// Checks the scheme and the parameters of a challenge, which are quoted strings (RFC 9110, section 11.6.1).
fn check_challenge(name: &str, reply: &Reply) {
    let fields = reply.fields.iter().filter(|(name, _)| name == "www-authenticate");
    let challenges: Vec<_> = fields.map(|(_, value)| &**value).collect();
    if reply.status != 401 {
        assert!(challenges.is_empty() || [400, 403].contains(&reply.status), "{name}");
    }
    if ![400, 401, 403].contains(&reply.status) {
        return;
    }
    let (first, own) = match challenges[..] {
        [first] => (first, None),
        [first, own] => (first, Some(own)),
        _ => panic!("{name}: {challenges:?}"),
    };
    let challenge = first;
    // The challenge for the header of its own has the same parameters.
    if let Some(own) = own {
        let own = own.strip_prefix("ApiKey ").unwrap().replace(", header=\"x-api-key\"", "");
        assert_eq!(first.strip_prefix("Bearer ").unwrap(), own, "{name}");
    }
    let parameters: Vec<_> = challenge
        .strip_prefix("Bearer ")
        .or_else(|| challenge.strip_prefix("ApiKey "))
        .unwrap()
        .split(", ")
        .map(|parameter| parameter.split_once('=').unwrap())
        .collect();
    for (_, value) in &parameters {
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        assert!(!inner.contains(['"', '\\']), "{name}: {challenge}");
    }
    let names: Vec<_> =
        parameters.iter().map(|(name, _)| *name).filter(|name| *name != "header").collect();
    match reply.status {
        403 => assert_eq!(names, ["realm", "error", "scope"], "{name}"),
        400 => assert_eq!(names, ["realm", "error"], "{name}"),
        _ => assert!(names == ["realm"] || names == ["realm", "error"], "{name}"),
    }
}

#[test]
fn every_refusal_is_a_problem_of_a_documented_type() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let mut outcomes = drive::all(&running, |row| row.method != "HEAD");
        running.service.world.store.set_down(true);
        running.service.world.clock.advance(2 * MAX_STALENESS);
        let cold = get("without a store", "/any").auth(b"Bearer {active}");
        outcomes.push(drive::over_http1(&running, &cold));
        if server.has_extractors() {
            outcomes.push(drive::over_http1(&running, &get("unguarded", "/unguarded")));
        }
        let mut kinds = BTreeSet::new();
        for outcome in &outcomes {
            for reply in &outcome.replies {
                if reply.field("content-type") == Some("application/problem+json") {
                    assert_eq!(reply.field("cache-control"), Some("no-store"));
                    // Responses to the `HEAD` requests of raw rows have no body.
                    if !reply.body.is_empty() {
                        kinds.insert(check(&outcome.name, reply));
                    }
                    // No other credential helps where a resource or a network is refused.
                    let is_other = String::from_utf8_lossy(&reply.body).contains("#other-");
                    let challenge = reply.field("www-authenticate");
                    assert!(!(is_other && challenge.is_some()), "{}", outcome.name);
                    if !is_other {
                        check_challenge(&outcome.name, reply);
                    }
                }
            }
        }
        let mut missing = documented();
        missing.retain(|kind| !kinds.contains(kind));
        // No gateway asks these services.
        missing.retain(|kind| !kind.starts_with("gateway-"));
        // No tier in these worlds has a rate or an allowance, no holder may rotate its key or ask for children, and no route takes
        // reports.
        let elsewhere = [
            "rate-exceeded",
            "allowance-used-up",
            "previous-secret",
            "rotated-meanwhile",
            "too-many-secrets",
            "children-not-allowed",
        ];
        missing.retain(|kind| !elsewhere.contains(&&**kind) && !kind.starts_with("leak-report-"));
        // All paths of the operations are in the table.
        missing.remove("unknown-operation");
        if !server.has_extractors() {
            missing.remove("unguarded-route");
        }
        assert!(missing.is_empty(), "{server:?} never says {missing:?}");
    }
}

#[test]
fn head_response_equals_get_without_the_body() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        // The first two values are refused at once. For the others the guard reads the store.
        for value in [&b""[..], b"Bearer {flipped-tag}", b"Bearer {unknown}", b"Bearer {disabled}"]
        {
            for send in [drive::over_http1, drive::over_http2] {
                let of_get = send(&running, &get("GET", "/any").auth(value));
                let of_head = send(&running, &request("HEAD", "HEAD", "/any").auth(value));
                let ([of_get], [of_head]) = (&of_get.replies[..], &of_head.replies[..]) else {
                    panic!("{server:?}: {of_get:?}, {of_head:?}");
                };
                let fields = |reply: &Reply| -> BTreeSet<_> {
                    let fields = reply.fields.iter().filter(|(name, _)| name != "date");
                    fields.cloned().collect()
                };
                assert_eq!(of_head.status, of_get.status);
                assert_eq!(fields(of_head), fields(of_get), "{server:?}");
                assert!(of_head.body.is_empty() && !of_get.body.is_empty());
            }
        }
    }
}
