//! The guard as a middleware of tower: for hyper, tonic, axum and everything else that uses tower.
//!
//! [`Guard`] is the layer. The handler finds its caller in the request extensions, and its response is passed
//! on:
//!
//! ```
//! # use keyway::{Keyring, MemoryStore, Pepper, Policy};
//! use core::convert::Infallible;
//! use http::{Request, Response};
//! use keyway::Principal;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! # }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! let report = service_fn(async |request: Request<String>| {
//!     let caller = request.extensions().get::<Principal>().unwrap();
//!     Ok::<_, Infallible>(Response::new(format!("reports of {}", caller.tenant())))
//! });
//! let service = keyring.require(["reporting"])?.layer(report);
//!
//! let response = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.status(), 401);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod body;
mod future;
mod operations;
#[cfg(feature = "children")]
mod ticket;

use alloc::string::String;
use core::{
    net::IpAddr,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "axum")]
pub(super) use self::body::to_response;
#[cfg(feature = "children")]
use self::ticket::remove_ticket;
pub use self::{
    body::GuardedBody,
    future::GuardedFuture,
    operations::{GuardedOperations, OperationGuard},
};
use super::{
    Admission, Guard, Headers, PeerAddress, admission::AdmittedWithoutKey, credential,
    incoming::Incoming,
};
use crate::{decision::Principal, verifier::Progress};

impl Headers for HeaderMap {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        let values = match name {
            credential::AUTHORIZATION => self.get_all(header::AUTHORIZATION),
            name => self.get_all(name),
        };
        values.into_iter().map(HeaderValue::as_bytes)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.keys().map(HeaderName::as_str)
    }
}

impl<B> Incoming for Request<B> {
    type Headers = HeaderMap;

    fn headers(&self) -> &HeaderMap {
        Request::headers(self)
    }

    #[cfg(feature = "children")]
    fn query(&self) -> &[u8] {
        self.uri().query().unwrap_or_default().as_bytes()
    }

    #[inline]
    fn known(&self) -> Option<Principal> {
        self.extensions().get::<Principal>().cloned()
    }

    fn peer(&self) -> Option<IpAddr> {
        if let Some(PeerAddress(peer)) = self.extensions().get() {
            return Some(peer.ip());
        }
        #[cfg(feature = "axum")]
        if let Some(peer) = super::routed::peer(self.extensions()) {
            return Some(peer);
        }
        None
    }

    fn parameter(&self, name: &str) -> Option<String> {
        #[cfg(feature = "axum")]
        if let Some(value) = super::routed::parameter(self.extensions(), name) {
            return Some(value);
        }
        _ = name;
        None
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service wrapped by a [`Guard`]. It admits requests by their keys, or responds in place of the service.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = GuardedFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.guard.call(&mut self.inner, request)
    }
}

impl Guard {
    /// Calls `service`, which must be ready, or refuses the request.
    #[inline]
    fn call<S, B, R>(&self, service: &mut S, mut request: Request<B>) -> GuardedFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
    {
        match self.begin(&request) {
            Progress::Done(Ok(mut admission)) => {
                self.pass(&mut request, &mut admission);
                let entered = admission.enter_span();
                let future = service.call(request);
                drop(entered);
                GuardedFuture::calling(future, admission)
            }
            Progress::Done(Err(answer)) => {
                let answer = answer.for_request(request.method().as_str(), request.headers());
                GuardedFuture::refused(answer, request.method() == Method::HEAD)
            }
            Progress::Pending(rest) => {
                // The service that is ready goes with the request, as the contract of `poll_ready` requires.
                // A clone stays here.
                let clone = service.clone();
                let service = core::mem::replace(service, clone);
                GuardedFuture::waiting(rest, self.clone(), request, service)
            }
        }
    }

    /// Strips the credential and inserts the `Principal` into the request extensions.
    fn pass<B>(&self, request: &mut Request<B>, admission: &mut Admission) {
        match self.header_to_remove(admission) {
            Some(credential::AUTHORIZATION) => {
                request.headers_mut().remove(header::AUTHORIZATION);
            }
            Some(name) => {
                request.headers_mut().remove(name);
            }
            None => {}
        }
        #[cfg(feature = "children")]
        if self.must_remove_ticket(admission) {
            remove_ticket(request);
        }
        // INVARIANT: the `Principal` in the extensions after a guard is the one that this guard admitted.
        // Without the removal, a handler would trust another keyring's caller, or one that other code
        // inserted.
        let extensions = request.extensions_mut();
        if let Some(principal) = admission.take_principal() {
            extensions.insert(principal);
        } else {
            extensions.remove::<Principal>();
            extensions.insert(AdmittedWithoutKey(self.clone()));
        }
    }
}
