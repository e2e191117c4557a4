//! All servers send the same responses, byte for byte, except for what
//! [`Reply::shown`](crate::client::Reply::shown) leaves out.

use crate::{
    answers::Expected,
    drive::{self, Outcome},
    server::Server,
    service::Service,
};

/// Returns the names of the rows to which two servers respond differently.
fn differences<'o>(one: &'o [Outcome], other: &[Outcome]) -> Vec<&'o str> {
    let same = |one: &Outcome, other: &Outcome| {
        let is_own = |expected: &Expected| expected.own_status().is_some();
        let shown = |outcome: &Outcome| -> Vec<_> {
            outcome.replies.iter().map(crate::client::Reply::shown).collect()
        };
        assert_eq!(one.name, other.name);
        one.runs == other.runs && (one.expected.iter().any(is_own) || shown(one) == shown(other))
    };
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other);
    pairs.filter(|(one, other)| !same(one, other)).map(|(one, _)| &*one.name).collect()
}

fn outcomes(server: Server, service: Service) -> Vec<Outcome> {
    drive::all(&server.start(service), |_| true)
}

#[test]
fn all_servers_respond_alike() {
    let first = outcomes(Server::ALL[0], Service::new());
    for server in &Server::ALL[1..] {
        let others = outcomes(*server, Service::new());
        let is_common = |one: &&Outcome| {
            server.own_answers(&one.name).is_none()
                && others.iter().any(|other| other.name == one.name)
        };
        let first: Vec<_> = first.iter().filter(is_common).cloned().collect();
        let is_common = |other: &&Outcome| first.iter().any(|one| one.name == other.name);
        let others: Vec<_> = others.iter().filter(is_common).cloned().collect();
        assert_eq!(differences(&first, &others), Vec::<&str>::new(), "{server:?}");
    }
}

#[test]
fn a_server_of_another_realm_is_found_to_differ() {
    let one = outcomes(Server::Tower, Service::new());
    let other = outcomes(Server::Tower, Service::new().of_realm("mn"));
    let has_challenge = |outcome: &&Outcome| {
        let mut replies = outcome.replies.iter();
        replies.any(|reply| reply.field("www-authenticate").is_some())
    };
    let with_challenge: Vec<_> = one.iter().filter(has_challenge).map(|one| &*one.name).collect();
    assert!(with_challenge.len() > 100);
    assert_eq!(differences(&one, &other), with_challenge);
}

#[test]
fn a_handler_that_runs_once_more_is_found() {
    let row = crate::row::get("any", "/any").auth(b"Bearer {active}");
    let server = Server::Tower.start(Service::new());
    let one = drive::over_http1(&server, &row);
    let other = Outcome { runs: 2, ..one.clone() };
    assert_eq!(differences(&[one], &[other]).len(), 1);
}
