//! The response body of the service or of the guard.

use core::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::Response as KeywayResponse;

pin_project! {
    /// The body of a response: that of the service, or that of the guard in its place.
    ///
    /// It implements `Body` with `Bytes` if the service's body does, with the same error. The default is
    /// empty, whatever the service's body is. Layers such as `tower_http::cors` need the default for
    /// responses of their own.
    #[derive(Clone, Debug)]
    pub struct GuardedBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[derive(Clone, Debug)]
    #[project = KindProjection]
    enum Kind<R> {
        Service { #[pin] body: R },
        Guard { body: Bytes },
    }
}

impl<R> Default for GuardedBody<R> {
    fn default() -> Self {
        Self { kind: Kind::Guard { body: Bytes::new() } }
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

/// Converts as [`to_response`] does, for a `HEAD` request.
///
/// Over HTTP/2 hyper sends any body that is there, and clients treat that as a protocol error (RFC 9110,
/// section 9.3.2).
pub(super) fn without_body<R>(answer: KeywayResponse) -> Response<GuardedBody<R>> {
    let length = answer.body().len();
    let mut response = to_response(answer);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = GuardedBody::default();
    response
}

/// Converts the guard's response into a response of any service.
pub(in crate::http) fn to_response<R>(answer: KeywayResponse) -> Response<GuardedBody<R>> {
    // INVARIANT: a `KeywayResponse` holds only valid status codes, header names and visible ASCII values.
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = Response::new(());
    *head.status_mut() = status;
    for (name, value) in answer.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            head.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    if let Some(refusal) = answer.refusal() {
        head.extensions_mut().insert(refusal.clone());
    }
    head.map(|()| GuardedBody { kind: Kind::Guard { body: Bytes::from(answer.into_body()) } })
}
