//! No server logs, returns or panics with any part of a token's secret.
//!
//! Each server logs at `TRACE`, for every crate in it. A log outside the guard writes the method, the path
//! and the status. Another log inside the guard writes all headers. A handler panics with all data that it
//! has. The texts are searched for any eight consecutive characters of a secret, in every usual encoding.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    panic,
    sync::{Mutex, Once},
};

use crate::{
    answers::Expected,
    drive::{self, Outcome},
    logs::Logs,
    row::{Row, get},
    server::{Running, Server},
    service::Service,
    support::overheard::heard,
    support::windows::windows,
};

/// The messages of all panics of this process since the first [`hear_panics`].
static PANICS: Mutex<String> = Mutex::new(String::new());

fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            writeln!(PANICS.lock().unwrap(), "{info}").unwrap();
            before(info);
        }));
    });
}

fn loud(server: Server) -> (Running, Logs) {
    let logs = Logs::default();
    (server.start(Service::new().logging(logs.clone())), logs)
}

/// Returns all texts of a server, by their source.
fn texts(running: &Running, logs: &Logs, outcomes: &[Outcome]) -> BTreeMap<&'static str, String> {
    let answers: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.replies)
        .map(|reply| format!("{:?} {}", reply.fields, String::from_utf8_lossy(&reply.body)))
        .collect();
    BTreeMap::from([
        ("logs", logs.text()),
        ("answers", answers.join("\n")),
        ("panics", PANICS.lock().unwrap().clone()),
        ("audit", format!("{:?}", running.service.world.audit.events())),
    ])
}

/// Returns every part of a secret of `service` in `text`, each with the text before it on its line.
fn leaks(service: &Service, text: &str) -> Vec<String> {
    let mut needles: BTreeMap<[u8; 3], BTreeSet<Vec<u8>>> = BTreeMap::new();
    // Whether a needle begins with these three bytes, as a table for speed.
    let mut begins = vec![false; 1 << 24];
    let index = |bytes: &[u8]| {
        usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
    };
    for needle in service.tokens.secrets().flat_map(|secret| windows(secret.as_bytes())) {
        let needle = needle.into_bytes();
        begins[index(&needle)] = true;
        needles.entry([needle[0], needle[1], needle[2]]).or_default().insert(needle);
    }
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (at, start) in bytes.windows(3).enumerate().filter(|(_, start)| begins[index(start)]) {
        let mut needles = needles[start].iter();
        if let Some(needle) = needles.find(|needle| bytes[at..].starts_with(needle)) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            found.push(String::from_utf8_lossy(&bytes[line..at + needle.len()]).into_owned());
        }
    }
    found
}

/// Returns whether the credential must stay hidden in this row. In an address, or where it is kept, it is
/// not.
fn is_hidden(row: &Row) -> bool {
    !row.has_key_in_address && row.path != "/kept"
}

#[test]
fn no_secret_is_in_any_output_of_a_server() {
    hear_panics();
    for server in Server::ALL {
        let (running, logs) = loud(server);
        let outcomes = drive::all(&running, is_hidden);
        let texts = texts(&running, &logs, &outcomes);
        heard(&texts["logs"]);
        for (from, text) in &texts {
            let found = leaks(&running.service, text);
            println!("{server:?}: {} bytes of {from}", text.len());
            assert!(found.is_empty(), "{server:?}, {from}: {} times {:?}", found.len(), found[0]);
        }
        // The control: every source has text, also for requests with a key.
        let said = |from: &str, text: &str| {
            assert!(texts[from].contains(text), "{server:?}: no `{text}` in {from}");
        };
        said("logs", "http::logs: GET /report 401 Unauthorized");
        said("logs", "\"keys.test\"");
        said("logs", "TRACE");
        said("logs", "h2::");
        said("panics", "/panic for acme/reader (reporting)");
        said("panics", "key_id: ");
        said("audit", "Rejected");
        said("answers", "Bearer realm");
    }
}

/// The control: the search finds the credential if the guard does not remove it.
#[test]
fn kept_credential_is_found_in_the_log_inside_the_guard() {
    for server in Server::ALL {
        let (running, logs) = loud(server);
        let kept = get("kept", "/kept").auth(b"Bearer {active}").is(Expected::Ran(""));
        for send in [drive::over_http1, drive::over_http2] {
            let before = leaks(&running.service, &logs.text()).len();
            send(&running, &kept);
            assert!(leaks(&running.service, &logs.text()).len() > before, "{server:?}");
        }
    }
}

/// Shows that a key in an address reaches every log of addresses.
#[test]
fn a_key_in_an_address_is_found_in_the_log_before_the_guard() {
    for server in Server::ALL {
        let (running, logs) = loud(server);
        drive::over_http1(&running, &get("in the path", "/any/{active}"));
        assert!(!leaks(&running.service, &logs.text()).is_empty(), "{server:?}");
    }
}

#[test]
fn a_panic_with_a_credential_is_found() {
    let service = Service::new();
    let token = String::from_utf8(service.tokens.fill(b"{active}")).unwrap();
    let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
    assert!(!leaks(&service, &format!("{:?}", request.body(()).unwrap())).is_empty());
    assert!(leaks(&service, &format!("{}…", &token[..24])).is_empty());
}
