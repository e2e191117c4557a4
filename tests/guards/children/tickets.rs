//! Tickets: children of one route in the query of a request.

use std::io;

use keyway::{
    ConfigError,
    children::{NewChild, Place},
    http::{Alternative, Endpoint, RouteEntry, Routes},
    record::Suspension,
    verifier::Freshness,
};

use super::app::{ALL, App, Family, Field, bearer, lasting, routes};
use crate::support::{World, block_on, tenant_id};

/// The refusals of tickets.
const REFUSED: &str = "403 other-audience";
const UNREADABLE: &str = "400 invalid-request";

pub fn ticket(seconds: u64) -> NewChild {
    lasting(seconds).route("GET /events").unwrap()
}

/// Adds `ticket` to the query of a request line.
pub fn with(line: &str, ticket: &str) -> String {
    let mark = if line.contains('?') { '&' } else { '?' };
    format!("{line}{mark}ticket={ticket}")
}

/// Returns the status of a request in all frameworks, which agree.
fn short(app: &App, line: &str, fields: &[Field]) -> String {
    let [tower, axum, actix] = ALL.map(|framework| app.ask(framework, line, fields).short());
    assert_eq!(tower, axum, "{line}");
    assert_eq!(tower, actix, "{line}");
    tower
}

// Declarations.

#[test]
fn ticket_of_another_method_stops_the_start() {
    let world = World::new();
    let fault =
        |endpoint: Endpoint<()>| Routes::new(&world.keyring).route("/x", endpoint).table().err();
    let on = |method| Endpoint::new(method, ());
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "*"] {
        let place = format!("{method} /x");
        let endpoint = on(method).any_key().accept_ticket();
        assert_eq!(fault(endpoint), Some(ConfigError::TicketMethod(place)));
    }
    let both = on("GET").and("POST", ()).any_key().accept_ticket();
    assert_eq!(fault(both), Some(ConfigError::TicketMethod("POST /x".into())));
    for endpoint in [
        on("GET").accept_ticket(),
        on("GET").public().accept_ticket(),
        on("GET").custom_auth("cookie").accept_ticket(),
        on("GET").any_key().accept_ticket().accept_ticket(),
        on("GET").any_key().accept_ticket().checks_operations(),
    ] {
        assert_eq!(fault(endpoint), Some(ConfigError::Children("/x".into())));
    }
    for endpoint in [
        on("GET").any_key().accept_ticket(),
        on("GET").any_key().accept_ticket().accepts_children().weight(2),
        on("GET").any_key().optional().accept_ticket(),
        on("POST").any_key().and("GET", ()).any_key().accept_ticket(),
    ] {
        assert_eq!(fault(endpoint), None);
    }
}

#[test]
fn table_shows_which_routes_accept_tickets() {
    let table = routes(Family::new().guard(), |_| ()).table().unwrap();
    let text = table.to_string();
    for line in [
        "GET     /events         reporting, or tickets\n",
        "GET     /both           reporting, or children, or tickets\n",
        "GET     /maybe-events   reporting, or none, or tickets\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let accepting: Vec<_> =
        table.rows().filter(|row| row.accepts_tickets()).map(RouteEntry::path).collect();
    assert_eq!(accepting, ["/events", "/both", "/maybe-events", "/streams/{id}"]);
}

// Requests.

#[test]
fn ticket_is_admitted_at_its_own_route_only() {
    let family = Family::new();
    let app = App::new(family.guard());
    let own = family.child(ticket(60));
    for (line, expected) in [
        ("GET /events", "200"),
        ("HEAD /events", "200"),
        ("GET /events?a=1", "200"),
        // These accept tickets, and this one is not theirs.
        ("GET /both", REFUSED),
        ("GET /maybe-events", REFUSED),
        // The query of these is not read.
        ("GET /machines/7", "401 missing-credential"),
        ("GET /keys-only", "401 missing-credential"),
        ("POST /tools", "401 missing-credential"),
        ("GET /maybe", "200"),
    ] {
        assert_eq!(short(&app, &with(line, &own), &[]), expected, "{line}");
    }
    for framework in ALL {
        let seen = app.ask(framework, &with("GET /events", &own), &[]);
        assert_eq!(seen.field("cache-control"), Some("no-store"), "{framework:?}");
        let handler = seen.handler();
        assert_eq!((&handler["tenant"], &handler["child"]), (&"acme".into(), &true.into()));
        // The control: on a route that does not read it, the handler sees an anonymous request.
        let seen = app.ask(framework, &with("GET /maybe", &own), &[]);
        assert!(seen.handler()["tenant"].is_null());
        let seen = app.ask(framework, "GET /events", &[bearer(&family.parent)]);
        assert_eq!((seen.status, seen.field("cache-control")), (200, None));
    }
}

#[test]
fn only_a_short_child_of_one_route_is_a_ticket() {
    let family = Family::new();
    let app = App::new(family.guard());
    let of = |request: NewChild| short(&app, &with("GET /events", &family.child(request)), &[]);
    for (request, expected) in [
        (ticket(60), "200"),
        (ticket(1), "200"),
        (ticket(60).scopes(["reporting"]).unwrap().nonce(&[7]).unwrap(), "200"),
        (ticket(61), REFUSED),
        (ticket(3_600), REFUSED),
        (lasting(30), REFUSED),
        (lasting(30).host("api").unwrap(), REFUSED),
        (lasting(30).operation("start").unwrap(), REFUSED),
        (lasting(30).route("GET /both").unwrap(), REFUSED),
        (lasting(30).route("HEAD /events").unwrap(), REFUSED),
        (ticket(30).route("GET /both").unwrap(), REFUSED),
        (ticket(30).host("api").unwrap(), REFUSED),
        (ticket(30).operation("start").unwrap(), REFUSED),
        (ticket(30).scopes(["operator"]).unwrap(), "403 insufficient-scope"),
    ] {
        assert_eq!(of(request.clone()), expected, "{request:?}");
    }
    // The end counts by the clock of the server at the request.
    let late = family.child(ticket(90));
    let line = with("GET /events", &late);
    assert_eq!(short(&app, &line, &[]), REFUSED);
    family.world.clock.advance(core::time::Duration::from_secs(30));
    assert_eq!(short(&app, &line, &[]), "200");
    family.world.clock.advance(core::time::Duration::from_secs(60));
    assert_eq!(short(&app, &line, &[]), "401 inactive-key");
    // The hosts of the guard make no difference to a ticket.
    let host = App::new(family.guard().accepts_children(Place::new().host("api")));
    let own = family.child(ticket(60));
    assert_eq!(short(&host, &with("GET /events", &own), &[]), "200");
}

#[test]
fn nothing_but_a_ticket_is_read_from_a_query() {
    let family = Family::new();
    let app = App::new(family.guard().key_header("x-api-key").unwrap());
    let (own, parent) = (family.child(ticket(60)), &family.parent);
    let (forged, other) = (format!("{}AAAA", &own[..own.len() - 4]), family.child(ticket(59)));
    let rejected = "401 invalid-token";
    let missing = "401 missing-credential";
    for (query, expected) in [
        (format!("ticket={own}"), "200"),
        (format!("ticket={parent}"), rejected),
        (format!("ticket={forged}"), rejected),
        ("ticket=made-up".into(), rejected),
        (format!("ticket=Bearer+{own}"), UNREADABLE),
        (format!("ticket=%6d{}", &own[1..]), UNREADABLE),
        ("ticket=".into(), UNREADABLE),
        ("ticket".into(), UNREADABLE),
        (format!("ticket={own}&ticket={own}"), UNREADABLE),
        (format!("ticket={own}&ticket={other}"), UNREADABLE),
        (format!("ticket={own}&a=1&ticket="), UNREADABLE),
        (format!("ticket={own}&tick%65t={own}"), UNREADABLE),
        (format!("tick%65t={own}"), UNREADABLE),
        (format!("ticket={}", "x".repeat(1_100)), UNREADABLE),
        (format!("Ticket={own}"), missing),
        (format!("access_token={own}"), missing),
        (format!("x-api-key={parent}&authorization=Bearer+{parent}"), missing),
    ] {
        assert_eq!(short(&app, &format!("GET /events?{query}"), &[]), expected, "{query}");
        // An optional guard does not admit them as if they were nothing.
        let optional = short(&app, &format!("GET /maybe-events?{query}"), &[]);
        let expected = match expected {
            "200" => REFUSED,
            expected if expected == missing => "200",
            expected => expected,
        };
        assert_eq!(optional, expected, "{query}");
    }
    // The parent is valid where it belongs.
    assert_eq!(short(&app, "GET /events", &[bearer(parent)]), "200");
}

#[test]
fn ticket_with_an_escaped_mark_is_the_same_child() {
    let family = Family::new();
    let own = family.child(ticket(60));
    assert_eq!(own.matches('~').count(), 1);
    let long = family.child(ticket(61));
    for freshness in [Freshness::Cached, Freshness::Now] {
        let app = App::new(family.guard().freshness(freshness));
        for mark in ["~", "%7E", "%7e"] {
            let spelled = |child: &str| child.replace('~', mark);
            let status = |line: &str, child: &str| short(&app, &with(line, &spelled(child)), &[]);
            assert_eq!(status("GET /events", &own), "200", "{mark}");
            assert_eq!(status("HEAD /events?a=%41", &own), "200", "{mark}");
            // All other rules hold for it.
            assert_eq!(status("GET /events", &long), REFUSED, "{mark}");
            assert_eq!(status("GET /both", &own), REFUSED, "{mark}");
            assert_eq!(status("GET /maybe-events", &own), REFUSED, "{mark}");
            assert_eq!(status("GET /machines/7", &own), "401 missing-credential", "{mark}");
            let forged = format!("{}AAAA", &own[..own.len() - 4]);
            assert_eq!(status("GET /events", &forged), "401 invalid-token", "{mark}");
            assert_eq!(status(&with("GET /events", &own), &own), UNREADABLE, "{mark}");
            let line = with("GET /events", &spelled(&own));
            assert_eq!(short(&app, &line, &[bearer(&family.parent)]), UNREADABLE, "{mark}");
            for framework in ALL {
                let seen = app.ask(framework, &line, &[]);
                assert_eq!(seen.field("cache-control"), Some("no-store"), "{framework:?} {mark}");
                assert_eq!(seen.handler()["tenant"], "acme", "{framework:?} {mark}");
            }
        }
    }
    // In a header there is no escape.
    let app = App::new(family.guard());
    let both = family.child(lasting(60).route("GET /both").unwrap());
    assert_eq!(short(&app, "GET /both", &[bearer(&both)]), "200");
    let escaped = both.replace('~', "%7E");
    assert_eq!(short(&app, "GET /both", &[bearer(&escaped)]), "401 invalid-token");
}

#[test]
fn ticket_with_any_other_escape_is_refused() {
    let family = Family::new();
    let app = App::new(family.guard());
    let (own, parent) = (family.child(ticket(60)), &family.parent);
    let mark = own.find('~').unwrap();
    let (head, tail) = (&own[..mark], &own[mark + 1..]);
    // Returns the text with the character at this place escaped.
    let escaped = |text: &str, at: usize| {
        format!("{}%{:02X}{}", &text[..at], text.as_bytes()[at], &text[at + 1..])
    };
    let rejected = "401 invalid-token";
    assert_eq!(short(&app, &with("GET /events", &escaped(&own, mark)), &[]), "200");
    for (text, expected) in [
        (format!("{head}%257E{tail}"), UNREADABLE),
        (format!("{head}%25%37%45{tail}"), UNREADABLE),
        (format!("{head}%7E%7E{tail}"), UNREADABLE),
        (format!("{head}~%7E{tail}"), UNREADABLE),
        (format!("{head}%7E~{tail}"), UNREADABLE),
        (format!("{head}%7{tail}"), UNREADABLE),
        (format!("{head}%{tail}"), UNREADABLE),
        (format!("{head}%7F{tail}"), UNREADABLE),
        (format!("{head}%7E{tail}%0A"), UNREADABLE),
        (format!("{head}%7E{tail}+"), UNREADABLE),
        (format!("{head}%7E{}", escaped(tail, 0)), UNREADABLE),
        (format!("{}%7E{tail}", escaped(head, 3)), UNREADABLE),
        // A `~` at another place makes no child.
        (format!("{head}{tail}%7E"), rejected),
        (format!("%7E{head}{tail}"), rejected),
        ("%7E".into(), rejected),
        // A key in a query is refused, however it is spelled.
        (parent.clone(), rejected),
        (format!("{parent}%7E"), rejected),
        (format!("%7E{parent}"), rejected),
        (escaped(parent, 0), UNREADABLE),
        (escaped(parent, parent.len() - 1), UNREADABLE),
        (parent.replace('_', "%5F"), UNREADABLE),
        (parent.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}")), UNREADABLE),
    ] {
        assert_eq!(short(&app, &with("GET /events", &text), &[]), expected, "{text}");
        assert_eq!(short(&app, &with("GET /maybe-events", &text), &[]), expected, "{text}");
    }
}

#[test]
fn ticket_beside_another_credential_is_refused() {
    let family = Family::new();
    let check = |value: String| std::future::ready(Ok::<_, io::Error>(value == "open"));
    let session = Alternative::cookie("session", "sid", check).unwrap();
    let guard = family.guard().key_header("x-api-key").unwrap();
    let app = App::new(guard.or(session).unwrap());
    let own = family.child(ticket(60));
    let line = with("GET /events", &own);
    assert_eq!(short(&app, &line, &[]), "200");
    for field in [
        bearer(&own),
        bearer(&family.parent),
        bearer("made-up"),
        ("x-api-key", own.clone()),
        ("x-api-key", family.parent.clone()),
    ] {
        assert_eq!(short(&app, &line, &[field]), UNREADABLE);
    }
    // Another scheme in `Authorization` is no key. The routes name no session, so that their guard ignores cookies.
    assert_eq!(short(&app, &line, &[("authorization", "Basic YTpi".into())]), "200");
    assert_eq!(short(&app, &line, &[("cookie", "sid=open".into())]), "200");
    let both = App { outer: Some(family.guard().optional()), ..App::new(family.guard()) };
    assert_eq!(short(&both, &line, &[]), "200");
    // An outer guard has admitted another caller.
    let outer = family.guard().key_header_only("x-api-key").unwrap();
    let both = App { outer: Some(outer), ..App::new(family.guard()) };
    let parent = [("x-api-key", family.parent.clone())];
    assert_eq!(short(&both, &line, &parent), UNREADABLE);
    assert_eq!(short(&both, "GET /events", &parent), "200");
}

#[test]
fn session_and_ticket_together_are_refused() {
    let family = Family::new();
    let check = |value: String| std::future::ready(Ok::<_, io::Error>(value == "open"));
    let session = Alternative::cookie("session", "sid", check).unwrap();
    let events = Endpoint::new("GET", ()).any_key().or("session").accept_ticket();
    let routes = Routes::new(family.guard().or(session).unwrap()).route("/events", events);
    let guard = routes.resolve().unwrap().remove(0).guard.unwrap();
    let service = tower::service_fn(async |_: http::Request<()>| {
        Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
    });
    let service = tower::Layer::layer(&guard, service);
    let status = |uri: &str, cookie: &str| {
        let request = http::Request::get(uri).header("cookie", cookie).body(()).unwrap();
        let response = block_on(tower::ServiceExt::oneshot(service.clone(), request));
        response.unwrap().status().as_u16()
    };
    let uri = format!("/events?ticket={}", family.child(ticket(60)));
    assert_eq!(status(&uri, "a=b"), 200);
    assert_eq!(status("/events", "sid=open"), 200);
    assert_eq!(status(&uri, "sid=open"), 400);
    assert_eq!(status("/events?ticket=", "sid=open"), 400);
}

#[test]
fn ticket_in_a_header_is_a_child_like_others() {
    let family = Family::new();
    let app = App::new(family.guard());
    let own = [bearer(&family.child(ticket(60)))];
    let both = [bearer(&family.child(lasting(60).route("GET /both").unwrap()))];
    assert_eq!(short(&app, "GET /events", &own), REFUSED);
    assert_eq!(short(&app, "GET /both", &own), REFUSED);
    assert_eq!(short(&app, "GET /both", &both), "200");
    let line = with("GET /both", &family.child(lasting(60).route("GET /both").unwrap()));
    assert_eq!(short(&app, &line, &[]), "200");
    // A child that an outer guard has admitted came in a header.
    let outer = family.guard().accepts_children(Place::new().route("GET /events"));
    let app = App { outer: Some(outer.clone()), ..app };
    assert_eq!(short(&app, "GET /events", &own), REFUSED);
    // A ticket does not pass a guard that reads no query.
    let line = with("GET /events", &family.child(ticket(60)));
    assert_eq!(short(&app, &line, &[]), "401 missing-credential");
    // An inner guard must accept the child that a ticket is.
    let app = App { outer: None, inner: Some(family.guard()), guard: family.guard() };
    assert_eq!(short(&app, &line, &[]), REFUSED);
    assert_eq!(short(&App { inner: Some(outer), ..app }, &line, &[]), "200");
}

#[test]
fn ticket_that_waits_for_the_store_is_treated_alike() {
    let family = Family::new();
    let fresh = App::new(family.guard().freshness(Freshness::Now));
    let own = family.child(ticket(60));
    assert_eq!(short(&fresh, &with("GET /events", &own), &[]), "200");
    assert_eq!(short(&fresh, &with("GET /both", &own), &[]), REFUSED);
    assert_eq!(short(&fresh, &with("GET /events", &family.child(ticket(61))), &[]), REFUSED);
    assert_eq!(short(&fresh, &with("GET /events", &family.parent), &[]), "401 invalid-token");
    for framework in ALL {
        let uri = with("GET /events?a=%41", &own);
        let seen = fresh.ask(framework, &uri, &[]).handler();
        assert_eq!(seen["uri"][0].as_str(), Some("/events?a=%41"), "{framework:?}");
    }
    family.world.store.set_down(true);
    assert_eq!(short(&fresh, &with("GET /events", &own), &[]), "503 unavailable");
    family.world.store.set_down(false);
    let reason = Suspension::permanent("unpaid").unwrap();
    block_on(family.world.keyring.suspend_tenant(&tenant_id("acme"), reason)).unwrap();
    assert_eq!(short(&fresh, &with("GET /events", &own), &[]), "401 inactive-key");
}
