//! A handler gets a caller only from a guard.

use crate::{
    answers::Expected::{Malformed, Missing, Optional, Ran, Unguarded},
    drive,
    every_row::faults,
    row::{Row, get},
    server::Server,
    service::Service,
};

fn check(server: Server, rows: Vec<Row>, runs: usize) {
    let running = server.start(Service::new());
    for row in rows {
        for send in [drive::over_http1, drive::over_http2] {
            assert_eq!(faults(server, &send(&running, &row)), Vec::<String>::new());
        }
    }
    assert_eq!(running.service.runs(), runs);
}

fn with_extractors() -> impl Iterator<Item = Server> {
    Server::ALL.into_iter().filter(|server| server.has_extractors())
}

#[test]
fn a_handler_without_a_guard_gets_no_caller() {
    let route = || get("unguarded", "/unguarded").is(Unguarded);
    for server in with_extractors() {
        let rows = vec![
            route(),
            route().auth(b"Bearer {active}"),
            route().with("principal", b"acme").with("x-keyway-principal", b"acme"),
            get("optional", "/optional").with("principal", b"acme").is(Ran("/optional for nobody")),
        ];
        check(server, rows, 2);
    }
}

#[test]
fn optional_caller_without_a_guard_is_refused() {
    let route = || get("no guard", "/unguarded/optional").is(Unguarded);
    check(Server::Axum, vec![route(), route().auth(b"Bearer {active}")], 0);
    // actix-web turns every error of an extractor into `None`.
    let route = || get("no guard", "/unguarded/optional");
    let nobody = Ran("/unguarded/optional for nobody");
    check(Server::Actix, vec![route().is(nobody)], 2);
}

#[test]
fn caller_behind_an_optional_guard_is_required() {
    let route = || get("needs a caller", "/optional/caller");
    for server in with_extractors() {
        let ran = Ran("/optional/caller for acme/reader (reporting)");
        let rows = vec![
            route().is(Optional(&Missing)),
            route().auth(b"Basic YTpi").is(Optional(&Missing)),
            route().auth(b"Bearer {flipped-tag}").is(Malformed),
            route().auth(b"Bearer {active}").is(ran),
        ];
        check(server, rows, 2);
    }
}
