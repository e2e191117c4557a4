//! The columns of the table: every verdict in each protocol that asks for it.
//!
//! A row is sent as a remote call of gRPC, gRPC-Web and JSON-RPC, and as the question of a gateway in both variants. The
//! expected response is the one of the table, in the words of the protocol. Rows that no guard sees because of their
//! method or size are left out.

use std::fmt::Write as _;

use keyway::http::ForwardAuth;

use crate::{
    answers::{Expected, Shown},
    client::{Http2, Reply, exchange, last_request},
    row::Row,
    server::{Running, Server},
    service::{CALLS, Service},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// With the content type of the call, which is that of the refusal.
    Grpc(&'static str),
    /// A `POST` with a call of JSON-RPC, whose refusal is that of HTTP.
    JsonRpc,
    /// The question of a gateway, with the method and the content type of its caller.
    Gateway(ForwardAuth),
}

const COLUMNS: [Column; 5] = [
    Column::Grpc("application/grpc"),
    Column::Grpc("application/grpc-web+proto"),
    Column::JsonRpc,
    Column::Gateway(ForwardAuth::EveryStatus),
    Column::Gateway(ForwardAuth::DenialsOnly),
];

impl Column {
    fn service(self) -> Service {
        match self {
            Self::Gateway(gateway) => Service::new().behind(gateway),
            Self::Grpc(_) | Self::JsonRpc => Service::new(),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Grpc(content_type) => content_type,
            Self::JsonRpc => "application/json",
            // A gateway may pass on the content type of its caller, and takes status 200 for an admission.
            Self::Gateway(_) => "application/grpc",
        }
    }

    /// Returns the message of the call, which goes over HTTP/2. `None` is a request over HTTP/1.1 without a body: actix-web
    /// waits two seconds for the rest of a body there that it has refused.
    fn message(self) -> Option<&'static [u8]> {
        match self {
            // One empty message.
            Self::Grpc("application/grpc") => Some(b"\0\0\0\0\0"),
            Self::JsonRpc => Some(br#"{"jsonrpc":"2.0","id":1,"method":"report"}"#),
            Self::Grpc(_) | Self::Gateway(_) => None,
        }
    }

    /// Returns the response of the table in the words of this protocol.
    fn words(self, mut shown: Shown) -> Shown {
        let problem = ("content-type".to_owned(), "application/problem+json".to_owned());
        if !shown.fields.contains(&problem) {
            return shown;
        }
        match self {
            Self::Grpc(content_type) => {
                let body: serde_json::Value = serde_json::from_str(&shown.body).unwrap();
                let code = match shown.status {
                    400 => 3,
                    401 => 16,
                    403 => 7,
                    other => panic!("no row has status {other}"),
                };
                shown.fields.retain(|field| *field != problem);
                let message = body["detail"].as_str().unwrap();
                for (name, value) in [
                    ("content-type", content_type),
                    ("grpc-message", message),
                    ("grpc-status", &code.to_string()),
                ] {
                    shown.fields.push((name.into(), value.into()));
                }
                (shown.status, shown.body) = (200, String::new());
            }
            Self::JsonRpc | Self::Gateway(ForwardAuth::EveryStatus) => {}
            Self::Gateway(_) => {
                shown.fields.push(("x-auth-status".into(), shown.status.to_string()));
                shown.status = if shown.status == 403 { 403 } else { 401 };
            }
        }
        shown.fields.sort();
        shown
    }
}

/// Returns the rows that a remote call can carry.
fn rows() -> Vec<Row> {
    let is_fit = |row: &Row| {
        matches!(row.method, "GET" | "POST")
            && row.expected.own_status().is_none()
            && row.over_http2.is_none()
    };
    crate::table::rows().into_iter().filter(is_fit).collect()
}

/// Sends a row as a call.
fn send(server: &Running, column: Column, row: &Row) -> Vec<Reply> {
    let tokens = &server.service.tokens;
    let below = if row.method == "GET" { CALLS } else { "" };
    let target = tokens.fill(format!("{below}{}", row.path).as_bytes());
    let target = String::from_utf8(target).unwrap();
    let own = row.fields.iter().filter(|(name, _)| *name != "content-type");
    let mut fields: Vec<_> = own.map(|(name, value)| (*name, tokens.fill(value))).collect();
    fields.push(("content-type", column.content_type().into()));
    match column.message() {
        None => exchange(server.address, &last_request("POST", &target, &fields, row.body), &[]),
        Some(message) => {
            let body = if row.body.is_empty() { message } else { row.body };
            let mut client = Http2::open(server.address);
            client.exchange("POST", &target, &fields, body).into_iter().collect()
        }
    }
}

/// Returns what a row expects of this server.
fn expected(server: Server, row: &Row) -> Expected {
    let own = server.own_answers(&format!("{} (HTTP/2)", row.name));
    own.and_then(<[_]>::first).copied().unwrap_or(row.expected)
}

/// Returns the expected response. There is none if the handler panics.
fn response(column: Column, row: &Row, expected: Expected) -> Option<Shown> {
    let mut shown = expected.shown()?;
    if let Some(message) = column.message()
        && expected.runs()
        && row.body.is_empty()
    {
        write!(shown.body, ", body of {}", message.len()).unwrap();
    }
    Some(column.words(shown))
}

/// Returns the differences between the responses of a server and the column.
fn faults(server: Server, column: Column, rows: &[Row]) -> Vec<String> {
    let running = server.start(column.service());
    let mut faults = Vec::new();
    for row in rows {
        let expected = expected(server, row);
        let (runs, reads) = (running.service.runs(), running.service.reads());
        let replies: Vec<_> = send(&running, column, row).iter().map(Reply::shown).collect();
        let runs = running.service.runs() - runs;
        let mut fault = |text: String| {
            faults.push(format!("{server:?}, {column:?}, {}: {text}", row.name));
        };
        let right: Vec<_> = response(column, row, expected).into_iter().collect();
        if replies != right {
            fault(format!("\n  responded {replies:?}\n  expected {right:?}"));
        }
        if runs != usize::from(expected.runs()) {
            fault(format!("{runs} handlers ran"));
        }
        if expected.asks_nothing() && running.service.reads() != reads {
            fault("the store was asked".into());
        }
    }
    faults
}

#[test]
fn every_column_has_the_verdicts_of_the_table() {
    let rows = rows();
    assert!(rows.len() > 150, "{} rows", rows.len());
    let mut all = Vec::new();
    for server in Server::ALL {
        for column in COLUMNS {
            all.extend(faults(server, column, &rows));
        }
    }
    assert!(all.is_empty(), "{}\n{} faults", all.join("\n"), all.len());
}

/// The control: a row with the verdict of another row is noticed in every column.
#[test]
fn another_verdict_is_noticed_in_every_column() {
    let rows = rows();
    let refused = rows.iter().find(|row| row.name == "a disabled key").unwrap();
    let ran = rows.iter().find(|row| row.name == "an active key").unwrap();
    for column in COLUMNS {
        for (row, other) in [(refused, ran), (ran, refused)] {
            let planted = Row { expected: other.expected, ..row.clone() };
            assert_eq!(faults(Server::Tower, column, std::slice::from_ref(row)), [""; 0]);
            assert!(faults(Server::Tower, column, &[planted]).len() >= 2, "{column:?}");
        }
    }
}

/// A refusal is a gRPC status only for what gRPC sends: a `POST` whose first content type is one of gRPC.
#[test]
fn refusal_stays_plain_for_all_that_is_not_grpc() {
    for server in Server::ALL {
        let running = server.start(Service::new());
        for (method, path, kinds, is_grpc) in [
            ("POST", "/calls/any", &["application/grpc"][..], true),
            ("POST", "/calls/any", &["APPLICATION/GRPC+PROTO"], true),
            ("POST", "/calls/any", &["application/grpc;q=1"], true),
            ("POST", "/calls/any", &["application/grpc", "application/json"], true),
            ("POST", "/calls/any", &["application/json", "application/grpc"], false),
            ("POST", "/calls/any", &[], false),
            ("POST", "/calls/any", &[""], false),
            ("POST", "/calls/any", &["application/grpcx"], false),
            ("POST", "/calls/any", &["application/json, application/grpc"], false),
            ("GET", "/any", &["application/grpc"], false),
            ("PUT", "/every", &["application/grpc"], false),
            ("post", "/every", &["application/grpc"], false),
            ("OPTIONS", "/every", &["application/grpc"], false),
        ] {
            let kinds = kinds.iter().map(|kind| ("content-type", kind.as_bytes().to_vec()));
            let fields: Vec<_> = kinds.collect();
            let replies = exchange(running.address, &last_request(method, path, &fields, b""), &[]);
            let [reply] = &replies[..] else {
                panic!("{server:?} {method} {fields:?}: {replies:?}")
            };
            let right = if is_grpc { (200, Some("16")) } else { (401, None) };
            let found = (reply.status, reply.field("grpc-status"));
            assert_eq!(found, right, "{server:?} {method} {fields:?}");
            assert_eq!(reply.body.is_empty(), is_grpc, "{server:?} {method} {fields:?}");
        }
        // A `HEAD` has the status of HTTP, and no body either way.
        let fields = [("content-type", b"application/grpc".to_vec())];
        let bytes = last_request("HEAD", "/any", &fields, b"");
        let reply = exchange(running.address, &bytes, &[0]).remove(0);
        assert_eq!((reply.status, reply.field("grpc-status")), (401, None), "{server:?}");
    }
}
