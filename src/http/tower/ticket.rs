//! The removal of tickets from requests.

use http::{
    Request, Uri,
    uri::{Parts, PathAndQuery},
};

use crate::http::ticket;

/// Takes the ticket out of each address that the request holds.
pub(super) fn remove_ticket<B>(request: &mut Request<B>) {
    let address = without_ticket(request.uri());
    *request.uri_mut() = address;
    #[cfg(feature = "axum")]
    if let Some(original) = crate::http::routed::original_mut(request.extensions_mut()) {
        *original = without_ticket(original);
    }
}

fn without_ticket(address: &Uri) -> Uri {
    let mut parts = Parts::from(address.clone());
    let Some(target) = parts.path_and_query.take() else { return address.clone() };
    // INVARIANT: a target is still valid without one of its parameters. Otherwise the handler sees `/`, not the ticket.
    let target = PathAndQuery::try_from(ticket::without(target.as_str()));
    parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}
