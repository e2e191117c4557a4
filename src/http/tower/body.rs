//! The body of an answer, be it the service's or the guard's.

use core::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::Answer;

pin_project! {
    /// The body of an answer: that of the service, or that of the guard in its place.
    #[derive(Debug)]
    pub struct GuardedBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<R> {
        Service { #[pin] body: R },
        Guard { body: Bytes },
    }
}

impl<R> GuardedBody<R> {
    pub(super) fn of_service(body: R) -> Self {
        Self { kind: Kind::Service { body } }
    }
}

impl<R: Body<Data = Bytes>> Body for GuardedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            KindProjection::Service { body } => body.poll_frame(context),
            KindProjection::Guard { body } if body.is_empty() => Poll::Ready(None),
            KindProjection::Guard { body } => {
                Poll::Ready(Some(Ok(Frame::data(core::mem::take(body)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Service { body } => body.is_end_stream(),
            Kind::Guard { body } => body.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Service { body } => body.size_hint(),
            Kind::Guard { body } => SizeHint::with_exact(body.len() as u64),
        }
    }
}

/// As [`to_response`], to a `HEAD`: hyper sends what body there is over HTTP/2, which clients take for a
/// fault of the protocol (RFC 9110, section 9.3.2).
pub(super) fn without_body<R>(answer: Answer) -> Response<GuardedBody<R>> {
    let length = answer.body().len();
    let mut response = to_response(answer);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = GuardedBody { kind: Kind::Guard { body: Bytes::new() } };
    response
}

/// The guard's answer as a response of any service.
pub(in crate::http) fn to_response<R>(answer: Answer) -> Response<GuardedBody<R>> {
    // INVARIANT: answers are made of status codes, names of fields and visible ASCII characters.
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = Response::new(());
    *head.status_mut() = status;
    for (name, value) in answer.fields() {
        if let Ok(value) = HeaderValue::from_str(value) {
            head.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    head.map(|()| GuardedBody { kind: Kind::Guard { body: Bytes::from(answer.into_body()) } })
}
