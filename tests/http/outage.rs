//! The store is down: no request is admitted, and no response calls a key invalid.

use std::time::Duration;

use keyway::{KeyRecord, store::StoreError};

use crate::{
    answers::Expected::{self, *},
    drive,
    every_row::faults,
    row::{Row, get, request},
    server::{Running, Server},
    service::Service,
    support::{MAX_STALENESS, with_text},
};

#[track_caller]
fn check(server: Server, running: &Running, rows: &[Row]) {
    for row in rows {
        for send in [drive::over_http1, drive::over_http2] {
            assert_eq!(faults(server, &send(running, row)), Vec::<String>::new());
        }
    }
}

/// Returns every route that verifies keys, each with a key that may use it.
fn guarded(expected: &[Expected; 8]) -> Vec<Row> {
    let rows = [
        get("all of a scope", "/report").auth(b"Bearer {active}"),
        request("all of a scope, to write", "POST", "/report").auth(b"Bearer {operator}"),
        get("any of two scopes", "/either").auth(b"Bearer {active}"),
        get("any key", "/any").auth(b"Bearer {active}"),
        request("any key and method", "PUT", "/every").auth(b"Bearer {active}"),
        get("any key, or none", "/optional").auth(b"Bearer {active}"),
        get("the key in its field", "/keyed").with("x-api-key", b"{active}"),
        get("a key that is kept", "/kept").auth(b"Bearer {active}"),
    ];
    rows.into_iter().zip(expected).map(|(row, expected)| row.is(*expected)).collect()
}

fn admitted() -> Vec<Row> {
    guarded(&[
        Ran("/report for acme/reader (reporting)"),
        Ran("/report for acme/operator (operator)"),
        Ran("/either for acme/reader (reporting)"),
        Ran("/any for acme/reader (reporting)"),
        Ran("/every for acme/reader (reporting)"),
        Ran("/optional for acme/reader (reporting)"),
        Ran("/keyed for acme/reader (reporting)"),
        Ran("/kept for acme/reader (reporting), sees authorization"),
    ])
}

/// Returns requests whose responses need no read of the store, and keys that cannot be verified.
fn others() -> Vec<Row> {
    vec![
        get("nothing", "/report"),
        get("nothing, where that will do", "/optional").is(Ran("/optional for nobody")),
        get("a public route", "/public").is(Ran("/public for nobody")),
        get("a forged key", "/any").auth(b"Bearer {flipped-tag}").is(Malformed),
        get("two keys", "/any").auth(b"Bearer {active}").auth(b"Bearer {active}").is(Several),
        // The store would have to say whether the id exists.
        get("an unknown key", "/any").auth(b"Bearer {unknown}").is(Unavailable),
        get("a suspended key", "/any").auth(b"Bearer {suspended}").is(Unavailable),
    ]
}

/// Longer than the longest pause for which a failed store is not read.
const PAUSE: Duration = Duration::from_secs(6);

#[test]
fn store_outage_refuses_all_until_the_store_is_back() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let world = &running.service.world;
        let store = &world.store;
        store.set_down(true);
        check(server, &running, &guarded(&[Unavailable; 8]));
        check(server, &running, &others());
        let head = request("HEAD", "HEAD", "/report").auth(b"Bearer {active}");
        for send in [drive::over_http1, drive::over_http2] {
            let outcome = send(&running, &head);
            assert_eq!(outcome.replies[0].status, 503);
            assert_eq!(outcome.replies[0].field("retry-after"), Some("1"));
        }
        store.set_down(false);
        world.clock.advance(PAUSE);
        check(server, &running, &admitted());
    }
}

#[test]
fn cached_key_outlives_a_short_outage_only() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let world = &running.service.world;
        check(server, &running, &admitted());
        world.store.set_down(true);
        check(server, &running, &admitted());
        world.clock.advance(MAX_STALENESS + Duration::from_secs(1));
        check(server, &running, &guarded(&[Unavailable; 8]));
        world.store.set_down(false);
        world.clock.advance(PAUSE);
        check(server, &running, &admitted());
    }
}

/// Checks that the holder of a changed record gets the response for invalid keys. Only the application learns
/// more.
#[test]
fn changed_record_is_refused() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let world = &running.service.world;
        world.audit.take_kinds();
        world.store.rewrite_keys(|key| Ok(with_text(&key, "reporting", "manager")));
        check(server, &running, &[get("changed", "/any").auth(b"Bearer {active}").is(Rejected)]);
        assert_eq!(world.audit.take_kinds(), ["Tampered"; 2]);
        world.store.rewrite_keys(|_| KeyRecord::decode(b"").map_err(StoreError::from));
        check(server, &running, &[get("broken", "/any").auth(b"Bearer {active}").is(Unavailable)]);
        world.store.rewrite_nothing();
        check(server, &running, &admitted());
    }
}
