//! Answers as responses, and the caller as an argument of handlers.

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
};

use crate::{decision::Principal, http::Answer};

/// The caller whom the guard of the route has admitted.
///
/// On a route without a guard this is refused with status 500: such a route is a fault of the host's.
/// `Option<Principal>` is `None` there, as it is on an optional route if nothing was presented.
impl FromRequest for Principal {
    type Error = Answer;
    type Future = Ready<Result<Self, Answer>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(Answer::unguarded))
    }
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(status(&answer));
        for (name, value) in answer.fields() {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        response.set_body(BoxBody::new(answer.into_body()))
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into()
    }
}

/// So that handlers and extractors may return it as an error.
impl ResponseError for Answer {
    fn status_code(&self) -> StatusCode {
        status(self)
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().into()
    }
}

/// What actix-web writes into its log about a handler's error.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with status {}", self.status())
    }
}

fn status(answer: &Answer) -> StatusCode {
    // INVARIANT: answers are made of status codes, names of fields and visible ASCII characters.
    StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
