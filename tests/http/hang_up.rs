//! Clients that hang up while their key is verified: their handlers never run, and no state remains.

use std::{thread, time::Duration};

use crate::{
    answers::Expected::Ran,
    client::{Connection, Http2, last_request},
    drive,
    every_row::faults,
    row::get,
    server::{Running, Server},
    service::Service,
};

const ACTIVE: &[u8] = b"Bearer {active}";

fn key(server: &Running) -> [(&'static str, Vec<u8>); 1] {
    [("authorization", server.service.tokens.fill(ACTIVE))]
}

/// Starts a server whose store holds lookups until it is released. Returns the number of its tasks too.
fn start_holding(server: Server) -> (Running, usize) {
    let running = server.start(Service::new());
    let tasks = running.tasks();
    running.service.world.store.hold("lookup");
    (running, tasks)
}

fn send(server: &Running) -> Connection {
    let mut connection = Connection::open(server.address);
    connection.send(&last_request("GET", "/any", &key(server), b""));
    connection
}

/// Waits until this many requests are in progress and the store was read this many times.
fn wait_for(server: &Running, under_way: usize, reads: usize) {
    let are = || (server.service.under_way(), server.service.reads());
    for _ in 0..10_000 {
        if are() == (under_way, reads) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{:?} instead of {:?}", are(), (under_way, reads));
}

/// Checks that the same key is admitted, after this many reads.
fn check_works(server: Server, running: &Running, reads: usize) {
    let row = get("after", "/any").auth(ACTIVE).is(Ran("/any for acme/reader (reporting)"));
    let outcome = drive::over_http1(running, &row);
    assert_eq!(faults(server, &outcome), Vec::<String>::new());
    assert_eq!(outcome.reads, reads, "{server:?}");
}

#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    for server in Server::ALL.into_iter().filter(|server| server.notices_hang_ups()) {
        let (running, tasks) = start_holding(server);
        let connection = send(&running);
        wait_for(&running, 1, 1);
        connection.hang_up();
        running.await_rest(tasks);
        // A new request reads the store itself, because no lookup is in flight that it could join.
        let connection = send(&running);
        wait_for(&running, 1, 2);
        connection.hang_up();
        running.await_rest(tasks);
        running.service.world.store.release("lookup");
        assert_eq!((running.service.runs(), running.service.reads()), (0, 2), "{server:?}");
        check_works(server, &running, 1);
        check_works(server, &running, 0);
        running.await_rest(tasks);
        assert_eq!(running.service.runs(), 2);
    }
}

#[test]
fn a_stream_that_is_reset_leaves_nothing_behind() {
    for server in Server::ALL.into_iter().filter(|server| server.notices_hang_ups()) {
        let (running, tasks) = start_holding(server);
        let mut client = Http2::open(running.address);
        client.give_up("/any", &key(&running), || wait_for(&running, 1, 1));
        wait_for(&running, 0, 1);
        running.service.world.store.release("lookup");
        assert_eq!((running.service.runs(), running.service.reads()), (0, 1), "{server:?}");
        // The connection stays usable.
        let reply = client.exchange("GET", "/any", &key(&running), b"").unwrap();
        assert_eq!((reply.status, running.service.reads()), (200, 2), "{server:?}");
        drop(client);
        running.await_rest(tasks);
        assert_eq!(running.service.runs(), 1);
    }
}

#[test]
fn waiting_request_is_served_after_the_first_client_left() {
    for server in Server::ALL.into_iter().filter(|server| server.notices_hang_ups()) {
        let (running, tasks) = start_holding(server);
        let first = send(&running);
        wait_for(&running, 1, 1);
        let second = send(&running);
        wait_for(&running, 2, 1);
        first.hang_up();
        wait_for(&running, 1, 1);
        running.service.world.store.release("lookup");
        let replies = second.replies();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].body, b"/any for acme/reader (reporting)");
        running.await_rest(tasks);
        assert_eq!((running.service.runs(), running.service.reads()), (1, 1), "{server:?}");
    }
}

/// The control: the handler runs if the client waits. Otherwise the counts above would prove nothing.
#[test]
fn waiting_client_gets_its_response() {
    for server in Server::ALL {
        let (running, _) = start_holding(server);
        let connection = send(&running);
        wait_for(&running, 1, 1);
        running.service.world.store.release("lookup");
        assert_eq!(connection.replies().len(), 1);
        assert_eq!(running.service.runs(), 1);
    }
}

/// Checks that no state remains after the store has responded, whether the server notices the hang-up or not.
#[test]
fn a_client_that_hangs_up_does_no_harm() {
    for server in Server::ALL {
        let (running, tasks) = start_holding(server);
        let connection = send(&running);
        wait_for(&running, 1, 1);
        connection.hang_up();
        running.service.world.store.release("lookup");
        running.await_rest(tasks);
        assert_eq!(running.service.reads(), 1);
        let outcome = drive::over_http1(&running, &get("after", "/any").auth(ACTIVE));
        assert_eq!(outcome.replies[0].status, 200, "{server:?}");
        assert!(outcome.reads <= 1);
    }
}
