//! The store does not answer: nobody is let in, and nobody is told that a key is wrong.

use std::time::Duration;

use keyway::{record::KeyRecord, store::StoreError};

use crate::{
    answers::Expected::{self, *},
    common::{MAX_STALENESS, with_text},
    drive,
    every_row::faults,
    row::{Row, get, request},
    server::{Running, Server},
    service::Service,
};

#[track_caller]
fn check(server: Server, running: &Running, rows: &[Row]) {
    for row in rows {
        for send in [drive::over_http1, drive::over_http2] {
            assert_eq!(faults(server, &send(running, row)), Vec::<String>::new());
        }
    }
}

/// Every route that looks for a key, with one that may use it.
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

/// What needs no store.
fn others() -> Vec<Row> {
    vec![
        get("nothing", "/report"),
        get("nothing, where that will do", "/optional").is(Ran("/optional for nobody")),
        get("a public route", "/public").is(Ran("/public for nobody")),
        get("a forged key", "/any").auth(b"Bearer {flipped-tag}").is(Malformed),
        get("two keys", "/any").auth(b"Bearer {active}").auth(b"Bearer {active}").is(Several),
        // Whether its id exists is for nobody to say.
        get("an unknown key", "/any").auth(b"Bearer {unknown}").is(Unavailable),
        get("a suspended key", "/any").auth(b"Bearer {suspended}").is(Unavailable),
    ]
}

#[test]
fn without_a_store_nobody_is_let_in_and_with_it_all_goes_on() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let store = &running.service.world.store;
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
        check(server, &running, &admitted());
    }
}

#[test]
fn a_key_that_was_verified_just_now_outlives_a_short_outage_and_no_longer_one() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let world = &running.service.world;
        check(server, &running, &admitted());
        world.store.set_down(true);
        check(server, &running, &admitted());
        world.clock.advance(MAX_STALENESS + Duration::from_secs(1));
        check(server, &running, &guarded(&[Unavailable; 8]));
        world.store.set_down(false);
        check(server, &running, &admitted());
    }
}

/// Whoever changed the record is for the host to find out: the holder is told no more than anybody.
#[test]
fn a_record_that_somebody_changed_lets_nobody_in() {
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
