//! The guard as a middleware.

use alloc::{rc::Rc, string::String, vec::Vec};
use core::{
    future::{Ready, ready},
    net::IpAddr,
    task::{Context, Poll},
};

use actix_web::{
    FromRequest, HttpMessage,
    body::EitherBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    web::Path,
};

use super::GuardedFuture;
use crate::{
    decision::Principal,
    http::{
        Admission, Guard, Headers,
        admission::AdmittedWithoutKey,
        credential,
        incoming::{Incoming, only},
    },
    verifier::Progress,
};

impl Headers for HeaderMap {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        let values = match name {
            credential::AUTHORIZATION => self.get_all(header::AUTHORIZATION),
            name => self.get_all(name),
        };
        values.map(HeaderValue::as_bytes)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.keys().map(HeaderName::as_str)
    }
}

impl Incoming for ServiceRequest {
    type Headers = HeaderMap;

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    #[cfg(feature = "children")]
    fn query(&self) -> &[u8] {
        self.query_string().as_bytes()
    }

    fn known(&self) -> Option<Principal> {
        self.extensions().get::<Principal>().cloned()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().map(|peer| peer.ip())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        // The extractor of handlers decodes the values once more than `match_info`, and gives no names.
        let values = Path::<Vec<String>>::extract(self.request()).into_inner().ok()?.into_inner();
        let names = self.match_info().iter().map(|(other, _)| other);
        only(names.zip(values), name)
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = S::Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { guard: self.clone(), inner: Rc::new(service) }))
    }
}

/// A service wrapped by a [`Guard`]. It admits requests by their keys, or responds in place of the service.
#[derive(Debug)]
pub struct Guarded<S> {
    guard: Guard,
    /// Shared with the requests that wait for the verification of their keys.
    inner: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = S::Error;
    type Future = GuardedFuture<S>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match self.guard.begin(&request) {
            Progress::Done(Ok(mut admission)) => {
                let request = self.guard.pass_on(request, &mut admission);
                let entered = admission.enter_span();
                let future = self.inner.call(request);
                drop(entered);
                GuardedFuture::calling(future, admission)
            }
            Progress::Done(Err(answer)) => {
                let answer = answer.for_request(request.method().as_str(), request.headers());
                GuardedFuture::refused(request, answer)
            }
            Progress::Pending(rest) => {
                let service = Rc::clone(&self.inner);
                GuardedFuture::waiting(rest, self.guard.clone(), request, service)
            }
        }
    }
}

impl Guard {
    /// Strips the credential and inserts the `Principal` into the request extensions.
    pub(super) fn pass_on(
        &self,
        mut request: ServiceRequest,
        admission: &mut Admission,
    ) -> ServiceRequest {
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
            super::ticket::remove_ticket(&mut request);
        }
        // INVARIANT: the `Principal` in the extensions after a guard is the one that this guard admitted, as in
        // the guard of tower. Otherwise a handler would trust a caller that other code inserted.
        if let Some(principal) = admission.take_principal() {
            request.extensions_mut().insert(principal);
        } else {
            let mut extensions = request.extensions_mut();
            extensions.remove::<Principal>();
            extensions.insert(AdmittedWithoutKey(self.clone()));
        }
        request
    }
}
