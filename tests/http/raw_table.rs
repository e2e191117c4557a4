//! The rest of the table: bytes that only HTTP/1 can carry, and several requests on one connection.

use crate::{
    answers::Expected::*,
    row::{RawRow, raw},
};

const ANY: &str = "/any for acme/reader (reporting)";

pub fn rows() -> Vec<RawRow> {
    [heads(), connections(), bodies()].into_iter().flatten().collect()
}

/// Returns rows with one request in unusual syntax.
fn heads() -> Vec<RawRow> {
    vec![
        raw("NUL in the token",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\0\r\n\r\n"],
            &[Server(400)]),
        raw("a line feed in the token",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer\n {active}\r\n\r\n"],
            &[Server(400)]),
        raw("a folded field",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer\r\n {active}\r\n\r\n"],
            &[Server(400)]),
        raw("a space before the colon",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization : Bearer {active}\r\n\r\n"],
            &[Server(400)]),
        raw("no space behind the colon",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization:Bearer {active}\r\n\r\n"],
            &[Ran(ANY)]),
        raw("the field's name in upper case",
            &[b"GET /any HTTP/1.1\r\nHOST: h\r\nCONNECTION: close\r\nAUTHORIZATION: Bearer {active}\r\n\r\n"],
            &[Ran(ANY)]),
        raw("the field's name in mixed case, twice",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: close\r\nAuthorization: Bearer {active}\r\naUTHORIZATION: Bearer {active}\r\n\r\n"],
            &[Several]),
        raw("the key field's name in mixed case",
            &[b"GET /keyed HTTP/1.1\r\nhost: h\r\nconnection: close\r\nX-Api-Key: {active}\r\n\r\n"],
            &[Ran("/keyed for acme/reader (reporting)")]),
        raw("no host",
            &[b"GET /any HTTP/1.1\r\nconnection: close\r\n\r\n"],
            &[Missing]),
        raw("HTTP/1.0",
            &[b"GET /any HTTP/1.0\r\nauthorization: Bearer {active}\r\n\r\n"],
            &[Ran(ANY)]),
        raw("HTTP/1.0 without a key", &[b"GET /any HTTP/1.0\r\n\r\n"], &[Missing]),
        raw("an absolute address",
            &[b"GET http://h/any HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {active}\r\n\r\n"],
            &[Ran(ANY)]),
        raw("no HTTP", &[b"{active}\r\n\r\n"], &[Server(400)]),
        raw("a key in an upgrade to HTTP/2",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"],
            &[Missing]),
        raw("101 fields",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\n", b"{101-fields}", b"authorization: Bearer {active}\r\n\r\n"],
            &[Server(431)]),
    ]
}

/// Returns rows with several requests on one connection.
fn connections() -> Vec<RawRow> {
    vec![
        raw("two at once, both admitted",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {operator}\r\nconnection: close\r\n\r\n"],
            &[Ran(ANY), Ran("/any for acme/operator (operator)")]),
        raw("two at once, the second without a key",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"],
            &[Ran(ANY), Missing]),
        raw("an admitted one after a refused one",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\nconnection: close\r\n\r\n"],
            &[Missing, Ran(ANY)]),
        raw("five in turn",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {flipped-tag}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\nauthorization: Bearer {active}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\n\r\n",
              b"GET /report HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {unknown}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\nconnection: close\r\n\r\n"],
            &[Malformed, Several, Ran(ANY), Rejected, Ran(ANY)]),
        raw("HEAD, and another after it",
            &[b"HEAD /any HTTP/1.1\r\nhost: h\r\n\r\n",
              b"HEAD /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\nconnection: close\r\n\r\n"],
            &[MissingForHead, RanForHead, Ran(ANY)]),
        raw("a successor's first use ends what was before it",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {heir-old}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {heir-new}\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {heir-old}\r\nconnection: close\r\n\r\n"],
            &[Ran("/any for gamma/heir (reporting)"), Ran("/any for gamma/heir (reporting)"), Rejected]),
        raw("one without an end after a refused one",
            &[b"GET /any HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\n\r\n"],
            &[Missing]),
    ]
}

/// Returns rows with request bodies, which a guard that refuses does not read.
fn bodies() -> Vec<RawRow> {
    vec![
        raw("a refused POST, and another request after its body",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello",
              b"GET /any HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\nconnection: close\r\n\r\n"],
            &[Missing, Ran(ANY)]),
        raw("a request inside the body of a refused one",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ncontent-length: {length-of-inner}\r\n\r\n{inner}",
              b"GET /either HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"],
            &[Missing, Missing]),
        raw("a request inside the body of one with a bad key",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {active}\r\ncontent-length: {length-of-inner}\r\n\r\n{inner}",
              b"GET /either HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"],
            &[Forbidden(&crate::table::NO_JOBS), Missing]),
        raw("a request inside the chunks of a refused one",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
              b"{hex-length-of-inner}\r\n{inner}\r\n0\r\n\r\n",
              b"GET /either HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"],
            &[Missing, Missing]),
        raw("a length and chunks",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
              b"0\r\n\r\n{inner}"],
            &[Missing]),
        raw("two lengths",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\ncontent-length: {length-of-inner}\r\n\r\n",
              b"{inner}"],
            &[Server(400)]),
        raw("a key in a trailer",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: authorization\r\nconnection: close\r\n\r\n",
              b"5\r\nhello\r\n0\r\nauthorization: Bearer {operator}\r\n\r\n"],
            &[Missing]),
        raw("a body that is announced and refused",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"],
            &[Missing]),
        raw("a body that is announced and taken",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {operator}\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
              b"hello"],
            &[Continue, Ran("/report for acme/operator (operator), body of 5")]),
        raw("1 MB that nobody reads",
            &[b"POST /report HTTP/1.1\r\nhost: h\r\ncontent-length: 1048576\r\nconnection: close\r\n\r\n",
              b"{1MB}"],
            &[Missing]),
    ]
}
