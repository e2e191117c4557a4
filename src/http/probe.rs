//! The search for routes that do not refuse a request without a key.

use alloc::{format, string::String, vec, vec::Vec};

use super::{Access, RouteEntry, RouteTable, access::fill, routes::ANY};

/// The methods with which a route for all methods is called. No framework has a handler of its own for the
/// last one.
const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"];

/// A path that no service serves.
const NOWHERE: &str = "/keyway-probe/of-a-path-that-is-not-there";

/// The status and headers of a response to a request without a key.
pub(super) struct Reply {
    pub(super) status: u16,
    /// Names are in lower case.
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Reply {
    /// Returns whether this is a guard's refusal of a request without a key.
    fn is_refusal(&self) -> bool {
        let is_ours = |(name, value): &(String, Vec<u8>)| {
            name == "www-authenticate"
                && (value.starts_with(b"Bearer ") || value.starts_with(b"ApiKey "))
        };
        self.status == 401 && self.headers.iter().any(is_ours)
    }

    /// Returns the headers that a CORS layer adds.
    fn cors(&self) -> Vec<&(String, Vec<u8>)> {
        let is_cors = |(name, value): &&(String, Vec<u8>)| {
            name.starts_with("access-control-")
                || name == "vary" && value.starts_with(b"origin, access-control-")
        };
        let mut cors: Vec<_> = self.headers.iter().filter(is_cors).collect();
        cors.sort();
        cors
    }

    /// Returns whether a layer around all routes responded to the `OPTIONS` as to a preflight, as it did for
    /// `nowhere`. No handler runs in that case, whatever its route requires.
    fn is_preflight(&self, nowhere: &Self) -> bool {
        let cors = self.cors();
        self.status == nowhere.status && !cors.is_empty() && cors == nowhere.cors()
    }
}

/// Returns the routes of `table` that need a key and do not refuse a request without one.
///
/// Each is returned as `GET /path: 200`.
///
/// `call` sends a request with this method and path. It returns `None` if no such request can be made.
pub(super) async fn find(
    table: &RouteTable,
    mut call: impl AsyncFnMut(&str, &str) -> Option<Reply>,
) -> Vec<String> {
    let mut unguarded = Vec::new();
    let nowhere = call("OPTIONS", NOWHERE).await;
    for row in table.rows().filter(|row| matches!(row.access(), Access::Required(_))) {
        let path = fill(row.path(), "x");
        let methods = methods(table, row);
        let mut open = Vec::new();
        for method in &methods {
            let Some(reply) = call(method, &path).await else {
                open.push((*method, None));
                continue;
            };
            let is_preflight = *method == "OPTIONS"
                && nowhere.as_ref().is_some_and(|nowhere| reply.is_preflight(nowhere));
            if !reply.is_refusal() && !is_preflight {
                open.push((*method, Some(reply.status)));
            }
        }
        let is_one = open.len() == methods.len()
            && open.windows(2).all(|two| match two {
                [(_, one), (_, other)] => one == other,
                _ => true,
            });
        if is_one {
            open.truncate(1);
        }
        for (method, status) in open {
            let method = if is_one { row.method() } else { method };
            let status =
                status.map_or_else(|| "cannot be called".into(), |status| format!("{status}"));
            unguarded.push(format!("{method} {}: {status}", row.path()));
        }
    }
    unguarded
}

/// Returns the methods of the requests that `row` serves.
fn methods(table: &RouteTable, row: &RouteEntry) -> Vec<&'static str> {
    match row.method() {
        ANY => METHODS.to_vec(),
        "GET" => {
            let has_own =
                |other: &RouteEntry| other.path() == row.path() && other.method() == "HEAD";
            if table.rows().any(has_own) { vec!["GET"] } else { vec!["GET", "HEAD"] }
        }
        method => vec![method],
    }
}
