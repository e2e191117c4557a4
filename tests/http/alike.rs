//! Whoever does not hold a key learns nothing of it: one answer for all, and the store is asked only for
//! tokens that were minted here.

use std::time::Duration;

use crate::{
    answers::Expected::{Malformed, Rejected},
    client::{exchange, last_request},
    drive,
    row::get,
    server::{Running, Server},
    service::Service,
};

/// Not minted here, as is known without asking anybody.
const NOT_MINTED: [&str; 19] = [
    "short",
    "long",
    "flipped-prefix",
    "flipped-id",
    "flipped-secret",
    "flipped-tag",
    "upper-cased",
    "with-dot",
    "percent-encoded",
    "quoted",
    "non-ascii-64",
    "blank-64",
    "comma-64",
    "other-issuer",
    "other-environment",
    "1kB",
    "length-of-inner",
    "hex-length-of-inner",
    "flipped-middle",
];
/// Minted here, and of no use.
const USELESS: [&str; 3] = ["unknown", "deleted", "rotated-out"];

/// The answer as it came, without its date.
fn raw_answer(server: &Running, token: &str) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let value = server.service.tokens.fill(format!("Bearer {{{token}}}").as_bytes());
    let bytes = last_request("GET", "/any", &[("authorization", value)], b"");
    let mut replies = exchange(server.address, &bytes, &[]);
    assert_eq!(replies.len(), 1, "{token}");
    let mut reply = replies.remove(0);
    reply.fields.retain(|(name, _)| name != "date");
    (reply.status, reply.fields, reply.body)
}

#[test]
fn one_answer_for_all_that_is_not_valid() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        let answers: Vec<_> = NOT_MINTED
            .iter()
            .chain(&USELESS)
            .map(|token| (*token, raw_answer(&running, token)))
            .collect();
        for (token, answer) in &answers {
            assert_eq!(*answer, answers[0].1, "{server:?}, {token}");
        }
        assert_eq!(answers[0].1.0, 401);
        assert_eq!(running.service.runs(), 0);
        // The state of a key that somebody proves to hold is another matter.
        assert_ne!(raw_answer(&running, "disabled"), answers[0].1);
    }
}

#[test]
fn only_what_was_minted_here_comes_to_the_store() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        for send in [drive::over_http1, drive::over_http2] {
            let before = running.service.world.store.all_calls();
            for token in NOT_MINTED {
                raw_answer(&running, token);
            }
            for path in ["/any", "/keyed", "/optional"] {
                send(&running, &get("forged", path).auth(b"Bearer {flipped-tag}").is(Malformed));
            }
            assert_eq!(running.service.world.store.all_calls(), before, "{server:?}");
            for useless in ["{unknown}", "{deleted}", "{rotated-out}"] {
                let value = ["Bearer ", useless].concat().leak().as_bytes();
                let row = get("useless", "/any").auth(value).is(Rejected);
                // The store's word on one that it refused holds for a second.
                running.service.world.clock.advance(Duration::from_secs(2));
                assert_eq!(send(&running, &row).reads, 1, "{server:?}, {useless}");
                assert_eq!(send(&running, &row).reads, 0, "{server:?}, {useless}");
            }
        }
    }
}
