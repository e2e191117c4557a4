//! The removal of tickets from requests.

use actix_web::{
    dev::ServiceRequest,
    http::{
        Uri,
        uri::{Parts, PathAndQuery},
    },
};

use crate::http::ticket;

/// Takes the ticket out of each address that the request holds.
pub(super) fn remove_ticket(request: &mut ServiceRequest) {
    request.head_mut().uri = without_ticket(request.uri());
    // The router keeps an address of its own, which handlers can read. Its path stays the same, since the parameters are
    // places in it.
    let routed = without_ticket(request.match_info().get_ref().uri());
    request.match_info_mut().get_mut().update(&routed);
}

fn without_ticket(address: &Uri) -> Uri {
    let mut parts = Parts::from(address.clone());
    let Some(target) = parts.path_and_query.take() else { return address.clone() };
    // INVARIANT: a target is still valid without one of its parameters. Otherwise the handler sees `/`, not the ticket.
    let target = PathAndQuery::try_from(ticket::without(target.as_str()));
    parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}
