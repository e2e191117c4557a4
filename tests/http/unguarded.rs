//! A handler gets a caller only from a guard.

use crate::{
    answers::Expected::{Ran, Unguarded},
    drive,
    every_row::faults,
    row::get,
    server::Server,
    service::Service,
};

#[test]
fn a_handler_without_a_guard_gets_no_caller() {
    for server in Server::ALL.into_iter().filter(|server| server.has_extractors()) {
        let running = server.start(Service::new());
        let route = || get("unguarded", "/unguarded").is(Unguarded);
        for row in [
            route(),
            route().auth(b"Bearer {active}"),
            route().with("principal", b"acme").with("x-keyway-principal", b"acme"),
            get("optional", "/optional").with("principal", b"acme").is(Ran("/optional for nobody")),
        ] {
            for send in [drive::over_http1, drive::over_http2] {
                assert_eq!(faults(server, &send(&running, &row)), Vec::<String>::new());
            }
        }
        assert_eq!(running.service.runs(), 2);
    }
}
