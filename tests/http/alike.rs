//! A caller that does not hold a key learns nothing about it.
//!
//! All such callers get the same response, and the store is read only for tokens that were minted here.

use std::time::Duration;

use crate::{
    answers::Expected::{Malformed, Rejected},
    client::{exchange, last_request},
    drive,
    row::get,
    server::{Running, Server},
    service::Service,
};

/// Tokens that were not minted here. Their tags show this without a lookup.
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
/// Tokens that were minted here but are not valid.
const USELESS: [&str; 3] = ["unknown", "deleted", "rotated-out"];

/// Returns the response as received, without its date.
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
fn all_invalid_keys_get_one_response() {
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
        // The state of a key is shown to callers that prove to hold the key.
        assert_ne!(raw_answer(&running, "disabled"), answers[0].1);
    }
}

#[test]
fn only_tokens_minted_here_reach_the_store() {
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
                // The store's result for a refused token is cached for a second.
                running.service.world.clock.advance(Duration::from_secs(2));
                assert_eq!(send(&running, &row).reads, 1, "{server:?}, {useless}");
                assert_eq!(send(&running, &row).reads, 0, "{server:?}, {useless}");
            }
        }
    }
}
