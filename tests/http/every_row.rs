//! Every server responds to every row as the table says.

use crate::{
    answers::{Expected, Shown},
    drive::{self, Outcome},
    row::Row,
    server::Server,
    service::Service,
};

/// Returns the differences between `outcome` and the table.
pub fn faults(server: Server, outcome: &Outcome) -> Vec<String> {
    let Outcome { name, replies, expected, runs, reads } = outcome;
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(format!("{server:?}, {name}: {text}"));
    let should_run = expected.iter().filter(|expected| expected.runs()).count();
    if *runs != should_run {
        fault(format!("{runs} handlers ran instead of {should_run}"));
    }
    if expected.iter().all(|expected| expected.asks_nothing()) && *reads != 0 {
        fault(format!("the store was asked {reads} times"));
    }
    let answered: Vec<_> =
        expected.iter().filter(|expected| **expected != Expected::Panicked).collect();
    if let ([Expected::Cut(_)], []) = (&answered[..], &replies[..]) {
        return faults;
    }
    if replies.len() != answered.len() {
        fault(format!("{} answers instead of {}: {replies:?}", replies.len(), answered.len()));
    }
    for (reply, expected) in replies.iter().zip(answered) {
        let shown = reply.shown();
        match expected.shown() {
            Some(right) if shown == right => {}
            None if expected.own_status() == Some(shown.status) => {}
            right => fault(differences(&shown, right.as_ref())),
        }
    }
    faults
}

fn differences(shown: &Shown, right: Option<&Shown>) -> String {
    format!("\n  answered {shown:?}\n  expected {right:?}")
}

#[test]
fn every_server_responds_as_the_table_says() {
    let mut faulty = Vec::new();
    for server in Server::ALL {
        let running = server.start(Service::new());
        let outcomes = drive::all(&running, |_| true);
        assert!(outcomes.len() > 300, "{} rows", outcomes.len());
        faulty.extend(outcomes.iter().flat_map(|outcome| faults(server, outcome)));
    }
    assert!(faulty.is_empty(), "{}\n{} faults", faulty.join("\n"), faulty.len());
}

/// Checks that no refusal closes the connection, and that no rest of a request is read as another one.
#[test]
fn one_connection_carries_all_rows() {
    let is_fit = |row: &Row| {
        let ends = |row: Expected| row == Expected::Panicked || row.own_status().is_some();
        !ends(row.expected) && row.over_http2.is_none()
    };
    let rows: Vec<_> = crate::table::rows().into_iter().filter(is_fit).collect();
    for server in Server::ALL {
        let running = server.start(Service::new());
        let has_own = |row: &Row, protocol: &str| {
            server.own_answers(&format!("{} ({protocol})", row.name)).is_some()
        };
        let is_told = |row: &&Row| {
            (row.method != "HEAD" || server.tells_heads_in_a_row())
                && !has_own(row, "HTTP/1.1")
                && !has_own(row, "HTTP/2")
        };
        let rows: Vec<_> = rows.iter().filter(is_told).cloned().collect();
        for send in [drive::on_one_connection, drive::on_one_http2_connection] {
            let outcome = send(&running, &rows);
            assert!(outcome.replies.len() > 150);
            let faults = faults(server, &outcome);
            assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
    }
}
