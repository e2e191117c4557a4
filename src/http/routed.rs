//! The parts of a request that axum's server and router have noted.

use alloc::string::String;
use core::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
};

#[cfg(feature = "children")]
use axum::{extract::OriginalUri, http::Uri};
use axum::{
    extract::{ConnectInfo, RawPathParams},
    http::{Extensions, Request},
};
use axum_core::extract::FromRequestParts as _;

use super::incoming::only;

/// Returns the address of the other end of the connection, if the server has noted it.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip())
}

/// Returns the address that the outermost router has noted.
#[cfg(feature = "children")]
pub(super) fn original_mut(extensions: &mut Extensions) -> Option<&mut Uri> {
    let OriginalUri(address) = extensions.get_mut()?;
    Some(address)
}

/// Returns the value of a parameter of the path, decoded by axum's own extractor. Returns `None` before the request was
/// routed, and if the value is not UTF-8.
pub(super) fn parameter(extensions: &Extensions, name: &str) -> Option<String> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.extensions = extensions.clone();
    let parameters = pin!(RawPathParams::from_request_parts(&mut parts, &()));
    // The extractor reads the extensions only, so it never waits.
    match parameters.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(parameters)) => only(&parameters, name).map(Into::into),
        _ => None,
    }
}
