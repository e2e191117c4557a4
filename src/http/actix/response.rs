//! Conversions of [`Response`], and the caller as an argument of handlers.

use alloc::vec::Vec;
use core::{
    fmt,
    future::{Ready, ready},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    dev::Payload,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web::Bytes,
};
use zeroize::Zeroizing;

#[cfg(feature = "children")]
use crate::http::MintedChild;
use crate::{
    decision::Principal,
    http::{Response, RotatedKey, admission::required_caller},
};

/// Extracts the caller that the route's guard admitted.
///
/// On a route whose guard is optional, a request without a key is refused with status 401, as on a route that
/// needs a key.
///
/// On a route without a guard every request is refused with status 500. Otherwise the handler would ignore
/// every key. An `Option<Principal>` is `None` there, because actix-web turns every error of an extractor
/// into `None`. Both cases log an event of level `ERROR` with the feature `tracing`.
impl FromRequest for Principal {
    type Error = Response;
    type Future = Ready<Result<Self, Response>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let caller = required_caller(extensions.get(), extensions.get());
        let refuse =
            |answer: Response| answer.for_request(request.method().as_str(), request.headers());
        ready(caller.map_err(refuse))
    }
}

impl From<Response> for HttpResponse {
    fn from(answer: Response) -> Self {
        let mut response = Self::new(status(&answer));
        for (name, value) in answer.headers() {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        if let Some(refusal) = answer.refusal() {
            response.extensions_mut().insert(refusal.clone());
        }
        response.set_body(BoxBody::new(answer.into_body()))
    }
}

/// The body is wiped when its last part is dropped.
impl Responder for RotatedKey {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        secret(self.headers(), self.into_body())
    }
}

/// The body is wiped when its last part is dropped.
#[cfg(feature = "children")]
impl Responder for MintedChild {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        secret(self.headers(), self.into_body())
    }
}

fn secret(
    headers: impl Iterator<Item = (&'static str, &'static str)>,
    body: Zeroizing<Vec<u8>>,
) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::OK);
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response.set_body(BoxBody::new(Bytes::from_owner(body)))
}

impl Responder for Response {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into()
    }
}

/// Lets handlers and extractors return the response as an error.
impl ResponseError for Response {
    fn status_code(&self) -> StatusCode {
        status(self)
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().into()
    }
}

/// Writes the text that actix-web logs about a handler's error.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "responded with status {}", self.status())
    }
}

fn status(answer: &Response) -> StatusCode {
    // INVARIANT: a `Response` holds only valid status codes, header names and visible ASCII values.
    StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
