//! Sends the table's requests to one server.

use crate::{
    answers::Expected,
    client::{Http2, Reply, exchange, last_request, request},
    row::{RawRow, Row},
    server::Running,
};

/// The observed result of a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The row's name and the protocol.
    pub name: String,
    pub replies: Vec<Reply>,
    pub expected: Vec<Expected>,
    /// The number of handlers that ran.
    pub runs: usize,
    /// The number of reads of the store.
    pub reads: usize,
}

/// Sends all rows, over each protocol that carries them.
pub fn all(server: &Running, is_wanted: impl Fn(&Row) -> bool) -> Vec<Outcome> {
    let rows: Vec<_> = crate::table::rows().into_iter().filter(|row| is_wanted(row)).collect();
    let mut outcomes: Vec<_> = rows.iter().map(|row| over_http1(server, row)).collect();
    let is_bearable = |row: &&Row| row.name != "1 MB" || server.kind.bounds_fields_of_http2();
    outcomes.extend(rows.iter().filter(is_bearable).map(|row| over_http2(server, row)));
    let is_answered = |row: &&RawRow| {
        let has_head = row.replies.iter().any(|expected| expected.is_for_head());
        !has_head || server.kind.tells_heads_in_a_row()
    };
    let raw_rows = crate::raw_table::rows();
    outcomes.extend(raw_rows.iter().filter(is_answered).map(|row| raw(server, row)));
    outcomes
}

pub fn over_http1(server: &Running, row: &Row) -> Outcome {
    let (target, fields) = filled(server, row);
    let bytes = last_request(row.method, &target, &fields, row.body);
    let heads: &[usize] = if row.method == "HEAD" { &[0] } else { &[] };
    observed(server, format!("{} (HTTP/1.1)", row.name), &[row.expected], || {
        exchange(server.address, &bytes, heads)
    })
}

pub fn over_http2(server: &Running, row: &Row) -> Outcome {
    let (target, fields) = filled(server, row);
    let expected = row.over_http2.unwrap_or(row.expected);
    observed(server, format!("{} (HTTP/2)", row.name), &[expected], || {
        let mut client = Http2::open(server.address);
        client.exchange(row.method, &target, &fields, row.body).into_iter().collect()
    })
}

fn raw(server: &Running, row: &RawRow) -> Outcome {
    let bytes = server.service.tokens.fill(&row.bytes.concat());
    let heads: Vec<_> =
        (0..row.replies.len()).filter(|number| row.replies[*number].is_for_head()).collect();
    observed(server, row.name.into(), &row.replies, || exchange(server.address, &bytes, &heads))
}

/// Sends all rows one after the other over one connection. The server must find where each ends.
pub fn on_one_connection(server: &Running, rows: &[Row]) -> Outcome {
    let mut bytes = Vec::new();
    for row in rows {
        let (target, fields) = filled(server, row);
        bytes.extend(request(row.method, &target, &fields, row.body));
    }
    bytes.extend(last_request("GET", "/public", &[], b""));
    let last = Expected::Ran("/public for nobody");
    let expected: Vec<_> = rows.iter().map(|row| row.expected).chain([last]).collect();
    let heads: Vec<_> = (0..rows.len()).filter(|number| rows[*number].method == "HEAD").collect();
    observed(server, "all at once".into(), &expected, || exchange(server.address, &bytes, &heads))
}

/// Like [`on_one_connection`], over HTTP/2.
pub fn on_one_http2_connection(server: &Running, rows: &[Row]) -> Outcome {
    let expected: Vec<_> = rows.iter().map(|row| row.over_http2.unwrap_or(row.expected)).collect();
    observed(server, "all on one HTTP/2 connection".into(), &expected, || {
        let mut client = Http2::open(server.address);
        let mut answers = Vec::new();
        for row in rows {
            let (target, fields) = filled(server, row);
            answers.extend(client.exchange(row.method, &target, &fields, row.body));
        }
        answers
    })
}

fn filled(server: &Running, row: &Row) -> (String, Vec<(&'static str, Vec<u8>)>) {
    let tokens = &server.service.tokens;
    let target = String::from_utf8(tokens.fill(row.path.as_bytes())).unwrap();
    (target, row.fields.iter().map(|(name, value)| (*name, tokens.fill(value))).collect())
}

fn observed(
    server: &Running,
    name: String,
    expected: &[Expected],
    send: impl FnOnce() -> Vec<Reply>,
) -> Outcome {
    let expected = server.kind.own_answers(&name).unwrap_or(expected).to_vec();
    let (runs, reads) = (server.service.runs(), server.service.reads());
    let replies = send();
    Outcome {
        name,
        replies,
        expected,
        runs: server.service.runs() - runs,
        reads: server.service.reads() - reads,
    }
}
