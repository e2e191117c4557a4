//! The application's routes, and the table of requests with the verdict on each: `tests/vectors/gateway.txt`.
//!
//! `tests/guards/gateway.rs` includes this file as well.

use keyway::{
    Guard,
    http::{Endpoint, Routes},
};

const TABLE: &str = include_str!("../../../tests/vectors/gateway.txt");

/// Returns the routes of the application behind the gateway.
pub fn routes(guard: impl Into<Guard>) -> Routes<()> {
    let on = |method| Endpoint::new(method, ());
    let jobs = on("GET").require(["operator.read"]).touches_no("machine");
    let jobs = jobs.and("POST", ()).require(["operator.jobs"]).touches_no("machine");
    let machine = on("GET").require(["reporting"]).resource("machine", "id");
    let machine = machine.and("DELETE", ()).require(["manager"]).resource("machine", "id");
    Routes::new(guard)
        .route("/health", on("GET").public())
        .route("/docs/{*page}", on("GET").public())
        .route("/jobs", jobs.and("OPTIONS", ()).public())
        .route("/machines", on("GET").require(["reporting"]).handler_checks("machine"))
        .route("/machines/{id}", machine)
        .route("/machines/new", on("GET").require(["manager"]).touches_no("machine"))
        .route("/files/{*path}", on("GET").require(["reporting"]).touches_no("machine"))
        .route("/files/a/secret", on("GET").require(["manager"]).touches_no("machine"))
        .route("/upload", on("POST").any_key().optional().touches_no("machine"))
}

/// The way of a request to the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Through a gateway that replaces the headers of the convention.
    Client,
    /// As the question itself.
    Question,
}

/// One request, and the verdict on it.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub via: Via,
    pub key: &'static str,
    pub method: &'static str,
    pub target: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub status: u16,
    /// Empty unless the status is 400.
    pub reason: &'static str,
}

impl Row {
    pub fn is_admitted(&self) -> bool {
        self.status == 200
    }
}

/// Returns all rows.
pub fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("not a row: {line}"))).collect()
}

fn parse(line: &'static str) -> Option<Row> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, via, key, method, target, headers, status, ref others @ ..] = cells[..] else {
        return None;
    };
    let header = |text: &'static str| {
        let (name, value) = text.split_once(':')?;
        Some((name.trim(), bytes(value.trim())?))
    };
    let headers = headers.split('^').filter(|text| !text.trim().is_empty());
    Some(Row {
        name,
        via: match via {
            "client" => Via::Client,
            "question" => Via::Question,
            _ => return None,
        },
        key,
        method,
        target: bytes(target)?,
        headers: headers.map(header).collect::<Option<_>>()?,
        status: status.parse().ok()?,
        reason: others.first().copied().unwrap_or_default(),
    })
}

/// Returns the bytes of a cell, with its escapes replaced.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            rest = &after[2..];
        } else if let Some(after) = rest.strip_prefix('{') {
            let (count, after) = after.split_once('}')?;
            bytes.resize(bytes.len() + count.parse::<usize>().ok()?, b'x');
            rest = after;
        } else {
            bytes.push(rest.as_bytes()[0]);
            rest = &rest[1..];
        }
    }
    Some(bytes)
}
